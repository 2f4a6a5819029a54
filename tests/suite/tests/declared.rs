//! What is said once: an RPC, a setting, a family that joins, in a copy of the tree and, for the family, in a database.

use mps_tests::tree::Tree;
use mps_tests::{Session, Shop};
use std::fs;

const COLOR_RUST: &str = "//! `app.card_color`.

#[pg_extern(sql = false)]
fn card_color(p_card_id: Option<UuidArg>, p_shade: Option<&str>) -> TableIterator<'static, (name!(card_id, Uuid), name!(color, String))> {
}
";
const COLOR_SQL: &str = "
CREATE FUNCTION app.card_color(p_card_id uuid, p_shade text DEFAULT 'light')
    RETURNS TABLE (card_id uuid, color text)
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'card_color_wrapper';
COMMENT ON FUNCTION app.card_color IS
    E'What a card looks like.\\n'
    'By whoever may see it.\\n'
    'Level: client.\\n'
    'Results: card_id, color (its name).\\n'
    'Errors: CARD_NOT_FOUND, INVALID_ARGUMENT.';
";
const COLOR_RS: &str = "src/features/cards/card_color.rs";
const CARDS: &str = "src/features/cards/mod.rs";
const CARDS_SQL: &str = "sql/cards/rpcs.sql";

/// Three edits by hand make an RPC, a command writes the other places, and taking the three back leaves nothing behind.
#[test]
fn an_rpc_is_said_in_three_places_and_written_everywhere() {
    let tree = Tree::repository("an-rpc");
    assert_eq!(tree.changed(), [] as [String; 0]);
    let (before, rpcs) = (tree.read(CARDS), tree.read(CARDS_SQL));
    tree.write(COLOR_RS, COLOR_RUST);
    tree.write(CARDS, &before.replacen("mod expire_cards;", "mod card_color;\nmod expire_cards;", 1));
    tree.write(CARDS_SQL, &format!("{rpcs}{COLOR_SQL}"));
    let by_hand = tree.changed();
    assert_eq!(by_hand, [CARDS_SQL, CARDS, COLOR_RS]);

    tree.write_what_follows().expect("writes");
    let written: Vec<String> = tree.changed().into_iter().filter(|file| !by_hand.contains(file)).collect();
    let upgrades =
        mps_tests::releases::released().iter().map(|old| format!("sql/mps--{old}--{}.sql", env!("CARGO_PKG_VERSION")));
    let mut expected: Vec<String> = [
        "docs/api.json",
        "docs/rpc/README.md",
        "docs/rpc/README.zh-CN.md",
        "docs/rpc/cards.md",
        "sql/kernel/gathered.sql",
    ]
    .map(str::to_owned)
    .into();
    expected.extend(upgrades);
    assert_eq!(written, expected);
    for (file, says) in [
        ("sql/kernel/gathered.sql", "           ('app.card_color', 'client')"),
        (
            "docs/rpc/cards.md",
            "\n## card_color\n\n`card_color(p_card_id uuid, p_shade text = 'light')`\n\nReturns `card_id uuid, color text`.\n",
        ),
        (
            "docs/rpc/README.md",
            "\n- [`card_color`](cards.md#card_color): `p_card_id, p_shade = 'light'`. Whoever has a level.\n",
        ),
        (
            "docs/rpc/README.zh-CN.md",
            "\n- [`card_color`](cards.md#card_color)：`p_card_id, p_shade = 'light'`。任何有级别的角色。\n",
        ),
        ("docs/api.json", "\"name\": \"app.card_color\""),
    ] {
        assert!(tree.read(file).contains(says), "{file}: {says}");
    }

    // Words that somebody wrote stay when the declaration changes; what follows from it does not.
    tree.edit(
        "docs/rpc/cards.md",
        "What a card looks like. By whoever may see it. card_id, color (its name).",
        "Of the plastic.",
    );
    tree.edit("docs/rpc/README.md", "'light'`. Whoever has a level.", "'light'`. Who may see it.");
    tree.edit(CARDS_SQL, "p_shade text DEFAULT 'light'", "p_shade text DEFAULT 'dark'");
    tree.write_what_follows().expect("writes");
    let section = tree.read("docs/rpc/cards.md");
    assert!(section.contains("p_shade text = 'dark')`") && section.contains("Of the plastic."), "{section}");
    assert!(tree.read("docs/rpc/README.md").contains("p_shade = 'dark'`. Who may see it.\n"));

    // Rust that says something else, a level that is none, and an error that is not in the list are refused.
    let good = tree.read(CARDS_SQL);
    for (there, instead, why) in [
        ("app.card_color(p_card_id uuid", "app.card_color(p_card uuid", "in Rust"),
        ("TABLE (card_id uuid, color text)", "TABLE (card_id uuid, colour text)", "in Rust"),
        (
            "'Level: client.\\n'\n    'Results: card_id, color",
            "'Level: clients.\\n'\n    'Results: card_id, color",
            "names no level",
        ),
        (
            "(its name).\\n'\n    'Errors: CARD_NOT_FOUND",
            "(its name).\\n'\n    'Errors: CARD_NOT_PRETTY",
            "no error of the closed list",
        ),
    ] {
        tree.edit(CARDS_SQL, there, instead);
        let refusal = tree.run("tools/api", &["--check"]).expect_err(instead);
        assert!(refusal.contains(why), "{instead}: {refusal}");
        tree.write(CARDS_SQL, &good);
    }

    fs::remove_file(tree.path(COLOR_RS)).expect("goes");
    tree.write(CARDS, &before);
    tree.write(CARDS_SQL, &rpcs);
    tree.write_what_follows().expect("writes");
    assert_eq!(tree.changed(), [] as [String; 0]);
}

