//! `app.personal_cards` and `app.enterprise_cards`.

use crate::engine::db::Db;
use crate::engine::direct::{Change, Path, Taken};
use crate::engine::param::p;
use crate::engine::record::{changes, record};
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
use mps_domain::tier::{Level, noted};
use mps_domain::tx_no::TxId;

record! {
    /// A card of either kind, as read (and, from the `lock` functions, as it stays until the transaction ends).
    #[derive(Debug)]
    pub struct Card in static PERSONAL: c"app", "personal_cards";
    asserted { "(balance >= (0)::numeric)" }
    columns {
        id: Uuid,
        /// This and what else only a personal card has: of an enterprise card `None`, or zero.
        member_id: Option<Uuid>,
        replaced_by: Option<Uuid>,
        created_at: _,
        expires_at: Option<Timestamp>,
        status: CardStatus,
        level: i16,
        points: i64,
        point_seq: i64,
        card_seq: i64,
        last_tx_id: Option<TxId>,
        skip_tx_id: Option<TxId>,
        last_posted_at: Option<Timestamp>,
        qr_expires_at: Option<Timestamp>,
        balance: Money,
        /// The card's own: as stored with the last change of points, or the fixed one of an enterprise card.
        discount: Discount,
        card_no: String,
        qr_hash: Option<Vec<u8>>,
    }
    besides {
        pub card_type: CardType = |_| CardType::Personal,
        /// Whether nobody else changes it until the transaction ends. If not, what writes it must still find its version.
        pub is_locked: bool = |_| false,
        /// As which it was read, or last written.
        version: RowVersion = Row::version,
    }
    read by personal;
    listed by personal_columns;
}

record! {
    impl Card in static ENTERPRISE: c"app", "enterprise_cards";
    asserted {
        "(balance >= (0)::numeric)",
        // Of a column that no movement changes.
        "((fixed_discount > (0)::numeric) AND (fixed_discount <= (1)::numeric))",
    }
    columns {
        id,
        created_at: _,
        expires_at,
        status,
        card_seq,
        last_tx_id,
        skip_tx_id,
        last_posted_at,
        balance,
        fixed_discount as discount,
        card_no,
        company_name: _,
    }
    besides {
        member_id = |_| None,
        replaced_by = |_| None,
        level = |_| 0,
        points = |_| 0,
        point_seq = |_| 0,
        qr_expires_at = |_| None,
        qr_hash = |_| None,
        card_type = |_| CardType::Enterprise,
        is_locked = |_| false,
        version = Row::version,
    }
    read by enterprise;
}

static PERSONAL_BY_ID: Path = Path { table: &PERSONAL, index: "personal_cards_pkey", key: &["id"] };
static ENTERPRISE_BY_ID: Path = Path { table: &ENTERPRISE, index: "enterprise_cards_pkey", key: &["id"] };
static ENTERPRISE_BY_NO: Path = Path { table: &ENTERPRISE, index: "enterprise_cards_card_no_key", key: &["card_no"] };

macro_rules! select_personal {
    ($tail:literal) => {
        concat!(personal_columns!("SELECT ", ", c.ctid, c.xmin FROM app.personal_cards c "), $tail)
    };
}

impl Card {
    /// The pay code of a personal card.
    pub fn code(&self) -> CodeState<'_> {
        CodeState { hash: self.qr_hash.as_deref(), expires_at: self.qr_expires_at }
    }

    /// Level and discount, as the audit log has them.
    pub fn noted_level(&self) -> String {
        noted(self.level, self.discount)
    }

    fn forget_code(&mut self) {
        (self.qr_expires_at, self.qr_hash) = (None, None);
    }
}

impl Owned for Card {
    fn id(&self) -> Uuid {
        self.id
    }

    fn owner(&self) -> Option<Uuid> {
        self.member_id
    }
}

fn by_id(card_type: CardType) -> &'static Path {
    match card_type {
        CardType::Personal => &PERSONAL_BY_ID,
        CardType::Enterprise => &ENTERPRISE_BY_ID,
    }
}

fn reading(card_type: CardType) -> fn(&Row) -> Card {
    match card_type {
        CardType::Personal => Card::personal,
        CardType::Enterprise => Card::enterprise,
    }
}

/// A card without locking it.
pub fn find(db: &Db, card_type: CardType, id: Uuid) -> Option<Card> {
    db.find(by_id(card_type), None, &[p(id)], reading(card_type))
}

/// Locks a card until the transaction ends and reads it as it is then.
pub fn lock(open: Open, card_type: CardType, id: Uuid) -> Option<Card> {
    let card = open.lock(by_id(card_type), None, &[p(id)], reading(card_type));
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
    db.find(&ENTERPRISE_BY_NO, None, &[p(card_no)], Card::enterprise)
}

