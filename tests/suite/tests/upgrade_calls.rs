//! Calls that are under way in an old library while `ALTER EXTENSION mps UPDATE` runs: those that have written are waited for,
//! those that come to write later are held to the rules of now, and what earlier upgrades left is mended.

use mps_tests::releases::{Old, before, copy, installed, old_backend, old_releases, schema_version};
use mps_tests::{Db, Failure, Row, Session, Shop, Waiting, claims, q};
use uuid::Uuid;

const UPDATE: &str = "alter extension mps update";

/// The two kinds of cards, by the RPC that asks for a recharge.
const REQUESTS: [&str; 2] = ["user_recharge_personal_card", "user_recharge_enterprise_card_admin"];

/// A database of an old release: a member with a personal card who is the admin of a company's.
struct OldShop {
    db: Db,
    options: String,
    member: Uuid,
    cards: [String; 2],
}

impl OldShop {
    fn open(old: &Old) -> OldShop {
        let mut db = installed(old);
        db.with_books();
        let backend = old_backend(&db, &old.options);
        let ming = backend.row("select * from app.register_member('Ming')");
        let sql = format!("select * from app.create_enterprise_card('Great Wall', 0.900, '{}')", &ming["member_id"]);
        let company = backend.row(&sql)["card_id"].to_owned();
        let member = ming["member_id"].parse().expect("a uuid");
        OldShop { db, options: old.options.clone(), member, cards: [ming["card_id"].to_owned(), company] }
    }

    /// A session of the shop's server that has run the old library before.
    fn backend(&self) -> Session {
        let session = old_backend(&self.db, &self.options);
        self.warmed(session)
    }

    /// The same of the member's.
    fn member(&self) -> Session {
        let session = self.db.superuser_with(&self.options);
        session.become_role("authenticated", &claims("authenticated", Some(self.member)));
        self.warmed(session)
    }

    /// With settings and months remembered, by a call that writes.
    fn warmed(&self, session: Session) -> Session {
        session.run(&format!("select * from app.rotate_card_qr('{}')", self.cards[0]));
        session
    }

    fn request(&self, kind: usize, more: &str) -> String {
        format!("select * from app.{}('{}', 100.00, 'wechat'{more})", REQUESTS[kind], self.cards[kind])
    }

    /// A recharge that waits, by its number.
    fn pending(&self, kind: usize) -> String {
        self.member().row(&self.request(kind, ""))["tx_no"].to_owned()
    }

    fn balance(&self, kind: usize) -> String {
        let sql = "select balance from (select id, balance from app.personal_cards union all select id, balance from \
            app.enterprise_cards) c";
        self.db.superuser().value(&format!("{sql} where id = '{}'", self.cards[kind]))
    }
}

fn confirm(tx_no: &str, trade_no: &str) -> String {
    format!("select * from app.confirm_recharge('{tx_no}', 100.00, '{trade_no}')")
}

fn counted(s: &Session) -> Vec<String> {
    s.column("select t.tx_no from app.pending_recharges r join app.transactions t on t.id = r.tx_id order by 1")
}

#[track_caller]
fn refused(answer: Result<Vec<Row>, Failure>) {
    answer.expect_err("it went on by the old rules").must_be("SCHEMA_OUTDATED", "going on after the update");
}

/// An update that has its first locks and waits for what `hold` takes.
fn update_behind(db: &Db, hold: &str) -> (Session, Waiting) {
    let holder = db.superuser();
    holder.run("begin");
    holder.run(hold);
    let update = Waiting::behind(db.superuser(), &holder, &db.superuser(), UPDATE.into());
    (holder, update)
}

/// Updates while each of two sessions has made a call in a transaction that is still open.
fn update_around(shop: &OldShop, callers: [Session; 2], sql: [String; 2]) -> [Row; 2] {
    let mut kind = 0;
    let answers = callers.each_ref().map(|caller| {
        caller.run("begin");
        kind += 1;
        caller.row(&sql[kind - 1])
    });
    let update = Waiting::start(shop.db.superuser(), &shop.db.superuser(), UPDATE.into());
    callers.iter().for_each(|caller| caller.run("commit"));
    update.end().expect("updates");
    answers
}

