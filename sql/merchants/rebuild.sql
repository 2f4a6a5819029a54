-- Merchants and their operators from the audit log.

CREATE FUNCTION sec.logged_of_merchants() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('merchant.created', ARRAY['merchant_id', 'name']), ('merchant.status_set', ARRAY['active']),
           ('merchant.user_set', ARRAY['user_id', 'role']), ('merchant.user_removed', ARRAY['user_id'])
$$;
COMMENT ON FUNCTION sec.logged_of_merchants() IS 'The events of merchants. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_merchants() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (40, 'rebuild_merchants')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_merchants() IS 'The step of merchants. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.rebuild_merchants() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.merchants (id, active, created_at, code, name)
    SELECT (e.context ->> 'merchant_id')::integer, coalesce(s.active, true), e.happened_at, e.object_id, e.context ->> 'name'
    FROM audit.event_log e
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, (x.context ->> 'active')::boolean AS active
               FROM audit.event_log x WHERE x.action = 'merchant.status_set' ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    WHERE e.action = 'merchant.created';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'merchants';
    RETURN NEXT;

    INSERT INTO app.merchant_users (merchant_id, user_id, created_at, role)
    SELECT m.id, u.user_id, (array_agg(u.happened_at ORDER BY u.id))[1], (array_agg(u.role ORDER BY u.id DESC))[1]
    FROM (SELECT e.id, e.object_id AS code, (e.context ->> 'user_id')::uuid AS user_id, e.happened_at, e.context ->> 'role' AS role,
                 coalesce(max(e.id) FILTER (WHERE e.action = 'merchant.user_removed')
                          OVER (PARTITION BY e.object_id, e.context ->> 'user_id'), 0) AS removed
          FROM audit.event_log e WHERE e.action IN ('merchant.user_set', 'merchant.user_removed')) u
    JOIN app.merchants m ON m.code = u.code
    WHERE u.id > u.removed GROUP BY m.id, u.user_id;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'operators of merchants';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_merchants() IS 'Every merchant, and who operates it now. Internal: app.rebuild_from_log().';
