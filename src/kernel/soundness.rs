//! What can be done to our tables that makes calls answer wrongly, and so that somebody else seems to blame: row-level security
//! that binds their owner shows us no rows, and so does another owner's. Every call asks for it first. Asked of the catalogs once
//! per backend, and again when one of these tables has changed.

use crate::engine::db::Db;
use crate::engine::param::p;
use crate::engine::{cache, server};
use crate::kernel::levels;
use mps_domain::error::{Error, Result, Token};
use pgrx::pg_sys::Oid;

/// Each of our tables with what is wrong with it; none of them while a dump is being restored, which has its own answer. A policy
/// for us that lets everything through (USING (true)) makes FORCE ROW LEVEL SECURITY harmless.
const TABLES: &str = "\
    SELECT c.oid, c.oid::pg_catalog.regclass::text, \
           CASE WHEN c.relowner <> us.oid THEN pg_catalog.pg_get_userbyid(c.relowner)::text END, \
           c.relforcerowsecurity AND c.relrowsecurity AND ( \
               NOT EXISTS (SELECT FROM pg_catalog.pg_policy y WHERE y.polrelid = c.oid AND y.polpermissive AND y.polcmd = '*' \
                             AND (0::pg_catalog.oid = ANY (y.polroles) OR us.oid = ANY (y.polroles)) \
                             AND pg_catalog.pg_get_expr(y.polqual, y.polrelid) = 'true' \
                             AND coalesce(pg_catalog.pg_get_expr(y.polwithcheck, y.polrelid), 'true') = 'true') \
               OR EXISTS (SELECT FROM pg_catalog.pg_policy y WHERE y.polrelid = c.oid AND NOT y.polpermissive \
                            AND (0::pg_catalog.oid = ANY (y.polroles) OR us.oid = ANY (y.polroles)))) \
    FROM (SELECT $1::pg_catalog.oid) us (oid), \
         (SELECT pg_catalog.to_regclass(n.tab)::pg_catalog.oid FROM sec.tables() n \
          UNION ALL \
          SELECT i.inhrelid FROM sec.monthly_tables() m, pg_catalog.pg_inherits i \
          WHERE i.inhparent = pg_catalog.to_regclass(m.nsp || '.' || m.tab)) t (oid) \
    JOIN pg_catalog.pg_class c ON c.oid = t.oid AND (NOT c.relispartition OR c.relname ~ '_20[0-9]{4}$') \
    WHERE EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = pg_catalog.to_regclass('app.settings') AND i.indisprimary) \
    ORDER BY 2";

struct Found {
    oid: Oid,
    name: String,
    /// Whose it is, where it is not ours.
    owner: Option<String>,
    binds_owner: bool,
}

/// Errors: `STATUS_CONFLICT`, which names the table and what to do.
pub fn ensure(db: &Db) -> Result<()> {
    if cache::watched_are_unchanged() {
        return Ok(());
    }
    let read_at = cache::changes();
    let Some(levels) = levels::levels() else { return Ok(()) };
    let tables = db.rows_of_now(TABLES, &[p(i64::from(levels.owner.to_u32()))], |r| Found {
        oid: r.get(1),
        name: r.text(2),
        owner: r.opt(3),
        binds_owner: r.get(4),
    });
    let sees_all = server::bypasses_row_security(levels.owner);
    let unsound: Vec<&Found> = tables.iter().filter(|t| t.owner.is_some() || t.binds_owner && !sees_all).collect();
    let Some(first) = unsound.first() else {
        // BYPASSRLS can be taken away without any of the tables changing.
        if !tables.iter().any(|t| t.binds_owner) {
            cache::watch(tables.iter().map(|t| t.oid), read_at);
        }
        return Ok(());
    };
    Err(problem(first, unsound.len() - 1, &server::role_name(levels.owner)))
}

fn problem(table: &Found, others: usize, us: &str) -> Error {
    let name = &table.name;
    let (what, remedy) = match &table.owner {
        Some(owner) => (
            format!("{name} belongs to {owner}, not to {us}, whose calls see no rows of it"),
            format!("ALTER TABLE {name} OWNER TO {us}"),
        ),
        None => (
            format!("row-level security of {name} binds its owner {us}, too (FORCE), whose calls see no rows of it"),
            format!("ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY"),
        ),
    };
    let more = if others > 0 { format!("; and {others} more tables") } else { String::new() };
    Error::new(Token::StatusConflict, format!("{what}{more}"))
        .with_hint(format!("A database administrator runs: {remedy}. sec.security_check() names every such table."))
}
