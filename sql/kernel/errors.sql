-- The closed list of errors, and raising one of them from SQL.

CREATE FUNCTION sec.raise(p_token text, p_detail text) RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'raise_token_wrapper';
COMMENT ON FUNCTION sec.raise(text, text) IS
    E'Raises one of the errors of app.error_codes, for the SQL parts of mps. Internal.\n'
    'Level: operator, signup.';

CREATE FUNCTION app.error_list() RETURNS TABLE (token text, sqlstate text, http_status integer, message_en text, message_zh text)
    LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'error_list_wrapper';
COMMENT ON FUNCTION app.error_list() IS
    E'The closed list of errors: what app.error_codes shows.\n'
    'Level: client.\n'
    'Results: token (the message of an error), sqlstate (PTnnn), http_status (the nnn), message_en, message_zh (what to tell a '
    'person).';

CREATE FUNCTION sec.make_error_codes() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.error_codes WITH (security_invoker = true) AS
        SELECT e.token, e.sqlstate, e.http_status, e.message_en, e.message_zh FROM app.error_list() e;
    COMMENT ON VIEW app.error_codes IS
        'The closed list of errors: MESSAGE is the token, SQLSTATE PTnnn becomes HTTP nnn behind PostgREST';
END
$$;
COMMENT ON FUNCTION sec.make_error_codes() IS 'Makes app.error_codes. Internal.';
