//! What people type and send: empty texts, white space around them, the case of codes and numbers. Every text argument of every
//! RPC, as the catalog lists them, so that a new one has to say here what it is.

use mps_sender::bill;
use mps_tests::{Row, Session, Shop, nobody, q};

/// How a text argument is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reads {
    /// As it is, but for the white space around it.
    Trimmed,
    /// One of our own numbers or codes: also in any case and width.
    Number,
    /// As it is; white space alone is nothing.
    Words,
    /// As it is, all of it.
    Exactly,
}

fn reads(argument: &str) -> Reads {
    match argument {
        "p_name"
        | "p_company_name"
        | "p_phone"
        | "p_email"
        | "p_code"
        | "p_merchant_code"
        | "p_gateway_trade_no"
        | "p_gateway_refund_no"
        | "p_account" => Reads::Trimmed,
        "p_qr_plain" | "p_tx_no" | "p_original_tx_no" | "p_card_no" | "p_before" | "p_refund_no" | "p_coupon_code" => {
            Reads::Number
        }
        "p_reason" | "p_note" => Reads::Words,
        "p_idempotency_key" | "p_external_order_id" => Reads::Exactly,
        "p_card_type" | "p_role" | "p_kind" | "p_status" | "p_resolution" | "p_payment_method" | "p_payout" => {
            Reads::Exactly
        }
        other => panic!("how is {other} read? Say so here"),
    }
}

/// An argument of an RPC.
#[derive(Debug)]
struct Argument {
    name: String,
    is_text: bool,
    is_optional: bool,
}

/// The RPCs with their arguments, as the catalog has them; but for what operators and superusers call, and what wants a signed head
/// (`receipts.rs`).
fn rpcs(s: &Session) -> Vec<(String, Vec<Argument>)> {
    let names = s.column(
        "select p.proname from pg_proc p join pg_language l on l.oid = p.prolang \
         where p.pronamespace = 'app'::regnamespace and p.prokind = 'f' and l.lanname = 'c' and p.provolatile <> 'i' \
           and p.proname !~ '_batch$' and p.proname <> 'error_list' \
           and has_function_privilege('service_role', p.oid, 'execute') \
           and p.proname not in ('set_mode', 'tx_proof', 'liability_proof', 'head_proof') order by 1",
    );
    assert!(names.len() >= 25, "{names:?}");
    let arguments = |rpc: &String| {
        s.rows(&format!(
            "select a.name, p.proargtypes[a.n - 1] = 'text'::regtype as text, a.n > p.pronargs - p.pronargdefaults as optional \
             from pg_proc p, unnest(p.proargnames) with ordinality a (name, n) \
             where p.oid = 'app.{rpc}'::regproc and a.n <= p.pronargs order by a.n"
        ))
        .iter()
        // One of the two names the payment: here the number; the order is in cancel_payments.rs.
        .filter(|a| rpc != "cancel_payment" || &a["name"] != "p_external_order_id")
        .map(|a| Argument {
            name: a["name"].into(),
            is_text: &a["text"] == "t",
            is_optional: &a["optional"] == "t" && (rpc != "cancel_payment" || &a["name"] != "p_tx_no"),
        })
        .collect()
    };
    names.iter().map(|rpc| (rpc.clone(), arguments(rpc))).collect()
}

