//! What kills: single backends by pg_terminate_backend, and the whole server by SIGKILL, in three ways in turn. Only the
//! cluster that `tools/cluster` made under the given name is touched.

use crate::db::{Address, CLIENT_NAME, Server};
use crate::world::World;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BACKEND_KILL_EVERY: Duration = Duration::from_millis(60);
/// Longer than any recovery of so little WAL.
const RECOVERY: Duration = Duration::from_secs(90);

/// Ways to kill the server.
const POSTMASTER: usize = 0;
const EVERYBODY: usize = 1;
const ONE_BACKEND: usize = 2;
const WAYS: [&str; 3] = ["postmaster", "postmaster and all its children", "one backend"];

pub struct Chaos {
    pub kill_server_every: Option<Duration>,
    pub kill_backends: bool,
    cluster: Option<Cluster>,
    pub server_kills: AtomicU64,
    pub backend_kills: AtomicU64,
    over: AtomicBool,
}

struct Cluster {
    name: String,
    data: PathBuf,
}

impl Chaos {
    pub fn new(kill_server_every: Option<Duration>, kill_backends: bool) -> Result<Chaos, String> {
        let cluster = kill_server_every.map(|_| Cluster::of_environment()).transpose()?;
        Ok(Chaos {
            kill_server_every,
            kill_backends,
            cluster,
            server_kills: AtomicU64::new(0),
            backend_kills: AtomicU64::new(0),
            over: AtomicBool::new(false),
        })
    }

    pub fn is_rough(&self) -> bool {
        self.kill_server_every.is_some() || self.kill_backends
    }

