//! `app.personal_cards` and `app.enterprise_cards`.

use super::direct::{Path, Table};
use super::members::{self, MemberStatus};
use super::row::{Row, RowVersion};
use super::spi::{Db, Param, p};
use super::types::{Timestamp, Uuid};
use mps_domain::card::{CardStatus, CardType};
use mps_domain::money::{Discount, Money};
use mps_domain::tier::Level;

/// A pay code as stored: its hash and when it ends.
#[derive(Debug, Default)]
pub struct CodeState {
    pub hash: Option<Vec<u8>>,
    pub expires_at: Option<Timestamp>,
}

/// A card of either kind, as read (and, from the `lock` functions, as it stays until the transaction ends).
#[derive(Debug)]
pub struct Card {
    pub card_type: CardType,
    pub id: Uuid,
    pub card_no: String,
    pub status: CardStatus,
    pub expires_at: Option<Timestamp>,
    pub balance: Money,
    /// The card's own discount: as stored with the last change of points, or the fixed one of an enterprise card.
    pub discount: Discount,
    pub card_seq: i64,
    pub last_tx_id: Option<i64>,
    pub skip_tx_id: Option<i64>,
    pub last_posted_at: Option<Timestamp>,
    /// Of a personal card only; of an enterprise card `None`, zero and empty.
    pub member_id: Option<Uuid>,
    pub points: i64,
    pub level: i16,
    pub point_seq: i64,
    pub replaced_by: Option<Uuid>,
    pub code: CodeState,
    /// Whether it stays as it was read until the transaction ends. If not, [`save`] must still find its version.
    pub is_locked: bool,
    pub version: Option<RowVersion>,
}

/// The columns of `app.personal_cards`, in its order, for the macro that is named.
macro_rules! personal_columns {
    ($in:ident) => {
        $in!(
            "id",
            "member_id",
            "replaced_by",
            "created_at",
            "expires_at",
            "status",
            "level",
            "points",
            "point_seq",
            "card_seq",
            "last_tx_id",
            "skip_tx_id",
            "last_posted_at",
            "qr_expires_at",
            "balance",
            "discount",
            "card_no",
            "qr_hash"
        )
    };
}

static PERSONAL: Table = Table {
    schema: c"app",
    name: "personal_cards",
    columns: personal_columns!(array),
    asserted: &["(balance >= (0)::numeric)"],
};

static PERSONAL_BY_ID: Path = Path { table: &PERSONAL, index: "personal_cards_pkey", key: &["id"] };

macro_rules! select_personal {
    ($tail:literal) => {
        concat!("SELECT ", personal_columns!(listed), ", c.xmin FROM app.personal_cards c ", $tail)
    };
}

/// As `personal_columns`, of `app.enterprise_cards`.
macro_rules! enterprise_columns {
    ($in:ident) => {
        $in!(
            "id",
            "created_at",
            "expires_at",
            "status",
            "card_seq",
            "last_tx_id",
            "skip_tx_id",
            "last_posted_at",
            "balance",
            "fixed_discount",
            "card_no",
            "company_name"
        )
    };
}

static ENTERPRISE: Table = Table {
    schema: c"app",
    name: "enterprise_cards",
    columns: enterprise_columns!(array),
    asserted: &[
        "(balance >= (0)::numeric)",
        // Of a column that no movement changes.
        "((fixed_discount > (0)::numeric) AND (fixed_discount <= (1)::numeric))",
    ],
};

static ENTERPRISE_BY_ID: Path = Path { table: &ENTERPRISE, index: "enterprise_cards_pkey", key: &["id"] };
static ENTERPRISE_BY_NO: Path = Path { table: &ENTERPRISE, index: "enterprise_cards_card_no_key", key: &["card_no"] };

macro_rules! update_personal {
    () => {
        "UPDATE app.personal_cards SET balance = $2, card_seq = $3, last_tx_id = $4, skip_tx_id = $5, last_posted_at = $6, \
                points = $7, level = $8, discount = $9, point_seq = $10, \
                qr_hash = CASE WHEN $11 THEN NULL ELSE qr_hash END, \
                qr_expires_at = CASE WHEN $11 THEN NULL ELSE qr_expires_at END "
    };
}

fn status(label: &str) -> CardStatus {
    CardStatus::from_label(label).expect("labels of app.card_status")
}

fn personal(r: &Row) -> Card {
    Card {
        card_type: CardType::Personal,
        id: r.get(1),
        member_id: r.opt(2),
        replaced_by: r.opt(3),
        expires_at: r.opt(5),
        status: status(&r.label(6)),
        level: r.get(7),
        points: r.get(8),
        point_seq: r.get(9),
        card_seq: r.get(10),
        last_tx_id: r.opt(11),
        skip_tx_id: r.opt(12),
        last_posted_at: r.opt(13),
        code: CodeState { expires_at: r.opt(14), hash: r.opt(18) },
        balance: r.get(15),
        discount: r.get(16),
        card_no: r.get(17),
        is_locked: false,
        version: Some(r.version()),
    }
}

