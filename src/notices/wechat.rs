//! WeChat Pay, API v3: a signature in headers over a JSON envelope, in which the notice is encrypted.

use crate::json::Object;
use crate::keys::{PublicKey, is_same_id, is_signature};
use crate::secret::{Apiv3Key, NONCE_BYTES, TAG_BYTES};
use crate::states::states;
use crate::{MAX_BODY_BYTES, MAX_ID_CHARS, Refusal};
use data_encoding::BASE64;

/// How old a message may be, and how far ahead its sender's clock.
pub const WINDOW_SECONDS: u64 = 300;
const SIGNATURE_TYPE: &str = "WECHATPAY2-SHA256-RSA2048";
const RESOURCE_TYPE: &str = "encrypt-resource";
const ALGORITHM: &str = "AEAD_AES_256_GCM";
const CURRENCY: &str = "CNY";
/// Enough for thirty thousand years.
const MAX_TIMESTAMP_DIGITS: usize = 12;

/// The values of `Wechatpay-Timestamp`, `-Nonce`, `-Signature`, `-Serial` and `-Signature-Type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    pub timestamp: Option<&'a str>,
    pub nonce: Option<&'a str>,
    pub signature: Option<&'a str>,
    pub serial: Option<&'a str>,
    /// Older senders leave it out; another one than ours is refused.
    pub signature_type: Option<&'a str>,
}

/// A body that WeChat signed. Only [`verify`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a> {
    key_id: &'a str,
    body: &'a [u8],
}

/// What a notice is about, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The envelope's `id`: the same whenever the notice is repeated.
    pub event_key: String,
    /// Only noted: `trade_state` and `refund_status` decide.
    pub event_type: Option<String>,
    /// Which of the APIv3 keys opened it.
    pub apiv3_key_id: String,
    pub parties: Parties,
    pub content: Content,
}

/// A merchant of its own has the first two, a service provider's sub-merchant the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    pub appid: Option<String>,
    pub mchid: Option<String>,
    pub sp_appid: Option<String>,
    pub sp_mchid: Option<String>,
    pub sub_appid: Option<String>,
    pub sub_mchid: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Payment(Payment),
    Refund(Refund),
    /// Something else that WeChat tells of: to be noted, and answered as received.
    Other,
}

states! {
    /// `trade_state`.
    TradeState {
        Success "SUCCESS" Refund "REFUND" NotPay "NOTPAY" Closed "CLOSED" Revoked "REVOKED" UserPaying "USERPAYING"
        PayError "PAYERROR" Accept "ACCEPT"
    }
}

states! {
    /// `refund_status`.
    RefundStatus { Success "SUCCESS" Closed "CLOSED" Processing "PROCESSING" Abnormal "ABNORMAL" }
}

/// Of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub state: TradeState,
    pub out_trade_no: String,
    /// There where it was paid (`SUCCESS`, `REFUND`).
    pub transaction_id: Option<String>,
    /// The same.
    pub amount: Option<Amount>,
    /// In microseconds since 1970.
    pub success_time: Option<i64>,
    pub trade_type: Option<String>,
    pub bank_type: Option<String>,
}

/// In fen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Of the order.
    pub total: i64,
    /// What the payer paid of it; coupons paid the rest.
    pub payer_total: Option<i64>,
}

/// That an order was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid<'a> {
    pub transaction_id: &'a str,
    pub amount: Amount,
    pub success_time: Option<i64>,
}

/// Of a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub status: RefundStatus,
    pub refund_id: String,
    pub out_refund_no: String,
    pub out_trade_no: Option<String>,
    pub transaction_id: Option<String>,
    /// In fen: what is refunded, of an order of `total`.
    pub refund: i64,
    pub total: Option<i64>,
    pub payer_refund: Option<i64>,
    pub payer_total: Option<i64>,
    pub success_time: Option<i64>,
    /// Where the money went, in words.
    pub user_received_account: Option<String>,
}

