-- Accounts at payment gateways from the audit log. Keys are not in it: they are set again.

CREATE FUNCTION sec.logged_of_gateways() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('gateway.account_set', '{provider,active,config,merchant}'::text[]), ('gateway.key_set', '{}')
$$;
COMMENT ON FUNCTION sec.logged_of_gateways() IS 'The events of payment gateways. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_gateways() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (45, 'rebuild_gateway_accounts'), (160, 'rebuild_gateway_numbers')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_gateways() IS 'The step of payment gateways. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.rebuild_gateway_accounts() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.gateway_accounts (code, provider, active, merchant_id, created_at, config)
    SELECT e.object_id, e.context ->> 'provider', (e.context ->> 'active')::boolean,
           CASE WHEN e.context ->> 'merchant' IS NOT NULL THEN
               coalesce(m.id, sec.refuse_log(e.id, format('no merchant %s is in the log', e.context ->> 'merchant'))::integer) END,
           e.first_set, e.context -> 'config'
    FROM (SELECT DISTINCT ON (x.object_id) x.id, x.object_id, x.context,
                 min(x.happened_at) OVER (PARTITION BY x.object_id) AS first_set
          FROM audit.event_log x WHERE x.action = 'gateway.account_set' ORDER BY x.object_id, x.id DESC) e
    LEFT JOIN app.merchants m ON m.code = e.context ->> 'merchant';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'accounts at payment gateways, without their keys';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_gateway_accounts() IS
    'Every account at a payment gateway, as it was set last; its keys are not in the log. Internal: app.rebuild_from_log().';
