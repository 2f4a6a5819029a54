//! A limit is measured where the cost is paid: what is small in a request or in a row is not large anywhere else.

use mps_tests::{Company, Db, Failure, Member, Meter, NULL, Row, SHOP, Session, Shop, TOKENS, nobody, q};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::RefCell;
use std::env;
use std::time::{Duration, Instant};

/// What a request may cost a backend, in processor time and in memory.
const MOST_BUSY: Duration = Duration::from_millis(50);
const MOST_BYTES: u64 = 64 << 20;
/// The longest answer: a page of the longest tags that are shown, and what else is in its rows.
const MOST_ANSWER: usize = 500 * (16 << 10) + 500 * 4096;

/// 480 numbers of 131,072 digits, which are 63 MB as text, in less than 8 KiB as stored.
const TAG_OF_OLD: &str = "(select jsonb_build_object('a', jsonb_agg(1e131071::numeric)) from generate_series(1, 480))";

/// The statement of every RPC that takes a jsonb value, with this one.
fn taking(shop: &Shop, ming: &Member, json: &str) -> [String; 6] {
    let paid = shop.charge(ming, "1.00");
    let company = shop.company("1.000", "0", ming);
    [
        Shop::charge_sql(&shop.code(ming), "1.00", &format!("p_tag => {json}")),
        Shop::refund_sql(&paid["tx_no"], "1.00", &format!("p_tag => {json}")),
        format!("select * from app.user_recharge_personal_card('{}', 1, 'cash', p_tag => {json})", ming.card),
        format!(
            "select * from app.user_recharge_enterprise_card_admin('{}', 1, 'cash', p_tag => {json})",
            company.card
        ),
        format!("select * from app.confirm_recharge('{}', 1, 'g-1', {json})", shop.pending(ming, "1.00")),
        format!("select app.update_settings({json})"),
    ]
}

