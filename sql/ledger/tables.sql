-- What stands beside the transactions: points and events, by month; which months are archived; keys and orders that are there once.

CREATE FUNCTION sec.install_points() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.point_ledger') IS NULL THEN
        CREATE TABLE app.point_ledger (
            card_id       uuid        NOT NULL,
            point_seq     bigint      NOT NULL,
            created_at    timestamptz NOT NULL,
            change        bigint      NOT NULL,
            balance_after bigint      NOT NULL,
            level         smallint    NOT NULL,
            tx_no         text,
            reason        text
        ) PARTITION BY RANGE (created_at);
        COMMENT ON TABLE app.point_ledger IS
            'Every change of points, with the points and the level after it, by month of created_at (UTC). Each partition has its '
            'own primary key (card_id, point_seq).';
        COMMENT ON COLUMN app.point_ledger.point_seq IS 'The card''s own sequence of changes of points, without gaps, from 1.';
        COMMENT ON COLUMN app.point_ledger.tx_no IS 'The payment or refund it belongs to; NULL where adjusted by hand.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_points() IS 'Makes the ledger of points, where it is missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.install_events() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('audit.event_id_seq') IS NULL THEN
        CREATE SEQUENCE audit.event_id_seq AS bigint;
        COMMENT ON SEQUENCE audit.event_id_seq IS 'Ids of audit events; may skip, never repeats';
    END IF;
    IF to_regclass('audit.event_log') IS NULL THEN
        CREATE TABLE audit.event_log (
            id            bigint      NOT NULL,
            happened_at   timestamptz NOT NULL,
            actor_user_id uuid,
            actor_role    text        NOT NULL,
            action        text        NOT NULL,
            object_type   text        NOT NULL,
            object_id     text        NOT NULL,
            context       jsonb       NOT NULL DEFAULT '{}'
        ) PARTITION BY RANGE (happened_at);
        COMMENT ON TABLE audit.event_log IS
            'Who did what, when, to what, in which context. Append-only; by month of happened_at (UTC). Each partition has its own '
            'primary key (id).';
        COMMENT ON COLUMN audit.event_log.actor_user_id IS 'sec.uid() of the caller; NULL for a backend without one.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_events() IS
    'Makes the event log and the sequence of its ids, where they are missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.install_archived_months() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.archived_months') IS NULL THEN
        CREATE TABLE app.archived_months (
            month       date        NOT NULL PRIMARY KEY CHECK (extract(day FROM month) = 1),
            archived_at timestamptz NOT NULL
        );
        COMMENT ON TABLE app.archived_months IS 'Months whose partitions were detached: what is asked of them answers ARCHIVED';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_archived_months() IS
    'Makes the list of archived months, where it is missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.install_claims() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.idempotency_keys') IS NULL THEN
        CREATE TABLE app.idempotency_keys (
            scope_no        bigint   NOT NULL,
            ref_id          bigint   NOT NULL,
            operation       smallint NOT NULL,
            idempotency_key text     NOT NULL,
            PRIMARY KEY (scope_no, operation, idempotency_key)
        );
        COMMENT ON TABLE app.idempotency_keys IS
            'Keys of requests that moved money, each in its scope (merchant and operation, or card and operation); '
            'app.expire_keys() forgets old ones';
        COMMENT ON COLUMN app.idempotency_keys.scope_no IS 'The merchant''s id, or the number inside the card_no.';
        COMMENT ON COLUMN app.idempotency_keys.ref_id IS 'id of the transaction; for points yymm x 10^11 + point_seq.';
    END IF;
    IF to_regclass('app.external_orders') IS NULL THEN
        CREATE TABLE app.external_orders (
            scope_no bigint   NOT NULL,
            tx_id    bigint   NOT NULL,
            scope    smallint NOT NULL,
            order_id text     NOT NULL,
            PRIMARY KEY (scope_no, scope, order_id)
        );
        COMMENT ON TABLE app.external_orders IS 'Order ids and gateway trade numbers, each in its scope';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_claims() IS
    'Makes the tables of keys and orders, where they are missing. Internal: sec.install() calls it.';
