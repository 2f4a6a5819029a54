//! Releases as files: what was released stays as it was, upgrade scripts are made of the sources, and `tools/release` does what a
//! release needs.

use mps_tests::releases::{frozen, library, newest, released, top};
use mps_tests::tree::Tree;
use mps_tests::{Db, program};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

const NOW: &str = env!("CARGO_PKG_VERSION");

/// The files whose sums are pinned.
fn pinned(sums: &str) -> BTreeSet<String> {
    sums.lines().map(|line| line.split_once("  ").expect("a sum and a file").1.to_owned()).collect()
}

/// What these releases consist of: install scripts, control files, and the upgrade scripts that lead to them and begin at one that
/// had any.
fn files_of(releases: &[&str]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for (n, version) in releases.iter().enumerate() {
        files.extend([format!("mps--{version}.sql"), format!("mps--{version}.control")]);
        files.extend(releases[..n].iter().map(|old| format!("mps--{old}--{version}.sql")));
    }
    files
}

#[test]
fn what_was_released_is_never_edited() {
    let sums = top().join("tests/suite/released.sha256").canonicalize().expect("the sums");
    assert_eq!(pinned(&fs::read_to_string(&sums).expect("the sums")), files_of(released()));
    let out =
        Command::new("sha256sum").args(["--check", "--strict", "--quiet"]).arg(&sums).current_dir(frozen()).output();
    let out = out.expect("sha256sum");
    let says = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "released: write an upgrade script instead: {says}");
}

