//! Cards, members and merchants that are read and written without a statement are read and written as by one: whatever a DBA
//! hangs on their tables works, every index has every row, and what changed meanwhile is noticed.

use mps_tests::{Failure, Session, Shop, Waiting};

/// Of relations, the locks that a call holds at its end.
fn locks(shop: &Shop, session: &Session, sql: &str) -> Vec<String> {
    // What has to be looked up once is known by the second call.
    for _ in 0..2 {
        session.row(sql);
    }
    session.run("begin");
    session.row(sql);
    let held = shop.superuser.column(&format!(
        "select format('%s %s', l.relation::regclass, l.mode) from pg_locks l join pg_database d on d.oid = l.database \
         where l.pid = {} and d.datname = current_database() order by 1",
        session.pid()
    ));
    session.run("rollback");
    held
}

fn reusable_codes(shop: &Shop) {
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
}

/// A statement locks every index of what it writes to. So this says that none was needed, and will not go unnoticed if a
/// change makes one necessary again.
#[test]
fn a_charge_of_a_personal_card_needs_no_statement() {
    let shop = Shop::open();
    reusable_codes(&shop);
    let member = shop.member("100.00");
    let sql = Shop::charge_sql(&shop.code(&member), "1.00", "");
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let direct = [
        "app.member_profiles AccessShareLock",
        "app.member_profiles_pkey AccessShareLock",
        "app.merchant_users AccessShareLock",
        "app.merchant_users_pkey AccessShareLock",
        "app.merchants AccessShareLock",
        "app.merchants_code_key AccessShareLock",
        "app.personal_cards AccessShareLock",
        "app.personal_cards RowExclusiveLock",
        "app.personal_cards_pkey AccessShareLock",
        &format!("app.point_ledger_{month} RowExclusiveLock"),
        &format!("app.transactions_{month} RowExclusiveLock"),
        "app.tx_no_seq RowExclusiveLock",
        "audit.event_id_seq RowExclusiveLock",
        &format!("audit.event_log_{month} RowExclusiveLock"),
    ];
    assert_eq!(locks(&shop, &shop.cashier, &sql), direct);
    // With a trigger on the card it is written by a statement.
    shop.superuser.run(
        "create function public.pass() returns trigger language plpgsql as $$ begin return new; end $$; \
         create trigger pass before update on app.personal_cards for each row execute function public.pass()",
    );
    let held = locks(&shop, &shop.cashier, &sql);
    assert!(held.contains(&"app.personal_cards_member_id_idx RowExclusiveLock".to_owned()), "{held:?}");
    shop.superuser.run("drop trigger pass on app.personal_cards");
    assert_eq!(locks(&shop, &shop.cashier, &sql), direct);
}

