//! The key that heads are signed with: outside of the database, in a file that only the server's configuration can name.

use crate::engine::{option, secret_file};
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use mps_domain::error::{Error, Result, Token};
use sha2::{Digest, Sha256};

/// A key in PEM has some 120 bytes.
const MOST_BYTES: u64 = 10_000;
const NAME_BYTES: usize = 8;

pub struct Key(SigningKey);

impl Key {
    /// Reads it from the file that `mps.seal_key_file` names. Error: `STATUS_CONFLICT`, what is wrong with it, without its path.
    pub fn read() -> Result<Key> {
        let path = option::SEAL_KEY_FILE.path().map_err(wrong)?.ok_or_else(|| wrong("is not set"))?;
        let text = secret_file::read(&path, MOST_BYTES).map_err(|why| wrong(&why))?;
        let text = std::str::from_utf8(&text).unwrap_or_default();
        SigningKey::from_pkcs8_pem(text).map(Key).map_err(|_| wrong("has no Ed25519 key in PEM (PKCS #8)"))
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
