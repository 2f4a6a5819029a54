-- Rules: what is noted of months: late postings, and who is in closed ones.

CREATE FUNCTION sec.books_late_postings(p_from timestamptz, p_to timestamptz, p_archived bigint[])
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH late AS (
        SELECT l.* FROM app.late_postings l
        WHERE l.created_at >= p_from AND l.created_at < p_to AND l.tx_id / 100000000000 <> ALL (p_archived)),
    posted AS (
        SELECT t.id, t.tx_no, t.merchant_id, t.card_id, t.member_id, t.created_at, t.posted_at FROM app.transactions t
        WHERE t.created_at >= p_from AND t.created_at < p_to AND date_trunc('month', t.posted_at) <> date_trunc('month', t.created_at))
    SELECT 'late_postings', format('%s: %s', coalesce(p.tx_no, 'id ' || l.tx_id),
                                   CASE WHEN l.tx_id IS NULL THEN 'was posted in another month, but is not noted: SELECT app.migrate()'
                                        WHEN p.id IS NULL THEN 'is noted, but was not posted in another month'
                                        ELSE 'is noted otherwise than it is' END)
    FROM posted p FULL JOIN late l ON l.tx_id = p.id
    WHERE (p.merchant_id, p.card_id, p.member_id, p.created_at, p.posted_at, p.id)
        IS DISTINCT FROM (l.merchant_id, l.card_id, l.member_id, l.created_at, l.posted_at, l.tx_id)
$rule$;
COMMENT ON FUNCTION sec.books_late_postings(timestamptz, timestamptz, bigint[]) IS
    'Transactions posted in another month that are not noted, or otherwise than they are. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_closed_months(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- A month that is closed is looked into for those alone who are named.
    SELECT 'closed_months', format('merchant %s has transactions of %s, but is not named for it: CALL app.maintain_partitions()',
                                   x.merchant_id, to_char(x.month, 'YYYY-MM'))
    FROM (SELECT DISTINCT t.merchant_id, date_trunc('month', t.created_at)::date AS month FROM app.transactions t, app.closed_months c
          WHERE t.created_at >= p_from AND t.created_at < p_to
            AND t.created_at < c.through + interval '1 month' AND t.merchant_id IS NOT NULL) x
    WHERE NOT EXISTS (SELECT FROM app.merchant_months m WHERE m.merchant_id = x.merchant_id AND m.month = x.month)
    UNION ALL
    SELECT 'closed_months', format('member %s used a company card in %s, but is not named for it', x.member_id, to_char(x.month, 'YYYY-MM'))
    FROM (SELECT DISTINCT t.member_id, date_trunc('month', t.created_at)::date AS month FROM app.transactions t, app.closed_months c
          WHERE t.created_at >= p_from AND t.created_at < p_to AND t.created_at < c.through + interval '1 month'
            AND t.member_id IS NOT NULL AND t.card_type = 'enterprise') x
    WHERE NOT EXISTS (SELECT FROM app.member_months m WHERE m.member_id = x.member_id AND m.month = x.month)
$rule$;
COMMENT ON FUNCTION sec.books_closed_months(timestamptz, timestamptz) IS
    'Who has transactions in a closed month and is not named for it. Internal: sec.books_rules().';
