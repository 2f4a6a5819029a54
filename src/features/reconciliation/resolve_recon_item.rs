//! `app.resolve_recon_item`: what becomes of a difference.

use super::resolution::{Word, resolve};
use crate::engine::types::{NumericOut, Text};
use crate::kernel::args;
use crate::kernel::call::write;
use mps_domain::error::{Error, Token};
use mps_domain::limits;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn resolve_recon_item(
    p_id: Option<i64>,
    p_resolution: Option<Text>,
    p_note: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(id, i64),
        name!(status, String),
        name!(resolution, Option<String>),
        name!(tx_no, Option<String>),
        name!(suspense_id, Option<i64>),
        name!(out_refund_no, Option<String>),
        name!(receivable, NumericOut),
        name!(replayed, bool),
    ),
> {
    let done = write(|call| {
        call.caller.require_backend()?;
        let id = args::required(p_id, "p_id")?;
        let given = args::label(p_resolution, "p_resolution")?;
        let word = Word::ALL.into_iter().find(|word| word.label() == given).ok_or_else(|| {
            Error::new(Token::InvalidArgument, "p_resolution is credit, debit, refund, write_off or explained")
        })?;
        resolve(call, id, word, args::text(p_note, "p_note", limits::TEXT_CHARS)?)
    });
    let item = done.item;
    TableIterator::once((
        item.id,
        item.status,
        item.resolution,
        item.result_tx_no,
        item.suspense_id,
        done.out_refund_no,
        item.receivable.into(),
        done.replayed,
    ))
}
