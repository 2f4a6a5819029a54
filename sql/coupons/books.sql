-- Rules: coupons, what was issued of them, and their budgets.

CREATE FUNCTION sec.rules_of_coupons() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (200, ARRAY['coupons', 'coupon_limits'], 'books_coupons'), (201, ARRAY['coupon_budgets'], 'books_coupon_budgets'),
           (202, ARRAY['coupon_log', 'coupon_keys'], 'books_coupon_log'), (203, ARRAY['coupon_uses', 'coupon_prices'], 'books_coupon_uses')
$$;
COMMENT ON FUNCTION sec.rules_of_coupons() IS 'What app.verify_books() checks of coupons. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_coupons() RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH rights AS (SELECT m.coupon_id, count(*) AS rows FROM app.member_coupons m GROUP BY m.coupon_id),
    versions AS (SELECT t.coupon_id, count(*) AS rows, max(t.version) AS newest FROM app.coupon_terms t GROUP BY t.coupon_id),
    under AS (SELECT m.coupon_id, m.terms_version, count(*) AS rows FROM app.member_coupons m GROUP BY m.coupon_id, m.terms_version),
    -- Of those members whom a limit may concern.
    per_member AS (SELECT m.coupon_id, m.member_id, m.terms_version, count(*) AS rows FROM app.member_coupons m
                   WHERE EXISTS (SELECT FROM app.coupon_terms t WHERE t.coupon_id = m.coupon_id AND t.per_member_limit IS NOT NULL)
                   GROUP BY m.coupon_id, m.member_id, m.terms_version)
    SELECT 'coupons', format('%s: %s', c.code, x.what)
    FROM app.coupons c LEFT JOIN rights r ON r.coupon_id = c.id LEFT JOIN versions v ON v.coupon_id = c.id
    LEFT JOIN app.coupon_terms t ON t.coupon_id = c.id AND t.version = c.terms_version
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.issued <> coalesce(r.rows, 0) THEN format('%s issued, and members have %s', c.issued, coalesce(r.rows, 0)) END
        UNION ALL
        SELECT CASE WHEN v.rows IS DISTINCT FROM c.terms_version OR v.newest IS DISTINCT FROM c.terms_version
            THEN format('has %s terms up to %s, and %s are the newest', coalesce(v.rows, 0), v.newest, c.terms_version) END
        UNION ALL
        SELECT CASE WHEN t.budget_amount IS DISTINCT FROM c.budget_amount
            THEN format('its budget is %s, and its terms say %s', c.budget_amount, t.budget_amount) END
        UNION ALL
        SELECT CASE WHEN c.status = 'draft' AND r.rows > 0 THEN 'is a draft, and was issued' END) x (what)
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'coupons', format('%s: %s', sec.coupon_no(m.id), x.what)
    FROM app.member_coupons m
    LEFT JOIN app.coupons c ON c.id = m.coupon_id
    LEFT JOIN app.coupon_terms t ON t.coupon_id = m.coupon_id AND t.version = m.terms_version
    LEFT JOIN app.member_profiles p ON p.id = m.member_id
    LEFT JOIN app.member_coupons f ON f.id = m.issued_with
    CROSS JOIN LATERAL (SELECT CASE
        WHEN c.id IS NULL THEN format('there is no coupon %s', m.coupon_id)
        WHEN t.coupon_id IS NULL THEN format('there are no terms %s of %s', m.terms_version, c.code)
        WHEN p.id IS NULL THEN format('there is no member %s', m.member_id)
        WHEN f.id > m.id OR (f.coupon_id, f.terms_version, f.issued_at, f.how) IS DISTINCT FROM
                            (m.coupon_id, m.terms_version, m.issued_at, m.how)
            THEN format('was not issued together with %s', sec.coupon_no(m.issued_with))
        WHEN m.valid_from < greatest(m.issued_at, t.valid_from) THEN 'can be used before its terms let it'
        WHEN t.valid_days_after_issue IS NULL AND m.valid_until IS DISTINCT FROM t.valid_until
          OR t.valid_days_after_issue IS NOT NULL AND m.valid_until IS NULL THEN 'ends at another time than its terms say'
        WHEN m.how = 'claimed' AND NOT t.claimable THEN 'was claimed, and could not be'
        END) x (what)
    WHERE x.what IS NOT NULL
    UNION ALL
    -- Who issues goes by the newest terms: at the last one of a version all so far were within the limit of that.
    SELECT 'coupon_limits', format('%s: %s were issued while %s was the limit', c.code, x.rows, t.issue_limit)
    FROM (SELECT u.coupon_id, u.terms_version, sum(u.rows) OVER (PARTITION BY u.coupon_id ORDER BY u.terms_version) AS rows FROM under u) x
    JOIN app.coupon_terms t ON t.coupon_id = x.coupon_id AND t.version = x.terms_version
    JOIN app.coupons c ON c.id = x.coupon_id
    WHERE x.rows > t.issue_limit
    UNION ALL
    SELECT 'coupon_limits', format('%s: member %s got %s while %s was the limit', c.code, p.member_no, x.rows, t.per_member_limit)
    FROM (SELECT u.coupon_id, u.member_id, u.terms_version,
                 sum(u.rows) OVER (PARTITION BY u.coupon_id, u.member_id ORDER BY u.terms_version) AS rows FROM per_member u) x
    JOIN app.coupon_terms t ON t.coupon_id = x.coupon_id AND t.version = x.terms_version
    JOIN app.coupons c ON c.id = x.coupon_id
    LEFT JOIN app.member_profiles p ON p.id = x.member_id
    WHERE x.rows > t.per_member_limit
