//! `app.merchants` and `app.merchant_users`.

use crate::engine::db::Db;
use crate::engine::direct::{Path, Taken};
use crate::engine::param::p;
use crate::engine::record::{column, labelled_texts, record};
use crate::engine::row::Row;
use crate::engine::server;
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::args::{self, Given};
use crate::kernel::months::Open;
use mps_domain::error::{Error, Result, Token};
use mps_domain::merchant::MerchantRole;

labelled_texts! { MerchantRole }

record! {
    #[derive(Debug)]
    pub struct Merchant in static MERCHANTS: c"app", "merchants";
    columns {
        id: i32,
        active: bool,
        created_at: Timestamp,
        code: _,
        name: String,
    }
    besides {
        /// The role of the user that was asked about.
        pub role: Option<MerchantRole> = |_| None,
    }
    read by read;
}

static BY_CODE: Path = Path { table: &MERCHANTS, index: "merchants_code_key", key: &["code"] };

record! {
    struct MerchantUser in static USERS: c"app", "merchant_users";
    columns {
        merchant_id: i32,
        user_id: Uuid,
        created_at: Timestamp,
        role: MerchantRole,
    }
    inserted by values;
}

static USER: Path = Path { table: &USERS, index: "merchant_users_pkey", key: &["merchant_id", "user_id"] };

/// The id of the merchant with a code. Error: `MERCHANT_NOT_FOUND`, with the code.
pub fn id_of<'a>(db: &Db, code: impl Given<'a>, argument: &'static str) -> Result<i32> {
    let code = args::code(code, argument)?;
    let merchant = find(db, code, None);
    merchant.map(|m| m.id).ok_or_else(|| Error::new(Token::MerchantNotFound, format!("there is no merchant {code}")))
}

/// A merchant by code, and then the role that `user` has in it.
pub fn find(db: &Db, code: &str, user: Option<Uuid>) -> Option<Merchant> {
    let merchant = db.find(&BY_CODE, None, &[p(code)], Merchant::read)?;
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
    let new = vec![("created_at", p(at)), ("code", p(code)), ("name", p(name))];
    db.insert_some_or_nothing(&BY_CODE, new, |r| column!(r, MERCHANTS.id))
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
    // A role of the shop's own, where it has widened the CHECK, is none here.
    let read = |r: &Row| MerchantRole::from_label(&column!(r, USERS.role, String));
    db.find(&USER, None, &[p(merchant), p(user)], read).flatten()
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
    let new = MerchantUser { merchant_id: merchant, user_id: user, created_at: at, role };
    db.insert_some(&USER, USERS.all(new.values(db)), Taken::Changed("role"));
}

pub fn remove_user(db: &Db, merchant: i32, user: Uuid) {
    touch(db, merchant);
    db.run_once("DELETE FROM app.merchant_users WHERE merchant_id = $1 AND user_id = $2", &[p(merchant), p(user)]);
}