/// As above, of everything else that happens at a till and behind it: an index that is locked is one that was looked into.
#[test]
fn what_happens_every_day_needs_no_statement() {
    let shop = Shop::open();
    reusable_codes(&shop);
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    let company = shop.company("0.900", "1000.00", &mei);
    let paid = shop.charge(&ming, "50.00")["tx_no"].to_owned();
    let keyed = Shop::charge_sql(&shop.code(&ming), "1.00", "p_idempotency_key => 'k', p_external_order_id => 'o'");
    let (shops, cards) =
        (["merchant_users_pkey", "merchants_code_key"], ["member_profiles_pkey", "personal_cards_pkey"]);
    let transactions = format!("transactions_{month}_pkey");
    let transactions = transactions.as_str();
    for (what, session, sql, looked_into) in [
        (
            "refund",
            &shop.cashier,
            Shop::refund_sql(&paid, "0.01", ""),
            [&shops[..], &[cards[1], transactions]].concat(),
        ),
        (
            "company charge",
            &shop.cashier,
            Shop::charge_sql(&shop.company_code(&company, &mei), "1.00", ""),
            [&shops[..], &["enterprise_card_bindings_pkey", "enterprise_cards_pkey", cards[0]]].concat(),
        ),
        ("replay", &shop.cashier, keyed, [&shops[..], &["idempotency_keys_pkey", transactions]].concat()),
        (
            "new code of a company card",
            &shop.backend,
            format!("select * from app.rotate_card_qr('{}', 'enterprise', '{}')", company.card, mei.id),
            vec!["enterprise_card_bindings_pkey", "enterprise_cards_pkey", cards[0]],
        ),
        ("new code", &shop.backend, format!("select * from app.rotate_card_qr('{}')", ming.card), cards.to_vec()),
        (
            "recharge in cash",
            &shop.backend,
            format!("select * from app.user_recharge_personal_card('{}', 1.00, 'cash')", ming.card),
            cards.to_vec(),
        ),
        ("points", &shop.backend, format!("select * from app.adjust_points('{}', 7, 'x')", ming.card), vec![cards[1]]),
    ] {
        let indexes = |lock: &String| lock.contains("_pkey ") || lock.contains("_key ") || lock.contains("_idx ");
        let mut expected: Vec<String> = looked_into.iter().map(|i| format!("app.{i} AccessShareLock")).collect();
        expected.sort();
        let held: Vec<String> = locks(&shop, session, &sql).into_iter().filter(indexes).collect();
        assert_eq!(held, expected, "{what}");
    }
}

#[test]
fn triggers_of_others_see_every_change_of_a_card() {
    let shop = Shop::open();
    shop.superuser.run(
        "create schema hooks; create table hooks.seen (what text, before numeric, after numeric); \
         create function hooks.row() returns trigger language plpgsql security definer as $$ begin \
            insert into hooks.seen values (tg_name, old.balance, new.balance); return new; end $$; \
         create function hooks.statement() returns trigger language plpgsql security definer as $$ begin \
            insert into hooks.seen values (tg_name); return null; end $$; \
         create function hooks.tables() returns trigger language plpgsql security definer as $$ begin \
            insert into hooks.seen select tg_name, o.balance, n.balance from o join n using (id); return null; end $$",
    );
    let hooks = [
        ("before update", "for each row execute function hooks.row()", "100.00|90.00"),
        ("after update", "for each row execute function hooks.row()", "100.00|90.00"),
        ("after update of balance", "for each row execute function hooks.row()", "100.00|90.00"),
        ("after update", "for each row when (old.balance > new.balance) execute function hooks.row()", "100.00|90.00"),
        ("before update", "for each statement execute function hooks.statement()", "|"),
        ("after update", "for each statement execute function hooks.statement()", "|"),
        (
            "after update",
            "referencing old table as o new table as n for each statement execute function hooks.tables()",
            "100.00|90.00",
        ),
        ("after update", "deferrable initially deferred for each row execute function hooks.row()", "100.00|90.00"),
    ];
    for (when, what, seen) in hooks {
        let member = shop.member("100.00");
        let code = shop.code(&member);
        let constraint = if what.contains("deferrable") { "constraint" } else { "" };
        shop.superuser.run(&format!("create {constraint} trigger hook {when} on app.personal_cards {what}"));
        shop.cashier.run(&Shop::charge_sql(&code, "10.00", ""));
        shop.superuser.run("drop trigger hook on app.personal_cards");
        let found = shop.superuser.column(
            "select before || '|' || after from hooks.seen where before is not null union all \
                                           select '|' from hooks.seen where before is null",
        );
        assert_eq!(found, [seen], "{when} {what}");
        shop.superuser.run("truncate hooks.seen");
        assert_eq!(shop.balance(&member.card), "90.00");
    }
    // One that refuses is obeyed.
    let member = shop.member("100.00");
    shop.superuser.run(
        "create function hooks.refuse() returns trigger language plpgsql as $$ begin raise exception 'closed for stocktaking'; end $$; \
         create trigger hook before update on app.personal_cards for each row execute function hooks.refuse()",
    );
    let failure = shop.backend.failure_moving_nothing(&format!("select * from app.rotate_card_qr('{}')", member.card));
    assert_eq!(failure.message, "closed for stocktaking");
}

