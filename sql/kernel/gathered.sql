-- Written by tools/api from what the families declare. What may be declared is in tools/gathering.py.

CREATE FUNCTION sec.api_functions() RETURNS TABLE (func text, level text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('sec.uid', 'client'),
           ('sec.level_client', 'client'),
           ('sec.level_backend', 'backend'),
           ('sec.level_operator', 'operator'),
           ('sec.level_gateway', 'gateway'),
           ('sec.raise', 'operator'),
           ('sec.raise', 'signup'),
           ('app.error_list', 'client'),
           ('sec.job_batch', 'operator'),
           ('app.schedule_jobs', 'operator'),
           ('sec.security_check', 'operator'),
           ('sec.jobs_rest', 'operator'),
           ('app.set_mode', 'operator'),
           ('app.health', 'operator'),
           ('app.bucket_of_card', 'client'),
           ('app.bucket_of_code', 'client'),
           ('app.bucket_of_tx', 'client'),
           ('app.rebuild_from_log', 'operator'),
           ('app.expire_keys_batch', 'operator'),
           ('app.expire_keys', 'operator'),
           ('app.rehearse_month_batch', 'operator'),
           ('app.maintain_partitions_batch', 'operator'),
           ('app.maintain_partitions', 'operator'),
           ('sec.check_months_ahead', 'operator'),
           ('app.close_months_note_batch', 'operator'),
           ('app.close_months_mark_batch', 'operator'),
           ('sec.closing_is_ready', 'operator'),
           ('app.close_month_batch', 'operator'),
           ('app.close_months', 'operator'),
           ('sec.months_to_archive', 'operator'),
           ('app.archive_partitions', 'operator'),
           ('app.archive_month_batch', 'operator'),
           ('app.business_day', 'client'),
           ('app.business_day', 'operator'),
           ('app.business_day_start', 'client'),
           ('app.business_day_start', 'operator'),
           ('app.verify_books', 'operator'),
           ('audit.seal_note', 'operator'),
           ('audit.seal_ready', 'operator'),
           ('audit.seal_batch', 'operator'),
           ('audit.seal', 'operator'),
           ('audit.head', 'operator'),
           ('audit.verify', 'operator'),
           ('app.register_member', 'client'),
           ('app.set_member_status', 'backend'),
           ('sec.on_signup', 'signup'),
           ('sec.signup_triggers', 'signup'),
           ('app.enable_supabase_signup', 'signup'),
           ('app.rotate_card_qr', 'client'),
           ('app.create_enterprise_card', 'backend'),
           ('app.enterprise_add_member', 'client'),
           ('app.enterprise_remove_member', 'client'),
           ('app.set_card_status', 'client'),
           ('app.set_card_expiry', 'backend'),
           ('app.replace_card', 'backend'),
           ('app.adjust_points', 'backend'),
           ('sec.admin_card_ids', 'client'),
           ('app.expire_cards_batch', 'operator'),
           ('app.expire_cards', 'operator'),
           ('app.expire_qrcodes_batch', 'operator'),
           ('app.expire_qrcodes', 'operator'),
           ('app.recompute_levels_batch', 'operator'),
           ('app.recompute_levels', 'operator'),
           ('app.create_merchant', 'backend'),
           ('app.set_merchant_status', 'backend'),
           ('app.set_merchant_user', 'client'),
           ('app.remove_merchant_user', 'client'),
           ('sec.merchant_ids', 'client'),
           ('app.merchant_charge_by_qr', 'client'),
           ('app.quote_charge', 'client'),
           ('app.merchant_refund_tx', 'client'),
           ('app.cancel_payment', 'client'),
           ('app.compensate_tx', 'backend'),
           ('app.gateway_notify', 'backend'),
           ('app.reverify_event', 'backend'),
           ('mps_gateway.notify', 'gateway'),
           ('app.tx_proof', 'client'),
           ('app.liability_proof', 'client'),
           ('app.head_proof', 'client'),
           ('audit.receipts_are_on', 'operator'),
           ('audit.grow_tree', 'operator'),
           ('audit.sign_head', 'operator'),
           ('audit.declare_restore', 'operator'),
           ('audit.note_balances', 'operator'),
           ('audit.balances_ready', 'operator'),
           ('audit.publish_balances', 'operator'),
           ('audit.sign_heads', 'operator'),
           ('app.user_recharge_personal_card', 'client'),
           ('app.user_recharge_enterprise_card_admin', 'client'),
           ('app.confirm_recharge', 'backend'),
           ('app.fail_recharge', 'backend'),
           ('app.resolve_suspense', 'backend'),
           ('app.expire_recharges_batch', 'operator'),
           ('app.expire_recharges', 'operator'),
           ('app.import_bill', 'backend'),
           ('app.reconcile', 'backend'),
           ('app.resolve_recon_item', 'backend'),
           ('app.close_recon_day', 'backend'),
           ('app.get_settings', 'backend'),
           ('app.update_settings', 'backend'),
           ('app.card_statement', 'client'),
           ('app.usage_page', 'client'),
           ('app.merchant_statement', 'client'),
           ('app.balance_as_of', 'client'),
           ('app.tx_by_no', 'client'),
           ('sec.shown_tag', 'client'),
           ('app.day_totals', 'backend'),
           ('app.day_totals', 'operator'),
           ('app.withdraw', 'backend'),
           ('app.confirm_withdrawal', 'backend'),
           ('app.fail_withdrawal', 'backend'),
           ('sec.coupon_no', 'client'),
           ('app.create_coupon', 'backend'),
           ('app.update_coupon', 'backend'),
           ('app.set_coupon_status', 'backend'),
           ('app.issue_coupon', 'backend'),
           ('app.claim_coupon', 'client'),
           ('app.revoke_coupon', 'backend'),
           ('app.issue_coupon_to_all_batch', 'operator'),
           ('app.issue_coupon_to_all', 'operator'),
           ('app.create_campaign', 'backend'),
           ('app.update_campaign', 'backend'),
           ('app.set_campaign_status', 'backend'),
           ('app.campaign_report', 'backend'),
           ('sec.jobs', 'operator')
$$;
COMMENT ON FUNCTION sec.api_functions() IS
    'Every function that a level may call, from the line `Level:` of its comment; what is not here is internal. A backend may also '
    'call what a client may. Grants are made from it, and sec.security_check() compares with it. Internal.';

CREATE FUNCTION sec.tables() RETURNS TABLE (tab text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.archived_months'),
           ('app.asked_methods'),
           ('app.business_day_rules'),
           ('app.campaign_terms'),
           ('app.campaigns'),
           ('app.closed_months'),
           ('app.coupon_budget_parts'),
           ('app.coupon_terms'),
           ('app.coupons'),
           ('app.enterprise_card_bindings'),
           ('app.enterprise_cards'),
           ('app.external_orders'),
           ('app.gateway_accounts'),
           ('app.gateway_bill_files'),
           ('app.gateway_bill_lines'),
           ('app.gateway_bills'),
           ('app.gateway_events'),
           ('app.gateway_tallies'),
           ('app.idempotency_keys'),
           ('app.job_runs'),
           ('app.late_postings'),
           ('app.member_coupons'),
           ('app.member_months'),
           ('app.member_profiles'),
           ('app.membership_levels'),
           ('app.merchant_months'),
           ('app.merchant_users'),
           ('app.merchants'),
           ('app.month_rehearsals'),
           ('app.operating_mode'),
           ('app.pending_recharges'),
           ('app.personal_cards'),
           ('app.point_ledger'),
           ('app.recon_days'),
           ('app.recon_items'),
           ('app.settings'),
           ('app.suspense_payments'),
           ('app.transaction_compensations'),
           ('app.transactions'),
           ('app.withdrawals'),
           ('audit.event_log'),
           ('audit.heads'),
           ('audit.seal_cut'),
           ('audit.seals'),
           ('audit.tree_chunks'),
           ('audit.tree_nodes'),
           ('audit.trees'),
           ('sec.gateway_keys')
$$;
COMMENT ON FUNCTION sec.tables() IS
    'The tables of mps that calls read and write: all but those of who has which level. Internal.';

CREATE FUNCTION sec.jobs() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.jobs_of_ledger()
    UNION ALL SELECT * FROM sec.jobs_of_cards()
    UNION ALL SELECT * FROM sec.jobs_of_recharges()
$$;
COMMENT ON FUNCTION sec.jobs() IS
    E'The procedures that are to run by themselves, and how often. app.recompute_levels() and app.archive_partitions() are run by '
    'hand.\n'
    'Level: operator.';

CREATE FUNCTION sec.monthly_tables() RETURNS TABLE (nsp text, tab text, pk text, is_append_only boolean)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.monthly_tables_of_ledger()
    UNION ALL SELECT * FROM sec.monthly_tables_of_gateways()
$$;
COMMENT ON FUNCTION sec.monthly_tables() IS
    'The tables that are kept by month, with the primary key of each month, and whether a row of them is never changed. Whatever '
    'locks several of them does so in this order. Internal.';

CREATE FUNCTION sec.settings()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.settings_of_ledger()
    UNION ALL SELECT * FROM sec.settings_of_members()
    UNION ALL SELECT * FROM sec.settings_of_cards()
    UNION ALL SELECT * FROM sec.settings_of_recharges()
$$;
COMMENT ON FUNCTION sec.settings() IS
    'The settings, by place: kind, default as SQL, bounds or choices, what it is in English and Chinese. sec.setting_kinds() says '
    'what a kind is. Internal.';

CREATE FUNCTION sec.columns_by_level() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.columns_of_kernel()
    UNION ALL SELECT * FROM sec.columns_of_ledger()
    UNION ALL SELECT * FROM sec.columns_of_members()
    UNION ALL SELECT * FROM sec.columns_of_cards()
    UNION ALL SELECT * FROM sec.columns_of_merchants()
    UNION ALL SELECT * FROM sec.columns_of_gateways()
    UNION ALL SELECT * FROM sec.columns_of_recharges()
    UNION ALL SELECT * FROM sec.columns_of_reconciliation()
    UNION ALL SELECT * FROM sec.columns_of_settings()
    UNION ALL SELECT * FROM sec.columns_of_statements()
    UNION ALL SELECT * FROM sec.columns_of_withdrawals()
    UNION ALL SELECT * FROM sec.columns_of_coupons()
    UNION ALL SELECT * FROM sec.columns_of_campaigns()
$$;
COMMENT ON FUNCTION sec.columns_by_level() IS
    'What may be read past the functions, by level. Internal.';

CREATE FUNCTION sec.policies() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.policies_of_ledger()
    UNION ALL SELECT * FROM sec.policies_of_members()
    UNION ALL SELECT * FROM sec.policies_of_cards()
    UNION ALL SELECT * FROM sec.policies_of_merchants()
    UNION ALL SELECT * FROM sec.policies_of_gateways()
    UNION ALL SELECT * FROM sec.policies_of_recharges()
    UNION ALL SELECT * FROM sec.policies_of_reconciliation()
    UNION ALL SELECT * FROM sec.policies_of_settings()
    UNION ALL SELECT * FROM sec.policies_of_withdrawals()
    UNION ALL SELECT * FROM sec.policies_of_coupons()
    UNION ALL SELECT * FROM sec.policies_of_campaigns()
$$;
COMMENT ON FUNCTION sec.policies() IS
    'The policies, all for SELECT: table, name, condition, and the condition as the server shows it, without white space and '
    'brackets. Internal.';

CREATE FUNCTION sec.standing_triggers() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.standing_triggers_of_kernel()
    UNION ALL SELECT * FROM sec.standing_triggers_of_ledger()
    UNION ALL SELECT * FROM sec.standing_triggers_of_receipts()
    UNION ALL SELECT * FROM sec.standing_triggers_of_settings()
    UNION ALL SELECT * FROM sec.standing_triggers_of_campaigns()
$$;
COMMENT ON FUNCTION sec.standing_triggers() IS
    'The triggers that fire whatever session_replication_role says; every month of the log has its own append_only besides. '
    'sec.install_triggers() makes them, sec.security_check() looks for them. Internal.';

CREATE FUNCTION sec.descriptions() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.descriptions_of_kernel()
    UNION ALL SELECT * FROM sec.descriptions_of_ledger()
    UNION ALL SELECT * FROM sec.descriptions_of_members()
    UNION ALL SELECT * FROM sec.descriptions_of_cards()
    UNION ALL SELECT * FROM sec.descriptions_of_merchants()
    UNION ALL SELECT * FROM sec.descriptions_of_gateways()
    UNION ALL SELECT * FROM sec.descriptions_of_recharges()
    UNION ALL SELECT * FROM sec.descriptions_of_reconciliation()
    UNION ALL SELECT * FROM sec.descriptions_of_settings()
    UNION ALL SELECT * FROM sec.descriptions_of_statements()
    UNION ALL SELECT * FROM sec.descriptions_of_withdrawals()
    UNION ALL SELECT * FROM sec.descriptions_of_coupons()
    UNION ALL SELECT * FROM sec.descriptions_of_campaigns()
$$;
COMMENT ON FUNCTION sec.descriptions() IS
    'What columns are: those that clients and backends read, and those that a release added to a table of before. Internal.';

CREATE FUNCTION sec.health_rows() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.health_of_kernel()
    UNION ALL SELECT * FROM sec.health_of_ledger()
    UNION ALL SELECT * FROM sec.health_of_members()
    UNION ALL SELECT * FROM sec.health_of_cards()
    UNION ALL SELECT * FROM sec.health_of_gateways()
    UNION ALL SELECT * FROM sec.health_of_receipts()
    UNION ALL SELECT * FROM sec.health_of_recharges()
    UNION ALL SELECT * FROM sec.health_of_reconciliation()
    UNION ALL SELECT * FROM sec.health_of_withdrawals()
$$;
COMMENT ON FUNCTION sec.health_rows() IS
    'What the families have to say in app.health(). Internal.';

CREATE FUNCTION sec.sequence_states() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.sequences_of_ledger()
    UNION ALL SELECT * FROM sec.sequences_of_members()
    UNION ALL SELECT * FROM sec.sequences_of_cards()
    UNION ALL SELECT * FROM sec.sequences_of_merchants()
    UNION ALL SELECT * FROM sec.sequences_of_gateways()
    UNION ALL SELECT * FROM sec.sequences_of_recharges()
    UNION ALL SELECT * FROM sec.sequences_of_reconciliation()
    UNION ALL SELECT * FROM sec.sequences_of_coupons()
    UNION ALL SELECT * FROM sec.sequences_of_campaigns()
$$;
COMMENT ON FUNCTION sec.sequence_states() IS
    'Every sequence that numbers rows: what it gave last, and the greatest that is used. Internal.';

CREATE FUNCTION sec.logged_actions() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.logged_of_kernel()
    UNION ALL SELECT * FROM sec.logged_of_ledger()
    UNION ALL SELECT * FROM sec.logged_of_members()
    UNION ALL SELECT * FROM sec.logged_of_cards()
    UNION ALL SELECT * FROM sec.logged_of_merchants()
    UNION ALL SELECT * FROM sec.logged_of_gateways()
    UNION ALL SELECT * FROM sec.logged_of_receipts()
    UNION ALL SELECT * FROM sec.logged_of_recharges()
    UNION ALL SELECT * FROM sec.logged_of_reconciliation()
    UNION ALL SELECT * FROM sec.logged_of_settings()
    UNION ALL SELECT * FROM sec.logged_of_withdrawals()
    UNION ALL SELECT * FROM sec.logged_of_coupons()
    UNION ALL SELECT * FROM sec.logged_of_campaigns()
$$;
COMMENT ON FUNCTION sec.logged_actions() IS
    'Every kind of event that this release writes, and what its context must have for the books to be written anew from the log. '
    'Internal.';

CREATE FUNCTION sec.rebuild_steps() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.rebuilds_of_ledger()
    UNION ALL SELECT * FROM sec.rebuilds_of_members()
    UNION ALL SELECT * FROM sec.rebuilds_of_cards()
    UNION ALL SELECT * FROM sec.rebuilds_of_merchants()
    UNION ALL SELECT * FROM sec.rebuilds_of_payments()
    UNION ALL SELECT * FROM sec.rebuilds_of_gateways()
    UNION ALL SELECT * FROM sec.rebuilds_of_recharges()
    UNION ALL SELECT * FROM sec.rebuilds_of_reconciliation()
    UNION ALL SELECT * FROM sec.rebuilds_of_settings()
    UNION ALL SELECT * FROM sec.rebuilds_of_withdrawals()
    UNION ALL SELECT * FROM sec.rebuilds_of_coupons()
    UNION ALL SELECT * FROM sec.rebuilds_of_campaigns()
$$;
COMMENT ON FUNCTION sec.rebuild_steps() IS
    'The steps of app.rebuild_from_log(): functions in sec, by their place. Internal.';

CREATE FUNCTION sec.books_families() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM sec.rules_of_ledger()
    UNION ALL SELECT * FROM sec.rules_of_payments()
    UNION ALL SELECT * FROM sec.rules_of_gateways()
    UNION ALL SELECT * FROM sec.rules_of_recharges()
    UNION ALL SELECT * FROM sec.rules_of_reconciliation()
    UNION ALL SELECT * FROM sec.rules_of_withdrawals()
    UNION ALL SELECT * FROM sec.rules_of_coupons()
    UNION ALL SELECT * FROM sec.rules_of_campaigns()
$$;
COMMENT ON FUNCTION sec.books_families() IS
    'The rules that the families name, for sec.books_rules() and sec.books_proofs(). Internal.';
