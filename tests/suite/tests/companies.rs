//! Enterprise cards and who is bound to them; merchants and who operates them.

use mps_tests::{NULL, SHOP, Shop, nobody, q};

#[test]
fn the_seeds_binding_and_unbinding() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let row = shop.backend.row("select * from app.create_enterprise_card('长城公司')");
    assert_eq!(row.names(), ["card_id", "card_no"]);
    assert_eq!(&row["card_no"], "ENT00001");
    assert_eq!(
        shop.backend.value(&format!("select app.enterprise_add_member('ENT00001','{}','member')", ming.id)),
        "t"
    );
    let bound = "select enterprise_card_id, member_id, role, qr_hash, qr_expires_at from app.enterprise_card_bindings";
    assert_eq!(shop.superuser.row(bound).values(), [&row["card_id"], &ming.id.to_string(), "member", NULL, NULL]);
    assert_eq!(&shop.last_event("ENT00001")["action"], "card.member_bound");
    assert_eq!(shop.backend.value(&format!("select app.enterprise_remove_member('ENT00001','{}')", ming.id)), "t");
    assert_eq!(shop.superuser.rows(bound), []);
    assert_eq!(&shop.last_event("ENT00001")["action"], "card.member_unbound");
    let again =
        shop.backend.rows_moving_nothing(&format!("select app.enterprise_remove_member('ENT00001','{}')", ming.id));
    assert_eq!(again[0].values(), ["f"]);
}

#[test]
fn a_company_card_is_issued_with_its_discount_and_first_admin() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let row = shop.backend.row(&format!(
        "select * from app.create_enterprise_card(p_company_name => 'Great Wall', p_fixed_discount => 0.85, p_admin_member_id => '{}')",
        ming.id
    ));
    let card = format!(
        "select company_name, fixed_discount, balance, status, expires_at from app.enterprise_cards where id = '{}'",
        &row["card_id"]
    );
    assert_eq!(shop.superuser.row(&card).values(), ["Great Wall", "0.850", "0.00", "active", NULL]);
    let role = "select role from app.enterprise_card_bindings";
    assert_eq!(shop.superuser.value(role), "admin");
    assert_eq!(&shop.last_event(&row["card_no"])["action"], "card.issued");
    for bad in ["0", "-0.5", "1.001", "0.9999", "2", "null", "'NaN'", "'Infinity'", "1e10"] {
        shop.backend.refused("INVALID_ARGUMENT", &format!("select * from app.create_enterprise_card('x', {bad})"));
    }
    shop.backend
        .refused("MEMBER_NOT_FOUND", &format!("select * from app.create_enterprise_card('x', 1, '{}')", nobody()));
    shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id));
    shop.backend
        .refused("MEMBER_NOT_ACTIVE", &format!("select * from app.create_enterprise_card('x', 1, '{}')", ming.id));
    shop.db.user(ming.id).denied("select * from app.create_enterprise_card('x')");
}

#[test]
fn admins_bind_unbind_and_set_roles() {
    let shop = Shop::open();
    let (boss, anna, bob) = (shop.member("0"), shop.member("0"), shop.member("0"));
    let company = shop.company("1.000", "0", &boss);
    let add = |who: &mps_tests::Member, role: &str| {
        format!("select app.enterprise_add_member('{}', '{}', '{role}')", company.card_no, who.id)
    };
    let remove =
        |who: &mps_tests::Member| format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, who.id);
    let (bosses, annas, bobs) = (shop.db.user(boss.id), shop.db.user(anna.id), shop.db.user(bob.id));

    annas.refused("CARD_NOT_FOUND", &add(&anna, "admin")); // nobody makes itself admin
    assert_eq!(bosses.value(&add(&anna, "member")), "t");
    assert_eq!(bosses.rows_moving_nothing(&add(&anna, "member"))[0].values(), ["f"]);
    annas.refused("NOT_CARD_ADMIN", &add(&anna, "admin"));
    annas.refused("NOT_CARD_ADMIN", &add(&bob, "member"));
    annas.refused("NOT_CARD_ADMIN", &remove(&boss));
    bobs.refused("CARD_NOT_FOUND", &remove(&anna));
    bobs.refused("CARD_NOT_FOUND", &remove(&bob)); // nobody learns of a card by leaving it
    shop.db.anon().denied(&add(&bob, "member"));

    assert_eq!(bosses.value(&add(&anna, "admin")), "t");
    assert_eq!(annas.value(&add(&bob, "member")), "t");
    assert_eq!(annas.value(&add(&boss, "member")), "t"); // one admin demotes the other
    bosses.refused("NOT_CARD_ADMIN", &add(&bob, "admin"));
    assert_eq!(bobs.value(&remove(&bob)), "t"); // a member leaves
    assert_eq!(annas.value(&remove(&boss)), "t");
    let left = "select member_id || ' ' || role from app.enterprise_card_bindings";
    assert_eq!(shop.superuser.column(left), [format!("{} admin", anna.id)]);
}

