//! The proof of the books, the seals over the audit log, archiving, health and jobs.

use mps_tests::{Company, Db, Member, NULL, Row, Session, Shop, q};

/// What there is to break.
struct Day {
    shop: Shop,
    ming: Member,
    company: Company,
    /// A payment of ming's, refunded twice.
    paid: String,
    /// The second of the refunds.
    refund: String,
    /// A compensation.
    compensation: String,
}

/// A day on which everything happens once.
fn a_mixed_day() -> Day {
    let shop = Shop::open();
    let backend = &shop.backend;
    let ming = shop.member("500.00");
    let hua = shop.member("300.00");
    let company = shop.company("0.900", "1000.00", &ming);
    shop.bind(&company, &hua, "member");
    let keyed = Shop::charge_sql(
        &shop.code(&ming),
        "100.00",
        "p_idempotency_key => 'till-1', p_external_order_id => 'order-1'",
    );
    let paid = shop.cashier.row(&keyed)["tx_no"].to_owned();
    shop.refund(&paid, "30.00");
    let refund = shop.refund(&paid, "20.00")["refund_tx_no"].to_owned();
    for _ in 0..70 {
        shop.charge(&ming, "1.00");
    }
    shop.charge_company(&company, &hua, "200.00");
    let waiting = shop.pending(&hua, "50.00");
    shop.pending(&hua, "60.00");
    backend.run(&format!("select * from app.confirm_recharge('{waiting}', 50.00, 'wx-1')"));
    backend.run(&format!("select * from app.adjust_points('{}', 77, 'birthday', 'gift-1')", ming.card));
    let compensation =
        backend.row(&format!("select * from app.compensate_tx('{paid}', -5.00, 'glass broken', 'glass-1')"));
    shop.set_card(&hua.card, "personal", "lost");
    backend.run(&format!("select * from app.replace_card('{}', 'found nowhere')", hua.card));
    Day { paid, refund, compensation: compensation["tx_no"].to_owned(), shop, ming, company }
}

impl Day {
    /// The number of the payment, which changes where a test moves the day into another month.
    fn paid_by_now(&self) -> String {
        self.shop.superuser.value("select tx_no from app.transactions where idempotency_key = 'till-1'")
    }
}

/// The checks that do not hold, with what they say.
fn broken(session: &Session, sql: &str) -> Vec<(String, String)> {
    let rows = session.rows(sql);
    assert!(rows.iter().all(|r| (&r["ok"] == "t") == r["detail"].starts_with("ok")), "{rows:?}");
    rows.iter().filter(|r| &r["ok"] != "t").map(|r| (r["check_name"].to_owned(), r["detail"].to_owned())).collect()
}

const BOOKS: &str = "select * from app.verify_books()";
const LOG: &str = "select * from audit.verify()";

/// Breaks something as a superuser within a transaction that is rolled back; what the verification says meanwhile.
#[track_caller]
fn after(day: &Day, sabotage: &str, verify: &str) -> Vec<(String, String)> {
    let session = &day.shop.superuser;
    session.run("begin");
    session.run(sabotage);
    let found = broken(session, verify);
    session.run("rollback");
    found
}

/// What is wrong with how a sabotage was found: by exactly these checks, one of which names `named`.
fn misfound(day: &Day, sabotage: &str, verify: &str, checks: &[&str], named: &str) -> Option<String> {
    let found = after(day, sabotage, verify);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let fits = names == checks && found.iter().any(|(_, detail)| detail.contains(named));
    (!fits).then(|| format!("{sabotage}\n  expected {checks:?} naming {named}, found {found:#?}"))
}

#[track_caller]
fn finds(day: &Day, sabotage: &str, verify: &str, checks: &[&str], named: &str) {
    if let Some(what) = misfound(day, sabotage, verify, checks, named) {
        panic!("{what}");
    }
}

