//! What the documents say of the house itself: links, the oldest Rust, what is installed for building, and advice that works.

use mps_tests::manual::documents;
use mps_tests::{Db, Scratch, program};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the tree")
}

fn read(file: &str) -> String {
    fs::read_to_string(top().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The sections of a document, as GitHub names them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if !in_code && line.starts_with('#') {
            let heading = line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
            found.insert(heading.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect());
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|l| l.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            seen += 1;
            let (file, section) = link.split_once('#').map_or((link, None), |(f, s)| (f, Some(s)));
            let target = if file.is_empty() {
                top().join(&document)
            } else {
                top().join(&document).parent().expect("a folder").join(file)
            };
            assert!(target.exists(), "{document}: no file {link}");
            if let Some(section) = section {
                let there = anchors(&fs::read_to_string(&target).expect("a document"));
                assert!(there.contains(section), "{document}: no section {link}; there are {there:?}");
            }
        }
    }
    assert!(seen > 150, "{seen}");
}

#[test]
fn the_page_of_the_building_names_every_table_and_room() {
    let page = read("docs/architecture.md");
    let db = Db::new();
    let tables = db.superuser().column(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('app', 'audit', 'sec') and c.relkind in ('r', 'p') and not c.relispartition",
    );
    assert!(tables.len() > 20, "{tables:?}");
    let folders = |of: &str| -> Vec<String> {
        let entries = fs::read_dir(top().join(of)).expect("a folder").map(|e| e.expect("an entry"));
        let folders = entries.filter(|e| e.file_type().expect("a kind").is_dir());
        folders.map(|e| e.file_name().into_string().expect("a name")).collect()
    };
    let (rooms, families) = (folders("src"), folders("src/features"));
    assert!(rooms.len() >= 5 && families.len() >= 7, "{rooms:?} {families:?}");
    let rooms = rooms.into_iter().map(|room| format!("`src/{room}"));
    let named = tables.into_iter().chain(families).map(|name| format!("`{name}`")).chain(rooms);
    let missing: Vec<_> = named.filter(|name| !page.contains(name)).collect();
    assert!(missing.is_empty(), "docs/architecture.md does not name {missing:?}");
}

#[test]
fn the_oldest_rust_is_said_once() {
    let manifest = read("Cargo.toml");
    assert_eq!(manifest.matches("rust-version").count(), 1);
    for file in documents().iter().map(String::as_str).chain(["Makefile", "tools/setup", "tools/pgrx", "tools/cargo"]) {
        if file == "CHANGELOG.md" {
            continue;
        }
        for line in read(file).lines().filter(|l| l.to_lowercase().contains("rust")) {
            let number =
                line.split(|c: char| !c.is_ascii_digit() && c != '.').any(|w| w.starts_with("1.") && w.len() > 3);
            assert!(!number, "{file}: {line}");
        }
    }
}

