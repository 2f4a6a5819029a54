-- Supabase: every new user a member.

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
    E'Trigger on auth.users: registers as a member who is new, or was anonymous and is no more; never blocks the sign-up. Internal.\n'
    'Level: signup.';

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
    E'The triggers of app.enable_supabase_signup() on auth.users: which are missing, and which that table can have (an older one has no '
    'is_anonymous). Internal.\n'
    'Level: signup.';

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
    'Level: signup.\n'
    'Errors: INVALID_ARGUMENT where there is no auth.users.';

CREATE FUNCTION sec.migrate_signup() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.mend_signup();
END
$$;
COMMENT ON FUNCTION sec.migrate_signup() IS
    'The step to schema version 3 of sign-ups: the trigger for those who get an identity where sign-up is on. '
    'Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.mend_signup() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF NOT sec.signup_is_whole() THEN
        PERFORM app.enable_supabase_signup();
    END IF;
EXCEPTION WHEN OTHERS THEN
    -- Whose table it is may be another's, and it may be busy: an upgrade does not fail for it. app.health() goes on saying so.
    RAISE NOTICE 'mps: anonymous users who get an identity become no members (%): SELECT app.enable_supabase_signup()', SQLERRM;
END
$$;
COMMENT ON FUNCTION sec.mend_signup() IS
    'Adds the trigger that sign-up of an older release lacks, if it can be had within '
    'two seconds. Internal: sec.migrate_signup() calls it.';