#[test]
fn a_short_request_costs_little_whatever_its_numbers_would_be_as_text() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let numbers = vec!["1e131071"; 4000].join(",");
    let decimals = vec!["1e-16383"; 4000].join(",");
    let requests = [
        format!(r#"{{"a":[{numbers}]}}"#),
        format!(r#"{{"a":[{decimals}]}}"#),
        format!(r#"{{"a":{}"b"{}}}"#, "[".repeat(5000), "]".repeat(5000)),
        format!(r#"{{"a":"{}"}}"#, r"\u0001".repeat(6000)),
    ];
    for json in &requests {
        assert!((10_000..64 << 10).contains(&json.len()), "{} bytes", json.len());
        for sql in taking(&shop, &ming, &q(json)) {
            let backend = shop.db.backend();
            backend.failure(&sql).must_be("INVALID_ARGUMENT", &sql[..200]);
            let meter = Meter::of(&backend);
            let busy = meter.least_busy(MOST_BUSY, || backend.failure(&sql).must_be("INVALID_ARGUMENT", &sql[..200]));
            assert!(busy <= MOST_BUSY, "{busy:?}: {}", &sql[..200]);
            assert!(meter.peak_bytes() <= MOST_BYTES, "{} bytes: {}", meter.peak_bytes(), &sql[..200]);
        }
    }
}

#[test]
fn a_tag_may_be_as_long_as_its_text() {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    let fits = |json: &str| shop.superuser.value(&format!("select octet_length({json}::text) <= 8192")) == "t";
    let padded = |inner: &str, bytes: usize| {
        let rest = format!("{bytes} - octet_length(jsonb_build_object('a', {inner}, 'b', '')::text)");
        format!("jsonb_build_object('a', {inner}, 'b', repeat('x', ({rest})::integer))")
    };
    // One of each kind, then filled up to the last byte that fits and to the first that does not.
    for inner in [
        "''::text",
        "1e8000::numeric",
        "-1e8000::numeric",
        "1e-8000::numeric",
        "repeat(E'\\n\"\\\\\\u0001', 500)",
        "repeat('拿铁', 1000)",
        "(repeat('[', 500) || repeat(']', 500))::jsonb",
        "(select jsonb_agg(i) from generate_series(1, 1000) i)",
        "(select jsonb_object_agg(i, null) from generate_series(1, 500) i)",
    ] {
        let (longest, too_long) = (padded(inner, 8192), padded(inner, 8193));
        assert!(fits(&longest) && !fits(&too_long), "{inner}");
        shop.backend.run(&Shop::charge_sql(&shop.code(&ming), "1.00", &format!("p_tag => {longest}")));
        let sql = Shop::charge_sql(&shop.code(&ming), "1.00", &format!("p_tag => {too_long}"));
        shop.backend.refused("INVALID_ARGUMENT", &sql);
    }
    for json in [TAG_OF_OLD, "jsonb_build_object('a', 1e131071::numeric)", "jsonb_build_object('a', 1e-16383::numeric)"]
    {
        for sql in taking(&shop, &ming, json) {
            shop.backend.refused("INVALID_ARGUMENT", &sql);
        }
    }
}

/// A shop with twenty payments of one member whose tags an older release let in.
fn with_old_rows() -> (Shop, Member) {
    let shop = Shop::open();
    let ming = shop.member("1000.00");
    for _ in 0..20 {
        shop.charge(&ming, "1.00");
    }
    shop.superuser.run(&format!("update app.transactions set tag = {TAG_OF_OLD} where tx_type = 'payment'"));
    (shop, ming)
}

#[test]
fn no_row_of_an_older_release_breaks_a_page() {
    let (shop, ming) = with_old_rows();
    let owner = shop.db.user(ming.id);
    let number = shop.superuser.value("select max(tx_no) from app.transactions where tx_type = 'payment'");
    let stand_in = r#"{"mps_omitted": "tag", "bytes_of_text": 62915527}"#;
    let pages: [(&Session, String, &str); 5] = [
        (&owner, format!("app.card_statement('{}')", ming.card), "20"),
        (&owner, "app.v_usage_logs".into(), "20"),
        (&owner, "app.usage_page()".into(), "20"),
        (&shop.cashier, format!("app.merchant_statement('{SHOP}')"), "20"),
        (&owner, format!("app.tx_by_no('{number}')"), "1"),
    ];
    for (session, page, rows) in pages {
        // As PostgREST asks: the whole page as one text.
        let sql = format!(
            "select count(*) from json_array_elements((select json_agg(x) from {page} x)) e where e ->> 'tag' = "
        );
        let shown = format!("select distinct left(tag::text, 100) from {page} where tx_type = 'payment'");
        let meter = Meter::of(session);
        assert_eq!(session.column(&shown), [stand_in], "{page}");
        assert_eq!(session.value(&format!("{sql} {}", q(stand_in))), rows, "{page}");
        assert!(meter.peak_bytes() <= MOST_BYTES, "{} bytes: {page}", meter.peak_bytes());
    }
}

#[test]
fn a_tag_of_an_older_release_that_is_a_little_longer_is_shown_as_it_is() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "1.00");
    let owner = shop.db.user(ming.id);
    let shown = |bytes: usize| {
        let tag = format!("jsonb_build_object('receipt', repeat(E'\\n', {}))", (bytes - 15) / 2);
        shop.superuser.run(&format!("update app.transactions set tag = {tag} where tx_no = '{}'", &paid["tx_no"]));
        let is_there = |page: &str| owner.value(&format!("select tag = {tag} from {page} where tx_type = 'payment'"));
        let pages = [format!("app.card_statement('{}')", ming.card), "app.v_usage_logs".into()];
        pages.each_ref().map(|page| is_there(page))
    };
    assert_eq!(shown(16 * 1024 - 1), ["t", "t"]);
    assert_eq!(shown(16 * 1024 + 1), ["f", "f"]);
}

#[test]
fn the_latest_refunds_of_a_payment_are_a_page() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let paid = shop.charge(&ming, "60.00");
    let refund = format!("app.merchant_refund_tx('{SHOP}', '{}', 0.01, i::text)", &paid["tx_no"]);
    shop.cashier.run(&format!("select count(*) from generate_series(1, 520) i cross join lateral {refund} r"));
    let rows = shop.db.user(ming.id).rows(&format!("select * from app.tx_by_no('{}')", &paid["tx_no"]));
    assert_eq!((rows.len(), &rows[0]["refunded_amount"]), (501, "5.20"));
    let newest = "select tx_no from app.transactions where tx_type = 'refund' order by id desc limit 500";
    let shown: Vec<&str> = rows[1..].iter().map(|r| &r["tx_no"]).collect();
    assert_eq!(shown, shop.superuser.column(newest));
}