#[test]
fn checks_and_foreign_keys_of_others_hold() {
    let shop = Shop::open();
    reusable_codes(&shop);
    let member = shop.member("10000.00");
    let code = shop.code(&member);
    let refused =
        |amount: &str| -> Failure { shop.cashier.failure_moving_nothing(&Shop::charge_sql(&code, amount, "")) };
    let paid = |amount: &str| shop.cashier.run(&Shop::charge_sql(&code, amount, ""));

    shop.superuser.run("alter table app.personal_cards add constraint no_13 check (balance <> 9987)");
    assert_eq!(refused("13.00").code, "23514");
    paid("10.00");
    shop.superuser.run("alter table app.personal_cards drop constraint no_13");
    // The one that is known for what it says is not mistaken for one of its name.
    shop.superuser.run(
        "alter table app.personal_cards drop constraint personal_cards_balance_check; \
         alter table app.personal_cards add constraint personal_cards_balance_check check (balance >= 9000)",
    );
    assert_eq!(refused("1000.00").code, "23514");
    paid("10.00");
    shop.superuser.run(
        "alter table app.personal_cards drop constraint personal_cards_balance_check; \
         alter table app.personal_cards add constraint personal_cards_balance_check check (balance >= 0)",
    );

    // A level that a user's table does not know.
    shop.superuser.run(
        "create table public.known_levels (level smallint primary key); insert into known_levels values (0); \
         alter table app.personal_cards add constraint known foreign key (level) references public.known_levels",
    );
    assert_eq!(refused("6000.00").code, "23503");
    paid("10.00");
    shop.superuser.run("alter table app.personal_cards drop constraint known");
    // Others' rows that lean on a card's number do not mind a charge; that lean on its points, they do.
    shop.superuser.run(
        "create table public.notes (card_no text references app.personal_cards (card_no)); \
         insert into notes select card_no from app.personal_cards",
    );
    paid("10.00");
    shop.superuser.run(
        "create unique index by_points on app.personal_cards (points); \
         alter table app.personal_cards add constraint by_points unique using index by_points; \
         create table public.prizes (points bigint references app.personal_cards (points)); \
         insert into prizes select points from app.personal_cards",
    );
    assert_eq!(refused("10.00").code, "23503");
    shop.superuser.run("drop table public.prizes");
    paid("10.00");

    // A table that is published, and whose rows could not be told apart by who follows.
    shop.superuser.run(
        "alter table app.personal_cards replica identity nothing; create publication p for table app.personal_cards",
    );
    assert_eq!(refused("10.00").code, "55000");
    shop.superuser.run("drop publication p; alter table app.personal_cards replica identity default");
    paid("10.00");
    assert_eq!(shop.balance(&member.card), "9940.00");
}

#[test]
fn columns_of_others_are_kept_and_computed() {
    let shop = Shop::open();
    reusable_codes(&shop);
    let member = shop.member("100.00");
    let sql = Shop::charge_sql(&shop.code(&member), "10.00", "");
    let of = |columns: &str| {
        shop.superuser.value(&format!("select ({columns})::text from app.personal_cards where id = '{}'", member.card))
    };
    // Those of before the row was written last, and one that does not fit into the row.
    shop.superuser
        .run("alter table app.personal_cards add column colour text not null default 'blue', add column memo text");
    shop.cashier.run(&sql);
    assert_eq!(of("balance, colour, memo"), "(90.00,blue,)");
    shop.superuser.run(
        "alter table app.personal_cards alter memo set storage external; \
         update app.personal_cards set colour = 'red', memo = repeat('x', 100000)",
    );
    shop.cashier.run(&sql);
    assert_eq!(of("balance, colour, length(memo), memo = repeat('x', 100000)"), "(80.00,red,100000,t)");
    shop.superuser.run("alter table app.personal_cards drop column colour");
    shop.cashier.run(&sql);
    assert_eq!(of("balance, length(memo)"), "(70.00,100000)");
    shop.superuser
        .run("alter table app.personal_cards add column cents bigint generated always as (balance * 100) stored");
    shop.cashier.run(&sql);
    assert_eq!(of("balance, cents"), "(60.00,6000)");
    // Merchants, operators and members with columns more.
    for table in ["merchants", "merchant_users", "member_profiles"] {
        shop.superuser.run(&format!("alter table app.{table} add column more text default 'x'"));
    }
    shop.cashier.run(&sql);
    assert_eq!(of("balance, cents"), "(50.00,5000)");
}

