//! Keys in the forms that people have them in, and secrets.

mod common;

use common::{Made, file, text, texts};
use mps_notices::alipay::verify;
use mps_notices::keys::PublicKey;
use mps_notices::secret::{Apiv3Key, MasterKey, SEALED_BYTES};
use mps_notices::{Refusal, wechat};

const ALIPAY_ONLY: &str = "Alipay's page shows bare base64, WeChat's does not";

#[test]
fn a_certificate_tells_its_serial() {
    let made = file("made");
    for (serial, pem) in made["certificates"].as_object().unwrap() {
        let key = PublicKey::wechat(text(pem)).unwrap();
        assert_eq!((&key.certificate().unwrap().serial, key.bits()), (serial, 2048));
    }
    // 160 bits with and without the highest, and one whose first digit is a zero, which no header has.
    let lengths: Vec<usize> = made["certificates"].as_object().unwrap().keys().map(String::len).collect();
    assert_eq!(lengths.iter().filter(|n| **n == 40).count(), 2);
    assert!(lengths.contains(&39));
    let public = file("wechat_notification_signed");
    let certificate = PublicKey::wechat(text(&public["certificate_pem"])).unwrap().certificate().cloned().unwrap();
    assert_eq!(certificate.serial, "D7CE59D1F522D701");
    assert_eq!((certificate.valid_from, certificate.valid_until), (1_619_513_723_000_000, 1_934_873_723_000_000));
}

#[test]
fn one_key_in_many_forms() {
    let made = Made::read();
    let forms = texts(&made.all["alipay_key_forms"]);
    let (bare, pem) = (forms[0], forms[1]);
    let line = pem.replace('\n', "").replace("KEY-----M", "KEY-----\nM").replace("-----END", "\n-----END");
    let mut all: Vec<String> = forms.iter().map(|form| (*form).to_owned()).collect();
    all.extend([line, pem.replace('\n', "\r\n"), format!("\u{feff}{pem}\n"), pem.trim_end().to_owned()]);
    all.extend([format!(" {bare}\n"), format!("{}\n{}", &bare[..100], &bare[100..])]);
    let body = made.form("paid").body;
    for form in &all {
        let key = PublicKey::alipay(form).unwrap_or_else(|e| panic!("{form}: {e}"));
        assert!(verify(&body, &[("key", &key)]).is_ok(), "{form}");
        assert_eq!(key.certificate().is_some(), form.contains("CERTIFICATE"));
        // WeChat gives the same, but for the bare one.
        assert_eq!(PublicKey::wechat(form).is_ok(), form.contains("-----"), "{ALIPAY_ONLY}");
    }
}

#[test]
fn other_keys_are_refused_with_a_reason() {
    let made = file("made");
    for (reason, keys) in made["bad_keys"].as_object().unwrap() {
        for key in texts(keys) {
            assert_eq!(PublicKey::alipay(key).map_err(Refusal::name).err(), Some(reason.as_str()), "{key}");
            let pem = if key.starts_with('-') {
                key.to_owned()
            } else {
                format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
            };
            assert_eq!(PublicKey::wechat(&pem).map_err(Refusal::name).err(), Some(reason.as_str()), "{key}");
        }
    }
    let forms = texts(&made["alipay_key_forms"]);
    for kind in ["PRIVATE", "RSA PRIVATE", "ENCRYPTED PRIVATE"] {
        let private = common::relabelled(forms[1], kind);
        assert_eq!(PublicKey::alipay(&private).err(), Some(Refusal::KeyPrivate));
        assert_eq!(PublicKey::wechat(&private).err(), Some(Refusal::KeyPrivate));
    }
    let (bare, pem, certificate) = (forms[0], forms[1], forms[2]);
    for bad in [
        "",
        "-----BEGIN ",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----",
        "not a key",
        "AAAA",
        &bare[..bare.len() - 4],
        &format!("{bare}AAAA"),
        &bare.replace('A', "*"),
        &pem.replace("END PUBLIC KEY", "END CERTIFICATE"),
        &pem.replace("PUBLIC KEY", "CERTIFICATE"),
        &certificate.replace("CERTIFICATE", "PUBLIC KEY"),
        &format!("{pem}{pem}"),
        &format!("{certificate}{certificate}"),
        &format!("x{pem}"),
        &format!("{pem}x"),
        &"A".repeat(100_000),
        "-----BEGIN X-----\nAAAA\n-----END X-----",
    ] {
        assert_eq!(PublicKey::alipay(bad).err(), Some(Refusal::KeyForm), "{bad}");
        assert_eq!(PublicKey::wechat(bad).err(), Some(Refusal::KeyForm), "{bad}");
    }
}

#[test]
fn every_changed_byte_of_a_key_is_another_key_or_none() {
    let made = Made::read();
    let body = made.form("paid").body;
    let bare = texts(&made.all["alipay_key_forms"])[0];
    let der = data_encoding::BASE64.decode(bare.as_bytes()).unwrap();
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 1 << (at % 8);
        if let Ok(key) = PublicKey::alipay(&data_encoding::BASE64.encode(&changed)) {
            assert!(verify(&body, &[("key", &key)]).is_err(), "byte {at}");
        }
    }
}

