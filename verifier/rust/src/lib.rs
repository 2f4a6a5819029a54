//! Verifies receipts of MPS: that a movement, or what a card held at the end of a month, stands under a head that the shop's key signed,
//! and that what the shop shows later goes on from there. Pure: no database, no network, no clock. `docs/receipts.md` says what each
//! field is and what a verdict means; `verifier/typescript` does the same in another language.
//!
//! Shares no code with MPS on purpose: paths are walked as RFC 9162 describes it, where MPS makes them as RFC 6962 does.

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Why something cannot be believed: it is not what it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

type Checked<T> = Result<T, Invalid>;

type Hash = [u8; 32];

/// A label is at most this long, and a tree at most this high: what is longer is no path.
const MOST_LEVELS: usize = 64;

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

fn array(text: &str, kind: &str, fields: usize) -> Checked<Vec<Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Array(all)) if all.len() == fields && all[0] == kind => Ok(all),
        _ => Err(Invalid("a text is not of the kind that it should be")),
    }
}

fn text(value: &Value) -> Checked<&str> {
    value.as_str().ok_or(Invalid("a field is no text"))
}

fn number(value: &Value) -> Checked<u64> {
    value.as_u64().ok_or(Invalid("a field is no whole number"))
}

fn hash(value: &Value) -> Checked<Hash> {
    let bytes = HEXLOWER.decode(text(value)?.as_bytes()).ok();
    bytes.and_then(|b| b.try_into().ok()).ok_or(Invalid("a field is no hash"))
}

/// An amount with two decimals, in cents.
fn cents(value: &Value) -> Checked<i64> {
    let shown = text(value)?;
    let (sign, digits) = shown.strip_prefix('-').map_or((1, shown), |rest| (-1, rest));
    let (units, fraction) = digits.split_once('.').ok_or(Invalid("an amount has no decimals"))?;
    let is_amount = fraction.len() == 2
        && !units.is_empty()
        && units.len() <= 15
        && [units, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if !is_amount {
        return Err(Invalid("an amount is none"));
    }
    format!("{units}{fraction}").parse::<i64>().map(|n| sign * n).map_err(|_| Invalid("an amount is none"))
}

/// The balances of a month, as a head publishes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balances {
    /// `2026-11`.
    pub month: String,
    pub cards: u64,
    pub total_cents: i64,
    root: Hash,
}

/// What a signed head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub head_no: u64,
    pub seal_no: u64,
    pub movements: u64,
    /// Microseconds since 1970.
    pub signed_at: u64,
    pub balances: Option<Balances>,
    /// The last restore of the database up to here: the number of the head that told of it, and when that was signed.
    pub last_restore: Option<(u64, u64)>,
    /// Why the database was restored to the head before this one.
    pub restored: Option<String>,
    root: Hash,
    text: String,
}

impl Head {
    /// Reads a head from `{"head": ..., "signature": ...}`, if one of the keys signed it.
    pub fn verified(signed: &Value, keys: &[VerifyingKey]) -> Checked<Head> {
        let said = text(&signed["head"])?;
        let bytes = BASE64.decode(text(&signed["signature"])?.as_bytes()).ok();
        let signature = bytes.and_then(|b| Signature::from_slice(&b).ok()).ok_or(Invalid("the signature is none"))?;
        let is_signed = keys.iter().any(|key| key.verify_strict(said.as_bytes(), &signature).is_ok());
        if !is_signed {
            return Err(Invalid("the head is not signed by any of the keys"));
        }
        let all = array(said, "mps head 1", 14)?;
        let balances = match &all[11] {
            Value::Null => None,
            published => Some(Balances {
                month: text(&published[0])?.to_owned(),
                cards: number(&published[1])?,
                total_cents: cents(&published[2])?,
                root: hash(&published[3])?,
            }),
        };
        let last_restore = match &all[12] {
            Value::Null => None,
            last => Some((number(&last[0])?, number(&last[1])?)),
        };
        let restored = match &all[13] {
            Value::Null => None,
            restored => Some(text(&restored[2])?.to_owned()),
        };
        Ok(Head {
            head_no: number(&all[1])?,
            seal_no: number(&all[2])?,
            movements: number(&all[4])?,
            root: hash(&all[5])?,
            signed_at: number(&all[9])?,
            balances,
            last_restore,
            restored,
            text: said.to_owned(),
        })
    }

