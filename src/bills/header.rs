//! Headers: which bill it is, and where its columns are. By name, because gateways add columns and change their order.

use crate::line::{Kind, Provider};
use crate::refusal::Refusal;

/// What a column says, whatever a format calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Col {
    At,
    /// 退款申请时间, of WeChat's bills of refunds alone: there 交易时间 is that of the payment.
    RefundAt,
    Appid,
    Mchid,
    SubMchid,
    TradeNo,
    OrderNo,
    Method,
    State,
    Currency,
    Ordered,
    Settled,
    Discount,
    RefundNo,
    OutRefundNo,
    AskedRefund,
    SettledRefund,
    CouponRefund,
    RefundState,
    Fee,
    FlowNo,
    BusinessName,
    BusinessType,
    Direction,
    Amount,
    Income,
    Outgo,
    Balance,
    Voucher,
    /// What is not read, but may hold a comma behind its backtick.
    FreeText,
}

const COLS: usize = Col::FreeText as usize + 1;

/// A column with its names, the present one first, and whether a file without it is no bill. Names are compared without what stands in
/// brackets at their end, which is the unit.
pub struct Column {
    col: Col,
    names: &'static [&'static str],
    is_needed: bool,
}

const fn needed(col: Col, names: &'static [&'static str]) -> Column {
    Column { col, names, is_needed: true }
}

const fn perhaps(col: Col, names: &'static [&'static str]) -> Column {
    Column { col, names, is_needed: false }
}

const WECHAT_TRADE: &[Column] = &[
    needed(Col::At, &["交易时间"]),
    perhaps(Col::RefundAt, &["退款申请时间"]),
    needed(Col::Appid, &["公众账号ID"]),
    needed(Col::Mchid, &["商户号"]),
    perhaps(Col::SubMchid, &["特约商户号", "子商户号"]),
    needed(Col::TradeNo, &["微信订单号"]),
    needed(Col::OrderNo, &["商户订单号"]),
    perhaps(Col::Method, &["交易类型"]),
    needed(Col::State, &["交易状态"]),
    perhaps(Col::Currency, &["货币种类"]),
    perhaps(Col::Ordered, &["订单金额"]),
    perhaps(Col::Settled, &["应结订单金额", "总金额"]),
    perhaps(Col::RefundNo, &["微信退款单号"]),
    perhaps(Col::OutRefundNo, &["商户退款单号"]),
    perhaps(Col::AskedRefund, &["申请退款金额"]),
    perhaps(Col::SettledRefund, &["退款金额"]),
    perhaps(Col::CouponRefund, &["充值券退款金额", "企业红包退款金额", "代金券或立减优惠退款金额"]),
    perhaps(Col::RefundState, &["退款状态"]),
    perhaps(Col::Fee, &["手续费"]),
    perhaps(Col::FreeText, &["商品名称"]),
    perhaps(Col::FreeText, &["商户数据包"]),
];

const WECHAT_FLOW: &[Column] = &[
    needed(Col::At, &["记账时间"]),
    needed(Col::TradeNo, &["微信支付业务单号"]),
    needed(Col::FlowNo, &["资金流水单号"]),
    perhaps(Col::BusinessName, &["业务名称"]),
    needed(Col::BusinessType, &["业务类型"]),
    needed(Col::Direction, &["收支类型"]),
    needed(Col::Amount, &["收支金额"]),
    perhaps(Col::Balance, &["账户结余"]),
    perhaps(Col::Voucher, &["业务凭证号"]),
    perhaps(Col::FreeText, &["备注"]),
];

const ALIPAY_TRADE: &[Column] = &[
    needed(Col::TradeNo, &["支付宝交易号"]),
    needed(Col::OrderNo, &["商户订单号"]),
    needed(Col::State, &["业务类型"]),
    needed(Col::At, &["完成时间"]),
    needed(Col::Ordered, &["订单金额"]),
    needed(Col::Settled, &["商家实收"]),
    perhaps(Col::Discount, &["商家优惠"]),
    perhaps(Col::OutRefundNo, &["退款批次号/请求号", "退款批次号"]),
    perhaps(Col::Fee, &["服务费"]),
];

const ALIPAY_FLOW: &[Column] = &[
    needed(Col::FlowNo, &["账务流水号"]),
    needed(Col::TradeNo, &["业务流水号"]),
    needed(Col::OrderNo, &["商户订单号"]),
    needed(Col::At, &["发生时间"]),
    needed(Col::Income, &["收入金额"]),
    needed(Col::Outgo, &["支出金额"]),
    perhaps(Col::Balance, &["账户余额"]),
    needed(Col::BusinessType, &["业务类型"]),
];

const FORMATS: [(Provider, Kind, &[Column]); 4] = [
    (Provider::Wechat, Kind::Trade, WECHAT_TRADE),
    (Provider::Wechat, Kind::Fundflow, WECHAT_FLOW),
    (Provider::Alipay, Kind::Trade, ALIPAY_TRADE),
    (Provider::Alipay, Kind::Fundflow, ALIPAY_FLOW),
];

