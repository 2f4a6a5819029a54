//! A merchant with a cashier, and short names for what happens at the till.

use crate::db::Db;
use crate::session::{NULL, Row, Session, q};
use uuid::Uuid;

/// The code of the merchant that every [`Shop`] has.
pub const SHOP: &str = "SHOP-001";

/// A user id that nobody has.
pub fn nobody() -> Uuid {
    Uuid::new_v4()
}

/// A registered member and its personal card.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: Uuid,
    pub no: String,
    pub card: String,
    pub card_no: String,
}

/// An enterprise card.
#[derive(Clone, Debug)]
pub struct Company {
    pub card: String,
    pub card_no: String,
}

/// A database with one merchant, its cashier, and the shop's server.
pub struct Shop {
    pub backend: Session,
    pub cashier: Session,
    pub cashier_id: Uuid,
    pub superuser: Session,
    pub db: Db,
}

impl Default for Shop {
    fn default() -> Self {
        Shop::open()
    }
}

impl Shop {
    pub fn open() -> Shop {
        Shop::in_database(Db::new())
    }

    pub fn in_database(db: Db) -> Shop {
        let (backend, cashier_id) = (db.backend(), nobody());
        backend.run(&format!("select * from app.create_merchant('{SHOP}', 'Corner Coffee')"));
        backend.run(&format!("select app.set_merchant_user('{SHOP}', '{cashier_id}', 'cashier')"));
        Shop { cashier: db.user(cashier_id), cashier_id, superuser: db.superuser(), backend, db }
    }

    /// Another merchant, with a cashier of its own.
    pub fn another(&self, code: &str) -> Session {
        let cashier = nobody();
        self.backend.run(&format!("select * from app.create_merchant({}, 'Shop ' || {0})", q(code)));
        self.backend.run(&format!("select app.set_merchant_user({}, '{cashier}')", q(code)));
        self.db.user(cashier)
    }

    /// A new member whose card holds `balance` (a backend's recharge in cash, unless it is "0").
    pub fn member(&self, balance: &str) -> Member {
        let id = nobody();
        let row = self.backend.row(&format!("select * from app.register_member('Member', p_user_id => '{id}')"));
        let member =
            Member { id, no: row["member_no"].into(), card: row["card_id"].into(), card_no: row["card_no"].into() };
        if balance != "0" {
            self.recharge(&member.card, balance);
        }
        member
    }

    /// A new enterprise card, administered by a member.
    pub fn company(&self, discount: &str, balance: &str, admin: &Member) -> Company {
        let row = self
            .backend
            .row(&format!("select * from app.create_enterprise_card('Great Wall Ltd', {discount}, '{}')", admin.id));
        let company = Company { card: row["card_id"].into(), card_no: row["card_no"].into() };
        if balance != "0" {
            self.backend.run(&format!(
                "select * from app.user_recharge_enterprise_card_admin('{}', {balance}, 'cash')",
                company.card
            ));
        }
        company
    }

    /// Binds a member to an enterprise card.
    pub fn bind(&self, company: &Company, member: &Member, role: &str) {
        self.backend
            .run(&format!("select app.enterprise_add_member('{}', '{}', '{role}')", company.card_no, member.id));
    }

    /// A backend's recharge in cash, at once.
    pub fn recharge(&self, card: &str, amount: &str) -> Row {
        self.backend.row(&format!("select * from app.user_recharge_personal_card('{card}', {amount}, 'cash')"))
    }

    /// A fresh pay code of a personal card, as the backend makes it.
    pub fn code(&self, member: &Member) -> String {
        self.backend.row(&format!("select * from app.rotate_card_qr('{}')", member.card))["qr_plain"].to_owned()
    }

    /// A fresh pay code of a member for an enterprise card.
    pub fn company_code(&self, company: &Company, member: &Member) -> String {
        let sql = format!("select * from app.rotate_card_qr('{}', 'enterprise', '{}')", company.card, member.id);
        self.backend.row(&sql)["qr_plain"].to_owned()
    }

    /// The statement with which the cashier charges, for [`Session::row`] or [`Session::refused`].
    pub fn charge_sql(code: &str, amount: &str, more: &str) -> String {
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        format!("select * from app.merchant_charge_by_qr('{SHOP}', {}, {amount}{more})", q(code))
    }

