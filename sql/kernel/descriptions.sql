-- What columns are, for \d+ and for PostgREST's page. The families say it, once for new tables and for old ones.

CREATE FUNCTION sec.describe_columns() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $describe$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT * FROM (SELECT d.rel, d.col, d.says FROM sec.descriptions() d
                       UNION ALL SELECT 'app.settings', s.setting, s.en FROM sec.settings() s) c
        -- The months too, as those that are made later have it from their parent.
        JOIN LATERAL (SELECT c.rel::regclass AS one
                      UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = c.rel::regclass) r ON true
        JOIN pg_attribute a ON a.attrelid = r.one AND a.attname = c.col
        -- What a shop says instead stays.
        WHERE col_description(a.attrelid, a.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', v.one::regclass, v.col, v.says);
    END LOOP;
END
$describe$;
COMMENT ON FUNCTION sec.describe_columns() IS
    'Describes columns where nobody has described them. Internal: sec.install() and sec.migrate_comments_3() call it.';