/// The member's open personal card, or else the last one it had.
pub fn personal_of(db: &Db, member: Uuid) -> Option<Card> {
    db.row(
        select_personal!("WHERE c.member_id = $1 ORDER BY (c.status = 'closed'), c.created_at DESC, c.id DESC LIMIT 1"),
        &[p(member)],
        Card::personal,
    )
}

/// All personal cards that a member has or had.
pub fn all_personal_of(db: &Db, member: Uuid) -> Vec<Card> {
    db.rows(select_personal!("WHERE c.member_id = $1"), &[p(member)], Card::personal)
}

/// The personal card that a card took over from.
pub fn replaced_by(db: &Db, id: Uuid) -> Option<Card> {
    db.row(select_personal!("WHERE c.replaced_by = $1 ORDER BY c.created_at DESC LIMIT 1"), &[p(id)], Card::personal)
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
    let path = by_id(card.card_type);
    if card.is_locked {
        db.update_locked(path, None, &[p(card.id)], &mut card.version, changes)?;
    } else {
        let Some(written) = db.update_seen(path.table, card.version, &changes) else { return Ok(false) };
        (card.version, card.is_locked) = (written, true);
    }
    Ok(true)
}

/// As [`write`], of a locked card.
fn write_locked(db: &Db, card: &mut Card, changes: impl Into<Vec<Change>>) -> Result<()> {
    assert!(card.is_locked);
    write(db, card, changes.into()).map(|_| ())
}

/// Sets the pay code of a personal card; `false` (and nothing written) if it was read without a lock and is another by now.
pub fn set_personal_code(db: &Db, card: &mut Card, hash: &[u8], expires_at: Timestamp) -> Result<bool> {
    assert_eq!(card.card_type, CardType::Personal);
    (card.qr_expires_at, card.qr_hash) = (Some(expires_at), Some(hash.to_vec()));
    let changes = changes!(db, card: qr_expires_at, qr_hash);
    write(db, card, changes.into())
}

/// Writes what a movement changed; `false` (and nothing written) if the card was read without a lock and is another by now.
/// `spend_code` forgets the pay code of a personal card.
pub fn save(db: &Db, card: &mut Card, spend_code: bool) -> Result<bool> {
    assert!(!card.balance.is_negative());
    let mut changes = Vec::with_capacity(11);
    changes.extend(changes!(db, card: card_seq, last_tx_id, skip_tx_id, last_posted_at, balance));
    if card.card_type == CardType::Personal {
        changes.extend(changes!(db, card: level, points, point_seq, discount));
        if spend_code {
            card.forget_code();
            changes.extend(changes!(db, card: qr_expires_at, qr_hash));
        }
    }
    write(db, card, changes)
}

/// Sets the status of a locked card.
pub fn set_status(db: &Db, card: &mut Card, status: CardStatus) -> Result<()> {
    card.status = status;
    let changes = changes!(db, card: status);
    write_locked(db, card, changes)
}

/// Sets when a locked card expires, and its status with that.
pub fn set_expiry(db: &Db, card: &mut Card, expires_at: Option<Timestamp>, status: CardStatus) -> Result<()> {
    (card.expires_at, card.status) = (expires_at, status);
    let changes = changes!(db, card: expires_at, status);
    write_locked(db, card, changes)
}

/// Closes a locked personal card in favour of another.
pub fn set_replaced(db: &Db, card: &mut Card, new: Uuid) -> Result<()> {
    (card.replaced_by, card.status) = (Some(new), CardStatus::Closed);
    card.forget_code();
    let changes = changes!(db, card: replaced_by, status, qr_expires_at, qr_hash);
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
    let new = vec![
        ("id", p(id)),
        ("member_id", p(member)),
        ("created_at", p(at)),
        ("expires_at", p(expires_at)),
        ("level", p(level.level)),
        ("discount", p(level.discount)),
        ("card_no", p(card_no.as_str())),
    ];
    db.insert_some(&PERSONAL_BY_ID, new, Taken::Refused);
    card_no
}

/// Issues an enterprise card and returns its number.
pub fn create_enterprise(db: &Db, at: Timestamp, id: Uuid, company: &str, discount: Discount) -> String {
    let card_no = CardType::Enterprise.number(serial(db, CardType::Enterprise));
    let new = vec![
        ("id", p(id)),
        ("created_at", p(at)),
        ("fixed_discount", p(discount)),
        ("card_no", p(card_no.as_str())),
        ("company_name", p(company)),
    ];
    db.insert_some(&ENTERPRISE_BY_ID, new, Taken::Refused);
    card_no
}

fn serial(db: &Db, card_type: CardType) -> i64 {
    let sql = match card_type {
        CardType::Personal => "SELECT pg_catalog.nextval('app.personal_card_no_seq')",
        CardType::Enterprise => "SELECT pg_catalog.nextval('app.enterprise_card_no_seq')",
    };
    db.row(sql, &[], |r| r.get(1)).expect("one row")
}
