//! A file as lines of text: unpacked, cut at line feeds, decoded. One line is kept at a time.

use crate::line::{Charset, Packed};
use crate::pack;
use crate::refusal::Refusal;
use encoding_rs::GB18030;
use std::io::{BufRead, Read};

const UTF8_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of the unzipped file.
    pub unzipped_bytes: u64,
    /// Of a line of it, without its end.
    pub line_bytes: usize,
}

impl Default for Limits {
    /// Some five million lines.
    fn default() -> Limits {
        Limits { unzipped_bytes: 2 << 30, line_bytes: 16 << 10 }
    }
}

pub struct Lines<'a> {
    pub packed: Packed,
    /// Known from the first line that is not ASCII.
    pub charset: Option<Charset>,
    /// Of the line that was given last.
    pub number: u64,
    source: Box<dyn BufRead + 'a>,
    limits: &'a Limits,
    /// Bytes that may still come.
    left: u64,
    raw: Vec<u8>,
    text: String,
}

impl<'a> Lines<'a> {
    pub fn open(content: &'a [u8], limits: &'a Limits) -> Result<Lines<'a>, Refusal> {
        let (packed, mut source) = pack::unpacked(content)?;
        let first = source.fill_buf().map_err(|e| Refusal::Damaged { line: 1, reason: e.to_string() })?;
        if packed != Packed::Plain && pack::is_packed(first) {
            return Err(Refusal::Nested);
        }
        let left = limits.unzipped_bytes;
        Ok(Lines { packed, charset: None, number: 0, source, limits, left, raw: Vec::new(), text: String::new() })
    }

    /// The next line without its end, with its number, or `None` after the last.
    pub fn next(&mut self) -> Result<Option<(u64, &str)>, Refusal> {
        if !self.fill()? {
            return Ok(None);
        }
        let line = self.number;
        if line == 1 && self.raw.starts_with(&UTF8_MARK) {
            self.raw.drain(..UTF8_MARK.len());
            self.charset = Some(Charset::Utf8);
        }
        if let Some(byte) = self.raw.iter().copied().find(|b| *b < b' ' && *b != b'\t') {
            return Err(Refusal::Control { line, byte });
        }
        if self.charset.is_none() && !self.raw.is_ascii() {
            let is_utf8 = str::from_utf8(&self.raw).is_ok();
            self.charset = Some(if is_utf8 { Charset::Utf8 } else { Charset::Gb18030 });
        }
        if self.charset == Some(Charset::Gb18030) && !self.raw.is_ascii() {
            return self.decoded().map(|text| Some((line, text)));
        }
        str::from_utf8(&self.raw).map(|text| Some((line, text))).map_err(|_| Refusal::Charset { line })
    }

    /// Bytes of characters in GBK and GB18030 are never those of a line feed, so lines are cut before they are decoded.
    fn fill(&mut self) -> Result<bool, Refusal> {
        self.raw.clear();
        let line = self.number + 1;
        let limit = self.limits.line_bytes;
        // Its end may have two bytes, and one more tells that it is too long.
        let most = (limit as u64).saturating_add(3);
        let read = (&mut self.source).take(most).read_until(b'\n', &mut self.raw);
        let read = read.map_err(|e| Refusal::Damaged { line, reason: e.to_string() })?;
        if read == 0 {
            return Ok(false);
        }
        let too_large = Refusal::TooLarge { limit: self.limits.unzipped_bytes };
        self.left = self.left.checked_sub(read as u64).ok_or(too_large)?;
        self.number = line;
        if self.raw.last() == Some(&b'\n') {
            self.raw.pop();
        }
        if self.raw.last() == Some(&b'\r') {
            self.raw.pop();
        }
        if self.raw.len() > limit {
            return Err(Refusal::LineTooLong { line, limit });
        }
        Ok(true)
    }

    fn decoded(&mut self) -> Result<&str, Refusal> {
        let refusal = Refusal::Charset { line: self.number };
        let mut decoder = GB18030.new_decoder_without_bom_handling();
        let Some(most) = decoder.max_utf8_buffer_length_without_replacement(self.raw.len()) else {
            return Err(refusal);
        };
        self.text.clear();
        self.text.reserve(most);
        match decoder.decode_to_string_without_replacement(&self.raw, &mut self.text, true).0 {
            encoding_rs::DecoderResult::InputEmpty => Ok(&self.text),
            _ => Err(refusal),
        }
    }
}
