-- Whether what a statement sees still fits the tables: rows are those of its snapshot, but which tables there are, and which file
-- each has, the server always answers as of now.

CREATE FUNCTION sec.outdated_view() RETURNS text
    -- STABLE, so that its own queries of the catalogs are answered as of the caller's snapshot. Names as the server prints them.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    -- First the locks that reading takes, on every table that is looked at below, and all their months; they are kept until the
    -- transaction ends. So nothing is archived, truncated or rewritten from here on, and what was is found. In the order of
    -- app.archive_month_batch().
    FOR v IN SELECT t.tab AS name FROM sec.tables() t
             LEFT JOIN sec.monthly_tables() WITH ORDINALITY m (nsp, tab, pk, is_append_only, nth) ON t.tab = format('%I.%I', m.nsp, m.tab)
             ORDER BY m.nth NULLS LAST, t.tab
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', v.name);
    END LOOP;
    BEGIN
        FOR v IN SELECT c.relname FROM pg_class c
                 WHERE c.relnamespace = to_regnamespace('mps_archive') AND c.relkind = 'r'
                   AND EXISTS (SELECT FROM sec.monthly_tables() t WHERE c.relname ~ format('^%s_[0-9]{6}$', t.tab))
                 ORDER BY 1
        LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM mps_archive.%I)', v.relname);
        END LOOP;
    EXCEPTION WHEN undefined_table THEN
        RETURN 'mps_archive.' || v.relname;
    END;

    RETURN (
        WITH parents (oid) AS (SELECT format('%I.%I', t.nsp, t.tab)::regclass FROM sec.monthly_tables() t),
        months_then AS (SELECT i.inhrelid AS oid FROM parents p JOIN pg_inherits i ON i.inhparent = p.oid),
        months_now AS (SELECT t.relid::oid AS oid FROM parents p, pg_partition_tree(p.oid) t WHERE t.level = 1)
        SELECT min(x.name) FROM (
            -- Was moved, dropped, truncated or rewritten.
            SELECT format('%I.%I', n.nspname, c.relname) AS name
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('app', 'audit', 'mps_archive') AND c.relkind = 'r'
              AND (c.oid::regclass::text, pg_relation_filenode(c.oid))
                  IS DISTINCT FROM (format('%I.%I', n.nspname, c.relname), c.relfilenode)
            UNION ALL
            -- Was attached or detached. A month that was made since is not in this view of pg_class, and none of its rows is in view.
            SELECT c.oid::regclass::text
            FROM pg_class c
            WHERE (c.oid IN (SELECT m.oid FROM months_then m)) <> (c.oid IN (SELECT m.oid FROM months_now m))) x);
END
$$;
COMMENT ON FUNCTION sec.outdated_view() IS
    'A table that was archived, detached, truncated or rewritten after the caller''s snapshot was taken, so that what a query sees in '
    'it is neither of then nor of now; NULL: none, and none will be before the transaction ends. Internal: app.verify_books() and '
    'audit.verify() ask it.';

CREATE FUNCTION sec.outdated_view_row(p_changed text) RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'snapshot'::text, NULL::boolean,
           format('nothing was checked: %s was archived or changed after this transaction or statement began; ask again in a new one',
                  p_changed)
$$;
COMMENT ON FUNCTION sec.outdated_view_row(text) IS
    'The only row of app.verify_books() and audit.verify() where sec.outdated_view() names a table. Internal.';
