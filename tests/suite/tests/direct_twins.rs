//! Two shops to which the same happens, some hundred times over: in one the rows are read and written directly, in the other
//! by statements, because something hangs on every table and every index has another name. They must not differ in anything.

use mps_tests::{Company, Member, NULL, SHOP, Session, Shop};
use std::collections::HashSet;

/// Which user is which in both shops.
fn user(n: usize) -> uuid::Uuid {
    uuid::Uuid::from_u128(0x0a00_0000_0000_4000_8000_0000_0000_0000 + n as u128)
}

/// Columns of answers that are each shop's own: ids, codes and times.
const OWN: &[&str] = &["card_id", "created_at", "posted_at", "qr_plain", "qr_expires_at", "updated_at"];

struct Side {
    shop: Shop,
    members: Vec<Member>,
    signed_in: Vec<Session>,
    companies: Vec<Company>,
    /// The last code that was made for each member, and for each member of each company.
    codes: Vec<String>,
}

impl Side {
    fn open() -> Side {
        let shop = Shop::open();
        let cashier = user(99);
        shop.backend.run(&format!("select app.set_merchant_user('{SHOP}', '{cashier}', 'cashier')"));
        let members: Vec<Member> = (0..4)
            .map(|n| {
                let sql = format!("select * from app.register_member('Member {n}', p_user_id => '{}')", user(n));
                let row = shop.backend.row(&sql);
                Member {
                    id: user(n),
                    no: row["member_no"].into(),
                    card: row["card_id"].into(),
                    card_no: row["card_no"].into(),
                }
            })
            .collect();
        let companies = vec![shop.company("0.875", "3000.00", &members[0]), shop.company("1", "20.00", &members[1])];
        shop.bind(&companies[0], &members[2], "member");
        let cashier = shop.db.user(cashier);
        let shop = Shop { cashier, ..shop };
        let signed_in = members.iter().map(|m| shop.db.user(m.id)).collect();
        Side { shop, members, signed_in, companies, codes: vec![String::from("none"); 4 + 2 * 4] }
    }

    /// Has statements do everything.
    fn by_statements(&self) {
        let superuser = &self.shop.superuser;
        superuser.run(
            "create or replace function public.pass() returns trigger language plpgsql as $$ begin return new; end $$",
        );
        for table in tables(superuser) {
            // The log refuses changes by a trigger of its own.
            let when = if table.starts_with("audit") { "insert" } else { "insert or update" };
            superuser.run(&format!(
                "create or replace trigger pass before {when} on {table} for each row execute function public.pass()"
            ));
        }
        let rename = "select format('alter index %s rename to %I', i.indexrelid::regclass, 'other_' || c.relname) \
                      from pg_index i join pg_class c on c.oid = i.indexrelid where i.indisunique and c.relkind = 'i' and c.relname !~ '^other_' \
                        and c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace)";
        for sql in superuser.column(rename) {
            superuser.run(&sql);
        }
    }

    /// Whether a new pay code is made by a statement, which locks every index of the table that it writes to.
    fn writes_by_statements(&self) -> bool {
        let (backend, superuser) = (&self.shop.backend, &self.shop.superuser);
        backend.run("begin");
        backend.run(&self.fill("select * from app.rotate_card_qr('{card0}')"));
        let locked = superuser.value(&format!(
            "select count(*) from pg_locks l join pg_class c on c.oid = l.relation \
             where l.pid = {} and l.mode = 'RowExclusiveLock' and c.relkind = 'i'",
            backend.pid()
        ));
        backend.run("rollback");
        locked != "0"
    }

    /// A statement with what is this shop's own in place of `{card0}`, `{code0}`, `{company0}` and so on.
    fn fill(&self, sql: &str) -> String {
        let mut sql = sql.to_owned();
        for (n, member) in self.members.iter().enumerate() {
            sql = sql.replace(&format!("{{card{n}}}"), &member.card);
        }
        for (n, company) in self.companies.iter().enumerate() {
            sql = sql.replace(&format!("{{company{n}}}"), &company.card);
        }
        for (n, code) in self.codes.iter().enumerate() {
            sql = sql.replace(&format!("{{code{n}}}"), code);
        }
        sql
    }

    /// What a statement answers, without what is this shop's own; remembers codes and replaced cards.
    fn ask(&mut self, ask: &Ask) -> String {
        let session = match ask.who {
            Who::Cashier => &self.shop.cashier,
            Who::Backend => &self.shop.backend,
            Who::Member(n) => &self.signed_in[n],
            Who::Superuser => &self.shop.superuser,
        };
        let sql = self.fill(&ask.sql);
        match session.try_rows(&sql) {
            Err(e) => format!("{} {} {} {}", e.code, e.message, e.detail, e.hint),
            Ok(rows) => {
                if let (Some(place), Some(row)) = (ask.makes_code, rows.first()) {
                    self.codes[place] = row["qr_plain"].to_owned();
                }
                if let (Some(n), Some(row)) = (ask.replaces, rows.first()) {
                    self.members[n].card = row["card_id"].to_owned();
                }
                rows.iter().map(|row| format!("{:?}", row.without(OWN))).collect()
            }
        }
    }

