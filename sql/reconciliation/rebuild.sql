-- What was resolved, from the audit log. Bills are files: they are imported again, and their days reconciled and closed again.

CREATE FUNCTION sec.logged_of_reconciliation() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('gateway.bill_imported', '{}'::text[]), ('gateway.day_closed', '{}'), ('gateway.day_reopened', '{}'),
           ('recon.item_resolved', ARRAY['account', 'bill_date', 'entry', 'class', 'ref', 'resolution', 'first_seen'])
$$;
COMMENT ON FUNCTION sec.logged_of_reconciliation() IS 'The events of bills and days. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_reconciliation() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (180, 'rebuild_recon_items')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_reconciliation() IS 'The step of bills and days. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.rebuild_recon_items() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.recon_items (id, first_seen, last_seen, account, bill_date, entry, class, ref, tx_no, trade_no, order_no, refund_no,
                                 book_amount, bill_amount, status, resolution, resolved_at, resolved_by, resolved_role, note,
                                 result_tx_no, suspense_id, receivable, uncovered, source_tx_no)
    SELECT e.object_id::bigint, 'epoch'::timestamptz + (e.context ->> 'first_seen')::bigint * interval '1 microsecond', e.happened_at,
           e.context ->> 'account',
           (e.context ->> 'bill_date')::date, e.context ->> 'entry', e.context ->> 'class', e.context ->> 'ref', e.context ->> 'tx_no',
           e.context ->> 'trade_no', e.context ->> 'order_no', e.context ->> 'refund_no', (e.context ->> 'book_amount')::numeric,
           (e.context ->> 'bill_amount')::numeric, 'resolved', e.context ->> 'resolution', e.happened_at, e.actor_user_id, e.actor_role,
           e.context ->> 'note', e.context ->> 'result_tx_no', (e.context ->> 'suspense_id')::bigint,
           coalesce((e.context ->> 'receivable')::numeric, 0), coalesce((e.context ->> 'uncovered')::numeric, 0),
           e.context ->> 'source_tx_no'
    FROM (SELECT DISTINCT ON (x.object_id) x.* FROM audit.event_log x WHERE x.action = 'recon.item_resolved'
          ORDER BY x.object_id, x.id DESC) e
    -- One that was found anew under another id after a day of its bill was imported again.
    ON CONFLICT (account, bill_date, entry, ref) DO NOTHING;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM setval('app.recon_item_id_seq', x.last) FROM (SELECT max(i.id) AS last FROM app.recon_items i) x
    WHERE x.last > (SELECT q.last_value - (NOT q.is_called)::integer FROM app.recon_item_id_seq q);
    what := 'differences that were resolved, without bills and days';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_recon_items() IS
    'What somebody said becomes of a difference; bills and days are not in the log. Internal: app.rebuild_from_log().';
