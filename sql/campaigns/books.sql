-- Rules: campaigns, and the points that payments were given by them.

CREATE FUNCTION sec.rules_of_campaigns() RETURNS TABLE (place integer, checks text[], rule text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (210, ARRAY['campaigns'], 'books_campaigns'), (211, ARRAY['campaign_points'], 'books_campaign_points')
$$;
COMMENT ON FUNCTION sec.rules_of_campaigns() IS 'What app.verify_books() checks of campaigns. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_campaigns() RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    SELECT 'campaigns', format('%s: has %s terms up to %s, and %s are the newest', c.code, coalesce(v.rows, 0), v.newest, c.terms_version)
    FROM app.campaigns c
    LEFT JOIN (SELECT t.campaign_id, count(*) AS rows, max(t.version) AS newest FROM app.campaign_terms t GROUP BY t.campaign_id) v
        ON v.campaign_id = c.id
    WHERE v.rows IS DISTINCT FROM c.terms_version OR v.newest IS DISTINCT FROM c.terms_version
$rule$;
COMMENT ON FUNCTION sec.books_campaigns() IS 'Campaigns whose terms are not there. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_campaign_points(p_from timestamptz, p_to timestamptz) RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH given AS MATERIALIZED (
        SELECT t.tx_no, t.tx_type, t.card_type, t.merchant_id, t.created_at, t.points_earned, t.points_base, t.points_bonus, t.campaigns,
               t.raw_amount - coalesce(t.excluded_amount, 0) AS part, t.final_amount - coalesce(t.excluded_amount, 0) AS pointable
        FROM app.transactions t
        WHERE num_nonnulls(t.points_base, t.points_bonus, t.campaigns) > 0 AND t.created_at >= p_from AND t.created_at < p_to),
    uses AS (
        SELECT g.tx_no, u.key, u.value AS points, c.code, c.status, t.*
        FROM given g CROSS JOIN LATERAL jsonb_each_text(CASE WHEN jsonb_typeof(g.campaigns) = 'object' THEN g.campaigns ELSE '{}' END) u
        LEFT JOIN app.campaign_terms t ON u.key = t.campaign_id || '.' || t.version
        LEFT JOIN app.campaigns c ON c.id = t.campaign_id),
    sums AS (
        SELECT u.tx_no, sum(CASE WHEN u.points ~ '^[0-9]{1,18}$' THEN u.points::bigint END) AS points, count(*) AS n,
               1 + coalesce(sum(u.value - 1) FILTER (WHERE u.kind = 'points_multiplier'), 0) AS times,
               coalesce(sum(u.value) FILTER (WHERE u.kind = 'points_bonus'), 0) AS fixed, bool_or(u.exclusive) AS is_exclusive
        FROM uses u GROUP BY u.tx_no)
    SELECT 'campaign_points', format('%s: %s', g.tx_no, x.what)
    FROM given g LEFT JOIN sums s ON s.tx_no = g.tx_no
    CROSS JOIN LATERAL (SELECT CASE
        WHEN g.tx_type <> 'payment' OR g.card_type <> 'personal' OR num_nonnulls(g.points_base, g.points_bonus, g.campaigns) < 3
            OR s.n IS NULL THEN 'has points of campaigns, and no campaigns, or no card that earns any'
        WHEN g.points_base + g.points_bonus <> g.points_earned OR s.points IS DISTINCT FROM g.points_bonus
            THEN format('earned %s, of which %s without campaigns and %s by them, which say %s', g.points_earned, g.points_base,
                        g.points_bonus, s.points)
        WHEN g.pointable <= 0 OR g.points_base < 0 THEN 'has points of campaigns, and nothing was paid for that takes part'
        WHEN s.is_exclusive AND s.n > 1 THEN 'has others beside an exclusive campaign'
        -- The rate of then lies between what base points can come of.
        WHEN g.points_earned < floor(g.points_base * s.times) + s.fixed
            OR g.points_earned > ceil((g.points_base + 1) * s.times) - 1 + s.fixed
            THEN format('earned %s, and %s times %s and %s were to be given', g.points_earned, s.times, g.points_base, s.fixed)
        END) x (what)
    WHERE x.what IS NOT NULL
    UNION ALL
    SELECT 'campaign_points', format('%s: %s', g.tx_no, CASE
        WHEN u.kind IS NULL THEN format('the campaign %s is not there', u.key)
        ELSE format('the campaign %s could not apply to it', u.code) END)
    FROM uses u JOIN given g ON g.tx_no = u.tx_no
    WHERE u.kind IS NULL OR u.status = 'draft' OR g.part < u.min_spend OR g.merchant_id <> ALL (u.merchants)
       OR 'personal' <> ALL (u.card_types)
       OR g.created_at < u.valid_from OR g.created_at >= u.valid_until
       OR u.kind = 'points_bonus' AND u.points <> u.value::bigint::text
$rule$;
COMMENT ON FUNCTION sec.books_campaign_points(timestamptz, timestamptz) IS
    'Payments whose points are not what their campaigns'' terms make of them. Internal: sec.books_rules().';
