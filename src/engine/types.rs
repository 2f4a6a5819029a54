//! Values as they cross between Postgres and Rust, for arguments, results and statements alike.

use mps_domain::money::{DISCOUNT_SCALE, Discount, MONEY_SCALE, Money};
use mps_domain::numeric::NotExact;
use mps_domain::{jsonb, limits, numeric};
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum as BorrowedDatum;
use pgrx::nullable::Nullable;
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{FromDatum, IntoDatum, impl_sql_translatable};

pub use pgrx::Uuid;

/// A moment: microseconds since 2000-01-01 UTC, as the server keeps them. The infinities are its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    const UNIX_EPOCH: i64 = -946_684_800_000_000;

    /// By microseconds since 1970, as everybody else counts.
    pub const fn of_unix(micros: i64) -> Timestamp {
        Timestamp(micros.saturating_add(Timestamp::UNIX_EPOCH))
    }

    /// Microseconds since 1970.
    pub const fn unix_micros(self) -> i64 {
        self.0.saturating_sub(Timestamp::UNIX_EPOCH)
    }

    pub const fn is_finite(self) -> bool {
        self.0 != i64::MIN && self.0 != i64::MAX
    }
}

impl FromDatum for Timestamp {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Self> {
        (!is_null).then(|| Timestamp(datum.value() as i64))
    }
}

impl IntoDatum for Timestamp {
    fn into_datum(self) -> Option<Datum> {
        Some(Datum::from(self.0))
    }

    fn type_oid() -> Oid {
        pg_sys::TIMESTAMPTZOID
    }
}

impl_sql_translatable!(Timestamp, "timestamp with time zone");

/// A day of the calendar, in no zone: days since 2000-01-01, as the server keeps them. The infinities are its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i32);

impl Day {
    /// Whether it is one of the years 2000 to 9999.
    pub const fn is_of_these_times(self) -> bool {
        const DAYS_IN_400_YEARS: i32 = 146_097;
        0 <= self.0 && self.0 < 20 * DAYS_IN_400_YEARS
    }
}

impl FromDatum for Day {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Self> {
        (!is_null).then(|| Day(datum.value() as i32))
    }
}

impl IntoDatum for Day {
    fn into_datum(self) -> Option<Datum> {
        Some(Datum::from(self.0))
    }

    fn type_oid() -> Oid {
        pg_sys::DATEOID
    }
}

impl_sql_translatable!(Day, "date");

/// An argument of type numeric, not yet looked at: the digits as stored.
#[derive(Debug)]
pub struct NumericArg(Vec<u8>);

impl NumericArg {
    /// The value as a whole number of `10^-scale`.
    pub fn units(&self, scale: u32) -> Result<i64, NotExact> {
        numeric::decode(&self.0, scale)
    }
}

impl FromDatum for NumericArg {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the SQL signature says numeric, so the datum is a varlena; the bytes are copied before it can go away.
        unsafe { Some(NumericArg(varlena_bytes(datum))) }
    }
}

impl IntoDatum for NumericArg {
    fn into_datum(self) -> Option<Datum> {
        Some(varlena(&self.0))
    }

    fn type_oid() -> Oid {
        pg_sys::NUMERICOID
    }
}

impl_sql_translatable!(NumericArg, "numeric");

// Eight bytes by value, as the conversions below have it.
const _: () = assert!(size_of::<Datum>() == 8);

/// A value that a statement takes as a parameter.
///
/// # Safety
/// What `into_column` makes is a value of the type `oid()`, as the server has it; in the current memory context, where it is passed
/// by reference. The server takes it for that.
pub unsafe trait ToColumn {
    /// The type modifier of columns that every value fits into as it is; -1 says that they have none.
    const MODIFIER: i32 = -1;

    fn oid() -> Oid;
    fn into_column(self) -> Option<Datum>;
}

/// A value that a statement's result has in a column.
pub trait FromColumn: Sized {
    fn oid() -> Oid;

    /// # Safety
    /// The datum must be a live, non-null value of the type `oid()`.
    unsafe fn from_column(datum: Datum) -> Self;
}

