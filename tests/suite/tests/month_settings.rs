//! What a shop adds to the tables that are kept by month reaches the months to come, or is named.

use mps_tests::{Db, Session, Shop, q};

/// What is added, and a condition that the next month then meets: `{new}`, `{now}` (this month's).
type Case = (&'static str, &'static str);

const TABLES: [&str; 3] = ["app.transactions", "app.point_ledger", "audit.event_log"];

/// Far from every month that there is.
const LATER: &str = "209005";

fn this_month(session: &Session) -> String {
    session.value("select to_char(now() at time zone 'UTC', 'YYYYMM')")
}

fn version(session: &Session) -> i32 {
    session.value("select current_setting('server_version_num')").parse().expect("a number")
}

/// A column of the next month's transactions.
macro_rules! column {
    ($name:literal, $condition:literal) => {
        concat!(
            "select coalesce(bool_and(",
            $condition,
            "), false) from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
             where a.attrelid = '{new}'::regclass and a.attname = '",
            $name,
            "' and not a.attisdropped"
        )
    };
}

const CARRIED: &[Case] = &[
    // Columns.
    (
        "alter table app.transactions add column cents numeric generated always as (final_amount * 100) stored",
        column!("cents", "a.attgenerated = 's' and pg_get_expr(d.adbin, d.adrelid) like '%100%'"),
    ),
    (
        "alter table app.transactions add column till text collate \"C\" not null default 'till 1'",
        column!(
            "till",
            "a.attnotnull and a.attcollation = '\"C\"'::regcollation and pg_get_expr(d.adbin, d.adrelid) like '%till 1%'"
        ),
    ),
    (
        "alter table app.transactions add column gone text, add column stays text; alter table app.transactions drop column gone",
        column!("stays", "a.attnum = 37"),
    ),
    (
        "alter table app.transactions alter tag set storage external; alter table app.transactions alter tag set statistics 500",
        column!("tag", "a.attstorage = 'e' and a.attstattarget = 500"),
    ),
    ("alter table app.transactions alter tag set compression pglz", column!("tag", "a.attcompression = 'p'")),
    (
        "alter table {now} alter tag set compression pglz, alter tag set storage main, alter tag set statistics 7",
        column!("tag", "a.attstorage = 'm' and a.attstattarget = 7 and a.attcompression = 'p'"),
    ),
    (
        "alter table {now} alter member_id set (n_distinct = 77), alter card_id set (n_distinct = -0.5)",
        column!("member_id", "a.attoptions @> '{n_distinct=77}'"),
    ),
    (
        "comment on column app.transactions.reason is 'what the till said'",
        "select col_description('{new}'::regclass, attnum) = 'what the till said' from pg_attribute where attrelid = '{new}'::regclass \
         and attname = 'reason'",
    ),
    // Constraints.
    (
        "alter table app.transactions add constraint house_limit check (final_amount < 5000) not valid; comment on constraint \
         house_limit on app.transactions is 'of the house'",
        "select convalidated and coninhcount = 1 and obj_description(oid) = 'of the house' from pg_constraint where conrelid = \
         '{new}'::regclass and conname = 'house_limit'",
    ),
    (
        "alter table app.transactions add foreign key (merchant_id) references app.merchants",
        "select count(*) = 1 from pg_constraint where conrelid = '{new}'::regclass and contype = 'f'",
    ),
    (
        "alter table app.transactions add unique (id, created_at); create table public.receipts (id bigint, at timestamptz, foreign key \
         (id, at) references app.transactions (id, created_at))",
        "select count(*) = 1 from pg_constraint where confrelid = '{new}'::regclass and contype = 'f'",
    ),
    // Indexes.
    (
        "create index on app.transactions (lower(reason)) where reason is not null; create unique index on app.transactions (tx_no, \
         created_at) with (fillfactor = 60)",
        "select count(*) = 2 and bool_or(indisunique and c.reloptions = '{fillfactor=60}') and bool_or(indpred is not null) from \
         pg_index join pg_class c on c.oid = indexrelid \
         where indrelid = '{new}'::regclass and (indexprs is not null or c.reloptions is not null)",
    ),
    (
        "create index own on app.transactions (reason) tablespace {space}",
        "select count(*) = 1 from pg_index join pg_class c on c.oid = indexrelid join pg_tablespace s on s.oid = c.reltablespace where \
         indrelid = '{new}'::regclass and spcname = '{space}'",
    ),
    // Where and how it is stored.
    (
        "alter table app.transactions set tablespace {space}",
        "select spcname = '{space}' from pg_class c join pg_tablespace s on s.oid = c.reltablespace where c.oid = '{new}'::regclass",
    ),
    (
        "alter table {now} set tablespace {space}; alter index {now}_pkey set tablespace {space}",
        "select count(*) = 2 from pg_class c join pg_tablespace s on s.oid = c.reltablespace where c.oid in ('{new}'::regclass, \
         '{new}_pkey'::regclass) and spcname = '{space}'",
    ),
    (
        "alter table {now} set (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_enabled = false)",
        "select c.reloptions @> '{fillfactor=85,autovacuum_vacuum_scale_factor=0.01}' and t.reloptions @> '{autovacuum_enabled=false}' \
         from pg_class c join pg_class t on t.oid = c.reltoastrelid where c.oid = '{new}'::regclass",
    ),
    (
        "alter table app.transactions replica identity full",
        "select relreplident = 'f' from pg_class where oid = '{new}'::regclass",
    ),
    (
        "alter table {now} replica identity nothing",
        "select relreplident = 'n' from pg_class where oid = '{new}'::regclass",
    ),
    (
        "create unique index own on app.transactions (id, created_at); \
         do $$ begin execute 'alter table {now} replica identity using index ' || (select relname from pg_index join pg_class c on \
         c.oid = indexrelid \
            join pg_inherits on inhrelid = indexrelid where inhparent = 'app.own'::regclass and indrelid = '{now}'::regclass); end $$",
        "select relreplident = 'i' from pg_class where oid = '{new}'::regclass",
    ),
    // What fires.
    (
        "create function public.see() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$ begin return new; \
         end $$; \
         create trigger see after insert on app.transactions for each row execute function public.see(); alter table app.transactions \
         enable always trigger see",
        "select tgenabled = 'A' and tgparentid <> 0 from pg_trigger where tgrelid = '{new}'::regclass and tgname = 'see'",
    ),
    // Publications.
    (
        "create publication own for table app.transactions",
        "select count(*) = 1 from pg_publication_tables where pubname = 'own' and tablename = 'transactions_209005'",
    ),
    (
        "create publication own for table app.transactions (id, created_at, tx_no) where (id > 0) with (publish_via_partition_root)",
        "select count(*) = 1 from pg_publication_tables where pubname = 'own' and tablename = 'transactions' and attnames = \
         '{id,created_at,tx_no}' and rowfilter is not null",
    ),
    (
        "create publication own for all tables",
        "select count(*) = 1 from pg_publication_tables where pubname = 'own' and tablename = 'transactions_209005'",
    ),
    (
        "create publication own for tables in schema app",
        "select count(*) = 1 from pg_publication_tables where pubname = 'own' and tablename = 'transactions_209005'",
    ),
];

