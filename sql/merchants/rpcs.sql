-- The RPCs of merchants. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY DEFINER.

CREATE FUNCTION app.create_merchant(p_code text, p_name text)
    RETURNS TABLE (merchant_id integer, code text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_merchant_wrapper';
COMMENT ON FUNCTION app.create_merchant IS
    E'Creates a merchant.\n'
    'By a backend. The same code and name again returns the same merchant.\n'
    'Level: backend.\n'
    'Results: merchant_id, code (the merchant''s code, by which the other calls name it).\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT (code taken under another name).';

CREATE FUNCTION app.set_merchant_status(p_merchant_code text, p_active boolean, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_status_wrapper';
COMMENT ON FUNCTION app.set_merchant_status IS
    E'Activates or deactivates a merchant.\n'
    'By a backend. An inactive one takes no payments; its payments are refunded by a backend only.\n'
    'Level: backend.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MERCHANT_NOT_FOUND, INVALID_ARGUMENT.';

CREATE FUNCTION app.set_merchant_user(p_merchant_code text, p_user_id uuid, p_role text DEFAULT 'cashier')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_user_wrapper';
COMMENT ON FUNCTION app.set_merchant_user IS
    E'Makes a user an operator of a merchant, or changes its role.\n'
    'By a backend, an owner, or an admin (who can neither make nor change an owner). p_role: owner, admin, cashier. p_user_id is '
    'the id at the identity provider, a member or not.\n'
    'Level: client.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER, NOT_ALLOWED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.remove_merchant_user(p_merchant_code text, p_user_id uuid)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'remove_merchant_user_wrapper';
COMMENT ON FUNCTION app.remove_merchant_user IS
    E'Removes an operator of a merchant.\n'
    'By a backend, an owner, or an admin (who cannot remove an owner).\n'
    'Level: client.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MERCHANT_NOT_FOUND, NOT_MERCHANT_USER (the caller is no operator), NOT_ALLOWED (a cashier; or an admin who would '
    'remove an owner), INVALID_ARGUMENT, NOT_AUTHENTICATED.';
