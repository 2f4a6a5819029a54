//! The requests that move money or points, as data: so that they can be sent again, by anybody, with the same or with
//! changed arguments.

use crate::db::{Asked, Link, Step, Who};
use crate::model::{CardKind, Cents, Fact, Kind, Numbered, cents, money, thousandths};
use crate::world::World;
use postgres::types::ToSql;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// A pay code, and what it pays from.
#[derive(Clone, Debug)]
pub struct Code {
    pub plain: String,
    pub card: Uuid,
    pub member: Uuid,
}

impl Code {
    pub fn purse(&self) -> (Uuid, Uuid) {
        (self.card, self.member)
    }
}

#[derive(Clone, Debug)]
pub enum What {
    Charge {
        merchant: usize,
        code: Code,
        /// Of the amount, what takes no part.
        excluded: Cents,
        /// The number of one that is shown.
        coupon: Option<String>,
    },
    Refund {
        merchant: usize,
        original: String,
    },
    /// All that is left of a payment; the amount of the request is nobody's.
    Cancel {
        merchant: usize,
        original: String,
        /// As what the shop asks for it, if not by the number.
        by_order: Option<String>,
    },
    Recharge {
        card: Uuid,
        method: &'static str,
        merchant: Option<usize>,
    },
    Compensate {
        original: String,
    },
    Points {
        card: Uuid,
    },
    Withdraw {
        card: Uuid,
        payout: &'static str,
    },
}

#[derive(Clone, Debug)]
pub struct Request {
    pub who: Who,
    /// The account that it is about, and its index.
    pub account: Numbered,
    /// In cents; of points their number.
    pub amount: Cents,
    pub key: Option<String>,
    pub order: Option<String>,
    pub what: What,
    /// Client and operation that made it up.
    pub by: String,
}

/// What a success says, of whichever request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Number of the transaction; of points the key.
    pub id: String,
    pub status: String,
    pub raw: Cents,
    pub discount: i64,
    pub paid: Cents,
    pub points: i64,
    pub created_at: String,
    pub replayed: bool,
    pub said: String,
    /// Of a charge.
    pub coupon_discount: Cents,
    /// See [`Fact::levels`].
    pub levels: (usize, usize),
    /// See [`Fact::campaigns`].
    pub campaigns: (usize, usize),
}

impl Answer {
    fn read(rows: &[postgres::Row], began: (usize, usize)) -> Answer {
        let row = rows.first().expect("one row");
        Answer {
            id: row.get(0),
            status: row.get(1),
            raw: cents(row.get(2)),
            discount: thousandths(row.get(3)),
            paid: cents(row.get(4)),
            points: row.get(5),
            created_at: row.get(6),
            replayed: row.get(7),
            said: row.get(8),
            coupon_discount: row.try_get::<_, &str>(9).map_or(0, cents),
            levels: (began.0, 0),
            campaigns: (began.1, 0),
        }
    }
}

// The same columns from each: id, status, raw, discount, paid, points, created_at, replayed, everything that stays the same. Of a charge
// its status does not: one of 0.00 may be cancelled.
const CHARGE: &str = "SELECT tx_no, status, raw_amount::text, discount::text, final_amount::text, points_earned, created_at::text, \
    replayed, concat_ws('|', tx_id, tx_no, card_type, card_id, raw_amount, discount, final_amount, points_earned, created_at, coupon_discount, \
    points_bonus), \
    coupon_discount::text \
    FROM app.merchant_charge_by_qr($1, $2, $3::text::numeric, 'storm', '{\"storm\": true}', $4, $5, \
        p_excluded_amount => $6::text::numeric, p_coupon_code => $7)";
const REFUND: &str = "SELECT refund_tx_no, 'completed', refunded_amount::text, '1', refunded_amount::text, -points_reversed, \
    created_at::text, replayed, \
    concat_ws('|', refund_tx_id, refund_tx_no, refunded_amount, points_reversed, refundable_left, created_at) \
    FROM app.merchant_refund_tx($1, $2, $3::text::numeric, 'storm', '{}', $4)";
/// Says less of the refund than a refund does: the model knows the rest at the end.
const CANCEL: &str = "SELECT refund_tx_no, 'completed', refunded_amount::text, '1', refunded_amount::text, 0::bigint, '', replayed, \
    concat_ws('|', tx_no, refund_tx_no, refunded_amount) \
    FROM app.cancel_payment($1, p_tx_no => $2, p_external_order_id => $3, p_reason => 'storm', p_idempotency_key => $4)";
