//! What WeChat Pay sends, made by another implementation.

mod common;

use common::{Made, Message, file, text};
use mps_notices::keys::PublicKey;
use mps_notices::secret::Apiv3Key;
use mps_notices::wechat::{Amount, Content, Headers, Paid, RefundStatus, TradeState, verify};
use mps_notices::{MAX_BODY_BYTES, Refusal};
use std::collections::BTreeSet;

const AT: i64 = 1_795_660_496_000_000;

#[test]
fn every_message_is_read() {
    let made = Made::read();
    for message in made.messages() {
        let (key_id, notice) = made.wechat(&message).unwrap_or_else(|e| panic!("{}: {e}", message.name));
        assert_eq!(key_id, message.serial);
        assert_eq!(notice.event_key, format!("EV-{}", message.name));
        let without_type = Headers { signature_type: None, ..message.headers() };
        assert_eq!(made.wechat_with(&without_type, &message.body), Ok((key_id.clone(), notice.clone())));
        // The header names a number; whether with a zero in front is not said.
        let serial = format!("0{}", message.serial);
        let in_bytes = Headers { serial: Some(&serial), ..message.headers() };
        assert_eq!(made.wechat_with(&in_bytes, &message.body), Ok((key_id, notice)));
    }
}

#[test]
fn a_payment_has_its_fields() {
    let payment = Made::read().payment("state_SUCCESS");
    let amount = Amount { total: 10_000, payer_total: Some(9500) };
    assert_eq!(
        (payment.out_trade_no.as_str(), payment.amount, payment.success_time),
        ("CZ2611000123", Some(amount), Some(AT))
    );
    assert_eq!((payment.trade_type.as_deref(), payment.bank_type.as_deref()), (Some("JSAPI"), Some("CMB_DEBIT")));
    let paid = Paid { transaction_id: "4200002611202611260000000001", amount, success_time: Some(AT) };
    assert_eq!(payment.paid(), Some(paid));
}

#[test]
fn only_success_is_paid() {
    let made = Made::read();
    for state in TradeState::ALL.iter().cloned().chain([TradeState::Unknown("SOMEDAY".to_owned())]) {
        let payment = made.payment(&format!("state_{}", state.name()));
        assert_eq!(payment.paid().is_some(), state == TradeState::Success, "{state:?}");
        assert_eq!(payment.state, state);
    }
    // The envelope's event_type is of TRANSACTION.SUCCESS, and of something else.
    assert_eq!(made.payment("state_decides").state, TradeState::Closed);
    assert!(made.payment("state_decides_the_other_way").paid().is_some());
    let closed = made.payment("closed_without_payment");
    assert_eq!((closed.transaction_id, closed.amount, closed.success_time), (None, None, None));
    assert_eq!(made.payment("closed_for_nothing").state, TradeState::Closed);
}

#[test]
fn a_refund_has_its_fields() {
    let made = Made::read();
    for status in RefundStatus::ALL.iter().cloned().chain([RefundStatus::Unknown("SOMEDAY".to_owned())]) {
        let (_, notice) = made.wechat(&made.message(&format!("refund_{}", status.name()))).unwrap();
        let Content::Refund(refund) = notice.content else { panic!("{notice:?}") };
        assert_eq!(refund.status, status);
        assert_eq!(
            (refund.refund_id.as_str(), refund.out_refund_no.as_str()),
            ("50200207182018070300011301001", "TX2611000009-1")
        );
        assert_eq!(
            (refund.refund, refund.total, refund.payer_refund, refund.payer_total),
            (4000, Some(10_000), Some(3800), Some(9500))
        );
        assert_eq!(
            (refund.out_trade_no.as_deref(), refund.success_time),
            (Some("CZ2611000123"), Some(AT + 1_504_000_000))
        );
        assert_eq!(refund.transaction_id.as_deref(), Some("4200002611202611260000000001"));
        assert_eq!(refund.user_received_account.as_deref(), Some("招商银行信用卡0403"));
    }
}