#[test]
fn a_card_that_has_an_admin_keeps_one() {
    let shop = Shop::open();
    let (boss, anna) = (shop.member("0"), shop.member("0"));
    let company = shop.company("1.000", "0", &boss);
    shop.bind(&company, &anna, "member");
    let demote = format!("select app.enterprise_add_member('{}', '{}', 'member')", company.card_no, boss.id);
    let remove = format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, boss.id);
    for session in [&shop.db.user(boss.id), &shop.backend] {
        session.refused("LAST_ADMIN", &demote);
        session.refused("LAST_ADMIN", &remove);
    }
    shop.bind(&company, &anna, "admin");
    shop.backend.run(&remove);
    // A card without any admin, as it may be issued, has none to keep.
    let row = shop.backend.row("select * from app.create_enterprise_card('x')");
    shop.backend.run(&format!("select app.enterprise_add_member('{}', '{}')", &row["card_no"], anna.id));
    assert_eq!(
        shop.backend.value(&format!("select app.enterprise_remove_member('{}', '{}')", &row["card_no"], anna.id)),
        "t"
    );
}

#[test]
fn bindings_need_a_live_card_and_an_active_member() {
    let shop = Shop::open();
    let (boss, anna) = (shop.member("0"), shop.member("0"));
    let company = shop.company("1.000", "0", &boss);
    let add = |no: &str, id: &str, role: &str| format!("select app.enterprise_add_member({}, '{id}', {role})", q(no));
    let annas = anna.id.to_string();
    for no in ["ENT99999", "VIP00000001", "ENT0001", "x"] {
        shop.backend.refused("CARD_NOT_FOUND", &add(no, &annas, "'member'"));
        shop.backend.refused("CARD_NOT_FOUND", &format!("select app.enterprise_remove_member({}, '{annas}')", q(no)));
    }
    shop.backend.refused("MEMBER_NOT_FOUND", &add(&company.card_no, &nobody().to_string(), "'member'"));
    for role in ["'Admin'", "'owner'", "' '", "null"] {
        shop.backend.refused("INVALID_ARGUMENT", &add(&company.card_no, &annas, role));
    }
    shop.backend.run(&format!("select app.set_member_status('{annas}', 'suspended', 'x')"));
    shop.backend.refused("MEMBER_NOT_ACTIVE", &add(&company.card_no, &annas, "'member'"));
    shop.backend.run(&format!("select app.set_member_status('{annas}', 'active', 'x')"));
    // Who is suspended gets no new rights, but can be made less.
    shop.backend.run(&add(&company.card_no, &annas, "'admin'"));
    shop.backend.run(&format!("select app.set_member_status('{annas}', 'suspended', 'x')"));
    assert_eq!(shop.backend.value(&add(&company.card_no, &annas, "'member'")), "t");
    shop.backend.refused("MEMBER_NOT_ACTIVE", &add(&company.card_no, &annas, "'admin'"));
    shop.backend.run(&format!("select app.set_member_status('{annas}', 'active', 'x')"));
    shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{annas}')", company.card_no));
    shop.set_card(&company.card, "enterprise", "frozen");
    shop.backend.run(&add(&company.card_no, &annas, "'member'"));
    shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{annas}')", company.card_no));
    shop.set_card(&company.card, "enterprise", "closed");
    shop.backend.refused("CARD_NOT_ACTIVE", &add(&company.card_no, &annas, "'member'"));
}

#[test]
fn the_code_of_an_employee_goes_with_the_binding() {
    let shop = Shop::open();
    let (boss, anna) = (shop.member("0"), shop.member("0"));
    let company = shop.company("1.000", "100.00", &boss);
    shop.bind(&company, &anna, "member");
    let code = shop.company_code(&company, &anna);
    shop.backend.run(&format!("select app.enterprise_remove_member('{}', '{}')", company.card_no, anna.id));
    shop.bind(&company, &anna, "member");
    shop.cashier.refused("QR_EXPIRED_OR_INVALID", &Shop::charge_sql(&code, "1.00", ""));
    // A change of role leaves the code alone.
    let code = shop.company_code(&company, &anna);
    shop.bind(&company, &anna, "admin");
    shop.cashier.run(&Shop::charge_sql(&code, "1.00", ""));
}

