//! What Alipay sends, made by another implementation.

mod common;

use common::{Made, file, text};
use mps_notices::alipay::{Content, Said, TradeStatus, verify};
use mps_notices::keys::PublicKey;
use mps_notices::{MAX_BODY_BYTES, Refusal};

const PAID_AT: i64 = 1_795_660_495_000_000;
const SECOND: i64 = 1_000_000;

/// Changes a form as a forger would: its text, by replacing.
fn changed(body: &[u8], from: &str, to: &str) -> Vec<u8> {
    let body = str::from_utf8(body).unwrap();
    assert!(body.contains(from), "{from}");
    body.replacen(from, to, 1).into_bytes()
}

#[test]
fn every_form_is_read() {
    let made = Made::read();
    for form in made.forms() {
        let (key_id, notice) = made.alipay(&form.body).unwrap_or_else(|e| panic!("{}: {e}", form.name));
        assert_eq!(key_id, if form.name == "paid_old_key" { "old" } else { "new" });
        let is_trade = matches!(notice.content, Content::Trade(_));
        assert_eq!(is_trade, form.name != "other_type");
        assert_eq!(notice.event_key, if is_trade { "2026112600222103456000000000001" } else { "n1" });
    }
}

#[test]
fn a_trade_has_its_fields() {
    let made = Made::read();
    for name in [
        "paid",
        "paid_gbk",
        "paid_gb2312",
        "paid_upper_case_charset",
        "paid_without_charset",
        "paid_old_key",
        "all_escaped",
    ] {
        let (_, notice) = made.alipay(&made.form(name).body).unwrap();
        assert_eq!(
            (notice.app_id.as_deref(), notice.seller_id.as_deref()),
            (Some("2021000000000001"), Some("2088531891668739"))
        );
        assert_eq!(
            (notice.notify_type.as_deref(), notice.notify_time),
            (Some("trade_status_sync"), Some(PAID_AT + SECOND))
        );
        let trade = made.trade(name);
        assert_eq!((trade.status, trade.said), (TradeStatus::Success, Said::Paid { total: 10_000 }));
        assert_eq!(
            (trade.trade_no.as_str(), trade.out_trade_no.as_str()),
            ("2026112622001468450512500001", "CZ2611000123")
        );
        assert_eq!(
            (trade.total_amount, trade.receipt_amount, trade.buyer_pay_amount),
            (Some(10_000), Some(10_000), Some(9550))
        );
        assert_eq!((trade.gmt_payment, trade.gmt_create), (Some(PAID_AT), Some(PAID_AT - 5 * SECOND)));
        assert_eq!((trade.refund_fee, trade.gmt_refund, trade.gmt_close, trade.out_biz_no), (None, None, None, None));
        assert_eq!(trade.subject.as_deref(), Some("储值卡充值 100 元"), "{name}");
    }
    assert_eq!(made.trade("paid_gb18030").subject.as_deref(), Some("储值卡 𠀀 €"));
    assert_eq!(made.trade("whole_yuan").receipt_amount, Some(9950));
    assert_eq!(
        (made.trade("least").total_amount, made.trade("most").total_amount),
        (Some(1), Some(99_999_999_999_999))
    );
}

#[test]
fn fields_tell_apart_what_became_of_it() {
    let made = Made::read();
    let total = 10_000;
    for (name, said) in [
        ("waiting", Said::Nothing),
        ("someday", Said::Nothing),
        ("paid", Said::Paid { total }),
        ("refunded_in_part", Said::RefundedInPart { total, refunded: 3000 }),
        ("refunded_more", Said::RefundedInPart { total, refunded: 9999 }),
        ("refunded_in_full", Said::RefundedInFull { total }),
        ("refunded_in_full_success", Said::RefundedInFull { total }),
        ("closed_after_payment", Said::RefundedInFull { total }),
        ("closed_after_refund", Said::RefundedInFull { total }),
        ("finished", Said::Finished { total, refunded: 0 }),
        ("closed_unpaid", Said::ClosedUnpaid),
        ("closed_unpaid_no_refund", Said::ClosedUnpaid),
    ] {
        assert_eq!(made.trade(name).said, said, "{name}");
    }
    let refunded = made.trade("refunded_in_full");
    assert_eq!((refunded.out_biz_no.as_deref(), refunded.refund_fee), (Some("TX2611000009-1"), Some(total)));
    assert_eq!(
        (refunded.gmt_refund, refunded.gmt_close),
        (Some(PAID_AT + 1505 * SECOND + 320_000), Some(PAID_AT + 1505 * SECOND))
    );
}

