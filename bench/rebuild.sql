-- A log of so many movements, written as events alone into a database that nobody has used yet, and how long the books from it take:
--     psql -v movements=500000 -f bench/rebuild.sql
-- A card has a hundred movements over six months: a recharge, charges that earn points, and a refund of every twentieth charge.
\set ON_ERROR_STOP on
\set QUIET on
\if :{?movements} \else \set movements 5000000 \endif
SELECT :movements / 100 AS cards \gset
SELECT count(sec.make_month((m)::date)) AS months FROM generate_series(timestamp '2026-01-01', '2026-06-01', interval '1 month') m \gset

-- When the event number n of all happens, over 180 days.
CREATE FUNCTION pg_temp.at(n bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
    $$ SELECT timestamptz '2026-01-01 00:00+00' + n * interval '180 days' / (1.02 * current_setting('bench.events')::bigint) $$;
CREATE FUNCTION pg_temp.no(kind text, n bigint) RETURNS text LANGUAGE sql STABLE AS
    $$ SELECT kind || to_char(pg_temp.at(n) AT TIME ZONE 'UTC', 'YYMM') || lpad(n::text, greatest(6, length(n::text)), '0') $$;
SELECT set_config('bench.events', (:movements + :cards + 1000)::text, false) AS events \gset

INSERT INTO audit.event_log (id, happened_at, actor_role, action, object_type, object_id, context)
SELECT 100 + m, pg_temp.at(m), 'shop', 'merchant.created', 'merchant', 'SHOP-' || m,
       jsonb_build_object('merchant_id', m, 'name', 'Shop ' || m) FROM generate_series(1, 10) m;
INSERT INTO audit.event_log (id, happened_at, actor_role, action, object_type, object_id, context)
SELECT 1000 + c, pg_temp.at(1000), 'shop', 'member.registered', 'member', 'M' || lpad(c::text, 8, '0'),
       jsonb_build_object('member_id', gen_random_uuid(), 'card_no', 'VIP' || lpad(c::text, 8, '0'), 'card_id', gen_random_uuid(),
                          'level', '0/1.000') FROM generate_series(1, :cards) c;
INSERT INTO audit.event_log (id, happened_at, actor_role, action, object_type, object_id, context)
SELECT n, pg_temp.at(n), 'shop', x.action, 'transaction',
       pg_temp.no(CASE x.action WHEN 'recharge' THEN 'CZ' WHEN 'refund' THEN 'TK' ELSE 'ZF' END, n),
       x.context || jsonb_build_object('card', 'VIP' || lpad(x.card::text, 8, '0') || '/' || x.seq)
FROM (SELECT 1001 + :cards + i AS n, i % :cards + 1 AS card, i / :cards + 1 AS seq FROM generate_series(0::bigint, :movements - 1) i) m,
     LATERAL (SELECT m.card, m.seq, CASE WHEN m.seq = 1 THEN 'recharge' WHEN m.seq % 20 = 0 THEN 'refund' ELSE 'payment' END AS action,
                     CASE WHEN m.seq = 1 THEN jsonb_build_object('change', '5000.00', 'method', 'cash')
                          WHEN m.seq % 20 = 0 THEN jsonb_build_object('change', '3.00', 'points', '-2', 'at', '1',
                                                                     'original', pg_temp.no('ZF', m.n - :cards))
                          ELSE jsonb_build_object('change', '-12.50', 'points', '12', 'at', '1') END AS context) x;
\echo
SELECT e.count AS events, pg_size_pretty(sum(pg_total_relation_size(i.inhrelid))::numeric) AS size
FROM (SELECT count(*) FROM audit.event_log) e, pg_inherits i WHERE i.inhparent = 'audit.event_log'::regclass GROUP BY e.count;
\timing on
SELECT * FROM app.rebuild_from_log();
\timing off
SELECT check_name, detail FROM app.verify_books() WHERE ok IS NOT TRUE;
SELECT max(balance) AS balance, min(balance) AS the_same, max(points) AS points, max(card_seq) AS movements FROM app.personal_cards;
