//! What a file is packed in, told by its first bytes, and how it is unpacked: as a stream.

use crate::line::Packed;
use crate::refusal::Refusal;
use crate::zip;
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Read};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZIP: [u8; 4] = *b"PK\x03\x04";
/// An archive without files.
const EMPTY_ZIP: [u8; 4] = *b"PK\x05\x06";
/// Of what is unzipped at a time.
const BUFFER_BYTES: usize = 1 << 16;

/// Members that a gzip file may have. One costs some microseconds also where nothing is in it, and empty ones have 20 bytes.
const MEMBERS: usize = 100_000;

/// The members of a gzip file, one after another.
struct Members<'a> {
    now: GzDecoder<&'a [u8]>,
    count: usize,
}

impl Read for Members<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.now.read(buffer)?;
            let rest = *self.now.get_ref();
            if n > 0 || buffer.is_empty() || rest.is_empty() {
                return Ok(n);
            }
            if self.count == MEMBERS {
                return Err(io::Error::other(format!("it has more than {MEMBERS} members")));
            }
            self.count += 1;
            self.now = GzDecoder::new(rest);
        }
    }
}

/// The unpacked file. Gateways put several members into a gzip file where it is long; they are one file.
pub fn unpacked(content: &[u8]) -> Result<(Packed, Box<dyn BufRead + '_>), Refusal> {
    if content.starts_with(&GZIP) {
        let members = Members { now: GzDecoder::new(content), count: 1 };
        return Ok((Packed::Gzip, Box::new(BufReader::with_capacity(BUFFER_BYTES, members))));
    }
    if content.starts_with(&EMPTY_ZIP) {
        return Err(Refusal::NoDetail);
    }
    if content.starts_with(&ZIP) {
        let detail = zip::detail(content)?;
        return Ok((Packed::Zip, Box::new(BufReader::with_capacity(BUFFER_BYTES, detail))));
    }
    Ok((Packed::Plain, Box::new(content)))
}

/// Whether these are the first bytes of something packed.
pub fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP) || bytes.starts_with(&ZIP) || bytes.starts_with(&EMPTY_ZIP)
}
