-- Maintenance, for pg_cron or psql. Procedures are SECURITY INVOKER without SET, so that they can COMMIT between batches;
-- each batch is one function that becomes mps_owner (SECURITY DEFINER, or in C). They use no operator and no unqualified name, so the caller's search_path
-- does not matter. Every batch may be interrupted and run again.

CREATE FUNCTION app.error_list() RETURNS TABLE (token text, sqlstate text, http_status integer, message_en text, message_zh text)
    LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'error_list_wrapper';
COMMENT ON FUNCTION app.error_list() IS
    E'The closed list of errors: what app.error_codes shows.\n'
    'Results: token (the message of an error), sqlstate (PTnnn), http_status (the nnn), message_en, message_zh (what to tell a '
    'person).';

CREATE FUNCTION sec.install_jobs() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.job_runs') IS NULL THEN
        CREATE TABLE app.job_runs (
            job         text        NOT NULL PRIMARY KEY,
            started_at  timestamptz NOT NULL,
            finished_at timestamptz,
            rows_done   bigint      NOT NULL DEFAULT 0
        );
        COMMENT ON TABLE app.job_runs IS
            'The last run of each maintenance procedure; finished_at is NULL while it runs or if it was interrupted';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_jobs() IS
    'Makes the table of job runs, where it is missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.job_batch(p_job text, p_rows bigint, p_first boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.require_operator();
    IF p_job IS NULL OR p_job NOT IN ('maintain_partitions', 'archive_partitions', 'seal') OR p_rows IS NULL OR p_rows < 0 OR p_first IS NULL THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'no batch of a job of mps');
    END IF;
    PERFORM sec.refuse_shadows();
    INSERT INTO app.job_runs AS j (job, started_at, finished_at, rows_done)
    VALUES (p_job, clock_timestamp(), CASE WHEN p_rows = 0 THEN clock_timestamp() END, p_rows)
    ON CONFLICT (job) DO UPDATE SET
        started_at = CASE WHEN p_first THEN excluded.started_at ELSE j.started_at END,
        finished_at = excluded.finished_at,
        rows_done = CASE WHEN p_first THEN excluded.rows_done ELSE j.rows_done + excluded.rows_done END;
    RETURN p_rows = 0;
END
$$;
COMMENT ON FUNCTION sec.job_batch(text, bigint, boolean) IS 'Notes one batch of a maintenance job; true when it was the last. Internal.';

CREATE FUNCTION app.maintain_partitions_batch(p_ahead integer) RETURNS boolean
    -- As in the rehearsal. Shorter than deadlock_timeout, so that no autovacuum gives way to this.
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $$
DECLARE
    v_month date;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.check_months_ahead(p_ahead);
    v_month := date_trunc('month', (now() AT TIME ZONE 'UTC')::date + make_interval(months => p_ahead))::date;
    PERFORM sec.refuse_shadows();
    BEGIN
        -- So that a dump without privileges says by which names roles go today.
        PERFORM sec.note_grants();
        IF EXISTS (SELECT FROM sec.missing_tables(v_month)) THEN
            RETURN sec.make_month_tables(v_month);
        END IF;
        PERFORM sec.dress_made_month(v_month);
        PERFORM sec.drop_replaced_index();
    EXCEPTION WHEN lock_not_available THEN
        RETURN NULL;
    END;
    RETURN false;
END
$$;
COMMENT ON FUNCTION app.maintain_partitions_batch(integer) IS
    E'Makes the month that is p_ahead months from now, if it is missing, or gives it the settings that the present month has got since.\n'
    'NULL: a lock was not to be had at once. One batch of app.maintain_partitions().';

CREATE PROCEDURE app.maintain_partitions(p_months_ahead integer DEFAULT 3)
    LANGUAGE plpgsql AS $$
DECLARE
    v_made boolean;
    v_any boolean;
    v_done boolean;
BEGIN
    IF pg_catalog.pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN;
    END IF;
    PERFORM sec.check_months_ahead(p_months_ahead);
    PERFORM sec.job_batch('maintain_partitions', 1, true);
    COMMIT;
    -- First the rehearsal: what would stop a month is noted before it stops one. Again where months were made: of the next.
    FOR v_round IN 1 .. 2 LOOP
        FOR v_try IN 1 .. 5 LOOP
            v_done := app.rehearse_month_batch();
            COMMIT;
            EXIT WHEN v_done;
            PERFORM pg_catalog.pg_sleep(0.25);
            COMMIT;
        END LOOP;
        EXIT WHEN v_any IS NOT NULL;
        v_any := false;
        FOR v_ahead IN 0 .. p_months_ahead LOOP
            FOR v_try IN 1 .. 20 LOOP
                v_made := app.maintain_partitions_batch(v_ahead);
                COMMIT;
                EXIT WHEN v_made IS NOT NULL;
                -- So that who queued behind the attempt gets through first.
                PERFORM pg_catalog.pg_sleep(0.25);
                COMMIT;
            END LOOP;
            IF v_made IS NULL THEN
                PERFORM sec.raise('STATUS_CONFLICT',
                                  'not all months are made or have what the present one has: in 20 tries a lock was not to be had '
                                  '(who runs ANALYZE of the partitioned tables keeps it until the transaction ends)');
            END IF;
            v_any := v_any OR v_made;
        END LOOP;
        EXIT WHEN NOT v_any;
    END LOOP;
    IF NOT v_done THEN
        RAISE WARNING 'mps: whether the next month can be made was not tried out: in 5 tries a lock was not to be had';
    END IF;
    CALL app.close_months();
    PERFORM sec.job_batch('maintain_partitions', 0, false);
    COMMIT;
