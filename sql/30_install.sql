-- The tables. They are not members of the extension: DROP EXTENSION must never take a row with it, and pg_dump must carry
-- them like anybody's tables. sec.install() makes what is missing and touches nothing that exists, so it serves a fresh
-- database, one where the extension was dropped and created again, and app.migrate().

CREATE FUNCTION sec.strip_grants(p_relation regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT DISTINCT a.grantee, c.relkind FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = p_relation AND a.grantee <> c.relowner
    LOOP
        PERFORM sec.run_ddl(format('REVOKE ALL ON %s %s FROM %s CASCADE', CASE v.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, p_relation,
                                   CASE v.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(v.grantee)) END));
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.strip_grants(regclass) IS
    'Takes back what ALTER DEFAULT PRIVILEGES gave away on a new relation: only sec.grant_api() grants. Internal.';

CREATE FUNCTION sec.strip_schema(p_schema regnamespace) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    FOR v IN SELECT DISTINCT a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.oid = p_schema AND a.grantee <> n.nspowner LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %s FROM %s CASCADE', p_schema,
                       CASE v.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(v.grantee)) END);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.strip_schema(regnamespace) IS 'As sec.strip_grants(), for a new schema. Internal.';

CREATE FUNCTION sec.install() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $install$
DECLARE
    v_name text;
    -- The very first installation: only then are there defaults to be granted.
    v_first boolean := NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                   WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind IN ('r', 'p'));