#[test]
fn a_setting_is_a_row_of_its_family() {
    let tree = Tree::repository("a-setting");
    let declared = "sql/cards/declared.sql";
    let row = "(1, 'qr_ttl_seconds',";
    let new = "(13, 'gift_limit', 'money', '20.00', '0.01', '5000000', NULL, 'The most that a gift_card may cost.', \
               '礼品卡最高面额。'),\n           ";
    tree.edit(declared, row, &format!("{new}{row}"));
    tree.write_what_follows().expect("writes");
    for (file, line) in [
        ("docs/settings.md", "| `gift_limit` | 20.00 | 0.01 to 5,000,000 | The most that a `gift_card` may cost. |\n"),
        ("docs/settings.zh-CN.md", "| `gift_limit` | 20.00 | 0.01～5,000,000 | 礼品卡最高面额。 |\n"),
    ] {
        assert!(tree.read(file).contains(line), "{file}: {line}");
    }
    for (there, instead, why) in [
        ("(13, ", "(12, ", "each is given once, the last is 13"),
        ("(13, ", "(14, ", "each is given once, the last is 13"),
        ("'money'", "'coins'", "coins is no kind"),
        ("'20.00'", "'0.001'", "is not within its bounds"),
        ("'20.00'", "'''20.00'''", "a text is quoted in it, nothing else is"),
        ("'money', '20.00'", "'choice', '''red'''", "is none of its choices"),
        ("'money', '20.00'", "'switch', '1'", "neither true nor false"),
        ("'礼品卡最高面额。'", "'The same.'", "one in Chinese"),
    ] {
        let good = tree.read(declared);
        let other = new.replacen(there, instead, 1);
        assert_ne!(other, new, "{there}");
        tree.edit(declared, new, &other);
        let refusal = tree.run("tools/api", &["--check"]).expect_err(instead);
        assert!(refusal.contains(why), "{instead}: {refusal}");
        tree.write(declared, &good);
    }
    tree.edit(declared, new, "");
    tree.write_what_follows().expect("writes");
    assert_eq!(tree.changed(), [] as [String; 0]);
}

