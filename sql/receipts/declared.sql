-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.health_of_receipts() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'heads'::text, (s.sealed_at < now() - interval '1 hour') IS NOT TRUE,
           CASE WHEN h.head_no IS NULL THEN format('none was signed, and %s seals are waiting', coalesce(s.waiting, 0))
                ELSE format('head %s of %s, %s seals since', h.head_no, h.signed_at, coalesce(s.waiting, 0)) END
    FROM audit.trees t
    LEFT JOIN LATERAL (SELECT x.head_no, x.seal_no, x.signed_at FROM audit.heads x ORDER BY x.head_no DESC LIMIT 1) h ON true
    LEFT JOIN LATERAL (SELECT count(*) AS waiting, min(x.sealed_at) AS sealed_at FROM audit.seals x
                       WHERE x.seal_no > coalesce(h.seal_no, 0)) s ON true
    WHERE t.tree = 0
$$;
COMMENT ON FUNCTION sec.health_of_receipts() IS
    'What app.health() says of receipts: seals for which no head was signed within the hour. No row where there is no tree. '
    'Internal: sec.health_rows().';

CREATE FUNCTION sec.standing_triggers_of_receipts() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('audit.heads', 'append_only', 'BEFORE UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.append_only')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_receipts() IS 'The standing triggers of receipts. Internal: sec.standing_triggers().';

CREATE FUNCTION sec.logged_of_receipts() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('restore.declared', '{}'::text[])
$$;
COMMENT ON FUNCTION sec.logged_of_receipts() IS 'The events of receipts. Internal: sec.logged_actions().';
