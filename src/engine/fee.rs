//! Fees of payment gateways, which have more decimals than money.

use crate::engine::types::{FromColumn, NumericArg, NumericOut, ToColumn, numeric_modifier, scaled};
use pgrx::pg_sys::{self, Datum, Oid};

/// What a gateway takes for its service: hundred-thousandths of a currency unit, signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee(pub i64);

const FEE_SCALE: u32 = 5;

// SAFETY: `scaled` makes numerics.
unsafe impl ToColumn for Fee {
    const MODIFIER: i32 = numeric_modifier(20, FEE_SCALE);

    fn oid() -> Oid {
        pg_sys::NUMERICOID
    }

    fn into_column(self) -> Option<Datum> {
        Some(scaled(self.0, FEE_SCALE))
    }
}

impl FromColumn for Fee {
    fn oid() -> Oid {
        pg_sys::NUMERICOID
    }

    unsafe fn from_column(datum: Datum) -> Self {
        // SAFETY: the caller's promise.
        let digits = unsafe { NumericArg::from_column(datum) };
        Fee(digits.units(FEE_SCALE).expect("fee columns are numeric(20,5)"))
    }
}

impl From<Fee> for NumericOut {
    fn from(fee: Fee) -> Self {
        NumericOut { units: fee.0, scale: FEE_SCALE }
    }
}