fn enterprise(r: &Row) -> Card {
    Card {
        card_type: CardType::Enterprise,
        id: r.get(1),
        expires_at: r.opt(3),
        status: status(&r.label(4)),
        card_seq: r.get(5),
        last_tx_id: r.opt(6),
        skip_tx_id: r.opt(7),
        last_posted_at: r.opt(8),
        balance: r.get(9),
        discount: r.get(10),
        card_no: r.get(11),
        member_id: None,
        points: 0,
        level: 0,
        point_seq: 0,
        replaced_by: None,
        code: CodeState::default(),
        is_locked: false,
        version: Some(r.version()),
    }
}

/// A card without locking it.
pub fn find(db: &Db, card_type: CardType, id: Uuid) -> Option<Card> {
    match card_type {
        CardType::Personal => db.find(&PERSONAL_BY_ID, None, &[p(id)], personal),
        CardType::Enterprise => db.find(&ENTERPRISE_BY_ID, None, &[p(id)], enterprise),
    }
}

/// Locks a card until the transaction ends and reads it as it is then.
pub fn lock(db: &Db, card_type: CardType, id: Uuid) -> Option<Card> {
    let card = match card_type {
        CardType::Personal => db.lock(&PERSONAL_BY_ID, None, &[p(id)], personal),
        CardType::Enterprise => db.lock(&ENTERPRISE_BY_ID, None, &[p(id)], enterprise),
    };
    card.map(|card| Card { is_locked: true, ..card })
}

pub fn enterprise_by_no(db: &Db, card_no: &str) -> Option<Card> {
    db.find(&ENTERPRISE_BY_NO, None, &[p(card_no)], enterprise)
}

/// The member's open personal card, or else the last one it had.
pub fn personal_of(db: &Db, member: Uuid) -> Option<Card> {
    db.row(
        select_personal!("WHERE c.member_id = $1 ORDER BY (c.status = 'closed'), c.created_at DESC, c.id DESC LIMIT 1"),
        &[p(member)],
        personal,
    )
}

/// A personal card and then its member's status, without a lock: [`save`] succeeds only if nothing about the card has changed
/// since. Whatever takes the right to pay away (freezing, replacing, suspending the member) changes the card's row.
pub fn peek_payer(db: &Db, id: Uuid) -> Option<(Card, Option<MemberStatus>)> {
    let card = find(db, CardType::Personal, id)?;
    let status = members::status(db, card.member_id.expect("personal cards have a member"));
    Some((card, status))
}

/// Changes nothing but the version of a locked card: a charge that looked at it before looks again, and a caller on an older
/// snapshot fails to serialise. For changes of what belongs to a card but stands in other rows.
pub fn touch(db: &Db, card_type: CardType, id: Uuid) {
    let sql = match card_type {
        CardType::Personal => "UPDATE app.personal_cards SET status = status WHERE id = $1",
        CardType::Enterprise => "UPDATE app.enterprise_cards SET status = status WHERE id = $1",
    };
    db.run(sql, &[p(id)]);
}

/// Sets the pay code of a personal card; `false` (and nothing written) if the card was read as `version` and has changed
/// since.
#[must_use]
pub fn set_personal_code(db: &Db, id: Uuid, hash: &[u8], expires_at: Timestamp, version: Option<RowVersion>) -> bool {
    let changes = || [("qr_expires_at", p(expires_at)), ("qr_hash", p(hash))];
    if let Some(version) = version
        && let Some(written) = db.update(&PERSONAL, None, version, &changes())
    {
        return written;
    }
    let touched = match version {
        None => db.run(
            "UPDATE app.personal_cards SET qr_hash = $2, qr_expires_at = $3 WHERE id = $1",
            &[p(id), p(hash), p(expires_at)],
        ),
        Some(version) => db.run(
            "UPDATE app.personal_cards SET qr_hash = $2, qr_expires_at = $3 WHERE id = $1 AND xmin = $4",
            &[p(id), p(hash), p(expires_at), p(version)],
        ),
    };
    touched == 1
}

