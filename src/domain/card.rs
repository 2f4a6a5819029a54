//! Cards: their kinds, their statuses and the moves between them, and their numbers.

/// Which of the two kinds a card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CardType {
    Personal,
    Enterprise,
}

impl CardType {
    pub const fn label(self) -> &'static str {
        match self {
            CardType::Personal => "personal",
            CardType::Enterprise => "enterprise",
        }
    }

    pub fn from_label(label: &str) -> Option<CardType> {
        [CardType::Personal, CardType::Enterprise].into_iter().find(|t| t.label() == label)
    }

    pub const fn number_prefix(self) -> &'static str {
        match self {
            CardType::Personal => "VIP",
            CardType::Enterprise => "ENT",
        }
    }

    /// The number people read: `VIP00000001`, `ENT00001`.
    pub fn number(self, serial: i64) -> String {
        match self {
            CardType::Personal => format!("VIP{serial:08}"),
            CardType::Enterprise => format!("ENT{serial:05}"),
        }
    }

    /// The serial inside a card number.
    pub fn serial(self, card_no: &str) -> Option<i64> {
        card_no.strip_prefix(self.number_prefix())?.parse().ok()
    }
}

/// `app.card_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CardStatus {
    Active,
    Frozen,
    Lost,
    Expired,
    Closed,
}

impl CardStatus {
    pub const ALL: [CardStatus; 5] =
        [CardStatus::Active, CardStatus::Frozen, CardStatus::Lost, CardStatus::Expired, CardStatus::Closed];

    pub const fn label(self) -> &'static str {
        match self {
            CardStatus::Active => "active",
            CardStatus::Frozen => "frozen",
            CardStatus::Lost => "lost",
            CardStatus::Expired => "expired",
            CardStatus::Closed => "closed",
        }
    }

    pub fn from_label(label: &str) -> Option<CardStatus> {
        CardStatus::ALL.into_iter().find(|s| s.label() == label)
    }

    /// Whether `set_card_status` may make this move. Expiry moves by `set_card_expiry`, replacement by `replace_card`;
    /// closing an empty card is allowed from everywhere but from closed, which is final. A company card is not replaced, so
    /// it is found again: otherwise its money could never be spent.
    pub fn may_become(self, next: CardStatus, card_type: CardType) -> bool {
        use CardStatus::*;
        match (self, next) {
            (Lost, Active) => card_type == CardType::Enterprise,
            (Active, Frozen) | (Frozen, Active) | (Active | Frozen, Lost) => true,
            (Active | Frozen | Lost | Expired, Closed) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moves_of_the_contract_and_no_others() {
        use CardStatus::*;
        let allowed = [
            (Active, Frozen),
            (Frozen, Active),
            (Active, Lost),
            (Frozen, Lost),
            (Active, Closed),
            (Frozen, Closed),
            (Lost, Closed),
            (Expired, Closed),
        ];
        for from in CardStatus::ALL {
            for to in CardStatus::ALL {
                let personal = allowed.contains(&(from, to));
                assert_eq!(from.may_become(to, CardType::Personal), personal, "{from:?} to {to:?}");
                let enterprise = personal || (from, to) == (Lost, Active);
                assert_eq!(from.may_become(to, CardType::Enterprise), enterprise, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn labels_are_those_of_the_tables() {
        let types = [CardType::Personal, CardType::Enterprise];
        assert_eq!(types.map(CardType::label), ["personal", "enterprise"]);
        assert_eq!(types.map(|t| CardType::from_label(t.label())), types.map(Some));
        assert_eq!(CardType::from_label("Personal"), None);
        assert_eq!(CardStatus::ALL.map(CardStatus::label), ["active", "frozen", "lost", "expired", "closed"]);
        assert_eq!(CardStatus::ALL.map(|s| CardStatus::from_label(s.label())), CardStatus::ALL.map(Some));
        assert_eq!(CardStatus::from_label(""), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(CardType::Personal.number(1), "VIP00000001");
        assert_eq!(CardType::Enterprise.number(1), "ENT00001");
        assert_eq!(CardType::Enterprise.number(1_234_567), "ENT1234567");
        assert_eq!(CardType::Personal.serial("VIP00000042"), Some(42));
        assert_eq!(CardType::Personal.serial("ENT00001"), None);
    }
}