#[test]
fn every_index_of_others_has_every_version() {
    let shop = Shop::open();
    reusable_codes(&shop);
    let members: Vec<_> = (0..3).map(|n| shop.member(&format!("{}.00", 100 + n))).collect();
    let codes: Vec<_> = members.iter().map(|m| shop.code(m)).collect();
    shop.superuser.run(
        "create index own_balance on app.personal_cards (balance); \
         create index own_text on app.personal_cards ((balance::text || card_no)) include (points); \
         create index own_poor on app.personal_cards (card_no) where balance < 50; \
         create index own_brin on app.personal_cards using brin (points); \
         create unique index own_unique on app.personal_cards (balance)",
    );
    let amcheck = shop.make_amcheck();
    shop.superuser.run("set enable_seqscan = off");
    for round in 0..20 {
        for code in &codes {
            shop.cashier.run(&Shop::charge_sql(code, "4.00", ""));
        }
        if round == 5 {
            // From here on only the one whose pages are summed up is touched.
            shop.superuser.run("drop index app.own_balance, app.own_text, app.own_poor");
            shop.superuser.run("create index own_seq on app.personal_cards (card_seq)");
        }
    }
    for index in shop.superuser.column(
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam \
         where i.indrelid = 'app.personal_cards'::regclass and a.amname = 'btree'",
    ) {
        if amcheck {
            shop.superuser.run(&format!("select bt_index_check('{index}', true)"));
        }
    }
    assert_eq!(shop.superuser.value("select count(*) from app.personal_cards where balance between 20 and 22"), "3");
    assert_eq!(shop.superuser.value("select count(*) from app.personal_cards where points between 80 and 80"), "3");
    // Two cards cannot have the same balance now, which a user's own index says.
    let failure = shop.cashier.failure_moving_nothing(&Shop::charge_sql(&codes[1], "1.00", ""));
    assert_eq!(failure.code, "23505", "{failure:?}");
}

