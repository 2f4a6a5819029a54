//! The closed list of errors: one place for token, SQLSTATE and texts. MESSAGE is the token, DETAIL a sentence about this
//! case, HINT what to do. SQLSTATE PTnnn makes PostgREST answer HTTP nnn.

use crate::limits::BadText;
use crate::numeric::NotExact;
use std::borrow::Cow;

/// One line per token: HTTP status, English text, Chinese text (both say what happened and what to do).
macro_rules! tokens {
    ($($variant:ident $name:literal $status:literal $en:literal $zh:literal;)*) => {
        /// A stable error token of the public API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Token { $($variant),* }

        impl Token {
            pub const ALL: &'static [Token] = &[$(Token::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Token::$variant => $name),* }
            }

            /// The HTTP status, which is also the number in the SQLSTATE.
            pub const fn http_status(self) -> u16 {
                match self { $(Token::$variant => $status),* }
            }

            pub const fn english(self) -> &'static str {
                match self { $(Token::$variant => $en),* }
            }

            pub const fn chinese(self) -> &'static str {
                match self { $(Token::$variant => $zh),* }
            }
        }
    };
}

tokens! {
    InvalidAmount "INVALID_AMOUNT" 400
        "The amount is not acceptable. Send a positive amount with at most two decimals, within the configured limit."
        "金额无效。请传入正数、最多两位小数且不超过系统上限的金额。";
    InvalidArgument "INVALID_ARGUMENT" 400
        "An argument is missing, too long or not one of the allowed values. See the detail for which one."
        "参数缺失、过长或不在允许范围内。详细信息说明了是哪个参数。";
    InvalidPaymentMethod "INVALID_PAYMENT_METHOD" 400
        "This payment method cannot be used here. Members recharge with wechat or alipay; cash is for backends."
        "此处不能使用该支付方式。会员充值可用 wechat 或 alipay，现金仅限后台。";
    BillInvalid "BILL_INVALID" 400
        "The payment gateway's bill cannot be taken. See the detail for the line and the reason."
        "无法导入支付渠道的账单。详细信息说明了行号与原因。";
    NotAuthenticated "NOT_AUTHENTICATED" 401
        "Nobody is signed in. Sign in and repeat the request."
        "尚未登录。请登录后重试。";
    SignatureInvalid "SIGNATURE_INVALID" 401
        "The payment gateway's signature cannot be verified. See the detail for the reason."
        "无法验证支付渠道的签名。详细信息说明了原因。";
    InsufficientBalance "INSUFFICIENT_BALANCE" 402
        "The balance of the card does not cover this. Recharge the card or take another one."
        "卡内余额不足。请充值或使用其他卡。";
    NotMerchantUser "NOT_MERCHANT_USER" 403
        "The signed-in user is not an operator of this merchant. Ask its owner or admin to be added."
        "当前用户不是该商户的操作员。请联系商户负责人添加。";
    NotCardUser "NOT_CARD_USER" 403
        "This member may not use this card. For an enterprise card, its admin can bind the member."
        "该会员无权使用此卡。企业卡可由企业管理员绑定会员。";
    NotCardAdmin "NOT_CARD_ADMIN" 403
        "Only an admin of this enterprise card may do this. Ask one of its admins."
        "仅企业卡管理员可执行此操作。";
    NotAllowed "NOT_ALLOWED" 403
        "The caller may not do this. See the detail for the reason."
        "无权执行此操作。详细信息说明了原因。";
    MerchantNotFound "MERCHANT_NOT_FOUND" 404
        "There is no such merchant. Check the merchant code."
        "商户不存在。请检查商户代码。";
    CardNotFound "CARD_NOT_FOUND" 404
        "There is no such card, or the caller may not see it. Check the id or number of the card."
        "卡不存在或无权查看。";
    MemberNotFound "MEMBER_NOT_FOUND" 404
        "There is no such member. Register the member first."
        "会员不存在。";
    GatewayAccountNotFound "GATEWAY_ACCOUNT_NOT_FOUND" 404
        "There is no payment gateway's account with this code. Check the code, or have the account set up."
        "没有此代码的支付渠道账户。请核对代码，或先设置该账户。";
    CouponNotFound "COUPON_NOT_FOUND" 404
        "There is no such coupon, or the caller may not see it. Check the code."
        "优惠券不存在或无权查看。请检查券码。";
    CampaignNotFound "CAMPAIGN_NOT_FOUND" 404
        "There is no such campaign. Check the code."
        "营销活动不存在。请检查活动代码。";
    TxNotFound "TX_NOT_FOUND" 404
        "There is no such transaction, or the caller may not see it. Check the number."
        "交易不存在或无权查看。请检查交易号。";
    MerchantInactive "MERCHANT_INACTIVE" 409
        "The merchant is inactive. A backend can activate it, and can still refund its payments."
        "商户已停用。后台可重新启用，也可为其交易退款。";
    CardNotActive "CARD_NOT_ACTIVE" 409
        "The card is not active: frozen, lost or closed. A backend can thaw a frozen card and replace a lost one."
        "卡未处于可用状态（已冻结、挂失或注销）。后台可解冻，挂失的卡可补办。";
    CardExpired "CARD_EXPIRED" 409
        "The card has expired. A backend can set a new expiry."
        "卡已过期。后台可设置新的有效期。";
    CardNotEmpty "CARD_NOT_EMPTY" 409
        "A card is closed only with a balance of 0 and no pending recharge. Refund or correct the balance and settle the recharge first."
        "仅当余额为零且没有待确认充值时才能注销卡。";
    MemberNotActive "MEMBER_NOT_ACTIVE" 409
        "The member is suspended or closed. A backend can make a suspended member active again."
        "会员已被暂停或注销。";
    LastAdmin "LAST_ADMIN" 409
        "The last admin of an enterprise card stays. Make another member admin first."
        "企业卡至少保留一名管理员。请先指定其他管理员。";
    NotRefundable "NOT_REFUNDABLE" 409
        "Only a completed payment can be refunded. Send the number of the payment (ZF...)."
        "只有已完成的支付可以退款。";
    RefundExceedsRemaining "REFUND_EXCEEDS_REMAINING" 409
        "The refund is more than what is left of the payment. Refund at most what is left; the payment itself shows it."
        "退款金额超过可退余额。";
    RechargeNotPending "RECHARGE_NOT_PENDING" 409
        "The recharge does not wait for its payment any more. Look it up by its number and compare with the gateway."
        "该充值已不在待支付状态。请查询该交易并与支付渠道核对。";
    TooManyPending "TOO_MANY_PENDING" 409
        "Too many recharges of this card wait for their payment. Pay or cancel one of them, or wait until they end by themselves."
        "该卡待支付的充值过多。请先完成或取消其中一笔，或等待其自动取消。";
    AmountMismatch "AMOUNT_MISMATCH" 409
        "The confirmed amount is not the one that was asked for, and nothing was credited. Compare with the gateway."
        "确认金额与申请金额不一致，未入账。请与支付渠道核对。";
    ExternalOrderConflict "EXTERNAL_ORDER_CONFLICT" 409
        "This order id or gateway trade number belongs to another transaction, or to money in suspense. Use one of its own for each order."
        "该订单号或渠道流水号已被其他交易或挂账款项占用。请为每笔订单使用各自的编号。";
    BalanceLimit "BALANCE_LIMIT" 409
        "The balance would pass the configured limit. Use a smaller amount, or have a backend raise max_balance."
        "余额将超过系统上限。";
    CouponNotUsable "COUPON_NOT_USABLE" 409
        "The coupon cannot be used here and now. See the detail for which condition does not hold."
        "该优惠券当前无法使用。详细信息说明了不满足的条件。";
    CouponLimit "COUPON_LIMIT" 409
        "No more of this coupon are given: its number, or the member's, is reached. A backend can raise the limit."
        "该优惠券已达到发放或领取上限。后台可调整上限。";
    StatusConflict "STATUS_CONFLICT" 409
        "The present state does not allow this change. See the detail for the reason."
        "当前状态不允许此变更。详细信息说明了原因。";
    ReconConflict "RECON_CONFLICT" 409
        "The day's reconciliation does not allow this. See the detail for the reason."
        "当日对账状态不允许此操作。详细信息说明了原因。";
    Archived "ARCHIVED" 409
        "The month of this transaction is archived. Ask the database administrator."
        "该交易所在月份已归档。请联系数据库管理员。";
    SchemaOutdated "SCHEMA_OUTDATED" 409
        "The payment system is being updated or restored and takes no requests. Try again in a few minutes; its health report says why."
        "支付系统正在升级或恢复，暂时无法处理请求。请几分钟后重试；系统管理员可在健康检查中查看原因。";
    ReadOnly "READ_ONLY" 409
        "The payment system is under maintenance: everything can be read, nothing be changed. Try again later; the detail says why."
        "系统维护中，目前只能查询，不能变更。请稍后重试；详细信息说明了原因。";
    QrExpiredOrInvalid "QR_EXPIRED_OR_INVALID" 410
        "The pay code is not valid: expired, used up or wrong. Ask the customer for a new one."
        "付款码无效、已使用或已过期。请顾客刷新付款码。";
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" 422
        "This key was used for another request. Use a new key for a new request, the same arguments for a retry."
        "该幂等键已用于其他请求。新请求请使用新键，重试请保持参数一致。";
}

