-- What sqlsmith needs to get anywhere with our functions: it calls none that answers rows, and knows no values.
-- Run by a superuser in the database of the shop.
CREATE SCHEMA sieve;
COMMENT ON SCHEMA sieve IS 'Our functions made into functions with one text, and a table that everybody may write, for sqlsmith.';
GRANT USAGE ON SCHEMA sieve TO PUBLIC;

CREATE TABLE sieve.fitting (argument text, value text);
INSERT INTO sieve.fitting
    SELECT w.key, v FROM jsonb_each(strangers.world()) w CROSS JOIN LATERAL jsonb_array_elements_text(w.value) v
    WHERE w.key LIKE 'p\_%' AND w.key <> 'p_qr_plain'
    UNION ALL SELECT a, '1.00' FROM unnest('{p_amount,p_refund_amount}'::text[]) a;
GRANT SELECT ON sieve.fitting TO PUBLIC;

-- A value for an argument for which sqlsmith has none: most of what it writes is NULL. A pay code is good once.
CREATE FUNCTION sieve.fitting(p_argument text, p_optional boolean) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
    IF p_optional AND random() < 0.5 THEN
        RETURN NULL;
    ELSIF p_argument = 'p_qr_plain' THEN
        RETURN (SELECT qr_plain FROM app.rotate_card_qr((SELECT card_id FROM app.v_user_cards WHERE card_type = 'personal' LIMIT 1)));
    END IF;
    RETURN (SELECT f.value FROM sieve.fitting f WHERE f.argument = p_argument ORDER BY random() LIMIT 1);
END
$$;

-- They run as whoever calls, and give nobody a level. What is refused is a text, too, so that the statement goes on.
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN
        SELECT p.pronamespace::regnamespace AS nsp, p.proname,
            (SELECT coalesce(string_agg(format_type(t, NULL), ', ' ORDER BY n), '')
             FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u(t, n)) AS types,
            (SELECT coalesce(string_agg(format('coalesce($%s, sieve.fitting(%L, %L)::%s)', n, p.proargnames[n],
                 n > p.pronargs - p.pronargdefaults, format_type(t, NULL)), ', ' ORDER BY n), '')
             FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u(t, n)) AS arguments
        FROM pg_proc p
        WHERE p.pronamespace::regnamespace::text IN ('app', 'sec', 'audit') AND p.prokind = 'f' AND p.pronargs > 0
            AND (has_function_privilege('authenticated', p.oid, 'EXECUTE') OR has_function_privilege('service_role', p.oid, 'EXECUTE'))
    LOOP
        EXECUTE format($f$
            CREATE FUNCTION sieve.%2$I(%3$s) RETURNS text LANGUAGE plpgsql AS $w$
            BEGIN
                RETURN (SELECT string_agg(x::text, ',') FROM %1$s.%2$I(%4$s) x);
            EXCEPTION WHEN OTHERS THEN
                IF SQLSTATE LIKE 'PT%%' OR SQLSTATE = '42501' THEN
                    RETURN SQLERRM;
                END IF;
                RAISE;
            END $w$ $f$, f.nsp, f.proname, f.types, f.arguments);
    END LOOP;
END
$$;

CREATE TABLE sieve.notebook (
    a text, b numeric, c uuid, d timestamptz, e date, f bigint, g integer, h boolean, i jsonb, j smallint, k bytea);
GRANT ALL ON sieve.notebook TO PUBLIC;
INSERT INTO sieve.notebook (a, b, c, d, e, f, g, h, i, j)
    SELECT t.tx_no, t.final_amount, t.card_id, now(), current_date, t.id, 50, true, '{}'::jsonb, 1 FROM app.transactions t
    UNION ALL SELECT l.label, 1, strangers.id_of('other'), 'infinity', 'infinity', -1, 0, false, '{"qr_ttl_seconds": 120}'::jsonb, 2
    FROM (SELECT jsonb_array_elements_text(labels) FROM strangers.labels()) l(label)
    UNION ALL SELECT code, 'NaN', strangers.id_of('member'), '-infinity', '2000-01-01', 9223372036854775807, 500, NULL, '[]'::jsonb, 3
    FROM unnest(ARRAY['MINE', 'YOURS', strangers.code_of(strangers.card_of(strangers.id_of('member')))]) code;