END
$$;
COMMENT ON PROCEDURE app.maintain_partitions(integer) IS
    E'Makes the partitions of this month and of p_months_ahead (0 to 120) more, where they are missing.\n'
    'Tries out whether the next one could be made and written to, for app.health(); gives months made before the settings that the '
    'present one has got since. Also closes the months that are over (app.close_months). Charges go on meanwhile.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT where a lock was not to be had in 20 tries.';

CREATE FUNCTION sec.check_months_ahead(p_months_ahead integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_months_ahead IS NULL OR p_months_ahead NOT BETWEEN 0 AND 120 THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_months_ahead is 0 to 120');
    END IF;
END
$$;
COMMENT ON FUNCTION sec.check_months_ahead(integer) IS 'Refuses a number of months out of bounds. Internal.';

CREATE FUNCTION app.expire_cards_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_cards_batch_wrapper';
COMMENT ON FUNCTION app.expire_cards_batch(text) IS
    'One batch of app.expire_cards(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.';

CREATE PROCEDURE app.expire_cards()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF pg_catalog.pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN;
    END IF;
    v_after := app.expire_cards_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_cards_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_cards() IS 'Marks active cards whose expires_at has passed as expired.';

CREATE FUNCTION app.expire_qrcodes_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_qrcodes_batch_wrapper';
COMMENT ON FUNCTION app.expire_qrcodes_batch(text) IS
    'One batch of app.expire_qrcodes(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.';

CREATE PROCEDURE app.expire_qrcodes()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF pg_catalog.pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN;
    END IF;
    v_after := app.expire_qrcodes_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_qrcodes_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_qrcodes() IS
    'Forgets the hashes of pay codes that have expired; they are refused from their expiry on in any case.';

CREATE FUNCTION app.expire_recharges_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_recharges_batch_wrapper';
COMMENT ON FUNCTION app.expire_recharges_batch(text) IS
    'One batch of app.expire_recharges(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.';

CREATE PROCEDURE app.expire_recharges()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF pg_catalog.pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN;
    END IF;
    v_after := app.expire_recharges_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_recharges_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_recharges() IS
    'Cancels recharges that nobody confirmed within settings.recharge_ttl_minutes; a later confirmation credits them all the same.';

CREATE FUNCTION app.expire_keys_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_keys_batch_wrapper';
COMMENT ON FUNCTION app.expire_keys_batch(text) IS
    'One batch of app.expire_keys(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.';

CREATE PROCEDURE app.expire_keys()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF pg_catalog.pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN;
    END IF;
    v_after := app.expire_keys_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_keys_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_keys() IS
    E'Forgets idempotency keys and payment order ids of months that ended more than settings.key_retention_days ago.\n'
    'Recharge order ids and gateway trade numbers stay for ever.';

CREATE FUNCTION app.recompute_levels_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'recompute_levels_batch_wrapper';
COMMENT ON FUNCTION app.recompute_levels_batch(text) IS
    'One batch of app.recompute_levels(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.';

CREATE PROCEDURE app.recompute_levels()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF pg_catalog.pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN;
    END IF;
    v_after := app.recompute_levels_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.recompute_levels_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.recompute_levels() IS 'Applies app.membership_levels to every personal card.';

CREATE FUNCTION app.migrate() RETURNS integer
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'migrate_wrapper';
COMMENT ON FUNCTION app.migrate() IS
    E'Brings the tables up to this library, after a dump of an older release was restored; returns the schema version.\n'
    'Again: mends what calls of an older release left behind. For a superuser.\n'
    'Errors: SCHEMA_OUTDATED where the tables are newer than the library, STATUS_CONFLICT under another isolation level than READ '
    'COMMITTED.';

-- Business days ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sec.end_of_business_day(p_day date) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT app.business_day_start(p_day + 1)
$$;
COMMENT ON FUNCTION sec.end_of_business_day(date) IS
    'The moment at which a business day is over. Internal: app.set_card_expiry() calls it.';

-- Supabase: every new user a member ---------------------------------------------------------------------------------------

CREATE FUNCTION sec.register_signup(p_user_id uuid, p_name text, p_phone text, p_email text) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'register_signup_wrapper';
COMMENT ON FUNCTION sec.register_signup(uuid, text, text, text) IS 'Registers the member of a new auth.users row. Internal.';

CREATE FUNCTION sec.on_signup() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    v_columns text;
    v_row jsonb;
    v_said jsonb;
    v_name text;
BEGIN
    -- A sign-up must never fail because of us: whatever goes wrong is a warning, and the app's own register_member mends it.
    -- An anonymous user becomes no member; the trigger of app.enable_supabase_signup() calls again once it has an identity.
    BEGIN
        -- Only what is of the server's own types: to make text or JSON of another, its owner's functions would run as ours.
        SELECT string_agg(format('%L, ($1).%I', a.attname, a.attname), ', ') INTO v_columns
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = TG_RELID AND a.attname IN ('id', 'email', 'phone', 'raw_user_meta_data', 'is_anonymous')
          AND t.typnamespace = 'pg_catalog'::regnamespace;
        EXECUTE format('SELECT jsonb_build_object(%s)', v_columns) INTO v_row USING NEW;
        IF v_row ->> 'is_anonymous' = 'true' AND NOT (SELECT s.signup_anonymous FROM app.settings s) THEN
            RETURN NULL;
        END IF;
        -- A name is a string. Whoever signs up writes there what they like, and a list of short numbers can be half a gigabyte as text.
        FOREACH v_said IN ARRAY ARRAY[v_row #> '{raw_user_meta_data,name}', v_row #> '{raw_user_meta_data,full_name}'] LOOP
            IF v_name IS NULL AND jsonb_typeof(v_said) = 'string' THEN
                v_name := v_said #>> '{}';
            END IF;
        END LOOP;
        PERFORM sec.register_signup((v_row ->> 'id')::uuid, v_name, v_row ->> 'phone', v_row ->> 'email');
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'mps: no member for the new user %: %', v_row ->> 'id', SQLERRM;
    END;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.on_signup() IS
    'Trigger on auth.users: registers as a member who is new, or was anonymous and is no more; never blocks the sign-up. Internal.';

CREATE FUNCTION sec.signup_triggers() RETURNS TABLE (name text, missing boolean, wanted boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- From the catalog: who asks may have no right to look a name up in that schema.
    WITH users AS (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'auth' AND c.relname = 'users'
    )
    SELECT t.name,
           NOT EXISTS (SELECT FROM users u JOIN pg_trigger g ON g.tgrelid = u.oid JOIN pg_proc p ON p.oid = g.tgfoid
                       WHERE g.tgname = t.name AND p.proname = 'on_signup' AND p.pronamespace::regnamespace::text = 'sec'),
           EXISTS (SELECT FROM users u
                   WHERE t.name <> 'mps_signup_identity'
                      OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = u.oid AND a.attname = 'is_anonymous'
                                   AND a.atttypid = 'boolean'::regtype AND NOT a.attisdropped))
    FROM (VALUES ('mps_signup'), ('mps_signup_identity')) t (name)
$$;
COMMENT ON FUNCTION sec.signup_triggers() IS
    'The triggers of app.enable_supabase_signup() on auth.users: which are missing, and which that table can have (an older one has no '
    'is_anonymous). Internal.';

CREATE FUNCTION sec.signup_is_whole() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT bool_and(t.missing) OR NOT bool_or(t.missing AND t.wanted) FROM sec.signup_triggers() t
$$;
COMMENT ON FUNCTION sec.signup_is_whole() IS
    'Whether registering new users is off, or has all of its triggers. Internal: app.health() and sec.migrate_signup() ask it.';

CREATE FUNCTION app.enable_supabase_signup() RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_made boolean := false;
    v_name text;
BEGIN
    IF to_regclass('auth.users') IS NULL THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'there is no table auth.users in this database');
    END IF;
    FOR v_name IN SELECT t.name FROM sec.signup_triggers() t WHERE t.missing AND t.wanted LOOP
        CASE v_name
            WHEN 'mps_signup' THEN
                CREATE TRIGGER mps_signup AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION sec.on_signup();
            WHEN 'mps_signup_identity' THEN
                CREATE TRIGGER mps_signup_identity AFTER UPDATE ON auth.users FOR EACH ROW
                    WHEN (OLD.is_anonymous AND NOT NEW.is_anonymous) EXECUTE FUNCTION sec.on_signup();
        END CASE;
        v_made := true;
    END LOOP;
    RETURN v_made;
END
$$;
COMMENT ON FUNCTION app.enable_supabase_signup() IS
    E'Registers every new auth.users row as a member from now on; for a superuser or the owner of auth.users, once.\n'
    'An anonymous one (unless settings.signup_anonymous is on) once it has an identity. Returns whether anything of it was off.\n'
    'Errors: INVALID_ARGUMENT where there is no auth.users.';
