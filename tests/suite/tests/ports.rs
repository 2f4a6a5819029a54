//! The tools that start servers when somebody else takes the port that they were about to use.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn tools() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "tools"].iter().collect()
}

/// A directory that everybody may write to, gone when this is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("mps-ports-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("open to the server's user");
        Directory(path)
    }

    fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("may be run");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Lines of a shell that tell which port a server is about to use, and wait until somebody else has it: the first time only.
fn stopped_at(directory: &Path, port: &str) -> String {
    let d = directory.display();
    format!(
        "if [ ! -e '{d}/asked' ]; then echo {port} >'{d}/asking'; mv '{d}/asking' '{d}/asked'; \
         while [ ! -e '{d}/taken' ]; do sleep 0.02; done; fi\n"
    )
}

/// Runs a tool, and takes the first port that it is about to use; what it came to.
fn with_its_port_taken(directory: &Path, tool: &mut Command) -> (u16, Output) {
    use std::process::Stdio;
    let running = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the tool runs");
    mps_tests::until("the tool chose a port", std::time::Duration::from_secs(60), || directory.join("asked").exists());
    let port = fs::read_to_string(directory.join("asked")).expect("a port").trim().parse().expect("a number");
    let _listener = TcpListener::bind(("127.0.0.1", port)).expect("nobody had it");
    fs::write(directory.join("taken"), "").expect("says so");
    (port, running.wait_with_output().expect("the tool ends"))
}

fn exported(text: &str, name: &str) -> String {
    let value = text.split_whitespace().find_map(|w| w.strip_prefix(&format!("{name}=")));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

#[test]
fn a_free_port_lies_below_those_of_clients() {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("a range");
    let lowest: u16 = range.split_whitespace().next().expect("two numbers").parse().expect("a number");
    let mut ports: Vec<u16> = Vec::new();
    for _ in 0..20 {
        let out = Command::new(tools().join("free-port")).output().expect("runs");
        assert!(out.status.success(), "{out:?}");
        ports.push(String::from_utf8_lossy(&out.stdout).trim().parse().expect("a port"));
    }
    assert!(ports.iter().all(|p| *p < lowest && *p > 1024), "{ports:?} below {lowest}");
    ports.dedup();
    assert!(ports.len() > 10, "not the same again and again: {ports:?}");
}

#[test]
fn a_cluster_starts_on_another_port_when_its_own_was_taken() {
    let directory = Directory::new("cluster");
    let d = &directory.0;
    let config = std::env::var("PG_CONFIG").unwrap_or_else(|_| "/usr/lib/postgresql/15/bin/pg_config".into());
    let bin = Command::new(&config).arg("--bindir").output().expect("pg_config runs").stdout;
    let bin = PathBuf::from(String::from_utf8_lossy(&bin).trim());
    for entry in fs::read_dir(&bin).expect("programs").flatten() {
        std::os::unix::fs::symlink(entry.path(), d.join(entry.file_name())).expect("a link");
    }
    for own in ["pg_config", "pg_ctl"] {
        fs::remove_file(d.join(own)).expect("one of ours in its place");
    }
    let text = format!("#!/bin/sh\n[ \"$1\" != --bindir ] || exec echo '{}'\nexec '{config}' \"$@\"\n", d.display());
    directory.program("pg_config", &text);
    let stop = stopped_at(d, "$(echo \"$*\" | sed -E 's/.*-p ([0-9]+) .*/\\1/')");
    let real = bin.join("pg_ctl").display().to_string();
    directory.program(
        "pg_ctl",
        &format!("#!/bin/bash\nif [[ \" $* \" == *' start '* ]]; then\n{stop}fi\nexec '{real}' \"$@\"\n"),
    );

    let name = format!("ports-{}", std::process::id());
    let tool = |verb: &str| {
        let mut command = Command::new(tools().join("cluster"));
        command.args([verb, &name]).env("PG_CONFIG", d.join("pg_config"));
        command
    };
    let (taken, out) = with_its_port_taken(d, &mut tool("start"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let port: u16 = if out.status.success() { exported(&text, "PGPORT").parse().expect("a port") } else { 0 };
    let answers = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok();
    tool("destroy").output().expect("the cluster goes");
    assert!(out.status.success() && answers && port != taken, "{taken}, {port}: {text} {said}");
    assert!(said.contains(&format!("port {taken} was taken in between")), "{said}");
}

#[test]
fn a_postgrest_starts_on_another_port_when_its_own_was_taken() {
    let Ok(out) = Command::new(tools().join("postgrest")).arg("binary").output() else { return };
    if !out.status.success() {
        eprintln!("SKIPPED: there is no PostgREST here");
        return;
    }
    let real = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let db = mps_tests::Db::new();
    let directory = Directory::new("postgrest");
    let d = &directory.0;
    let stop = stopped_at(d, "$(sed -n 's/^server-port = //p' \"$1\")");
    let wrapper = directory.program("postgrest", &format!("#!/bin/bash\n{stop}exec '{real}' \"$@\"\n"));
    let tool = |verb: &str| {
        let mut command = Command::new(tools().join("postgrest"));
        command.args([verb, &db.name]).arg(d.join("state")).env("MPS_POSTGREST", &wrapper);
        command
    };
    let (taken, out) = with_its_port_taken(d, &mut tool("start"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    tool("stop").output().expect("it goes");
    assert!(out.status.success() && !text.contains(&format!(":{taken} ")), "{taken}: {out:?}");
}
