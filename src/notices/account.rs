//! Whose a notice is. A signature only says that the gateway sent it: to somebody else, perhaps.

use crate::{Refusal, alipay, wechat};

/// A merchant of its own: its number, and the apps that it is paid through.
#[derive(Clone, Copy, Debug)]
pub struct WechatMerchant<'a> {
    pub mchid: &'a str,
    pub appids: &'a [String],
}

/// A service provider and the sub-merchants that it collects for.
#[derive(Clone, Copy, Debug)]
pub struct WechatProvider<'a> {
    pub sp_mchid: &'a str,
    pub sub_mchids: &'a [String],
    /// The provider's apps, where they are to be compared.
    pub sp_appids: Option<&'a [String]>,
}

/// An app, and whom it collects for.
#[derive(Clone, Copy, Debug)]
pub struct AlipayApp<'a> {
    pub app_id: &'a str,
    pub seller_ids: &'a [String],
}

impl WechatMerchant<'_> {
    /// Payments name merchant and app, refunds the merchant; what else there is need not name any, but no other.
    pub fn check(&self, notice: &wechat::Notice) -> Result<(), Refusal> {
        let (parties, must) = (&notice.parties, !matches!(notice.content, wechat::Content::Other));
        if parties.sp_mchid.is_some() || !fits(&parties.mchid, must, |mchid| mchid == self.mchid) {
            return Err(Refusal::AccountMchid);
        }
        let must = matches!(notice.content, wechat::Content::Payment(_));
        among(&parties.appid, must, self.appids).ok_or(Refusal::AccountAppid)
    }
}

impl WechatProvider<'_> {
    /// Payments and refunds name provider and sub-merchant.
    pub fn check(&self, notice: &wechat::Notice) -> Result<(), Refusal> {
        let (parties, must) = (&notice.parties, !matches!(notice.content, wechat::Content::Other));
        if parties.mchid.is_some() || !fits(&parties.sp_mchid, must, |mchid| mchid == self.sp_mchid) {
            return Err(Refusal::AccountMchid);
        }
        among(&parties.sub_mchid, must, self.sub_mchids).ok_or(Refusal::AccountSubMchid)?;
        let must = matches!(notice.content, wechat::Content::Payment(_));
        self.sp_appids.map_or(Some(()), |apps| among(&parties.sp_appid, must, apps)).ok_or(Refusal::AccountAppid)
    }
}

impl AlipayApp<'_> {
    /// Trades name app and seller.
    pub fn check(&self, notice: &alipay::Notice) -> Result<(), Refusal> {
        let must = matches!(notice.content, alipay::Content::Trade(_));
        if !fits(&notice.app_id, must, |app_id| app_id == self.app_id) {
            return Err(Refusal::AccountAppId);
        }
        among(&notice.seller_id, must, self.seller_ids).ok_or(Refusal::AccountSellerId)
    }
}

fn fits(named: &Option<String>, must: bool, is_ours: impl Fn(&str) -> bool) -> bool {
    named.as_deref().map_or(!must, is_ours)
}

fn among(named: &Option<String>, must: bool, ours: &[String]) -> Option<()> {
    fits(named, must, |name| ours.iter().any(|our| our == name)).then_some(())
}
