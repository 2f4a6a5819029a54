//! `app.personal_cards` and `app.enterprise_cards`.

use crate::engine::db::Db;
use crate::engine::direct::{Change, Path, Table};
use crate::engine::labels;
use crate::engine::param::{Param, p};
use crate::engine::record::Column;
use crate::engine::row::{Row, RowVersion};
use crate::engine::types::{Timestamp, Uuid};
use crate::kernel::access::{self, Owned};
use crate::kernel::call::Call;
use crate::kernel::members::{self, CodeState};
use crate::kernel::months::Open;
use mps_domain::card::{CardStatus, CardType};
use mps_domain::error::{Result, Token, ensure};
use mps_domain::member::MemberStatus;
use mps_domain::money::{Discount, Money};
use mps_domain::tier::Level;
use mps_domain::tx_no::TxId;

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
    pub last_tx_id: Option<TxId>,
    pub skip_tx_id: Option<TxId>,
    pub last_posted_at: Option<Timestamp>,
    /// Of a personal card only; of an enterprise card `None`, zero and empty.
    pub member_id: Option<Uuid>,
    pub points: i64,
    pub level: i16,
    pub point_seq: i64,
    pub replaced_by: Option<Uuid>,
    pub code: CodeState,
    /// Whether nobody else changes it until the transaction ends. If not, what writes it must still find its version.
    pub is_locked: bool,
    /// As which it was read, or last written.
    version: RowVersion,
}

impl Owned for Card {
    fn id(&self) -> Uuid {
        self.id
    }

    fn owner(&self) -> Option<Uuid> {
        self.member_id
    }
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
        concat!("SELECT ", personal_columns!(listed), ", c.ctid, c.xmin FROM app.personal_cards c ", $tail)
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
        last_tx_id: Column::read(r, 11),
        skip_tx_id: Column::read(r, 12),
        last_posted_at: r.opt(13),
        code: CodeState { expires_at: r.opt(14), hash: r.opt(18) },
        balance: r.get(15),
        discount: r.get(16),
        card_no: r.get(17),
        is_locked: false,
        version: r.version(),
    }
}