/// A tablespace that the owner of the tables may use, and one that it may not.
struct Spaces {
    session: Session,
    names: [String; 2],
}

impl Spaces {
    fn make(db: &Db) -> Spaces {
        let session = db.superuser();
        let names = ["space", "forbidden"].map(|n| format!("{}_{n}", db.name));
        session.run("set allow_in_place_tablespaces = on");
        for name in &names {
            session.run(&format!("create tablespace {name} location ''"));
        }
        session.run(&format!("grant create on tablespace {} to mps_owner", names[0]));
        Spaces { session, names }
    }

    fn drop(self) {
        for name in &self.names {
            self.session.run(&format!("drop tablespace {name}"));
        }
    }
}

fn filled(text: &str, month: &str, spaces: &Spaces) -> String {
    text.replace("{now}", &format!("app.transactions_{month}"))
        .replace("{new}", &format!("app.transactions_{LATER}"))
        .replace("{space}", &spaces.names[0])
        .replace("{forbidden}", &spaces.names[1])
}

#[test]
fn what_is_added_reaches_the_next_month() {
    let shop = Shop::open();
    let spaces = Spaces::make(&shop.db);
    let s = &shop.superuser;
    let month = this_month(s);
    let newer: &[Case] = &[(
        "create access method own type table handler heap_tableam_handler; alter table app.transactions set access method own",
        "select amname = 'own' from pg_class c join pg_am a on a.oid = c.relam where c.oid = '{new}'::regclass",
    )];
    let newer = if version(s) >= 170_000 { newer } else { &[] };
    let mut lost = Vec::new();
    for (add, check) in CARRIED.iter().chain(newer) {
        s.run("begin");
        s.run(&filled(add, &month, &spaces));
        let outcome =
            s.try_rows("select sec.make_month('2090-05-05')").and_then(|_| s.try_rows(&filled(check, &month, &spaces)));
        let outcome = outcome.and_then(|rows| s.try_rows("select sec.try_month('2090-05-01')").map(|_| rows));
        match outcome {
            Ok(rows) if rows.len() == 1 && rows[0].values() == ["t"] => (),
            other => lost.push(format!("{add}: {other:?}")),
        }
        s.run("rollback");
    }
    assert!(lost.is_empty(), "{lost:#?}");
    spaces.drop();
}

