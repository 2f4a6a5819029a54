//! The checks of these tests, checked: books that are cooked are found out, and a change is a change.

use mps_tests::{Db, Shop};

/// One way to cook the books, and the rule that must notice it.
const COOKED: &[(&str, &str)] = &[
    (
        "update app.personal_cards set balance = balance + 0.01 where balance > 0",
        "a balance is the sum of the card's movements",
    ),
    ("delete from app.transactions where tx_type = 'refund'", "no gap in any card's sequence"),
    (
        "update app.transactions set balance_after = balance_after + 1 where tx_type = 'payment'",
        "every balance_after is the one before",
    ),
    ("update app.transactions set prev_tx_id = id where tx_type = 'refund'", "prev_tx_id is the movement before"),
    ("update app.transactions set skip_tx_id = id where tx_type = 'refund'", "skip_tx_id is the movement 64 before"),
    ("update app.transactions set posted_at = created_at - interval '1 s'", "posted_at is later"),
    ("update app.personal_cards set last_tx_id = last_tx_id - 1 where balance > 0", "a card knows its last movement"),
    (
        "update app.transactions set final_amount = final_amount + 1, refunded_amount = 0 where tx_type = 'payment'",
        "what was paid is what takes part",
    ),
    ("update app.personal_cards set points = points + 1", "points are the sum of the ledger"),
    ("delete from app.point_ledger where change < 0", "points are the sum of the ledger"),
    ("update app.point_ledger set balance_after = 7", "the ledger's running points"),
    ("update app.personal_cards set level = 3", "level and discount are those of the points"),
    (
        "update app.transactions set points_earned = points_earned + 1 where tx_type = 'payment'",
        "the ledger has the points",
    ),
    ("update app.transactions set refunded_amount = 0 where tx_type = 'payment'", "refunds never pass what was paid"),
    (
        "update app.transactions set points_earned = -30 where tx_type = 'refund'",
        "refunds take back points in proportion",
    ),
    ("insert into app.idempotency_keys values (9, 1, 1, 'x')", "a transaction's key leads to it"),
    ("delete from app.idempotency_keys", "a transaction's key leads to it"),
    ("delete from app.external_orders", "a transaction's order leads to it"),
    ("update app.personal_cards set status = 'closed'", "a closed card holds nothing"),
    ("update app.transactions set tx_no = 'ZF2001000001' where tx_type = 'payment'", "the number of a transaction"),
    ("update app.transactions set tx_no = 'ZF2001000001'", "no number twice"),
    (
        "alter table audit.event_log_{month} disable trigger append_only; delete from audit.event_log_{month} where action = 'payment'",
        "every movement was audited",
    ),
    (
        "alter table audit.event_log_{month} disable trigger append_only; delete from audit.event_log_{month} where action = \
            'recharge.requested'",
        "every recharge that waits was audited",
    ),
    ("update app.transaction_compensations set amount = 99", "compensations are adjustments"),
];

#[test]
fn cooked_books_are_found_out() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let sql = Shop::charge_sql(&shop.code(&ming), "30.00", "p_idempotency_key => 'k', p_external_order_id => 'o'");
    let paid = shop.cashier.row(&sql);
    shop.refund(&paid["tx_no"], "10.00");
    shop.backend.run(&format!("select * from app.compensate_tx('{}', 1, 'x')", &paid["tx_no"]));
    shop.pending(&ming, "5.00");
    assert_eq!(shop.db.problems(), [] as [String; 0]);
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    for (cooking, rule) in COOKED {
        shop.superuser.run("begin");
        shop.superuser.run(&cooking.replace("{month}", &month));
        let problems = Db::problems_in(&shop.superuser);
        assert!(problems.iter().any(|p| p.starts_with(rule)), "{cooking}: {problems:?}");
        shop.superuser.run("rollback");
    }
}

#[test]
fn a_snapshot_notices_every_row() {
    let shop = Shop::open();
    shop.member("100.00");
    let before = Db::snapshot(&shop.db.name);
    assert_eq!(before, Db::snapshot(&shop.db.name));
    shop.superuser.run("insert into app.archived_months values ('2001-01-01', now())");
    assert_ne!(before, Db::snapshot(&shop.db.name));
}
