-- The seals over the audit log: audit.seal() makes them, audit.verify() checks them.

CREATE FUNCTION audit.event_digest() RETURNS text
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'sha256(convert_to(jsonb_build_array((extract(epoch FROM e.happened_at) * 1000000)::bigint, e.actor_user_id, e.actor_role, '
        || 'e.action, e.object_type, e.object_id, e.context)::text, ''UTF8''))'
$$;
COMMENT ON FUNCTION audit.event_digest() IS
    E'The SQL expression for the SHA-256 of an event e without its id: a JSON array of its columns, the time in microseconds since '
    '1970.\n'
    'One text for sealing and verifying; inlined, because a call per event would cost more than the hash. Internal.';

CREATE FUNCTION audit.seal_hash(p_seal_no bigint, p_ids bigint[], p_digests bigint[], p_first_at timestamptz,
    p_last_at timestamptz, p_sealed_at timestamptz, p_events_hash bytea, p_prev_hash bytea)
    RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sha256(convert_to(jsonb_build_array('mps seal 1', p_seal_no, p_ids, p_digests,
        (extract(epoch FROM p_first_at) * 1000000)::bigint, (extract(epoch FROM p_last_at) * 1000000)::bigint,
        (extract(epoch FROM p_sealed_at) * 1000000)::bigint, encode(p_events_hash, 'hex'), encode(p_prev_hash, 'hex'))::text, 'UTF8'))
$$;
COMMENT ON FUNCTION audit.seal_hash(bigint, bigint[], bigint[], timestamptz, timestamptz, timestamptz, bytea, bytea) IS
    E'The hash of a seal: SHA-256 over a JSON array of everything in it and the hash of the seal before.\n'
    'Internal.';

CREATE FUNCTION audit.seal_note() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_up_to bigint;
    v_xid xid8;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_shadows();
    -- One sealer at a time. A lock on a table of our own, because an advisory lock is anybody's to take.
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM audit.seal_cut c WHERE c.xid < pg_snapshot_xmax(pg_current_snapshot())) THEN
        RETURN false;
    END IF;
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'the cut is noted first thing in a transaction: CALL audit.seal()');
    END IF;
    -- Event ids are drawn before the commit, so a lower one may become visible later. Whoever drew one has a transaction id
    -- by then, and all of those are below the one that is taken here, after the sequence was read: once they have ended,
    -- nothing up to up_to can appear any more. (The snapshot's xmax would not do: it is the next after the last one that
    -- ended, and transactions beyond it may be running.)
    SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END INTO v_up_to FROM audit.event_id_seq q;
    v_xid := pg_current_xact_id();
    INSERT INTO audit.seal_cut AS c (up_to, xid, noted_at) VALUES (v_up_to, v_xid, clock_timestamp())
    ON CONFLICT (singleton) DO UPDATE SET up_to = excluded.up_to, xid = excluded.xid, noted_at = excluded.noted_at;
    RETURN true;
END
$$;
COMMENT ON FUNCTION audit.seal_note() IS
    E'Notes how far audit.seal() may go, unless that is noted already; returns whether it did.\n'
    'Internal. Errors: STATUS_CONFLICT.';

CREATE FUNCTION audit.seal_ready() RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT EXISTS (SELECT FROM audit.seal_cut c WHERE pg_snapshot_xmin(pg_current_snapshot()) >= c.xid)
$$;
COMMENT ON FUNCTION audit.seal_ready() IS
    E'Whether every transaction has ended that could have drawn an event id up to the noted cut.\n'
    'Internal.';

