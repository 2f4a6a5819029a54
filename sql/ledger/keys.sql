-- Forgetting keys. Procedure and batches: see kernel/jobs.sql.

CREATE FUNCTION app.expire_keys_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_keys_batch_wrapper';
COMMENT ON FUNCTION app.expire_keys_batch(text) IS
    E'One batch of app.expire_keys(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';

CREATE PROCEDURE app.expire_keys()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.expire_keys_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_keys_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_keys() IS
    E'Forgets idempotency keys and payment order ids of months that ended more than settings.key_retention_days ago.\n'
    'Recharge order ids and gateway trade numbers stay for ever.\n'
    'Level: operator.';
