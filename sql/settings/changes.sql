-- What a change of a setting or of a level sets off.

CREATE FUNCTION sec.config_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'config_changed_trigger_wrapper';
COMMENT ON FUNCTION sec.config_changed() IS
    'Trigger: makes every backend read settings and levels anew once the change commits. Internal.';

CREATE FUNCTION sec.business_day_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'business_day_changed_trigger_wrapper';
COMMENT ON FUNCTION sec.business_day_changed() IS
    'Trigger: has app.business_day_rules follow the settings, from the next business day on. Internal.';

CREATE FUNCTION sec.level_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_before jsonb;
    v_after jsonb;
BEGIN
    -- Our columns alone: to make JSON of another type, its owner's functions would run as ours.
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        v_before := jsonb_build_object('level', OLD.level, 'name', OLD.name, 'min_points', OLD.min_points, 'discount', OLD.discount);
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        v_after := jsonb_build_object('level', NEW.level, 'name', NEW.name, 'min_points', NEW.min_points, 'discount', NEW.discount);
    END IF;
    IF TG_OP = 'UPDATE' AND v_after = v_before THEN
        RETURN NULL;
    END IF;
    PERFORM sec.refuse_shadows();
    PERFORM sec.record_event('level.' || CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END,
                             'membership_level', coalesce(v_after ->> 'level', v_before ->> 'level', 'all'),
                             jsonb_strip_nulls(jsonb_build_object('before', v_before, 'after', v_after)));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.level_changed() IS
    'Trigger: writes an audit event for every change of app.membership_levels, which has no RPC. Internal.';