/// The same for what a movement changes in rows that are there: a payment that is refunded, a recharge that is confirmed, and
/// the card of a company.
#[test]
fn what_others_hang_on_payments_and_company_cards_works() {
    let shop = Shop::open();
    reusable_codes(&shop);
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let (ming, mei) = (shop.member("100.00"), shop.member("100.00"));
    let company = shop.company("0.900", "1000.00", &mei);
    let paid = shop.charge(&ming, "50.00")["tx_no"].to_owned();
    let company_charge = Shop::charge_sql(&shop.company_code(&company, &mei), "10.00", "");
    let waiting = shop.pending(&ming, "5.00");
    shop.superuser.run(&format!(
        "create index own_refunds on app.transactions_{month} (refunded_amount); \
         create index own_balance on app.enterprise_cards (balance)"
    ));
    let amcheck = shop.make_amcheck();
    let confirm = format!("select * from app.confirm_recharge('{waiting}', 5.00, 'trade-1')");
    for _ in 0..3 {
        shop.refund(&paid, "1.00");
        shop.cashier.run(&company_charge);
    }
    shop.backend.run(&confirm);
    for index in shop.superuser.column(&format!(
        "select indexrelid::regclass from pg_index where indrelid in ('app.transactions_{month}'::regclass, \
            'app.enterprise_cards'::regclass)"
    )) {
        if amcheck {
            shop.superuser.run(&format!("select bt_index_check('{index}', true)"));
        }
    }
    shop.superuser.run("set enable_seqscan = off");
    let refunded = format!("select count(*) from app.transactions_{month} where refunded_amount = 3");
    assert_eq!(shop.superuser.value(&refunded), "1");
    let waits = format!("select count(*) from app.transactions_{month} where status = 'processing'");
    assert_eq!(shop.superuser.value(&waits), "0");
    assert_eq!(shop.superuser.value("select count(*) from app.enterprise_cards where balance = 973"), "1");

    // Checks that are broken, and triggers.
    shop.superuser.run(&format!(
        "alter table app.transactions_{month} add constraint few check (refunded_amount is null or refunded_amount <= 3); \
         alter table app.enterprise_cards add constraint rich check (balance >= 973)"
    ));
    assert_eq!(shop.cashier.failure_moving_nothing(&Shop::refund_sql(&paid, "1.00", "")).code, "23514");
    assert_eq!(shop.cashier.failure_moving_nothing(&company_charge).code, "23514");
    shop.superuser.run(&format!(
        "alter table app.transactions_{month} drop constraint few; alter table app.enterprise_cards drop constraint rich; \
         create table public.seen (what text); \
         create function public.see() returns trigger language plpgsql security definer as $$ begin \
            insert into public.seen values (tg_table_name); return new; end $$; \
         create trigger see after update on app.transactions_{month} for each row execute function public.see(); \
         create trigger see before update on app.enterprise_cards for each row execute function public.see()"
    ));
    shop.refund(&paid, "1.00");
    shop.cashier.run(&company_charge);
    let seen = shop.superuser.column("select what from public.seen order by 1");
    assert_eq!(seen, ["enterprise_cards".to_owned(), format!("transactions_{month}")]);
    // A payment that its own transaction refunds twice.
    shop.cashier.run("begin");
    shop.refund(&paid, "1.00");
    shop.refund(&paid, "1.00");
    shop.cashier.run("commit");
    let sum = format!("select refunded_amount from app.transactions where tx_no = '{paid}'");
    assert_eq!(shop.superuser.value(&sum), "6.00");
}

#[test]
fn where_an_index_is_not_ours_a_statement_finds_the_row() {
    let shop = Shop::open();
    reusable_codes(&shop);
    let member = shop.member("100.00");
    let sql = Shop::charge_sql(&shop.code(&member), "1.00", "");
    let mut number = 1;
    let mut pays = |what: &str| {
        let row = shop.cashier.try_row(&sql);
        assert!(row.is_ok(), "{what}: {row:?}");
        // A merchant that is new, and one that is closed: whichever index is asked, they are found.
        number += 1;
        let code = format!("SHOP-1{number:02}");
        let cashier = shop.another(&code);
        cashier.run(&sql.replace("SHOP-001", &code));
        shop.backend.run(&format!("select app.set_merchant_status('{code}', false, 'x')"));
        assert_eq!(cashier.failure(&sql.replace("SHOP-001", &code)).message, "MERCHANT_INACTIVE", "{what}");
    };
    for change in [
        "alter index app.personal_cards_pkey rename to cards_by_id",
        "alter index app.member_profiles_pkey rename to members_by_id",
        "alter index app.merchants_code_key rename to merchants_by_code",
        "alter index app.merchant_users_pkey rename to users_by_merchant",
        // Another index by the name of ours, and one that is not about the same.
        "create index merchants_code_key on app.merchants (code)",
        "drop index app.merchants_code_key; create unique index merchants_code_key on app.merchants (code) where active",
        "drop index app.merchants_code_key; create unique index merchants_code_key on app.merchants (lower(code))",
        "drop index app.merchants_code_key; create index merchants_code_key on app.merchants (name)",
        "drop index app.merchants_code_key; create unique index merchants_code_key on app.merchants (code collate \"POSIX\")",
        // One that was never finished: it has no entries of what came later.
        "drop index app.merchants_code_key; create unique index merchants_code_key on app.merchants (code); \
         update pg_index set indisvalid = false, indisready = false where indexrelid = 'app.merchants_code_key'::regclass",
        "drop index app.merchants_code_key; create table app.merchants_code_key (code text)",
        "create index personal_cards_pkey on app.personal_cards using hash (id)",
        "reindex table app.personal_cards",
    ] {
        shop.superuser.run(change);
        pays(change);
    }
    assert_eq!(shop.balance(&member.card), "74.00");
}

