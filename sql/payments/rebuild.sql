-- Corrections from the audit log.

CREATE FUNCTION sec.rebuilds_of_payments() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (130, 'rebuild_compensations')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_payments() IS 'The step of payments. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.rebuild_compensations() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.transaction_compensations (compensation_tx_no, tx_no, created_at, actor_user_id, actor_role, amount, reason)
    SELECT m.tx_no, m.original_tx_no, m.happened_at, m.actor_user_id, m.actor_role, m.change, 'not in the log'
    FROM sec.logged_movements() m
    WHERE m.tx_type = 'adjustment'
      -- The two halves of a card's replacement name each other.
      AND NOT EXISTS (SELECT FROM sec.logged_movements() o
                      WHERE o.tx_type = 'adjustment' AND o.tx_no = m.original_tx_no AND o.original_tx_no = m.tx_no);
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'corrections';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_compensations() IS
    'Who corrected what by which amount; why is not in the log. Internal: app.rebuild_from_log().';
