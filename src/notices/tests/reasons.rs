//! Every reason is somebody's.

mod common;

use common::{Made, relabelled, text, texts};
use mps_notices::account::{AlipayApp, WechatMerchant, WechatProvider};
use mps_notices::keys::PublicKey;
use mps_notices::secret::{Apiv3Key, MasterKey};
use mps_notices::wechat::Headers;
use mps_notices::{MAX_BODY_BYTES, Refusal, alipay, wechat};
use std::collections::BTreeSet;

fn of_headers(made: &Made) -> Vec<Refusal> {
    let good = made.message("state_SUCCESS");
    let all = good.headers();
    let headers = [
        Headers { nonce: None, ..all },
        Headers { timestamp: Some("x"), ..all },
        Headers { timestamp: Some("1"), ..all },
        Headers { nonce: Some(""), ..all },
        Headers { serial: Some(" "), ..all },
        Headers { signature: Some("%"), ..all },
        Headers { signature_type: Some("x"), ..all },
        Headers { serial: Some("x"), ..all },
        Headers { nonce: Some("x"), ..all },
    ];
    let mut refusals: Vec<_> =
        headers.iter().map(|headers| made.wechat_with(headers, &good.body).unwrap_err()).collect();
    refusals.push(made.wechat_with(&all, &[0; MAX_BODY_BYTES + 1]).unwrap_err());
    let keys = made.wechat_keys();
    refusals.push(wechat::verify(&all, &good.body, &keys, made.now).unwrap().notice(&[]).unwrap_err());
    refusals
}

fn of_forms(made: &Made) -> Vec<Refusal> {
    let many: Vec<String> = (0..201).map(|i| format!("x{i}=")).collect();
    let bodies = ["a=%", "a", "a=&a=", &many.join("&"), "a=1&sign=AAAA"];
    let mut refusals: Vec<_> = bodies.iter().map(|body| made.alipay(body.as_bytes()).unwrap_err()).collect();
    refusals.push(alipay::verify(&made.form("paid").body, &[]).unwrap_err());
    refusals
}

fn of_keys(made: &Made) -> Vec<Refusal> {
    let bad = made.all["bad_keys"].as_object().unwrap();
    let mut refusals: Vec<_> = bad.values().flat_map(texts).map(|key| PublicKey::alipay(key).unwrap_err()).collect();
    let master = MasterKey::of_file(&[1; 32]).unwrap();
    let pem = text(&made.all["alipay_key_forms"][1]);
    refusals.extend([
        PublicKey::alipay(&relabelled(pem, "PRIVATE")).unwrap_err(),
        Apiv3Key::new(b"").unwrap_err(),
        MasterKey::of_file(b"").unwrap_err(),
        master.open(b"", &[]).unwrap_err(),
        master.open(&[1; 61], &[]).unwrap_err(),
    ]);
    refusals
}

fn of_accounts(made: &Made) -> Vec<Refusal> {
    let payment = made.wechat(&made.message("state_SUCCESS")).unwrap().1;
    let provided = made.wechat(&made.message("provider_payment")).unwrap().1;
    let trade = made.alipay(&made.form("paid").body).unwrap().1;
    vec![
        WechatMerchant { mchid: "x", appids: &[] }.check(&payment).unwrap_err(),
        WechatMerchant { mchid: "1900000109", appids: &[] }.check(&payment).unwrap_err(),
        WechatProvider { sp_mchid: "1230000109", sub_mchids: &[], sp_appids: None }.check(&provided).unwrap_err(),
        AlipayApp { app_id: "x", seller_ids: &[] }.check(&trade).unwrap_err(),
        AlipayApp { app_id: "2021000000000001", seller_ids: &[] }.check(&trade).unwrap_err(),
    ]
}

#[test]
fn every_reason_is_reached() {
    let made = Made::read();
    let mut reached = BTreeSet::new();
    for list in ["wechat_refused", "alipay_refused"] {
        reached.extend(made.all[list].as_array().unwrap().iter().map(|message| text(&message["reason"]).to_owned()));
    }
    for refusals in [of_headers(&made), of_forms(&made), of_keys(&made), of_accounts(&made)] {
        reached.extend(refusals.into_iter().map(|refusal| refusal.name().to_owned()));
    }
    let all: BTreeSet<String> = Refusal::NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(reached, all);
}
