//! The form that Alipay posts: decoded once, to the bytes that were signed.

use crate::{MAX_BODY_BYTES, Refusal};

/// Notices have some thirty fields.
const MAX_FIELDS: usize = 200;

/// Fields by name, in the order of bytes, each name once. The values are bytes of the form's charset.
pub struct Form {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Form {
    pub fn read(body: &[u8]) -> Result<Form, Refusal> {
        if body.len() > MAX_BODY_BYTES {
            return Err(Refusal::BodyTooLarge);
        }
        let mut fields = Vec::new();
        for field in body.split(|b| *b == b'&') {
            if fields.len() == MAX_FIELDS {
                return Err(Refusal::FormTooMany);
            }
            let equals = field.iter().position(|b| *b == b'=').ok_or(Refusal::FormField)?;
            let (name, value) = field.split_at_checked(equals).ok_or(Refusal::FormField)?;
            let (name, value) = (decoded(name)?, decoded(value.get(1..).unwrap_or_default())?);
            if !is_name(&name) {
                return Err(Refusal::FormField);
            }
            fields.push((name, value));
        }
        fields.sort();
        if fields.iter().zip(fields.iter().skip(1)).any(|((one, _), (next, _))| one == next) {
            return Err(Refusal::FormDuplicate);
        }
        Ok(Form { fields })
    }

    /// The bytes of a value; nothing where it is not there.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let at = self.fields.binary_search_by(|(n, _)| n.as_slice().cmp(name.as_bytes())).ok()?;
        self.fields.get(at).map(|(_, value)| value.as_slice())
    }

    /// What is signed: all fields but these, `name=value` with `&` between them, empty values as well.
    pub fn signed(&self, without: &[&str]) -> Vec<u8> {
        let is_signed = |name: &[u8]| !without.iter().any(|w| w.as_bytes() == name);
        let mut all = Vec::new();
        for (name, value) in self.fields.iter().filter(|(name, _)| is_signed(name)) {
            if !all.is_empty() {
                all.push(b'&');
            }
            all.extend_from_slice(name);
            all.push(b'=');
            all.extend_from_slice(value);
        }
        all
    }

    /// Whether a value holds `&name=` of a name that somebody reads. What is signed has no bounds between fields: of
    /// `subject=A&total_amount=9.00&x=` somebody else could make three fields, under the same signature.
    pub fn is_ambiguous(&self, read: &[&str]) -> bool {
        self.fields.iter().any(|(_, value)| {
            value.split(|b| *b == b'&').skip(1).any(|part| {
                let name = part.split(|b| *b == b'=').next().unwrap_or_default();
                name.len() < part.len() && read.iter().any(|r| r.as_bytes() == name)
            })
        })
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn decoded(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit =
                    || rest.next().and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
                let (high, low) = (digit().ok_or(Refusal::FormEncoding)?, digit().ok_or(Refusal::FormEncoding)?);
                high.checked_mul(16).and_then(|h| h.checked_add(low)).ok_or(Refusal::FormEncoding)?
            }
            byte if byte.is_ascii_graphic() => *byte,
            _ => return Err(Refusal::FormEncoding),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(body: &[u8]) -> Option<Refusal> {
        Form::read(body).err()
    }

    #[test]
    fn decoded_once() {
        let form = Form::read(b"b=100%2525+%2B%26%3D&a=%D6%D0&c=&d=a%3Db=c&e=%2b").unwrap();
        assert_eq!(form.get("b"), Some(&b"100%25 +&="[..]));
        assert_eq!(form.get("a"), Some(&b"\xd6\xd0"[..]));
        assert_eq!(form.get("c"), Some(&b""[..]));
        assert_eq!((form.get("d"), form.get("e"), form.get("f")), (Some(&b"a=b=c"[..]), Some(&b"+"[..]), None));
    }

    #[test]
    fn signed_in_the_order_of_bytes() {
        let form = Form::read(b"b=2&a_b=3&a=1&ab=4&B=5&sign=6&a-b=7&a1=8&sign_type=RSA2&e=").unwrap();
        assert_eq!(form.signed(&["sign", "sign_type"]), b"B=5&a=1&a-b=7&a1=8&a_b=3&ab=4&b=2&e=");
        assert_eq!(form.signed(&["sign"]), b"B=5&a=1&a-b=7&a1=8&a_b=3&ab=4&b=2&e=&sign_type=RSA2");
    }

    #[test]
    fn other_forms_are_refused() {
        for body in
            ["a=%", "a=%2", "a=%2&b=1", "a=%zz", "a=%+1", "a=%-1", "a= ", "a=\n", "a=\0", "a=单", "%=1", "a=%u0041"]
        {
            assert_eq!(refused(body.as_bytes()), Some(Refusal::FormEncoding), "{body}");
        }
        for body in
            ["", "a", "a=1&", "&a=1", "a=1&&b=2", "=1", "a=1&b", "a+b=1", "%26=1", "a%3Db=1", "%D6%D0=1", "a[]=1"]
        {
            assert_eq!(refused(body.as_bytes()), Some(Refusal::FormField), "{body}");
        }
        for body in ["a=1&a=1", "a=1&b=2&a=", "a=1&%61=2"] {
            assert_eq!(refused(body.as_bytes()), Some(Refusal::FormDuplicate), "{body}");
        }
    }

    #[test]
    fn size_and_number_have_a_limit() {
        let many = |n: usize| (0..n).map(|i| format!("a{i}=")).collect::<Vec<_>>().join("&");
        assert_eq!((refused(many(200).as_bytes()), refused(many(201).as_bytes())), (None, Some(Refusal::FormTooMany)));
        let long = |n: usize| [b"a=", &*b"x".repeat(n - 2)].concat();
        assert_eq!((refused(&long(65_536)), refused(&long(65_537))), (None, Some(Refusal::BodyTooLarge)));
    }

    #[test]
    fn bounds_that_could_be_elsewhere_are_seen() {
        let ambiguous = |body: &str| Form::read(body.as_bytes()).unwrap().is_ambiguous(&["total_amount", "trade_no"]);
        assert!(ambiguous("subject=A%26total_amount=9.00%26x%3D&total_amount=0.01"));
        assert!(ambiguous("subject=%26trade_no%3D"));
        for harmless in
            ["subject=A%26B", "subject=total_amount%3D1", "subject=A%26total_amount", "subject=A%26x%3Dtotal_amount"]
        {
            assert!(!ambiguous(harmless), "{harmless}");
        }
    }

    proptest! {
        /// However a sender escapes, and in whichever order, the same is read.
        #[test]
        fn what_was_written_is_read(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..9),
            plus in any::<bool>(),
        ) {
            let escape = |bytes: &[u8]| bytes.iter().map(|b| match b {
                b' ' if plus => "+".to_owned(),
                b if b.is_ascii_alphanumeric() => char::from(*b).to_string(),
                b => format!("%{b:02X}"),
            }).collect::<String>();
            let body: Vec<_> = values.iter().enumerate().rev().map(|(i, v)| format!("f{i}={}", escape(v))).collect();
            let form = Form::read(body.join("&").as_bytes()).unwrap();
            for (i, value) in values.iter().enumerate() {
                prop_assert_eq!(form.get(&format!("f{i}")), Some(value.as_slice()));
            }
        }

        #[test]
        fn never_panics(body in "[a-c=&%+0-9\\x00-\\x20é]{0,60}") {
            if let Ok(form) = Form::read(body.as_bytes()) {
                prop_assert_eq!(form.fields.len(), body.split('&').count());
            }
        }
    }
}
