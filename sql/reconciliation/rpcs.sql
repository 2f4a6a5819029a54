-- The functions of bills and reconciliation.

CREATE FUNCTION app.import_bill(p_account text, p_bill_date date, p_kind text, p_content bytea)
    RETURNS TABLE (bill_id bigint, lines bigint, payments bigint, payment_total numeric, refunds bigint, refund_total numeric,
        fee_total numeric, replaced boolean, replayed boolean, warnings text[])
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'import_bill_wrapper';
COMMENT ON FUNCTION app.import_bill IS
    E'Imports the file in which a payment gateway says what it did in a day.\n'
    'By a backend. p_bill_date: the gateway''s day, in Shanghai. p_kind: trade, fundflow. p_content: the file as it was downloaded: CSV of '
    'WeChat Pay, also gzip; ZIP or CSV of Alipay, in UTF-8, GBK or GB18030. Of a past day without any, the gateway''s answer '
    'NO_STATEMENT_EXIST or isp.bill_not_exist. Unless its own totals are those of its lines, nothing is imported. The same file again '
    'changes nothing; another one of the same day replaces the former, which is kept, and opens a closed day again. At most 2 GiB '
    'unzipped.\n'
    'Level: backend.\n'
    'Results: bill_id, lines, payments, payment_total, refunds, refund_total, fee_total (currency units, to the hundred-thousandth), '
    'replaced (whether there was another one), replayed (whether this file is there already), warnings (what is odd in it).\n'
    'Errors: BILL_INVALID (the detail names the line and why), GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.reconcile(p_account text, p_bill_date date)
    RETURNS TABLE (class text, items bigint, amount numeric)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'reconcile_wrapper';
COMMENT ON FUNCTION app.reconcile IS
    E'Compares a day''s trade bill with the books and with the callbacks, and writes down what differs in app.recon_items.\n'
    'By a backend, as often as wanted: what is not so any more settles itself. A difference that a closed day turns out to have opens it '
    'again.\n'
    'Level: backend.\n'
    'Results: class (matched; status_differs: the bill says paid, the recharge is pending or failed; only_in_bill; only_in_books; '
    'amount_differs; fee_differs; duplicate; timing: of a neighbouring day), items (how many of it, also those that are resolved), amount '
    '(their sum by the bill, else by the books).\n'
    'Errors: RECON_CONFLICT (the day has no trade bill), GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.resolve_recon_item(p_id bigint, p_resolution text, p_note text)
    RETURNS TABLE (id bigint, status text, resolution text, tx_no text, suspense_id bigint, out_refund_no text, receivable numeric,
        replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'resolve_recon_item_wrapper';
COMMENT ON FUNCTION app.resolve_recon_item IS
    E'Says what becomes of a difference in app.recon_items, once.\n'
    'By a backend. p_resolution: credit (the payment of the bill goes to its recharge as if its callback came now, or into suspense), '
    'debit (a recharge whose money is not there, or went back, is taken back from its card; what that does not cover is a receivable, and '
    'debit again takes more of it), refund (the payment of the bill is sent back: out_refund_no is what to send to the gateway), '
    'write_off, explained (nothing moves). The same again answers replayed = true; write_off ends a receivable.\n'
    'Level: backend.\n'
    'Results: id, status (resolved), resolution, tx_no (what was moved: the recharge, or the adjustment), suspense_id (the row that has '
    'the money), out_refund_no, receivable (what is still owed), replayed.\n'
    'Errors: RECON_CONFLICT (no such item, another word was said, or this word moves nothing here), INVALID_ARGUMENT, NOT_ALLOWED, '
    'STATUS_CONFLICT.';

CREATE FUNCTION app.close_recon_day(p_account text, p_bill_date date)
    RETURNS TABLE (account text, bill_date date, closed_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'close_recon_day_wrapper';
COMMENT ON FUNCTION app.close_recon_day IS
    E'Closes a day of an account at a payment gateway: it has its bill, and nothing of it is open.\n'
    'By a backend. Reconciles it first. A later bill of the day opens it again.\n'
    'Level: backend.\n'
    'Results: account, bill_date, closed_at, replayed (whether it was closed already).\n'
    'Errors: RECON_CONFLICT (no bill, or something is open), GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';
