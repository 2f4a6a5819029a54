-- What there is to watch in campaigns.

CREATE FUNCTION sec.sequences_of_campaigns() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.campaign_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.campaign_id_seq q),
           (SELECT max(c.id)::bigint FROM app.campaigns c)
$$;
COMMENT ON FUNCTION sec.sequences_of_campaigns() IS
    'The sequence of campaigns: the number that it gave last, and the greatest that a table has. Internal: sec.sequence_states().';
