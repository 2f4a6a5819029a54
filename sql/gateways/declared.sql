-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_gateways() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.gateway_accounts', 'code, provider, active, merchant_id, created_at, config'),
           ('backend', 'app.gateway_events',
            'id, received_at, happened_at, amount, verified, account, provider, kind, event_key, key_id, outcome, reason, tx_no, '
            'trade_no, out_trade_no, headers, body'),
           ('backend', 'app.gateway_tallies', 'account, hour, kind, callbacks, last_at, first_event')
$$;
COMMENT ON FUNCTION sec.columns_of_gateways() IS
    'What may be read of payment gateways; of keys nothing. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_gateways() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Clients see nothing of it, and nobody anything of the keys.
    SELECT t.tab, 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.gateway_accounts'), ('app.gateway_events'), ('app.gateway_tallies')) t (tab)
$$;
COMMENT ON FUNCTION sec.policies_of_gateways() IS 'The policies of payment gateways. Internal: sec.policies().';

CREATE FUNCTION sec.descriptions_of_gateways() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.gateway_accounts', 'code', 'By which the functions and the proxy name it.'),
           ('app.gateway_accounts', 'provider', 'wechat, alipay.'),
           ('app.gateway_accounts', 'active', 'Whether notices of it are taken.'),
           ('app.gateway_accounts', 'merchant_id', 'The merchant whose bank receives; NULL: the platform.'),
           ('app.gateway_accounts', 'created_at', 'When it was first set.'),
           ('app.gateway_accounts', 'config', 'Whose notices are its own, as app.set_gateway_account() was given it.'),
           ('app.gateway_events', 'id', 'For app.reverify_event().'),
           ('app.gateway_events', 'received_at', 'When it came here.'),
           ('app.gateway_events', 'happened_at', 'When what it tells of happened, by the gateway.'),
           ('app.gateway_events', 'amount', 'The order''s total, or what was refunded, in currency units.'),
           ('app.gateway_events', 'verified', 'Whether a key of the account has signed it.'),
           ('app.gateway_events', 'account', 'The account that it came for.'),
           ('app.gateway_events', 'provider', 'wechat, alipay.'),
           ('app.gateway_events', 'kind', 'payment, refund, other; NULL: it was refused.'),
           ('app.gateway_events', 'event_key', 'The gateway''s id of it, the same whenever it is repeated.'),
           ('app.gateway_events', 'key_id', 'Of the key that has signed it.'),
           ('app.gateway_events', 'outcome', 'credited, replayed, suspense, conflict, failed, noted, refused.'),
           ('app.gateway_events', 'reason', 'Why, in one word.'),
           ('app.gateway_events', 'tx_no', 'The recharge or the withdrawal that it is about, where that is known.'),
           ('app.gateway_events', 'trade_no', 'The gateway''s number of the payment.'),
           ('app.gateway_events', 'out_trade_no', 'The order''s number at the gateway, which the shop had sent.'),
           ('app.gateway_events', 'headers', 'Those that are signed.'),
           ('app.gateway_events', 'body', 'As it came; of one that nobody has signed its first 2,048 bytes.'),
           ('app.gateway_tallies', 'account', 'The account that they came for.'),
           ('app.gateway_tallies', 'hour', 'The hour that begins then.'),
           ('app.gateway_tallies', 'kind', 'The reason why they were refused; repeated: they changed nothing any more.'),
           ('app.gateway_tallies', 'callbacks', 'How many of them are counted here.'),
           ('app.gateway_tallies', 'last_at', 'When the last of them came.'),
           ('app.gateway_tallies', 'first_event', 'The id of the first of these; of the first of all there is a row of app.gateway_events.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_gateways() IS 'What columns of payment gateways are. Internal: sec.describe_columns().';