macro_rules! to_columns {
    ($($ty:ty),*) => {$(
        // SAFETY: type and value are from one implementation of IntoDatum: pgrx's, or that of this file, which says the type that the
        // server has for its bytes.
        unsafe impl ToColumn for $ty {
            fn oid() -> Oid {
                <$ty as IntoDatum>::type_oid()
            }

            fn into_column(self) -> Option<Datum> {
                self.into_datum()
            }
        }
    )*};
}

macro_rules! from_columns {
    ($($ty:ty),*) => {$(
        impl FromColumn for $ty {
            fn oid() -> Oid {
                <$ty as IntoDatum>::type_oid()
            }

            unsafe fn from_column(datum: Datum) -> Self {
                // SAFETY: the caller's promise.
                unsafe { <$ty>::from_polymorphic_datum(datum, false, <$ty as IntoDatum>::type_oid()) }.expect("not null")
            }
        }
    )*};
}

to_columns!(bool, i16, i32, i64, &str, String, &[u8], Uuid, Timestamp, Day, RawJsonb);
from_columns!(bool, i16, i32, i64, Oid, String, Vec<u8>, Uuid, Timestamp, Day, NumericArg, RawJsonb);

// SAFETY: the bytes are those of a jsonb.
unsafe impl ToColumn for &RawJsonb {
    fn oid() -> Oid {
        pg_sys::JSONBOID
    }

    fn into_column(self) -> Option<Datum> {
        Some(varlena(&self.0))
    }
}

// SAFETY: a value is one of T's, and NULL one of every type.
unsafe impl<T: ToColumn> ToColumn for Option<T> {
    const MODIFIER: i32 = T::MODIFIER;

    fn oid() -> Oid {
        T::oid()
    }

    fn into_column(self) -> Option<Datum> {
        self.and_then(T::into_column)
    }
}

/// The type modifier of `numeric(precision, scale)`.
pub(in crate::engine) const fn numeric_modifier(precision: i32, scale: u32) -> i32 {
    (precision << 16) + scale as i32 + pg_sys::VARHDRSZ as i32
}

// SAFETY: `scaled` makes numerics.
unsafe impl ToColumn for Money {
    const MODIFIER: i32 = numeric_modifier(14, MONEY_SCALE);

    fn oid() -> Oid {
        pg_sys::NUMERICOID
    }

    fn into_column(self) -> Option<Datum> {
        Some(scaled(self.cents(), MONEY_SCALE))
    }
}

impl FromColumn for Money {
    fn oid() -> Oid {
        pg_sys::NUMERICOID
    }

    unsafe fn from_column(datum: Datum) -> Self {
        // SAFETY: the caller's promise.
        let digits = unsafe { NumericArg::from_column(datum) };
        Money::from_cents(digits.units(MONEY_SCALE).expect("money columns are numeric(14,2)"))
    }
}

// SAFETY: `scaled` makes numerics.
unsafe impl ToColumn for Discount {
    const MODIFIER: i32 = numeric_modifier(4, DISCOUNT_SCALE);

    fn oid() -> Oid {
        pg_sys::NUMERICOID
    }

    fn into_column(self) -> Option<Datum> {
        Some(scaled(self.thousandths(), DISCOUNT_SCALE))
    }
}

impl FromColumn for Discount {
    fn oid() -> Oid {
        pg_sys::NUMERICOID
    }

    unsafe fn from_column(datum: Datum) -> Self {
        // SAFETY: the caller's promise.
        let units = unsafe { NumericArg::from_column(datum) }.units(DISCOUNT_SCALE);
        let units = units.expect("discount columns are numeric(4,3)");
        Discount::from_thousandths(units).expect("discount columns are checked to be in (0, 1]")
    }
}

/// Money and discounts in result columns (the domain's own types cannot carry Postgres's traits for functions).
#[derive(Clone, Copy, Debug)]
pub struct NumericOut {
    pub(in crate::engine) units: i64,
    pub(in crate::engine) scale: u32,
}

