-- The job that ends recharges which nobody confirmed. Procedure and batches: see kernel/jobs.sql.

CREATE FUNCTION app.expire_recharges_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_recharges_batch_wrapper';
COMMENT ON FUNCTION app.expire_recharges_batch(text) IS
    E'One batch of app.expire_recharges(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';

CREATE PROCEDURE app.expire_recharges()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.expire_recharges_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_recharges_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_recharges() IS
    E'Cancels recharges that nobody confirmed within settings.recharge_ttl_minutes; a later confirmation credits them all the same.\n'
    'Level: operator.';
