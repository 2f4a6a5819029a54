//! What is locked, and the functions of `src/` that lock or write rows themselves, with what each of them waits for.

use std::collections::BTreeSet;

/// What is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Key,
    /// A gateway's trade number that is claimed; the row of one that is claimed, and goes to somebody else.
    Trade,
    TradeRow,
    Order,
    Month,
    /// Keys of before, which only `app.expire_keys()` takes away: it does not see those that are being taken.
    OldKeys,
    Settings,
    Member,
    Merchant,
    Tx,
    Suspense,
    /// A refund number of a withdrawal.
    Refund,
    /// An account at a payment gateway, with its keys.
    GatewayAccount,
    GatewayTally,
    Campaign,
    /// A coupon that can be issued, a member's right to use one, and a part of a budget.
    Coupon,
    MemberCoupon,
    BudgetPart,
    Card,
    /// Cards that are passed by where somebody has them.
    FreeCards,
    Binding,
    /// Who is in a closed month: what two who write into one may both insert.
    Lines,
    ClosedMonths,
    SealCut,
    /// The mode of operation: only who changes it.
    Mode,
    /// All of the log: who writes the books from it.
    Log,
    JobRun,
}

impl Kind {
    /// Whether there is but one of it, for all.
    pub fn is_one(self) -> bool {
        use Kind::{ClosedMonths, JobRun, Log, Mode, Month, SealCut, Settings};
        matches!(self, Month | Settings | JobRun | ClosedMonths | SealCut | Mode | Log)
    }
}

/// A lock that is asked for: one of a kind, or many of them in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lock {
    pub kind: Kind,
    pub many: bool,
}

