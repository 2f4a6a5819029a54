//! `app.idempotency_keys` and `app.external_orders`: what makes a request happen once, across months.

use crate::engine::db::{Db, kept_from_being_written};
use crate::engine::direct::Path;
use crate::engine::param::p;
use crate::engine::record::{column, record};
use crate::engine::server::Raise;
use mps_domain::card::CardType;
use mps_domain::tx_no::PayMethod;

/// Where a key or an order id is unique: two numbers, whose meaning the COMMENTs on the tables give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    number: i64,
    kind: i16,
}

impl Scope {
    pub fn charge(merchant: i32) -> Scope {
        Scope { number: merchant.into(), kind: 1 }
    }

    pub fn refund(merchant: i32) -> Scope {
        Scope { number: merchant.into(), kind: 2 }
    }

    pub fn merchant_recharge(merchant: i32) -> Scope {
        Scope { number: merchant.into(), kind: 3 }
    }

    pub fn card_recharge(card_type: CardType, card_no: &str) -> Scope {
        Scope::card(card_type, card_no, 11)
    }

    pub fn compensation(card_type: CardType, card_no: &str) -> Scope {
        Scope::card(card_type, card_no, 12)
    }

    pub fn points(card_no: &str) -> Scope {
        Scope::card(CardType::Personal, card_no, 13)
    }

    pub fn withdrawal(card_type: CardType, card_no: &str) -> Scope {
        Scope::card(card_type, card_no, 14)
    }

    pub fn coupon_issue(coupon: i32) -> Scope {
        Scope { number: coupon.into(), kind: 31 }
    }

    /// Of the member with this number.
    pub fn coupon_claim(member: i64) -> Scope {
        Scope { number: member, kind: 32 }
    }

    fn card(card_type: CardType, card_no: &str, kind: i16) -> Scope {
        let number = card_type.serial(card_no).expect("card numbers are ours");
        let offset = if card_type == CardType::Enterprise { 10 } else { 0 };
        Scope { number, kind: kind + offset }
    }
}

/// Where an order id is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderScope {
    number: i64,
    kind: i16,
}

impl OrderScope {
    pub fn payment(merchant: i32) -> OrderScope {
        OrderScope { number: merchant.into(), kind: 1 }
    }

    pub fn recharge(method: PayMethod) -> OrderScope {
        OrderScope { number: method_number(method), kind: 2 }
    }

    /// Of every gateway: a trade number credits once, whatever the payment method.
    pub fn gateway_trade() -> OrderScope {
        OrderScope { number: 0, kind: 3 }
    }

    /// The order of a recharge that a member asked for, before and after its confirmation.
    pub fn of_card(card_type: CardType, card_no: &str) -> OrderScope {
        let kind = if card_type == CardType::Personal { 4 } else { 5 };
        OrderScope { number: card_type.serial(card_no).expect("card numbers are ours"), kind }
    }
}

fn method_number(method: PayMethod) -> i64 {
    match method {
        PayMethod::Balance => 0,
        PayMethod::Cash => 1,
        PayMethod::Wechat => 2,
        PayMethod::Alipay => 3,
    }
}

/// Whose a key or an order id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This request's: nobody had it, and whoever asks for it now waits until this transaction ends.
    Ours,
    /// Somebody had it before, for this.
    Known(i64),
}

record! {
    struct Key<'a> in static KEYS: c"app", "idempotency_keys";
    columns {
        scope_no: i64,
        ref_id: i64,
        operation: i16,
        idempotency_key: &'a str,
    }
    inserted by values;
}

record! {
    struct Order<'a> in static ORDERS: c"app", "external_orders";
    columns {
        scope_no: i64,
        tx_id: i64,
        scope: i16,
        order_id: &'a str,
    }
    inserted by values;
}

static KEY: Path =
    Path { table: &KEYS, index: "idempotency_keys_pkey", key: &["scope_no", "operation", "idempotency_key"] };

static ORDER: Path = Path { table: &ORDERS, index: "external_orders_pkey", key: &["scope_no", "scope", "order_id"] };

/// Takes a key for `ref_id`, or finds what it was taken for. An equal request in flight is waited for: the unique index
/// serialises them, and under a stricter isolation level than READ COMMITTED the later one fails to serialise.
pub fn claim_key(db: &Db, scope: Scope, key: &str, ref_id: i64) -> Claim {
    let new = Key { scope_no: scope.number, ref_id, operation: scope.kind, idempotency_key: key };
    claim(
        || db.insert_or_nothing(&KEY, &new.values(db)),
        || db.find(&KEY, None, &[p(scope.number), p(scope.kind), p(key)], |r| column!(r, KEYS.ref_id)),
    )
}

