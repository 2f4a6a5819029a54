-- The days of accounts, as a view.

CREATE FUNCTION sec.make_recon_days() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.v_recon_days WITH (security_invoker = true) AS
        SELECT d.account, d.bill_date, d.reconciled_at, d.closed_at, d.reopened_at,
               b.payments AS bill_payments, b.payment_total AS bill_payment_total, b.refunds AS bill_refunds,
               b.refund_total AS bill_refund_total, d.book_payments, d.book_payment_total, d.book_refunds, d.book_refund_total,
               d.callbacks, d.callback_total, d.matched_payments, d.matched_payment_total, d.matched_refunds, d.matched_refund_total,
               b.fee_total AS fees, round(b.payment_settled - b.refund_settled - b.fee_total, 2) AS net,
               f.incoming_total AS flow_in, f.outgoing_total AS flow_out,
               (SELECT count(*) FROM app.recon_items i
                WHERE i.account = d.account AND i.bill_date = d.bill_date AND i.status = 'open') AS open_items,
               (SELECT coalesce(sum(i.receivable), 0.00) FROM app.recon_items i
                WHERE i.account = d.account AND i.bill_date = d.bill_date AND i.receivable > 0) AS receivables
        FROM app.recon_days d
             LEFT JOIN app.gateway_bills b
                 ON b.account = d.account AND b.bill_date = d.bill_date AND b.kind = 'trade' AND b.replaced_at IS NULL
             LEFT JOIN app.gateway_bills f
                 ON f.account = d.account AND f.bill_date = d.bill_date AND f.kind = 'fundflow' AND f.replaced_at IS NULL;
    COMMENT ON VIEW app.v_recon_days IS
        'Days of accounts at payment gateways: what bill, books and callbacks say of each, what is open, and whether it is closed. Books '
        'and callbacks as app.reconcile() found them at reconciled_at.';
    COMMENT ON COLUMN app.v_recon_days.fees IS 'What the gateway takes for its service.';
    COMMENT ON COLUMN app.v_recon_days.net IS 'What the gateway owes the bank for that day: settled payments less refunds less fees.';
    COMMENT ON COLUMN app.v_recon_days.flow_in IS 'What came into the account with the gateway, by the fundflow; NULL: not imported.';
    COMMENT ON COLUMN app.v_recon_days.flow_out IS 'What went out of it, by the fundflow; NULL: not imported.';
END
$$;
COMMENT ON FUNCTION sec.make_recon_days() IS 'Makes app.v_recon_days. Internal.';
