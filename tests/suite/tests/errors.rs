//! Errors: every token, and every argument of every RPC given wrongly.

use mps_sender::bill;
use mps_tests::{Db, SHOP, Scratch, Shop, TOKENS, gateways, nobody};
use std::collections::BTreeSet;

/// One way to each error: a token, and what is refused with it in an open shop.
type Provocation = (&'static str, fn(&Shop));

const PROVOCATIONS: &[Provocation] = &[
    ("INVALID_AMOUNT", |s| {
        let ming = s.member("10.00");
        s.cashier.refused("INVALID_AMOUNT", &Shop::charge_sql(&s.code(&ming), "-1", ""));
    }),
    ("INVALID_ARGUMENT", |s| {
        s.backend.refused("INVALID_ARGUMENT", "select * from app.register_member('')");
    }),
    ("INVALID_PAYMENT_METHOD", |s| {
        let ming = s.member("0");
        let sql = format!("select * from app.user_recharge_personal_card('{}', 1, 'balance')", ming.card);
        s.backend.refused("INVALID_PAYMENT_METHOD", &sql);
    }),
    ("BILL_INVALID", |s| {
        s.superuser.run(&mps_sender::set_up());
        s.backend.refused("BILL_INVALID", &bill::import("wechat", "2026-11-26", "trade", b"no bill"));
    }),
    ("NOT_AUTHENTICATED", |s| {
        s.db.login("app_role").refused("NOT_AUTHENTICATED", "select * from app.register_member('x')");
    }),
    ("SIGNATURE_INVALID", |s| {
        s.superuser.run(&mps_sender::set_up());
        s.backend.row("select * from app.gateway_notify('wechat', '{}', 'x')");
        s.backend.refused("SIGNATURE_INVALID", "select app.reverify_event(id) from app.gateway_events");
    }),
    ("INSUFFICIENT_BALANCE", |s| {
        let ming = s.member("0");
        s.cashier.refused("INSUFFICIENT_BALANCE", &Shop::charge_sql(&s.code(&ming), "0.01", ""));
    }),
    ("NOT_MERCHANT_USER", |s| {
        s.db.user(nobody()).refused("NOT_MERCHANT_USER", &format!("select * from app.merchant_statement('{SHOP}')"));
    }),
    ("NOT_CARD_USER", |s| {
        let (ming, mei) = (s.member("0"), s.member("0"));
        let company = s.company("1", "0", &ming);
        let sql = format!("select * from app.rotate_card_qr('{}', 'enterprise', '{}')", company.card, mei.id);
        s.backend.refused("NOT_CARD_USER", &sql);
    }),
    ("NOT_CARD_ADMIN", |s| {
        let (ming, mei) = (s.member("0"), s.member("0"));
        let company = s.company("1", "0", &ming);
        s.bind(&company, &mei, "member");
        let sql = format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, ming.id);
        s.db.user(mei.id).refused("NOT_CARD_ADMIN", &sql);
    }),
    ("NOT_ALLOWED", |s| {
        let ming = s.member("0");
        let sql = format!("select app.set_card_status('{}', 'personal', 'frozen', 'x')", ming.card);
        s.db.user(ming.id).refused("NOT_ALLOWED", &sql);
    }),
    ("MERCHANT_NOT_FOUND", |s| {
        s.cashier.refused("MERCHANT_NOT_FOUND", "select * from app.merchant_statement('SHOP-999')");
    }),
    ("CARD_NOT_FOUND", |s| {
        s.cashier.refused("CARD_NOT_FOUND", &format!("select * from app.card_statement('{}')", nobody()));
    }),
    ("MEMBER_NOT_FOUND", |s| {
        s.backend.refused("MEMBER_NOT_FOUND", &format!("select app.set_member_status('{}', 'active', 'x')", nobody()));
    }),
    ("TX_NOT_FOUND", |s| {
        s.cashier.refused("TX_NOT_FOUND", "select * from app.tx_by_no('ZF2611999999')");
    }),
    ("RECON_CONFLICT", |s| {
        s.superuser.run(&mps_sender::set_up());
        s.backend.refused("RECON_CONFLICT", "select * from app.reconcile('wechat', '2026-11-26')");
    }),
    ("GATEWAY_ACCOUNT_NOT_FOUND", |s| {
        let sql = gateways::set_key("nowhere", "alipay_public_key", "a", gateways::alipay_keys()[0], "");
        s.superuser.refused("GATEWAY_ACCOUNT_NOT_FOUND", &sql);
    }),
    ("MERCHANT_INACTIVE", |s| {
        let ming = s.member("1.00");
        s.backend.run(&format!("select app.set_merchant_status('{SHOP}', false, 'x')"));
        s.cashier.refused("MERCHANT_INACTIVE", &Shop::charge_sql(&s.code(&ming), "1", ""));
    }),
    ("CARD_NOT_ACTIVE", |s| {
        let ming = s.member("0");
        s.set_card(&ming.card, "personal", "frozen");
        s.backend.refused("CARD_NOT_ACTIVE", &format!("select * from app.rotate_card_qr('{}')", ming.card));
    }),
    ("CARD_EXPIRED", |s| {
        let ming = s.member("0");
        s.backend.run(&format!("select app.set_card_expiry('{}', 'personal', now(), 'x')", ming.card));
        s.backend.refused("CARD_EXPIRED", &format!("select * from app.rotate_card_qr('{}')", ming.card));
    }),
    ("CARD_NOT_EMPTY", |s| {
        let ming = s.member("1.00");
        let sql = format!("select app.set_card_status('{}', 'personal', 'closed', 'x')", ming.card);
        s.backend.refused("CARD_NOT_EMPTY", &sql);
    }),
    ("MEMBER_NOT_ACTIVE", |s| {
        let ming = s.member("0");
        s.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id));
        s.backend.refused("MEMBER_NOT_ACTIVE", &format!("select * from app.rotate_card_qr('{}')", ming.card));
    }),
    ("LAST_ADMIN", |s| {
        let ming = s.member("0");
        let company = s.company("1", "0", &ming);
        let sql = format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, ming.id);
        s.backend.refused("LAST_ADMIN", &sql);
    }),
    ("NOT_REFUNDABLE", |s| {
        let ming = s.member("10.00");
        let paid = s.charge(&ming, "2.00");
        let refund = s.refund(&paid["tx_no"], "1.00");
        s.cashier.refused("NOT_REFUNDABLE", &Shop::refund_sql(&refund["refund_tx_no"], "1.00", ""));
    }),
    ("REFUND_EXCEEDS_REMAINING", |s| {
        let ming = s.member("10.00");
        let paid = s.charge(&ming, "2.00");
        s.cashier.refused("REFUND_EXCEEDS_REMAINING", &Shop::refund_sql(&paid["tx_no"], "2.01", ""));
    }),
    ("RECHARGE_NOT_PENDING", |s| {
        let ming = s.member("0");
        let number = s.pending(&ming, "2.00");
        s.backend.run(&format!("select * from app.confirm_recharge('{number}', 2, 'g-1')"));
        s.backend.refused("RECHARGE_NOT_PENDING", &format!("select * from app.fail_recharge('{number}', 'x')"));
    }),
    ("TOO_MANY_PENDING", |s| {
        let ming = s.member("0");
        (0..20).for_each(|_| drop(s.pending(&ming, "2.00")));
        let sql = format!("select * from app.user_recharge_personal_card('{}', 2)", ming.card);
        s.db.user(ming.id).refused("TOO_MANY_PENDING", &sql);
    }),
    ("AMOUNT_MISMATCH", |s| {
        let ming = s.member("0");
        let number = s.pending(&ming, "2.00");
        s.backend.refused("AMOUNT_MISMATCH", &format!("select * from app.confirm_recharge('{number}', 3, 'g-2')"));
    }),
    ("EXTERNAL_ORDER_CONFLICT", |s| {
        let ming = s.member("10.00");
        s.cashier.run(&Shop::charge_sql(&s.code(&ming), "1.00", "p_external_order_id => 'o-1'"));
        let other = Shop::charge_sql(&s.code(&ming), "2.00", "p_external_order_id => 'o-1'");
        s.cashier.refused("EXTERNAL_ORDER_CONFLICT", &other);
    }),
    ("BALANCE_LIMIT", |s| {
        let ming = s.member("0");
        s.superuser.run("update app.settings set max_balance = 10");
        let sql = format!("select * from app.user_recharge_personal_card('{}', 10.01, 'cash')", ming.card);
        s.backend.refused("BALANCE_LIMIT", &sql);
    }),
    ("STATUS_CONFLICT", |s| {
        let ming = s.member("0");
        s.backend.refused("STATUS_CONFLICT", &format!("select * from app.replace_card('{}', 'x')", ming.card));
    }),
    ("ARCHIVED", |s| {
        s.superuser.run("insert into app.archived_months values ('2020-02-01', now())");
        s.backend.refused("ARCHIVED", "select * from app.tx_by_no('ZF2002000001')");
        s.backend.refused("ARCHIVED", &Shop::refund_sql("ZF2002000001", "1.00", ""));
    }),
    ("SCHEMA_OUTDATED", |s| {
        let ming = s.member("10.00");
        let code = s.code(&ming);
        s.superuser.run("update app.settings set schema_version = 0");
        s.cashier.refused("SCHEMA_OUTDATED", &Shop::charge_sql(&code, "1.00", ""));
        s.db.user(ming.id).refused("SCHEMA_OUTDATED", &format!("select * from app.card_statement('{}')", ming.card));
        s.superuser.run("select app.migrate()");
        s.cashier.run(&Shop::charge_sql(&code, "1.00", ""));
    }),
    ("READ_ONLY", |s| {
        let ming = s.member("10.00");
        let code = s.code(&ming);
        s.superuser.run("select app.set_mode('read_only', 'moving house')");
        s.cashier.refused("READ_ONLY", &Shop::charge_sql(&code, "1.00", ""));
        s.db.user(ming.id).run(&format!("select * from app.card_statement('{}')", ming.card));
        s.superuser.run("select app.set_mode('normal')");
        s.cashier.run(&Shop::charge_sql(&code, "1.00", ""));
    }),
    ("CAMPAIGN_NOT_FOUND", |s| {
        s.backend.refused("CAMPAIGN_NOT_FOUND", "select * from app.campaign_report('NOWHERE')");
    }),
    ("COUPON_NOT_FOUND", |s| {
        let ming = s.member("0");
        s.backend.refused("COUPON_NOT_FOUND", &format!("select * from app.issue_coupon('NOWHERE', '{}')", ming.id));
    }),
    ("COUPON_NOT_USABLE", |s| {
        let ming = s.member("0");
        coupon(s, "OVER", r#", "valid_until": "2020-01-01T00:00:00Z""#);
        s.backend.refused("COUPON_NOT_USABLE", &format!("select * from app.issue_coupon('OVER', '{}')", ming.id));
    }),
    ("COUPON_LIMIT", |s| {
        let ming = s.member("0");
        coupon(s, "FEW", r#", "issue_limit": 1"#);
        s.backend.refused("COUPON_LIMIT", &format!("select * from app.issue_coupon('FEW', '{}', 2)", ming.id));
    }),
    ("QR_EXPIRED_OR_INVALID", |s| {
        s.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql("MPS123", "1", ""));
    }),
    ("IDEMPOTENCY_KEY_REUSED", |s| {
        let ming = s.member("10.00");
        s.cashier.run(&Shop::charge_sql(&s.code(&ming), "1.00", "p_idempotency_key => 'k-1'"));
        let other = Shop::charge_sql(&s.code(&ming), "2.00", "p_idempotency_key => 'k-1'");
        s.cashier.refused("IDEMPOTENCY_KEY_REUSED", &other);
    }),
];

