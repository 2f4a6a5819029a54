//! Alipay: `#` lines, a header, lines, `#` lines with totals.

use crate::account;
use crate::columns::Row;
use crate::day::{Day, first_day};
use crate::header::{Col, Header};
use crate::line::{Direction, Entry, Flow, Kind, Line, Side, Warning, Warnings};
use crate::refusal::{Refusal, short};
use crate::tally::{Sides, Total, add};

/// What the lines before the header say.
#[derive(Default)]
pub struct Head {
    /// Whose it is, and the line that says so.
    pub seller: Option<(String, u64)>,
    /// Whether a line says that it is of the day that was asked for.
    pub is_of_the_day: bool,
    pub is_summary: bool,
}

impl Head {
    pub fn note(&mut self, text: &str, line: u64, asked: Day, warnings: &mut Warnings) -> Result<(), Refusal> {
        self.is_summary |= text.contains("汇总");
        if let Some(seller) = account::seller(text) {
            self.seller = Some((seller.to_owned(), line));
        }
        let Some((_, period)) = text.split_once("起始日期") else { return Ok(()) };
        let Some((from, rest)) = first_day(period) else {
            warnings.push(Warning::UnknownPeriod { line, text: short(text) });
            return Ok(());
        };
        if from != asked {
            return Err(Refusal::OtherDay { line, asked, found: from.to_string() });
        }
        // It ends with the beginning of the next day, or within its own.
        let to = rest.split_once("终止日期").and_then(|(_, end)| first_day(end)).map(|(to, _)| to);
        if let Some(to) = to.filter(|to| !(0..=1).contains(&(to.unix_days().saturating_sub(from.unix_days())))) {
            return Err(Refusal::OtherDay { line, asked, found: format!("{from} to {to}") });
        }
        self.is_of_the_day = true;
        Ok(())
    }
}

/// What the totals say of lines, signed as the file has them, and what totals there are.
#[derive(Default)]
pub struct Sums {
    /// 商家实收 of payments and of refunds.
    settled: [i64; 2],
    /// 商家优惠 of payments and of refunds.
    discount: [i64; 2],
    /// Which of the two sides a line of totals is about; not whether its form is known.
    has: [bool; 2],
    has_unknown: bool,
    /// `列表结束`
    has_end: bool,
    last_line: u64,
}

/// What stands before 合计, of payments and refunds, of incoming and outgoing money.
fn sides(kind: Kind) -> [&'static str; 2] {
    match kind {
        Kind::Trade => ["交易", "退款"],
        Kind::Fundflow => ["收入", "支出"],
    }
}

impl Sums {
    pub fn line<'a>(&mut self, row: &Row<'a>, kind: Kind, seller: &'a str) -> Result<Line<'a>, Refusal> {
        self.last_line = row.line;
        match kind {
            Kind::Trade => self.trade(row, seller),
            Kind::Fundflow => flow(row, seller),
        }
    }

    fn trade<'a>(&mut self, row: &Row<'a>, seller: &'a str) -> Result<Line<'a>, Refusal> {
        let line = row.line;
        let state = row.kept(Col::State)?;
        let entry = match state {
            "交易" => Entry::Payment,
            "退款" => Entry::Refund,
            _ => Entry::Other,
        };
        let ordered = row.fen(Col::Ordered)?.unwrap_or(0);
        let settled = row.fen(Col::Settled)?.unwrap_or(0);
        let wrong = |amount: i64| match entry {
            Entry::Payment => amount < 0,
            Entry::Refund => amount > 0,
            _ => false,
        };
        if let Some(col) = [(Col::Ordered, ordered), (Col::Settled, settled)].iter().find(|(_, a)| wrong(*a)) {
            return Err(row.sign(col.0));
        }
        let discount = if row.text(Col::Discount).is_empty() { None } else { row.fen(Col::Discount)? };
        let side = usize::from(entry == Entry::Refund);
        if entry != Entry::Other {
            add(&mut self.settled[side], Some(settled), line)?;
            add(&mut self.discount[side], discount, line)?;
        }
        // Some files have what the shop pays below zero.
        let fee = if row.text(Col::Fee).is_empty() { None } else { row.units(Col::Fee)? };
        let fee = fee.map(|fee| if entry == Entry::Refund { -fee.abs() } else { fee.abs() });
        let paid = |amount: i64| if entry == Entry::Refund { 0 } else { amount.abs() };
        let refunded = |amount: i64| if entry == Entry::Refund { -amount } else { 0 };
        Ok(Line {
            number: line,
            entry,
            at: row.time(Col::At)?,
            trade_no: row.needed(Col::TradeNo)?,
            order_no: row.kept(Col::OrderNo)?,
            refund_no: "",
            out_refund_no: row.kept(Col::OutRefundNo)?,
            state,
            refund_state: "",
            method: "",
            currency: "CNY",
            order_amount: paid(ordered),
            settled_amount: paid(settled),
            refund_amount: refunded(ordered),
            settled_refund: refunded(settled),
            fee,
            appid: "",
            mchid: "",
            sub_mchid: "",
            seller,
            flow: None,
        })
    }

