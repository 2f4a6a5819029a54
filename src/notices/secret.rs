//! Secrets: the APIv3 key that WeChat encrypts with, and the master key that keeps it in a database that is dumped. They are wiped when
//! dropped, and no `Debug` shows them.

use crate::Refusal;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use data_encoding::HEXLOWER_PERMISSIVE;
use zeroize::Zeroizing;

pub const KEY_BYTES: usize = 32;
pub const NONCE_BYTES: usize = 12;
pub const TAG_BYTES: usize = 16;
/// Version, nonce, key, tag.
pub const SEALED_BYTES: usize = 1 + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
const VERSION: u8 = 1;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        // On the heap, so that a move leaves no copy behind.
        pub struct $name(Box<Zeroizing<[u8; KEY_BYTES]>>);

        impl $name {
            fn of(bytes: &[u8]) -> Option<$name> {
                let mut key = Box::new(Zeroizing::new([0; KEY_BYTES]));
                if bytes.len() != KEY_BYTES {
                    return None;
                }
                key.copy_from_slice(bytes);
                Some($name(key))
            }

            fn cipher(&self) -> Aes256Gcm {
                Aes256Gcm::new((&**self.0).into())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

secret! {
    /// What WeChat encrypts notices with: the 32 characters of the merchant's page, as bytes.
    Apiv3Key
}

secret! {
    /// What APIv3 keys are sealed under. It is in no database.
    MasterKey
}

impl Apiv3Key {
    /// Exactly 32 bytes: of one shorter or longer, AES would be another one than WeChat's.
    pub fn new(bytes: &[u8]) -> Result<Apiv3Key, Refusal> {
        Apiv3Key::of(bytes).ok_or(Refusal::Apiv3KeyLength)
    }

    /// For whoever keeps it where there is no master key. In no answer, no log and no error.
    pub fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// What it encrypted; `None` for whatever it did not.
    pub(crate) fn open(&self, nonce: &[u8; NONCE_BYTES], associated: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: ciphertext, aad: associated };
        self.cipher().decrypt(&Nonce::from(*nonce), payload).ok()
    }
}

impl MasterKey {
    /// The content of its file: 32 bytes, or 64 hex digits, behind which an editor may have left a line end.
    pub fn of_file(content: &[u8]) -> Result<MasterKey, Refusal> {
        if let Some(key) = MasterKey::of(content) {
            return Ok(key);
        }
        let digits = content.strip_suffix(b"\n").unwrap_or(content);
        if digits.len() != 2 * KEY_BYTES {
            return Err(Refusal::MasterKeyForm);
        }
        let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(digits).map_err(|_| Refusal::MasterKeyForm)?);
        MasterKey::of(&bytes).ok_or(Refusal::MasterKeyForm)
    }

    /// Seals a key for one place, which `place` names: account and id of the key. `nonce` is random and never used twice.
    pub fn seal(&self, key: &Apiv3Key, nonce: [u8; NONCE_BYTES], place: &[&str]) -> Result<Vec<u8>, Refusal> {
        let payload = Payload { msg: key.0.as_slice(), aad: &associated(place) };
        let encrypted = self.cipher().encrypt(&Nonce::from(nonce), payload).map_err(|_| Refusal::SealedForm)?;
        Ok([&[VERSION][..], &nonce, &encrypted].concat())
    }

    /// The key that was sealed for this place.
    pub fn open(&self, sealed: &[u8], place: &[&str]) -> Result<Apiv3Key, Refusal> {
        let Some((&[VERSION], rest)) = sealed.split_first_chunk::<1>() else { return Err(Refusal::SealedForm) };
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Refusal::SealedForm)?;
        if sealed.len() != SEALED_BYTES {
            return Err(Refusal::SealedForm);
        }
        let payload = Payload { msg: encrypted, aad: &associated(place) };
        let bytes = self.cipher().decrypt(&Nonce::from(*nonce), payload).map_err(|_| Refusal::SealedWrong)?;
        Apiv3Key::of(&Zeroizing::new(bytes)).ok_or(Refusal::SealedWrong)
    }
}

/// The parts with their lengths, so that no two places look the same.
fn associated(place: &[&str]) -> Vec<u8> {
    let mut all = b"mps apiv3 key".to_vec();
    for part in place {
        all.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        all.extend(part.as_bytes());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64;
    use serde_json::Value;

    #[test]
    fn the_public_vector() {
        let vector: Value = serde_json::from_str(include_str!("tests/vectors/wechat_aes_256_gcm.json")).unwrap();
        let field = |name: &str| vector[name].as_str().unwrap();
        let key = Apiv3Key::new(field("key").as_bytes()).unwrap();
        let nonce = field("nonce").as_bytes().try_into().unwrap();
        let ciphertext = BASE64.decode(field("ciphertext").as_bytes()).unwrap();
        let associated = field("associated_data").as_bytes();
        assert_eq!(key.open(&nonce, associated, &ciphertext).as_deref(), Some(field("plaintext").as_bytes()));
        assert_eq!(key.open(&nonce, b"", &ciphertext), None);
        assert_eq!(key.open(&nonce, associated, &ciphertext[..15]), None);
        for at in 0..ciphertext.len() {
            let mut changed = ciphertext.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&nonce, associated, &changed), None, "byte {at}");
        }
    }
}
