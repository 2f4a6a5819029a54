//! Keys and certificates of payment gateways, which are nobody's: those that the messages of `src/notices` were made with.

use crate::session::q;
use serde_json::Value;
use std::sync::OnceLock;

/// An APIv3 key, and another one.
pub const SECRETS: [&str; 2] = ["3jQzaWizur8Gba7cde1ZJB1kG2e7VfTs", "Gba7cde1ZJB1kG2e7VfTs3jQzaWizur8"];

/// Configurations that are right.
pub const WECHAT: &str = r#"{"mchid": "1900000001", "appids": ["wx0000000000000001"]}"#;
pub const ALIPAY: &str = r#"{"app_id": "2021000000000001", "seller_ids": ["2088102534368455"]}"#;

fn made() -> &'static Value {
    static MADE: OnceLock<Value> = OnceLock::new();
    MADE.get_or_init(|| {
        let text = include_str!("../../../src/notices/tests/vectors/made.json");
        serde_json::from_str(text).expect("JSON")
    })
}

/// The keys of a list: id and text.
fn keys(list: &str) -> Vec<(&'static str, &'static str)> {
    let list = made()[list].as_object().expect("an object");
    list.iter().map(|(id, key)| (id.as_str(), key.as_str().expect("a text"))).collect()
}

/// WeChat's certificates, by their serial numbers.
pub fn certificates() -> Vec<(&'static str, &'static str)> {
    keys("certificates")
}

/// WeChat's key that is no certificate, and its id.
pub fn wechat_public_key() -> (&'static str, &'static str) {
    keys("wechat_keys").into_iter().find(|(id, _)| id.starts_with("PUB_KEY_ID_")).expect("is there")
}

/// Alipay's, as its page shows one, and as PEM.
pub fn alipay_keys() -> Vec<&'static str> {
    ["new", "old"].map(|name| made()["alipay_keys"][name].as_str().expect("a text")).to_vec()
}

/// Keys that are refused: why, and the key.
pub fn bad_keys() -> Vec<(&'static str, &'static str)> {
    let by_reason = made()["bad_keys"].as_object().expect("an object");
    let all = by_reason.iter().flat_map(|(why, keys)| {
        keys.as_array().expect("a list").iter().map(move |key| (why.as_str(), key.as_str().expect("a text")))
    });
    all.collect()
}

/// The statement that sets an account.
pub fn set_account(code: &str, provider: &str, config: &str) -> String {
    format!("select app.set_gateway_account({}, {}, {})", q(code), q(provider), q(config))
}

/// The statement that sets a key; `more` is what else it is given.
pub fn set_key(account: &str, kind: &str, id: &str, key: &str, more: &str) -> String {
    format!("select app.set_gateway_key({}, {}, {}, {}{more})", q(account), q(kind), q(id), q(key))
}

/// The statement that sets a key of a file.
pub fn set_key_from_file(account: &str, kind: &str, id: &str, path: &str) -> String {
    format!("select app.set_gateway_key_from_file({}, {}, {}, {})", q(account), q(kind), q(id), q(path))
}
