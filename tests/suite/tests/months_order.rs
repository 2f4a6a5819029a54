//! Months are archived in their order, and a month that an earlier release left behind breaks neither books nor statements.

use mps_tests::{Db, Member, Row, SHOP, Session, Shop, Waiting, q};
use std::thread;
use std::time::Duration;

/// Moves what is of the month so many months ago into the month before it: rows, numbers and every reference to them.
fn month_back(s: &Session, ago: u32) {
    s.run(&format!(
        r#"
        set timezone = 'UTC';
        create or replace function pg_temp.yymm(ago integer) returns bigint language sql as
            $f$ select to_char(date_trunc('month', now()) - make_interval(months => ago), 'YYMM')::bigint $f$;
        create or replace function pg_temp.at(t timestamptz) returns timestamptz language sql as
            $f$ select case when to_char(t, 'YYMM')::bigint <> pg_temp.yymm({ago}) then t
                            when {ago} = 0 then t - make_interval(days => extract(day from now())::integer)
                            else t - interval '1 month' end $f$;
        create or replace function pg_temp.id(n bigint) returns bigint language sql as
            $f$ select case when n / 100000000000 = pg_temp.yymm({ago})
                            then n - (pg_temp.yymm({ago}) - pg_temp.yymm({ago} + 1)) * 100000000000 else n end $f$;
        create or replace function pg_temp.no(t text) returns text language sql as
            $f$ select regexp_replace(t, '^(ZF|TK|CZ|TZ)' || lpad(pg_temp.yymm({ago})::text, 4, '0'),
                                      '\1' || lpad(pg_temp.yymm({ago} + 1)::text, 4, '0')) $f$;
        do $do$ declare v_log regclass; begin
            perform sec.make_month((date_trunc('month', now()) - make_interval(months => {ago} + 1))::date);
            update app.transactions set id = pg_temp.id(id), prev_tx_id = pg_temp.id(prev_tx_id), skip_tx_id = pg_temp.id(skip_tx_id),
                refund_chain_id = pg_temp.id(refund_chain_id), created_at = pg_temp.at(created_at), posted_at = pg_temp.at(posted_at),
                tx_no = pg_temp.no(tx_no), original_tx_no = pg_temp.no(original_tx_no);
            update app.point_ledger set created_at = pg_temp.at(created_at), tx_no = pg_temp.no(tx_no);
            update app.personal_cards set last_tx_id = pg_temp.id(last_tx_id), skip_tx_id = pg_temp.id(skip_tx_id),
                last_posted_at = pg_temp.at(last_posted_at), created_at = pg_temp.at(created_at);
            update app.enterprise_cards set last_tx_id = pg_temp.id(last_tx_id), skip_tx_id = pg_temp.id(skip_tx_id),
                last_posted_at = pg_temp.at(last_posted_at), created_at = pg_temp.at(created_at);
            update app.merchants set created_at = pg_temp.at(created_at);
            update app.idempotency_keys set ref_id = pg_temp.id(ref_id);
            update app.external_orders set tx_id = pg_temp.id(tx_id) where tx_id > 0;
            -- What waits was counted anew where it was moved to.
            delete from app.pending_recharges r where not exists (select from app.transactions t where t.id = r.tx_id);
            update app.transaction_compensations set compensation_tx_no = pg_temp.no(compensation_tx_no), tx_no = pg_temp.no(tx_no),
                created_at = pg_temp.at(created_at);
            for v_log in select relid from pg_partition_tree('audit.event_log') loop
                execute format('alter table %s disable trigger append_only', v_log);
            end loop;
            update audit.event_log set happened_at = pg_temp.at(happened_at), object_id = pg_temp.no(object_id);
            for v_log in select relid from pg_partition_tree('audit.event_log') loop
                execute format('alter table %s enable always trigger append_only', v_log);
            end loop;
        end $do$"#
    ));
}

/// The first day of the month so many months ago, as SQL.
fn month(ago: u32) -> String {
    format!("(date_trunc('month', now() at time zone 'UTC') - interval '{ago} months')::date")
}

