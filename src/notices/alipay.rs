//! Alipay, RSA2: a form with its own signature among its fields.

use crate::form::Form;
use crate::keys::{PublicKey, is_signature};
use crate::states::states;
use crate::{Refusal, is_id, is_note};
use data_encoding::BASE64;
use encoding_rs::{Encoding, GB18030, GBK, UTF_8};

const SIGN_TYPE: &[u8] = b"RSA2";
const CURRENCY: &[u8] = b"CNY";
/// What is not signed: of notices of trades both, of some others the signature only.
const UNSIGNED: [&[&str]; 2] = [&["sign", "sign_type"], &["sign"]];
/// Domestic notices have none of them.
const CURRENCIES: [&str; 4] = ["currency", "trans_currency", "settle_currency", "pay_currency"];
/// Every name that is read here.
const READ: [&str; 25] = [
    "app_id",
    "buyer_pay_amount",
    "charset",
    "currency",
    "gmt_close",
    "gmt_create",
    "gmt_payment",
    "gmt_refund",
    "notify_id",
    "notify_time",
    "notify_type",
    "out_biz_no",
    "out_trade_no",
    "pay_currency",
    "receipt_amount",
    "refund_fee",
    "seller_id",
    "settle_currency",
    "sign",
    "sign_type",
    "subject",
    "total_amount",
    "trade_no",
    "trade_status",
    "trans_currency",
];

/// A form that Alipay signed. Only [`verify`] makes one.
pub struct Verified<'a> {
    key_id: &'a str,
    form: Form,
    charset: &'static Encoding,
}

impl std::fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified")
            .field("key_id", &self.key_id)
            .field("charset", &self.charset.name())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `notify_id`: the same whenever the notice is repeated.
    pub event_key: String,
    pub notify_type: Option<String>,
    /// In microseconds since 1970.
    pub notify_time: Option<i64>,
    pub app_id: Option<String>,
    pub seller_id: Option<String>,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Trade(Box<Trade>),
    /// Something else that Alipay tells of: to be noted, and answered as received.
    Other,
}

states! {
    /// `trade_status`.
    TradeStatus {
        WaitBuyerPay "WAIT_BUYER_PAY" Success "TRADE_SUCCESS" Finished "TRADE_FINISHED" Closed "TRADE_CLOSED"
    }
}

/// What there is of a trade by now. Amounts are in fen, times in microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade {
    pub status: TradeStatus,
    /// What its fields together say.
    pub said: Said,
    pub trade_no: String,
    pub out_trade_no: String,
    /// Of the refund that the notice is of.
    pub out_biz_no: Option<String>,
    pub total_amount: Option<i64>,
    pub receipt_amount: Option<i64>,
    pub buyer_pay_amount: Option<i64>,
    /// All refunds so far.
    pub refund_fee: Option<i64>,
    pub gmt_create: Option<i64>,
    pub gmt_payment: Option<i64>,
    pub gmt_refund: Option<i64>,
    pub gmt_close: Option<i64>,
    pub subject: Option<String>,
}

/// What became of a trade, in fen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nobody paid yet, or the status is one of after this release: nothing changes.
    Nothing,
    Paid {
        total: i64,
    },
    /// It was paid, and some of it went back: `refunded` is all that did so far.
    RefundedInPart {
        total: i64,
        refunded: i64,
    },
    /// It was paid, and all of it went back, whether its payment was ever told of or not.
    RefundedInFull {
        total: i64,
    },
    /// It was paid, and cannot be refunded any more.
    Finished {
        total: i64,
        refunded: i64,
    },
    /// It ended, and nobody had paid.
    ClosedUnpaid,
}

/// Whether Alipay signed this body. `keys` are the live ones, by the ids that the caller knows them by; each is tried.
pub fn verify<'a>(body: &[u8], keys: &[(&'a str, &PublicKey)]) -> Result<Verified<'a>, Refusal> {
    let form = Form::read(body)?;
    let sign = form.get("sign").ok_or(Refusal::FieldMissing("sign"))?;
    if !is_signature(sign) {
        return Err(Refusal::SignatureForm);
    }
    if form.get("sign_type") != Some(SIGN_TYPE) {
        return Err(Refusal::SignType);
    }
    let charset = charset(form.get("charset")).ok_or(Refusal::Charset)?;
    if keys.is_empty() {
        return Err(Refusal::KeyNone);
    }
    let signature = BASE64.decode(sign).map_err(|_| Refusal::SignatureWrong)?;
    let messages = UNSIGNED.map(|without| form.signed(without));
    let fits = |key: &PublicKey| messages.iter().any(|message| key.verifies(message, &signature));
    let (key_id, _) = keys.iter().find(|(_, key)| fits(key)).ok_or(Refusal::SignatureWrong)?;
    Ok(Verified { key_id, form, charset })
}

