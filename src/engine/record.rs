//! Records: one declaration of a table gives its columns, the struct of a row, and how that is read and inserted. What an update
//! changes of a row, and what is read of it alone, is named, and the compiler knows the names.

use crate::engine::db::Db;
use crate::engine::fee::Fee;
use crate::engine::param::{Param, p};
use crate::engine::row::Row;
use crate::engine::types::{Day, RawJsonb, Timestamp, Uuid};
use mps_domain::money::{Discount, Money};

/// What a column that is read is in Rust.
pub trait Column: Sized {
    /// Column `n` of a row, counted from 1.
    fn read(row: &Row, n: i32) -> Self;
}

/// What is written to a column.
pub trait Value {
    fn param(&self, db: &Db) -> Param;
}

macro_rules! read {
    ($($type:ty),*) => {$(
        impl Column for $type {
            fn read(row: &Row, n: i32) -> Self {
                row.get(n)
            }
        }

        impl Column for Option<$type> {
            fn read(row: &Row, n: i32) -> Self {
                row.opt(n)
            }
        }
    )*};
}

read!(bool, i16, i32, i64, Timestamp, Day, Uuid, Money, Discount, RawJsonb, String, Vec<u8>);

macro_rules! written {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn param(&self, _: &Db) -> Param {
                p(*self)
            }
        }

        impl Value for Option<$type> {
            fn param(&self, _: &Db) -> Param {
                p(*self)
            }
        }
    )*};
}

written!(bool, i16, i32, i64, Timestamp, Day, Uuid, Money, Fee, Discount, &str, &[u8]);

impl Value for RawJsonb {
    fn param(&self, _: &Db) -> Param {
        p(self)
    }
}

impl Value for Option<RawJsonb> {
    fn param(&self, _: &Db) -> Param {
        p(self.as_ref())
    }
}

impl Value for String {
    fn param(&self, _: &Db) -> Param {
        p(self.as_str())
    }
}

impl Value for Option<String> {
    fn param(&self, _: &Db) -> Param {
        p(self.as_deref())
    }
}

impl Value for Option<Vec<u8>> {
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
        }

        impl $crate::engine::record::Value for $type {
            fn param(&self, db: &$crate::engine::db::Db) -> $crate::engine::param::Param {
                $crate::engine::param::Param::label($crate::engine::labels::oids(db, $name, self.label()))
            }
        }
    )*};
}

/// Columns of texts that a CHECK keeps to the labels of a Rust type.
macro_rules! labelled_texts {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::engine::record::Column for $type {
            fn read(row: &$crate::engine::row::Row, n: i32) -> Self {
                <$type>::from_label(&row.text(n)).expect("checked by the column")
            }
        }

        impl $crate::engine::record::Value for $type {
            fn param(&self, _: &$crate::engine::db::Db) -> $crate::engine::param::Param {
                $crate::engine::param::p(self.label())
            }
        }
    )*};
}

