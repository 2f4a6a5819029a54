//! What a bill says: a line, and the bill as a whole.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    Wechat,
    Alipay,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provider::Wechat => "WeChat Pay",
            Provider::Alipay => "Alipay",
        })
    }
}

/// Payments and refunds, or every movement of the shop's account with the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Trade,
    Fundflow,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Trade => "trade",
            Kind::Fundflow => "fundflow",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    Plain,
    Gzip,
    Zip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    Utf8,
    Gb18030,
}

/// What a line is about. WeChat's `REVOKED` is a refund: the money went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Payment,
    Refund,
    /// Of a fundflow alone: what the gateway takes for its service, or gives back of it.
    Fee,
    /// A withdrawal, a transfer, a state or a business that is not known here.
    Other,
}

impl Entry {
    /// What a movement is, by its business type, of either gateway.
    pub(crate) fn of_a_business(text: &str) -> Entry {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(&["手续费", "服务费", "收费", "退费"]) {
            Entry::Fee
        } else if has(&["退款"]) {
            Entry::Refund
        } else if has(&["交易", "在线支付"]) {
            Entry::Payment
        } else {
            Entry::Other
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// One line. Texts are empty where the file says nothing, which WeChat writes as `0`. Amounts are in fen and never negative; the fee is
/// in hundred-thousandths of a yuan, positive where the shop pays it and negative where it is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// In the unzipped file, from 1.
    pub number: u64,
    pub entry: Entry,
    /// Microseconds since 1970, UTC: when it was paid or the refund was accepted, which is what the gateway's day goes by.
    pub at: i64,
    /// The gateway's number of the payment, also of one that is refunded.
    pub trade_no: &'a str,
    /// 商户订单号, ours.
    pub order_no: &'a str,
    /// The gateway's number of the refund; Alipay has none.
    pub refund_no: &'a str,
    /// 商户退款单号 or 退款批次号/请求号, ours.
    pub out_refund_no: &'a str,
    /// 交易状态; of Alipay the 业务类型.
    pub state: &'a str,
    /// 退款状态 at the time of the bill, which is not corrected later.
    pub refund_state: &'a str,
    /// 交易类型: JSAPI, NATIVE, ...
    pub method: &'a str,
    /// CNY in every bill that is accepted.
    pub currency: &'a str,
    /// What is matched with a payment: 订单金额, and 应结订单金额 or 总金额 in files that have none.
    pub order_amount: i64,
    /// What the gateway settles of it: 应结订单金额, 商家实收.
    pub settled_amount: i64,
    /// What is matched with a refund: 申请退款金额, and 退款金额 in files that have none; of Alipay the 订单金额.
    pub refund_amount: i64,
    /// What the shop gives back of it: 退款金额, 商家实收.
    pub settled_refund: i64,
    /// `None` where the file has no such column.
    pub fee: Option<i64>,
    pub appid: &'a str,
    pub mchid: &'a str,
    pub sub_mchid: &'a str,
    /// The account that Alipay's file says it is of, without the 0156 at its end.
    pub seller: &'a str,
    /// Of a fundflow.
    pub flow: Option<Flow<'a>>,
}

impl<'a> Line<'a> {
    /// A movement, with nothing that only a trade has.
    pub(crate) fn of_a_flow(number: u64, at: i64, entry: Entry, flow: Flow<'a>) -> Line<'a> {
        Line {
            number,
            entry,
            at,
            trade_no: "",
            order_no: "",
            refund_no: "",
            out_refund_no: "",
            state: "",
            refund_state: "",
            method: "",
            currency: "CNY",
            order_amount: 0,
            settled_amount: 0,
            refund_amount: 0,
            settled_refund: 0,
            fee: None,
            appid: "",
            mchid: "",
            sub_mchid: "",
            seller: "",
            flow: Some(flow),
        }
    }
}

/// What only a fundflow says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<'a> {
    /// 资金流水单号, 账务流水号.
    pub number: &'a str,
    pub direction: Direction,
    /// In fen, never negative.
    pub amount: i64,
    /// Of the account after it, in fen.
    pub balance: Option<i64>,
    /// 业务名称; Alipay has none.
    pub business_name: &'a str,
    pub business_type: &'a str,
    /// 业务凭证号; Alipay has none.
    pub voucher: &'a str,
}

/// Sums over the lines of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    pub count: u64,
    /// In fen: order amounts of payments, refund amounts of refunds, amounts of movements.
    pub amount: i64,
    /// In fen: what the gateway settles of them.
    pub settled: i64,
    /// In hundred-thousandths of a yuan.
    pub fee: i64,
}

/// A bill that was read to its end and adds up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    pub provider: Provider,
    pub kind: Kind,
    pub packed: Packed,
    pub charset: Charset,
    /// The account that the file itself says it is of (Alipay's `#账号` line).
    pub account: Option<String>,
    /// Lines that were given to the sink.
    pub lines: u64,
    /// Of a trade bill.
    pub payments: Side,
    pub refunds: Side,
    /// Of a fundflow.
    pub incoming: Side,
    pub outgoing: Side,
    /// At most [`Warning::MOST`]; what comes after is not kept.
    pub warnings: Vec<Warning>,
}

/// What is odd in a bill that is accepted all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A line of totals of a form that is not known: it was not compared.
    UnknownTotal { line: u64, text: String },
    /// The file says which days it is of in a form that is not known.
    UnknownPeriod { line: u64, text: String },
    /// A fundflow that says where its lines end and has no totals.
    NoTotals,
    /// The file does not say whose it is.
    NoAccount,
    /// A state or a business that is not known; its line is [`Entry::Other`].
    UnknownState { line: u64, text: String },
}

impl Warning {
    pub const MOST: usize = 20;
}

/// The first warnings of a bill: a file must not fill memory with them.
#[derive(Default)]
pub(crate) struct Warnings(Vec<Warning>);

impl Warnings {
    pub fn push(&mut self, warning: Warning) {
        if self.0.len() < Warning::MOST {
            self.0.push(warning);
        }
    }

    pub fn into_list(self) -> Vec<Warning> {
        self.0
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::UnknownTotal { line, text } => {
                write!(f, "line {line}: a line of totals of an unknown form, which was not compared: {text}")
            }
            Warning::UnknownPeriod { line, text } => {
                write!(f, "line {line}: which days these are cannot be told: {text}")
            }
            Warning::NoTotals => f.write_str("the bill has no totals"),
            Warning::NoAccount => f.write_str("the bill does not say whose it is"),
            Warning::UnknownState { line, text } => write!(f, "line {line}: neither a payment nor a refund: {text}"),
        }
    }
}
