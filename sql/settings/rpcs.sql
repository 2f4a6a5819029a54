-- The RPCs of settings. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY DEFINER.

CREATE FUNCTION app.get_settings()
    RETURNS jsonb
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'get_settings_wrapper';
COMMENT ON FUNCTION app.get_settings IS
    E'The settings, as one object.\n'
    'By a backend. Units are in the names. STABLE.\n'
    'Level: backend.\n'
    'Results: one JSON object: name, value.';

CREATE FUNCTION app.update_settings(p_settings jsonb)
    RETURNS jsonb
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'update_settings_wrapper';
COMMENT ON FUNCTION app.update_settings IS
    E'Changes the settings that are named, all or none.\n'
    'By a backend.\n'
    'Level: backend.\n'
    'Results: one JSON object with all settings after the change.\n'
    'Errors: INVALID_ARGUMENT (unknown names, wrong types, values out of range).';
