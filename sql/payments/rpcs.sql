-- The RPCs of payments, and of correcting them. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY
-- DEFINER.

CREATE FUNCTION app.merchant_charge_by_qr(p_merchant_code text, p_qr_plain text, p_amount numeric, p_reason text DEFAULT NULL,
    p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL, p_external_order_id text DEFAULT NULL,
    p_coupon_code text DEFAULT NULL, p_excluded_amount numeric DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_type text, card_id uuid, raw_amount numeric, discount numeric,
                   final_amount numeric, points_earned bigint, status text, created_at timestamptz, replayed boolean,
                   coupon_discount numeric, points_bonus bigint)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'merchant_charge_by_qr_v3_wrapper';
COMMENT ON FUNCTION app.merchant_charge_by_qr IS
    E'Takes a payment from the card that a pay code names.\n'
    'By an operator of the merchant (owner, admin, cashier) or a backend. p_amount is before discount, in currency units with at '
    'most two decimals; p_excluded_amount (0 to p_amount) of it takes no part: no discount, no coupon, no points. final_amount = what '
    'takes part x discount, rounded half away from zero, less the coupon (p_coupon_code, one of the member''s, used up by it), and the '
    'rest in full. The same key (or order id) with the same request '
    'answers the first result with replayed = true.\n'
    'Level: client.\n'
    'Results: tx_id, tx_no (the payment; ZF, year, month, running number), card_type (personal, enterprise), card_id, raw_amount '
    '(before discount), discount (what it was multiplied by), final_amount (what was paid), points_earned, status (completed; '
    'cancelled: one of 0.00 that was given back since), created_at, replayed (whether this answers an earlier request again), '
    'coupon_discount (what a coupon took off), points_bonus (of points_earned, what campaigns gave).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, NOT_AUTHENTICATED, MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, '
    'QR_EXPIRED_OR_INVALID, CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, COUPON_NOT_FOUND, COUPON_NOT_USABLE (the detail says which '
    'condition), INSUFFICIENT_BALANCE, IDEMPOTENCY_KEY_REUSED, EXTERNAL_ORDER_CONFLICT.';

CREATE FUNCTION app.quote_charge(p_merchant_code text, p_qr_plain text, p_amount numeric, p_coupon_code text DEFAULT NULL,
    p_excluded_amount numeric DEFAULT NULL)
    RETURNS TABLE (final_amount numeric, discount numeric, coupon_discount numeric, points_earned bigint, covered boolean, lines jsonb,
                   coupons jsonb)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'quote_charge_wrapper';
COMMENT ON FUNCTION app.quote_charge IS
    E'What a charge would cost now, and why; nothing is used up.\n'
    'By an operator of the merchant (owner, admin, cashier) or a backend. Arguments as those of merchant_charge_by_qr; by POST alone, '
    'because the code would stand in logs.\n'
    'Level: client.\n'
    'Results: final_amount (what would be paid), discount (what is multiplied by), coupon_discount (what the coupon takes off), '
    'points_earned (those of campaigns included), covered (whether the balance is enough; never the balance), lines '
    '([{step, amount}]: asked, level_discount or company_discount, coupon; they add up to final_amount), coupons ([{coupon_code, name, '
    'saves, final_amount, valid_until}]: which of '
    'the member''s could be used for it, the best first, twenty at most).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, NOT_AUTHENTICATED, MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, '
    'QR_EXPIRED_OR_INVALID, CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, COUPON_NOT_FOUND, COUPON_NOT_USABLE.';

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
    'Level: client.\n'
    'Results: refund_tx_id, refund_tx_no (the refund; TK, year, month, running number), refunded_amount (of this call), '
    'points_reversed (taken back), refundable_left (what of the payment can still be refunded), created_at, replayed (whether '
    'this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, TX_NOT_FOUND, NOT_REFUNDABLE, REFUND_EXCEEDS_REMAINING, CARD_NOT_ACTIVE (closed card), ARCHIVED, '
    'MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, MERCHANT_INACTIVE, IDEMPOTENCY_KEY_REUSED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.cancel_payment(p_merchant_code text, p_tx_no text DEFAULT NULL, p_external_order_id text DEFAULT NULL,
    p_reason text DEFAULT NULL, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (tx_no text, refund_tx_no text, refunded_amount numeric, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'cancel_payment_wrapper';
COMMENT ON FUNCTION app.cancel_payment IS
    E'Gives back all that is left of a payment.\n'
    'By an operator of the merchant that took it (owner, admin, cashier) or a backend. Exactly one of p_tx_no and p_external_order_id '
    '(the shop''s own number) names it. As a refund of what is left, whatever was refunded before; a payment of 0.00, which a coupon '
    'paid all of, becomes cancelled by a refund of 0.00, and its coupon comes back by its terms. Where nothing is left it answers '
    'the refund that took the last, with replayed = true. An order that is not there is TX_NOT_FOUND, and may still come.\n'
    'Level: client.\n'
    'Results: tx_no (the payment), refund_tx_no (the refund that took the last of it), refunded_amount (of that refund), replayed '
    '(whether nothing was left: given back before, by whomever).\n'
    'Errors: TX_NOT_FOUND, NOT_REFUNDABLE, CARD_NOT_ACTIVE (closed card), ARCHIVED, MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, '
    'MERCHANT_INACTIVE, IDEMPOTENCY_KEY_REUSED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.compensate_tx(p_tx_no text, p_amount numeric, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, balance_after numeric, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'compensate_tx_wrapper';
COMMENT ON FUNCTION app.compensate_tx IS
    E'Corrects the card of a transaction by a signed amount.\n'
    'By a backend. It is an adjustment in the books, never below zero, and does not change what is refundable.\n'
    'Level: backend.\n'
    'Results: tx_id, tx_no (the adjustment; TZ, year, month, running number), card_id, amount (signed), balance_after, '
    'created_at, replayed (whether this answers an earlier request again).\n'
    'Errors: INVALID_AMOUNT, INVALID_ARGUMENT, TX_NOT_FOUND, STATUS_CONFLICT (it has moved no money, or so much of a withdrawal is not to '
    'come back), INSUFFICIENT_BALANCE, BALANCE_LIMIT, CARD_NOT_ACTIVE (closed card), ARCHIVED, IDEMPOTENCY_KEY_REUSED.';
