-- The cards, personal ones and those of companies, and who may use these.

CREATE FUNCTION sec.install_cards() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regtype('app.card_type') IS NULL THEN
        CREATE TYPE app.card_type AS ENUM ('personal', 'enterprise');
        COMMENT ON TYPE app.card_type IS 'The two kinds of cards';
    END IF;
    IF to_regtype('app.card_status') IS NULL THEN
        CREATE TYPE app.card_status AS ENUM ('active', 'frozen', 'lost', 'expired', 'closed');
        COMMENT ON TYPE app.card_status IS 'What may be done with a card: only an active one pays; closed is final';
    END IF;
    IF to_regtype('app.bind_role') IS NULL THEN
        CREATE TYPE app.bind_role AS ENUM ('admin', 'member');
        COMMENT ON TYPE app.bind_role IS 'Who manages an enterprise card (admin) and who only pays with it (member)';
    END IF;
    IF to_regclass('app.personal_card_no_seq') IS NULL THEN
        CREATE SEQUENCE app.personal_card_no_seq AS bigint;
        COMMENT ON SEQUENCE app.personal_card_no_seq IS 'Numbers of personal cards (VIP00000001); may skip, never repeats';
    END IF;
    IF to_regclass('app.enterprise_card_no_seq') IS NULL THEN
        CREATE SEQUENCE app.enterprise_card_no_seq AS bigint;
        COMMENT ON SEQUENCE app.enterprise_card_no_seq IS 'Numbers of enterprise cards (ENT00001); may skip, never repeats';
    END IF;
    IF to_regclass('app.personal_cards') IS NULL THEN
        CREATE TABLE app.personal_cards (
            id             uuid            NOT NULL PRIMARY KEY,
            member_id      uuid            NOT NULL REFERENCES app.member_profiles,
            replaced_by    uuid            REFERENCES app.personal_cards,
            created_at     timestamptz     NOT NULL,
            expires_at     timestamptz,
            status         app.card_status NOT NULL DEFAULT 'active',
            level          smallint        NOT NULL DEFAULT 0,
            points         bigint          NOT NULL DEFAULT 0,
            point_seq      bigint          NOT NULL DEFAULT 0,
            card_seq       bigint          NOT NULL DEFAULT 0,
            last_tx_id     bigint,
            skip_tx_id     bigint,
            last_posted_at timestamptz,
            qr_expires_at  timestamptz,
            balance        numeric(14,2)   NOT NULL DEFAULT 0 CHECK (balance >= 0),
            discount       numeric(4,3)    NOT NULL DEFAULT 1,
            card_no        text            NOT NULL UNIQUE,
            qr_hash        bytea
        ) WITH (fillfactor = 75);
        -- Room on every page, and no index on anything that a charge changes: its update stays on the page (HOT).
        CREATE INDEX personal_cards_member_id_idx ON app.personal_cards (member_id);
        CREATE INDEX personal_cards_replaced_by_idx ON app.personal_cards (replaced_by) WHERE replaced_by IS NOT NULL;
        CREATE UNIQUE INDEX personal_cards_one_open_idx ON app.personal_cards (member_id) WHERE status <> 'closed';
        CREATE INDEX personal_cards_expires_at_idx ON app.personal_cards (expires_at) WHERE status = 'active';
        COMMENT ON TABLE app.personal_cards IS
            'One open card per member: balance, points, level, discount, status and the hash of its live pay code';
        COMMENT ON COLUMN app.personal_cards.replaced_by IS 'The card that took over from this one (app.replace_card).';
        COMMENT ON COLUMN app.personal_cards.card_seq IS 'Number of movements of the balance; the last one''s card_seq.';
        COMMENT ON COLUMN app.personal_cards.last_tx_id IS 'The last movement: head of the chain that transactions.prev_tx_id continues.';
        COMMENT ON COLUMN app.personal_cards.skip_tx_id IS
            'The last movement whose card_seq is a multiple of 64: head of the chain that transactions.skip_tx_id continues.';
        COMMENT ON COLUMN app.personal_cards.point_seq IS 'Number of changes of points; the last one''s point_seq.';
        COMMENT ON COLUMN app.personal_cards.balance IS 'Currency units; equals balance_after of the last movement.';
        COMMENT ON COLUMN app.personal_cards.qr_hash IS 'SHA-256 of the live pay code; nobody but the owner of the table may read it.';
    END IF;
    IF to_regclass('app.enterprise_cards') IS NULL THEN
        CREATE TABLE app.enterprise_cards (
            id             uuid            NOT NULL PRIMARY KEY,
            created_at     timestamptz     NOT NULL,
            expires_at     timestamptz,
            status         app.card_status NOT NULL DEFAULT 'active',
            card_seq       bigint          NOT NULL DEFAULT 0,
            last_tx_id     bigint,
            skip_tx_id     bigint,
            last_posted_at timestamptz,
            balance        numeric(14,2)   NOT NULL DEFAULT 0 CHECK (balance >= 0),
            fixed_discount numeric(4,3)    NOT NULL CHECK (fixed_discount > 0 AND fixed_discount <= 1),
            card_no        text            NOT NULL UNIQUE,
            company_name   text            NOT NULL
        ) WITH (fillfactor = 50);
        CREATE INDEX enterprise_cards_expires_at_idx ON app.enterprise_cards (expires_at) WHERE status = 'active';
        COMMENT ON TABLE app.enterprise_cards IS
            'Company cards: one balance, a fixed discount, no points, many users (enterprise_card_bindings)';
    END IF;
    IF to_regclass('app.enterprise_card_bindings') IS NULL THEN
        CREATE TABLE app.enterprise_card_bindings (
            enterprise_card_id uuid          NOT NULL REFERENCES app.enterprise_cards,
            member_id          uuid          NOT NULL REFERENCES app.member_profiles,
            created_at         timestamptz   NOT NULL,
            qr_expires_at      timestamptz,
            role               app.bind_role NOT NULL DEFAULT 'member',
            qr_hash            bytea,
            PRIMARY KEY (enterprise_card_id, member_id)
        ) WITH (fillfactor = 75);
        CREATE INDEX enterprise_card_bindings_member_id_idx ON app.enterprise_card_bindings (member_id);
        COMMENT ON TABLE app.enterprise_card_bindings IS
            'Who may use (member) or manage (admin) an enterprise card, with each one''s own live pay code';
        COMMENT ON COLUMN app.enterprise_card_bindings.qr_hash IS
            'SHA-256 of this member''s live pay code; nobody but the owner of the table may read it.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_cards() IS
    'Makes the types, the sequences and the tables of cards, where they are missing. Internal: sec.install() calls it.';