/// Takes what is free, or says whose it is. What was in the way can be gone at the second look (app.expire_keys() forgets
/// keys after months): then it is free.
fn claim(take: impl Fn() -> bool, look: impl Fn() -> Option<i64>) -> Claim {
    // Gone at every look: something else is the matter.
    const TRIES: u32 = 20;
    for _ in 0..TRIES {
        if take() {
            return Claim::Ours;
        }
        if let Some(known) = look() {
            return Claim::Known(known);
        }
    }
    kept_from_being_written().raise()
}

/// Has a key that this transaction took point to something else.
pub fn repoint_key(db: &Db, scope: Scope, key: &str, ref_id: i64) {
    db.run_once(
        "UPDATE app.idempotency_keys SET ref_id = $4 WHERE scope_no = $1 AND operation = $2 AND idempotency_key = $3",
        &[p(scope.number), p(scope.kind), p(key), p(ref_id)],
    );
}

/// As [`claim_key`], for an order id or a gateway trade number.
pub fn claim_order(db: &Db, scope: OrderScope, order: &str, tx_id: i64) -> Claim {
    let new = Order { scope_no: scope.number, tx_id, scope: scope.kind, order_id: order };
    claim(
        || db.insert_or_nothing(&ORDER, &new.values(db)),
        || db.find(&ORDER, None, &[p(scope.number), p(scope.kind), p(order)], |r| column!(r, ORDERS.tx_id)),
    )
}

/// Whether an order id or a gateway trade number is taken.
pub fn is_claimed(db: &Db, scope: OrderScope, order: &str) -> bool {
    order_owner(db, scope, order).is_some()
}

/// What an order id or a gateway trade number is taken for.
pub fn order_owner(db: &Db, scope: OrderScope, order: &str) -> Option<i64> {
    db.find(&ORDER, None, &[p(scope.number), p(scope.kind), p(order)], |r| column!(r, ORDERS.tx_id))
}

/// What a claimed gateway trade number belongs to: a recharge, or a row of `app.suspense_payments`, whose id stands with a minus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TradeOwner {
    Recharge(i64),
    Suspense(i64),
}

impl TradeOwner {
    pub fn of(claimed_for: i64) -> TradeOwner {
        if claimed_for.is_negative() { TradeOwner::Suspense(-claimed_for) } else { TradeOwner::Recharge(claimed_for) }
    }

    pub fn raw(self) -> i64 {
        match self {
            TradeOwner::Recharge(id) => id,
            TradeOwner::Suspense(id) => -id,
        }
    }
}

/// Has an order id or trade number that belongs to `from` belong to `to`; `false` where it is another's by now.
#[must_use]
pub fn repoint_order(db: &Db, scope: OrderScope, order: &str, from: i64, to: i64) -> bool {
    db.run(
        "UPDATE app.external_orders SET tx_id = $5 WHERE scope_no = $1 AND scope = $2 AND order_id = $3 AND tx_id = $4",
        &[p(scope.number), p(scope.kind), p(order), p(from), p(to)],
    ) == 1
}

/// How many pages the larger of the two tables of keys has.
pub fn key_pages(db: &Db) -> i64 {
    db.row(
        "SELECT greatest(pg_catalog.pg_relation_size('app.idempotency_keys'), pg_catalog.pg_relation_size('app.external_orders')) \
                / pg_catalog.current_setting('block_size')::bigint",
        &[],
        |r| r.get(1),
    )
    .unwrap_or(0)
}

/// Forgets keys, and payment orders, of transactions below an id, on the pages from `from` to before `to`.
pub fn forget_keys(db: &Db, below: i64, from: i64, to: i64) -> i64 {
    let range = [p(below), p(format!("({from},0)")), p(format!("({to},0)"))];
    let keys = db.run(
        "DELETE FROM app.idempotency_keys k WHERE k.ctid >= $2::text::tid AND k.ctid < $3::text::tid AND k.ref_id < $1",
        &range,
    );
    let orders = db.run(
        "DELETE FROM app.external_orders o WHERE o.ctid >= $2::text::tid AND o.ctid < $3::text::tid AND o.tx_id < $1 AND o.scope = 1",
        &range,
    );
    (keys + orders) as i64
}