/// A shop that has been open for three months, the first two of which can be archived as soon as the recharge of the first has
/// ended.
struct ThreeMonths {
    shop: Shop,
    ming: Member,
    /// A payment of each of the first two months, both refunded in part in the second and the third.
    paid: [String; 2],
    waiting: String,
}

fn three_months() -> ThreeMonths {
    let mut shop = Shop::open();
    shop.db.without_books();
    let s = &shop.superuser;
    let ming = shop.member("1000.00");
    let refund = |tx: &str| {
        shop.cashier.run(&Shop::refund_sql(tx, "1.00", ""));
    };
    let payment = |ago: u32| {
        let sql = "select tx_no from app.transactions where tx_type = 'payment' and created_at";
        s.value(&format!("{sql} >= {0} and created_at < {0} + interval '1 month' order by id limit 1", month(ago)))
    };
    shop.charge(&ming, "40.00");
    shop.charge(&ming, "10.00");
    shop.pending(&ming, "7.00");
    s.run(&format!("select app.adjust_points('{}', 5, 'a gift', 'gift')", ming.card));
    refund(&payment(0));
    month_back(s, 0);
    month_back(s, 1);
    shop.charge(&ming, "20.00");
    shop.charge(&ming, "10.00");
    refund(&payment(2));
    let settled = shop.pending(&ming, "30.00");
    month_back(s, 0);
    let settled = settled.replace(&settled[2..6], &s.value(&format!("select to_char({}, 'YYMM')", month(1))));
    shop.backend.run(&format!("select app.confirm_recharge({}, 30.00, 'wx-late')", q(settled)));
    shop.charge(&ming, "1.00");
    refund(&payment(2));
    refund(&payment(1));
    s.run("call audit.seal()");
    let waiting = s.value("select tx_no from app.transactions where status = 'processing'");
    let paid = [payment(2), payment(1)];
    let all = ThreeMonths { shop, ming, paid, waiting };
    all.sound("before anything is archived");
    all
}

impl ThreeMonths {
    fn archived(&self) -> Vec<String> {
        self.shop.superuser.column("select month::text from app.archived_months order by 1")
    }

    /// Books and log find nothing, whole and by ranges.
    #[track_caller]
    fn sound(&self, when: &str) {
        let mut ranges = vec![String::new(), format!("{}, {}", month(2), month(0)), format!("{}, now()", month(0))];
        ranges.extend((0..3).map(|ago| format!("{}, {} + interval '1 month'", month(ago), month(ago))));
        for range in ranges {
            let sql = format!("select * from app.verify_books({range}) where ok is not true");
            assert_eq!(self.shop.superuser.rows(&sql), [] as [Row; 0], "{when}: {range}");
        }
        let log = self.shop.superuser.rows("select * from audit.verify() where ok is not true");
        assert_eq!(log, [] as [Row; 0], "{when}");
    }

    /// As a release before 0.3.0 did it, whatever is older.
    fn archive_regardless(&self, ago: u32) {
        let s = &self.shop.superuser;
        s.run(&format!("insert into app.archived_months values ({}, now())", month(ago)));
        let suffix = s.value(&format!("select to_char({}, 'YYYYMM')", month(ago)));
        for table in ["app.transactions", "app.point_ledger", "audit.event_log"] {
            s.run(&format!("alter table {table} detach partition {table}_{suffix}"));
            s.run(&format!("alter table {table}_{suffix} set schema mps_archive"));
        }
    }
}

