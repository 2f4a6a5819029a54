//! Archives as a test wants them, broken ones too. Written from the description of the format, for tests alone.

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};
use std::io::Write;

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A file of an archive, and what is to be said of it.
pub struct File<'a> {
    pub name: &'a [u8],
    pub content: &'a [u8],
    pub method: u16,
    pub flags: u16,
    /// Instead of its length.
    pub says_length: Option<u32>,
}

impl<'a> File<'a> {
    pub fn new(name: &'a [u8], content: &'a [u8]) -> File<'a> {
        File { name, content, method: 8, flags: 0, says_length: None }
    }
}

pub fn zip(files: &[File<'_>]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for file in files {
        let mut crc = Crc::new();
        crc.update(file.content);
        let packed = match file.method {
            8 => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(file.content).unwrap();
                encoder.finish().unwrap()
            }
            _ => file.content.to_vec(),
        };
        let length = file.says_length.unwrap_or(file.content.len() as u32);
        let mut said = Vec::new();
        for two in [20, file.flags, file.method, 0, 33] {
            said.extend_from_slice(&two.to_le_bytes());
        }
        for four in [crc.sum(), packed.len() as u32, length] {
            said.extend_from_slice(&four.to_le_bytes());
        }
        said.extend_from_slice(&(file.name.len() as u16).to_le_bytes());
        said.extend_from_slice(&[0; 2]);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&said);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&(out.len() as u32).to_le_bytes());
        directory.extend_from_slice(file.name);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&said);
        out.extend_from_slice(file.name);
        out.extend_from_slice(&packed);
    }
    let (start, count) = (out.len() as u32, files.len() as u16);
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out
}
