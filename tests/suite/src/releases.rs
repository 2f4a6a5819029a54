//! Earlier releases, each the real one: its install script as it was released, its library built from the repository's history.

use crate::{Db, Scratch, Session, program};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The top of the source tree.
pub fn top() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect()
}

/// Where the scripts lie that were released.
pub fn frozen() -> PathBuf {
    [top().join("sql/released"), top().join("sql")].into_iter().find(|folder| folder.is_dir()).expect("sql")
}

fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().expect("a number")).collect()
}

/// The releases before this one, oldest first: those whose install script is kept.
pub fn released() -> &'static [&'static str] {
    static RELEASED: OnceLock<Vec<&str>> = OnceLock::new();
    RELEASED.get_or_init(|| {
        let files = std::fs::read_dir(frozen()).expect("scripts");
        let names = files.map(|file| file.expect("a file").file_name().into_string().expect("a name"));
        let mut versions: Vec<&str> = names
            .filter_map(|name| Some(name.strip_prefix("mps--")?.strip_suffix(".sql")?.to_owned()))
            .filter(|version| !version.contains("--"))
            .map(|version| &*version.leak())
            .collect();
        versions.sort_by_key(|version| number(version));
        versions
    })
}

/// The newest of them.
pub fn newest() -> &'static str {
    released().last().expect("a release")
}

/// A release from before, and the options of a session that runs its library.
pub struct Old {
    pub version: &'static str,
    pub options: String,
}

impl Old {
    pub fn is_before(&self, version: &str) -> bool {
        number(self.version) < number(version)
    }
}

/// The name of a release's library: up to 0.2.0 they all had the same one.
pub fn library(version: &str) -> String {
    if number(version) <= number("0.2.0") { "mps".into() } else { format!("mps-{version}") }
}

/// The releases that this server takes and whose library can be built; says aloud which are left out, and why.
pub fn old_releases() -> &'static [Old] {
    static RELEASES: OnceLock<Vec<Old>> = OnceLock::new();
    RELEASES.get_or_init(|| {
        let says = program("pg_config", &["--version"]).expect("pg_config");
        let major = says.trim_start_matches("PostgreSQL ").split(['.', ' ']).next().unwrap();
        released()
            .iter()
            .filter_map(|&version| {
                // The install script of 0.1.0 fails on PostgreSQL 17 and newer, which nobody had it on.
                if version == "0.1.0" && major.parse::<u32>().expect("a number") >= 17 {
                    eprintln!("SKIPPED: {version} cannot be installed on {says}");
                    return None;
                }
                let directory = library_directory(version)?;
                Some(Old { version, options: format!("-c dynamic_library_path={directory}:$libdir") })
            })
            .collect()
    })
}

/// Those of them that are older than one: for what that release changed.
pub fn before(version: &'static str) -> impl DoubleEndedIterator<Item = &'static Old> {
    old_releases().iter().filter(move |old| old.is_before(version))
}

/// The directory of a release's library; `None`, said aloud, where the repository's history does not reach back to it.
pub fn library_directory(version: &str) -> Option<String> {
    let out = Command::new(top().join("tools/released-library"))
        .arg(version)
        .env("PG_CONFIG", program("pg_config", &["--bindir"]).expect("pg_config") + "/pg_config")
        .output()
        .expect("tools/released-library runs");
    match out.status.code() {
        Some(0) => Some(String::from_utf8(out.stdout).expect("a path").trim().to_owned()),
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

/// The schema version of this release, as a fresh install has it.
pub fn schema_version() -> String {
    Db::new().superuser().value("select schema_version from app.settings")
}
