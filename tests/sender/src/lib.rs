//! A payment gateway for tests: signs and encrypts what WeChat Pay and Alipay send, written by their descriptions and not by the code
//! that reads it. Its keys are nobody's.

pub mod bill;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use data_encoding::BASE64;
use rsa::PrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding, Signer};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static WECHAT: LazyLock<SigningKey<Sha256>> = LazyLock::new(|| key(include_bytes!("../keys/wechat.der")));
static ALIPAY: LazyLock<SigningKey<Sha256>> = LazyLock::new(|| key(include_bytes!("../keys/alipay.der")));
static SENT: AtomicU64 = AtomicU64::new(1);

/// What the account at WeChat has: its number, its app, its key, and the public key of WeChat's with its id.
pub const MCHID: &str = "1900000001";
pub const APPID: &str = "wx0000000000000001";
pub const APIV3_KEY: &str = "0123456789abcdefghijklmnopqrstuv";
pub const WECHAT_KEY_ID: &str = "PUB_KEY_ID_0119000000012026112600";
pub const WECHAT_PUBLIC_KEY: &str = include_str!("../keys/wechat.pub.pem");
/// What the account at Alipay has.
pub const APP_ID: &str = "2021000000000001";
pub const SELLER_ID: &str = "2088102534368455";
pub const ALIPAY_PUBLIC_KEY: &str = include_str!("../keys/alipay.pub.pem");

fn key(der: &[u8]) -> SigningKey<Sha256> {
    SigningKey::new(PrivateKey::from_pkcs8_der(der).expect("a key of this directory"))
}

fn signed(key: &SigningKey<Sha256>, message: &[u8]) -> String {
    BASE64.encode(&key.sign(message).to_bytes())
}

fn once() -> u64 {
    SENT.fetch_add(1, Ordering::Relaxed)
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed()
}

/// A callback as it is sent.
#[derive(Clone, Debug)]
pub struct Callback {
    /// By their names in lower case.
    pub headers: Value,
    pub body: Vec<u8>,
}

impl Callback {
    /// The call that a backend makes with it.
    pub fn sql(&self, account: &str) -> String {
        let headers = self.headers.to_string().replace('\'', "''");
        format!("select * from app.gateway_notify('{account}', '{headers}', '\\x{}')", self.hex())
    }

    /// The body, as a literal of a bytea has it after `\x`.
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.body)
    }
}

/// A payment of an order, as WeChat tells of it.
#[derive(Clone, Debug)]
pub struct Payment<'a> {
    pub order: &'a str,
    pub trade: &'a str,
    pub fen: i64,
    pub state: &'a str,
}

impl Payment<'_> {
    pub fn sent(&self) -> Callback {
        wechat("TRANSACTION.SUCCESS", &self.told())
    }

    /// What stands in it.
    pub fn told(&self) -> Value {
        let mut told = json!({
            "mchid": MCHID, "appid": APPID, "out_trade_no": self.order, "trade_state": self.state, "trade_type": "JSAPI",
            "bank_type": "OTHERS", "attach": "", "payer": { "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o" },
        });
        if matches!(self.state, "SUCCESS" | "REFUND") {
            told["transaction_id"] = self.trade.into();
            told["success_time"] = "2026-11-26T10:34:56+08:00".into();
            told["amount"] =
                json!({ "total": self.fen, "payer_total": self.fen, "currency": "CNY", "payer_currency": "CNY" });
        }
        told
    }
}

/// A refund, as WeChat tells of it.
pub fn refund(number: &str, trade: &str, order: &str, fen: i64, status: &str) -> Callback {
    let told = json!({
        "mchid": MCHID, "out_trade_no": order, "transaction_id": trade, "out_refund_no": number,
        "refund_id": format!("5030000{}", once()), "refund_status": status, "success_time": "2026-11-26T11:00:00+08:00",
        "user_received_account": "支付用户零钱",
        "amount": { "total": fen, "refund": fen, "payer_total": fen, "payer_refund": fen },
    });
    wechat(&format!("REFUND.{status}"), &told)
}

/// Encrypts and signs what WeChat tells.
pub fn wechat(event_type: &str, told: &Value) -> Callback {
    wechat_at(event_type, told.to_string().as_bytes(), now())
}