#[test]
fn what_is_compressed_in_a_table_is_not_unpacked_to_be_refused() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    shop.superuser.run(
        "create table public.packed as select repeat('x', 100000000) as text, to_jsonb(repeat('x', 100000000)) as json; \
         grant select on public.packed to public",
    );
    for argument in ["p_tag => json", "p_reason => text", "p_idempotency_key => text", "p_external_order_id => text"] {
        let sql = format!(
            "select c.* from public.packed, lateral app.merchant_charge_by_qr('{SHOP}', '{}', 1, {argument}) c",
            shop.code(&ming)
        );
        let backend = shop.db.backend();
        let meter = Meter::of(&backend);
        backend.failure(&sql).must_be("INVALID_ARGUMENT", &sql);
        assert!(meter.peak_bytes() <= MOST_BYTES, "{} bytes: {argument}", meter.peak_bytes());
    }
}

#[test]
fn no_claims_cost_more_than_their_reading() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let owner = shop.db.user(ming.id);
    let more = [
        format!(r#""a":"{}""#, "x".repeat(1 << 20)),
        format!(r#""a":{}{}"#, "[".repeat(1 << 19), "]".repeat(1 << 19)),
        format!(r#""a":[{}1]"#, "1,".repeat(1 << 19)),
        format!(r#""a":1e{}"#, "9".repeat(1 << 20)),
    ];
    for more in more {
        for claims in [format!(r#"{{"sub":"{}",{more}}}"#, ming.id), format!(r#"{{{more},"sub":"{}"}}"#, ming.id)] {
            owner.run(&format!("select set_config('request.jwt.claims', {}, false)", q(&claims)));
            let meter = Meter::of(&owner);
            let busy = meter.least_busy(MOST_BUSY, || {
                assert_eq!(owner.value("select count(*) from app.v_user_cards"), "1");
            });
            assert!(busy <= MOST_BUSY, "{busy:?}");
            assert!(meter.peak_bytes() <= MOST_BYTES, "{} bytes", meter.peak_bytes());
        }
    }
}

#[test]
fn the_length_of_a_text_is_known_exactly() {
    let db = Db::new();
    let superuser = db.superuser();
    // Beside a text that alone is too long to be shown, so that every value is counted and told.
    let differing = |values: &str| -> Vec<Row> {
        superuser.rows(&format!(
            "select x, octet_length(y::text) as long, sec.shown_tag(y) ->> 'bytes_of_text' as counted \
             from ({values}) v (x) cross join lateral (select jsonb_build_object('x', x, 'y', repeat('y', 16384)) as y) y \
             where octet_length(y::text)::text is distinct from sec.shown_tag(y) ->> 'bytes_of_text'"
        ))
    };
    assert_eq!(
        differing(
            "select to_jsonb(s * ('1e' || e)::numeric) from generate_series(-330, 330) e, unnest(array[0, 1, -1, 12345.6789, -99999999]) s"
        ),
        []
    );
    assert_eq!(
        differing(
            "select to_jsonb(n) from unnest(array['NaN', 'Infinity', '-Infinity', 1e131071, -1e131071, 1e-16383, 0e-100]::numeric[]) n"
        ),
        []
    );
    assert_eq!(
        differing(
            "select to_jsonb(round(random()::numeric * 10 ^ (i % 60 - 30)::numeric, i % 90)) from generate_series(1, 3000) i"
        ),
        []
    );
    assert_eq!(
        differing(
            "select to_jsonb(repeat(chr(i), i % 7)) from generate_series(1, 5000) i where i not between 55296 and 57343"
        ),
        []
    );
    // As long as it takes for every way in which the server notes where elements are.
    assert_eq!(
        differing(
            "select (select jsonb_agg(repeat('k', j % 5)) from generate_series(0, i) j) from generate_series(0, 200) i"
        ),
        []
    );
    assert_eq!(
        differing(
            "select (select jsonb_object_agg('k' || j, array[j * 1.5, -j]) from generate_series(0, i) j) from generate_series(0, 200) i"
        ),
        []
    );
    // What came from tables (short headers), what was changed in place, and what was cut out of others.
    superuser.run(
        "create table public.kept as select i, (i * 1.25)::numeric as n, \
                jsonb_build_object('n', i, 'deep', jsonb_build_array(i, 'x', null, true, false, '{}')) as j \
         from generate_series(1, 500) i",
    );
    for value in [
        "to_jsonb(k)",
        "jsonb_set(j, '{deep,1}', to_jsonb(k))",
        "j -> 'deep'",
        "j || to_jsonb(n)",
        "j - 'n'",
        "j #- '{deep,0}'",
        "to_jsonb(n)",
        "jsonb_build_array(n, j, n)",
    ] {
        assert_eq!(differing(&format!("select {value} from public.kept k")), [], "{value}");
    }
}

#[test]
fn what_a_sign_up_says_is_not_made_text_unless_it_is_one() {
    let _roles = Db::new();
    let db = Db::empty();
    let superuser = db.superuser();
    superuser.run(
        "create schema auth; create table auth.users (id uuid primary key, email text, phone text, raw_user_meta_data jsonb); \
         create extension mps; select app.enable_supabase_signup()",
    );
    let numbers = format!(r#"[{}]"#, vec!["1e131071"; 3000].join(","));
    let meter = Meter::of(&superuser);
    for (said, name) in [
        (format!(r#"{{"name":{numbers}}}"#), "x@example.org"),
        (format!(r#"{{"name":{numbers},"full_name":"Ming"}}"#), "Ming"),
        (r#"{"name":7}"#.into(), "x@example.org"),
        (r#"{"name":"Mei","full_name":"Ming"}"#.into(), "Mei"),
    ] {
        let id = nobody();
        let sign_up = format!("insert into auth.users values ('{id}', 'x@example.org', null, {})", q(said));
        let (_, busy) = meter.busy(|| superuser.run(&sign_up));
        assert!(busy <= 4 * MOST_BUSY, "{busy:?}");
        assert_eq!(superuser.column(&format!("select name from app.member_profiles where id = '{id}'")), [name]);
    }
    assert!(meter.peak_bytes() <= MOST_BYTES, "{} bytes", meter.peak_bytes());
}

#[test]
fn events_of_an_older_release_are_sealed_and_verified_however_long_they_are() {
    let shop = Shop::open();
    shop.superuser.run(&format!(
        "insert into audit.event_log (id, happened_at, actor_role, action, object_type, object_id, context) \
         select nextval('audit.event_id_seq'), now(), 'x', 'recharge.late', 'transaction', 'x', \
                jsonb_build_object('payload', {TAG_OF_OLD}) \
         from generate_series(1, 3)"
    ));
    shop.superuser.run("call audit.seal()");
    for check in ["audit.verify()", "app.verify_books()"] {
        assert_eq!(shop.superuser.rows(&format!("select * from {check} where ok is not true")), [], "{check}");
    }
}

// Every RPC, whatever it is given -----------------------------------------------------------------------------------------

/// A function that clients or backends may call, and its arguments.
#[derive(Clone, Debug)]
struct Function {
    name: String,
    level: String,
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug)]
struct Argument {
    name: String,
    of_type: String,
    has_default: bool,
}

fn functions(superuser: &Session) -> Vec<Function> {
    let rows = superuser.rows(
        "select f.func, f.level, array_to_string(p.proargnames[1:p.pronargs], ' ') as names, \
                array_to_string(array(select format_type(t, null) from unnest(p.proargtypes) with ordinality u (t, n) order by n), ',') \
                    as types, \
                p.pronargs - p.pronargdefaults as required \
         from sec.api_functions() f join pg_proc p on p.pronamespace::regnamespace || '.' || p.proname = f.func \
         where f.level in ('client', 'backend') order by 1, 3",
    );
    let function = |row: &Row| {
        let required: usize = row["required"].parse().unwrap();
        let list = |text: &str, by: char| text.split(by).map(String::from).collect::<Vec<_>>();
        let pairs = list(&row["names"], ' ').into_iter().zip(list(&row["types"], ','));
        let argument = |(n, (name, of_type))| Argument { name, of_type, has_default: n >= required };
        let arguments = pairs.filter(|(name, _)| !name.is_empty() && name != NULL).enumerate().map(argument).collect();
        Function { name: row["func"].into(), level: row["level"].into(), arguments }
    };
    rows.iter().map(function).collect()
}

/// What an argument is given.
#[derive(Clone, Debug)]
enum Given {
    Nothing,
    /// One that is right, so that the call gets further; which one of them.
    Right(usize),
    /// SQL, literals only: nothing that is made longer by the server before the call.
    Sql(String),
}

fn fill(unit: &str, bytes: usize) -> String {
    unit.repeat(bytes / unit.len() + 1)
}

fn any_length() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..40, 150usize..600, 7_000usize..9_000, 20_000usize..60_000]
}

fn any_text() -> impl Strategy<Value = String> {
    let unit = prop::sample::select(vec![
        "x", " ", "\t", "\n", "\u{1}", "\u{7f}", "\u{a0}", "\u{200b}", "拿铁", "😀", "e\u{301}", "'", "\\", "%", "\"",
        "MPS", "ZF26", "0", "A2", "\u{feff}", "\u{fffd}",
    ]);
    prop_oneof![
        4 => (unit, any_length()).prop_map(|(unit, bytes)| q(fill(unit, bytes))),
        2 => prop::sample::select(vec!["''", "'personal'", "'enterprise'", "'closed'", "'cash'", "'balance'", "'admin'", "'ZF2611000001'"])
            .prop_map(String::from),
        1 => "\\PC{0,40}".prop_map(q),
        // No UTF-8, and characters that are none.
        1 => prop::sample::select(vec![r"E'\xc0\x80'", r"E'\xed\xa0\x80'", r"E'\xff'"]).prop_map(String::from),
    ]
}

/// JSON text, mostly.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "-0",
        "1e131071",
        "-1e131071",
        "1e131072",
        "1e-16383",
        "1e-16384",
        "0e-16383",
        "9e99999999999",
        "1.5",
        "true",
        "null",
        r#""""#,
        r#""x""#,
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\u0000""#,
        r#""\u0001""#,
        r#""\n\"\\""#,
        r#""拿铁""#,
        "{}",
        "[]",
        "[[]]",
        "x",
    ]);
    let wide = (leaf.clone(), any_length(), any::<bool>()).prop_map(|(leaf, bytes, keyed)| {
        let count = bytes / (leaf.len() + if keyed { 8 } else { 1 }) + 1;
        let elements: Vec<String> =
            (0..count).map(|i| if keyed { format!(r#""{i}":{leaf}"#) } else { leaf.into() }).collect();
        if keyed { format!("{{{}}}", elements.join(",")) } else { format!("[{}]", elements.join(",")) }
    });
    let deep = (prop::sample::select(vec![("[", "]"), (r#"{"a":"#, "}"), ("[1,[],", "]")]), any_length(), leaf.clone())
        .prop_map(|((open, close), bytes, leaf)| {
            let depth = bytes / (open.len() + close.len()) + 1;
            format!("{}{leaf}{}", open.repeat(depth), close.repeat(depth))
        });
    let string = (prop::sample::select(vec!["x", r"\u0001", r"\n", r"\ud83d\ude00", "拿铁", r"\\", " "]), any_length())
        .prop_map(|(unit, bytes)| format!(r#""{}""#, fill(unit, bytes)));
    let setting = prop::sample::select(vec![
        "qr_ttl_seconds",
        "max_amount",
        "points_per_unit",
        "recharge_confirmation",
        "coffee",
    ]);
    let any = prop_oneof![2 => leaf.prop_map(String::from), 4 => wide, 2 => deep, 2 => string];
    prop_oneof![
        4 => any.clone().prop_map(|json| format!(r#"{{"a":{json}}}"#)),
        1 => (setting, any.clone()).prop_map(|(name, json)| format!(r#"{{"{name}":{json}}}"#)),
        1 => any,
    ]
}

fn any_numeric() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "'NaN'", "'Infinity'", "'-Infinity'", "1e131071", "-1e131071", "1e-16383", "0", "-0.00", "0.01", "0.005", "1.00", "-1", "1e9",
            "9999999999.99", "92233720368547758.07", "92233720368547758.08", "1e24", "99999999999999999999999999999999999999999",
        ])
        .prop_map(String::from),
        1 => (any_length(), any_length()).prop_map(|(whole, decimals)| format!("{}.{}", fill("9", whole), fill("9", decimals.min(16_380)))),
        1 => (1u32..100_000).prop_map(|cents| format!("{}.{:02}", cents / 100, cents % 100)),
    ]
}

/// A value of a type, as SQL.
fn any_value(of_type: &str) -> BoxedStrategy<String> {
    let one_of = |values: &'static [&'static str]| prop::sample::select(values).prop_map(String::from).boxed();
    match of_type {
        "text" => any_text().boxed(),
        "jsonb" | "json" => any_json().prop_map(q).boxed(),
        "numeric" => any_numeric().boxed(),
        "uuid" => one_of(&[
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'{a0eebc999c0b4ef8bb6d6bb9bd380a11}'",
            "'x'",
        ]),
        "boolean" => one_of(&["true", "false"]),
        "smallint" | "integer" => one_of(&["0", "1", "-1", "500", "501", "2147483647", "-2147483648"]),
        "bigint" => one_of(&["0", "1", "-1", "9223372036854775807", "-9223372036854775808", "4611686018427387904"]),
        "date" => {
            one_of(&["'infinity'", "'-infinity'", "'5874897-12-31'", "'4713-01-01 BC'", "'2026-11-30'", "'today'"])
        }
        "timestamp with time zone" => one_of(&[
            "'infinity'",
            "'-infinity'",
            "'294276-12-31 23:59:59.999999+00'",
            "'4714-11-24 00:00:00+00 BC'",
            "'2000-01-01 00:00:00+00'",
            "'2099-12-31 23:59:59.999999+00'",
            "now()",
            "'epoch'",
        ]),
        _ => Just("null".to_owned()).boxed(),
    }
}

fn any_call(functions: &[Function]) -> impl Strategy<Value = (Function, Vec<Given>, usize)> + use<> {
    prop::sample::select(functions.to_vec()).prop_flat_map(|function| {
        let given = function.arguments.iter().map(|argument| {
            let right = (0usize..8).prop_map(Given::Right).boxed();
            let left_out = if argument.has_default { Just(Given::Nothing).boxed() } else { right.clone() };
            prop_oneof![
                2 => left_out,
                6 => right,
                1 => Just(Given::Sql("null".into())),
                3 => any_value(&argument.of_type).prop_map(Given::Sql),
            ]
        });
        (Just(function.clone()), given.collect::<Vec<_>>(), 0usize..4)
    })
}

/// A shop in which every RPC finds something, old rows too.
struct World {
    shop: Shop,
    members: [Member; 2],
    companies: [Company; 2],
    numbers: Vec<String>,
}

impl World {
    fn open() -> World {
        let (shop, ming) = with_old_rows();
        let mei = shop.member("50000.00");
        let companies = [shop.company("0.900", "50000.00", &mei), shop.company("1.000", "100.00", &ming)];
        shop.bind(&companies[0], &ming, "member");
        let paid = shop.charge(&mei, "100.00");
        let amounts = (0..40).map(|_| shop.refund(&paid["tx_no"], "0.01"));
        assert_eq!(amounts.count(), 40);
        for amount in ["1.00", "2.00", "3.00"] {
            shop.pending(&mei, amount);
        }
        let numbers = shop.superuser.column("select tx_no from app.transactions order by id desc");
        World { shop, members: [ming, mei], companies, numbers }
    }

    /// A value that is right for an argument, as SQL.
    fn right(&self, argument: &Argument, which: usize) -> String {
        let (member, company) = (&self.members[which % 2], &self.companies[which % 2]);
        let one_of = |values: &[&str]| q(values[which % values.len()]);
        match argument.name.as_str() {
            "p_merchant_code" | "p_code" => q(SHOP),
            "p_qr_plain" => {
                let code = format!("select qr_plain from app.rotate_card_qr('{}')", member.card);
                q(self.shop.backend.try_row(&code).map_or("MPS".into(), |row| row["qr_plain"].to_owned()))
            }
            "p_card_no" => q(&company.card_no),
            "p_enterprise_card_id" => q(&company.card),
            "p_personal_card_id" => q(&member.card),
            "p_card_id" if which < 6 => q(&member.card),
            "p_card_id" => q(&company.card),
            "p_card_type" => one_of(&["personal", "personal", "personal", "enterprise"]),
            "p_member_id" | "p_user_id" => q(member.id),
            "p_payment_method" => one_of(&["wechat", "alipay", "cash"]),
            "p_role" => one_of(&["member", "admin", "cashier", "owner"]),
            "p_status" => one_of(&["active", "active", "active", "lost", "suspended"]),
            name if name.ends_with("tx_no") || name == "p_before" => q(&self.numbers[which * 7 % self.numbers.len()]),
            _ => match argument.of_type.as_str() {
                "text" => q(format!("text {which}")),
                "jsonb" => q("{}"),
                "numeric" => one_of(&["1.00", "2.00", "0.9"]),
                "integer" => "500".into(),
                "bigint" => "10".into(),
                "timestamp with time zone" => "now()".into(),
                "boolean" => "true".into(),
                _ => "null".into(),
            },
        }
    }

    fn sql(&self, function: &Function, given: &[Given]) -> String {
        let arguments = function.arguments.iter().zip(given).filter_map(|(argument, given)| match given {
            Given::Nothing => None,
            Given::Right(which) => Some(format!("{} => {}", argument.name, self.right(argument, *which))),
            Given::Sql(sql) => Some(format!("{} => {sql}", argument.name)),
        });
        format!("select * from {}({})", function.name, arguments.collect::<Vec<_>>().join(", "))
    }

    /// Whoever may call functions of a level: one of the members, the cashier or the shop's server.
    fn session(&self, level: &str, who: usize) -> Session {
        match (level, who) {
            ("backend", _) | (_, 0) => self.shop.db.backend(),
            (_, 1) => self.shop.db.user(self.shop.cashier_id),
            _ => self.shop.db.user(self.members[who % 2].id),
        }
    }
}

/// What was the most so far, and of which request.
#[derive(Default)]
struct Most {
    answer: (usize, String),
    busy: (Duration, String),
    memory: (u64, String),
    calls: usize,
    answered: usize,
}

fn short(sql: &str) -> String {
    let end = sql.char_indices().nth(300).map_or(sql.len(), |(at, _)| at);
    format!("{} bytes: {}", sql.len(), &sql[..end])
}

/// One of the closed list, or what Postgres says of literals that are no values (class 22) or go too deep (class 54).
fn is_expected(failure: &Failure) -> bool {
    match failure.code.strip_prefix("PT") {
        Some(status) => TOKENS.iter().any(|(token, s)| *token == failure.message && s.to_string() == status),
        None => failure.code.starts_with("22") || failure.code.starts_with("54"),
    }
}

fn must_be_cheap(session: &Session, sql: &str, most: &RefCell<Most>) -> Result<(), TestCaseError> {
    let meter = Meter::of(session);
    let (mut answer, mut busy) = meter.busy(|| session.try_rows(sql));
    for _ in 0..2 {
        if busy <= MOST_BUSY {
            break;
        }
        let (again, took) = meter.busy(|| session.try_rows(sql));
        (answer, busy) = (again, busy.min(took));
    }
    let bytes = match &answer {
        Ok(rows) => rows.iter().flat_map(|row| row.values()).map(str::len).sum(),
        Err(failure) => failure.message.len() + failure.detail.len() + failure.hint.len(),
    };
    let mut most = most.borrow_mut();
    most.calls += 1;
    most.answered += usize::from(answer.is_ok());
    if bytes > most.answer.0 {
        most.answer = (bytes, short(sql));
    }
    if busy > most.busy.0 {
        most.busy = (busy, short(sql));
    }
    let memory = meter.peak_bytes();
    if memory > most.memory.0 {
        most.memory = (memory, short(sql));
    }
    if let Err(failure) = &answer {
        prop_assert!(is_expected(failure), "{failure:?}");
    }
    prop_assert!(busy <= MOST_BUSY, "busy for {busy:?}");
    prop_assert!(memory <= MOST_BYTES, "{memory} bytes of memory");
    prop_assert!(bytes <= MOST_ANSWER, "an answer of {bytes} bytes");
    Ok(())
}

/// MPS_BOUNDS_SECONDS makes it longer, MPS_BOUNDS_SEED another one.
#[test]
fn no_request_costs_much_whatever_it_asks() {
    let number = |name: &str, default: u64| env::var(name).map_or(default, |v| v.parse().expect("a number"));
    let (seconds, seed) = (number("MPS_BOUNDS_SECONDS", 12), number("MPS_BOUNDS_SEED", 1));
    println!("MPS_BOUNDS_SEED={seed} MPS_BOUNDS_SECONDS={seconds}");
    let world = World::open();
    let calls = any_call(&functions(&world.shop.superuser));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    let config = Config { failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let most = RefCell::new(Most::default());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        let case = calls.new_tree(&mut runner).expect("a call");
        let outcome = runner.run_one(case, |(function, given, who)| {
            let sql = world.sql(&function, &given);
            if sql.len() > 64 << 10 {
                return Err(TestCaseError::reject("longer than a request"));
            }
            // A session of its own: what it has at most is what this call took.
            must_be_cheap(&world.session(&function.level, who), &sql, &most)
                .map_err(|e| TestCaseError::fail(format!("{e}\n{}", short(&sql))))
        });
        if let Err(proptest::test_runner::TestError::Fail(why, _)) = outcome {
            panic!("{why}");
        }
    }
    let most = most.into_inner();
    println!("{} calls, {} of them answered", most.calls, most.answered);
    println!("longest answer: {} bytes; {}", most.answer.0, most.answer.1);
    println!("busiest: {:?}; {}", most.busy.0, most.busy.1);
    println!("most memory: {} bytes; {}", most.memory.0, most.memory.1);
    assert!(most.answered * 10 > most.calls, "hardly any call gets further than its arguments");
    assert_eq!(world.shop.superuser.rows("select * from app.verify_books() where ok is not true"), []);
}