impl From<Money> for NumericOut {
    fn from(m: Money) -> Self {
        NumericOut { units: m.cents(), scale: MONEY_SCALE }
    }
}

impl From<Discount> for NumericOut {
    fn from(d: Discount) -> Self {
        NumericOut { units: d.thousandths(), scale: DISCOUNT_SCALE }
    }
}

impl IntoDatum for NumericOut {
    fn into_datum(self) -> Option<Datum> {
        Some(scaled(self.units, self.scale))
    }

    fn type_oid() -> Oid {
        pg_sys::NUMERICOID
    }
}

impl_sql_translatable!(NumericOut, "numeric");

/// A jsonb value passed through as it is: never parsed here, so that no depth of nesting can hurt.
#[derive(Clone, Debug)]
pub struct RawJsonb(Vec<u8>);

/// First word of a jsonb container (src/include/utils/jsonb.h): flags above, number of elements below.
const JSONB_IS_OBJECT: u32 = 0x2000_0000;

impl RawJsonb {
    /// The object without members, `{}`.
    pub fn empty() -> RawJsonb {
        RawJsonb(JSONB_IS_OBJECT.to_ne_bytes().to_vec())
    }

    /// An object whose values are texts, made without the server's parser.
    pub fn object_of_texts(members: &mut [(&str, &str)]) -> RawJsonb {
        RawJsonb(jsonb::object_of_texts(members))
    }

    /// A value from its text, which must be JSON.
    pub fn parse(text: &str) -> RawJsonb {
        let text = std::ffi::CString::new(text).expect("JSON has no NUL");
        // SAFETY: jsonb_in takes a cstring, which it reads only during the call; it wants to know nothing else of its caller.
        unsafe { pgrx::direct_function_call(pg_sys::jsonb_in, &[Some(Datum::from(text.as_ptr()))]) }
            .expect("jsonb_in returns a value or raises")
    }

    /// The bytes of its text, where they are not more than `most`.
    pub fn text_bytes(&self, most: usize) -> Option<usize> {
        jsonb::text_bytes(&self.0, most)
    }

    pub fn is_object(&self) -> bool {
        self.0.first_chunk::<4>().is_some_and(|w| u32::from_ne_bytes(*w) & JSONB_IS_OBJECT != 0)
    }

    /// The value as text. How long that becomes is asked before.
    pub fn to_text(&self) -> String {
        let datum = varlena(&self.0);
        // SAFETY: the datum is a jsonb made from bytes that came out of one, or of `empty`, and aligned as one. The text is copied at once.
        unsafe { pgrx::direct_function_call::<&std::ffi::CStr>(pg_sys::jsonb_out, &[Some(datum)]) }
            .map(|c| c.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}

impl FromDatum for RawJsonb {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the SQL signature (or the column) says jsonb; the bytes are copied.
        unsafe { Some(RawJsonb(varlena_bytes(datum))) }
    }
}

impl IntoDatum for RawJsonb {
    fn into_datum(self) -> Option<Datum> {
        Some(varlena(&self.0))
    }

    fn type_oid() -> Oid {
        pg_sys::JSONBOID
    }
}

impl_sql_translatable!(RawJsonb, "jsonb");

/// An argument of type text. One that is longer than any that is accepted is neither fetched nor looked at: where it comes from
/// a table, a few bytes there may be a gigabyte here. In its place stands one that is too long as well.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    pub fn get(self) -> &'a str {
        self.0
    }
}

impl FromDatum for Text<'_> {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, oid: Oid) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the SQL signature says text. What it lies in, or is detoasted into, lives until the function that has this argument
        // returns. That it is UTF-8, a server of that encoding has made sure, and for another pgrx does.
        unsafe {
            let fits = content_bytes(datum) <= limits::ANY_TEXT_BYTES;
            if fits {
                <&str>::from_polymorphic_datum(datum, false, oid).map(Text)
            } else {
                Some(Text(limits::TOO_LONG))
            }
        }
    }
}