    /// All rows that MPS keeps, without what is this shop's own.
    fn books(&self) -> Vec<String> {
        let card = "(select c.card_no from app.personal_cards c where c.id = t.card_id union all \
                     select c.card_no from app.enterprise_cards c where c.id = t.card_id)";
        [
            "select jsonb_build_array(card_no, member_id, replaced_by is null, expires_at is null, status, level, points, point_seq, card_seq, \
                last_tx_id, skip_tx_id, last_posted_at is null, qr_expires_at is null, balance, discount, qr_hash is null) \
             from app.personal_cards order by card_no"
                .to_owned(),
            "select to_jsonb(c) - '{id,created_at,last_posted_at}'::text[] from app.enterprise_cards c order by card_no".into(),
            "select jsonb_build_array(member_id, role, qr_hash is null, qr_expires_at is null) from \
                app.enterprise_card_bindings order by 1".into(),
            "select to_jsonb(m) - 'created_at' from app.member_profiles m order by id".into(),
            format!("select to_jsonb(t) - '{{created_at,posted_at,card_id}}'::text[] || jsonb_build_object('card', {card}, \
                'posted', posted_at is not null) from app.transactions t order by id"),
            format!("select to_jsonb(t) - '{{created_at,card_id}}'::text[] || jsonb_build_object('card', {card}) from \
                app.point_ledger t order by tx_no, 1"),
            "select to_jsonb(c) - 'created_at' from app.transaction_compensations c order by tx_no, 1".into(),
            "select to_jsonb(k) from app.idempotency_keys k order by 1".into(),
            "select to_jsonb(o) from app.external_orders o order by 1".into(),
            format!("select jsonb_build_array(t.tx_id, {card}) from app.pending_recharges t order by 1"),
            format!("select jsonb_build_array(t.tx_id, t.merchant_id, t.member_id, {card}) from app.late_postings t order by 1"),
            "select to_jsonb(s) - '{created_at,resolved_at}'::text[] from app.suspense_payments s order by 1".into(),
            "select jsonb_build_array(id, actor_user_id, actor_role, action, object_type, object_id, context - '{card_id,posted_at}'::text[]) \
             from audit.event_log where action <> 'merchant.user_set' order by id"
                .into(),
        ]
        .iter()
        .flat_map(|sql| self.shop.superuser.column(sql))
        .collect()
    }
}

/// The tables that the RPCs write to row by row.
fn tables(superuser: &Session) -> Vec<String> {
    superuser.column(
        "select c.oid::regclass from pg_class c where c.relkind = 'r' and c.relname !~ '^(settings|membership_levels|archived_months)$' \
           and c.relnamespace = 'app'::regnamespace union all \
         select c.oid::regclass from pg_class c where c.relkind = 'r' and c.relname like 'event_log%' and c.relnamespace = 'audit'::regnamespace",
    )
}

#[derive(Clone, Copy)]
enum Who {
    Cashier,
    Backend,
    Member(usize),
    Superuser,
}

/// Something to be asked of both.
struct Ask {
    who: Who,
    sql: String,
    makes_code: Option<usize>,
    replaces: Option<usize>,
}

