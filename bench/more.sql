-- What the other rows of the table need: an operator's payments to refund, known keys to replay, a company card, roles.
\set ON_ERROR_STOP 1
\set QUIET 1
DO $$ BEGIN
    IF to_regrole('bench_backend') IS NULL THEN CREATE ROLE bench_backend LOGIN; END IF;
    IF to_regrole('bench_member') IS NULL THEN CREATE ROLE bench_member LOGIN; END IF;
END $$;
ALTER ROLE bench_member SET "request.jwt.claims" = '{"sub": "00000000-0000-7000-8000-000000000001", "role": "bench_member"}';
SELECT sec.grant_api('bench_backend', 'backend'), sec.grant_api('bench_member', 'client') \g /dev/null
GRANT USAGE ON SCHEMA bench TO bench_backend, bench_member;
GRANT SELECT ON bench.codes TO bench_backend, bench_member;
GRANT EXECUTE ON FUNCTION twin.tpcb TO bench_client;
GRANT ALL ON pgbench_accounts, pgbench_tellers, pgbench_branches, pgbench_history TO bench_client;

CREATE TABLE bench.payments AS
    SELECT n, t.tx_no, 'SHOP-' || lpad((1 + n % :merchants)::text, 4, '0') AS merchant
    FROM generate_series(1, 10000) n JOIN bench.codes c USING (n),
         LATERAL app.merchant_charge_by_qr('SHOP-' || lpad((1 + n % :merchants)::text, 4, '0'), c.code, 100.00, NULL, '{}', 'replay-' || n) t;
ALTER TABLE bench.payments ADD PRIMARY KEY (n);
GRANT SELECT ON bench.payments TO bench_client;

SELECT * FROM app.create_enterprise_card('Hot Company', 0.9, '00000000-0000-7000-8000-000000000001') \gset
SELECT tx_id FROM app.user_recharge_enterprise_card_admin(:'card_id', 50000) \g /dev/null
UPDATE app.enterprise_cards SET balance = 900000000;
CREATE TABLE bench.hot AS SELECT r.qr_plain AS code FROM app.rotate_card_qr(:'card_id', 'enterprise', '00000000-0000-7000-8000-000000000001') r;
GRANT SELECT ON bench.hot TO bench_client;
VACUUM ANALYZE;
