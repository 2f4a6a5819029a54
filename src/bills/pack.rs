//! What a file is packed in, told by its first bytes, and how it is unpacked: as a stream.

use crate::line::Packed;
use crate::refusal::Refusal;
use crate::zip;
use flate2::read::MultiGzDecoder;
use std::io::{BufRead, BufReader};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZIP: [u8; 4] = *b"PK\x03\x04";
/// An archive without files.
const EMPTY_ZIP: [u8; 4] = *b"PK\x05\x06";
/// Of what is unzipped at a time.
const BUFFER_BYTES: usize = 1 << 16;

/// The unpacked file. Gateways put several members into a gzip file where it is long; they are one file.
pub fn unpacked(content: &[u8]) -> Result<(Packed, Box<dyn BufRead + '_>), Refusal> {
    if content.starts_with(&GZIP) {
        let members = MultiGzDecoder::new(content);
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
