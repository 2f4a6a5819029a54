-- What there is to watch in coupons.

CREATE FUNCTION sec.sequences_of_coupons() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.coupon_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.coupon_id_seq q),
           (SELECT max(c.id)::bigint FROM app.coupons c)
    UNION ALL
    SELECT 'app.coupon_no_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.coupon_no_seq q),
           (SELECT max(m.id) FROM app.member_coupons m)
$$;
COMMENT ON FUNCTION sec.sequences_of_coupons() IS
    'The sequences of coupons: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';
