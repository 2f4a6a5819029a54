-- The RPCs of recharges. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY DEFINER.

CREATE FUNCTION app.user_recharge_personal_card(p_personal_card_id uuid, p_amount numeric, p_payment_method text DEFAULT 'wechat',
    p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_external_order_id text DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL, p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'user_recharge_personal_card_wrapper';
COMMENT ON FUNCTION app.user_recharge_personal_card IS
    E'Recharges a personal card.\n'
    'By its owner, with wechat or alipay, it is recorded as processing and credits nothing until confirm_recharge; by a backend '
    '(also cash, also p_merchant_code, where it was taken) it completes at once. p_payment_method: wechat, alipay, cash (backends '
    'only). An order of the owner''s that was cancelled or failed may be asked for again.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (the recharge; CZ, year, month, running number), card_id, amount, status (processing until it is '
    'confirmed, then completed; failed, cancelled), created_at, replayed (whether this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, INVALID_PAYMENT_METHOD, CARD_NOT_FOUND, CARD_NOT_ACTIVE, CARD_EXPIRED, '
    'MEMBER_NOT_ACTIVE, BALANCE_LIMIT, TOO_MANY_PENDING, MERCHANT_NOT_FOUND, MERCHANT_INACTIVE, NOT_ALLOWED, NOT_AUTHENTICATED, '
    'IDEMPOTENCY_KEY_REUSED, EXTERNAL_ORDER_CONFLICT.';

CREATE FUNCTION app.user_recharge_enterprise_card_admin(p_enterprise_card_id uuid, p_amount numeric,
    p_payment_method text DEFAULT 'wechat', p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}',
    p_external_order_id text DEFAULT NULL, p_idempotency_key text DEFAULT NULL, p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'user_recharge_enterprise_card_admin_wrapper';
COMMENT ON FUNCTION app.user_recharge_enterprise_card_admin IS
    E'Recharges an enterprise card.\n'
    'By an admin of the card, with wechat or alipay, it is recorded as processing and credits nothing until confirm_recharge; by '
    'a backend (also cash, also p_merchant_code, where it was taken) it completes at once. p_payment_method: wechat, alipay, cash '
    '(backends only). An order of an admin''s that was cancelled or failed may be asked for again.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (the recharge; CZ, year, month, running number), card_id, amount, status (processing until it is '
    'confirmed, then completed; failed, cancelled), created_at, replayed (whether this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, INVALID_PAYMENT_METHOD, CARD_NOT_FOUND, NOT_CARD_ADMIN, CARD_NOT_ACTIVE, '
    'CARD_EXPIRED, MEMBER_NOT_ACTIVE, BALANCE_LIMIT, TOO_MANY_PENDING, MERCHANT_NOT_FOUND, MERCHANT_INACTIVE, NOT_ALLOWED, '
    'NOT_AUTHENTICATED, IDEMPOTENCY_KEY_REUSED, EXTERNAL_ORDER_CONFLICT.';

CREATE FUNCTION app.confirm_recharge(p_tx_no text, p_amount numeric, p_gateway_trade_no text, p_payload jsonb DEFAULT '{}',
    p_payment_method text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'confirm_recharge_v3_wrapper';
COMMENT ON FUNCTION app.confirm_recharge IS
    E'Credits a recharge that the gateway has captured.\n'
    'By a backend. Idempotent. p_amount is the order''s total, in currency units (yuan, not fen), and must be what was asked for: '
    'not what the payer paid after coupons of the gateway''s own. p_payment_method (wechat, alipay, cash) is what the payer '
    'really used, where that differs. Credits a cancelled or failed recharge too, because the gateway has the money. Another '
    'trade number for a recharge that is settled becomes a row of app.suspense_payments and answers status suspense; one that has '
    'credited another recharge is EXTERNAL_ORDER_CONFLICT. A recharge that was credited without a trade number (not cash) takes '
    'the first one of equal amount.\n'
    'Level: backend.\n'
    'Results: tx_id, tx_no (the recharge), card_id (the card that was credited), amount, status (completed, suspense), replayed '
    '(whether nothing had to be done any more).\n'
    'Errors: TX_NOT_FOUND, AMOUNT_MISMATCH (also in the server log), EXTERNAL_ORDER_CONFLICT, ARCHIVED, INVALID_AMOUNT, '
    'INVALID_PAYMENT_METHOD, INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.fail_recharge(p_tx_no text, p_reason text)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'fail_recharge_wrapper';
COMMENT ON FUNCTION app.fail_recharge IS
    E'Marks a pending recharge as failed: the gateway declined it.\n'
    'By a backend.\n'
    'Level: backend.\n'
    'Results: tx_id, tx_no (the recharge), card_id, amount, status (failed), replayed (whether it had failed already).\n'
    'Errors: TX_NOT_FOUND, RECHARGE_NOT_PENDING, ARCHIVED, INVALID_ARGUMENT.';

CREATE FUNCTION app.resolve_suspense(p_suspense_id bigint, p_resolution text, p_note text, p_card_id uuid DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (suspense_id bigint, status text, gateway_trade_no text, amount numeric, tx_no text, out_refund_no text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'resolve_suspense_wrapper';
COMMENT ON FUNCTION app.resolve_suspense IS
    E'Says what becomes of gateway money in app.suspense_payments, once.\n'
    'By a backend. p_resolution: credited (a recharge of the card p_card_id; no limit stops it), refunded (refunding from now on; '
    'out_refund_no is what to send to the gateway), then refund_completed, or refund_failed, which opens it again; written_off '
    '(nothing more). The same again answers the first result with replayed = true.\n'
    'Level: backend.\n'
    'Results: suspense_id, status (open, credited, refunding, refunded, written_off), gateway_trade_no, amount, tx_no (of the '
    'recharge that credited it), out_refund_no (of the refund at the gateway), replayed (whether this answers an earlier request '
    'again).\n'
    'Errors: TX_NOT_FOUND (no such row), STATUS_CONFLICT, CARD_NOT_FOUND, CARD_NOT_ACTIVE (closed card), IDEMPOTENCY_KEY_REUSED, '
    'INVALID_ARGUMENT, NOT_ALLOWED.';
