-- What may be read past the functions: to grant from, and to compare with. The families declare it.

CREATE FUNCTION sec.api_columns() RETURNS TABLE (tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.tab, c.cols FROM sec.columns_by_level() c WHERE c.level = 'client'
$$;
COMMENT ON FUNCTION sec.api_columns() IS
    'What client and backend level may SELECT, under row-level security: by column (never a hash, never another''s key), or a '
    'whole view (NULL). Internal.';

CREATE FUNCTION sec.backend_columns() RETURNS TABLE (tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.tab, c.cols FROM sec.columns_by_level() c WHERE c.level = 'backend'
$$;
COMMENT ON FUNCTION sec.backend_columns() IS 'As sec.api_columns(): what backend level alone may SELECT. Internal.';
