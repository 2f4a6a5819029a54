-- Rules of payments, and the one of corrections.

CREATE FUNCTION sec.rules_of_payments() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (60, ARRAY['refunds', 'refund_points', 'refund_chain'], 'books_refunds'),
           (100, ARRAY['compensations'], 'books_compensations')
$$;
COMMENT ON FUNCTION sec.rules_of_payments() IS 'What app.verify_books() checks of the payments. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_compensations(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH adjusted AS (SELECT t.id, t.tx_no, t.card_id, t.original_tx_no, t.final_amount FROM app.transactions t
                   WHERE t.tx_type = 'adjustment' AND t.status = 'completed' AND t.created_at >= p_from AND t.created_at < p_to)
    SELECT 'compensations', format('%s: %s', k.compensation_tx_no,
                                   CASE WHEN a.tx_no IS NULL THEN 'there is no such adjustment'
                                        ELSE format('%s for %s, but the adjustment is %s for %s', k.amount, k.tx_no,
                                                    a.final_amount, a.original_tx_no) END)
    FROM (SELECT k.*, CASE WHEN k.compensation_tx_no ~ '^TZ[0-9]{10,15}$'
                      THEN substr(k.compensation_tx_no, 3, 4)::bigint * 100000000000 + substr(k.compensation_tx_no, 7)::bigint END AS id
          FROM app.transaction_compensations k WHERE k.created_at >= p_from AND k.created_at < p_to) k
    LEFT JOIN app.transactions a ON a.id = k.id AND a.tx_type = 'adjustment' AND a.status = 'completed'
        AND a.created_at >= sec.month_of_id(k.id) AND a.created_at < sec.month_of_id(k.id) + interval '1 month'
    WHERE (k.id / 100000000000 = ANY (p_archived)) IS NOT TRUE AND (a.final_amount, a.original_tx_no) IS DISTINCT FROM (k.amount, k.tx_no)
    UNION ALL
    -- The others come in pairs: a card was replaced.
    SELECT 'compensations', format('%s: nobody noted why', a.tx_no)
    FROM adjusted a
    WHERE NOT EXISTS (SELECT FROM app.transaction_compensations k WHERE k.compensation_tx_no = a.tx_no)
      AND NOT EXISTS (
          SELECT FROM adjusted b
          JOIN app.personal_cards o ON o.id = CASE WHEN a.final_amount < 0 THEN a.card_id ELSE b.card_id END
          WHERE b.tx_no = a.original_tx_no AND b.original_tx_no = a.tx_no AND b.final_amount = -a.final_amount
            AND o.replaced_by = CASE WHEN a.final_amount < 0 THEN b.card_id ELSE a.card_id END)
$rule$;
COMMENT ON FUNCTION sec.books_compensations(timestamptz, timestamptz, bigint[]) IS
    'Corrections that are not noted, or otherwise than they are. Internal: sec.books_rules().';
