-- The shop's days, and finding what was posted in one. A month of app.transactions holds what was asked for in it; what was
-- posted in another month is noted in app.late_postings, so that a day's rows are found in its month and there.

CREATE FUNCTION sec.install_days() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.business_day_rules') IS NULL THEN
        CREATE TABLE app.business_day_rules (
            from_at   timestamptz NOT NULL PRIMARY KEY,
            from_day  date        NOT NULL UNIQUE,
            time_zone text        NOT NULL,
            starts_at time        NOT NULL
        );
        COMMENT ON TABLE app.business_day_rules IS
            'What a business day was, is and will be: each rule from the beginning of a day on. Follows settings.business_time_zone '
            'and settings.business_day_starts_at; read by app.business_day()';
        COMMENT ON COLUMN app.business_day_rules.from_at IS 'The moment from which the rule counts; -infinity for the first.';
        COMMENT ON COLUMN app.business_day_rules.from_day IS 'The day that begins then.';
        COMMENT ON COLUMN app.business_day_rules.time_zone IS 'By whose clocks: a name of pg_timezone_names.';
        COMMENT ON COLUMN app.business_day_rules.starts_at IS 'The time at which a day begins.';
    END IF;
    -- New, or from a dump of the schema alone.
    IF NOT EXISTS (SELECT FROM app.business_day_rules) THEN
        INSERT INTO app.business_day_rules (from_at, from_day, time_zone, starts_at) VALUES ('-infinity', '-infinity', 'UTC', '00:00');
    END IF;
    IF to_regclass('app.late_postings') IS NULL THEN
        CREATE TABLE app.late_postings (
            tx_id       bigint      NOT NULL PRIMARY KEY,
            merchant_id integer,
            card_id     uuid        NOT NULL,
            member_id   uuid,
            created_at  timestamptz NOT NULL,
            posted_at   timestamptz NOT NULL
        );
        CREATE INDEX late_postings_merchant_id_idx ON app.late_postings (merchant_id, posted_at);
        CREATE INDEX late_postings_card_id_idx ON app.late_postings (card_id, posted_at);
        CREATE INDEX late_postings_posted_at_idx ON app.late_postings (posted_at);
        COMMENT ON TABLE app.late_postings IS
            'Transactions that were posted in another month (UTC) than that of created_at, in whose partition they lie: a charge that '
            'waited over the turn of the month, a recharge confirmed later';
        COMMENT ON COLUMN app.late_postings.tx_id IS 'id of the transaction; the other columns are as there.';
    END IF;
    IF to_regclass('app.v_reconciliation') IS NULL THEN
        PERFORM sec.make_reconciliation();
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_days() IS
    'Makes the tables of days and the view of their totals, where they are missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.end_of_business_day(p_day date) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT app.business_day_start(p_day + 1)
$$;
COMMENT ON FUNCTION sec.end_of_business_day(date) IS
    'The moment at which a business day is over. Internal: app.set_card_expiry() calls it.';

CREATE FUNCTION app.business_day(p_at timestamptz)
    RETURNS date
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'business_day_wrapper';
COMMENT ON FUNCTION app.business_day IS
    E'The business day that a moment lies in.\n'
    'By the rule that counted then (app.business_day_rules), never by the session''s TimeZone. STABLE.\n'
    'Level: client, operator.\n'
    'Results: the day.\n'
    'Errors: INVALID_ARGUMENT, the day is out of range.';

CREATE FUNCTION app.business_day_start(p_day date)
    RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'business_day_start_wrapper';
COMMENT ON FUNCTION app.business_day_start IS
    E'When a business day begins.\n'
    'It ends where the next one begins, so that each moment is of exactly one day. Days are longer or shorter on the turns of summer '
    'time and where the settings were changed. STABLE.\n'
    'Level: client, operator.\n'
    'Results: the moment.\n'
    'Errors: INVALID_ARGUMENT, the day is out of range.';

CREATE FUNCTION sec.note_late_postings() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO app.late_postings (tx_id, merchant_id, card_id, member_id, created_at, posted_at)
    SELECT t.id, t.merchant_id, t.card_id, t.member_id, t.created_at, t.posted_at FROM app.transactions t
    WHERE date_trunc('month', t.posted_at) <> date_trunc('month', t.created_at)
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION sec.note_late_postings() IS
    'Notes the late postings that are not noted: of before 0.3.0, and of calls that an update found under way. Internal: '
    'sec.migrate_tables() calls it.';

CREATE FUNCTION sec.migrate_days() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    -- Lines of a merchant go by when they were posted.
    IF to_regclass('app.transactions_merchant_posted_idx') IS NULL THEN
        CREATE INDEX transactions_merchant_posted_idx ON app.transactions (merchant_id, posted_at);
    END IF;
END
$$;
COMMENT ON FUNCTION sec.migrate_days() IS
    'The step to schema version 3 of what a day is and what was posted in it. Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.drop_replaced_index() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
BEGIN
    IF to_regclass('app.transactions_merchant_id_idx') IS NOT NULL THEN
        -- Without waiting: a call of the release before may wait for what the update holds, and hold what this asks for. On a
        -- busy machine the server may come to look for a deadlock before a time to wait, however short, is over.
        LOCK TABLE app.transactions IN ACCESS EXCLUSIVE MODE NOWAIT;
        PERFORM sec.run_ddl('DROP INDEX app.transactions_merchant_id_idx');
    END IF;
EXCEPTION WHEN lock_not_available THEN
    -- Another time: it only costs.
    NULL;
END
$$;
COMMENT ON FUNCTION sec.drop_replaced_index() IS
    'Drops the index of transactions on merchant_id and created_at that releases before 0.3.0 had, if nobody is in the way; else '
    'the next app.maintain_partitions() does. Internal.';

CREATE FUNCTION sec.has_month(p_month timestamp) RETURNS boolean
    -- STABLE, so that its query of the catalog is answered as of the caller's snapshot; a name is looked up as of now.
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_table text := 'transactions_' || to_char(p_month, 'YYYYMM');
BEGIN
    IF to_regclass('app.' || v_table) IS NOT NULL THEN
        RETURN true;
    ELSIF EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'app'::regnamespace AND c.relname = v_table) THEN
        PERFORM sec.raise('ARCHIVED', 'part of the period was archived after this transaction or statement began');
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION sec.has_month(timestamp) IS
    'Whether a month of app.transactions is here. Internal: app.day_totals() asks it. Errors: ARCHIVED where the caller''s snapshot has '
    'it, and it is gone.';
