//! Arrays, as statements show and take them: as a text with commas.

use crate::engine::row::Row;
use std::fmt::Display;
use std::str::FromStr;

/// An array of numbers that the statement shows as a text.
pub fn listed<T: FromStr>(r: &Row, n: i32) -> Option<Vec<T>> {
    let text = r.opt::<String>(n)?;
    Some(text.split(',').map(|item| item.parse().ok().expect("numbers of an array")).collect())
}

pub fn joined<T: Display>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}
