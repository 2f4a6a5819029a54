//! `app.resolve_suspense`: what becomes of gateway money that could not be credited.

use super::resolution::{Request, Resolution, resolve};
use crate::engine::types::{NumericOut, Text, Uuid};
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn resolve_suspense(
    p_suspense_id: Option<i64>,
    p_resolution: Option<Text>,
    p_note: Option<Text>,
    p_card_id: Option<Uuid>,
    p_idempotency_key: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(suspense_id, i64),
        name!(status, &'static str),
        name!(gateway_trade_no, String),
        name!(amount, NumericOut),
        name!(tx_no, Option<String>),
        name!(out_refund_no, Option<String>),
        name!(replayed, bool),
    ),
> {
    let (kept, replayed) = write(|call| {
        call.caller.require_backend()?;
        let id = args::required(p_suspense_id, "p_suspense_id")?;
        let given = args::label(p_resolution, "p_resolution")?;
        let request = Request {
            resolution: Resolution::ALL.into_iter().find(|r| r.label() == given).ok_or_else(|| {
                Error::new(
                    Token::InvalidArgument,
                    "p_resolution is credited, refunded, refund_completed, refund_failed or written_off",
                )
            })?,
            note: args::text(p_note, "p_note", mps_domain::limits::TEXT_CHARS)?,
            card: p_card_id,
            key: args::optional_key(p_idempotency_key, "p_idempotency_key")?,
        };
        if (request.resolution == Resolution::Credited) != request.card.is_some() {
            return Err(Error::new(Token::InvalidArgument, "p_card_id is given with credited, and only with that"));
        }
        resolve(call, id, &request)
    });
    TableIterator::once((
        kept.id,
        kept.status.label(),
        kept.gateway_trade_no,
        kept.amount.into(),
        kept.credited_tx_no,
        kept.out_refund_no,
        replayed,
    ))
}
