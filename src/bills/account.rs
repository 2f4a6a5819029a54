//! Whose bill it is, where the file says it.

use crate::line::{Line, Provider};
use crate::refusal::{Refusal, short};

/// What Alipay puts behind the seller's id where it means the account with it.
const ALIPAY_ACCOUNT: &str = "0156";

/// The account that a bill is imported for. A list that is empty asks for nothing.
#[derive(Clone, Copy, Debug)]
pub enum Account<'a> {
    Wechat {
        /// Of a service provider its own, `sp_mchid`.
        mchid: &'a str,
        /// `None`: no service provider, its bills name no sub-merchant.
        sub_mchids: Option<&'a [String]>,
        appids: &'a [String],
    },
    Alipay {
        seller_ids: &'a [String],
    },
}

impl Account<'_> {
    pub fn provider(&self) -> Provider {
        match self {
            Account::Wechat { .. } => Provider::Wechat,
            Account::Alipay { .. } => Provider::Alipay,
        }
    }

    /// What a line says. A fundflow of WeChat names nobody; an appid may be missing, a mchid not.
    pub fn check(&self, line: &Line<'_>) -> Result<(), Refusal> {
        let Account::Wechat { mchid, sub_mchids, appids } = self else { return Ok(()) };
        if line.flow.is_some() {
            return Ok(());
        }
        let other = |column, found: &str| Err(Refusal::OtherAccount { line: line.number, column, found: short(found) });
        if line.mchid != *mchid {
            return other("商户号", line.mchid);
        }
        let is_listed = |list: &[String], id: &str| list.is_empty() || list.iter().any(|one| one == id);
        let is_ours = match sub_mchids {
            Some(list) => is_listed(list, line.sub_mchid),
            None => line.sub_mchid.is_empty(),
        };
        if !is_ours {
            return other("特约商户号", line.sub_mchid);
        }
        if !line.appid.is_empty() && !is_listed(appids, line.appid) {
            return other("公众账号ID", line.appid);
        }
        Ok(())
    }

    /// What Alipay's file says in its head.
    pub fn check_seller(&self, seller: &str, line: u64) -> Result<(), Refusal> {
        match self {
            Account::Alipay { seller_ids } if !seller_ids.is_empty() && !seller_ids.iter().any(|id| id == seller) => {
                Err(Refusal::OtherAccount { line, column: "账号", found: short(seller) })
            }
            _ => Ok(()),
        }
    }
}

/// The seller's id in `账号：[20881234567890120156]`, if the line names one.
pub fn seller(head: &str) -> Option<&str> {
    let named = head.split_once("账号")?.1;
    let is_around = |c: char| c.is_whitespace() || "：:[]［］【】,，".contains(c);
    let id = named.trim_matches(is_around).split(is_around).next().filter(|id| !id.is_empty())?;
    // Sixteen digits and the four of the account; another 0156 is one of the id's own.
    let is_account = id.len() == 20 && id.bytes().all(|b| b.is_ascii_digit());
    Some(id.strip_suffix(ALIPAY_ACCOUNT).filter(|_| is_account).unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sellers() {
        assert_eq!(seller("#账号：[20885212319120680156]"), Some("2088521231912068"));
        assert_eq!(seller("#账号：[2088521231912068],,,"), Some("2088521231912068"));
        assert_eq!(seller("#账号:【2088521231910156】"), Some("2088521231910156"));
        assert_eq!(seller("#账号：[shop@example.com]"), Some("shop@example.com"));
        assert_eq!(seller("#账号：[]"), None);
        assert_eq!(seller("#支付宝业务明细查询"), None);
    }
}
