//! Parameters of statements, and values of columns.

use crate::engine::types::ToColumn;
use pgrx::pg_sys::{Datum, Oid};

/// A parameter of a statement: its type and its value.
#[derive(Clone, Copy)]
pub struct Param {
    oid: Oid,
    modifier: i32,
    datum: Option<Datum>,
}

impl Param {
    pub fn oid(&self) -> Oid {
        self.oid
    }

    pub fn datum(&self) -> Option<Datum> {
        self.datum
    }

    /// Whether a column of this type takes the value as it is.
    pub fn fits(&self, oid: Oid, modifier: i32) -> bool {
        oid == self.oid && (modifier == -1 || modifier == self.modifier)
    }

    /// A label of an enumeration.
    pub fn label((oid, label): (Oid, Oid)) -> Param {
        Param { oid, modifier: -1, datum: Some(Datum::from(label)) }
    }
}

/// Makes a parameter from a value or an option of one.
pub fn p<T: ToColumn>(value: T) -> Param {
    Param { oid: T::oid(), modifier: T::MODIFIER, datum: value.into_column() }
}