#[test]
fn an_update_waits_for_confirmations_of_the_old_library() {
    for old in old_releases() {
        let shop = OldShop::open(old);
        let (first, second) = ([0, 1].map(|kind| shop.pending(kind)), [0, 1].map(|kind| shop.pending(kind)));
        let confirmations = [0, 1].map(|kind| confirm(&first[kind], &format!("T-{kind}")));
        update_around(&shop, [0, 1].map(|_| shop.backend()), confirmations);
        // One payment credits once, also by the new library and whatever recharge it is said to be for.
        let backend = shop.db.backend();
        for (kind, tx_no) in second.iter().enumerate() {
            backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm(tx_no, &format!("T-{kind}")));
            assert_eq!(shop.balance(kind), "100.00");
        }
        assert_eq!(counted(&shop.db.superuser()), second);
    }
}

#[test]
fn an_update_waits_for_requests_of_the_old_library() {
    for old in old_releases() {
        let shop = OldShop::open(old);
        let requests = [0, 1].map(|kind| shop.request(kind, ""));
        let answers = update_around(&shop, [0, 1].map(|_| shop.member()), requests);
        assert_eq!(counted(&shop.db.superuser()), answers.map(|row| row["tx_no"].to_owned()));
    }
}

#[test]
fn a_confirmation_that_queued_behind_an_update_is_refused_and_counts_when_repeated() {
    for old in old_releases() {
        let shop = OldShop::open(old);
        let (first, second) = ([0, 1].map(|kind| shop.pending(kind)), [0, 1].map(|kind| shop.pending(kind)));
        let backends = [0, 1].map(|_| shop.backend());
        let s = shop.db.superuser();
        let (holder, update) = update_behind(&shop.db, "lock table app.external_orders in row exclusive mode");
        let mut kind = 0;
        let calls = backends.map(|backend| {
            kind += 1;
            Waiting::queued(backend, &s, confirm(&first[kind - 1], &format!("T-{}", kind - 1)))
        });
        holder.run("commit");
        update.end().expect("updates");
        // Let through by an update that tries again, or refused behind it.
        let credited =
            calls.map(|call| call.end().map_err(|e| e.must_be("SCHEMA_OUTDATED", "going on after the update")));
        let backend = shop.db.backend();
        for kind in 0..2 {
            assert_eq!(shop.balance(kind), if credited[kind].is_ok() { "100.00" } else { "0.00" });
            assert_eq!(&backend.row(&confirm(&first[kind], &format!("T-{kind}")))["status"], "completed");
            backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm(&second[kind], &format!("T-{kind}")));
            assert_eq!(shop.balance(kind), "100.00");
        }
    }
}

#[test]
fn a_request_that_queued_behind_an_update_is_counted_and_one_that_ended_is_not() {
    for old in old_releases() {
        let shop = OldShop::open(old);
        let s = shop.db.superuser();
        let ended = [0, 1].map(|kind| shop.pending(kind));
        let callers = [0, 1].map(|_| (shop.member(), shop.backend()));
        let month = s.value("select 'app.transactions_' || to_char(now() at time zone 'UTC', 'YYYYMM')");
        let (holder, update) = update_behind(&shop.db, &format!("lock table {month} in row exclusive mode"));
        let mut kind = 0;
        let calls = callers.map(|(member, backend)| {
            kind += 1;
            let fail = format!("select * from app.fail_recharge('{}', 'declined')", ended[kind - 1]);
            (Waiting::queued(member, &s, shop.request(kind - 1, "")), Waiting::queued(backend, &s, fail))
        });
        holder.run("commit");
        update.end().expect("updates");
        // Who comes to look at the settings again is told, and asks again.
        let told_or = |answer: Result<Vec<Row>, Failure>, again: String, by: &Session| {
            answer.unwrap_or_else(|e| {
                e.must_be("SCHEMA_OUTDATED", "going on after the update");
                by.rows(&again)
            })
        };
        let backend = shop.db.backend();
        let mut kind = 0;
        let asked = calls.map(|(request, fail)| {
            kind += 1;
            told_or(
                fail.end(),
                format!("select * from app.fail_recharge('{}', 'declined')", ended[kind - 1]),
                &backend,
            );
            told_or(request.end(), shop.request(kind - 1, ""), &shop.member()).remove(0)["tx_no"].to_owned()
        });
        let mut waiting = asked.to_vec();
        waiting.sort();
        assert_eq!(counted(&s), waiting);
        let close = format!("select app.set_card_status('{}', 'personal', 'closed', 'x')", shop.cards[0]);
        backend.refused("CARD_NOT_EMPTY", &close);
        backend.run(&format!("select * from app.fail_recharge('{}', 'declined')", asked[0]));
        backend.run(&close);
    }
}

