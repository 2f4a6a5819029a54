-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_settings() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.membership_levels', 'level, name, min_points, discount')
$$;
COMMENT ON FUNCTION sec.columns_of_settings() IS 'What may be read of settings. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_settings() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.membership_levels', 'everyone', 'true', 'true')
$$;
COMMENT ON FUNCTION sec.policies_of_settings() IS 'The policies of settings. Internal: sec.policies().';

CREATE FUNCTION sec.standing_triggers_of_settings() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.settings', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.membership_levels', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.settings', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
           ('app.membership_levels', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
           ('app.settings', 'business_day_changed', 'AFTER UPDATE', 'ROW', 'sec.business_day_changed')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_settings() IS 'The standing triggers of settings. Internal: sec.standing_triggers().';

CREATE FUNCTION sec.descriptions_of_settings() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.membership_levels', 'level', '0 to 4.'),
           ('app.membership_levels', 'name', 'What it is called.'),
           ('app.membership_levels', 'min_points', 'From how many points on.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_settings() IS 'What columns of settings are. Internal: sec.describe_columns().';
