//! What a message costs, printed: `cargo test --release -p mps-notices --test speed -- --nocapture`. And that what is made to be slow
//! is not.

mod common;

use common::{Made, Message};
use mps_notices::MAX_BODY_BYTES;
use mps_notices::keys::PublicKey;
use std::time::{Duration, Instant};

const TIMES: u32 = 300;
/// Of what takes milliseconds where it is bad: quadratic work on 64 kB takes many seconds, on any machine.
const MOST: Duration = Duration::from_secs(3);

fn each(what: &str, mut work: impl FnMut()) -> Duration {
    work();
    let started = Instant::now();
    (0..TIMES).for_each(|_| work());
    let each = started.elapsed() / TIMES;
    println!("{what:<55} {:>9.1} us", each.as_secs_f64() * 1e6);
    each
}

#[test]
fn what_messages_cost() {
    let made = Made::read();
    let pem = common::text(&made.all["alipay_key_forms"][1]).to_owned();
    each("a key read from its PEM", || assert!(PublicKey::wechat(&pem).is_ok()));
    for name in ["state_SUCCESS", "refund_SUCCESS", "public_key_id"] {
        let message = made.message(name);
        each(&format!("WeChat {name}: verified, decrypted, read"), || assert!(made.wechat(&message).is_ok()));
    }
    let forged = Message { nonce: "forged".to_owned(), ..made.message("state_SUCCESS") };
    each("WeChat, forged", || assert!(made.wechat(&forged).is_err()));
    let stale = Message { timestamp: "1".to_owned(), ..forged };
    each("WeChat, stale", || assert!(made.wechat(&stale).is_err()));
    for name in ["paid", "paid_gbk", "paid_old_key", "signed_with_sign_type"] {
        let form = made.form(name);
        each(&format!("Alipay {name}: verified, read"), || assert!(made.alipay(&form.body).is_ok()));
    }
    let mut forged = made.form("paid").body;
    forged.extend(b"&x=");
    each("Alipay, forged, two keys of 2048 and 3072 bits", || assert!(made.alipay(&forged).is_err()));
}

#[test]
fn what_is_made_to_be_slow_is_not() {
    let made = Made::read();
    let body = |text: &str| text.repeat(MAX_BODY_BYTES / text.len());
    let good = made.message("state_SUCCESS");
    for text in ["{", "[", "{\"a\":", "\"\\u0000", "&", "a&", "%", "a=%26total_amount%3D&", "=", "%41", "+"] {
        let body = body(text);
        let message = Message { body: body.clone().into_bytes(), ..good.clone() };
        let started = Instant::now();
        assert!(made.wechat(&message).is_err());
        assert!(made.alipay(body.as_bytes()).is_err());
        assert!(PublicKey::alipay(&body).is_err());
        assert!(started.elapsed() < MOST, "{text}: {:?}", started.elapsed());
    }
    // Signed, for once: the deepest and the longest that come as far as the readers.
    for (_, message) in made.refused_messages().into_iter().filter(|(_, m)| m.name.starts_with("too_")) {
        let started = Instant::now();
        assert!(made.wechat(&message).is_err());
        assert!(started.elapsed() < MOST, "{}", message.name);
    }
}
