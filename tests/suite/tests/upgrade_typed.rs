//! What an upgrade does to cards and codes that are there, and to who becomes a member. The old releases are the real ones.

use mps_tests::releases::before;
use mps_tests::{Db, NULL, q};

#[test]
fn codes_and_cards_of_before_stay_good_and_anonymous_users_are_seen_to() {
    let Some(old) = before("0.3.0").last() else { return };
    for users_are_busy in [false, true] {
        let mut db = Db::empty();
        let s = db.superuser_with(&old.options);
        s.run(
            "create schema auth; create table auth.users (id uuid primary key, email text, phone text, raw_user_meta_data jsonb, \
             is_anonymous boolean not null default false)",
        );
        s.run(&format!("create extension mps version '{}'; select app.enable_supabase_signup()", old.version));
        s.run("select * from app.create_merchant('SHOP-001', 'x')");
        let ming = s.row("select * from app.register_member('x')");
        let card = &ming["card_id"];
        s.run(&format!("select * from app.user_recharge_personal_card('{card}', 100.00, 'cash')"));
        let code = s.row(&format!("select * from app.rotate_card_qr('{card}')"))["qr_plain"].to_owned();
        drop(s);

        let busy = db.superuser();
        if users_are_busy {
            busy.run("begin; lock table auth.users in row exclusive mode");
        }
        let s = db.superuser();
        db.with_books();
        s.run("alter extension mps update");
        busy.run("commit");
        assert_eq!(s.value("select app.get_settings() ->> 'signup_anonymous'"), "false");
        let health = "select ok from app.health() where check_name = 'signup'";
        if users_are_busy {
            // Nothing waits for us for long; it is said, and made good by one statement.
            assert_eq!(s.value(health), "f");
            assert_eq!(s.value("select app.enable_supabase_signup()"), "t");
        }
        assert_eq!(s.value(health), "t");
        s.run("insert into auth.users (id, is_anonymous) select gen_random_uuid(), true");
        assert_eq!(s.value("select count(*) from app.member_profiles"), "1");
        s.run("update auth.users set is_anonymous = false");
        assert_eq!(s.value("select count(*) from app.member_profiles"), "2");

        let sent = q(format!(" {}\n", code.to_lowercase()));
        s.run(&format!("select * from app.merchant_charge_by_qr('SHOP-001', {sent}, 1.00)"));
        assert_eq!(s.value(&format!("select app.bucket_of_card('{card}')")), NULL);
        s.run(&format!("select app.set_card_status('{card}', 'personal', 'lost', 'x')"));
        let new = s.row(&format!("select * from app.replace_card('{card}', 'x')"));
        let same = format!(
            "select app.bucket_of_card('{}') = (get_byte(sha256(uuid_send('{}')), 0) & 63) + 1",
            &new["card_id"], &ming["member_id"]
        );
        assert_eq!(s.value(&same), "t");
        s.run(&format!(
            "select app.set_card_expiry('{}', 'personal', null, 'x', p_expires_on => '2090-12-31')",
            &new["card_id"]
        ));
    }
}
