-- The cut: from when on nothing older can still appear. What is numbered or dated before its commit (events, months, what is to be
-- settled or handed on) may become visible after something later. So whoever wants all of it up to a point first notes the point,
-- then takes a cut, in a transaction of its own, and under a lock on the note, so that no later note is taken for one that was there
-- before the cut. Once the cut has passed, nothing up to the point can appear any more, if only whoever writes it has a transaction
-- id by the time it looks at the point or draws its number.

CREATE FUNCTION sec.cut(p_else text) RETURNS xid8
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        -- This transaction's id is from before the point: others that began since could have looked before it was noted.
        PERFORM sec.raise('STATUS_CONFLICT', p_else);
    END IF;
    -- The snapshot's xmax would not do: it is the next after the last one that ended, and transactions beyond it may be running.
    RETURN pg_current_xact_id();
END
$$;
COMMENT ON FUNCTION sec.cut(text) IS
    'Takes a cut: every transaction that could have looked before this call has an id below the one returned, or none. Must come before '
    'anything that writes. Errors: STATUS_CONFLICT with p_else as its detail, this transaction has an id already. Internal.';

CREATE FUNCTION sec.cut_has_passed(p_cut xid8) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_snapshot_xmin(pg_current_snapshot()) >= p_cut
$$;
COMMENT ON FUNCTION sec.cut_has_passed(xid8) IS
    'Whether every transaction with an id below a cut has ended, and what it wrote is to be seen. NULL for no cut. Internal.';

CREATE FUNCTION sec.cut_is_of_here(p_cut xid8) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p_cut < pg_snapshot_xmax(pg_current_snapshot())
$$;
COMMENT ON FUNCTION sec.cut_is_of_here(xid8) IS
    'Whether a cut that is kept in a table can be of this cluster: ids of another, which a dump brings along, may be far ahead, and are to '
    'be taken anew. NULL for no cut. Internal.';