    /// SHA-256 of its text, in hexadecimal: what the next head calls it by.
    pub fn fingerprint(&self) -> String {
        HEXLOWER.encode(&sha256(&[self.text.as_bytes()]))
    }
}

/// A movement that a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    pub tx_no: String,
    pub card_no: String,
    pub card_seq: u64,
    pub change_cents: i64,
    pub balance_after_cents: i64,
    /// Microseconds since 1970.
    pub posted_at: u64,
}

/// What `app.tx_proof()` gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub movement: Movement,
    /// Its place in the log.
    pub index: u64,
    pub head: Head,
}

/// Labels of a path, each so long.
fn labels<const N: usize>(value: &Value) -> Checked<Vec<[u8; N]>> {
    let bytes = BASE64.decode(text(value)?.as_bytes()).map_err(|_| Invalid("a path is not base64"))?;
    if !bytes.len().is_multiple_of(N) || bytes.len() > N * MOST_LEVELS {
        return Err(Invalid("a path has no whole labels"));
    }
    Ok(bytes.chunks_exact(N).map(|chunk| chunk.try_into().expect("of this length")).collect())
}

/// Goes up a path from a leaf (RFC 9162, 2.1.3.2); `None`: it is not one of this leaf in a tree of this size.
fn climb<const N: usize>(
    leaf: [u8; N],
    index: u64,
    size: u64,
    path: &[[u8; N]],
    join: impl Fn([u8; N], [u8; N]) -> Option<[u8; N]>,
) -> Option<[u8; N]> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut here) = (index, size - 1, leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            here = join(*beside, here)?;
            while at.is_multiple_of(2) && at != 0 {
                (at, last) = (at / 2, last / 2);
            }
        } else {
            here = join(here, *beside)?;
        }
        (at, last) = (at / 2, last / 2);
    }
    (last == 0).then_some(here)
}

fn join(left: Hash, right: Hash) -> Option<Hash> {
    Some(sha256(&[&[1], &left, &right]))
}

/// Reads a receipt, if a head of one of the keys stands over it.
pub fn receipt(given: &Value, keys: &[VerifyingKey]) -> Checked<Receipt> {
    if given["kind"] != "mps receipt 1" {
        return Err(Invalid("it is no receipt of a movement"));
    }
    let head = Head::verified(given, keys)?;
    let leaf = text(&given["leaf"])?;
    let all = array(leaf, "mps movement 1", 8)?;
    let path = labels::<32>(&given["path"])?;
    let index = number(&given["index"])?;
    let top = climb(sha256(&[&[0], leaf.as_bytes()]), index, head.movements, &path, join);
    if top != Some(head.root) {
        return Err(Invalid("the head does not stand over this movement"));
    }
    let movement = Movement {
        tx_no: text(&all[1])?.to_owned(),
        card_no: text(&all[2])?.to_owned(),
        card_seq: number(&all[3])?,
        change_cents: cents(&all[4])?,
        balance_after_cents: cents(&all[5])?,
        posted_at: number(&all[6])?,
    };
    Ok(Receipt { movement, index, head })
}

/// What a card held at the end of a month, in the published total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    pub card_no: String,
    /// How many movements it had by then.
    pub card_seq: u64,
    pub balance_cents: i64,
    pub published: Balances,
    pub head: Head,
}

/// Eight bytes of cents, and a hash.
type Sum = [u8; 40];

fn join_sums(left: Sum, right: Sum) -> Option<Sum> {
    let of = |sum: &Sum| u64::from_be_bytes(sum[..8].try_into().expect("eight bytes"));
    // Sums never go round: whoever could make them do so could hide money.
    let total = of(&left).checked_add(of(&right)).filter(|total| i64::try_from(*total).is_ok())?;
    let mut joined = [0; 40];
    joined[..8].copy_from_slice(&total.to_be_bytes());
    joined[8..].copy_from_slice(&sha256(&[&[1], &left, &right]));
    Some(joined)
}