impl_sql_translatable!(Text<'_>, "text");

/// An argument of type jsonb. What is larger than any that is accepted is neither fetched nor copied: where it comes from a
/// table, a few bytes there may be a gigabyte here.
#[derive(Debug)]
pub struct JsonbArg(Option<RawJsonb>);

impl JsonbArg {
    /// The value, if it is not too large to be looked at.
    pub fn value(self) -> Option<RawJsonb> {
        self.0
    }
}

impl FromDatum for JsonbArg {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, oid: Oid) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the SQL signature says jsonb, and the bytes are copied.
        unsafe {
            let value = (content_bytes(datum) <= limits::TAG_STORED_BYTES)
                .then(|| RawJsonb::from_polymorphic_datum(datum, false, oid));
            Some(JsonbArg(value.flatten()))
        }
    }
}

impl_sql_translatable!(JsonbArg, "jsonb");

macro_rules! arguments {
    ($($ty:ty),*) => {$(
        // SAFETY: by way of FromDatum, which copies or, where it borrows, does so for the length of the call; NULL is asked about. The
        // SQL signatures are written to match.
        unsafe impl<'fcx> ArgAbi<'fcx> for $ty {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: the caller promises the type of the SQL signature, which is what FromDatum reads.
                unsafe { arg.unbox_arg_using_from_datum().expect("required arguments are declared as Option") }
            }

            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                // SAFETY: as above.
                unsafe { arg.unbox_arg_using_from_datum().into() }
            }
        }
    )*};
}

macro_rules! results {
    ($($ty:ty),*) => {$(
        // SAFETY: by way of IntoDatum, whose type_oid the SQL signatures are written to match.
        unsafe impl BoxRet for $ty {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> BorrowedDatum<'fcx> {
                // SAFETY: the datum is by value, or allocated after the connection to SPI has ended: in the memory of who called the
                // function, where results belong.
                unsafe { fcinfo.return_optional_datum(self.into_datum()) }
            }
        }
    )*};
}

arguments!(Timestamp, Day, NumericArg, RawJsonb, JsonbArg, Text<'fcx>);
results!(Timestamp, Day, NumericOut, RawJsonb);

/// Copies the content of a varlena, detoasted.
///
/// # Safety
/// The datum must be a live varlena.
unsafe fn varlena_bytes(datum: Datum) -> Vec<u8> {
    // SAFETY: detoasted, it lies here as a whole: where it was, or in the current memory context. It is copied at once.
    unsafe {
        let packed = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
        pgrx::varlena_to_byte_slice(packed).to_vec()
    }
}

/// How large the content of a varlena is once it is detoasted, read off its header.
///
/// # Safety
/// The datum must be a live varlena.
unsafe fn content_bytes(datum: Datum) -> usize {
    // SAFETY: the first byte of a live varlena tells its kind, and nothing is read behind the header of that. What is elsewhere or
    // compressed is the server's to measure.
    unsafe {
        let value = datum.cast_mut_ptr();
        // Nearly every one lies here as it is.
        if pgrx::varatt_is_4b_u(value) || (pgrx::varatt_is_1b(value) && !pgrx::varatt_is_1b_e(value)) {
            pgrx::varsize_any_exhdr(value)
        } else {
            pg_sys::toast_raw_datum_size(datum).saturating_sub(pg_sys::VARHDRSZ)
        }
    }
}

/// A varlena of these bytes, in the current memory context.
fn varlena(bytes: &[u8]) -> Datum {
    // SAFETY: palloc returns aligned room for header and content, and refuses what has no room in a header's length. Both are written
    // in full before anybody reads them.
    unsafe {
        let size = bytes.len() + pg_sys::VARHDRSZ;
        let out = pg_sys::palloc(size).cast::<pg_sys::varlena>();
        pgrx::set_varsize_4b(out, size as i32);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), pgrx::vardata_any(out).cast_mut().cast::<u8>(), bytes.len());
        Datum::from(out)
    }
}

/// A numeric of `units x 10^-scale`, in the current memory context.
pub(in crate::engine) fn scaled(units: i64, scale: u32) -> Datum {
    let mut out = [0; numeric::MAX_ENCODED];
    let used = numeric::encode(units, scale, &mut out);
    varlena(&out[..used])
}
