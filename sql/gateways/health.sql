-- What there is to watch in payment gateways.

CREATE FUNCTION sec.gateway_secrets() RETURNS TABLE (account text, key_id text, state text)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'gateway_secrets_wrapper';
COMMENT ON FUNCTION sec.gateway_secrets IS
    'Each secret that is live or kept plain: whether it is sealed, and if it cannot be opened, why. Internal: sec.health_of_gateways().';

CREATE FUNCTION sec.plain_secrets() RETURNS TABLE (problem text)
    -- Without a call of ours, so that it answers whatever is wrong with other tables.
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%s %s is kept plain', k.account, k.key_id) FROM sec.gateway_keys k WHERE k.kind = 'wechat_apiv3_key' AND NOT k.sealed
$$;
COMMENT ON FUNCTION sec.plain_secrets() IS
    'Which secrets of payment gateways every dump carries as they are: set before mps.master_key_file was. Internal: '
    'sec.security_check().';

CREATE FUNCTION sec.health_of_gateways() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'gateway_secrets'::text, bool_and(s.state = 'sealed'),
           coalesce(string_agg(format('%s %s: %s', s.account, s.key_id, s.state), '; ' ORDER BY s.account, s.key_id)
                        FILTER (WHERE s.state <> 'sealed'), 'all are sealed')
    FROM sec.gateway_secrets() s
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION sec.health_of_gateways() IS
    'What app.health() says of payment gateways: secrets that are kept plain, or that the master key does not open. No row where there is '
    'none. Internal: sec.health_rows().';
