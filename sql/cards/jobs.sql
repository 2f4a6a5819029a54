-- The jobs that end cards and pay codes, and the one that applies changed levels. Procedures and batches: see kernel/jobs.sql.

CREATE FUNCTION app.expire_cards_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_cards_batch_wrapper';
COMMENT ON FUNCTION app.expire_cards_batch(text) IS
    E'One batch of app.expire_cards(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';

CREATE PROCEDURE app.expire_cards()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.expire_cards_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_cards_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_cards() IS
    E'Marks active cards whose expires_at has passed as expired.\n'
    'Level: operator.';

CREATE FUNCTION app.expire_qrcodes_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_qrcodes_batch_wrapper';
COMMENT ON FUNCTION app.expire_qrcodes_batch(text) IS
    E'One batch of app.expire_qrcodes(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';

CREATE PROCEDURE app.expire_qrcodes()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.expire_qrcodes_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.expire_qrcodes_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.expire_qrcodes() IS
    E'Forgets the hashes of pay codes that have expired; they are refused from their expiry on in any case.\n'
    'Level: operator.';

CREATE FUNCTION app.recompute_levels_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'recompute_levels_batch_wrapper';
COMMENT ON FUNCTION app.recompute_levels_batch(text) IS
    E'One batch of app.recompute_levels(), from p_after (NULL: the start); returns where the next begins, NULL when all is done.\n'
    'Level: operator.';

CREATE PROCEDURE app.recompute_levels()
    LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    v_after := app.recompute_levels_batch(NULL);
    COMMIT;
    WHILE v_after IS NOT NULL LOOP
        v_after := app.recompute_levels_batch(v_after);
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE app.recompute_levels() IS
    E'Applies app.membership_levels to every personal card.\n'
    'Level: operator.';
