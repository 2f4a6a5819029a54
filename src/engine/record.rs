//! Records: one declaration of a table gives its columns, the struct of a row, how that is read, inserted and updated.

use crate::engine::db::Db;
use crate::engine::param::{Param, p};
use crate::engine::row::Row;
use crate::engine::types::{RawJsonb, Timestamp, Uuid};
use mps_domain::money::{Discount, Money};

/// What a column is in Rust.
pub trait Column: Sized {
    /// Column `n` of a row, counted from 1.
    fn read(row: &Row, n: i32) -> Self;
    fn param(&self, db: &Db) -> Param;
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Column for $type {
            fn read(row: &Row, n: i32) -> Self {
                row.get(n)
            }

            fn param(&self, _: &Db) -> Param {
                p(self.clone())
            }
        }

        impl Column for Option<$type> {
            fn read(row: &Row, n: i32) -> Self {
                row.opt(n)
            }

            fn param(&self, _: &Db) -> Param {
                p(self.clone())
            }
        }
    )*};
}

plain!(bool, i16, i32, i64, Timestamp, Uuid, Money, Discount, RawJsonb);

impl Column for String {
    fn read(row: &Row, n: i32) -> Self {
        row.get(n)
    }

    fn param(&self, _: &Db) -> Param {
        p(self.as_str())
    }
}

impl Column for Option<String> {
    fn read(row: &Row, n: i32) -> Self {
        row.opt(n)
    }

    fn param(&self, _: &Db) -> Param {
        p(self.as_deref())
    }
}

/// Columns of enumerations: their types in SQL, and the Rust types that have their labels.
macro_rules! enumerations {
    ($($type:ty: $name:literal),* $(,)?) => {$(
        impl $crate::engine::record::Column for $type {
            fn read(row: &$crate::engine::row::Row, n: i32) -> Self {
                <$type>::from_label(&row.label(n)).expect(concat!("labels of ", $name))
            }

            fn param(&self, db: &$crate::engine::db::Db) -> $crate::engine::param::Param {
                $crate::engine::param::Param::label($crate::engine::labels::oids(db, $name, self.label()))
            }
        }
    )*};
}

/// Declares a table and the struct of its rows, whose fields are its columns, in its order. A column of which a row has no field is
/// written as a function of the row says, and not read: `tx_no = |tx| ...`. Behind the columns: what a row knows besides, and how that
/// begins.
///
/// The struct gets `read(&Row)`, `values(&Db)` for an insert, and `change_of(&Db, column)` for an update.
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $Record:ident in static $TABLE:ident: $schema:literal, $name:literal, listed by $listed:ident;
        columns { $($columns:tt)* }
        besides { $($(#[$more_meta:meta])* $more:ident: $more_type:ty = $begins:expr,)* }
    ) => {
        record! {
            @column
            { $(#[$meta])* $Record $TABLE $schema $name $listed { $($(#[$more_meta])* $more: $more_type = $begins,)* } }
            [] [] $($columns)*
        }
    };
    (@column $head:tt [$($field:tt)*] [$($column:tt)*] $(#[$meta:meta])* $name:ident: $type:ty, $($rest:tt)*) => {
        record! {
            @column $head
            [$($field)* { $(#[$meta])* $name: $type }]
            [$($column)* { $name field $type }]
            $($rest)*
        }
    };
    (@column $head:tt [$($field:tt)*] [$($column:tt)*] $name:ident = $value:expr, $($rest:tt)*) => {
        record! { @column $head [$($field)*] [$($column)* { $name computed $value }] $($rest)* }
    };
    (
        @column
        { $(#[$meta:meta])* $Record:ident $TABLE:ident $schema:literal $name:literal $listed:ident
          { $($(#[$more_meta:meta])* $more:ident: $more_type:ty = $begins:expr,)* } }
        [$({ $(#[$field_meta:meta])* $field:ident: $type:ty })*]
        [$({ $column:ident $($how:tt)* })*]
    ) => {
        $(#[$meta])*
        pub struct $Record {
            $($(#[$field_meta])* pub $field: $type,)*
            $($(#[$more_meta])* pub $more: $more_type,)*
        }

        pub static $TABLE: $crate::engine::direct::Table = $crate::engine::direct::Table {
            schema: $schema,
            name: $name,
            columns: $Record::COLUMNS,
            asserted: &[],
        };

        record! { @listed ($) $listed $($column)* }

        impl $Record {
            const COLUMNS: &[&str] = &[$(stringify!($column)),*];

            /// A row that has all columns, in their order.
            pub fn read(row: &$crate::engine::row::Row) -> $Record {
                let mut n = 0;
                $(
                    n += 1;
                    record!(@read row n $column $($how)*);
                )*
                $Record { $($field,)* $($more: $begins,)* }
            }

            /// The values of all columns, in their order.
            pub fn values(&self, db: &$crate::engine::db::Db) -> [$crate::engine::param::Param; $Record::COLUMNS.len()] {
                [$(record!(@value self db $column $($how)*)),*]
            }

            /// A column with the value that it has in this row.
            pub fn change_of(&self, db: &$crate::engine::db::Db, column: &'static str) -> $crate::engine::direct::Change {
                match column {
                    $(stringify!($column) => (stringify!($column), record!(@value self db $column $($how)*)),)*
                    other => panic!("no column {other}"),
                }
            }
        }
    };
    (@listed ($dollar:tt) $listed:ident $first:ident $($column:ident)*) => {
        /// A statement that has all columns between its head and its tail, as literals are.
        macro_rules! $listed {
            ($dollar head:literal, $dollar tail:literal) => {
                concat!($dollar head, stringify!($first), $(", ", stringify!($column),)* " ", $dollar tail)
            };
        }
    };
    (@read $row:ident $n:ident $column:ident field $type:ty) => {
        let $column = <$type as $crate::engine::record::Column>::read($row, $n);
    };
    (@read $row:ident $n:ident $column:ident computed $value:expr) => {};
    (@value $self:ident $db:ident $column:ident field $type:ty) => {
        $crate::engine::record::Column::param(&$self.$column, $db)
    };
    (@value $self:ident $db:ident $column:ident computed $value:expr) => {{
        let value = $value;
        $crate::engine::record::Column::param(&value($self), $db)
    }};
}

pub(crate) use {enumerations, record};