/// Declares a table, and what a row of it is in Rust:
///
/// ```text
/// record! {
///     /// A parcel on its way.
///     #[derive(Debug)]
///     pub struct Parcel in static PARCELS: c"post", "parcels";
///     asserted { "(weight > 0)" }
///     columns {
///         id: Uuid,
///         weight: i64,
///         route: Option<String>,
///         sticker = Parcel::sticker,
///         remarks: _,
///     }
///     besides {
///         version: RowVersion = Row::version,
///     }
///     read by read;
///     inserted by values;
///     listed by columns;
/// }
/// ```
///
/// `columns` are those of the table, in its order. A column is a field of the struct (`weight`); or it is not read, and written as a
/// function of the row says (`sticker`); or it is neither read nor written here (`remarks`). `besides` are fields that are no columns,
/// each a function of the row that was read. `asserted` are the CHECKs that whoever updates keeps by itself.
///
/// It gives the static `PARCELS`, the struct `Parcel`, and, where the line of it stands: `Parcel::read(&Row)`, of a row with all columns
/// in their order; `parcel.values(&Db)`, all columns of a new row; the macro `columns!(head, tail)`, a statement that lists them. A
/// struct that is only inserted may borrow: `struct Parcel<'a>`.
///
/// A second table whose rows are the same in Rust says which fields its columns are, under which names, and what the others are:
///
/// ```text
/// record! {
///     impl Parcel in static LETTERS: c"post", "letters";
///     columns { id, grams as weight, stamp: _ }
///     besides { route = |_| None, version = Row::version }
///     read by read_letter;
/// }
/// ```
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $Record:ident $(<$life:lifetime>)? in $table_vis:vis static $TABLE:ident: $schema:literal, $name:literal;
        $(asserted { $($check:literal),* $(,)? })?
        columns { $($columns:tt)* }
        $(besides { $($(#[$more_meta:meta])* $more_vis:vis $more:ident: $more_type:ty = $begins:expr),* $(,)? })?
        $(read by $read:ident;)?
        $(inserted by $inserted:ident;)?
        $(listed by $listed:ident;)?
    ) => {
        record! {
            @sort
            {
                {
                    $(#[$meta])* $vis struct $Record $(<$life>)?
                    { $($($(#[$more_meta])* $more_vis $more: $more_type,)*)? }
                }
                { $table_vis $TABLE: $schema, $name, [$($($check),*)?] }
                { $Record $(<$life>)? in $TABLE, [$($({ $more $begins })*)?] }
                { $(@read $read)? $(@inserted $inserted)? $(@listed $listed)? }
            }
            [] [] [] $($columns)*
        }
    };
    (
        impl $Record:ident in $table_vis:vis static $TABLE:ident: $schema:literal, $name:literal;
        $(asserted { $($check:literal),* $(,)? })?
        columns { $($columns:tt)* }
        besides { $($more:ident = $begins:expr),* $(,)? }
        read by $read:ident;
    ) => {
        record! {
            @sort
            {
                {}
                { $table_vis $TABLE: $schema, $name, [$($($check),*)?] }
                { $Record in $TABLE, [$({ $more $begins })*] }
                { @read $read }
            }
            [] [] [] $($columns)*
        }
    };

    // Sorts the columns, one after the other, into: the fields of the struct; which are read, and into which field; all of them, and
    // what each has in a new row. `$what` is for the end.
    (@sort $what:tt $fields:tt $read:tt [$($all:tt)*] $(#[$meta:meta])* $column:ident: _ $(, $($rest:tt)*)?) => {
        record! { @sort $what $fields $read [$($all)* { $column unknown }] $($($rest)*)? }
    };
    (@sort $what:tt $fields:tt $read:tt [$($all:tt)*] $column:ident = $value:expr $(, $($rest:tt)*)?) => {
        record! { @sort $what $fields $read [$($all)* { $column computed $value }] $($($rest)*)? }
    };
    (@sort $what:tt $fields:tt [$($read:tt)*] [$($all:tt)*] $column:ident as $field:ident $(, $($rest:tt)*)?) => {
        record! {
            @sort $what $fields [$($read)* { $column $field }] [$($all)* { $column field $field }] $($($rest)*)?
        }
    };
    (@sort $what:tt $fields:tt $read:tt $all:tt $column:ident $(, $($rest:tt)*)?) => {
        record! { @sort $what $fields $read $all $column as $column $(, $($rest)*)? }
    };
    (
        @sort $what:tt [$($field:tt)*] $read:tt $all:tt
        $(#[$meta:meta])* $column:ident: $type:ty $(, $($rest:tt)*)?
    ) => {
        record! {
            @sort $what [$($field)* { $(#[$meta])* $column: $type }] $read $all $column as $column $(, $($rest)*)?
        }
    };
    (
        @sort { $struct:tt $table:tt $rows:tt { $(@$way:ident $function:ident)* } }
        $fields:tt $read:tt $all:tt
    ) => {
        record! { @struct $struct $fields }
        record! { @table $table $all }
        $(record! { @$way ($) $function $rows $read $all })*
    };

    // What comes of it.
    (@struct {} []) => {};
    (
        @struct
        { $(#[$meta:meta])* $vis:vis struct $Record:ident $(<$life:lifetime>)? { $($more:tt)* } }
        [$({ $(#[$field_meta:meta])* $field:ident: $type:ty })*]
    ) => {
        $(#[$meta])*
        $vis struct $Record $(<$life>)? {
            $($(#[$field_meta])* pub $field: $type,)*
            $($more)*
        }
    };
    (
        @table { $vis:vis $TABLE:ident: $schema:literal, $name:literal, [$($check:literal),*] }
        [$({ $column:ident $($value:tt)* })*]
    ) => {
        $vis static $TABLE: $crate::engine::direct::Table = $crate::engine::direct::Table {
            schema: $schema,
            name: $name,
            columns: &[$(stringify!($column)),*],
            asserted: &[$($check),*],
        };
    };
    (
        @read $dollar:tt $read:ident { $Record:ident in $TABLE:ident, [$({ $more:ident $begins:expr })*] }
        [$({ $column:ident $field:ident })*] $all:tt
    ) => {
        impl $Record {
            pub fn $read(row: &$crate::engine::row::Row) -> $Record {
                $Record {
                    $($field: $crate::engine::record::column!(row, $TABLE.$column),)*
                    $($more: {
                        let begins: fn(&$crate::engine::row::Row) -> _ = $begins;
                        begins(row)
                    },)*
                }
            }
        }
    };
    (
        @inserted $dollar:tt $values:ident { $Record:ident $(<$life:lifetime>)? in $TABLE:ident, $more:tt }
        $read:tt [$({ $column:ident $($value:tt)* })*]
    ) => {
        impl $(<$life>)? $Record $(<$life>)? {
            pub fn $values(&self, db: &$crate::engine::db::Db) -> [$crate::engine::param::Param; $TABLE.columns.len()] {
                [$(record!(@value self db $($value)*)),*]
            }
        }
    };
    (
        @listed ($dollar:tt) $listed:ident $rows:tt
        $read:tt [{ $first:ident $($first_value:tt)* } $({ $column:ident $($value:tt)* })*]
    ) => {
        macro_rules! $listed {
            ($dollar head:literal, $dollar tail:literal) => {
                concat!($dollar head, stringify!($first), $(", ", stringify!($column),)* " ", $dollar tail)
            };
        }
    };
    (@value $self:ident $db:ident field $field:ident) => {
        $crate::engine::record::Value::param(&$self.$field, $db)
    };
    (@value $self:ident $db:ident computed $value:expr) => {{
        let value = $value;
        $crate::engine::record::Value::param(&value($self), $db)
    }};
    (@value $self:ident $db:ident unknown) => {
        compile_error!("a new row has a value in every column")
    };
}

/// One column of a row that has all of its table's, in their order: `column!(row, PARCELS.weight)`; as which type, where that does not
/// follow: `column!(row, PARCELS.weight, i64)`.
macro_rules! column {
    ($row:expr, $TABLE:ident.$column:ident) => {
        $crate::engine::record::column!($row, $TABLE.$column, _)
    };
    ($row:expr, $TABLE:ident.$column:ident, $type:ty) => {
        <$type as $crate::engine::record::Column>::read($row, const { $TABLE.number(stringify!($column)) })
    };
}

/// Columns with what the fields of their names hold, for an update: `changes!(db, parcel: weight, route)`.
macro_rules! changes {
    ($db:expr, $row:ident: $($column:ident),* $(,)?) => {
        [$((stringify!($column), $crate::engine::record::Value::param(&$row.$column, $db))),*]
    };
}

pub(crate) use {changes, column, enumerations, labelled_texts, record};
