//! Whose a notice is.

mod common;

use common::Made;
use mps_notices::account::{AlipayApp, WechatMerchant, WechatProvider};
use mps_notices::{Refusal, alipay, wechat};

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn wechat(name: &str) -> wechat::Notice {
    let made = Made::read();
    made.wechat(&made.message(name)).unwrap().1
}

fn alipay(name: &str) -> alipay::Notice {
    let made = Made::read();
    made.alipay(&made.form(name).body).unwrap().1
}

#[test]
fn a_merchant_by_number_and_app() {
    let apps = list(&["wx0", "wxd678efh567hg6787"]);
    let ours = WechatMerchant { mchid: "1900000109", appids: &apps };
    let (payment, refund) = (wechat("state_SUCCESS"), wechat("refund_SUCCESS"));
    assert_eq!((ours.check(&payment), ours.check(&refund)), (Ok(()), Ok(())));
    let other = WechatMerchant { mchid: "190000010", ..ours };
    assert_eq!((other.check(&payment), other.check(&refund)), (Err(Refusal::AccountMchid), Err(Refusal::AccountMchid)));
    for apps in [list(&["wx0"]), list(&[])] {
        let other = WechatMerchant { appids: &apps, ..ours };
        // A refund names no app.
        assert_eq!((other.check(&payment), other.check(&refund)), (Err(Refusal::AccountAppid), Ok(())));
    }
    let mut nameless = payment.clone();
    nameless.parties.appid = None;
    assert_eq!(ours.check(&nameless), Err(Refusal::AccountAppid));
    nameless.parties.mchid = None;
    assert_eq!(ours.check(&nameless), Err(Refusal::AccountMchid));
    // What is another merchant's is not ours because we are its provider, nor the other way round.
    for name in ["provider_payment", "provider_refund"] {
        assert_eq!(ours.check(&wechat(name)), Err(Refusal::AccountMchid));
    }
    let mut both = payment;
    both.parties.sp_mchid = Some("1230000109".to_owned());
    assert_eq!(ours.check(&both), Err(Refusal::AccountMchid));
}

#[test]
fn a_provider_by_its_number_and_that_of_whom_it_collects_for() {
    let (subs, apps) = (list(&["1900000200"]), list(&["wx8888888888888888"]));
    let ours = WechatProvider { sp_mchid: "1230000109", sub_mchids: &subs, sp_appids: None };
    let strict = WechatProvider { sp_appids: Some(&apps), ..ours };
    let (payment, refund) = (wechat("provider_payment"), wechat("provider_refund"));
    for account in [ours, strict] {
        assert_eq!((account.check(&payment), account.check(&refund)), (Ok(()), Ok(())));
    }
    let other = WechatProvider { sp_mchid: "1900000200", ..ours };
    assert_eq!((other.check(&payment), other.check(&refund)), (Err(Refusal::AccountMchid), Err(Refusal::AccountMchid)));
    let others = list(&["1900000201"]);
    let other = WechatProvider { sub_mchids: &others, ..ours };
    assert_eq!(
        (other.check(&payment), other.check(&refund)),
        (Err(Refusal::AccountSubMchid), Err(Refusal::AccountSubMchid))
    );
    let other = WechatProvider { sp_appids: Some(&others), ..ours };
    assert_eq!((other.check(&payment), other.check(&refund)), (Err(Refusal::AccountAppid), Ok(())));
    assert_eq!(ours.check(&wechat("state_SUCCESS")), Err(Refusal::AccountMchid));
    let mut both = payment;
    both.parties.mchid = Some("1900000109".to_owned());
    assert_eq!(ours.check(&both), Err(Refusal::AccountMchid));
}

#[test]
fn an_app_by_its_id_and_seller() {
    let sellers = list(&["2088531891668739"]);
    let ours = AlipayApp { app_id: "2021000000000001", seller_ids: &sellers };
    let paid = alipay("paid");
    assert_eq!((ours.check(&paid), ours.check(&alipay("other_type"))), (Ok(()), Ok(())));
    let other = AlipayApp { app_id: "2021000000000002", ..ours };
    assert_eq!(
        (other.check(&paid), other.check(&alipay("other_type"))),
        (Err(Refusal::AccountAppId), Err(Refusal::AccountAppId))
    );
    let others = list(&["2088"]);
    assert_eq!(AlipayApp { seller_ids: &others, ..ours }.check(&paid), Err(Refusal::AccountSellerId));
    let nameless = alipay::Notice { seller_id: None, ..paid.clone() };
    assert_eq!(ours.check(&nameless), Err(Refusal::AccountSellerId));
    assert_eq!(ours.check(&alipay::Notice { app_id: None, ..paid }), Err(Refusal::AccountAppId));
}

/// What is no payment and no refund need not say whose it is, but is no other's.
#[test]
fn other_notices_are_no_others() {
    let apps = list(&["wxd678efh567hg6787"]);
    let ours = WechatMerchant { mchid: "1900000109", appids: &apps };
    assert_eq!(ours.check(&wechat("other_event")), Ok(()));
    assert_eq!(ours.check(&wechat("other_event_of_another")), Err(Refusal::AccountMchid));
    let mut nameless = wechat("other_event");
    nameless.parties = wechat::Parties::default();
    assert_eq!(ours.check(&nameless), Ok(()));
}