#[test]
fn archiving_stops_at_the_first_month_that_stays() {
    let all = three_months();
    let s = &all.shop.superuser;
    let archive = format!("call app.archive_partitions({})", month(0));
    s.run(&archive);
    assert_eq!(all.archived(), [] as [&str; 0], "a recharge of the first still waits, so the second stays, too");
    // Nor is the second to be had by itself.
    let answer = s.value(&format!("select app.archive_month_batch({})", month(1)));
    assert!(answer.contains("is older, and is not archived"), "{answer}");
    all.shop.backend.run(&format!("select app.fail_recharge({}, 'gave up')", q(&all.waiting)));
    s.run("call audit.seal()");
    // What is no month of ours, but older, is in the way as well.
    s.run("create table app.legacy (like app.transactions including all)");
    s.run(
        "alter table app.transactions attach partition app.legacy for values from (minvalue) to ('2015-02-01 00:00Z')",
    );
    s.run(&archive);
    assert_eq!(all.archived(), [] as [&str; 0]);
    let answer = s.value(&format!("select app.archive_month_batch({})", month(2)));
    assert!(answer.contains("app.legacy is older"), "{answer}");
    s.run("alter table app.transactions detach partition app.legacy; drop table app.legacy");
    s.run(&archive);
    assert_eq!(all.archived(), [s.value(&format!("select {}", month(2))), s.value(&format!("select {}", month(1)))]);
    all.sound("both archived");
    all.shop.charge(&all.ming, "1.00");
    all.sound("after more business");
    // Also where the points of an archived month were moved away.
    s.run(&format!(
        "drop table mps_archive.point_ledger_{}",
        s.value(&format!("select to_char({}, 'YYYYMM')", month(1)))
    ));
    all.sound("an archive that is gone");
}

#[test]
fn a_month_that_was_left_behind_breaks_no_books_and_is_not_hidden() {
    let all = three_months();
    let (shop, s) = (&all.shop, &all.shop.superuser);
    all.archive_regardless(1);
    all.sound("archived out of order");

    // A statement goes on with what is there, page by page, and says by its numbers what is not.
    let here = s.column(&format!(
        "select tx_no from app.transactions where card_id = '{}' and card_seq is not null order by card_seq desc",
        all.ming.card
    ));
    let user = shop.db.user(all.ming.id);
    for limit in [1, 2, 50] {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let before = seen.last().map_or_else(String::new, |tx| format!(", p_before => {}", q(tx)));
            let sql = format!("select tx_no from app.card_statement('{}', p_limit => {limit}{before})", all.ming.card);
            let page = user.column(&sql);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, here, "pages of {limit}");
    }
    let merchant = format!("select tx_no from app.merchant_statement('{SHOP}', p_limit => 100)");
    let of_merchant =
        "select tx_no from app.transactions where merchant_id is not null order by created_at desc, id desc";
    assert_eq!(shop.cashier.column(&merchant), s.column(of_merchant));
    // A payment shows the refunds that are there.
    let shown = shop.cashier.column(&format!("select tx_no from app.tx_by_no({})", q(&all.paid[0])));
    let refunds =
        format!("select tx_no from app.transactions where original_tx_no = {} order by id desc", q(&all.paid[0]));
    assert_eq!(shown[1..], s.column(&refunds));
    assert_eq!((shown.len(), &shown[0]), (3, &all.paid[0]));
    shop.cashier.refused("ARCHIVED", &format!("select * from app.tx_by_no({})", q(&all.paid[1])));
    // What a card held then is known, as long as no month of before is archived; later it is not.
    let held = |at: &str| format!("select app.balance_as_of('{}', {at})", all.ming.card);
    let left = s.value(&format!(
        "select balance_after from app.transactions where created_at < {} and card_seq is not null order by card_seq desc limit 1",
        month(1)
    ));
    assert_eq!(user.value(&held(&format!("{}::timestamptz - interval '1 second'", month(1)))), left);
    assert_eq!(user.value(&held("'2001-01-01'")), "0.00");
    user.refused("ARCHIVED", &held(&format!("{}::timestamptz + interval '1 day'", month(1))));
    // And business goes on, with what was left behind, too, until it is archived at last.
    shop.refund(&all.paid[0], "2.00");
    shop.backend.run(&format!("select app.confirm_recharge({}, 7.00, 'wx-later')", q(&all.waiting)));
    s.run("call audit.seal()");
    all.sound("after more business");
    s.run(&format!("call app.archive_partitions({})", month(0)));
    assert_eq!(all.archived().len(), 2);
    all.sound("all archived");
}