/// An operator class of somebody else can call equal what `=` does not.
#[test]
fn an_index_with_another_equality_is_not_asked() {
    let shop = Shop::open();
    let member = shop.member("100.00");
    shop.superuser.run(
        "create function public.ci_lt(text, text) returns boolean immutable language sql as 'select lower($1) < lower($2)'; \
         create function public.ci_eq(text, text) returns boolean immutable language sql as 'select lower($1) = lower($2)'; \
         create function public.ci_cmp(text, text) returns integer immutable language sql as \
            'select pg_catalog.bttextcmp(lower($1), lower($2))'; \
         create operator public.~< (leftarg = text, rightarg = text, function = public.ci_lt); \
         create operator public.~~= (leftarg = text, rightarg = text, function = public.ci_eq); \
         create operator class public.ci for type text using btree as \
            operator 1 public.~<, operator 3 public.~~=, function 1 public.ci_cmp(text, text); \
         alter index app.merchants_code_key rename to merchants_by_code; \
         create unique index merchants_code_key on app.merchants (code public.ci)",
    );
    let sql = Shop::charge_sql(&shop.code(&member), "1.00", "");
    assert_eq!(shop.cashier.failure(&sql.replace("SHOP-001", "shop-001")).message, "MERCHANT_NOT_FOUND");
    shop.cashier.run(&sql);
}

