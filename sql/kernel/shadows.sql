-- The sessions in which code of others on the tables of mps is not safe.

CREATE FUNCTION sec.refuse_shadows() RETURNS boolean
    -- STABLE, so that whoever asks says as of when.
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_what text;
BEGIN
    IF pg_my_temp_schema() = 0 THEN
        RETURN false;
    END IF;
    SELECT string_agg(c.what, '; ' ORDER BY c.what) INTO v_what FROM sec.careless_code() c;
    IF v_what IS NOT NULL AND (EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = pg_my_temp_schema())
                               OR EXISTS (SELECT FROM pg_type t WHERE t.typnamespace = pg_my_temp_schema())) THEN
        PERFORM sec.raise('STATUS_CONFLICT', format(
            'this session has temporary tables or types, whose names could be taken for others by code on the tables of mps: '
            '%s. Give that function a search_path that ends in pg_temp, or DISCARD TEMP here', v_what));
    END IF;
    RETURN v_what IS NULL;
END
$$;
COMMENT ON FUNCTION sec.refuse_shadows() IS
    'Refuses to write in a session with temporary objects as long as sec.careless_code() has something; returns whether it '
    'certainly has nothing. Internal. Errors: STATUS_CONFLICT.';
