//! The gateways' public keys, as their pages and tools give them. Whoever sets one decides who makes money, so nothing is guessed: a
//! text is one certificate or one key, of RSA, of a usual size.

use crate::{MAX_BODY_BYTES, Refusal};
use data_encoding::{BASE64, HEXUPPER};
use rsa::BoxedUint;
use rsa::pkcs1::{ALGORITHM_OID, RsaPublicKeyRef};
use rsa::pkcs8::SubjectPublicKeyInfoRef;
use rsa::sha2::Sha256;
use std::ops::RangeInclusive;
use x509_cert::Certificate as X509;
use x509_cert::der::{Decode, Encode};

const BITS: RangeInclusive<usize> = 2048..=4096;
const MIN_EXPONENT: u64 = 3;
/// More would be a way to make every verification slow.
const MAX_EXPONENT: u64 = rsa::PublicKey::MAX_PUB_EXPONENT;
/// A signature of the largest key in base64, and some.
pub(crate) const MAX_SIGNATURE_CHARS: usize = 1024;

/// What a certificate says beside its key. Who issued it is not asked: whoever sets a key vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// In upper-case hex, without the zeros that some tools write in front: see [`is_same_id`].
    pub serial: String,
    /// From when to when it is valid, in microseconds since 1970.
    pub valid_from: i64,
    pub valid_until: i64,
}

/// An RSA key that signatures are verified with. It is dear to make (about as much as to verify with it), so it is worth keeping.
#[derive(Clone)]
pub struct PublicKey {
    rsa: rsa::PublicKey,
    bits: usize,
    certificate: Option<Certificate>,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({} bits)", self.bits)
    }
}

impl PublicKey {
    /// WeChat's: the PEM of a platform certificate, or of the public key that has a `PUB_KEY_ID_...`.
    pub fn wechat(text: &str) -> Result<PublicKey, Refusal> {
        match pem(text)? {
            Some(block) => PublicKey::of_block(&block),
            None => Err(Refusal::KeyForm),
        }
    }

    /// Alipay's: the base64 that its page shows, the PEM of the same key, or the PEM of a certificate.
    pub fn alipay(text: &str) -> Result<PublicKey, Refusal> {
        match pem(text)? {
            Some(block) => PublicKey::of_block(&block),
            None => PublicKey::of_spki(&base64(text)?, None),
        }
    }

    /// What the certificate says, where it was given as one.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Whether it is this key's RSASSA-PKCS1-v1_5 signature with SHA-256. One of another length is none.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        signature.len() == self.bits.div_ceil(8) && self.rsa.pkcs1v15_verify::<Sha256>(message, signature).is_ok()
    }

    fn of_block(block: &Block) -> Result<PublicKey, Refusal> {
        match block.label {
            "CERTIFICATE" => PublicKey::of_certificate(&block.der),
            "PUBLIC KEY" => PublicKey::of_spki(&block.der, None),
            label if label.ends_with("PRIVATE KEY") => Err(Refusal::KeyPrivate),
            _ => Err(Refusal::KeyForm),
        }
    }

    fn of_certificate(der: &[u8]) -> Result<PublicKey, Refusal> {
        let x509 = X509::from_der(der).map_err(|_| Refusal::KeyForm)?;
        let inner = x509.tbs_certificate();
        let serial = HEXUPPER.encode(inner.serial_number().as_bytes());
        let micros =
            |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_micros()).unwrap_or(i64::MAX);
        let certificate = Certificate {
            serial: serial.trim_start_matches('0').to_owned(),
            valid_from: micros(inner.validity().not_before),
            valid_until: micros(inner.validity().not_after),
        };
        let spki = inner.subject_public_key_info().to_der().map_err(|_| Refusal::KeyForm)?;
        PublicKey::of_spki(&spki, Some(certificate))
    }

    fn of_spki(der: &[u8], certificate: Option<Certificate>) -> Result<PublicKey, Refusal> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| Refusal::KeyForm)?;
        if spki.algorithm.oid != ALGORITHM_OID {
            return Err(Refusal::KeyAlgorithm);
        }
        let key = spki.subject_public_key.as_bytes().ok_or(Refusal::KeyForm)?;
        let key = RsaPublicKeyRef::from_der(key).map_err(|_| Refusal::KeyForm)?;
        let (modulus, exponent) = (key.modulus.as_bytes(), key.public_exponent.as_bytes());
        let bits = bits(modulus);
        if !BITS.contains(&bits) {
            return Err(Refusal::KeySize);
        }
        let exponent = small(exponent).filter(|e| (MIN_EXPONENT..=MAX_EXPONENT).contains(e) && e % 2 == 1);
        let exponent = BoxedUint::from(exponent.ok_or(Refusal::KeyExponent)?);
        if modulus.last().is_none_or(|last| last % 2 == 0) {
            return Err(Refusal::KeyModulus);
        }
        let modulus = BoxedUint::from_be_slice_vartime(modulus);
        let rsa = rsa::PublicKey::new_with_size_limits(modulus, exponent, BITS).map_err(|_| Refusal::KeyForm)?;
        Ok(PublicKey { rsa, bits, certificate })
    }
}

/// Whether two ids name one key. A serial number is a number: tools write it in whole bytes, so with a zero in front of it or without.
pub fn is_same_id(one: &str, other: &str) -> bool {
    one.trim_start_matches('0') == other.trim_start_matches('0')
}

fn bits(modulus: &[u8]) -> usize {
    let Some(zero) = modulus.first().map(|first| first.leading_zeros()) else { return 0 };
    modulus.len().saturating_mul(8).saturating_sub(usize::try_from(zero).unwrap_or(0))
}

fn small(bytes: &[u8]) -> Option<u64> {
    let bytes: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
    let mut all = [0; 8];
    all.get_mut(8usize.checked_sub(bytes.len())?..)?.copy_from_slice(&bytes);
    Some(u64::from_be_bytes(all))
}

struct Block<'a> {
    label: &'a str,
    der: Vec<u8>,
}

/// The one block of a PEM; none where it does not begin like one. Tools break its lines as they like, or not at all.
fn pem(text: &str) -> Result<Option<Block<'_>>, Refusal> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let Some(rest) = text.strip_prefix("-----BEGIN ") else { return Ok(None) };
    let (label, rest) = rest.split_once("-----").ok_or(Refusal::KeyForm)?;
    let (inner, end) = rest.split_once("-----END ").ok_or(Refusal::KeyForm)?;
    if end.strip_suffix("-----") != Some(label) {
        return Err(Refusal::KeyForm);
    }
    if label.ends_with("PRIVATE KEY") {
        return Err(Refusal::KeyPrivate);
    }
    Ok(Some(Block { label, der: base64(inner)? }))
}

fn base64(text: &str) -> Result<Vec<u8>, Refusal> {
    if text.len() > MAX_BODY_BYTES {
        return Err(Refusal::KeyForm);
    }
    let text: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    BASE64.decode(&text).map_err(|_| Refusal::KeyForm)
}

/// A signature as headers and forms carry it; `None` where its form alone says that it is none.
pub(crate) fn is_signature(text: &[u8]) -> bool {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    (1..=MAX_SIGNATURE_CHARS).contains(&text.len()) && text.iter().all(is_base64)
}
