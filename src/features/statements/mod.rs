//! Statements: what happened, read and never written.

mod balance_as_of;
mod card_statement;
mod merchant_statement;
mod shown_tag;
mod tx_by_no;
mod usage;
mod usage_page;