#[test]
fn what_is_only_noted_may_be_anything() {
    let made = Made::read();
    for name in [
        "nul_in_attach",
        "half_a_pair",
        "no_utf8_in_attach",
        "empty_associated_data",
        "no_associated_data",
        "no_currency",
    ] {
        assert!(made.payment(name).paid().is_some(), "{name}");
    }
    assert_eq!(made.payment("nul_in_attach").bank_type, None);
    let other = made.wechat(&made.message("other_event")).unwrap().1;
    assert_eq!((other.content, other.event_type.as_deref()), (Content::Other, Some("COUPON.USE")));
}

#[test]
fn amounts_at_their_borders() {
    let made = Made::read();
    let total = |name| made.payment(name).amount.unwrap();
    assert_eq!((total("least").total, total("most").total), (1, 99_999_999_999_999));
    assert_eq!(total("coupons_paid_all"), Amount { total: 10_000, payer_total: Some(0) });
}

#[test]
fn what_is_signed_but_does_not_do_is_refused_with_its_reason() {
    let made = Made::read();
    let refused = made.refused_messages();
    for (reason, message) in &refused {
        let keys = made.wechat_keys();
        assert!(verify(&message.headers(), &message.body, &keys, made.now).is_ok(), "{}", message.name);
        assert_eq!(made.wechat(message).map_err(Refusal::name), Err(reason.as_str()), "{}", message.name);
    }
    assert!(refused.len() >= 60);
}

/// A key of the server's release before, and one of the next: both live for a while.
#[test]
fn keys_change_while_messages_come() {
    let made = Made::read();
    let (old, new, by_id) = (made.message("old_keys"), made.message("state_SUCCESS"), made.message("public_key_id"));
    assert_eq!(made.wechat(&old).unwrap().1.apiv3_key_id, "old");
    assert_eq!(made.wechat(&new).unwrap().1.apiv3_key_id, "new");
    assert_eq!(made.wechat(&made.message("new_key_old_secret")).unwrap().1.apiv3_key_id, "old");
    assert!(made.wechat(&by_id).unwrap().0.starts_with("PUB_KEY_ID_"));
    // The old ones are gone.
    let keys: Vec<_> = made.wechat_keys().into_iter().filter(|(id, _)| *id == new.serial).collect();
    let secrets: Vec<_> = made.apiv3_keys().into_iter().filter(|(id, _)| *id == "new").collect();
    assert_eq!(verify(&old.headers(), &old.body, &keys, made.now).err(), Some(Refusal::SerialUnknown));
    assert!(verify(&new.headers(), &new.body, &keys, made.now).unwrap().notice(&secrets).is_ok());
    let mixed = made.message("new_key_old_secret");
    let verified = verify(&mixed.headers(), &mixed.body, &keys, made.now).unwrap();
    assert_eq!(verified.notice(&secrets).err(), Some(Refusal::DecryptionFailed));
    assert_eq!(verified.notice(&[]).err(), Some(Refusal::Apiv3KeyNone));
    assert_eq!(verify(&new.headers(), &new.body, &[], made.now).err(), Some(Refusal::SerialUnknown));
    // A key under another's id verifies nothing of it.
    let swapped: Vec<_> = keys.iter().map(|(_, key)| (old.serial.as_str(), *key)).collect();
    assert_eq!(verify(&old.headers(), &old.body, &swapped, made.now).err(), Some(Refusal::SignatureWrong));
}

fn refused(made: &Made, message: &Message) -> &'static str {
    made.wechat(message).err().map_or("accepted", Refusal::name)
}