#[test]
fn merchants_are_made_once_per_code() {
    let shop = Shop::open();
    let row = shop.backend.row("select * from app.create_merchant('SHOP-002', '第二家店')");
    assert_eq!(row.names(), ["merchant_id", "code"]);
    assert_eq!(&row["code"], "SHOP-002");
    assert_eq!(&shop.last_event("SHOP-002")["action"], "merchant.created");
    assert_eq!(shop.backend.rows_moving_nothing("select * from app.create_merchant('SHOP-002', '第二家店')"), [row]);
    shop.backend.refused("STATUS_CONFLICT", "select * from app.create_merchant('SHOP-002', 'another')");
    shop.cashier.denied("select * from app.create_merchant('SHOP-003', 'x')");
    shop.backend.run(&format!("select * from app.create_merchant('{}', '{}')", "码".repeat(64), "名".repeat(500)));
}

#[test]
fn a_merchant_is_switched_off_and_on() {
    let shop = Shop::open();
    let set = |active: &str| format!("select app.set_merchant_status('{SHOP}', {active}, 'x')");
    assert_eq!(shop.backend.rows_moving_nothing(&set("true"))[0].values(), ["f"]);
    assert_eq!(shop.backend.value(&set("false")), "t");
    assert_eq!(&shop.last_event(SHOP)["action"], "merchant.status_set");
    let ming = shop.member("0");
    let recharge = format!(
        "select * from app.user_recharge_personal_card('{}', 1, 'cash', p_merchant_code => '{SHOP}')",
        ming.card
    );
    shop.backend.refused("MERCHANT_INACTIVE", &recharge);
    assert_eq!(shop.backend.value(&set("true")), "t");
    shop.backend.run(&recharge);
    shop.backend.refused("INVALID_ARGUMENT", &set("null"));
    shop.backend.refused("MERCHANT_NOT_FOUND", "select app.set_merchant_status('SHOP-999', true, 'x')");
    shop.cashier.denied(&set("false"));
}

#[test]
fn who_may_make_whom_an_operator() {
    let shop = Shop::open();
    let (owner, admin, cashier) = (nobody(), nobody(), nobody());
    let set = |user: uuid::Uuid, role: &str| format!("select app.set_merchant_user('{SHOP}', '{user}', '{role}')");
    let remove = |user: uuid::Uuid| format!("select app.remove_merchant_user('{SHOP}', '{user}')");
    assert_eq!(shop.backend.value(&set(owner, "owner")), "t");
    assert_eq!(shop.backend.rows_moving_nothing(&set(owner, "owner"))[0].values(), ["f"]);
    assert_eq!(&shop.last_event(SHOP)["action"], "merchant.user_set");
    let (owners, admins, cashiers) = (shop.db.user(owner), shop.db.user(admin), shop.db.user(cashier));
    admins.refused("NOT_MERCHANT_USER", &set(admin, "admin"));
    assert_eq!(owners.value(&set(admin, "admin")), "t");
    assert_eq!(admins.value(&format!("select app.set_merchant_user('{SHOP}', '{cashier}')")), "t");
    let role = |user: uuid::Uuid| {
        shop.superuser.value(&format!("select role from app.merchant_users where user_id = '{user}'"))
    };
    assert_eq!((role(owner), role(admin), role(cashier)), ("owner".into(), "admin".into(), "cashier".into()));
    // An admin neither makes nor changes nor removes an owner; a cashier manages nobody.
    admins.refused("NOT_ALLOWED", &set(cashier, "owner"));
    admins.refused("NOT_ALLOWED", &set(admin, "owner"));
    admins.refused("NOT_ALLOWED", &set(owner, "cashier"));
    admins.refused("NOT_ALLOWED", &remove(owner));
    cashiers.refused("NOT_ALLOWED", &set(cashier, "admin"));
    cashiers.refused("NOT_ALLOWED", &remove(admin));
    let other = shop.another("SHOP-002");
    other.refused("NOT_MERCHANT_USER", &set(cashier, "admin"));
    shop.db.anon().denied(&set(cashier, "admin"));
    for bad in ["Owner", "boss", " "] {
        shop.backend.refused("INVALID_ARGUMENT", &set(cashier, bad));
    }
    shop.backend.refused("MERCHANT_NOT_FOUND", &set(cashier, "admin").replace(SHOP, "SHOP-999"));

    assert_eq!(admins.value(&remove(cashier)), "t");
    assert_eq!(&shop.last_event(SHOP)["action"], "merchant.user_removed");
    assert_eq!(admins.rows_moving_nothing(&remove(cashier))[0].values(), ["f"]);
    assert_eq!(owners.value(&remove(admin)), "t");
    admins.refused("NOT_MERCHANT_USER", &set(cashier, "cashier"));
}
