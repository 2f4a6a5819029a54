-- :movements movements in the current month of both twins and of the extension, over all cards and :merchants merchants, so
-- that the indexes of the month have the size of a month that is well under way. Bulk rows for measuring, not books.
\set ON_ERROR_STOP 1
\set QUIET 1
CREATE TABLE bench.month AS
    SELECT i, c.card_id, p.member_id, 1 + (random() * (:merchants - 1))::integer AS merchant_id, 'past-' || (random() * 9e14)::bigint AS key,
           date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + i * ((now() - date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') / :movements) AS at
    FROM generate_series(1, :movements) i JOIN bench.codes c ON c.n = 1 + (i::bigint * 7919) % (SELECT count(*) - 1000 FROM bench.codes)
         JOIN app.personal_cards p ON p.id = c.card_id;
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYMM') || '00000000000' AS floor \gset

INSERT INTO app.transactions (id, tx_type, status, card_type, payment_method, created_at, posted_at, card_id, card_seq, member_id, merchant_id,
        raw_amount, discount, final_amount, balance_after, points_earned, refunded_amount, idempotency_key, tx_no)
    SELECT :floor::bigint + nextval('app.tx_no_seq'), 'payment', 'completed', 'personal', 'balance', at, at, card_id, 1, member_id, merchant_id,
           10, 1, 10, 10, 10, 0, key, 'ZF' || i FROM bench.month ORDER BY i;
INSERT INTO app.point_ledger (card_id, point_seq, created_at, change, balance_after, level, tx_no)
    SELECT card_id, 1000000000 + i, at, 10, 10, 0, 'ZF' || i FROM bench.month ORDER BY i;
INSERT INTO audit.event_log (id, happened_at, actor_role, action, object_type, object_id)
    SELECT nextval('audit.event_id_seq'), at, 'bench_client', 'payment', 'transaction', 'ZF' || i FROM bench.month ORDER BY i;
INSERT INTO app.idempotency_keys (scope_no, ref_id, operation, idempotency_key)
    SELECT merchant_id, i, 1, key FROM bench.month ORDER BY i;

INSERT INTO twin.transactions (id, tx_type, status, card_type, payment_method, created_at, posted_at, card_id, card_seq, member_id, merchant_id,
        raw_amount, discount, final_amount, balance_after, points_earned, refunded_amount, idempotency_key, tx_no)
    SELECT :floor::bigint + nextval('twin.tx_no_seq'), 'payment', 'completed', 'personal', 'balance', at, at, card_id, 1, member_id, merchant_id,
           10, 1, 10, 10, 10, 0, key, 'ZF' || i FROM bench.month ORDER BY i;
INSERT INTO twin.point_ledger (card_id, point_seq, created_at, change, balance_after, level, tx_no)
    SELECT card_id, 1000000000 + i, at, 10, 10, 0, 'ZF' || i FROM bench.month ORDER BY i;
INSERT INTO twin.event_log (id, happened_at, actor_role, action, object_type, object_id)
    SELECT nextval('twin.event_id_seq'), at, 'bench_client', 'payment', 'transaction', 'ZF' || i FROM bench.month ORDER BY i;
INSERT INTO twin.idempotency_keys (scope_no, ref_id, operation, idempotency_key)
    SELECT merchant_id, i, 1, key FROM bench.month ORDER BY i;

INSERT INTO random.transactions (id, tx_type, status, card_type, payment_method, created_at, posted_at, card_id, card_seq, member_id, merchant_id,
        raw_amount, discount, final_amount, balance_after, points_earned, refunded_amount, idempotency_key, tx_no)
    SELECT gen_random_uuid(), 'payment', 'completed', 'personal', 'balance', at, at, card_id, 1, member_id, merchant_id,
           10, 1, 10, 10, 10, 0, key, 'ZF' || i FROM bench.month ORDER BY i;
INSERT INTO random.point_ledger (card_id, point_seq, created_at, change, balance_after, level, tx_no)
    SELECT card_id, 1000000000 + i, at, 10, 10, 0, 'ZF' || i FROM bench.month ORDER BY i;
INSERT INTO random.event_log (id, happened_at, actor_role, action, object_type, object_id)
    SELECT gen_random_uuid(), at, 'bench_client', 'payment', 'transaction', 'ZF' || i FROM bench.month ORDER BY i;
INSERT INTO random.idempotency_keys (scope_no, ref_id, operation, idempotency_key)
    SELECT merchant_id, gen_random_uuid(), 1, key FROM bench.month ORDER BY i;
VACUUM ANALYZE;
