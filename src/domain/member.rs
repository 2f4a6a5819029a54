//! What a member is.

/// Whether a member may pay: only an active one; a closed one never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberStatus {
    Active,
    Suspended,
    Closed,
}

impl MemberStatus {
    pub const fn label(self) -> &'static str {
        match self {
            MemberStatus::Active => "active",
            MemberStatus::Suspended => "suspended",
            MemberStatus::Closed => "closed",
        }
    }

    pub fn from_label(label: &str) -> Option<MemberStatus> {
        [MemberStatus::Active, MemberStatus::Suspended, MemberStatus::Closed].into_iter().find(|s| s.label() == label)
    }
}

/// What a member may do with a company's card that it is bound to: pay; an admin also says who is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindRole {
    Admin,
    Member,
}

impl BindRole {
    pub const fn label(self) -> &'static str {
        match self {
            BindRole::Admin => "admin",
            BindRole::Member => "member",
        }
    }

    pub fn from_label(label: &str) -> Option<BindRole> {
        [BindRole::Admin, BindRole::Member].into_iter().find(|r| r.label() == label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_tables() {
        let statuses = [MemberStatus::Active, MemberStatus::Suspended, MemberStatus::Closed];
        assert_eq!(statuses.map(MemberStatus::label), ["active", "suspended", "closed"]);
        assert_eq!(statuses.map(|s| MemberStatus::from_label(s.label())), statuses.map(Some));
        assert_eq!(MemberStatus::from_label("Active"), None);
        let roles = [BindRole::Admin, BindRole::Member];
        assert_eq!(roles.map(BindRole::label), ["admin", "member"]);
        assert_eq!(roles.map(|r| BindRole::from_label(r.label())), roles.map(Some));
        assert_eq!(BindRole::from_label("owner"), None);
    }
}
