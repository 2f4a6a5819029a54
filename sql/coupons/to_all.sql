-- A coupon for every member. Procedure and batches: see kernel/jobs.sql. No job: somebody runs it for one coupon.

CREATE FUNCTION app.issue_coupon_to_all_batch(p_code text, p_level integer, p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'issue_coupon_to_all_batch_wrapper';
COMMENT ON FUNCTION app.issue_coupon_to_all_batch(text, integer, text) IS
    E'One batch of app.issue_coupon_to_all(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'p_level: only members whose personal card has it.\n'
    'Level: operator.';

CREATE PROCEDURE app.issue_coupon_to_all(p_code text, p_level integer DEFAULT NULL)
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.issue_coupon_to_all_batch(p_code, p_level, NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.issue_coupon_to_all_batch(p_code, p_level, v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.issue_coupon_to_all(text, integer) IS
    E'Gives a coupon to every active member who has got none of it so far.\n'
    'p_level: only to those whose personal card has this level. Commits in batches; interrupted, or where issue_limit '
    'ends it, what was given stays, and run again it goes on. Who registers meanwhile may be left out: run it again.\n'
    'Level: operator.\n'
    'Errors: COUPON_NOT_FOUND, STATUS_CONFLICT (the coupon is not active), COUPON_NOT_USABLE (its time is over), COUPON_LIMIT, '
    'INVALID_ARGUMENT, NOT_ALLOWED.';
