//! A file from its first line to its last: head, header, lines, totals.

use crate::account::Account;
use crate::alipay::{self, Head};
use crate::columns::{Cells, Row};
use crate::day::{BORDER_MICROS, DAY_MICROS, Day};
use crate::header::Header;
use crate::line::{Bill, Charset, Entry, Kind, Line, Provider, Warning, Warnings};
use crate::lines::{Limits, Lines};
use crate::refusal::{Refusal, short};
use crate::tally::Sides;
use crate::wechat;
use std::fmt;

/// The bill that a caller wants.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub kind: Kind,
    pub day: Day,
    pub account: Account<'a>,
}

/// Why reading ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped<E> {
    /// The file is refused.
    Refused(Refusal),
    /// The sink takes no more.
    BySink(E),
}

impl<E> From<Refusal> for Stopped<E> {
    fn from(refusal: Refusal) -> Stopped<E> {
        Stopped::Refused(refusal)
    }
}

impl<E: fmt::Display> fmt::Display for Stopped<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Refused(refusal) => refusal.fmt(f),
            Stopped::BySink(error) => error.fmt(f),
        }
    }
}

/// Reads a bill as it was downloaded and gives each of its lines to the sink, in the order of the file. Lines that were given count for
/// nothing unless this returns a bill: only its end tells whether it adds up.
pub fn read<E>(
    content: &[u8],
    asked: &Asked<'_>,
    limits: &Limits,
    mut sink: impl FnMut(&Line<'_>) -> Result<(), E>,
) -> Result<Bill, Stopped<E>> {
    let mut lines = Lines::open(content, limits)?;
    let mut warnings = Warnings::default();
    let (head, header) = head(&mut lines, asked, &mut warnings)?;
    let mut body = Body::new(asked, &header, &head);
    let mut cells = Cells::default();
    while let Some((number, text)) = lines.next()? {
        if text.trim().is_empty() || !body.is_data(number, text, &mut warnings)? {
            continue;
        }
        let row = cells.cut(text, &header, number)?;
        let line = body.line(&row, &mut warnings)?;
        sink(&line).map_err(Stopped::BySink)?;
    }
    body.end(lines.number, head.is_of_the_day, &mut warnings)?;
    Ok(Bill {
        provider: header.provider,
        kind: header.kind,
        packed: lines.packed,
        charset: lines.charset.unwrap_or(Charset::Utf8),
        account: head.seller.as_ref().map(|(seller, _)| seller.clone()),
        lines: body.count,
        payments: body.sides.payments,
        refunds: body.sides.refunds,
        incoming: body.sides.incoming,
        outgoing: body.sides.outgoing,
        warnings: warnings.into_list(),
    })
}

/// What stands before the lines: Alipay's `#` lines and the header.
fn head(lines: &mut Lines<'_>, asked: &Asked<'_>, warnings: &mut Warnings) -> Result<(Head, Header), Refusal> {
    let mut head = Head::default();
    let mut is_blank = true;
    while let Some((number, text)) = lines.next()? {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        is_blank = false;
        if text.starts_with('#') {
            head.note(text, number, asked.day, warnings)?;
            continue;
        }
        if text.starts_with(['{', '[', '<']) {
            let answer = text.to_owned();
            return Err(answered(lines, answer));
        }
        if head.is_summary {
            return Err(Refusal::Summary { line: number });
        }
        let header = Header::read(text, number)?;
        let (found, wanted) = (header.provider, asked.account.provider());
        if found != wanted {
            return Err(Refusal::OtherGateway { line: number, asked: wanted, found });
        }
        if header.kind != asked.kind {
            return Err(Refusal::OtherKind { line: number, asked: asked.kind, found: header.kind });
        }
        match &head.seller {
            Some((seller, line)) => asked.account.check_seller(seller, *line)?,
            None if found == Provider::Alipay => warnings.push(Warning::NoAccount),
            None => {}
        }
        return Ok((head, header));
    }
    match (lines.number, is_blank) {
        (_, true) => Err(Refusal::Empty),
        (line, false) => Err(Refusal::NoHeader { line }),
    }
}

/// What an answer of an API says, which may have some lines.
fn answered(lines: &mut Lines<'_>, mut text: String) -> Refusal {
    const MOST: usize = 4096;
    while text.len() < MOST {
        let Ok(Some((_, more))) = lines.next() else { break };
        text.push(' ');
        text.push_str(more);
    }
    // WeChat's words, old and new, and Alipay's.
    let none = ["NO_STATEMENT_EXIST", "No Bill Exist", "No Statement Exist", "isp.bill_not_exist"];
    let says_none = none.iter().any(|s| text.contains(s));
    if says_none { Refusal::NoStatement } else { Refusal::Answer { text: short(&text) } }
}

/// Where in the file a line is.
enum Place {
    Lines,
    /// Behind WeChat's header of totals, which it is.
    Totals(String),
    End,
}

/// What is known of the lines so far.
struct Body<'a> {
    asked: &'a Asked<'a>,
    header: &'a Header,
    seller: &'a str,
    place: Place,
    count: u64,
    sides: Sides,
    /// Of the totals of the one gateway and of the other.
    wechat: wechat::Sums,
    alipay: alipay::Sums,
    /// Lines just beside the day, and the first of them with its day.
    beside: u64,
    first_beside: Option<(u64, Day)>,
}

