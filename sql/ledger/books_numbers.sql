-- Rule: amounts and numbers. The proofs build on the numbers, so it is asked first.

CREATE FUNCTION sec.books_numbers(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH odd AS (
        SELECT t.*, CASE t.tx_type WHEN 'payment' THEN 'ZF' WHEN 'refund' THEN 'TK' WHEN 'recharge' THEN 'CZ'
                        WHEN 'withdrawal' THEN 'TX' ELSE 'TZ' END || to_char(t.created_at, 'YYMM') AS head,
               CASE WHEN t.id % 100000000000 < 1000000 THEN lpad((t.id % 100000000000)::text, 6, '0')
                    ELSE (t.id % 100000000000)::text END AS tail
        FROM app.transactions t
        WHERE t.created_at >= p_from AND t.created_at < p_to
          -- What nearly every row is: all of the cases below in one cheap condition.
          AND NOT coalesce(
              t.status = 'completed' AND t.card_seq > 0 AND t.posted_at IS NOT NULL AND t.balance_after >= 0 AND t.final_amount > 0
              AND num_nonnulls(t.excluded_amount, t.coupon_discount, t.member_coupon_id) = 0
              AND t.final_amount = CASE WHEN t.tx_type = 'payment' THEN round(t.raw_amount * t.discount, 2) ELSE t.raw_amount END
              AND t.tx_no = CASE t.tx_type WHEN 'payment' THEN 'ZF' WHEN 'refund' THEN 'TK' WHEN 'recharge' THEN 'CZ'
                                 WHEN 'withdrawal' THEN 'TX' ELSE 'TZ' END
                            || to_char(t.created_at, 'YYMM')
                            || CASE WHEN t.id % 100000000000 < 1000000 THEN lpad((t.id % 100000000000)::text, 6, '0')
                                 ELSE (t.id % 100000000000)::text END
              AND to_char(t.created_at, 'YYMM')::bigint = t.id / 100000000000, false))
    SELECT x.rule, format('%s %s', o.tx_no, x.what) FROM odd o CROSS JOIN LATERAL (
        SELECT 'amounts' AS rule, CASE
            -- What a coupon paid all of is cancelled after it was posted.
            WHEN num_nonnulls(o.card_seq, o.posted_at, o.balance_after)
                    <> CASE WHEN o.status = 'completed' OR (o.status = 'cancelled' AND o.tx_type = 'payment') THEN 3 ELSE 0 END
                THEN format('is %s, and yet %s', o.status, CASE WHEN o.status = 'completed' THEN 'not posted' ELSE 'posted' END)
            WHEN o.status = 'cancelled' AND o.tx_type = 'payment' AND o.final_amount <> 0
                THEN format('is cancelled, and paid %s', o.final_amount)
            WHEN (o.final_amount = 0 AND o.coupon_discount IS NULL AND o.tx_type <> 'refund') OR o.balance_after < 0
                    OR (o.final_amount < 0 AND o.tx_type <> 'adjustment')
                THEN format('moves %s and leaves %s', o.final_amount, o.balance_after)
            WHEN o.tx_type <> 'payment' AND num_nonnulls(o.excluded_amount, o.coupon_discount, o.member_coupon_id) > 0
                THEN 'has a price, but is no payment'
            WHEN o.excluded_amount <= 0 OR o.excluded_amount > o.raw_amount OR o.coupon_discount <= 0
                    OR num_nonnulls(o.coupon_discount, o.member_coupon_id) = 1
                THEN format('of %s excludes %s, and the coupon %s takes off %s', o.raw_amount, coalesce(o.excluded_amount, 0),
                            coalesce(o.member_coupon_id::text, 'that is none'), coalesce(o.coupon_discount, 0))
            WHEN o.final_amount <> CASE WHEN o.tx_type = 'payment'
                                   THEN round((o.raw_amount - coalesce(o.excluded_amount, 0)) * o.discount, 2)
                                        - coalesce(o.coupon_discount, 0) + coalesce(o.excluded_amount, 0)
                                   ELSE o.raw_amount END
                THEN format('moves %s, but %s at %s is asked for%s%s', o.final_amount, o.raw_amount, o.discount,
                            ', of which ' || o.excluded_amount || ' takes no part', ', less ' || o.coupon_discount || ' by a coupon')
            END AS what
        UNION ALL
        SELECT 'numbers', CASE
            WHEN (o.id / 100000000000)::text <> ltrim(to_char(o.created_at, 'YYMM'), '0')
                THEN format('of %s has the id %s, of another month', to_char(o.created_at, 'YYYY-MM'), o.id)
            WHEN o.tx_no <> o.head || o.tail THEN format('is not the number of %s %s', o.tx_type, o.id) END) x
    WHERE x.what IS NOT NULL
    UNION ALL
    -- A number follows from id and type, and an id is one month's, so that no number is there twice as long as each
    -- month has its primary key.
    SELECT 'numbers', format('%s has no primary key', i.inhrelid::regclass) FROM pg_inherits i
    WHERE i.inhparent IN ('app.transactions'::regclass, 'app.point_ledger'::regclass, 'audit.event_log'::regclass)
      AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = i.inhrelid AND x.indisprimary AND x.indisvalid)
$rule$;
COMMENT ON FUNCTION sec.books_numbers(timestamptz, timestamptz) IS
    'Transactions whose amounts or numbers are not as they must be, and months without a primary key. Internal: sec.books_rules().';
