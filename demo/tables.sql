-- What the day left behind, as its owner sees it in psql.
\pset border 2
\pset linestyle unicode
\pset footer off
\pset null '-'
\encoding UTF8

\echo
\echo 'Cards'
SELECT * FROM (
    SELECT c.card_no, m.name AS holder, c.balance, c.points, l.name AS level, c.discount, c.status
    FROM app.personal_cards c JOIN app.member_profiles m ON m.id = c.member_id JOIN app.membership_levels l USING (level)
    UNION ALL
    SELECT e.card_no, e.company_name, e.balance, NULL, NULL, e.fixed_discount, e.status FROM app.enterprise_cards e) cards
ORDER BY points IS NULL, card_no;

\echo 'Transactions'
SELECT t.tx_no, t.tx_type AS type, coalesce(p.card_no, e.card_no) AS card, s.code AS shop, t.raw_amount AS raw,
       t.excluded_amount AS excluded, t.discount, t.coupon_discount AS coupon, t.final_amount AS final, t.balance_after AS balance, t.refunded_amount AS refunded, t.payment_method AS method, t.reason
FROM app.transactions t
LEFT JOIN app.personal_cards p ON p.id = t.card_id
LEFT JOIN app.enterprise_cards e ON e.id = t.card_id
LEFT JOIN app.merchants s ON s.id = t.merchant_id
ORDER BY t.posted_at;

\echo 'Coupons'
SELECT sec.coupon_no(r.id) AS coupon, c.code, t.name, m.name AS holder, r.status, b.left_amount AS budget_left
FROM app.member_coupons r JOIN app.coupons c ON c.id = r.coupon_id
JOIN app.coupon_terms t ON t.coupon_id = r.coupon_id AND t.version = r.terms_version JOIN app.member_profiles m ON m.id = r.member_id
LEFT JOIN (SELECT coupon_id, sum(left_amount) AS left_amount FROM app.coupon_budget_parts GROUP BY coupon_id) b ON b.coupon_id = c.id;

\echo 'Campaigns'
SELECT c.code, t.name, t.kind, t.value, c.status, u.tx_no, u.points
FROM app.campaigns c JOIN app.campaign_terms t ON t.campaign_id = c.id AND t.version = c.terms_version
LEFT JOIN app.campaign_uses u ON u.campaign_id = c.id;

\echo 'Points'
SELECT c.card_no, g.change, g.balance_after AS points, l.name AS level, g.tx_no
FROM app.point_ledger g JOIN app.personal_cards c ON c.id = g.card_id JOIN app.membership_levels l ON l.level = g.level
ORDER BY g.created_at, g.point_seq;

SELECT EXISTS (SELECT FROM app.gateway_events) AS told \gset
\if :told
\echo 'Callbacks of payment gateways'
SELECT to_char(e.received_at, 'HH24:MI:SS.MS') AS at, e.account, e.outcome, e.reason, e.verified, e.tx_no, e.amount, e.trade_no,
       octet_length(e.body) AS bytes
FROM app.gateway_events e ORDER BY e.id;
\endif

\echo 'Audit: who did what, to what'
SELECT to_char(a.happened_at, 'HH24:MI:SS.MS') AS at, coalesce(m.name, CASE WHEN a.actor_user_id IS NULL THEN '-' ELSE 'staff' END) AS who,
       a.actor_role AS role, a.action, a.object_id AS object
FROM audit.event_log a LEFT JOIN app.member_profiles m ON m.id = a.actor_user_id
ORDER BY a.id;