/// An active coupon.
fn coupon(shop: &Shop, code: &str, more: &str) {
    let terms = format!(r#"{{"code": "{code}", "name": "x", "kind": "amount_off", "value": 1{more}}}"#);
    shop.backend.run(&format!("select * from app.create_coupon('{terms}')"));
    shop.backend.run(&format!("select * from app.set_coupon_status('{code}', 'active', 'x')"));
}

#[test]
fn every_token_is_provoked() {
    let listed: BTreeSet<String> =
        Db::new().superuser().column("select token from app.error_codes").into_iter().collect();
    let provoked: BTreeSet<String> = PROVOCATIONS.iter().map(|(token, _)| (*token).to_owned()).collect();
    assert_eq!(provoked, listed, "a token of app.error_codes is never provoked, or one is provoked that is not listed");
    // Those that change what others rest on get a shop of their own.
    let alone = ["MERCHANT_INACTIVE", "BALANCE_LIMIT", "ARCHIVED", "SCHEMA_OUTDATED", "READ_ONLY"];
    let shared = Shop::open();
    for (token, provoke) in PROVOCATIONS {
        println!("{token}");
        if alone.contains(token) {
            provoke(&Shop::open());
        } else {
            provoke(&shared);
        }
    }
}

/// What an argument takes, and so what it must refuse.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Amount,
    SignedAmount,
    ConfirmedAmount,
    Name,
    OptionalText,
    Key,
    OptionalKey,
    NoOrder,
    MerchantCode,
    TxNo,
    OptionalTxNo,
    Code,
    CardId,
    MemberId,
    UserId,
    CardNo,
    CardType,
    PayMethod,
    Label,
    Object,
    Settings,
    Discount,
    Points,
    Limit,
    Moment,
    OptionalMoment,
    OptionalDay,
    Day,
    GivenDay,
    BillDay,
    Bill,
    ItemId,
    HeadNo,
    Account,
    Headers,
    Body,
    EventId,
    Boolean,
    PaidBy,
    SuspenseId,
    Resolution,
    GatewayAccount,
    NewCode,
    CouponCode,
    CouponNo,
    OptionalCouponNo,
    Excluded,
    /// A coupon as an object, and one that is edited.
    Coupon,
    CouponEdit,
    /// As those.
    Campaign,
    CampaignEdit,
    CampaignCode,
    Count,
    /// A name without white space inside.
    Name64,
    GatewayConfig,
    GatewayKey,
    Path,
    /// May be anything of its type.
    Free,
}