/// A family with something of everything that a family may declare.
const GIFTS: [(&str, &str); 2] = [
    (
        "sql/gifts/tables.sql",
        "CREATE FUNCTION sec.install_gifts() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.gifts') IS NULL THEN
        CREATE SEQUENCE app.gift_no_seq AS bigint;
        CREATE TABLE app.gifts (id bigint NOT NULL PRIMARY KEY, member_id uuid NOT NULL, secret text);
        COMMENT ON TABLE app.gifts IS 'Gifts.';
        CREATE TABLE app.gift_log (id bigint NOT NULL, created_at timestamptz NOT NULL) PARTITION BY RANGE (created_at);
        COMMENT ON TABLE app.gift_log IS 'What happened to gifts.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_gifts() IS 'Makes the tables of gifts. Internal.';

CREATE PROCEDURE app.wrap_gifts()
    LANGUAGE plpgsql AS 'BEGIN END';
COMMENT ON PROCEDURE app.wrap_gifts() IS
    E'Wraps gifts.\\n'
    'Level: operator.';
",
    ),
    (
        "sql/gifts/declared.sql",
        "CREATE FUNCTION sec.jobs_of_gifts() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('wrap_gifts', '5 5 * * *', 'CALL app.wrap_gifts()', interval '1 day')
$$;
COMMENT ON FUNCTION sec.jobs_of_gifts() IS 'The jobs of gifts. Internal.';

CREATE FUNCTION sec.monthly_tables_of_gifts() RETURNS TABLE (nsp text, tab text, pk text, is_append_only boolean)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app', 'gift_log', 'id', true)
$$;
COMMENT ON FUNCTION sec.monthly_tables_of_gifts() IS 'The monthly tables of gifts. Internal.';

CREATE FUNCTION sec.settings_of_gifts()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (13, 'gift_limit', 'money', '20.00', '0.01', '500', NULL::text[], 'The most that a gift may cost.', '礼品最高金额。')
$$;
COMMENT ON FUNCTION sec.settings_of_gifts() IS 'The settings of gifts. Internal.';

CREATE FUNCTION sec.columns_of_gifts() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.gifts', 'id, member_id')
$$;
COMMENT ON FUNCTION sec.columns_of_gifts() IS 'What may be read of gifts. Internal.';

CREATE FUNCTION sec.policies_of_gifts() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.gifts', 'own_gift', 'member_id = (SELECT sec.uid())', 'member_id=SELECTsec.uidASuid')
$$;
COMMENT ON FUNCTION sec.policies_of_gifts() IS 'The policies of gifts. Internal.';

CREATE FUNCTION sec.descriptions_of_gifts() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.gifts', 'member_id', 'Who gets it.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_gifts() IS 'What columns of gifts are. Internal.';

CREATE FUNCTION sec.health_of_gifts() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'gifts', count(*) < 2, format('%s gifts', count(*)) FROM app.gifts
$$;
COMMENT ON FUNCTION sec.health_of_gifts() IS 'What app.health() says of gifts. Internal.';

CREATE FUNCTION sec.sequences_of_gifts() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.gift_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.gift_no_seq q),
           (SELECT max(g.id) FROM app.gifts g)
$$;
COMMENT ON FUNCTION sec.sequences_of_gifts() IS 'The sequences of gifts. Internal.';

CREATE FUNCTION sec.rules_of_gifts() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (45, ARRAY['gifts'], 'books_gifts')
$$;
COMMENT ON FUNCTION sec.rules_of_gifts() IS 'What app.verify_books() checks of gifts. Internal.';

CREATE FUNCTION sec.books_gifts() RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT 'gifts', format('%s has no member', g.id) FROM app.gifts g
    WHERE NOT EXISTS (SELECT FROM app.member_profiles m WHERE m.id = g.member_id)
$$;
COMMENT ON FUNCTION sec.books_gifts() IS 'Gifts to nobody. Internal.';
",
    ),
];

/// What an update of the extension does: functions, then tables.
fn join_gifts(superuser: &Session, tree: &Tree) {
    let replacing = |text: String| text.replace("\nCREATE FUNCTION", "\nCREATE OR REPLACE FUNCTION");
    superuser.run("set check_function_bodies = off");
    for (_, text) in GIFTS {
        superuser.run(text);
    }
    superuser.run(&replacing(tree.read("sql/kernel/gathered.sql")));
    for function in superuser.column("select p.oid::regprocedure::text from pg_proc p where p.proname ~ 'gifts'") {
        let kind = if function.starts_with("app.wrap") { "procedure" } else { "function" };
        superuser.run(&format!("alter extension mps add {kind} {function}"));
    }
    superuser.run("reset check_function_bodies; select sec.settle_functions(), sec.install_gifts()");
    superuser.run("select sec.install(), sec.parse_functions()");
}

