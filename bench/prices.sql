-- What decides prices, for the section of that name: coupons without and with a budget, 400,000 of each, filled by INSERT as the cards are,
-- and three campaigns, of which one applies to every payment. They begin as drafts.
\set ON_ERROR_STOP 1
\set QUIET 1
SELECT app.create_coupon(jsonb_build_object('code', c.code, 'name', c.code, 'kind', 'amount_off', 'value', 1) || c.more),
       app.set_coupon_status(c.code, 'active', 'bench')
FROM (VALUES ('PLAIN', '{}'::jsonb), ('BUDGET', '{"budget_amount": 100000000}')) c (code, more) \g /dev/null
CREATE TABLE bench.coupons (coupon_id integer, n integer, code text, number text, PRIMARY KEY (coupon_id, n));
WITH filled AS (
    INSERT INTO app.member_coupons (id, issued_with, issued_at, valid_from, member_id, coupon_id, terms_version, status, how)
    SELECT x.id, x.id, now(), now(), m.member_id, x.coupon_id, 1, 'active', 'issued'
    FROM (SELECT nextval('app.coupon_no_seq') AS id, c.id AS coupon_id, n FROM app.coupons c, generate_series(0, 399999) n) x
    JOIN app.personal_cards m ON m.card_no = 'VIP' || lpad((x.n % :cards + 1)::text, 8, '0')
    RETURNING id, coupon_id, member_id)
INSERT INTO bench.coupons (coupon_id, n, code, number)
    SELECT f.coupon_id, row_number() OVER (PARTITION BY f.coupon_id ORDER BY f.id), b.code, sec.coupon_no(f.id)
    FROM filled f JOIN app.personal_cards p ON p.member_id = f.member_id JOIN bench.codes b ON b.card_id = p.id;
UPDATE app.coupons c SET issued = (SELECT count(*) FROM app.member_coupons m WHERE m.coupon_id = c.id);
CREATE SEQUENCE bench.plain CACHE 10;
CREATE SEQUENCE bench.budget CACHE 10;
GRANT SELECT ON bench.coupons TO bench_client;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA bench TO bench_client;
SELECT app.create_campaign(c.terms) FROM (VALUES
    ('{"code": "DOUBLE", "name": "x", "kind": "points_multiplier", "value": 2}'::jsonb),
    ('{"code": "LARGE", "name": "x", "kind": "points_bonus", "value": 5, "min_spend": 1000}'),
    ('{"code": "GOLD", "name": "x", "kind": "points_bonus", "value": 5, "levels": [4]}')) c (terms) \g /dev/null
VACUUM ANALYZE app.member_coupons, bench.coupons;
