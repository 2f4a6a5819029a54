//! What coupons are called in the tables: their statuses and the moves between them, their kinds, how one was come by.

use crate::money::Money;
use crate::quote::CouponKind;

/// What has become of a coupon that can be issued, or of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferStatus {
    /// Not yet issued.
    Draft,
    Active,
    /// Nothing is issued and nothing used meanwhile; no campaign gives anything.
    Paused,
    /// Nothing more is issued; what members have stays usable.
    Ended,
}

impl OfferStatus {
    pub const ALL: [OfferStatus; 4] =
        [OfferStatus::Draft, OfferStatus::Active, OfferStatus::Paused, OfferStatus::Ended];

    pub const fn label(self) -> &'static str {
        match self {
            OfferStatus::Draft => "draft",
            OfferStatus::Active => "active",
            OfferStatus::Paused => "paused",
            OfferStatus::Ended => "ended",
        }
    }

    pub fn from_label(label: &str) -> Option<OfferStatus> {
        OfferStatus::ALL.into_iter().find(|status| status.label() == label)
    }

    /// Whether `set_coupon_status` and `set_campaign_status` may make this move. What has ended stays so.
    pub fn may_become(self, next: OfferStatus) -> bool {
        use OfferStatus::*;
        matches!((self, next), (Draft | Paused, Active) | (Active, Paused) | (Draft | Active | Paused, Ended))
    }
}

/// What has become of a member's right to use one. That its time is over is no status: its end says that, at every moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightStatus {
    Active,
    Used,
    Revoked,
}

impl RightStatus {
    pub const ALL: [RightStatus; 3] = [RightStatus::Active, RightStatus::Used, RightStatus::Revoked];

    pub const fn label(self) -> &'static str {
        match self {
            RightStatus::Active => "active",
            RightStatus::Used => "used",
            RightStatus::Revoked => "revoked",
        }
    }

    pub fn from_label(label: &str) -> Option<RightStatus> {
        RightStatus::ALL.into_iter().find(|status| status.label() == label)
    }
}

/// How a member came by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Issued,
    Claimed,
    ToAll,
}

impl How {
    pub const ALL: [How; 3] = [How::Issued, How::Claimed, How::ToAll];

    pub const fn label(self) -> &'static str {
        match self {
            How::Issued => "issued",
            How::Claimed => "claimed",
            How::ToAll => "to_all",
        }
    }

    pub fn from_label(label: &str) -> Option<How> {
        How::ALL.into_iter().find(|how| how.label() == label)
    }
}

/// What a full refund of the payment does to the coupon that it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFullRefund {
    #[default]
    Return,
    KeepUsed,
}

impl OnFullRefund {
    pub const ALL: [OnFullRefund; 2] = [OnFullRefund::Return, OnFullRefund::KeepUsed];

    pub const fn label(self) -> &'static str {
        match self {
            OnFullRefund::Return => "return",
            OnFullRefund::KeepUsed => "keep_used",
        }
    }

    pub fn from_label(label: &str) -> Option<OnFullRefund> {
        OnFullRefund::ALL.into_iter().find(|rule| rule.label() == label)
    }
}

/// Of a [`CouponKind`], what the tables call it.
pub const fn kind_label(kind: CouponKind) -> &'static str {
    match kind {
        CouponKind::AmountOff(_) => "amount_off",
        CouponKind::PercentOff(_) => "percent_off",
        CouponKind::FixedPrice(_) => "fixed_price",
    }
}

/// Of a [`CouponKind`], its number in hundredths.
pub const fn kind_value(kind: CouponKind) -> i64 {
    match kind {
        CouponKind::AmountOff(value) | CouponKind::FixedPrice(value) => value.cents(),
        CouponKind::PercentOff(hundredths) => hundredths as i64,
    }
}

/// A kind by its label and its number in hundredths; `None` where there is none such.
pub fn kind_of(label: &str, value: i64) -> Option<CouponKind> {
    let amount = Money::from_cents(value);
    match label {
        "amount_off" => amount.is_positive().then_some(CouponKind::AmountOff(amount)),
        "percent_off" => u16::try_from(value).ok().filter(|v| (1..=10_000).contains(v)).map(CouponKind::PercentOff),
        "fixed_price" => (!amount.is_negative()).then_some(CouponKind::FixedPrice(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_tables() {
        assert_eq!(OfferStatus::ALL.map(OfferStatus::label), ["draft", "active", "paused", "ended"]);
        assert_eq!(OfferStatus::ALL.map(|s| OfferStatus::from_label(s.label())), OfferStatus::ALL.map(Some));
        assert_eq!(RightStatus::ALL.map(RightStatus::label), ["active", "used", "revoked"]);
        assert_eq!(RightStatus::ALL.map(|s| RightStatus::from_label(s.label())), RightStatus::ALL.map(Some));
        assert_eq!(How::ALL.map(How::label), ["issued", "claimed", "to_all"]);
        assert_eq!(How::ALL.map(|h| How::from_label(h.label())), How::ALL.map(Some));
        assert_eq!(OnFullRefund::ALL.map(OnFullRefund::label), ["return", "keep_used"]);
        assert_eq!(OnFullRefund::ALL.map(|r| OnFullRefund::from_label(r.label())), OnFullRefund::ALL.map(Some));
        let kinds = [
            CouponKind::AmountOff(Money::from_cents(1)),
            CouponKind::PercentOff(10_000),
            CouponKind::FixedPrice(Money::ZERO),
        ];
        assert_eq!(kinds.map(kind_label), ["amount_off", "percent_off", "fixed_price"]);
        assert_eq!(kinds.map(kind_value), [1, 10_000, 0]);
        assert_eq!(kinds.map(|kind| kind_of(kind_label(kind), kind_value(kind))), kinds.map(Some));
        let bad = [("amount_off", 0), ("percent_off", 0), ("percent_off", 10_001), ("fixed_price", -1), ("", 1)];
        assert_eq!(bad.map(|(label, value)| kind_of(label, value)), [None; 5]);
        assert_eq!((kind_of("percent_off", -1), kind_of("percent_off", 65_537)), (None, None));
    }

    #[test]
    fn the_moves_of_a_coupon_and_no_others() {
        use OfferStatus::*;
        let allowed =
            [(Draft, Active), (Active, Paused), (Paused, Active), (Draft, Ended), (Active, Ended), (Paused, Ended)];
        for from in OfferStatus::ALL {
            for to in OfferStatus::ALL {
                assert_eq!(from.may_become(to), allowed.contains(&(from, to)), "{from:?} to {to:?}");
            }
        }
    }
}
