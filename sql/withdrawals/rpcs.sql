-- The RPCs of withdrawals. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY DEFINER.

CREATE FUNCTION app.withdraw(p_card_id uuid, p_amount numeric, p_reason text, p_idempotency_key text,
    p_card_type text DEFAULT 'personal', p_payout text DEFAULT 'source', p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_no text, refund_no text, source_tx_no text, gateway_account text, gateway_trade_no text, payment_method text,
        payout text, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE ROWS 3
    AS 'MODULE_PATHNAME', 'withdraw_wrapper';
COMMENT ON FUNCTION app.withdraw IS
    E'Takes a member''s own money off a card at once, to go back to where it came from.\n'
    'By a backend; one row for each refund number. Of a card of any status, or of the one that replaced it, never below zero. The '
    'sources are its recharges and those of the cards that it replaced, newest first, each up to what it credited, less what was '
    'taken back or withdrawn of it. p_card_type: personal, enterprise. p_payout: source (the way it came in; a payment older than '
    'some 360 days, in an archived month, or a member''s own without a trade number goes by transfer), transfer, cash. '
    'p_merchant_code: the shop that pays it out. The same key with the same request answers the same rows with replayed = true, and '
    'the status of now.\n'
    'Level: backend.\n'
    'Results: tx_no (the withdrawal, of all rows; TX, year, month, running number), refund_no (tx_no-1, -2 ...; what to send to the '
    'gateway), source_tx_no (the recharge; NULL: of archived months), gateway_account (whose callback credited that, if one did), '
    'gateway_trade_no (of its payment, if known), payment_method (how it came in: cash, wechat, alipay; balance: not known any '
    'more), payout (how it goes out: source, transfer, cash), amount, status (completed; processing until the gateway''s notice, '
    'confirm_withdrawal or fail_withdrawal; later returned, paid_after_return), created_at, replayed (whether this answers an '
    'earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT (also more than 200 sources), CARD_NOT_FOUND, INSUFFICIENT_BALANCE (also where recharges '
    'do not cover it), MERCHANT_NOT_FOUND, MERCHANT_INACTIVE, IDEMPOTENCY_KEY_REUSED, ARCHIVED, NOT_ALLOWED.';

CREATE FUNCTION app.confirm_withdrawal(p_refund_no text, p_amount numeric, p_gateway_refund_no text DEFAULT NULL)
    RETURNS TABLE (refund_no text, tx_no text, card_id uuid, amount numeric, status text, returned_tx_no text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'confirm_withdrawal_wrapper';
COMMENT ON FUNCTION app.confirm_withdrawal IS
    E'Says that the payer has what a refund number is for.\n'
    'By a backend, once. p_amount is compared. p_gateway_refund_no: the gateway''s or the bank''s own number, to be kept. What the card '
    'has again already becomes paid_after_return: nothing is taken off the card by that, and app.health() is not ok.\n'
    'Level: backend.\n'
    'Results: refund_no, tx_no (the withdrawal), card_id (the card that it was taken off), amount, status (completed, '
    'paid_after_return), returned_tx_no (the adjustment that had given it back, if one had), replayed (whether nothing had to be done '
    'any more).\n'
    'Errors: TX_NOT_FOUND, AMOUNT_MISMATCH, EXTERNAL_ORDER_CONFLICT (confirmed with another p_gateway_refund_no), INVALID_AMOUNT, '
    'INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.fail_withdrawal(p_refund_no text, p_reason text)
    RETURNS TABLE (refund_no text, tx_no text, card_id uuid, amount numeric, status text, returned_tx_no text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'fail_withdrawal_wrapper';
COMMENT ON FUNCTION app.fail_withdrawal IS
    E'Gives what a refund number is for back to the card, because it cannot be paid.\n'
    'By a backend, once: an adjustment, to the card or the one that replaced it, whatever its status. First make sure that the gateway '
    'will not pay it.\n'
    'Level: backend.\n'
    'Results: refund_no, tx_no (the withdrawal), card_id (the card that it was taken off), amount, status (returned, '
    'paid_after_return), returned_tx_no (the adjustment; TZ, year, month, running number), replayed (whether it was given back '
    'already).\n'
    'Errors: TX_NOT_FOUND, STATUS_CONFLICT (the payer has it), BALANCE_LIMIT (no card can hold so much), INVALID_ARGUMENT, NOT_ALLOWED.';
