//! What a verified notice tells, whichever gateway sent it.

use super::config::Parties;
use super::refused::Refused;
use crate::engine::types::Timestamp;
use mps_domain::money::Money;
use mps_notices::account::{AlipayApp, WechatMerchant, WechatProvider};
use mps_notices::{Refusal, alipay, wechat};

/// A notice that is verified, read, and of this account.
pub struct Notice {
    /// The same whenever it is repeated.
    pub event_key: String,
    /// Of the key that it was signed with.
    pub key_id: String,
    pub trade_no: Option<String>,
    pub out_trade_no: Option<String>,
    pub amount: Option<Money>,
    /// When what it tells of happened, by the gateway.
    pub happened_at: Option<Timestamp>,
    /// What the payer paid, where the gateway's own coupons paid the rest.
    pub payer_amount: Option<Money>,
    pub told: Told,
}

pub enum Told {
    /// The order's whole amount came, and is there.
    Paid,
    /// It came, and some or all of it went back at the gateway: what is left, where that is said.
    PaidAndRefunded { left: Option<Money>, out_refund_no: Option<String> },
    /// The order has ended, and nobody paid it: the gateway's word for that.
    Unpaid(String),
    /// What became of a refund.
    Refund { out_refund_no: String, how: RefundState },
    /// Nothing changes: the gateway's word.
    Nothing(String),
}

impl Notice {
    /// What it is about, for the day's reconciliation: a payment by itself, and when that was made.
    pub fn kind(&self) -> &'static str {
        match self.told {
            Told::Paid => "payment",
            Told::PaidAndRefunded { .. } | Told::Refund { .. } => "refund",
            Told::Unpaid(_) | Told::Nothing(_) => "other",
        }
    }
}

pub enum RefundState {
    WentBack,
    /// The payer did not get it: it is with the merchant again.
    Returned,
    /// Neither, yet.
    Pending(String),
}

fn money(fen: Option<i64>) -> Option<Money> {
    fen.map(Money::from_cents)
}

fn moment(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::of_unix)
}

/// Reads what WeChat signed.
pub fn of_wechat(
    verified: &wechat::Verified,
    parties: &Parties,
    keys: &[(&str, &mps_notices::secret::Apiv3Key)],
) -> Result<Notice, Refused> {
    let refused = |why: Refusal| Refused::signed(verified.key_id(), &why);
    let notice = verified.notice(keys).map_err(refused)?;
    match parties {
        Parties::WechatMerchant { mchid, appids } => WechatMerchant { mchid, appids }.check(&notice),
        Parties::WechatProvider { sp_mchid, sub_mchids, sp_appids } => {
            WechatProvider { sp_mchid, sub_mchids, sp_appids: sp_appids.as_deref() }.check(&notice)
        }
        Parties::Alipay { .. } => Err(Refusal::AccountMchid),
    }
    .map_err(refused)?;
    let (event_key, key_id) = (notice.event_key, verified.key_id().to_owned());
    Ok(match notice.content {
        wechat::Content::Payment(payment) => {
            let told = match &payment.state {
                wechat::TradeState::Success => Told::Paid,
                wechat::TradeState::Refund => Told::PaidAndRefunded { left: None, out_refund_no: None },
                state @ (wechat::TradeState::Closed | wechat::TradeState::Revoked | wechat::TradeState::PayError) => {
                    Told::Unpaid(state.name().to_owned())
                }
                state => Told::Nothing(state.name().to_owned()),
            };
            Notice {
                event_key,
                key_id,
                trade_no: payment.transaction_id,
                out_trade_no: Some(payment.out_trade_no),
                amount: money(payment.amount.map(|amount| amount.total)),
                happened_at: moment(payment.success_time),
                payer_amount: money(payment.amount.and_then(|amount| amount.payer_total)),
                told,
            }
        }
        wechat::Content::Refund(refund) => {
            let how = match &refund.status {
                wechat::RefundStatus::Success => RefundState::WentBack,
                wechat::RefundStatus::Closed => RefundState::Returned,
                other => RefundState::Pending(other.name().to_owned()),
            };
            Notice {
                event_key,
                key_id,
                trade_no: refund.transaction_id,
                out_trade_no: refund.out_trade_no,
                amount: money(Some(refund.refund)),
                happened_at: moment(refund.success_time),
                payer_amount: None,
                told: Told::Refund { out_refund_no: refund.out_refund_no, how },
            }
        }
        wechat::Content::Other => other(event_key, key_id, notice.event_type),
    })
}

/// Reads what Alipay signed.
pub fn of_alipay(verified: &alipay::Verified, parties: &Parties) -> Result<Notice, Refused> {
    let refused = |why: Refusal| Refused::signed(verified.key_id(), &why);
    let notice = verified.notice().map_err(refused)?;
    match parties {
        Parties::Alipay { app_id, seller_ids } => AlipayApp { app_id, seller_ids }.check(&notice),
        _ => Err(Refusal::AccountAppId),
    }
    .map_err(refused)?;
    let (event_key, key_id) = (notice.event_key, verified.key_id().to_owned());
    let alipay::Content::Trade(trade) = notice.content else { return Ok(other(event_key, key_id, notice.notify_type)) };
    let out_refund_no = trade.out_biz_no;
    let left = |total: i64, refunded: i64| money(total.checked_sub(refunded));
    let told = match trade.said {
        alipay::Said::Nothing => Told::Nothing(trade.status.name().to_owned()),
        alipay::Said::ClosedUnpaid => Told::Unpaid(trade.status.name().to_owned()),
        alipay::Said::Paid { .. } | alipay::Said::Finished { refunded: 0, .. } => Told::Paid,
        alipay::Said::RefundedInPart { total, refunded } | alipay::Said::Finished { total, refunded } => {
            Told::PaidAndRefunded { left: left(total, refunded), out_refund_no }
        }
        alipay::Said::RefundedInFull { .. } => Told::PaidAndRefunded { left: Some(Money::ZERO), out_refund_no },
    };
    let happened_at = match &told {
        Told::PaidAndRefunded { .. } => trade.gmt_refund.or(trade.gmt_payment),
        _ => trade.gmt_payment,
    };
    Ok(Notice {
        event_key,
        key_id,
        trade_no: Some(trade.trade_no),
        out_trade_no: Some(trade.out_trade_no),
        amount: money(trade.total_amount),
        happened_at: moment(happened_at),
        payer_amount: money(trade.buyer_pay_amount),
        told,
    })
}

fn other(event_key: String, key_id: String, kind: Option<String>) -> Notice {
    Notice {
        event_key,
        key_id,
        trade_no: None,
        out_trade_no: None,
        amount: None,
        happened_at: None,
        payer_amount: None,
        told: Told::Nothing(kind.unwrap_or_else(|| "unknown".into())),
    }
}
