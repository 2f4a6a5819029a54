-- Proof that the books hold: app.verify_books() asks every rule of sec.books_rules().

CREATE FUNCTION app.verify_books(p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL)
    RETURNS TABLE (check_name text, ok boolean, detail text)
    -- STABLE: all checks see one moment, and it runs on a standby. Months are those of UTC. A sort of a million rows wants
    -- more memory than a charge.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' SET work_mem = '128MB' SET jit = off
    SET enable_nestloop = on SET enable_mergejoin = on AS $verify$
DECLARE
    v record;
    v_from timestamptz := coalesce(p_from, '-infinity');
    v_to timestamptz := coalesce(p_to, 'infinity');
    v_months_from timestamptz := date_trunc('month', v_from);
    v_months_to timestamptz := CASE WHEN isfinite(v_to) THEN date_trunc('month', v_to - interval '1 microsecond') + interval '1 month'
                                    ELSE v_to END;
    v_everything boolean := p_from IS NULL AND p_to IS NULL;
    v_archived bigint[];
    v_away date[];
    v_changed text;
    v_sound boolean;
    v_numbered boolean := false;
    v_found text[];
    v_places integer[] := '{}';
    v_names text[] := '{}';
    v_details text[] := '{}';
    v_events_before timestamptz := 'infinity';
    -- Keys of these months are remembered whatever settings.key_retention_days was in the meantime: 90 days is its least.
    v_keys_from bigint := to_char(now() - interval '90 days', 'YYMM')::bigint * 100000000000;
    v_month_ids_from bigint := CASE WHEN isfinite(v_months_from) THEN to_char(v_months_from, 'YYMM')::bigint * 100000000000
                                    ELSE (-1)::bigint << 62 END;
    v_month_ids_to bigint := CASE WHEN isfinite(v_months_to) THEN to_char(v_months_to, 'YYMM')::bigint * 100000000000
                                  ELSE 1::bigint << 62 END;
    v_ids_from bigint := v_month_ids_from;
    v_ids_to bigint := v_month_ids_to;
BEGIN
    PERFORM sec.refuse_outdated();
    IF v_from >= v_to THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_from is before p_to');
    END IF;
    PERFORM sec.require_sound_tables();
    v_changed := sec.outdated_view();
    IF v_changed IS NOT NULL THEN
        RETURN QUERY SELECT * FROM sec.outdated_view_row(v_changed);
        RETURN;
    END IF;
    SELECT coalesce(array_agg(to_char(a.month, 'YYMM')::bigint), '{}'),
           coalesce(array_agg(a.month) FILTER (WHERE to_regclass('mps_archive.point_ledger_' || to_char(a.month, 'YYYYMM')) IS NULL), '{}')
    INTO v_archived, v_away
    FROM app.archived_months a;
    IF isfinite(v_to) THEN
        -- A recharge is audited when it is confirmed, which may be long after it was asked for.
        SELECT greatest(v_to, max(t.posted_at)) + interval '1 hour' INTO v_events_before
        FROM app.transactions t WHERE t.created_at >= v_from AND t.created_at < v_to;
    END IF;
    IF v_everything THEN
        -- Autovacuum makes no statistics of partitioned tables. Without them the planner takes a million rows for a few, and
        -- would look each of them up.
        PERFORM set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true);
    ELSE
        -- Within a month, keys and orders know no time, but numbers: those between the lowest and the highest of the range.
        SELECT CASE WHEN v_from = v_months_from THEN v_month_ids_from ELSE coalesce(min(t.id), 0) END,
               CASE WHEN v_to = v_months_to THEN v_month_ids_to ELSE coalesce(max(t.id) + 1, 0) END
        INTO v_ids_from, v_ids_to
        FROM app.transactions t WHERE t.created_at >= v_from AND t.created_at < v_to;
    END IF;
    -- Numbers first: on them the short proofs build.
    FOR v IN SELECT r.place, r.checks, r.finds, p.sound, 'numbers' = ANY (r.checks) AS is_numbers
             FROM sec.books_rules() r LEFT JOIN sec.books_proofs() p ON p.place = r.place ORDER BY 5 DESC, 1 LOOP
        v_sound := false;
        IF v.sound IS NOT NULL AND v_everything AND v_numbered THEN
            EXECUTE 'SELECT x.sound FROM ' || v.sound || ' x' INTO v_sound
                USING v_from, v_to, v_archived, v_everything, v_events_before, v_months_from, v_months_to, v_keys_from,
                      v_ids_from, v_ids_to, v_month_ids_from, v_month_ids_to, v_away;
            IF v_sound IS NOT TRUE THEN
                RAISE DEBUG 'no short proof of %', v.checks;
            END IF;
        END IF;
        IF v_sound THEN
            v_found := array_fill('ok'::text, ARRAY[cardinality(v.checks)]);
        ELSE
            EXECUTE
                'SELECT array_agg(y.detail ORDER BY y.place) FROM ('
                || 'SELECT c.place, CASE WHEN count(f.what) = 0 THEN ''ok'' ELSE string_agg(f.what, ''; '' ORDER BY f.what) '
                || '            || CASE WHEN max(f.found) > 10 '
                || 'THEN format(''; and %s more'', max(f.found) - 10) ELSE '''' END END AS detail '
                || 'FROM unnest($14::text[]) WITH ORDINALITY c (name, place) LEFT JOIN ('
                || '    SELECT x.name, x.what, row_number() OVER (PARTITION BY x.name ORDER BY x.what) AS nth, '
                || '           count(*) OVER (PARTITION BY x.name) AS found FROM ' || v.finds || ' x'
                || ') f ON f.name = c.name AND f.nth <= 10 GROUP BY c.place, c.name) y'
                INTO v_found
                USING v_from, v_to, v_archived, v_everything, v_events_before, v_months_from, v_months_to, v_keys_from,
                      v_ids_from, v_ids_to, v_month_ids_from, v_month_ids_to, v_away, v.checks;
        END IF;
        v_numbered := v_numbered OR (v.is_numbers AND v_found = array_fill('ok'::text, ARRAY[cardinality(v.checks)]));
        v_places := v_places || array_fill(v.place, ARRAY[cardinality(v.checks)]);
        v_names := v_names || v.checks;
        v_details := v_details || v_found;
    END LOOP;
    RETURN QUERY
        SELECT x.name, x.detail = 'ok', x.detail FROM unnest(v_places, v_names, v_details) WITH ORDINALITY x (place, name, detail, nth)
        ORDER BY x.place, x.nth;
END
$verify$;
COMMENT ON FUNCTION app.verify_books(timestamptz, timestamptz) IS
    E'Proves the books: one row per check, with up to ten cards or transactions that break it.\n'
    'Of transactions asked for (created_at) from p_from to before p_to; NULL: everything that is not archived. A range reads its '
    'months only, so it compares a card with its movements where the last one lies in it; of keys and orders it looks at those '
    'whose numbers lie between the range''s. For operators, also on a standby.\n'
    'ok NULL, in one row named snapshot: nothing was checked, because a month was archived or a table changed after the snapshot '
    'was taken; ask again.\n'
    'Level: operator.\n'
    'Results: check_name, ok (whether it holds), detail (ok, or what breaks it).\n'
    'Errors: INVALID_ARGUMENT, SCHEMA_OUTDATED.';
