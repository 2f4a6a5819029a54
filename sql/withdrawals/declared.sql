-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_withdrawals() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.withdrawals',
            'created_at, settled_at, card_type, payment_method, card_id, amount, refund_no, tx_no, source_tx_no, gateway_account, '
            'gateway_trade_no, asked, payout, status, gateway_state, gateway_refund_no, returned_tx_no, reason')
$$;
COMMENT ON FUNCTION sec.columns_of_withdrawals() IS
    'What may be read of withdrawals. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_withdrawals() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES -- Clients see the movement in their statement, and nothing of this.
           ('app.withdrawals', 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
            'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege')
$$;
COMMENT ON FUNCTION sec.policies_of_withdrawals() IS 'The policies of withdrawals. Internal: sec.policies().';

CREATE FUNCTION sec.descriptions_of_withdrawals() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.withdrawals', 'created_at', 'When it was asked for.'),
           ('app.withdrawals', 'card_type', 'personal, enterprise.'),
           ('app.withdrawals', 'card_id', 'The card that it was taken off.'),
           ('app.withdrawals', 'amount', 'What the payer gets, in currency units.'),
           ('app.withdrawals', 'tx_no', 'The withdrawal: its movement, of all its refund numbers.'),
           ('app.withdrawals', 'asked', 'The p_payout of the withdrawal: source, transfer, cash.'),
           ('app.withdrawals', 'reason', 'Why it was given back to the card.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_withdrawals() IS 'What columns of withdrawals are. Internal: sec.describe_columns().';
