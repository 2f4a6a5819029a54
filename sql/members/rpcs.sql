-- The RPCs of members. Argument names are the public API (PostgREST calls by name); arguments are never STRICT, so that a NULL
-- gets an error of ours and not a silent NULL. None is SECURITY DEFINER: the library looks at who calls, the outer role and
-- the immediate one, and then becomes mps_owner under a fixed search_path by itself.

CREATE FUNCTION app.register_member(p_name text, p_phone text DEFAULT NULL, p_email text DEFAULT NULL, p_user_id uuid DEFAULT NULL)
    RETURNS TABLE (member_id uuid, member_no text, card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'register_member_wrapper';
COMMENT ON FUNCTION app.register_member IS
    E'Registers a member and issues its personal card.\n'
    'Called again for the same user it returns the same member unchanged. A signed-in user registers itself (one who is signed in '
    'anonymously only where settings.signup_anonymous is on); a backend may name any p_user_id, or none for a new id.\n'
    'Level: client.\n'
    'Results: member_id (the user''s id), member_no (M and eight digits), card_id and card_no (VIP and eight digits) of the '
    'personal card.\n'
    'Errors: NOT_AUTHENTICATED, NOT_ALLOWED, INVALID_ARGUMENT.';

CREATE FUNCTION app.set_member_status(p_member_id uuid, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_member_status_wrapper';
COMMENT ON FUNCTION app.set_member_status IS
    E'Sets the status of a member.\n'
    'By a backend. p_status: active, suspended, closed (final; closes the member''s personal card, which must be empty).\n'
    'Level: backend.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: MEMBER_NOT_FOUND, STATUS_CONFLICT, CARD_NOT_EMPTY, INVALID_ARGUMENT.';
