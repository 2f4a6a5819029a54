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
    v_cut xid8;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_read_only();
    -- One sealer at a time. A lock on a table of our own, because an advisory lock is anybody's to take.
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    IF EXISTS (SELECT FROM audit.seal_cut c WHERE sec.cut_is_of_here(c.xid)) THEN
        RETURN false;
    END IF;
    -- Event ids are drawn before the commit, so a lower one may become visible later. Whoever drew one has a transaction id by
    -- then: the cut comes after the look at the sequence.
    SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END INTO v_up_to FROM audit.event_id_seq q;
    v_cut := sec.cut('the cut is noted first thing in a transaction: CALL audit.seal()');
    INSERT INTO audit.seal_cut AS c (up_to, xid, noted_at) VALUES (v_up_to, v_cut, clock_timestamp())
    ON CONFLICT (singleton) DO UPDATE SET up_to = excluded.up_to, xid = excluded.xid, noted_at = excluded.noted_at;
    RETURN true;
END
$$;
COMMENT ON FUNCTION audit.seal_note() IS
    E'Notes how far audit.seal() may go, unless that is noted already; returns whether it did.\n'
    'Internal. Errors: STATUS_CONFLICT.\n'
    'Level: operator.';

CREATE FUNCTION audit.seal_ready() RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT EXISTS (SELECT FROM audit.seal_cut c WHERE sec.cut_has_passed(c.xid))
$$;
COMMENT ON FUNCTION audit.seal_ready() IS
    E'Whether every transaction has ended that could have drawn an event id up to the noted cut.\n'
    'Internal.\n'
    'Level: operator.';

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
    PERFORM sec.refuse_read_only();
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    SELECT c.up_to INTO v_up_to FROM audit.seal_cut c WHERE sec.cut_has_passed(c.xid);
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
        INSERT INTO audit.seals (seal_no, first_id, last_id, events, first_at, last_at, sealed_at,
                                 ids, digests, events_hash, prev_hash, hash)
        VALUES (coalesce(v_last_no, 0) + 1, v.ids[1], v.ids[v.events], v.events, v.first_at, v.last_at, v_sealed_at,
                v.ids, v.digests, v.events_hash, v_last_hash,
                audit.seal_hash(coalesce(v_last_no, 0) + 1, v.ids, v.digests, v.first_at, v.last_at, v_sealed_at,
                                v.events_hash, v_last_hash));
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
    'One batch of audit.seal().\n'
    'Level: operator.';

CREATE PROCEDURE audit.seal()
    LANGUAGE plpgsql AS $$
DECLARE
    v_first boolean := true;
    v_events bigint;
BEGIN
    IF sec.jobs_rest() THEN
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
    CALL audit.sign_heads();
END
$$;
COMMENT ON PROCEDURE audit.seal() IS
    E'Seals the audit events of every transaction that has ended: SHA-256, chained in batches of 1000 (audit.seals).\n'
    'Charges neither wait nor pay for it. Safe beside itself. What a long transaction holds up is left to the next run. Where '
    'mps.seal_key_file is set, receipts come from it: audit.sign_heads().\n'
    'Level: operator.';

CREATE FUNCTION audit.head() RETURNS TABLE (seal_no bigint, last_event_id bigint, hash text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT s.seal_no, s.last_id, encode(s.hash, 'hex') FROM audit.seals s ORDER BY s.seal_no DESC LIMIT 1
$$;
COMMENT ON FUNCTION audit.head() IS
    E'The last seal: its number, its last event and its hash in hexadecimal.\n'
    'Keep the hash somewhere else: audit.verify(p_head => ...) proves later that nothing before it was changed, not even the '
    'seals. No row before the first seal.\n'
    'Level: operator.\n'
    'Results: seal_no, last_event_id (the last event it covers), hash (64 digits).';