/// What there is to call RPCs about.
struct World {
    shop: Shop,
    user: uuid::Uuid,
    values: Vec<(&'static str, String)>,
}

impl World {
    fn open() -> World {
        let shop = Shop::open();
        let (ming, other, lost) = (shop.member("100.00"), shop.member("0"), shop.member("0"));
        let company = shop.company("1.000", "10.00", &ming);
        shop.bind(&company, &shop.member("0"), "admin");
        let paid = shop.charge(&ming, "10.00")["tx_no"].to_owned();
        let waiting = shop.pending(&ming, "5.00");
        let settled = shop.pending(&ming, "6.00");
        for trade in ["once", "twice"] {
            shop.backend.run(&format!("select * from app.confirm_recharge('{settled}', 6.00, '{trade}')"));
        }
        let withdrawn = format!("select refund_no from app.withdraw('{}', 4, 'x', 'w')", ming.card);
        let refund = shop.backend.value(&withdrawn);
        shop.set_card(&lost.card, "personal", "lost");
        let code = shop.code(&ming);
        shop.superuser.run(&mps_sender::set_up());
        shop.backend.row(&mps_sender::wechat("ELSE", &serde_json::json!({})).sql("wechat"));
        let day = "2026-11-26";
        let content = bill::wechat(day, &[bill::Line::payment("4200001", "a-stranger-s", 100)]);
        shop.backend.row(&bill::import("wechat", day, "trade", &content));
        shop.backend.rows(&format!("select * from app.reconcile('wechat', '{day}')"));
        let item = shop.superuser.value("select id from app.recon_items");
        shop.backend.row(&bill::import("wechat", "2026-11-24", "trade", &bill::wechat("2026-11-24", &[])));
        let bill = content.iter().fold("\\x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"));
        let terms = r#"{"code": "C1", "name": "x", "kind": "amount_off", "value": 1, "claimable": true}"#;
        shop.backend.run(&format!("select * from app.create_coupon('{terms}')"));
        shop.backend.run("select * from app.set_coupon_status('C1', 'active', 'x')");
        let campaign = r#"{"code": "K1", "name": "x", "kind": "points_multiplier", "value": 2}"#;
        shop.backend.run(&format!("select * from app.create_campaign('{campaign}')"));
        let issued = format!("select coupon_code from app.issue_coupon('C1', '{}')", ming.id);
        let values = vec![
            ("create_campaign.p_campaign", campaign.replace("K1", "K2")),
            ("update_campaign.p_campaign", r#"{"value": 3}"#.into()),
            ("update_campaign.p_code", "K1".into()),
            ("set_campaign_status.p_code", "K1".into()),
            ("set_campaign_status.p_status", "active".into()),
            ("campaign_report.p_code", "K1".into()),
            ("p_coupon_code", shop.backend.value(&issued)),
            ("create_coupon.p_coupon", terms.replace("C1", "C2")),
            ("update_coupon.p_coupon", r#"{"value": 2}"#.into()),
            ("update_coupon.p_code", "C1".into()),
            ("set_coupon_status.p_code", "C1".into()),
            ("set_coupon_status.p_status", "paused".into()),
            ("issue_coupon.p_code", "C1".into()),
            ("claim_coupon.p_code", "C1".into()),
            ("replace_card.p_card_id", lost.card),
            ("p_refund_no", refund),
            ("confirm_withdrawal.p_amount", "4.00".into()),
            ("p_gateway_refund_no", "r-1".into()),
            ("confirm_recharge.p_tx_no", waiting.clone()),
            ("confirm_recharge.p_amount", "5.00".into()),
            ("confirm_recharge.p_payment_method", "alipay".into()),
            ("fail_recharge.p_tx_no", waiting),
            ("set_card_status.p_status", "frozen".into()),
            ("set_member_status.p_status", "suspended".into()),
            ("set_merchant_user.p_role", "owner".into()),
            ("enterprise_add_member.p_role", "admin".into()),
            ("enterprise_remove_member.p_member_id", ming.id.to_string()),
            ("register_member.p_user_id", nobody().to_string()),
            ("p_user_id", shop.cashier_id.to_string()),
            ("p_member_id", other.id.to_string()),
            ("p_card_id", ming.card.clone()),
            ("p_personal_card_id", ming.card),
            ("p_enterprise_card_id", company.card),
            ("p_card_no", company.card_no),
            ("p_card_type", "personal".into()),
            ("p_tx_no", paid.clone()),
            ("p_original_tx_no", paid.clone()),
            ("p_before", paid),
            ("p_qr_plain", code),
            ("p_merchant_code", mps_tests::SHOP.into()),
            ("p_suspense_id", shop.superuser.value("select id from app.suspense_payments")),
            ("p_resolution", "written_off".into()),
            ("p_payment_method", "alipay".into()),
            ("p_gateway_trade_no", "g-1".into()),
            ("p_idempotency_key", "key-1".into()),
            ("p_external_order_id", "order-1".into()),
            ("p_code", "NEW-1".into()),
            ("p_name", "小明".into()),
            ("p_company_name", "长城".into()),
            ("p_phone", "138 0000 0000".into()),
            ("p_email", "a@example.org".into()),
            ("p_reason", "because".into()),
            ("p_note", "because".into()),
            ("withdraw.p_payout", "cash".into()),
            ("p_amount", "1.00".into()),
            ("p_refund_amount", "1.00".into()),
            ("p_excluded_amount", "1.00".into()),
            ("p_change", "1".into()),
            ("p_active", "false".into()),
            ("p_at", "2026-01-01 00:00:00+00".into()),
            ("p_expires_at", "2090-01-01 00:00:00+00".into()),
            ("p_settings", "{}".into()),
            ("p_account", "wechat".into()),
            ("p_headers", "{}".into()),
            ("p_body", "x".into()),
            ("close_recon_day.p_bill_date", "2026-11-24".into()),
            ("p_bill_date", "2026-11-26".into()),
            ("p_kind", "trade".into()),
            ("p_content", bill),
            ("resolve_recon_item.p_resolution", "explained".into()),
            ("resolve_recon_item.p_id", item),
            ("p_id", shop.superuser.value("select id from app.gateway_events")),
        ];
        World { shop, user: ming.id, values }
    }

    fn value(&self, rpc: &str, argument: &str) -> &str {
        let of = |name: &str| self.values.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
        of(&format!("{rpc}.{argument}"))
            .or_else(|| of(argument))
            .unwrap_or_else(|| panic!("no value for {argument} of {rpc}"))
    }

    /// A call with what is required, and one argument of its own.
    fn call(&self, rpc: &str, arguments: &[Argument], special: Option<(&str, &str)>) -> String {
        let given = arguments.iter().filter_map(|a| match special {
            Some((name, value)) if name == a.name => Some((a.name.as_str(), value)),
            _ => (!a.is_optional).then(|| (a.name.as_str(), self.value(rpc, &a.name))),
        });
        let given: Vec<String> = given.map(|(name, value)| format!("{name} => {}", q(value))).collect();
        format!("select * from app.{rpc}({})", given.join(", "))
    }

    /// What a call answers and what it leaves in the tables, without what differs each time. Nothing of it stays.
    fn outcome(&self, sql: &str) -> Vec<String> {
        let s = &self.shop.superuser;
        s.run("begin");
        if sql.contains("app.usage_page(") {
            // One's own page, whoever asks.
            s.run(&format!("set local request.jwt.claims = '{{\"sub\": \"{}\"}}'", self.user));
        }
        // Where nothing is new, the last row is none of this call's.
        let (tx, event) =
            (s.value("select last_value from app.tx_no_seq"), s.value("select last_value from audit.event_id_seq"));
        if sql.contains("app.claim_coupon(") {
            s.run(&format!(
                "set local request.jwt.claims = '{{\"sub\": \"{}\"}}'; set local role authenticated",
                self.user
            ));
        }
        let answer = s.rows(sql);
        s.run("reset role");
        let mut outcome: Vec<String> = answer.iter().map(|row| format!("{:?}", settled(row).values())).collect();
        outcome.extend(s.column(&format!(
            "select jsonb_build_object('amount', t.raw_amount, 'method', t.payment_method, 'merchant', t.merchant_id, 'reason', t.reason, \
                    'key', t.idempotency_key, 'order', t.external_order_id, 'trade', t.gateway_trade_no, 'status', t.status) \
             from app.transactions t where t.id % 100000000000 > {tx}"
        )));
        outcome.extend(s.column(&format!(
            "select action || (context - '{{ids,valid_from,card_no,card,card_id,by,member_id,merchant_id,out,into,returned}}'::text[] \
                    - case when action = 'withdrawal.asked' then 'tx_no' else '' end)::text \
             from audit.event_log where id > {event}"
        )));
        outcome.extend(s.column(
            "select format('%s %s %s', name, phone, email) from app.member_profiles order by created_at desc limit 1",
        ));
        outcome.extend(s.column("select format('%s %s', code, name) from app.merchants order by id desc limit 1"));
        outcome.extend(s.column("select company_name from app.enterprise_cards order by created_at desc limit 1"));
        outcome.extend(s.column("select format('%s %s', user_id, role) from app.merchant_users order by 1"));
        outcome
            .extend(s.column("select format('%s %s', member_id, role) from app.enterprise_card_bindings order by 1"));
        s.run("rollback");
        outcome
    }
}

/// An answer without what is new each time.
fn settled(row: &Row) -> Row {
    row.without(&[
        "coupon_code",
        "valid_from",
        "tx_id",
        "refund_tx_id",
        "refund_tx_no",
        "closed_at",
        "returned_tx_no",
        "refund_no",
        "created_at",
        "posted_at",
        "member_id",
        "member_no",
        "card_id",
        "card_no",
        "qr_plain",
        "qr_expires_at",
        "merchant_id",
        "tx_no",
        "out_refund_no",
    ])
}

const WHITE: &str = "\u{3000}\t \u{a0}\u{2028}\r\n";

#[test]
fn an_optional_text_that_is_empty_is_not_given() {
    let world = World::open();
    let mut tried = 0;
    for (rpc, arguments) in rpcs(&world.shop.superuser) {
        for a in arguments.iter().filter(|a| a.is_text && a.is_optional) {
            let without = world.outcome(&world.call(&rpc, &arguments, None));
            let mut empties = vec![""];
            if reads(&a.name) != Reads::Exactly {
                empties.push(WHITE);
            }
            for empty in empties {
                let sql = world.call(&rpc, &arguments, Some((&a.name, empty)));
                assert_eq!(world.outcome(&sql), without, "{sql}");
                tried += 1;
            }
            // It is an argument that says something, if it says anything.
            let sql = world.call(&rpc, &arguments, Some((&a.name, world.value(&rpc, &a.name))));
            world.outcome(&sql);
        }
    }
    assert!(tried >= 25, "{tried} arguments");
}

#[test]
fn a_required_text_that_is_empty_is_an_invalid_argument() {
    let world = World::open();
    let mut tried = 0;
    for (rpc, arguments) in rpcs(&world.shop.superuser) {
        for a in arguments.iter().filter(|a| a.is_text && !a.is_optional) {
            for empty in ["", WHITE] {
                let sql = world.call(&rpc, &arguments, Some((&a.name, empty)));
                let failure = match rpc.as_str() {
                    "claim_coupon" => world.shop.db.user(world.user).failure(&sql),
                    _ => world.shop.backend.failure(&sql),
                };
                failure.must_be("INVALID_ARGUMENT", &sql);
                assert!(failure.detail.contains(&a.name), "{sql}: {failure:?}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 50, "{tried} arguments");
}

#[test]
fn white_space_around_what_people_type_is_not_part_of_it() {
    let world = World::open();
    for (rpc, arguments) in rpcs(&world.shop.superuser) {
        for a in arguments.iter().filter(|a| a.is_text) {
            let right = world.value(&rpc, &a.name);
            let mut typed = vec![format!("{WHITE}{right}{WHITE}")];
            match reads(&a.name) {
                Reads::Trimmed => {}
                Reads::Number => {
                    typed.push(right.to_lowercase());
                    typed.push(format!("{WHITE}{}\n", right.to_lowercase()));
                    typed.push(right.chars().map(|c| char::from_u32(c as u32 + 0xFEE0).unwrap()).collect());
                }
                Reads::Words | Reads::Exactly => continue,
            }
            let plain = world.outcome(&world.call(&rpc, &arguments, Some((&a.name, right))));
            for typed in typed {
                let sql = world.call(&rpc, &arguments, Some((&a.name, &typed)));
                assert_eq!(world.outcome(&sql), plain, "{sql}");
            }
        }
    }
}

#[test]
fn what_is_inside_a_text_stays() {
    let shop = Shop::open();
    let id = nobody();
    shop.backend.run(&format!("select * from app.register_member(' 小 明 ', '138 0000 0000', null, '{id}')"));
    let row = shop.superuser.row(&format!("select name, phone from app.member_profiles where id = '{id}'"));
    assert_eq!(row.values(), ["小 明", "138 0000 0000"]);
    shop.backend.refused("INVALID_ARGUMENT", "select * from app.create_merchant('A B', 'x')");
    // The limit is of what remains.
    shop.backend.run(r"select * from app.register_member(' ' || repeat('x', 500) || e'\n')");
    shop.backend.refused("INVALID_ARGUMENT", "select * from app.register_member(repeat('x', 501))");
    // White space inside a number, and zeros that are none of it.
    let ming = shop.member("10.00");
    let paid = shop.charge(&ming, "1.00")["tx_no"].to_owned();
    for wrong in [format!("{} {}", &paid[..6], &paid[6..]), format!("{}0{}", &paid[..6], &paid[6..])] {
        shop.backend.refused("TX_NOT_FOUND", &format!("select * from app.tx_by_no('{wrong}')"));
    }
    // A merchant that an older release made with white space around its name is the same merchant.
    shop.superuser.run("update app.merchants set name = name || ' '");
    shop.backend.run("select * from app.create_merchant('SHOP-001', 'Corner Coffee ')");
}

#[test]
fn a_request_with_an_empty_key_or_order_is_the_one_without() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let charge = |more: &str| shop.cashier.row(&Shop::charge_sql(&shop.code(&ming), "1.00", more));
    let first = charge("p_idempotency_key => 'k', p_external_order_id => ''");
    let again = charge("p_idempotency_key => 'k'");
    assert_eq!((&again["replayed"], &again["tx_no"]), ("t", &first["tx_no"]));
    let (a, b) = (charge("p_idempotency_key => ''"), charge("p_idempotency_key => ''"));
    assert_ne!(&a["tx_no"], &b["tx_no"]);
    let user = shop.db.user(ming.id);
    let recharge =
        |more: &str| user.row(&format!("select * from app.user_recharge_personal_card('{}', 5.00{more})", ming.card));
    let first = recharge(", p_external_order_id => 'o', p_idempotency_key => '', p_merchant_code => ''");
    let again = recharge(", 'wechat', p_external_order_id => 'o', p_reason => ''");
    assert_eq!((&again["replayed"], &again["tx_no"]), ("t", &first["tx_no"]));
    // White space alone is no key that anybody meant.
    user.refused(
        "INVALID_ARGUMENT",
        &format!("select * from app.user_recharge_personal_card('{}', 5.00, p_idempotency_key => ' ')", ming.card),
    );
}

#[test]
fn a_pay_code_pays_however_the_scanner_sends_it_and_once() {
    let shop = Shop::open();
    let ming = shop.member("100.00");
    let company = shop.company("1.000", "100.00", &ming);
    for code in [shop.code(&ming), shop.company_code(&company, &ming)] {
        assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{code}");
        let sent = format!("{}\r\n", code.to_lowercase());
        shop.cashier.run(&Shop::charge_sql(&sent, "1.00", ""));
        for again in [&sent, &code] {
            shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(again, "1.00", ""));
        }
    }
    // What is stored is what earlier releases stored, so that their codes are good until they end.
    let code = shop.code(&ming);
    let stored = shop
        .superuser
        .value(&format!("select qr_hash = sha256('{code}') from app.personal_cards where id = '{}'", ming.card));
    assert_eq!(stored, "t");
}
