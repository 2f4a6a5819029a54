-- What gateways told: every callback, by month, and how often the same was refused or came again.

CREATE FUNCTION sec.install_gateway_events() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.gateway_event_id_seq') IS NULL THEN
        CREATE SEQUENCE app.gateway_event_id_seq AS bigint;
        COMMENT ON SEQUENCE app.gateway_event_id_seq IS 'Ids of app.gateway_events; may skip, never repeats';
    END IF;
    IF to_regclass('app.gateway_events') IS NULL THEN
        CREATE TABLE app.gateway_events (
            id           bigint      NOT NULL,
            received_at  timestamptz NOT NULL,
            happened_at  timestamptz,
            amount       numeric(14,2),
            verified     boolean     NOT NULL,
            account      text        NOT NULL,
            provider     text        NOT NULL,
            kind         text,
            event_key    text,
            key_id       text,
            outcome      text        NOT NULL,
            reason       text,
            tx_no        text,
            trade_no     text,
            out_trade_no text,
            headers      jsonb       NOT NULL DEFAULT '{}',
            body         bytea       NOT NULL
        ) PARTITION BY RANGE (received_at);
        CREATE INDEX gateway_events_event_key_idx ON app.gateway_events (event_key) WHERE event_key IS NOT NULL;
        CREATE INDEX gateway_events_odd_idx ON app.gateway_events (received_at)
            WHERE outcome = 'conflict' OR (outcome = 'refused' AND verified);
        CREATE INDEX gateway_events_happened_at_idx ON app.gateway_events (account, happened_at) WHERE kind = 'payment';
        CREATE INDEX gateway_events_trade_no_idx ON app.gateway_events (trade_no) WHERE trade_no IS NOT NULL;
        COMMENT ON TABLE app.gateway_events IS
            'Callbacks of payment gateways, with what was signed, so that they can be proved again; by month of received_at (UTC). Each '
            'partition has its own primary key (id). What was refused stands here once an hour and reason (more than once only where it '
            'came at once), and so does what came again and changed nothing: app.gateway_tallies counts the others.';
    END IF;
    IF to_regclass('app.gateway_tallies') IS NULL THEN
        CREATE TABLE app.gateway_tallies (
            account     text        NOT NULL,
            hour        timestamptz NOT NULL,
            kind        text        NOT NULL,
            callbacks   bigint      NOT NULL,
            last_at     timestamptz NOT NULL,
            first_event bigint      NOT NULL,
            PRIMARY KEY (account, hour, kind, first_event)
        );
        COMMENT ON TABLE app.gateway_tallies IS
            'How many callbacks of an account were refused in an hour, by reason, or came again, so that nobody fills a disk by sending. '
            'Those that came at once may stand in several rows, so that none waits for another: their sum is the number';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_gateway_events() IS
    'Makes the tables of callbacks and the sequence of their ids, where they are missing. Internal: sec.install_gateways() calls it.';

CREATE FUNCTION sec.monthly_tables_of_gateways() RETURNS TABLE (nsp text, tab text, pk text, is_append_only boolean)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app', 'gateway_events', 'id', true)
$$;
COMMENT ON FUNCTION sec.monthly_tables_of_gateways() IS 'The tables of gateways that are kept by month. Internal: sec.monthly_tables().';

CREATE FUNCTION sec.sequences_of_gateways() RETURNS TABLE (seq text, given bigint, used bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'app.gateway_event_id_seq', (SELECT q.last_value - (NOT q.is_called)::integer FROM app.gateway_event_id_seq q),
           (SELECT max(e.id) FROM app.gateway_events e)
$$;
COMMENT ON FUNCTION sec.sequences_of_gateways() IS
    'The sequences of gateways: the number that each gave last, and the greatest that a table has. Internal: sec.sequence_states().';

CREATE FUNCTION sec.rebuild_gateway_numbers() RETURNS TABLE (what text, n bigint)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    -- The log names callbacks that are not there any more: no other one gets such a number.
    SELECT 'callbacks that are named, and lost', count(*)
    FROM (SELECT max((e.context ->> 'gateway_event')::bigint) AS last FROM audit.event_log e
          WHERE e.context ? 'gateway_event') x,
         LATERAL (SELECT setval('app.gateway_event_id_seq', x.last)) s
    WHERE x.last > (SELECT q.last_value - (NOT q.is_called)::integer FROM app.gateway_event_id_seq q)
$$;
COMMENT ON FUNCTION sec.rebuild_gateway_numbers() IS
    'Has ids of callbacks go on after those that the log names. Internal: app.rebuild_from_log().';