/// What stays behind, and what is said of it.
const NAMED: &[Case] = &[
    ("create index own on {now} (reason)", "index app.own"),
    ("alter table {now} add constraint own check (final_amount < 7)", "constraint own"),
    (
        "create function public.see() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$ begin return new; \
         end $$; \
         create trigger see after insert on {now} for each row execute function public.see()",
        "trigger see",
    ),
    ("create policy own on {now} using (true)", "policy own"),
    ("create rule own as on insert to {now} do also notify own", "rule own"),
    ("create statistics public.own on merchant_id, tx_type from {now}", "statistics public.own"),
    ("create publication own for table {now}", "publication own"),
    ("alter table {now} alter reason set default 'x'", "default of column reason"),
    ("grant select on {now} to stranger", "rights of stranger"),
    (
        "create unique index own on {now} (id, created_at); alter table {now} replica identity using index own",
        "index app.own, replica identity",
    ),
    (
        "create access method own type table handler heap_tableam_handler; alter table {now} set access method own",
        "access method own",
    ),
    ("alter table {now} set tablespace {forbidden}", "tablespace {forbidden} of app.transactions_"),
    (
        "alter table app.transactions set tablespace {forbidden}",
        "tablespace {forbidden} of app.transactions is not for later",
    ),
    (
        "create function public.see() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$ begin return new; \
         end $$; \
         create trigger see after insert on app.transactions for each statement execute function public.see()",
        "trigger see on app.transactions does not fire",
    ),
    (
        "create rule own as on insert to app.transactions do also notify own",
        "rule own on app.transactions is not followed",
    ),
    (
        "alter table app.transactions add foreign key (merchant_id) references app.merchants",
        "keeps writers of app.merchants waiting",
    ),
    (
        "alter table app.point_ledger add foreign key (card_id) references app.personal_cards",
        "keeps writers of app.personal_cards waiting",
    ),
];

