-- The RPCs. Argument names are the public API (PostgREST calls by name); arguments are never STRICT, so that a NULL gets
-- an error of ours and not a silent NULL. None is SECURITY DEFINER: the library looks at who calls, the outer role and the
-- immediate one, and then becomes mps_owner under a fixed search_path by itself.

CREATE FUNCTION app.register_member(p_name text, p_phone text DEFAULT NULL, p_email text DEFAULT NULL, p_user_id uuid DEFAULT NULL)
    RETURNS TABLE (member_id uuid, member_no text, card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'register_member_wrapper';
COMMENT ON FUNCTION app.register_member IS
    'Registers a member and issues its personal card; called again for the same user it returns the same member unchanged. A '
    'signed-in user registers itself; a backend may name any p_user_id, or none for a new id. Errors: NOT_AUTHENTICATED, '
    'NOT_ALLOWED, INVALID_ARGUMENT.';

CREATE FUNCTION app.rotate_card_qr(p_card_id uuid, p_card_type text DEFAULT 'personal', p_member_id uuid DEFAULT NULL)
    RETURNS TABLE (qr_plain text, qr_expires_at timestamptz)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'rotate_card_qr_wrapper';
COMMENT ON FUNCTION app.rotate_card_qr IS
    'Makes a new pay code for a card and forgets the one before. The plain code is returned this once and never stored. A member '
    'gets its own code; a backend names the member (p_member_id) of an enterprise card. Errors: CARD_NOT_FOUND, NOT_CARD_USER, '
    'CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, NOT_AUTHENTICATED, NOT_ALLOWED, INVALID_ARGUMENT.';

CREATE FUNCTION app.merchant_charge_by_qr(p_merchant_code text, p_qr_plain text, p_amount numeric, p_reason text DEFAULT NULL,
    p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL, p_external_order_id text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_type text, card_id uuid, raw_amount numeric, discount numeric,
                   final_amount numeric, points_earned bigint, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'merchant_charge_by_qr_wrapper';
COMMENT ON FUNCTION app.merchant_charge_by_qr IS
    'Takes a payment from the card that a pay code names. p_amount is before discount, in currency units with at most two '
    'decimals; final_amount = raw_amount x discount, rounded half away from zero. The same key (or order id) with the same request '
    'answers the first result with replayed = true. Errors: INVALID_AMOUNT, INVALID_ARGUMENT, NOT_AUTHENTICATED, '
    'MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, QR_EXPIRED_OR_INVALID, CARD_NOT_ACTIVE, CARD_EXPIRED, '
    'MEMBER_NOT_ACTIVE, INSUFFICIENT_BALANCE, IDEMPOTENCY_KEY_REUSED, EXTERNAL_ORDER_CONFLICT.';

CREATE FUNCTION app.merchant_refund_tx(p_merchant_code text, p_original_tx_no text, p_refund_amount numeric,
    p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (refund_tx_id bigint, refund_tx_no text, refunded_amount numeric, points_reversed bigint,
                   refundable_left numeric, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'merchant_refund_tx_wrapper';
COMMENT ON FUNCTION app.merchant_refund_tx IS
    'Gives back part or all of what a payment took, to the card that paid (or its replacement), and takes back the points in '
    'proportion. p_refund_amount is of what was paid (final_amount). Errors: INVALID_AMOUNT, TX_NOT_FOUND, NOT_REFUNDABLE, '
    'REFUND_EXCEEDS_REMAINING, CARD_NOT_ACTIVE (closed card), ARCHIVED, MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, '
    'IDEMPOTENCY_KEY_REUSED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.user_recharge_personal_card(p_personal_card_id uuid, p_amount numeric, p_payment_method text DEFAULT 'wechat',
    p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_external_order_id text DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL, p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'user_recharge_personal_card_wrapper';
COMMENT ON FUNCTION app.user_recharge_personal_card IS
    'Recharges a personal card. By its owner, with wechat or alipay, it is recorded as processing and credits nothing until '
    'confirm_recharge; by a backend (also cash, also p_merchant_code, where it was taken) it completes at once. An order of the '
    'owner''s that was cancelled or failed may be asked for again. Errors: INVALID_AMOUNT, INVALID_ARGUMENT, '
    'INVALID_PAYMENT_METHOD, CARD_NOT_FOUND, CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, BALANCE_LIMIT, TOO_MANY_PENDING, '
    'MERCHANT_NOT_FOUND, NOT_ALLOWED, NOT_AUTHENTICATED, IDEMPOTENCY_KEY_REUSED, EXTERNAL_ORDER_CONFLICT.';

CREATE FUNCTION app.user_recharge_enterprise_card_admin(p_enterprise_card_id uuid, p_amount numeric,
    p_payment_method text DEFAULT 'wechat', p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}',
    p_external_order_id text DEFAULT NULL, p_idempotency_key text DEFAULT NULL, p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'user_recharge_enterprise_card_admin_wrapper';
COMMENT ON FUNCTION app.user_recharge_enterprise_card_admin IS
    'Recharges an enterprise card: as user_recharge_personal_card, by an admin of the card or a backend. Errors: those, and '
    'NOT_CARD_ADMIN.';

CREATE FUNCTION app.confirm_recharge(p_tx_no text, p_amount numeric, p_gateway_trade_no text, p_payload jsonb DEFAULT '{}',
    p_payment_method text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'confirm_recharge_v3_wrapper';
COMMENT ON FUNCTION app.confirm_recharge IS
    'Credits a recharge that the gateway has captured. Idempotent; p_amount (in currency units, the order''s total) must be what '
    'was asked for. p_payment_method (wechat, alipay, cash) is what the payer really used, where that differs. Credits a cancelled '
    'or failed recharge too, because the gateway has the money. Another trade number for a recharge that is settled becomes a row '
    'of app.suspense_payments and answers status suspense; one that has credited another recharge is EXTERNAL_ORDER_CONFLICT. A '
    'recharge that was credited without a trade number (not cash) takes the first one of equal amount. Errors: TX_NOT_FOUND, '
    'AMOUNT_MISMATCH (also in the server log), EXTERNAL_ORDER_CONFLICT, ARCHIVED, INVALID_AMOUNT, INVALID_PAYMENT_METHOD, '
    'INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.resolve_suspense(p_suspense_id bigint, p_resolution text, p_note text, p_card_id uuid DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (suspense_id bigint, status text, gateway_trade_no text, amount numeric, tx_no text, out_refund_no text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'resolve_suspense_wrapper';
COMMENT ON FUNCTION app.resolve_suspense IS
    'Says what becomes of gateway money in app.suspense_payments, once. credited: a recharge of the card p_card_id (no limit stops '
    'it; tx_no is its number). refunded: refunding from now on, out_refund_no is what to send to the gateway; then '
    'refund_completed, or refund_failed, which opens it again. written_off: nothing more. The same again answers the first result '
    'with replayed = true. Errors: TX_NOT_FOUND (no such row), STATUS_CONFLICT, CARD_NOT_FOUND, CARD_NOT_ACTIVE (closed card), '
    'IDEMPOTENCY_KEY_REUSED, INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.fail_recharge(p_tx_no text, p_reason text)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'fail_recharge_wrapper';
COMMENT ON FUNCTION app.fail_recharge IS
    'Marks a pending recharge as failed: the gateway declined it. Errors: TX_NOT_FOUND, RECHARGE_NOT_PENDING, ARCHIVED, INVALID_ARGUMENT.';

CREATE FUNCTION app.enterprise_add_member(p_card_no text, p_member_id uuid, p_role text DEFAULT 'member')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'enterprise_add_member_wrapper';
COMMENT ON FUNCTION app.enterprise_add_member IS
    'Binds a member to an enterprise card, or sets the role (admin, member) of one bound already. Returns whether anything '
    'changed. Errors: CARD_NOT_FOUND, NOT_CARD_ADMIN, CARD_NOT_ACTIVE (closed card), MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE, '
    'LAST_ADMIN, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.enterprise_remove_member(p_card_no text, p_member_id uuid)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'enterprise_remove_member_wrapper';
COMMENT ON FUNCTION app.enterprise_remove_member IS
    'Unbinds a member, by an admin, the member itself or a backend. Returns whether anything changed. Errors: CARD_NOT_FOUND, '
    'NOT_CARD_ADMIN, LAST_ADMIN, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.create_merchant(p_code text, p_name text)
    RETURNS TABLE (merchant_id integer, code text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_merchant_wrapper';
COMMENT ON FUNCTION app.create_merchant IS
    'Creates a merchant. The same code and name again returns the same merchant. Errors: INVALID_ARGUMENT, STATUS_CONFLICT (code '
    'taken under another name).';

CREATE FUNCTION app.set_merchant_user(p_merchant_code text, p_user_id uuid, p_role text DEFAULT 'cashier')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_user_wrapper';
COMMENT ON FUNCTION app.set_merchant_user IS
    'Makes a user an operator (owner, admin, cashier) of a merchant or changes its role. By a backend, an owner, or an admin (who '
    'can neither make nor change an owner). Returns whether anything changed. Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, '
    'NOT_ALLOWED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.remove_merchant_user(p_merchant_code text, p_user_id uuid)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'remove_merchant_user_wrapper';
COMMENT ON FUNCTION app.remove_merchant_user IS
    'Removes an operator of a merchant. Who may: as set_merchant_user. Returns whether anything changed. Errors: as set_merchant_user.';

CREATE FUNCTION app.set_merchant_status(p_merchant_code text, p_active boolean, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_status_wrapper';
COMMENT ON FUNCTION app.set_merchant_status IS
    'Activates or deactivates a merchant. Returns whether anything changed. Errors: MERCHANT_NOT_FOUND, INVALID_ARGUMENT.';

CREATE FUNCTION app.create_enterprise_card(p_company_name text, p_fixed_discount numeric DEFAULT 1.000, p_admin_member_id uuid DEFAULT NULL)
    RETURNS TABLE (card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_enterprise_card_wrapper';
COMMENT ON FUNCTION app.create_enterprise_card IS
    'Issues an enterprise card with a fixed discount in (0, 1], three decimals at most, and its first admin if named. Errors: '
    'INVALID_ARGUMENT, MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE.';

CREATE FUNCTION app.set_member_status(p_member_id uuid, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_member_status_wrapper';
COMMENT ON FUNCTION app.set_member_status IS
    'Sets a member to active, suspended or closed (final; closes its empty card). Returns whether anything changed. Errors: '
    'MEMBER_NOT_FOUND, STATUS_CONFLICT, CARD_NOT_EMPTY, INVALID_ARGUMENT.';

CREATE FUNCTION app.set_card_status(p_card_id uuid, p_card_type text, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_card_status_wrapper';
COMMENT ON FUNCTION app.set_card_status IS
    'Moves a card between active, frozen, lost and closed (final; balance 0 and nothing pending). By a backend; the owner of a '
    'personal card may report it lost. Returns whether anything changed. Errors: CARD_NOT_FOUND, STATUS_CONFLICT, CARD_NOT_EMPTY, '
    'NOT_ALLOWED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.set_card_expiry(p_card_id uuid, p_card_type text, p_expires_at timestamptz, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_card_expiry_wrapper';
COMMENT ON FUNCTION app.set_card_expiry IS
    'Sets when a card expires (NULL: never). A later expiry makes an expired card active again; one in the past expires an active '
    'card at once. Returns whether anything changed. Errors: CARD_NOT_FOUND, STATUS_CONFLICT (closed), INVALID_ARGUMENT.';

CREATE FUNCTION app.replace_card(p_card_id uuid, p_reason text)
    RETURNS TABLE (card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'replace_card_wrapper';
COMMENT ON FUNCTION app.replace_card IS
    'Replaces a lost personal card: the new one takes over balance, points and level by a linked pair of adjustments, the old one '
    'is closed. Again: the same new card. Errors: CARD_NOT_FOUND, STATUS_CONFLICT (not lost), INVALID_ARGUMENT.';

CREATE FUNCTION app.adjust_points(p_card_id uuid, p_change bigint, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (points bigint, level integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'adjust_points_wrapper';
COMMENT ON FUNCTION app.adjust_points IS
    'Adds to (or takes from) the points of a personal card by hand; the level follows. Errors: INVALID_ARGUMENT, CARD_NOT_FOUND, '
    'CARD_NOT_ACTIVE (closed card), IDEMPOTENCY_KEY_REUSED, ARCHIVED.';

CREATE FUNCTION app.compensate_tx(p_tx_no text, p_amount numeric, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, balance_after numeric, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'compensate_tx_wrapper';
COMMENT ON FUNCTION app.compensate_tx IS
    'Corrects the card of a transaction by a signed amount: an adjustment in the books, never below zero, which does not change '
    'what is refundable. Errors: INVALID_AMOUNT, INVALID_ARGUMENT, TX_NOT_FOUND, INSUFFICIENT_BALANCE, BALANCE_LIMIT, '
    'CARD_NOT_ACTIVE (closed card), ARCHIVED, IDEMPOTENCY_KEY_REUSED.';

CREATE FUNCTION app.get_settings()
    RETURNS jsonb
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'get_settings_wrapper';
COMMENT ON FUNCTION app.get_settings IS
    'The settings, as one object; units are in the names. STABLE.';

CREATE FUNCTION app.update_settings(p_settings jsonb)
    RETURNS jsonb
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'update_settings_wrapper';
COMMENT ON FUNCTION app.update_settings IS
    'Changes the settings that are named and returns all. Unknown names and values out of range are INVALID_ARGUMENT and change nothing.';

CREATE FUNCTION app.card_statement(p_card_id uuid, p_card_type text DEFAULT 'personal', p_before text DEFAULT NULL,
    p_limit integer DEFAULT 50)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, change numeric, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, balance_after numeric, card_seq bigint, payment_method text,
        merchant_code text, member_id uuid, original_tx_no text, refunded_amount numeric, reason text, tag jsonb,
        created_at timestamptz, posted_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'card_statement_wrapper';
COMMENT ON FUNCTION app.card_statement IS
    'A page of a card''s movements, newest first, by card_seq; p_before (a tx_no of the card) continues below it; 1 to 500 rows. '
    'change is the signed movement of the balance. Recharges still processing are not movements. A tag whose text would be longer '
    'than 16 KiB is shown as sec.shown_tag() says. Errors: CARD_NOT_FOUND, TX_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, '
    'NOT_AUTHENTICATED.';

CREATE FUNCTION app.merchant_statement(p_merchant_code text, p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL,
    p_before text DEFAULT NULL, p_limit integer DEFAULT 50)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, card_type text, card_id uuid, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, payment_method text, original_tx_no text, refunded_amount numeric, reason text,
        tag jsonb, external_order_id text, processed_by uuid, created_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'merchant_statement_wrapper';
COMMENT ON FUNCTION app.merchant_statement IS
    'A page of a merchant''s transactions, newest first by created_at, from p_from (inclusive) to p_to (exclusive); p_before (a '
    'tx_no of the merchant) continues below it; 1 to 500 rows. A tag whose text would be longer than 16 KiB is shown as '
    'sec.shown_tag() says. Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, TX_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, '
    'NOT_AUTHENTICATED.';

CREATE FUNCTION app.balance_as_of(p_card_id uuid, p_at timestamptz, p_card_type text DEFAULT 'personal')
    RETURNS numeric
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'balance_as_of_wrapper';
COMMENT ON FUNCTION app.balance_as_of IS
    'The balance of a card after its last movement posted at or before p_at; 0 before the first. Errors: CARD_NOT_FOUND, ARCHIVED, '
    'INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.tx_by_no(p_tx_no text)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, card_type text, card_id uuid, member_id uuid, merchant_code text,
        raw_amount numeric, discount numeric, final_amount numeric, points_earned bigint, balance_after numeric, payment_method text,
        original_tx_no text, refunded_amount numeric, reason text, tag jsonb, created_at timestamptz, posted_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'tx_by_no_wrapper';
COMMENT ON FUNCTION app.tx_by_no IS
    'A transaction by its number, and below a payment its newest refunds (500 at most; all of them are in the card''s and the '
    'merchant''s statement), newest first. balance_after only for those who may see the card. A tag whose text would be longer '
    'than 16 KiB is shown as sec.shown_tag() says. Errors: TX_NOT_FOUND (also for what the caller may not see), ARCHIVED, '
    'NOT_AUTHENTICATED.';
