-- What a difference has taken back from a card, and whether that still holds.

CREATE FUNCTION sec.recon_taken_back(p_tx_no text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.result_tx_no FROM app.transaction_compensations c JOIN app.recon_items i ON i.result_tx_no = c.compensation_tx_no
    WHERE c.tx_no = p_tx_no AND i.entry = 'payment' LIMIT 1
$$;
COMMENT ON FUNCTION sec.recon_taken_back(text) IS
    'By which adjustment app.resolve_recon_item() took a recharge back from its card, because no bill had it; NULL: by none. Internal.';

CREATE FUNCTION sec.recon_told_later(p_trade_no text, p_tx_no text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
    SELECT EXISTS (SELECT FROM app.transaction_compensations c JOIN app.recon_items i ON i.result_tx_no = c.compensation_tx_no
                   JOIN app.gateway_events e ON e.trade_no = p_trade_no
                   WHERE c.tx_no = p_tx_no AND i.entry = 'payment' AND e.kind = 'payment' AND e.verified
                     -- It may have waited behind the other.
                     AND e.received_at > c.created_at - interval '10 seconds')
$$;
COMMENT ON FUNCTION sec.recon_told_later(text, text) IS
    'Whether a callback has told of a payment after app.resolve_recon_item() had taken its recharge back from the card, because no bill '
    'had it. Internal: sec.recon_booked(), sec.health_of_reconciliation().';

CREATE FUNCTION sec.recon_is_so(p_id bigint) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Lines are of the bills that count.
    SELECT CASE i.entry || ' ' || i.class
        WHEN 'refund only_in_bill' THEN EXISTS (
            SELECT FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
            WHERE l.trade_no = i.trade_no AND l.entry = 'refund' AND l.amount = i.bill_amount AND b.account = i.account
              AND b.bill_date = i.bill_date AND coalesce(l.out_refund_no, l.refund_no) IS NOT DISTINCT FROM i.refund_no)
        WHEN 'payment only_in_books' THEN NOT EXISTS (
            SELECT FROM app.gateway_bill_lines l WHERE l.trade_no = i.trade_no AND l.entry = 'payment')
            AND NOT EXISTS (
            SELECT FROM app.gateway_bill_lines l
            WHERE i.trade_no IS NULL AND l.order_no IN (i.tx_no, i.order_no) AND l.owner IS NULL AND l.entry = 'payment')
        WHEN 'payment amount_differs' THEN EXISTS (
            SELECT FROM app.gateway_bill_lines l JOIN app.gateway_bills b ON b.id = l.bill_id
            WHERE l.trade_no = i.trade_no AND l.entry = 'payment' AND l.amount = i.bill_amount AND b.account = i.account
              AND b.bill_date = i.bill_date)
        ELSE true
        END
    FROM app.recon_items i WHERE i.id = p_id
$$;
COMMENT ON FUNCTION sec.recon_is_so(bigint) IS
    'Whether the bills of now are still as an item has it, by which money is to be taken back. Internal: app.resolve_recon_item().';

CREATE FUNCTION sec.recon_taken_for(p_id bigint) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(o.result_tx_no, 'item ' || o.id) FROM app.recon_items i JOIN app.recon_items o ON o.trade_no = i.trade_no
    WHERE i.id = p_id AND i.entry = 'refund' AND o.id <> i.id AND o.entry = 'refund' AND o.refund_no = i.refund_no
      AND (o.result_tx_no IS NOT NULL OR o.uncovered > 0)
    LIMIT 1
$$;
COMMENT ON FUNCTION sec.recon_taken_for(bigint) IS
    'What another item of the same refund has taken back already; NULL: there is none. Internal: app.resolve_recon_item().';
