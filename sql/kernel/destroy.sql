-- The end: destroying all of it.

CREATE FUNCTION sec.destroy_everything(p_confirm text) RETURNS TABLE (statement text, remark text)
    -- SECURITY INVOKER: mps_owner may neither drop what is another's nor be the one who did this. Whoever works in the tables
    -- is not kept waiting for long.
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET lock_timeout = '5s' AS $$
DECLARE
    v record;
    v_owner regrole := sec.owner();
    v_spaces oid[] := ARRAY(SELECT n.oid FROM pg_namespace n
                            WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive', 'mps_compat', 'mps_gateway'));
    v_what text;
    v_in_the_way text;
    v_elsewhere text;
BEGIN
    IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
        PERFORM sec.raise('NOT_ALLOWED', 'only a superuser destroys everything');
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: an older view would count what was there before the locks');
    END IF;
    -- Twice: without locks, so that who only asks what would be lost keeps nobody waiting; and again when nothing can change.
    FOR v_try IN 1 .. 2 LOOP
        v_what := sec.what_there_is();
        IF p_confirm IS DISTINCT FROM 'destroy ' || v_what THEN
            PERFORM sec.raise('INVALID_ARGUMENT', format('nothing was destroyed; p_confirm has to be: destroy %s', v_what));
        END IF;
        EXIT WHEN v_try = 2;
        -- First the lock of sec.make_month(), then the tables.
        LOCK TABLE app.archived_months IN ACCESS EXCLUSIVE MODE;
        FOR v IN SELECT c.oid::regclass AS tab FROM pg_class c
                 WHERE c.relnamespace = ANY (v_spaces) AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.oid::regclass::text
        LOOP
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', v.tab);
        END LOOP;
    END LOOP;

    -- A partition goes with its table, whoever's it is.
    SELECT string_agg(format('table %s', c.oid::regclass), ', ' ORDER BY c.oid::regclass::text) INTO v_in_the_way
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
    WHERE p.relnamespace = ANY (v_spaces) AND p.relowner = v_owner AND p.relkind = 'p'
      AND (c.relowner <> v_owner OR c.relnamespace <> ALL (v_spaces)) AND c.relkind IN ('r', 'p', 'f');
    IF v_in_the_way IS NULL THEN
        BEGIN
            FOR v IN
                SELECT format('DROP TRIGGER %I ON %s', g.tgname, g.tgrelid::regclass) AS command, 1 AS place
                FROM pg_trigger g WHERE g.tgname IN (SELECT t.name FROM sec.signup_triggers() t)
                  AND g.tgfoid = 'sec.on_signup()'::regprocedure
                  AND NOT g.tgisinternal
                UNION ALL
                -- Each kind at once, so that what hangs together does; RESTRICT, so that nothing else goes along.
                SELECT format('DROP %s %s', x.kind, string_agg(c.oid::regclass::text, ', ')), x.place
                FROM pg_class c JOIN (VALUES ('v', 'VIEW', 2), ('r', 'TABLE', 3), ('p', 'TABLE', 3), ('S', 'SEQUENCE', 4))
                              x (relkind, kind, place)
                     ON x.relkind = c.relkind
                WHERE c.relnamespace = ANY (v_spaces) AND c.relowner = v_owner AND NOT c.relispartition
                GROUP BY x.kind, x.place
                UNION ALL
                SELECT 'DROP TYPE ' || string_agg(t.oid::regtype::text, ', '), 5
                FROM pg_type t WHERE t.typnamespace = ANY (v_spaces) AND t.typowner = v_owner AND t.typtype = 'e'
                HAVING count(*) > 0
                UNION ALL
                SELECT 'DROP FUNCTION ' || string_agg(p.oid::regprocedure::text, ', '), 6
                FROM pg_proc p WHERE p.pronamespace = to_regnamespace('mps_compat') AND p.proowner = v_owner
                HAVING count(*) > 0
                UNION ALL
                SELECT format('DROP SCHEMA %I', n.nspname), 7 FROM pg_namespace n
                WHERE n.nspname IN ('mps_archive', 'mps_compat') AND n.nspowner = v_owner
                ORDER BY 2
            LOOP
                EXECUTE v.command;
            END LOOP;
        EXCEPTION WHEN dependent_objects_still_exist THEN
            GET STACKED DIAGNOSTICS v_in_the_way = PG_EXCEPTION_DETAIL;
        END;
    END IF;
    IF v_in_the_way IS NULL THEN
        -- What the next steps would stumble over: whatever else lies in the schemas or uses a function of the extension.
        SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ') INTO v_in_the_way
        FROM pg_depend d, pg_extension e
        WHERE e.extname = 'mps' AND d.deptype = 'n' AND (d.classid, d.objid) <> ('pg_extension'::regclass, e.oid)
          AND ((d.refclassid = 'pg_namespace'::regclass AND d.refobjid = ANY (v_spaces))
               OR (d.refclassid, d.refobjid) IN (SELECT m.classid, m.objid FROM pg_depend m
                                                 WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e'))
          AND (d.classid, d.objid) NOT IN (SELECT m.classid, m.objid FROM pg_depend m
                                           WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e');
    END IF;
    IF v_in_the_way IS NOT NULL THEN
        PERFORM sec.raise('STATUS_CONFLICT', format('nothing was destroyed, because these are not of mps: %s', v_in_the_way));
    END IF;

    RAISE LOG 'mps: % (logged in as %, from %) destroyed %',
        current_user, session_user, coalesce(host(inet_client_addr()), 'this machine'), v_what;
    SELECT string_agg(d.datname, ', ' ORDER BY d.datname) INTO v_elsewhere
    FROM pg_database d
    WHERE d.datname <> current_database()
      AND EXISTS (SELECT FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = v_owner AND s.dbid = d.oid);
    IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
        RETURN QUERY EXECUTE
            'SELECT format(''SELECT cron.unschedule(%s);'', j.jobid), format(''job %s of %s'', '
            'coalesce(j.jobname, ''?''), j.username) FROM cron.job j '
            'WHERE j.database = current_database() AND j.jobname = ANY ($1) ORDER BY j.jobid'
            USING ARRAY(SELECT 'mps_' || j.job FROM sec.jobs() j);
    END IF;
    RETURN QUERY
        VALUES ('DROP EXTENSION mps;', 'after this transaction; CREATE EXTENSION mps then starts afresh'),
               ('DROP SCHEMA app, audit, sec, mps_gateway;', 'they are empty then'),
               (format('DROP ROLE %s;', v_owner), CASE WHEN v_elsewhere IS NULL THEN 'no other database of this server uses it'
                                             ELSE 'not as long as other databases use it: ' || v_elsewhere END);
END
$$;
COMMENT ON FUNCTION sec.destroy_everything(text) IS
    E'Destroys every card, transaction, setting and audit event of this database for good.\n'
    'Archived months included. p_confirm is a sentence that says how much there is at this moment: any other text is refused '
    'with the sentence in the detail. Refused also while anything that is not of mps depends on it. The server''s log gets a '
    'line. For a superuser.\n'
    'Results: statement, remark (what is left to be run by hand, and why).\n'
    'Errors: INVALID_ARGUMENT, NOT_ALLOWED, STATUS_CONFLICT.';