/// The statements of somebody who may do anything to the log.
fn as_the_attacker(what: &str) -> String {
    let disable = |verb: &str| {
        format!(
            "do $$ declare v regclass; begin \
                 for v in select 'audit.event_log'::regclass union all select 'audit.seals'::regclass \
                          union all select inhrelid from pg_inherits where inhparent = 'audit.event_log'::regclass loop \
                     execute format('alter table %s {verb} trigger append_only', v); \
                 end loop; end $$"
        )
    };
    format!("{}; {what}; {}", disable("disable"), disable("enable always"))
}

#[test]
fn a_mixed_day_verifies() {
    let day = a_mixed_day();
    assert_eq!(broken(&day.shop.superuser, BOOKS), []);
    let names = day.shop.superuser.column(BOOKS);
    for expected in ["balances", "sequence", "running_balance", "points", "refunds", "audit", "keys", "compensations"] {
        assert!(names.iter().any(|n| n == expected), "{names:?}");
    }
    // By any range, and under any time zone.
    for range in [
        "now() - interval '1 hour', now() + interval '1 hour'",
        "p_from => now() - interval '40 days'",
        "p_to => now()",
        "'2001-01-01', '2001-02-01'",
    ] {
        day.shop.superuser.run("set timezone = 'Asia/Shanghai'");
        assert_eq!(broken(&day.shop.superuser, &format!("select * from app.verify_books({range})")), [], "{range}");
    }
    // A boundary in the middle of every card's history.
    let middle = day
        .shop
        .superuser
        .value("select percentile_disc(0.5) within group (order by created_at) from app.transactions");
    for range in [format!("p_from => '{middle}'"), format!("p_to => '{middle}'")] {
        assert_eq!(broken(&day.shop.superuser, &format!("select * from app.verify_books({range})")), [], "{range}");
    }
    day.shop.superuser.refused("INVALID_ARGUMENT", "select * from app.verify_books(now(), now())");
}

#[test]
fn across_the_turn_of_a_month_it_verifies() {
    let day = a_mixed_day();
    day.shop.a_month_passes();
    day.shop.refund(&day.paid_by_now(), "10.00");
    day.shop.charge(&day.ming, "2.00");
    let (first, all) = ("date_trunc('month', now(), 'UTC')", broken(&day.shop.superuser, BOOKS));
    assert_eq!(all, []);
    for range in [format!("p_from => {first}"), format!("p_to => {first}")] {
        assert_eq!(broken(&day.shop.superuser, &format!("select * from app.verify_books({range})")), [], "{range}");
    }
}

