//! The storm: many clients at once do everything that can be done to the books, while a model of them is kept on the side;
//! then the server is killed under their hands. Afterwards both books must agree to the cent.
//!
//! Needs a cluster of `tools/cluster` in the environment (PGHOST, PGPORT, PGUSER; MPS_LOG for reading its log). Killing the
//! server needs MPS_DATA and the cluster's name in MPS_CLUSTER as well.

mod certificate;
mod chaos;
mod db;
#[cfg(test)]
mod declared;
mod history;
mod model;
mod ops;
mod physical;
mod reads;
mod rebuilt;
mod receipts;
mod records;
mod request;
mod verify;
mod world;

use certificate::Case;
use chaos::{Chaos, ServerLog};
use db::Server;
use physical::Witness;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use verify::Report;
use world::World;

const USAGE: &str =
    "mps-storm [--seconds N] [--clients N] [--seed N] [--kill-server-every SECONDS] [--kill-backends] [--witness] [--lies N]
    --witness    a standby follows, and compares each page that it replays with the primary's; readers there are certified, too
    --lies       how often the recorded history is made wrong in one place, which must be found
mps-storm --short [--seed N]    a calm storm, one with a witness, one with crashes; about two minutes
mps-storm --seen [--seed N]     only the one with a witness
mps-storm --records [PART] [--seed N]    a crash after every record of a scripted day, or after one of PART";
/// How long those that are not done in time are still killed.
const LAST_REQUESTS: Duration = Duration::from_secs(3);
/// In the shortest storm: a certificate that could not be refused would say nothing.
const LIES: usize = 100;
/// Readers of the standby.
const READERS: usize = 2;
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// One storm to run.
struct Storm {
    seconds: u64,
    clients: usize,
    seed: u64,
    kill_server_every: Option<Duration>,
    kill_backends: bool,
    witness: bool,
    lies: usize,
}

/// Recoveries to the ends of records.
struct Records {
    /// One of how many.
    part: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let (storms, records) = match arguments(std::env::args().skip(1)) {
        Ok(found) => found,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    if let Some(Records { part, seed }) = records
        && let Err(why) = records::run(part, seed, &mut report)
    {
        report.failed += 1;
        println!("  FAILED  the recoveries themselves: {why}");
    }
    for storm in &storms {
        if let Err(why) = run(storm, &mut report) {
            report.failed += 1;
            println!("  FAILED  the storm itself: {why}");
        }
    }
    println!("\n{} passed, {} failed", report.passed, report.failed);
    if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments(args: impl Iterator<Item = String>) -> Result<(Vec<Storm>, Option<Records>), String> {
    let mut args = args.peekable();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut storm = Storm {
        seconds: 60,
        clients: 8,
        seed: clock,
        kill_server_every: None,
        kill_backends: false,
        witness: false,
        lies: 0,
    };
    let (mut short, mut seen, mut part) = (false, false, None);
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or_else(|| format!("{arg} takes a number"))?;
            value.parse::<u64>().map_err(|_| format!("{arg} takes a number, not {value}"))
        };
        match arg.as_str() {
            "--seconds" => storm.seconds = number()?,
            "--clients" => storm.clients = (number()? as usize).max(1),
            "--seed" => storm.seed = number()?,
            "--kill-server-every" => storm.kill_server_every = Some(Duration::from_secs(number()?.max(1))),
            "--kill-backends" => storm.kill_backends = true,
            "--witness" => storm.witness = true,
            "--lies" => storm.lies = number()? as usize,
            "--short" => short = true,
            "--seen" => seen = true,
            "--records" => {
                let given = args.peek().and_then(|next| next.parse().ok());
                part = Some(given.unwrap_or(1).max(1));
                if given.is_some() {
                    args.next();
                }
            }
            _ => return Err(format!("what is {arg}?")),
        }
    }
    let calm = Storm { seconds: 20, clients: 8, ..storm };
    let kill_server_every = Some(Duration::from_secs(7));
    let crash = Storm { seconds: 30, kill_server_every, kill_backends: true, ..calm };
    // Every record carries its pages: some hundred times as much log.
    let watched = Storm { seconds: 8, witness: true, lies: LIES, ..calm };
    let records = part.map(|part| Records { part, seed: storm.seed });
    let storms = match (short, seen) {
        // The one that kills comes last: the server is on another port then.
        (true, _) => vec![calm, watched, crash],
        (false, true) => vec![watched],
        (false, false) if records.is_some() => vec![],
        (false, false) => vec![storm],
    };
    Ok((storms, records))
}

