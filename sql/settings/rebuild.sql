-- Settings, levels and business days from the audit log.

CREATE FUNCTION sec.logged_of_settings() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('settings.updated', ARRAY['now']), ('level.created', ARRAY['after']), ('level.changed', ARRAY['before', 'after']),
           ('level.removed', '{}')
$$;
COMMENT ON FUNCTION sec.logged_of_settings() IS 'The events of settings and levels. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_settings() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (10, 'rebuild_settings'), (20, 'rebuild_levels')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_settings() IS 'The steps of settings. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.rebuild_settings() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now jsonb;
    v_days jsonb;
BEGIN
    SELECT e.context -> 'now' INTO v_now FROM audit.event_log e WHERE e.action = 'settings.updated' ORDER BY e.id DESC LIMIT 1;
    IF FOUND AND NOT sec.change_settings(v_now) THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'something keeps the settings from being written');
    END IF;
    SELECT e.context -> 'business_days' INTO v_days
    FROM audit.event_log e WHERE e.action = 'settings.updated' AND e.context ? 'business_days' ORDER BY e.id DESC LIMIT 1;
    IF FOUND THEN
        -- That of a trigger counts from now on; these counted when they did.
        DELETE FROM app.business_day_rules;
        INSERT INTO app.business_day_rules (from_at, from_day, time_zone, starts_at)
        SELECT d.from_at, d.from_day, d.time_zone, d.starts_at
        FROM jsonb_to_recordset(v_days) d (from_at timestamptz, from_day date, time_zone text, starts_at time);
    END IF;
    RETURN QUERY SELECT 'settings', count(*) FROM jsonb_object_keys(v_now);
END
$$;
COMMENT ON FUNCTION sec.rebuild_settings() IS
    'The settings as the last change left them, and what a business day was and is. Internal: app.rebuild_from_log().';

CREATE FUNCTION sec.rebuild_levels() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_levels jsonb := (SELECT coalesce(jsonb_object_agg(l.level, to_jsonb(l)), '{}')
                       FROM (SELECT x.level, x.name, x.min_points, x.discount FROM app.membership_levels x) l);
BEGIN
    FOR v IN SELECT e.context -> 'before' AS before, e.context -> 'after' AS after FROM audit.event_log e
             WHERE e.action IN ('level.created', 'level.changed', 'level.removed') ORDER BY e.id LOOP
        v_levels := CASE WHEN v.before IS NULL AND v.after IS NULL THEN '{}' ELSE v_levels - coalesce(v.before ->> 'level', '') END;
        IF v.after IS NOT NULL THEN
            v_levels := v_levels || jsonb_build_object(v.after ->> 'level', v.after);
        END IF;
    END LOOP;
    -- What is as it is to be is not touched: each change leaves an event.
    DELETE FROM app.membership_levels l
    WHERE NOT EXISTS (SELECT FROM jsonb_each(v_levels) x
                      WHERE x.value = jsonb_build_object('level', l.level, 'name', l.name, 'min_points', l.min_points,
                                                         'discount', l.discount));
    INSERT INTO app.membership_levels (level, name, min_points, discount)
    SELECT d.level, d.name, d.min_points, d.discount
    FROM jsonb_each(v_levels) x, jsonb_to_record(x.value) d (level smallint, name text, min_points bigint, discount numeric)
    WHERE NOT EXISTS (SELECT FROM app.membership_levels l WHERE l.level = d.level);
    RETURN QUERY SELECT 'levels', count(*) FROM jsonb_object_keys(v_levels);
END
$$;
COMMENT ON FUNCTION sec.rebuild_levels() IS
    'The levels of membership, from those that a database begins with. Internal: app.rebuild_from_log().';