/// What a function that works on rows itself waits for.
pub enum Takes {
    One(Kind),
    /// In the order of their ids, which its statement says.
    Many(Kind),
    /// Only rows that it made or that its caller has locked, for the reason given.
    Nothing(&'static str),
}

use Takes::{Many, Nothing, One};

/// Every function of `src/` above the engine that locks or writes rows of a table by itself. One that is missing here fails a test of
/// `locks.rs`, and so does one that is no more.
pub const LEAVES: &[(&str, Takes)] = &[
    ("kernel::keys::claim_key", One(Kind::Key)),
    ("kernel::keys::claim_order", One(Kind::Order)),
    ("kernel::keys::repoint_key", Nothing("the caller has just claimed it")),
    ("kernel::keys::repoint_order", One(Kind::Order)),
    ("kernel::keys::forget_keys", Many(Kind::OldKeys)),
    ("kernel::months::ensure", One(Kind::Month)),
    ("kernel::settings::lock", One(Kind::Settings)),
    ("kernel::settings::pin", One(Kind::Settings)),
    ("kernel::settings::update", Nothing("locked")),
    ("kernel::days::follow_settings", Nothing("called by who has locked the settings")),
    ("kernel::members::lock", One(Kind::Member)),
    ("kernel::members::create", One(Kind::Member)),
    ("kernel::members::set_status", Nothing("locked")),
    ("kernel::members::lock_binding", One(Kind::Binding)),
    ("kernel::members::bind", Nothing("bindings change under the lock of their card")),
    ("kernel::members::unbind", Nothing("bindings change under the lock of their card")),
    ("kernel::members::set_code", Nothing("locked")),
    ("kernel::members::hold", One(Kind::Member)),
    ("kernel::merchants::lock", One(Kind::Merchant)),
    ("kernel::merchants::pin", One(Kind::Merchant)),
    ("kernel::merchants::create", One(Kind::Merchant)),
    ("kernel::merchants::set_active", Nothing("locked")),
    ("kernel::merchants::touch", Nothing("locked")),
    ("kernel::merchants::set_role", Nothing("operators change under the lock of their merchant")),
    ("kernel::merchants::remove_user", Nothing("operators change under the lock of their merchant")),
    ("kernel::settings::migrate", Nothing("DDL of superusers is left out")),
    ("kernel::mode::change", One(Kind::Mode)),
    ("kernel::batch::note_run", One(Kind::JobRun)),
    ("ledger::cards::lock", One(Kind::Card)),
    ("ledger::cards::write", One(Kind::Card)),
    ("ledger::cards::touch", Nothing("locked")),
    ("ledger::cards::create_personal", Nothing("a new row, of a member that is locked or new")),
    ("ledger::cards::create_enterprise", Nothing("a new row")),
    ("ledger::transactions::lock", One(Kind::Tx)),
    ("ledger::transactions::write", Nothing("locked")),
    ("ledger::transactions::insert_pending", Nothing("a new row")),
    ("ledger::transactions::no_longer_pending", Nothing("its transaction is locked")),
    ("ledger::history::note_writer", One(Kind::Lines)),
    ("features::gateways::account::lock", One(Kind::GatewayAccount)),
    ("features::gateways::account::create", One(Kind::GatewayAccount)),
    ("features::gateways::account::replace", Nothing("locked")),
    ("features::gateways::keys::set", Nothing("the account is locked")),
    ("features::gateways::events::tally", One(Kind::GatewayTally)),
    ("features::recharges::suspense::lock", One(Kind::Suspense)),
    ("features::recharges::suspense::insert", Nothing("a new row")),
    ("features::recharges::suspense::resolve", Nothing("locked")),
    ("features::recharges::suspense::reduce", Nothing("locked")),
    ("features::reconciliation::bills::Read::keep", Nothing("the account is locked")),
    ("features::reconciliation::comparing::compare", Nothing("the account is locked")),
    ("features::reconciliation::days::close", Nothing("the account is locked")),
    ("features::reconciliation::days::has_new_bill", Nothing("the account is locked")),
    ("features::reconciliation::days::make", Nothing("the account is locked")),
    ("features::reconciliation::days::reopen", Nothing("the account is locked")),
    ("features::reconciliation::items::lock", Nothing("the account is locked")),
    ("features::reconciliation::items::resolve", Nothing("locked")),
    ("features::withdrawals::parts::lock", One(Kind::Refund)),
    ("features::withdrawals::parts::update", Nothing("locked")),
    ("features::campaigns::campaign::lock", One(Kind::Campaign)),
    ("features::campaigns::campaign::create", One(Kind::Campaign)),
    ("features::campaigns::campaign::update", Nothing("locked")),
    ("features::campaigns::terms::insert", Nothing("a new row, of a campaign that is locked or new")),
    ("features::coupons::coupon::lock", One(Kind::Coupon)),
    ("features::coupons::coupon::create", One(Kind::Coupon)),
    ("features::coupons::coupon::update", Nothing("locked")),
    ("features::coupons::terms::insert", Nothing("a new row, of a coupon that is locked or new")),
    ("features::coupons::parts::lock", One(Kind::BudgetPart)),
    ("features::coupons::parts::update", Nothing("locked")),
    ("features::coupons::parts::update_seen", One(Kind::BudgetPart)),
    (
        "features::coupons::parts::remove",
        Nothing("of a coupon that is locked, and of which nothing was issued that could draw"),
    ),
    ("features::coupons::right::lock", One(Kind::MemberCoupon)),
    ("features::coupons::right::update", Nothing("locked")),
    ("features::cards::expire_cards::expire_cards", Many(Kind::Card)),
    ("features::cards::expire_qrcodes::forget_personal_codes", Many(Kind::FreeCards)),
    ("features::cards::expire_qrcodes::forget_binding_codes", Many(Kind::FreeCards)),
    ("features::cards::recompute_levels::lock_levels", Many(Kind::Card)),
    ("features::cards::recompute_levels::set_level", Nothing("locked")),
    ("features::receipts::alone", One(Kind::SealCut)),
    ("features::receipts::declare_restore::declare_restore", Nothing("alone")),
    ("features::receipts::finish_tree::finish_tree", Nothing("alone")),
    ("features::receipts::grow_tree::found_or_begun", Nothing("alone")),
    ("features::receipts::grow_tree::grow_tree", Nothing("alone")),
    ("features::receipts::sign_head::sign", Nothing("alone")),
    ("features::receipts::trees::append", Nothing("alone")),
    ("features::receipts::trees::complete", Nothing("alone")),
];

/// What of the engine locks or writes.
pub const RAW: &[&str] =
    &["lock", "insert_or_nothing", "insert_some", "insert_some_or_nothing", "update_seen", "update_locked"];
pub const STATEMENTS: &[&str] = &[
    "FOR NO KEY UPDATE",
    "FOR UPDATE",
    "FOR SHARE",
    "INSERT INTO app.",
    "INSERT INTO audit.",
    "INSERT INTO sec.",
    "UPDATE app.",
    "UPDATE audit.",
    "UPDATE sec.",
    "DELETE FROM app.",
    "DELETE FROM audit.",
    "DELETE FROM sec.",
    "LOCK TABLE",
];
/// What locks and writes, or says `None` and has done neither: a charge of a card that is another version by now.
pub const WRITES_OR_NONE: &[&str] = &["pay"];

/// Functions that may come to a row of a kind several times, and why it is the same one: they hold it by then.
pub const ONE_ROW: &[(&str, Kind, &str)] = &[(
    "features::gateways::effect::About::refunded_later",
    Kind::Suspense,
    "a refund number and the trade number lead to the row of one payment, or are told apart before anything is done",
)];

/// What is a leaf, for who compares it with what there is.
pub fn leaves() -> BTreeSet<String> {
    LEAVES.iter().map(|(path, _)| (*path).to_owned()).collect()
}

/// Those of them that wait.
pub fn waiting_leaves() -> BTreeSet<String> {
    LEAVES.iter().filter(|(_, takes)| !matches!(takes, Nothing(_))).map(|(path, _)| (*path).to_owned()).collect()
}
