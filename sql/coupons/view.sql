-- What a member has of coupons, as a view.

CREATE FUNCTION sec.coupon_no(p_id bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'CP' || lpad(p_id::text, greatest(8, length(p_id::text)), '0')
$$;
COMMENT ON FUNCTION sec.coupon_no(bigint) IS
    E'The number people read of a row of app.member_coupons.\n'
    'Level: client.';

CREATE FUNCTION sec.make_member_coupons() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.v_member_coupons WITH (security_invoker = true) AS
        SELECT sec.coupon_no(m.id) AS coupon_code, c.code, t.name, t.kind, t.value, t.min_spend, t.max_discount,
               t.goes_with_level_discount,
               CASE WHEN m.status = 'active' AND m.valid_until <= statement_timestamp() THEN 'expired' ELSE m.status END AS status,
               m.valid_from, m.valid_until, t.weekdays,
               to_char(make_time(t.hours_from / 60, t.hours_from % 60, 0), 'HH24:MI') AS hours_from,
               to_char(make_time(t.hours_until / 60, t.hours_until % 60, 0), 'HH24:MI') AS hours_until,
               t.levels, t.card_types, t.first_purchase_only, m.issued_at, m.how, m.tx_no, m.member_id
        -- A member's own by the index, whatever there is of others; those only where a backend asks.
        FROM (SELECT o.id, o.coupon_id, o.terms_version, o.valid_from, o.valid_until, o.issued_at, o.status, o.how, o.tx_no, o.member_id
              FROM app.member_coupons o WHERE o.member_id = (SELECT sec.uid())
              UNION ALL
              SELECT o.id, o.coupon_id, o.terms_version, o.valid_from, o.valid_until, o.issued_at, o.status, o.how, o.tx_no, o.member_id
              FROM app.member_coupons o WHERE (SELECT has_function_privilege('sec.level_backend()', 'EXECUTE'))
                AND o.member_id IS DISTINCT FROM (SELECT sec.uid())) m
             JOIN app.coupons c ON c.id = m.coupon_id
             JOIN app.coupon_terms t ON t.coupon_id = m.coupon_id AND t.version = m.terms_version;
    COMMENT ON VIEW app.v_member_coupons IS
        'The coupons of the signed-in member, used ones and those that are over included; for a backend those of all members';
END
$$;
COMMENT ON FUNCTION sec.make_member_coupons() IS 'Makes app.v_member_coupons. Internal.';