/// Of a form that does not say it, UTF-8. Of the others that browsers know, none is Alipay's.
fn charset(name: Option<&[u8]>) -> Option<&'static Encoding> {
    let name = name.unwrap_or(b"utf-8").to_ascii_lowercase();
    match name.as_slice() {
        b"utf-8" | b"utf8" => Some(UTF_8),
        // GBK holds all of GB2312.
        b"gbk" | b"gb2312" => Some(GBK),
        b"gb18030" => Some(GB18030),
        _ => None,
    }
}

impl<'a> Verified<'a> {
    /// The id of the key that signed it.
    pub fn key_id(&self) -> &'a str {
        self.key_id
    }

    /// Reads it, if it can be read in one way only. `trade_status` decides whether it is of a trade.
    pub fn notice(&self) -> Result<Notice, Refusal> {
        if self.form.is_ambiguous(&READ) {
            return Err(Refusal::FormAmbiguous);
        }
        let content = match self.id("trade_status")? {
            Some(status) => Content::Trade(Box::new(self.trade(TradeStatus::of(status))?)),
            None if self.form.get("notify_type") == Some(b"trade_status_sync") => {
                return Err(Refusal::FieldMissing("trade_status"));
            }
            None => Content::Other,
        };
        Ok(Notice {
            event_key: self.needed_id("notify_id")?,
            notify_type: self.note("notify_type"),
            notify_time: self.time("notify_time")?,
            app_id: self.id("app_id")?,
            seller_id: self.id("seller_id")?,
            content,
        })
    }

    fn trade(&self, status: TradeStatus) -> Result<Trade, Refusal> {
        let is_foreign =
            |name: &&str| self.form.get(name).is_some_and(|currency| !currency.is_empty() && currency != CURRENCY);
        if CURRENCIES.iter().any(is_foreign) {
            return Err(Refusal::Currency);
        }
        let (total_amount, refund_fee) = (self.fen("total_amount")?, self.fen("refund_fee")?);
        let (gmt_payment, gmt_refund) = (self.time("gmt_payment")?, self.time("gmt_refund")?);
        let was_paid = gmt_payment.is_some() || gmt_refund.is_some();
        Ok(Trade {
            said: said(&status, total_amount, refund_fee, was_paid)?,
            status,
            trade_no: self.needed_id("trade_no")?,
            out_trade_no: self.needed_id("out_trade_no")?,
            out_biz_no: self.id("out_biz_no")?,
            total_amount,
            receipt_amount: self.fen("receipt_amount")?,
            buyer_pay_amount: self.fen("buyer_pay_amount")?,
            refund_fee,
            gmt_create: self.time("gmt_create")?,
            gmt_payment,
            gmt_refund,
            gmt_close: self.time("gmt_close")?,
            subject: self.note("subject"),
        })
    }

    /// The text of a field; an empty one is none. An id is ASCII, which is the same in each charset.
    fn plain(&self, name: &str) -> Option<&[u8]> {
        self.form.get(name).filter(|value| !value.is_empty())
    }

    fn id(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self.plain(name) {
            Some(value) if is_id(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            Some(_) => Err(Refusal::FieldForm(name)),
            None => Ok(None),
        }
    }

    fn needed_id(&self, name: &'static str) -> Result<String, Refusal> {
        self.id(name)?.ok_or(Refusal::FieldMissing(name))
    }

    /// What is only noted: left out where it is not there, not of the charset, or none that a column can hold.
    fn note(&self, name: &str) -> Option<String> {
        let text = self.charset.decode_without_bom_handling_and_without_replacement(self.form.get(name)?)?;
        is_note(&text).then(|| text.into_owned())
    }

    fn fen(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        let yuan = |value| {
            str::from_utf8(value)
                .map_err(|_| Refusal::AmountForm(name))
                .and_then(|text| crate::amount::yuan(text, name))
        };
        self.plain(name).map(yuan).transpose()
    }

    fn time(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        let time = |value| {
            str::from_utf8(value)
                .map_err(|_| Refusal::TimeForm(name))
                .and_then(|text| crate::time::shanghai(text, name))
        };
        self.plain(name).map(time).transpose()
    }
}

