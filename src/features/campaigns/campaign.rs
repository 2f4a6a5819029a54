//! `app.campaigns`: by code.

use crate::engine::db::Db;
use crate::engine::direct::Path;
use crate::engine::param::p;
use crate::engine::record::{Value, changes, column, record};
use crate::engine::row::{Row, RowVersion};
use crate::engine::types::Timestamp;
use crate::kernel::months::Open;
use mps_domain::coupon::OfferStatus;
use mps_domain::error::Result;

record! {
    /// A campaign.
    #[derive(Debug)]
    pub struct Campaign in static TABLE: c"app", "campaigns";
    asserted {
        "(status = ANY (ARRAY['draft'::text, 'active'::text, 'paused'::text, 'ended'::text]))",
    }
    columns {
        id: i32,
        /// Its newest terms.
        terms_version: i32,
        created_at: Timestamp,
        status: OfferStatus,
        code: String,
    }
    besides {
        version: RowVersion = Row::version,
    }
    read by read;
}

static BY_CODE: Path = Path { table: &TABLE, index: "campaigns_code_key", key: &["code"] };

pub fn find(db: &Db, code: &str) -> Option<Campaign> {
    db.find(&BY_CODE, None, &[p(code)], Campaign::read)
}

pub fn lock(open: Open, code: &str) -> Option<Campaign> {
    open.lock(&BY_CODE, None, &[p(code)], Campaign::read)
}

/// A draft with its first terms; `None` if the code is taken.
pub fn create(db: &Db, at: Timestamp, code: &str) -> Option<i32> {
    let new = vec![
        ("terms_version", p(1)),
        ("created_at", p(at)),
        ("status", OfferStatus::Draft.param(db)),
        ("code", p(code)),
    ];
    db.insert_some_or_nothing(&BY_CODE, new, |r| column!(r, TABLE.id))
}

/// Writes what became of a locked one. Error: `STATUS_CONFLICT`, a trigger has changed it meanwhile.
pub fn update(db: &Db, campaign: &mut Campaign) -> Result<()> {
    let changes = changes!(db, campaign: terms_version, status);
    db.update_locked(&BY_CODE, None, &[p(campaign.code.as_str())], &mut campaign.version, changes.into())
}