BEGIN
    -- Types ------------------------------------------------------------------------------------------------------------
    IF to_regtype('app.card_type') IS NULL THEN
        CREATE TYPE app.card_type AS ENUM ('personal', 'enterprise');
        COMMENT ON TYPE app.card_type IS 'The two kinds of cards';
    END IF;
    IF to_regtype('app.card_status') IS NULL THEN
        CREATE TYPE app.card_status AS ENUM ('active', 'frozen', 'lost', 'expired', 'closed');
        COMMENT ON TYPE app.card_status IS 'What may be done with a card: only an active one pays; closed is final';
    END IF;
    IF to_regtype('app.tx_type') IS NULL THEN
        CREATE TYPE app.tx_type AS ENUM ('payment', 'refund', 'recharge', 'adjustment');
        COMMENT ON TYPE app.tx_type IS 'What a transaction is: numbers ZF, TK, CZ, TZ';
    END IF;
    IF to_regtype('app.tx_status') IS NULL THEN
        CREATE TYPE app.tx_status AS ENUM ('processing', 'completed', 'failed', 'cancelled');
        COMMENT ON TYPE app.tx_status IS 'Only completed transactions have moved money';
    END IF;
    IF to_regtype('app.pay_method') IS NULL THEN
        CREATE TYPE app.pay_method AS ENUM ('balance', 'cash', 'wechat', 'alipay');
        COMMENT ON TYPE app.pay_method IS 'Where the money came from: the card''s balance, or outside (recharges)';
    END IF;
    IF to_regtype('app.bind_role') IS NULL THEN
        CREATE TYPE app.bind_role AS ENUM ('admin', 'member');
        COMMENT ON TYPE app.bind_role IS 'Who manages an enterprise card (admin) and who only pays with it (member)';
    END IF;

    -- Sequences --------------------------------------------------------------------------------------------------------
    IF to_regclass('app.member_no_seq') IS NULL THEN
        CREATE SEQUENCE app.member_no_seq AS bigint;
        CREATE SEQUENCE app.personal_card_no_seq AS bigint;
        CREATE SEQUENCE app.enterprise_card_no_seq AS bigint;
        CREATE SEQUENCE app.merchant_id_seq AS integer;
        CREATE SEQUENCE app.tx_no_seq AS bigint MAXVALUE 99999999999;
        CREATE SEQUENCE audit.event_id_seq AS bigint;
        COMMENT ON SEQUENCE app.member_no_seq IS 'Numbers of members (M00000001); may skip, never repeats';
        COMMENT ON SEQUENCE app.personal_card_no_seq IS 'Numbers of personal cards (VIP00000001); may skip, never repeats';
        COMMENT ON SEQUENCE app.enterprise_card_no_seq IS 'Numbers of enterprise cards (ENT00001); may skip, never repeats';
        COMMENT ON SEQUENCE app.merchant_id_seq IS 'Ids of merchants';
        COMMENT ON SEQUENCE app.tx_no_seq IS 'Running part of every transaction number, across months and types; may skip, never repeats';
        COMMENT ON SEQUENCE audit.event_id_seq IS 'Ids of audit events; may skip, never repeats';
    END IF;

    IF to_regclass('app.suspense_id_seq') IS NULL THEN
        CREATE SEQUENCE app.suspense_id_seq AS bigint;
        COMMENT ON SEQUENCE app.suspense_id_seq IS 'Ids of app.suspense_payments; may skip, never repeats';
    END IF;

    -- Settings and levels ----------------------------------------------------------------------------------------------
    IF to_regclass('app.settings') IS NULL THEN
        CREATE TABLE app.settings (
            singleton             boolean       NOT NULL DEFAULT true PRIMARY KEY,
            schema_version        integer       NOT NULL DEFAULT 3,
            qr_ttl_seconds        integer       NOT NULL DEFAULT 900 CHECK (qr_ttl_seconds BETWEEN 10 AND 86400),
            qr_single_use         boolean       NOT NULL DEFAULT true,
            points_per_unit       numeric(8,4)  NOT NULL DEFAULT 1 CHECK (points_per_unit BETWEEN 0 AND 1000),
            max_amount            numeric(14,2) NOT NULL DEFAULT 50000.00 CHECK (max_amount BETWEEN 0.01 AND 10000000000),
            max_balance           numeric(14,2) NOT NULL DEFAULT 1000000.00 CHECK (max_balance BETWEEN 0.01 AND 100000000000),
            recharge_confirmation text          NOT NULL DEFAULT 'gateway' CHECK (recharge_confirmation IN ('gateway', 'trusted')),
            recharge_ttl_minutes  integer       NOT NULL DEFAULT 1440 CHECK (recharge_ttl_minutes BETWEEN 5 AND 43200),
            key_retention_days    integer       NOT NULL DEFAULT 90 CHECK (key_retention_days BETWEEN 90 AND 3650),
            CONSTRAINT mps_stamp_8f1d6c52 CHECK (singleton),
            max_pending_recharges integer       NOT NULL DEFAULT 20 CHECK (max_pending_recharges BETWEEN 1 AND 1000)
        );
        COMMENT ON TABLE app.settings IS 'The one row of settings; units are in the column names. Read and changed by app.get_settings and app.update_settings.';
        COMMENT ON COLUMN app.settings.schema_version IS 'Which layout these tables have; the library checks it and answers SCHEMA_OUTDATED until app.migrate() has run.';
        COMMENT ON COLUMN app.settings.qr_ttl_seconds IS 'How long a pay code lives.';
        COMMENT ON COLUMN app.settings.qr_single_use IS 'Whether a successful charge uses its pay code up.';
        COMMENT ON COLUMN app.settings.points_per_unit IS 'Points for one currency unit paid.';
        COMMENT ON COLUMN app.settings.max_amount IS 'The largest single amount of any RPC.';
        COMMENT ON COLUMN app.settings.max_balance IS 'The largest balance that a recharge or a correction may lead to.';
        COMMENT ON COLUMN app.settings.recharge_confirmation IS 'gateway: a member''s recharge waits for confirm_recharge; trusted: it completes at once.';
        COMMENT ON COLUMN app.settings.recharge_ttl_minutes IS 'After this, app.expire_recharges() cancels a recharge that nobody confirmed.';
        COMMENT ON COLUMN app.settings.max_pending_recharges IS 'How many recharges of one card may wait for their payment.';
        COMMENT ON COLUMN app.settings.key_retention_days IS 'How long idempotency keys and payment order ids are remembered, at least.';
    END IF;
    IF to_regclass('app.membership_levels') IS NULL THEN
        CREATE TABLE app.membership_levels (
            level      smallint     NOT NULL PRIMARY KEY CHECK (level >= 0),
            name       text         NOT NULL CHECK (length(name) BETWEEN 1 AND 500),
            min_points bigint       NOT NULL UNIQUE CHECK (min_points >= 0),
            discount   numeric(4,3) NOT NULL CHECK (discount > 0 AND discount <= 1)
        );
        COMMENT ON TABLE app.membership_levels IS 'Levels of personal cards: the highest whose min_points is reached. A change takes effect at the next charge; app.recompute_levels() applies it to every card.';
        COMMENT ON COLUMN app.membership_levels.discount IS 'What a price is multiplied by: 0.950 is five percent off.';
    END IF;
    -- New, or from a dump of the schema alone.
    IF NOT EXISTS (SELECT FROM app.settings) THEN
        INSERT INTO app.settings DEFAULT VALUES;
        INSERT INTO app.membership_levels
        SELECT * FROM (VALUES (0, 'Basic', 0, 1.000), (1, 'Silver', 5000, 0.950), (2, 'Gold', 10000, 0.900),
                              (3, 'Platinum', 15000, 0.850), (4, 'Diamond', 20000, 0.800)) d
        WHERE NOT EXISTS (SELECT FROM app.membership_levels);
    END IF;

    -- Members and cards ------------------------------------------------------------------------------------------------
    IF to_regclass('app.member_profiles') IS NULL THEN
        CREATE TABLE app.member_profiles (
            id         uuid        NOT NULL PRIMARY KEY,
            created_at timestamptz NOT NULL,
            member_no  text        NOT NULL UNIQUE,
            status     text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'closed')),
            name       text        NOT NULL,
            phone      text,
            email      text
        );
        COMMENT ON TABLE app.member_profiles IS 'Members. id is the id of the user at the identity provider (no foreign key to it).';
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
        COMMENT ON TABLE app.personal_cards IS 'One open card per member: balance, points, level, discount, status and the hash of its live pay code';
        COMMENT ON COLUMN app.personal_cards.replaced_by IS 'The card that took over from this one (app.replace_card).';
        COMMENT ON COLUMN app.personal_cards.card_seq IS 'Number of movements of the balance; the last one''s card_seq.';
        COMMENT ON COLUMN app.personal_cards.last_tx_id IS 'The last movement: head of the chain that transactions.prev_tx_id continues.';
        COMMENT ON COLUMN app.personal_cards.skip_tx_id IS 'The last movement whose card_seq is a multiple of 64: head of the chain that transactions.skip_tx_id continues.';
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
        COMMENT ON TABLE app.enterprise_cards IS 'Company cards: one balance, a fixed discount, no points, many users (enterprise_card_bindings)';
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
        COMMENT ON TABLE app.enterprise_card_bindings IS 'Who may use (member) or manage (admin) an enterprise card, with each one''s own live pay code';
        COMMENT ON COLUMN app.enterprise_card_bindings.qr_hash IS 'SHA-256 of this member''s live pay code; nobody but the owner of the table may read it.';
    END IF;

    -- Merchants --------------------------------------------------------------------------------------------------------
    IF to_regclass('app.merchants') IS NULL THEN
        CREATE TABLE app.merchants (
            id         integer     NOT NULL DEFAULT nextval('app.merchant_id_seq') PRIMARY KEY,
            active     boolean     NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL,
            code       text        NOT NULL UNIQUE,
            name       text        NOT NULL
        );
        COMMENT ON TABLE app.merchants IS 'Merchants by code; an inactive one takes no payments';
    END IF;
    IF to_regclass('app.merchant_users') IS NULL THEN
        CREATE TABLE app.merchant_users (
            merchant_id integer     NOT NULL REFERENCES app.merchants,
            user_id     uuid        NOT NULL,
            created_at  timestamptz NOT NULL,
            role        text        NOT NULL CHECK (role IN ('owner', 'admin', 'cashier')),
            PRIMARY KEY (merchant_id, user_id)
        );
        CREATE INDEX merchant_users_user_id_idx ON app.merchant_users (user_id);
        COMMENT ON TABLE app.merchant_users IS 'Operators of merchants; user_id is the id at the identity provider, a member or not';
    END IF;

    -- Movements, by month ----------------------------------------------------------------------------------------------
    IF to_regclass('app.transactions') IS NULL THEN
        CREATE TABLE app.transactions (
            id                bigint         NOT NULL,
            created_at        timestamptz    NOT NULL,
            posted_at         timestamptz,
            card_seq          bigint,
            prev_tx_id        bigint,
            skip_tx_id        bigint,
            refund_chain_id   bigint,
            points_earned     bigint         NOT NULL DEFAULT 0,
            merchant_id       integer,
            tx_type           app.tx_type    NOT NULL,
            status            app.tx_status  NOT NULL,
            card_type         app.card_type  NOT NULL,
            payment_method    app.pay_method NOT NULL,
            card_id           uuid           NOT NULL,
            member_id         uuid,
            processed_by      uuid,
            discount          numeric(4,3)   NOT NULL DEFAULT 1,
            raw_amount        numeric(14,2)  NOT NULL,
            final_amount      numeric(14,2)  NOT NULL,
            balance_after     numeric(14,2),
            refunded_amount   numeric(14,2),
            refundable_left   numeric(14,2),
            tx_no             text           NOT NULL,
            original_tx_no    text,
            idempotency_key   text,
            external_order_id text,
            gateway_trade_no  text,
            reason            text,
            failure_reason    text,
            tag               jsonb          NOT NULL DEFAULT '{}'
            -- No CHECK here: the server parses each one anew at every INSERT (a tenth of a charge for five of them). The
            -- library asserts the same things before it writes, and the books are verified.
        ) PARTITION BY RANGE (created_at);
        CREATE INDEX transactions_member_id_idx ON app.transactions (member_id, created_at) WHERE member_id IS NOT NULL;
        CREATE INDEX transactions_merchant_id_idx ON app.transactions (merchant_id, created_at) WHERE merchant_id IS NOT NULL;
        CREATE INDEX transactions_processing_idx ON app.transactions (created_at) WHERE status = 'processing';
        COMMENT ON TABLE app.transactions IS 'Every payment, refund, recharge and adjustment, by month of created_at (UTC). Each partition has its own primary key (id); the id carries the month, so ids are unique for ever.';
        COMMENT ON COLUMN app.transactions.id IS 'yymm x 10^11 + running number; the same facts as tx_no.';
        COMMENT ON COLUMN app.transactions.created_at IS 'When it was asked for; picks the month and the number.';
        COMMENT ON COLUMN app.transactions.posted_at IS 'When it moved the balance, read from the clock under the card''s lock; later than that of the card''s movement before. NULL until then.';
        COMMENT ON COLUMN app.transactions.card_seq IS 'The card''s own sequence of movements, without gaps, from 1. NULL until posted.';
        COMMENT ON COLUMN app.transactions.prev_tx_id IS 'id of the card''s movement before this one (card_seq - 1), so that a statement costs its page.';
        COMMENT ON COLUMN app.transactions.skip_tx_id IS 'Only where card_seq is a multiple of 64: id of the movement 64 before, so that old balances are found quickly.';
        COMMENT ON COLUMN app.transactions.refund_chain_id IS 'On a payment: id of its latest refund. On a refund: id of the refund of the same payment before it.';
        COMMENT ON COLUMN app.transactions.raw_amount IS 'Before discount. Signed for adjustments.';
        COMMENT ON COLUMN app.transactions.final_amount IS 'What moved: a payment takes it from the card, refund and recharge add it, an adjustment adds it with its sign.';
        COMMENT ON COLUMN app.transactions.refunded_amount IS 'On a payment: the sum of its refunds so far. NULL elsewhere.';
        COMMENT ON COLUMN app.transactions.refundable_left IS 'On a refund: what was left of the payment after it. NULL elsewhere.';
        COMMENT ON COLUMN app.transactions.points_earned IS 'Points added by it; negative where taken back.';
        COMMENT ON COLUMN app.transactions.original_tx_no IS 'On a refund: the payment. On an adjustment: what it corrects, or the other half of a card''s replacement.';
        COMMENT ON COLUMN app.transactions.member_id IS 'Whose card it is, or who used or recharged the enterprise card. NULL where a backend did.';
        COMMENT ON COLUMN app.transactions.processed_by IS 'sec.uid() of who called; NULL for a backend without one.';
    END IF;
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
        COMMENT ON TABLE app.point_ledger IS 'Every change of points, with the points and the level after it, by month of created_at (UTC). Each partition has its own primary key (card_id, point_seq).';
        COMMENT ON COLUMN app.point_ledger.point_seq IS 'The card''s own sequence of changes of points, without gaps, from 1.';
        COMMENT ON COLUMN app.point_ledger.tx_no IS 'The payment or refund it belongs to; NULL where adjusted by hand.';
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
        COMMENT ON TABLE audit.event_log IS 'Who did what, when, to what, in which context. Append-only; by month of happened_at (UTC). Each partition has its own primary key (id).';
        COMMENT ON COLUMN audit.event_log.actor_user_id IS 'sec.uid() of the caller; NULL for a backend without one.';
        COMMENT ON COLUMN audit.event_log.actor_role IS 'The database role that is responsible: the one that the server ran the caller under, or whose code made the call if that has the lesser level.';
    END IF;
    IF to_regclass('app.archived_months') IS NULL THEN
        CREATE TABLE app.archived_months (
            month       date        NOT NULL PRIMARY KEY CHECK (extract(day FROM month) = 1),
            archived_at timestamptz NOT NULL
        );
        COMMENT ON TABLE app.archived_months IS 'Months whose partitions were detached: what is asked of them answers ARCHIVED';
    END IF;
    IF to_regclass('app.transaction_compensations') IS NULL THEN
        CREATE TABLE app.transaction_compensations (
            compensation_tx_no text          NOT NULL PRIMARY KEY,
            tx_no              text          NOT NULL,
            created_at         timestamptz   NOT NULL,
            actor_user_id      uuid,
            actor_role         text          NOT NULL,
            amount             numeric(14,2) NOT NULL CHECK (amount <> 0),
            reason             text          NOT NULL
        );
        CREATE INDEX transaction_compensations_tx_no_idx ON app.transaction_compensations (tx_no);
        COMMENT ON TABLE app.transaction_compensations IS 'Manual corrections: what each corrects, its movement, who did it and why';
        COMMENT ON COLUMN app.transaction_compensations.amount IS 'Signed: what was added to the card.';
    END IF;

    -- What makes keys and orders unique across months ------------------------------------------------------------------
    IF to_regclass('app.idempotency_keys') IS NULL THEN
        CREATE TABLE app.idempotency_keys (
            scope_no        bigint   NOT NULL,
            ref_id          bigint   NOT NULL,
            operation       smallint NOT NULL,
            idempotency_key text     NOT NULL,
            PRIMARY KEY (scope_no, operation, idempotency_key)
        );
        COMMENT ON TABLE app.idempotency_keys IS 'Keys of requests that moved money, each in its scope (merchant and operation, or card and operation); app.expire_keys() forgets old ones';
        COMMENT ON COLUMN app.idempotency_keys.operation IS '1 charge, 2 refund, 3 recharge (scope: merchant); 11 recharge, 12 compensation, 13 points (scope: personal card); 21 recharge, 22 compensation (scope: enterprise card)';
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
        COMMENT ON COLUMN app.external_orders.scope IS '1 payment order (scope_no: merchant); 2 recharge order, 3 gateway trade number (scope_no: payment method, 1 cash, 2 wechat, 3 alipay; of trade numbers 0, but where two methods had credited one before 0.3.0); 4 and 5 order of a member''s recharge (scope_no: number of the personal, enterprise card)';
        COMMENT ON COLUMN app.external_orders.tx_id IS 'The transaction; of a trade number in suspense the id in app.suspense_payments, with a minus.';
    END IF;
    IF to_regclass('app.pending_recharges') IS NULL THEN
        CREATE TABLE app.pending_recharges (
            tx_id   bigint NOT NULL PRIMARY KEY,
            card_id uuid   NOT NULL
        );
        CREATE INDEX pending_recharges_card_id_idx ON app.pending_recharges (card_id);
        COMMENT ON TABLE app.pending_recharges IS 'The recharges that wait for their payment, by card: what settings.max_pending_recharges bounds';
    END IF;
    IF to_regclass('app.suspense_payments') IS NULL THEN
        CREATE TABLE app.suspense_payments (
            id               bigint         NOT NULL PRIMARY KEY,
            created_at       timestamptz    NOT NULL,
            gateway_trade_no text           NOT NULL UNIQUE,
            tx_no            text,
            amount           numeric(14,2)  NOT NULL CHECK (amount > 0),
            payment_method   app.pay_method NOT NULL,
            reason           text           NOT NULL,
            payload          jsonb          NOT NULL DEFAULT '{}',
            status           text           NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'credited', 'refunding', 'refunded', 'written_off')),
            resolution       text,
            resolved_at      timestamptz,
            resolved_by      uuid,
            resolved_role    text,
            note             text,
            credited_tx_no   text,
            out_refund_no    text           UNIQUE,
            idempotency_keys jsonb          NOT NULL DEFAULT '{}',
            CHECK ((status = 'credited') = (credited_tx_no IS NOT NULL))
        );
        CREATE INDEX suspense_payments_open_idx ON app.suspense_payments (created_at) WHERE status IN ('open', 'refunding');
        COMMENT ON TABLE app.suspense_payments IS 'Gateway money that came and could not be credited, until app.resolve_suspense() says what becomes of it';
        COMMENT ON COLUMN app.suspense_payments.gateway_trade_no IS 'The gateway''s number of the payment; each is here at most once.';
        COMMENT ON COLUMN app.suspense_payments.tx_no IS 'The recharge that it was paid for, if known.';
        COMMENT ON COLUMN app.suspense_payments.amount IS 'What the gateway has taken, in currency units.';
        COMMENT ON COLUMN app.suspense_payments.reason IS 'Why it was not credited: already_settled (the recharge has its money already).';
        COMMENT ON COLUMN app.suspense_payments.payload IS 'What the gateway or the backend said of it.';
        COMMENT ON COLUMN app.suspense_payments.status IS 'open; credited to a card; refunding (the gateway was asked); refunded; written_off.';
        COMMENT ON COLUMN app.suspense_payments.resolution IS 'The last word of app.resolve_suspense(), by resolved_by under resolved_role at resolved_at, with its note.';
        COMMENT ON COLUMN app.suspense_payments.credited_tx_no IS 'The recharge that credited it.';
        COMMENT ON COLUMN app.suspense_payments.out_refund_no IS 'The number under which the gateway was asked to pay it back.';
        COMMENT ON COLUMN app.suspense_payments.idempotency_keys IS 'Each key that a word came with, and what it was answered; the row is their scope.';
    END IF;
    IF to_regclass('app.job_runs') IS NULL THEN
        CREATE TABLE app.job_runs (
            job         text        NOT NULL PRIMARY KEY,
            started_at  timestamptz NOT NULL,
            finished_at timestamptz,
            rows_done   bigint      NOT NULL DEFAULT 0
        );
        COMMENT ON TABLE app.job_runs IS 'The last run of each maintenance procedure; finished_at is NULL while it runs or if it was interrupted';
    END IF;
    PERFORM sec.install_grants();
    PERFORM sec.install_compat();
    PERFORM sec.install_books();

    -- Ownership, and row-level security on everything ------------------------------------------------------------------
    -- What is not mps_owner's yet is new, or restored without owners; the grants on what it has are not ours to take back.
    PERFORM sec.strip_grants(c.oid::regclass)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relowner <> sec.owner()
      -- It says who has which level, and was stripped when it was made.
      AND c.oid <> 'sec.level_holders'::regclass;
    FOR v_name IN
        SELECT format('ALTER %s %s OWNER TO %s',
                      CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass, sec.owner())
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'S')
          AND c.relowner <> sec.owner()
        ORDER BY c.relkind = 'S'
    LOOP
        EXECUTE v_name;
    END LOOP;
    FOR v_name IN
        SELECT format('ALTER TYPE %s OWNER TO %s', t.oid::regtype, sec.owner())
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = 'app' AND t.typtype = 'e' AND t.typowner <> sec.owner()
    LOOP
        EXECUTE v_name;
    END LOOP;
    FOR v_name IN
        SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', c.oid::regclass)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
    LOOP
        EXECUTE v_name;
    END LOOP;

    PERFORM sec.install_attachments();

    -- What is granted to who has a level, on what is new as well. What else was granted by hand stays as it is.
    PERFORM sec.apply_level(h.role, h.level, true) FROM sec.levels_held() h ORDER BY h.level, h.role;
    PERFORM sec.note_grants();
    IF v_first THEN
        PERFORM sec.grant_defaults();
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install() IS
    'Makes the types, sequences, tables, policies, triggers and views of mps that are missing; changes nothing that exists. Internal.';