/// As [`wechat`], of any text and moment.
pub fn wechat_at(event_type: &str, told: &[u8], at: i64) -> Callback {
    let nonce = format!("{:012}", once() % 1_000_000_000_000);
    let cipher = Aes256Gcm::new_from_slice(APIV3_KEY.as_bytes()).expect("32 bytes");
    let array: [u8; 12] = nonce.as_bytes().try_into().expect("12 bytes");
    let payload = Payload { msg: told, aad: b"transaction" };
    let ciphertext = cipher.encrypt(&Nonce::from(array), payload).expect("any text");
    let envelope = json!({
        "id": format!("EV-{}-{}", at, once()), "create_time": "2026-11-26T10:34:56+08:00", "resource_type": "encrypt-resource",
        "event_type": event_type, "summary": "支付成功",
        "resource": {
            "original_type": "transaction", "algorithm": "AEAD_AES_256_GCM", "ciphertext": BASE64.encode(&ciphertext),
            "associated_data": "transaction", "nonce": nonce,
        },
    });
    wechat_signed(envelope.to_string().into_bytes(), at)
}

/// Signs a body as WeChat does.
pub fn wechat_signed(body: Vec<u8>, at: i64) -> Callback {
    let nonce = format!("n{}", once());
    let message = [at.to_string().as_bytes(), b"\n", nonce.as_bytes(), b"\n", &body, b"\n"].concat();
    let headers = json!({
        "wechatpay-timestamp": at.to_string(), "wechatpay-nonce": nonce, "wechatpay-serial": WECHAT_KEY_ID,
        "wechatpay-signature": signed(&WECHAT, &message), "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
    });
    Callback { headers, body }
}

/// A trade, as Alipay tells of it: fields that are to be other than those of a payment, or left out (`None`).
pub fn alipay(order: &str, trade: &str, yuan: &str, status: &str, other: &[(&str, Option<&str>)]) -> Callback {
    let id = format!("2026112600222{}", once());
    let mut fields = vec![
        ("app_id", APP_ID),
        ("buyer_id", "2088102116773037"),
        ("charset", "utf-8"),
        ("gmt_create", "2026-11-26 10:34:50"),
        ("gmt_payment", "2026-11-26 10:34:56"),
        ("notify_id", &id),
        ("notify_time", "2026-11-26 10:34:57"),
        ("notify_type", "trade_status_sync"),
        ("out_trade_no", order),
        ("receipt_amount", yuan),
        ("buyer_pay_amount", yuan),
        ("seller_id", SELLER_ID),
        ("subject", "储值 卡"),
        ("total_amount", yuan),
        ("trade_no", trade),
        ("trade_status", status),
        ("version", "1.0"),
    ];
    for (name, value) in other {
        fields.retain(|(known, _)| known != name);
        fields.extend(value.map(|value| (*name, value)));
    }
    fields.sort_unstable();
    let text: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let sign = signed(&ALIPAY, text.join("&").as_bytes());
    fields.extend([("sign", sign.as_str()), ("sign_type", "RSA2")]);
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    Callback { headers: json!({}), body: body.join("&").into_bytes() }
}

/// As forms are: everything but letters, digits and a few others by its bytes.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// What a superuser does so that both accounts are there, under the codes `wechat` and `alipay`.
pub fn set_up() -> String {
    format!(
        "select app.set_gateway_account('wechat', 'wechat', '{{\"mchid\": \"{MCHID}\", \"appids\": [\"{APPID}\"]}}');
         select app.set_gateway_key('wechat', 'wechat_apiv3_key', 'v3', '{APIV3_KEY}');
         select app.set_gateway_key('wechat', 'wechat_public_key', '{WECHAT_KEY_ID}', '{WECHAT_PUBLIC_KEY}');
         select app.set_gateway_account('alipay', 'alipay', '{{\"app_id\": \"{APP_ID}\", \"seller_ids\": [\"{SELLER_ID}\"]}}');
         select app.set_gateway_key('alipay', 'alipay_public_key', 'ali', '{ALIPAY_PUBLIC_KEY}')"
    )
}