/// Reads what `app.liability_proof()` gave, if a head of one of the keys published it.
pub fn holding(given: &Value, keys: &[VerifyingKey]) -> Checked<Holding> {
    if given["kind"] != "mps liability 1" {
        return Err(Invalid("it is no proof of a balance"));
    }
    let head = Head::verified(given, keys)?;
    let published = head.balances.clone().ok_or(Invalid("the head publishes no balances"))?;
    let leaf = text(&given["leaf"])?;
    let all = array(leaf, "mps balance 1", 6)?;
    if text(&all[1])? != published.month {
        return Err(Invalid("the head publishes another month"));
    }
    let balance_cents = cents(&all[4])?;
    let held = u64::try_from(balance_cents).map_err(|_| Invalid("a balance is below zero"))?;
    let mut label = [0; 40];
    label[..8].copy_from_slice(&held.to_be_bytes());
    label[8..].copy_from_slice(&sha256(&[&[0], leaf.as_bytes()]));
    let path = labels::<40>(&given["path"])?;
    let top = climb(label, number(&given["index"])?, published.cards, &path, join_sums);
    let mut root = [0; 40];
    root[..8].copy_from_slice(&u64::try_from(published.total_cents).unwrap_or(0).to_be_bytes());
    root[8..].copy_from_slice(&published.root);
    if top != Some(root) {
        return Err(Invalid("the balance is not in the published total"));
    }
    Ok(Holding { card_no: text(&all[2])?.to_owned(), card_seq: number(&all[3])?, balance_cents, published, head })
}

/// Whether the tree of an older head is the beginning of that of a newer one (RFC 9162, 2.1.4.2).
fn goes_on(old: &Head, new: &Head, path: &[Hash]) -> bool {
    if old.movements == 0 {
        return path.is_empty();
    }
    if old.movements > new.movements {
        return false;
    }
    if old.movements == new.movements {
        return path.is_empty() && old.root == new.root;
    }
    let mut rest = path.iter().copied();
    let Some(first) = (if old.movements.is_power_of_two() { Some(old.root) } else { rest.next() }) else {
        return false;
    };
    let (mut at, mut last) = (old.movements - 1, new.movements - 1);
    while at % 2 == 1 {
        (at, last) = (at / 2, last / 2);
    }
    let (mut older, mut newer) = (first, first);
    for beside in rest {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            older = sha256(&[&[1], &beside, &older]);
            newer = sha256(&[&[1], &beside, &newer]);
            while at.is_multiple_of(2) && at != 0 {
                (at, last) = (at / 2, last / 2);
            }
        } else {
            newer = sha256(&[&[1], &newer, &beside]);
        }
        (at, last) = (at / 2, last / 2);
    }
    last == 0 && older == old.root && newer == new.root
}

/// What an old head says about what is shown today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it stood for is the beginning of what there is now.
    Stands,
    /// The shop has said, and signed, that it had to restore the database to a point before it. The receipt is still a proof of what was
    /// taken: the shop has to make it good.
    LostInRestore {
        /// As the head says that told of it, if it was shown.
        why: Option<String>,
        /// Microseconds since 1970.
        at: u64,
    },
    /// It is not shown that the newest head goes on from the one that was kept. Nothing that is signed says the contrary, so it may have
    /// been spoilt on its way: ask again. A shop that cannot show it has changed or lost what was under that head.
    NotShown,
    /// The shop's own key has signed both, and both cannot be true.
    Convicted(&'static str),
}

/// Whether a head tells of a restore that took place after `kept` was signed, and went back to before it.
fn tells_of_its_loss(head: &Head, kept: &Head) -> bool {
    head.last_restore.is_some_and(|(number, at)| number <= kept.head_no && at >= kept.signed_at)
}