impl Payment {
    /// What there is to credit: only of a payment that succeeded.
    pub fn paid(&self) -> Option<Paid<'_>> {
        match (&self.state, self.transaction_id.as_deref(), self.amount) {
            (TradeState::Success, Some(transaction_id), Some(amount)) => {
                Some(Paid { transaction_id, amount, success_time: self.success_time })
            }
            _ => None,
        }
    }
}

/// Whether WeChat signed this body less than five minutes ago. `keys` are the live ones by their ids, `now` is in seconds since 1970.
pub fn verify<'a>(
    headers: &Headers<'a>,
    body: &'a [u8],
    keys: &[(&'a str, &PublicKey)],
    now: i64,
) -> Result<Verified<'a>, Refusal> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Refusal::BodyTooLarge);
    }
    let missing = Refusal::HeaderMissing;
    let timestamp = headers.timestamp.ok_or(missing("Wechatpay-Timestamp"))?;
    let nonce = headers.nonce.ok_or(missing("Wechatpay-Nonce"))?;
    let signature = headers.signature.ok_or(missing("Wechatpay-Signature"))?;
    let serial = headers.serial.ok_or(missing("Wechatpay-Serial"))?;
    let at = seconds(timestamp).ok_or(Refusal::TimestampForm)?;
    // A line end in it would make another message of the same signature.
    if !crate::is_id(nonce.as_bytes()) {
        return Err(Refusal::NonceForm);
    }
    if !is_signature(signature.as_bytes()) {
        return Err(Refusal::SignatureForm);
    }
    let is_serial = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !(1..=MAX_ID_CHARS).contains(&serial.len()) || !serial.bytes().all(is_serial) {
        return Err(Refusal::SerialForm);
    }
    if now.abs_diff(at) > WINDOW_SECONDS {
        return Err(Refusal::TimestampOutside);
    }
    if headers.signature_type.is_some_and(|kind| kind != SIGNATURE_TYPE) {
        return Err(Refusal::SignatureType);
    }
    let (key_id, key) = keys.iter().find(|(id, _)| is_same_id(id, serial)).ok_or(Refusal::SerialUnknown)?;
    // A probe (`WECHATPAY/SIGNTEST/...`) is no signature of any key and ends here, like whatever else is none.
    let signature = BASE64.decode(signature.as_bytes()).map_err(|_| Refusal::SignatureWrong)?;
    let message = [timestamp.as_bytes(), b"\n", nonce.as_bytes(), b"\n", body, b"\n"].concat();
    if !key.verifies(&message, &signature) {
        return Err(Refusal::SignatureWrong);
    }
    Ok(Verified { key_id, body })
}