/// Types, rights, and what a statement tidies up.
#[test]
fn what_a_dba_changes_about_the_tables_counts() {
    let mut shop = Shop::open();
    reusable_codes(&shop);
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    let member = shop.member("100.00");
    let paid = shop.charge(&member, "10.00")["tx_no"].to_owned();
    let sql = Shop::charge_sql(&shop.code(&member), "1.00", "");

    // Whom the owner's rights are taken from.
    for (right, table) in [
        ("update", "app.personal_cards"),
        ("select", "app.personal_cards"),
        ("select", "app.merchants"),
        ("select", "app.merchant_users"),
        ("select", "app.member_profiles"),
        ("insert", &format!("app.transactions_{month}")),
        ("insert", &format!("app.point_ledger_{month}")),
        ("insert", &format!("audit.event_log_{month}")),
    ] {
        shop.superuser.run(&format!("revoke {right} on {table} from mps_owner"));
        assert_eq!(shop.cashier.failure_moving_nothing(&sql).code, "42501", "{right} on {table}");
        shop.superuser.run(&format!("grant {right} on {table} to mps_owner"));
        shop.cashier.run(&sql);
    }
    let keyed = sql.replace(", 1.00)", ", 1.00, p_idempotency_key => 'k')");
    for right in ["insert", "select"] {
        shop.superuser.run(&format!("revoke {right} on app.idempotency_keys from mps_owner"));
        assert_eq!(shop.cashier.failure_moving_nothing(&keyed).code, "42501", "{right}");
        shop.superuser.run(&format!("grant {right} on app.idempotency_keys to mps_owner"));
    }
    assert_eq!(&shop.cashier.row(&keyed)["replayed"], "f");
    shop.superuser.run(&format!("revoke update on app.transactions_{month} from mps_owner"));
    assert_eq!(shop.cashier.failure_moving_nothing(&Shop::refund_sql(&paid, "1.00", "")).code, "42501");
    shop.superuser.run(&format!("grant update on app.transactions_{month} to mps_owner"));

    // A column that was dropped lets go of what it held.
    shop.superuser.run(
        "alter table app.personal_cards add column memo text; alter table app.personal_cards alter memo set storage external; \
         update app.personal_cards set memo = repeat('x', 100000); alter table app.personal_cards drop column memo",
    );
    let toast = "select reltoastrelid::regclass from pg_class where oid = 'app.personal_cards'::regclass";
    let chunks = format!("select count(*) from {}", shop.superuser.value(toast));
    assert_ne!(shop.superuser.value(&chunks), "0");
    shop.cashier.run(&sql);
    assert_eq!(shop.superuser.value(&chunks), "0");

    // A check that was added without a look at the rows that are there.
    let code = format!("select * from app.rotate_card_qr('{}')", shop.member("0").card);
    shop.superuser.run(
        "alter table app.personal_cards drop constraint personal_cards_balance_check; \
         update app.personal_cards set balance = -5 where balance = 0; \
         alter table app.personal_cards add constraint personal_cards_balance_check check (balance >= 0) not valid",
    );
    assert_eq!(shop.backend.failure_moving_nothing(&code).code, "23514");
    shop.superuser.run("update app.personal_cards set balance = 0 where balance = -5");
    shop.superuser.run("alter table app.personal_cards validate constraint personal_cards_balance_check");
    shop.backend.run(&code);

    // Narrower columns.
    shop.superuser
        .run("drop view app.v_user_cards cascade; alter table app.personal_cards alter balance type numeric(5,2)");
    let recharge = format!("select * from app.user_recharge_personal_card('{}', 5000, 'cash')", member.card);
    assert_eq!(shop.backend.failure_moving_nothing(&recharge).code, "22003");
    // Which the books do not like: a card knows the instant of its last movement.
    shop.db.without_books();
    shop.superuser.run("alter table app.personal_cards alter last_posted_at type timestamptz(0)");
    shop.cashier.run(&sql);
    let whole = "select bool_and(last_posted_at = date_trunc('second', last_posted_at)) from app.personal_cards";
    assert_eq!(shop.superuser.value(whole), "t");
}

#[test]
fn rows_of_children_and_forced_security_are_what_a_statement_makes_of_them() {
    let shop = Shop::open();
    reusable_codes(&shop);
    let member = shop.member("100.00");
    let code = shop.code(&member);
    let sql = Shop::charge_sql(&code, "1.00", "");
    for table in ["personal_cards", "member_profiles"] {
        shop.superuser.run(&format!("alter table app.{table} force row level security"));
        let failure = shop.cashier.refused("STATUS_CONFLICT", &sql);
        assert!(failure.detail.contains(&format!("app.{table} binds its owner")), "{failure:?}");
        shop.superuser.run(&format!("create policy through on app.{table} to mps_owner using (true)"));
        shop.cashier.run(&sql);
        shop.superuser
            .run(&format!("drop policy through on app.{table}; alter table app.{table} no force row level security"));
    }
    shop.superuser.run(
        "create table public.branches () inherits (app.merchants); \
         insert into branches (id, created_at, code, name) values (77, now(), 'SHOP-077', 'Branch'); \
         grant select on branches to mps_owner",
    );
    let failure = shop.cashier.failure_moving_nothing(&sql.replace("SHOP-001", "SHOP-077"));
    assert_eq!(failure.message, "NOT_MERCHANT_USER");
    shop.cashier.run(&sql);
    // Who does not own a table reads it by its policies, and would not find the member's card.
    shop.superuser.run(
        "drop table branches; create role keeper; alter table app.personal_cards owner to keeper; \
         grant all on app.personal_cards to mps_owner",
    );
    let failure = shop.cashier.refused("STATUS_CONFLICT", &sql);
    assert!(failure.detail.contains("app.personal_cards belongs to keeper"), "{failure:?}");
    assert!(!failure.detail.contains("more table"), "it is the only one: {failure:?}");
    shop.superuser.run("alter table app.personal_cards owner to mps_owner; drop role keeper");
    shop.cashier.run(&sql);
    assert_eq!(shop.balance(&member.card), "96.00");
}