/// Writes what a movement changed; `false` (and nothing written) if the card was read without a lock and has changed
/// since. `spend_code` forgets the pay code of a personal card.
#[must_use]
pub fn save(db: &Db, card: &Card, spend_code: bool) -> bool {
    assert!(!card.balance.is_negative());
    if let Some(version) = card.version
        && let Some(saved) = save_version(db, card, version, spend_code)
        // A locked card changes only by this transaction's own hand.
        && (saved || !card.is_locked)
    {
        return saved;
    }
    let mut params: Vec<Param> = Vec::with_capacity(12);
    params.extend([
        p(card.id),
        p(card.balance),
        p(card.card_seq),
        p(card.last_tx_id),
        p(card.skip_tx_id),
        p(card.last_posted_at),
    ]);
    if card.card_type == CardType::Enterprise {
        assert!(card.is_locked);
        return db.run(
            "UPDATE app.enterprise_cards SET balance = $2, card_seq = $3, last_tx_id = $4, skip_tx_id = $5, last_posted_at = $6 \
             WHERE id = $1",
            &params,
        ) == 1;
    }
    params.extend([p(card.points), p(card.level), p(card.discount), p(card.point_seq), p(spend_code)]);
    let touched = if card.is_locked {
        db.run(concat!(update_personal!(), "WHERE id = $1"), &params)
    } else {
        params.push(p(card.version));
        db.run(concat!(update_personal!(), "WHERE id = $1 AND xmin = $12"), &params)
    };
    assert!(touched == 1 || !card.is_locked, "a locked card is updated");
    touched == 1
}

/// As [`save`], without a statement, where the card still is the version that was read; `None` where only a statement does it
/// right.
fn save_version(db: &Db, card: &Card, version: RowVersion, spend_code: bool) -> Option<bool> {
    let mut changes = Vec::with_capacity(11);
    changes.extend([
        ("card_seq", p(card.card_seq)),
        ("last_tx_id", p(card.last_tx_id)),
        ("skip_tx_id", p(card.skip_tx_id)),
        ("last_posted_at", p(card.last_posted_at)),
        ("balance", p(card.balance)),
    ]);
    if card.card_type == CardType::Enterprise {
        return db.update(&ENTERPRISE, None, version, &changes);
    }
    changes.extend([
        ("level", p(card.level)),
        ("points", p(card.points)),
        ("point_seq", p(card.point_seq)),
        ("discount", p(card.discount)),
    ]);
    if spend_code {
        changes.extend([("qr_expires_at", p(None::<Timestamp>)), ("qr_hash", p(None::<&[u8]>))]);
    }
    db.update(&PERSONAL, None, version, &changes)
}

pub fn set_status(db: &Db, card_type: CardType, id: Uuid, status: CardStatus) {
    let sql = match card_type {
        CardType::Personal => "UPDATE app.personal_cards SET status = $2::text::app.card_status WHERE id = $1",
        CardType::Enterprise => "UPDATE app.enterprise_cards SET status = $2::text::app.card_status WHERE id = $1",
    };
    db.run(sql, &[p(id), p(status.label())]);
}

pub fn set_expiry(db: &Db, card_type: CardType, id: Uuid, expires_at: Option<Timestamp>) {
    let sql = match card_type {
        CardType::Personal => "UPDATE app.personal_cards SET expires_at = $2 WHERE id = $1",
        CardType::Enterprise => "UPDATE app.enterprise_cards SET expires_at = $2 WHERE id = $1",
    };
    db.run(sql, &[p(id), p(expires_at)]);
}

/// Closes a personal card in favour of another.
pub fn set_replaced(db: &Db, old: Uuid, new: Uuid) {
    db.run(
        "UPDATE app.personal_cards SET status = 'closed', replaced_by = $2, qr_hash = NULL, qr_expires_at = NULL WHERE id = $1",
        &[p(old), p(new)],
    );
}

/// Issues a personal card and returns its number.
pub fn create_personal(
    db: &Db,
    at: Timestamp,
    id: Uuid,
    member: Uuid,
    expires_at: Option<Timestamp>,
    level: Level,
) -> String {
    let serial: i64 = serial(db, CardType::Personal);
    let card_no = CardType::Personal.number(serial);
    db.run(
        "INSERT INTO app.personal_cards (id, member_id, created_at, expires_at, level, discount, card_no) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[p(id), p(member), p(at), p(expires_at), p(level.level), p(level.discount), p(card_no.as_str())],
    );
    card_no
}

/// Issues an enterprise card and returns its number.
pub fn create_enterprise(db: &Db, at: Timestamp, id: Uuid, company: &str, discount: Discount) -> String {
    let card_no = CardType::Enterprise.number(serial(db, CardType::Enterprise));
    db.run(
        "INSERT INTO app.enterprise_cards (id, created_at, fixed_discount, card_no, company_name) VALUES ($1, $2, $3, $4, $5)",
        &[p(id), p(at), p(discount), p(card_no.as_str()), p(company)],
    );
    card_no
}

fn serial(db: &Db, card_type: CardType) -> i64 {
    let sql = match card_type {
        CardType::Personal => "SELECT pg_catalog.nextval('app.personal_card_no_seq')",
        CardType::Enterprise => "SELECT pg_catalog.nextval('app.enterprise_card_no_seq')",
    };
    db.row(sql, &[], |r| r.get(1)).expect("one row")
}
