//! The key that heads are signed with: outside of the database, in a file that only the server's configuration can name.

use crate::engine::option;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use mps_domain::error::{Error, Result, Token};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;

/// A key in PEM has some 120 bytes.
const MOST_BYTES: u64 = 10_000;
const NAME_BYTES: usize = 8;

pub struct Key(SigningKey);

impl Key {
    /// Reads it from the file that `mps.seal_key_file` names. Error: `STATUS_CONFLICT`, what is wrong with it, without its path.
    pub fn read() -> Result<Key> {
        let path = option::seal_key_file().ok_or_else(|| wrong("is not set"))?;
        let found = std::fs::metadata(&path).map_err(|e| wrong(&format!("cannot be looked at: {}", e.kind())))?;
        // As the server itself wants it of the key of its certificate.
        let others = if found.uid() == 0 { 0o037 } else { 0o077 };
        if !found.is_file() || found.len() > MOST_BYTES {
            return Err(wrong("is no file with a key"));
        }
        if found.mode() & others != 0 {
            return Err(wrong("can be read by others: chmod 600"));
        }
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(&format!("cannot be read: {}", e.kind())))?;
        SigningKey::from_pkcs8_pem(&text).map(Key).map_err(|_| wrong("has no Ed25519 key in PEM (PKCS #8)"))
    }

    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// What heads call it by.
    pub fn name(&self) -> String {
        hex::encode(&Sha256::digest(self.public())[..NAME_BYTES])
    }

    pub fn sign(&self, text: &str) -> [u8; 64] {
        self.0.sign(text.as_bytes()).to_bytes()
    }
}

/// Whether a text is signed by the other half of a public key.
pub fn has_signed(public: &[u8], text: &str, signature: &[u8]) -> bool {
    let key = public.try_into().ok().and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
    let signature = Signature::from_slice(signature).ok();
    key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(text.as_bytes(), &signature).is_ok())
}

fn wrong(why: &str) -> Error {
    Error::new(Token::StatusConflict, format!("the file of mps.seal_key_file {why}"))
}
