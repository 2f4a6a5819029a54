//! Earlier releases, each the real one: its install script as it was released, its library built from the repository's history.

use crate::{Db, Scratch, Session, program};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The releases before this one.
pub const OLD: [&str; 2] = ["0.1.0", "0.2.0"];

/// The top of the source tree.
pub fn top() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect()
}

/// A release from before, and the options of a session that runs its library.
pub struct Old {
    pub version: &'static str,
    pub options: String,
}

/// The releases that this server takes and whose library can be built; says aloud which are left out, and why.
pub fn old_releases() -> &'static [Old] {
    static RELEASES: OnceLock<Vec<Old>> = OnceLock::new();
    RELEASES.get_or_init(|| {
        let says = program("pg_config", &["--version"]).expect("pg_config");
        let major = says.trim_start_matches("PostgreSQL ").split(['.', ' ']).next().unwrap();
        OLD.into_iter()
            .filter_map(|version| {
                // The install script of 0.1.0 fails on PostgreSQL 17 and newer, which nobody had it on.
                if version == "0.1.0" && major.parse::<u32>().expect("a number") >= 17 {
                    eprintln!("SKIPPED: {version} cannot be installed on {says}");
                    return None;
                }
                Some(Old { version, options: library_of(version)? })
            })
            .collect()
    })
}

fn library_of(version: &str) -> Option<String> {
    let out = Command::new(top().join("tools/released-library"))
        .arg(version)
        .env("PG_CONFIG", program("pg_config", &["--bindir"]).expect("pg_config") + "/pg_config")
        .output()
        .expect("tools/released-library runs");
    match out.status.code() {
        Some(0) => {
            let directory = String::from_utf8(out.stdout).expect("a path");
            Some(format!("-c dynamic_library_path={}:$libdir", directory.trim()))
        }
        Some(3) => {
            eprintln!("SKIPPED: the repository's history does not reach back to {version}");
            None
        }
        _ => panic!("the library of {version}: {}", String::from_utf8_lossy(&out.stderr)),
    }
}

/// A session in the old library, in the shoes of the shop's server (decided by SET ROLE, as behind PostgREST).
pub fn old_backend(db: &Db, options: &str) -> Session {
    let session = db.superuser_with(options);
    session.become_role("service_role", r#"{"role":"service_role"}"#);
    session
}

/// Makes the old release in an empty database.
pub fn installed(old: &Old) -> Db {
    let db = Db::empty();
    drop(Db::new()); // the roles
    let superuser = db.superuser_with(&old.options);
    superuser.run(&format!("create extension mps version '{}'", old.version));
    superuser.run("select sec.grant_api('app_role', 'client')");
    db
}

/// One database into another, by a dump.
pub fn copy(from: &Db, to: &Db) {
    let file = Scratch::new("upgrade.dump");
    program("pg_dump", &["-Fc", "-f", file.path(), &from.name]).expect("dumps");
    program("pg_restore", &["--exit-on-error", "-d", &to.name, file.path()]).unwrap_or_else(|e| panic!("{e}"));
}
