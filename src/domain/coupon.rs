//! Coupons: what they give, when, where and to whom, and whether one can be used now.

use crate::card::CardType;
use crate::money::Money;
use crate::month::iso;
use crate::quote::{self, CouponKind};
use crate::typed;
use crate::window::{Moment, Outside, Window};

pub use crate::coupon_labels::{How, OfferStatus, OnFullRefund, RightStatus, kind_label, kind_of, kind_value};

/// One version of what a coupon is. Lists are in order and name nothing twice; one that is not there is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub name: String,
    pub kind: CouponKind,
    /// Of what takes part in it, before any discount.
    pub min_spend: Option<Money>,
    pub max_discount: Option<Money>,
    pub goes_with_level_discount: bool,
    pub window: Window,
    /// It ends with this business day, counted from the one on which it is issued.
    pub valid_days_after_issue: Option<i32>,
    /// It begins with this business day, counted so.
    pub starts_after_days: Option<i32>,
    pub merchants: Option<Vec<i32>>,
    pub levels: Option<Vec<i16>>,
    pub card_types: Option<Vec<CardType>>,
    pub first_purchase_only: bool,
    pub issue_limit: Option<i64>,
    pub per_member_limit: Option<i32>,
    pub per_member_per_day: Option<i32>,
    pub claimable: bool,
    pub on_full_refund: OnFullRefund,
    /// What all uses together may take off.
    pub budget_amount: Option<Money>,
}

/// From when to before when a right can be used; without an end, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: i64,
    pub until: Option<i64>,
}

/// A charge that a coupon would be used for.
#[derive(Clone, Copy, Debug)]
pub struct Purchase {
    pub moment: Moment,
    pub merchant: i32,
    pub card_type: CardType,
    /// Of a personal card, before the charge.
    pub level: Option<i16>,
    /// What takes part: the raw amount less what is excluded.
    pub part: Money,
}

/// Where, to whom and for what something is given; one that is not there is no condition.
#[derive(Clone, Copy, Debug)]
pub struct For<'a> {
    pub merchants: Option<&'a [i32]>,
    pub levels: Option<&'a [i16]>,
    pub card_types: Option<&'a [CardType]>,
    /// Of what takes part, before any discount.
    pub min_spend: Option<Money>,
}

impl For<'_> {
    /// Whether it is for a purchase; when it is, is asked elsewhere.
    pub fn holds(&self, purchase: &Purchase) -> Result<(), WhyNot> {
        let named = |is_named: Option<bool>, why| if is_named.unwrap_or(true) { Ok(()) } else { Err(why) };
        named(self.merchants.map(|ids| ids.contains(&purchase.merchant)), WhyNot::WrongShop)?;
        named(self.card_types.map(|types| types.contains(&purchase.card_type)), WhyNot::WrongCard)?;
        let has_level = |levels: &[i16]| purchase.level.is_some_and(|level| levels.contains(&level));
        named(self.levels.map(has_level), WhyNot::WrongLevel)?;
        match self.min_spend {
            Some(least) if purchase.part < least => Err(WhyNot::MinimumSpend(least)),
            _ => Ok(()),
        }
    }
}

/// Why a coupon cannot be used, or not issued any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    Used,
    Revoked,
    /// Its coupon is paused.
    Paused,
    NotYet(i64),
    Expired(i64),
    WrongHours,
    WrongWeekday,
    WrongShop,
    WrongCard,
    WrongLevel,
    MinimumSpend(Money),
    NotTheFirstPurchase,
    /// Not asked here, but by whoever prices or spends.
    SavesNothing,
    DiscountIsBetter,
    Budget,
}