-- What hangs on the tables and calls functions of the extension: DROP EXTENSION ... CASCADE takes these along, so they are
-- looked for one by one.
CREATE FUNCTION sec.install_attachments() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT * FROM (VALUES
            ('app.member_profiles', 'own_profile', 'id = (SELECT sec.uid())'),
            ('app.personal_cards', 'own_card', 'member_id = (SELECT sec.uid())'),
            ('app.enterprise_cards', 'bound_card',
             'id IN (SELECT b.enterprise_card_id FROM app.enterprise_card_bindings b WHERE b.member_id = (SELECT sec.uid()))'),
            ('app.enterprise_card_bindings', 'own_binding_or_administered_card',
             'member_id = (SELECT sec.uid()) OR enterprise_card_id IN (SELECT sec.admin_card_ids())'),
            ('app.membership_levels', 'everyone', 'true'),
            ('app.merchants', 'operated_merchant', 'id IN (SELECT sec.merchant_ids())'),
            ('app.merchant_users', 'operators_of_operated_merchant', 'merchant_id IN (SELECT sec.merchant_ids())'),
            -- With the balance of a company card in them, only as long as one is bound to it.
            ('app.transactions', 'own_transaction',
             'member_id = (SELECT sec.uid()) AND (card_type = ''personal'' OR card_id IN (SELECT b.enterprise_card_id FROM app.enterprise_card_bindings b WHERE b.member_id = (SELECT sec.uid())))'),
            -- Clients see nothing of it.
            ('app.suspense_payments', 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))'),
            ('app.point_ledger', 'points_of_own_card',
             'card_id IN (SELECT c.id FROM app.personal_cards c WHERE c.member_id = (SELECT sec.uid()))')
        ) AS p (tab, policy, condition)
        WHERE NOT EXISTS (SELECT FROM pg_policy q WHERE q.polrelid = p.tab::regclass AND q.polname = p.policy)
    LOOP
        EXECUTE format('CREATE POLICY %I ON %s FOR SELECT USING (%s)', v.policy, v.tab, v.condition);
    END LOOP;

    FOR v IN
        SELECT * FROM (VALUES
            ('app.settings', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
            ('app.membership_levels', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
            -- What a subscription applies fires triggers for rows only.
            ('app.settings', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
            ('app.membership_levels', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
            ('audit.event_log', 'append_only', 'BEFORE UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.append_only')
        ) AS t (tab, trig, events, each, func)
        UNION ALL
        SELECT i.inhrelid::regclass::text, 'append_only', 'BEFORE UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.append_only'
        FROM pg_inherits i WHERE i.inhparent = 'audit.event_log'::regclass
    LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = v.tab::regclass AND g.tgname = v.trig) THEN
            EXECUTE format('CREATE TRIGGER %I %s ON %s FOR EACH %s EXECUTE FUNCTION %s()', v.trig, v.events, v.tab, v.each, v.func);
            -- ALWAYS: session_replication_role = replica must not open the log.
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', v.tab, v.trig);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = 'app.membership_levels'::regclass AND g.tgname = 'audited') THEN
        -- Not ALWAYS: what a replica applies was recorded where it was done.
        CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON app.membership_levels
            FOR EACH ROW EXECUTE FUNCTION sec.level_changed();
        CREATE TRIGGER audited_truncate AFTER TRUNCATE ON app.membership_levels
            FOR EACH STATEMENT EXECUTE FUNCTION sec.level_changed();
    END IF;

    IF to_regclass('app.error_codes') IS NULL THEN
        CREATE VIEW app.error_codes WITH (security_invoker = true) AS
            SELECT e.token, e.sqlstate, e.http_status, e.message_en, e.message_zh FROM app.error_list() e;
        COMMENT ON VIEW app.error_codes IS 'The closed list of errors: MESSAGE is the token, SQLSTATE PTnnn becomes HTTP nnn behind PostgREST';
    END IF;
    IF to_regclass('app.v_user_cards') IS NULL THEN
        CREATE VIEW app.v_user_cards WITH (security_invoker = true) AS
            SELECT 'personal'::text AS card_type, c.id AS card_id, c.card_no, c.balance, c.points, c.level::integer AS level,
                   l.name AS level_name, c.discount, c.status::text AS status, c.expires_at, c.qr_expires_at,
                   'owner'::text AS role, NULL::text AS company_name, c.member_id
            FROM app.personal_cards c LEFT JOIN app.membership_levels l ON l.level = c.level
            WHERE c.member_id = (SELECT sec.uid())
            UNION ALL
            SELECT 'enterprise', e.id, e.card_no, e.balance, NULL, NULL, NULL, e.fixed_discount, e.status::text, e.expires_at,
                   b.qr_expires_at, b.role::text, e.company_name, b.member_id
            FROM app.enterprise_card_bindings b JOIN app.enterprise_cards e ON e.id = b.enterprise_card_id
            WHERE b.member_id = (SELECT sec.uid());
        COMMENT ON VIEW app.v_user_cards IS 'The cards of the signed-in user: the personal one and the enterprise cards it is bound to';
    END IF;
    IF to_regclass('app.v_usage_logs') IS NULL THEN
        CREATE VIEW app.v_usage_logs WITH (security_invoker = true) AS
            SELECT t.id AS tx_id, t.tx_no, t.tx_type::text AS tx_type, t.status::text AS status, t.card_type::text AS card_type,
                   t.card_id, t.member_id, t.merchant_id, t.raw_amount, t.discount, t.final_amount, t.points_earned,
                   t.balance_after, t.payment_method::text AS payment_method, t.original_tx_no, t.refunded_amount,
                   t.reason, sec.shown_tag(t.tag) AS tag, t.created_at, t.posted_at
            FROM app.transactions t WHERE t.member_id = (SELECT sec.uid());
        COMMENT ON COLUMN app.v_usage_logs.tag IS 'As sec.shown_tag() shows it: one whose text would be longer than 16 KiB is left out.';
        COMMENT ON VIEW app.v_usage_logs IS 'The transactions that the signed-in user made, with enterprise cards as long as it is bound to them. Ordered by created_at with a LIMIT it costs the page, not the history, and some 25 microseconds for each month that is not archived; a condition on created_at leaves the other months out.';
    END IF;
    FOR v IN SELECT c.oid::regclass AS view
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind = 'v' AND c.relowner <> sec.owner()
    LOOP
        PERFORM sec.strip_grants(v.view);
        EXECUTE format('ALTER VIEW %s OWNER TO %s', v.view, sec.owner());
    END LOOP;
END
$install$;
COMMENT ON FUNCTION sec.install_attachments() IS 'The policies, triggers and views of mps that are missing. Internal.';

-- What sec.install() does not do, because it exists: changes to tables of older releases. Each step is written once, for
-- ALTER EXTENSION mps UPDATE and for app.migrate() after an old dump was restored.
CREATE FUNCTION sec.migrate_tables() RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $migrate$
DECLARE
    c_version constant integer := 3;
    v_found integer;
BEGIN
    SELECT s.schema_version INTO v_found FROM app.settings s FOR UPDATE;
    IF v_found > c_version THEN
        PERFORM sec.raise('SCHEMA_OUTDATED', format('the tables have schema version %s, the extension only %s: install a newer one', v_found, c_version));
    END IF;
    PERFORM sec.supersede_functions();
    PERFORM sec.install();
    IF v_found < 2 THEN
        -- 0.2.0: a change of a level leaves an audit event, and what a subscription applies to settings and levels is announced
        -- (both are triggers that were missing, so sec.install() has made them). A page costs the page for heavy users, too.
        ALTER TABLE app.settings ALTER COLUMN schema_version SET DEFAULT 2;
        PERFORM sec.expect_many_rows(i.inhrelid::regclass) FROM pg_inherits i WHERE i.inhparent = 'app.transactions'::regclass;
        COMMENT ON VIEW app.v_usage_logs IS 'The transactions that the signed-in user made, with enterprise cards as long as it is bound to them. Ordered by created_at with a LIMIT it costs the page, not the history, and some 25 microseconds for each month that is not archived; a condition on created_at leaves the other months out.';
    END IF;
    IF v_found < 3 THEN
        -- 0.3.0: grants are remembered by role; sec.install() has called sec.migrate_api_grants(), before it granted anything.
        ALTER TABLE app.settings ALTER COLUMN schema_version SET DEFAULT 3;
        PERFORM sec.migrate_recharges();
        PERFORM sec.migrate_views_3();
        PERFORM sec.migrate_comments_3();
    END IF;
    UPDATE app.settings SET schema_version = c_version WHERE schema_version <> c_version;
    RETURN c_version;
END
$migrate$;
COMMENT ON FUNCTION sec.migrate_tables() IS
    'Brings the tables of an older release to this one, whichever it was; returns the schema version. Again: changes nothing. Errors: SCHEMA_OUTDATED where they are newer. Internal: app.migrate() and ALTER EXTENSION UPDATE call it.';

CREATE FUNCTION sec.migrate_recharges() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    ALTER TABLE app.settings ADD COLUMN IF NOT EXISTS max_pending_recharges integer NOT NULL DEFAULT 20 CHECK (max_pending_recharges BETWEEN 1 AND 1000);
    COMMENT ON COLUMN app.settings.max_pending_recharges IS 'How many recharges of one card may wait for their payment.';
    COMMENT ON COLUMN app.external_orders.scope IS '1 payment order (scope_no: merchant); 2 recharge order, 3 gateway trade number (scope_no: payment method, 1 cash, 2 wechat, 3 alipay; of trade numbers 0, but where two methods had credited one before 0.3.0); 4 and 5 order of a member''s recharge (scope_no: number of the personal, enterprise card)';
    COMMENT ON COLUMN app.external_orders.tx_id IS 'The transaction; of a trade number in suspense the id in app.suspense_payments, with a minus.';
    INSERT INTO app.pending_recharges (tx_id, card_id)
    SELECT t.id, t.card_id FROM app.transactions t WHERE t.status = 'processing' ON CONFLICT DO NOTHING;
    -- A trade number is one whatever the method. Of two that were credited under one number the later one stays as it is, to be seen.
    UPDATE app.external_orders o SET scope_no = 0
    WHERE o.scope = 3 AND o.scope_no <> 0
      AND NOT EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 3 AND x.order_id = o.order_id
                        AND x.scope_no <> o.scope_no AND (x.tx_id, x.scope_no) < (o.tx_id, o.scope_no));
    -- Confirming a member's recharge claimed its order id for everybody; it is the card's alone.
    DELETE FROM app.external_orders o
    WHERE o.scope = 2 AND EXISTS (SELECT FROM app.external_orders m WHERE m.scope IN (4, 5) AND m.tx_id = o.tx_id AND m.order_id = o.order_id);
    IF (SELECT s.recharge_confirmation FROM app.settings s) = 'trusted' THEN
        -- So did the members' own recharges where they are trusted.
        UPDATE app.external_orders o SET scope = 4, scope_no = substr(c.card_no, 4)::bigint
        FROM app.transactions t JOIN app.personal_cards c ON c.id = t.card_id
        WHERE o.scope = 2 AND t.id = o.tx_id AND t.tx_type = 'recharge' AND t.processed_by = t.member_id
          AND NOT EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 4 AND x.scope_no = substr(c.card_no, 4)::bigint AND x.order_id = o.order_id);
        UPDATE app.external_orders o SET scope = 5, scope_no = substr(c.card_no, 4)::bigint
        FROM app.transactions t JOIN app.enterprise_cards c ON c.id = t.card_id
        WHERE o.scope = 2 AND t.id = o.tx_id AND t.tx_type = 'recharge' AND t.processed_by = t.member_id
          AND NOT EXISTS (SELECT FROM app.external_orders x WHERE x.scope = 5 AND x.scope_no = substr(c.card_no, 4)::bigint AND x.order_id = o.order_id);
    END IF;
END
$$;
COMMENT ON FUNCTION sec.migrate_recharges() IS 'The step to schema version 3 of what recharges claim: trade numbers, order ids, pending ones. Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.migrate_views_3() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = 'app.v_usage_logs'::regclass AND d.deptype = 'e') THEN
        -- It was missing, and is new.
        RETURN;
    END IF;
    -- No row that is there already breaks a page. A script replaces a view of the extension's own only, and this is none: it
    -- becomes one for the moment, because dropping it would take others' views that stand on it.
    ALTER EXTENSION mps ADD VIEW app.v_usage_logs;
    CREATE OR REPLACE VIEW app.v_usage_logs WITH (security_invoker = true) AS
            SELECT t.id AS tx_id, t.tx_no, t.tx_type::text AS tx_type, t.status::text AS status, t.card_type::text AS card_type,
                   t.card_id, t.member_id, t.merchant_id, t.raw_amount, t.discount, t.final_amount, t.points_earned,
                   t.balance_after, t.payment_method::text AS payment_method, t.original_tx_no, t.refunded_amount,
                   t.reason, sec.shown_tag(t.tag) AS tag, t.created_at, t.posted_at
            FROM app.transactions t WHERE t.member_id = (SELECT sec.uid());
    ALTER EXTENSION mps DROP VIEW app.v_usage_logs;
    COMMENT ON COLUMN app.v_usage_logs.tag IS 'As sec.shown_tag() shows it: one whose text would be longer than 16 KiB is left out.';
END
$$;
COMMENT ON FUNCTION sec.migrate_views_3() IS 'The views of 0.3.0 in the place of those of older releases. Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.migrate_comments_3() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_log regclass;
BEGIN
    FOR v_log IN SELECT 'audit.event_log'::regclass UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'audit.event_log'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.actor_role IS %L', v_log,
                       'The database role that is responsible: the one that the server ran the caller under, or whose code made the call if that has the lesser level.');
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.migrate_comments_3() IS 'What 0.3.0 says otherwise of columns that are as they were. Internal: sec.migrate_tables() calls it.';

