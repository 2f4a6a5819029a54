//! What keeps the house tidy. Each says which file breaks which rule; `docs/architecture.md` says why there is the rule.

use mps_tidy::{House, Room, files, text, top};
use std::collections::BTreeSet;
use std::process::Command;

/// From the ground up: a room uses rooms of its own part and of those before it.
const PARTS: [&str; 7] = ["domain", "bills", "notices", "engine", "kernel", "ledger", "features"];
const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 500;
const LINE_CHARACTERS: usize = 140;
/// Of documents, whose code is not always ours to break, and of rows of tables.
const DOCUMENT_CHARACTERS: usize = 160;
const CELLS_CHARACTERS: usize = 160;

#[track_caller]
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

fn height(room: &Room) -> usize {
    PARTS.iter().position(|part| *part == room.part()).unwrap_or(PARTS.len())
}

#[test]
fn arrows_lead_down() {
    let house = House::read();
    let mut problems = Vec::new();
    for (from, uses) in &house.arrows {
        for to in uses {
            let (from, to) = (&house.rooms[from], &house.rooms[to]);
            if height(to) > height(from) {
                problems.push(format!("{} uses {}, which stands above it", from.file, to.file));
            }
        }
    }
    none(problems);
    // It would be the same for an empty house.
    assert!(house.arrows["crate::ledger::posting"].contains("crate::kernel::call"));
    assert!(house.arrows["crate::kernel::call"].contains("mps_domain::month"));
    assert!(house.arrows["mps_bills::reading"].contains("mps_bills::lines"));
    assert!(house.arrows["mps_notices::amount"].contains("mps_domain::money"));
    assert!(house.arrows["mps_notices::alipay"].contains("mps_notices::form"));
}

#[test]
fn there_is_no_circle() {
    let house = House::read();
    none(house.circles().iter().map(|ring| format!("they use each other: {}", ring.join(", "))).collect());
    let arrows: usize = house.arrows.values().map(|uses| uses.len()).sum();
    println!("{} rooms on {} floors, {arrows} arrows", house.rooms.len(), house.floors());
}

#[test]
fn families_meet_at_the_door() {
    let house = House::read();
    let family = |room: &Room| room.module.split("::").nth(2).filter(|_| room.part() == "features").map(String::from);
    let mut problems = Vec::new();
    for (from, uses) in &house.arrows {
        for to in uses {
            let (from, to) = (&house.rooms[from], &house.rooms[to]);
            let (Some(mine), Some(theirs)) = (family(from), family(to)) else { continue };
            if mine != theirs && !to.file.ends_with("/mod.rs") {
                problems
                    .push(format!("{} uses {} of another family: only its mod.rs is for others", from.file, to.file));
            }
            if to.is_called_from_sql {
                problems.push(format!(
                    "{} uses {}, which is called from SQL: what both need stands elsewhere",
                    from.file, to.file
                ));
            }
        }
    }
    none(problems);
}

#[test]
fn only_the_ledger_moves_balances() {
    let house = House::read();
    let mut problems = Vec::new();
    for room in house.rooms.values().filter(|room| room.part() != "ledger") {
        for (line, text) in &room.texts {
            let text = text.to_lowercase();
            let writes = text.contains("update app.personal_cards") || text.contains("update app.enterprise_cards");
            if writes && text.contains("balance") || text.contains("insert into app.transactions") {
                problems.push(format!("{}:{line} writes a balance or a transaction", room.file));
            }
        }
        if text(&room.file).contains("cards::save(") {
            problems.push(format!("{} saves a card", room.file));
        }
    }
    none(problems);
}

#[test]
fn unsafe_code_is_the_engines() {
    let house = House::read();
    // The name that Postgres looks for, and nothing unsafe in it.
    let rooms = house.rooms.values().filter(|room| room.part() != "engine" && room.part() != "lib");
    none(rooms.flat_map(|room| room.is_unsafe_at.iter().map(|line| format!("{}:{line}", room.file))).collect());
    assert!(house.rooms["crate::engine::direct::find"].is_unsafe_at.len() > 3);
}

#[test]
fn writing_begins_where_shadows_are_refused() {
    let house = House::read();
    let others = house.rooms.keys().filter(|module| *module != "crate::kernel::shadows");
    none(others.map(|m| &house.rooms[m].file).filter(|f| text(f).contains("Db::write(")).cloned().collect());
}

