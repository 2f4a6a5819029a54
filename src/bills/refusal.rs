//! Why a file is no bill, or not the one that was asked for: the DETAIL of the error BILL_INVALID.

use crate::day::Day;
use crate::line::{Kind, Provider};
use std::fmt;

/// A bill is refused whole. Lines are counted from 1 in the unzipped file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing in it but white space.
    Empty,
    /// It unzips to more than the limit.
    TooLarge {
        limit: u64,
    },
    LineTooLong {
        line: u64,
        limit: usize,
    },
    /// What is packed cannot be unpacked: cut, flipped, followed by something else.
    Damaged {
        line: u64,
        reason: String,
    },
    /// An archive whose structure cannot be read.
    Archive {
        reason: &'static str,
    },
    Encrypted,
    ManyFiles {
        files: usize,
        limit: usize,
    },
    /// An archive in an archive.
    Nested,
    NoDetail,
    SeveralDetails {
        names: String,
    },
    /// 汇总: sums by shop, no lines.
    Summary {
        line: u64,
    },
    /// Bytes that are none of the file's charset.
    Charset {
        line: u64,
    },
    /// A control character, which no text has.
    Control {
        line: u64,
        byte: u8,
    },
    /// The gateway's answer that there is no bill.
    NoStatement,
    /// Another answer of an API, or a web page.
    Answer {
        text: String,
    },
    NoHeader {
        line: u64,
    },
    OtherGateway {
        line: u64,
        asked: Provider,
        found: Provider,
    },
    OtherKind {
        line: u64,
        asked: Kind,
        found: Kind,
    },
    Missing {
        line: u64,
        column: &'static str,
    },
    ColumnTwice {
        line: u64,
        column: &'static str,
    },
    SecondHeader {
        line: u64,
    },
    Columns {
        line: u64,
        has: usize,
        header: usize,
    },
    Blank {
        line: u64,
        column: &'static str,
    },
    TooLong {
        line: u64,
        column: &'static str,
        limit: usize,
    },
    Amount {
        line: u64,
        column: &'static str,
        text: String,
    },
    /// An amount below zero where none can be, or above where only those below can.
    Sign {
        line: u64,
        column: &'static str,
        text: String,
    },
    Time {
        line: u64,
        column: &'static str,
        text: String,
    },
    Currency {
        line: u64,
        text: String,
    },
    Direction {
        line: u64,
        text: String,
    },
    OtherDay {
        line: u64,
        asked: Day,
        found: String,
    },
    OtherAccount {
        line: u64,
        column: &'static str,
        found: String,
    },
    /// A line after the totals.
    AfterEnd {
        line: u64,
    },
    /// The file ends before what every whole one has.
    Cut {
        line: u64,
        lacks: &'static str,
    },
    Total {
        line: u64,
        total: String,
        says: String,
        lines: String,
    },
    /// A sum beyond what 64 bits hold.
    TooMuch {
        line: u64,
    },
}

/// A text of the file, as much of it as a sentence can bear.
pub fn short(text: &str) -> String {
    const MOST: usize = 64;
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(MOST).map(clean).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Empty => f.write_str("the file is empty"),
            Refusal::TooLarge { limit } => write!(f, "the bill is larger than {limit} bytes when it is unzipped"),
            Refusal::LineTooLong { line, limit } => write!(f, "line {line} is longer than {limit} bytes"),
            Refusal::Damaged { line, reason } => write!(f, "line {line}: the file cannot be unzipped from here: {reason}"),
            Refusal::Archive { reason } => write!(f, "the archive cannot be read: {reason}"),
            Refusal::Encrypted => f.write_str("the archive is encrypted"),
            Refusal::ManyFiles { files, limit } => write!(f, "the archive has {files} files, more than {limit}"),
            Refusal::Nested => f.write_str("there is an archive in the archive"),
            Refusal::NoDetail => f.write_str("the archive has no file with the lines of a bill"),
            Refusal::SeveralDetails { names } => {
                write!(f, "the archive has several files that may be the bill: {names}")
            }
            Refusal::Summary { line } => write!(f, "line {line}: this is the summary by shops (汇总), which has no lines"),
            Refusal::Charset { line } => write!(f, "line {line}: bytes that are no text in the file's charset"),
            Refusal::Control { line, byte } => write!(f, "line {line}: the control character {byte:#04x}"),
            Refusal::NoStatement => {
                f.write_str("the gateway says that it has no bill of this day (NO_STATEMENT_EXIST): that is an answer of its API, no bill")
            }
            Refusal::Answer { text } => write!(f, "this is an answer of an API or a web page, no bill: {text}"),
            Refusal::NoHeader { line } => write!(f, "line {line}: no header of a bill that is known"),
            other => other.of_a_line(f),
        }
    }
}

impl Refusal {
    /// The sentences about what a line says.
    fn of_a_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OtherGateway { line, asked, found } => {
                write!(f, "line {line}: this is a bill of {found}, the account is one of {asked}")
            }
            Refusal::OtherKind { line, asked, found } => {
                write!(f, "line {line}: this is a {found} bill, a {asked} bill was asked for")
            }
            Refusal::Missing { line, column } => write!(f, "line {line}: the header has no column {column}"),
            Refusal::ColumnTwice { line, column } => write!(f, "line {line}: the header has the column {column} twice"),
            Refusal::SecondHeader { line } => write!(f, "line {line}: a second header"),
            Refusal::Columns { line, has, header } => {
                write!(
                    f,
                    "line {line} has {has} columns, the header {header}; a comma in a text cannot be told from one between columns"
                )
            }
            Refusal::Blank { line, column } => write!(f, "line {line}: {column} is empty"),
            Refusal::TooLong { line, column, limit } => {
                write!(f, "line {line}: {column} is longer than {limit} bytes")
            }
            Refusal::Amount { line, column, text } => write!(f, "line {line}: {column} is no amount: {text}"),
            Refusal::Sign { line, column, text } => write!(f, "line {line}: {column} has the wrong sign: {text}"),
            Refusal::Time { line, column, text } => write!(f, "line {line}: {column} is no time: {text}"),
            Refusal::Currency { line, text } => write!(f, "line {line}: another currency than CNY: {text}"),
            Refusal::Direction { line, text } => write!(f, "line {line}: neither 收入 nor 支出: {text}"),
            Refusal::OtherDay { line, asked, found } => {
                write!(f, "line {line} is of {found}, the bill of {asked} was asked for")
            }
            Refusal::OtherAccount { line, column, found } => {
                write!(f, "line {line}: {column} is {found}, which is not of this account")
            }
            Refusal::AfterEnd { line } => write!(f, "line {line}: a line after the totals"),
            Refusal::Cut { line, lacks } => write!(f, "the file ends with line {line} and lacks {lacks}: it is cut"),
            Refusal::Total { line, total, says, lines } => {
                write!(f, "line {line}: {total} says {says}, the lines add up to {lines}")
            }
            Refusal::TooMuch { line } => write!(f, "line {line}: the sum is too large"),
            _ => Ok(()),
        }
    }
}