fn enterprise(r: &Row) -> Card {
    Card {
        card_type: CardType::Enterprise,
        id: r.get(1),
        expires_at: r.opt(3),
        status: status(&r.label(4)),
        card_seq: r.get(5),
        last_tx_id: Column::read(r, 6),
        skip_tx_id: Column::read(r, 7),
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
        version: r.version(),
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
pub fn lock(open: Open, card_type: CardType, id: Uuid) -> Option<Card> {
    let card = match card_type {
        CardType::Personal => open.lock(&PERSONAL_BY_ID, None, &[p(id)], personal),
        CardType::Enterprise => open.lock(&ENTERPRISE_BY_ID, None, &[p(id)], enterprise),
    };
    card.map(|card| Card { is_locked: true, ..card })
}

/// A card that the caller may see: its owner, whoever is bound to it, or a backend.
pub fn visible(call: &Call, card_type: CardType, id: Uuid) -> Result<Card> {
    let user = call.caller.client()?;
    let card = find(call.db, card_type, id).ok_or(Token::CardNotFound)?;
    ensure(user.is_none_or(|user| access::may_see(call, &card, user)), Token::CardNotFound)?;
    Ok(card)
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

/// All personal cards that a member has or had.
pub fn all_personal_of(db: &Db, member: Uuid) -> Vec<Card> {
    db.rows(select_personal!("WHERE c.member_id = $1"), &[p(member)], personal)
}

/// A personal card and then its member's status, without a lock: [`save`] succeeds only if nothing about the card has changed
/// since, and nobody is about to change it. Whatever takes the right to pay away (freezing, replacing, suspending the member)
/// changes the card's row.
pub fn peek_payer(db: &Db, id: Uuid) -> Option<(Card, Option<MemberStatus>)> {
    let card = find(db, CardType::Personal, id)?;
    let status = members::status(db, card.member_id.expect("personal cards have a member"));
    Some((card, status))
}

/// Changes nothing but the version of a locked card, whichever that is: a charge that looked at it before looks again, and a
/// caller on an older snapshot fails to serialise. For changes of what belongs to a card but stands in other rows.
pub fn touch(db: &Db, card_type: CardType, id: Uuid) {
    let sql = match card_type {
        CardType::Personal => "UPDATE app.personal_cards SET status = status WHERE id = $1",
        CardType::Enterprise => "UPDATE app.enterprise_cards SET status = status WHERE id = $1",
    };
    db.run_once(sql, &[p(id)]);
}

/// Writes columns of a card that is still the version that was read or last written, so that what was decided about it holds.
/// `false`, and nothing was written: it was read without a lock, and has changed since or is about to. Error, for a locked
/// card: `STATUS_CONFLICT`, a trigger has changed it meanwhile.
fn write(db: &Db, card: &mut Card, changes: Vec<Change>) -> Result<bool> {
    let path = match card.card_type {
        CardType::Personal => &PERSONAL_BY_ID,
        CardType::Enterprise => &ENTERPRISE_BY_ID,
    };
    if card.is_locked {
        db.update_locked(path, None, &[p(card.id)], &mut card.version, changes)?;
    } else {
        let Some(written) = db.update_seen(path.table, card.version, &changes) else { return Ok(false) };
        (card.version, card.is_locked) = (written, true);
    }
    Ok(true)
}

/// As [`write`], of a locked card.
fn write_locked(db: &Db, card: &mut Card, changes: Vec<Change>) -> Result<()> {
    assert!(card.is_locked);
    write(db, card, changes).map(|_| ())
}

/// Sets the pay code of a personal card; `false` (and nothing written) if it was read without a lock and is another by now.
pub fn set_personal_code(db: &Db, card: &mut Card, hash: &[u8], expires_at: Timestamp) -> Result<bool> {
    assert_eq!(card.card_type, CardType::Personal);
    write(db, card, vec![("qr_expires_at", p(expires_at)), ("qr_hash", p(hash))])
}

/// Writes what a movement changed; `false` (and nothing written) if the card was read without a lock and is another by now.
/// `spend_code` forgets the pay code of a personal card.
pub fn save(db: &Db, card: &mut Card, spend_code: bool) -> Result<bool> {
    assert!(!card.balance.is_negative());
    let mut changes = Vec::with_capacity(11);
    changes.extend([
        ("card_seq", p(card.card_seq)),
        ("last_tx_id", card.last_tx_id.param(db)),
        ("skip_tx_id", card.skip_tx_id.param(db)),
        ("last_posted_at", p(card.last_posted_at)),
        ("balance", p(card.balance)),
    ]);
    if card.card_type == CardType::Personal {
        changes.extend([
            ("level", p(card.level)),
            ("points", p(card.points)),
            ("point_seq", p(card.point_seq)),
            ("discount", p(card.discount)),
        ]);
        if spend_code {
            changes.extend(no_code());
        }
    }
    write(db, card, changes)
}

fn no_code() -> [Change; 2] {
    [("qr_expires_at", p(None::<Timestamp>)), ("qr_hash", p(None::<&[u8]>))]
}

fn status_column(db: &Db, status: CardStatus) -> Change {
    ("status", Param::label(labels::oids(db, "app.card_status", status.label())))
}

/// Sets the status of a locked card.
pub fn set_status(db: &Db, card: &mut Card, status: CardStatus) -> Result<()> {
    card.status = status;
    write_locked(db, card, vec![status_column(db, status)])
}

/// Sets when a locked card expires, and its status with that.
pub fn set_expiry(db: &Db, card: &mut Card, expires_at: Option<Timestamp>, status: CardStatus) -> Result<()> {
    (card.expires_at, card.status) = (expires_at, status);
    write_locked(db, card, vec![("expires_at", p(expires_at)), status_column(db, status)])
}

/// Closes a locked personal card in favour of another.
pub fn set_replaced(db: &Db, card: &mut Card, new: Uuid) -> Result<()> {
    (card.replaced_by, card.status) = (Some(new), CardStatus::Closed);
    let mut changes = vec![("replaced_by", p(new)), status_column(db, CardStatus::Closed)];
    changes.extend(no_code());
    write_locked(db, card, changes)
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
    db.run_once(
        "INSERT INTO app.personal_cards (id, member_id, created_at, expires_at, level, discount, card_no) VALUES ($1, $2, \
            $3, $4, $5, $6, $7)",
        &[p(id), p(member), p(at), p(expires_at), p(level.level), p(level.discount), p(card_no.as_str())],
    );
    card_no
}

/// Issues an enterprise card and returns its number.
pub fn create_enterprise(db: &Db, at: Timestamp, id: Uuid, company: &str, discount: Discount) -> String {
    let card_no = CardType::Enterprise.number(serial(db, CardType::Enterprise));
    db.run_once(
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
