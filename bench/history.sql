-- :movements movements for each of :cards cards, in the month before the current one, as the extension would have written
-- them: a history that is long and a month that is not the present one.
\set ON_ERROR_STOP 1
\set QUIET 1
SELECT sec.make_month((date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month')::date),
       to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month', 'YYYYMM') AS suffix,
       to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month', 'YYMM') || '00000000000' AS floor,
       (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month') AT TIME ZONE 'UTC' AS starts \gset
INSERT INTO app.transactions_:suffix (id, tx_type, status, card_type, payment_method, created_at, posted_at, card_id, card_seq, prev_tx_id,
        skip_tx_id, member_id, merchant_id, raw_amount, discount, final_amount, balance_after, points_earned, refunded_amount, tx_no)
    SELECT :floor::bigint + i, 'payment', 'completed', 'personal', 'balance', x.at, x.at, c.card_id, x.seq,
           CASE WHEN x.seq > 1 THEN :floor::bigint + i - :cards END,
           CASE WHEN x.seq % 64 = 0 AND x.seq > 64 THEN :floor::bigint + i - 64 * :cards END,
           p.member_id, 1 + i % :merchants, 1, 1, 1, 100000000 - x.seq, 1, 0, 'ZF' || :floor::bigint / 100000000000 || lpad(i::text, 6, '0')
    FROM generate_series(1, :cards * :movements) i
         CROSS JOIN LATERAL (SELECT 1 + (i - 1) / :cards AS seq, :'starts'::timestamptz + i * interval '0.4 seconds' AS at) x
         JOIN bench.codes c ON c.n = 1 + (i - 1) % :cards
         JOIN app.personal_cards p ON p.id = c.card_id;
UPDATE app.personal_cards p SET card_seq = :movements, last_tx_id = :floor::bigint + (:movements - 1) * :cards + c.n,
       skip_tx_id = CASE WHEN :movements >= 64 THEN :floor::bigint + (:movements / 64 * 64 - 1) * :cards + c.n END, balance = 100000000 - :movements
FROM bench.codes c WHERE c.card_id = p.id AND c.n <= :cards;
SELECT setval('app.tx_no_seq', greatest(:cards::bigint * :movements, 1)) \g /dev/null
VACUUM FULL app.personal_cards; VACUUM ANALYZE;
