//! The file with the lines in Alipay's ZIP. Of the format what such an archive needs: a few files, stored or deflated, below 4 GB, in one
//! piece. How many there are is known before anything is kept of them.

use crate::refusal::{Refusal, short};
use encoding_rs::GB18030;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::io::{self, Read};

/// The gateway puts two into one.
const FILES: usize = 8;
const END: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
/// What a field says whose value stands in the extension for large archives.
const ELSEWHERE: u32 = u32::MAX;
const COMMENT_BYTES: usize = 0xffff;

const IS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const IS_UTF8: u16 = 1 << 11;

fn two(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn four(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn part(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

struct Entry {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    unpacked: u32,
    local_at: u32,
}

impl Entry {
    /// An entry of the directory, and where the next one begins.
    fn read(content: &[u8], at: usize) -> Option<(Entry, usize)> {
        let fixed = part(content, at, ENTRY_BYTES).filter(|fixed| fixed.starts_with(&ENTRY))?;
        let lengths = [28, 30, 32].map(|at| two(fixed, at).map(usize::from));
        let [Some(name_bytes), Some(extra), Some(comment)] = lengths else { return None };
        let name = part(content, at + ENTRY_BYTES, name_bytes)?;
        let entry = Entry {
            name: name_of(name, two(fixed, 8)? & IS_UTF8 != 0),
            flags: two(fixed, 8)?,
            method: two(fixed, 10)?,
            crc: four(fixed, 16)?,
            packed: four(fixed, 20)?,
            unpacked: four(fixed, 24)?,
            local_at: four(fixed, 42)?,
        };
        Some((entry, at + ENTRY_BYTES + name_bytes + extra + comment))
    }

    fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// 汇总: sums by shop. Its name has 明细 as well.
    fn is_summary(&self) -> bool {
        let name = self.name.to_ascii_uppercase();
        name.contains("汇总") || name.contains("SUMMARY")
    }

    fn is_named_detail(&self) -> bool {
        let name = self.name.to_ascii_uppercase();
        name.contains("明细") || name.contains("DETAIL")
    }

    /// What is packed of it.
    fn bytes<'a>(&self, content: &'a [u8]) -> Option<&'a [u8]> {
        let at = usize::try_from(self.local_at).ok()?;
        let local = part(content, at, LOCAL_BYTES).filter(|local| local.starts_with(&LOCAL))?;
        let start = at + LOCAL_BYTES + usize::from(two(local, 26)?) + usize::from(two(local, 28)?);
        part(content, start, usize::try_from(self.packed).ok()?)
    }
}

fn name_of(bytes: &[u8], is_utf8: bool) -> String {
    match str::from_utf8(bytes) {
        Ok(name) => name.to_owned(),
        Err(_) if is_utf8 => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => GB18030.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// Where the directory ends: at the end of the file, but for a comment.
fn end(content: &[u8]) -> Option<usize> {
    let last = content.len().checked_sub(END_BYTES)?;
    (last.saturating_sub(COMMENT_BYTES)..=last).rev().find(|at| {
        let comment = two(content, at + 20).map(usize::from);
        content[*at..].starts_with(&END) && comment == Some(last - at)
    })
}

fn entries(content: &[u8]) -> Result<Vec<Entry>, Refusal> {
    let broken = |reason| Refusal::Archive { reason };
    let end = end(content).ok_or(broken("it has no directory, so it is cut"))?;
    let fields = [4, 6, 8, 10].map(|field| two(content, end + field).unwrap_or(u16::MAX));
    let start = four(content, end + 16).unwrap_or(ELSEWHERE);
    let [0, 0, here, files] = fields else { return Err(broken("it is one of several pieces")) };
    if usize::from(files) > FILES {
        return Err(Refusal::ManyFiles { files: usize::from(files), limit: FILES });
    }
    if here != files || start == ELSEWHERE {
        return Err(broken("it is one of several pieces"));
    }
    let mut at = usize::try_from(start).unwrap_or(usize::MAX);
    let mut entries = Vec::with_capacity(FILES);
    for _ in 0..files {
        let (entry, next) = Entry::read(content, at).ok_or(broken("its directory is damaged"))?;
        if entry.flags & IS_ENCRYPTED != 0 {
            return Err(Refusal::Encrypted);
        }
        entries.push(entry);
        at = next;
    }
    if at != end {
        return Err(broken("its directory is damaged"));
    }
    Ok(entries)
}

/// The file with the lines, unpacked as it is read.
pub fn detail(content: &[u8]) -> Result<Detail<'_>, Refusal> {
    let mut files = entries(content)?;
    files.retain(|entry| !entry.is_folder() && !entry.is_summary());
    if files.len() > 1 && files.iter().any(Entry::is_named_detail) {
        files.retain(Entry::is_named_detail);
    }
    if files.len() > 1 {
        let names: Vec<&str> = files.iter().map(|entry| entry.name.as_str()).collect();
        return Err(Refusal::SeveralDetails { names: short(&names.join(", ")) });
    }
    let entry = files.pop().ok_or(Refusal::NoDetail)?;
    if entry.packed == ELSEWHERE || entry.unpacked == ELSEWHERE {
        return Err(Refusal::Archive { reason: "its file has 4 GB or more" });
    }
    let bytes = entry.bytes(content).ok_or(Refusal::Archive { reason: "its file is not where the directory says" })?;
    let inner = match entry.method {
        0 => Inner::Stored(bytes),
        8 => Inner::Deflated(Box::new(DeflateDecoder::new(bytes))),
        _ => return Err(Refusal::Archive { reason: "its file is neither stored nor deflated" }),
    };
    Ok(Detail { inner, crc: Crc::new(), should_be: entry.crc, bytes: u64::from(entry.unpacked) })
}

enum Inner<'a> {
    Stored(&'a [u8]),
    Deflated(Box<DeflateDecoder<&'a [u8]>>),
}

/// Unpacks a file and fails at its end where it is not what the directory says.
pub struct Detail<'a> {
    inner: Inner<'a>,
    crc: Crc,
    should_be: u32,
    /// That are to come.
    bytes: u64,
}

impl Read for Detail<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.inner {
            Inner::Stored(bytes) => bytes.read(buffer)?,
            Inner::Deflated(decoder) => decoder.read(buffer)?,
        };
        self.crc.update(&buffer[..n]);
        self.bytes = match self.bytes.checked_sub(n as u64) {
            Some(left) => left,
            None => return Err(io::Error::other("it is longer than its archive says")),
        };
        if n == 0 && !buffer.is_empty() {
            if self.bytes > 0 {
                return Err(io::Error::other("it is shorter than its archive says"));
            }
            if self.crc.sum() != self.should_be {
                return Err(io::Error::other("its checksum is another than its archive says"));
            }
        }
        Ok(n)
    }
}