impl std::fmt::Display for WhyNot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WhyNot::Used => f.write_str("used: the coupon has paid already"),
            WhyNot::Revoked => f.write_str("revoked: the coupon was taken back"),
            WhyNot::Paused => f.write_str("paused: the coupon cannot be used at present"),
            WhyNot::NotYet(from) => write!(f, "not yet valid: the coupon begins at {}", iso(*from)),
            WhyNot::Expired(until) => write!(f, "expired: the coupon ended at {}", iso(*until)),
            WhyNot::WrongHours => f.write_str("wrong time: the coupon does not hold at this hour"),
            WhyNot::WrongWeekday => f.write_str("wrong time: the coupon does not hold on this day of the week"),
            WhyNot::WrongShop => f.write_str("wrong shop: the coupon does not hold at this merchant"),
            WhyNot::WrongCard => f.write_str("wrong card: the coupon does not hold for this type of card"),
            WhyNot::WrongLevel => f.write_str("wrong level: the coupon does not hold for the card's level"),
            WhyNot::MinimumSpend(least) => write!(f, "minimum spend: the coupon needs {least} of what takes part"),
            WhyNot::NotTheFirstPurchase => f.write_str("first purchase only: the member has paid before"),
            WhyNot::SavesNothing => f.write_str("the coupon would save nothing"),
            WhyNot::DiscountIsBetter => f.write_str("the level's discount is better"),
            WhyNot::Budget => f.write_str("budget: what is left of the coupon's budget does not cover what it saves"),
        }
    }
}

impl Terms {
    /// As far as it decides a price.
    pub fn priced(&self) -> quote::Coupon {
        quote::Coupon {
            kind: self.kind,
            max_discount: self.max_discount,
            goes_with_discount: self.goes_with_level_discount,
        }
    }

    /// When a right that is issued now can be used; `start_of` says when the business day begins that comes so many days after the
    /// present one.
    pub fn validity<E>(&self, at: i64, start_of: impl Fn(i32) -> Result<i64, E>) -> Result<Validity, E> {
        let begins = match self.starts_after_days {
            Some(days) if days > 0 => start_of(days)?,
            _ => at,
        };
        let from = self.window.valid_from.map_or(begins, |from| from.max(begins)).max(at);
        let until = match self.valid_days_after_issue {
            Some(days) => Some(start_of(days + 1)?),
            None => self.window.valid_until,
        };
        Ok(Validity { from, until })
    }

    /// Whether a right of these terms can pay now: all that is known without looking further. Who has paid before, what it saves
    /// and what is left of the budget is asked elsewhere.
    pub fn usable(
        &self,
        coupon: OfferStatus,
        right: RightStatus,
        validity: Validity,
        purchase: &Purchase,
    ) -> Result<(), WhyNot> {
        self.usable_at(coupon, right, validity, purchase.moment)?;
        let to = For {
            merchants: self.merchants.as_deref(),
            levels: self.levels.as_deref(),
            card_types: self.card_types.as_deref(),
            min_spend: self.min_spend,
        };
        to.holds(purchase)
    }

    /// As far as only the moment decides it.
    fn usable_at(
        &self,
        coupon: OfferStatus,
        right: RightStatus,
        validity: Validity,
        moment: Moment,
    ) -> Result<(), WhyNot> {
        match (right, coupon) {
            (RightStatus::Used, _) => return Err(WhyNot::Used),
            (RightStatus::Revoked, _) => return Err(WhyNot::Revoked),
            // Of a draft there are no rights.
            (RightStatus::Active, OfferStatus::Paused | OfferStatus::Draft) => return Err(WhyNot::Paused),
            (RightStatus::Active, OfferStatus::Active | OfferStatus::Ended) => {}
        }
        // A right has its own beginning and end, made of those of its terms.
        let own = Window { valid_from: Some(validity.from), valid_until: validity.until, ..self.window };
        own.holds(moment).map_err(|outside| match outside {
            Outside::NotYet => WhyNot::NotYet(validity.from),
            Outside::Over => WhyNot::Expired(validity.until.unwrap_or(moment.at)),
            Outside::Hours => WhyNot::WrongHours,
            Outside::Weekday => WhyNot::WrongWeekday,
        })
    }
}

/// What the number of a right begins with.
const PREFIX: &str = "CP";
/// And at least so many digits follow.
const DIGITS: usize = 8;

/// The number people read: `CP00000001`.
pub fn number(id: i64) -> String {
    format!("{PREFIX}{id:0DIGITS$}")
}

