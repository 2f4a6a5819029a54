//! Receipts: what a member keeps, verified without the database by `mps-verify`, which shares no code with MPS.

use mps_tests::{Clock, Cluster, SHOP, Session, Till, program};
use mps_verify::{Head, Holding, Receipt, Verdict, contradict, exclude, holding, judge, receipt};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

type Keys = Vec<ed25519_dalek::VerifyingKey>;

/// A shop in a server whose heads are signed, and the key that the shop has published.
struct Signing {
    till: Till,
    keys: Keys,
    cluster: Cluster,
}

const MEMBER: &str = "00000000-0000-4000-8000-000000000001";

impl Signing {
    fn start() -> Signing {
        Signing::on(Cluster::start())
    }

    fn on(cluster: Cluster) -> Signing {
        cluster.psql("postgres", "create database shop").expect("a database");
        cluster.psql("shop", "create extension mps").expect("the extension");
        let keys = use_key(&cluster, "seal.pem");
        let till = Till::open(cluster.superuser("shop"));
        Signing { till, keys, cluster }
    }

    fn s(&self) -> &Session {
        &self.till.session
    }

    fn seal(&self) {
        self.s().run("call audit.seal()");
    }

    fn proof(&self, tx_no: &str) -> Value {
        json_of(&self.s().value(&format!("select app.tx_proof('{tx_no}')")))
    }

    fn receipt(&self, tx_no: &str) -> Receipt {
        receipt(&self.proof(tx_no), &self.keys).unwrap_or_else(|e| panic!("{tx_no}: {e:?}"))
    }

    fn heads(&self, head_no: u64) -> Value {
        json_of(&self.s().value(&format!("select app.head_proof({head_no})")))
    }

    fn judged(&self, kept: &Head) -> Verdict {
        judge(kept, &self.heads(kept.head_no), &self.keys).expect("heads")
    }
}