    /// The cashier charges a member's card by a fresh code.
    #[track_caller]
    pub fn charge(&self, member: &Member, amount: &str) -> Row {
        self.cashier.row(&Shop::charge_sql(&self.code(member), amount, ""))
    }

    /// The cashier charges an enterprise card by a fresh code of a member.
    #[track_caller]
    pub fn charge_company(&self, company: &Company, member: &Member, amount: &str) -> Row {
        self.cashier.row(&Shop::charge_sql(&self.company_code(company, member), amount, ""))
    }

    /// The cashier refunds.
    #[track_caller]
    pub fn refund(&self, tx_no: &str, amount: &str) -> Row {
        self.cashier.row(&Shop::refund_sql(tx_no, amount, ""))
    }

    pub fn refund_sql(tx_no: &str, amount: &str, more: &str) -> String {
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        format!("select * from app.merchant_refund_tx('{SHOP}', {}, {amount}{more})", q(tx_no))
    }

    /// balance, points and level of a personal card, as the table has them.
    pub fn card(&self, member: &Member) -> (String, String, String) {
        let row = self
            .superuser
            .row(&format!("select balance, points, level from app.personal_cards where id = '{}'", member.card));
        (row["balance"].into(), row["points"].into(), row["level"].into())
    }

    pub fn balance(&self, card: &str) -> String {
        self.superuser.value(&format!(
            "select balance from app.personal_cards where id = '{card}' union all select balance from app.enterprise_cards \
                where id = '{card}'"
        ))
    }

    pub fn card_status(&self, card: &str) -> String {
        self.superuser.value(&format!(
            "select status from app.personal_cards where id = '{card}' union all select status from app.enterprise_cards \
                where id = '{card}'"
        ))
    }

    /// Backend: moves a card's status.
    #[track_caller]
    pub fn set_card(&self, card: &str, card_type: &str, status: &str) {
        self.backend.run(&format!("select app.set_card_status('{card}', '{card_type}', '{status}', 'test')"));
    }

    /// A member's own recharge, which waits for its confirmation; its number.
    pub fn pending(&self, member: &Member, amount: &str) -> String {
        let sql = format!("select * from app.user_recharge_personal_card('{}', {amount})", member.card);
        let row = self.db.user(member.id).row(&sql);
        assert_eq!(&row["status"], "processing");
        row["tx_no"].to_owned()
    }

    /// The last audit event about an object: who (user, role), what, in which context.
    pub fn last_event(&self, object: &str) -> Row {
        self.superuser.row(&format!(
            "select actor_user_id, actor_role, action, object_type, context from audit.event_log where object_id = {} order \
                by id desc limit 1",
            q(object)
        ))
    }

    /// How many rows of `app.transactions` meet a condition.
    pub fn count(&self, condition: &str) -> String {
        self.superuser.value(&format!("select count(*) from app.transactions where {condition}"))
    }
}

impl Shop {
    /// Makes the extension that compares an index with its table; `false` where the Postgres has no contrib modules.
    pub fn make_amcheck(&self) -> bool {
        let has = self.superuser.value("select count(*) from pg_available_extensions where name = 'amcheck'") == "1";
        if has {
            self.superuser.run("create extension amcheck");
        } else {
            eprintln!("SKIPPED: this Postgres has no amcheck");
        }
        has
    }
}

impl Member {
    /// A card that replaced this one.
    pub fn with_card(&self, card: &str, card_no: &str) -> Member {
        assert_ne!(card, NULL);
        Member { card: card.into(), card_no: card_no.into(), ..self.clone() }
    }
}

impl Shop {
    /// Moves everything that happened into the month before, so that the next call is of another month: rows, numbers and
    /// every reference to them. (The clock of a server cannot be set.)
    pub fn a_month_passes(&self) {
        self.superuser.run(A_MONTH_PASSES);
    }
}

/// Every time goes back by as many days as the present month has had, which lands in the month before and keeps the order.
const A_MONTH_PASSES: &str = r#"
do $$
declare
    v_today date := (now() at time zone 'UTC')::date;
    v_shift interval := make_interval(hours => 24 * extract(day from v_today)::integer);
    v_now text := to_char(v_today, 'YYMM');
    v_then text := to_char(v_today - extract(day from v_today)::integer, 'YYMM');
    v_ids bigint := (v_now::bigint - v_then::bigint) * 100000000000;
    v_no text := '^(ZF|TK|CZ|TZ|TX)' || v_now;
    v_new text := '\1' || v_then;
