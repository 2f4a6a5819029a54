//! A line cut into columns. No field is quoted, so there is nothing to unescape: WeChat puts a backtick before every field and writes a
//! comma in a text as a backslash and a space, Alipay writes neither commas nor quotes.

use crate::amount;
use crate::day;
use crate::header::{Col, Header};
use crate::refusal::{Refusal, short};

/// The gateways' numbers have up to 64 bytes, their names of businesses some more; longer ones would not go into an index.
pub const TEXT_BYTES: usize = 256;

/// Where the columns of a line are; kept from line to line.
#[derive(Default)]
pub struct Cells(Vec<(usize, usize)>);

impl Cells {
    /// The columns of a line, exactly as many as the header has.
    ///
    /// Where a line begins with a backtick, a comma without one behind it belongs to the text, in columns that have texts of the shop's
    /// own. Elsewhere it ends a column.
    pub fn cut<'a>(&'a mut self, text: &'a str, header: &'a Header, line: u64) -> Result<Row<'a>, Refusal> {
        let has_marks = text.starts_with('`');
        let cells = &mut self.0;
        cells.clear();
        let (bytes, mut start) = (text.as_bytes(), 0);
        for (at, _) in text.match_indices(',') {
            let is_text = has_marks && bytes.get(at + 1) != Some(&b'`') && header.may_hold_a_comma(cells.len());
            if !is_text {
                cells.push((start, at));
                start = at + 1;
            }
        }
        cells.push((start, text.len()));
        if cells.len() != header.columns {
            return Err(Refusal::Columns { line, has: cells.len(), header: header.columns });
        }
        Ok(Row { text, cells, header, line })
    }
}

/// A line of data.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    text: &'a str,
    cells: &'a [(usize, usize)],
    header: &'a Header,
    pub line: u64,
}

impl<'a> Row<'a> {
    fn at(&self, place: usize) -> &'a str {
        let cell = self.cells.get(place).and_then(|(start, end)| self.text.get(*start..*end));
        let cell = cell.unwrap_or("").trim();
        cell.strip_prefix('`').unwrap_or(cell).trim_start()
    }

    /// What a column says; nothing where the file has no such column.
    pub fn text(&self, col: Col) -> &'a str {
        self.header.place(col).map_or("", |place| self.at(place))
    }

    /// A text that is kept of the line.
    pub fn kept(&self, col: Col) -> Result<&'a str, Refusal> {
        let text = self.text(col);
        if text.len() > TEXT_BYTES {
            return Err(Refusal::TooLong { line: self.line, column: self.header.name_of(col), limit: TEXT_BYTES });
        }
        Ok(text)
    }

    /// The same, of columns where WeChat writes `0` for nothing.
    pub fn number(&self, col: Col) -> Result<&'a str, Refusal> {
        self.kept(col).map(|text| if text == "0" { "" } else { text })
    }

    pub fn needed(&self, col: Col) -> Result<&'a str, Refusal> {
        match self.number(col)? {
            "" => Err(Refusal::Blank { line: self.line, column: self.header.name_of(col) }),
            text => Ok(text),
        }
    }

    /// An amount in hundred-thousandths of a yuan, `None` where the file has no such column.
    pub fn units(&self, col: Col) -> Result<Option<i64>, Refusal> {
        let Some(place) = self.header.place(col) else { return Ok(None) };
        let text = self.at(place);
        amount::units(text).map(Some).ok_or_else(|| self.no_amount(col, text))
    }

    /// An amount in fen.
    pub fn fen(&self, col: Col) -> Result<Option<i64>, Refusal> {
        let Some(units) = self.units(col)? else { return Ok(None) };
        amount::fen_of(units).map(Some).ok_or_else(|| self.no_amount(col, self.text(col)))
    }

    /// An amount in fen that is none below zero.
    pub fn fen_up(&self, col: Col) -> Result<Option<i64>, Refusal> {
        let fen = self.fen(col)?;
        if fen.is_some_and(|fen| fen < 0) {
            return Err(self.sign(col));
        }
        Ok(fen)
    }

    pub fn no_amount(&self, col: Col, text: &str) -> Refusal {
        Refusal::Amount { line: self.line, column: self.header.name_of(col), text: short(text) }
    }

    pub fn sign(&self, col: Col) -> Refusal {
        Refusal::Sign { line: self.line, column: self.header.name_of(col), text: short(self.text(col)) }
    }

    pub fn time(&self, col: Col) -> Result<i64, Refusal> {
        let text = self.text(col);
        let no_time = || Refusal::Time { line: self.line, column: self.header.name_of(col), text: short(text) };
        day::time(text).ok_or_else(no_time)
    }
}
