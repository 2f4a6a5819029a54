-- What payments used coupons for: the rule of the books, and from the log.

CREATE FUNCTION sec.coupon_takes_off(p_kind text, p_value numeric, p_max_discount numeric, p_price numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $rule$
    SELECT least(p_price - CASE p_kind WHEN 'amount_off' THEN greatest(p_price - p_value, 0)
                                       WHEN 'percent_off' THEN round(p_price * (100 - p_value) * 0.01, 2)
                                       ELSE least(p_value, p_price) END, p_max_discount)
$rule$;
COMMENT ON FUNCTION sec.coupon_takes_off(text, numeric, numeric, numeric) IS
    'What a coupon takes off a price, whatever else is asked of it. Internal: sec.books_coupon_uses().';

CREATE FUNCTION sec.books_coupon_uses(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH paid AS MATERIALIZED (
        SELECT t.tx_no, t.member_id, t.merchant_id, t.created_at, t.discount, t.raw_amount - coalesce(t.excluded_amount, 0) AS part,
               t.coupon_discount, t.member_coupon_id,
               -- What was given back in full is as if it had not been.
               t.refunded_amount < t.final_amount OR (t.final_amount = 0 AND t.status = 'completed') AS lives
        FROM app.transactions t
        WHERE t.member_coupon_id IS NOT NULL AND t.tx_type = 'payment' AND t.created_at >= p_from AND t.created_at < p_to)
    SELECT x.rule, format('%s: %s', p.tx_no, x.what)
    FROM paid p
    LEFT JOIN app.member_coupons m ON m.id = p.member_coupon_id
    LEFT JOIN app.coupon_terms t ON t.coupon_id = m.coupon_id AND t.version = m.terms_version
    CROSS JOIN LATERAL (
        SELECT 'coupon_uses' AS rule, CASE
            WHEN m.id IS NULL THEN format('used the coupon %s, which is not there', sec.coupon_no(p.member_coupon_id))
            WHEN m.member_id IS DISTINCT FROM p.member_id THEN format('used the coupon %s of another member', sec.coupon_no(m.id))
            WHEN p.lives AND m.tx_no IS DISTINCT FROM p.tx_no
                THEN format('used the coupon %s, which is %s', sec.coupon_no(m.id), coalesce('used by ' || m.tx_no, m.status)) END AS what
        UNION ALL
        SELECT 'coupon_prices', CASE
            WHEN p.created_at < m.valid_from OR p.created_at >= m.valid_until
                OR p.part < t.min_spend OR p.merchant_id <> ALL (t.merchants)
                THEN format('the coupon %s could not be used for it', sec.coupon_no(m.id))
            WHEN NOT t.goes_with_level_discount AND p.discount <> 1
                THEN format('the coupon %s takes the place of a discount, and %s was given', sec.coupon_no(m.id), p.discount)
            WHEN p.coupon_discount <> sec.coupon_takes_off(t.kind, t.value, t.max_discount, round(p.part * p.discount, 2))
                THEN format('%s off by the coupon %s, which takes off %s', p.coupon_discount, sec.coupon_no(m.id),
                            sec.coupon_takes_off(t.kind, t.value, t.max_discount, round(p.part * p.discount, 2))) END) x
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'coupon_uses', format('%s: used by %s, which %s', sec.coupon_no(m.id), m.tx_no,
                                 CASE WHEN t.id IS NULL THEN 'is not there' ELSE 'did not use it' END)
    FROM (SELECT u.id, u.tx_no, CASE WHEN u.tx_no ~ '^ZF[0-9]{10,15}$' THEN sec.id_of_number(u.tx_no) END AS tx_id
          FROM app.member_coupons u WHERE u.status = 'used') m
    LEFT JOIN app.transactions t ON t.id = m.tx_id AND t.tx_type = 'payment' AND t.posted_at IS NOT NULL
        AND t.created_at >= sec.month_of_id(m.tx_id) AND t.created_at < sec.month_of_id(m.tx_id) + interval '1 month'
    WHERE (m.tx_id / 100000000000 = ANY (p_archived)) IS NOT TRUE AND t.member_coupon_id IS DISTINCT FROM m.id
      AND (m.tx_id IS NULL OR sec.month_of_id(m.tx_id) >= p_from AND sec.month_of_id(m.tx_id) < p_to)
$rule$;
COMMENT ON FUNCTION sec.books_coupon_uses(timestamptz, timestamptz, bigint[]) IS
    'Payments whose coupon is not spent by them and nothing else, or took off another amount than its terms say. Internal: '
    'sec.books_rules().';

CREATE FUNCTION sec.spent_of_coupons() RETURNS TABLE (coupon_id integer, spent numeric)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT m.coupon_id, sum(t.coupon_discount)
    FROM app.transactions t JOIN app.member_coupons m ON m.id = t.member_coupon_id
    WHERE t.tx_type = 'payment' AND t.member_coupon_id IS NOT NULL
      AND (t.refunded_amount < t.final_amount OR (t.final_amount = 0 AND t.status = 'completed'))
    GROUP BY m.coupon_id
$rule$;
COMMENT ON FUNCTION sec.spent_of_coupons() IS
    'What payments that were not given back in full were reduced by, for each coupon; of the months that are here. Internal.';

CREATE FUNCTION sec.rebuild_coupon_uses() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Whoever spends one or gives it back holds its row: the last event says what it is.
    UPDATE app.member_coupons m SET status = 'used', tx_no = x.tx_no
    FROM (SELECT DISTINCT ON (e.coupon_no) e.coupon_no, e.tx_no
          FROM (SELECT l.event_id, l.coupon AS coupon_no, l.tx_no FROM sec.logged_movements() l WHERE l.coupon IS NOT NULL
                UNION ALL SELECT r.id, r.object_id, NULL FROM audit.event_log r WHERE r.action = 'coupon.returned') e
          ORDER BY e.coupon_no, e.event_id DESC) x
    WHERE x.coupon_no = sec.coupon_no(m.id) AND x.tx_no IS NOT NULL;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'coupons that were used';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_coupon_uses() IS 'Which payment used a coupon. Internal: app.rebuild_from_log().';
