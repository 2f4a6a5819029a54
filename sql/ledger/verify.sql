-- Comparing the audit log with its seals.

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

    SELECT coalesce(array_agg(to_char(a.month, 'YYYY-MM') ORDER BY a.month), '{}'),
           coalesce(range_agg(tstzrange(a.month, a.month + interval '1 month')), '{}')
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
        SELECT s.seal_no, s.first_id, s.last_id, coalesce(lag(s.seal_no) OVER w, 0) AS before_no,
               coalesce(lag(s.last_id) OVER w, 0) AS before_last,
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
            v_found := v_found || format('seal %s was changed: events %s to %s cannot be checked',
                                 v.seal_no, v.before_last + 1, v.next_first - 1);
            v_unsure := v_unsure + int8multirange(int8range(v.before_last, greatest(v.next_first, v.before_last), '()'));
        END IF;
    END LOOP;
    check_name := 'seals'; ok := cardinality(v_found) = 0; detail := sec.first_ten(v_found);
    RETURN NEXT;

    SELECT count(*) > 0, max(s.seal_no) INTO ok, v_seals FROM audit.seals s
    WHERE s.hash = CASE WHEN p_head ~* '^([0-9a-f]{2})+$' THEN decode(p_head, 'hex') END;
    check_name := 'head';
    detail := CASE WHEN p_head IS NULL THEN 'ok; not checked: no head was given'
                   WHEN ok THEN format('ok; it is seal %s', v_seals)
                   ELSE 'no seal has this hash: these are not the seals that it was taken from' END;
    ok := ok OR p_head IS NULL;
    RETURN NEXT;

    IF EXISTS (SELECT FROM audit.heads) THEN
        v_found := ARRAY(SELECT sec.check_heads());
        check_name := 'heads'; ok := cardinality(v_found) = 0; detail := sec.first_ten(v_found);
        RETURN NEXT;
    END IF;

    -- The ids between two whole seals, where what is there has the hash of the second: nothing of it was changed, removed,
    -- inserted or reordered. What is left of the chosen is compared event by event.
    SELECT coalesce(range_agg(int8range(coalesce(b.last_id, -1), s.last_id, '(]')) FILTER (WHERE x.same), '{}'),
           coalesce(sum(s.events) FILTER (WHERE x.same), 0)
    INTO v_same, v_events
    FROM audit.seals s LEFT JOIN audit.seals b ON b.seal_no = s.seal_no - 1,
         LATERAL (SELECT s.seal_no <@ v_intact AND s.seal_no <> ALL (v_broken)
                         AND (s.seal_no = 1 OR b.seal_no <> ALL (v_broken)) IS TRUE AS same) x
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
                   CASE WHEN o.sealed_id IS NULL THEN 'inserted' WHEN o.id IS NULL THEN 'removed'
                        WHEN t.id IS NULL THEN 'changed' ELSE 'reordered' END AS kind,
                   CASE WHEN t.id IS NULL THEN format('event %%s', coalesce(o.sealed_id, o.id))
                        ELSE format('event %%s is what was sealed as %%s', o.id, t.id) END AS what
            FROM odd o LEFT JOIN LATERAL (SELECT x.sealed_id AS id FROM odd x WHERE x.was = o.now AND x.sealed_id <> o.id
                                          ORDER BY 1 LIMIT 1) t ON true
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
              || CASE WHEN cardinality(v_missing) > 0
                   THEN '; not checked, archived and no longer here: ' || array_to_string(v_missing, ', ') ELSE '' END;
    RETURN NEXT;
END
$verify$;
COMMENT ON FUNCTION audit.verify(timestamptz, timestamptz, text) IS
    E'Compares the audit log with its seals: one row per check, with up to ten events or seals that break it.\n'
    'From p_from to before p_to (happened_at); NULL: everything, archived months included. p_head: a hash of audit.head() that '
    'was kept elsewhere; without it, whoever rewrote the log and all its seals, or took the last ones away, is not found. Events '
    'that are not sealed yet are not looked at. Where heads are signed (audit.sign_heads()), also whether they, and the trees under '
    'them, are as they were signed. For operators, also on a standby.\n'
    'ok NULL, in one row named snapshot: nothing was checked, because a month was archived or a table changed after the snapshot '
    'was taken; ask again.\n'
    'Level: operator.\n'
    'Results: check_name, ok (whether it holds), detail (ok, or what breaks it).\n'
    'Errors: INVALID_ARGUMENT, SCHEMA_OUTDATED.';
