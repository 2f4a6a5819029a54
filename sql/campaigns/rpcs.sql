-- The RPCs of campaigns. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY DEFINER.

CREATE FUNCTION app.create_campaign(p_campaign jsonb)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_campaign_wrapper';
COMMENT ON FUNCTION app.create_campaign IS
    E'Creates a campaign, as a draft that gives nothing yet.\n'
    'By a backend. p_campaign is an object of code, name, kind {points_multiplier, points_bonus} and value (above 1 and at most 100; a '
    'whole number of points), and of what is not to have its default: min_spend, valid_from, valid_until, weekdays [1 to 7, Monday 1], '
    'hours_from, hours_until (HH:MM in the shop''s time), merchants (their codes), levels, card_types, priority (0), exclusive (false). '
    'Another key is refused. The same again, while nobody has edited it, returns the same campaign.\n'
    'Level: backend.\n'
    'Results: code, status (draft), terms_version (1).\n'
    'Errors: INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (the code belongs to another campaign), NOT_ALLOWED.';

CREATE FUNCTION app.update_campaign(p_code text, p_campaign jsonb)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'update_campaign_wrapper';
COMMENT ON FUNCTION app.update_campaign IS
    E'Changes what a campaign gives from now on.\n'
    'By a backend. p_campaign has what is to change, as in create_campaign; what is not named stays, NULL takes a condition away. '
    'Payments that were made keep what they were given.\n'
    'Level: backend.\n'
    'Results: code, status, terms_version (one more, if anything changed).\n'
    'Errors: CAMPAIGN_NOT_FOUND, INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (it has ended), NOT_ALLOWED.';

CREATE FUNCTION app.set_campaign_status(p_code text, p_status text, p_reason text)
    RETURNS TABLE (code text, status text, terms_version integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_campaign_status_wrapper';
COMMENT ON FUNCTION app.set_campaign_status IS
    E'Begins, pauses or ends a campaign.\n'
    'By a backend. p_status: active, paused (it gives nothing meanwhile), ended (for ever). A status that it has already is answered as '
    'if it were set.\n'
    'Level: backend.\n'
    'Results: code, status, terms_version (the newest).\n'
    'Errors: CAMPAIGN_NOT_FOUND, STATUS_CONFLICT, INVALID_ARGUMENT, NOT_ALLOWED.';

CREATE FUNCTION app.campaign_report(p_code text)
    RETURNS TABLE (times bigint, members bigint, points_given bigint, payments bigint, sales numeric)
    LANGUAGE c STABLE ROWS 1
    AS 'MODULE_PATHNAME', 'campaign_report_wrapper';
COMMENT ON FUNCTION app.campaign_report IS
    E'What a campaign has given so far.\n'
    'By a backend. Of the months that are here; it reads the payments since the campaign was created. Payments that were given back in '
    'full do not count, but for times.\n'
    'Level: backend.\n'
    'Results: times (how often it applied), members (how many were given something), points_given (points; what refunds took back in part '
    'included), payments (that were not given back in full), sales (their final amounts less what was given back, '
    'in the shop''s currency).\n'
    'Errors: CAMPAIGN_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';