#[test]
fn what_stays_behind_is_named_and_stops_nothing() {
    let shop = Shop::open();
    let spaces = Spaces::make(&shop.db);
    let s = &shop.superuser;
    let month = this_month(s);
    s.run("call app.maintain_partitions()");
    let detail = "select detail from app.health() where check_name = 'next_month'";
    assert!(s.value(detail).ends_with("can be made and written to"), "{}", s.value(detail));
    for (add, says) in NAMED {
        s.run("begin");
        s.run(&filled(add, &month, &spaces));
        s.run("select sec.make_month('2090-05-05')");
        let said = s.value(detail);
        assert!(said.contains(&filled(says, &month, &spaces)), "{add}: {said}");
        assert_eq!(s.value("select ok from app.health() where check_name = 'next_month'"), "t", "{add}");
        s.run("rollback");
    }
    spaces.drop();
}

/// What would not reach the next month and is refused by the server when it is added, in the months that there are.
const REFUSED: &[&str] = &[
    "alter table app.transactions add primary key (id, created_at)",
    "alter table app.transactions add unique (tx_no)",
    "alter table app.transactions add foreign key (merchant_id) references app.merchants not valid",
    "alter table app.transactions add check (final_amount > 0) no inherit",
    "alter table app.transactions set (fillfactor = 70)",
    "create publication own for table app.transactions (id, created_at)",
];

#[test]
fn what_cannot_reach_it_is_refused_when_it_is_added() {
    let shop = Shop::open();
    let s = &shop.superuser;
    // From PostgreSQL 17 on identity columns go to every partition, from 18 on such keys do.
    let identity = "alter table app.transactions add column nth bigint generated always as identity";
    for sql in REFUSED.iter().copied().chain([identity]) {
        let reaches = sql == identity && version(s) >= 170_000 || sql.ends_with("not valid") && version(s) >= 180_000;
        s.run("begin");
        if reaches {
            s.run(sql);
            s.run("select sec.make_month('2090-05-05'), sec.try_month('2090-05-01')");
        } else {
            s.failure(sql);
        }
        s.run("rollback");
    }
}

#[test]
fn months_that_were_made_before_get_what_keeps_nobody_waiting() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let month = this_month(s);
    s.run("call app.maintain_partitions(2)");
    assert_eq!(s.value("select count(*) from pg_inherits where inhparent = 'app.transactions'::regclass"), "4");
    s.run(&format!(
        "alter table app.transactions_{month} set (fillfactor = 85, toast.autovacuum_enabled = false), alter tag set statistics 9, \
         alter merchant_id set (n_distinct = 3)"
    ));
    s.run("comment on column app.transactions.reason is 'what the till said'");
    s.run(&format!("alter table audit.event_log_{month} set (autovacuum_enabled = false)"));
    s.run("call app.maintain_partitions(3)");
    let wanted = "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class t on t.oid = c.reltoastrelid \
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'tag' join pg_attribute m on m.attrelid = c.oid and m.attname = \
        'merchant_id' \
        join pg_attribute r on r.attrelid = c.oid and r.attname = 'reason' \
        where inhparent = 'app.transactions'::regclass and c.reloptions = '{fillfactor=85}' and t.reloptions = \
        '{autovacuum_enabled=false}' \
          and a.attstattarget = 9 and m.attoptions @> '{n_distinct=3}' and col_description(c.oid, r.attnum) = 'what the till said'";
    // The present month's comment is its table's to have.
    assert_eq!(s.value(wanted), "3");
    let logs = "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid where inhparent = 'audit.event_log'::regclass \
     and c.reloptions = '{autovacuum_enabled=false}'";
    assert_eq!(
        s.value(logs),
        s.value("select count(*) from pg_inherits where inhparent = 'audit.event_log'::regclass")
    );
}