fn cents(cents: i64) -> String {
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// A key for the server's heads; what is published of it.
fn use_key(cluster: &Cluster, name: &str) -> Keys {
    published(&cluster.sign_heads(name))
}

fn published(path: &str) -> Keys {
    mps_verify::keys(&program("openssl", &["pkey", "-in", path, "-pubout"]).expect("a public key")).expect("a key")
}

/// In a server of its own: what the tables had before is not compared.
#[track_caller]
fn refuses(session: &Session, token: &str, sql: &str) {
    session.failure(sql).must_be(token, sql);
}

#[test]
fn a_receipt_proves_a_movement_without_the_server() {
    let shop = Signing::start();
    let ming = shop.till.member("100.00");
    let paid = shop.till.charge(&ming.card, "12.34");
    let tx_no = &paid["tx_no"];
    // Not before it is sealed.
    refuses(shop.s(), "STATUS_CONFLICT", &format!("select app.tx_proof('{tx_no}')"));
    refuses(shop.s(), "STATUS_CONFLICT", "select app.head_proof()");
    shop.seal();
    let found = shop.receipt(tx_no);
    assert_eq!((found.movement.tx_no.as_str(), found.movement.card_no.as_str()), (tx_no, ming.card_no.as_str()));
    assert_eq!(
        (found.movement.change_cents, found.movement.balance_after_cents, found.movement.card_seq),
        (-1234, 8766, 2)
    );
    let micros = format!(
        "select (extract(epoch from posted_at) * 1000000)::bigint from app.transactions where tx_no = '{tx_no}'"
    );
    assert_eq!(found.movement.posted_at.to_string(), shop.s().value(&micros));
    assert_eq!(found.head.movements, 2);
    let typed = format!("select app.tx_proof('  {} ')", tx_no.to_lowercase());
    assert_eq!(json_of(&shop.s().value(&typed)), shop.proof(tx_no), "a number is read as every number is");
    assert_eq!(shop.judged(&found.head), Verdict::Stands);
    assert_eq!(json_of(&shop.s().value("select app.head_proof()"))["at"], Value::Null);
    // A head names its key by the beginning of its SHA-256.
    let named = "select head::jsonb ->> 10 = left(encode(sha256(public_key), 'hex'), 16) from audit.heads";
    assert_eq!(shop.s().value(named), "t");
    // Another key has signed nothing.
    let data = shop.cluster.psql("shop", "show data_directory").expect("a directory");
    let other = Path::new(&data).with_file_name("other.pem");
    program("openssl", &["genpkey", "-algorithm", "ed25519", "-out", other.to_str().expect("a path")]).expect("a key");
    receipt(&shop.proof(tx_no), &published(other.to_str().expect("a path"))).expect_err("of another key");
}

#[test]
fn a_receipt_that_was_changed_anywhere_proves_nothing() {
    let shop = Signing::start();
    let ming = shop.till.member("100.00");
    for _ in 0..5 {
        shop.till.charge(&ming.card, "1.00");
    }
    shop.seal();
    let last = shop.s().value("select tx_no from app.transactions order by id desc limit 1");
    let proof = shop.proof(&last);
    let right = receipt(&proof, &shop.keys).expect("a receipt");
    let mut tried = 0;
    for field in ["leaf", "path", "head", "signature"] {
        let text = proof[field].as_str().expect("text");
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let mut changed = proof.clone();
            changed[field] = json!(String::from_utf8(bytes).expect("text"));
            assert!(receipt(&changed, &shop.keys).is_err(), "{field} at {at} of {text}");
            tried += 1;
        }
    }
    for index in (0..20).filter(|n| *n != right.index) {
        let mut changed = proof.clone();
        changed["index"] = json!(index);
        assert!(receipt(&changed, &shop.keys).is_err(), "index {index}");
        tried += 1;
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn every_movement_has_a_receipt_under_two_kilobytes_and_every_head_stands_in_all_later_ones() {
    let shop = Signing::start();
    let members: Vec<_> = (0..7).map(|_| shop.till.member("10.00")).collect();
    let mut heads: Vec<Head> = Vec::new();
    // Over the limits of a chunk (256) and of two.
    for round in 0..42 {
        let card = &members[round % members.len()].card;
        shop.s().run(&format!(
            "select app.user_recharge_personal_card('{card}', 0.01, 'cash') from generate_series(1, {})",
            1 + round % 31
        ));
        shop.seal();
        let newest = json_of(&shop.s().value("select app.head_proof()"));
        heads.push(Head::verified(&newest["latest"], &shop.keys).expect("signed"));
    }
    assert!(heads.last().expect("heads").movements > 512, "{:?}", heads.last());
    for head in &heads {
        assert_eq!(shop.judged(head), Verdict::Stands, "{head:?}");
    }
    let all = "select tx_no, balance_after, card_seq, app.tx_proof(tx_no) as proof from app.transactions";
    for tx in shop.s().rows(all) {
        assert!(tx["proof"].len() <= 2048, "{} bytes", tx["proof"].len());
        let found = receipt(&json_of(&tx["proof"]), &shop.keys).unwrap_or_else(|e| panic!("{}: {e:?}", &tx["tx_no"]));
        assert_eq!(cents(found.movement.balance_after_cents), tx["balance_after"]);
        assert_eq!(found.movement.card_seq.to_string(), tx["card_seq"]);
    }
    let sum = shop.s().value("select (sum(balance) * 100)::bigint from app.personal_cards");
    assert_eq!(
        shop.s().value("select total_cents from audit.trees where tree = 0"),
        sum,
        "what all movements add up to"
    );
    assert_eq!(shop.till.findings(), [] as [String; 0]);
}

/// What somebody with all rights over the database, and the key, does to the log; every time all seals, trees and heads are made anew.
const ATTACKS: &[&str] = &[
    // A payment becomes dearer, and everything after it fits.
    "update app.transactions set final_amount = final_amount + 1, raw_amount = raw_amount + 1, balance_after = balance_after - 1 \
     where tx_no = '{victim}'; \
     update app.transactions set balance_after = balance_after - 1 where card_id = '{card}' and card_seq > {seq}; \
     update app.personal_cards set balance = balance - 1 where id = '{card}'; \
     update audit.event_log set context = jsonb_set(context, '{change}', to_jsonb((select (-final_amount)::text from app.transactions \
         where tx_no = '{victim}'))) where object_id = '{victim}' and action = 'payment'",
    // It never was.
    "update app.personal_cards c set balance = balance + t.final_amount, card_seq = c.card_seq - 1 from app.transactions t \
     where t.tx_no = '{victim}' and c.id = t.card_id; \
     update app.transactions x set balance_after = x.balance_after + t.final_amount, card_seq = x.card_seq - 1 from app.transactions t \
     where t.tx_no = '{victim}' and x.card_id = t.card_id and x.card_seq > t.card_seq; \
     delete from app.transactions where tx_no = '{victim}'; delete from audit.event_log where object_id = '{victim}'",
    // It was somebody else's.
    "update app.transactions set card_id = '{other}' where tx_no = '{victim}'",
    // It was at another time.
    "update app.transactions set posted_at = posted_at + interval '1 second' where tx_no = '{victim}'",
    // It was not the first: the log in another order.
    "update audit.event_log set id = id + 1000000 where id = (select min(id) from audit.event_log where action = 'recharge')",
];

/// Gives the attacker what the superuser has: nothing fires, nothing is refused.
fn as_the_attacker(s: &Session, sql: &str, forget: &str) {
    let month = s.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let tables = ["audit.event_log", &format!("audit.event_log_{month}"), "audit.seals", "audit.heads"];
    for table in tables {
        s.run(&format!("alter table {table} disable trigger append_only"));
    }
    s.run(&format!("begin; {sql}; {forget}; commit"));
    for table in tables {
        s.run(&format!("alter table {table} enable always trigger append_only"));
    }
}

const ALL_OF_IT: &str = "delete from audit.seals; delete from audit.seal_cut; delete from audit.trees; delete from audit.tree_chunks; \
                         delete from audit.tree_nodes; delete from audit.heads";
const ALL_BUT_HEADS: &str = "delete from audit.seals; delete from audit.seal_cut; delete from audit.trees; delete from audit.tree_chunks; \
                             delete from audit.tree_nodes";

/// A payment of a member's with a receipt, and what else the attack is about.
fn victim(shop: &Signing, round: usize) -> (Receipt, String) {
    let (ming, other) = (shop.till.member("100.00"), shop.till.member("1.00"));
    shop.till.charge(&ming.card, "3.00");
    let paid = shop.till.charge(&ming.card, "5.00")["tx_no"].to_owned();
    shop.till.charge(&ming.card, "7.00");
    shop.seal();
    let kept = shop.receipt(&paid);
    let sql = ATTACKS[round % ATTACKS.len()]
        .replace("{victim}", &paid)
        .replace("{card}", &ming.card)
        .replace("{other}", &other.card)
        .replace("{seq}", &kept.movement.card_seq.to_string());
    (kept, sql)
}

#[test]
fn a_database_rewritten_whole_is_convicted_by_one_old_receipt_a_hundred_times_of_a_hundred() {
    let shop = Signing::start();
    let mut convicted = 0;
    for round in 0..100 {
        let (kept, sql) = victim(&shop, round);
        assert_eq!(shop.judged(&kept.head), Verdict::Stands, "{round}: before");
        as_the_attacker(shop.s(), &sql, ALL_OF_IT);
        // As few heads as there can be, or at least as many as there were.
        shop.seal();
        for _ in 0..if round % 2 == 0 { 0 } else { kept.head.head_no } {
            shop.till.member("1.00");
            shop.seal();
            if round % 7 == 1 {
                break;
            }
        }
        match shop.judged(&kept.head) {
            Verdict::Convicted(_) => convicted += 1,
            verdict => panic!("attack {round}: {verdict:?}"),
        }
        // The number of heads must not grow with the square of the rounds.
        as_the_attacker(shop.s(), "select 1", ALL_OF_IT);
    }
    assert_eq!(convicted, 100);
}

#[test]
fn what_was_signed_before_is_never_signed_away() {
    let shop = Signing::start();
    for round in 0..ATTACKS.len() {
        let (_, sql) = victim(&shop, round);
        let heads = shop.s().value("select count(*) from audit.heads");
        as_the_attacker(shop.s(), &sql, ALL_BUT_HEADS);
        for _ in 0..3 {
            shop.till.member("1.00");
            refuses(shop.s(), "STATUS_CONFLICT", "call audit.seal()");
        }
        assert_eq!(shop.s().value("select count(*) from audit.heads"), heads, "attack {round}");
        as_the_attacker(shop.s(), "select 1", ALL_OF_IT);
    }
}

#[test]
fn what_is_not_as_it_was_signed_is_found() {
    let shop = Signing::start();
    let ming = shop.till.member("100.00");
    for _ in 0..3 {
        shop.s().run(&format!(
            "select app.user_recharge_personal_card('{}', 0.01, 'cash') from generate_series(1, 200)",
            ming.card
        ));
        shop.seal();
    }
    let heads = || shop.s().value("select detail from audit.verify() where check_name = 'heads'");
    assert_eq!(heads(), "ok");
    assert!(!shop.cluster.log().contains("there will be no receipts for them"), "each movement is in the tree");
    let flipped = |column: &str| format!("{column} = set_byte({column}, 5, get_byte({column}, 5) # 1)");
    for (sql, finding) in [
        ("update audit.heads set head = replace(head, '[\"mps', '[ \"mps') where head_no = 2".to_owned(), "head 2 is not what was signed"),
        (format!("update audit.heads set {} where head_no = 2", flipped("signature")), "head 2 is not what was signed"),
        ("update audit.heads set leaves = leaves - 1 where head_no = 3".into(), "head 3 is not what was signed"),
        ("delete from audit.heads where head_no = 2".into(), "head 2 is missing"),
        ("update audit.heads h set head = x.head, signature = x.signature from audit.heads x where h.head_no = 2 and x.head_no = 1"
            .into(), "head 3 does not follow"),
        (format!("update audit.tree_chunks set {} where chunk_no = 1", flipped("labels")), "node 1 of level 8 is not that of its leaves"),
        (format!("update audit.tree_chunks set {} where chunk_no = 2", flipped("labels")), "the movements under head 3 are not"),
        (format!("update audit.tree_nodes set {} where level = 9", flipped("label")), "node 0 of level 9 is not"),
        ("delete from audit.tree_chunks where chunk_no = 1".into(), "leaves are missing or damaged from 256 on"),
        ("update audit.tree_chunks set labels = substr(labels, 1, 64) where chunk_no = 2".into(), "has 514 leaves, not the 601"),
        ("delete from audit.tree_nodes where level = 9".into(), "node 0 of level 9 is not"),
    ] {
        shop.s().run("create schema kept");
        for table in TABLES {
            shop.s().run(&format!("create table kept.{table} as table audit.{table}"));
        }
        as_the_attacker(shop.s(), &sql, "select 1");
        let found = heads();
        assert!(found.contains(finding), "{sql}: {found}");
        put_back(&shop, "kept");
        shop.s().run("drop schema kept cascade");
        assert_eq!(heads(), "ok", "put back");
    }
}

#[test]
fn two_receipts_that_cannot_both_be_true_convict_by_themselves() {
    let shop = Signing::start();
    // Of a movement that is there still: whoever took it away gives no second receipt.
    for round in [0, 2, 3, 4] {
        let (kept, sql) = victim(&shop, round);
        assert!(!exclude(&kept, &shop.receipt(&kept.movement.tx_no)), "the same receipt");
        as_the_attacker(shop.s(), &sql, ALL_OF_IT);
        shop.seal();
        let now = shop.receipt(&kept.movement.tx_no);
        assert!(exclude(&kept, &now) && exclude(&now, &kept), "attack {round}: {kept:?} and {now:?}");
        as_the_attacker(shop.s(), "select 1", ALL_OF_IT);
    }
}

#[test]
fn no_crash_convicts_an_honest_shop() {
    let shop = Signing::start();
    let ming = shop.till.member("100.00");
    shop.till.charge(&ming.card, "1.00");
    shop.seal();
    let kept = shop.receipt(&shop.s().value("select max(tx_no) from app.transactions where tx_type = 'payment'"));
    shop.s().run("set synchronous_commit = off");
    shop.till.charge(&ming.card, "2.00");
    // A head that somebody has seen is there after a crash, whatever the session's commits wait for.
    shop.seal();
    let seen = shop.s().value("select app.head_proof()");
    refuses(shop.s(), "STATUS_CONFLICT", "select audit.sign_head()");
    let data = shop.cluster.psql("shop", "show data_directory").expect("a directory");
    let postmaster = std::fs::read_to_string(format!("{data}/postmaster.pid")).expect("runs");
    let number = postmaster.lines().next().expect("a number");
    program("kill", &["-9", number]).expect("is killed");
    mps_tests::until("it is gone", std::time::Duration::from_secs(10), || program("kill", &["-0", number]).is_err());
    let cluster = shop.cluster.started_again();
    let s = cluster.superuser("shop");
    let heads = json_of(&s.value(&format!("select app.head_proof({})", kept.head.head_no)));
    assert_eq!(judge(&kept.head, &heads, &shop.keys), Ok(Verdict::Stands));
    let newest = Head::verified(&json_of(&seen)["latest"], &shop.keys).expect("signed");
    let heads = json_of(&s.value(&format!("select app.head_proof({})", newest.head_no)));
    assert_eq!(judge(&newest, &heads, &shop.keys), Ok(Verdict::Stands));
}

/// What a receipt stands on.
const TABLES: [&str; 5] = ["heads", "trees", "tree_chunks", "tree_nodes", "seals"];

/// Puts the database back to where a copy of it was.
fn put_back(shop: &Signing, kept: &str) {
    let back = TABLES.map(|t| format!("delete from audit.{t}; insert into audit.{t} select * from {kept}.{t}"));
    as_the_attacker(shop.s(), &back.join("; "), "select 1");
}

/// What the seals and all that stands on them were, before something that a restore loses.
fn copied(shop: &Signing, name: &str) {
    shop.s().run(&format!("create schema {name}"));
    for table in TABLES {
        shop.s().run(&format!("create table {name}.{table} as table audit.{table}"));
    }
}

#[test]
fn a_snapshot_that_was_put_back_convicts_until_the_shop_says_so() {
    let shop = Signing::start();
    let ming = shop.till.member("100.00");
    shop.till.charge(&ming.card, "1.00");
    shop.seal();
    let before = shop.receipt(&shop.s().value("select max(tx_no) from app.transactions where tx_type = 'payment'"));
    copied(&shop, "snapshot");
    let lost = shop.till.charge(&ming.card, "2.00")["tx_no"].to_owned();
    shop.seal();
    let lost = shop.receipt(&lost);
    put_back(&shop, "snapshot");
    copied(&shop, "again");
    shop.till.charge(&ming.card, "3.00");
    shop.seal();
    assert!(matches!(shop.judged(&lost.head), Verdict::Convicted(_)), "nobody said that anything was restored");
    put_back(&shop, "again");
    assert_eq!(shop.s().value("select audit.declare_restore('the disk of the night before')"), "t");
    assert_eq!(shop.s().value("select audit.declare_restore('once more')"), "f");
    for _ in 0..3 {
        shop.till.charge(&ming.card, "1.00");
        shop.seal();
    }
    match shop.judged(&lost.head) {
        Verdict::LostInRestore { why, at } => {
            assert_eq!(why.as_deref(), Some("the disk of the night before"));
            assert!(at >= lost.head.signed_at);
        }
        verdict => panic!("{verdict:?}"),
    }
    assert_eq!(shop.judged(&before.head), Verdict::Stands, "what came before the restore is not touched by it");
}

#[test]
fn another_server_says_by_itself_that_it_goes_on_from_a_copy() {
    let shop = Signing::start();
    let ming = shop.till.member("100.00");
    shop.till.charge(&ming.card, "1.00");
    shop.seal();
    let before = shop.receipt(&shop.s().value("select max(tx_no) from app.transactions where tx_type = 'payment'"));
    let dump = mps_tests::Scratch::new("dump");
    shop.cluster.program("pg_dump", &["-Fc", "-f", dump.path(), "shop"]).expect("dumps");
    shop.till.charge(&ming.card, "2.00");
    shop.seal();
    let lost = shop.receipt(
        &shop.s().value("select tx_no from app.transactions where tx_type = 'payment' order by id desc limit 1"),
    );
    let key = shop.s().value("show mps.seal_key_file");
    let cluster = Cluster::start();
    cluster.psql("postgres", "create database shop").expect("a database");
    cluster.psql("shop", "create role mps_owner nologin").expect("the owner");
    cluster.program("pg_restore", &["--exit-on-error", "-d", "shop", dump.path()]).expect("restores");
    cluster.sign_heads_with(&key);
    let s = cluster.superuser("shop");
    s.run("call audit.seal()");
    s.run(&format!("select * from app.user_recharge_personal_card('{}', 5, 'cash')", ming.card));
    s.run("call audit.seal()");
    let heads = |no: u64| json_of(&s.value(&format!("select app.head_proof({no})")));
    assert_eq!(judge(&before.head, &heads(before.head.head_no), &shop.keys), Ok(Verdict::Stands));
    match judge(&lost.head, &heads(lost.head.head_no), &shop.keys) {
        Ok(Verdict::LostInRestore { why, .. }) => assert_eq!(why.as_deref(), Some("another server")),
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn books_that_were_rebuilt_from_the_log_go_on_from_the_heads_of_before() {
    let shop = Signing::start();
    let ming = shop.till.member("100.00");
    shop.till.charge(&ming.card, "1.00");
    shop.seal();
    let kept = shop.receipt(&shop.s().value("select max(tx_no) from app.transactions where tx_type = 'payment'"));
    let dump = mps_tests::Scratch::new("log");
    let rows = ["--exclude-table-data=app.*", "--exclude-table-data=sec.*", "--exclude-table-data=audit.seal_cut"];
    shop.cluster.program("pg_dump", &[&rows[..], &["-Fc", "-f", dump.path(), "shop"]].concat()).expect("dumps");
    shop.cluster.psql("postgres", "create database again template template0 encoding 'UTF8'").expect("a database");
    shop.cluster.program("pg_restore", &["--exit-on-error", "-d", "again", dump.path()]).expect("restores");
    let s = shop.cluster.superuser("again");
    s.run("select app.migrate(); select * from app.rebuild_from_log()");
    refuses(&s, "STATUS_CONFLICT", &format!("select app.tx_proof('{}')", kept.movement.tx_no));
    let card = s.value("select id from app.personal_cards");
    s.run(&format!("select * from app.user_recharge_personal_card('{card}', 5, 'cash')"));
    s.run("call audit.seal()");
    let heads = json_of(&s.value(&format!("select app.head_proof({})", kept.head.head_no)));
    assert_eq!(judge(&kept.head, &heads, &shop.keys), Ok(Verdict::Stands));
    let new = s.value("select tx_no from app.transactions order by id desc limit 1");
    receipt(&json_of(&s.value(&format!("select app.tx_proof('{new}')"))), &shop.keys).expect("a receipt");
    assert_eq!(s.value("select detail from audit.verify() where check_name = 'heads'"), "ok");
}

#[test]
fn a_month_that_is_over_is_published_and_every_card_is_in_its_total() {
    let clock = Clock::start_at("2026-10-30 12:00:00Z");
    let Clock { cluster, .. } = &clock;
    cluster.psql("postgres", "create database shop").expect("a database");
    cluster.psql("shop", "create extension mps").expect("the extension");
    let keys = use_key(cluster, "seal.pem");
    cluster.psql("shop", "create role web; select sec.grant_api('web', 'client')").expect("a role");
    let till = Till::open(cluster.superuser("shop"));
    let members: Vec<_> = (1..=300).map(|n| till.member(&format!("{n}.00"))).collect();
    till.charge(&members[9].card, "4.00");
    till.session.run("call audit.seal()");
    let company = till.session.row("select * from app.create_enterprise_card('Works', 0.9)");
    till.session
        .run(&format!("select * from app.user_recharge_enterprise_card_admin('{}', 77, 'cash')", &company["card_id"]));
    let asked = till.session.value(&format!(
        "set request.jwt.claims = '{{\"sub\": \"{}\"}}'; set role web; \
         select tx_no from app.user_recharge_personal_card('{}', 9, 'wechat')",
        members[20].id, members[20].card
    ));
    till.session.run("reset role; reset request.jwt.claims");
    refuses(
        &till.session,
        "STATUS_CONFLICT",
        &format!("select * from app.liability_proof('2026-10-01', '{}')", members[0].card),
    );
    clock.set("2026-11-02 08:00:00Z");
    // What is posted in the new month is not in the old one's total: also of what was asked for before.
    till.charge(&members[30].card, "1.00");
    till.charge(&members[30].card, "2.00");
    till.session.run(&format!("select * from app.confirm_recharge('{asked}', 9, 'GW-1')"));
    let late = till.member("5.00");
    till.session.run("call audit.seal()");
    let of = |card: &str| {
        let rows = till
            .session
            .rows(&format!("select proof, balance, month from app.liability_proof('2026-10-17', '{card}')"));
        let row = rows.first()?;
        assert_eq!(&row["month"], "2026-10-01");
        let found = holding(&json_of(&row["proof"]), &keys).expect("a proof");
        assert!(row["proof"].len() <= 2048, "{} bytes", row["proof"].len());
        assert_eq!(cents(found.balance_cents), row["balance"]);
        Some(found)
    };
    let mut sum = 7700;
    for (n, member) in members.iter().enumerate() {
        let found = of(&member.card).expect("it had moved");
        let expected = (n as i64 + 1) * 100 - if n == 9 { 400 } else { 0 };
        assert_eq!((found.card_no.as_str(), found.balance_cents), (member.card_no.as_str(), expected));
        assert_eq!((found.published.cards, &found.published.month[..]), (301, "2026-10"));
        sum += expected;
    }
    let published = of(&members[0].card).expect("a proof").published;
    assert_eq!(published.total_cents, sum);
    assert!(of(&late.card).is_none(), "a card that had not moved by then");
    refuses(
        &till.session,
        "STATUS_CONFLICT",
        &format!("select * from app.liability_proof('2026-11-01', '{}')", late.card),
    );
    // The receipt of a movement and the month's balance tie.
    let last = till
        .session
        .value(&format!("select tx_no from app.transactions where card_id = '{}' and card_seq = 2", members[9].card));
    let kept =
        receipt(&json_of(&till.session.value(&format!("select app.tx_proof('{last}')"))), &keys).expect("a receipt");
    let held = of(&members[9].card).expect("a proof");
    assert!(!contradict(&kept, &held));
    assert!(contradict(&kept, &Holding { card_seq: 1, ..held.clone() }), "a month that forgets a movement");
    assert!(contradict(&kept, &Holding { balance_cents: 1, ..held }), "a month with another balance");
}

#[test]
fn only_who_may_see_the_card_gets_its_receipt() {
    let shop = Signing::start();
    let roles = "create role web; select sec.grant_api('web', 'client'); \
                 create role shopside login; select sec.grant_api('shopside', 'backend')";
    shop.cluster.psql("shop", roles).expect("roles");
    let (ming, hua) = (shop.till.member("100.00"), shop.till.member("1.00"));
    let paid = shop.till.charge(&ming.card, "1.00")["tx_no"].to_owned();
    let cashier = MEMBER;
    shop.s().run(&format!("select app.set_merchant_user('{SHOP}', '{cashier}')"));
    shop.seal();
    let user = |id: &str| {
        let session = shop.cluster.superuser("shop");
        session.run(&format!("set request.jwt.claims = '{{\"sub\": \"{id}\"}}'; set role web"));
        session
    };
    let sql = format!("select app.tx_proof('{paid}')");
    assert_eq!(user(&ming.id.to_string()).value(&sql), shop.s().value(&sql));
    assert_eq!(shop.cluster.login("shopside", "shop").value(&sql), shop.s().value(&sql));
    refuses(&user(&hua.id.to_string()), "TX_NOT_FOUND", &sql);
    refuses(&user(cashier), "TX_NOT_FOUND", &sql);
    refuses(&user(""), "NOT_AUTHENTICATED", &sql);
    refuses(&user(""), "NOT_AUTHENTICATED", "select app.head_proof()");
    user(&hua.id.to_string()).run("select app.head_proof()");
    refuses(
        &user(&hua.id.to_string()),
        "CARD_NOT_FOUND",
        &format!("select * from app.liability_proof('2026-01-01', '{}')", ming.card),
    );
    for table in ["trees", "tree_chunks", "tree_nodes", "heads"] {
        assert_eq!(user(&hua.id.to_string()).failure(&format!("select * from audit.{table}")).code, "42501");
        assert_eq!(
            shop.cluster.login("shopside", "shop").failure(&format!("select * from audit.{table}")).code,
            "42501"
        );
    }
}

#[test]
fn a_key_that_cannot_be_used_stops_heads_and_nothing_else() {
    let shop = Signing::start();
    let ming = shop.till.member("100.00");
    let key = shop.s().value("show mps.seal_key_file");
    let sealed =
        || shop.s().value("select coalesce(max(last_id), 0) = (select max(id) from audit.event_log) from audit.seals");
    // A base backup would copy it, by whatever path it is named.
    let (inside, link) = (format!("{}/seal.pem", shop.s().value("show data_directory")), format!("{key}-link"));
    program("cp", &["-p", &key, &inside]).expect("a copy");
    program("ln", &["-s", &inside, &link]).expect("a link");
    for named in [inside.clone(), inside.replace("/seal.pem", "/base/../seal.pem"), link] {
        shop.cluster.sign_heads_with(&named);
        let failure = shop.s().failure("call audit.seal()");
        failure.must_be("STATUS_CONFLICT", &named);
        assert!(failure.detail.contains("base backup") && !failure.detail.contains(&named), "{failure:?}");
    }
    shop.cluster.sign_heads_with(&key);
    for spoil in ["chmod 644", "truncate -s 0", "truncate -s 20000", "rm -f"] {
        let words: Vec<&str> = spoil.split(' ').chain([key.as_str()]).collect();
        program(words[0], &words[1..]).expect("is spoilt");
        shop.till.charge(&ming.card, "1.00");
        let failure = shop.s().failure("call audit.seal()");
        failure.must_be("STATUS_CONFLICT", spoil);
        assert!(failure.detail.contains("mps.seal_key_file") && !failure.detail.contains(&key), "{failure:?}");
        assert_eq!(sealed(), "t", "{spoil}: seals go on");
        assert_eq!(shop.s().value("select count(*) from audit.heads"), "0");
    }
    assert_eq!(shop.s().value("select ok from app.health() where check_name = 'heads'"), "t", "not for an hour");
    // Nobody but the server's configuration names the file.
    shop.cluster.psql("shop", "create role web login; select sec.grant_api('web', 'operator')").expect("a role");
    let web = shop.cluster.login("web", "shop");
    web.run("select app.business_day(now())");
    assert_eq!(web.failure("set mps.seal_key_file = '/tmp/x'").code, "55P02");
    assert_eq!(web.failure("show mps.seal_key_file").code, "42501");
    let early = shop.cluster.login("web", "shop");
    early.run("set mps.seal_key_file = '/tmp/x'");
    early.run("select app.business_day(now())");
    assert_eq!(shop.s().value("show mps.seal_key_file"), key);
    assert!(!early.failure("call audit.seal()").detail.contains("/tmp/x"));
    // Set for a database or a role it does not count either; then nobody knows which file it is, and that is said.
    shop.cluster.psql("shop", "alter database shop set mps.seal_key_file = '/tmp/x'").expect("is set, as if of nobody");
    let failure = shop.cluster.superuser("shop").failure("call audit.seal()");
    failure.must_be("STATUS_CONFLICT", "hidden");
    assert!(failure.detail.contains("is hidden by what") && !failure.detail.contains("/tmp/x"), "{failure:?}");
    shop.cluster.psql("shop", "alter database shop reset mps.seal_key_file").expect("is taken back");
}

#[test]
fn without_a_key_nothing_is_kept_for_receipts() {
    let cluster = Cluster::start();
    cluster.psql("postgres", "create database shop").expect("a database");
    cluster.psql("shop", "create extension mps").expect("the extension");
    let till = Till::open(cluster.superuser("shop"));
    till.member("1.00");
    till.session.run("call audit.seal()");
    let rows = "select (select count(*) from audit.trees) + (select count(*) from audit.tree_chunks) + (select count(*) from audit.heads)";
    assert_eq!(till.session.value(rows), "0");
    assert_eq!(till.session.value("select count(*) from app.health() where check_name = 'heads'"), "0");
    // Begun later, receipts are for all that is in the log.
    use_key(&cluster, "seal.pem");
    till.session.run("call audit.seal()");
    assert_eq!(till.session.value("select leaves from audit.trees where tree = 0"), "1");
    assert_eq!(till.findings(), [] as [String; 0]);
}

/// As where nobody has analysed the tables yet: taking movements into the tree costs a fraction of what they cost themselves.
#[test]
fn a_tree_grows_as_fast_without_statistics() {
    let shop = Signing::start();
    shop.cluster.psql("shop", "alter system set autovacuum = off").expect("is set");
    shop.cluster.psql("shop", "select pg_reload_conf()").expect("is read");
    let ming = shop.till.member("1.00");
    let began = Instant::now();
    shop.s().run(&format!(
        "do $$ begin for n in 1 .. 8000 loop perform app.user_recharge_personal_card('{}', 1, 'cash'); end loop; end $$",
        ming.card
    ));
    let moving = began.elapsed();
    shop.s().run("select audit.seal_note()");
    while shop.s().value("select audit.seal_batch()") != "0" {}
    let began = Instant::now();
    assert_eq!(shop.s().value("select audit.grow_tree() > 8000"), "t");
    assert!(began.elapsed() < moving / 2, "{:?} for what took {moving:?}", began.elapsed());
}
