//! What errors say: to customers, and to whoever calls. The detail says what the hint promises of it.

use mps_tests::{Shop, nobody};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn customers_texts_speak_no_sql_and_punctuate_as_their_language_does() {
    let shop = Shop::open();
    let is_han = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    for row in shop.cashier.rows("select token, message_en, message_zh from app.error_codes") {
        for text in [&row["message_en"], &row["message_zh"]] {
            for sql in
                ["app.", "sec.", "audit.", "ALTER ", "SELECT ", "CALL ", "EXTENSION", "superuser", "超级用户", "执行 "]
            {
                assert!(!text.contains(sql), "{}: {sql} in {text}", &row["token"]);
            }
        }
        let zh: Vec<char> = row["message_zh"].chars().collect();
        assert_eq!(zh.last(), Some(&'。'), "{row:?}");
        for (i, c) in zh.iter().enumerate().filter(|(_, c)| ",.;:!?()".contains(**c)) {
            let beside = [i.checked_sub(1), Some(i + 1)].into_iter().flatten().filter_map(|at| zh.get(at));
            let is_chinese = beside.into_iter().any(|c| is_han(*c) || c.is_whitespace());
            assert!(!is_chinese, "{c} among Chinese: {}", &row["message_zh"]);
        }
    }
}

#[test]
fn a_setting_that_does_not_exist_is_named() {
    let shop = Shop::open();
    let update = |name: &str| {
        shop.backend.refused("INVALID_ARGUMENT", &format!("select app.update_settings(jsonb_build_object({name}, 1))"))
    };
    assert_eq!(update("'qr_ttl'").detail, "p_settings: there is no setting qr_ttl");
    assert!(update("'二维码'").detail.ends_with(" 二维码"));
    // However long or odd it is.
    let long = update("repeat('k', 8000)").detail;
    assert!(long.ends_with(&format!(" {}...", "k".repeat(64))), "{long}");
    assert!(update("e'a\\nb'").detail.ends_with(r" a\nb"));
}

#[test]
fn a_sub_that_is_no_uuid_is_told_so() {
    let shop = Shop::open();
    let user = shop.db.login("authenticator");
    let ming = shop.member("0");
    for (claims, told) in [
        (r#"{"sub": "auth0|5f7c8ec7c33c6c004bbafe82"}"#, true),
        (r#"{"sub": "admin"}"#, true),
        (r#"{"sub": ""}"#, false),
        (r#"{"sub": null}"#, false),
        (r#"{"role": "authenticated"}"#, false),
        ("not json", false),
        ("", false),
    ] {
        user.become_role("authenticated", claims);
        assert_eq!(user.value("select sec.uid()"), mps_tests::NULL, "{claims}");
        for sql in [
            "select * from app.register_member('x')".to_owned(),
            format!("select * from app.rotate_card_qr('{}')", ming.card),
        ] {
            let refusal = user.refused("NOT_AUTHENTICATED", &sql);
            assert_eq!(refusal.detail.contains("no UUID"), told, "{claims}: {refusal:?}");
            // What it is, is not repeated to whoever sees errors.
            assert!(!refusal.detail.contains("auth0"), "{refusal:?}");
        }
    }
}

/// Where the hint sends to the detail, it is never the token's own sentence once more.
#[test]
fn who_is_sent_to_the_detail_finds_something_there() {
    let shop = Shop::open();
    let (ming, cashier) = (shop.member("0"), shop.cashier_id);
    let owner = shop.db.user(nobody());
    let admin_id = nobody();
    shop.backend.run(&format!("select app.set_merchant_user('SHOP-001', '{admin_id}', 'admin')"));
    let admin = shop.db.user(admin_id);
    let set_user = |role: &str| format!("select app.set_merchant_user('SHOP-001', '{cashier}', '{role}')");
    shop.backend.run(&format!("select app.set_member_status('{}', 'closed', 'x')", ming.id));
    let refusals = [
        shop.cashier.refused("NOT_ALLOWED", &set_user("admin")),
        admin.refused("NOT_ALLOWED", &set_user("owner")),
        owner.refused("NOT_ALLOWED", &format!("select * from app.register_member('x', p_user_id => '{}')", nobody())),
        shop.backend.refused("STATUS_CONFLICT", &format!("select app.set_member_status('{}', 'active', 'x')", ming.id)),
        shop.backend
            .refused("STATUS_CONFLICT", &format!("select app.set_card_expiry('{}', 'personal', null, 'x')", ming.card)),
        shop.backend
            .refused("STATUS_CONFLICT", &format!("select * from app.replace_card('{}', 'x')", shop.member("0").card)),
        shop.backend.refused("INVALID_ARGUMENT", "select * from app.user_recharge_personal_card(null, 1)"),
    ];
    let own: Vec<String> = shop.superuser.column("select split_part(message_en, '. ', 1) || '.' from app.error_codes");
    for refusal in refusals {
        assert!(refusal.hint.contains("detail"), "{refusal:?}");
        assert!(!own.contains(&refusal.detail), "the detail says no more than the message: {refusal:?}");
    }
    // And nobody raises one of these without saying what is the matter.
    let sent: Vec<String> = shop
        .superuser
        .column("select replace(initcap(replace(token, '_', ' ')), ' ', '') from app.error_codes where message_en ~* 'see the detail'");
    assert_eq!(sent.len(), 7, "{sent:?}");
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src")) {
        let text = fs::read_to_string(&file).unwrap();
        let code: String = text.split_whitespace().collect();
        for token in &sent {
            for bare in
                [format!("Token::{token}.into()"), format!(",Token::{token})"), format!("ok_or(Token::{token})")]
            {
                assert!(!code.contains(&bare), "{}: {bare}", file.display());
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let inside = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    inside
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}
