//! WeChat Pay: a header, lines, a header of totals, totals.

use crate::amount;
use crate::columns::Row;
use crate::header::{Col, name};
use crate::line::{Direction, Entry, Flow, Kind, Line};
use crate::refusal::{Refusal, short};
use crate::tally::{Total, add};

/// The names that only a header of totals has.
const COUNTS: [&str; 2] = ["总交易单数", "资金流水总笔数"];
pub const TOTALS: &str = "its totals";

/// What the totals say of lines. Amounts in fen, the fee in hundred-thousandths of a yuan, signed as the file has them.
#[derive(Default)]
pub struct Sums {
    lines: u64,
    ordered: i64,
    settled: i64,
    asked_refund: i64,
    settled_refund: i64,
    coupon_refund: i64,
    fee: i64,
    incoming: (u64, i64),
    outgoing: (u64, i64),
}

/// Whether a line is the header of the totals.
pub fn is_totals_header(text: &str) -> bool {
    let begins = text.trim_start_matches('`').bytes().next().is_some_and(|b| !b.is_ascii());
    begins && text.split(',').any(|cell| COUNTS.contains(&name(cell).as_str()))
}

impl Sums {
    pub fn line<'a>(&mut self, row: &Row<'a>, kind: Kind) -> Result<Line<'a>, Refusal> {
        self.lines += 1;
        match kind {
            Kind::Trade => self.trade(row),
            Kind::Fundflow => self.flow(row),
        }
    }

    fn trade<'a>(&mut self, row: &Row<'a>) -> Result<Line<'a>, Refusal> {
        let line = row.line;
        let state = row.needed(Col::State)?;
        let entry = match state {
            "SUCCESS" => Entry::Payment,
            "REFUND" | "REVOKED" => Entry::Refund,
            _ => Entry::Other,
        };
        let (ordered, settled) = (row.fen_up(Col::Ordered)?, row.fen_up(Col::Settled)?);
        let (asked, settled_refund) = (row.fen_up(Col::AskedRefund)?, row.fen_up(Col::SettledRefund)?);
        let refund = asked.or(settled_refund);
        if entry == Entry::Refund && refund.is_none() {
            return Err(Refusal::Missing { line, column: "申请退款金额" });
        }
        let fee = row.units(Col::Fee)?;
        let currency = match row.text(Col::Currency) {
            "CNY" | "" => "CNY",
            text => return Err(Refusal::Currency { line, text: short(text) }),
        };
        add(&mut self.ordered, ordered, line)?;
        add(&mut self.settled, settled, line)?;
        add(&mut self.asked_refund, asked, line)?;
        add(&mut self.settled_refund, settled_refund, line)?;
        add(&mut self.coupon_refund, row.fen_up(Col::CouponRefund)?, line)?;
        add(&mut self.fee, fee, line)?;
        let at = if row.text(Col::RefundAt).is_empty() { row.time(Col::At)? } else { row.time(Col::RefundAt)? };
        Ok(Line {
            number: line,
            entry,
            at,
            trade_no: row.needed(Col::TradeNo)?,
            order_no: row.needed(Col::OrderNo)?,
            refund_no: row.number(Col::RefundNo)?,
            out_refund_no: row.number(Col::OutRefundNo)?,
            state,
            refund_state: row.kept(Col::RefundState)?,
            method: row.kept(Col::Method)?,
            currency,
            order_amount: ordered.or(settled).unwrap_or(0),
            settled_amount: settled.or(ordered).unwrap_or(0),
            refund_amount: refund.unwrap_or(0),
            settled_refund: settled_refund.or(asked).unwrap_or(0),
            fee,
            appid: row.number(Col::Appid)?,
            mchid: row.needed(Col::Mchid)?,
            sub_mchid: row.number(Col::SubMchid)?,
            seller: "",
            flow: None,
        })
    }

    fn flow<'a>(&mut self, row: &Row<'a>) -> Result<Line<'a>, Refusal> {
        let line = row.line;
        let amount = row.fen_up(Col::Amount)?.unwrap_or(0);
        let (direction, side) = match row.text(Col::Direction) {
            "收入" => (Direction::In, &mut self.incoming),
            "支出" => (Direction::Out, &mut self.outgoing),
            text => return Err(Refusal::Direction { line, text: short(text) }),
        };
        side.0 += 1;
        add(&mut side.1, Some(amount), line)?;
        let business_type = row.kept(Col::BusinessType)?;
        let flow = Flow {
            number: row.needed(Col::FlowNo)?,
            direction,
            amount,
            balance: row.fen(Col::Balance)?,
            business_name: row.kept(Col::BusinessName)?,
            business_type,
            voucher: row.number(Col::Voucher)?,
        };
        let at = row.time(Col::At)?;
        let trade_no = row.number(Col::TradeNo)?;
        Ok(Line { trade_no, ..Line::of_a_flow(line, at, Entry::of_a_business(business_type), flow) })
    }

    /// Compares the totals by their names; one that is not known is not compared, and its name returned.
    pub fn compare(&self, kind: Kind, header: &str, totals: &str, line: u64) -> Result<Option<String>, Refusal> {
        let names: Vec<String> = header.split(',').map(name).collect();
        let cells: Vec<&str> = totals.split(',').map(|cell| cell.trim().trim_start_matches('`').trim()).collect();
        if names.len() != cells.len() {
            return Err(Refusal::Columns { line, has: cells.len(), header: names.len() });
        }
        let amounts: &[&str] = match kind {
            Kind::Trade => &["应结订单总金额", "总交易额", "订单总金额"],
            Kind::Fundflow => &["收入金额", "支出金额"],
        };
        if !names.iter().any(|name| amounts.contains(&name.as_str())) {
            return Err(Refusal::Missing { line, column: amounts[0] });
        }
        let mut unknown = None;
        for (total, says) in names.iter().zip(cells) {
            let total = Total { line, name: total, says };
            match total.name {
                "总交易单数" | "资金流水总笔数" => total.is_count(self.lines)?,
                "订单总金额" => total.is_fen(self.ordered)?,
                "应结订单总金额" | "总交易额" => total.is_fen(self.settled)?,
                "申请退款总金额" => total.is_fen(self.asked_refund)?,
                "退款总金额" | "总退款金额" => total.is_fen(self.settled_refund)?,
                "充值券退款总金额" | "总企业红包退款金额" | "总代金券或立减优惠退款金额" =>
                {
                    total.is_fen(self.coupon_refund)?;
                }
                "手续费总金额" => total.is_about(self.fee)?,
                "收入笔数" => total.is_count(self.incoming.0)?,
                "收入金额" => total.is_fen(self.incoming.1)?,
                "支出笔数" => total.is_count(self.outgoing.0)?,
                "支出金额" => total.is_fen(self.outgoing.1)?,
                _ if amount::units(says).is_some_and(|units| units != 0) => unknown = Some(short(total.name)),
                _ => {}
            }
        }
        Ok(unknown)
    }
}