#[test]
fn a_gap_beside_the_archive_is_still_found() {
    let all = three_months();
    let s = &all.shop.superuser;
    all.archive_regardless(1);
    for (damage, check) in [
        (
            "delete from app.point_ledger where tx_no = (select max(tx_no) from app.point_ledger where tx_no like 'ZF%')",
            "point_ledger",
        ),
        (
            "update app.point_ledger set balance_after = 7 where tx_no = (select max(tx_no) from app.point_ledger)",
            "point_ledger",
        ),
        ("update app.personal_cards set points = points + 1", "points"),
        ("update app.transactions set refunded_amount = 0.50 where refunded_amount = 3", "refunds"),
        (
            "delete from app.transactions where tx_no = (select min(tx_no) from app.transactions where tx_type = 'refund')",
            "audit",
        ),
    ] {
        s.run("begin");
        s.run(damage);
        let found = s.column("select check_name from app.verify_books() where ok is not true");
        assert!(found.iter().any(|name| name == check), "{damage}: {found:?}");
        s.run("rollback");
    }
    all.sound("nothing was left of it");
}

#[test]
fn who_waited_over_the_turn_of_the_month_is_in_order() {
    // Called in the last moment of the second month, it waited for some of the third: its line has the month of the call. One with
    // lines after it, and the last of all.
    for back in [1, 0] {
        let all = three_months();
        let (shop, s) = (&all.shop, &all.shop.superuser);
        shop.backend.run(&format!("select app.fail_recharge({}, 'gave up')", q(&all.waiting)));
        s.run(&format!(
            "update app.point_ledger set created_at = {}::timestamptz - interval '1 second' \
             where point_seq = (select max(point_seq) - {back} from app.point_ledger)",
            month(0)
        ));
        let ledger = |range: &str| {
            let sql = format!(
                "select check_name, detail from app.verify_books({range}) where check_name in ('points', 'point_ledger') and ok is not true"
            );
            assert_eq!(s.rows(&sql), [] as [Row; 0], "{back}: {range}");
        };
        ledger("");
        ledger(&format!("{}, now()", month(0)));
        ledger(&format!("{}, {}", month(1), month(0)));
        s.run("call audit.seal()");
        s.run(&format!("call app.archive_partitions({})", month(0)));
        assert_eq!(all.archived().len(), 2);
        ledger("");
    }
}

/// A superuser whose sessions are of this isolation level.
fn isolated(db: &Db, level: &str) -> Session {
    db.superuser_with(&format!("-c default_transaction_isolation={}", level.replace(' ', "\\ ")))
}

#[test]
fn what_becomes_pending_while_archiving_waits_stays_outside() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let all = three_months();
        let (shop, s) = (&all.shop, &all.shop.superuser);
        shop.backend.run(&format!("select app.fail_recharge({}, 'gave up')", q(&all.waiting)));
        s.run("call audit.seal()");
        let pending = format!("update app.transactions set status = 'processing' where tx_no = {}", q(&all.waiting));
        // By the procedure: it waits, sees the recharge, and leaves the month.
        let other = shop.db.superuser();
        other.run("begin");
        other.run(&pending);
        let archive = format!("call app.archive_partitions({})", month(0));
        let waiting = Waiting::start(isolated(&shop.db, level), s, archive.clone());
        thread::sleep(Duration::from_millis(20));
        other.run("commit");
        waiting.end().unwrap_or_else(|e| panic!("{level}: {e:?}"));
        assert_eq!(all.archived(), [] as [&str; 0], "{level}");
        // By the batch alone: an older view is refused before anything is decided.
        let direct = isolated(&shop.db, level);
        direct.run("begin; select count(*) from app.archived_months");
        let batch = format!("select app.archive_month_batch({})", month(2));
        if level == "read committed" {
            assert!(direct.value(&batch).contains("still processing"));
        } else {
            direct.refused("STATUS_CONFLICT", &batch);
        }
        direct.run("rollback");
        shop.backend.run(&format!("select app.fail_recharge({}, 'gave up')", q(&all.waiting)));
        s.run("call audit.seal()");
        isolated(&shop.db, level).run(&archive);
        assert_eq!(all.archived().len(), 2, "{level}");
        all.sound(level);
    }
}
