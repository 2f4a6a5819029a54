//! Parameters of statements, and values of columns.

use crate::engine::types::ToColumn;
use pgrx::pg_sys::{Datum, Oid};

/// A parameter of a statement: its type and its value, which is in the memory context that was current when it was made. That of a
/// call lives until the call ends; so it is made where it is used, and kept nowhere.
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
    pub fn label(oids: Oids) -> Param {
        Param { oid: oids.of, modifier: -1, datum: Some(Datum::from(oids.label)) }
    }
}

/// An enumeration and one of its labels. The fields are the engine's: nobody else can call an oid a label that is none.
#[derive(Clone, Copy)]
pub struct Oids {
    pub(in crate::engine) of: Oid,
    pub(in crate::engine) label: Oid,
}

/// Makes a parameter from a value or an option of one.
pub fn p<T: ToColumn>(value: T) -> Param {
    Param { oid: T::oid(), modifier: T::MODIFIER, datum: value.into_column() }
}
