//! MPS: membership cards and payments inside Postgres. This file is the map of the house:
//!
//! - `domain` (crate `mps-domain`): what is decided, without Postgres; the closed list of errors
//! - [`engine`]: how rows are read and written, and what is asked of the server; the only `unsafe`
//! - [`kernel`]: what every RPC stands on: the call, who calls, access, arguments, settings, keys, the log
//! - [`ledger`]: the only code that moves a balance
//! - [`features`]: a folder for each family, a file for each RPC: authorise, lock, decide, write, answer
//!
//! Each uses those above it in this list, and a family another one only by its `mod.rs`; `tests/tidy` holds it.
//!
//! - `sql/`: what CREATE EXTENSION runs, in the order below
// Money is never a fraction of two, and what a server has to say goes into its log.
#![warn(clippy::float_arithmetic, clippy::print_stderr, clippy::print_stdout)]

#[macro_use]
mod engine;
mod kernel;
mod ledger;
// Last: it stands on the others.
mod features;

pgrx::pg_module_magic!();

pgrx::extension_sql_file!("../sql/00_preflight.sql", name = "preflight", bootstrap);
pgrx::extension_sql_file!("../sql/10_security.sql", name = "security");
pgrx::extension_sql_file!("../sql/20_rpcs.sql", name = "rpcs", requires = ["security"]);
pgrx::extension_sql_file!("../sql/30_install.sql", name = "install", requires = ["rpcs"]);
pgrx::extension_sql_file!("../sql/31_tables_of_cards.sql", name = "tables_of_cards", requires = ["install"]);
pgrx::extension_sql_file!(
    "../sql/32_tables_of_movements.sql",
    name = "tables_of_movements",
    requires = ["tables_of_cards"]
);
pgrx::extension_sql_file!("../sql/33_attachments.sql", name = "attachments", requires = ["tables_of_movements"]);
pgrx::extension_sql_file!("../sql/34_migrate_tables.sql", name = "migrate_tables", requires = ["attachments"]);
pgrx::extension_sql_file!("../sql/36_months.sql", name = "months", requires = ["migrate_tables"]);
pgrx::extension_sql_file!("../sql/37_month_settings.sql", name = "month_settings", requires = ["months"]);
pgrx::extension_sql_file!("../sql/38_days.sql", name = "days", requires = ["month_settings"]);
pgrx::extension_sql_file!("../sql/39_descriptions.sql", name = "descriptions", requires = ["days"]);
pgrx::extension_sql_file!("../sql/41_rehearsal.sql", name = "rehearsal", requires = ["descriptions"]);
pgrx::extension_sql_file!("../sql/43_closing.sql", name = "closing", requires = ["rehearsal"]);
pgrx::extension_sql_file!("../sql/45_procedures.sql", name = "procedures", requires = ["closing"]);
pgrx::extension_sql_file!("../sql/50_grants.sql", name = "grants", requires = ["procedures"]);
pgrx::extension_sql_file!("../sql/60_checks.sql", name = "checks", requires = ["grants"]);
pgrx::extension_sql_file!("../sql/62_soundness.sql", name = "soundness", requires = ["checks"]);
pgrx::extension_sql_file!("../sql/64_sequences.sql", name = "sequences", requires = ["soundness"]);
pgrx::extension_sql_file!("../sql/65_view.sql", name = "view", requires = ["sequences"]);
pgrx::extension_sql_file!("../sql/70_books_rules.sql", name = "books_rules", requires = ["view"]);
pgrx::extension_sql_file!("../sql/72_books.sql", name = "books", requires = ["books_rules"]);
pgrx::extension_sql_file!("../sql/75_seals.sql", name = "seals", requires = ["books"]);
pgrx::extension_sql_file!("../sql/80_operation.sql", name = "operation", requires = ["seals"]);
pgrx::extension_sql_file!("../sql/85_upgrade.sql", name = "upgrade", requires = ["operation"]);
pgrx::extension_sql_file!("../sql/90_finish.sql", name = "finish", finalize);

/// Called by Postgres when it loads the library.
#[pgrx::pg_guard]
#[allow(unsafe_code)] // the name that Postgres looks for
pub extern "C-unwind" fn _PG_init() {
    engine::server::no_backtraces();
    engine::cache::init();
}
