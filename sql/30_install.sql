-- The tables. They are not members of the extension: DROP EXTENSION must never take a row with it, and pg_dump must carry
-- them like anybody's tables. sec.install() makes what is missing and touches nothing that exists, so it serves a fresh
-- database, one where the extension was dropped and created again, and app.migrate().

CREATE FUNCTION sec.install() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $install$
DECLARE
    v_name text;
    -- The very first installation: only then are there defaults to be granted.
    v_first boolean := NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                   WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind IN ('r', 'p'));
    v_there oid[] := ARRAY(SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'v', 'S'));
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
            max_pending_recharges integer       NOT NULL DEFAULT 20 CHECK (max_pending_recharges BETWEEN 1 AND 1000),
            signup_anonymous      boolean       NOT NULL DEFAULT false,
            business_time_zone    text          NOT NULL DEFAULT 'UTC' CHECK (business_time_zone <> ''),
            business_day_starts_at time         NOT NULL DEFAULT '00:00'
                CHECK (business_day_starts_at < '24:00' AND extract(second FROM business_day_starts_at) = 0)
        );
        COMMENT ON TABLE app.settings IS
            'The one row of settings; units are in the column names. Read and changed by app.get_settings and app.update_settings.';
        COMMENT ON COLUMN app.settings.schema_version IS
            'Which layout these tables have; the library checks it and answers SCHEMA_OUTDATED until app.migrate() has run.';
        COMMENT ON COLUMN app.settings.qr_ttl_seconds IS 'How long a pay code lives.';
        COMMENT ON COLUMN app.settings.qr_single_use IS 'Whether a successful charge uses its pay code up.';
        COMMENT ON COLUMN app.settings.points_per_unit IS 'Points for one currency unit paid.';
        COMMENT ON COLUMN app.settings.max_amount IS 'The largest single amount of any RPC.';
        COMMENT ON COLUMN app.settings.max_balance IS 'The largest balance that a recharge or a correction may lead to.';
        COMMENT ON COLUMN app.settings.recharge_confirmation IS
            'gateway: a member''s recharge waits for confirm_recharge; trusted: it completes at once.';
        COMMENT ON COLUMN app.settings.recharge_ttl_minutes IS
            'After this, app.expire_recharges() cancels a recharge that nobody confirmed.';
        COMMENT ON COLUMN app.settings.key_retention_days IS 'How long idempotency keys and payment order ids are remembered, at least.';
    END IF;
    IF to_regclass('app.membership_levels') IS NULL THEN
        CREATE TABLE app.membership_levels (
            level      smallint     NOT NULL PRIMARY KEY CHECK (level >= 0),
            name       text         NOT NULL CHECK (length(name) BETWEEN 1 AND 500),
            min_points bigint       NOT NULL UNIQUE CHECK (min_points >= 0),
            discount   numeric(4,3) NOT NULL CHECK (discount > 0 AND discount <= 1)
        );
        COMMENT ON TABLE app.membership_levels IS
            'Levels of personal cards: the highest whose min_points is reached. A change takes effect at the next charge; '
            'app.recompute_levels() applies it to every card.';
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
        CREATE INDEX transactions_merchant_posted_idx ON app.transactions (merchant_id, posted_at);
        CREATE INDEX transactions_processing_idx ON app.transactions (created_at) WHERE status = 'processing';
        COMMENT ON TABLE app.transactions IS
            'Every payment, refund, recharge and adjustment, by month of created_at (UTC). Each partition has its own primary key '
            '(id); the id carries the month, so ids are unique for ever.';
        COMMENT ON COLUMN app.transactions.id IS 'yymm x 10^11 + running number; the same facts as tx_no.';
        COMMENT ON COLUMN app.transactions.created_at IS 'When it was asked for; picks the month and the number.';
        COMMENT ON COLUMN app.transactions.posted_at IS
            'When it moved the balance, read from the clock under the card''s lock; later than that of the card''s movement '
            'before. NULL until then.';
        COMMENT ON COLUMN app.transactions.card_seq IS 'The card''s own sequence of movements, without gaps, from 1. NULL until posted.';
        COMMENT ON COLUMN app.transactions.prev_tx_id IS
            'id of the card''s movement before this one (card_seq - 1), so that a statement costs its page.';
        COMMENT ON COLUMN app.transactions.skip_tx_id IS
            'Only where card_seq is a multiple of 64: id of the movement 64 before, so that old balances are found quickly.';
        COMMENT ON COLUMN app.transactions.refund_chain_id IS
            'On a payment: id of its latest refund. On a refund: id of the refund of the same payment before it.';
        COMMENT ON COLUMN app.transactions.raw_amount IS 'Before discount. Signed for adjustments.';
        COMMENT ON COLUMN app.transactions.final_amount IS
            'What moved: a payment takes it from the card, refund and recharge add it, an adjustment adds it with its sign.';
        COMMENT ON COLUMN app.transactions.refunded_amount IS 'On a payment: the sum of its refunds so far. NULL elsewhere.';
        COMMENT ON COLUMN app.transactions.refundable_left IS 'On a refund: what was left of the payment after it. NULL elsewhere.';
        COMMENT ON COLUMN app.transactions.points_earned IS 'Points added by it; negative where taken back.';
        COMMENT ON COLUMN app.transactions.original_tx_no IS
            'On a refund: the payment. On an adjustment: what it corrects, or the other half of a card''s replacement.';
        COMMENT ON COLUMN app.transactions.member_id IS
            'Whose card it is, or who used or recharged the enterprise card. NULL where a backend did.';
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
        COMMENT ON TABLE app.point_ledger IS
            'Every change of points, with the points and the level after it, by month of created_at (UTC). Each partition has its '
            'own primary key (card_id, point_seq).';
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
        COMMENT ON TABLE audit.event_log IS
            'Who did what, when, to what, in which context. Append-only; by month of happened_at (UTC). Each partition has its own '
            'primary key (id).';
        COMMENT ON COLUMN audit.event_log.actor_user_id IS 'sec.uid() of the caller; NULL for a backend without one.';
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
        COMMENT ON TABLE app.idempotency_keys IS
            'Keys of requests that moved money, each in its scope (merchant and operation, or card and operation); '
            'app.expire_keys() forgets old ones';
        COMMENT ON COLUMN app.idempotency_keys.operation IS
            '1 charge, 2 refund, 3 recharge (scope: merchant); 11 recharge, 12 compensation, 13 points (scope: personal card); 21 '
            'recharge, 22 compensation (scope: enterprise card)';
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
    IF to_regclass('app.pending_recharges') IS NULL THEN
        CREATE TABLE app.pending_recharges (
            tx_id   bigint NOT NULL PRIMARY KEY,
            card_id uuid   NOT NULL
        );
        CREATE INDEX pending_recharges_card_id_idx ON app.pending_recharges (card_id);
        COMMENT ON TABLE app.pending_recharges IS
            'The recharges that wait for their payment, by card: what settings.max_pending_recharges bounds';
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
        COMMENT ON TABLE app.suspense_payments IS
            'Gateway money that came and could not be credited, until app.resolve_suspense() says what becomes of it';
        COMMENT ON COLUMN app.suspense_payments.gateway_trade_no IS 'The gateway''s number of the payment; each is here at most once.';
        COMMENT ON COLUMN app.suspense_payments.tx_no IS 'The recharge that it was paid for, if known.';
        COMMENT ON COLUMN app.suspense_payments.amount IS 'What the gateway has taken, in currency units.';
        COMMENT ON COLUMN app.suspense_payments.reason IS 'Why it was not credited: already_settled (the recharge has its money already).';
        COMMENT ON COLUMN app.suspense_payments.payload IS 'What the gateway or the backend said of it.';
        COMMENT ON COLUMN app.suspense_payments.status IS
            'open; credited to a card; refunding (the gateway was asked); refunded; written_off.';
        COMMENT ON COLUMN app.suspense_payments.resolution IS
            'The last word of app.resolve_suspense(), by resolved_by under resolved_role at resolved_at, with its note.';
        COMMENT ON COLUMN app.suspense_payments.credited_tx_no IS 'The recharge that credited it.';
        COMMENT ON COLUMN app.suspense_payments.out_refund_no IS 'The number under which the gateway was asked to pay it back.';
        COMMENT ON COLUMN app.suspense_payments.idempotency_keys IS
            'Each key that a word came with, and what it was answered; the row is their scope.';
    END IF;
    IF to_regclass('app.job_runs') IS NULL THEN
        CREATE TABLE app.job_runs (
            job         text        NOT NULL PRIMARY KEY,
            started_at  timestamptz NOT NULL,
            finished_at timestamptz,
            rows_done   bigint      NOT NULL DEFAULT 0
        );
        COMMENT ON TABLE app.job_runs IS
            'The last run of each maintenance procedure; finished_at is NULL while it runs or if it was interrupted';
    END IF;
    IF to_regclass('app.month_rehearsals') IS NULL THEN
        CREATE TABLE app.month_rehearsals (
            singleton    boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            month        date        NOT NULL,
            rehearsed_at timestamptz NOT NULL,
            problem      text
        );
        COMMENT ON TABLE app.month_rehearsals IS
            'The last time that app.maintain_partitions() tried out whether the next missing month could be made and written to';
        COMMENT ON COLUMN app.month_rehearsals.problem IS 'What would stop it; NULL: nothing.';
    END IF;
    PERFORM sec.install_grants();
    PERFORM sec.install_compat();
    PERFORM sec.install_books();
    PERFORM sec.install_days();
    PERFORM sec.install_closing();

    -- Ownership, and row-level security on everything ------------------------------------------------------------------
    -- The grants on what was there, also where it was restored without owners, are not ours to take back.
    PERFORM sec.strip_grants(c.oid::regclass)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'v', 'S') AND c.oid <> ALL (v_there)
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
        WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
    LOOP
        EXECUTE v_name;
    END LOOP;

    PERFORM sec.install_attachments();
    PERFORM sec.describe_columns();

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