    /// A `#` line behind the header: an end, totals, or something to be read by people. Whether lines may follow.
    pub fn note(
        &mut self,
        text: &str,
        line: u64,
        header: &Header,
        lines: &Sides,
        warnings: &mut Warnings,
    ) -> Result<bool, Refusal> {
        self.last_line = line;
        self.has_end |= text.contains("列表结束");
        let text = text.trim_start_matches('#').trim().trim_end_matches(',');
        let Some((label, rest)) = text.split_once("合计") else {
            return Ok(!self.has_end && !text.starts_with("导出时间"));
        };
        let rest = rest.trim_start_matches(['：', ':']).trim();
        let is_known = match sides(header.kind).iter().position(|side| *side == label) {
            Some(side) => {
                self.has[side] = true;
                self.compare(side, rest, line, header, lines)?
            }
            None => {
                self.has_unknown = true;
                false
            }
        };
        if !is_known {
            warnings.push(Warning::UnknownTotal { line, text: short(text) });
        }
        Ok(false)
    }

    /// `N笔，商家实收共X元，商家优惠共Y元`, `N笔，共X元`: whether the whole of it is of a form that is known. What is known is compared.
    fn compare(&self, side: usize, text: &str, line: u64, header: &Header, lines: &Sides) -> Result<bool, Refusal> {
        let mut is_known = true;
        let mut has = [false; 2];
        for part in text.split(['，', ',']).map(str::trim) {
            let total = |name, says| Total { line, name, says };
            if let Some(count) = part.strip_suffix('笔').filter(|count| is_number(count)) {
                total("笔数", count).is_count(of(lines, header.kind, side).count)?;
                has[0] = true;
                continue;
            }
            let amount = part.strip_suffix('元').and_then(|part| part.split_once('共'));
            let Some((name, says)) = amount.filter(|(_, says)| is_number(says)) else {
                is_known = false;
                continue;
            };
            match (header.kind, name.trim_end_matches("退款")) {
                (Kind::Trade, "商家实收") => total(name, says).is_fen(self.settled[side])?,
                (Kind::Trade, "商家优惠") => total(name, says).is_size(self.discount[side])?,
                (Kind::Fundflow, "") => total("合计", says).is_size(of(lines, header.kind, side).amount)?,
                _ => {
                    is_known = false;
                    continue;
                }
            }
            has[1] |= name.is_empty() || name.starts_with("商家实收");
        }
        Ok(is_known && has == [true, true])
    }

    /// Whether the file has what stands at the end of every whole one.
    pub fn end(&self, kind: Kind, lines: &Sides, warnings: &mut Warnings) -> Result<(), Refusal> {
        let line = self.last_line;
        let has_totals = self.has != [false, false] || self.has_unknown;
        if !has_totals && (kind == Kind::Trade || !self.has_end) {
            return Err(Refusal::Cut { line, lacks: "its totals" });
        }
        if !has_totals {
            warnings.push(Warning::NoTotals);
            return Ok(());
        }
        let lacks = |side: usize| !self.has[side] && !self.has_unknown && of(lines, kind, side).count > 0;
        match [lacks(0), lacks(1)] {
            [true, _] => Err(Refusal::Cut { line, lacks: "the totals of payments or incoming money" }),
            [_, true] => Err(Refusal::Cut { line, lacks: "the totals of refunds or outgoing money" }),
            _ => Ok(()),
        }
    }
}

fn of(lines: &Sides, kind: Kind, side: usize) -> &Side {
    match (kind, side) {
        (Kind::Trade, 0) => &lines.payments,
        (Kind::Trade, _) => &lines.refunds,
        (Kind::Fundflow, 0) => &lines.incoming,
        (Kind::Fundflow, _) => &lines.outgoing,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-')
}

fn flow<'a>(row: &Row<'a>, seller: &'a str) -> Result<Line<'a>, Refusal> {
    let amount = |col| if row.text(col).is_empty() { Ok(0) } else { row.fen(col).map(|fen| fen.unwrap_or(0)) };
    let (income, outgo) = (amount(Col::Income)?, amount(Col::Outgo)?);
    if row.text(Col::Income).is_empty() && row.text(Col::Outgo).is_empty() {
        return Err(row.no_amount(Col::Income, ""));
    }
    if income < 0 {
        return Err(row.sign(Col::Income));
    }
    let (direction, amount) = match (income, outgo) {
        (0, 0) if row.text(Col::Income).is_empty() => (Direction::Out, 0),
        (income, 0) => (Direction::In, income),
        (0, outgo) => (Direction::Out, outgo.abs()),
        _ => return Err(Refusal::Direction { line: row.line, text: "both".to_owned() }),
    };
    let business_type = row.kept(Col::BusinessType)?;
    let balance = if row.text(Col::Balance).is_empty() { None } else { row.fen(Col::Balance)? };
    let flow = Flow {
        number: row.needed(Col::FlowNo)?,
        direction,
        amount,
        balance,
        business_name: "",
        business_type,
        voucher: "",
    };
    let (trade_no, order_no) = (row.kept(Col::TradeNo)?, row.kept(Col::OrderNo)?);
    let at = row.time(Col::At)?;
    Ok(Line { trade_no, order_no, seller, ..Line::of_a_flow(row.line, at, Entry::of_a_business(business_type), flow) })
}