/// Runs tools/setup where nothing is installed, and nothing can be: what it would install.
fn setup(what: &[&str], rustc: &str) -> (bool, Vec<String>, String) {
    let scratch = Scratch::new("setup");
    let fake = |name: &str, body: &str| {
        let path = format!("{}/{name}", scratch.path());
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    };
    fs::create_dir_all(scratch.path()).expect("a directory");
    let asked = format!("{}/asked", scratch.path());
    fs::write(&asked, "").expect("writes");
    fake("dpkg-query", "exit 1");
    fake(
        "apt-get",
        &format!(
            "for word; do case $word in install) on=1;; -*) ;; *) [ -z \"$on\" ] || echo $word >>{asked};; esac; done"
        ),
    );
    fake("sudo", "exec \"$@\"");
    fake("cargo-pgrx", &format!("[ \"$1\" = --version ] && echo cargo-pgrx 0.19.3 || echo pgrx $2 >>{asked}"));
    fake("cargo", "exit 1");
    fake("rustc", &format!("echo rustc {rustc}"));
    fake("npm", &format!("echo npm >>{asked}"));
    fake("node", "exit 1");
    fake("useradd", "exit 0");
    let path = format!("{}:{}", scratch.path(), std::env::var("PATH").unwrap_or_default());
    let out = Command::new(top().join("tools/setup"))
        .args(what)
        .env("PATH", path)
        .env("PG_CONFIG", "/usr/lib/postgresql/15/bin/pg_config")
        .env("PGRX_HOME", scratch.path())
        .output()
        .expect("runs");
    let mut words: Vec<String> = fs::read_to_string(&asked).expect("reads").lines().map(Into::into).collect();
    words.sort();
    (out.status.success(), words, String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn make_install_installs_what_building_needs_and_nothing_else() {
    let (done, installed, said) = setup(&["build"], "99.0.0");
    assert!(done, "{said}");
    assert_eq!(installed, ["clang", "gcc", "libclang-dev", "libssl-dev", "pkg-config", "postgresql-server-dev-15"]);
    let (done, installed, said) = setup(&[], "99.0.0");
    assert!(done, "{said}");
    for more in
        ["nodejs", "npm", "pgbouncer", "postgresql-15", "postgresql-15-cron", "postgresql-15-pgaudit", "python3"]
    {
        assert!(installed.iter().any(|p| p == more), "{more}: {installed:?}");
    }
    let recipe = program("make", &["-n", "-C", top().to_str().expect("a path"), "install", "PG_CONFIG=/nowhere"]);
    assert!(recipe.expect("make").contains("tools/setup build"));
    let api = program("make", &["-n", "-C", top().to_str().expect("a path"), "api", "PORT=4000", "PG_CONFIG=/nowhere"]);
    assert!(api.expect("make").contains("PORT=4000 tools/serve start"));
    let (done, _, said) = setup(&["build"], "1.70.0");
    let oldest = read("Cargo.toml").lines().find_map(|l| Some(l.strip_prefix("rust-version = \"")?.to_owned()));
    let oldest = oldest.expect("a version");
    assert!(!done && said.contains(oldest.trim_end_matches('"')), "{said}");
}

#[test]
fn health_advises_what_works() {
    let db = Db::new();
    let s = db.superuser();
    let advice = "select detail from app.health() where check_name = 'schema_version'";
    let version = s.value("select schema_version from app.settings");
    s.run("update app.settings set schema_version = 99");
    let newer = s.value(advice);
    assert!(
        newer.contains("install the release of mps that they are of") && !newer.contains("app.migrate()"),
        "{newer}"
    );
    s.refused("SCHEMA_OUTDATED", "select app.migrate()");
    s.run("update app.settings set schema_version = 2");
    let older = s.value(advice);
    assert!(older.ends_with(": SELECT app.migrate()"), "{older}");
    s.run("select app.migrate()");
    assert_eq!(s.value("select schema_version from app.settings"), version);
    // As a dump of the schema alone leaves it.
    s.run("begin; delete from app.settings");
    let empty = s.value(advice);
    assert!(empty.contains("restored without their data: load it, or SELECT app.migrate()"), "{empty}");
    s.run("select app.migrate()");
    assert_eq!(s.value("select ok from app.health() where check_name = 'schema_version'"), "t");
    s.run("rollback");
}

#[test]
fn health_and_schedule_jobs_name_a_way_that_needs_neither() {
    let db = Db::new();
    let s = db.superuser();
    for row in s.rows("select * from app.health() where check_name ~ '^job '") {
        let call = if row["check_name"].ends_with("seal") { "CALL audit.seal()" } else { "CALL app." };
        assert!(row["detail"].contains(call) && row["detail"].contains("the system's cron"), "{row:?}");
    }
    for row in s.rows("select * from app.schedule_jobs()") {
        assert!(row["done"].contains("the system's cron run: CALL "), "{row:?}");
    }
}