CREATE FUNCTION sec.expect_many_rows(p_transactions regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Who asks for a page may be the one with the most rows, but the planner, who plans before it knows for whom, expects an
    -- average one: a few rows, which it would fetch whole and sort. With fewer members and merchants in its statistics it walks
    -- the index and stops after the page. Takes a lock that lets charges pass.
    PERFORM sec.run_ddl(format('ALTER TABLE %s ALTER COLUMN member_id SET (n_distinct = 200), ALTER COLUMN merchant_id SET (n_distinct = 20)', p_transactions));
END
$$;
COMMENT ON FUNCTION sec.expect_many_rows(regclass) IS 'Has the planner expect many rows for each member and merchant in a month of app.transactions, from its next ANALYZE on. Internal.';

-- The caller's own defaults for new tables have no say.
CREATE FUNCTION sec.make_month(p_month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $month$
DECLARE
    v_day date := date_trunc('month', p_month::timestamp)::date;
    v_suffix text := to_char(v_day::timestamp, 'YYYYMM');
    v_from text := to_char(v_day::timestamp, 'YYYY-MM-DD') || ' 00:00:00+00';
    v_to text := to_char(v_day::timestamp + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
    v record;
    v_made boolean := false;
BEGIN
    IF v_day < date '2000-01-01' OR v_day > date '2099-12-01' THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'months are those of the years 2000 to 2099');
    END IF;
    PERFORM sec.refuse_shadows();
    -- One maker at a time, whichever month; taken before any row lock, held to the end of the transaction. A lock on a table
    -- of our own, because an advisory lock is anybody's to take.
    LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM app.archived_months a WHERE a.month = v_day) THEN
        RETURN false;
    END IF;
    FOR v IN
        SELECT * FROM (VALUES
            ('app', 'transactions', 'PRIMARY KEY (id)'),
            ('app', 'point_ledger', 'PRIMARY KEY (card_id, point_seq)'),
            ('audit', 'event_log', 'PRIMARY KEY (id)')
        ) AS t (nsp, tab, pk)
        WHERE to_regclass(format('%I.%I', t.nsp, t.tab || '_' || v_suffix)) IS NULL
    LOOP
        -- A table of its own first, attached when it is complete: ATTACH takes a lock that lets charges pass, while
        -- CREATE TABLE ... PARTITION OF would stop every reader and writer of the parent.
        PERFORM sec.run_ddl(format('CREATE TABLE %I.%I (LIKE %I.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMMENTS)',
                                   v.nsp, v.tab || '_' || v_suffix, v.nsp, v.tab));
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I OWNER TO %s', v.nsp, v.tab || '_' || v_suffix, sec.owner()));
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I ADD %s', v.nsp, v.tab || '_' || v_suffix, v.pk));
        PERFORM sec.strip_grants(to_regclass(format('%I.%I', v.nsp, v.tab || '_' || v_suffix)));
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY', v.nsp, v.tab || '_' || v_suffix));
        PERFORM sec.run_ddl(format('COMMENT ON TABLE %I.%I IS %L', v.nsp, v.tab || '_' || v_suffix,
                                   format('%s.%s of %s (UTC)', v.nsp, v.tab, to_char(v_day::timestamp, 'YYYY-MM'))));
        IF v.tab = 'transactions' THEN
            PERFORM sec.expect_many_rows(to_regclass(format('%I.%I', v.nsp, v.tab || '_' || v_suffix)));
        END IF;
        IF v.tab = 'event_log' THEN
            PERFORM sec.run_ddl(format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I.%I FOR EACH STATEMENT EXECUTE FUNCTION sec.append_only()',
                                       v.nsp, v.tab || '_' || v_suffix));
            PERFORM sec.run_ddl(format('ALTER TABLE %I.%I ENABLE ALWAYS TRIGGER append_only', v.nsp, v.tab || '_' || v_suffix));
        END IF;
        PERFORM sec.run_ddl(format('ALTER TABLE %I.%I ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
                                   v.nsp, v.tab, v.nsp, v.tab || '_' || v_suffix, v_from, v_to));
        v_made := true;
    END LOOP;
    RETURN v_made;
END
$month$;
COMMENT ON FUNCTION sec.make_month(date) IS
    'Makes the partitions of the month that holds the date, where they are missing; returns whether it made any. Internal: app.maintain_partitions() and the RPCs call it.';
