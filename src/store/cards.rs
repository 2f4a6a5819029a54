//! `app.personal_cards` and `app.enterprise_cards`.

use super::members::MemberStatus;
use super::spi::{Db, Param, Row, p};
use super::types::{RowVersion, Timestamp, Uuid};
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
    /// Of a card that was read without a lock: the version that [`save`] must still find.
    pub version: Option<RowVersion>,
}

macro_rules! select_personal {
    ($tail:literal) => {
        concat!(
            "SELECT c.id, c.card_no, c.status::text, c.expires_at, c.balance, c.discount, c.card_seq, c.last_tx_id, c.skip_tx_id, \
             c.last_posted_at, c.member_id, c.points, c.level, c.point_seq, c.replaced_by, c.qr_hash, c.qr_expires_at \
             FROM app.personal_cards c ",
            $tail
        )
    };
}

macro_rules! select_enterprise {
    ($tail:literal) => {
        concat!(
            "SELECT c.id, c.card_no, c.status::text, c.expires_at, c.balance, c.fixed_discount, c.card_seq, c.last_tx_id, \
             c.skip_tx_id, c.last_posted_at FROM app.enterprise_cards c ",
            $tail
        )
    };
}

macro_rules! update_personal {
    () => {
        "UPDATE app.personal_cards SET balance = $2, card_seq = $3, last_tx_id = $4, skip_tx_id = $5, last_posted_at = $6, \
                points = $7, level = $8, discount = $9, point_seq = $10, \
                qr_hash = CASE WHEN $11 THEN NULL ELSE qr_hash END, \
                qr_expires_at = CASE WHEN $11 THEN NULL ELSE qr_expires_at END "
    };
}

fn common(card_type: CardType, r: &Row) -> Card {
    Card {
        card_type,
        id: r.get(1),
        card_no: r.get(2),
        status: CardStatus::from_label(&r.text(3)).expect("labels of app.card_status"),
        expires_at: r.opt(4),
        balance: r.get(5),
        discount: r.get(6),
        card_seq: r.get(7),
        last_tx_id: r.opt(8),
        skip_tx_id: r.opt(9),
        last_posted_at: r.opt(10),
        member_id: None,
        points: 0,
        level: 0,
        point_seq: 0,
        replaced_by: None,
        code: CodeState::default(),
        version: None,
    }
}

fn personal(r: &Row) -> Card {
    Card {
        member_id: r.opt(11),
        points: r.get(12),
        level: r.get(13),
        point_seq: r.get(14),
        replaced_by: r.opt(15),
        code: CodeState { hash: r.opt(16), expires_at: r.opt(17) },
        ..common(CardType::Personal, r)
    }
}

fn enterprise(r: &Row) -> Card {
    common(CardType::Enterprise, r)
}

/// A card without locking it.
pub fn find(db: &Db, card_type: CardType, id: Uuid) -> Option<Card> {
    match card_type {
        CardType::Personal => db.row(select_personal!("WHERE c.id = $1"), &[p(id)], personal),
        CardType::Enterprise => db.row(select_enterprise!("WHERE c.id = $1"), &[p(id)], enterprise),
    }
}

/// Locks a card until the transaction ends and reads it as it is then.
pub fn lock(db: &Db, card_type: CardType, id: Uuid) -> Option<Card> {
    match card_type {
        CardType::Personal => db.row(select_personal!("WHERE c.id = $1 FOR NO KEY UPDATE"), &[p(id)], personal),
        CardType::Enterprise => db.row(select_enterprise!("WHERE c.id = $1 FOR NO KEY UPDATE"), &[p(id)], enterprise),
    }
}

pub fn enterprise_by_no(db: &Db, card_no: &str) -> Option<Card> {
    db.row(select_enterprise!("WHERE c.card_no = $1"), &[p(card_no)], enterprise)
}

/// The member's open personal card, or else the last one it had.
pub fn personal_of(db: &Db, member: Uuid) -> Option<Card> {
    db.row(
        select_personal!("WHERE c.member_id = $1 ORDER BY (c.status = 'closed'), c.created_at DESC, c.id DESC LIMIT 1"),
        &[p(member)],
        personal,
    )
}

/// A personal card and its member's status in one look, without a lock: [`save`] succeeds only if nothing about the card
/// has changed since. Whatever takes the right to pay away (freezing, replacing, suspending the member) changes the row.
pub fn peek_payer(db: &Db, id: Uuid) -> Option<(Card, MemberStatus)> {
    db.row(
        "SELECT c.id, c.card_no, c.status::text, c.expires_at, c.balance, c.discount, c.card_seq, c.last_tx_id, c.skip_tx_id, \
                c.last_posted_at, c.member_id, c.points, c.level, c.point_seq, c.replaced_by, c.qr_hash, c.qr_expires_at, \
                c.xmin, m.status \
         FROM app.personal_cards c JOIN app.member_profiles m ON m.id = c.member_id WHERE c.id = $1",
        &[p(id)],
        |r| {
            let card = Card { version: Some(r.get(18)), ..personal(r) };
            (card, MemberStatus::from_label(&r.text(19)).expect("checked by the column"))
        },
    )
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

/// Sets the pay code of a personal card that may pay at this moment, in one statement: its number and its member; `None`
/// (and nothing written) where it may not, or is another member's than `member`. Where it had to wait for the row, the
/// member's status is that of before.
pub fn set_code_of_usable(
    db: &Db,
    id: Uuid,
    member: Option<Uuid>,
    hash: &[u8],
    now: Timestamp,
    expires_at: Timestamp,
) -> Option<(String, Uuid)> {
    db.row(
        "UPDATE app.personal_cards c SET qr_hash = $2, qr_expires_at = $3 FROM app.member_profiles m \
         WHERE c.id = $1 AND m.id = c.member_id AND c.status = 'active'::app.card_status AND m.status = 'active' \
               AND (c.expires_at IS NULL OR c.expires_at > $4) AND ($5 IS NULL OR c.member_id = $5) \
         RETURNING c.card_no, c.member_id",
        &[p(id), p(hash), p(expires_at), p(now), p(member)],
        |r| (r.text(1), r.get(2)),
    )
}

/// Sets the pay code of a personal card; `false` (and nothing written) if the card was read as `version` and has changed
/// since.
#[must_use]
pub fn set_personal_code(db: &Db, id: Uuid, hash: &[u8], expires_at: Timestamp, version: Option<RowVersion>) -> bool {
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
        return db.run(
            "UPDATE app.enterprise_cards SET balance = $2, card_seq = $3, last_tx_id = $4, skip_tx_id = $5, last_posted_at = $6 \
             WHERE id = $1",
            &params,
        ) == 1;
    }
    params.extend([p(card.points), p(card.level), p(card.discount), p(card.point_seq), p(spend_code)]);
    let touched = match card.version {
        None => db.run(concat!(update_personal!(), "WHERE id = $1"), &params),
        Some(version) => {
            params.push(p(version));
            db.run(concat!(update_personal!(), "WHERE id = $1 AND xmin = $12"), &params)
        }
    };
    assert!(touched == 1 || card.version.is_some(), "a locked card is updated");
    touched == 1
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
