-- What the ledger writes into the audit log, and what rebuilding the books reads of it.

CREATE FUNCTION sec.logged_of_ledger() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('payment', ARRAY['card', 'change', 'at']), ('refund', ARRAY['card', 'change', 'at', 'original']),
           ('recharge', ARRAY['card', 'change', 'method']), ('adjustment', ARRAY['card', 'change', 'original']),
           ('withdrawal', ARRAY['card', 'change']), ('month.archived', '{}')
$$;
COMMENT ON FUNCTION sec.logged_of_ledger() IS 'The events of the ledger. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_ledger() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (100, 'rebuild_movements'), (110, 'rebuild_points'), (120, 'rebuild_balances')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_ledger() IS 'The steps of the ledger. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.id_of_number(p_tx_no text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $rule$
    SELECT substr(p_tx_no, 3, 4)::bigint * 100000000000 + substr(p_tx_no, 7)::bigint
$rule$;
COMMENT ON FUNCTION sec.id_of_number(text) IS 'The id of the transaction that has a number. Internal.';

CREATE FUNCTION sec.logged_movements()
    RETURNS TABLE (event_id bigint, happened_at timestamptz, actor_user_id uuid, actor_role text, tx_no text, id bigint, tx_type text,
        card_no text, seq bigint, change numeric, points bigint, merchant_id integer, member_id uuid, original_tx_no text, method text,
        raw numeric, discount numeric, level text, excluded numeric, coupon text, campaigns jsonb)
    LANGUAGE sql STABLE AS $rule$
    SELECT e.id, e.happened_at, e.actor_user_id, e.actor_role, e.object_id, sec.id_of_number(e.object_id), e.action,
           split_part(e.context ->> 'card', '/', 1), split_part(e.context ->> 'card', '/', 2)::bigint,
           (e.context ->> 'change')::numeric, (e.context ->> 'points')::bigint, (e.context ->> 'at')::integer,
           (e.context ->> 'member')::uuid, e.context ->> 'original', e.context ->> 'method', (e.context ->> 'raw')::numeric,
           (e.context ->> 'discount')::numeric, e.context ->> 'level', (e.context ->> 'excluded')::numeric, e.context ->> 'coupon',
           (e.context ->> 'campaigns')::jsonb
    FROM audit.event_log e WHERE e.action IN ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal')
$rule$;
COMMENT ON FUNCTION sec.logged_movements() IS
    'Every event of a movement: the card with its number of the movement, what was added to it, and of the rest what is not as usual '
    '(no points, the card''s own member, no discount, nothing excluded, no coupon, no campaign, the level as before). Internal: '
    'app.rebuild_from_log().';

CREATE FUNCTION sec.logged_cards() RETURNS TABLE (id uuid, card_no text, member_id uuid, card_type text)
    LANGUAGE sql STABLE AS $rule$
    SELECT c.id, c.card_no, c.member_id, 'personal' FROM app.personal_cards c
    UNION ALL SELECT c.id, c.card_no, NULL, 'enterprise' FROM app.enterprise_cards c
$rule$;
COMMENT ON FUNCTION sec.logged_cards() IS 'The cards by number, as far as rebuilding has come. Internal: app.rebuild_from_log().';

CREATE FUNCTION sec.rebuild_balances() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.personal_cards c
    SET balance = coalesce(m.balance, 0), card_seq = coalesce(m.card_seq, 0), last_tx_id = m.last_tx_id, skip_tx_id = m.skip_tx_id,
        last_posted_at = m.last_posted_at, points = coalesce(p.points, 0), point_seq = coalesce(p.point_seq, 0),
        level = split_part(l.level, '/', 1)::smallint, discount = split_part(l.level, '/', 2)::numeric
    FROM app.personal_cards b
    LEFT JOIN sec.last_movements() m ON m.card_id = b.id
    LEFT JOIN (SELECT x.card_id, sum(x.change) AS points, max(x.point_seq) AS point_seq FROM app.point_ledger x GROUP BY x.card_id) p
        ON p.card_id = b.id
    JOIN (SELECT DISTINCT ON (x.card_no) x.card_no, x.level FROM sec.logged_points() x WHERE x.level IS NOT NULL
          ORDER BY x.card_no, x.event_id DESC, x.part DESC) l ON l.card_no = b.card_no
    WHERE c.id = b.id;
    UPDATE app.enterprise_cards c
    SET balance = m.balance, card_seq = m.card_seq, last_tx_id = m.last_tx_id, skip_tx_id = m.skip_tx_id, last_posted_at = m.last_posted_at
    FROM sec.last_movements() m WHERE m.card_id = c.id;
    PERFORM sec.note_late_postings();
    RETURN;
END
$$;
COMMENT ON FUNCTION sec.rebuild_balances() IS
    'What its last movement, its last change of points and the last change of its level left on each card. Internal: '
    'app.rebuild_from_log().';

CREATE FUNCTION sec.last_movements()
    RETURNS TABLE (card_id uuid, balance numeric, card_seq bigint, last_tx_id bigint, skip_tx_id bigint, last_posted_at timestamptz)
    LANGUAGE sql STABLE AS $rule$
    SELECT x.card_id, t.balance_after, t.card_seq, t.id, k.id, t.posted_at
    FROM (SELECT m.card_id, max(m.card_seq) AS top FROM app.transactions m WHERE m.card_seq IS NOT NULL GROUP BY m.card_id) x
    JOIN app.transactions t ON t.card_id = x.card_id AND t.card_seq = x.top
    -- The head of the chain of every 64th.
    LEFT JOIN (SELECT s.card_id, s.card_seq, s.id FROM app.transactions s WHERE s.card_seq % 64 = 0) k
        ON k.card_id = x.card_id AND k.card_seq = x.top / 64 * 64
$rule$;
COMMENT ON FUNCTION sec.last_movements() IS
    'The last movement of each card that has one, and its last of which the number is a multiple of 64. Internal: sec.rebuild_balances().';
