-- What there is to watch in members.

CREATE FUNCTION sec.health_of_members() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT 'signup'::text, sec.signup_is_whole(),
                        CASE WHEN sec.signup_is_whole() THEN 'whole, or off'
                             ELSE 'no trigger for anonymous users who get an identity: SELECT app.enable_supabase_signup()' END;
END
$$;
COMMENT ON FUNCTION sec.health_of_members() IS 'What app.health() says of members. Internal: sec.health_rows().';

CREATE FUNCTION sec.sequences_of_members() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.member_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.member_no_seq q),
           -- As of cards: by the text, right up to 99,999,999.
           (SELECT substr(max(m.member_no), 2)::bigint FROM app.member_profiles m)
$$;
COMMENT ON FUNCTION sec.sequences_of_members() IS
    'The sequences of members: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
