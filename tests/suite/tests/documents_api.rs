//! docs/rpc and the tables of the pages against the catalog: every RPC with its arguments, result and errors, every setting, every
//! error.

use mps_tests::manual::{document, documents};
use mps_tests::{Db, NULL, Session};
use std::collections::{BTreeMap, BTreeSet};

const NOTHING: [&str; 0] = [];

/// What docs/rpc/conventions.md says once for all.
const COMMON: [&str; 6] =
    ["INVALID_ARGUMENT", "NOT_AUTHENTICATED", "ARCHIVED", "SCHEMA_OUTDATED", "STATUS_CONFLICT", "NOT_ALLOWED"];

/// Sections of the reference by the RPC that they are about, which is in one family only.
fn sections() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for page in documents().iter().filter(|page| page.starts_with("docs/rpc/") && !page.contains("README")) {
        for part in document(page).split("\n## ").skip(1) {
            let (name, body) = part.split_once('\n').expect("a heading ends");
            if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                let before = found.insert(name.to_owned(), body.to_owned());
                assert_eq!(before, None, "{page}: {name} is in another family, too");
            }
        }
    }
    found
}

/// What clients and backends may call, and of the families what only superusers may.
fn rpcs(s: &Session) -> Vec<String> {
    s.column(
        "select split_part(func, '.', 2) from sec.api_functions() where func ~ '^(app|mps_gateway)[.]' \
            and level in ('client', 'backend', 'gateway') and func <> 'app.error_list' \
         union select proname from pg_proc where pronamespace = 'app'::regnamespace and proname <> 'migrate' \
            and obj_description(oid, 'pg_proc') ~ 'For a superuser[.]' order by 1",
    )
}

/// The oid of a function by its name, which two schemas have none of in common.
fn function(name: &str) -> String {
    format!("coalesce(to_regproc('app.{name}'), to_regproc('mps_gateway.{name}'))::oid")
}

/// Upper-case words with an underscore, or one of the closed list's.
fn tokens(text: &str, known: &BTreeSet<String>) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    words.filter(|w| known.contains(*w)).map(Into::into).collect()
}

fn known_tokens(s: &Session) -> BTreeSet<String> {
    s.column("select token from app.error_codes").into_iter().collect()
}

#[test]
fn the_reference_has_every_rpc_with_its_arguments_and_result() {
    let db = Db::new();
    let s = db.superuser();
    let sections = sections();
    let (names, written): (BTreeSet<String>, BTreeSet<String>) =
        (rpcs(&s).into_iter().collect(), sections.keys().cloned().collect());
    assert_eq!(names.symmetric_difference(&written).collect::<Vec<_>>(), Vec::<&String>::new());
    let spoken = "select string_agg(concat_ws(' ', a.name, format_type(a.type, null)) || coalesce(' = ' || case when d.value ~ '^NULL' then 'NULL' \
                    else regexp_replace(d.value, '::[a-z ]+$', '') end, ''), ', ' order by a.n) \
                  from pg_proc p, unnest(p.proargnames, p.proargtypes::oid[]) with ordinality a (name, type, n), \
                       lateral (select pg_get_function_arg_default(p.oid, a.n::int) as value) d \
                  where p.oid = FUNCTION and a.type is not null";
    for name in &names {
        let section = &sections[name];
        let flat = section.split_whitespace().collect::<Vec<_>>().join(" ").replace("'timestamp with time zone'", "");
        // One is described by another.
        if section.contains("(p_enterprise_card_id uuid, ...)") {
            continue;
        }
        let arguments =
            s.value(&spoken.replace("FUNCTION", &function(name))).replace("timestamp with time zone", "timestamptz");
        let arguments = if arguments == NULL { String::new() } else { arguments };
        assert!(flat.contains(&format!("`{name}({arguments})`")), "{name}({arguments})\n{section}");
        let result = s.value(&format!("select pg_get_function_result({})", function(name)));
        let result = result.replace("timestamp with time zone", "timestamptz");
        let result = result.strip_prefix("TABLE(").and_then(|r| r.strip_suffix(')')).unwrap_or(&result);
        let said = flat.to_lowercase();
        assert!(said.contains(&format!("returns `{}`", result.to_lowercase())), "{name} returns {result}\n{section}");
    }
}

