//! What MPS decides, without any Postgres in it: prices, points, levels, refunds, pay codes, numbers.
//! Everything here is a pure function of its arguments and is tested by plain `cargo test`.
#![forbid(unsafe_code)]
// Money is never a fraction of two, and what cannot be is told by a type or a sentence.
#![warn(clippy::float_arithmetic, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

pub mod bucket;
pub mod budget;
pub mod campaign;
pub mod campaign_json;
pub mod card;
pub mod coupon;
pub mod coupon_json;
pub mod coupon_labels;
pub mod day;
pub mod error;
pub mod jsonb;
pub mod limits;
pub mod member;
pub mod merchant;
pub mod moment;
pub mod money;
pub mod month;
pub mod numeric;
pub mod pay_code;
pub mod quote;
pub mod refund;
pub mod terms_json;
pub mod tier;
pub mod tree;
pub mod tx_no;
pub mod typed;
pub mod window;
pub mod withdrawal;
