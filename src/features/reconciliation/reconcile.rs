//! `app.reconcile`: a day's bill beside the books and the callbacks.

use super::comparing::compare;
use super::hold;
use crate::engine::types::{Day, NumericOut, Text};
use crate::kernel::call::write;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn reconcile(
    p_account: Option<Text>,
    p_bill_date: Option<Day>,
) -> TableIterator<'static, (name!(class, String), name!(items, i64), name!(amount, NumericOut))> {
    let classes = write(|call| {
        call.caller.require_backend()?;
        let held = hold(call, p_account, p_bill_date)?;
        compare(call, held.code, held.day)
    });
    TableIterator::new(classes.into_iter().map(|(class, items, amount)| (class, items, amount.into())))
}