impl<'a> Body<'a> {
    fn new(asked: &'a Asked<'a>, header: &'a Header, head: &'a Head) -> Body<'a> {
        Body {
            asked,
            header,
            seller: head.seller.as_ref().map_or("", |(seller, _)| seller.as_str()),
            place: Place::Lines,
            count: 0,
            sides: Sides::default(),
            wechat: wechat::Sums::default(),
            alipay: alipay::Sums::default(),
            beside: 0,
            first_beside: None,
        }
    }

    /// Whether a line is one of data; totals are compared.
    fn is_data(&mut self, line: u64, text: &str, warnings: &mut Warnings) -> Result<bool, Refusal> {
        if self.header.provider == Provider::Alipay && text.starts_with('#') {
            if !self.alipay.note(text, line, self.header, &self.sides, warnings)? {
                self.place = Place::End;
            }
            return Ok(false);
        }
        match &self.place {
            Place::End => return Err(Refusal::AfterEnd { line }),
            Place::Totals(header) => {
                if let Some(name) = self.wechat.compare(self.header.kind, header, text, line)? {
                    warnings.push(Warning::UnknownTotal { line, text: name });
                }
                self.place = Place::End;
                return Ok(false);
            }
            Place::Lines => {}
        }
        if self.header.is_again(text) {
            return Err(Refusal::SecondHeader { line });
        }
        if self.header.provider == Provider::Wechat && wechat::is_totals_header(text) {
            self.place = Place::Totals(text.to_owned());
            return Ok(false);
        }
        Ok(true)
    }

    fn line<'r>(&mut self, row: &Row<'r>, warnings: &mut Warnings) -> Result<Line<'r>, Refusal>
    where
        'a: 'r,
    {
        let line = match self.header.provider {
            Provider::Wechat => self.wechat.line(row, self.header.kind)?,
            Provider::Alipay => self.alipay.line(row, self.header.kind, self.seller)?,
        };
        self.asked.account.check(&line)?;
        self.check_day(&line)?;
        if line.entry == Entry::Other && line.flow.is_none() {
            warnings.push(Warning::UnknownState { line: line.number, text: short(line.state) });
        }
        self.sides.add(&line)?;
        self.count += 1;
        Ok(line)
    }

    /// A line may lie a little beside the day, because gateways cut their days by clocks of their own.
    fn check_day(&mut self, line: &Line<'_>) -> Result<(), Refusal> {
        let start = self.asked.day.starts_at();
        let before = start.saturating_sub(line.at);
        let after = line.at.saturating_sub(start.saturating_add(DAY_MICROS - 1));
        if before <= 0 && after <= 0 {
            return Ok(());
        }
        let day = Day::of(line.at);
        if before > BORDER_MICROS || after > BORDER_MICROS {
            return Err(Refusal::OtherDay { line: line.number, asked: self.asked.day, found: day.to_string() });
        }
        self.beside += 1;
        self.first_beside.get_or_insert((line.number, day));
        Ok(())
    }

    fn end(&self, last: u64, is_of_the_day: bool, warnings: &mut Warnings) -> Result<(), Refusal> {
        match (self.header.provider, &self.place) {
            (Provider::Alipay, _) => self.alipay.end(self.header.kind, &self.sides, warnings)?,
            (Provider::Wechat, Place::End) => {}
            (Provider::Wechat, _) => return Err(Refusal::Cut { line: last, lacks: wechat::TOTALS }),
        }
        // Where every line lies beside the day and nothing else says the day, it is the bill of the other.
        match self.first_beside {
            Some((line, day)) if self.beside == self.count && !is_of_the_day => {
                Err(Refusal::OtherDay { line, asked: self.asked.day, found: day.to_string() })
            }
            _ => Ok(()),
        }
    }
}
