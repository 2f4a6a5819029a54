-- The RPCs of coupons. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY DEFINER.

CREATE FUNCTION app.create_coupon(p_coupon jsonb)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_coupon_wrapper';
COMMENT ON FUNCTION app.create_coupon IS
    E'Creates a coupon, as a draft of which nothing is issued yet.\n'
    'By a backend. p_coupon is an object of code, name, kind {amount_off, percent_off, fixed_price} and value, and of what is not to '
    'have its default: min_spend, max_discount, goes_with_level_discount (true), valid_from, valid_until or valid_days_after_issue, '
    'starts_after_days, weekdays [1 to 7, Monday 1], hours_from, hours_until (HH:MM in the shop''s time), merchants (their codes), '
    'levels, card_types, first_purchase_only (false), issue_limit, per_member_limit, per_member_per_day, claimable (false), '
    'on_full_refund {return, keep_used}, budget_amount. Another key is refused. The same again, while nobody has edited it, returns '
    'the same coupon.\n'
    'Level: backend.\n'
    'Results: code, status (draft), terms_version (1).\n'
    'Errors: INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (the code belongs to another coupon), NOT_ALLOWED.';

CREATE FUNCTION app.update_coupon(p_code text, p_coupon jsonb)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'update_coupon_wrapper';
COMMENT ON FUNCTION app.update_coupon IS
    E'Changes what a coupon gives from now on.\n'
    'By a backend. p_coupon has what is to change, as in create_coupon; what is not named stays, NULL takes a condition away. What '
    'members have already keeps the terms that it was issued under; limits of number and the budget are those of the newest. A budget '
    'begins and ends only before the first one is issued, and is never made less than what is spent of it.\n'
    'Level: backend.\n'
    'Results: code, status, terms_version (one more, if anything changed).\n'
    'Errors: COUPON_NOT_FOUND, INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (it has ended; a budget that begins or ends too '
    'late), NOT_ALLOWED.';

CREATE FUNCTION app.set_coupon_status(p_code text, p_status text, p_reason text)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_coupon_status_wrapper';
COMMENT ON FUNCTION app.set_coupon_status IS
    E'Begins, pauses or ends a coupon.\n'
    'By a backend. p_status: active, paused (nothing is issued and nothing used meanwhile), ended (nothing more is issued, for ever; '
    'what members have can be used to its own end). A status that it has already is answered as if it were set.\n'
    'Level: backend.\n'
    'Results: code, status, terms_version (the newest).\n'
    'Errors: COUPON_NOT_FOUND, STATUS_CONFLICT, INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.issue_coupon(p_code text, p_member_id uuid, p_count integer DEFAULT 1, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (coupon_code text, valid_from timestamptz, valid_until timestamptz, replayed boolean)
    LANGUAGE c VOLATILE ROWS 3
    AS 'MODULE_PATHNAME', 'issue_coupon_wrapper';
COMMENT ON FUNCTION app.issue_coupon IS
    E'Gives a member a coupon, or several.\n'
    'By a backend; a row for each. p_count: 1 to 1,000, all or none. The same key with the same request answers the same rows with '
    'replayed = true.\n'
    'Level: backend.\n'
    'Results: coupon_code (CP and at least eight digits: what is used at the till), valid_from, valid_until (NULL: for ever), replayed '
    '(whether this answers an earlier request again).\n'
    'Errors: COUPON_NOT_FOUND, MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE, STATUS_CONFLICT (the coupon is not active), COUPON_NOT_USABLE (its '
    'time is over), COUPON_LIMIT, IDEMPOTENCY_KEY_REUSED, ARCHIVED, INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.claim_coupon(p_code text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (coupon_code text, valid_from timestamptz, valid_until timestamptz, replayed boolean)
    LANGUAGE c VOLATILE ROWS 1
    AS 'MODULE_PATHNAME', 'claim_coupon_wrapper';
COMMENT ON FUNCTION app.claim_coupon IS
    E'Gives the signed-in member a coupon that members may claim.\n'
    'By the member. One that is not there, not active or not claimable is not found. The same key with the same code answers the same '
    'coupon with replayed = true.\n'
    'Level: client.\n'
    'Results: coupon_code (CP and at least eight digits: what is used at the till), valid_from, valid_until (NULL: for ever), replayed '
    '(whether this answers an earlier request again).\n'
    'Errors: COUPON_NOT_FOUND, MEMBER_NOT_FOUND (not registered), MEMBER_NOT_ACTIVE, COUPON_NOT_USABLE (its time is over), COUPON_LIMIT, '
    'IDEMPOTENCY_KEY_REUSED, ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED, NOT_ALLOWED.';

CREATE FUNCTION app.revoke_coupon(p_coupon_code text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'revoke_coupon_wrapper';
COMMENT ON FUNCTION app.revoke_coupon IS
    E'Takes a coupon back from the member who has it.\n'
    'By a backend. One that has paid stays used. Limits of number count it on.\n'
    'Level: backend.\n'
    'Results: true if anything changed, false if it was revoked already.\n'
    'Errors: COUPON_NOT_FOUND, STATUS_CONFLICT (it has paid), INVALID_ARGUMENT, NOT_ALLOWED.';
