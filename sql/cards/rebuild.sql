-- Cards and bindings from the audit log, without what moves: balances, points and levels are the ledger's.

CREATE FUNCTION sec.logged_of_cards() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('card.issued', ARRAY['card_id']), ('card.member_bound', ARRAY['member_id', 'role']),
           ('card.member_unbound', ARRAY['member_id']), ('card.code_rotated', '{}'), ('card.expired', '{}'),
           ('card.status_set', ARRAY['status']), ('card.expiry_set', ARRAY['status', 'expires_at']),
           ('card.replaced', ARRAY['by', 'card_id', 'member_id', 'expires_at', 'points', 'out', 'into', 'level', 'old_level']),
           ('points.adjusted', ARRAY['change', 'points', 'point_seq']), ('levels.recomputed', ARRAY['levels'])
$$;
COMMENT ON FUNCTION sec.logged_of_cards() IS 'The events of cards. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_cards() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (50, 'rebuild_cards'), (60, 'rebuild_bindings')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_cards() IS 'The steps of cards. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.logged_card_states()
    RETURNS TABLE (card_no text, status text, expiry_set boolean, expires_at timestamptz, replaced_by uuid)
    LANGUAGE sql STABLE AS $rule$
    SELECT e.object_id,
           (array_agg(CASE e.action WHEN 'card.expired' THEN 'expired' WHEN 'card.replaced' THEN 'closed' ELSE e.context ->> 'status' END
                      ORDER BY e.id DESC))[1],
           bool_or(e.action = 'card.expiry_set'),
           (array_agg((e.context ->> 'expires_at')::timestamptz ORDER BY e.id DESC) FILTER (WHERE e.action = 'card.expiry_set'))[1],
           (array_agg((e.context ->> 'card_id')::uuid) FILTER (WHERE e.action = 'card.replaced'))[1]
    FROM audit.event_log e WHERE e.action IN ('card.status_set', 'card.expired', 'card.expiry_set', 'card.replaced')
    GROUP BY e.object_id
$rule$;
COMMENT ON FUNCTION sec.logged_card_states() IS
    'What the log says last of each card that it says anything of: status, expiry, replacement. Internal: sec.rebuild_cards().';

CREATE FUNCTION sec.logged_personal_cards()
    RETURNS TABLE (card_no text, id uuid, member_id uuid, created_at timestamptz, expires_at timestamptz)
    LANGUAGE sql STABLE AS $rule$
    SELECT CASE e.action WHEN 'member.registered' THEN e.context ->> 'card_no' WHEN 'card.replaced' THEN e.context ->> 'by'
                         ELSE e.object_id END,
           (e.context ->> 'card_id')::uuid, (e.context ->> 'member_id')::uuid, e.happened_at,
           CASE e.action WHEN 'card.replaced' THEN (e.context ->> 'expires_at')::timestamptz END
    FROM audit.event_log e
    WHERE e.action IN ('member.registered', 'card.replaced') OR (e.action = 'card.issued' AND e.context ? 'member_id')
$rule$;
COMMENT ON FUNCTION sec.logged_personal_cards() IS 'Every personal card, as it was issued. Internal: sec.rebuild_cards().';

CREATE FUNCTION sec.rebuild_cards() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.personal_cards (id, member_id, replaced_by, created_at, expires_at, status, card_no)
    SELECT c.id, c.member_id, s.replaced_by, c.created_at, CASE WHEN s.expiry_set THEN s.expires_at ELSE c.expires_at END,
           coalesce(s.status, 'active')::app.card_status, c.card_no
    FROM sec.logged_personal_cards() c LEFT JOIN sec.logged_card_states() s ON s.card_no = c.card_no;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'personal cards';
    RETURN NEXT;

    INSERT INTO app.enterprise_cards (id, created_at, expires_at, status, fixed_discount, card_no, company_name)
    SELECT (e.context ->> 'card_id')::uuid, e.happened_at, s.expires_at, coalesce(s.status, 'active')::app.card_status,
           (e.context ->> 'discount_thousandths')::numeric / 1000, e.object_id, e.context ->> 'company'
    FROM audit.event_log e LEFT JOIN sec.logged_card_states() s ON s.card_no = e.object_id
    WHERE e.action = 'card.issued' AND e.context ? 'company';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'enterprise cards';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_cards() IS
    'Every card with its number, status and expiry; without a pay code. Internal: app.rebuild_from_log().';

CREATE FUNCTION sec.rebuild_bindings() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.enterprise_card_bindings (enterprise_card_id, member_id, created_at, role)
    SELECT c.id, b.member_id, (array_agg(b.happened_at ORDER BY b.id))[1], (array_agg(b.role ORDER BY b.id DESC))[1]::app.bind_role
    FROM (SELECT x.*, coalesce(max(x.id) FILTER (WHERE x.role IS NULL) OVER (PARTITION BY x.card_no, x.member_id), 0) AS unbound
          FROM (SELECT e.id, e.object_id AS card_no, e.happened_at,
                       coalesce(e.context ->> 'admin', e.context ->> 'member_id')::uuid AS member_id,
                       CASE WHEN e.action = 'card.issued' THEN 'admin' ELSE e.context ->> 'role' END AS role
                FROM audit.event_log e
                WHERE e.action IN ('card.member_bound', 'card.member_unbound')
                   OR (e.action = 'card.issued' AND e.context ->> 'admin' IS NOT NULL)) x) b
    JOIN app.enterprise_cards c ON c.card_no = b.card_no
    WHERE b.id > b.unbound GROUP BY c.id, b.member_id;
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'bindings';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_bindings() IS 'Who is bound to an enterprise card now. Internal: app.rebuild_from_log().';