/// Numbers without rhyme, the same in every run (a linear congruence of Knuth's).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn ask(dice: &mut Dice) -> Ask {
    let (n, company) = (dice.below(4), dice.below(2));
    let (whole, cents) = (dice.below(9), dice.below(100));
    let amount = match dice.below(12) {
        0 => "5000.00".into(),
        1 => "0.00".into(),
        2 => format!("{whole}.{cents:02}7"),
        _ => format!("{}.{cents:02}", whole * whole * whole),
    };
    // Of some hundred transactions; letters of all kinds, so that some are of another kind than asked for.
    let of = |dice: &mut Dice| {
        let letters = ["ZF", "ZF", "ZF", "ZF", "CZ", "TK"][dice.below(6) as usize];
        format!("{letters}' || to_char(now() at time zone 'UTC', 'YYMM') || '{:06}", 1 + dice.below(250))
    };
    let key = match dice.below(3) {
        0 => format!(", p_idempotency_key => 'k{}'", dice.below(25)),
        _ => String::new(),
    };
    let order = match dice.below(4) {
        0 => format!(", p_external_order_id => 'o{}'", dice.below(40)),
        _ => String::new(),
    };
    // Codes 0 to 3 are the members', the rest those for companies.
    let place = if dice.below(3) == 0 { 4 + company * 4 + n } else { n };
    let backend = |sql: String| Ask { who: Who::Backend, sql, makes_code: None, replaces: None };
    let cashier = |sql: String| Ask { who: Who::Cashier, ..backend(sql) };
    match dice.below(30) {
        0..=8 => cashier(format!(
            "select * from app.merchant_charge_by_qr('{SHOP}', '{{code{place}}}', {amount}, 'r'{key}{order})"
        )),
        9..=14 => {
            let sql = match place {
                4.. => format!(
                    "select * from app.rotate_card_qr('{{company{company}}}', 'enterprise', '{}')",
                    user(n as usize)
                ),
                _ => format!("select * from app.rotate_card_qr('{{card{n}}}')"),
            };
            Ask { makes_code: Some(place as usize), ..backend(sql) }
        }
        15..=18 => {
            let of = of(dice);
            cashier(format!("select * from app.merchant_refund_tx('{SHOP}', '{of}', {amount}{key})"))
        }
        19 | 20 => backend(format!(
            "select * from app.user_recharge_personal_card('{{card{n}}}', {amount}, 'cash'{key}{order})"
        )),
        21 => Ask {
            who: Who::Member(n as usize),
            ..backend(format!(
                "select * from app.user_recharge_personal_card('{{card{n}}}', {amount}, 'wechat'{key}{order})"
            ))
        },
        // The oldest that waits, with the right amount or a wrong one.
        22 => {
            let paid = ["t.final_amount", "t.final_amount", "t.final_amount + 1"][dice.below(3) as usize];
            let oldest = "select * from app.transactions where status = 'processing' order by id limit 1";
            Ask {
                who: Who::Superuser,
                ..backend(format!(
                    "select c.* from ({oldest}) t, app.confirm_recharge(t.tx_no, {paid}, 'trade{}') c",
                    dice.below(20)
                ))
            }
        }
        23 => {
            let of = of(dice);
            backend(format!("select * from app.compensate_tx('{of}', -{amount}, 'wrong'{key})"))
        }
        24 => backend(format!(
            "select * from app.adjust_points('{{card{n}}}', {}, 'gift'{key})",
            3000 - 500 * whole as i64
        )),
        25 | 26 => {
            let status = ["active", "active", "active", "frozen", "lost"][dice.below(5) as usize];
            backend(format!("select app.set_card_status('{{card{n}}}', 'personal', '{status}', 'x')"))
        }
        27 => {
            let status = ["active", "active", "suspended"][dice.below(3) as usize];
            backend(format!("select app.set_member_status('{}', '{status}', 'x')", user(n as usize)))
        }
        28 => {
            Ask { replaces: Some(n as usize), ..backend(format!("select * from app.replace_card('{{card{n}}}', 'x')")) }
        }
        _ => backend(format!("select * from app.card_statement('{{card{n}}}', p_limit => 5)")),
    }
}

#[test]
fn nothing_differs_between_rows_and_statements() {
    const ASKED: usize = 900;
    let (mut direct, mut stated) = (Side::open(), Side::open());
    stated.by_statements();
    assert_eq!((direct.writes_by_statements(), stated.writes_by_statements()), (false, true));
    let mut dice = Dice(20_261_123);
    let (mut done, mut refused) = (0, HashSet::new());
    for n in 0..ASKED {
        if n == ASKED / 2 {
            // What waits is confirmed in another month than it was asked for in.
            direct.shop.a_month_passes();
            stated.shop.a_month_passes();
            stated.by_statements();
        }
        let ask = ask(&mut dice);
        let answers = (direct.ask(&ask), stated.ask(&ask));
        assert_eq!(answers.0, answers.1, "{n}: {}", ask.sql);
        match answers.0.strip_prefix("PT") {
            None => done += 1,
            Some(error) => {
                refused.insert(error.split(' ').nth(1).unwrap_or(NULL).to_owned());
            }
        }
    }
    let (direct_books, stated_books) = (direct.books(), stated.books());
    for (one, other) in direct_books.iter().zip(&stated_books) {
        assert_eq!(one, other);
    }
    assert_eq!(direct_books.len(), stated_books.len());
    // Enough of everything happened.
    eprintln!("{done} done, refused in {} ways: {refused:?}", refused.len());
    assert!(done > ASKED / 3, "{done} done");
    assert!(refused.len() >= 10, "{refused:?}");
    for condition in [
        "tx_type = 'refund'",
        "tx_type = 'recharge' and gateway_trade_no is not null",
        "card_type = 'enterprise'",
        "prev_tx_id is not null",
    ] {
        assert_ne!(direct.shop.count(condition), "0", "{condition}");
    }
    for table in ["late_postings", "pending_recharges"] {
        assert_ne!(direct.shop.superuser.value(&format!("select count(*) from app.{table}")), "0", "{table}");
    }
}
