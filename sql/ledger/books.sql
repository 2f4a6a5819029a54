-- What app.verify_books(), the seals and the archive need in tables.

-- Tables of books, seals and archive that are missing; sec.install() calls it before it hands out ownership, row-level security and
-- triggers.
CREATE FUNCTION sec.install_books() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    -- Where archived months go. Made here, because mps_owner may not make schemas.
    IF to_regnamespace('mps_archive') IS NULL THEN
        CREATE SCHEMA mps_archive;
        PERFORM sec.strip_schema('mps_archive');
        EXECUTE format('ALTER SCHEMA mps_archive OWNER TO %s', sec.owner());
        COMMENT ON SCHEMA mps_archive IS 'MPS: the tables of archived months';
    END IF;
    IF to_regclass('audit.seals') IS NULL THEN
        CREATE TABLE audit.seals (
            seal_no     bigint      NOT NULL PRIMARY KEY,
            first_id    bigint      NOT NULL,
            last_id     bigint      NOT NULL,
            events      integer     NOT NULL,
            first_at    timestamptz NOT NULL,
            last_at     timestamptz NOT NULL,
            sealed_at   timestamptz NOT NULL,
            ids         bigint[]    NOT NULL,
            digests     bigint[]    NOT NULL,
            events_hash bytea       NOT NULL,
            prev_hash   bytea       NOT NULL,
            hash        bytea       NOT NULL,
            CHECK (cardinality(ids) = events AND cardinality(digests) = events AND events > 0 AND first_id <= last_id)
        );
        COMMENT ON TABLE audit.seals IS
            'One seal per batch of up to 1000 audit events, each chained to the one before. Append-only. audit.verify() compares '
            'it with the log.';
        COMMENT ON COLUMN audit.seals.first_at IS 'The earliest happened_at of its events; last_at the latest.';
        COMMENT ON COLUMN audit.seals.ids IS 'The ids of its events, ascending.';
        COMMENT ON COLUMN audit.seals.digests IS
            'For each id the first 8 bytes of the SHA-256 of everything else in the event: names the event that was changed.';
        COMMENT ON COLUMN audit.seals.events_hash IS 'SHA-256 over id (8 bytes, big-endian) and SHA-256 of each event in the order of ids.';
        COMMENT ON COLUMN audit.seals.prev_hash IS 'hash of the seal before; 32 zero bytes in the first.';
        COMMENT ON COLUMN audit.seals.hash IS 'SHA-256 over everything else in the row; see audit.seal_hash().';
    END IF;
    IF to_regclass('audit.seal_cut') IS NULL THEN
        CREATE TABLE audit.seal_cut (
            singleton boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            up_to     bigint      NOT NULL,
            xid       xid8        NOT NULL,
            noted_at  timestamptz NOT NULL
        );
        COMMENT ON TABLE audit.seal_cut IS
            'How far audit.seal() goes next: every transaction that drew an event id up to up_to had an id of its own below xid. '
            'Worth nothing in another cluster, and noted anew there.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_books() IS
    'Makes what app.verify_books(), audit.seal() and app.archive_partitions() need, where it is missing. Internal: sec.install() calls it.';