#[test]
fn the_reference_and_the_comments_name_the_same_errors() {
    let db = Db::new();
    let s = db.superuser();
    let known = known_tokens(&s);
    let mut wrong = Vec::new();
    for (name, section) in sections() {
        let says = s.value(&format!("select obj_description({}, 'pg_proc')", function(&name)));
        let errors = says.split("\nErrors: ").nth(1).unwrap_or_default();
        let listed = section.split("\n\n").filter(|p| p.contains("rrors: ") || p.starts_with("Who and errors"));
        let listed: String = listed.map(|p| p.split("rrors: ").nth(1).unwrap_or(p)).collect();
        if listed.trim_start().starts_with("as `")
            || listed.contains("those, and")
            || section.contains("Who and errors")
        {
            continue;
        }
        let without = |set: BTreeSet<String>| -> BTreeSet<String> {
            set.into_iter().filter(|t| !COMMON.contains(&t.as_str())).collect()
        };
        let (comment, document) = (without(tokens(errors, &known)), without(tokens(&listed, &known)));
        for token in comment.symmetric_difference(&document) {
            let missing = if comment.contains(token) { "docs/rpc" } else { "the comment" };
            wrong.push(format!("{name}: {token} is not in {missing}"));
        }
    }
    assert_eq!(wrong, NOTHING);
}

/// Rows of the tables of a document, cell by cell; and items of its lists that name an RPC: the names, and what is said of them.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|l| l.starts_with("| `") || l.starts_with("| [`"));
    let rows = lines.map(|l| l.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect());
    let unwrapped = text.replace("\n  ", " ");
    let items = unwrapped.lines().filter_map(|l| l.strip_prefix("- ").filter(|l| l.starts_with("[`")));
    let parted = items.map(|l| l.split_once(": ").or_else(|| l.split_once('：')).expect("says something of it"));
    rows.chain(parted.map(|(names, says)| vec![names.to_owned(), says.to_owned()])).collect()
}

fn code(cell: &str) -> String {
    cell.split('`').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn the_pages_have_every_rpc_setting_and_error_in_both_languages() {
    let db = Db::new();
    let s = db.superuser();
    let settings: BTreeMap<String, String> = s
        .rows("select key, value from jsonb_each_text(app.get_settings())")
        .into_iter()
        .map(|r| (r["key"].into(), r["value"].into()))
        .collect();
    let errors: BTreeMap<String, String> = s
        .rows("select token, http_status::text as status from app.error_codes")
        .into_iter()
        .map(|r| (r["token"].into(), r["status"].into()))
        .collect();
    for language in ["", ".zh-CN"] {
        let page = |page: &str| format!("docs/{page}{language}.md");
        let table = |file: &str| rows(&document(file));
        let row = |file: &str, rows: &[Vec<String>], name: &str| -> Vec<String> {
            let found = rows.iter().find(|r| r[0].contains(&format!("`{name}`")));
            found.unwrap_or_else(|| panic!("{file} has no {name}")).clone()
        };
        let file = page("settings");
        let listed = table(&file);
        for (name, value) in &settings {
            let default = row(&file, &listed, name)[1].trim_matches('`').to_owned();
            let number = |text: &str| text.parse::<f64>().map_or(text.to_owned(), |n| n.to_string());
            assert_eq!(number(&default), number(value), "{file}: {name}");
        }
        let file = page("errors");
        let listed = table(&file);
        for (token, status) in &errors {
            assert_eq!(&row(&file, &listed, token)[1], status, "{file}: {token}");
        }
        let file = page("rpc/README");
        let listed = table(&file);
        for name in rpcs(&s) {
            let row = row(&file, &listed, &name);
            if row[0].matches('`').count() > 2 {
                // Two of them in one row.
                continue;
            }
            let says = code(&row[1]);
            let sql = format!(
                "select string_agg(a.name, ', ' order by a.n) from pg_proc p, \
                 unnest(p.proargnames[1:p.pronargs]) with ordinality a (name, n) where p.oid = {}",
                function(&name)
            );
            let arguments = s.value(&sql);
            let arguments = if arguments == NULL { String::new() } else { arguments };
            let said =
                says.split(", ").map(|a| a.split(" = ").next().unwrap_or_default()).collect::<Vec<_>>().join(", ");
            if !said.contains("p_") && !arguments.is_empty() {
                // "then the same".
                continue;
            }
            // One without a name is called by its type.
            let nameless = arguments.is_empty() && said == "bytea";
            assert!(nameless || arguments.starts_with(&said), "{file}: {name}: {said} / {arguments}");
        }
    }
}
