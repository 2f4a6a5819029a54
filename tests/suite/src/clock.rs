//! A server whose clock the test sets: libfaketime adds to the machine's what a file says, anew at every look.

use crate::cluster::{Cluster, Scratch};
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// A throwaway cluster and its clock.
pub struct Clock {
    pub cluster: Cluster,
    offset: Scratch,
}

impl Clock {
    /// A cluster whose clock shows `moment` when it starts.
    #[track_caller]
    pub fn start_at(moment: &str) -> Clock {
        let offset = Scratch::new("clock");
        set(&offset, moment);
        let library = library();
        let of_server = [
            ("LD_PRELOAD", library.to_str().expect("a path")),
            ("FAKETIME_TIMESTAMP_FILE", offset.path()),
            ("FAKETIME_NO_CACHE", "1"),
            // What is waited for is waited for as long as it takes.
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        // Only the server's: what runs as root before it leaves semaphores that the server may not open.
        let of_server = of_server.map(|(name, value)| format!("{name}={value}")).to_vec();
        Clock { cluster: Cluster::start_in(of_server, ""), offset }
    }

    /// From now on the clock goes on from `moment`, as in `2026-11-30 23:59:50Z`.
    #[track_caller]
    pub fn set(&self, moment: &str) {
        set(&self.offset, moment);
    }

    /// From now on the clock stands at `moment`, a whole second.
    #[track_caller]
    pub fn stop(&self, moment: &str) {
        // libfaketime reads it by the zone of the server's process.
        write(&self.offset, &crate::cluster::program("date", &["-d", moment, "+%F %T"]).expect("a moment"));
    }
}

/// The file says by how many seconds the clock is ahead.
#[track_caller]
fn set(file: &Scratch, moment: &str) {
    let wanted = crate::cluster::program("date", &["-u", "-d", moment, "+%s"]).expect("a moment");
    let wanted: f64 = wanted.parse().expect("seconds");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    write(file, &format!("{:+.3}", wanted - now));
}

fn write(file: &Scratch, text: &str) {
    // In its place at once: the server may look while it is written.
    let new = format!("{}-new", file.path());
    fs::write(&new, text).expect("a file");
    fs::rename(&new, file.path()).expect("takes its place");
}

fn library() -> PathBuf {
    let dirs = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|d| d.path());
    let mut found = dirs.map(|d| d.join("faketime/libfaketime.so.1")).filter(|f| f.exists());
    found.next().expect("libfaketime, which tools/setup installs (Debian's package faketime)")
}