$rule$;
COMMENT ON FUNCTION sec.books_coupons() IS
    'Coupons that count otherwise than members have of them, rights without a coupon, terms or member, and more than a limit allowed. '
    'Internal: sec.books_rules().';

CREATE FUNCTION sec.books_coupon_budgets(p_archived bigint[]) RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH parts AS (SELECT b.coupon_id, count(*) AS rows, sum(b.left_amount) AS total FROM app.coupon_budget_parts b GROUP BY b.coupon_id)
    SELECT 'coupon_budgets', format('%s: %s', coalesce(c.code, p.coupon_id::text), x.what)
    FROM app.coupons c FULL JOIN parts p ON p.coupon_id = c.id
    LEFT JOIN sec.spent_of_coupons() s ON s.coupon_id = c.id AND c.budget_amount IS NOT NULL
    CROSS JOIN LATERAL (SELECT CASE
        WHEN c.id IS NULL OR c.budget_amount IS NULL AND p.rows > 0 THEN 'has parts of a budget, and no budget'
        WHEN c.budget_amount IS NOT NULL AND p.rows IS DISTINCT FROM 16 THEN format('its budget has %s parts', coalesce(p.rows, 0))
        -- What was spent in archived months is not here to be seen.
        WHEN CASE WHEN cardinality(p_archived) = 0 THEN p.total <> c.budget_amount - coalesce(s.spent, 0)
                  ELSE p.total > c.budget_amount - coalesce(s.spent, 0) END
            THEN format('%s is left of its budget of %s, and %s was spent', p.total, c.budget_amount, coalesce(s.spent, 0))
        END) x (what)
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_coupon_budgets(bigint[]) IS
    'Budgets whose parts do not come to what is left of them. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_coupon_log(p_from timestamptz, p_to timestamptz, p_archived bigint[], p_month_ids_from bigint,
    p_month_ids_to bigint)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH logged AS (
        SELECT i.id::bigint AS id, e.object_id AS code,
               coalesce(e.context -> 'members' ->> (i.nth - 1)::integer, e.context -> 'members' ->> 0) AS member
        FROM audit.event_log e CROSS JOIN LATERAL jsonb_array_elements_text(e.context -> 'ids') WITH ORDINALITY i (id, nth)
        WHERE e.action IN ('coupon.issued', 'coupon.claimed') AND e.happened_at >= p_from AND e.happened_at < p_to),
    rights AS (
        SELECT m.id, m.member_id, c.code FROM app.member_coupons m LEFT JOIN app.coupons c ON c.id = m.coupon_id
        WHERE m.issued_at >= p_from AND m.issued_at < p_to
          AND to_char(m.issued_at AT TIME ZONE 'UTC', 'YYMM')::bigint <> ALL (p_archived))
    SELECT 'coupon_log', format('%s: %s', sec.coupon_no(coalesce(r.id, l.id)), CASE
        WHEN l.id IS NULL THEN 'is not in the log'
        WHEN r.id IS NULL THEN 'was issued by the log, and is not there'
        ELSE 'is of another coupon or member than the log says' END)
    FROM rights r FULL JOIN logged l ON l.id = r.id
    WHERE l.id IS NULL OR r.id IS NULL OR (l.code, l.member) IS DISTINCT FROM (r.code, r.member_id::text)
    UNION ALL
    SELECT 'coupon_keys', format('key %L of scope %s/%s: there is no such coupon', left(k.idempotency_key, 40), k.operation, k.scope_no)
    FROM app.idempotency_keys k
    LEFT JOIN app.member_coupons m ON m.id = k.ref_id % 100000000000
    LEFT JOIN app.member_profiles p ON p.id = m.member_id
    WHERE k.operation IN (31, 32) AND k.ref_id >= p_month_ids_from AND k.ref_id < p_month_ids_to
      AND CASE k.operation WHEN 31 THEN m.coupon_id = k.scope_no AND m.how = 'issued'
                           ELSE substr(p.member_no, 2)::bigint = k.scope_no AND m.how = 'claimed' END IS NOT TRUE
$rule$;
COMMENT ON FUNCTION sec.books_coupon_log(timestamptz, timestamptz, bigint[], bigint, bigint) IS
    'Coupons of members that the log does not have, or has otherwise, and keys that lead to none. Internal: sec.books_rules().';
