-- The settings, which the families declare, and the levels of cards.

CREATE FUNCTION sec.setting_kinds() RETURNS TABLE (kind text, type text, checked text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('whole', 'integer', '%1$I BETWEEN %2$s AND %3$s'),
           ('money', 'numeric(14,2)', '%1$I BETWEEN %2$s AND %3$s'),
           ('rate', 'numeric(8,4)', '%1$I BETWEEN %2$s AND %3$s'),
           ('switch', 'boolean', NULL),
           ('choice', 'text', '%1$I IN (%4$s)'),
           ('time_zone', 'text', '%1$I <> '''''),
           ('minute_of_day', 'time', '%1$I < ''24:00'' AND extract(second FROM %1$I) = 0')
$$;
COMMENT ON FUNCTION sec.setting_kinds() IS
    'What a kind of setting is as a column: its type, and its CHECK, of the name, the lowest, the highest and the choices. Internal: '
    'sec.add_settings().';

CREATE FUNCTION sec.add_settings() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT format('ALTER TABLE app.settings ADD COLUMN %I %s NOT NULL DEFAULT %s', s.setting, k.type, s.fallback)
               || coalesce(format(' CHECK (' || k.checked || ')', s.setting, s.lowest, s.highest, c.list), '') AS ddl
        FROM sec.settings() s JOIN sec.setting_kinds() k ON k.kind = s.kind,
             LATERAL (SELECT string_agg(quote_literal(x.choice), ', ' ORDER BY x.nth) AS list
                      FROM unnest(s.choices) WITH ORDINALITY x (choice, nth)) c
        WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = 'app.settings'::regclass AND a.attname = s.setting)
        ORDER BY s.place
    LOOP
        EXECUTE v.ddl;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.add_settings() IS
    'Gives app.settings the settings that it lacks: all of a new one, those of this release of an older one. Internal: '
    'sec.install_settings() calls it.';

CREATE FUNCTION sec.change_settings(p_changes jsonb) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_set text := (SELECT string_agg(format('%1$I = ($1 ->> %1$L)::%2$s', s.setting, k.type), ', ')
                   FROM sec.settings() s JOIN sec.setting_kinds() k ON k.kind = s.kind WHERE p_changes ? s.setting);
    v_written bigint := 1;
BEGIN
    IF v_set IS NOT NULL THEN
        EXECUTE 'UPDATE app.settings SET ' || v_set USING p_changes;
        GET DIAGNOSTICS v_written = ROW_COUNT;
    END IF;
    RETURN v_written = 1;
END
$$;
COMMENT ON FUNCTION sec.change_settings(jsonb) IS
    'Writes settings, of which p_changes has the new values as text; false where something keeps the row from being written. Internal: '
    'app.update_settings() has looked at the values.';

CREATE FUNCTION sec.begin_with_defaults() RETURNS void
    -- They are nobody's doing and leave no event, also where the triggers are there already: what is restored may be a log, and theirs
    -- would come after it.
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
BEGIN
    INSERT INTO app.settings DEFAULT VALUES;
    INSERT INTO app.membership_levels
    SELECT * FROM (VALUES (0, 'Basic', 0, 1.000), (1, 'Silver', 5000, 0.950), (2, 'Gold', 10000, 0.900),
                          (3, 'Platinum', 15000, 0.850), (4, 'Diamond', 20000, 0.800)) d
    WHERE NOT EXISTS (SELECT FROM app.membership_levels);
END
$$;
COMMENT ON FUNCTION sec.begin_with_defaults() IS
    'Writes the settings and levels that a database begins with. Internal: sec.install_settings() calls it.';

CREATE FUNCTION sec.install_settings() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.settings') IS NULL THEN
        CREATE TABLE app.settings (
            singleton      boolean NOT NULL DEFAULT true PRIMARY KEY,
            schema_version integer NOT NULL DEFAULT 3,
            CONSTRAINT mps_stamp_8f1d6c52 CHECK (singleton)
        );
        COMMENT ON TABLE app.settings IS
            'The one row of settings; units are in the column names. Read and changed by app.get_settings and app.update_settings.';
        COMMENT ON COLUMN app.settings.schema_version IS
            'Which layout these tables have; the library checks it and answers SCHEMA_OUTDATED until app.migrate() has run.';
    END IF;
    PERFORM sec.add_settings();
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
        PERFORM sec.begin_with_defaults();
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_settings() IS
    'Makes the settings and the levels, with a row each to begin with, where they are missing. Internal: sec.install() calls it.';
