-- The shop of the benchmark: :cards members with a card, :merchants merchants, one operator, a live pay code per card; and
-- 1,000 cards more, whose codes may be rotated without spoiling the others'.
-- Cards are filled by INSERT (a million RPC calls would only make the wait longer); everything measured goes through RPCs.
\set ON_ERROR_STOP 1
\set QUIET 1
CREATE EXTENSION mps;
SELECT app.update_settings('{"qr_single_use": false, "qr_ttl_seconds": 86400, "max_balance": 1000000000, "points_per_unit": 1}') \g /dev/null

INSERT INTO app.member_profiles (id, created_at, member_no, name)
    SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, now(), 'M' || lpad(n::text, 8, '0'), 'Member ' || n
    FROM generate_series(1, :cards + 1000) n;
-- Ids in the order of issue, as the extension makes them.
INSERT INTO app.personal_cards (id, member_id, created_at, card_no, balance, card_seq, last_posted_at)
    SELECT ('01900000-' || substr(lpad(to_hex(n), 8, '0'), 1, 4) || '-7' || substr(md5('v' || n), 1, 3) || '-8' || substr(md5('c' || n), 1, 3) || '-' || substr(lpad(to_hex(n), 8, '0'), 5, 4) || substr(md5('d' || n), 1, 8))::uuid,
           ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, now(), 'VIP' || lpad(n::text, 8, '0'), 1000000, 0, now()
    FROM generate_series(1, :cards + 1000) n;
SELECT setval('app.personal_card_no_seq', :cards + 1000), setval('app.member_no_seq', :cards + 1000) \g /dev/null
INSERT INTO app.merchants (created_at, code, name) SELECT now(), 'SHOP-' || lpad(n::text, 4, '0'), 'Shop ' || n FROM generate_series(1, :merchants) n;
INSERT INTO app.merchant_users (merchant_id, user_id, created_at, role)
    SELECT id, '0a000000-0000-4000-8000-000000000001', now(), 'cashier' FROM app.merchants;

-- Who calls: a client-level role, as behind PostgREST.
DO $$ BEGIN IF to_regrole('bench_client') IS NULL THEN CREATE ROLE bench_client LOGIN; END IF; END $$;
ALTER ROLE bench_client SET "request.jwt.claims" = '{"sub": "0a000000-0000-4000-8000-000000000001", "role": "bench_client"}';
SELECT sec.grant_api('bench_client', 'client') \g /dev/null

CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO bench_client;
CREATE TABLE bench.codes (n integer PRIMARY KEY, card_id uuid NOT NULL, code text, twin_code text) WITH (fillfactor = 100);
INSERT INTO bench.codes (n, card_id, code)
    SELECT substr(c.card_no, 4)::integer, c.id, r.qr_plain FROM app.personal_cards c, LATERAL app.rotate_card_qr(c.id) r;
