-- What recharges of older releases claimed, brought to the rules of now.

CREATE FUNCTION sec.migrate_recharges() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.count_pending();
    -- Confirming a member's recharge claimed its order id for everybody; it is the card's alone.
    DELETE FROM app.external_orders o
    WHERE o.scope = 2 AND EXISTS (
        SELECT FROM app.external_orders m WHERE m.scope IN (4, 5) AND m.tx_id = o.tx_id AND m.order_id = o.order_id);
    IF (SELECT s.recharge_confirmation FROM app.settings s) = 'trusted' THEN
        -- So did the members' own recharges where they are trusted. Of an order that two methods were paid under the later one stays
        -- as it is.
        UPDATE app.external_orders o SET scope = m.scope, scope_no = m.scope_no
        FROM (SELECT DISTINCT ON (c.scope, c.scope_no, r.order_id) r.scope_no AS method, r.order_id, c.scope, c.scope_no
              FROM app.external_orders r JOIN app.transactions t ON t.id = r.tx_id
              JOIN (SELECT p.id, 4 AS scope, substr(p.card_no, 4)::bigint AS scope_no FROM app.personal_cards p
                    UNION ALL SELECT e.id, 5, substr(e.card_no, 4)::bigint FROM app.enterprise_cards e) c ON c.id = t.card_id
              WHERE r.scope = 2 AND t.tx_type = 'recharge' AND t.processed_by = t.member_id
              ORDER BY c.scope, c.scope_no, r.order_id, r.tx_id) m
        WHERE o.scope = 2 AND o.scope_no = m.method AND o.order_id = m.order_id
          AND NOT EXISTS (SELECT FROM app.external_orders x
                          WHERE x.scope = m.scope AND x.scope_no = m.scope_no AND x.order_id = m.order_id);
    END IF;
END
$$;
COMMENT ON FUNCTION sec.migrate_recharges() IS
    'The step to schema version 3 of what recharges claim: trade numbers, order ids, pending ones. Internal: sec.migrate_tables() '
    'calls it.';

CREATE FUNCTION sec.recharges_are_astray() RETURNS boolean
    -- In PL/pgSQL, because an older release has not all of these tables.
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM app.pending_recharges r
                   FULL JOIN (SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing') t ON t.id = r.tx_id
                   WHERE r.card_id IS DISTINCT FROM t.card_id)
        OR EXISTS (SELECT FROM app.external_orders o
                   LEFT JOIN app.external_orders x ON x.scope_no = 0 AND x.scope = 3 AND x.order_id = o.order_id
                   WHERE o.scope_no IN (1, 2, 3) AND o.scope = 3 AND (x.tx_id IS NULL OR x.tx_id = o.tx_id));
END
$$;
COMMENT ON FUNCTION sec.recharges_are_astray() IS
    'Whether there is something for sec.mend_trade_numbers() or sec.count_pending() to do. Internal.';

CREATE FUNCTION sec.mend_trade_numbers() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A trade number is one whatever the method. Of two that were credited under one number the later one stays as it is, to be seen.
    DELETE FROM app.external_orders o
    WHERE o.scope = 3 AND o.scope_no IN (1, 2, 3)
      AND EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 3 AND x.scope_no = 0 AND x.order_id = o.order_id AND x.tx_id = o.tx_id);
    UPDATE app.external_orders o SET scope_no = 0
    WHERE o.scope = 3 AND o.scope_no IN (1, 2, 3)
      AND NOT EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 3 AND x.order_id = o.order_id AND x.scope_no <> o.scope_no
                        AND (x.scope_no = 0 OR (x.tx_id, x.scope_no) < (o.tx_id, o.scope_no)));
END
$$;
COMMENT ON FUNCTION sec.mend_trade_numbers() IS
    'Has trade numbers claimed as they are from 0.3.0 on. Internal: sec.wait_for_calls() calls it.';

CREATE FUNCTION sec.count_pending() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM app.pending_recharges r
    WHERE NOT EXISTS (SELECT FROM app.transactions t WHERE t.id = r.tx_id AND t.card_id = r.card_id AND t.status = 'processing');
    INSERT INTO app.pending_recharges (tx_id, card_id)
    SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing' ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION sec.count_pending() IS
    'Has app.pending_recharges say which recharges wait. After sec.wait_for_calls(). Internal: sec.migrate_tables() calls it.';
