//! What CREATE EXTENSION runs, in this order: every file of sql/ but what was released. tools/upgrade-script reads the list too.

/// Declares each file after the one before it; pgrx wants a name and the path, both spelt out.
macro_rules! in_order {
    ($before:tt) => {};
    ($before:tt $name:tt $path:tt $($rest:tt)*) => {
        pgrx::extension_sql_file!($path, name = $name, requires = [$before]);
        in_order!($name $($rest)*);
    };
}

pgrx::extension_sql_file!("../sql/kernel/preflight.sql", name = "preflight", bootstrap);
in_order! { "preflight"
    "kernel_security"            "../sql/kernel/security.sql"
    "kernel_errors"              "../sql/kernel/errors.sql"
    "kernel_events"              "../sql/kernel/events.sql"
    "kernel_install"             "../sql/kernel/install.sql"
    "kernel_attachments"         "../sql/kernel/attachments.sql"
    "kernel_descriptions"        "../sql/kernel/descriptions.sql"
    "kernel_jobs"                "../sql/kernel/jobs.sql"
    "kernel_declared"            "../sql/kernel/declared.sql"
    "kernel_gathered"            "../sql/kernel/gathered.sql"
    "kernel_api_columns"         "../sql/kernel/api_columns.sql"
    "kernel_levels"              "../sql/kernel/levels.sql"
    "kernel_grants"              "../sql/kernel/grants.sql"
    "kernel_careless_code"       "../sql/kernel/careless_code.sql"
    "kernel_shadows"             "../sql/kernel/shadows.sql"
    "kernel_security_check"      "../sql/kernel/security_check.sql"
    "kernel_powers"              "../sql/kernel/powers.sql"
    "kernel_soundness"           "../sql/kernel/soundness.sql"
    "kernel_sequences"           "../sql/kernel/sequences.sql"
    "kernel_cut"                 "../sql/kernel/cut.sql"
    "kernel_view"                "../sql/kernel/view.sql"
    "kernel_health"              "../sql/kernel/health.sql"
    "kernel_migrate"             "../sql/kernel/migrate.sql"
    "kernel_upgrade"             "../sql/kernel/upgrade.sql"
    "kernel_buckets"             "../sql/kernel/buckets.sql"
    "kernel_destroy"             "../sql/kernel/destroy.sql"
    "kernel_what_there_is"       "../sql/kernel/what_there_is.sql"

    "ledger_declared"            "../sql/ledger/declared.sql"
    "ledger_transactions"        "../sql/ledger/transactions.sql"
    "ledger_tables"              "../sql/ledger/tables.sql"
    "ledger_keys"                "../sql/ledger/keys.sql"
    "ledger_months"              "../sql/ledger/months.sql"
    "ledger_month_settings"      "../sql/ledger/month_settings.sql"
    "ledger_month_remarks"       "../sql/ledger/month_remarks.sql"
    "ledger_rehearsal"           "../sql/ledger/rehearsal.sql"
    "ledger_maintain_partitions" "../sql/ledger/maintain_partitions.sql"
    "ledger_closing"             "../sql/ledger/closing.sql"
    "ledger_archiving"           "../sql/ledger/archiving.sql"
    "ledger_archive_month"       "../sql/ledger/archive_month.sql"
    "ledger_days"                "../sql/ledger/days.sql"
    "ledger_books_rules"         "../sql/ledger/books_rules.sql"
    "ledger_books_chain"         "../sql/ledger/books_chain.sql"
    "ledger_books_balances"      "../sql/ledger/books_balances.sql"
    "ledger_books_numbers"       "../sql/ledger/books_numbers.sql"
    "ledger_books_points"        "../sql/ledger/books_points.sql"
    "ledger_books_audit"         "../sql/ledger/books_audit.sql"
    "ledger_books_claims"        "../sql/ledger/books_claims.sql"
    "ledger_books_months"        "../sql/ledger/books_months.sql"
    "ledger_books"               "../sql/ledger/books.sql"
    "ledger_verify_books"        "../sql/ledger/verify_books.sql"
    "ledger_seals"               "../sql/ledger/seals.sql"
    "ledger_verify"              "../sql/ledger/verify.sql"
    "ledger_sealed_events"       "../sql/ledger/sealed_events.sql"
    "ledger_health"              "../sql/ledger/health.sql"

    "members_declared"           "../sql/members/declared.sql"
    "members_tables"             "../sql/members/tables.sql"
    "members_rpcs"               "../sql/members/rpcs.sql"
    "members_signup"             "../sql/members/signup.sql"
    "members_health"             "../sql/members/health.sql"

    "cards_declared"             "../sql/cards/declared.sql"
    "cards_tables"               "../sql/cards/tables.sql"
    "cards_rpcs"                 "../sql/cards/rpcs.sql"
    "cards_policies"             "../sql/cards/policies.sql"
    "cards_user_cards"           "../sql/cards/user_cards.sql"
    "cards_jobs"                 "../sql/cards/jobs.sql"
    "cards_health"               "../sql/cards/health.sql"

    "merchants_declared"         "../sql/merchants/declared.sql"
    "merchants_tables"           "../sql/merchants/tables.sql"
    "merchants_rpcs"             "../sql/merchants/rpcs.sql"
    "merchants_policies"         "../sql/merchants/policies.sql"
    "merchants_health"           "../sql/merchants/health.sql"

    "payments_tables"            "../sql/payments/tables.sql"
    "payments_rpcs"              "../sql/payments/rpcs.sql"
    "payments_books"             "../sql/payments/books.sql"
    "payments_books_refunds"     "../sql/payments/books_refunds.sql"

    "receipts_declared"          "../sql/receipts/declared.sql"
    "receipts_tables"            "../sql/receipts/tables.sql"
    "receipts_rpcs"              "../sql/receipts/rpcs.sql"
    "receipts_jobs"              "../sql/receipts/jobs.sql"

    "recharges_declared"         "../sql/recharges/declared.sql"
    "recharges_tables"           "../sql/recharges/tables.sql"
    "recharges_rpcs"             "../sql/recharges/rpcs.sql"
    "recharges_books"            "../sql/recharges/books.sql"
    "recharges_jobs"             "../sql/recharges/jobs.sql"
    "recharges_old_calls"        "../sql/recharges/old_calls.sql"
    "recharges_migrate"          "../sql/recharges/migrate.sql"
    "recharges_health"           "../sql/recharges/health.sql"

    "settings_declared"          "../sql/settings/declared.sql"
    "settings_tables"            "../sql/settings/tables.sql"
    "settings_rpcs"              "../sql/settings/rpcs.sql"
    "settings_changes"           "../sql/settings/changes.sql"

    "statements_declared"        "../sql/statements/declared.sql"
    "statements_rpcs"            "../sql/statements/rpcs.sql"
    "statements_usage_logs"      "../sql/statements/usage_logs.sql"
    "statements_reconciliation"  "../sql/statements/reconciliation.sql"
    "statements_day_totals"      "../sql/statements/day_totals.sql"
}
pgrx::extension_sql_file!("../sql/kernel/finish.sql", name = "finish", finalize);