/// Several charges of one card in one transaction, some of them taken back.
#[test]
fn a_transaction_sees_its_own_charges() {
    let shop = Shop::open();
    reusable_codes(&shop);
    let member = shop.member("100.00");
    let sql = Shop::charge_sql(&shop.code(&member), "10.00", "");
    for isolation in ["read committed", "repeatable read", "serializable"] {
        shop.superuser.run(&format!("update app.personal_cards set status = status where id = '{}'", member.card));
        let before = shop.balance(&member.card);
        shop.cashier.run(&format!("begin isolation level {isolation}"));
        shop.cashier.run(&sql);
        shop.cashier.run("savepoint s");
        shop.cashier.run(&sql);
        assert!(shop.cashier.try_row(&sql.replace("10.00", "99.00")).is_err());
        shop.cashier.run("rollback to s");
        shop.cashier.run(&sql);
        shop.cashier.run("commit");
        let spent = shop.superuser.value(&format!("select {before} - {}", shop.balance(&member.card)));
        assert_eq!(spent, "20.00", "{isolation}");
    }
}

/// A charge that has read its card finds at the writing that somebody else's change of it is in flight, and waits: the change
/// counts if it is committed, and does not if it is taken back.
#[test]
fn a_change_in_flight_counts_if_it_is_committed() {
    let shop = Shop::open();
    reusable_codes(&shop);
    for (end, status) in [("commit", "CARD_NOT_ACTIVE"), ("rollback", "completed")] {
        let member = shop.member("100.00");
        let sql = Shop::charge_sql(&shop.code(&member), "10.00", "");
        shop.backend.run("begin");
        shop.backend.run(&format!("select app.set_card_status('{}', 'personal', 'frozen', 'x')", member.card));
        let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.superuser, sql);
        shop.backend.run(end);
        let answer = waiting.end().map(|rows| rows[0]["status"].to_owned()).unwrap_or_else(|e| e.message);
        assert_eq!(answer, status);
    }
    // Who only looked, with a lock, has changed nothing.
    let member = shop.member("100.00");
    let sql = Shop::charge_sql(&shop.code(&member), "10.00", "");
    for strength in ["update", "no key update", "share", "key share"] {
        shop.superuser.run("begin");
        shop.superuser.run(&format!("select from app.personal_cards where id = '{}' for {strength}", member.card));
        if strength == "key share" {
            shop.cashier.run(&sql);
            shop.superuser.run("commit");
        } else {
            let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.db.superuser(), sql.clone());
            shop.superuser.run("commit");
            assert!(waiting.end().is_ok(), "{strength}");
        }
    }
    assert_eq!(shop.balance(&member.card), "60.00");
    // Deleted by hand, with everything that leans on it out of the way.
    shop.superuser.run("begin; set local session_replication_role = replica");
    shop.superuser.run(&format!("delete from app.personal_cards where id = '{}'", member.card));
    let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.db.superuser(), sql);
    shop.superuser.run("rollback");
    assert!(waiting.end().is_ok());
    // A row that gets another key by hand is another one.
    let paid = shop.charge(&member, "10.00");
    let month = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    shop.superuser.run("begin");
    shop.superuser.run(&format!("update app.transactions_{month} set id = id + 5000 where id = {}", &paid["tx_id"]));
    let refund = Shop::refund_sql(&paid["tx_no"], "1.00", "");
    let waiting = Waiting::start(shop.db.user(shop.cashier_id), &shop.db.superuser(), refund);
    shop.superuser.run("commit");
    assert_eq!(waiting.end().expect_err("another payment").message, "TX_NOT_FOUND");
    shop.superuser
        .run(&format!("update app.transactions_{month} set id = id - 5000 where id > {} + 1000", &paid["tx_id"]));
}
