//! `app.member_profiles` and `app.enterprise_card_bindings`.

use crate::engine::db::Db;
use crate::engine::direct::{Path, Table};
use crate::engine::param::p;
use crate::engine::row::{Row, RowVersion};
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::months::Open;
use mps_domain::error::Result;
use mps_domain::member::MemberStatus;

/// A pay code as stored: its hash and when it ends.
#[derive(Debug, Default)]
pub struct CodeState {
    pub hash: Option<Vec<u8>>,
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug)]
pub struct NewMember<'a> {
    pub id: Uuid,
    pub name: &'a str,
    pub phone: Option<&'a str>,
    pub email: Option<&'a str>,
}

static TABLE: Table = Table {
    schema: c"app",
    name: "member_profiles",
    columns: &["id", "created_at", "member_no", "status", "name", "phone", "email"],
    asserted: &[],
};

static BY_ID: Path = Path { table: &TABLE, index: "member_profiles_pkey", key: &["id"] };

/// A member that is locked.
#[derive(Debug)]
pub struct Member {
    id: Uuid,
    pub member_no: String,
    pub status: MemberStatus,
    version: RowVersion,
}

/// Locks a member against every other change of it or of which cards it has. `None`: no such member.
pub fn lock(open: Open, id: Uuid) -> Option<Member> {
    open.lock(&BY_ID, None, &[p(id)], |r| Member {
        id: r.get(1),
        member_no: r.get(3),
        status: status_of(r),
        version: r.version(),
    })
}

fn status_of(r: &Row) -> MemberStatus {
    MemberStatus::from_label(&r.text(4)).expect("checked by the column")
}

pub fn status(db: &Db, id: Uuid) -> Option<MemberStatus> {
    db.find(&BY_ID, None, &[p(id)], status_of)
}

/// Inserts a member and returns its number; `None` if it is registered already. Then no number is drawn; only who registers in
/// the same instant as an equal request, and has to wait for that, has drawn one for nothing.
pub fn create(db: &Db, at: Timestamp, m: &NewMember) -> Option<String> {
    if status(db, m.id).is_some() {
        return None;
    }
    let serial: i64 = db.row("SELECT pg_catalog.nextval('app.member_no_seq')", &[], |r| r.get(1)).expect("one row");
    db.row(
        "INSERT INTO app.member_profiles (id, created_at, member_no, name, phone, email) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING RETURNING member_no",
        &[p(m.id), p(at), p(format!("M{serial:08}")), p(m.name), p(m.phone), p(m.email)],
        |r| r.get(1),
    )
}

/// Sets the status of a locked member. Error: `STATUS_CONFLICT`, a trigger has changed it meanwhile.
pub fn set_status(db: &Db, member: &mut Member, status: MemberStatus) -> Result<()> {
    member.status = status;
    db.update_locked(&BY_ID, None, &[p(member.id)], &mut member.version, vec![("status", p(status.label()))])
}

/// A member's binding to an enterprise card.
#[derive(Debug)]
pub struct Binding {
    card: Uuid,
    member: Uuid,
    pub is_admin: bool,
    pub code: CodeState,
    version: RowVersion,
}

static BINDINGS: Table = Table {
    schema: c"app",
    name: "enterprise_card_bindings",
    columns: &["enterprise_card_id", "member_id", "created_at", "qr_expires_at", "role", "qr_hash"],
    asserted: &[],
};

static BINDING: Path =
    Path { table: &BINDINGS, index: "enterprise_card_bindings_pkey", key: &["enterprise_card_id", "member_id"] };

fn read_binding(r: &Row) -> Binding {
    Binding {
        card: r.get(1),
        member: r.get(2),
        is_admin: r.label(5) == "admin",
        code: CodeState { expires_at: r.opt(4), hash: r.opt(6) },
        version: r.version(),
    }
}

/// The binding; `None` if the member is not bound.
pub fn binding(db: &Db, card: Uuid, member: Uuid) -> Option<Binding> {
    db.find(&BINDING, None, &[p(card), p(member)], read_binding)
}

/// As [`binding`], locked. Bindings change only under their card's lock, so this never waits for another binding's change;
/// the row lock makes callers on an older snapshot fail where it has changed since.
pub fn lock_binding(open: Open, card: Uuid, member: Uuid) -> Option<Binding> {
    open.lock(&BINDING, None, &[p(card), p(member)], read_binding)
}

pub fn bind(db: &Db, at: Timestamp, card: Uuid, member: Uuid, admin: bool) {
    db.run_once(
        "INSERT INTO app.enterprise_card_bindings AS b (enterprise_card_id, member_id, created_at, role) \
         VALUES ($1, $2, $3, CASE WHEN $4 THEN 'admin' ELSE 'member' END::app.bind_role) \
         ON CONFLICT (enterprise_card_id, member_id) DO UPDATE SET role = excluded.role",
        &[p(card), p(member), p(at), p(admin)],
    );
}

pub fn unbind(db: &Db, card: Uuid, member: Uuid) {
    db.run_once(
        "DELETE FROM app.enterprise_card_bindings WHERE enterprise_card_id = $1 AND member_id = $2",
        &[p(card), p(member)],
    );
}

pub fn admin_count(db: &Db, card: Uuid) -> i64 {
    db.row(
        "SELECT pg_catalog.count(*) FROM app.enterprise_card_bindings b \
         WHERE b.enterprise_card_id = $1 AND b.role = 'admin'::app.bind_role",
        &[p(card)],
        |r| r.get(1),
    )
    .unwrap_or(0)
}

/// The enterprise cards that a member is bound to, by id.
pub fn bound_cards(db: &Db, member: Uuid) -> Vec<Uuid> {
    db.rows(
        "SELECT b.enterprise_card_id FROM app.enterprise_card_bindings b WHERE b.member_id = $1 ORDER BY b.enterprise_card_id",
        &[p(member)],
        |r| r.get(1),
    )
}

/// Sets or clears a member's pay code for an enterprise card, whose binding is locked. Error: `STATUS_CONFLICT`, a trigger has
/// changed it meanwhile.
pub fn set_code(db: &Db, binding: &mut Binding, code: Option<(&[u8], Timestamp)>) -> Result<()> {
    let changes = vec![("qr_expires_at", p(code.map(|c| c.1))), ("qr_hash", p(code.map(|c| c.0)))];
    db.update_locked(&BINDING, None, &[p(binding.card), p(binding.member)], &mut binding.version, changes)
}