#[test]
fn decoded_once_and_never_twice() {
    let made = Made::read();
    assert_eq!(made.trade("percent_and_plus").subject.as_deref(), Some("100% + 5%25 a%2Bb"));
    assert_eq!(made.trade("percent_and_plus_gbk").subject.as_deref(), Some("满 100% 送 %41+"));
    assert_eq!(made.trade("and_and_equals").subject.as_deref(), Some("a&b=c&d"));
    // One level of escapes less, or more, is another message.
    let form = made.form("percent_and_plus");
    for (from, to) in [("%2525", "%25"), ("%252B", "%2B"), ("%252B", "%25252B"), ("+%2B+", "+++"), ("%253D", "%3D")] {
        assert_eq!(made.alipay(&changed(&form.body, from, to)).err(), Some(Refusal::SignatureWrong), "{from} {to}");
    }
    // But a space is one, however it is escaped.
    assert_eq!(made.alipay(&changed(&form.body, "+%2B+", "%20%2b%20")), made.alipay(&form.body));
}

#[test]
fn the_charset_is_of_texts_only_and_what_is_only_noted_may_be_anything() {
    let made = Made::read();
    for name in ["nul_in_body", "subject_of_no_charset"] {
        let trade = made.trade(name);
        assert_eq!((trade.subject, trade.said), (None, Said::Paid { total: 10_000 }), "{name}");
    }
    // Which charset it is was signed, too.
    let form = made.form("paid_gbk");
    for other in ["utf-8", "gb18030", "gb2312", "GBK"] {
        assert_eq!(
            made.alipay(&changed(&form.body, "charset=gbk", &format!("charset={other}"))).err(),
            Some(Refusal::SignatureWrong)
        );
    }
    assert_eq!(made.alipay(&changed(&form.body, "charset=gbk", "charset=big5")).err(), Some(Refusal::Charset));
}

#[test]
fn both_ways_to_sign() {
    let made = Made::read();
    for name in ["signed_with_sign_type", "signed_with_sign_type_gbk"] {
        let form = made.form(name);
        assert!(form.signed.windows(15).any(|part| part == b"&sign_type=RSA2"));
        assert_eq!(made.trade(name).said, Said::Paid { total: 10_000 });
    }
    assert!(!made.form("paid").signed.windows(9).any(|part| part == b"sign_type"));
}

#[test]
fn what_does_not_do_is_refused_with_its_reason() {
    let made = Made::read();
    let refused = made.refused_forms();
    for (reason, form) in &refused {
        assert_eq!(made.alipay(&form.body).map_err(Refusal::name), Err(reason.as_str()), "{}", form.name);
    }
    assert!(refused.len() > 30);
}

/// The signature covers bytes without bounds between fields, so who pays a cent for a well-chosen subject has a signature over what
/// reads as another total.
#[test]
fn bounds_cannot_be_moved() {
    let made = Made::read();
    let (_, original) = made.refused_forms().into_iter().find(|(_, form)| form.name == "ambiguous").unwrap();
    let moved = changed(
        &original.body,
        "subject=A%26total_amount%3D9999.00%26tp%3D&",
        "subject=A&total_amount=9999.00&tp=%26total_amount%3D0.01&",
    );
    let moved = changed(&moved, "&total_amount=0.01", "");
    assert_eq!(made.alipay(&moved).err(), Some(Refusal::FormAmbiguous));
}

#[test]
fn keys_change_while_forms_come() {
    let made = Made::read();
    let (old, new) = (made.form("paid_old_key"), made.form("paid"));
    let keys: Vec<_> = made.alipay_keys().into_iter().filter(|(id, _)| *id == "new").collect();
    assert_eq!(verify(&new.body, &keys).unwrap().key_id(), "new");
    assert_eq!(verify(&old.body, &keys).err(), Some(Refusal::SignatureWrong));
    assert_eq!(verify(&new.body, &[]).err(), Some(Refusal::KeyNone));
}

