-- Faults for tests/strangers/run --trial: each of these is what the run must find.
CREATE FUNCTION app.trial_error() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'oops'; END $$;
CREATE FUNCTION app.trial_status() RETURNS void LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION SQLSTATE 'PT409' USING MESSAGE = 'TX_NOT_FOUND', DETAIL = 'of it', HINT = 'Do it.'; END $$;
CREATE FUNCTION app.trial_internal() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE 'XX000' USING MESSAGE = 'planted'; END $$;
CREATE FUNCTION app.trial_rows() RETURNS SETOF integer LANGUAGE sql AS $$ SELECT generate_series(1, 501) $$;
CREATE FUNCTION app.trial_bytes() RETURNS text LANGUAGE sql AS $$ SELECT repeat('x', 11000000) $$;
CREATE FUNCTION app.trial_slow() RETURNS void LANGUAGE sql AS $$ SELECT pg_sleep(2.1) $$;
CREATE FUNCTION app.trial_hash() RETURNS bytea LANGUAGE sql AS $$ SELECT sha256('secret') $$;
CREATE FUNCTION app.trial_place() RETURNS text LANGUAGE sql AS $$ SELECT 'panicked at src/lib.rs:1' $$;
CREATE FUNCTION app.trial_other() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT secrets ->> 0 FROM strangers.kept $$;
-- This one is not seen in the answer.
CREATE FUNCTION app.trial_much_memory() RETURNS integer LANGUAGE sql AS $$ SELECT length(repeat('x', 200000000)) $$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA app TO authenticated;
