-- What receipts stand on: Merkle trees over the sealed movements and over the balances of each month, and the signed heads.

CREATE FUNCTION sec.install_receipts() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('audit.trees') IS NULL THEN
        CREATE TABLE audit.trees (
            tree          integer     NOT NULL PRIMARY KEY CHECK (tree = 0 OR tree BETWEEN 200001 AND 209912),
            begun_at      timestamptz NOT NULL,
            leaves        bigint      NOT NULL DEFAULT 0 CHECK (leaves >= 0),
            total_cents   bigint      NOT NULL DEFAULT 0,
            through_event bigint,
            cut           xid8,
            root          bytea,
            head_no       bigint,
            restore_why   text,
            secret        bytea       NOT NULL CHECK (length(secret) = 32)
        );
        COMMENT ON TABLE audit.trees IS
            'Merkle trees: one over all movements, in the order of the log, and one for each month over what each card held at its end';
        COMMENT ON COLUMN audit.trees.tree IS '0: the movements. Else the month, as yyyymm.';
        COMMENT ON COLUMN audit.trees.total_cents IS 'What the leaves add up to: changes of balances, or balances.';
        COMMENT ON COLUMN audit.trees.through_event IS 'Of the movements: the event up to which they are in the tree.';
        COMMENT ON COLUMN audit.trees.cut IS 'Of a month: what must have ended before its balances are certain (sec.cut()).';
        COMMENT ON COLUMN audit.trees.root IS 'Of a month: the root once it is made. That of the movements is in each head.';
        COMMENT ON COLUMN audit.trees.head_no IS 'Of a month: the head that published it.';
        COMMENT ON COLUMN audit.trees.restore_why IS
            'Of the movements: what audit.declare_restore() was told, until the next head has said it.';
        COMMENT ON COLUMN audit.trees.secret IS
            'What blinds the leaves, so that nobody finds out by trying what those beside their own say.';
    END IF;
    IF to_regclass('audit.tree_chunks') IS NULL THEN
        CREATE TABLE audit.tree_chunks (
            tree       integer NOT NULL,
            chunk_no   bigint  NOT NULL,
            posted     tstzrange,
            first_hash bytea,
            labels     bytea   NOT NULL,
            PRIMARY KEY (tree, chunk_no)
        );
        -- Hashes do not become shorter.
        ALTER TABLE audit.tree_chunks ALTER COLUMN labels SET STORAGE EXTERNAL;
        CREATE INDEX tree_chunks_posted_idx ON audit.tree_chunks USING gist (posted) WHERE tree = 0;
        CREATE INDEX tree_chunks_first_hash_idx ON audit.tree_chunks (tree, first_hash) WHERE tree > 0;
        COMMENT ON TABLE audit.tree_chunks IS 'The leaves of the trees, 256 to a row';
        COMMENT ON COLUMN audit.tree_chunks.posted IS 'Of movements: from when to when they were posted.';
        COMMENT ON COLUMN audit.tree_chunks.first_hash IS 'Of balances, which are ordered by their hash: that of the first.';
        COMMENT ON COLUMN audit.tree_chunks.labels IS
            'One after the other: of a movement its hash; of a balance its cents (8 bytes) and hash.';
    END IF;
    IF to_regclass('audit.tree_nodes') IS NULL THEN
        CREATE TABLE audit.tree_nodes (
            tree    integer  NOT NULL,
            level   smallint NOT NULL,
            node_no bigint   NOT NULL,
            label   bytea    NOT NULL,
            PRIMARY KEY (tree, level, node_no)
        );
        COMMENT ON TABLE audit.tree_nodes IS 'The full nodes of the trees, from those of a full chunk (level 8) upwards';
    END IF;
    IF to_regclass('audit.heads') IS NULL THEN
        CREATE TABLE audit.heads (
            head_no    bigint      NOT NULL PRIMARY KEY CHECK (head_no > 0),
            signed_at  timestamptz NOT NULL,
            seal_no    bigint      NOT NULL,
            leaves     bigint      NOT NULL,
            restores   boolean     NOT NULL,
            head       text        NOT NULL,
            signature  bytea       NOT NULL,
            public_key bytea       NOT NULL
        );
        CREATE INDEX heads_restores_idx ON audit.heads (head_no) WHERE restores;
        COMMENT ON TABLE audit.heads IS
            'Signed heads: what the log, the movements and the balances of a month were, by a key that is not in the database';
        COMMENT ON COLUMN audit.heads.head IS 'What is signed, as a JSON array; docs/receipts.md says what stands in it.';
        COMMENT ON COLUMN audit.heads.leaves IS 'How many movements it stands for.';
        COMMENT ON COLUMN audit.heads.restores IS 'Whether it says that the database was restored to the head before.';
        COMMENT ON COLUMN audit.heads.signature IS 'Ed25519 over the bytes of head.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_receipts() IS
    'Makes the tables of trees and heads, where they are missing. Internal: sec.install() calls it.';