#[test]
fn every_changed_byte_is_refused() {
    let made = Made::read();
    let good = made.message("state_SUCCESS");
    for at in 0..good.body.len() {
        let mut message = good.clone();
        message.body[at] ^= 1 << (at % 8);
        assert_eq!(refused(&made, &message), "signature_wrong", "byte {at}");
    }
    for at in 0..good.body.len() {
        let mut message = good.clone();
        message.body.remove(at);
        assert_eq!(refused(&made, &message), "signature_wrong", "without byte {at}");
    }
    for (body, what) in [
        ([&good.body[..], b"\n"].concat(), "one more"),
        ([b" ", &good.body[..]].concat(), "one before"),
        (vec![], "none"),
    ] {
        assert_eq!(refused(&made, &Message { body, ..good.clone() }), "signature_wrong", "{what}");
    }
}

type Field = fn(&mut Message) -> &mut String;

/// Each character of each header: by another of the same kind, by one of another kind, and left out.
#[test]
fn every_changed_header_is_refused() {
    let made = Made::read();
    let good = made.message("state_SUCCESS");
    let mut reasons = BTreeSet::new();
    let fields: [(&str, Field); 4] = [
        ("timestamp", |m| &mut m.timestamp),
        ("nonce", |m| &mut m.nonce),
        ("signature", |m| &mut m.signature),
        ("serial", |m| &mut m.serial),
    ];
    for (name, field) in fields {
        let value = field(&mut good.clone()).clone();
        for at in 0..value.len() {
            let next = if value.as_bytes()[at] == b'7' { "8" } else { "7" };
            for with in ["", next, " ", "\n", "é", "\0", "%"] {
                let mut message = good.clone();
                field(&mut message).replace_range(at..=at, with);
                let reason = refused(&made, &message);
                assert_ne!(reason, "accepted", "{name} {at} {with:?}");
                reasons.insert((name, reason));
            }
        }
        for (value, reason) in [(String::new(), "form"), ("7".repeat(2000), "form")] {
            let mut message = good.clone();
            *field(&mut message) = value;
            assert_eq!(refused(&made, &message), format!("{name}_{reason}"));
        }
    }
    for pair in [
        ("timestamp", "timestamp_form"),
        ("timestamp", "timestamp_outside"),
        ("timestamp", "signature_wrong"),
        ("nonce", "nonce_form"),
        ("nonce", "signature_wrong"),
        ("signature", "signature_form"),
        ("signature", "signature_wrong"),
        ("serial", "serial_form"),
        ("serial", "serial_unknown"),
    ] {
        assert!(reasons.contains(&pair), "{pair:?}");
    }
    // The header of another algorithm, and one in small letters: it is no name of ours.
    for kind in ["WECHATPAY2-SM2-WITH-SM3", "wechatpay2-sha256-rsa2048", ""] {
        let message = Message { signature_type: Some(kind.to_owned()), ..good.clone() };
        assert_eq!(refused(&made, &message), "signature_type");
    }
    let lower = Message { serial: good.serial.to_lowercase(), ..good.clone() };
    assert_eq!(refused(&made, &lower), "serial_unknown");
}

#[test]
fn every_header_but_the_type_is_needed() {
    let made = Made::read();
    let good = made.message("state_SUCCESS");
    let all = good.headers();
    for (headers, name) in [
        (Headers { timestamp: None, ..all }, "Wechatpay-Timestamp"),
        (Headers { nonce: None, ..all }, "Wechatpay-Nonce"),
        (Headers { signature: None, ..all }, "Wechatpay-Signature"),
        (Headers { serial: None, ..all }, "Wechatpay-Serial"),
    ] {
        assert_eq!(made.wechat_with(&headers, &good.body).err(), Some(Refusal::HeaderMissing(name)));
    }
}

