//! The oids of enumerations and their labels. They do not change while their type exists, and the type exists as long as the
//! tables that use it; all the same they are forgotten with everything else that a backend remembers.

use crate::engine::cache::{self, Kept};
use crate::engine::db::Db;
use crate::engine::param::{Oids, p};
use std::rc::Rc;

/// An enumeration, one of its labels, and both their oids.
type Known = (&'static str, &'static str, Oids);

thread_local! {
    static KNOWN: Kept<Rc<Vec<Known>>> = const { Kept::new() };
}

pub fn oids(db: &Db, of: &'static str, label: &'static str) -> Oids {
    let read_at = cache::relations();
    let mut known = KNOWN.with(|known| known.get(read_at)).unwrap_or_default();
    if let Some((.., oids)) = known.iter().find(|(t, l, _)| (*t, *l) == (of, label)) {
        return *oids;
    }
    let found = db
        .row(
            "SELECT e.enumtypid, e.oid FROM pg_catalog.pg_enum e \
             WHERE e.enumtypid = $1::text::pg_catalog.regtype AND e.enumlabel = $2::text",
            &[p(of), p(label)],
            |r| Oids { of: r.get(1), label: r.get(2) },
        )
        .expect("the enumerations have our labels");
    Rc::make_mut(&mut known).push((of, label, found));
    KNOWN.with(|kept| kept.keep(read_at, known));
    found
}