#[test]
fn every_broken_thing_in_the_books_is_found_and_named() {
    let day = a_mixed_day();
    let (paid, refund, card, card_no) = (&day.paid, &day.refund, &day.ming.card, &day.ming.card_no);
    let last = day.shop.superuser.row(&format!(
        "select tx_no, id from app.transactions where card_id = '{card}' order by card_seq desc limit 1"
    ));
    let mid = day
        .shop
        .superuser
        .row(&format!("select tx_no, id, card_seq from app.transactions where card_id = '{card}' and card_seq = 20"));
    let next = day
        .shop
        .superuser
        .value(&format!("select tx_no from app.transactions where card_id = '{card}' and card_seq = 21"));
    let far = day
        .shop
        .superuser
        .value(&format!("select tx_no from app.transactions where card_id = '{card}' and card_seq = 64"));
    let (mid_no, mid_id) = (&mid["tx_no"], &mid["id"]);
    let cases: &[(String, &[&str], &str)] = &[
        (format!("update app.personal_cards set balance = balance + 1 where id = '{card}'"), &["balances"], card_no),
        (format!("update app.enterprise_cards set balance = balance + 1 where id = \
            '{}'", day.company.card), &["balances"], &day.company.card_no),
        (format!("update app.personal_cards set points = points + 1 where id = '{card}'"), &["points"], card_no),
        (format!("update app.personal_cards set last_tx_id = {mid_id} where id = '{card}'"), &["balances"], card_no),
        (format!("delete from app.transactions where id = {}", &last["id"]), &["balances", "audit", "keys", "compensations"], ""),
        (format!("delete from app.transactions where id = {mid_id}"), &["balances", "sequence", "points_of_transactions", "audit"], ""),
        (format!("update app.transactions set card_seq = 19 where id = {mid_id}"), &["sequence", "links"], card_no),
        (format!("update app.transactions set balance_after = balance_after + 1 where id = {mid_id}"), &["running_balance"], mid_no),
        (format!("update app.transactions set posted_at = posted_at - interval '1 hour' where id = {mid_id}"), &["posted_at"], mid_no),
        (format!("update app.transactions set prev_tx_id = null where tx_no = '{next}'"), &["sequence"], &next),
        (format!("update app.transactions set skip_tx_id = {mid_id} where tx_no = '{far}'"), &["links"], &far),
        (format!("update app.transactions set skip_tx_id = {mid_id} where tx_no = '{next}'"), &["links"], &next),
        (format!("update app.transactions set raw_amount = raw_amount + 1 where id = {mid_id}"), &["amounts"], mid_no),
        (format!("update app.transactions set tx_no = 'ZF' || substr(tx_no, 3, 4) || '999999' where id = \
            {mid_id}"), &["numbers", "points_of_transactions", "audit"], "999999"),
        (format!("update app.transactions set status = 'failed' where id = \
            {mid_id}"), &["amounts"], ""),
        (format!("update app.transactions set refunded_amount = 10 where tx_no = '{paid}'"), &["refunds"], paid),
        (format!("update app.transactions set refunded_amount = 0, refund_chain_id = null where tx_no = '{paid}'"), &["refunds"], paid),
        (format!("update app.transactions set refund_chain_id = null where tx_no = '{paid}'"), &["refund_chain"], paid),
        (format!("update app.transactions set refund_chain_id = null where tx_no = '{refund}'"), &["refund_chain"], refund),
        (format!("update app.transactions set refundable_left = 51 where tx_no = '{refund}'"), &["refund_chain"], refund),
        (format!("update app.transactions set original_tx_no = '{mid_no}' where tx_no = '{refund}'"), &["refunds", "refund_chain"], refund),
        (format!("update app.transactions set original_tx_no = 'rubbish' where tx_no = \
            '{refund}'"), &["refunds", "refund_chain"], "rubbish"),
        (format!("update app.transactions set points_earned = points_earned + 1 where tx_no = \
            '{refund}'"), &["points_of_transactions", "refund_points"], ""),
        (format!("update app.point_ledger set change = change + 1 where tx_no = \
            '{refund}'"), &["point_ledger", "points_of_transactions"], ""),
        (format!("update app.point_ledger set balance_after = balance_after + 1 where tx_no = '{refund}'"), &["point_ledger"], card_no),
        (format!("delete from app.point_ledger where tx_no = '{mid_no}'"), &["point_ledger", "points_of_transactions"], ""),
        (format!("delete from app.point_ledger where tx_no is null and card_id = '{card}'"), &["points", "keys"], ""),
        (format!("insert into app.point_ledger select card_id, 999, created_at, 5, 5, level, tx_no from app.point_ledger \
            where tx_no = '{mid_no}'"), &["points", "point_ledger", "points_of_transactions"], ""),
        ("delete from app.idempotency_keys where idempotency_key = 'till-1'".into(), &["keys"], paid),
        (format!("update app.idempotency_keys set ref_id = {mid_id} where idempotency_key = 'till-1'"), &["keys"], paid),
        ("update app.idempotency_keys set ref_id = 5 where idempotency_key = 'till-1'".into(), &["keys"], paid),
        ("update app.idempotency_keys set ref_id = ref_id + 500 where idempotency_key = 'gift-1'".into(), &["keys"], "gift-1"),
        ("delete from app.external_orders where order_id = 'order-1'".into(), &["orders"], paid),
        ("delete from app.external_orders where order_id = 'wx-1'".into(), &["orders"], "CZ"),
        ("update app.external_orders set tx_id = 5 where order_id = 'order-1'".into(), &["orders"], "order-1"),
        (format!("delete from app.transaction_compensations where compensation_tx_no = \
            '{}'", day.compensation), &["compensations"], &day.compensation),
        (format!("update app.transaction_compensations set amount = -6 where compensation_tx_no = \
            '{}'", day.compensation), &["compensations"], &day.compensation),
        (as_the_attacker(&format!("delete from audit.event_log where object_id = '{mid_no}'")), &["audit"], mid_no),
        (as_the_attacker(&format!("update audit.event_log set context = '{{\"change\": \"-9.00\"}}' where object_id = \
            '{mid_no}'")), &["audit"], mid_no),
        (format!("insert into audit.event_log select 900000, happened_at, actor_user_id, actor_role, action, object_type, \
            object_id, context from audit.event_log where object_id = '{mid_no}'"), &["audit"], mid_no),
        ("insert into audit.event_log values (900000, now(), null, 'postgres', 'payment', 'transaction', 'ZF2611999999', \
            '{}')".into(), &["audit"], "ZF2611999999"),
    ];
    let wrong: Vec<String> =
        cases.iter().filter_map(|(sabotage, checks, named)| misfound(&day, sabotage, BOOKS, checks, named)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(broken(&day.shop.superuser, BOOKS), [], "nothing of it stayed");

    // Ten are named, the others counted.
    let found = after(
        &day,
        &format!("update app.transactions set raw_amount = 7 where card_id = '{card}' and card_seq between 10 and 29"),
        BOOKS,
    );
    assert_eq!(found.len(), 1);
    assert!(found[0].1.ends_with("; and 10 more"), "{found:?}");
}

#[test]
fn what_was_done_to_the_sealed_log_is_found_and_named() {
    let day = a_mixed_day();
    let session = &day.shop.superuser;
    assert!(session.rows("select * from audit.head()").is_empty());
    session.run("call audit.seal()");
    let sealed = session.row("select count(*) as seals, sum(events) as events, max(last_id) as last from audit.seals");
    assert_eq!(sealed["events"], session.value("select count(*) from audit.event_log"), "every event is sealed");
    day.shop.charge(&day.ming, "3.00");
    session.run("call audit.seal()");
    session.run("call audit.seal()");
    assert_eq!(session.value("select count(*) from audit.seals"), "2", "nothing new, no new seal");
    assert_eq!(broken(session, LOG), []);
    session.run("set timezone = 'Asia/Shanghai'; set intervalstyle = 'sql_standard'; set datestyle = 'German'");
    assert_eq!(broken(session, LOG), [], "no setting of the session matters");

    let finds =
        |sabotage: &str, checks: &[&str], named: &str| finds(&day, &as_the_attacker(sabotage), LOG, checks, named);
    finds("update audit.event_log set context = '{}' where id = 5", &["events_changed"], "event 5");
    finds("update audit.event_log set actor_role = 'nobody' where id = 6", &["events_changed"], "event 6");
    finds(
        "update audit.event_log set happened_at = happened_at + interval '1 microsecond' where id = 7",
        &["events_changed"],
        "event 7",
    );
    finds("update audit.event_log set actor_user_id = gen_random_uuid() where id = 8", &["events_changed"], "event 8");
    finds("delete from audit.event_log where id = 9", &["events_removed"], "event 9");
    let gone = "create temp table gone on commit drop as select * from audit.event_log where id in (10, 11)";
    finds(
        &format!(
            "{gone}; delete from audit.event_log where id in (10, 11); update gone set id = 21 - id; insert into \
                audit.event_log select * from gone"
        ),
        &["events_reordered"],
        "event 10 is what was sealed as 11; event 11 is what was sealed as 10",
    );
    finds(
        "delete from audit.event_log where id = 12; insert into audit.event_log values (-3, now(), null, 'x', 'a', 'b', 'c')",
        &["events_removed"],
        "event 12",
    );
    // An id between two sealed ones: drawn by a transaction that was rolled back.
    let after_gap = session.value("select max(id) + 2 from audit.event_log");
    session.run("select nextval('audit.event_id_seq')");
    day.shop.charge(&day.ming, "4.00");
    session.run("call audit.seal()");
    let gap = after_gap.parse::<i64>().expect("a number") - 1;
    finds(
        &format!(
            "insert into audit.event_log values ({gap}, now(), null, 'x', 'payment', 'transaction', 'ZF1', '{{}}')"
        ),
        &["events_inserted"],
        &format!("event {gap}"),
    );
    finds(
        "update audit.seals set sealed_at = sealed_at + interval '1 second' where seal_no = 2",
        &["seals"],
        "seal 2 was changed",
    );
    finds("update audit.seals set ids[1] = 77 where seal_no = 1", &["seals"], "seal 1 was changed");
    finds("update audit.seals set digests[1] = 77 where seal_no = 1", &["seals"], "seal 1 was changed");
    finds("delete from audit.seals where seal_no = 2", &["seals"], "seal 3 follows seal 1");
    finds("delete from audit.seals where seal_no = 1", &["seals"], "seal 2 follows seal 0");

    // Whoever rewrites log and seal together is betrayed by the next seal, and at the end of the chain by the head kept elsewhere.
    let head = session.row("select * from audit.head()")["hash"].to_owned();
    let with_head = format!("select * from audit.verify(p_head => {})", q(&head));
    assert_eq!(broken(session, &with_head), []);
    let reseal = |no: i64| {
        format!(
            "update audit.seals s set sealed_at = x.at, hash = audit.seal_hash(s.seal_no, s.ids, s.digests, s.first_at, s.last_at, x.at, s.events_hash, s.prev_hash) \
             from (select sealed_at + interval '1 second' as at from audit.seals where seal_no = {no}) x where s.seal_no = {no}"
        )
    };
    finds(&reseal(1), &["seals"], "seal 2 does not follow seal 1");
    let found = after(&day, &as_the_attacker(&reseal(3)), &with_head);
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["head"], "{found:?}");
    let found = after(&day, &as_the_attacker("delete from audit.seals where seal_no = 3"), &with_head);
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["head"], "{found:?}");
    assert_eq!(broken(session, "select * from audit.verify(p_head => 'rubbish')").len(), 1);
    session.run("set datestyle = 'ISO'");
    assert_eq!(broken(session, "select * from audit.verify(now() - interval '1 day', now() + interval '1 day')"), []);
    assert_eq!(broken(session, "select * from audit.verify('2001-01-01', '2001-02-01')"), []);
}

