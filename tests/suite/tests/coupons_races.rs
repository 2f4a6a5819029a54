//! Coupons at the same instant: limits are exact, edits and pauses come before or after.

use mps_tests::{Failure, Member, Row, Session, Shop, Waiting, q, together};
use std::thread;

fn active(shop: &Shop, code: &str, more: &str) {
    let coupon =
        format!(r#"{{"code": "{code}", "name": "x", "kind": "amount_off", "value": 5, "claimable": true{more}}}"#);
    shop.backend.run(&format!("select * from app.create_coupon({})", q(coupon)));
    shop.backend.run(&status_sql(code, "active"));
}

fn status_sql(code: &str, status: &str) -> String {
    format!("select * from app.set_coupon_status('{code}', '{status}', 'x')")
}

fn issue_sql(code: &str, member: &Member, more: &str) -> String {
    format!("select * from app.issue_coupon('{code}', '{}'{more})", member.id)
}

#[track_caller]
fn books_hold(shop: &Shop) {
    assert_eq!(shop.superuser.rows("select * from app.verify_books() where ok is not true"), [] as [Row; 0]);
}

/// The isolation levels that a session may choose.
const ISOLATIONS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

/// What a session gets that claims again and again until there are none left: how many.
fn until_there_are_none(session: &Session, sql: &str) -> usize {
    let mut got = 0;
    loop {
        match session.try_rows(sql) {
            Ok(rows) => got += rows.len(),
            Err(failure) if failure.message == "COUPON_LIMIT" => return got,
            // Somebody was faster, under a stricter isolation level: once more.
            Err(failure) => assert_eq!(failure.code, "40001", "{failure:?}"),
        }
    }
}

#[test]
fn sixteen_who_claim_a_thousand_get_exactly_a_thousand() {
    for isolation in ISOLATIONS {
        let shop = Shop::open();
        active(&shop, "T", r#", "issue_limit": 1000"#);
        let sessions: Vec<Session> = (0..16)
            .map(|_| {
                let session = shop.db.user(shop.member("0").id);
                session.run(&format!("set default_transaction_isolation = '{isolation}'"));
                session
            })
            .collect();
        let claims: Vec<_> = sessions
            .into_iter()
            .map(|session| thread::spawn(move || until_there_are_none(&session, "select * from app.claim_coupon('T')")))
            .collect();
        let got: usize = claims.into_iter().map(|claim| claim.join().expect("the thread lives")).sum();
        assert_eq!(got, 1000, "{isolation}");
        let counted = "select issued || ' ' || (select count(*) from app.member_coupons) || ' ' \
                       || (select count(distinct id) from app.member_coupons) from app.coupons";
        assert_eq!(shop.superuser.value(counted), "1000 1000 1000", "{isolation}");
        books_hold(&shop);
    }
}

#[test]
fn a_members_limit_holds_over_all_its_connections() {
    let shop = Shop::open();
    for isolation in ISOLATIONS {
        let (ming, code) = (shop.member("0"), isolation.replace(' ', "-"));
        active(&shop, &code, r#", "per_member_limit": 3"#);
        let jobs = (0..8).map(|_| {
            let session = shop.db.user(ming.id);
            session.run(&format!("set default_transaction_isolation = '{isolation}'"));
            (session, format!("select * from app.claim_coupon('{code}')"))
        });
        let answers = together(jobs.collect());
        for failure in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert!(failure.message == "COUPON_LIMIT" || failure.code == "40001", "{failure:?}");
        }
        let won = answers.iter().filter(|answer| answer.is_ok()).count();
        let had =
            shop.superuser.value(&format!("select count(*) from app.member_coupons where member_id = '{}'", ming.id));
        assert_eq!(had, won.to_string());
        assert!(won <= 3 && (won == 3 || isolation != "read committed"), "{isolation}: {won}");
    }
    books_hold(&shop);
}

#[test]
fn one_request_at_the_same_instant_is_done_once() {
    let shop = Shop::open();
    let ming = shop.member("0");
    active(&shop, "K", "");
    let issue = issue_sql("K", &ming, ", 2, 'k'");
    let answers = together((0..6).map(|_| (shop.db.backend(), issue.clone())).collect());
    let rows: Vec<Vec<Row>> = answers.into_iter().map(|answer| answer.expect("an answer")).collect();
    let codes = |rows: &Vec<Row>| rows.iter().map(|row| row["coupon_code"].to_owned()).collect::<Vec<_>>();
    assert!(rows.iter().all(|answer| codes(answer) == codes(&rows[0])));
    assert_eq!(rows.iter().filter(|answer| &answer[0]["replayed"] == "f").count(), 1);
    let claim = "select * from app.claim_coupon('K', 'c')";
    let answers = together((0..6).map(|_| (shop.db.user(ming.id), claim.to_owned())).collect());
    assert_eq!(answers.iter().filter(|answer| &answer.as_ref().expect("an answer")[0]["replayed"] == "f").count(), 1);
    assert_eq!(shop.superuser.value("select issued from app.coupons"), "3");
    books_hold(&shop);
}

#[test]
fn two_edits_come_one_after_the_other() {
    let shop = Shop::open();
    active(&shop, "E", r#", "budget_amount": 16"#);
    for round in 1..=5 {
        let edit = |change: &str| format!("select * from app.update_coupon('E', {})", q(change));
        let jobs = vec![
            (shop.db.backend(), edit(&format!(r#"{{"min_spend": {round}}}"#))),
            (shop.db.backend(), edit(&format!(r#"{{"max_discount": {round}, "budget_amount": {}}}"#, 16 + round))),
        ];
        let mut versions: Vec<String> = together(jobs)
            .into_iter()
            .map(|answer| answer.expect("an answer")[0]["terms_version"].to_owned())
            .collect();
        versions.sort_by_key(|version| version.parse::<i32>().expect("a number"));
        assert_eq!(versions, [(2 * round).to_string(), (2 * round + 1).to_string()]);
        // Neither has lost what the other changed.
        let newest = "select min_spend || ' ' || max_discount || ' ' || budget_amount || ' ' \
                      || (select sum(left_amount) from app.coupon_budget_parts) from app.coupon_terms order by version desc limit 1";
        assert_eq!(shop.superuser.value(newest), format!("{round}.00 {round}.00 {0}.00 {0}.00", 16 + round));
    }
    books_hold(&shop);
}

#[test]
fn what_is_paused_meanwhile_is_not_issued() {
    let shop = Shop::open();
    let ming = shop.member("0");
    active(&shop, "P", "");
    let holder = shop.db.backend();
    holder.run("begin");
    holder.run(&status_sql("P", "paused"));
    let issue = Waiting::behind(shop.db.backend(), &holder, &shop.superuser, issue_sql("P", &ming, ""));
    let claim = Waiting::start(shop.db.user(ming.id), &shop.superuser, "select * from app.claim_coupon('P')".into());
    holder.run("commit");
    issue.end().expect_err("paused").must_be("STATUS_CONFLICT", "issue");
    claim.end().expect_err("paused").must_be("COUPON_NOT_FOUND", "claim");
    // The other way round: what was issued before it is there, and the pause is, too.
    shop.backend.run(&status_sql("P", "active"));
    holder.run("begin");
    holder.run(&issue_sql("P", &ming, ""));
    let pause = Waiting::behind(shop.db.backend(), &holder, &shop.superuser, status_sql("P", "paused"));
    holder.run("commit");
    assert_eq!(&pause.end().expect("paused")[0]["status"], "paused");
    assert_eq!(shop.superuser.value("select issued from app.coupons"), "1");
    // A limit that an edit lowers meanwhile counts.
    shop.backend.run(&status_sql("P", "active"));
    holder.run("begin");
    holder.run(r#"select * from app.update_coupon('P', '{"issue_limit": 1}')"#);
    let issue = Waiting::behind(shop.db.backend(), &holder, &shop.superuser, issue_sql("P", &ming, ""));
    holder.run("commit");
    issue.end().expect_err("at the limit").must_be("COUPON_LIMIT", "issue");
    books_hold(&shop);
}

#[test]
fn who_is_suspended_meanwhile_gets_none() {
    let shop = Shop::open();
    let ming = shop.member("0");
    active(&shop, "S", "");
    let holder = shop.db.backend();
    holder.run("begin");
    holder.run(r#"select * from app.update_coupon('S', '{"min_spend": 1}')"#);
    let issue = Waiting::behind(shop.db.backend(), &holder, &shop.superuser, issue_sql("S", &ming, ""));
    shop.backend.run(&format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id));
    holder.run("commit");
    issue.end().expect_err("suspended").must_be("MEMBER_NOT_ACTIVE", "issue");
    books_hold(&shop);
}

#[test]
fn one_is_taken_back_once() {
    let shop = Shop::open();
    let ming = shop.member("0");
    active(&shop, "R", "");
    let code = &shop.backend.row(&issue_sql("R", &ming, ""))["coupon_code"].to_owned();
    let revoke = format!("select app.revoke_coupon('{code}', 'x') as changed");
    let answers: Vec<Result<Vec<Row>, Failure>> =
        together((0..4).map(|_| (shop.db.backend(), revoke.clone())).collect());
    let changed = answers.iter().filter(|answer| &answer.as_ref().expect("an answer")[0]["changed"] == "t").count();
    assert_eq!(changed, 1);
    assert_eq!(shop.superuser.value("select count(*) from audit.event_log where action = 'coupon.revoked'"), "1");
    books_hold(&shop);
}

#[test]
fn two_who_give_it_to_all_give_each_one() {
    let shop = Shop::open();
    (0..12).for_each(|_| drop(shop.member("0")));
    active(&shop, "A", "");
    let jobs = (0..3).map(|_| (shop.db.superuser(), "call app.issue_coupon_to_all('A')".to_owned()));
    for answer in together(jobs.collect()) {
        answer.expect("done");
    }
    let had = "select count(*) || ' ' || count(distinct member_id) from app.member_coupons";
    assert_eq!(shop.superuser.value(had), "12 12");
    books_hold(&shop);
}