#[test]
fn every_changed_byte_is_refused() {
    let made = Made::read();
    for name in ["paid", "all_escaped", "signed_with_sign_type"] {
        let form = made.form(name);
        let original = made.alipay(&form.body).unwrap();
        for at in 0..form.body.len() {
            for with in [form.body[at] ^ 1, b'5', b'%', b'&', b'='] {
                let mut body = form.body.clone();
                body[at] = with;
                // Capital and small digits of an escape are the same message.
                if !body.eq_ignore_ascii_case(&form.body) {
                    assert!(made.alipay(&body).is_err(), "{name} {at} {}", char::from(with));
                }
            }
            let mut body = form.body.clone();
            body.remove(at);
            assert!(made.alipay(&body).is_err(), "{name} without {at}");
        }
        assert_eq!(made.alipay(&form.body), Ok(original));
    }
}

#[test]
fn fields_cannot_be_added_left_out_or_doubled() {
    let made = Made::read();
    let form = made.form("paid");
    let fields: Vec<&str> = str::from_utf8(&form.body).unwrap().split('&').collect();
    let reason = |fields: &[&str]| made.alipay(fields.join("&").as_bytes()).err().map(Refusal::name);
    for at in 0..fields.len() {
        let mut without = fields.clone();
        let field = without.remove(at);
        let expected = match field.split('=').next() {
            Some("sign") => "field_missing",
            Some("sign_type") => "sign_type",
            _ => "signature_wrong",
        };
        assert_eq!(reason(&without), Some(expected), "{field}");
        let mut twice = fields.clone();
        twice.push(field);
        assert_eq!(reason(&twice), Some("form_duplicate"));
    }
    for (more, expected) in [
        ("x=1", "signature_wrong"),
        ("x=", "signature_wrong"),
        ("x", "form_field"),
        ("", "form_field"),
        ("x=%", "form_encoding"),
    ] {
        let mut with = fields.clone();
        with.push(more);
        assert_eq!(reason(&with), Some(expected), "{more}");
    }
    let many: Vec<String> = (0..200).map(|i| format!("x{i}=")).collect();
    let with: Vec<&str> = fields.iter().copied().chain(many.iter().map(String::as_str)).collect();
    assert_eq!(reason(&with), Some("form_too_many"));
    let long = format!("x={}", "y".repeat(MAX_BODY_BYTES));
    assert_eq!(reason(&[fields[0], &long]), Some("body_too_large"));
    let unsigned: Vec<&str> = fields.iter().copied().filter(|field| !field.starts_with("sign=")).collect();
    for (sign, expected) in [
        ("sign=", "signature_form"),
        ("sign=!", "signature_form"),
        ("sign=AAAA", "signature_wrong"),
        ("sign=A", "signature_wrong"),
    ] {
        let with: Vec<&str> = unsigned.iter().copied().chain([sign]).collect();
        assert_eq!(reason(&with), Some(expected), "{sign}");
    }
}

#[test]
fn the_public_form_verifies() {
    let public = file("alipay_trade_status_sync");
    let key = PublicKey::alipay(text(&public["public_key_base64"])).unwrap();
    let body = text(&public["form_body"]).as_bytes();
    let notice = verify(body, &[("key", &key)]).unwrap().notice().unwrap();
    let Content::Trade(trade) = notice.content else { panic!() };
    assert_eq!((trade.said, trade.subject.as_deref()), (Said::Paid { total: 10 }, Some("语雀空间 500人规模")));
    assert_eq!(
        (trade.trade_no.as_str(), notice.event_key.as_str()),
        ("2019081522001468450512505578", "2019081500222155624068450559358070")
    );
    assert_eq!(trade.gmt_payment, Some(1_565_855_784_000_000));
    for at in 0..body.len() {
        let mut other = body.to_vec();
        other[at] ^= 1;
        assert!(verify(&other, &[("key", &key)]).is_err(), "byte {at}");
    }
}
