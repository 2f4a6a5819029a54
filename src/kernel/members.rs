//! `app.member_profiles` and `app.enterprise_card_bindings`.

use crate::engine::db::Db;
use crate::engine::direct::{Path, Taken};
use crate::engine::param::p;
use crate::engine::record::{Value, changes, column, enumerations, labelled_texts, record};
use crate::engine::row::{Row, RowVersion};
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::months::Open;
use mps_domain::error::Result;
use mps_domain::member::{BindRole, MemberStatus};

enumerations! { BindRole: "app.bind_role" }

labelled_texts! { MemberStatus }

/// A pay code as stored: its hash and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct CodeState<'a> {
    pub hash: Option<&'a [u8]>,
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug)]
pub struct NewMember<'a> {
    pub id: Uuid,
    pub name: &'a str,
    pub phone: Option<&'a str>,
    pub email: Option<&'a str>,
}

record! {
    /// A member that is locked.
    #[derive(Debug)]
    pub struct Member in static TABLE: c"app", "member_profiles";
    columns {
        id: Uuid,
        created_at: _,
        member_no: String,
        status: MemberStatus,
        name: _,
        phone: _,
        email: _,
    }
    besides {
        version: RowVersion = Row::version,
    }
    read by read;
}

static BY_ID: Path = Path { table: &TABLE, index: "member_profiles_pkey", key: &["id"] };

/// Locks a member against every other change of it or of which cards it has. `None`: no such member.
pub fn lock(open: Open, id: Uuid) -> Option<Member> {
    open.lock(&BY_ID, None, &[p(id)], Member::read)
}

/// As [`lock`], so that whoever goes by an older snapshot fails to serialise: what is decided under it is decided for all cards.
pub fn hold(open: Open, id: Uuid) {
    open.run("UPDATE app.member_profiles SET status = status WHERE id = $1", &[p(id)]);
}

/// When a member was registered.
pub fn since(db: &Db, id: Uuid) -> Option<Timestamp> {
    db.row("SELECT m.created_at FROM app.member_profiles m WHERE m.id = $1", &[p(id)], |r| r.get(1))
}

pub fn status(db: &Db, id: Uuid) -> Option<MemberStatus> {
    db.find(&BY_ID, None, &[p(id)], |r| column!(r, TABLE.status))
}

/// The number inside a member's member_no. `None`: no such member.
pub fn serial(db: &Db, id: Uuid) -> Option<i64> {
    let number = db.find(&BY_ID, None, &[p(id)], |r| column!(r, TABLE.member_no, String))?;
    Some(number.strip_prefix('M').and_then(|digits| digits.parse().ok()).expect("member numbers are ours"))
}

/// Inserts a member and returns its number; `None` if it is registered already. Then no number is drawn; only who registers in
/// the same instant as an equal request, and has to wait for that, has drawn one for nothing.
pub fn create(db: &Db, at: Timestamp, m: &NewMember) -> Option<String> {
    if status(db, m.id).is_some() {
        return None;
    }
    let serial: i64 = db.row("SELECT pg_catalog.nextval('app.member_no_seq')", &[], |r| r.get(1)).expect("one row");
    let new = vec![
        ("id", p(m.id)),
        ("created_at", p(at)),
        ("member_no", p(format!("M{serial:08}"))),
        ("name", p(m.name)),
        ("phone", p(m.phone)),
        ("email", p(m.email)),
    ];
    db.insert_some_or_nothing(&BY_ID, new, |r| column!(r, TABLE.member_no))
}

/// Sets the status of a locked member. Error: `STATUS_CONFLICT`, a trigger has changed it meanwhile.
pub fn set_status(db: &Db, member: &mut Member, status: MemberStatus) -> Result<()> {
    member.status = status;
    let changes = changes!(db, member: status);
    db.update_locked(&BY_ID, None, &[p(member.id)], &mut member.version, changes.into())
}

record! {
    /// A member's binding to an enterprise card.
    #[derive(Debug)]
    pub struct Binding in static BINDINGS: c"app", "enterprise_card_bindings";
    columns {
        enterprise_card_id: Uuid,
        member_id: Uuid,
        created_at: _,
        qr_expires_at: Option<Timestamp>,
        role: BindRole,
        qr_hash: Option<Vec<u8>>,
    }
    besides {
        version: RowVersion = Row::version,
    }
    read by read;
}

static BINDING: Path =
    Path { table: &BINDINGS, index: "enterprise_card_bindings_pkey", key: &["enterprise_card_id", "member_id"] };

impl Binding {
    pub fn is_admin(&self) -> bool {
        self.role == BindRole::Admin
    }

    pub fn code(&self) -> CodeState<'_> {
        CodeState { hash: self.qr_hash.as_deref(), expires_at: self.qr_expires_at }
    }
}

/// The binding; `None` if the member is not bound.
pub fn binding(db: &Db, card: Uuid, member: Uuid) -> Option<Binding> {
    db.find(&BINDING, None, &[p(card), p(member)], Binding::read)
}

/// As [`binding`], locked. Bindings change only under their card's lock, so this never waits for another binding's change;
/// the row lock makes callers on an older snapshot fail where it has changed since.
pub fn lock_binding(open: Open, card: Uuid, member: Uuid) -> Option<Binding> {
    open.lock(&BINDING, None, &[p(card), p(member)], Binding::read)
}

pub fn bind(db: &Db, at: Timestamp, card: Uuid, member: Uuid, role: BindRole) {
    let new = vec![
        ("enterprise_card_id", p(card)),
        ("member_id", p(member)),
        ("created_at", p(at)),
        ("role", role.param(db)),
    ];
    db.insert_some(&BINDING, new, Taken::Changed("role"));
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
    (binding.qr_hash, binding.qr_expires_at) = code.map(|(hash, expires_at)| (hash.to_vec(), expires_at)).unzip();
    let (key, changes) =
        ([p(binding.enterprise_card_id), p(binding.member_id)], changes!(db, binding: qr_expires_at, qr_hash));
    db.update_locked(&BINDING, None, &key, &mut binding.version, changes.into())
}
