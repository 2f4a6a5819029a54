-- What comparing the audit log with its seals stands on.

CREATE FUNCTION sec.first_ten(p_findings text[]) RETURNS text
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN cardinality(p_findings) = 0 THEN 'ok'
                ELSE array_to_string(p_findings[1:10], '; ')
                     || CASE WHEN cardinality(p_findings) > 10 THEN format('; and %s more', cardinality(p_findings) - 10) ELSE '' END END
$$;
COMMENT ON FUNCTION sec.first_ten(text[]) IS 'Findings as one line: ok, or the first ten and how many more. Internal.';

CREATE FUNCTION audit.event_logs() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT 'SELECT e.* FROM audit.event_log e' || coalesce(
           string_agg(format(' UNION ALL SELECT e.* FROM %s e', x.log), '' ORDER BY a.month), '')
    FROM app.archived_months a, LATERAL (SELECT to_regclass('mps_archive.event_log_' || to_char(a.month, 'YYYYMM')) AS log) x
    WHERE x.log IS NOT NULL
$$;
COMMENT ON FUNCTION audit.event_logs() IS
    E'The query for every event that is in this database, archived months included.\n'
    'Internal.';

CREATE FUNCTION audit.intact_seals(p_seals int8range) RETURNS int8multirange
    -- Joining each seal to a subquery of its own would do without this function, but such a join is never shared among processes.
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_intact int8multirange;
BEGIN
    EXECUTE format($q$
        SELECT range_agg(int8range(s.seal_no, s.seal_no, '[]'))
        FROM audit.seals s LEFT JOIN audit.seals b ON b.seal_no = s.seal_no - 1,
             LATERAL (SELECT count(*) AS events, sha256(string_agg(int8send(e.id) || %s, '' ORDER BY e.id)) AS hash FROM (%s) e
                      WHERE e.id > CASE WHEN s.seal_no = 1 THEN -1 ELSE b.last_id END AND e.id <= s.last_id) x
        WHERE s.seal_no >= $1 AND s.seal_no < $2 AND x.events = s.events AND x.hash = s.events_hash
        $q$, audit.event_digest(), audit.event_logs())
        INTO v_intact USING lower(p_seals), upper(p_seals);
    RETURN v_intact;
END
$$;
COMMENT ON FUNCTION audit.intact_seals(int8range) IS
    E'Which of these seals have exactly their events between the end of the seal before and their own: the same ids with the same '
    'contents, none more and none less.\n'
    'Internal.';
