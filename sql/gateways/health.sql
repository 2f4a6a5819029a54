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

CREATE FUNCTION sec.odd_callbacks() RETURNS TABLE (problem text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Signed by the gateway, and yet not taken as what they say.
    SELECT format('%s: %s (%s), the last at %s', e.account, e.outcome, e.reason, max(e.received_at))
    FROM app.gateway_events e
    WHERE e.received_at > now() - interval '2 days' AND (e.outcome = 'conflict' OR (e.outcome = 'refused' AND e.verified))
    GROUP BY e.account, e.outcome, e.reason
    UNION ALL
    -- Anybody can send them; but where none was taken since, the gateway may sign with a key that is not here.
    SELECT format('%s: refused (%s), the last at %s, and none was taken since', t.account, t.kind, t.last_at)
    FROM (SELECT x.account, x.kind, max(x.last_at) AS last_at, max(x.first_event) AS event
          FROM app.gateway_tallies x WHERE x.hour > now() - interval '2 days' AND x.kind IN ('serial_unknown', 'key_none')
          GROUP BY x.account, x.kind) t
    WHERE NOT EXISTS (SELECT FROM app.gateway_events e
                      WHERE e.id > t.event AND e.account = t.account AND e.verified AND e.received_at > t.last_at)
      AND NOT EXISTS (SELECT FROM app.gateway_tallies r WHERE r.account = t.account AND r.kind = 'repeated' AND r.last_at > t.last_at)
$$;
COMMENT ON FUNCTION sec.odd_callbacks() IS
    'Which callbacks of the last two days, by account and reason, somebody should look at: after a day the gateway sends them no more. '
    'Internal: sec.health_of_gateways().';

CREATE FUNCTION sec.health_of_gateways() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'gateway_secrets'::text, bool_and(s.state = 'sealed'),
           coalesce(string_agg(format('%s %s: %s', s.account, s.key_id, s.state), '; ' ORDER BY s.account, s.key_id)
                        FILTER (WHERE s.state <> 'sealed'), 'all are sealed')
    FROM sec.gateway_secrets() s
    HAVING count(*) > 0
    UNION ALL
    SELECT 'gateway_callbacks', count(c.problem) = 0, coalesce(string_agg(c.problem, '; ' ORDER BY c.problem), 'none to look at')
    FROM (SELECT FROM app.gateway_accounts LIMIT 1) a LEFT JOIN sec.odd_callbacks() c ON true
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION sec.health_of_gateways() IS
    'What app.health() says of payment gateways: secrets that are kept plain, or that the master key does not open; callbacks that '
    'contradict the books, or are refused. No row where there is no secret, and no account. Internal: sec.health_rows().';
