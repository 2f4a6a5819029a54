-- The books from the audit log alone: app.rebuild_from_log() asks every family to write its tables anew.
--
-- A family says in sec.logged_of_FAMILY() which events it writes, and what each must have in its context for that. So an event that
-- nobody knows, or of a release that wrote less, is refused before anything is written. In sec.rebuilds_of_FAMILY() it names its steps
-- by their place: functions that write tables and return what they wrote. They run as mps_owner under the settings of
-- app.rebuild_from_log(). Functions that only read the log have no SET, as the rules of the books, so that the server takes them into
-- the query of the step.

CREATE FUNCTION sec.logged_of_kernel() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('level.granted', '{}'::text[]), ('level.revoked', '{}'), ('books.rebuilt', '{}'), ('mode.set', '{}')
$$;
COMMENT ON FUNCTION sec.logged_of_kernel() IS 'The events of the kernel. Internal: sec.logged_actions().';

CREATE FUNCTION sec.refuse_log(p_event bigint, p_why text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.raise('STATUS_CONFLICT', format('event %s of the log: %s. Nothing was rebuilt', p_event, p_why));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.refuse_log(bigint, text) IS
    'Refuses to rebuild from a log that has this event; in the place of what could not be found. Internal. Errors: STATUS_CONFLICT.';

CREATE FUNCTION sec.require_empty_books() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- What a database has before anybody uses it, and the log itself.
    c_there constant text[] := ARRAY['app.settings', 'app.membership_levels', 'app.business_day_rules', 'app.job_runs',
                                     'app.month_rehearsals', 'app.closed_months', 'app.operating_mode', 'audit.event_log', 'audit.seals',
                                     'audit.seal_cut', 'audit.trees', 'audit.tree_chunks', 'audit.tree_nodes', 'audit.heads'];
    v_table text;
    v_has_rows boolean;
BEGIN
    -- Who registers or charges waits, and finds the books as they are then.
    LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
    FOR v_table IN SELECT t.tab FROM sec.tables() t ORDER BY t.tab LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', v_table);
        CONTINUE WHEN v_table = ANY (c_there);
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', v_table) INTO v_has_rows;
        IF v_has_rows THEN
            PERFORM sec.raise('STATUS_CONFLICT',
                              format('only where there is nothing but the log: %s has rows. Nothing was rebuilt', v_table));
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.require_empty_books() IS
    'Locks every table against others'' writing, and refuses where one has rows that the log is to bring. Internal. Errors: '
    'STATUS_CONFLICT.';

CREATE FUNCTION sec.require_whole_events() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    SELECT e.id, e.action, e.object_id, e.happened_at, a.action IS NULL AS is_unknown,
           (SELECT string_agg(n.name, ', ') FROM unnest(a.needs) n (name) WHERE NOT e.context ? n.name) AS lacks
    INTO v
    FROM audit.event_log e LEFT JOIN sec.logged_actions() a ON a.action = e.action
    WHERE (e.context ?& a.needs) IS NOT TRUE ORDER BY e.id LIMIT 1;
    IF v.is_unknown THEN
        PERFORM sec.refuse_log(v.id, format('nothing of this release writes %s of %s', v.action, v.object_id));
    ELSIF FOUND THEN
        PERFORM sec.refuse_log(v.id, format('%s of %s, %s, does not say: %s, as those of 0.3.0 and later do',
                                            v.action, v.object_id, v.happened_at, v.lacks));
    END IF;
END
$$;
COMMENT ON FUNCTION sec.require_whole_events() IS
    'Refuses a log in which an event is unknown, or lacks what the books need of it, and names the first. Internal. Errors: '
    'STATUS_CONFLICT.';

CREATE FUNCTION sec.move_sequences() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT setval(s.seq, s.used) FROM sec.sequence_states() s WHERE s.used > s.given
$$;
COMMENT ON FUNCTION sec.move_sequences() IS 'Has every sequence go on after the greatest number that is used. Internal.';

CREATE FUNCTION app.rebuild_from_log() RETURNS TABLE (what text, n bigint)
    -- Without statistics of what has just been loaded the planner takes millions of events for a few.
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' SET datestyle = 'ISO' SET work_mem = '256MB' SET jit = off
    SET enable_nestloop = off SET enable_mergejoin = off AS $rebuild$
DECLARE
    v record;
    v_done jsonb := '{}';
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: an older view would not show what was there before the locks');
    END IF;
    -- One at a time, and no job meanwhile, which locks the log before all else: of two that have it neither would get what it locks next.
    LOCK TABLE audit.event_log IN SHARE ROW EXCLUSIVE MODE;
    PERFORM sec.refuse_read_only();
    PERFORM sec.require_empty_books();
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    PERFORM sec.require_whole_events();
    -- At once, so that events of what follows come after all others.
    PERFORM sec.move_sequences();
    FOR v IN SELECT DISTINCT date_trunc('month', e.happened_at)::date AS month FROM audit.event_log e ORDER BY 1 LOOP
        PERFORM sec.make_month(v.month);
    END LOOP;
    FOR v IN SELECT s.step FROM sec.rebuild_steps() s ORDER BY s.place LOOP
        FOR what, n IN EXECUTE format('SELECT x.what, x.n FROM sec.%I() x', v.step) LOOP
            v_done := v_done || jsonb_build_object(what, n);
            RETURN NEXT;
        END LOOP;
    END LOOP;
    PERFORM sec.move_sequences();
    PERFORM sec.record_event('books.rebuilt', 'books', 'books', v_done);
END
$rebuild$;
COMMENT ON FUNCTION app.rebuild_from_log() IS
    E'Writes the books anew from the audit log alone, into a database that has nothing else.\n'
    'Members, cards, bindings, merchants and their operators, settings, levels, every movement with its number and the balance after it, '
    'points, refunds, recharges that wait, money in suspense: balances, points, levels and refunds to the last digit. What the log does '
    'not have is lost: names of members, phones and e-mails, pay codes, idempotency keys and order ids, reasons and tags of payments. '
    'First of all audit.verify() tells whether the log is whole. Under READ COMMITTED only; all or nothing. Audited.\n'
    'Level: operator.\n'
    'Results: what, n (how many of it were written).\n'
    'Errors: STATUS_CONFLICT where something is there already, or an event of the log is not enough, which the detail names; '
    'NOT_ALLOWED, SCHEMA_OUTDATED.';
