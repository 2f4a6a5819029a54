//! `audit.sign_head`: a head for what is sealed, in the trees, and durable.

use crate::engine::param::p;
use crate::engine::types::Timestamp;
use crate::features::receipts::alone;
use crate::features::receipts::heads::{self, Head};
use crate::features::receipts::key::Key;
use crate::features::receipts::texts::{self, Said};
use crate::features::receipts::trees::{self, Kept, MOVEMENTS, Tree};
use crate::kernel::call::{Call, maintain};
use mps_domain::error::{Error, Result, Token};
use mps_domain::money::Money;
use mps_domain::tree::{self, Hash};
use pgrx::prelude::*;
use serde_json::{Value, json};

/// A month's balances that no head has published yet.
struct Month {
    tree: i32,
    said: Value,
}

#[pg_extern(sql = false)]
fn sign_head() -> Option<i64> {
    maintain(|call| {
        alone(call)?;
        let waits: Option<bool> =
            call.db.row("SELECT pg_catalog.current_setting('synchronous_commit') <> 'off'", &[], |r| r.get(1));
        if waits != Some(true) {
            let why = "synchronous_commit is off: a crash could take a head back that somebody has seen";
            return Err(Error::new(Token::StatusConflict, why));
        }
        let Some(tree) = trees::find(call.db, MOVEMENTS) else { return Ok(None) };
        let Some((seal_no, seal_hash)) = seal_of(call, &tree) else { return Ok(None) };
        let before = heads::newest(call.db);
        let restore = restored(call, &tree, before.as_ref());
        if let Some(before) = &before {
            ensure_goes_on(call, &tree, before, seal_no)?;
        }
        let month = unpublished(call);
        if before.as_ref().is_some_and(|h| h.seal_no >= seal_no) && month.is_none() && restore.is_none() {
            return Ok(None);
        }
        sign(call, &tree, before, (seal_no, seal_hash), month, restore).map(Some)
    })
}

/// The last seal whose movements are all in the tree.
fn seal_of(call: &Call, tree: &Tree) -> Option<(i64, Vec<u8>)> {
    call.db.row(
        "SELECT s.seal_no, s.hash FROM audit.seals s WHERE s.last_id <= $1 ORDER BY s.seal_no DESC LIMIT 1",
        &[p(tree.through)],
        |r| (r.get(1), r.get(2)),
    )
}

/// Never signs away what was signed: the log and the movements of the head before are the beginning of those of now.
fn ensure_goes_on(call: &Call, tree: &Tree, before: &Head, seal_no: i64) -> Result<()> {
    let hash = call.db.row(
        "SELECT pg_catalog.encode(s.hash, 'hex') FROM audit.seals s WHERE s.seal_no = $1",
        &[p(before.seal_no)],
        |r| r.get::<String>(1),
    );
    let is_there =
        seal_no >= before.seal_no && hash.is_some() && hash == before.seal_hash() && tree.leaves >= before.leaves;
    let goes_on = is_there && {
        let root =
            tree::root(&mut Kept::<Hash>::of(call.db, MOVEMENTS), before.leaves).unwrap_or_else(Hash::of_nothing);
        before.root() == Some(hex::encode(root.0))
    };
    if goes_on {
        return Ok(());
    }
    let why =
        format!("seals and movements of head {} are not what it signed: audit.verify() and a backup", before.head_no);
    Err(Error::new(Token::StatusConflict, why))
}

/// What this server is: its system identifier and its timeline.
fn server_of(call: &Call) -> Result<(String, i32)> {
    let found = call.db.row(
        "SELECT c.system_identifier::text, \
                ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::integer \
         FROM pg_catalog.pg_control_system() c",
        &[],
        |r| (r.get(1), r.get(2)),
    );
    found.ok_or_else(|| Error::new(Token::StatusConflict, "the server does not say which it is"))
}

/// What a head says of a restore: from which server on which timeline the head before is, and why. `None`: nothing was restored.
fn restored(call: &Call, tree: &Tree, before: Option<&Head>) -> Option<Value> {
    let before = before?;
    let was = before.server()?;
    let is = server_of(call).ok()?;
    let why = match &tree.restore_why {
        Some(why) => why.clone(),
        None if was.0 != is.0 => "another server".to_owned(),
        None if was.1 != is.1 => "another timeline".to_owned(),
        None => return None,
    };
    Some(json!([was.0, was.1, why]))
}

fn unpublished(call: &Call) -> Option<Month> {
    call.db.row(
        "SELECT t.tree, t.leaves, t.total_cents, pg_catalog.encode(t.root, 'hex') FROM audit.trees t \
         WHERE t.tree > 0 AND t.root IS NOT NULL AND t.head_no IS NULL ORDER BY t.tree LIMIT 1",
        &[],
        |r| {
            let tree: i32 = r.get(1);
            let (leaves, cents): (i64, i64) = (r.get(2), r.get(3));
            let name = format!("{:04}-{:02}", tree / 100, tree % 100);
            Month { tree, said: json!([name, leaves, Money::from_cents(cents).to_string(), r.get::<String>(4)]) }
        },
    )
}

fn sign(
    call: &Call,
    tree: &Tree,
    before: Option<Head>,
    (seal_no, seal_hash): (i64, Vec<u8>),
    month: Option<Month>,
    restore: Option<Value>,
) -> Result<i64> {
    let key = Key::read()?;
    let (system, timeline) = server_of(call)?;
    let root = tree::root(&mut Kept::of(call.db, MOVEMENTS), tree.leaves).unwrap_or_else(Hash::of_nothing);
    let head_no = before.as_ref().map_or(1, |h| h.head_no + 1);
    // Later than the head before, also where the clock went back.
    let signed_at = before.as_ref().map_or(call.at, |h| call.at.max(Timestamp(h.signed_at.0 + 1)));
    let said = Said {
        head_no,
        seal_no,
        seal_hash: &seal_hash,
        leaves: tree.leaves as i64,
        root,
        system: &system,
        timeline,
        before: before.as_ref().map(Head::fingerprint),
        signed_at,
        key: &key.name(),
        balances: month.as_ref().map_or(Value::Null, |m| m.said.clone()),
        last_restore: match &restore {
            Some(_) => json!([head_no, texts::micros(signed_at)]),
            None => before.as_ref().map_or(Value::Null, Head::last_restore),
        },
        restore: restore.clone().unwrap_or(Value::Null),
    };
    let text = said.text();
    let (signature, public) = (key.sign(&text), key.public());
    call.db.run_once(
        "INSERT INTO audit.heads (head_no, signed_at, seal_no, leaves, restores, head, signature, public_key) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            p(head_no),
            p(signed_at),
            p(seal_no),
            p(tree.leaves as i64),
            p(restore.is_some()),
            p(&text[..]),
            p(&signature[..]),
            p(&public[..]),
        ],
    );
    if let Some(month) = month {
        call.db.run_once("UPDATE audit.trees SET head_no = $2 WHERE tree = $1", &[p(month.tree), p(head_no)]);
    }
    if restore.is_some() {
        call.db.run_once("UPDATE audit.trees SET restore_why = NULL WHERE tree = $1", &[p(MOVEMENTS)]);
    }
    Ok(head_no)
}