#[test]
fn seals_are_append_only_for_everybody() {
    let shop = Shop::open();
    let session = &shop.superuser;
    session.run("call audit.seal()");
    for change in ["update audit.seals set hash = ''", "delete from audit.seals", "truncate audit.seals"] {
        session.refused("NOT_ALLOWED", change);
        session.run("set session_replication_role = replica");
        session.refused("NOT_ALLOWED", change);
        session.run("reset session_replication_role");
    }
    shop.backend.denied("select * from audit.seals");
    shop.backend.denied("insert into audit.seal_cut (up_to, xid, noted_at) values (1, '1', now())");
}

#[test]
fn what_is_still_running_is_not_sealed_before_it_ends() {
    let shop = Shop::open();
    let (session, other) = (&shop.superuser, shop.db.backend());
    let ming = shop.member("100.00");
    // An event id drawn early, by a transaction that ends late.
    other.run("begin");
    other.run(&format!("select * from app.adjust_points('{}', 5, 'early')", ming.card));
    let early: i64 = session.value("select last_value from audit.event_id_seq").parse().expect("a number");
    let hua = shop.member("100.00");
    session.run("call audit.seal()");
    let sealed: i64 = session.value("select coalesce(max(last_id), 0) from audit.seals").parse().expect("a number");
    assert!(sealed < early, "sealed up to {sealed}, but {early} is still to come");
    other.run("commit");
    session.run("call audit.seal()");
    assert_eq!(broken(session, LOG), []);
    assert_eq!(
        session.value("select sum(events) from audit.seals"),
        session.value("select count(*) from audit.event_log")
    );
    assert!(!hua.card.is_empty());

    // A cut that came with a dump from another cluster, whose transactions were further on, holds nothing up.
    session.run("insert into audit.seal_cut (up_to, xid, noted_at) values (1, '9000000000000', now())");
    shop.charge(&ming, "1.00");
    session.run("call audit.seal()");
    assert_eq!(
        session.value("select sum(events) from audit.seals"),
        session.value("select count(*) from audit.event_log")
    );
}