/// 500 objects in each other, larger than 8 KiB.
const DEEP: &str = "(repeat('{\"a longer name\":', 500) || '1' || repeat('}', 500))::jsonb";

/// Wrong values for a kind of argument, as SQL, and the token that each must get.
fn wrong(kind: Kind) -> Vec<(&'static str, &'static [&'static str])> {
    use Kind::*;
    const ARG: &[&str] = &["INVALID_ARGUMENT"];
    const AMOUNT: &[&str] = &["INVALID_AMOUNT"];
    const TX: &[&str] = &["TX_NOT_FOUND"];
    let texts = |max: &'static [(&'static str, &'static [&'static str])]| max.to_vec();
    let with = |mut list: Vec<_>, more: &[(&'static str, &'static [&'static str])]| {
        list.extend_from_slice(more);
        list
    };
    let not_finite: [(&str, &[&str]); 3] = [("'NaN'", AMOUNT), ("'Infinity'", AMOUNT), ("'-Infinity'", AMOUNT)];
    match kind {
        Amount => with(
            not_finite.to_vec(),
            &[
                ("null", AMOUNT),
                ("0", AMOUNT),
                ("0.00", AMOUNT),
                ("-1", AMOUNT),
                ("-0.01", AMOUNT),
                ("0.001", AMOUNT),
                ("1.005", AMOUNT),
                ("50000.01", AMOUNT),
                ("1000000000000", AMOUNT),
                ("999999999999999999999999999999", AMOUNT),
                ("1e100", AMOUNT),
                ("1e-100", AMOUNT),
            ],
        ),
        Excluded => with(
            not_finite.to_vec(),
            &[
                ("-0.01", AMOUNT),
                ("1.01", AMOUNT),
                ("0.001", AMOUNT),
                ("1e100", AMOUNT),
                ("-1e100", AMOUNT),
                ("1e-100", AMOUNT),
            ],
        ),
        OptionalCouponNo => vec![
            ("'CP99999999'", &["COUPON_NOT_FOUND"]),
            ("'CP1'", &["COUPON_NOT_FOUND"]),
            ("'x'", &["COUPON_NOT_FOUND"]),
            ("repeat('9', 100000)", &["COUPON_NOT_FOUND"]),
        ],
        SignedAmount => with(
            not_finite.to_vec(),
            &[
                ("null", AMOUNT),
                ("0", AMOUNT),
                ("0.001", AMOUNT),
                ("-0.001", AMOUNT),
                ("50000.01", AMOUNT),
                ("-1e100", AMOUNT),
            ],
        ),
        // What the gateway says is compared: a number that is none is refused, another one does not match.
        ConfirmedAmount => vec![
            ("null", &["INVALID_AMOUNT", "INVALID_ARGUMENT"]),
            ("'NaN'", AMOUNT),
            ("'Infinity'", AMOUNT),
            ("'-Infinity'", AMOUNT),
            ("0.001", AMOUNT),
            ("1e100", AMOUNT),
            ("0", &["INVALID_AMOUNT", "AMOUNT_MISMATCH"]),
            ("-5.00", &["INVALID_AMOUNT", "AMOUNT_MISMATCH"]),
        ],
        Name => texts(&[
            ("null", ARG),
            ("''", ARG),
            ("'   '", ARG),
            ("repeat('x', 501)", ARG),
            ("repeat('名', 501)", ARG),
            ("repeat('x', 10000)", ARG),
        ]),
        OptionalText => texts(&[("repeat('x', 501)", ARG), ("repeat('x', 10000)", ARG), ("repeat('x', 1000000)", ARG)]),
        Key => texts(&[
            ("null", ARG),
            ("''", ARG),
            ("' '", ARG),
            ("repeat('k', 201)", ARG),
            ("repeat('k', 10000)", ARG),
            ("E'a\\nb'", ARG),
        ]),
        OptionalKey => {
            texts(&[("' '", ARG), ("repeat('k', 201)", ARG), ("repeat('k', 10000)", ARG), ("E'a\\tb'", ARG)])
        }
        NoOrder => texts(&[("'o'", ARG), ("' '", ARG), ("repeat('o', 201)", ARG), ("E'a\\tb'", ARG)]),
        MerchantCode => vec![
            ("null", ARG),
            ("''", ARG),
            ("'SHOP 001'", ARG),
            ("repeat('S', 65)", ARG),
            ("repeat('S', 10000)", ARG),
            ("'SHOP-999'", &["MERCHANT_NOT_FOUND"]),
            ("'shop-001'", &["MERCHANT_NOT_FOUND"]),
            ("$x$' or true --$x$", ARG),
        ],
        TxNo => vec![
            ("null", ARG),
            ("''", ARG),
            ("'x'", TX),
            ("'ZF'", TX),
            ("'ZF000123'", TX),
            ("'ZF2613000001'", TX),
            ("'ZF9912999999'", TX),
            ("'ZF261199999999999999999999'", TX),
            ("'ZF2611-00001'", TX),
            ("repeat('9', 10000)", TX),
            ("$x$' or true --$x$", TX),
        ],
        OptionalTxNo => vec![("'x'", TX), ("'ZF9912999999'", TX), ("repeat('9', 10000)", TX)],
        Code => {
            const QR: &[&str] = &["QR_EXPIRED_OR_INVALID"];
            vec![
                ("null", ARG),
                ("''", ARG),
                ("'MPS'", QR),
                ("repeat('A', 59)", QR),
                ("repeat('A', 10000)", QR),
                ("'付款码'", QR),
            ]
        }
        CardId => vec![("null", ARG), ("gen_random_uuid()", &["CARD_NOT_FOUND"])],
        MemberId => vec![("null", ARG), ("gen_random_uuid()", &["MEMBER_NOT_FOUND"])],
        UserId | Boolean => vec![("null", ARG)],
        PaidBy => vec![("'balance'", &["INVALID_PAYMENT_METHOD"]), ("'visa'", &["INVALID_PAYMENT_METHOD"])],
        SuspenseId => vec![("null", ARG), ("0", TX), ("-1", TX), ("9223372036854775807", TX)],
        Resolution => vec![("null", ARG), ("''", ARG), ("'Credited'", ARG), ("'refunded'", ARG), ("'open'", ARG)],
        GatewayAccount => vec![
            ("null", ARG),
            ("''", ARG),
            ("'the shop'", ARG),
            ("repeat('S', 65)", ARG),
            ("'nowhere'", &["GATEWAY_ACCOUNT_NOT_FOUND"]),
            ("'GATE'", &["GATEWAY_ACCOUNT_NOT_FOUND"]),
        ],
        NewCode => vec![
            ("null", ARG),
            ("' '", ARG),
            ("'a b'", ARG),
            ("'支付宝'", ARG),
            ("'a/b'", ARG),
            ("repeat('S', 65)", ARG),
        ],
        CouponCode => vec![
            ("null", ARG),
            ("' '", ARG),
            ("'C 1'", ARG),
            ("repeat('C', 65)", ARG),
            ("'NOWHERE'", &["COUPON_NOT_FOUND"]),
            ("'c1'", &["COUPON_NOT_FOUND"]),
        ],
        CouponNo => vec![
            ("null", ARG),
            ("' '", ARG),
            ("'x'", &["COUPON_NOT_FOUND"]),
            ("'CP1'", &["COUPON_NOT_FOUND"]),
            ("'CP99999999'", &["COUPON_NOT_FOUND"]),
            ("repeat('9', 10000)", &["COUPON_NOT_FOUND"]),
        ],
        CampaignCode => vec![
            ("null", ARG),
            ("' '", ARG),
            ("'K 1'", ARG),
            ("repeat('K', 65)", ARG),
            ("'NOWHERE'", &["CAMPAIGN_NOT_FOUND"]),
            ("'k1'", &["CAMPAIGN_NOT_FOUND"]),
        ],
        Campaign => with(
            wrong(CampaignEdit),
            &[
                ("'{}'", ARG),
                (r#"'{"name": "x", "kind": "points_bonus", "value": 1}'"#, ARG),
                (r#"'{"code": " ", "name": "x", "kind": "points_bonus", "value": 1}'"#, ARG),
                (r#"'{"code": 5, "name": "x", "kind": "points_bonus", "value": 1}'"#, ARG),
                (r#"'{"code": "K2", "name": "x", "kind": "points_bonus"}'"#, ARG),
                (r#"'{"code": "K1", "name": "x", "kind": "points_bonus", "value": 2}'"#, &["STATUS_CONFLICT"]),
            ],
        ),
        CampaignEdit => with(
            wrong(Object),
            &[
                ("null", ARG),
                (r#"'{"strange": 1}'"#, ARG),
                (r#"'{"value": 0}'"#, ARG),
                (r#"'{"value": "1e400"}'"#, ARG),
                (r#"'{"value": 1e400}'"#, ARG),
                (r#"'{"priority": 9999999999}'"#, ARG),
                (r#"'{"levels": [99999]}'"#, ARG),
            ],
        ),
        Coupon => with(
            wrong(CouponEdit),
            &[
                ("'{}'", ARG),
                (r#"'{"name": "x", "kind": "amount_off", "value": 1}'"#, ARG),
                (r#"'{"code": " ", "name": "x", "kind": "amount_off", "value": 1}'"#, ARG),
                (r#"'{"code": 5, "name": "x", "kind": "amount_off", "value": 1}'"#, ARG),
                (r#"'{"code": "C2", "name": "x", "kind": "amount_off"}'"#, ARG),
                (r#"'{"code": "C1", "name": "x", "kind": "amount_off", "value": 2}'"#, &["STATUS_CONFLICT"]),
            ],
        ),
        CouponEdit => with(
            wrong(Object),
            &[
                ("null", ARG),
                (r#"'{"strange": 1}'"#, ARG),
                (r#"'{"value": 0}'"#, ARG),
                (r#"'{"value": "1e400"}'"#, ARG),
                (r#"'{"value": 1e400}'"#, ARG),
                (r#"'{"levels": [99999]}'"#, ARG),
            ],
        ),
        Count => texts(&[("null", ARG), ("0", ARG), ("-1", ARG), ("1001", ARG), ("-2147483648", ARG)]),
        Name64 => vec![("null", ARG), ("' '", ARG), ("'a b'", ARG), ("repeat('k', 65)", ARG), ("E'a\\nb'", ARG)],
        GatewayConfig => with(wrong(Object), &[("null", ARG), ("'{}'", ARG), ("'{\"app_id\": \"1\"}'", ARG)]),
        GatewayKey => {
            vec![("null", ARG), ("''", ARG), ("'x'", ARG), ("repeat('A', 400)", ARG), ("repeat('A', 100000)", ARG)]
        }
        Path => vec![
            ("null", ARG),
            ("''", ARG),
            ("'key.pem'", ARG),
            ("'/nowhere/key.pem'", ARG),
            ("'/'", ARG),
            ("'/dev/zero'", ARG),
        ],
        CardNo => vec![
            ("null", ARG),
            ("''", ARG),
            ("repeat('E', 10000)", ARG),
            ("'ENT99999'", &["CARD_NOT_FOUND"]),
            ("$x$' or true --$x$", &["CARD_NOT_FOUND"]),
        ],
        CardType | Label => {
            vec![("null", ARG), ("' '", ARG), ("'Personal'", ARG), ("'gift'", ARG), ("repeat('p', 10000)", ARG)]
        }
        PayMethod => {
            const METHOD: &[&str] = &["INVALID_PAYMENT_METHOD"];
            vec![
                ("null", METHOD),
                ("' '", METHOD),
                ("'Cash'", METHOD),
                ("'balance'", METHOD),
                ("repeat('c', 10000)", METHOD),
            ]
        }
        Object | Settings => {
            let list = vec![
                ("'[]'", ARG),
                ("'[{}]'", ARG),
                ("'1'", ARG),
                ("'true'", ARG),
                ("'null'", ARG),
                ("'\"text\"'", ARG),
                ("jsonb_build_object('a', repeat('x', 8200))", ARG),
                ("jsonb_build_object('a', repeat('x', 1000000))", ARG),
                ("jsonb_build_object(repeat('k', 100000), 1)", ARG),
                ("(select jsonb_object_agg(n, n) from generate_series(1, 20000) n)", ARG),
                (DEEP, ARG),
                ("(repeat('[', 500) || repeat(']', 500))::jsonb", ARG),
            ];
            if kind == Settings { with(list, &[("null", ARG), ("'{\"x\": 1}'", ARG)]) } else { list }
        }
        Discount => texts(&[
            ("null", ARG),
            ("0", ARG),
            ("-1", ARG),
            ("1.001", ARG),
            ("0.0001", ARG),
            ("'NaN'", ARG),
            ("'Infinity'", ARG),
            ("1e100", ARG),
        ]),
        Points => texts(&[("null", ARG), ("0", ARG), ("9223372036854775807", ARG), ("-9223372036854775808", ARG)]),
        Limit => {
            texts(&[("null", ARG), ("0", ARG), ("-1", ARG), ("501", ARG), ("2147483647", ARG), ("-2147483648", ARG)])
        }
        Moment => texts(&[("null", ARG)]),
        OptionalMoment => texts(&[("'infinity'", ARG), ("'-infinity'", ARG)]),
        OptionalDay => {
            texts(&[("'infinity'", ARG), ("'-infinity'", ARG), ("'1999-12-31'", ARG), ("'10000-01-01'", ARG)])
        }
        Day => texts(&[("date 'infinity'", ARG), ("date '-infinity'", ARG)]),
        BillDay => {
            texts(&[("null", ARG), ("date 'infinity'", ARG), ("date '-infinity'", ARG), ("date '1999-12-31'", ARG)])
        }
        Bill => texts(&[("null", ARG), ("''", &["BILL_INVALID"]), ("'\\x504b0304'", &["BILL_INVALID"])]),
        ItemId => {
            let none: &[&str] = &["RECON_CONFLICT"];
            vec![("null", ARG), ("0", none), ("-1", none), ("9223372036854775807", none)]
        }
        GivenDay => {
            texts(&[("null", ARG), ("date 'infinity'", ARG), ("date '-infinity'", ARG), ("date '2100-01-01'", ARG)])
        }
        Account => with(
            vec![("null", ARG), ("''", ARG), ("'a b'", ARG), ("repeat('a', 65)", ARG)],
            &[("'nobody'", &["GATEWAY_ACCOUNT_NOT_FOUND"]), ("$x$' or true --$x$", ARG)],
        ),
        Headers => texts(&[
            ("'[]'", ARG),
            ("'1'", ARG),
            ("'\"x\"'", ARG),
            ("jsonb_build_object('a', repeat('x', 70000))", ARG),
        ]),
        Body => texts(&[("null", ARG)]),
        EventId => vec![("null", ARG), ("0", TX), ("-1", TX), ("9223372036854775807", TX)],
        HeadNo => texts(&[("0", ARG), ("-1", ARG), ("-9223372036854775808", ARG)]),
        Free => vec![],
    }
}

/// An argument's name, a right value as SQL, and its kind.
type Argument = (&'static str, &'static str, Kind);

/// Every RPC with every argument, each right. `{..}` are filled in from the shop.
const CALLS: &[(&str, &[Argument])] = &[
    (
        "register_member",
        &[
            ("p_name", "'Ming'", Kind::Name),
            ("p_phone", "'138'", Kind::OptionalText),
            ("p_email", "'a@b'", Kind::OptionalText),
            ("p_user_id", "null", Kind::Free),
        ],
    ),
    (
        "rotate_card_qr",
        &[
            ("p_card_id", "'{company}'", Kind::CardId),
            ("p_card_type", "'enterprise'", Kind::CardType),
            ("p_member_id", "'{member}'", Kind::UserId),
        ],
    ),
    (
        "merchant_charge_by_qr",
        &[
            ("p_merchant_code", "'SHOP-001'", Kind::MerchantCode),
            ("p_qr_plain", "'{code}'", Kind::Code),
            ("p_amount", "1.00", Kind::Amount),
            ("p_reason", "'x'", Kind::OptionalText),
            ("p_tag", "'{}'", Kind::Object),
            ("p_idempotency_key", "'k'", Kind::OptionalKey),
            ("p_external_order_id", "'o'", Kind::OptionalKey),
            ("p_coupon_code", "'{coupon}'", Kind::OptionalCouponNo),
            ("p_excluded_amount", "0.50", Kind::Excluded),
        ],
    ),
    (
        "quote_charge",
        &[
            ("p_merchant_code", "'SHOP-001'", Kind::MerchantCode),
            ("p_qr_plain", "'{code}'", Kind::Code),
            ("p_amount", "1.00", Kind::Amount),
            ("p_coupon_code", "'{coupon}'", Kind::OptionalCouponNo),
            ("p_excluded_amount", "0.50", Kind::Excluded),
        ],
    ),
    (
        "cancel_payment",
        &[
            ("p_merchant_code", "'SHOP-001'", Kind::MerchantCode),
            ("p_tx_no", "'{paid}'", Kind::TxNo),
            // Instead of the number.
            ("p_external_order_id", "null", Kind::NoOrder),
            ("p_reason", "'x'", Kind::OptionalText),
            ("p_idempotency_key", "'k'", Kind::OptionalKey),
        ],
    ),
    (
        "merchant_refund_tx",
        &[
            ("p_merchant_code", "'SHOP-001'", Kind::MerchantCode),
            ("p_original_tx_no", "'{paid}'", Kind::TxNo),
            ("p_refund_amount", "1.00", Kind::Amount),
            ("p_reason", "'x'", Kind::OptionalText),
            ("p_tag", "'{}'", Kind::Object),
            ("p_idempotency_key", "'k'", Kind::OptionalKey),
        ],
    ),
    (
        "user_recharge_personal_card",
        &[
            ("p_personal_card_id", "'{card}'", Kind::CardId),
            ("p_amount", "1.00", Kind::Amount),
            ("p_payment_method", "'cash'", Kind::PayMethod),
            ("p_reason", "'x'", Kind::OptionalText),
            ("p_tag", "'{}'", Kind::Object),
            ("p_external_order_id", "'o'", Kind::OptionalKey),
            ("p_idempotency_key", "'k'", Kind::OptionalKey),
            ("p_merchant_code", "'SHOP-001'", Kind::Free),
        ],
    ),
    (
        "user_recharge_enterprise_card_admin",
        &[
            ("p_enterprise_card_id", "'{company}'", Kind::CardId),
            ("p_amount", "1.00", Kind::Amount),
            ("p_payment_method", "'cash'", Kind::PayMethod),
            ("p_reason", "'x'", Kind::OptionalText),
            ("p_tag", "'{}'", Kind::Object),
            ("p_external_order_id", "'o'", Kind::OptionalKey),
            ("p_idempotency_key", "'k'", Kind::OptionalKey),
            ("p_merchant_code", "'SHOP-001'", Kind::Free),
        ],
    ),
    (
        "confirm_recharge",
        &[
            ("p_tx_no", "'{waiting}'", Kind::TxNo),
            ("p_amount", "5.00", Kind::ConfirmedAmount),
            ("p_gateway_trade_no", "'g'", Kind::Key),
            ("p_payload", "'{}'", Kind::Object),
            ("p_payment_method", "'alipay'", Kind::PaidBy),
        ],
    ),
    (
        "resolve_suspense",
        &[
            ("p_suspense_id", "{suspense}", Kind::SuspenseId),
            ("p_resolution", "'credited'", Kind::Resolution),
            ("p_note", "'x'", Kind::Name),
            ("p_card_id", "'{card}'", Kind::CardId),
            ("p_idempotency_key", "'k'", Kind::OptionalKey),
        ],
    ),
    (
        "withdraw",
        &[
            ("p_card_id", "'{card}'", Kind::CardId),
            ("p_amount", "1.00", Kind::Amount),
            ("p_reason", "'x'", Kind::Name),
            ("p_idempotency_key", "'k'", Kind::Key),
            ("p_card_type", "'personal'", Kind::Label),
            ("p_payout", "'source'", Kind::Label),
            ("p_merchant_code", "'SHOP-001'", Kind::Free),
        ],
    ),
    (
        "confirm_withdrawal",
        &[
            ("p_refund_no", "'{refund}'", Kind::TxNo),
            ("p_amount", "6.00", Kind::ConfirmedAmount),
            ("p_gateway_refund_no", "'r'", Kind::OptionalText),
        ],
    ),
    ("fail_withdrawal", &[("p_refund_no", "'{refund}'", Kind::TxNo), ("p_reason", "'x'", Kind::Name)]),
    ("fail_recharge", &[("p_tx_no", "'{waiting}'", Kind::TxNo), ("p_reason", "'x'", Kind::Name)]),
    (
        "enterprise_add_member",
        &[
            ("p_card_no", "'{company_no}'", Kind::CardNo),
            ("p_member_id", "'{other}'", Kind::MemberId),
            ("p_role", "'member'", Kind::Label),
        ],
    ),
    (
        "enterprise_remove_member",
        &[("p_card_no", "'{company_no}'", Kind::CardNo), ("p_member_id", "'{other}'", Kind::UserId)],
    ),
    (
        "create_campaign",
        &[("p_campaign", r#"'{"code": "K2", "name": "x", "kind": "points_bonus", "value": 1}'"#, Kind::Campaign)],
    ),
    (
        "update_campaign",
        &[("p_code", "'K1'", Kind::CampaignCode), ("p_campaign", r#"'{"value": 2}'"#, Kind::CampaignEdit)],
    ),
    (
        "set_campaign_status",
        &[
            ("p_code", "'K1'", Kind::CampaignCode),
            ("p_status", "'paused'", Kind::Label),
            ("p_reason", "'x'", Kind::Name),
        ],
    ),
    ("campaign_report", &[("p_code", "'K1'", Kind::CampaignCode)]),
    (
        "create_coupon",
        &[("p_coupon", r#"'{"code": "C2", "name": "x", "kind": "amount_off", "value": 1}'"#, Kind::Coupon)],
    ),
    ("update_coupon", &[("p_code", "'C1'", Kind::CouponCode), ("p_coupon", r#"'{"value": 2}'"#, Kind::CouponEdit)]),
    (
        "set_coupon_status",
        &[("p_code", "'C1'", Kind::CouponCode), ("p_status", "'paused'", Kind::Label), ("p_reason", "'x'", Kind::Name)],
    ),
    (
        "issue_coupon",
        &[
            ("p_code", "'C1'", Kind::CouponCode),
            ("p_member_id", "'{member}'", Kind::MemberId),
            ("p_count", "1", Kind::Count),
            ("p_idempotency_key", "'k'", Kind::OptionalKey),
        ],
    ),
    ("claim_coupon", &[("p_code", "'C1'", Kind::CouponCode), ("p_idempotency_key", "'k'", Kind::OptionalKey)]),
    ("revoke_coupon", &[("p_coupon_code", "'{coupon}'", Kind::CouponNo), ("p_reason", "'x'", Kind::Name)]),
    ("create_merchant", &[("p_code", "'SHOP-002'", Kind::Key), ("p_name", "'x'", Kind::Name)]),
    (
        "set_merchant_user",
        &[
            ("p_merchant_code", "'SHOP-001'", Kind::MerchantCode),
            ("p_user_id", "'{member}'", Kind::UserId),
            ("p_role", "'admin'", Kind::Label),
        ],
    ),
    (
        "remove_merchant_user",
        &[("p_merchant_code", "'SHOP-001'", Kind::MerchantCode), ("p_user_id", "'{member}'", Kind::UserId)],
    ),
    (
        "set_merchant_status",
        &[
            ("p_merchant_code", "'SHOP-001'", Kind::MerchantCode),
            ("p_active", "false", Kind::Boolean),
            ("p_reason", "'x'", Kind::Name),
        ],
    ),
    (
        "create_enterprise_card",
        &[
            ("p_company_name", "'x'", Kind::Name),
            ("p_fixed_discount", "0.9", Kind::Discount),
            ("p_admin_member_id", "null", Kind::Free),
        ],
    ),
    (
        "set_member_status",
        &[
            ("p_member_id", "'{member}'", Kind::MemberId),
            ("p_status", "'suspended'", Kind::Label),
            ("p_reason", "'x'", Kind::Name),
        ],
    ),
    (
        "set_card_status",
        &[
            ("p_card_id", "'{card}'", Kind::CardId),
            ("p_card_type", "'personal'", Kind::CardType),
            ("p_status", "'frozen'", Kind::Label),
            ("p_reason", "'x'", Kind::Name),
        ],
    ),
    (
        "set_card_expiry",
        &[
            ("p_card_id", "'{card}'", Kind::CardId),
            ("p_card_type", "'personal'", Kind::CardType),
            ("p_expires_at", "null", Kind::OptionalMoment),
            ("p_reason", "'x'", Kind::Name),
            ("p_expires_on", "'2090-12-31'", Kind::OptionalDay),
        ],
    ),
    ("replace_card", &[("p_card_id", "'{lost}'", Kind::CardId), ("p_reason", "'x'", Kind::Name)]),
    (
        "adjust_points",
        &[
            ("p_card_id", "'{card}'", Kind::CardId),
            ("p_change", "1", Kind::Points),
            ("p_reason", "'x'", Kind::Name),
            ("p_idempotency_key", "'k'", Kind::OptionalKey),
        ],
    ),
    (
        "compensate_tx",
        &[
            ("p_tx_no", "'{paid}'", Kind::TxNo),
            ("p_amount", "-1.00", Kind::SignedAmount),
            ("p_reason", "'x'", Kind::Name),
            ("p_idempotency_key", "'k'", Kind::OptionalKey),
        ],
    ),
    ("get_settings", &[]),
    ("update_settings", &[("p_settings", "'{}'", Kind::Settings)]),
    (
        "card_statement",
        &[
            ("p_card_id", "'{card}'", Kind::CardId),
            ("p_card_type", "'personal'", Kind::CardType),
            ("p_before", "'{paid}'", Kind::OptionalTxNo),
            ("p_limit", "1", Kind::Limit),
        ],
    ),
    (
        "merchant_statement",
        &[
            ("p_merchant_code", "'SHOP-001'", Kind::MerchantCode),
            ("p_from", "now()", Kind::Free),
            ("p_to", "now()", Kind::Free),
            ("p_before", "'{paid}'", Kind::OptionalTxNo),
            ("p_limit", "1", Kind::Limit),
            ("p_day", "null", Kind::Free),
        ],
    ),
    (
        "balance_as_of",
        &[
            ("p_card_id", "'{card}'", Kind::CardId),
            ("p_at", "now()", Kind::Moment),
            ("p_card_type", "'personal'", Kind::CardType),
        ],
    ),
    ("tx_by_no", &[("p_tx_no", "'{paid}'", Kind::TxNo)]),
    ("tx_proof", &[("p_tx_no", "'{paid}'", Kind::TxNo)]),
    (
        "liability_proof",
        &[
            ("p_month", "current_date", Kind::GivenDay),
            ("p_card_id", "'{card}'", Kind::CardId),
            ("p_card_type", "'personal'", Kind::CardType),
        ],
    ),
    ("head_proof", &[("p_head_no", "null", Kind::HeadNo)]),
    (
        "set_gateway_account",
        &[
            ("p_code", "'new'", Kind::NewCode),
            ("p_provider", "'alipay'", Kind::Label),
            ("p_config", "'{config}'", Kind::GatewayConfig),
        ],
    ),
    (
        "set_gateway_key",
        &[
            ("p_account", "'gate'", Kind::GatewayAccount),
            ("p_kind", "'alipay_public_key'", Kind::Label),
            ("p_key_id", "'a'", Kind::Name64),
            ("p_key", "'{key}'", Kind::GatewayKey),
            ("p_valid_from", "null", Kind::OptionalMoment),
            ("p_valid_until", "null", Kind::OptionalMoment),
        ],
    ),
    (
        "set_gateway_key_from_file",
        &[
            ("p_account", "'gate'", Kind::GatewayAccount),
            ("p_kind", "'alipay_public_key'", Kind::Label),
            ("p_key_id", "'a'", Kind::Name64),
            ("p_path", "'{key_file}'", Kind::Path),
            ("p_valid_from", "null", Kind::OptionalMoment),
            ("p_valid_until", "null", Kind::OptionalMoment),
        ],
    ),
    (
        "gateway_notify",
        &[
            ("p_account", "'wechat'", Kind::Account),
            ("p_headers", "'{}'", Kind::Headers),
            ("p_body", "'x'", Kind::Body),
        ],
    ),
    ("reverify_event", &[("p_id", "{event}", Kind::EventId)]),
    (
        "import_bill",
        &[
            ("p_account", "'wechat'", Kind::Account),
            ("p_bill_date", "'2026-11-25'", Kind::BillDay),
            ("p_kind", "'trade'", Kind::Label),
            ("p_content", "'\\x{bill}'", Kind::Bill),
        ],
    ),
    ("reconcile", &[("p_account", "'wechat'", Kind::Account), ("p_bill_date", "'2026-11-26'", Kind::BillDay)]),
    (
        "resolve_recon_item",
        &[
            ("p_id", "{item}", Kind::ItemId),
            ("p_resolution", "'explained'", Kind::Label),
            ("p_note", "'x'", Kind::Name),
        ],
    ),
    ("close_recon_day", &[("p_account", "'wechat'", Kind::Account), ("p_bill_date", "'2026-11-24'", Kind::BillDay)]),
    ("business_day", &[("p_at", "now()", Kind::Free)]),
    ("business_day_start", &[("p_day", "current_date", Kind::Free)]),
    ("day_totals", &[("p_from_day", "null", Kind::Day), ("p_to_day", "null", Kind::Day)]),
];

/// What a member calls for itself.
const OF_MEMBERS: [&str; 1] = ["claim_coupon"];

/// What only superusers call.
const OF_SUPERUSERS: [&str; 3] = ["set_gateway_account", "set_gateway_key", "set_gateway_key_from_file"];

/// What wants a signed head, and here is none: tests/receipts.rs has one.
const NEED_A_HEAD: [&str; 3] = ["tx_proof", "liability_proof", "head_proof"];

#[test]
fn every_argument_of_every_rpc_given_wrongly_is_refused_and_moves_nothing() {
    let shop = Shop::open();
    let (ming, other, lost) = (shop.member("100.00"), shop.member("0"), shop.member("10.00"));
    let company = shop.company("1.000", "10.00", &ming);
    let paid = shop.charge(&ming, "10.00");
    let waiting = shop.pending(&ming, "5.00");
    let twice = shop.pending(&ming, "6.00");
    for trade in ["once", "twice"] {
        shop.backend.run(&format!("select * from app.confirm_recharge('{twice}', 6.00, '{trade}')"));
    }
    let suspense = shop.superuser.value("select id from app.suspense_payments");
    let withdrawn = format!("select refund_no from app.withdraw('{}', 6, 'x', 'w')", ming.card);
    let refund = shop.backend.value(&withdrawn);
    shop.superuser.run(&mps_sender::set_up());
    shop.backend.row(&mps_sender::wechat("ELSE", &serde_json::json!({})).sql("wechat"));
    let event = shop.superuser.value("select id from app.gateway_events");
    let nothing = bill::wechat("2026-11-24", &[]);
    let of_a_stranger = bill::wechat("2026-11-26", &[bill::Line::payment("4200001", "a-stranger-s", 100)]);
    shop.backend.row(&bill::import("wechat", "2026-11-24", "trade", &nothing));
    shop.backend.row(&bill::import("wechat", "2026-11-26", "trade", &of_a_stranger));
    shop.backend.rows("select * from app.reconcile('wechat', '2026-11-26')");
    let item = shop.superuser.value("select id from app.recon_items");
    let bill: String = bill::wechat("2026-11-25", &[]).iter().map(|byte| format!("{byte:02x}")).collect();
    shop.set_card(&lost.card, "personal", "lost");
    coupon(&shop, "C1", r#", "claimable": true"#);
    let campaign = r#"{"code": "K1", "name": "x", "kind": "points_bonus", "value": 1}"#;
    shop.backend.run(&format!("select * from app.create_campaign('{campaign}')"));
    shop.backend.run("select * from app.set_campaign_status('K1', 'active', 'x')");
    let issued = format!("select coupon_code from app.issue_coupon('C1', '{}')", ming.id);
    let coupon_code = shop.backend.value(&issued);
    let member = shop.db.user(ming.id);
    let code = shop.code(&ming);
    shop.superuser.run(&gateways::set_account("gate", "alipay", gateways::ALIPAY));
    let key_file = Scratch::with("key", gateways::alipay_keys()[0]);
    let fill = |text: &str| {
        text.replace("{company_no}", &company.card_no)
            .replace("{company}", &company.card)
            .replace("{card}", &ming.card)
            .replace("{member}", &ming.id.to_string())
            .replace("{other}", &other.id.to_string())
            .replace("{lost}", &lost.card)
            .replace("{paid}", &paid["tx_no"])
            .replace("{waiting}", &waiting)
            .replace("{suspense}", &suspense)
            .replace("{refund}", &refund)
            .replace("{event}", &event)
            .replace("{item}", &item)
            .replace("{bill}", &bill)
            .replace("{code}", &code)
            .replace("{coupon}", &coupon_code)
            .replace("{config}", gateways::ALIPAY)
            .replace("{key_file}", key_file.path())
            .replace("{key}", gateways::alipay_keys()[0])
    };
    let call = |rpc: &str, arguments: &[Argument], changed: Option<(usize, &str)>| {
        let given = arguments.iter().enumerate().map(|(i, (name, right, _))| {
            let value = changed.filter(|(at, _)| *at == i).map_or(*right, |(_, wrong)| wrong);
            format!("{name} => {value}")
        });
        fill(&format!("select * from app.{rpc}({})", given.collect::<Vec<_>>().join(", ")))
    };
    let mut refusals = 0;
    for (rpc, arguments) in CALLS {
        let named: Vec<String> = arguments.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let declared = format!(
            "select a.name from pg_proc p, unnest(p.proargnames) with ordinality a (name, n) \
             where p.oid = 'app.{rpc}'::regproc and a.n <= p.pronargs order by a.n"
        );
        assert_eq!(named, shop.superuser.column(&declared), "{rpc}: the arguments of the table of this test");
        let caller = match rpc {
            rpc if OF_SUPERUSERS.contains(rpc) => &shop.superuser,
            rpc if OF_MEMBERS.contains(rpc) => &member,
            _ => &shop.backend,
        };
        // The call is right: what is refused below is refused for its one wrong argument.
        caller.run("begin");
        if NEED_A_HEAD.contains(rpc) {
            caller.failure(&call(rpc, arguments, None)).must_be("STATUS_CONFLICT", rpc);
        } else {
            caller.run(&call(rpc, arguments, None));
        }
        caller.run("rollback");
        let before = Db::snapshot(&shop.db.name);
        for (i, (name, _, kind)) in arguments.iter().enumerate() {
            for (value, tokens) in wrong(*kind) {
                let sql = call(rpc, arguments, Some((i, value)));
                let failure = caller.failure(&sql);
                let token = tokens.iter().find(|t| **t == failure.message);
                failure.must_be(token.unwrap_or(&tokens[0]), &format!("{rpc}: {name} => {value}"));
                refusals += 1;
            }
        }
        assert_eq!(before, Db::snapshot(&shop.db.name), "{rpc} refused, and yet something changed");
    }
    assert!(refusals > 400, "{refusals} refusals");
    let all = shop.superuser.column(
        "select p.proname from pg_proc p where p.pronamespace = 'app'::regnamespace and p.prokind = 'f' and p.proname !~ '_batch$' \
         and p.proname !~ '^bucket_of_' \
         and p.proname not in ('error_list', 'migrate', 'enable_supabase_signup', 'schedule_jobs', 'verify_books', 'health', 'set_mode', \
                               'usage_page', 'rebuild_from_log') \
         order by 1",
    );
    let mut tried: Vec<&str> = CALLS.iter().map(|(rpc, _)| *rpc).collect();
    tried.sort();
    let missing: Vec<_> = all.iter().filter(|rpc| !tried.contains(&rpc.as_str())).collect();
    assert!(missing.is_empty(), "not in CALLS, the table of this test: {missing:?}");
    assert_eq!(tried, all, "an RPC of the table of this test is no more");
}

#[test]
fn texts_of_the_longest_length_are_taken_as_they_are() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let reason = "拿".repeat(500);
    let row = shop.cashier.row(&Shop::charge_sql(
        &shop.code(&ming),
        "1.00",
        &format!("'{reason}', jsonb_build_object('a', repeat('x', 8100))"),
    ));
    let stored = shop
        .superuser
        .row(&format!("select reason, length(tag ->> 'a') as n from app.transactions where id = {}", &row["tx_id"]));
    assert_eq!(stored.values(), [reason.as_str(), "8100"]);
    let deep = "(repeat('{\"a\":', 500) || '1' || repeat('}', 500))::jsonb";
    let row = shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "1.00", &format!("null, {deep}")));
    let same = shop.superuser.value(&format!("select tag = {deep} from app.transactions where id = {}", &row["tx_id"]));
    assert_eq!(same, "t");
}

#[test]
fn a_confirmations_payload_is_kept_as_it_came() {
    let shop = Shop::open();
    let ming = shop.member("0");
    for (i, payload) in [
        "'{\"fee\": 12345678901234567890.12, \"rate\": 0.10}'::jsonb",
        "'{\"huge\": 1e400}'::jsonb",
        "(repeat('{\"a\":', 200) || '1' || repeat('}', 200))::jsonb",
    ]
    .into_iter()
    .enumerate()
    {
        let number = shop.pending(&ming, "5.00");
        shop.backend.run(&format!("select * from app.confirm_recharge('{number}', 5.00, 'g-{i}', {payload})"));
        let kept = format!(
            "select context -> 'payload' = {payload} from audit.event_log where object_id = '{number}' and action = 'recharge.confirmed'"
        );
        assert_eq!(shop.superuser.value(&kept), "t", "{payload}");
    }
}

#[test]
fn tokens_and_statuses_are_those_of_http() {
    for (token, status) in TOKENS {
        assert!((400..500).contains(status), "{token}");
        assert!(token.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{token}");
    }
}

#[test]
fn an_error_inside_a_transaction_leaves_it_usable_after_a_savepoint() {
    let shop = Shop::open();
    let ming = shop.member("10.00");
    let code = shop.code(&ming);
    shop.cashier.run("begin");
    shop.cashier.run("savepoint before");
    assert_eq!(shop.cashier.failure(&Shop::charge_sql(&code, "10.01", "")).message, "INSUFFICIENT_BALANCE");
    shop.cashier.run("rollback to before");
    shop.cashier.run(&Shop::charge_sql(&code, "4.00", ""));
    shop.cashier.run("commit");
    assert_eq!(shop.balance(&ming.card), "6.00");
}