#[test]
fn functions_files_and_lines_are_short() {
    let house = House::read();
    let mut problems = Vec::new();
    for room in house.rooms.values() {
        for function in room.functions.iter().filter(|f| f.lines > FUNCTION_LINES) {
            let (name, lines) = (&function.name, function.lines);
            problems.push(format!("{}:{} {name} has {lines} lines", room.file, function.line));
        }
    }
    for file in ["src", "tests"].iter().flat_map(|folder| files(folder, &[".rs"])) {
        let text = text(&file);
        let lines = text.lines().count();
        if file.starts_with("src/") && lines > FILE_LINES {
            problems.push(format!("{file} has {lines} lines"));
        }
        let too_long: Vec<_> = text.lines().enumerate().filter(|(_, l)| l.chars().count() > LINE_CHARACTERS).collect();
        if too_long.is_empty() {
            continue;
        }
        // A statement or a command that a test has as it stands is no prose.
        let verbatim = if file.starts_with("tests/") { Room::read(&file).verbatim } else { BTreeSet::new() };
        for (n, line) in too_long.into_iter().filter(|(n, _)| !verbatim.contains(&(n + 1))) {
            problems.push(format!("{file}:{} has {} characters", n + 1, line.chars().count()));
        }
    }
    none(problems);
}

/// But what was released, which stays as it is, and the scripts that `tools/upgrade-script` writes.
#[test]
fn sql_lies_with_its_family_in_short_files() {
    let order = text("src/sql.rs");
    let mut problems = Vec::new();
    let is_source = |file: &String| !file.starts_with("sql/released/") && !file.starts_with("sql/mps--");
    for file in files("sql", &[".sql"]).into_iter().filter(is_source) {
        let family = file.split('/').nth(1).expect("a folder");
        if !["kernel", "ledger"].contains(&family) && !top().join("src/features").join(family).is_dir() {
            problems.push(format!("{file}: there is no such family"));
        }
        if order.matches(&format!("\"../{file}\"")).count() != 1 {
            problems.push(format!("{file} is not named once in src/sql.rs"));
        }
        let text = text(&file);
        if text.lines().count() > FILE_LINES {
            problems.push(format!("{file} has {} lines", text.lines().count()));
        }
        let too_long = text.lines().enumerate().filter(|(_, line)| line.chars().count() > LINE_CHARACTERS);
        problems.extend(too_long.map(|(n, line)| format!("{file}:{} has {} characters", n + 1, line.chars().count())));
    }
    none(problems);
}

/// Documents are read in editors, too. A cell of a table cannot be broken: what is long in one is better off in a list.
#[test]
fn documents_are_read_in_an_editor() {
    // Tables of before this rule, for whoever rewrites them next.
    const LONG_CELLS: [&str; 4] = ["SECURITY.md", "docs/operations.md", "docs/security.md", "docs/surroundings.md"];
    let mut problems = Vec::new();
    // What a run of the benchmark wrote is no document.
    let is_document = |f: &&String| (f.ends_with(".md") && *f != "bench/RESULTS.md") || *f == "docs/api.json";
    for file in files(".", &[".md", ".json"]).iter().filter(is_document) {
        let text = text(file);
        for (n, line) in text.lines().enumerate() {
            let characters = line.chars().count();
            let most = match line.trim_start().starts_with('|') {
                true if LONG_CELLS.contains(&file.as_str()) => continue,
                true => CELLS_CHARACTERS,
                false => DOCUMENT_CHARACTERS,
            };
            if characters > most {
                problems.push(format!("{file}:{} has {characters} characters", n + 1));
            }
        }
    }
    none(problems);
}

/// What nothing names is dead: a module that no other declares, a tool that nobody calls, a page that nothing leads to.
#[test]
fn no_file_is_forgotten() {
    let house = House::read();
    let mut problems = Vec::new();
    for room in house.rooms.values() {
        let Some((parent, name)) = room.module.rsplit_once("::") else { continue };
        let is_declared = house.rooms.get(parent).is_some_and(|p| text(&p.file).contains(&format!("mod {name};")));
        if !is_declared {
            problems.push(format!("{} is no module of its parent", room.file));
        }
    }
    let tracked = Command::new("git").args(["ls-files"]).current_dir(top()).output();
    let Ok(tracked) = tracked else { return none(problems) };
    let tracked: Vec<String> = String::from_utf8_lossy(&tracked.stdout).lines().map(String::from).collect();
    let is_text = |f: &&String| !f.ends_with(".lock") && !f.ends_with("package-lock.json");
    let all: Vec<(String, String)> = tracked
        .iter()
        .filter(is_text)
        .filter_map(|f| std::fs::read_to_string(top().join(f)).ok().map(|text| (f.clone(), text)))
        .collect();
    for file in tracked.iter().filter(|f| ["tools/", "docs/", "deploy/"].iter().any(|folder| f.starts_with(folder))) {
        let name = file.rsplit('/').next().expect("a name");
        if !all.iter().any(|(other, text)| other != file && text.contains(name)) {
            problems.push(format!("{file} is named by no other file"));
        }
    }
    none(problems);
}