#[test]
fn sealing_beside_charges_and_beside_itself_loses_nothing() {
    let shop = Shop::open();
    let members: Vec<Member> = (0..4).map(|_| shop.member("1000.00")).collect();
    let sessions: Vec<(Session, Session)> = members.iter().map(|_| (shop.db.backend(), shop.db.superuser())).collect();
    std::thread::scope(|scope| {
        for (member, (backend, sealer)) in members.iter().zip(sessions) {
            scope.spawn(move || {
                for _ in 0..100 {
                    backend.run(&format!(
                        "select * from app.user_recharge_personal_card('{}', 1.00, 'cash')",
                        member.card
                    ));
                }
            });
            scope.spawn(move || {
                for _ in 0..5 {
                    sealer.run("call audit.seal()");
                }
            });
        }
    });
    shop.superuser.run("call audit.seal()");
    assert_eq!(broken(&shop.superuser, LOG), []);
    let (sealed, events) = ("select sum(events) from audit.seals", "select count(*) from audit.event_log");
    assert_eq!(shop.superuser.value(sealed), shop.superuser.value(events));
}

#[test]
fn an_archived_month_keeps_its_rows_and_answers_archived() {
    let day = a_mixed_day();
    let (shop, session) = (&day.shop, &day.shop.superuser);
    shop.a_month_passes();
    // The log's rows of that day as well.
    session.run(&as_the_attacker(
        "update audit.event_log set happened_at = happened_at - make_interval(days => extract(day from now() at time zone 'UTC')::integer)",
    ));
    shop.charge(&day.ming, "2.00");
    let month = session.value("select to_char(now() at time zone 'UTC' - interval '1 month', 'YYYYMM')");
    let rows = session.value(&format!("select count(*) from app.transactions_{month}"));
    let paid = day.paid_by_now();
    let archive = "call app.archive_partitions((now() at time zone 'UTC')::date)";

    session.run(archive);
    assert_eq!(
        session.value("select count(*) from app.archived_months"),
        "0",
        "a recharge still waits, and nothing is sealed"
    );
    session.run("update app.settings set recharge_ttl_minutes = 5");
    session.run("call app.expire_recharges()");
    session.run(archive);
    assert_eq!(session.value("select count(*) from app.archived_months"), "0", "nothing is sealed");
    session.run("call audit.seal()");
    session.run("call app.archive_partitions('2001-01-01')");
    assert_eq!(session.value("select count(*) from app.archived_months"), "0", "not that old");
    session.run("set timezone = 'Pacific/Kiritimati'; set datestyle = 'German'");
    session.run(archive);
    session.run("reset timezone; reset datestyle");
    assert_eq!(
        session.column("select to_char(month, 'YYYYMM') from app.archived_months"),
        std::slice::from_ref(&month)
    );
    session.run(archive);

    for table in ["transactions", "point_ledger", "event_log"] {
        let row = session.row(&format!(
            "select n.nspname, c.relrowsecurity, c.relispartition, pg_get_userbyid(c.relowner) as owner, c.relacl from pg_class c \
             join pg_namespace n on n.oid = c.relnamespace where c.relname = '{table}_{month}'"
        ));
        assert_eq!(row.values(), ["mps_archive", "t", "f", "mps_owner", NULL], "{table}");
    }
    assert_eq!(session.value(&format!("select count(*) from mps_archive.transactions_{month}")), rows);
    let broken_rules: Vec<Row> =
        session.rows("select * from sec.security_check() where not ok and detail ~ 'mps_archive'");
    assert!(broken_rules.is_empty(), "{broken_rules:?}");

    shop.cashier.refused("ARCHIVED", &format!("select * from app.tx_by_no('{paid}')"));
    shop.cashier.refused("ARCHIVED", &Shop::refund_sql(&paid, "1.00", ""));
    shop.backend
        .refused("ARCHIVED", &format!("select * from app.card_statement('{}', 'enterprise')", day.company.card));
    shop.backend
        .refused("ARCHIVED", &format!("select app.balance_as_of('{}', now() - interval '1 year')", day.ming.card));
    assert_eq!(shop.backend.rows(&format!("select * from app.card_statement('{}')", day.ming.card)).len(), 1);
    shop.charge(&day.ming, "2.00");
    shop.charge_company(&day.company, &day.ming, "2.00");

    session.run("call audit.seal()");
    assert_eq!(broken(session, BOOKS), []);
    assert_eq!(broken(session, LOG), [], "the archived log is read where it lies");
    let compared = session.row("select detail from audit.verify() where check_name = 'compared'")["detail"].to_owned();
    // Tampering with the archive is found as well.
    let archived = format!(
        "alter table mps_archive.event_log_{month} disable trigger append_only; \
         update mps_archive.event_log_{month} set actor_role = 'x' where id = 5"
    );
    finds(&day, &archived, LOG, &["events_changed"], "event 5");
    // And an archive that was moved away is said not to have been checked.
    session.run(&format!("drop table mps_archive.event_log_{month}"));
    assert_eq!(broken(session, LOG), []);
    let without = session.row("select detail from audit.verify() where check_name = 'compared'")["detail"].to_owned();
    assert!(without != compared && without.contains("not checked"), "{without}");
    // The rules of the suite know nothing of archived months.
    let mut db = day.shop.db;
    db.without_books();
}