/// Judges what `app.head_proof(head_no)` gave by a head that was kept. Only what is signed can convict: what somebody left out or spoilt on
/// the way never does. An error: what was given is no evidence of anything.
pub fn judge(kept: &Head, given: &Value, keys: &[VerifyingKey]) -> Checked<Verdict> {
    if given["kind"] != "mps heads 1" {
        return Err(Invalid("these are no heads"));
    }
    let latest = Head::verified(&given["latest"], keys)?;
    let at = match &given["at"] {
        Value::Null => None,
        signed => Some(Head::verified(signed, keys)?),
    };
    if at.as_ref().is_some_and(|at| at.head_no != kept.head_no) {
        return Err(Invalid("it is about another head"));
    }
    let lost = [at.as_ref(), Some(&latest)].into_iter().flatten().find(|head| tells_of_its_loss(head, kept));
    if at.as_ref() == Some(kept) {
        let path = labels::<32>(&given["path"]).unwrap_or_default();
        return Ok(if latest.head_no == kept.head_no && latest != *kept {
            Verdict::Convicted("two heads have one number")
        } else if latest.signed_at < kept.signed_at {
            return Err(Invalid("what is shown as the newest is older than the head that was kept"));
        } else if latest.movements < kept.movements || latest.head_no < kept.head_no {
            Verdict::Convicted("a later head stands for less")
        } else if goes_on(kept, &latest, &path) {
            Verdict::Stands
        } else {
            Verdict::NotShown
        });
    }
    if let Some(head) = lost {
        let (number, at) = head.last_restore.unwrap_or_default();
        let shown = given["restores"].as_array().map_or(&[][..], Vec::as_slice);
        let told =
            shown.iter().filter_map(|signed| Head::verified(signed, keys).ok()).find(|told| told.head_no == number);
        return Ok(Verdict::LostInRestore { why: told.and_then(|told| told.restored), at });
    }
    match at {
        Some(_) => Ok(Verdict::Convicted("two heads have one number")),
        None if latest.head_no == kept.head_no && latest != *kept => {
            Ok(Verdict::Convicted("two heads have one number"))
        }
        None if latest.head_no < kept.head_no && latest.signed_at >= kept.signed_at => {
            Ok(Verdict::Convicted("a later head has a lower number"))
        }
        None if latest.head_no < kept.head_no => Err(Invalid("what is shown is older than the head that was kept")),
        None => Ok(Verdict::NotShown),
    }
}

/// Whether two receipts cannot both be true: they say different things of one place in the log, of one number, or of one movement of a card,
/// and no restore lies between their heads.
pub fn exclude(one: &Receipt, other: &Receipt) -> bool {
    let (earlier, later) = if one.head.signed_at <= other.head.signed_at { (one, other) } else { (other, one) };
    let (a, b) = (&earlier.movement, &later.movement);
    let is_one =
        earlier.index == later.index || a.tx_no == b.tx_no || (&a.card_no, a.card_seq) == (&b.card_no, b.card_seq);
    let differ = a != b || earlier.index != later.index;
    is_one && differ && !tells_of_its_loss(&later.head, &earlier.head)
}

/// Whether a receipt and the balance of a month contradict each other: the movement was posted before the month's end, and the card is said
/// to have had fewer movements by then, or another balance after this one.
pub fn contradict(receipt: &Receipt, holding: &Holding) -> bool {
    let movement = &receipt.movement;
    if movement.card_no != holding.card_no || iso_month(movement.posted_at) > holding.published.month {
        return false;
    }
    movement.card_seq > holding.card_seq
        || movement.card_seq == holding.card_seq && movement.balance_after_cents != holding.balance_cents
}

/// The month of UTC of a moment, as `2026-11` (Hinnant's algorithm).
fn iso_month(micros: u64) -> String {
    let day = micros / 86_400_000_000 + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    format!("{:04}-{month:02}", year_of_era + era * 400 + u64::from(month <= 2))
}

/// Reads public keys in PEM, one or several.
pub fn keys(pem: &str) -> Checked<Vec<VerifyingKey>> {
    use ed25519_dalek::pkcs8::DecodePublicKey;
    const END: &str = "-----END PUBLIC KEY-----";
    let found: Result<Vec<_>, _> = pem
        .split_inclusive(END)
        .filter(|part| part.contains(END))
        .map(|part| VerifyingKey::from_public_key_pem(part.trim()))
        .collect();
    match found {
        Ok(keys) if !keys.is_empty() => Ok(keys),
        _ => Err(Invalid("there is no Ed25519 public key in PEM")),
    }
}