begin
    perform sec.make_month(v_today - extract(day from v_today)::integer);
    create temp table moved on commit drop as select * from app.transactions;
    delete from app.transactions;
    update moved set id = id - v_ids, prev_tx_id = prev_tx_id - v_ids, skip_tx_id = skip_tx_id - v_ids,
        refund_chain_id = refund_chain_id - v_ids, created_at = created_at - v_shift, posted_at = posted_at - v_shift,
        tx_no = regexp_replace(tx_no, v_no, v_new), original_tx_no = regexp_replace(original_tx_no, v_no, v_new);
    insert into app.transactions select * from moved;
    create temp table moved_points on commit drop as select * from app.point_ledger;
    delete from app.point_ledger;
    update moved_points set created_at = created_at - v_shift, tx_no = regexp_replace(tx_no, v_no, v_new);
    insert into app.point_ledger select * from moved_points;
    update app.personal_cards set last_tx_id = last_tx_id - v_ids, skip_tx_id = skip_tx_id - v_ids, last_posted_at = last_posted_at - v_shift;
    update app.enterprise_cards set last_tx_id = last_tx_id - v_ids, skip_tx_id = skip_tx_id - v_ids, last_posted_at = last_posted_at - v_shift;
    update app.personal_cards set created_at = created_at - v_shift;
    update app.enterprise_cards set created_at = created_at - v_shift;
    update app.enterprise_card_bindings set created_at = created_at - v_shift;
    update app.member_profiles set created_at = created_at - v_shift;
    update app.merchants set created_at = created_at - v_shift;
    update app.merchant_users set created_at = created_at - v_shift;
    update app.idempotency_keys set ref_id = ref_id - v_ids;
    update app.external_orders set tx_id = tx_id - v_ids where tx_id > 0;
    -- What waits has been counted anew where it was moved to.
    delete from app.pending_recharges r where not exists (select from app.transactions t where t.id = r.tx_id);
    update app.asked_methods set tx_id = tx_id - v_ids;
    update app.late_postings set tx_id = tx_id - v_ids, created_at = created_at - v_shift, posted_at = posted_at - v_shift;
    update app.suspense_payments set created_at = created_at - v_shift, resolved_at = resolved_at - v_shift,
        tx_no = regexp_replace(tx_no, v_no, v_new), credited_tx_no = regexp_replace(credited_tx_no, v_no, v_new);
    update app.withdrawals set created_at = created_at - v_shift, settled_at = settled_at - v_shift,
        refund_no = regexp_replace(refund_no, v_no, v_new), tx_no = regexp_replace(tx_no, v_no, v_new),
        source_tx_no = regexp_replace(source_tx_no, v_no, v_new), returned_tx_no = regexp_replace(returned_tx_no, v_no, v_new);
    update app.coupons set created_at = created_at - v_shift;
    update app.coupon_terms set created_at = created_at - v_shift;
    update app.campaigns set created_at = created_at - v_shift;
    update app.campaign_terms set created_at = created_at - v_shift;
    update app.member_coupons set issued_at = issued_at - v_shift, tx_no = regexp_replace(tx_no, v_no, v_new);
    update app.transaction_compensations set created_at = created_at - v_shift, compensation_tx_no = regexp_replace(compensation_tx_no, v_no, v_new),
        tx_no = regexp_replace(tx_no, v_no, v_new);
    execute format('alter table audit.event_log_%s disable trigger append_only', to_char(v_today, 'YYYYMM'));
    execute format('alter table audit.event_log disable trigger append_only');
    create temp table moved_events on commit drop as select * from audit.event_log;
    delete from audit.event_log;
    update moved_events set happened_at = happened_at - v_shift, object_id = regexp_replace(object_id, v_no, v_new),
        context = regexp_replace(context::text, '"(ZF|TK|CZ|TZ|TX)' || v_now, '"\1' || v_then, 'g')::jsonb;
    insert into audit.event_log select * from moved_events;
    execute format('alter table audit.event_log enable always trigger append_only');
    execute format('alter table audit.event_log_%s enable always trigger append_only', to_char(v_today, 'YYYYMM'));
end
$$"#;