#[test]
fn archiving_gives_way_to_whoever_works_in_the_month() {
    let day = a_mixed_day();
    let (shop, session) = (&day.shop, &day.shop.superuser);
    shop.a_month_passes();
    session.run("update app.settings set recharge_ttl_minutes = 5");
    session.run("call app.expire_recharges()");
    session.run("call audit.seal()");
    let other = shop.db.superuser();
    other.run("begin");
    other.run("select count(*) from app.transactions");
    let month = "(date_trunc('month', now(), 'UTC') at time zone 'UTC')::date - 1";
    let batch = format!("select app.archive_month_batch(date_trunc('month', ({month})::timestamp)::date)");
    assert_eq!(session.value(&batch), "busy");
    assert_eq!(session.value("select count(*) from app.archived_months"), "0");
    other.run("commit");
    let current = "select app.archive_month_batch(date_trunc('month', now() at time zone 'UTC')::date)";
    assert_eq!(session.value(current), "not there, or not over yet");
    assert_eq!(broken(session, BOOKS), []);
}

#[test]
fn reconciliation_totals_by_day_merchant_and_method() {
    let day = a_mixed_day();
    let rows = day.shop.superuser.rows(
        "select merchant_code, payment_method, payments, payment_total, refunds, refund_total, recharges, recharge_total, adjustments, adjustment_total, net \
         from app.v_reconciliation where day = (now() at time zone 'UTC')::date order by 1, 2",
    );
    let found: Vec<Vec<&str>> = rows.iter().map(Row::values).collect();
    let expected = [
        vec!["SHOP-001", "balance", "72", "350.00", "2", "50.00", "0", "0.00", "1", "-5.00", "-305.00"],
        vec![NULL, "balance", "0", "0.00", "0", "0.00", "0", "0.00", "2", "0.00", "0.00"],
        vec![NULL, "cash", "0", "0.00", "0", "0.00", "3", "1800.00", "0", "0.00", "1800.00"],
        vec![NULL, "wechat", "0", "0.00", "0", "0.00", "1", "50.00", "0", "0.00", "50.00"],
    ];
    assert_eq!(found, expected);
    let net = day.shop.superuser.value("select sum(net) from app.v_reconciliation");
    let held = "select (select sum(balance) from app.personal_cards) + (select sum(balance) from app.enterprise_cards)";
    assert_eq!(net, day.shop.superuser.value(held));
}

