//! A limit is measured where the cost is paid: what is small in a request or in a row is not large anywhere else.

use mps_tests::{Db, Member, Meter, Row, SHOP, Session, Shop, q};
use std::time::Duration;

/// What a request may cost a backend, in processor time and in memory.
const MOST_BUSY: Duration = Duration::from_millis(50);
const MOST_BYTES: u64 = 64 << 20;

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
            let busy =
                meter.busy_at_least(MOST_BUSY, || backend.failure(&sql).must_be("INVALID_ARGUMENT", &sql[..200]));
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
    let pages: [(&Session, String, &str); 4] = [
        (&owner, format!("app.card_statement('{}')", ming.card), "20"),
        (&owner, "app.v_usage_logs".into(), "20"),
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
            let busy = meter.busy_at_least(MOST_BUSY, || {
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
        "create table public.kept as select i, (i * 1.25)::numeric as n, jsonb_build_object('n', i, 'deep', jsonb_build_array(i, 'x', null, true, false, '{}')) as j \
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