/// Nothing but digits, as a number is written.
fn seconds(text: &str) -> Option<i64> {
    let is_plain = (1..=MAX_TIMESTAMP_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let is_plain = is_plain && (text.len() == 1 || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

impl<'a> Verified<'a> {
    /// The id of the key that signed it.
    pub fn key_id(&self) -> &'a str {
        self.key_id
    }

    /// Decrypts and reads. `keys` are the live APIv3 keys by the ids that the caller knows them by; each is tried.
    pub fn notice(&self, keys: &[(&str, &Apiv3Key)]) -> Result<Notice, Refusal> {
        // Whatever is no UTF-8 is in texts that are only noted: ids are ASCII.
        let body = String::from_utf8_lossy(self.body);
        let envelope = Object::read(&body)?;
        if envelope.text("resource_type")?.ok_or(Refusal::FieldMissing("resource_type"))? != RESOURCE_TYPE {
            return Err(Refusal::ResourceType);
        }
        let event_key = envelope.needed_id("id")?;
        let event_type = envelope.note("event_type");
        let resource = envelope.object("resource")?.ok_or(Refusal::FieldMissing("resource"))?;
        let (apiv3_key_id, plain) = opened(&resource, keys)?;
        let plain = String::from_utf8_lossy(&plain);
        let object = Object::read(&plain)?;
        let content = content(&object, event_type.as_deref())?;
        Ok(Notice { event_key, event_type, apiv3_key_id: apiv3_key_id.to_owned(), parties: parties(&object)?, content })
    }
}

fn opened<'k>(resource: &Object, keys: &[(&'k str, &Apiv3Key)]) -> Result<(&'k str, Vec<u8>), Refusal> {
    if resource.text("algorithm")?.ok_or(Refusal::FieldMissing("algorithm"))? != ALGORITHM {
        return Err(Refusal::Algorithm);
    }
    let nonce = resource.text("nonce")?.ok_or(Refusal::FieldMissing("nonce"))?;
    let nonce: [u8; NONCE_BYTES] = nonce.as_bytes().try_into().map_err(|_| Refusal::CipherNonce)?;
    let ciphertext = resource.text("ciphertext")?.ok_or(Refusal::FieldMissing("ciphertext"))?;
    let ciphertext = BASE64.decode(ciphertext.as_bytes()).map_err(|_| Refusal::CiphertextForm)?;
    if ciphertext.len() < TAG_BYTES {
        return Err(Refusal::CiphertextForm);
    }
    let associated = resource.text("associated_data")?.unwrap_or_default();
    if keys.is_empty() {
        return Err(Refusal::Apiv3KeyNone);
    }
    let open = |(id, key): &(&'k str, &Apiv3Key)| Some((*id, key.open(&nonce, associated.as_bytes(), &ciphertext)?));
    keys.iter().find_map(open).ok_or(Refusal::DecryptionFailed)
}

fn parties(object: &Object) -> Result<Parties, Refusal> {
    Ok(Parties {
        appid: object.id("appid")?,
        mchid: object.id("mchid")?,
        sp_appid: object.id("sp_appid")?,
        sp_mchid: object.id("sp_mchid")?,
        sub_appid: object.id("sub_appid")?,
        sub_mchid: object.id("sub_mchid")?,
    })
}

/// `trade_state` decides, then `refund_status`. What calls itself a transaction or a refund and has neither is no notice that may be
/// answered as received.
fn content(object: &Object, event_type: Option<&str>) -> Result<Content, Refusal> {
    if let Some(state) = object.id("trade_state")? {
        return payment(object, TradeState::of(state)).map(Content::Payment);
    }
    if let Some(status) = object.id("refund_status")? {
        return refund(object, RefundStatus::of(status)).map(Content::Refund);
    }
    match event_type {
        Some(kind) if kind.starts_with("TRANSACTION.") => Err(Refusal::FieldMissing("trade_state")),
        Some(kind) if kind.starts_with("REFUND.") => Err(Refusal::FieldMissing("refund_status")),
        _ => Ok(Content::Other),
    }
}

fn payment(object: &Object, state: TradeState) -> Result<Payment, Refusal> {
    let was_paid = matches!(state, TradeState::Success | TradeState::Refund);
    let amount = match object.object("amount")? {
        Some(amount) => order_amount(&amount)?,
        None => None,
    };
    let transaction_id = object.id("transaction_id")?;
    if was_paid && transaction_id.is_none() {
        return Err(Refusal::FieldMissing("transaction_id"));
    }
    match amount {
        None if was_paid => return Err(Refusal::FieldMissing("total")),
        Some(Amount { total: 0, .. }) if was_paid => return Err(Refusal::AmountRange("total")),
        _ => {}
    }
    Ok(Payment {
        state,
        out_trade_no: object.needed_id("out_trade_no")?,
        transaction_id,
        amount,
        success_time: object.time("success_time")?,
        trade_type: object.note("trade_type"),
        bank_type: object.note("bank_type"),
    })
}

fn order_amount(amount: &Object) -> Result<Option<Amount>, Refusal> {
    only_cny(amount)?;
    let payer_total = amount.fen("payer_total")?;
    Ok(amount.fen("total")?.map(|total| Amount { total, payer_total }))
}

fn refund(object: &Object, status: RefundStatus) -> Result<Refund, Refusal> {
    let amount = object.object("amount")?.ok_or(Refusal::FieldMissing("amount"))?;
    only_cny(&amount)?;
    let (refund, total) =
        (positive(&amount, "refund")?.ok_or(Refusal::FieldMissing("refund"))?, positive(&amount, "total")?);
    if total.is_some_and(|total| refund > total) {
        return Err(Refusal::AmountRange("refund"));
    }
    Ok(Refund {
        status,
        refund_id: object.needed_id("refund_id")?,
        out_refund_no: object.needed_id("out_refund_no")?,
        out_trade_no: object.id("out_trade_no")?,
        transaction_id: object.id("transaction_id")?,
        refund,
        total,
        payer_refund: amount.fen("payer_refund")?,
        payer_total: amount.fen("payer_total")?,
        success_time: object.time("success_time")?,
        user_received_account: object.note("user_received_account"),
    })
}

/// Nobody gives back nothing.
fn positive(amount: &Object, name: &'static str) -> Result<Option<i64>, Refusal> {
    match amount.fen(name)? {
        Some(0) => Err(Refusal::AmountRange(name)),
        fen => Ok(fen),
    }
}

/// Refunds do not say it, and what is not said is CNY.
fn only_cny(amount: &Object) -> Result<(), Refusal> {
    for name in ["currency", "payer_currency"] {
        if amount.text(name)?.is_some_and(|currency| currency != CURRENCY) {
            return Err(Refusal::Currency);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_numbers_only() {
        assert_eq!(
            (seconds("0"), seconds("1795660496"), seconds("999999999999")),
            (Some(0), Some(1_795_660_496), Some(999_999_999_999))
        );
        for text in ["", "-1", "+1", " 1", "1 ", "1.0", "1e9", "01", "00", "１", "1000000000000", "0x1", "abc", "1\n"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn states_are_written_as_they_are_read() {
        let states: Vec<_> = TradeState::ALL.iter().map(TradeState::name).collect();
        assert_eq!(states, ["SUCCESS", "REFUND", "NOTPAY", "CLOSED", "REVOKED", "USERPAYING", "PAYERROR", "ACCEPT"]);
        assert!(TradeState::ALL.iter().all(|state| TradeState::of(state.name().to_owned()) == *state));
        assert_eq!(TradeState::of("success".to_owned()), TradeState::Unknown("success".to_owned()));
        assert!(RefundStatus::ALL.iter().all(|status| RefundStatus::of(status.name().to_owned()) == *status));
    }

    proptest! {
        /// As if somebody had the keys and wrote nonsense.
        #[test]
        fn content_never_panics(
            cuts in proptest::collection::vec((0usize..300, "[\"{}:,0-9a\\\\\\[\\]-]{0,3}"), 0..4),
            kind in "(TRANSACTION.SUCCESS|REFUND.SUCCESS|X)",
        ) {
            let mut text = r#"{"mchid":"1","trade_state":"SUCCESS","out_trade_no":"a","transaction_id":"4","refund_status":"SUCCESS",
                "success_time":"2026-11-26T10:34:56+08:00","refund_id":"5","out_refund_no":"r",
                "amount":{"total":5,"payer_total":4,"currency":"CNY","refund":5}}"#.to_owned();
            for (at, with) in cuts {
                let at = at.min(text.len());
                text.replace_range(at..(at + with.len() / 2).min(text.len()), &with);
            }
            if let Ok(object) = Object::read(&text) {
                let _ = parties(&object);
                if let Ok(Content::Payment(payment)) = content(&object, Some(&kind)) {
                    prop_assert_eq!(payment.paid().is_some(), payment.state == TradeState::Success);
                }
            }
        }
    }
}