CREATE FUNCTION audit.seal_batch() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off AS $$
DECLARE
    c_batch_events constant integer := 1000;
    v_up_to bigint;
    v_last_no bigint;
    v_last_id bigint;
    v_last_hash bytea;
    v record;
    v_sealed_at timestamptz := clock_timestamp();
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_shadows();
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    SELECT c.up_to INTO v_up_to FROM audit.seal_cut c WHERE pg_snapshot_xmin(pg_current_snapshot()) >= c.xid;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT s.seal_no, s.last_id, s.hash INTO v_last_no, v_last_id, v_last_hash FROM audit.seals s ORDER BY s.seal_no DESC LIMIT 1;
    EXECUTE format($q$
        SELECT count(*)::integer AS events, min(x.happened_at) AS first_at, max(x.happened_at) AS last_at,
               array_agg(x.id ORDER BY x.id) AS ids,
               array_agg(('x' || encode(substr(x.digest, 1, 8), 'hex'))::bit(64)::bigint ORDER BY x.id) AS digests,
               sha256(string_agg(int8send(x.id) || x.digest, '' ORDER BY x.id)) AS events_hash
        FROM (SELECT e.id, e.happened_at, %s AS digest FROM audit.event_log e WHERE e.id > $1 AND e.id <= $2 ORDER BY e.id LIMIT $3) x
        $q$, audit.event_digest())
        INTO v USING coalesce(v_last_id, 0), v_up_to, c_batch_events;
    IF v.events > 0 THEN
        v_last_hash := coalesce(v_last_hash, decode(repeat('00', 32), 'hex'));
        INSERT INTO audit.seals (seal_no, first_id, last_id, events, first_at, last_at, sealed_at, ids, digests, events_hash, prev_hash, hash)
        VALUES (coalesce(v_last_no, 0) + 1, v.ids[1], v.ids[v.events], v.events, v.first_at, v.last_at, v_sealed_at,
                v.ids, v.digests, v.events_hash, v_last_hash,
                audit.seal_hash(coalesce(v_last_no, 0) + 1, v.ids, v.digests, v.first_at, v.last_at, v_sealed_at, v.events_hash, v_last_hash));
    END IF;
    IF v.events < c_batch_events THEN
        -- All of it is sealed: the next cut may be noted.
        DELETE FROM audit.seal_cut;
    END IF;
    RETURN v.events;
END
$$;
COMMENT ON FUNCTION audit.seal_batch() IS
    E'Seals the next 1000 events up to the noted cut, if that is ready; returns how many.\n'
    'One batch of audit.seal().';

CREATE PROCEDURE audit.seal()
    LANGUAGE plpgsql AS $$
DECLARE
    v_first boolean := true;
    v_events bigint;
BEGIN
    IF pg_catalog.pg_is_in_recovery() THEN
        RAISE NOTICE 'standby: nothing to do';
        RETURN;
    END IF;
    -- Every batch must see what was committed before it, whatever the session's default is: an older snapshot would read the
    -- last seal as it was before the wait for it.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    -- Twice: what an earlier run had to leave, and what has come since.
    FOR v_round IN 1 .. 2 LOOP
        PERFORM audit.seal_note();
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        -- At most three seconds for the transactions that were running; what they hold up is left to the next run.
        FOR v_try IN 1 .. 60 LOOP
            EXIT WHEN audit.seal_ready();
            COMMIT;
            PERFORM pg_catalog.pg_sleep(0.05);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        END LOOP;
        LOOP
            v_events := audit.seal_batch();
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            EXIT WHEN v_events OPERATOR(pg_catalog.=) 0;
            PERFORM sec.job_batch('seal', v_events, v_first);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            v_first := false;
        END LOOP;
    END LOOP;
    PERFORM sec.job_batch('seal', 0, v_first);
    COMMIT;
END
$$;
COMMENT ON PROCEDURE audit.seal() IS
    E'Seals the audit events of every transaction that has ended: SHA-256, chained in batches of 1000 (audit.seals).\n'
    'Charges neither wait nor pay for it. Safe beside itself. What a long transaction holds up is left to the next run.';

