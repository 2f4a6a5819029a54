//! README, the pages that it leads to, and the reference, executed: every block of SQL in them, in its order, each page in a
//! database of its own. What stands in a `text` block below must be what came back (`…` stands for anything).
//!
//! README and the page on installing begin in an empty database; every other page in one where README's first charge was made
//! and the roles of the page on installing have their levels. What is shown and not run is in [`NOT_RUN`].

use mps_tests::manual::{Block, commands_of, document, documents, matches};
use mps_tests::reader::{Address, Reader, filled};
use mps_tests::{Cluster, Scratch, Session};
use std::collections::BTreeSet;
use std::thread;

/// The pages in English, in the order in which they are read; `.zh-CN` comes before `.md` in the name of the Chinese equal.
const IN_BOTH: [&str; 12] = [
    "README.md",
    "docs/install.md",
    "docs/rpc/README.md",
    "docs/rules.md",
    "docs/errors.md",
    "docs/settings.md",
    "docs/running.md",
    "docs/limits.md",
    "docs/receipts.md",
    "docs/gateways.md",
    "docs/pricing.md",
    "SECURITY.md",
];

/// Documents with SQL that other tests run.
const RUN_ELSEWHERE: [(&str, &str); 2] =
    [("docs/operations.md", "operations_manual.rs"), ("docs/surroundings.md", "surroundings.rs")];

/// How blocks begin that are shown and not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make install ", "puts files into the Postgres that the other tests are using; make test does it before them"),
    ("make api", "serves until it is stopped; make_api.test.mjs runs it"),
    ("pg_dumpall ", "operations_manual.rs runs the same, with its restore"),
    ("tools/install ", "builds; whoever runs this has done it"),
    ("openssl genpkey ", "receipts.rs makes a key like it"),
    ("openssl rand ", "gateways_keys.rs runs it, and seals secrets with its key"),
    (
        "psql -c \"SELECT app.set_gateway_key_from_file(",
        "names files with the reader's keys; gateways_keys.rs sets keys from files",
    ),
    ("psql -c \"CREATE ROLE mps_gateway LOGIN", "gateway_level.rs and gateway.test.mjs make such a role"),
    (
        "psql -c \"SELECT id, received_at, account, outcome",
        "what the reader's gateway has sent; gateway_callbacks.rs reads both tables",
    ),
    (
        "psql -c \"SELECT * FROM app.import_bill(",
        "a file of the reader's gateway; docs/rpc/reconciliation.md has a day that is run",
    ),
    (
        "const { data, error } = await backend.rpc('gateway_notify'",
        "a server of the reader's; gateway.test.mjs calls it so",
    ),
    ("flowchart ", "a picture"),
    ("sequenceDiagram", "a picture"),
    ("const { data, error } = await supabase.rpc('merchant_charge_by_qr'", "front_end.test.mjs runs it"),
    (
        "const supabase = createClient(url, anonKey",
        "names the reader's own URL and key; front_end.test.mjs makes clients like it",
    ),
    ("const { data } = await backend.from('suspense_payments')", "front_end.test.mjs runs it"),
];

fn chinese(page: &str) -> String {
    page.replace(".md", ".zh-CN.md")
}

/// What is only in English: the families of the reference, and what else has SQL.
fn in_english_only() -> Vec<String> {
    let is_in_both = |page: &String| IN_BOTH.iter().any(|both| both == page || chinese(both) == *page);
    let is_elsewhere = |page: &String| RUN_ELSEWHERE.iter().any(|(elsewhere, _)| elsewhere == page);
    documents().into_iter().filter(|page| !is_in_both(page) && !is_elsewhere(page)).collect()
}

/// One reader on one server, as a self-hosted Supabase has it.
struct World {
    cluster: Cluster,
    reader: Reader,
    first_charge: Block,
    _directory: Scratch,
}