#[test]
fn health_says_what_to_look_at() {
    let shop = Shop::open();
    let session = &shop.superuser;
    let health =
        |name: &str| session.row(&format!("select ok, detail from app.health() where check_name = {}", q(name)));
    assert_eq!(&health("partitions")["detail"], "3 months ahead are made");
    assert_eq!(health("schema_version").values()[0], "t");
    assert!(health("job expire_keys")["detail"].starts_with("has never run"));
    for job in [
        "app.maintain_partitions()",
        "app.expire_cards()",
        "app.expire_qrcodes()",
        "app.expire_recharges()",
        "app.expire_keys()",
        "audit.seal()",
    ] {
        session.run(&format!("call {job}"));
    }
    assert!(session.column("select detail from app.health() where not ok").is_empty());
    let ming = shop.member("0");
    let waiting = shop.pending(&ming, "10.00");
    assert_eq!(health("stale_recharges").values(), ["t", "none"]);
    assert!(&health("unsealed_events")["detail"] != "none");
    session.run(
        "update app.transactions set created_at = date_trunc('month', created_at, 'UTC') where status = 'processing'",
    );
    session.run("update app.settings set recharge_ttl_minutes = 5");
    let stale = health("stale_recharges");
    let past: i64 = session
        .value("select extract(epoch from now() - date_trunc('month', now(), 'UTC'))::bigint")
        .parse()
        .expect("a number");
    assert_eq!(&stale["ok"] == "f", past > 3900, "{stale:?}");
    assert!(past < 300 || stale["detail"].contains(&waiting), "{stale:?}");
    session.run("update app.job_runs set finished_at = now() - interval '1 day' where job = 'seal'");
    assert_eq!(&health("job seal")["ok"], "f");
    let version = session.value("select schema_version from app.settings");
    session.run("update app.settings set schema_version = 99");
    assert_eq!(session.column("select check_name || ' ' || ok from app.health()"), ["schema_version false"]);
    session.run(&format!("update app.settings set schema_version = {version}"));
    session.run(&format!("update app.personal_cards set status = 'closed', balance = 10 where id = '{}'", ming.card));
    assert!(health("closed_cards_with_balance")["detail"].contains(&ming.card_no));
    session.run(&format!("update app.personal_cards set status = 'active', balance = 0 where id = '{}'", ming.card));
    shop.backend.denied("select * from app.health()");
    shop.backend.denied(BOOKS);
    shop.cashier.denied(LOG);
}

#[test]
fn without_pg_cron_the_statements_are_returned() {
    let db = Db::new();
    let rows = db.superuser().rows("select * from app.schedule_jobs()");
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let expected =
            format!("SELECT cron.schedule_in_database('{}_{}', '{}', 'CALL ", &row["job"], db.name, &row["schedule"]);
        assert!(
            row["command"].starts_with(&expected) && row["command"].ends_with(&format!("', '{}');", db.name)),
            "{row:?}"
        );
        assert!(row["done"].starts_with("nothing"));
    }
}