#[test]
fn the_upgrade_script_has_every_function_of_the_sources() {
    program(top().join("tools/upgrade-script").to_str().unwrap(), &["--check"]).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_comment_that_changed_is_missed_in_an_upgrade_script() {
    let copy = Tree::copy("upgrade-script");
    copy.upgrade_script(&["--check"]).expect("up to date");
    let rpcs = copy.sql_with("COMMENT ON FUNCTION app.get_settings IS");
    let text = copy.read(&rpcs);
    copy.write(&rpcs, &text.replace("The settings, as one object", "All settings, as one object"));
    let missed = copy.upgrade_script(&["--check"]).expect_err("the comment changed");
    assert!(released().iter().all(|old| missed.contains(&format!("mps--{old}--"))), "{missed}");
}

#[test]
fn a_new_function_comes_with_its_comment_or_not_at_all() {
    const NEW: &str =
        "CREATE FUNCTION app.new_one() RETURNS void\n    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS '';\n";
    let copy = Tree::copy("upgrade-script-new");
    let rpcs = copy.sql_with("COMMENT ON FUNCTION app.get_settings IS");
    let text = copy.read(&rpcs);
    for (comment, written) in [
        ("COMMENT ON FUNCTION app.new_one IS\n    'Something new; not old.';\n", true),
        ("COMMENT ON FUNCTION app.new_one() IS 'Something new; not old.';\n", true),
        ("COMMENT ON FUNCTION app.new_one\n    IS 'Something new; not old.';\n", true),
        ("comment on function app.new_one is 'Something new; not old.';\n", false),
        ("COMMENT ON  FUNCTION app.new_one IS 'Something new; not old.';\n", false),
        ("", false),
    ] {
        copy.write(&rpcs, &format!("{text}{NEW}{comment}"));
        let outcome = copy.upgrade_script(&[]);
        if !written {
            assert!(outcome.expect_err(comment).contains("app.new_one"), "{comment}");
            continue;
        }
        outcome.unwrap_or_else(|e| panic!("{comment}: {e}"));
        for old in released() {
            let upgrade = copy.upgrade(old, NOW);
            assert!(upgrade.contains(NEW) && upgrade.contains(comment), "{comment}: not in the script of {old}");
        }
    }
}

#[test]
fn a_c_symbol_takes_and_gives_the_same_in_every_release() {
    let copy = Tree::copy("symbols");
    for (was, is, symbol) in [
        (
            "CREATE FUNCTION app.set_card_status(",
            "CREATE FUNCTION app.set_card_status(p_more text, ",
            "set_card_status_wrapper",
        ),
        (
            "CREATE FUNCTION app.register_member(p_name text,",
            "CREATE FUNCTION app.register_member(p_name jsonb,",
            "register_member_wrapper",
        ),
        ("RETURNS TABLE (member_id uuid,", "RETURNS TABLE (member_id text,", "register_member_wrapper"),
        // What was a symbol of before comes back.
        ("'confirm_recharge_v3_wrapper'", "'confirm_recharge_wrapper'", "confirm_recharge_wrapper"),
    ] {
        let file = copy.sql_with(was);
        let text = copy.read(&file);
        copy.write(&file, &text.replacen(was, is, 1));
        for arguments in [&["--check"][..], &[]] {
            let refused = copy.upgrade_script(arguments).expect_err(is);
            assert!(refused.starts_with(&format!("{symbol}: ")) && refused.contains("new C symbol"), "{is}: {refused}");
        }
        copy.write(&file, &text);
    }
    // Another name or default of an argument is told, but is no other symbol.
    let file = copy.sql_with("CREATE FUNCTION app.set_card_status(");
    copy.write(&file, &copy.read(&file).replacen("app.set_card_status(p_card_id", "app.set_card_status(p_id", 1));
    let refused = copy.upgrade_script(&["--check"]).expect_err("another name");
    assert!(refused.contains("app.set_card_status") && !refused.contains("symbol"), "{refused}");
}

#[test]
fn every_release_kept_has_its_own_library() {
    for old in released() {
        let control = fs::read_to_string(frozen().join(format!("mps--{old}.control"))).expect(old);
        assert!(control.contains(&format!("module_pathname = '{}'\n", library(old))), "{control}");
    }
    let db = Db::new();
    let libraries = db.superuser().column(
        "select distinct p.probin from pg_proc p join pg_depend d on d.objid = p.oid and d.classid = 'pg_proc'::regclass \
         join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and e.extname = 'mps' where p.probin is \
         not null",
    );
    assert_eq!(libraries, [library(NOW)]);
}

/// The versions that can follow one.
fn following(version: &str) -> [String; 3] {
    let n: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
    [format!("{}.{}.{}", n[0], n[1], n[2] + 1), format!("{}.{}.0", n[0], n[1] + 1), format!("{}.0.0", n[0] + 1)]
}

#[test]
fn a_release_is_refused_where_something_is_in_the_way() {
    let tree = Tree::repository("release-refused");
    let [_, next, _] = following(NOW);
    let refused = |version: &str, why: &str| {
        let says = tree.release(version).expect_err(why);
        assert!(says.contains(why), "{version}: {says}");
    };
    refused("next", "is no version");
    refused(newest(), "was released already");
    refused(NOW, "after ");
    refused(&following(&next)[1], "after ");
    assert_eq!(tree.git(&["status", "--porcelain"]), "", "something was written");

    tree.write("something", "");
    refused(&next, "not committed");
    fs::remove_file(tree.path("something")).expect("removes");

    let changes = tree.read("CHANGELOG.md");
    let heading = format!("## {NOW} (unreleased)\n");
    let other = changes.replacen(&heading, "## 99.0.0\n", 1);
    let empty = changes.replacen(&heading, &format!("{heading}\n## 99.0.0\n"), 1);
    for text in [&other, &empty] {
        tree.write("CHANGELOG.md", text);
        tree.commit();
        refused(&next, "CHANGELOG.md says nothing");
    }
    tree.write("CHANGELOG.md", &changes);

    let source = tree.sql_with("COMMENT ON FUNCTION app.get_settings IS");
    let text = tree.read(&source);
    tree.write(&source, &text.replace("The settings, as one object", "All settings, as one object"));
    tree.commit();
    refused(&next, "make install");
    refused(&next, "run tools/upgrade-script");
    tree.write(&source, &text);
    tree.commit();
    tree.release(&next).expect("nothing is in the way");
}

#[test]
fn what_cannot_be_finished_leaves_the_tree_as_it_was() {
    let tree = Tree::repository("release-undone");
    let [_, next, _] = following(NOW);
    let rust = tree.run("grep", &["-rl", "SCHEMA_VERSION: i32 = ", "src"]).expect("is there");
    let other = format!("[workspace.metadata.other]\nversion = \"{NOW}\"\n\n[workspace]");
    for (file, was, is, why) in [
        (&*rust, "pub const SCHEMA_", "// SCHEMA_VERSION: i32 = 3;\npub const SCHEMA_", "times, not 1"),
        (&*rust, "SCHEMA_VERSION: i32 = ", "SCHEMA_VERSION: i32 = 0x", "not found in"),
        ("Cargo.toml", "[workspace]", &*other, "times, not 1"),
        ("mps.control", "module_pathname", "# module_pathname", "not found in mps.control"),
        ("src/domain/error.rs", "\"CARD_NOT_EMPTY\"", "\"CARD_NOT_BARE\"", "CARD_NOT_EMPTY is no error"),
    ] {
        let text = tree.read(file);
        assert!(text.contains(was), "{file} does not say {was}");
        tree.write(file, &text.replacen(was, is, 1));
        tree.commit();
        let says = tree.release(&next).expect_err(why);
        assert!(
            says.contains(why) && says.contains("the tree is as it was") && !says.contains("Traceback"),
            "{why}: {says}"
        );
        assert_eq!(tree.git(&["status", "--porcelain", "--untracked-files=all"]), "", "{why}");
        tree.write(file, &text);
        tree.commit();
    }
}

#[test]
fn upgrade_scripts_are_written_all_or_none_and_only_when_that_was_asked_for() {
    let copy = Tree::copy("upgrade-script-all");
    let rpcs = copy.sql_with("COMMENT ON FUNCTION app.get_settings IS");
    let text = copy.read(&rpcs);
    let scripts = || released().iter().map(|old| copy.upgrade(old, NOW)).collect::<Vec<_>>();
    let before = scripts();
    copy.write(&rpcs, &text.replace("The settings, as one object", "All settings, as one object"));
    for arguments in [&["--checked"][..], &["--check", "x"], &["x"]] {
        copy.upgrade_script(arguments).expect_err("there is no such argument");
        assert!(scripts() == before, "{arguments:?}: something was written");
    }
    let name = format!("mps--{}--{NOW}.sql", newest());
    let last = [copy.frozen(&name), copy.path("sql").join(&name)].into_iter().find(|f| f.exists()).expect("a script");
    let script = fs::read_to_string(&last).expect("a script");
    fs::write(&last, script.replace("-- End of the functions --", "")).expect("writes");
    let before = scripts();
    let says = copy.upgrade_script(&[]).expect_err("no marker");
    assert!(says.contains(&name) && !says.contains("Traceback") && scripts() == before, "{says}");
}

#[test]
fn the_description_of_the_api_leaves_out_nothing_in_silence() {
    const LEVEL: &str = "'Level: backend.\\n'\n    'Results: merchant_id";
    let copy = Tree::copy("api");
    let written = || ["docs/api.json", "sql/kernel/gathered.sql", "docs/rpc/merchants.md"].map(|file| copy.read(file));
    let before = written();
    for (was, is, why) in [
        (LEVEL, "'Level: clients.\\n'\n    'Results: merchant_id", "names no level"),
        (LEVEL, "'Level: backend\\n'\n    'Results: merchant_id", "names no level"),
        (LEVEL, "'Level: backend, backend.\\n'\n    'Results: merchant_id", "names no level"),
        (LEVEL, "'Results: merchant_id", "neither who may call it"),
        ("CREATE FUNCTION app.create_merchant(", "CREATE FUNCTION app.make_merchant(", "is not declared"),
        ("E'Creates a merchant.\\n'", "-- it's new\n    E'Creates a merchant.\\n'", "a form that is not read"),
        ("E'Creates a merchant.\\n'", "$c$Creates a merchant.\n$c$", "a form that is not read"),
    ] {
        let file = copy.sql_with("CREATE FUNCTION app.create_merchant(");
        let text = copy.read(&file);
        assert_eq!(text.matches(was).count(), 1, "{was}");
        copy.write(&file, &text.replacen(was, is, 1));
        let says = copy.run("tools/api", &[]).expect_err(why);
        assert!(says.contains(why) && written() == before, "{is}: {says}");
        copy.write(&file, &text);
    }
}

#[test]
fn a_release_is_one_command() {
    let tree = Tree::repository("release");
    let [_, next, _] = following(NOW);
    let changes = tree.read("CHANGELOG.md");
    let told = tree.release(&next).unwrap_or_else(|e| panic!("{e}"));
    assert!(told.contains(&format!("git tag v{NOW}")), "{told}");

    // What is released by now is frozen, as it was built.
    let all = [released(), &[NOW]].concat();
    let sums = tree.path("tests/suite/released.sha256");
    assert_eq!(pinned(&fs::read_to_string(&sums).expect("the sums")), files_of(&all));
    let check = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet"])
        .arg(&sums)
        .current_dir(tree.frozen(""))
        .output();
    assert!(check.expect("sha256sum").status.success());
    let share = program("pg_config", &["--sharedir"]).expect("pg_config");
    let built = fs::read_to_string(format!("{share}/extension/mps--{NOW}.sql")).expect("installed");
    assert!(fs::read_to_string(tree.frozen(&format!("mps--{NOW}.sql"))).expect("frozen") == built);
    let control = fs::read_to_string(tree.frozen(&format!("mps--{NOW}.control"))).expect("a control file");
    assert!(control.contains(&format!("module_pathname = 'mps-{NOW}'\n")), "{control}");

    // A script from every release, made of the sources.
    tree.upgrade_script(&["--check"]).unwrap_or_else(|e| panic!("{e}"));
    for old in &all {
        let script = tree.upgrade(old, &next);
        assert!(script.starts_with(&format!("-- From {old} to {next}. ")), "{script}");
        assert!(script.contains("'MODULE_PATHNAME', 'uid_wrapper'") && script.contains("sec.migrate_tables();"));
    }

    // The version, and nowhere the one of before as the newest.
    let crates =
        tree.run("cargo", &["tree", "--locked", "--offline", "--workspace", "--depth", "0"]).expect("the lock fits");
    let crates: Vec<_> = crates.lines().filter(|line| line.starts_with("mps")).collect();
    assert!(crates.len() >= 4 && crates.iter().all(|line| line.contains(&format!(" v{next} "))), "{crates:?}");
    let pattern = format!(r#"mps-{0}|[^(]["'`]{0}["'`]|version.?.?.?{0}"#, NOW.replace('.', r"\."));
    let stale =
        tree.run("git", &["grep", "-nE", &pattern, "--", ":!CHANGELOG.md", ":!*.lock", ":!*-lock.json", ":!*mps--*"]);
    assert_eq!(stale.unwrap_or_default(), "");
    let begun =
        changes.replacen(&format!("## {NOW} (unreleased)\n"), &format!("## {next} (unreleased)\n\n## {NOW}\n"), 1);
    assert!(begun != changes && tree.read("CHANGELOG.md") == begun, "what is said of releases has changed");

    // The schema version, in the library, in the tables of a new database and in those of an old one.
    let grep =
        |pattern: &str| tree.run("git", &["grep", "-hE", pattern, "--", "src", "sql", ":!*mps--*"]).expect(pattern);
    let of = |line: String| {
        line.trim_end_matches([',', ';']).rsplit(' ').next().expect("a number").parse::<u32>().expect("a number")
    };
    let version = of(grep("SCHEMA_VERSION: i32 = "));
    assert_eq!(version, of(Db::new().superuser().value("select 'version ' || schema_version from app.settings")) + 1);
    assert_eq!(of(grep("c_version constant integer := ")), version);
    assert_eq!(of(grep("schema_version +integer +NOT NULL DEFAULT ")), version);
    assert!(grep("IF v_found < [0-9]+ THEN$").contains(&format!("IF v_found < {version} THEN")));

    // Once.
    let again = tree.release(&next).expect_err("the tree is not as it was committed");
    assert!(again.contains("not committed"), "{again}");
    tree.commit();
    for (version, why) in
        [(&*next, "after "), (NOW, "was released already"), (&following(&next)[1], "CHANGELOG.md says nothing")]
    {
        let again = tree.release(version).expect_err(why);
        assert!(again.contains(why), "{version}: {again}");
    }
    assert_eq!(tree.git(&["status", "--porcelain"]), "");
}