#[test]
fn an_order_that_queued_behind_an_update_is_claimed_by_the_rules_of_now_or_not_at_all() {
    for old in old_releases() {
        let shop = OldShop::open(old);
        let s = shop.db.superuser();
        shop.backend().run(r#"select app.update_settings('{"recharge_confirmation": "trusted"}')"#);
        let before = |kind| shop.request(kind, &format!(", p_external_order_id => 'before {kind}'"));
        for kind in 0..2 {
            shop.member().run(&before(kind));
        }
        let (members, backends) = ([0, 1].map(|_| shop.member()), [0, 1].map(|_| shop.backend()));
        let by_backend = |kind| shop.request(kind, ", p_external_order_id => 'by the backend'");
        let by_member = |kind| shop.request(kind, ", p_external_order_id => 'by the member'");
        let (holder, update) = update_behind(&shop.db, "lock table app.external_orders in row exclusive mode");
        let mut calls = Vec::new();
        for (kind, (member, backend)) in members.into_iter().zip(backends).enumerate() {
            calls.push((Waiting::queued(member, &s, by_member(kind)), Waiting::queued(backend, &s, by_backend(0))));
        }
        holder.run("commit");
        update.end().expect("updates");
        // Personal cards are refused where the old library looks at the settings again; a company's go on.
        let mut credited = 0;
        for (member, backend) in calls {
            refused(member.end());
            match backend.end() {
                Ok(_) => credited += 1,
                Err(e) => e.must_be("SCHEMA_OUTDATED", "going on after the update"),
            }
        }
        assert!(credited <= 2);
        let user = shop.db.user(shop.member);
        for kind in 0..2 {
            assert_eq!(&user.row(&before(kind))["replayed"], "t");
            assert_eq!(&user.row(&by_member(kind))["replayed"], "f");
            assert_eq!(&user.row(&by_member(kind))["replayed"], "t");
        }
        let claimed = "select distinct scope || '/' || order_id from app.external_orders order by 1";
        shop.db.backend().run(&by_backend(0));
        assert_eq!(
            s.column(claimed),
            ["2/by the backend", "4/before 0", "4/by the member", "5/before 1", "5/by the member"]
        );
    }
}

#[test]
fn an_order_of_one_card_that_two_methods_were_paid_under_stops_no_update() {
    for old in before("0.3.0") {
        let shop = OldShop::open(old);
        let s = shop.db.superuser();
        shop.backend().run(r#"select app.update_settings('{"recharge_confirmation": "trusted"}')"#);
        let request = |kind, method: &str| {
            shop.request(kind, &format!(", p_external_order_id => 'o-{kind}'"))
                .replace("'wechat'", &format!("'{method}'"))
        };
        for kind in 0..2 {
            for method in ["wechat", "alipay"] {
                shop.member().run(&request(kind, method));
            }
        }
        s.run(UPDATE);
        // Of each card the one paid later stays as it was; the other one is the card's.
        let claimed = "select scope || ' ' || count(*) from app.external_orders group by scope order by 1";
        assert_eq!(s.column(claimed), ["2 2", "4 1", "5 1"]);
        let user = shop.db.user(shop.member);
        for kind in 0..2 {
            assert_eq!(&user.row(&request(kind, "wechat"))["replayed"], "t");
            user.refused("EXTERNAL_ORDER_CONFLICT", &request(kind, "alipay"));
        }
    }
}

#[test]
fn who_reads_holds_the_update_up_and_no_call() {
    for old in before("0.3.0") {
        let shop = OldShop::open(old);
        let s = shop.db.superuser();
        let reader = shop.db.superuser();
        reader.run("begin; select count(*) from app.transactions");
        // As long as lock_timeout says, and then nothing has happened.
        let updater = shop.db.superuser();
        updater.run("set lock_timeout = '1s'");
        assert_eq!(updater.failure(UPDATE).code, "55P03");
        assert_eq!(s.value("select extversion from pg_extension where extname = 'mps'"), old.version);
        updater.run("reset lock_timeout");
        let update = Waiting::behind(updater, &reader, &s, UPDATE.into());
        // Whoever calls meanwhile is let through.
        let backend = shop.backend();
        let numbers = [0, 1].map(|kind| shop.pending(kind));
        for (kind, tx_no) in numbers.iter().enumerate() {
            backend.run(&confirm(tx_no, &format!("T-{kind}")));
        }
        reader.run("commit");
        update.end().expect("updates");
        assert_eq!(s.value("select extversion from pg_extension where extname = 'mps'"), env!("CARGO_PKG_VERSION"));
        assert_eq!([0, 1].map(|kind| shop.balance(kind)), ["100.00", "100.00"]);
        assert_eq!(s.value("select count(*) from app.transactions where excluded_amount is null"), "2");
    }
}

#[test]
fn who_waits_for_a_number_that_an_update_mends_does_not_hold_it_up() {
    for old in before("0.3.0") {
        let shop = OldShop::open(old);
        let s = shop.db.superuser();
        let tx_no = shop.pending(0);
        shop.backend().run(&confirm(&tx_no, "T-1"));
        // Kept from its locks by a reader, it has mended the number already.
        let reader = shop.db.superuser();
        reader.run("begin; select count(*) from app.transactions");
        let update = Waiting::behind(shop.db.superuser(), &reader, &s, UPDATE.into());
        let again = Waiting::start(shop.backend(), &s, confirm(&tx_no, "T-1"));
        let failure = again.end().expect_err("it is asked to come again");
        assert_eq!(failure.code, "57014", "{failure:?}");
        reader.run("commit");
        update.end().expect("updates");
        assert_eq!(&shop.db.backend().row(&confirm(&tx_no, "T-1"))["replayed"], "t");
        assert_eq!(shop.balance(0), "100.00");
    }
}

#[test]
fn an_update_with_an_older_view_is_refused() {
    for old in old_releases() {
        for level in ["repeatable read", "serializable"] {
            let shop = OldShop::open(old);
            let tx_no = shop.pending(0);
            let s = shop.db.superuser();
            s.run(&format!("set default_transaction_isolation = '{level}'"));
            let failure = s.refused("STATUS_CONFLICT", UPDATE);
            assert!(failure.detail.contains("READ COMMITTED"), "{failure:?}");
            s.run("reset default_transaction_isolation");
            s.run(UPDATE);
            // Once it is done, any view will do.
            s.run(&format!("set default_transaction_isolation = '{level}'; {UPDATE}; select app.migrate()"));
            assert_eq!(counted(&s), [tx_no]);
        }
        // An old dump as well.
        let from = installed(old);
        let to = Db::empty();
        copy(&from, &to);
        let s = to.superuser();
        s.run("begin isolation level repeatable read");
        s.refused("STATUS_CONFLICT", "select app.migrate()");
        s.run("rollback; select app.migrate()");
    }
}

#[test]
fn two_migrations_at_once_are_one_after_the_other() {
    let Some(old) = old_releases().last() else { return };
    let (from, to) = (installed(old), Db::empty());
    copy(&from, &to);
    let first = to.superuser();
    first.run("begin; select app.migrate()");
    let second = Waiting::start(to.superuser(), &from.superuser(), "select app.migrate()".into());
    first.run("commit");
    assert_eq!(&second.end().expect("migrates")[0]["migrate"], schema_version());
}

#[test]
fn what_an_update_left_behind_is_found_and_mended() {
    let shop = Shop::open();
    let (s, ming) = (&shop.superuser, shop.member("0"));
    let numbers: Vec<String> = (0..4).map(|_| shop.pending(&ming, "100.00")).collect();
    for (n, tx_no) in numbers.iter().take(3).enumerate() {
        shop.backend.run(&confirm(tx_no, &format!("T-{n}")));
    }
    let id = |n: usize| s.value(&format!("select id from app.transactions where tx_no = '{}'", numbers[n]));
    let nothing = "select check_name || ': ' || detail from app.verify_books() where not ok";
    assert_eq!(s.column(nothing), [] as [String; 0]);
    // As the old library writes: a claim of the method, one besides that of now, one that is another's by now; one recharge
    // that is not counted, and one that is although it is credited.
    s.run("set session_replication_role = replica");
    s.run("update app.external_orders set scope_no = 2 where order_id = 'T-0'");
    s.run(&format!(
        "insert into app.external_orders (scope_no, tx_id, scope, order_id) values (2, {}, 3, 'T-1')",
        id(1)
    ));
    s.run(&format!(
        "delete from app.pending_recharges; insert into app.pending_recharges values ({}, '{}')",
        id(0),
        ming.card
    ));
    s.run("reset session_replication_role");
    let found = s.column(nothing).join("\n");
    for part in [
        format!("{}: trade number 'T-0' is claimed as before 0.3.0: SELECT app.migrate()", numbers[0]),
        format!("{}: waits, but is not counted", numbers[3]),
        format!("{}: is counted, but does not wait", id(0)),
    ] {
        assert!(found.contains(&part), "{part}: {found}");
    }
    // Calls under way are waited for.
    let clerk = shop.db.backend();
    clerk.run("begin");
    clerk.run(&confirm(&numbers[3], "T-3"));
    let mend = Waiting::start(shop.db.superuser(), s, "select app.migrate()".into());
    clerk.run("commit");
    mend.end().expect("mends");
    assert_eq!(s.column(nothing), [] as [String; 0]);
    assert_eq!(counted(s), [] as [String; 0]);
    shop.backend.refused("EXTERNAL_ORDER_CONFLICT", &confirm(&shop.pending(&ming, "100.00"), "T-0"));
}

/// As a call of the old library leaves it that is posted over the turn of a month while an update runs.
#[test]
fn a_late_posting_that_is_not_noted_is_found_and_mended() {
    let shop = Shop::open();
    let ming = shop.member("0");
    let tx_no = shop.pending(&ming, "100.00");
    shop.a_month_passes();
    let tx_no = shop.superuser.value(&format!("select tx_no from app.transactions where tx_no <> '{tx_no}'"));
    shop.backend.run(&confirm(&tx_no, "T-1"));
    let noted = "select to_jsonb(l) from app.late_postings l";
    let was = shop.superuser.column(noted);
    assert_eq!(was.len(), 1);
    shop.superuser.run("delete from app.late_postings");
    let found = shop.superuser.column("select detail from app.verify_books() where not ok").join("\n");
    assert!(found.contains(&tx_no) && found.contains("is not noted: SELECT app.migrate()"), "{found}");
    for _ in 0..2 {
        shop.superuser.run("select app.migrate()");
        assert_eq!(shop.superuser.column(noted), was);
    }
}

#[test]
fn whoever_writes_a_recharge_it_is_counted() {
    let shop = Shop::open();
    let (s, ming) = (&shop.superuser, shop.member("0"));
    let tx_no = shop.pending(&ming, "100.00");
    s.run(&format!("update app.transactions set status = 'failed' where tx_no = {}", q(&tx_no)));
    assert_eq!(counted(s), [] as [String; 0]);
    s.run(&format!("update app.transactions set status = 'processing' where tx_no = {}", q(&tx_no)));
    assert_eq!(counted(s), std::slice::from_ref(&tx_no));
    // By statement, because of somebody's trigger: counted once.
    s.run(
        "create function public.nothing() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as 'begin return new; end'; \
         create trigger theirs before insert or update on app.transactions for each row execute function public.nothing(); \
         create trigger theirs before insert on app.external_orders for each row execute function public.nothing()",
    );
    let other = shop.pending(&ming, "100.00");
    assert_eq!(counted(s), [tx_no.clone(), other.clone()]);
    shop.backend.run(&confirm(&other, "T-1"));
    shop.backend.run(&format!(
        "select * from app.user_recharge_personal_card('{}', 1, 'cash', p_external_order_id => 'o-1')",
        ming.card
    ));
    assert_eq!(counted(s), [tx_no]);
    s.run("drop trigger theirs on app.transactions; drop trigger theirs on app.external_orders; drop function public.nothing()");
}
