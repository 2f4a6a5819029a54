//! The oids of enumerations and their labels. They do not change while their type exists, and the type exists as long as the
//! tables that use it; all the same they are forgotten with everything else that a backend remembers.

use super::cache;
use super::spi::{Db, p};
use pgrx::pg_sys::Oid;

/// Type and label.
pub type Oids = (Oid, Oid);

pub fn oids(db: &Db, of: &'static str, label: &'static str) -> Oids {
    if let Some(known) = cache::label(of, label) {
        return known;
    }
    let read_at = cache::generation();
    let found = db
        .row(
            "SELECT e.enumtypid, e.oid FROM pg_catalog.pg_enum e \
             WHERE e.enumtypid = $1::text::pg_catalog.regtype AND e.enumlabel = $2::text",
            &[p(of), p(label)],
            |r| (r.get(1), r.get(2)),
        )
        .expect("the enumerations have our labels");
    cache::remember_label(of, label, found, read_at);
    found
}
