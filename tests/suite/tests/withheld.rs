//! No error shows a row: what a CHECK, an index or a trigger of the shop's on our tables refuses is told without the row.

use mps_tests::{Failure, Session, Shop};

/// A shop, a member with 987.65 on its card, and calls that write most tables, each a backend's.
fn stage() -> (Shop, Vec<String>) {
    let shop = Shop::open();
    shop.backend.run(r#"select app.update_settings('{"qr_single_use": false}')"#);
    let (ming, boss) = (shop.member("990.65"), shop.member("0"));
    let company = shop.company("0.900", "1000.00", &boss);
    let paid = shop.charge(&ming, "3.00")["tx_no"].to_owned();
    let waiting = shop.pending(&ming, "20.00");
    let lost = shop.member("55.55");
    shop.set_card(&lost.card, "personal", "lost");
    let code = shop.code(&ming);
    let calls = vec![
        Shop::charge_sql(&code, "4.44", "p_idempotency_key => 'k', p_external_order_id => 'o'"),
        Shop::charge_sql(&shop.company_code(&company, &boss), "4.44", ""),
        Shop::refund_sql(&paid, "1.11", "p_idempotency_key => 'k'"),
        format!("select * from app.compensate_tx('{paid}', 1.00, 'x')"),
        format!("select * from app.confirm_recharge('{waiting}', 20.00, 'g-1')"),
        format!("select * from app.user_recharge_personal_card('{}', 2.00, 'cash')", ming.card),
        format!("select * from app.adjust_points('{}', 5000, 'x')", ming.card),
        format!("select * from app.rotate_card_qr('{}')", ming.card),
        format!("select * from app.replace_card('{}', 'x')", lost.card),
        format!("select app.set_member_status('{}', 'suspended', 'x')", ming.id),
        format!("select app.enterprise_add_member('{}', '{}')", company.card_no, ming.id),
        "select * from app.register_member('Somebody', '13800000000', 's@example.org')".into(),
        "select * from app.create_merchant('SHOP-9', 'x')".into(),
        format!("select app.set_merchant_user('SHOP-001', '{}')", ming.id),
        r#"select app.update_settings('{"qr_ttl_seconds": 60}')"#.into(),
    ];
    (shop, calls)
}

/// The tables that RPCs write.
fn tables(session: &Session) -> Vec<String> {
    session.column(
        "select c.oid::regclass::text from pg_class c where c.relkind in ('r', 'p') and not c.relispartition \
         and c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace) order by 1",
    )
}

/// Asserts that nothing but the error itself and names is told.
#[track_caller]
fn tells_no_row(failure: &Failure, doing: &str) {
    assert_eq!((failure.detail.as_str(), failure.more.inner_query.as_str()), ("", ""), "{doing}: {failure:?}");
    for value in ["987.65", "983.21", "98321", "990.65", "13800000000", "\\x", "4.44"] {
        let told = format!("{} {} {}", failure.message, failure.hint, failure.more.context);
        assert!(!told.contains(value), "{doing}: {failure:?}");
    }
}

#[test]
fn no_constraint_of_the_shops_shows_the_row_that_it_refuses() {
    let (shop, calls) = stage();
    let kinds = [
        ("add constraint house check (false) not valid", "drop constraint house", "23514"),
        (
            "add column house integer not null default 1; alter table {t} alter house drop default",
            "drop column house",
            "23502",
        ),
    ];
    let mut refused = 0;
    for table in tables(&shop.superuser) {
        for (hang, take_off, code) in kinds {
            shop.superuser.run(&format!("alter table {table} {}", hang.replace("{t}", &table)));
            for call in &calls {
                shop.backend.run("begin");
                let answer = shop.backend.try_rows(call);
                shop.backend.run("rollback");
                // Some write nothing to this table.
                if let Err(failure) = answer {
                    refused += 1;
                    assert_eq!(failure.code, code, "{table}: {call}: {failure:?}");
                    assert!(!failure.more.table.is_empty(), "{failure:?}");
                    assert_eq!(failure.more.constraint == "house", code == "23514", "{failure:?}");
                    tells_no_row(&failure, &format!("{table}: {call}"));
                }
            }
            shop.superuser.run(&format!("alter table {table} {take_off}"));
        }
    }
    assert!(refused > 60, "{refused}");
}

/// A function of the shop's, to be hung on a table, and what it does there.
fn trigger(body: &str) -> String {
    format!(
        "create function public.house() returns trigger language plpgsql set search_path = public, pg_temp as $$ \
         begin {body}; return null; end $$; \
         create trigger house after insert or update on app.personal_cards for each row execute function public.house()"
    )
}

/// What a shop can put on tables that refuses the first call, with what it ends in.
fn refusals() -> Vec<(String, &'static str)> {
    let fixed = [
        ("create unique index house on app.transactions_{m} (tx_type) where tx_type = 'payment'", "23505"),
        (
            "alter table app.transactions_{m} add constraint house exclude using btree (tx_type with =) where (tx_type = 'payment')",
            "23P01",
        ),
        (
            "create table public.house (v numeric primary key); grant select on public.house to mps_owner; \
             alter table app.transactions_{m} add foreign key (final_amount) references public.house not valid",
            "23503",
        ),
        (
            "alter table app.personal_cards add column house integer generated always as \
                (case when balance between 980 and 985 then (balance::text || 'x')::integer end) stored",
            "22P02",
        ),
        (
            "alter table app.personal_cards \
                add constraint house check (case when balance between 980 and 985 then (balance::text || 'x')::integer > 1 end)",
            "22P02",
        ),
        (
            "create domain public.house as numeric(14,2) check (value <> 4.44); \
             alter table app.transactions add column house public.house; \
             create function public.copy() returns trigger language plpgsql set search_path = public, pg_temp as \
                $$ begin new.house = new.final_amount; return new; end $$; \
             create trigger copy before insert on app.transactions_{m} for each row execute function public.copy()",
            "23514",
        ),
    ];
    let mut all: Vec<_> = fixed.iter().map(|(sql, code)| (sql.to_string(), *code)).collect();
    all.extend([
        (trigger("execute format('select %L::integer', new.balance::text || 'x')"), "22P02"),
        (trigger("execute format('select no_such_function(%L)', new.balance)"), "42883"),
        (trigger("execute format('select 1 / (%s - %s)', new.balance, new.balance)"), "22012"),
        (trigger("perform replace(new.balance::text, '.', '')::smallint"), "22003"),
        (trigger("raise exception 'closed for stocktaking'"), "P0001"),
    ]);
    all
}

#[test]
fn nothing_that_the_shop_puts_on_a_table_shows_its_rows() {
    let (mut shop, calls) = stage();
    let m = shop.superuser.value("select to_char(now() at time zone 'UTC', 'YYYYMM')");
    for (hung, code) in refusals() {
        shop.superuser.run(&format!("begin; {}", hung.replace("{m}", &m)));
        // The same call of a superuser, who sees it all, in the transaction that is undone.
        let seen = shop.superuser.failure(&calls[0]);
        shop.superuser.run("rollback");
        let told = format!("{} {} {} {}", seen.message, seen.detail, seen.more.context, seen.more.inner_query);
        assert!(
            code == "P0001" || ["983.21", "98321", "payment", "4.44"].iter().any(|v| told.contains(v)),
            "{hung}: {seen:?}"
        );

        shop.superuser.run(&hung.replace("{m}", &m));
        let failure = shop.backend.failure(&calls[0]);
        assert_eq!(
            (failure.code.as_str(), &failure.more.table, &failure.more.constraint),
            (code, &seen.more.table, &seen.more.constraint),
            "{hung}"
        );
        tells_no_row(&failure, &hung);
        assert_eq!(failure.more.context, "", "{hung}");
        // The message stays, less what it quotes of a row.
        let about = seen.message.split('"').step_by(2).collect::<Vec<_>>().join("\"…\"");
        let expected = if code.starts_with("22") { &about } else { &seen.message };
        assert_eq!(&failure.message, expected, "{hung}");
        shop.superuser.run(
            "drop table if exists public.house cascade; drop domain if exists public.house cascade; \
             drop function if exists public.house cascade; drop function if exists public.copy cascade; \
             alter table app.personal_cards drop column if exists house cascade; \
             alter table app.personal_cards drop constraint if exists house",
        );
        shop.superuser.run(&format!("alter table app.transactions_{m} drop constraint if exists house"));
        shop.superuser.run("drop index if exists app.house");
        shop.superuser.run("alter table app.transactions drop column if exists house");
    }
    shop.backend.run(&calls[0]);
    shop.db.without_books();
}

/// The text of a RAISE is the shop's, and so are its detail and its hint. Ours stay whole, too.
#[test]
fn what_the_shop_says_itself_is_shown() {
    let (shop, calls) = stage();
    shop.superuser.run(&trigger(
        "raise exception 'closed' using detail = 'until 4.44 pm', hint = 'come later', errcode = 'PT409'",
    ));
    let failure = shop.backend.failure(&calls[0]);
    let told = [&failure.code, &failure.message, &failure.detail, &failure.hint].map(String::as_str);
    assert_eq!(told, ["PT409", "closed", "until 4.44 pm", "come later"]);
    shop.superuser.run("drop function public.house cascade");
    let failure = shop.backend.failure("select * from app.user_recharge_personal_card(null, 1)");
    failure.must_be("INVALID_ARGUMENT", "null");
    // What the caller called it from is the caller's own.
    shop.superuser.run(
        "create function public.pay(x text) returns void language plpgsql as $$ begin execute x; end $$; \
         grant execute on function public.pay to public",
    );
    for hung in [trigger("perform 1/0"), "select".into()] {
        shop.superuser.run(&hung);
        let amount = if hung == "select" { "0" } else { "4.44" };
        let call = calls[0].replace("4.44", amount).replace('\'', "''");
        let failure = shop.backend.failure(&format!("select public.pay('{call}')"));
        assert!(failure.more.context.contains("function pay(text) line 1 at EXECUTE"), "{failure:?}");
        assert!(!failure.more.context.contains("house"), "{failure:?}");
        shop.superuser.run("drop function if exists public.house cascade");
    }
}

/// Nobody has to guess: what the caller is not told stands in the log.
#[test]
fn the_log_has_what_was_withheld() {
    let (shop, calls) = stage();
    let name = format!("house_{}", std::process::id());
    shop.superuser.run(&format!("alter table app.personal_cards add constraint {name} check (balance < 0) not valid"));
    let failure = shop.backend.failure(&calls[0]);
    assert_eq!((failure.code.as_str(), &failure.more.constraint), ("23514", &name));
    tells_no_row(&failure, "log");
    if let Ok(log) = std::env::var("MPS_LOG") {
        let text = String::from_utf8_lossy(&std::fs::read(log).expect("the log of the cluster")).into_owned();
        let from = text.find(&name).expect("the failure is in the log");
        assert!(text[from..].contains("Failing row contains ("), "{}", &text[from..]);
        assert!(text[from..].contains("983.21"));
    }
}