fn run(storm: &Storm, report: &mut Report) -> Result<(), String> {
    let chaos = Chaos::new(storm.kill_server_every, storm.kill_backends)?;
    let kind = if chaos.is_rough() { "crash storm" } else { "storm" };
    println!("\n{kind}: {} clients, {} seconds, --seed {}", storm.clients, storm.seconds, storm.seed);
    let log = ServerLog::from_here();
    let mut witness = if storm.witness { Some(Witness::new()?) } else { None };
    let world = World::set_up(storm.seed, storm.clients, chaos.is_rough())?;
    let failed_before = report.failed;
    let standby = witness.as_ref().map(|witness| witness.reading(&world.server)).transpose()?;

    let began = Instant::now();
    blow(&world, &chaos, storm, standby.as_ref());
    summary(&world, &chaos, began.elapsed());
    verify::verify(&world, &log, report).map_err(|e| format!("verification: {e}"))?;
    let mut case = Case::of(&world).map_err(|e| format!("certificate: {e}"))?;
    case.judge(report);
    case.lie(storm.lies, storm.seed, report);
    if let Some(standby) = &standby {
        case.judge_replica(standby.take_history(), report);
    }
    rebuilt::check_rebuilt(&world.server, report).map_err(|e| format!("rebuilding: {e}"))?;
    if let Some(witness) = &mut witness {
        witness.check(&world.server, report).map_err(|e| format!("witness: {e}"))?;
    }
    if report.failed == failed_before {
        world.tear_down().map_err(|e| format!("tear-down: {e}"))
    } else {
        println!("  the database {} is kept", world.server.database);
        Ok(())
    }
}

/// Lets the clients loose until the time is over, and the chaos until the last of them is done, or a little longer than the time.
fn blow(world: &World, chaos: &Chaos, storm: &Storm, standby: Option<&Server>) {
    let end = Instant::now() + Duration::from_secs(storm.seconds);
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..storm.clients).map(|no| scope.spawn(move || ops::Client::new(world, no).run())).collect();
        scope.spawn(|| chaos.run(world));
        for (standby, no) in standby.into_iter().flat_map(|standby| (0..READERS).map(move |no| (standby, no))) {
            scope.spawn(move || reads::on_standby(world, standby, no));
        }
        let mut next = Instant::now() + PROGRESS_EVERY;
        while Instant::now() < end && !clients.iter().all(|c| c.is_finished()) {
            std::thread::sleep(Duration::from_millis(100));
            if Instant::now() >= next {
                next += PROGRESS_EVERY;
                progress(world, chaos, end);
            }
        }
        world.stop.store(true, Ordering::Relaxed);
        // The last of them would be killed alone, again and again, and what takes longer than that would never end.
        let last = Instant::now() + LAST_REQUESTS;
        while Instant::now() < last && !clients.iter().all(|c| c.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        chaos.end();
        for client in clients {
            if client.join().is_err() {
                world.wrong("a client of the storm panicked: see above".into());
            }
        }
    });
}

fn progress(world: &World, chaos: &Chaos, end: Instant) {
    println!(
        "  {:>4} s left: {} answers, {} connections lost, {} server kills, {} backend kills, {} wrong",
        end.saturating_duration_since(Instant::now()).as_secs(),
        world.operations.load(Ordering::Relaxed),
        world.server.lost.load(Ordering::Relaxed),
        chaos.server_kills.load(Ordering::Relaxed),
        chaos.backend_kills.load(Ordering::Relaxed),
        world.books().wrong.len(),
    );
}

/// What was done, by operation and outcome.
fn summary(world: &World, chaos: &Chaos, took: Duration) {
    println!("\n  {:<18}{:<28}{:>10}", "operation", "outcome", "answers");
    let mut last = "";
    for ((operation, outcome), n) in &world.books().tally {
        println!("  {:<18}{:<28}{n:>10}", if last == *operation { "" } else { operation }, outcome);
        last = operation;
    }
    let answers = world.operations.load(Ordering::Relaxed);
    println!(
        "  {answers} answers in {:.1} s ({:.0}/s); {} serialization failures repeated, {} told to wait; \
         {} server kills, {} backend kills, {} connections lost\n",
        took.as_secs_f64(),
        answers as f64 / took.as_secs_f64(),
        world.server.not_serializable.load(Ordering::Relaxed),
        world.server.read_only.load(Ordering::Relaxed),
        chaos.server_kills.load(Ordering::Relaxed),
        chaos.backend_kills.load(Ordering::Relaxed),
        world.server.lost.load(Ordering::Relaxed),
    );
}
