-- The settings, and the levels of cards.

CREATE FUNCTION sec.install_settings() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.settings') IS NULL THEN
        CREATE TABLE app.settings (
            singleton             boolean       NOT NULL DEFAULT true PRIMARY KEY,
            schema_version        integer       NOT NULL DEFAULT 3,
            qr_ttl_seconds        integer       NOT NULL DEFAULT 900 CHECK (qr_ttl_seconds BETWEEN 10 AND 86400),
            qr_single_use         boolean       NOT NULL DEFAULT true,
            points_per_unit       numeric(8,4)  NOT NULL DEFAULT 1 CHECK (points_per_unit BETWEEN 0 AND 1000),
            max_amount            numeric(14,2) NOT NULL DEFAULT 50000.00 CHECK (max_amount BETWEEN 0.01 AND 10000000000),
            max_balance           numeric(14,2) NOT NULL DEFAULT 1000000.00 CHECK (max_balance BETWEEN 0.01 AND 100000000000),
            recharge_confirmation text          NOT NULL DEFAULT 'gateway' CHECK (recharge_confirmation IN ('gateway', 'trusted')),
            recharge_ttl_minutes  integer       NOT NULL DEFAULT 1440 CHECK (recharge_ttl_minutes BETWEEN 5 AND 43200),
            key_retention_days    integer       NOT NULL DEFAULT 90 CHECK (key_retention_days BETWEEN 90 AND 3650),
            CONSTRAINT mps_stamp_8f1d6c52 CHECK (singleton),
            max_pending_recharges integer       NOT NULL DEFAULT 20 CHECK (max_pending_recharges BETWEEN 1 AND 1000),
            signup_anonymous      boolean       NOT NULL DEFAULT false,
            business_time_zone    text          NOT NULL DEFAULT 'UTC' CHECK (business_time_zone <> ''),
            business_day_starts_at time         NOT NULL DEFAULT '00:00'
                CHECK (business_day_starts_at < '24:00' AND extract(second FROM business_day_starts_at) = 0)
        );
        COMMENT ON TABLE app.settings IS
            'The one row of settings; units are in the column names. Read and changed by app.get_settings and app.update_settings.';
        COMMENT ON COLUMN app.settings.schema_version IS
            'Which layout these tables have; the library checks it and answers SCHEMA_OUTDATED until app.migrate() has run.';
        COMMENT ON COLUMN app.settings.qr_ttl_seconds IS 'How long a pay code lives.';
        COMMENT ON COLUMN app.settings.qr_single_use IS 'Whether a successful charge uses its pay code up.';
        COMMENT ON COLUMN app.settings.points_per_unit IS 'Points for one currency unit paid.';
        COMMENT ON COLUMN app.settings.max_amount IS 'The largest single amount of any RPC.';
        COMMENT ON COLUMN app.settings.max_balance IS 'The largest balance that a recharge or a correction may lead to.';
        COMMENT ON COLUMN app.settings.recharge_confirmation IS
            'gateway: a member''s recharge waits for confirm_recharge; trusted: it completes at once.';
        COMMENT ON COLUMN app.settings.recharge_ttl_minutes IS
            'After this, app.expire_recharges() cancels a recharge that nobody confirmed.';
        COMMENT ON COLUMN app.settings.key_retention_days IS 'How long idempotency keys and payment order ids are remembered, at least.';
    END IF;
    IF to_regclass('app.membership_levels') IS NULL THEN
        CREATE TABLE app.membership_levels (
            level      smallint     NOT NULL PRIMARY KEY CHECK (level >= 0),
            name       text         NOT NULL CHECK (length(name) BETWEEN 1 AND 500),
            min_points bigint       NOT NULL UNIQUE CHECK (min_points >= 0),
            discount   numeric(4,3) NOT NULL CHECK (discount > 0 AND discount <= 1)
        );
        COMMENT ON TABLE app.membership_levels IS
            'Levels of personal cards: the highest whose min_points is reached. A change takes effect at the next charge; '
            'app.recompute_levels() applies it to every card.';
        COMMENT ON COLUMN app.membership_levels.discount IS 'What a price is multiplied by: 0.950 is five percent off.';
    END IF;
    -- New, or from a dump of the schema alone.
    IF NOT EXISTS (SELECT FROM app.settings) THEN
        INSERT INTO app.settings DEFAULT VALUES;
        INSERT INTO app.membership_levels
        SELECT * FROM (VALUES (0, 'Basic', 0, 1.000), (1, 'Silver', 5000, 0.950), (2, 'Gold', 10000, 0.900),
                              (3, 'Platinum', 15000, 0.850), (4, 'Diamond', 20000, 0.800)) d
        WHERE NOT EXISTS (SELECT FROM app.membership_levels);
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_settings() IS
    'Makes the settings and the levels, with a row each to begin with, where they are missing. Internal: sec.install() calls it.';
