//! Several connections at once, in an order that the test decides.

use crate::session::{Failure, Row, Session};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long anything here may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A statement running in a thread of its own.
pub struct Waiting {
    pid: String,
    thread: JoinHandle<Result<Vec<Row>, Failure>>,
}

impl Waiting {
    /// Starts a statement that must come to wait for a lock, and returns once it does.
    #[track_caller]
    pub fn start(session: Session, watch: &Session, sql: String) -> Waiting {
        let pid = session.pid();
        let thread = thread::spawn(move || session.try_rows(&sql));
        let waiting = Waiting { pid, thread };
        waiting.until_it_waits(watch);
        waiting
    }

    /// As [`Waiting::start`], where it must come to wait for what `holder` has: on its way there it may wait for others.
    #[track_caller]
    pub fn behind(session: Session, holder: &Session, watch: &Session, sql: String) -> Waiting {
        let waiting = Waiting::start(session, watch, sql);
        waiting.until(watch, &format!("{} = any (pg_blocking_pids({}))", holder.pid(), waiting.pid));
        waiting
    }

    /// As [`Waiting::start`], where what holds it up lets everybody through now and then, as an update does: what is answered at once is
    /// taken back and sent again, until it waits.
    #[track_caller]
    pub fn queued(session: Session, watch: &Session, sql: String) -> Waiting {
        let pid = session.pid();
        let waits = Arc::new(AtomicBool::new(false));
        let has_waited = waits.clone();
        let thread = thread::spawn(move || {
            loop {
                session.run("begin");
                let answer = session.try_rows(&sql);
                let counts = has_waited.load(Ordering::SeqCst);
                session.run(if counts && answer.is_ok() { "commit" } else { "rollback" });
                if counts {
                    return answer;
                }
            }
        });
        let waiting = Waiting { pid, thread };
        waiting.until_it_waits(watch);
        waits.store(true, Ordering::SeqCst);
        waiting
    }

    #[track_caller]
    fn until_it_waits(&self, watch: &Session) {
        self.until(watch, &format!("pid = {} and wait_event_type = 'Lock'", self.pid));
    }

    #[track_caller]
    fn until(&self, watch: &Session, condition: &str) {
        let sql = format!("select count(*) from pg_stat_activity where {condition}");
        let start = Instant::now();
        while watch.value(&sql) == "0" {
            assert!(!self.thread.is_finished(), "it did not wait for any lock");
            assert!(start.elapsed() < PATIENCE, "it never came to wait");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it came to, now that nothing holds it up.
    pub fn end(self) -> Result<Vec<Row>, Failure> {
        self.thread.join().expect("the thread lives")
    }
}

/// Runs one statement per session at the same instant; the answers, in order.
pub fn together(jobs: Vec<(Session, String)>) -> Vec<Result<Vec<Row>, Failure>> {
    let barrier = Arc::new(Barrier::new(jobs.len()));
    let threads: Vec<_> = jobs
        .into_iter()
        .map(|(session, sql)| {
            let barrier = barrier.clone();
            thread::spawn(move || {
                barrier.wait();
                session.try_rows(&sql)
            })
        })
        .collect();
    threads.into_iter().map(|t| t.join().expect("the thread lives")).collect()
}
