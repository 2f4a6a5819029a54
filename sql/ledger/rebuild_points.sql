-- The ledger of points from the audit log.

CREATE FUNCTION sec.logged_points()
    RETURNS TABLE (event_id bigint, part integer, happened_at timestamptz, card_no text, change bigint, tx_no text, reason text, level text,
        seq bigint, points bigint)
    LANGUAGE sql STABLE AS $rule$
    SELECT m.event_id, 0, m.happened_at, m.card_no, m.points, m.tx_no, NULL::text, m.level, NULL::bigint, NULL::bigint
    FROM sec.logged_movements() m WHERE m.points IS NOT NULL OR m.level IS NOT NULL
    UNION ALL
    -- One look at what is rare: the others have no part.
    SELECT e.id, x.part, e.happened_at, x.card_no, nullif(x.change, 0), x.tx_no, x.reason, x.level, x.seq, x.points
    FROM audit.event_log e CROSS JOIN LATERAL (
        SELECT 1 AS part, e.context ->> 'card_no' AS card_no, NULL::bigint AS change, NULL::text AS tx_no, NULL::text AS reason,
               e.context ->> 'level' AS level, NULL::bigint AS seq, NULL::bigint AS points
        WHERE e.action = 'member.registered'
        UNION ALL SELECT 1, e.object_id, NULL, NULL, NULL, e.context ->> 'level', NULL, NULL WHERE e.action = 'card.issued'
        UNION ALL
        SELECT 1, e.object_id, (e.context ->> 'change')::bigint, NULL, e.context ->> 'reason', e.context ->> 'level',
               (e.context ->> 'point_seq')::bigint, (e.context ->> 'points')::bigint
        WHERE e.action = 'points.adjusted'
        UNION ALL
        SELECT 1, e.object_id, -(e.context ->> 'points')::bigint, e.context ->> 'out', e.context ->> 'reason', e.context ->> 'old_level',
               NULL, NULL
        WHERE e.action = 'card.replaced'
        UNION ALL
        SELECT 2, e.context ->> 'by', (e.context ->> 'points')::bigint, e.context ->> 'into', e.context ->> 'reason', e.context ->> 'level',
               NULL, NULL
        WHERE e.action = 'card.replaced'
        UNION ALL
        SELECT 1, l.key, NULL, NULL, NULL, l.value, NULL, NULL FROM jsonb_each_text(e.context -> 'levels') l
        WHERE e.action = 'levels.recomputed') x
    WHERE e.action IN ('member.registered', 'card.issued', 'points.adjusted', 'card.replaced', 'levels.recomputed')
$rule$;
COMMENT ON FUNCTION sec.logged_points() IS
    'Every change of a card''s points (change) or of its level with its discount (level), in the order of event_id and part. '
    'Internal: app.rebuild_from_log().';

CREATE FUNCTION sec.rebuild_points() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.point_ledger (card_id, point_seq, created_at, change, balance_after, level, tx_no, reason)
    SELECT c.id,
           CASE WHEN c.id IS NULL
                    THEN sec.refuse_log(x.event_id, format('there is no personal card %s, whose points it changed', x.card_no))
                WHEN x.seq <> x.nth OR x.points <> x.after
                    THEN sec.refuse_log(x.event_id, format('it is change %s of the points of %s and leaves %s, but in the log it is number '
                                                           '%s and leaves %s', x.seq, x.card_no, x.points, x.nth, x.after))
                ELSE x.nth END,
           x.happened_at, x.change, x.after, x.level % 65536, x.tx_no, x.reason
    FROM (SELECT p.*, count(p.change) OVER w AS nth, sum(p.change) OVER w AS after,
                 -- The last level that was said, packed behind its event.
                 max(p.event_id * 65536 + p.said) OVER w AS level
          FROM (SELECT l.event_id, l.part, l.happened_at, l.card_no, l.change, l.tx_no, l.reason, l.seq, l.points,
                       split_part(l.level, '/', 1)::bigint AS said FROM sec.logged_points() l) p
          WINDOW w AS (PARTITION BY p.card_no COLLATE "C" ORDER BY p.event_id, p.part ROWS UNBOUNDED PRECEDING)) x
    LEFT JOIN app.personal_cards c ON c.card_no = x.card_no
    WHERE x.change IS NOT NULL;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'changes of points';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_points() IS
    'Every change of points, with the points and the level after it. Internal: app.rebuild_from_log(). Errors: STATUS_CONFLICT where a '
    'change is missing.';
