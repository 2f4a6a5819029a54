//! The cut: "nothing older than this can still appear", by real transactions that are open meanwhile.

use mps_tests::{Db, Session, Waiting, until};
use std::time::Duration;

fn cut(session: &Session) -> String {
    session.value("select sec.cut('not first')")
}

fn has_passed(session: &Session, cut: &str) -> bool {
    session.value(&format!("select sec.cut_has_passed('{cut}')")) == "t"
}

/// Transactions of all databases of the server count, those of other tests as well.
fn passes(session: &Session, cut: &str) {
    until("the cut passes", Duration::from_secs(60), || has_passed(session, cut));
}

#[test]
fn a_cut_passes_when_all_who_could_have_looked_before_it_have_ended() {
    let db = Db::new();
    let watch = db.superuser();
    let (before, reader, beside) = (db.superuser(), db.superuser(), db.superuser());
    // Its id is below the cut, and it has not ended; who only reads holds up nobody.
    before.run("begin");
    before.run("select pg_current_xact_id()");
    reader.run("begin isolation level repeatable read");
    reader.run("select count(*) from app.settings");
    let taken = cut(&watch);
    assert!(!has_passed(&watch, &taken));
    // Who comes later is none of it.
    beside.run("begin");
    beside.run("select pg_current_xact_id()");
    before.run("commit");
    passes(&watch, &taken);
    // By an older view it has not: what that shows may lack something.
    assert!(!has_passed(&reader, &taken));
    reader.run("commit");
    passes(&reader, &taken);
    beside.run("rollback");
}

#[test]
fn who_rolled_back_a_part_has_an_id_still() {
    let db = Db::new();
    let (watch, writer) = (db.superuser(), db.superuser());
    writer.run("begin");
    writer.run("savepoint inside");
    writer.run("select pg_current_xact_id()");
    writer.run("rollback to inside");
    let taken = cut(&watch);
    assert!(!has_passed(&watch, &taken), "the whole has not ended");
    writer.run("rollback");
    passes(&watch, &taken);
}

#[test]
fn a_cut_comes_first_in_its_transaction() {
    let db = Db::new();
    let session = db.superuser();
    session.run("begin");
    session.run("select pg_current_xact_id()");
    let error = session.try_rows("select sec.cut('not first')").expect_err("it has an id already");
    error.must_be("STATUS_CONFLICT", "not first");
    assert_eq!(error.detail, "not first");
    session.run("rollback");
}

#[test]
fn a_cut_of_another_cluster_is_known_as_such() {
    let db = Db::new();
    let session = db.superuser();
    let taken = cut(&session);
    let of_here = |cut: &str| session.value(&format!("select sec.cut_is_of_here({cut})"));
    assert_eq!(of_here(&format!("'{taken}'")), "t");
    assert_eq!(of_here("'9000000000000000'"), "f");
    assert_eq!(of_here("NULL"), mps_tests::NULL);
}

/// A note that came while a cut was being taken is not marked by it: who looked before the note may have an id above the cut.
#[test]
fn a_cut_marks_no_note_that_came_after_it() {
    let db = Db::new();
    let watch = db.superuser();
    watch.run("select app.close_months_note_batch()");
    let (other, writer) = (db.superuser(), db.superuser());
    other.run("begin");
    other.run("lock table app.closed_months in share row exclusive mode");
    let mark = Waiting::start(db.superuser(), &watch, "select app.close_months_mark_batch()".into());
    writer.run("begin");
    writer.run("select pg_current_xact_id()");
    other.run("update app.closed_months set noted_through = noted_through + interval '1 month', xid = null");
    other.run("commit");
    mark.end().expect("marks");
    assert_eq!(watch.value("select xid is not null from app.closed_months"), "t");
    assert_eq!(watch.value("select sec.closing_is_ready()"), "f", "the writer is open");
    writer.run("commit");
    let ready = || watch.value("select sec.closing_is_ready()") == "t";
    until("closing is ready", Duration::from_secs(60), ready);
}
