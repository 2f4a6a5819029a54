-- A shop with :months months behind it, each with :rows payments: of a busy merchant, by fifty members in turn, as the extension
-- would have written them; and of two quiet ones, who had something in three months or in the last one. Bulk rows for measuring,
-- not books.
\set ON_ERROR_STOP 1
\set QUIET 1
CREATE EXTENSION mps;
SELECT sec.grant_api('bench_client', 'client'), sec.grant_api('bench_backend', 'backend') \g /dev/null
SELECT app.create_merchant(c, 'x') FROM unnest(ARRAY['BUSY', 'QUIET', 'NEW']) c \g /dev/null
SELECT sec.make_month((date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => n))::date)
FROM generate_series(1, :months - 1) n \g /dev/null
CREATE SCHEMA bench;
CREATE TABLE bench.members AS
    SELECT i - 1 AS n, r.member_id, r.card_id
    FROM generate_series(1, 50) i, LATERAL app.register_member('Member ' || i, p_user_id => gen_random_uuid()) r;
INSERT INTO app.transactions (id, tx_type, status, card_type, payment_method, created_at, posted_at, card_id, card_seq, prev_tx_id,
        skip_tx_id, member_id, merchant_id, raw_amount, final_amount, balance_after, points_earned, refunded_amount, tx_no)
    SELECT x.id, 'payment', 'completed', 'personal', 'balance', x.at, x.at, b.card_id, x.seq, lag(x.id) OVER w,
           CASE WHEN x.seq % 64 = 0 THEN lag(x.id, 64) OVER w END, b.member_id,
           CASE WHEN x.i = :rows / 2 AND x.n IN (1, 2, :months - 1) THEN 2 WHEN x.i = :rows / 2 + 1 AND x.n = 1 THEN 3 ELSE 1 END, 1, 1, 1, 1, 0,
           'ZF' || x.id / 100000000000 || lpad((x.id % 100000000000)::text, 6, '0')
    FROM (SELECT to_char(s.starts, 'YYMM')::bigint * 100000000000 + (:months - n) * :rows::bigint + i AS id, n, i,
                 s.starts AT TIME ZONE 'UTC' + i * (interval '27 days' / :rows) AS at, ((:months - 1 - n) * :rows::bigint + i - 1) / 50 + 1 AS seq
          FROM generate_series(1, :months - 1) n, generate_series(1, :rows) i,
               LATERAL (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => n) AS starts) s) x
         JOIN bench.members b ON b.n = x.i % 50
    WINDOW w AS (PARTITION BY b.card_id ORDER BY x.seq);
UPDATE app.personal_cards c SET (last_tx_id, card_seq, last_posted_at, skip_tx_id) =
    (SELECT t.id, t.card_seq, t.posted_at,
            (SELECT s.id FROM app.transactions s WHERE s.card_id = c.id AND s.card_seq = t.card_seq / 64 * 64 AND s.card_seq > 0)
     FROM app.transactions t WHERE t.card_id = c.id ORDER BY t.card_seq DESC LIMIT 1);
CALL app.maintain_partitions();
VACUUM ANALYZE;
SELECT format('ALTER ROLE bench_client IN DATABASE %I SET request.jwt.claims = %L', current_database(),
              json_build_object('sub', b.member_id, 'role', 'bench_client')) FROM bench.members b WHERE b.n = 7 \gexec
GRANT USAGE ON SCHEMA bench TO bench_client, bench_backend;
