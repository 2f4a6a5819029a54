-- The sequences: numbers of events in an order that the seals can rely on, and what a DBA can have changed about them.

CREATE FUNCTION sec.next_event_id() RETURNS bigint
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'next_event_id_wrapper';
COMMENT ON FUNCTION sec.next_event_id() IS
    'The next id of an audit event, never one that this session took in store (CACHE): seals rely on it that what is drawn later is '
    'higher. Internal.';

CREATE FUNCTION sec.odd_sequences() RETURNS TABLE (problem text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%1$s.%2$s has %3$s: ALTER SEQUENCE %1$s.%2$s %4$s', n.nspname, c.relname, x.what, x.mend)
    FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
         LATERAL (VALUES
             (q.seqcache <> 1, 'CACHE 1',
              CASE WHEN c.relname = 'event_id_seq' THEN format('CACHE %s, so every event uses up as many ids', q.seqcache)
                   ELSE format('CACHE %s, so every session takes as many numbers in store: they are not in the order of time, and those it '
                               'does not use are lost', q.seqcache) END),
             (q.seqincrement < 1, 'INCREMENT 1', format('INCREMENT %s, so numbers would come again', q.seqincrement)),
             (q.seqcycle, 'NO CYCLE', 'CYCLE, so numbers would come again')) x (is_so, mend, what)
    WHERE n.nspname IN ('app', 'audit') AND x.is_so
$$;
COMMENT ON FUNCTION sec.odd_sequences() IS
    'Sequences of mps that somebody has altered, what that does, and the statement that mends it. Internal: app.health() and '
    'sec.security_check() ask it.';