impl Token {
    pub fn sqlstate(self) -> String {
        format!("PT{}", self.http_status())
    }

    /// What happened, and what to do about it.
    pub fn sentences(self) -> (&'static str, &'static str) {
        let text = self.english();
        let end = text.find(". ").map_or(text.len(), |at| at + 1);
        (&text[..end], text[end..].trim_start())
    }

    pub fn from_name(name: &str) -> Option<Token> {
        Token::ALL.iter().copied().find(|t| t.name() == name)
    }
}

/// An error to be raised: which one, and a sentence about this case. Details never hold another's balance or a hash.
#[derive(Debug)]
pub struct Error {
    pub token: Token,
    pub detail: Cow<'static, str>,
    /// What to do, where the token's own hint does not say it.
    hint: Option<String>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(token: Token, detail: impl Into<Cow<'static, str>>) -> Error {
        Error { token, detail: detail.into(), hint: None }
    }

    /// What to do about this case, in place of what the token says to it.
    pub fn with_hint(mut self, hint: String) -> Error {
        self.hint = Some(hint);
        self
    }

    /// What to do.
    pub fn hint(&self) -> &str {
        self.hint.as_deref().unwrap_or(self.token.sentences().1)
    }
}

impl From<Token> for Error {
    fn from(token: Token) -> Error {
        Error::new(token, token.sentences().0)
    }
}