impl World {
    fn open(readme: &str) -> World {
        let cluster = Cluster::start();
        let roles =
            "create role anon nologin; create role authenticated nologin; create role service_role nologin bypassrls";
        cluster.psql("postgres", roles).expect("Supabase's roles");
        cluster.sign_heads("seal.pem");
        let directory = Scratch::new("pages");
        let reader = Reader::of(&cluster, directory.path());
        let first_charge = commands_of(readme).into_iter().find(|block| block.language == "sql");
        let first_charge = first_charge.expect("README takes a charge");
        World { cluster, reader, first_charge, _directory: directory }
    }

    /// Every block of SQL of a page, in a database of that name.
    fn read(&mut self, page: &str, database: &str) -> Session {
        let made = format!("create database {database} template template0 encoding 'UTF8'");
        self.cluster.psql("postgres", &made).expect("a database");
        let users = "create schema auth; create table auth.users (id uuid primary key, email text, phone text, raw_user_meta_data jsonb)";
        self.cluster.psql(database, users).expect("Supabase's users");
        self.reader.kept.clear();
        if !page.starts_with("README") && !page.starts_with("docs/install") {
            let block = std::mem::take(&mut self.first_charge);
            self.run(&block, database);
            self.first_charge = block;
            let levels = [("app_role", "client"), ("shop_server", "backend"), ("shop_ops", "operator")];
            for (role, level) in levels {
                let given = format!("select sec.grant_api('{role}', '{level}')");
                self.cluster.psql(database, &given).expect("a level");
            }
        }
        if page == "docs/security.md" {
            let trigger = "create schema shop; create function shop.note_payment() returns trigger language plpgsql \
                           as 'begin return new; end'";
            self.cluster.psql(database, trigger).expect("code of the shop's");
        }
        for block in commands_of(page).iter().filter(|block| block.language == "sql") {
            self.run(block, database);
        }
        let s = self.cluster.superuser(database);
        assert_eq!(
            s.column("select check_name from app.verify_books() where ok is not true"),
            [] as [&str; 0],
            "{page}"
        );
        assert_eq!(s.column("select rule || detail from sec.security_check() where not ok"), [] as [&str; 0], "{page}");
        s
    }

    fn run(&mut self, block: &Block, database: &str) {
        let command = self.reader.program_for(block, &Address::of(&self.cluster), database);
        let ran = self.reader.run(block, command, &filled(block, |_| None));
        let (at, said) = (block.at(), &ran.said);
        assert_eq!(ran.succeeded, block.note("fails").is_none(), "{at}\n{}\n-- came back:\n{said}", block.body);
        if let Some(wanted) = &block.answer {
            assert!(matches(wanted, said), "{at}\n{}\n-- came back:\n{said}\n-- expected:\n{wanted}", block.body);
        }
        self.reader.kept.extend(ran.variables);
    }
}

/// Reads pages one after the other. What they leave behind is looked at where it is more than answers.
fn read_all(pages: &[String]) {
    let mut world = World::open(&pages[0]);
    let has_sql = |page: &&String| commands_of(page).iter().any(|block| block.language == "sql");
    for (n, page) in pages.iter().filter(has_sql).enumerate() {
        let s = world.read(page, &format!("page_{n}"));
        if page.starts_with("docs/install") {
            s.run("insert into auth.users (id) values (gen_random_uuid())");
            let joined = "select count(*) from auth.users u join app.member_profiles m on m.id = u.id";
            assert_eq!(s.value(joined), "1", "{page}: who signs up is a member");
        }
        if page.starts_with("docs/settings") {
            assert_eq!(s.value("select discount from app.membership_levels where level = 1"), "0.920");
            let recorded = "select count(*) from audit.event_log where object_type = 'membership_level'";
            assert_ne!(s.value(recorded), "0", "{page}: a change of levels is an event");
        }
    }
}

#[test]
fn every_statement_of_the_pages_works_and_answers_as_it_says() {
    let both = IN_BOTH.map(String::from).to_vec();
    let english: Vec<String> = both.iter().cloned().chain(in_english_only()).collect();
    let chinese: Vec<String> = both.iter().map(|page| chinese(page)).collect();
    let statements = |pages: &[String]| -> usize {
        pages.iter().map(|page| commands_of(page).iter().filter(|block| block.language == "sql").count()).sum()
    };
    assert!(statements(&english) >= 25 && statements(&chinese) >= 15, "who has taken the examples away?");
    thread::scope(|scope| {
        scope.spawn(|| read_all(&chinese));
        read_all(&english);
    });
}

