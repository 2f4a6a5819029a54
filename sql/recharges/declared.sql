-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.jobs_of_recharges() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('expire_recharges', '*/10 * * * *', 'CALL app.expire_recharges()', interval '10 minutes')
$$;
COMMENT ON FUNCTION sec.jobs_of_recharges() IS 'The jobs of recharges. Internal: sec.jobs().';

CREATE FUNCTION sec.columns_of_recharges() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.suspense_payments',
            'id, created_at, gateway_trade_no, tx_no, amount, payment_method, reason, payload, status, resolution, resolved_at, '
            'resolved_by, resolved_role, note, credited_tx_no, out_refund_no')
$$;
COMMENT ON FUNCTION sec.columns_of_recharges() IS 'What may be read of recharges. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_recharges() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES -- Clients see nothing of it.
           ('app.suspense_payments', 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
            'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege')
$$;
COMMENT ON FUNCTION sec.policies_of_recharges() IS 'The policies of recharges. Internal: sec.policies().';

CREATE FUNCTION sec.descriptions_of_recharges() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.suspense_payments', 'id', 'For resolve_suspense.'),
           ('app.suspense_payments', 'created_at', 'When it was put there.'),
           ('app.suspense_payments', 'payment_method', 'wechat, alipay, cash.'),
           ('app.suspense_payments', 'resolved_at', 'When the last word was said.'),
           ('app.suspense_payments', 'resolved_by', 'The sub of the claims of who said it, if any.'),
           ('app.suspense_payments', 'resolved_role', 'The database role of who said it.'),
           ('app.suspense_payments', 'note', 'Why.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_recharges() IS 'What columns of recharges are. Internal: sec.describe_columns().';

CREATE FUNCTION sec.settings_of_recharges()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (6, 'recharge_confirmation', 'choice', '''gateway''', NULL, NULL, ARRAY['gateway', 'trusted'],
            'gateway: a member''s recharge waits for confirm_recharge; trusted: it completes at once.',
            '会员充值是等待 confirm_recharge（gateway），还是立即到账（trusted）。'),
           (7, 'recharge_ttl_minutes', 'whole', '1440', '5', '43200', NULL,
            'After this, app.expire_recharges() cancels a recharge that nobody confirmed.',
            '超过该时长仍未确认的充值，由 app.expire_recharges() 取消。'),
           (9, 'max_pending_recharges', 'whole', '20', '1', '1000', NULL, 'How many recharges of one card may wait for their payment.',
            '每张卡最多有几笔充值等待确认。')
$$;
COMMENT ON FUNCTION sec.settings_of_recharges() IS 'The settings of recharges. Internal: sec.settings().';