#[test]
fn nothing_of_a_key_is_printed() {
    let made = Made::read();
    let secret = text(&made.all["apiv3_keys"]["new"]).to_owned();
    let key = Apiv3Key::new(secret.as_bytes()).unwrap();
    let master = MasterKey::of_file(secret.as_bytes()).unwrap();
    assert_eq!((format!("{key:?}"), format!("{master:#?}")), ("Apiv3Key(..)".to_owned(), "MasterKey(..)".to_owned()));
    assert_eq!(format!("{:?}", made.alipay_keys[0].1), "PublicKey(2048 bits)");
    let message = made.message("state_SUCCESS");
    let keys = made.wechat_keys();
    let verified = wechat::verify(&message.headers(), &message.body, &keys, made.now).unwrap();
    let wrong = Apiv3Key::new(&[b'k'; 32]).unwrap();
    let refusal = verified.notice(&[("a", &wrong)]).unwrap_err();
    assert!(!format!("{refusal:?} {refusal}").contains("kkk"));
}

#[test]
fn an_apiv3_key_has_32_bytes() {
    for length in [0, 1, 16, 24, 31, 33, 64] {
        assert_eq!(Apiv3Key::new(&vec![b'a'; length]).err(), Some(Refusal::Apiv3KeyLength), "{length}");
    }
    let public = file("wechat_aes_256_gcm");
    assert_eq!(Apiv3Key::new(text(&public["key"]).as_bytes()).unwrap().expose(), text(&public["key"]).as_bytes());
}

/// Seals under one file and opens under another.
fn opens(sealed_under: &[u8], opened_under: &[u8]) -> bool {
    let key = Apiv3Key::new(&[9; 32]).unwrap();
    let sealed = MasterKey::of_file(sealed_under).unwrap().seal(&key, [1; 12], &["shop", "k1"]).unwrap();
    MasterKey::of_file(opened_under)
        .unwrap()
        .open(&sealed, &["shop", "k1"])
        .is_ok_and(|opened| opened.expose() == [9; 32])
}

#[test]
fn a_master_key_file_has_bytes_or_digits() {
    let hex = "00112233445566778899aabbccddeeffABCDEF0123456789abcdef0123456789";
    let raw = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap();
    for same in [hex.to_owned(), format!("{hex}\n"), hex.to_lowercase(), hex.to_uppercase()] {
        assert!(opens(&raw, same.as_bytes()) && opens(same.as_bytes(), &raw), "{same}");
    }
    // A line end among 32 bytes is one of them.
    assert!(MasterKey::of_file(&[b'\n'; 32]).is_ok());
    assert!(!opens(&raw, &[0; 32]));
    let short = &hex[..63];
    for bad in [
        "",
        "\n",
        short,
        &format!("{short}\n"),
        &format!("{hex}\n\n"),
        &format!("{hex}\r\n"),
        &format!(" {hex}"),
        &format!("{hex}0"),
        &hex.replace('0', "g"),
    ] {
        assert_eq!(MasterKey::of_file(bad.as_bytes()).err(), Some(Refusal::MasterKeyForm), "{bad:?}");
    }
    for length in [31, 33] {
        assert_eq!(MasterKey::of_file(&vec![1; length]).err(), Some(Refusal::MasterKeyForm));
    }
}

#[test]
fn a_sealed_key_opens_in_its_place_only() {
    let master = MasterKey::of_file(&[3; 32]).unwrap();
    let key = Apiv3Key::new(b"Gba7cde1ZJB1kG2e7VfTs3jQzaWizur8").unwrap();
    let sealed = master.seal(&key, [5; 12], &["shop", "k1"]).unwrap();
    assert_eq!(sealed.len(), SEALED_BYTES);
    assert!(!sealed.windows(8).any(|part| part == &key.expose()[..8]));
    assert_eq!(master.open(&sealed, &["shop", "k1"]).unwrap().expose(), key.expose());
    for place in [&["shop", "k2"][..], &["shop2", "k1"], &["shopk1"], &["shop", "k", "1"], &["sho", "pk1"], &[]] {
        assert_eq!(master.open(&sealed, place).err(), Some(Refusal::SealedWrong), "{place:?}");
    }
    assert_eq!(MasterKey::of_file(&[4; 32]).unwrap().open(&sealed, &["shop", "k1"]).err(), Some(Refusal::SealedWrong));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let expected = if at == 0 { Refusal::SealedForm } else { Refusal::SealedWrong };
        assert_eq!(master.open(&changed, &["shop", "k1"]).err(), Some(expected), "byte {at}");
    }
    for length in 0..sealed.len() {
        assert_eq!(master.open(&sealed[..length], &["shop", "k1"]).err(), Some(Refusal::SealedForm));
    }
    assert_eq!(master.open(&[sealed, vec![0]].concat(), &["shop", "k1"]).err(), Some(Refusal::SealedForm));
    // Another nonce, another text.
    assert_ne!(
        master.seal(&key, [6; 12], &["shop", "k1"]).unwrap()[13..],
        master.seal(&key, [5; 12], &["shop", "k1"]).unwrap()[13..]
    );
}

#[test]
fn another_implementation_seals_alike() {
    let sealed = &file("made")["sealed"];
    let master = MasterKey::of_file(text(&sealed["master_key"]).as_bytes()).unwrap();
    let key = Apiv3Key::new(text(&sealed["key"]).as_bytes()).unwrap();
    let place = texts(&sealed["place"]);
    let nonce = text(&sealed["nonce"]).as_bytes().try_into().unwrap();
    assert_eq!(data_encoding::BASE64.encode(&master.seal(&key, nonce, &place).unwrap()), text(&sealed["sealed"]));
}
