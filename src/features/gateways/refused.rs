//! Why a callback is refused, as it is recorded and answered.

use mps_notices::Refusal;
use std::borrow::Cow;

/// A refusal.
pub struct Refused {
    /// Of the key that has signed it; `None`: it is not known who has.
    pub key_id: Option<String>,
    /// One word of few, by which they are counted.
    pub reason: &'static str,
    /// A sentence.
    pub detail: Cow<'static, str>,
    /// The HTTP status that answers it.
    pub status: i32,
}

/// Nobody can say who sent it.
const UNAUTHORIZED: i32 = 401;
const BAD_REQUEST: i32 = 400;
const TOO_LARGE: i32 = 413;
const UNAVAILABLE: i32 = 503;

impl Refused {
    /// Of a body whose signature is not known to be right.
    pub fn unsigned(why: &Refusal) -> Refused {
        let status = match why {
            Refusal::BodyTooLarge => TOO_LARGE,
            Refusal::HeaderMissing(_)
            | Refusal::TimestampForm
            | Refusal::TimestampOutside
            | Refusal::NonceForm
            | Refusal::SerialForm
            | Refusal::SerialUnknown
            | Refusal::SignatureForm
            | Refusal::SignatureType
            | Refusal::SignType
            | Refusal::SignatureWrong
            | Refusal::KeyNone => UNAUTHORIZED,
            _ => BAD_REQUEST,
        };
        Refused { key_id: None, reason: why.name(), detail: why.to_string().into(), status }
    }

    /// Of a body that the gateway has signed.
    pub fn signed(key_id: &str, why: &Refusal) -> Refused {
        Refused { key_id: Some(key_id.to_owned()), status: BAD_REQUEST, ..Refused::unsigned(why) }
    }

    /// The same, of what this key has signed.
    pub fn by(self, key_id: &str) -> Refused {
        Refused { key_id: Some(key_id.to_owned()), ..self }
    }

    /// The account takes no notices.
    pub fn inactive() -> Refused {
        Refused::own("account_inactive", "The account is not active.", BAD_REQUEST)
    }

    /// The way in names another gateway than the account's.
    pub fn other_provider() -> Refused {
        Refused::own("account_provider", "The account is of the other gateway.", BAD_REQUEST)
    }

    /// The secrets of the account cannot be opened here.
    pub fn sealed() -> Refused {
        let detail = "The secrets of the account are sealed under a master key that is not here.";
        Refused::own("master_key", detail, UNAVAILABLE)
    }

    fn own(reason: &'static str, detail: &'static str, status: i32) -> Refused {
        Refused { key_id: None, reason, detail: detail.into(), status }
    }
}
