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