/// Archive, health, security_check, verify_books and settings go by what the families declare: none of them is edited for this one.
#[test]
fn a_family_that_joins_is_asked_everywhere() {
    let tree = Tree::repository("a-family");
    fs::create_dir(tree.path("sql/gifts")).expect("a folder");
    for (file, text) in GIFTS {
        tree.write(file, text);
    }
    let last = "    \"statements_day_totals\"";
    tree.edit(
        "src/sql.rs",
        last,
        &format!("    \"gifts_tables\" \"../sql/gifts/tables.sql\"\n    \"gifts_declared\" \"../sql/gifts/declared.sql\"\n{last}"),
    );
    tree.write_what_follows().expect("writes");
    assert!(
        tree.read("docs/settings.md")
            .contains("| `gift_limit` | 20.00 | 0.01 to 500 | The most that a gift may cost. |\n")
    );

    let shop = Shop::open();
    let s = &shop.superuser;
    // A month of before, in which nothing of gifts can be.
    s.run("select sec.make_month('2020-03-01')");
    join_gifts(s, &tree);
    assert_eq!(s.column("select rule || ': ' || detail from sec.security_check() where not ok"), [] as [String; 0]);
    let charged = |sum| {
        let ming = shop.member("50.00");
        shop.charge(&ming, sum);
        ming
    };
    let ming = charged("10.00");

    // What may be read, by whom, and what columns are.
    s.run(&format!("insert into app.gifts values (1, '{0}', 'x'), (7, '{0}', 'y')", ming.id));
    let own = shop.db.user(ming.id);
    assert_eq!(own.value("select count(*) from (select id, member_id from app.gifts) g"), "2");
    assert_eq!(shop.cashier.value("select count(*) from (select id, member_id from app.gifts) g"), "0");
    own.denied("select secret from app.gifts");
    assert_eq!(s.value("select col_description('app.gifts'::regclass, 2)"), "Who gets it.");
    assert_eq!(
        s.value(
            "select relrowsecurity and relowner = 'mps_owner'::regrole from pg_class where oid = 'app.gifts'::regclass"
        ),
        "t"
    );

    // Jobs, health, sequences.
    let watched =
        |name: &str| s.value(&format!("select ok || ' ' || detail from app.health() where check_name = '{name}'"));
    assert_eq!(watched("gifts"), "false 2 gifts");
    assert!(watched("job wrap_gifts").contains("has never run: CALL app.wrap_gifts()"));
    assert_eq!(
        watched("sequences"),
        "false app.gift_no_seq gave 0, but 7 is used: setval() them before anybody writes"
    );
    assert_eq!(s.value("select count(*) from app.schedule_jobs() where job = 'mps_wrap_gifts'"), "1");
    s.run("select setval('app.gift_no_seq', 7); select sec.grant_api('stranger', 'operator')");
    shop.db.login("stranger").run("call app.wrap_gifts()");

    // Settings.
    assert_eq!(shop.backend.value("select app.get_settings() ->> 'gift_limit'"), "20.00");
    assert_eq!(shop.backend.value(r#"select app.update_settings('{"gift_limit": 30.5}') ->> 'gift_limit'"#), "30.50");
    let refusal = shop.backend.refused("INVALID_ARGUMENT", r#"select app.update_settings('{"gift_limit": 500.01}')"#);
    assert!(refusal.detail.contains("gift_limit is out of range"), "{}", refusal.detail);
    assert_eq!(
        s.value(
            "select col_description('app.settings'::regclass, attnum) from pg_attribute \
                        where attrelid = 'app.settings'::regclass and attname = 'gift_limit'"
        ),
        "The most that a gift may cost."
    );

    // Months: made with the others, missed where one is gone, and archived.
    s.run("call app.maintain_partitions(5)");
    let months = "select count(*) from pg_inherits where inhparent = 'app.gift_log'::regclass";
    assert_eq!(s.value(months), "7");
    s.run("call audit.seal()");
    s.run("call app.archive_partitions('2020-04-01')");
    assert_eq!(s.value("select to_regclass('mps_archive.gift_log_202003') is not null"), "t");

    // Books, and the checks before every call.
    let rule = "select ok || ' ' || detail from app.verify_books() where check_name = 'gifts'";
    assert_eq!(s.value(rule), "true ok");
    s.run("insert into app.gifts values (3, gen_random_uuid(), null)");
    assert_eq!(s.value(rule), "false 3 has no member");
    let code = shop.code(&ming);
    s.run("delete from app.gifts where id = 3; alter table app.gifts force row level security");
    let refusal = shop.cashier.refused("STATUS_CONFLICT", &Shop::charge_sql(&code, "1.00", ""));
    assert!(refusal.detail.contains("app.gifts"), "{}", refusal.detail);
    s.run("alter table app.gifts no force row level security");
    charged("1.00");
}
