-- What keeps views and functions of others alive when a function of ours gets other arguments. The schema mps_compat is there
-- from 0.3.0 on, in every database: a dump brings it before CREATE EXTENSION, and so a dump without it is of an older release.

CREATE FUNCTION sec.superseded_functions() RETURNS TABLE (was text, now text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.confirm_recharge(text,numeric,text,jsonb)', 'app.confirm_recharge(text,numeric,text,jsonb,text)'),
           ('app.set_card_expiry(uuid,text,timestamp with time zone,text)',
            'app.set_card_expiry(uuid,text,timestamp with time zone,text,date)'),
           ('app.merchant_statement(text,timestamp with time zone,timestamp with time zone,text,integer)',
            'app.merchant_statement(text,timestamp with time zone,timestamp with time zone,text,integer,date)'),
           ('app.merchant_charge_by_qr(text,text,numeric,text,jsonb,text,text)',
            'app.merchant_charge_by_qr(text,text,numeric,text,jsonb,text,text,text,numeric)')
$$;
COMMENT ON FUNCTION sec.superseded_functions() IS
    'Functions of earlier releases that got other arguments, and what they are now. The first arguments of both are the same, by '
    'name and type. Internal.';

CREATE FUNCTION sec.install_compat() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    IF to_regnamespace('mps_compat') IS NULL THEN
        CREATE SCHEMA mps_compat;
        PERFORM sec.strip_schema('mps_compat');
        COMMENT ON SCHEMA mps_compat IS 'MPS: functions as they were in earlier releases, for views and functions that still use them';
    END IF;
    IF (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'mps_compat') <> sec.owner() THEN
        -- New, or restored without owners; nothing in it may be a stranger's.
        IF EXISTS (SELECT FROM pg_depend d LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
                   WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'mps_compat'::regnamespace
                     AND NOT coalesce((SELECT r.rolsuper OR r.oid = sec.owner() FROM pg_roles r WHERE r.oid = p.proowner), false)) THEN
            PERFORM sec.raise('STATUS_CONFLICT', 'the schema mps_compat holds objects that are not of mps: rename it');
        END IF;
        EXECUTE format('ALTER SCHEMA mps_compat OWNER TO %s', sec.owner());
    END IF;
    FOR v IN SELECT p.oid::regprocedure AS func, p.proowner <> sec.owner() AS unowned, p.proacl IS NULL AS ungranted
             FROM pg_proc p WHERE p.pronamespace = 'mps_compat'::regnamespace
    LOOP
        IF v.unowned THEN
            EXECUTE format('ALTER FUNCTION %s OWNER TO %s', v.func, sec.owner());
        END IF;
        -- Restored without privileges: then everybody may execute it. Those of the levels come back with the levels.
        IF v.ungranted THEN
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', v.func);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.install_compat() IS
    'Makes the schema mps_compat where it is missing, and mps_owner the owner of what '
    'is in it, which is not everybody''s to execute. Internal.';

CREATE FUNCTION sec.forward_function(p_schema text, p_arguments text, p_types text[], p_like oid, p_to oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v_like pg_proc;
    v_to text;
    v_arguments text;
    v_columns text;
BEGIN
    SELECT * INTO v_like FROM pg_proc p WHERE p.oid = p_like;
    SELECT format('%s.%I', p.pronamespace::regnamespace, p.proname) INTO v_to FROM pg_proc p WHERE p.oid = p_to;
    SELECT string_agg(format('%I => $%s', a.name, a.n), ', ' ORDER BY a.n) INTO v_arguments
    FROM unnest(v_like.proargnames) WITH ORDINALITY a (name, n) WHERE a.n <= cardinality(p_types);
    SELECT string_agg(format('r.%I', v_like.proargnames[a.n]), ', ' ORDER BY a.n) INTO v_columns
    FROM unnest(v_like.proargmodes) WITH ORDINALITY a (mode, n) WHERE a.mode = 't';
    -- With the rights of who calls, so that nobody comes by it to what they may not call themselves. No SET: every name has
    -- its schema, and there is no operator.
    EXECUTE format('CREATE OR REPLACE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE sql %s SECURITY INVOKER AS %L',
                   p_schema, v_like.proname, p_arguments, pg_get_function_result(p_like),
                   CASE v_like.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
                   CASE WHEN v_columns IS NULL THEN format('SELECT %s(%s)', v_to, v_arguments)
                        ELSE format('SELECT %s FROM %s(%s) r', v_columns, v_to, v_arguments) END);
    EXECUTE format('COMMENT ON FUNCTION %I.%I(%s) IS %L', p_schema, v_like.proname, array_to_string(p_types, ','),
                   format('As %s was in an earlier release; calls the one of now. For views and functions made before; '
                          'to be dropped when nothing uses it.', v_to));
END
$$;
COMMENT ON FUNCTION sec.forward_function(text, text, text[], oid, oid) IS
    'Makes or replaces a function that does nothing but call p_to: with the arguments given and the name, result and argument '
    'names of p_like. Internal.';

CREATE FUNCTION sec.copy_execute(p_from oid, p_to oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
    v_role text := current_setting('role');
    v_grant text;
BEGIN
    FOR v IN
        WITH RECURSIVE acl AS (
            SELECT a.grantor, a.grantee, a.is_grantable, p.proowner FROM pg_proc p, aclexplode(p.proacl) a
            WHERE p.oid = p_from AND a.grantee <> p.proowner
        ),
        -- Who grants must have been granted first.
        given AS (
            SELECT a.grantor, a.grantee, a.is_grantable, 0 AS depth FROM acl a WHERE a.grantor = a.proowner
            UNION ALL
            SELECT a.grantor, a.grantee, a.is_grantable, g.depth + 1 FROM given g JOIN acl a ON a.grantor = g.grantee WHERE g.is_grantable
        )
        SELECT g.grantor, g.grantee, g.is_grantable, max(g.depth) AS depth
        FROM given g GROUP BY g.grantor, g.grantee, g.is_grantable ORDER BY 4
    LOOP
        v_grant := format('GRANT EXECUTE ON FUNCTION %s TO %s%s', p_to::regprocedure,
                          CASE v.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(v.grantee)) END,
                          CASE WHEN v.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
        BEGIN
            IF v.depth > 0 THEN
                PERFORM set_config('role', pg_get_userbyid(v.grantor), true);
            END IF;
            EXECUTE v_grant;
            PERFORM set_config('role', v_role, true);
        EXCEPTION WHEN insufficient_privilege THEN
            -- It may no longer look into the schema, or we may not become it: then the owner is who granted.
            EXECUTE v_grant;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.copy_execute(oid, oid) IS
    'Grants EXECUTE on the second function to whoever has it on the first, with grant options, by whoever granted it. Internal.';

CREATE FUNCTION sec.supersede_functions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
    v_moved text;
    v_used boolean;
    v_grantee oid;
BEGIN
    PERFORM sec.install_compat();
    PERFORM sec.drop_unused_compat();
    -- After the dump of an older release: sec.stand_in_functions() has put them there.
    FOR v IN SELECT to_regprocedure(regexp_replace(s.now, '^app', 'sec')) AS func
             FROM sec.superseded_functions() s WHERE to_regprocedure(s.now) IS NULL LOOP
        EXECUTE format('ALTER FUNCTION %s SET SCHEMA app', v.func);
    END LOOP;
    FOR v IN
        SELECT p.oid, p.oid::regprocedure::text AS name, p.proname, s.now::regprocedure::oid AS now,
               pg_get_function_arguments(p.oid) AS arguments,
               string_to_array(pg_catalog.oidvectortypes(p.proargtypes), ', ') AS types
        FROM sec.superseded_functions() s JOIN pg_proc p ON p.oid = to_regprocedure(s.was)
    LOOP
        PERFORM sec.copy_execute(v.oid, v.now);
        v_used := EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = v.oid);
        -- Not dropped in any case: a call of it that is under way asks for it once more when it has its answer.
        EXECUTE format('ALTER FUNCTION %s SET SCHEMA mps_compat', v.name);
        PERFORM sec.forward_function('mps_compat', v.arguments, v.types, v.oid, v.now);
        -- No member of the extension: pg_dump writes it like the views that use it.
        -- Who granted it must see the schema where a dump is restored, which grants anew in their name.
        v_moved := format('mps_compat.%I(%s)', v.proname, array_to_string(v.types, ','));
        FOR v_grantee IN
            SELECT DISTINCT a.grantee FROM pg_proc p, aclexplode(p.proacl) a WHERE p.oid = v.oid AND a.grantee NOT IN (0, p.proowner)
        LOOP
            IF v_used THEN
                EXECUTE format('GRANT USAGE ON SCHEMA mps_compat TO %I', pg_get_userbyid(v_grantee));
            ELSE
                EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I CASCADE', v_moved, pg_get_userbyid(v_grantee));
            END IF;
        END LOOP;
        EXECUTE format('ALTER EXTENSION mps DROP FUNCTION %s', v_moved);
        IF NOT v_used THEN
            -- No name that anybody is granted something on.
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', v_moved);
            EXECUTE format('ALTER FUNCTION %s RENAME TO %I', v_moved, v.proname || '_under_way');
        ELSE
            RAISE NOTICE 'mps: % is used by objects of others and is now %', v.name, v_moved;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.supersede_functions() IS
    'Moves the functions of earlier releases that got other arguments to mps_compat, where they call those of now: somebody''s view or '
    'function uses one, which keeps its grants, or a call of it may be under way, and then it is nobody''s to call. Grants on the old one '
    'are made on the new one. Internal: ALTER EXTENSION UPDATE and app.migrate() call it.';

CREATE FUNCTION sec.drop_unused_compat() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_func regprocedure;
BEGIN
    FOR v_func IN
        SELECT p.oid::regprocedure FROM sec.superseded_functions() s
        JOIN pg_proc p ON p.oid = to_regprocedure(regexp_replace(s.was, '^app[.](\w+)', 'mps_compat.\1_under_way'))
            AND p.proowner = sec.owner()
        WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid)
    LOOP
        EXECUTE format('DROP FUNCTION %s', v_func);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.drop_unused_compat() IS
    'Drops what an update has kept in mps_compat for calls that were under way. Internal: app.migrate() calls it.';

CREATE FUNCTION sec.stand_in_functions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT p.oid::regprocedure AS func, p.proname, pg_get_function_result(p.oid) AS result,
               (SELECT string_agg(concat_ws(' DEFAULT ', format('%I %s', a.name, a.type),
                                            pg_get_function_arg_default(p.oid, a.n::integer)), ', ' ORDER BY a.n)
                FROM unnest(p.proargnames, string_to_array(substring(s.was from '\((.*)\)$'), ','))
                         WITH ORDINALITY a (name, type, n)
                WHERE a.type IS NOT NULL) AS arguments
        FROM sec.superseded_functions() s JOIN pg_proc p ON p.oid = s.now::regprocedure
    LOOP
        -- Out of the way: beside it, a call of the old one would be ambiguous.
        EXECUTE format('ALTER FUNCTION %s SET SCHEMA sec', v.func);
        EXECUTE format('CREATE FUNCTION app.%I(%s) RETURNS %s LANGUAGE plpgsql '
                       'SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
                       v.proname, v.arguments, v.result,
                       'BEGIN PERFORM sec.raise(''SCHEMA_OUTDATED'', ''the tables are those of an earlier release''); END');
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.stand_in_functions() IS
    'While the dump of an older release is being restored: makes the functions that it uses and grants on and that are no more, in '
    'place of those of now, which wait in the schema sec until app.migrate(). Internal.';
