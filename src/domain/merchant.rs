//! Who works for a merchant.

/// What an operator of a merchant may do: cashiers take money; admins manage cashiers and admins; owners everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MerchantRole {
    Owner,
    Admin,
    Cashier,
}

impl MerchantRole {
    pub const fn label(self) -> &'static str {
        match self {
            MerchantRole::Owner => "owner",
            MerchantRole::Admin => "admin",
            MerchantRole::Cashier => "cashier",
        }
    }

    pub fn from_label(label: &str) -> Option<MerchantRole> {
        [MerchantRole::Owner, MerchantRole::Admin, MerchantRole::Cashier].into_iter().find(|r| r.label() == label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_table() {
        let roles = [MerchantRole::Owner, MerchantRole::Admin, MerchantRole::Cashier];
        assert_eq!(roles.map(MerchantRole::label), ["owner", "admin", "cashier"]);
        assert_eq!(roles.map(|r| MerchantRole::from_label(r.label())), roles.map(Some));
        assert_eq!(MerchantRole::from_label("member"), None);
    }
}
