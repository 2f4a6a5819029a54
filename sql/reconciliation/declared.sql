-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_reconciliation() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.gateway_bills',
            'id, imported_at, replaced_at, account, bill_date, kind, lines, payments, payment_total, payment_settled, refunds, '
            'refund_total, refund_settled, fee_total, incoming, incoming_total, outgoing, outgoing_total, sha256, warnings'),
           ('backend', 'app.gateway_bill_files', 'bill_id, content'),
           ('backend', 'app.gateway_bill_lines',
            'bill_id, line, at, owner, amount, settled, fee, is_copy, entry, trade_no, order_no, refund_no, out_refund_no, state, '
            'refund_state'),
           ('backend', 'app.recon_days',
            'account, bill_date, reconciled_at, closed_at, closed_by, closed_role, reopened_at, matched_payments, matched_payment_total, '
            'matched_refunds, matched_refund_total, book_payments, book_payment_total, book_refunds, book_refund_total, callbacks, '
            'callback_total'),
           ('backend', 'app.recon_items',
            'id, first_seen, last_seen, account, bill_date, entry, class, ref, tx_no, trade_no, order_no, refund_no, book_amount, '
            'bill_amount, status, resolution, resolved_at, resolved_by, resolved_role, note, result_tx_no, suspense_id, receivable, '
            'uncovered, source_tx_no'),
           ('backend', 'app.v_recon_days', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_reconciliation() IS
    'What may be read of bills and reconciliation. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_reconciliation() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Clients see nothing of it.
    SELECT t.tab, 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.gateway_bills'), ('app.gateway_bill_files'), ('app.gateway_bill_lines'), ('app.recon_days'), ('app.recon_items'))
         t (tab)
$$;
COMMENT ON FUNCTION sec.policies_of_reconciliation() IS 'The policies of bills and reconciliation. Internal: sec.policies().';

CREATE FUNCTION sec.descriptions_of_reconciliation() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.gateway_bills', 'id', 'Of the bill; a corrected one has another.'),
           ('app.gateway_bills', 'imported_at', 'When it was imported.'),
           ('app.gateway_bills', 'replaced_at', 'When another of the same day and kind took its place; NULL: it counts.'),
           ('app.gateway_bills', 'account', 'The account that it is of.'),
           ('app.gateway_bills', 'bill_date', 'The gateway''s day, in Shanghai.'),
           ('app.gateway_bills', 'kind', 'trade: payments and refunds; fundflow: every movement of the account with the gateway.'),
           ('app.gateway_bills', 'lines', 'How many lines it has.'),
           ('app.gateway_bills', 'payments', 'How many payments.'),
           ('app.gateway_bills', 'payment_total', 'What was ordered, in currency units.'),
           ('app.gateway_bills', 'payment_settled', 'What the gateway settles of it.'),
           ('app.gateway_bills', 'refunds', 'How many refunds.'),
           ('app.gateway_bills', 'refund_total', 'What was given back, positive.'),
           ('app.gateway_bills', 'refund_settled', 'What the account pays of it.'),
           ('app.gateway_bills', 'fee_total', 'What the gateway takes for its service, less what it gives back of that.'),
           ('app.gateway_bills', 'incoming', 'Of a fundflow: how many movements in.'),
           ('app.gateway_bills', 'incoming_total', 'Their sum.'),
           ('app.gateway_bills', 'outgoing', 'Of a fundflow: how many movements out.'),
           ('app.gateway_bills', 'outgoing_total', 'Their sum, positive.'),
           ('app.gateway_bills', 'sha256', 'Of the file.'),
           ('app.gateway_bills', 'warnings', 'What is odd in it, as texts.'),
           ('app.gateway_bill_files', 'bill_id', 'The bill.'),
           ('app.gateway_bill_files', 'content', 'The file, byte for byte.'),
           ('app.gateway_bill_lines', 'bill_id', 'The bill.'),
           ('app.gateway_bill_lines', 'line', 'The line of the unzipped file, from 1.'),
           ('app.gateway_bill_lines', 'at', 'When it was paid, or the refund accepted.'),
           ('app.gateway_bill_lines', 'owner',
            'What the trade number belonged to when that was asked last: the id of a recharge, or with a minus of a row in suspense.'),
           ('app.gateway_bill_lines', 'amount', 'The order''s amount, or what was refunded; never negative.'),
           ('app.gateway_bill_lines', 'settled', 'What the gateway settles of it.'),
           ('app.gateway_bill_lines', 'fee', 'For the gateway''s service; negative where it is given back.'),
           ('app.gateway_bill_lines', 'is_copy', 'Whether the payment is in an earlier line or bill already.'),
           ('app.gateway_bill_lines', 'entry', 'payment, refund, other.'),
           ('app.gateway_bill_lines', 'trade_no', 'The gateway''s number of the payment.'),
           ('app.gateway_bill_lines', 'order_no', 'The order''s number, which the shop had sent.'),
           ('app.gateway_bill_lines', 'refund_no', 'The gateway''s number of the refund.'),
           ('app.gateway_bill_lines', 'out_refund_no', 'The refund''s number, which the shop had sent.'),
           ('app.gateway_bill_lines', 'state', 'As the file has it.'),
           ('app.gateway_bill_lines', 'refund_state', 'As the file has it, when it was made.'),
           ('app.recon_days', 'account', 'The account.'),
           ('app.recon_days', 'bill_date', 'The gateway''s day, in Shanghai.'),
           ('app.recon_days', 'reconciled_at', 'When app.reconcile() looked last; NULL: not since the bill that counts.'),
           ('app.recon_days', 'closed_at', 'When it was closed; NULL: it is not.'),
           ('app.recon_days', 'closed_by', 'The sub of the claims of who closed it, if any.'),
           ('app.recon_days', 'closed_role', 'The database role of who closed it.'),
           ('app.recon_days', 'reopened_at', 'When a new bill opened it again, the last time.'),
           ('app.recon_days', 'matched_payments', 'Payments that bill and books have alike.'),
           ('app.recon_days', 'matched_payment_total', 'Their sum.'),
           ('app.recon_days', 'matched_refunds', 'Refunds that bill and books have alike.'),
           ('app.recon_days', 'matched_refund_total', 'Their sum.'),
           ('app.recon_days', 'book_payments', 'Payments of that day that the books have.'),
           ('app.recon_days', 'book_payment_total', 'Their sum.'),
           ('app.recon_days', 'book_refunds', 'Refunds that ended a row of suspense, or were a withdrawal''s, that day.'),
           ('app.recon_days', 'book_refund_total', 'Their sum.'),
           ('app.recon_days', 'callbacks', 'Payments of that day that callbacks told of.'),
           ('app.recon_days', 'callback_total', 'Their sum.')
    UNION ALL SELECT * FROM sec.descriptions_of_recon_items()
$$;
COMMENT ON FUNCTION sec.descriptions_of_reconciliation() IS
    'What columns of bills and reconciliation are. Internal: sec.describe_columns().';

CREATE FUNCTION sec.descriptions_of_recon_items() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.recon_items', 'id', 'For app.resolve_recon_item().'),
           ('app.recon_items', 'first_seen', 'When app.reconcile() found it first.'),
           ('app.recon_items', 'last_seen', 'When app.reconcile() found it last.'),
           ('app.recon_items', 'account', 'The account.'),
           ('app.recon_items', 'bill_date', 'The gateway''s day, in Shanghai.'),
           ('app.recon_items', 'entry', 'What differs: payment, refund, fee.'),
           ('app.recon_items', 'class',
            'status_differs, only_in_bill, only_in_books, amount_differs, fee_differs, duplicate, timing (of a neighbouring day).'),
           ('app.recon_items', 'ref', 'What tells it from the others of its day.'),
           ('app.recon_items', 'tx_no', 'The recharge, where one is known.'),
           ('app.recon_items', 'trade_no', 'The gateway''s number of the payment.'),
           ('app.recon_items', 'order_no', 'The order''s number, which the shop had sent.'),
           ('app.recon_items', 'refund_no', 'The number of the refund that the shop had sent, else the gateway''s.'),
           ('app.recon_items', 'book_amount', 'By the books; of a fee, what the account''s rate makes of it.'),
           ('app.recon_items', 'bill_amount', 'By the bill.'),
           ('app.recon_items', 'status', 'open, resolved.'),
           ('app.recon_items', 'resolution', 'credit, debit, refund, write_off, explained; settled: by itself.'),
           ('app.recon_items', 'resolved_at', 'When that was said.'),
           ('app.recon_items', 'resolved_by', 'The sub of the claims of who said it, if any.'),
           ('app.recon_items', 'resolved_role', 'The database role of who said it.'),
           ('app.recon_items', 'note', 'Why.'),
           ('app.recon_items', 'result_tx_no', 'What it moved: a recharge, or the adjustment that took money back.'),
           ('app.recon_items', 'suspense_id', 'The row of app.suspense_payments that has the money.'),
           ('app.recon_items', 'receivable', 'What is still owed by who had the money back, where the card did not cover it.'),
           ('app.recon_items', 'uncovered', 'The same, also once it was written off: the money is gone, and cannot be withdrawn.'),
           ('app.recon_items', 'source_tx_no', 'What debit took, or could not take, back: a recharge, or what gave a refund back.'),
           ('app.v_recon_days', 'account', 'The account.'),
           ('app.v_recon_days', 'bill_date', 'The gateway''s day, in Shanghai.'),
           ('app.v_recon_days', 'reconciled_at', 'When app.reconcile() looked last.'),
           ('app.v_recon_days', 'closed_at', 'When it was closed; NULL: it is not.'),
           ('app.v_recon_days', 'reopened_at', 'When a new bill, or a difference, opened it again, the last time.'),
           ('app.v_recon_days', 'bill_payments', 'Payments of the bill; NULL: there is none.'),
           ('app.v_recon_days', 'bill_payment_total', 'Their sum, in currency units.'),
           ('app.v_recon_days', 'bill_refunds', 'Refunds of the bill.'),
           ('app.v_recon_days', 'bill_refund_total', 'Their sum, positive.'),
           ('app.v_recon_days', 'book_payments', 'Payments of that day that the books have.'),
           ('app.v_recon_days', 'book_payment_total', 'Their sum.'),
           ('app.v_recon_days', 'book_refunds', 'Refunds that ended a row of suspense, or were a withdrawal''s, that day.'),
           ('app.v_recon_days', 'book_refund_total', 'Their sum.'),
           ('app.v_recon_days', 'callbacks', 'Payments of that day that callbacks told of.'),
           ('app.v_recon_days', 'callback_total', 'Their sum.'),
           ('app.v_recon_days', 'matched_payments', 'Payments that bill and books have alike.'),
           ('app.v_recon_days', 'matched_payment_total', 'Their sum.'),
           ('app.v_recon_days', 'matched_refunds', 'Refunds that bill and books have alike.'),
           ('app.v_recon_days', 'matched_refund_total', 'Their sum.'),
           ('app.v_recon_days', 'open_items', 'Differences that nobody has resolved.'),
           ('app.v_recon_days', 'receivables', 'What members still owe for what was taken back.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_recon_items() IS
    'What columns of differences are. Internal: sec.descriptions_of_reconciliation().';

CREATE FUNCTION sec.sequences_of_reconciliation() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.gateway_bill_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.gateway_bill_id_seq q),
           (SELECT max(b.id) FROM app.gateway_bills b)
    UNION ALL
    SELECT 'app.recon_item_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.recon_item_id_seq q),
           (SELECT max(i.id) FROM app.recon_items i)
$$;
COMMENT ON FUNCTION sec.sequences_of_reconciliation() IS
    'The sequences of bills and differences: the number that each gave last, and the greatest that a table has. Internal: '
    'sec.sequence_states().';
