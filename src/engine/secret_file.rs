//! Files with secrets that the server's configuration names: who may read them, and where they may be.

use crate::engine::server;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What stands in the file; else what is wrong with it, without its path.
pub fn read(path: &str, most_bytes: u64) -> Result<Vec<u8>, String> {
    let path = Path::new(path);
    let found = fs::metadata(path).map_err(|e| format!("cannot be looked at: {}", e.kind()))?;
    // As the server itself wants it of the key of its certificate.
    let others = if found.uid() == 0 { 0o037 } else { 0o077 };
    if !found.is_file() || found.len() > most_bytes {
        return Err("is no file with a key".into());
    }
    if found.mode() & others != 0 {
        return Err("can be read by others: chmod 600".into());
    }
    // A base backup copies what is there.
    let real = |path: &Path| path.canonicalize().map_err(|e| format!("cannot be looked at: {}", e.kind()));
    if real(path)?.starts_with(real(&server::data_directory())?) {
        return Err("is in the server's data directory, which every base backup copies".into());
    }
    fs::read(path).map_err(|e| format!("cannot be read: {}", e.kind()))
}