/// Fewer known names than this are no header.
const FEWEST: usize = 3;

pub struct Header {
    pub provider: Provider,
    pub kind: Kind,
    pub columns: usize,
    places: [Option<usize>; COLS],
    /// Columns that may hold a comma.
    free: Vec<usize>,
    first_name: String,
}

impl Header {
    pub fn read(text: &str, line: u64) -> Result<Header, Refusal> {
        let names: Vec<String> = text.split(',').map(name).collect();
        let known = |columns: &[Column]| names.iter().filter(|name| columns.iter().any(|c| c.is(name))).count();
        let (mut provider, mut kind, mut columns, mut most) = (Provider::Wechat, Kind::Trade, WECHAT_TRADE, 0);
        for format in FORMATS {
            let count = known(format.2);
            if count > most {
                (provider, kind, columns, most) = (format.0, format.1, format.2, count);
            }
        }
        if names.iter().any(|name| name.ends_with("总笔数")) {
            return Err(Refusal::Summary { line });
        }
        if most < FEWEST {
            return Err(Refusal::NoHeader { line });
        }
        let mut header = Header {
            provider,
            kind,
            columns: names.len(),
            places: [None; COLS],
            free: Vec::new(),
            first_name: names.first().cloned().unwrap_or_default(),
        };
        for column in columns {
            header.find(column, &names, line)?;
        }
        header.has_what_is_matched(line)?;
        Ok(header)
    }

    fn find(&mut self, column: &Column, names: &[String], line: u64) -> Result<(), Refusal> {
        let mut places = names.iter().enumerate().filter(|(_, name)| column.is(name)).map(|(place, _)| place);
        let (place, other) = (places.next(), places.next());
        if other.is_some() {
            return Err(Refusal::ColumnTwice { line, column: column.names[0] });
        }
        match place {
            Some(place) if column.col == Col::FreeText => self.free.push(place),
            Some(place) => self.places[column.col as usize] = Some(place),
            None if column.is_needed => return Err(Refusal::Missing { line, column: column.names[0] }),
            None => {}
        }
        Ok(())
    }

    /// Of WeChat's trade bills: an amount of orders, and of refunds where there are any.
    fn has_what_is_matched(&self, line: u64) -> Result<(), Refusal> {
        if (self.provider, self.kind) != (Provider::Wechat, Kind::Trade) {
            return Ok(());
        }
        if !self.has(Col::Ordered) && !self.has(Col::Settled) {
            return Err(Refusal::Missing { line, column: "订单金额" });
        }
        let has_refunds = self.has(Col::RefundNo) || self.has(Col::OutRefundNo) || self.has(Col::RefundAt);
        if has_refunds && !self.has(Col::AskedRefund) && !self.has(Col::SettledRefund) {
            return Err(Refusal::Missing { line, column: "申请退款金额" });
        }
        Ok(())
    }

    pub fn has(&self, col: Col) -> bool {
        self.place(col).is_some()
    }

    pub fn place(&self, col: Col) -> Option<usize> {
        self.places[col as usize]
    }

    pub fn may_hold_a_comma(&self, place: usize) -> bool {
        self.free.contains(&place)
    }

    /// The name that a refusal gives a column.
    pub fn name_of(&self, col: Col) -> &'static str {
        let format = FORMATS.iter().find(|(provider, kind, _)| (*provider, *kind) == (self.provider, self.kind));
        let column = format.and_then(|(_, _, columns)| columns.iter().find(|column| column.col == col));
        column.map_or("", |column| column.names[0])
    }

    /// Whether a line is this header once more.
    pub fn is_again(&self, text: &str) -> bool {
        // Data begins with a backtick, a number or a date in nearly every line.
        let begins = text.trim_start_matches('`').bytes().next().is_some_and(|b| !b.is_ascii());
        begins && text.split(',').next().is_some_and(|cell| name(cell) == self.first_name)
    }
}

impl Column {
    fn is(&self, name: &str) -> bool {
        self.names.contains(&name)
    }
}

/// A name as it is compared: without a backtick, white space, and the unit in brackets of any width.
pub fn name(cell: &str) -> String {
    let cell = cell.trim().trim_start_matches('`').trim();
    let end = cell.find(['(', '（']).filter(|_| cell.ends_with([')', '）']) && cell.contains('元'));
    cell[..end.unwrap_or(cell.len())].trim_end().replace('／', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_unit() {
        for (cell, is) in [
            ("收支金额(元)", "收支金额"),
            ("账户结余（元）", "账户结余"),
            ("收入金额（+元）", "收入金额"),
            ("支出金额(-元)\t", "支出金额"),
            ("`交易时间", "交易时间"),
            (" 退款批次号／请求号", "退款批次号/请求号"),
            ("备注(其他)", "备注(其他)"),
            ("元（", "元（"),
        ] {
            assert_eq!(name(cell), is);
        }
    }
}
