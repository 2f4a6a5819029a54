-- What the kernel declares as a family does, and gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_kernel() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.error_codes', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_kernel() IS 'What may be read of the kernel. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.descriptions_of_kernel() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.error_codes', 'token', 'What an error says as its message; a program goes by it.'),
           ('app.error_codes', 'sqlstate', 'Its SQLSTATE: PTnnn.'),
           ('app.error_codes', 'http_status', 'What PostgREST makes of it: the nnn.'),
           ('app.error_codes', 'message_en', 'What to tell a person, in English.'),
           ('app.error_codes', 'message_zh', 'What to tell a person, in Chinese.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_kernel() IS 'What columns of the kernel are. Internal: sec.describe_columns().';
