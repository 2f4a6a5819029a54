//! `app.error_list`, behind the view `app.error_codes`; and `sec.raise`, for the SQL parts.

use crate::engine::server::Raise;
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn error_list() -> TableIterator<
    'static,
    (
        name!(token, &'static str),
        name!(sqlstate, String),
        name!(http_status, i32),
        name!(message_en, &'static str),
        name!(message_zh, &'static str),
    ),
> {
    TableIterator::new(
        Token::ALL.iter().map(|t| (t.name(), t.sqlstate(), i32::from(t.http_status()), t.english(), t.chinese())),
    )
}

#[pg_extern(sql = false)]
fn raise_token(p_token: Option<&str>, p_detail: Option<&str>) {
    let token = p_token.and_then(Token::from_name).unwrap_or(Token::InvalidArgument);
    Error::new(token, p_detail.unwrap_or_default().to_owned()).raise()
}
