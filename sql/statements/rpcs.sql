-- The RPCs that read what was moved. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY DEFINER.

CREATE FUNCTION app.card_statement(p_card_id uuid, p_card_type text DEFAULT 'personal', p_before text DEFAULT NULL,
    p_limit integer DEFAULT 50)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, change numeric, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, balance_after numeric, card_seq bigint, payment_method text,
        merchant_code text, member_id uuid, original_tx_no text, refunded_amount numeric, reason text, tag jsonb,
        created_at timestamptz, posted_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'card_statement_wrapper';
COMMENT ON FUNCTION app.card_statement IS
    E'A page of a card''s movements, newest first.\n'
    'By whoever may see the card: its owner, everyone bound to the enterprise card, a backend. By card_seq; p_before (a tx_no of '
    'the card) continues below it; p_limit: 1 to 500 rows. p_card_type: personal, enterprise. Recharges still processing are not '
    'movements. STABLE.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (of the movement), tx_type (payment, refund, recharge, adjustment, withdrawal), status (completed; '
    'cancelled: a payment of 0.00 that was given back), '
    'change (of the balance, signed), raw_amount (before discount), discount, final_amount (what was moved), points_earned '
    '(negative where taken back), balance_after, card_seq (the card''s own count of movements), payment_method (balance, wechat, '
    'alipay, cash), merchant_code, member_id (who used the card), original_tx_no (what a refund or adjustment belongs to), '
    'refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 KiB is shown as sec.shown_tag() '
    'says), created_at, posted_at (when it moved the balance).\n'
    'Errors: CARD_NOT_FOUND, TX_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.usage_page(p_before text DEFAULT NULL, p_limit integer DEFAULT 20)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, change numeric, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, balance_after numeric, card_seq bigint, payment_method text, merchant_code text,
        member_id uuid, original_tx_no text, refunded_amount numeric, reason text, tag jsonb, created_at timestamptz,
        posted_at timestamptz, card_type text, card_id uuid, card_no text)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'usage_page_wrapper';
COMMENT ON FUNCTION app.usage_page IS
    E'A page of what the signed-in user did with all its cards, newest first.\n'
    'By the user, for itself. Its personal card and those that it replaced, and its own part of the enterprise cards that it is bound '
    'to. By posted_at; a recharge that waits for its money by created_at. p_before (a tx_no of the page) continues below it; p_limit: '
    '1 to 500 rows. Costs the page, however long the history is. STABLE.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (of the transaction), tx_type (payment, refund, recharge, adjustment, withdrawal), status (completed; '
    'processing, of a recharge that waits), change (of the balance, signed), raw_amount (before discount), discount, final_amount '
    '(what was moved), points_earned (negative where taken back), balance_after, card_seq (the card''s own count of movements), '
    'payment_method (balance, wechat, alipay, cash), merchant_code, member_id (the user), original_tx_no (what a refund or '
    'adjustment belongs to), refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 KiB is '
    'shown as sec.shown_tag() says), created_at, posted_at (when it moved the balance), card_type (personal, enterprise), card_id, '
    'card_no.\n'
    'Errors: TX_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.merchant_statement(p_merchant_code text, p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL,
    p_before text DEFAULT NULL, p_limit integer DEFAULT 50, p_day date DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, card_type text, card_id uuid, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, payment_method text, original_tx_no text, refunded_amount numeric, reason text,
        tag jsonb, external_order_id text, processed_by uuid, created_at timestamptz, posted_at timestamptz, business_day date)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'merchant_statement_v3_wrapper';
COMMENT ON FUNCTION app.merchant_statement IS
    E'A page of a merchant''s transactions, newest first.\n'
    'By an operator of the merchant (owner, admin, cashier) or a backend. From p_from (inclusive) to p_to (exclusive), or of the '
    'business day p_day: all of it by posted_at, and by created_at what is not posted. p_before (a tx_no of the merchant) continues '
    'below it; p_limit: 1 to 500 rows. The lines of a business day that were posted add up to that day in app.v_reconciliation. Never '
    'shows a balance. STABLE.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (of the transaction), tx_type (payment, refund, recharge, adjustment, withdrawal), status (processing, '
    'completed, failed, cancelled), card_type (personal, enterprise), card_id, raw_amount (before discount), discount, final_amount '
    '(what was moved), points_earned (negative where taken back), payment_method (balance, wechat, alipay, cash), original_tx_no '
    '(the payment of a refund), refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 KiB is '
    'shown as sec.shown_tag() says), external_order_id (the shop''s own number), processed_by (the operator; NULL for a backend), '
    'created_at, posted_at (when it moved the balance), business_day (the day that it counts for).\n'
    'Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, TX_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.balance_as_of(p_card_id uuid, p_at timestamptz, p_card_type text DEFAULT 'personal')
    RETURNS numeric
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'balance_as_of_wrapper';
COMMENT ON FUNCTION app.balance_as_of IS
    E'The balance of a card at a moment.\n'
    'By whoever may see the card: its owner, everyone bound to the enterprise card, a backend. It is that after the last movement '
    'posted at or before p_at; 0 before the first. p_card_type: personal, enterprise. STABLE.\n'
    'Level: client.\n'
    'Results: the balance, in currency units.\n'
    'Errors: CARD_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.tx_by_no(p_tx_no text)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, card_type text, card_id uuid, member_id uuid, merchant_code text,
        raw_amount numeric, discount numeric, final_amount numeric, points_earned bigint, balance_after numeric, payment_method text,
        original_tx_no text, refunded_amount numeric, reason text, tag jsonb, created_at timestamptz, posted_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'tx_by_no_wrapper';
COMMENT ON FUNCTION app.tx_by_no IS
    E'A transaction by its number, and below a payment its newest refunds.\n'
    'By whoever may see the card, the member of the transaction, the operators of its merchant, a backend. Refunds newest first, '
    '500 at most; all of them are in the card''s and the merchant''s statement. STABLE.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (of the transaction), tx_type (payment, refund, recharge, adjustment, withdrawal), status (processing, '
    'completed, failed, cancelled), card_type (personal, enterprise), card_id, member_id (who used the card), merchant_code, '
    'raw_amount (before discount), discount, final_amount (what was moved), points_earned (negative where taken back), '
    'balance_after (only for those who may see the card), payment_method (balance, wechat, alipay, cash), original_tx_no (what a '
    'refund or adjustment belongs to), refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 '
    'KiB is shown as sec.shown_tag() says), created_at, posted_at (when it moved the balance).\n'
    'Errors: TX_NOT_FOUND (also for what the caller may not see), ARCHIVED, NOT_AUTHENTICATED.';