const RECHARGE_PERSONAL: &str = "SELECT tx_no, status, amount::text, '1', amount::text, 0::bigint, created_at::text, replayed, \
    concat_ws('|', tx_id, tx_no, card_id, amount, created_at) \
    FROM app.user_recharge_personal_card($1, $2::text::numeric, $3, 'storm', '{}', $4, $5, $6)";
const RECHARGE_ENTERPRISE: &str = "SELECT tx_no, status, amount::text, '1', amount::text, 0::bigint, created_at::text, replayed, \
    concat_ws('|', tx_id, tx_no, card_id, amount, created_at) \
    FROM app.user_recharge_enterprise_card_admin($1, $2::text::numeric, $3, 'storm', '{}', $4, $5, $6)";
const COMPENSATE: &str = "SELECT tx_no, 'completed', amount::text, '1', amount::text, 0::bigint, created_at::text, replayed, \
    concat_ws('|', tx_id, tx_no, card_id, amount, balance_after, created_at) \
    FROM app.compensate_tx($1, $2::text::numeric, 'storm', $3)";
// Of each refund number all but its status, which others change.
const WITHDRAW: &str = "SELECT tx_no, 'completed', sum(amount)::text, '1', sum(amount)::text, 0::bigint, created_at::text, \
    bool_and(replayed), concat_ws('|', tx_no, created_at, string_agg(concat_ws('/', refund_no, source_tx_no, payout, amount, \
        payment_method, coalesce(gateway_trade_no, '')), ',' ORDER BY length(refund_no), refund_no)) \
    FROM app.withdraw($1, $2::text::numeric, 'storm', $3, $4, $5) GROUP BY tx_no, created_at";
// The reason is the key: it is what finds the entry in the ledger again.
const POINTS: &str = "SELECT $3::text, 'completed', '0', '1', '0', $2::bigint, '', false, concat_ws('|', points, level) \
    FROM app.adjust_points($1, $2, $3, $3)";

impl Request {
    pub fn kind(&self) -> Kind {
        match self.what {
            What::Charge { .. } => Kind::Payment,
            What::Refund { .. } | What::Cancel { .. } => Kind::Refund,
            What::Recharge { .. } => Kind::Recharge,
            What::Compensate { .. } => Kind::Adjustment,
            What::Points { .. } => Kind::Points,
            What::Withdraw { .. } => Kind::Withdrawal,
        }
    }

    /// Sends it and waits for the answer; says nothing to the model.
    pub fn send(&self, world: &World, link: &mut Link) -> Asked<Answer> {
        let began = (world.levels.done.load(Ordering::SeqCst), world.campaigns.done.load(Ordering::SeqCst));
        let amount = money(self.amount);
        let (key, order) = (&self.key, &self.order);
        let code_of = |m: &usize| world.merchants[*m].code.clone();
        let read = |rows: &[postgres::Row]| Answer::read(rows, began);
        let mut asked = match &self.what {
            What::Charge { merchant, code, excluded, coupon } => {
                // What is not excluded need not be said.
                let excluded = (*excluded != 0).then(|| money(*excluded));
                link.ask(
                    self.who,
                    CHARGE,
                    &[&code_of(merchant), &code.plain, &amount, key, order, &excluded, coupon],
                    read,
                )
            }
            What::Refund { merchant, original } => {
                link.ask(self.who, REFUND, &[&code_of(merchant), original, &amount, key], read)
            }
            What::Cancel { merchant, original, by_order } => {
                let number = by_order.is_none().then_some(original);
                link.ask(self.who, CANCEL, &[&code_of(merchant), &number, by_order, key], read)
            }
            What::Recharge { card, method, merchant } => {
                let sql = match self.account.1.kind {
                    CardKind::Personal => RECHARGE_PERSONAL,
                    CardKind::Enterprise => RECHARGE_ENTERPRISE,
                };
                link.ask(self.who, sql, &[card, &amount, method, order, key, &merchant.as_ref().map(code_of)], read)
            }
            What::Compensate { original } => link.ask(self.who, COMPENSATE, &[original, &amount, key], read),
            What::Points { card } => link.ask(self.who, POINTS, &[card, &self.amount, key], read),
            What::Withdraw { card, payout } => {
                link.ask(self.who, WITHDRAW, &[card, &amount, key, &self.account.1.kind.label(), payout], read)
            }
        };
        if let Ok(answer) = &mut asked.result {
            answer.levels.1 = world.levels.begun.load(Ordering::SeqCst);
            answer.campaigns.1 = world.campaigns.begun.load(Ordering::SeqCst);
        }
        self.note(world, link, &asked);
        asked
    }

