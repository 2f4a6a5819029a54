//! `app.bucket_of_card`, `app.bucket_of_code`, `app.bucket_of_tx`: which bucket an id, a pay code, a number carries. They look at
//! nothing but their argument; what carries none, or is no such thing at all, is NULL.

use crate::engine::types::{Text, Uuid};
use mps_domain::bucket::Bucket;
use mps_domain::pay_code::Place;
use mps_domain::{bucket, pay_code, tx_no};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn bucket_of_card(p_card_id: Option<Uuid>) -> Option<i32> {
    bucket::of_card(p_card_id?.as_bytes()).map(number)
}

#[pg_extern(sql = false)]
fn bucket_of_code(p_qr_plain: Option<Text>) -> Option<i32> {
    let (place, _) = pay_code::read(p_qr_plain?.get())?;
    let (Place::Personal { card } | Place::Enterprise { card, .. }) = place;
    bucket::of_card(&card).map(number)
}

#[pg_extern(sql = false)]
fn bucket_of_tx(p_tx_no: Option<Text>) -> Option<i32> {
    let (_, id) = tx_no::read(p_tx_no?.get())?;
    id.bucket().map(number)
}

fn number(bucket: Bucket) -> i32 {
    bucket.number().into()
}
