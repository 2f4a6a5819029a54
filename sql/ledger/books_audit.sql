-- Rule: one event for each movement.

CREATE FUNCTION sec.books_audit(p_from timestamptz, p_to timestamptz, p_archived bigint[], p_events_before timestamptz)
    RETURNS TABLE (name text, what text)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    WITH moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to)),
    events AS (
        SELECT e.object_id, count(*) AS events, min(e.id) AS id, min(e.action) AS action, min(e.context ->> 'change') AS change
        FROM audit.event_log e
        WHERE e.object_type = 'transaction' AND e.action IN ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal')
          AND e.happened_at >= p_from AND e.happened_at < p_events_before
        GROUP BY e.object_id)
    SELECT 'audit', x.what FROM moved m FULL JOIN events e ON e.object_id = m.tx_no CROSS JOIN LATERAL (SELECT CASE
        -- That of a recharge is of when it was confirmed; the call may have begun in the month before.
        WHEN e.object_id IS NULL AND m.tx_type = 'recharge' AND (to_char(m.posted_at, 'YYMM')::bigint = ANY (p_archived)
                OR to_char(m.posted_at - interval '1 day', 'YYMM')::bigint = ANY (p_archived)) THEN NULL
        WHEN e.object_id IS NULL THEN format('%s: no event', m.tx_no)
        -- One of before the range, posted or audited within it; or of after it.
        WHEN m.tx_no IS NULL THEN CASE WHEN e.object_id !~ '^(ZF|TK|CZ|TZ|TX)[0-9]{10,15}$' OR (
                substr(e.object_id, 3, 4)::bigint <> ALL (p_archived)
                AND (SELECT count(*) FROM app.transactions t
                     WHERE t.tx_no = e.object_id AND t.posted_at IS NOT NULL
                       AND t.id = substr(e.object_id, 3, 4)::bigint * 100000000000 + substr(e.object_id, 7)::bigint
                       AND t.created_at >= sec.month_of_id(substr(e.object_id, 3, 4)::bigint * 100000000000)
                       AND t.created_at < sec.month_of_id(substr(e.object_id, 3, 4)::bigint * 100000000000) + interval '1 month') = 0)
            THEN format('%s: event %s, but there is no such movement', e.object_id, e.id) END
        WHEN e.events > 1 THEN format('%s: %s events', m.tx_no, e.events)
        WHEN e.action <> m.tx_type THEN format('%s: event %s says %s', m.tx_no, e.id, e.action)
        WHEN e.change IS DISTINCT FROM m.change::text
            THEN format('%s: event %s says %s, the movement %s', m.tx_no, e.id, coalesce(e.change, '?'), m.change)
        END AS what) x
    WHERE x.what IS NOT NULL
$rule$;
COMMENT ON FUNCTION sec.books_audit(timestamptz, timestamptz, bigint[], timestamptz) IS
    'Movements without their one event in the audit log, and events without their movement. Internal: sec.books_rules().';

CREATE FUNCTION sec.books_audit_proof(p_from timestamptz, p_to timestamptz)
    RETURNS TABLE (sound boolean)
    LANGUAGE sql STABLE PARALLEL SAFE AS $rule$
    -- Nothing differs, no movement has met two events, and every event has met one.
    WITH moved AS NOT MATERIALIZED (SELECT * FROM sec.books_movements(p_from, p_to)),
    events AS NOT MATERIALIZED (
        SELECT e.object_id, e.action, e.context ->> 'change' AS change FROM audit.event_log e
        WHERE e.object_type = 'transaction' AND e.action IN ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal'))
    SELECT count(*) = (SELECT count(*) FROM moved)
       AND count(e.object_id) = (SELECT count(*) FROM events)
       AND count(*) FILTER (WHERE (e.action = m.tx_type AND e.change = m.change::text) IS NOT TRUE) = 0
    FROM moved m LEFT JOIN events e ON e.object_id = m.tx_no
$rule$;
COMMENT ON FUNCTION sec.books_audit_proof(timestamptz, timestamptz) IS
    'Whether nothing breaks sec.books_audit(). Internal: sec.books_rules().';