/// Everything that a shop can add at once; its month turns, and the first charge makes the month.
#[test]
fn the_first_charge_of_the_next_month_works_with_all_of_it() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let ming = shop.member("100.00");
    s.run(
        "alter table app.transactions add column cents numeric generated always as (final_amount * 100) stored;
         alter table app.point_ledger add column doubled bigint generated always as (change * 2) stored;
         alter table audit.event_log add column of_payment boolean generated always as (action = 'payment') stored;
         alter table app.transactions add column gone text, add column till text not null default 'till 1';
         alter table app.transactions drop column gone;
         alter table app.transactions add constraint house_limit check (final_amount < 5000) not valid;
         alter table app.transactions add foreign key (merchant_id) references app.merchants;
         alter table app.transactions add unique (id, created_at);
         create table public.receipts (id bigint, at timestamptz, foreign key (id, at) references app.transactions (id, created_at));
         create index on app.transactions (lower(reason));
         create unique index on app.transactions (tx_no, created_at);
         create publication own for table app.transactions;
         create function public.see() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
         begin new.till := 'till 2'; return new; end $$;
         create trigger see before insert on app.transactions for each row execute function public.see()",
    );
    s.run("call app.maintain_partitions(0)");
    assert_eq!(s.value("select problem from app.month_rehearsals"), "NULL");
    let code = shop.code(&ming);
    let month = this_month(s);
    // The month is gone for as long as this transaction lasts.
    s.run("begin");
    for table in TABLES {
        s.run(&format!(
            "alter table {table} detach partition {table}_{month}; alter table {table}_{month} rename to kept_{}",
            table.split('.').next_back().unwrap()
        ));
    }
    s.become_role("service_role", r#"{"role":"service_role"}"#);
    let paid = s.row(&Shop::charge_sql(&code, "20.00", ""))["tx_no"].to_owned();
    s.run(&Shop::refund_sql(&paid, "5.00", ""));
    s.run("select set_config('role', 'none', false)");
    let row = s.row(&format!("select cents, till, refunded_amount from app.transactions where tx_no = {}", q(&paid)));
    assert_eq!(row.values(), ["2000.00", "till 2", "5.00"]);
    assert_eq!(s.value("select sum(doubled) from app.point_ledger"), "30");
    assert_eq!(s.value("select count(*) from audit.event_log where of_payment"), "1");
    s.run("rollback");
}

/// A month whose table a shop made and attached itself, with all columns in another order.
#[test]
fn a_month_with_its_columns_in_another_order_is_served() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let ming = shop.member("100.00");
    let (code, month) = (shop.code(&ming), this_month(s));
    s.run("begin");
    for (table, key) in TABLES.into_iter().zip(["id", "card_id, point_seq", "id"]) {
        let name = table.split('.').next_back().expect("a name");
        let bounds = s.value(&format!(
            "select pg_get_expr(relpartbound, oid) from pg_class where oid = '{table}_{month}'::regclass"
        ));
        let columns = s.value(&format!(
            "select string_agg(format('%I %s %s', attname, format_type(atttypid, atttypmod), case when attnotnull then 'not null' end), \
             ', ' order by attname desc) \
             from pg_attribute where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped"
        ));
        s.run(&format!(
            "alter table {table} detach partition {table}_{month}; alter table {table}_{month} rename to kept_{name}; \
             alter index {table}_{month}_pkey rename to kept_{name}_pkey; \
             create table {table}_{month} ({columns}); alter table {table}_{month} owner to mps_owner; \
             alter table {table}_{month} add constraint {name}_{month}_pkey primary key ({key}); \
             alter table {table} attach partition {table}_{month} {bounds}"
        ));
    }
    s.become_role("service_role", r#"{"role":"service_role"}"#);
    let paid = s.row(&Shop::charge_sql(&code, "20.00", "p_idempotency_key => 'k'"))["tx_no"].to_owned();
    assert_eq!(&s.row(&Shop::refund_sql(&paid, "5.00", ""))["refundable_left"], "15.00");
    assert_eq!(s.column(&format!("select final_amount from app.tx_by_no({})", q(&paid))), ["20.00", "5.00"]);
    s.run("select set_config('role', 'none', false)");
    let kept = "select t.refunded_amount || ' ' || t.idempotency_key || ' ' || (select sum(change) from app.point_ledger) || ' ' || \
     (select count(*) from audit.event_log) \
        from app.transactions t where t.tx_no = ";
    assert_eq!(s.value(&format!("{kept}{}", q(&paid))), "5.00 k 15 2");
    s.run("rollback");
}