    /// No kills any more; one that has begun is seen through.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Kills until ended.
    pub fn run(&self, world: &World) {
        if !self.is_rough() {
            return;
        }
        let mut next_server_kill = self.kill_server_every.map(|every| Instant::now() + every);
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(BACKEND_KILL_EVERY);
            if let (Some(due), Some(every), Some(cluster)) = (next_server_kill, self.kill_server_every, &self.cluster)
                && Instant::now() >= due
            {
                let way = self.server_kills.fetch_add(1, Ordering::Relaxed) as usize % WAYS.len();
                println!("  kill -9: {}", WAYS[way]);
                if let Err(why) = cluster.kill(&world.server, way) {
                    println!("  chaos: {why}");
                    world.server.gone.store(true, Ordering::Relaxed);
                    world.stop.store(true, Ordering::Relaxed);
                    world.wrong(format!("chaos: {why}"));
                    return;
                }
                next_server_kill = Some(Instant::now() + every);
            }
            if self.kill_backends && terminate_one(&world.server).unwrap_or(false) {
                self.backend_kills.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Terminates one of the clients' backends, whichever the server picks.
fn terminate_one(server: &Server) -> Result<bool, postgres::Error> {
    let mut db = server.connect(&server.database, "mps-storm chaos")?;
    let row = db.query_opt(
        "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = $1 AND state = 'active' ORDER BY random() LIMIT 1) one",
        &[&CLIENT_NAME],
    )?;
    Ok(row.is_some_and(|r| r.get(0)))
}

impl Cluster {
    fn of_environment() -> Result<Cluster, String> {
        let name = std::env::var("MPS_CLUSTER").map_err(|_| "MPS_CLUSTER is not set: whose server may be killed?")?;
        let data = std::env::var("MPS_DATA").map_err(|_| "MPS_DATA is not set: start a cluster first")?;
        let cluster = Cluster { name, data: data.into() };
        let shown = tool(&["env", &cluster.name])?;
        if exported(&shown, "MPS_DATA").map(PathBuf::from) != Some(cluster.data.clone()) {
            return Err(format!("MPS_DATA is not the cluster {}: it stays alive", cluster.name));
        }
        Ok(cluster)
    }

    /// Kills the server in one of the [`WAYS`] and returns when it takes connections again.
    fn kill(&self, server: &Server, way: usize) -> Result<(), String> {
        let postmaster = self.postmaster()?;
        let children: Vec<u32> = self.processes().into_iter().filter(|pid| *pid != postmaster).collect();
        if way == ONE_BACKEND {
            // The postmaster sees it, throws everybody out and recovers by itself.
            let mut db = server.connect(&server.database, "mps-storm chaos").map_err(|e| e.to_string())?;
            let backend: Option<i32> = db
                .query_opt(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 \
                     ORDER BY state = 'active' DESC, random() LIMIT 1",
                    &[&CLIENT_NAME],
                )
                .map_err(|e| e.to_string())?
                .map(|row| row.get(0));
            if let Some(pid) = backend.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| children.contains(pid)) {
                kill(&[pid]);
                wait("the backend to go", || !self.processes().contains(&pid))?;
            }
        } else {
            let mut victims = vec![postmaster];
            if way == EVERYBODY {
                victims.extend(&children);
            } else {
                debug_assert_eq!(way, POSTMASTER);
            }
            kill(&victims);
            // Children finish what they do and then see that the postmaster is gone.
            wait("the server's processes to go", || self.processes().is_empty())?;
            // Whoever started the server may not have reaped it yet, and a zombie still looks like a running server.
            let _ = std::fs::remove_file(self.data.join("postmaster.pid"));
            self.restart(server)?;
        }
        wait("the server to recover", || server.connect(&server.database, "mps-storm chaos").is_ok())
    }

    fn restart(&self, server: &Server) -> Result<(), String> {
        let began = Instant::now();
        let shown = loop {
            match tool(&["start", &self.name]) {
                Ok(shown) => break shown,
                Err(why) if began.elapsed() > RECOVERY => return Err(why),
                Err(_) => std::thread::sleep(Duration::from_millis(300)),
            }
        };
        *server.address.write().expect("not poisoned") = Address::printed(&shown)?;
        Ok(())
    }

    /// The pid of the postmaster, which must be a process at work in our data directory.
    fn postmaster(&self) -> Result<u32, String> {
        let file = self.data.join("postmaster.pid");
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let pid: u32 = text.lines().next().and_then(|l| l.trim().parse().ok()).ok_or("postmaster.pid has no pid")?;
        if !self.processes().contains(&pid) {
            return Err(format!("process {pid} is not at work in {}", self.data.display()));
        }
        Ok(pid)
    }

    /// The server's processes: every one of them works in the data directory, and nobody else does. Zombies have no
    /// directory.
    fn processes(&self) -> Vec<u32> {
        let Ok(processes) = std::fs::read_dir("/proc") else { return vec![] };
        processes
            .flatten()
            .filter(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|at| at == self.data))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }
}

/// What `tools/cluster` prints.
pub fn tool(arguments: &[&str]) -> Result<String, String> {
    tool_with("", arguments)
}

/// As [`tool`], with options of the server; without any, those of the environment.
pub fn tool_with(options: &str, arguments: &[&str]) -> Result<String, String> {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/cluster");
    let output = Command::new(tool)
        .args(arguments)
        .envs((!options.is_empty()).then_some(("PG_OPTIONS", options)))
        .output()
        .map_err(|e| format!("tools/cluster: {e}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("tools/cluster {}: {} {why}", arguments.join(" "), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The value of `NAME=value` in what tools/cluster prints.
pub fn exported(shown: &str, name: &str) -> Option<String> {
    shown.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

fn kill(pids: &[u32]) {
    // The shell's own kill: no package is needed for it. Processes that are gone already do not matter.
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let _ = Command::new("sh").arg("-c").arg(format!("kill -9 {} 2>/dev/null", pids.join(" "))).status();
}

fn wait(what: &str, mut until: impl FnMut() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !until() {
        if began.elapsed() > RECOVERY {
            return Err(format!("waited in vain for {what}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What the server wrote into its log during a storm: crashes of its own making, deadlocks, whose counter does not survive a
/// crash, and what a call left open (pins, relations, snapshots).
pub struct ServerLog {
    path: Option<PathBuf>,
    from: u64,
}

impl ServerLog {
    pub fn from_here() -> ServerLog {
        let path = std::env::var_os("MPS_LOG").map(PathBuf::from);
        let from = path.as_ref().and_then(|p| p.metadata().ok()).map_or(0, |m| m.len());
        ServerLog { path, from }
    }

    /// Lines since then that must not be there; `None` where the log is not known.
    pub fn bad_lines(&self, rough: bool) -> Option<Vec<String>> {
        let text = std::fs::read(self.path.as_ref()?).ok()?;
        let text = String::from_utf8_lossy(text.get(self.from as usize..)?).into_owned();
        let is_bad = |line: &str| {
            let signalled = line.contains("was terminated by signal") && !(rough && line.contains("signal 9:"));
            signalled
                || ["deadlock detected", "PANIC:", "TRAP:", " leak: ", "was not closed"]
                    .iter()
                    .any(|word| line.contains(word))
        };
        Some(text.lines().filter(|line| is_bad(line)).map(str::to_owned).collect())
    }
}