#[test]
fn what_is_not_run_is_on_the_list_and_says_why() {
    let mut shown = BTreeSet::new();
    for page in documents().iter().filter(|page| !RUN_ELSEWHERE.iter().any(|(elsewhere, _)| elsewhere == *page)) {
        for block in commands_of(page) {
            let at = block.at();
            match block.language.as_str() {
                "sql" => assert!(block.notes.iter().all(|note| note == "fails"), "{at}: {:?}", block.notes),
                // front_end.test.mjs runs the guides.
                "js" => assert!(page.starts_with("docs/front-end"), "{at}"),
                "console" | "ts" | "mermaid" => {
                    let listed = NOT_RUN.iter().find(|(begins, _)| block.body.starts_with(begins));
                    shown.insert(listed.unwrap_or_else(|| panic!("{at}: not run, but why? {}", block.body)).0);
                }
                other => panic!("{at}: a block in {other:?}, which nobody can run"),
            }
        }
    }
    let unused: Vec<_> = NOT_RUN.iter().filter(|(begins, _)| !shown.contains(begins)).collect();
    assert!(unused.is_empty(), "in no document any more: {unused:?}");
    for (page, test) in RUN_ELSEWHERE {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/").to_owned() + test;
        assert!(std::fs::read_to_string(&path).expect("a test").contains(page), "{test} does not run {page}");
    }
}

/// An example of the reference shows what comes back, so that a change of it is seen.
#[test]
fn every_family_of_the_reference_has_an_example_with_its_answer() {
    for page in
        in_english_only().iter().filter(|page| page.starts_with("docs/rpc/") && !page.ends_with("conventions.md"))
    {
        let blocks = commands_of(page);
        let examples = blocks.iter().filter(|b| b.heading == "Example" && b.language == "sql" && b.answer.is_some());
        assert_ne!(examples.count(), 0, "{page}");
    }
}

/// What is in both languages names the same: calls, settings, errors, commands; and has the same blocks.
#[test]
fn both_languages_say_the_same() {
    let names = |text: &str| -> BTreeSet<String> {
        let spans = text.split('`').skip(1).step_by(2).map(str::to_owned);
        spans.filter(|s| s.len() > 2 && s.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))).collect()
    };
    for page in IN_BOTH {
        let (english, chinese) = (names(&document(page)), names(&document(&chinese(page))));
        let missing: Vec<_> = english.difference(&chinese).collect();
        assert!(missing.is_empty(), "{page}: only in the English one: {missing:?}");
        let missing: Vec<_> = chinese.difference(&english).collect();
        assert!(missing.is_empty(), "{page}: only in the Chinese one: {missing:?}");
    }
    for page in IN_BOTH {
        // What is text in a statement is in the language of the page.
        let bare = |page: &str| -> Vec<(String, usize, bool)> {
            let blocks = commands_of(page).into_iter();
            blocks.map(|b| (b.language, b.body.lines().count(), b.answer.is_some())).collect()
        };
        assert_eq!(bare(page), bare(&chinese(page)), "{page}: blocks");
    }
    let all = documents();
    for page in all.iter().filter(|page| page.contains(".zh-CN")) {
        let is_known = IN_BOTH.iter().any(|both| chinese(both) == *page) || page == "docs/front-end.zh-CN.md";
        assert!(is_known, "{page} has no equal on the list");
    }
}

#[test]
fn a_readme_is_a_landing_page() {
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = document(readme);
        assert!(text.lines().count() <= 150, "{readme} has {} lines: docs/ has room", text.lines().count());
        for what in
            ["```mermaid", "`make demo`", "`make test`", "app.merchant_charge_by_qr(", "supabase.rpc(", "](LICENSE)"]
        {
            assert!(text.contains(what), "{readme} has no {what}");
        }
    }
}