/// Reads one that a person typed; `None` for what [`number`] would not have written.
pub fn read_number(text: &str) -> Option<i64> {
    let text = typed::number(text);
    let digits = text.strip_prefix(PREFIX).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let id = digits.parse().ok().filter(|id| *id > 0)?;
    (number(id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::month::DAY_MICROS;
    use crate::window::{Hours, Weekdays};
    use proptest::prelude::*;

    fn terms() -> Terms {
        Terms {
            name: "Welcome".into(),
            kind: CouponKind::AmountOff(Money::from_cents(500)),
            min_spend: None,
            max_discount: None,
            goes_with_level_discount: true,
            window: Window::default(),
            valid_days_after_issue: None,
            starts_after_days: None,
            merchants: None,
            levels: None,
            card_types: None,
            first_purchase_only: false,
            issue_limit: None,
            per_member_limit: None,
            per_member_per_day: None,
            claimable: false,
            on_full_refund: OnFullRefund::Return,
            budget_amount: None,
        }
    }

    const VALID: Validity = Validity { from: 100, until: Some(200) };

    fn purchase() -> Purchase {
        Purchase {
            moment: Moment { at: 100, local: 0 },
            merchant: 7,
            card_type: CardType::Personal,
            level: Some(2),
            part: Money::from_cents(1000),
        }
    }

    fn of(terms: &Terms, purchase: &Purchase) -> Result<(), WhyNot> {
        terms.usable(OfferStatus::Active, RightStatus::Active, VALID, purchase)
    }

    #[test]
    fn each_condition_refuses_by_itself() {
        assert_eq!(of(&terms(), &purchase()), Ok(()));
        let at = |at| of(&terms(), &Purchase { moment: Moment { at, local: 0 }, ..purchase() });
        assert_eq!((at(99), at(199), at(200)), (Err(WhyNot::NotYet(100)), Ok(()), Err(WhyNot::Expired(200))));
        let with = |change: &dyn Fn(&mut Terms)| {
            let mut terms = terms();
            change(&mut terms);
            of(&terms, &purchase())
        };
        // 2000-01-01 00:00 was a Saturday.
        assert_eq!(with(&|t| t.window.weekdays = Weekdays::new([6]).unwrap()), Ok(()));
        assert_eq!(with(&|t| t.window.weekdays = Weekdays::new([7]).unwrap()), Err(WhyNot::WrongWeekday));
        assert_eq!(with(&|t| t.window.hours = Hours::new(1, 5)), Err(WhyNot::WrongHours));
        assert_eq!(with(&|t| t.merchants = Some(vec![6, 7])), Ok(()));
        assert_eq!(with(&|t| t.merchants = Some(vec![6, 8])), Err(WhyNot::WrongShop));
        assert_eq!(with(&|t| t.card_types = Some(vec![CardType::Personal])), Ok(()));
        assert_eq!(with(&|t| t.card_types = Some(vec![CardType::Enterprise])), Err(WhyNot::WrongCard));
        assert_eq!(with(&|t| t.levels = Some(vec![2, 3])), Ok(()));
        assert_eq!(with(&|t| t.levels = Some(vec![1, 3])), Err(WhyNot::WrongLevel));
        let least = Money::from_cents(1001);
        assert_eq!(with(&|t| t.min_spend = Some(Money::from_cents(1000))), Ok(()));
        assert_eq!(with(&|t| t.min_spend = Some(least)), Err(WhyNot::MinimumSpend(least)));
        // A company card has no level.
        let levels = Terms { levels: Some(vec![2]), ..terms() };
        assert_eq!(of(&levels, &Purchase { level: None, ..purchase() }), Err(WhyNot::WrongLevel));
        let without_end = Validity { until: None, ..VALID };
        let late = Purchase { moment: Moment { at: i64::MAX, local: 0 }, ..purchase() };
        assert_eq!(terms().usable(OfferStatus::Active, RightStatus::Active, without_end, &late), Ok(()));
    }

    #[test]
    fn what_was_issued_outlives_the_end_and_not_a_pause() {
        let of = |coupon, right| terms().usable(coupon, right, VALID, &purchase());
        use OfferStatus::*;
        assert_eq!((of(Active, RightStatus::Active), of(Ended, RightStatus::Active)), (Ok(()), Ok(())));
        assert_eq!(of(Paused, RightStatus::Active), Err(WhyNot::Paused));
        for status in OfferStatus::ALL {
            assert_eq!(of(status, RightStatus::Used), Err(WhyNot::Used));
            assert_eq!(of(status, RightStatus::Revoked), Err(WhyNot::Revoked));
        }
    }

    #[test]
    fn a_right_begins_and_ends_with_business_days() {
        // Days begin at 4 o'clock; it is issued at noon of day 10.
        let start_of = |days: i32| Ok::<i64, ()>((10 + i64::from(days)) * DAY_MICROS + DAY_MICROS / 6);
        let now = 10 * DAY_MICROS + DAY_MICROS / 2;
        let of = |from, until, starts, days| {
            let window = Window { valid_from: from, valid_until: until, ..Window::default() };
            let terms = Terms { window, starts_after_days: starts, valid_days_after_issue: days, ..terms() };
            let validity = terms.validity(now, start_of).unwrap();
            (validity.from, validity.until)
        };
        let day = |days| start_of(days).unwrap();
        assert_eq!(of(None, None, None, None), (now, None));
        assert_eq!(of(Some(now - 1), Some(now + 5), None, None), (now, Some(now + 5)));
        assert_eq!(of(Some(now + 1), None, Some(0), None), (now + 1, None));
        assert_eq!(of(None, None, Some(1), Some(3)), (day(1), Some(day(4))));
        assert_eq!(of(None, None, None, Some(0)), (now, Some(day(1))));
        assert_eq!(of(Some(day(2)), None, Some(1), Some(3)), (day(2), Some(day(4))));
        // The clock was set back: it does not begin before it was issued.
        let early = Terms { starts_after_days: Some(1), ..terms() };
        assert_eq!(early.validity(now, |_| Ok::<i64, ()>(now - 1)).unwrap().from, now);
        assert_eq!(early.validity(now, |_| Err("out of range")), Err("out of range"));
    }

    #[test]
    fn a_price_knows_what_decides_it() {
        let priced = Terms { max_discount: Some(Money::from_cents(9)), goes_with_level_discount: false, ..terms() };
        let coupon =
            quote::Coupon { kind: terms().kind, max_discount: Some(Money::from_cents(9)), goes_with_discount: false };
        assert_eq!(priced.priced(), coupon);
    }

    /// The condition's name stands first, as the contract has it.
    #[test]
    fn reasons_are_sentences() {
        let said = |why: WhyNot| why.to_string();
        assert_eq!(said(WhyNot::NotYet(0)), "not yet valid: the coupon begins at 2000-01-01T00:00:00.000000Z");
        assert_eq!(said(WhyNot::Expired(0)), "expired: the coupon ended at 2000-01-01T00:00:00.000000Z");
        let least = WhyNot::MinimumSpend(Money::from_cents(1005));
        assert_eq!(said(least), "minimum spend: the coupon needs 10.05 of what takes part");
        for (why, begins) in [
            (WhyNot::Used, "used: "),
            (WhyNot::Revoked, "revoked: "),
            (WhyNot::Paused, "paused: "),
            (WhyNot::WrongHours, "wrong time: "),
            (WhyNot::WrongWeekday, "wrong time: "),
            (WhyNot::WrongShop, "wrong shop: "),
            (WhyNot::WrongCard, "wrong card: "),
            (WhyNot::WrongLevel, "wrong level: "),
            (WhyNot::NotTheFirstPurchase, "first purchase only: "),
            (WhyNot::SavesNothing, "the coupon would save nothing"),
            (WhyNot::DiscountIsBetter, "the level's discount is better"),
            (WhyNot::Budget, "budget: "),
        ] {
            assert!(said(why).starts_with(begins), "{why:?}: {why}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!((number(1), number(123_456_789)), ("CP00000001".into(), "CP123456789".into()));
        for typed in ["CP00000042", " cp00000042\n", "ＣＰ０００００04２"] {
            assert_eq!(read_number(typed), Some(42), "{typed:?}");
        }
        for bad in
            ["", "CP", "CP42", "CP0000000042", "CP00000000", "CP-0000042", "XX00000042", "CP99999999999999999999"]
        {
            assert_eq!(read_number(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_is_written(id in 1i64..) {
            prop_assert_eq!(read_number(&number(id)), Some(id));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = read_number(&text);
        }
    }
}