CREATE FUNCTION audit.head() RETURNS TABLE (seal_no bigint, last_event_id bigint, hash text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT s.seal_no, s.last_id, encode(s.hash, 'hex') FROM audit.seals s ORDER BY s.seal_no DESC LIMIT 1
$$;
COMMENT ON FUNCTION audit.head() IS
    E'The last seal: its number, its last event and its hash in hexadecimal.\n'
    'Keep the hash somewhere else: audit.verify(p_head => ...) proves later that nothing before it was changed, not even the '
    'seals. No row before the first seal.\n'
    'Results: seal_no, last_event_id (the last event it covers), hash (64 digits).';

CREATE FUNCTION sec.first_ten(p_findings text[]) RETURNS text
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN cardinality(p_findings) = 0 THEN 'ok'
                ELSE array_to_string(p_findings[1:10], '; ')
                     || CASE WHEN cardinality(p_findings) > 10 THEN format('; and %s more', cardinality(p_findings) - 10) ELSE '' END END
$$;
COMMENT ON FUNCTION sec.first_ten(text[]) IS 'Findings as one line: ok, or the first ten and how many more. Internal.';

CREATE FUNCTION audit.event_logs() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT 'SELECT e.* FROM audit.event_log e' || coalesce(string_agg(format(' UNION ALL SELECT e.* FROM %s e', x.log), '' ORDER BY a.month), '')
    FROM app.archived_months a, LATERAL (SELECT to_regclass('mps_archive.event_log_' || to_char(a.month, 'YYYYMM')) AS log) x
    WHERE x.log IS NOT NULL
$$;
COMMENT ON FUNCTION audit.event_logs() IS
    E'The query for every event that is in this database, archived months included.\n'
    'Internal.';

CREATE FUNCTION audit.intact_seals(p_seals int8range) RETURNS int8multirange
    -- Joining each seal to a subquery of its own would do without this function, but such a join is never shared among processes.
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_intact int8multirange;
BEGIN
    EXECUTE format($q$
        SELECT range_agg(int8range(s.seal_no, s.seal_no, '[]'))
        FROM audit.seals s LEFT JOIN audit.seals b ON b.seal_no = s.seal_no - 1,
             LATERAL (SELECT count(*) AS events, sha256(string_agg(int8send(e.id) || %s, '' ORDER BY e.id)) AS hash FROM (%s) e
                      WHERE e.id > CASE WHEN s.seal_no = 1 THEN -1 ELSE b.last_id END AND e.id <= s.last_id) x
        WHERE s.seal_no >= $1 AND s.seal_no < $2 AND x.events = s.events AND x.hash = s.events_hash
        $q$, audit.event_digest(), audit.event_logs())
        INTO v_intact USING lower(p_seals), upper(p_seals);
    RETURN v_intact;
END
$$;
COMMENT ON FUNCTION audit.intact_seals(int8range) IS
    E'Which of these seals have exactly their events between the end of the seal before and their own: the same ids with the same '
    'contents, none more and none less.\n'
    'Internal.';

CREATE FUNCTION audit.verify(p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL, p_head text DEFAULT NULL)
    RETURNS TABLE (check_name text, ok boolean, detail text)
    -- Seals are few, but each stands for a thousand events to hash: worth several processes.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET quote_all_identifiers = off SET timezone = 'UTC' SET work_mem = '64MB' SET jit = off
    SET min_parallel_table_scan_size = 0 AS $verify$
DECLARE
    c_piece constant integer := 16;
    v record;
    v_from timestamptz := coalesce(p_from, '-infinity');
    v_to timestamptz := coalesce(p_to, 'infinity');
    v_found text[] := '{}';
    v_broken bigint[];
    v_intact int8multirange;
    v_same int8multirange;
    v_chosen int8range;
    v_unsure int8multirange := '{}';
    v_missing text[];
    v_missing_at tstzmultirange;
    v_changed text[];
    v_removed text[];
    v_inserted text[];
    v_reordered text[];
    v_events bigint;
    v_seals bigint;
BEGIN
    PERFORM sec.refuse_outdated();
    IF v_from >= v_to THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_from is before p_to');
    END IF;
    PERFORM sec.require_sound_tables();
    detail := sec.outdated_view();
    IF detail IS NOT NULL THEN
        RETURN QUERY SELECT * FROM sec.outdated_view_row(detail);
        RETURN;
    END IF;

    SELECT coalesce(array_agg(to_char(a.month, 'YYYY-MM') ORDER BY a.month), '{}'), coalesce(range_agg(tstzrange(a.month, a.month + interval '1 month')), '{}')
    INTO v_missing, v_missing_at
    FROM app.archived_months a WHERE to_regclass('mps_archive.event_log_' || to_char(a.month, 'YYYYMM')) IS NULL;
    SELECT int8range(min(s.seal_no) FILTER (WHERE s.last_at >= v_from), max(s.seal_no) FILTER (WHERE s.first_at < v_to), '[]') INTO v_chosen
    FROM audit.seals s
    HAVING min(s.seal_no) FILTER (WHERE s.last_at >= v_from) <= max(s.seal_no) FILTER (WHERE s.first_at < v_to);
    -- The costly part, and so cut in pieces that several processes can share: which seals are not what their hash says, and
    -- which of the chosen ones have exactly their events. What no piece vouches for, be it because its first seal is gone, is
    -- looked at event by event below. (EXECUTE, because a SELECT ... INTO would ask for two rows, and that is never shared.)
    EXECUTE $q$
        SELECT coalesce(array_agg(x.seal_no) FILTER (WHERE x.whole IS NOT TRUE), '{}'), coalesce(range_agg(x.intact), '{}')
        FROM (SELECT s.seal_no,
                     s.hash = audit.seal_hash(s.seal_no, s.ids, s.digests, s.first_at, s.last_at, s.sealed_at, s.events_hash, s.prev_hash)
                         AND (s.first_id, s.last_id, s.events) = (s.ids[1], s.ids[cardinality(s.ids)], cardinality(s.ids)) AS whole,
                     CASE WHEN s.seal_no % $2 = 1 AND int8range(s.seal_no, s.seal_no + $2) && $1
                          THEN audit.intact_seals(int8range(s.seal_no, s.seal_no + $2) * $1) END AS intact
              FROM audit.seals s OFFSET 0) x$q$
        INTO v_broken, v_intact USING v_chosen, c_piece;

    -- The chain, always all of it: every seal is what its hash says, and follows the one before.
    FOR v IN
        SELECT s.seal_no, s.first_id, s.last_id, coalesce(lag(s.seal_no) OVER w, 0) AS before_no, coalesce(lag(s.last_id) OVER w, 0) AS before_last,
               coalesce(lead(s.first_id) OVER w, s.last_id + 1) AS next_first,
               s.prev_hash = coalesce(lag(s.hash) OVER w, decode(repeat('00', 32), 'hex')) AS follows,
               s.seal_no <> ALL (v_broken) AS whole
        FROM audit.seals s WINDOW w AS (ORDER BY s.seal_no)
    LOOP
        IF v.seal_no <> v.before_no + 1 THEN
            v_found := v_found || format('seal %s follows seal %s: what was between them is missing', v.seal_no, v.before_no);
            v_unsure := v_unsure + int8multirange(int8range(v.before_last, greatest(v.first_id, v.before_last), '()'));
        ELSIF NOT v.follows THEN
            v_found := v_found || format('seal %s does not follow seal %s as that is now', v.seal_no, v.before_no);
        END IF;
        IF NOT v.whole THEN
            -- Whatever it says: its events are those between its neighbours', and cannot be compared with anything.
            v_found := v_found || format('seal %s was changed: events %s to %s cannot be checked', v.seal_no, v.before_last + 1, v.next_first - 1);
            v_unsure := v_unsure + int8multirange(int8range(v.before_last, greatest(v.next_first, v.before_last), '()'));
        END IF;
    END LOOP;
    check_name := 'seals'; ok := cardinality(v_found) = 0; detail := sec.first_ten(v_found);
    RETURN NEXT;

    SELECT count(*) > 0, max(s.seal_no) INTO ok, v_seals FROM audit.seals s
    WHERE s.hash = CASE WHEN p_head ~* '^([0-9a-f]{2})+$' THEN decode(p_head, 'hex') END;
    check_name := 'head';
    detail := CASE WHEN p_head IS NULL THEN 'ok; not checked: no head was given'
                   WHEN ok THEN format('ok; it is seal %s', v_seals) ELSE 'no seal has this hash: these are not the seals that it was taken from' END;
    ok := ok OR p_head IS NULL;
    RETURN NEXT;

    -- The ids between two whole seals, where what is there has the hash of the second: nothing of it was changed, removed,
    -- inserted or reordered. What is left of the chosen is compared event by event.
    SELECT coalesce(range_agg(int8range(coalesce(b.last_id, -1), s.last_id, '(]')) FILTER (WHERE x.same), '{}'),
           coalesce(sum(s.events) FILTER (WHERE x.same), 0)
    INTO v_same, v_events
    FROM audit.seals s LEFT JOIN audit.seals b ON b.seal_no = s.seal_no - 1,
         LATERAL (SELECT s.seal_no <@ v_intact AND s.seal_no <> ALL (v_broken) AND (s.seal_no = 1 OR b.seal_no <> ALL (v_broken)) IS TRUE AS same) x
    WHERE s.seal_no <@ v_chosen;
    EXECUTE format($q$
        WITH chosen AS (
            SELECT s.seal_no, s.first_id, s.last_id, s.first_at, s.last_at, s.ids, s.digests, s.events_hash,
                   tstzrange(s.first_at, s.last_at, '[]') && $5 AS has_missing
            FROM audit.seals s
            WHERE s.seal_no <@ $6),
        -- One stretch of ids: whatever lies in it and is in none of its seals was inserted.
        stretch AS (
            SELECT CASE WHEN $1 = '-infinity' THEN 0 ELSE min(c.first_id) END AS first_id, max(c.last_id) AS last_id,
                   least($1, min(c.first_at)) AS first_at, greatest($2, max(c.last_at) + interval '1 microsecond') AS last_at
            FROM chosen c),
        sealed AS (SELECT c.seal_no, c.has_missing, u.id, u.digest FROM chosen c, unnest(c.ids, c.digests) u (id, digest)
                   WHERE c.seal_no <> ALL ($3) AND NOT c.last_id <@ $7),
        present AS (
            SELECT e.id, %s AS digest FROM (%s) e
            WHERE e.id >= (SELECT s.first_id FROM stretch s) AND e.id <= (SELECT s.last_id FROM stretch s)
              AND e.happened_at >= (SELECT s.first_at FROM stretch s) AND e.happened_at < (SELECT s.last_at FROM stretch s)
              AND NOT e.id <@ $7),
        compared AS MATERIALIZED (
            SELECT s.seal_no, s.id AS sealed_id, s.has_missing, s.digest AS was, p.id, p.digest AS full_digest,
                   ('x' || encode(substr(p.digest, 1, 8), 'hex'))::bit(64)::bigint AS now
            FROM sealed s FULL JOIN present p ON p.id = s.id),
        odd AS MATERIALIZED (
            SELECT c.* FROM compared c
            WHERE (c.sealed_id IS NULL AND NOT c.id <@ $4) OR (c.id IS NULL AND NOT c.has_missing) OR c.now <> c.was),
        named AS (
            SELECT coalesce(o.sealed_id, o.id) AS id,
                   CASE WHEN o.sealed_id IS NULL THEN 'inserted' WHEN o.id IS NULL THEN 'removed' WHEN t.id IS NULL THEN 'changed' ELSE 'reordered' END AS kind,
                   CASE WHEN t.id IS NULL THEN format('event %%s', coalesce(o.sealed_id, o.id))
                        ELSE format('event %%s is what was sealed as %%s', o.id, t.id) END AS what
            FROM odd o LEFT JOIN LATERAL (SELECT x.sealed_id AS id FROM odd x WHERE x.was = o.now AND x.sealed_id <> o.id ORDER BY 1 LIMIT 1) t ON true
            UNION ALL
            -- An event that was forged to the first eight bytes.
            SELECT min(d.sealed_id), 'changed', format('one of the events of seal %%s', d.seal_no)
            FROM compared d JOIN chosen c ON c.seal_no = d.seal_no
            WHERE d.seal_no IS NOT NULL AND NOT d.has_missing
            GROUP BY d.seal_no, c.events_hash
            HAVING sha256(string_agg(int8send(d.id) || d.full_digest, '' ORDER BY d.id)) IS DISTINCT FROM c.events_hash
               AND d.seal_no <> ALL (ARRAY(SELECT o.seal_no FROM odd o WHERE o.seal_no IS NOT NULL)))
        SELECT coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'changed'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'removed'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'inserted'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'reordered'), '{}'),
               (SELECT count(*) FROM compared c WHERE c.id = c.sealed_id) + $8, (SELECT count(*) FROM chosen)
        FROM named n
        $q$, audit.event_digest(), audit.event_logs())
        INTO v_changed, v_removed, v_inserted, v_reordered, v_events, v_seals
        USING v_from, v_to, v_broken, v_unsure, v_missing_at, v_chosen, v_same, v_events;
    RETURN QUERY
        SELECT x.name, cardinality(x.found) = 0, sec.first_ten(x.found)
        FROM (VALUES ('events_changed', v_changed), ('events_removed', v_removed),
                     ('events_inserted', v_inserted), ('events_reordered', v_reordered)) x (name, found);
    check_name := 'compared';
    ok := true;
    detail := format('ok; %s events with %s seals', v_events, v_seals)
              || CASE WHEN cardinality(v_missing) > 0 THEN '; not checked, archived and no longer here: ' || array_to_string(v_missing, ', ') ELSE '' END;
    RETURN NEXT;
END
$verify$;
COMMENT ON FUNCTION audit.verify(timestamptz, timestamptz, text) IS
    E'Compares the audit log with its seals: one row per check, with up to ten events or seals that break it.\n'
    'From p_from to before p_to (happened_at); NULL: everything, archived months included. p_head: a hash of audit.head() that '
    'was kept elsewhere; without it, whoever rewrote the log and all its seals, or took the last ones away, is not found. Events '
    'that are not sealed yet are not looked at. For operators, also on a standby.\n'
    'ok NULL, in one row named snapshot: nothing was checked, because a month was archived or a table changed after the snapshot '
    'was taken; ask again.\n'
    'Results: check_name, ok (whether it holds), detail (ok, or what breaks it).\n'
    'Errors: INVALID_ARGUMENT, SCHEMA_OUTDATED.';