    /// Sends recharges of company cards in one transaction: all of them are done, or none.
    pub fn send_together(requests: &[Request], world: &World, link: &mut Link) -> Asked<Vec<Answer>> {
        let steps: Vec<_> = requests.iter().map(|request| (request, money(request.amount))).collect();
        let steps: Vec<Step> = steps
            .iter()
            .map(|(request, amount)| {
                let What::Recharge { card, method, .. } = &request.what else { panic!("{request} is no recharge") };
                let params: Vec<&(dyn ToSql + Sync)> =
                    vec![card, amount, method, &request.order, &request.key, &None::<String>];
                (RECHARGE_ENTERPRISE, params)
            })
            .collect();
        let asked = link.ask_together(Who::Backend, "BEGIN", &steps);
        let result = asked.result.map(|all| all.iter().map(|rows| Answer::read(rows, (0, 0))).collect::<Vec<_>>());
        for (i, request) in requests.iter().enumerate() {
            let mut result = result.as_ref().map(|answers| answers[i].clone()).map_err(Clone::clone);
            if let Err(refusal) = &mut result
                && i != link.reached
            {
                // Undone, or not come to.
                refusal.token = "NOT_ALONE".to_owned();
            }
            let one = Asked { result, lost: asked.lost, span: asked.span, unanswered: asked.unanswered.clone() };
            request.note(world, link, &one);
        }
        Asked { result, lost: asked.lost, span: asked.span, unanswered: asked.unanswered }
    }

    /// What an answer to it tells the model.
    pub fn fact(&self, answer: &Answer, lost: bool) -> Fact {
        let kind = self.kind();
        Fact {
            kind,
            account: self.account.0,
            change: match kind {
                Kind::Payment | Kind::Withdrawal => -answer.paid,
                Kind::Points => 0,
                _ => answer.paid,
            },
            raw: answer.raw,
            excluded: match &self.what {
                What::Charge { excluded, .. } => *excluded,
                _ => 0,
            },
            coupon: match &self.what {
                What::Charge { coupon: Some(number), .. } => Some((number.clone(), answer.coupon_discount)),
                _ => None,
            },
            paid: answer.paid,
            discount: answer.discount,
            points: answer.points,
            original: match &self.what {
                What::Refund { original, .. } | What::Cancel { original, .. } | What::Compensate { original } => {
                    Some(original.clone())
                }
                _ => None,
            },
            created_at: answer.created_at.clone(),
            said: answer.said.clone(),
            levels: answer.levels,
            campaigns: answer.campaigns,
            // adjust_points does not say whether it replayed; the ledger does.
            fresh: u32::from(kind != Kind::Points && !answer.replayed),
            lost,
            at_once: self.is_done(answer),
            in_short: matches!(self.what, What::Cancel { .. }),
            confirmed: false,
            failed: false,
            by: self.by.clone(),
        }
    }

    /// Whether it is a member's wish, whose order may have come to nothing: then the order under another key is a new request.
    pub fn may_be_asked_again(&self) -> bool {
        matches!((self.who, &self.what), (Who::User(_), What::Recharge { .. }))
    }

    /// Whether an answer says that it is done. A charge always is, also one that was cancelled since.
    pub fn is_done(&self, answer: &Answer) -> bool {
        answer.status == "completed" || matches!(self.what, What::Charge { .. })
    }

    /// Whether sending it again is a replay: without key and order it would be done again.
    pub fn is_repeatable(&self) -> bool {
        self.key.is_some() || self.order.is_some()
    }
}

/// For reports of what went wrong.
impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Request { who, account, amount, key, order, what, by } = self;
        write!(f, "{by}: {what:?} of {amount} on account {} as {who:?}, key {key:?}, order {order:?}", account.0)
    }
}