#[test]
fn five_minutes_and_no_second_more() {
    let made = Made::read();
    let (good, keys) = (made.message("state_SUCCESS"), made.wechat_keys());
    let at = |now| verify(&good.headers(), &good.body, &keys, now).err();
    assert_eq!((at(made.now + 300), at(made.now - 300)), (None, None));
    assert_eq!(
        (at(made.now + 301), at(made.now - 301)),
        (Some(Refusal::TimestampOutside), Some(Refusal::TimestampOutside))
    );
    assert_eq!((at(0), at(i64::MAX), at(i64::MIN)), (at(made.now + 301), at(made.now + 301), at(made.now + 301)));
    // At the beginning of time, what is no number would be in the window if it were taken for 0.
    let words = Headers { timestamp: Some("now"), ..good.headers() };
    assert_eq!(verify(&words, &good.body, &keys, 0).err(), Some(Refusal::TimestampForm));
}

#[test]
fn probes_fail_like_any_other() {
    let made = Made::read();
    let good = made.message("state_SUCCESS");
    for signature in [
        format!("WECHATPAY/SIGNTEST/{}", good.signature),
        "WECHATPAY/SIGNTEST/AAAA".to_owned(),
        "WECHATPAY/SIGNTEST/".to_owned(),
    ] {
        assert_eq!(refused(&made, &Message { signature, ..good.clone() }), "signature_wrong");
    }
}

/// What is asked first is answered first, so that nothing dear is done for what is refused anyway.
#[test]
fn the_order_of_the_questions() {
    let made = Made::read();
    let keys = made.wechat_keys();
    let mut message = Message {
        body: vec![b'x'; MAX_BODY_BYTES + 1],
        signature_type: Some("x".to_owned()),
        ..made.message("state_SUCCESS")
    };
    let mut headers = Headers::default();
    let ask = |headers: &Headers, body: &[u8], now| verify(headers, body, &keys, now).err().map(Refusal::name);
    assert_eq!(ask(&headers, &message.body, 0), Some("body_too_large"));
    message.body.pop();
    assert_eq!(ask(&headers, &message.body, 0), Some("header_missing"));
    headers = Headers { timestamp: Some("x"), serial: Some("7"), ..message.headers() };
    assert_eq!(ask(&headers, &message.body, 0), Some("timestamp_form"));
    headers.timestamp = Some(&message.timestamp);
    assert_eq!(ask(&headers, &message.body, 0), Some("timestamp_outside"));
    assert_eq!(ask(&headers, &message.body, made.now), Some("signature_type"));
    headers.signature_type = None;
    assert_eq!(ask(&headers, &message.body, made.now), Some("serial_unknown"));
    headers.serial = Some(&message.serial);
    assert_eq!(ask(&headers, &message.body, made.now), Some("signature_wrong"));
}

#[test]
fn the_public_message_verifies_and_its_short_key_is_refused() {
    let public = file("wechat_notification_signed");
    let key = PublicKey::wechat(text(&public["certificate_pem"])).unwrap();
    let header = |name: &str| Some(text(&public["headers"][name]));
    let headers = Headers {
        timestamp: header("Wechatpay-Timestamp"),
        nonce: header("Wechatpay-Nonce"),
        signature: header("Wechatpay-Signature"),
        serial: header("Wechatpay-Serial"),
        signature_type: None,
    };
    let serial = key.certificate().unwrap().serial.clone();
    assert_eq!(Some(serial.as_str()), headers.serial);
    let keys = [(serial.as_str(), &key)];
    let body = text(&public["body"]).as_bytes();
    let verified = verify(&headers, body, &keys, 1_624_523_846).unwrap();
    assert_eq!(verified.key_id(), serial);
    assert_eq!(
        Apiv3Key::new(text(&public["key_that_must_be_refused"]).as_bytes()).err(),
        Some(Refusal::Apiv3KeyLength)
    );
    let other = Apiv3Key::new(&[7; 32]).unwrap();
    assert_eq!(verified.notice(&[("other", &other)]), Err(Refusal::DecryptionFailed));
    for at in 0..body.len() {
        let mut changed = body.to_vec();
        changed[at] ^= 0x20;
        assert_eq!(verify(&headers, &changed, &keys, 1_624_523_846).err(), Some(Refusal::SignatureWrong), "byte {at}");
    }
}
