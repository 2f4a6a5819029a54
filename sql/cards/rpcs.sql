-- The RPCs of cards. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY DEFINER.

CREATE FUNCTION app.rotate_card_qr(p_card_id uuid, p_card_type text DEFAULT 'personal', p_member_id uuid DEFAULT NULL)
    RETURNS TABLE (qr_plain text, qr_expires_at timestamptz)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'rotate_card_qr_wrapper';
COMMENT ON FUNCTION app.rotate_card_qr IS
    E'Makes a new pay code for a card and forgets the one before.\n'
    'The plain code is returned this once and never stored. p_card_type: personal, enterprise. A member gets its own code; a '
    'backend names the member (p_member_id) of an enterprise card.\n'
    'Level: client.\n'
    'Results: qr_plain (the pay code, to be shown as a QR), qr_expires_at (until when it pays).\n'
    'Errors: CARD_NOT_FOUND, NOT_CARD_USER, CARD_NOT_ACTIVE, CARD_EXPIRED, MEMBER_NOT_ACTIVE, NOT_AUTHENTICATED, NOT_ALLOWED, '
    'INVALID_ARGUMENT.';

CREATE FUNCTION app.create_enterprise_card(p_company_name text, p_fixed_discount numeric DEFAULT 1.000, p_admin_member_id uuid DEFAULT NULL)
    RETURNS TABLE (card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_enterprise_card_wrapper';
COMMENT ON FUNCTION app.create_enterprise_card IS
    E'Issues an enterprise card, with its first admin if one is named.\n'
    'By a backend. p_fixed_discount is above 0 and at most 1, three decimals at most: 0.880 is twelve percent off.\n'
    'Level: backend.\n'
    'Results: card_id, card_no (ENT and at least five digits).\n'
    'Errors: INVALID_ARGUMENT, MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE.';

CREATE FUNCTION app.enterprise_add_member(p_card_no text, p_member_id uuid, p_role text DEFAULT 'member')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'enterprise_add_member_wrapper';
COMMENT ON FUNCTION app.enterprise_add_member IS
    E'Binds a member to an enterprise card, or sets the role of one bound already.\n'
    'By an admin of the card or a backend. p_role: admin, member.\n'
    'Level: client.\n'
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
    'Level: client.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: CARD_NOT_FOUND, NOT_CARD_ADMIN, LAST_ADMIN, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.set_card_status(p_card_id uuid, p_card_type text, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_card_status_wrapper';
COMMENT ON FUNCTION app.set_card_status IS
    E'Moves a card between its states.\n'
    'By a backend; the owner of a personal card may report it lost. p_card_type: personal, enterprise. p_status: active, frozen, '
    'lost, closed (final; balance 0 and nothing pending).\n'
    'Level: client.\n'
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
    'Level: backend.\n'
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
    'Level: backend.\n'
    'Results: card_id, card_no (of the new card).\n'
    'Errors: CARD_NOT_FOUND, STATUS_CONFLICT (not lost), INVALID_ARGUMENT.';

CREATE FUNCTION app.adjust_points(p_card_id uuid, p_change bigint, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (points bigint, level integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'adjust_points_wrapper';
COMMENT ON FUNCTION app.adjust_points IS
    E'Adds to (or takes from) the points of a personal card by hand.\n'
    'By a backend. The level follows.\n'
    'Level: backend.\n'
    'Results: points, level (0 to 4), both after the change.\n'
    'Errors: INVALID_ARGUMENT, CARD_NOT_FOUND, CARD_NOT_ACTIVE (closed card), IDEMPOTENCY_KEY_REUSED, ARCHIVED.';
