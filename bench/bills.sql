-- The books of a gateway's day: what bench.paid says was paid, as the extension would have written it. :cards is how many cards share it,
-- :day the gateway's day.
\set ON_ERROR_STOP 1
\set QUIET 1
SELECT sec.make_month(m::date) FROM generate_series(date_trunc('month', :'day'::timestamp - interval '1 day'), :'day'::timestamp + interval '1 day', '1 month') m \g /dev/null
ANALYZE bench.paid;

-- Recharges: of all but what was paid for orders of nobody.
CREATE TABLE bench.recharges AS
    SELECT p.n, to_char(p.posted_at AT TIME ZONE 'UTC', 'YYMM')::bigint * 100000000000 + p.n AS id, p.status, p.fen, p.posted_at, p.trade_no, p.order_no, c.card_id,
           CASE WHEN p.status = 'completed' THEN row_number() OVER (PARTITION BY c.card_id, p.status ORDER BY p.n) END AS seq
    FROM bench.paid p JOIN bench.codes c ON c.n = 1 + p.n % :cards WHERE p.status IN ('completed', 'processing', 'failed');
CREATE UNIQUE INDEX ON bench.recharges (card_id, seq) WHERE seq > 0;
VACUUM ANALYZE bench.recharges;
INSERT INTO app.transactions (id, tx_type, status, card_type, payment_method, created_at, posted_at, card_id, card_seq, prev_tx_id, skip_tx_id, member_id,
        raw_amount, final_amount, balance_after, tx_no, gateway_trade_no, failure_reason)
    SELECT r.id, 'recharge', r.status::app.tx_status, 'personal', 'wechat', r.posted_at - interval '20 seconds', CASE WHEN r.seq > 0 THEN r.posted_at END,
           r.card_id, r.seq, CASE WHEN r.seq > 0 THEN lag(r.id) OVER card END, CASE WHEN r.seq % 64 = 0 THEN lag(r.id, 64) OVER card END, p.member_id,
           r.fen / 100.0, r.fen / 100.0, CASE WHEN r.seq > 0 THEN 1000000 + sum(r.fen) OVER card / 100.0 END,
           r.order_no, CASE WHEN r.seq > 0 THEN r.trade_no END,
           CASE r.status WHEN 'failed' THEN 'declined' END
    FROM bench.recharges r JOIN app.personal_cards p ON p.id = r.card_id
    WINDOW card AS (PARTITION BY r.card_id, r.status ORDER BY r.seq) ORDER BY r.n;
UPDATE app.personal_cards p SET card_seq = x.seq, balance = t.balance_after, last_tx_id = t.id, last_posted_at = t.posted_at,
       skip_tx_id = (SELECT s.id FROM bench.recharges s WHERE s.card_id = p.id AND s.seq = x.seq / 64 * 64 AND s.seq > 0)
FROM (SELECT DISTINCT ON (r.card_id) r.* FROM bench.recharges r WHERE r.seq > 0 ORDER BY r.card_id, r.seq DESC) x JOIN app.transactions t ON t.id = x.id
WHERE p.id = x.card_id;
SELECT setval('app.tx_no_seq', max(n)) FROM bench.paid \g /dev/null

-- Money in suspense, which is sent back or to be.
INSERT INTO app.suspense_payments (id, created_at, gateway_trade_no, amount, payment_method, reason, status, resolution, resolved_at, out_refund_no)
    SELECT p.n, p.posted_at, p.trade_no, p.fen / 100.0, 'wechat', 'order_unknown', p.status, 'refunded', p.posted_at + interval '10 minutes', 'SR' || p.n
    FROM bench.paid p WHERE p.status IN ('refunded', 'refunding');
SELECT setval('app.suspense_id_seq', max(n)) FROM bench.paid \g /dev/null

-- Whose each trade number is, and the callbacks, as long as real ones.
INSERT INTO app.external_orders (scope_no, tx_id, scope, order_id)
    SELECT 0, r.id, 3, r.trade_no FROM bench.recharges r WHERE r.seq > 0
    UNION ALL SELECT 0, -s.id, 3, s.gateway_trade_no FROM app.suspense_payments s;
INSERT INTO app.gateway_events (id, received_at, happened_at, amount, verified, account, provider, kind, event_key, key_id, outcome, tx_no, trade_no, out_trade_no,
        headers, body)
    SELECT p.n, p.posted_at, p.posted_at - interval '1 second', p.fen / 100.0, true, 'wechat', 'wechat', 'payment', 'EV-' || md5(p.n::text), 'PUB_KEY_ID',
           CASE WHEN r.id IS NULL THEN 'suspense' ELSE 'credited' END, r.order_no, p.trade_no,
           p.order_no, jsonb_build_object('Wechatpay-Nonce', md5(p.trade_no), 'Wechatpay-Signature', repeat(md5(p.trade_no), 11)),
           decode(repeat(md5(p.n::text), 56), 'hex')
    FROM bench.paid p LEFT JOIN bench.recharges r USING (n) WHERE p.told ORDER BY p.n;
SELECT setval('app.gateway_event_id_seq', max(n)) FROM bench.paid \g /dev/null

GRANT USAGE ON SCHEMA bench TO bench_backend;
GRANT SELECT ON bench.bill TO bench_backend;
VACUUM ANALYZE;