/// `Err` of a token unless the condition holds.
pub fn ensure(condition: bool, token: Token) -> Result<()> {
    if condition { Ok(()) } else { Err(token.into()) }
}

/// Why an amount was refused, as an error that names the argument.
pub fn bad_amount(argument: &'static str, why: NotExact) -> Error {
    let why = match why {
        NotExact::NotFinite => "is not a number",
        NotExact::TooManyDecimals => "has more decimals than allowed",
        NotExact::TooLarge | NotExact::Malformed => "is out of range",
    };
    Error::new(Token::InvalidAmount, format!("{argument} {why}"))
}

/// An argument that was refused, and why.
pub fn invalid(argument: &str, why: &str) -> Error {
    Error::new(Token::InvalidArgument, format!("{argument} {why}"))
}

/// Why a text was refused, as an error that names the argument.
pub fn bad_text(argument: &'static str, why: BadText, max: usize) -> Error {
    let why = match why {
        BadText::Empty => "must not be empty".into(),
        BadText::TooLong => format!("is longer than {max} characters"),
        BadText::ControlCharacter => "has control characters".into(),
    };
    Error::new(Token::InvalidArgument, format!("{argument} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_happened_and_what_to_do() {
        for &token in Token::ALL {
            let (happened, to_do) = token.sentences();
            assert_eq!(format!("{happened} {to_do}"), token.english());
            assert!(happened.ends_with('.') && to_do.ends_with('.') && token.chinese().ends_with('。'), "{token:?}");
            assert_eq!(Token::from_name(token.name()), Some(token));
        }
        let (happened, to_do) = Token::NotAuthenticated.sentences();
        assert_eq!((happened, to_do), ("Nobody is signed in.", "Sign in and repeat the request."));
        assert_eq!(Token::from_name("NOT_AUTHENTICATE"), None);
        assert_eq!(Token::InsufficientBalance.sqlstate(), "PT402");
    }

    #[test]
    fn an_error_has_the_words_of_its_token_unless_it_has_its_own() {
        let plain = Error::from(Token::NotAuthenticated);
        assert_eq!((plain.detail.as_ref(), plain.hint()), ("Nobody is signed in.", "Sign in and repeat the request."));
        let own = Error::new(Token::StatusConflict, "it is closed").with_hint("Open it.".into());
        assert_eq!((own.token, own.detail.as_ref(), own.hint()), (Token::StatusConflict, "it is closed", "Open it."));
        assert!(ensure(true, Token::LastAdmin).is_ok());
        assert_eq!(ensure(false, Token::LastAdmin).map_err(|e| e.token), Err(Token::LastAdmin));
    }

    #[test]
    fn what_is_refused_is_named_with_the_reason() {
        let said = |error: Error| (error.token, error.detail.into_owned());
        for (why, detail) in [
            (NotExact::NotFinite, "p_amount is not a number"),
            (NotExact::TooManyDecimals, "p_amount has more decimals than allowed"),
            (NotExact::TooLarge, "p_amount is out of range"),
            (NotExact::Malformed, "p_amount is out of range"),
        ] {
            assert_eq!(said(bad_amount("p_amount", why)), (Token::InvalidAmount, detail.to_owned()));
        }
        for (why, detail) in [
            (BadText::Empty, "p_reason must not be empty"),
            (BadText::TooLong, "p_reason is longer than 500 characters"),
            (BadText::ControlCharacter, "p_reason has control characters"),
        ] {
            assert_eq!(said(bad_text("p_reason", why, 500)), (Token::InvalidArgument, detail.to_owned()));
        }
        assert_eq!(said(invalid("p_role", "is missing")), (Token::InvalidArgument, "p_role is missing".to_owned()));
    }
}
