//! What a backend costs: processor time and memory, as the operating system counts them for its process.

use crate::session::Session;
use std::fs;
use std::sync::Once;
use std::time::{Duration, Instant};

/// Of one session's backend, since the meter was made.
pub struct Meter {
    pid: String,
    peak_at_start: Option<u64>,
}

impl Meter {
    pub fn of(session: &Session) -> Meter {
        let pid = session.pid();
        let meter = Meter { peak_at_start: peak(&pid), pid };
        if meter.peak_at_start.is_none() {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                eprintln!("SKIPPED: memory is not measured, the server's processes cannot be looked at from here")
            });
        }
        meter
    }

    /// By how many bytes the backend's memory at its highest is above where it was at its highest when the meter was made.
    /// Of its address space, which holds shared memory from the beginning; 0 where it cannot be measured.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_at_start.zip(peak(&self.pid)).map_or(0, |(before, now)| now - before)
    }

    /// How long the backend was busy with `work`; where that cannot be measured, how long it took.
    pub fn busy<T>(&self, work: impl FnOnce() -> T) -> (T, Duration) {
        let (before, began) = (processor_time(&self.pid), Instant::now());
        let done = work();
        let took = began.elapsed();
        let busy = before.zip(processor_time(&self.pid)).map_or(took, |(before, now)| now - before);
        (done, busy)
    }

    /// The least of three times, unless the first is within `limit`: others make use of the machine.
    pub fn least_busy(&self, limit: Duration, mut work: impl FnMut()) -> Duration {
        let mut least = Duration::MAX;
        for _ in 0..3 {
            least = least.min(self.busy(&mut work).1);
            if least <= limit {
                break;
            }
        }
        least
    }
}

fn peak(pid: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmPeak:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn processor_time(pid: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
