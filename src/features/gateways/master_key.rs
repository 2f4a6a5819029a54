//! The key that secrets of gateways are sealed under: outside of the database, in a file that only the server's configuration can name.

use crate::engine::{option, secret_file};
use mps_domain::error::{Error, Result, Token};
use mps_notices::secret::MasterKey;
use zeroize::Zeroizing;

const MOST_BYTES: u64 = 100;

/// `None`: there is none. Error: `STATUS_CONFLICT`, what is wrong with the file, without its path.
pub fn read() -> Result<Option<MasterKey>> {
    let wrong = |why: &str| Error::new(Token::StatusConflict, format!("the file of mps.master_key_file {why}"));
    let Some(path) = option::MASTER_KEY_FILE.path().map_err(wrong)? else { return Ok(None) };
    let content = Zeroizing::new(secret_file::read(&path, MOST_BYTES).map_err(|why| wrong(&why))?);
    MasterKey::of_file(&content).map(Some).map_err(|_| wrong("has neither 32 bytes nor 64 hex digits"))
}
