//! Every function that writes, as `docs/api.json` declares it, is in the storm and in the day whose records are crashed, or said not to be.

use std::path::Path;

/// What is in neither, and why.
const NOWHERE: &[(&str, &str)] = &[
    ("app.enable_supabase_signup", "makes a trigger, once in a database's life"),
    ("sec.on_signup", "that trigger's: it registers a member, as others do"),
    ("app.schedule_jobs", "hands jobs to pg_cron, which is not there"),
    ("audit.declare_restore", "is what one says of a recovery, after it"),
    ("mps_gateway.notify", "does what app.gateway_notify does, for a proxy"),
    ("sec.check_months_ahead", "raises, and writes nothing"),
    ("sec.raise", "raises, and writes nothing"),
];
/// What the day has not, and why.
const NOT_IN_THE_DAY: &[(&str, &str)] =
    &[("app.rebuild_from_log", "writes into an empty database, in one transaction; after each storm it does")];
/// What procedures call, step by step.
const PARTS: [&str; 7] = ["_batch", "_note", "_ready", "_balances", "grow_tree", "sign_head", "closing_is_ready"];

/// The names of all that writes, but for what procedures call.
fn writes() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.json");
    let api: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let functions = api["functions"].as_array().unwrap();
    let writes = functions.iter().filter(|f| f["kind"] == "procedure" || f["volatility"] == "volatile");
    let names = writes.map(|f| f["name"].as_str().unwrap().to_owned());
    let names: Vec<String> = names.filter(|name| !PARTS.iter().any(|part| name.ends_with(part))).collect();
    assert!(names.len() > 40, "{names:?}");
    names
}

fn all_are_in(text: &str, but: &[&[(&str, &str)]]) {
    let names = writes();
    let is_there = |name: &str| text.contains(&format!("{name}("));
    let but: Vec<&str> = but.iter().flat_map(|list| list.iter().map(|(name, _)| *name)).collect();
    let missing: Vec<&String> = names.iter().filter(|n| !is_there(n) && !but.contains(&n.as_str())).collect();
    assert!(missing.is_empty(), "neither asked for, nor said why not: {missing:?}");
    let idle: Vec<&&str> = but.iter().filter(|n| !names.iter().any(|name| name == **n) || is_there(n)).collect();
    assert!(idle.is_empty(), "said to be missing, and is not: {idle:?}");
}

#[test]
fn the_day_has_all_that_writes() {
    all_are_in(&crate::records::asked(), &[NOWHERE, NOT_IN_THE_DAY]);
}

#[test]
fn the_storm_has_all_that_writes() {
    let mut text = mps_sender::Payment { order: "o", trade: "t", fen: 1, state: "SUCCESS" }.sent().sql("wechat");
    text += &mps_sender::bill::import("wechat", "2026-11-26", "trade", b"");
    text += &mps_sender::set_up();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    all_are_in(&text, &[NOWHERE]);
}

/// The sources of the storm: what they do not ask for is asked for by nobody.
fn read(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, text);
        } else if !["records.rs", "declared.rs"].iter().any(|other| path.ends_with(other)) {
            *text += &std::fs::read_to_string(path).unwrap();
        }
    }
}
