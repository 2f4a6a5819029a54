//! Why something is refused: a closed list. The names stand in records and are never changed; the sentences are for people, and say
//! nothing of keys or of what a body holds.

/// One line per reason: the name, and the sentence, with `{}` where the reason says which field.
macro_rules! refusals {
    (
        plain { $($plain:ident $plain_name:literal $plain_text:literal;)* }
        of_a_field { $($field:ident $field_name:literal $before:literal $after:literal;)* }
    ) => {
        /// Why a body, a key or an account does not do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $(#[doc = $plain_text] $plain,)*
            $(#[doc = concat!($before, " (the field) ", $after)] $field(&'static str),)*
        }

        impl Refusal {
            /// Every name there is, in the order of the list.
            pub const NAMES: &'static [&'static str] = &[$($plain_name,)* $($field_name,)*];

            /// What a record holds.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Refusal::$plain => $plain_name,)*
                    $(Refusal::$field(_) => $field_name,)*
                }
            }
        }

        impl std::fmt::Display for Refusal {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Refusal::$plain => f.write_str($plain_text),)*
                    $(Refusal::$field(field) => write!(f, concat!($before, " {} ", $after), field),)*
                }
            }
        }
    };
}

refusals! {
    plain {
        BodyTooLarge "body_too_large" "The body has more than 65,536 bytes.";

        TimestampForm "timestamp_form" "The header Wechatpay-Timestamp is no plain number of seconds.";
        TimestampOutside "timestamp_outside" "The header Wechatpay-Timestamp is more than 300 seconds from now.";
        NonceForm "nonce_form" "The header Wechatpay-Nonce is empty, too long or no plain text.";
        SerialForm "serial_form" "The header Wechatpay-Serial is empty, too long or no id of a key.";
        SignatureForm "signature_form" "The signature is empty, too long or not base64.";
        SignatureType "signature_type" "The header Wechatpay-Signature-Type is not WECHATPAY2-SHA256-RSA2048.";
        SerialUnknown "serial_unknown" "No live key of the account has the id that the header Wechatpay-Serial names.";
        SignatureWrong "signature_wrong" "The signature is not that of a live key over this message.";

        JsonForm "json_form" "What should be a JSON object is none.";
        JsonDuplicate "json_duplicate" "A JSON object has the same name twice.";
        JsonTooDeep "json_too_deep" "The JSON is nested too deeply.";
        JsonTooLarge "json_too_large" "The JSON has too many values.";

        ResourceType "resource_type" "The resource_type is not encrypt-resource.";
        Algorithm "algorithm" "The algorithm of the resource is not AEAD_AES_256_GCM.";
        CipherNonce "cipher_nonce" "The nonce of the resource does not have 12 bytes.";
        CiphertextForm "ciphertext_form" "The ciphertext of the resource is not base64, or shorter than its tag.";
        Apiv3KeyNone "apiv3_key_none" "No APIv3 key of the account is live and can be opened.";
        DecryptionFailed "decryption_failed" "No live APIv3 key of the account opens the resource.";

        FormEncoding "form_encoding" "The form is not percent-encoded ASCII.";
        FormField "form_field" "A field of the form has no name, no equals sign, or a name of other characters.";
        FormDuplicate "form_duplicate" "The form has the same name twice.";
        FormTooMany "form_too_many" "The form has too many fields.";
        FormAmbiguous "form_ambiguous" "A value of the form holds what could be another field: what was signed can be read in two ways.";
        Charset "charset" "The charset of the form is none of utf-8, gbk, gb2312 and gb18030.";
        SignType "sign_type" "The sign_type of the form is not RSA2.";
        KeyNone "key_none" "No public key of the account is live.";

        Currency "currency" "The currency is not CNY.";

        AccountMchid "account_mchid" "The notice is for another merchant number than the account's.";
        AccountAppid "account_appid" "The notice is for an appid that is none of the account's.";
        AccountSubMchid "account_sub_mchid" "The notice is for a sub-merchant that is none of the account's.";
        AccountAppId "account_app_id" "The notice is for another app_id than the account's.";
        AccountSellerId "account_seller_id" "The notice is for a seller_id that is none of the account's.";

        KeyForm "key_form" "The key is neither a PEM certificate nor a PEM public key, nor (Alipay's) the base64 of one.";
        KeyPrivate "key_private" "This is a private key. Give the gateway's public key or certificate.";
        KeyAlgorithm "key_algorithm" "The key is not an RSA key.";
        KeySize "key_size" "The RSA key does not have 2048 to 4096 bits.";
        KeyExponent "key_exponent" "The exponent of the RSA key is even, below 3 or above 2^33.";
        KeyModulus "key_modulus" "The modulus of the RSA key is even.";
        Apiv3KeyLength "apiv3_key_length" "An APIv3 key has exactly 32 bytes.";
        MasterKeyForm "master_key_form" "A master key is 32 bytes, or 64 hex digits and at most one line end.";
        SealedForm "sealed_form" "The sealed key has another length or version than this release writes.";
        SealedWrong "sealed_wrong" "The sealed key was sealed under another master key, or for another account or id, or it was changed.";
    }
    of_a_field {
        HeaderMissing "header_missing" "The header" "is missing.";
        FieldMissing "field_missing" "The field" "is missing.";
        FieldForm "field_form" "The field" "does not have its form.";
        AmountForm "amount_form" "The amount" "is not written as its gateway writes amounts.";
        AmountRange "amount_range" "The amount" "is out of range.";
        TimeForm "time_form" "The time" "is not written as its gateway writes times.";
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_snake_case_and_each_ones_own() {
        let plain = |name: &&str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(Refusal::NAMES.iter().all(plain));
        assert_eq!(Refusal::NAMES.iter().collect::<BTreeSet<_>>().len(), Refusal::NAMES.len());
    }

    #[test]
    fn sentences_say_which_field() {
        assert_eq!(Refusal::FieldMissing("trade_state").to_string(), "The field trade_state is missing.");
        assert_eq!(Refusal::FieldMissing("trade_state").name(), "field_missing");
        assert_eq!(Refusal::Currency.to_string(), "The currency is not CNY.");
    }
}