/// Tells apart what shares a status. A trade that was closed after it was paid has been refunded in full; one that nobody paid has
/// neither a time of payment nor of a refund, nor a sum of refunds.
fn said(status: &TradeStatus, total: Option<i64>, refund_fee: Option<i64>, was_paid: bool) -> Result<Said, Refusal> {
    let refunded = refund_fee.unwrap_or(0);
    let is_unpaid = *status == TradeStatus::Closed && !was_paid && refunded == 0;
    match status {
        TradeStatus::WaitBuyerPay | TradeStatus::Unknown(_) => return Ok(Said::Nothing),
        TradeStatus::Closed if is_unpaid => return Ok(Said::ClosedUnpaid),
        TradeStatus::Closed | TradeStatus::Success | TradeStatus::Finished => {}
    }
    let total = total.ok_or(Refusal::FieldMissing("total_amount"))?;
    if total == 0 {
        return Err(Refusal::AmountRange("total_amount"));
    }
    if refunded > total {
        return Err(Refusal::AmountRange("refund_fee"));
    }
    Ok(match status {
        TradeStatus::Closed => Said::RefundedInFull { total },
        TradeStatus::Finished => Said::Finished { total, refunded },
        _ if refunded == total => Said::RefundedInFull { total },
        _ if refunded > 0 => Said::RefundedInPart { total, refunded },
        _ => Said::Paid { total },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verified(body: &[u8]) -> Option<Verified<'static>> {
        let form = Form::read(body).ok()?;
        let charset = charset(form.get("charset"))?;
        Some(Verified { key_id: "", form, charset })
    }

    #[test]
    fn four_charsets_and_no_other() {
        let name = |label: &str| charset(Some(label.as_bytes())).map(Encoding::name);
        assert_eq!((name("utf-8"), name("UTF-8"), name("utf8")), (Some("UTF-8"), Some("UTF-8"), Some("UTF-8")));
        assert_eq!((name("GBK"), name("gb2312"), name("GB18030")), (Some("GBK"), Some("GBK"), Some("gb18030")));
        for other in ["", "big5", "utf-16", "latin1", "utf-8 ", "utf-8\0", "x-gbk", "iso-8859-1"] {
            assert_eq!(name(other), None, "{other}");
        }
        assert_eq!(charset(None), Some(UTF_8));
    }

    #[test]
    fn fields_tell_apart_what_shares_a_status() {
        use TradeStatus::{Closed, Finished, Success, WaitBuyerPay};
        let total = 1000;
        for (status, refund_fee, was_paid, expected) in [
            (WaitBuyerPay, None, false, Said::Nothing),
            (TradeStatus::Unknown("TRADE_PENDING".to_owned()), None, true, Said::Nothing),
            (Success, None, true, Said::Paid { total }),
            (Success, None, false, Said::Paid { total }),
            (Success, Some(0), true, Said::Paid { total }),
            (Success, Some(1), true, Said::RefundedInPart { total, refunded: 1 }),
            (Success, Some(999), true, Said::RefundedInPart { total, refunded: 999 }),
            (Success, Some(1000), true, Said::RefundedInFull { total }),
            (Finished, None, true, Said::Finished { total, refunded: 0 }),
            (Finished, Some(300), true, Said::Finished { total, refunded: 300 }),
            (Closed, None, false, Said::ClosedUnpaid),
            (Closed, Some(0), false, Said::ClosedUnpaid),
            (Closed, None, true, Said::RefundedInFull { total }),
            (Closed, Some(1000), false, Said::RefundedInFull { total }),
            (Closed, Some(400), true, Said::RefundedInFull { total }),
        ] {
            assert_eq!(
                said(&status, Some(total), refund_fee, was_paid),
                Ok(expected),
                "{status:?} {refund_fee:?} {was_paid}"
            );
        }
        assert_eq!(said(&Closed, None, None, false), Ok(Said::ClosedUnpaid));
        assert_eq!(said(&Success, None, None, true), Err(Refusal::FieldMissing("total_amount")));
        assert_eq!(said(&Success, Some(0), None, true), Err(Refusal::AmountRange("total_amount")));
        assert_eq!(said(&Success, Some(5), Some(6), true), Err(Refusal::AmountRange("refund_fee")));
    }

    proptest! {
        /// As if Alipay had signed nonsense.
        #[test]
        fn reading_never_panics(
            values in proptest::collection::vec(
                (0..READ.len(), "(|TRADE_SUCCESS|TRADE_CLOSED|gbk|[0-9.]{1,6}|%[A-F][0-9]|2026-11-26\\+10:00:0[0-9])"),
                0..20,
            )
        ) {
            let body: Vec<_> = values.iter().map(|(at, value)| format!("{}={value}", READ[*at])).collect();
            if let Some(Ok(notice)) = verified(body.join("&").as_bytes()).map(|v| v.notice())
                && let Content::Trade(trade) = notice.content
                && let Said::Paid { total } | Said::Finished { total, .. } = trade.said
            {
                prop_assert_eq!(trade.total_amount, Some(total));
            }
        }
    }
}
