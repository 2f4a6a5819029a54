-- The RPCs. Argument names are the public API (PostgREST calls by name); arguments are never STRICT, so that a NULL gets
-- an error of ours and not a silent NULL. None is SECURITY DEFINER: the library looks at who calls, the outer role and the
-- immediate one, and then becomes mps_owner under a fixed search_path by itself.

CREATE FUNCTION app.register_member(p_name text, p_phone text DEFAULT NULL, p_email text DEFAULT NULL, p_user_id uuid DEFAULT NULL)
    RETURNS TABLE (member_id uuid, member_no text, card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'register_member_wrapper';
COMMENT ON FUNCTION app.register_member IS
    E'Registers a member and issues its personal card.\n'
    'Called again for the same user it returns the same member unchanged. A signed-in user registers itself (one who is signed in '
    'anonymously only where settings.signup_anonymous is on); a backend may name any p_user_id, or none for a new id.\n'
    'Results: member_id (the user''s id), member_no (M and eight digits), card_id and card_no (VIP and eight digits) of the '
    'personal card.\n'
    'Errors: NOT_AUTHENTICATED, NOT_ALLOWED, INVALID_ARGUMENT.';

CREATE FUNCTION app.rotate_card_qr(p_card_id uuid, p_card_type text DEFAULT 'personal', p_member_id uuid DEFAULT NULL)
    RETURNS TABLE (qr_plain text, qr_expires_at timestamptz)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'rotate_card_qr_wrapper';
COMMENT ON FUNCTION app.rotate_card_qr IS
    E'Makes a new pay code for a card and forgets the one before.\n'
    'The plain code is returned this once and never stored. p_card_type: personal, enterprise. A member gets its own code; a '
    'backend names the member (p_member_id) of an enterprise card.\n'
    'Results: qr_plain (the pay code, to be shown as a QR), qr_expires_at (until when it pays).\n'
    'Errors: CARD_NOT_FOUND, NOT_CARD_USER, CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, NOT_AUTHENTICATED, NOT_ALLOWED, '
    'INVALID_ARGUMENT.';

CREATE FUNCTION app.merchant_charge_by_qr(p_merchant_code text, p_qr_plain text, p_amount numeric, p_reason text DEFAULT NULL,
    p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL, p_external_order_id text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_type text, card_id uuid, raw_amount numeric, discount numeric,
                   final_amount numeric, points_earned bigint, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'merchant_charge_by_qr_wrapper';
COMMENT ON FUNCTION app.merchant_charge_by_qr IS
    E'Takes a payment from the card that a pay code names.\n'
    'By an operator of the merchant (owner, admin, cashier) or a backend. p_amount is before discount, in currency units with at '
    'most two decimals; final_amount = raw_amount x discount, rounded half away from zero. The same key (or order id) with the '
    'same request answers the first result with replayed = true.\n'
    'Results: tx_id, tx_no (the payment; ZF, year, month, running number), card_type (personal, enterprise), card_id, raw_amount '
    '(before discount), discount (what it was multiplied by), final_amount (what was paid), points_earned, status (completed), '
    'created_at, replayed (whether this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, NOT_AUTHENTICATED, MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, '
    'QR_EXPIRED_OR_INVALID, CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, INSUFFICIENT_BALANCE, IDEMPOTENCY_KEY_REUSED, '
    'EXTERNAL_ORDER_CONFLICT.';

CREATE FUNCTION app.merchant_refund_tx(p_merchant_code text, p_original_tx_no text, p_refund_amount numeric,
    p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (refund_tx_id bigint, refund_tx_no text, refunded_amount numeric, points_reversed bigint,
                   refundable_left numeric, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'merchant_refund_tx_wrapper';
COMMENT ON FUNCTION app.merchant_refund_tx IS
    E'Gives back part or all of what a payment took.\n'
    'By an operator of the merchant that took it (owner, admin, cashier) or a backend. It goes to the card that paid (or its '
    'replacement), and the points are taken back in proportion. p_refund_amount is of what was paid (final_amount); the same key '
    'with the same request answers the first result with replayed = true.\n'
    'Results: refund_tx_id, refund_tx_no (the refund; TK, year, month, running number), refunded_amount (of this call), '
    'points_reversed (taken back), refundable_left (what of the payment can still be refunded), created_at, replayed (whether '
    'this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, TX_NOT_FOUND, NOT_REFUNDABLE, REFUND_EXCEEDS_REMAINING, CARD_NOT_ACTIVE (closed card), ARCHIVED, '
    'MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, IDEMPOTENCY_KEY_REUSED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

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
    'Results: tx_id, tx_no (the recharge), card_id (the card that was credited), amount, status (completed, suspense), replayed '
    '(whether nothing had to be done any more).\n'
    'Errors: TX_NOT_FOUND, AMOUNT_MISMATCH (also in the server log), EXTERNAL_ORDER_CONFLICT, ARCHIVED, INVALID_AMOUNT, '
    'INVALID_PAYMENT_METHOD, INVALID_ARGUMENT, NOT_ALLOWED.';

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
    'Results: suspense_id, status (open, credited, refunding, refunded, written_off), gateway_trade_no, amount, tx_no (of the '
    'recharge that credited it), out_refund_no (of the refund at the gateway), replayed (whether this answers an earlier request '
    'again).\n'
    'Errors: TX_NOT_FOUND (no such row), STATUS_CONFLICT, CARD_NOT_FOUND, CARD_NOT_ACTIVE (closed card), IDEMPOTENCY_KEY_REUSED, '
    'INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.fail_recharge(p_tx_no text, p_reason text)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'fail_recharge_wrapper';
COMMENT ON FUNCTION app.fail_recharge IS
    E'Marks a pending recharge as failed: the gateway declined it.\n'
    'By a backend.\n'
    'Results: tx_id, tx_no (the recharge), card_id, amount, status (failed), replayed (whether it had failed already).\n'
    'Errors: TX_NOT_FOUND, RECHARGE_NOT_PENDING, ARCHIVED, INVALID_ARGUMENT.';

CREATE FUNCTION app.enterprise_add_member(p_card_no text, p_member_id uuid, p_role text DEFAULT 'member')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'enterprise_add_member_wrapper';
COMMENT ON FUNCTION app.enterprise_add_member IS
    E'Binds a member to an enterprise card, or sets the role of one bound already.\n'
    'By an admin of the card or a backend. p_role: admin, member.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: CARD_NOT_FOUND, NOT_CARD_ADMIN, CARD_NOT_ACTIVE (closed card), MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE, LAST_ADMIN, '
    'INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.enterprise_remove_member(p_card_no text, p_member_id uuid)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'enterprise_remove_member_wrapper';
COMMENT ON FUNCTION app.enterprise_remove_member IS
    E'Unbinds a member from an enterprise card.\n'
    'By an admin of the card, the member itself or a backend. Its pay code goes too.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: CARD_NOT_FOUND, NOT_CARD_ADMIN, LAST_ADMIN, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.create_merchant(p_code text, p_name text)
    RETURNS TABLE (merchant_id integer, code text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_merchant_wrapper';
COMMENT ON FUNCTION app.create_merchant IS
    E'Creates a merchant.\n'
    'By a backend. The same code and name again returns the same merchant.\n'
    'Results: merchant_id, code (the merchant''s code, by which the other calls name it).\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT (code taken under another name).';

CREATE FUNCTION app.set_merchant_user(p_merchant_code text, p_user_id uuid, p_role text DEFAULT 'cashier')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_user_wrapper';
COMMENT ON FUNCTION app.set_merchant_user IS
    E'Makes a user an operator of a merchant, or changes its role.\n'
    'By a backend, an owner, or an admin (who can neither make nor change an owner). p_role: owner, admin, cashier. p_user_id is '
    'the id at the identity provider, a member or not.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, NOT_ALLOWED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.remove_merchant_user(p_merchant_code text, p_user_id uuid)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'remove_merchant_user_wrapper';
COMMENT ON FUNCTION app.remove_merchant_user IS
    E'Removes an operator of a merchant.\n'
    'By a backend, an owner, or an admin (who cannot remove an owner).\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER (the caller is no operator), NOT_ALLOWED (a cashier; or an admin who would '
    'remove an owner), INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.set_merchant_status(p_merchant_code text, p_active boolean, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_status_wrapper';
COMMENT ON FUNCTION app.set_merchant_status IS
    E'Activates or deactivates a merchant.\n'
    'By a backend. An inactive one takes no payments; its payments are refunded by a backend only.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MERCHANT_NOT_FOUND, INVALID_ARGUMENT.';

CREATE FUNCTION app.create_enterprise_card(p_company_name text, p_fixed_discount numeric DEFAULT 1.000, p_admin_member_id uuid DEFAULT NULL)
    RETURNS TABLE (card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_enterprise_card_wrapper';
COMMENT ON FUNCTION app.create_enterprise_card IS
    E'Issues an enterprise card, with its first admin if one is named.\n'
    'By a backend. p_fixed_discount is above 0 and at most 1, three decimals at most: 0.880 is twelve percent off.\n'
    'Results: card_id, card_no (ENT and at least five digits).\n'
    'Errors: INVALID_ARGUMENT, MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE.';

CREATE FUNCTION app.set_member_status(p_member_id uuid, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_member_status_wrapper';
COMMENT ON FUNCTION app.set_member_status IS
    E'Sets the status of a member.\n'
    'By a backend. p_status: active, suspended, closed (final; closes the member''s personal card, which must be empty).\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MEMBER_NOT_FOUND, STATUS_CONFLICT, CARD_NOT_EMPTY, INVALID_ARGUMENT.';

CREATE FUNCTION app.set_card_status(p_card_id uuid, p_card_type text, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_card_status_wrapper';
COMMENT ON FUNCTION app.set_card_status IS
    E'Moves a card between its states.\n'
    'By a backend; the owner of a personal card may report it lost. p_card_type: personal, enterprise. p_status: active, frozen, '
    'lost, closed (final; balance 0 and nothing pending).\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: CARD_NOT_FOUND, STATUS_CONFLICT, CARD_NOT_EMPTY, NOT_ALLOWED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.set_card_expiry(p_card_id uuid, p_card_type text, p_expires_at timestamptz, p_reason text,
    p_expires_on date DEFAULT NULL)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_card_expiry_v3_wrapper';
COMMENT ON FUNCTION app.set_card_expiry IS
    E'Sets when a card expires: at a moment, at the end of a day, or never.\n'
    'By a backend. p_card_type: personal, enterprise. p_expires_at: the moment; p_expires_on: the business day (2000 to 9999) to '
    'whose end it is good (app.business_day_start() of the next one); both null: never. A later expiry makes an expired card active '
    'again; one in the past expires an active card at once.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: CARD_NOT_FOUND, STATUS_CONFLICT (closed), INVALID_ARGUMENT (both given, too).';

CREATE FUNCTION app.replace_card(p_card_id uuid, p_reason text)
    RETURNS TABLE (card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'replace_card_wrapper';
COMMENT ON FUNCTION app.replace_card IS
    E'Replaces a lost personal card by a new one.\n'
    'By a backend. The new one takes over balance, points and level by a linked pair of adjustments, the old one is closed. '
    'Again: the same new card.\n'
    'Results: card_id, card_no (of the new card).\n'
    'Errors: CARD_NOT_FOUND, STATUS_CONFLICT (not lost), INVALID_ARGUMENT.';

CREATE FUNCTION app.adjust_points(p_card_id uuid, p_change bigint, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (points bigint, level integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'adjust_points_wrapper';
COMMENT ON FUNCTION app.adjust_points IS
    E'Adds to (or takes from) the points of a personal card by hand.\n'
    'By a backend. The level follows.\n'
    'Results: points, level (0 to 4), both after the change.\n'
    'Errors: INVALID_ARGUMENT, CARD_NOT_FOUND, CARD_NOT_ACTIVE (closed card), IDEMPOTENCY_KEY_REUSED, ARCHIVED.';

CREATE FUNCTION app.compensate_tx(p_tx_no text, p_amount numeric, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, balance_after numeric, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'compensate_tx_wrapper';
COMMENT ON FUNCTION app.compensate_tx IS
    E'Corrects the card of a transaction by a signed amount.\n'
    'By a backend. It is an adjustment in the books, never below zero, and does not change what is refundable.\n'
    'Results: tx_id, tx_no (the adjustment; TZ, year, month, running number), card_id, amount (signed), balance_after, '
    'created_at, replayed (whether this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, TX_NOT_FOUND, INSUFFICIENT_BALANCE, BALANCE_LIMIT, CARD_NOT_ACTIVE (closed card), '
    'ARCHIVED, IDEMPOTENCY_KEY_REUSED.';

CREATE FUNCTION app.get_settings()
    RETURNS jsonb
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'get_settings_wrapper';
COMMENT ON FUNCTION app.get_settings IS
    E'The settings, as one object.\n'
    'By a backend. Units are in the names. STABLE.\n'
    'Results: one JSON object: name, value.';

CREATE FUNCTION app.update_settings(p_settings jsonb)
    RETURNS jsonb
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'update_settings_wrapper';
COMMENT ON FUNCTION app.update_settings IS
    E'Changes the settings that are named, all or none.\n'
    'By a backend.\n'
    'Results: one JSON object with all settings after the change.\n'
    'Errors: INVALID_ARGUMENT (unknown names, wrong types, values out of range).';

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
    'Results: tx_id, tx_no (of the movement), tx_type (payment, refund, recharge, adjustment), status (completed), change (of the '
    'balance, signed), raw_amount (before discount), discount, final_amount (what was moved), points_earned (negative where taken '
    'back), balance_after, card_seq (the card''s own count of movements), payment_method (balance, wechat, alipay, cash), '
    'merchant_code, member_id (who used the card), original_tx_no (what a refund or adjustment belongs to), refunded_amount (of a '
    'payment, so far), reason, tag (one whose text would be longer than 16 KiB is shown as sec.shown_tag() says), created_at, '
    'posted_at (when it moved the balance).\n'
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
    'Results: tx_id, tx_no (of the transaction), tx_type (payment, refund, recharge, adjustment), status (completed; processing, of '
    'a recharge that waits), change (of the balance, signed), raw_amount (before discount), discount, final_amount (what was moved), '
    'points_earned (negative where taken back), balance_after, card_seq (the card''s own count of movements), payment_method '
    '(balance, wechat, alipay, cash), merchant_code, member_id (the user), original_tx_no (what a refund or adjustment belongs to), '
    'refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 KiB is shown as sec.shown_tag() '
    'says), created_at, posted_at (when it moved the balance), card_type (personal, enterprise), card_id, card_no.\n'
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
    'below it; p_limit: 1 to 500 rows. The completed lines of a business day add up to that day in app.v_reconciliation. Never shows '
    'a balance. STABLE.\n'
    'Results: tx_id, tx_no (of the transaction), tx_type (payment, refund, recharge), status (processing, completed, failed, '
    'cancelled), card_type (personal, enterprise), card_id, raw_amount (before discount), discount, final_amount (what was '
    'moved), points_earned (negative where taken back), payment_method (balance, wechat, alipay, cash), original_tx_no (the '
    'payment of a refund), refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 KiB is '
    'shown as sec.shown_tag() says), external_order_id (the shop''s own number), processed_by (the operator; NULL for a backend), '
    'created_at, posted_at (when it moved the balance), business_day (the day that it counts for).\n'
    'Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, TX_NOT_FOUND, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.business_day(p_at timestamptz)
    RETURNS date
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'business_day_wrapper';
COMMENT ON FUNCTION app.business_day IS
    E'The business day that a moment lies in.\n'
    'By the rule that counted then (app.business_day_rules), never by the session''s TimeZone. STABLE.\n'
    'Results: the day.\n'
    'Errors: INVALID_ARGUMENT, the day is out of range.';

CREATE FUNCTION app.business_day_start(p_day date)
    RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'business_day_start_wrapper';
COMMENT ON FUNCTION app.business_day_start IS
    E'When a business day begins.\n'
    'It ends where the next one begins, so that each moment is of exactly one day. Days are longer or shorter on the turns of summer '
    'time and where the settings were changed. STABLE.\n'
    'Results: the moment.\n'
    'Errors: INVALID_ARGUMENT, the day is out of range.';

CREATE FUNCTION app.balance_as_of(p_card_id uuid, p_at timestamptz, p_card_type text DEFAULT 'personal')
    RETURNS numeric
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'balance_as_of_wrapper';
COMMENT ON FUNCTION app.balance_as_of IS
    E'The balance of a card at a moment.\n'
    'By whoever may see the card: its owner, everyone bound to the enterprise card, a backend. It is that after the last movement '
    'posted at or before p_at; 0 before the first. p_card_type: personal, enterprise. STABLE.\n'
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
    'Results: tx_id, tx_no (of the transaction), tx_type (payment, refund, recharge, adjustment), status (processing, completed, '
    'failed, cancelled), card_type (personal, enterprise), card_id, member_id (who used the card), merchant_code, raw_amount '
    '(before discount), discount, final_amount (what was moved), points_earned (negative where taken back), balance_after (only '
    'for those who may see the card), payment_method (balance, wechat, alipay, cash), original_tx_no (what a refund or adjustment '
    'belongs to), refunded_amount (of a payment, so far), reason, tag (one whose text would be longer than 16 KiB is shown as '
    'sec.shown_tag() says), created_at, posted_at (when it moved the balance).\n'
    'Errors: TX_NOT_FOUND (also for what the caller may not see), ARCHIVED, NOT_AUTHENTICATED.';

-- Buckets: which of 64 parts of the whole a card belongs to. They look at nothing but their argument.

CREATE FUNCTION app.bucket_of_card(p_card_id uuid)
    RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'bucket_of_card_wrapper';
COMMENT ON FUNCTION app.bucket_of_card IS
    E'The bucket that a card''s id carries.\n'
    'Of a personal card its member''s, (get_byte(sha256(uuid_send(member_id)), 0) & 63) + 1; of an enterprise card its first '
    'admin''s, or any. IMMUTABLE.\n'
    'Results: 1 to 64; null for the id of a card that was issued before 0.3.0, and for anything else.';

CREATE FUNCTION app.bucket_of_code(p_qr_plain text)
    RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'bucket_of_code_wrapper';
COMMENT ON FUNCTION app.bucket_of_code IS
    E'The bucket of the card that a pay code names.\n'
    'As bucket_of_card, whether or not there is such a card. IMMUTABLE.\n'
    'Results: 1 to 64; null for anything that is no code of a card with a bucket.';

CREATE FUNCTION app.bucket_of_tx(p_tx_no text)
    RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'bucket_of_tx_wrapper';
COMMENT ON FUNCTION app.bucket_of_tx IS
    E'The bucket that a transaction number carries.\n'
    'Only the numbers of many machines carry one. IMMUTABLE.\n'
    'Results: 1 to 64; null for the numbers of one machine, which are all that there are yet, and for anything else.';
