//! What WeChat Pay (API v3) and Alipay (RSA2) send when money moved: verified, decrypted and read. Everything here is a pure function
//! of its arguments: keys, the time and random bytes come from the caller. What came from outside never panics and costs a bounded
//! amount of work; what is refused has one of the reasons of [`Refusal`].
//!
//! Both gateways go the same way: `verify` gives a `Verified`, which nothing else makes, and only that is read to a `Notice`. Whether
//! the notice is of the account that it came for is asked of [`account`].
#![forbid(unsafe_code)]
#![warn(clippy::float_arithmetic, clippy::print_stderr, clippy::print_stdout)]
// Whoever knocks at the door chooses every byte.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod account;
pub mod alipay;
pub mod amount;
mod form;
mod json;
pub mod keys;
pub mod refusal;
pub mod secret;
mod states;
pub mod time;
pub mod wechat;

pub use refusal::Refusal;

/// No body of either gateway is longer: theirs are a few thousand bytes.
pub const MAX_BODY_BYTES: usize = 65_536;
/// No id of either gateway is longer: theirs have 128 characters and fewer.
pub const MAX_ID_CHARS: usize = 128;
/// What is only noted (a bank, a subject) and longer than this is left out.
pub const MAX_NOTE_CHARS: usize = 256;

/// An id as the gateways write them: it goes into columns and statements of others, so it is seen whole or not at all.
fn is_id(text: &[u8]) -> bool {
    (1..=MAX_ID_CHARS).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

/// What a column of text can hold and a person can read.
fn is_note(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_NOTE_CHARS && !text.chars().any(char::is_control)
}
