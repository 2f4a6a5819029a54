//! A copy of the source tree, for tests of what the tools write.

use crate::releases::{frozen, top};
use crate::{Scratch, program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of the tree, which goes when it is dropped.
pub struct Tree(Scratch);

impl Tree {
    pub fn copy(name: &str) -> Tree {
        let copy = Scratch::new(name);
        fs::create_dir_all(copy.path()).expect("a directory");
        let out = ["target", ".git", ".local", "node_modules"].map(|folder| format!("--exclude={folder}")).join(" ");
        let pack = format!("tar -C {} {out} -c . | tar -C {} -x", top().display(), copy.path());
        program("bash", &["-o", "pipefail", "-c", &pack]).expect("copies");
        Tree(copy)
    }

    /// As a repository, in which everything is committed and the changelog says something of this version.
    pub fn repository(name: &str) -> Tree {
        let tree = Tree::copy(name);
        let heading = format!("## {} (unreleased)\n", env!("CARGO_PKG_VERSION"));
        let changes = tree.read("CHANGELOG.md");
        assert!(changes.contains(&heading), "the changelog has no chapter {heading}");
        tree.write("CHANGELOG.md", &changes.replacen(&heading, &format!("{heading}\nSomething.\n"), 1));
        tree.git(&["init", "--quiet"]);
        tree.commit();
        tree
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.run("git", arguments).unwrap_or_else(|e| panic!("git {arguments:?}: {e}"))
    }

    pub fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["-c", "user.name=MPS", "-c", "user.email=mps@localhost", "commit", "--quiet", "-m", "as it is"]);
    }

    pub fn path(&self, file: &str) -> PathBuf {
        Path::new(self.0.path()).join(file)
    }

    /// A file where scripts are frozen.
    pub fn frozen(&self, file: &str) -> PathBuf {
        self.path(frozen().strip_prefix(top()).expect("a part of the tree").to_str().expect("a path")).join(file)
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    }

    /// The script from one version to another that is in the making.
    pub fn upgrade(&self, old: &str, new: &str) -> String {
        let name = format!("mps--{old}--{new}.sql");
        let script =
            fs::read_to_string(self.frozen(&name)).or_else(|_| fs::read_to_string(self.path("sql").join(&name)));
        script.unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).expect("writes");
    }

    /// The one file of SQL that says this.
    pub fn sql_with(&self, text: &str) -> String {
        self.run("grep", &["-rlF", "--include=*.sql", "--exclude=mps--*", "--", text, "sql"]).expect("is there")
    }

    pub fn run(&self, command: &str, arguments: &[&str]) -> Result<String, String> {
        let config = program("pg_config", &["--bindir"]).expect("pg_config") + "/pg_config";
        let path = if command.contains('/') { self.path(command) } else { command.into() };
        let out = Command::new(path).args(arguments).env("PG_CONFIG", config).current_dir(self.0.path()).output();
        let out = out.unwrap_or_else(|e| panic!("{command}: {e}"));
        let says = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if out.status.success() { Ok(says(&out.stdout)) } else { Err(says(&out.stderr)) }
    }

    pub fn upgrade_script(&self, arguments: &[&str]) -> Result<String, String> {
        self.run("tools/upgrade-script", arguments)
    }

    pub fn release(&self, version: &str) -> Result<String, String> {
        self.run("tools/release", &[version])
    }

    /// Puts something into a file, before or after what is there once.
    pub fn edit(&self, file: &str, there: &str, instead: &str) {
        let text = self.read(file);
        assert_eq!(text.matches(there).count(), 1, "{file}: {there}");
        self.write(file, &text.replacen(there, instead, 1));
    }

    /// What `tools/api` and then `tools/upgrade-script` say.
    pub fn write_what_follows(&self) -> Result<String, String> {
        Ok(self.run("tools/api", &[])? + &self.upgrade_script(&[])?)
    }

    /// Files that differ from what was committed.
    pub fn changed(&self) -> Vec<String> {
        let files = self.git(&["status", "--short", "--untracked-files=all"]);
        files
            .lines()
            .map(|line| line.trim_start().split_once(' ').expect("a state and a file").1.trim().to_owned())
            .collect()
    }
}
