//! `app.merchants` and `app.merchant_users`.

use crate::engine::db::Db;
use crate::engine::direct::{Path, Table};
use crate::engine::param::p;
use crate::engine::server;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::months::Open;
use mps_domain::merchant::MerchantRole;

#[derive(Debug)]
pub struct Merchant {
    pub id: i32,
    pub active: bool,
    pub created_at: Timestamp,
    pub name: String,
    /// The role of the user that was asked about.
    pub role: Option<MerchantRole>,
}

static MERCHANTS: Table = Table {
    schema: c"app",
    name: "merchants",
    columns: &["id", "active", "created_at", "code", "name"],
    asserted: &[],
};

static BY_CODE: Path = Path { table: &MERCHANTS, index: "merchants_code_key", key: &["code"] };

static USERS: Table = Table {
    schema: c"app",
    name: "merchant_users",
    columns: &["merchant_id", "user_id", "created_at", "role"],
    asserted: &[],
};

static USER: Path = Path { table: &USERS, index: "merchant_users_pkey", key: &["merchant_id", "user_id"] };

/// A merchant by code, and then the role that `user` has in it.
pub fn find(db: &Db, code: &str, user: Option<Uuid>) -> Option<Merchant> {
    let merchant = db.find(&BY_CODE, None, &[p(code)], |r| Merchant {
        id: r.get(1),
        active: r.get(2),
        created_at: r.get(3),
        name: r.get(5),
        role: None,
    })?;
    let role = user.and_then(|user| role_of(db, merchant.id, user));
    Some(Merchant { role, ..merchant })
}

/// Locks a merchant against other changes of it or its operators.
pub fn lock(open: Open, id: i32) {
    open.run("SELECT FROM app.merchants m WHERE m.id = $1 FOR NO KEY UPDATE", &[p(id)]);
}

pub fn code_of(db: &Db, id: i32) -> Option<String> {
    db.row("SELECT m.code FROM app.merchants m WHERE m.id = $1", &[p(id)], |r| r.get(1))
}

/// Creates a merchant; `None` if the code is taken.
pub fn create(db: &Db, at: Timestamp, code: &str, name: &str) -> Option<i32> {
    db.row(
        "INSERT INTO app.merchants (created_at, code, name) VALUES ($1, $2, $3) ON CONFLICT (code) DO NOTHING RETURNING id",
        &[p(at), p(code), p(name)],
        |r| r.get(1),
    )
}

/// Sets whether a locked merchant may take money; returns whether that is a change.
pub fn set_active(db: &Db, id: i32, active: bool) -> bool {
    let was: Option<bool> = db.row("SELECT m.active FROM app.merchants m WHERE m.id = $1", &[p(id)], |r| r.get(1));
    let changes = was != Some(active);
    if changes {
        db.run_once("UPDATE app.merchants SET active = $2 WHERE id = $1", &[p(id), p(active)]);
    }
    changes
}

pub fn role_of(db: &Db, merchant: i32, user: Uuid) -> Option<MerchantRole> {
    db.find(&USER, None, &[p(merchant), p(user)], |r| MerchantRole::from_label(&r.text(4))).flatten()
}

/// Changes nothing but the version of a merchant that is locked: who goes by an older snapshot must not go by who was an operator
/// then, and fails to serialise in [`pin`] or [`lock`].
fn touch(db: &Db, id: i32) {
    db.run_once("UPDATE app.merchants SET active = active WHERE id = $1", &[p(id)]);
}

/// Under a stricter isolation level: fails to serialise if the merchant or its operators have changed since the snapshot.
pub fn pin(db: &Db, id: i32) {
    if !server::statements_see_commits() {
        db.run("SELECT FROM app.merchants m WHERE m.id = $1 FOR SHARE", &[p(id)]);
    }
}

pub fn set_role(db: &Db, at: Timestamp, merchant: i32, user: Uuid, role: MerchantRole) {
    touch(db, merchant);
    db.run_once(
        "INSERT INTO app.merchant_users AS u (merchant_id, user_id, created_at, role) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (merchant_id, user_id) DO UPDATE SET role = excluded.role",
        &[p(merchant), p(user), p(at), p(role.label())],
    );
}

pub fn remove_user(db: &Db, merchant: i32, user: Uuid) {
    touch(db, merchant);
    db.run_once("DELETE FROM app.merchant_users WHERE merchant_id = $1 AND user_id = $2", &[p(merchant), p(user)]);
}
