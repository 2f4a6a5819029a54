-- From 0.1.0 to 0.2.0. Run by ALTER EXTENSION mps UPDATE, in one transaction. Tables keep their rows and change only by
-- sec.migrate_tables(), which also serves an old dump restored under this release.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers = off;

-- Functions, written by tools/upgrade-script --

CREATE FUNCTION sec.level_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_before jsonb := CASE WHEN TG_OP IN ('UPDATE', 'DELETE') THEN to_jsonb(OLD) END;
    v_after jsonb := CASE WHEN TG_OP IN ('INSERT', 'UPDATE') THEN to_jsonb(NEW) END;
BEGIN
    IF TG_OP = 'UPDATE' AND v_after = v_before THEN
        RETURN NULL;
    END IF;
    PERFORM sec.make_month((now() AT TIME ZONE 'UTC')::date);
    INSERT INTO audit.event_log (id, happened_at, actor_user_id, actor_role, action, object_type, object_id, context)
    VALUES (nextval('audit.event_id_seq'), now(), sec.uid(), session_user,
            'level.' || CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END,
            'membership_level', coalesce(v_after ->> 'level', v_before ->> 'level', 'all'),
            jsonb_strip_nulls(jsonb_build_object('before', v_before, 'after', v_after)));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.level_changed() IS
    'Trigger: writes an audit event for every change of app.membership_levels, which has no RPC. Internal.';
CREATE OR REPLACE FUNCTION sec.install() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = 'heap' AS $install$
DECLARE
    v_name text;
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

    -- Settings and levels ----------------------------------------------------------------------------------------------
    IF to_regclass('app.settings') IS NULL THEN
        CREATE TABLE app.settings (
            singleton             boolean       NOT NULL DEFAULT true PRIMARY KEY,
            schema_version        integer       NOT NULL DEFAULT 2,
            qr_ttl_seconds        integer       NOT NULL DEFAULT 900 CHECK (qr_ttl_seconds BETWEEN 10 AND 86400),
            qr_single_use         boolean       NOT NULL DEFAULT true,
            points_per_unit       numeric(8,4)  NOT NULL DEFAULT 1 CHECK (points_per_unit BETWEEN 0 AND 1000),
            max_amount            numeric(14,2) NOT NULL DEFAULT 50000.00 CHECK (max_amount BETWEEN 0.01 AND 10000000000),
            max_balance           numeric(14,2) NOT NULL DEFAULT 1000000.00 CHECK (max_balance BETWEEN 0.01 AND 100000000000),
            recharge_confirmation text          NOT NULL DEFAULT 'gateway' CHECK (recharge_confirmation IN ('gateway', 'trusted')),
            recharge_ttl_minutes  integer       NOT NULL DEFAULT 1440 CHECK (recharge_ttl_minutes BETWEEN 5 AND 43200),
            key_retention_days    integer       NOT NULL DEFAULT 90 CHECK (key_retention_days BETWEEN 90 AND 3650),
            CONSTRAINT mps_stamp_8f1d6c52 CHECK (singleton)
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
        COMMENT ON COLUMN audit.event_log.actor_role IS 'The database role the server ran the caller under.';
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
        COMMENT ON COLUMN app.external_orders.scope IS '1 payment order (scope_no: merchant); 2 recharge order, 3 gateway trade number (scope_no: payment method, 1 cash, 2 wechat, 3 alipay); 4 and 5 order of a member''s unconfirmed recharge (scope_no: number of the personal, enterprise card)';
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
    IF to_regclass('sec.api_grants') IS NULL THEN
        CREATE TABLE sec.api_grants (
            role_name text NOT NULL,
            level     text NOT NULL CHECK (level IN ('client', 'backend', 'operator', 'signup')),
            PRIMARY KEY (role_name, level)
        );
        COMMENT ON TABLE sec.api_grants IS 'What sec.grant_api() granted, so that updates can grant it again on new functions';
    END IF;

    -- A dump of the schema alone brings the grants, but not the list of them.
    IF NOT EXISTS (SELECT FROM sec.api_grants) THEN
        INSERT INTO sec.api_grants
        SELECT pg_get_userbyid(a.grantee), m.level
        FROM (VALUES ('sec.level_client()', 'client'), ('sec.level_backend()', 'backend'), ('sec.level_operator()', 'operator'),
                     ('app.enable_supabase_signup()', 'signup')) m (marker, level)
             JOIN pg_proc p ON p.oid = to_regprocedure(m.marker), aclexplode(p.proacl) a
        WHERE a.grantee NOT IN (0, p.proowner);
    END IF;

    PERFORM sec.install_books();

    -- Ownership, and row-level security on everything ------------------------------------------------------------------
    FOR v_name IN
        SELECT format('ALTER %s %s OWNER TO mps_owner',
                      CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'S')
          AND pg_get_userbyid(c.relowner) <> 'mps_owner'
        ORDER BY c.relkind = 'S'
    LOOP
        EXECUTE v_name;
    END LOOP;
    FOR v_name IN
        SELECT format('ALTER TYPE %s OWNER TO mps_owner', t.oid::regtype)
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = 'app' AND t.typtype = 'e' AND pg_get_userbyid(t.typowner) <> 'mps_owner'
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

    -- What ALTER DEFAULT PRIVILEGES gave away goes; what sec.grant_api() granted comes back, also on what is new.
    PERFORM sec.strip_grants(c.oid::regclass)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relacl IS NOT NULL;
    FOR v_name IN
        SELECT DISTINCT format('REVOKE ALL ON SCHEMA mps_archive FROM %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
        FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'mps_archive' AND a.grantee <> n.nspowner
    LOOP
        EXECUTE v_name;
    END LOOP;
    PERFORM sec.apply_grants(g.role_name, g.level, true)
    FROM sec.api_grants g JOIN pg_roles r ON r.rolname = g.role_name;
END
$install$;
CREATE OR REPLACE FUNCTION sec.install_attachments() RETURNS void
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
                   t.reason, t.tag, t.created_at, t.posted_at
            FROM app.transactions t WHERE t.member_id = (SELECT sec.uid());
        COMMENT ON VIEW app.v_usage_logs IS 'The transactions that the signed-in user made, with enterprise cards as long as it is bound to them. Ordered by created_at with a LIMIT it costs the page, not the history, and some 25 microseconds for each month that is not archived; a condition on created_at leaves the other months out.';
    END IF;
    FOR v IN SELECT format('ALTER VIEW %s OWNER TO mps_owner', c.oid::regclass) AS command
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind = 'v' AND pg_get_userbyid(c.relowner) <> 'mps_owner'
    LOOP
        EXECUTE v.command;
    END LOOP;
END
$install$;
CREATE FUNCTION sec.migrate_tables() RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $migrate$
DECLARE
    c_version constant integer := 2;
    v_found integer;
BEGIN
    SELECT s.schema_version INTO v_found FROM app.settings s FOR UPDATE;
    IF v_found > c_version THEN
        PERFORM sec.raise('SCHEMA_OUTDATED', format('the tables have schema version %s, the extension only %s: install a newer one', v_found, c_version));
    END IF;
    PERFORM sec.install();
    IF v_found < 2 THEN
        -- 0.2.0: a change of a level leaves an audit event, and what a subscription applies to settings and levels is announced
        -- (both are triggers that were missing, so sec.install() has made them). A page costs the page for heavy users, too.
        ALTER TABLE app.settings ALTER COLUMN schema_version SET DEFAULT 2;
        PERFORM sec.expect_many_rows(i.inhrelid::regclass) FROM pg_inherits i WHERE i.inhparent = 'app.transactions'::regclass;
        COMMENT ON VIEW app.v_usage_logs IS 'The transactions that the signed-in user made, with enterprise cards as long as it is bound to them. Ordered by created_at with a LIMIT it costs the page, not the history, and some 25 microseconds for each month that is not archived; a condition on created_at leaves the other months out.';
    END IF;
    UPDATE app.settings SET schema_version = c_version WHERE schema_version <> c_version;
    RETURN c_version;
END
$migrate$;
COMMENT ON FUNCTION sec.migrate_tables() IS
    'Brings the tables of an older release to this one, whichever it was; returns the schema version. Again: changes nothing. Errors: SCHEMA_OUTDATED where they are newer. Internal: app.migrate() and ALTER EXTENSION UPDATE call it.';
CREATE FUNCTION sec.expect_many_rows(p_transactions regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Who asks for a page may be the one with the most rows, but the planner, who plans before it knows for whom, expects an
    -- average one: a few rows, which it would fetch whole and sort. With fewer members and merchants in its statistics it walks
    -- the index and stops after the page. Takes a lock that lets charges pass.
    EXECUTE format('ALTER TABLE %s ALTER COLUMN member_id SET (n_distinct = 200), ALTER COLUMN merchant_id SET (n_distinct = 20)', p_transactions);
END
$$;
COMMENT ON FUNCTION sec.expect_many_rows(regclass) IS 'Has the planner expect many rows for each member and merchant in a month of app.transactions, from its next ANALYZE on. Internal.';
CREATE OR REPLACE FUNCTION sec.make_month(p_month date) RETURNS boolean
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
        EXECUTE format('CREATE TABLE %I.%I (LIKE %I.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMMENTS)',
                       v.nsp, v.tab || '_' || v_suffix, v.nsp, v.tab);
        EXECUTE format('ALTER TABLE %I.%I OWNER TO mps_owner', v.nsp, v.tab || '_' || v_suffix);
        EXECUTE format('ALTER TABLE %I.%I ADD %s', v.nsp, v.tab || '_' || v_suffix, v.pk);
        PERFORM sec.strip_grants(to_regclass(format('%I.%I', v.nsp, v.tab || '_' || v_suffix)));
        EXECUTE format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY', v.nsp, v.tab || '_' || v_suffix);
        EXECUTE format('COMMENT ON TABLE %I.%I IS %L', v.nsp, v.tab || '_' || v_suffix,
                       format('%s.%s of %s (UTC)', v.nsp, v.tab, to_char(v_day::timestamp, 'YYYY-MM')));
        IF v.tab = 'transactions' THEN
            PERFORM sec.expect_many_rows(to_regclass(format('%I.%I', v.nsp, v.tab || '_' || v_suffix)));
        END IF;
        IF v.tab = 'event_log' THEN
            EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I.%I FOR EACH STATEMENT EXECUTE FUNCTION sec.append_only()',
                           v.nsp, v.tab || '_' || v_suffix);
            EXECUTE format('ALTER TABLE %I.%I ENABLE ALWAYS TRIGGER append_only', v.nsp, v.tab || '_' || v_suffix);
        END IF;
        EXECUTE format('ALTER TABLE %I.%I ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
                       v.nsp, v.tab, v.nsp, v.tab || '_' || v_suffix, v_from, v_to);
        v_made := true;
    END LOOP;
    RETURN v_made;
END
$month$;
CREATE OR REPLACE FUNCTION sec.security_check() RETURNS TABLE (rule text, ok boolean, detail text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    -- Compiling it takes a hundred times as long as running it; and names are compared as text.
    SET jit = off SET quote_all_identifiers = off AS $check$
    WITH
    -- Everything in the three schemas and in the one of archived months.
    spaces AS (
        SELECT n.oid, n.nspname, n.nspacl, n.nspowner FROM pg_namespace n WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive')
    ),
    relations AS (
        SELECT c.oid, format('%I.%I', s.nspname, c.relname) AS name, c.relkind, c.relacl, c.relowner, c.relrowsecurity, c.reloptions
        FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    ),
    functions AS (
        SELECT p.oid, p.oid::regprocedure::text AS name, format('%s.%s', s.nspname, p.proname) AS func,
               p.proacl, p.proowner, p.prosecdef, p.proconfig
        FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
    ),
    -- The policies that sec.install_attachments() makes, as the server shows them, without white space and brackets.
    policies (tab, policy, condition) AS (
        VALUES ('app.member_profiles', 'own_profile', 'id=SELECTsec.uidASuid'),
               ('app.personal_cards', 'own_card', 'member_id=SELECTsec.uidASuid'),
               ('app.enterprise_cards', 'bound_card', 'idINSELECTb.enterprise_card_idFROMapp.enterprise_card_bindingsbWHEREb.member_id=SELECTsec.uidASuid'),
               ('app.enterprise_card_bindings', 'own_binding_or_administered_card', 'member_id=SELECTsec.uidASuidORenterprise_card_idINSELECTsec.admin_card_idsASadmin_card_ids'),
               ('app.membership_levels', 'everyone', 'true'),
               ('app.merchants', 'operated_merchant', 'idINSELECTsec.merchant_idsASmerchant_ids'),
               ('app.merchant_users', 'operators_of_operated_merchant', 'merchant_idINSELECTsec.merchant_idsASmerchant_ids'),
               ('app.transactions', 'own_transaction', 'member_id=SELECTsec.uidASuidANDcard_type=''personal''::app.card_typeORcard_idINSELECTb.enterprise_card_idFROMapp.enterprise_card_bindingsbWHEREb.member_id=SELECTsec.uidASuid'),
               ('app.point_ledger', 'points_of_own_card', 'card_idINSELECTc.idFROMapp.personal_cardscWHEREc.member_id=SELECTsec.uidASuid')
    ),
    found_policies AS (
        SELECT r.name AS tab, p.polname::text AS policy, p.polcmd, p.polpermissive AND p.polroles = ARRAY[0::oid] AS for_everyone,
               regexp_replace(pg_get_expr(p.polqual, p.polrelid), '[\s()]', '', 'g') AS condition
        FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
    ),
    owner AS (
        SELECT r.oid, r.rolcanlogin, r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication AS powerful
        FROM pg_roles r WHERE r.rolname = 'mps_owner'
    ),
    -- Every privilege on every object, by whom it is held (0: PUBLIC). A NULL acl of a function means PUBLIC may execute it.
    grants AS (
        SELECT 'schema ' || s.nspname AS object, 'schema' AS kind, s.nspname::text AS name, NULL::text AS col, a.grantee, a.privilege_type
        FROM spaces s, aclexplode(s.nspacl) a WHERE a.grantee <> s.nspowner
        UNION ALL
        SELECT r.name, CASE r.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, r.name, NULL, a.grantee, a.privilege_type
        FROM relations r, aclexplode(r.relacl) a WHERE a.grantee <> r.relowner
        UNION ALL
        SELECT format('%s.%s', r.name, t.attname), 'column', r.name, t.attname, a.grantee, a.privilege_type
        FROM relations r JOIN pg_attribute t ON t.attrelid = r.oid, aclexplode(t.attacl) a WHERE a.grantee <> r.relowner
        UNION ALL
        SELECT f.name, 'function', f.func, NULL, a.grantee, a.privilege_type
        FROM functions f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a WHERE a.grantee <> f.proowner
    ),
    named AS (SELECT g.*, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END AS who FROM grants g),
    allowed_functions AS (
        SELECT g.role_name, f.func FROM sec.api_grants g
        JOIN sec.api_functions() f ON f.level = g.level OR (g.level = 'backend' AND f.level = 'client')
    ),
    allowed_columns AS (
        SELECT DISTINCT g.role_name, c.tab, trim(x.col) AS col FROM sec.api_grants g
        CROSS JOIN sec.api_columns() c
        LEFT JOIN LATERAL string_to_table(c.cols, ',') x(col) ON true
        WHERE g.level IN ('client', 'backend')
    ),
    findings (rule, problem) AS (
        SELECT 'row-level security is on for every table', r.name FROM relations r WHERE r.relkind IN ('r', 'p') AND NOT r.relrowsecurity
        UNION ALL
        SELECT 'nothing is granted to PUBLIC or anon', format('%s: %s to %s', n.object, n.privilege_type, n.who)
        FROM named n WHERE n.who IN ('PUBLIC', 'anon')
        UNION ALL
        SELECT 'SECURITY DEFINER functions belong to mps_owner', format('%s belongs to %s', f.name, pg_get_userbyid(f.proowner))
        FROM functions f WHERE f.prosecdef AND f.proowner IS DISTINCT FROM (SELECT o.oid FROM owner o)
        UNION ALL
        SELECT 'SECURITY DEFINER functions have a fixed search_path ending in pg_temp', f.name
        FROM functions f
        WHERE f.prosecdef AND NOT EXISTS (SELECT FROM unnest(f.proconfig) c WHERE c ~ '^search_path=("?pg_catalog"?, )?"?pg_temp"?$')
        UNION ALL
        SELECT 'mps_owner cannot log in, is no superuser and has no members', 'there is no role mps_owner' WHERE NOT EXISTS (SELECT FROM owner)
        UNION ALL
        SELECT 'mps_owner cannot log in, is no superuser and has no members', 'mps_owner can log in or has powers of its own'
        FROM owner o WHERE o.rolcanlogin OR o.powerful
        UNION ALL
        SELECT 'mps_owner cannot log in, is no superuser and has no members', format('%s is a member of %s', pg_get_userbyid(m.member), pg_get_userbyid(m.roleid))
        FROM pg_auth_members m JOIN owner o ON o.oid IN (m.roleid, m.member)
        UNION ALL
        SELECT 'no client role inherits from a backend or operator role', format('%s from %s', c.role_name, b.role_name)
        FROM sec.api_grants c JOIN pg_roles cr ON cr.rolname = c.role_name
        JOIN sec.api_grants b ON b.level IN ('backend', 'operator') JOIN pg_roles br ON br.rolname = b.role_name
        WHERE c.level = 'client' AND cr.oid <> br.oid AND NOT cr.rolsuper AND pg_has_role(cr.oid, br.oid, 'MEMBER')
          AND NOT EXISTS (SELECT FROM sec.api_grants x WHERE x.role_name = c.role_name AND x.level = b.level)
        UNION ALL
        SELECT 'the schemas hold no functions but those of mps', f.name
        FROM functions f
        WHERE NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'mps'
                          WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
        UNION ALL
        SELECT 'every relation and schema belongs to mps_owner', format('%s belongs to %s', x.name, pg_get_userbyid(x.who))
        FROM (SELECT r.name, r.relowner AS who FROM relations r UNION ALL SELECT 'schema ' || s.nspname, s.nspowner FROM spaces s) x
        WHERE x.who IS DISTINCT FROM (SELECT o.oid FROM owner o)
        UNION ALL
        SELECT 'every relation and schema belongs to mps_owner', format('type %s.%s', s.nspname, t.typname)
        FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
        WHERE t.typrelid = 0 AND t.typelem = 0 AND (t.typtype <> 'e' OR t.typowner IS DISTINCT FROM (SELECT o.oid FROM owner o))
        UNION ALL
        SELECT 'no role but the owner may write', format('%s: %s to %s', n.object, n.privilege_type, n.who)
        FROM named n WHERE n.kind IN ('table', 'column', 'sequence', 'schema') AND n.privilege_type NOT IN ('SELECT', 'USAGE')
        UNION ALL
        SELECT 'no role but the owner may write', format('%s: %s to %s', n.object, n.privilege_type, n.who)
        FROM named n WHERE n.kind = 'sequence'
        UNION ALL
        SELECT 'SELECT is granted only on the columns of the API', format('%s to %s', n.object, n.who)
        FROM named n
        WHERE n.privilege_type = 'SELECT' AND n.kind IN ('table', 'column')
          AND NOT EXISTS (SELECT FROM allowed_columns a WHERE a.role_name = n.who AND a.tab = n.name AND a.col IS NOT DISTINCT FROM n.col)
        UNION ALL
        SELECT 'functions are granted only to the levels of the API', format('%s to %s', n.object, n.who)
        FROM named n
        WHERE n.kind = 'function' AND NOT EXISTS (SELECT FROM allowed_functions a WHERE a.role_name = n.who AND a.func = n.name)
        UNION ALL
        SELECT 'views run with the rights of who asks (security_invoker)', r.name
        FROM relations r WHERE r.relkind = 'v' AND NOT coalesce(r.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)
        UNION ALL
        SELECT 'policies are those of mps, and only let read', format('%s on %s', coalesce(f.policy, p.policy), coalesce(f.tab, p.tab))
        FROM policies p FULL JOIN found_policies f ON f.tab = p.tab AND f.policy = p.policy
        WHERE p.policy IS NULL OR f.policy IS NULL OR f.polcmd <> 'r' OR NOT f.for_everyone OR f.condition IS DISTINCT FROM p.condition
        UNION ALL
        SELECT 'the event log is append-only', format('%s has no enabled trigger append_only', r.name)
        FROM relations r
        WHERE (r.name IN ('audit.event_log', 'audit.seals') OR r.name ~ '^(audit|mps_archive)\.event_log_[0-9]{6}$')
          AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = r.oid AND t.tgname = 'append_only' AND t.tgenabled = 'A'
                            AND t.tgfoid IN (SELECT f.oid FROM functions f WHERE f.func = 'sec.append_only'))
        UNION ALL
        SELECT 'settings and levels announce their changes', x.tab
        FROM (VALUES ('app.settings', 'config_changed'), ('app.settings', 'config_row_changed'),
                     ('app.membership_levels', 'config_changed'), ('app.membership_levels', 'config_row_changed')) x (tab, trig)
        WHERE NOT EXISTS (SELECT FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid AND r.name = x.tab WHERE t.tgname = x.trig AND t.tgenabled = 'A'
                            AND t.tgfoid IN (SELECT f.oid FROM functions f WHERE f.func = 'sec.config_changed'))
    ),
    rules (place, rule) AS (
        VALUES (1, 'row-level security is on for every table'),
               (2, 'nothing is granted to PUBLIC or anon'),
               (3, 'no role but the owner may write'),
               (4, 'SELECT is granted only on the columns of the API'),
               (5, 'functions are granted only to the levels of the API'),
               (6, 'SECURITY DEFINER functions belong to mps_owner'),
               (7, 'SECURITY DEFINER functions have a fixed search_path ending in pg_temp'),
               (8, 'mps_owner cannot log in, is no superuser and has no members'),
               (9, 'every relation and schema belongs to mps_owner'),
               (10, 'views run with the rights of who asks (security_invoker)'),
               (11, 'policies are those of mps, and only let read'),
               (12, 'no client role inherits from a backend or operator role'),
               (13, 'the schemas hold no functions but those of mps'),
               (14, 'the event log is append-only'),
               (15, 'settings and levels announce their changes')
    )
    SELECT r.rule, count(f.rule) = 0, coalesce(string_agg(f.problem, '; ' ORDER BY f.problem), 'ok')
    FROM rules r LEFT JOIN findings f ON f.rule = r.rule GROUP BY r.place, r.rule ORDER BY r.place
$check$;
CREATE OR REPLACE FUNCTION sec.books_rules() RETURNS TABLE (place integer, checks text[], finds text)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $rules$
    -- Each query finds what breaks its checks: (check, what). They may read the two WITH queries of verify_books and
    --   $1, $2  from and before when (created_at; -infinity, infinity)    $3  the archived months, as yymm
    --   $4  whether everything is asked for    $5  events happen before it    $6, $7  the same as $1, $2, by whole months
    --   $8  lowest id whose key must be known ($9 is the checks)    $10, $11  lowest and one above the highest id of $1 to $2
    --   $12, $13  the same of $6 to $7
    -- {month ID} is the first moment of the month that an id names, or NULL: as a bound it leaves one partition to look in.
    SELECT * FROM (VALUES
    (1, ARRAY['balances'], $q$
        , lasts AS MATERIALIZED (SELECT m.* FROM moved m WHERE m.id IN (SELECT c.last_tx_id FROM cards c))
        SELECT 'balances', format('%s: %s', coalesce(c.card_no, 'card ' || s.card_id), x.what)
        FROM cards c
        FULL JOIN (SELECT m.card_id, sum(m.change) AS total, count(*) AS movements, max(m.card_seq) AS top FROM moved m GROUP BY m.card_id) s
            ON s.card_id = c.id
        LEFT JOIN lasts l ON l.id = c.last_tx_id
        CROSS JOIN LATERAL (SELECT CASE
            WHEN c.id IS NULL THEN 'has movements, but there is no such card'
            WHEN c.card_seq = 0 THEN
                CASE WHEN c.balance <> 0 OR c.last_tx_id IS NOT NULL OR s.top IS NOT NULL
                     THEN format('balance %s and no movement counted, but the movements sum up to %s', c.balance, coalesce(s.total, 0)) END
            WHEN c.last_tx_id IS NULL OR (l.id IS NULL AND $4 AND c.last_tx_id / 100000000000 <> ALL ($3)) THEN 'its last movement is not there'
            WHEN l.card_id <> c.id THEN format('its last movement, %s, is another card''s', l.tx_no)
            WHEN l.balance_after <> c.balance THEN format('balance %s, but its last movement, %s, left %s', c.balance, l.tx_no, l.balance_after)
            WHEN l.card_seq <> c.card_seq OR l.posted_at <> c.last_posted_at OR s.top > c.card_seq
                THEN format('says its last movement is number %s (%s), but that is not the last', c.card_seq, l.tx_no)
            WHEN $4 AND cardinality($3) = 0 AND (s.total <> c.balance OR s.movements <> c.card_seq)
                THEN format('balance %s after %s movements, but %s movements sum up to %s', c.balance, c.card_seq, s.movements, s.total)
            END AS what) x
        WHERE x.what IS NOT NULL$q$),
    (2, ARRAY['sequence', 'running_balance', 'posted_at', 'links'], $q$
        , linked AS (
            SELECT m.*, lag(m.id) OVER w AS b_id, lag(m.card_seq) OVER w AS b_seq, lag(m.balance_after) OVER w AS b_balance,
                   lag(m.posted_at) OVER w AS b_posted, lag(m.id, 64) OVER w AS far_id, lag(m.card_seq, 64) OVER w AS far_seq
            FROM moved m WINDOW w AS (PARTITION BY m.card_id ORDER BY m.card_seq, m.id)),
        -- Whoever follows the movement before it within the range is right or wrong at once; the others (few: one per card
        -- where the range begins later than the card) are looked at one by one.
        odd AS (
            SELECT l.* FROM linked l WHERE NOT coalesce(
                (CASE WHEN l.card_seq = 1 THEN l.prev_tx_id IS NULL AND l.b_id IS NULL AND l.balance_after = l.change
                      ELSE l.b_seq = l.card_seq - 1 AND l.b_id = l.prev_tx_id AND l.balance_after = l.b_balance + l.change
                           AND l.posted_at > l.b_posted END)
                AND (CASE WHEN l.card_seq % 64 <> 0 OR l.card_seq = 64 THEN l.skip_tx_id IS NULL
                          ELSE l.far_seq = l.card_seq - 64 AND l.far_id = l.skip_tx_id END), false)),
        seen AS (
            SELECT o.*, c.card_no, p.id AS p_id, p.tx_no AS p_no, p.card_id AS p_card, p.card_seq AS p_seq, s.card_id AS s_card, s.card_seq AS s_seq,
                   CASE WHEN o.b_seq = o.card_seq - 1 THEN o.b_balance ELSE p.balance_after END AS was,
                   CASE WHEN o.b_seq = o.card_seq - 1 THEN o.b_posted ELSE p.posted_at END AS was_posted,
                   coalesce(o.prev_tx_id / 100000000000 = ANY ($3), false) AS p_archived,
                   coalesce(o.skip_tx_id / 100000000000 = ANY ($3), false) AS s_archived
            FROM odd o
            LEFT JOIN cards c ON c.id = o.card_id
            LEFT JOIN app.transactions p ON p.id = o.prev_tx_id AND p.status = 'completed'
                AND p.created_at >= {month o.prev_tx_id} AND p.created_at < {month o.prev_tx_id} + interval '1 month'
            LEFT JOIN app.transactions s ON s.id = o.skip_tx_id AND s.status = 'completed'
                AND s.created_at >= {month o.skip_tx_id} AND s.created_at < {month o.skip_tx_id} + interval '1 month')
        SELECT x.rule, format('%s: %s %s', coalesce(s.card_no, 'card ' || s.card_id), s.tx_no, x.what)
        FROM seen s CROSS JOIN LATERAL (
            SELECT 'sequence' AS rule, CASE
                WHEN s.card_seq < 1 THEN format('is number %s', s.card_seq)
                WHEN s.b_seq = s.card_seq THEN format('is number %s, and so is another movement', s.card_seq)
                WHEN s.card_seq > 1 AND s.prev_tx_id IS NULL THEN format('is number %s, but follows nothing', s.card_seq)
                WHEN s.card_seq > 1 AND s.p_id IS NULL AND NOT s.p_archived AND s.b_seq IS DISTINCT FROM s.card_seq - 1
                    THEN format('is number %s, and number %s is missing', s.card_seq, s.card_seq - 1)
                WHEN s.card_seq > 1 AND s.b_seq IS DISTINCT FROM s.card_seq - 1 AND s.p_card = s.card_id AND s.p_seq < s.card_seq - 1
                    THEN format('is number %s after %s, number %s', s.card_seq, s.p_no, s.p_seq)
                END AS what
            UNION ALL
            SELECT 'running_balance', CASE WHEN s.balance_after <> CASE WHEN s.card_seq = 1 THEN 0 ELSE s.was END + s.change
                THEN format('left %s, but %s %s %s is %s', s.balance_after, CASE WHEN s.card_seq = 1 THEN 0 ELSE s.was END,
                            CASE WHEN s.change < 0 THEN '-' ELSE '+' END, abs(s.change),
                            CASE WHEN s.card_seq = 1 THEN 0 ELSE s.was END + s.change) END
            UNION ALL
            SELECT 'posted_at', CASE WHEN s.card_seq > 1 AND s.posted_at <= s.was_posted
                THEN 'was not posted later than the movement before it' END
            UNION ALL
            SELECT 'links', CASE
                WHEN s.card_seq = 1 AND s.prev_tx_id IS NOT NULL THEN 'is the first, but names one before it'
                WHEN s.card_seq > 1 AND (s.p_card <> s.card_id OR s.p_seq >= s.card_seq OR (s.b_seq = s.card_seq - 1 AND s.b_id <> s.prev_tx_id))
                    THEN format('names %s as the movement before it, which is not', coalesce(s.p_no, s.prev_tx_id::text)) END
            UNION ALL
            SELECT 'links', CASE
                WHEN s.card_seq % 64 <> 0 OR s.card_seq = 64 THEN
                    CASE WHEN s.skip_tx_id IS NOT NULL THEN format('is number %s, but has a link 64 back', s.card_seq) END
                WHEN s.s_archived THEN NULL
                WHEN s.s_card IS DISTINCT FROM s.card_id OR s.s_seq IS DISTINCT FROM s.card_seq - 64
                    THEN format('does not lead to number %s, 64 back', s.card_seq - 64) END) x
        WHERE x.what IS NOT NULL$q$),
    (3, ARRAY['amounts', 'numbers'], $q$
        , odd AS (
            SELECT t.*, CASE t.tx_type WHEN 'payment' THEN 'ZF' WHEN 'refund' THEN 'TK' WHEN 'recharge' THEN 'CZ' ELSE 'TZ' END
                        || to_char(t.created_at, 'YYMM') AS head,
                   CASE WHEN t.id % 100000000000 < 1000000 THEN lpad((t.id % 100000000000)::text, 6, '0') ELSE (t.id % 100000000000)::text END AS tail
            FROM app.transactions t
            WHERE t.created_at >= $1 AND t.created_at < $2
              -- What nearly every row is: all of the cases below in one cheap condition.
              AND NOT coalesce(
                  t.status = 'completed' AND t.card_seq > 0 AND t.posted_at IS NOT NULL AND t.balance_after >= 0 AND t.final_amount > 0
                  AND t.final_amount = CASE WHEN t.tx_type = 'payment' THEN round(t.raw_amount * t.discount, 2) ELSE t.raw_amount END
                  AND t.tx_no = CASE t.tx_type WHEN 'payment' THEN 'ZF' WHEN 'refund' THEN 'TK' WHEN 'recharge' THEN 'CZ' ELSE 'TZ' END
                                || to_char(t.created_at, 'YYMM')
                                || CASE WHEN t.id % 100000000000 < 1000000 THEN lpad((t.id % 100000000000)::text, 6, '0') ELSE (t.id % 100000000000)::text END
                  AND to_char(t.created_at, 'YYMM')::bigint = t.id / 100000000000, false))
        SELECT x.rule, format('%s %s', o.tx_no, x.what) FROM odd o CROSS JOIN LATERAL (
            SELECT 'amounts' AS rule, CASE
                WHEN num_nonnulls(o.card_seq, o.posted_at, o.balance_after) <> CASE WHEN o.status = 'completed' THEN 3 ELSE 0 END
                    THEN format('is %s, and yet %s', o.status, CASE WHEN o.status = 'completed' THEN 'not posted' ELSE 'posted' END)
                WHEN o.final_amount = 0 OR (o.final_amount < 0 AND o.tx_type <> 'adjustment') OR o.balance_after < 0
                    THEN format('moves %s and leaves %s', o.final_amount, o.balance_after)
                WHEN o.final_amount <> CASE WHEN o.tx_type = 'payment' THEN round(o.raw_amount * o.discount, 2) ELSE o.raw_amount END
                    THEN format('moves %s, but %s at %s is asked for', o.final_amount, o.raw_amount, o.discount)
                END AS what
            UNION ALL
            SELECT 'numbers', CASE
                WHEN (o.id / 100000000000)::text <> ltrim(to_char(o.created_at, 'YYMM'), '0')
                    THEN format('of %s has the id %s, of another month', to_char(o.created_at, 'YYYY-MM'), o.id)
                WHEN o.tx_no <> o.head || o.tail THEN format('is not the number of %s %s', o.tx_type, o.id) END) x
        WHERE x.what IS NOT NULL
        UNION ALL
        -- A number follows from id and type, and an id is one month's, so that no number is there twice as long as each
        -- month has its primary key.
        SELECT 'numbers', format('%s has no primary key', i.inhrelid::regclass) FROM pg_inherits i
        WHERE i.inhparent IN ('app.transactions'::regclass, 'app.point_ledger'::regclass, 'audit.event_log'::regclass)
          AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = i.inhrelid AND x.indisprimary AND x.indisvalid)$q$),
    (4, ARRAY['points', 'point_ledger'], $q$
        , chain AS (
            SELECT l.card_id, l.point_seq, l.change, l.balance_after, l.tx_no,
                   lag(l.point_seq) OVER w AS b_seq, lag(l.balance_after) OVER w AS b_points, lead(l.point_seq) OVER w AS next_seq
            FROM app.point_ledger l WHERE l.created_at >= $1 AND l.created_at < $2
            WINDOW w AS (PARTITION BY l.card_id ORDER BY l.point_seq)),
        odd AS (
            SELECT l.card_id, l.point_seq, x.what FROM chain l CROSS JOIN LATERAL (SELECT CASE
                WHEN l.b_seq IS NULL AND l.point_seq > 1 AND (NOT $4 OR cardinality($3) > 0) THEN NULL
                WHEN l.point_seq <> coalesce(l.b_seq, 0) + 1 THEN format('entry %s follows entry %s', l.point_seq, coalesce(l.b_seq, 0))
                WHEN l.balance_after <> coalesce(l.b_points, 0) + l.change
                    THEN format('entry %s left %s points, but %s and %s are %s', l.point_seq, l.balance_after, coalesce(l.b_points, 0),
                                l.change, coalesce(l.b_points, 0) + l.change)
                END AS what) x
            WHERE x.what IS NOT NULL)
        SELECT 'point_ledger', format('%s: %s', coalesce(c.card_no, 'card ' || o.card_id), o.what)
        FROM odd o LEFT JOIN app.personal_cards c ON c.id = o.card_id
        UNION ALL
        SELECT 'points', format('%s: %s points after %s changes, but the ledger''s last entry, %s, left %s', coalesce(c.card_no, 'card ' || l.card_id),
                                c.points, c.point_seq, coalesce(l.point_seq::text, 'none'), coalesce(l.balance_after, 0))
        FROM app.personal_cards c
        FULL JOIN (SELECT h.card_id, h.point_seq, h.balance_after FROM chain h WHERE h.next_seq IS NULL) l ON l.card_id = c.id
        -- Without the whole ledger, only cards with an entry in it can be compared; and a range may end before the last.
        WHERE CASE WHEN l.card_id IS NULL THEN $4 AND cardinality($3) = 0 AND (c.points, c.point_seq) <> (0, 0)
                   WHEN c.id IS NULL THEN true
                   WHEN $4 THEN (c.points, c.point_seq) <> (l.balance_after, l.point_seq)
                   ELSE c.point_seq < l.point_seq OR (c.point_seq = l.point_seq AND c.points <> l.balance_after) END$q$),
    (5, ARRAY['points_of_transactions'], $q$
        SELECT 'points_of_transactions', CASE
            WHEN t.tx_no IS NULL THEN format('%s: the ledger has %s points for it, but there is no such transaction', l.tx_no, l.points)
            ELSE format('%s: %s points, but the ledger has %s for it', t.tx_no, t.points_earned, coalesce(l.points, 0)) END
        FROM (SELECT t.tx_no, t.card_id, t.tx_type, t.points_earned FROM app.transactions t
              WHERE t.status = 'completed' AND t.created_at >= $1 AND t.created_at < $2) t
        FULL JOIN (SELECT l.tx_no, l.card_id, sum(l.change) AS points, count(*) AS entries FROM app.point_ledger l
                   WHERE l.tx_no IS NOT NULL AND l.created_at >= $1 AND l.created_at < $2 GROUP BY l.tx_no, l.card_id) l ON l.tx_no = t.tx_no
        WHERE t.tx_no IS NULL
           OR (t.tx_type IN ('payment', 'refund') AND t.points_earned <> coalesce(l.points, 0))
           OR l.entries > 1 OR l.card_id <> t.card_id$q$),
    (6, ARRAY['refunds', 'refund_points', 'refund_chain'], $q$
        , refunds AS (
            -- Refunds come after their payment, in whatever later month.
            SELECT t.id, t.tx_no, t.original_tx_no, t.created_at, t.final_amount, t.points_earned, t.refundable_left, t.refund_chain_id, t.merchant_id,
                   CASE WHEN t.original_tx_no ~ '^ZF[0-9]{10,15}$'
                        THEN substr(t.original_tx_no, 3, 4)::bigint * 100000000000 + substr(t.original_tx_no, 7)::bigint END AS payment_id
            FROM app.transactions t WHERE t.tx_type = 'refund' AND t.status = 'completed' AND t.created_at >= $1),
        -- What is left shrinks with every refund: their order, also where the month turned between two of them.
        running AS (
            SELECT r.*, sum(r.final_amount) OVER w AS so_far, lag(r.id) OVER w AS before, lead(r.id) OVER w AS after
            FROM refunds r WINDOW w AS (PARTITION BY r.payment_id ORDER BY r.refundable_left DESC NULLS FIRST, r.id)),
        paid AS (
            SELECT t.id, t.tx_no, t.created_at, t.final_amount, t.refunded_amount, t.points_earned, t.refund_chain_id, t.merchant_id FROM app.transactions t
            WHERE t.tx_type = 'payment' AND t.status = 'completed' AND t.created_at >= $1 AND t.created_at < $2
              AND (t.refunded_amount IS DISTINCT FROM 0 OR t.refund_chain_id IS NOT NULL)),
        sums AS (
            SELECT r.payment_id, sum(r.final_amount) AS total, sum(r.points_earned) AS points, max(r.id) FILTER (WHERE r.after IS NULL) AS last_id
            FROM running r GROUP BY r.payment_id),
        -- Nearly every refund has its payment among those that know of a refund. What has not is looked for.
        lost AS MATERIALIZED (
            SELECT r.* FROM refunds r
            WHERE r.created_at < $2 AND (r.payment_id / 100000000000 = ANY ($3)) IS NOT TRUE
              AND NOT EXISTS (SELECT FROM paid q WHERE q.id = r.payment_id AND q.merchant_id = r.merchant_id
                                AND q.created_at >= {month r.payment_id} AND q.created_at < {month r.payment_id} + interval '1 month'))
        SELECT x.rule, x.what FROM paid p LEFT JOIN sums s ON s.payment_id = p.id CROSS JOIN LATERAL (
            SELECT 'refunds' AS rule, CASE
                WHEN p.refunded_amount IS DISTINCT FROM coalesce(s.total, 0) THEN format('%s: %s refunded, but its refunds sum up to %s', p.tx_no, p.refunded_amount, coalesce(s.total, 0))
                WHEN s.total > p.final_amount THEN format('%s: %s refunded of %s', p.tx_no, s.total, p.final_amount) END AS what
            UNION ALL
            SELECT 'refund_points', CASE WHEN -s.points <> div(p.points_earned * least(s.total, p.final_amount), p.final_amount)
                THEN format('%s: %s of %s points taken back for %s of %s', p.tx_no, -s.points, p.points_earned, s.total, p.final_amount) END
            UNION ALL
            SELECT 'refund_chain', CASE WHEN p.refund_chain_id IS DISTINCT FROM s.last_id
                THEN format('%s: does not lead to its latest refund', p.tx_no) END) x
        WHERE x.what IS NOT NULL
        UNION ALL
        SELECT 'refund_chain', CASE WHEN r.refundable_left IS DISTINCT FROM p.final_amount - r.so_far
            THEN format('%s: says that %s were left of %s', r.tx_no, r.refundable_left, p.tx_no)
            ELSE format('%s: does not lead to the refund of %s before it', r.tx_no, p.tx_no) END
        FROM running r JOIN paid p ON p.id = r.payment_id
        WHERE r.refundable_left IS DISTINCT FROM p.final_amount - r.so_far OR r.refund_chain_id IS DISTINCT FROM r.before
        UNION ALL
        SELECT 'refunds', CASE WHEN p.id IS NULL THEN format('%s: its payment %s is not there', r.tx_no, coalesce(r.original_tx_no, '?'))
                               ELSE format('%s: nothing refunded, but %s refunds it', p.tx_no, r.tx_no) END
        FROM lost r LEFT JOIN app.transactions p ON p.id = r.payment_id AND p.tx_type = 'payment' AND p.status = 'completed'
            AND p.merchant_id = r.merchant_id AND p.created_at >= {month r.payment_id} AND p.created_at < {month r.payment_id} + interval '1 month'
        WHERE p.id IS NULL OR (p.refunded_amount = 0 AND p.refund_chain_id IS NULL)$q$),
    (7, ARRAY['audit'], $q$
        , events AS (
            SELECT e.object_id, count(*) AS events, min(e.id) AS id, min(e.action) AS action, min(e.context ->> 'change') AS change
            FROM audit.event_log e
            WHERE e.object_type = 'transaction' AND e.action IN ('payment', 'refund', 'recharge', 'adjustment')
              AND e.happened_at >= $1 AND e.happened_at < $5
            GROUP BY e.object_id)
        SELECT 'audit', x.what FROM moved m FULL JOIN events e ON e.object_id = m.tx_no CROSS JOIN LATERAL (SELECT CASE
            WHEN e.object_id IS NULL THEN format('%s: no event', m.tx_no)
            -- One of before the range, posted or audited within it; or of after it.
            WHEN m.tx_no IS NULL THEN CASE WHEN e.object_id !~ '^(ZF|TK|CZ|TZ)[0-9]{10,15}$' OR (
                    substr(e.object_id, 3, 4)::bigint <> ALL ($3)
                    AND (SELECT count(*) FROM app.transactions t
                         WHERE t.tx_no = e.object_id AND t.status = 'completed'
                           AND t.id = substr(e.object_id, 3, 4)::bigint * 100000000000 + substr(e.object_id, 7)::bigint
                           AND t.created_at >= {month substr(e.object_id, 3, 4)::bigint * 100000000000}
                           AND t.created_at < {month substr(e.object_id, 3, 4)::bigint * 100000000000} + interval '1 month') = 0)
                THEN format('%s: event %s, but there is no such movement', e.object_id, e.id) END
            WHEN e.events > 1 THEN format('%s: %s events', m.tx_no, e.events)
            WHEN e.action <> m.tx_type::text THEN format('%s: event %s says %s', m.tx_no, e.id, e.action)
            WHEN e.change IS DISTINCT FROM m.change::text
                THEN format('%s: event %s says %s, the movement %s', m.tx_no, e.id, coalesce(e.change, '?'), m.change)
            END AS what) x
        WHERE x.what IS NOT NULL$q$),
    (8, ARRAY['keys'], $q$
        , asked AS NOT MATERIALIZED (SELECT t.id, t.tx_no, t.tx_type, t.merchant_id, t.idempotency_key FROM app.transactions t
                    WHERE t.created_at >= $6 AND t.created_at < $7 AND t.id >= $10 AND t.id < $11),
        keys AS NOT MATERIALIZED (SELECT k.* FROM app.idempotency_keys k
                 WHERE k.ref_id >= CASE WHEN k.operation = 13 THEN $12 ELSE $10 END AND k.ref_id < CASE WHEN k.operation = 13 THEN $13 ELSE $11 END
                   AND (cardinality($3) = 0 OR k.ref_id / 100000000000 <> ALL ($3)))
        SELECT 'keys', format('%s: its key is not remembered', a.tx_no)
        FROM asked a LEFT JOIN keys k ON k.ref_id = a.id AND k.idempotency_key = a.idempotency_key
        WHERE a.idempotency_key IS NOT NULL AND a.id >= $8 AND k.ref_id IS NULL
        UNION ALL
        SELECT 'keys', format('key %L of scope %s/%s: %s', left(k.idempotency_key, 40), k.operation, k.scope_no,
                              CASE WHEN a.id IS NULL THEN format('there is no transaction %s', k.ref_id) ELSE 'leads to ' || a.tx_no END)
        FROM keys k LEFT JOIN asked a ON a.id = k.ref_id
        WHERE k.operation <> 13
          AND (a.id IS NULL
               OR a.tx_type <> CASE WHEN k.operation = 1 THEN 'payment' WHEN k.operation = 2 THEN 'refund'
                                    WHEN k.operation IN (3, 11, 21) THEN 'recharge' ELSE 'adjustment' END::app.tx_type
               OR (k.operation IN (1, 2, 3) AND a.merchant_id IS DISTINCT FROM k.scope_no))
        UNION ALL
        SELECT 'keys', format('key %L of scope 13/%s: there is no such change of points', left(k.idempotency_key, 40), k.scope_no)
        FROM keys k
        LEFT JOIN app.personal_cards c ON c.card_no = 'VIP' || lpad(k.scope_no::text, greatest(8, length(k.scope_no::text)), '0')
        LEFT JOIN app.point_ledger l ON l.card_id = c.id AND l.point_seq = k.ref_id % 100000000000 AND l.created_at >= $6 AND l.created_at < $7
        WHERE k.operation = 13 AND l.card_id IS NULL$q$),
    (9, ARRAY['orders'], $q$
        , asked AS NOT MATERIALIZED (SELECT t.id, t.tx_no, t.tx_type, t.merchant_id, t.external_order_id, t.gateway_trade_no FROM app.transactions t
                    WHERE t.created_at >= $6 AND t.created_at < $7 AND t.id >= $10 AND t.id < $11
                      AND (t.external_order_id IS NOT NULL OR t.gateway_trade_no IS NOT NULL)),
        orders AS NOT MATERIALIZED (SELECT o.* FROM app.external_orders o
                   WHERE o.tx_id >= $10 AND o.tx_id < $11 AND (cardinality($3) = 0 OR o.tx_id / 100000000000 <> ALL ($3)))
        SELECT 'orders', format('%s: its order id is not remembered', a.tx_no)
        FROM asked a
        WHERE a.external_order_id IS NOT NULL AND (a.tx_type <> 'payment' OR a.id >= $8)
          AND NOT EXISTS (SELECT FROM orders o WHERE o.tx_id = a.id AND o.order_id = a.external_order_id AND o.scope <> 3)
        UNION ALL
        SELECT 'orders', format('%s: its gateway trade number is not remembered', a.tx_no)
        FROM asked a
        WHERE a.gateway_trade_no IS NOT NULL
          AND NOT EXISTS (SELECT FROM orders o WHERE o.tx_id = a.id AND o.order_id = a.gateway_trade_no AND o.scope = 3)
        UNION ALL
        SELECT 'orders', format('order %L of scope %s/%s: %s', left(o.order_id, 40), o.scope, o.scope_no,
                                CASE WHEN a.id IS NULL THEN format('there is no transaction %s of it', o.tx_id) ELSE 'leads to ' || a.tx_no END)
        FROM orders o LEFT JOIN asked a ON a.id = o.tx_id
        WHERE a.id IS NULL
           OR o.order_id IS DISTINCT FROM CASE WHEN o.scope = 3 THEN a.gateway_trade_no ELSE a.external_order_id END
           OR a.tx_type <> CASE WHEN o.scope = 1 THEN 'payment' ELSE 'recharge' END::app.tx_type
           OR (o.scope = 1 AND a.merchant_id IS DISTINCT FROM o.scope_no)$q$),
    (10, ARRAY['compensations'], $q$
        , adjusted AS (SELECT t.id, t.tx_no, t.card_id, t.original_tx_no, t.final_amount FROM app.transactions t
                       WHERE t.tx_type = 'adjustment' AND t.status = 'completed' AND t.created_at >= $1 AND t.created_at < $2)
        SELECT 'compensations', format('%s: %s', k.compensation_tx_no,
                                       CASE WHEN a.tx_no IS NULL THEN 'there is no such adjustment'
                                            ELSE format('%s for %s, but the adjustment is %s for %s', k.amount, k.tx_no, a.final_amount, a.original_tx_no) END)
        FROM (SELECT k.*, CASE WHEN k.compensation_tx_no ~ '^TZ[0-9]{10,15}$'
                          THEN substr(k.compensation_tx_no, 3, 4)::bigint * 100000000000 + substr(k.compensation_tx_no, 7)::bigint END AS id
              FROM app.transaction_compensations k WHERE k.created_at >= $1 AND k.created_at < $2) k
        LEFT JOIN app.transactions a ON a.id = k.id AND a.tx_type = 'adjustment' AND a.status = 'completed'
            AND a.created_at >= {month k.id} AND a.created_at < {month k.id} + interval '1 month'
        WHERE (k.id / 100000000000 = ANY ($3)) IS NOT TRUE AND (a.final_amount, a.original_tx_no) IS DISTINCT FROM (k.amount, k.tx_no)
        UNION ALL
        -- The others come in pairs: a card was replaced.
        SELECT 'compensations', format('%s: nobody noted why', a.tx_no)
        FROM adjusted a
        WHERE NOT EXISTS (SELECT FROM app.transaction_compensations k WHERE k.compensation_tx_no = a.tx_no)
          AND NOT EXISTS (
              SELECT FROM adjusted b
              JOIN app.personal_cards o ON o.id = CASE WHEN a.final_amount < 0 THEN a.card_id ELSE b.card_id END
              WHERE b.tx_no = a.original_tx_no AND b.original_tx_no = a.tx_no AND b.final_amount = -a.final_amount
                AND o.replaced_by = CASE WHEN a.final_amount < 0 THEN b.card_id ELSE a.card_id END)$q$)
    ) AS r (place, checks, finds)
$rules$;
CREATE FUNCTION sec.books_proofs() RETURNS TABLE (place integer, sound text)
    LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $proofs$
    -- To find what breaks a rule, whatever it is, is a matter of sorting everything. These only say whether there is anything
    -- to find: true is a proof that the query of the same place finds nothing; whatever else, that one is asked. Each reads
    -- each table once or twice, and joins by equality and to one side, so that it is hashed and shared among processes.
    -- They are asked when everything is, and only if numbers are as they should be: each id and each tx_no is there once.
    -- They may read the two WITH queries of verify_books, and of its parameters those up to $8.
    SELECT * FROM (VALUES
    (2, $q$
        -- Each movement follows the one that it names, or is the one of its card that begins here (the first, or it names one
        -- of an archived month); and there are as many as their numbers say. So none is there twice and none is missing.
        SELECT NOT EXISTS (
                SELECT FROM moved m LEFT JOIN moved b ON b.id = m.prev_tx_id
                WHERE NOT coalesce(
                    (CASE WHEN m.card_seq = 1 THEN m.prev_tx_id IS NULL AND m.balance_after = m.change
                          WHEN b.id IS NULL THEN m.card_seq > 1 AND m.prev_tx_id / 100000000000 = ANY ($3)
                          ELSE b.card_id = m.card_id AND b.card_seq = m.card_seq - 1 AND m.balance_after = b.balance_after + m.change
                               AND m.posted_at > b.posted_at END)
                    AND (m.skip_tx_id IS NULL) = (m.card_seq % 64 <> 0 OR m.card_seq = 64), false))
            AND NOT EXISTS (
                SELECT FROM moved m LEFT JOIN moved b ON b.id = m.skip_tx_id AND b.card_seq % 64 = 0
                WHERE m.skip_tx_id IS NOT NULL AND (m.skip_tx_id / 100000000000 = ANY ($3)) IS NOT TRUE
                  AND (b.card_id = m.card_id AND b.card_seq = m.card_seq - 64) IS NOT TRUE)
            AND NOT EXISTS (
                SELECT FROM moved m GROUP BY m.card_id
                HAVING count(*) <> max(m.card_seq) - min(m.card_seq) + 1
                    OR count(*) FILTER (WHERE m.card_seq = 1 OR m.prev_tx_id / 100000000000 = ANY ($3)) <> 1)$q$),
    (4, $q$
        -- As of movements: each entry follows another or begins, one of each card begins, and there are as many as their numbers say.
        SELECT NOT EXISTS (
            SELECT FROM app.personal_cards c
            FULL JOIN (
                SELECT l.card_id, count(*) AS entries, min(l.point_seq) AS first_seq, max(l.point_seq) AS last_seq,
                       count(*) FILTER (WHERE b.card_id IS NULL) AS begin_here,
                       bool_and(coalesce(CASE WHEN b.card_id IS NOT NULL THEN l.balance_after = b.balance_after + l.change
                                              WHEN l.point_seq = 1 THEN l.balance_after = l.change
                                              ELSE l.point_seq > 1 AND cardinality($3) > 0 END, false)) AS follow,
                       sum(l.change) + sum(l.balance_after - l.change) FILTER (WHERE b.card_id IS NULL) AS points
                FROM app.point_ledger l LEFT JOIN app.point_ledger b ON b.card_id = l.card_id AND b.point_seq = l.point_seq - 1
                GROUP BY l.card_id) l ON l.card_id = c.id
            WHERE CASE WHEN l.card_id IS NULL THEN cardinality($3) = 0 AND (c.points, c.point_seq) <> (0, 0)
                       ELSE (c.id IS NOT NULL AND l.follow AND l.begin_here = 1 AND l.entries = l.last_seq - l.first_seq + 1
                             AND c.point_seq = l.last_seq AND c.points = l.points) IS NOT TRUE END)$q$),
    (5, $q$
        -- Nothing differs, no transaction has met two entries, and every entry has met one.
        SELECT count(*) = (SELECT count(*) FROM moved)
           AND count(l.tx_no) = (SELECT count(l.tx_no) FROM app.point_ledger l)
           AND count(*) FILTER (WHERE (t.tx_type IN ('payment', 'refund') AND t.points_earned <> coalesce(l.change, 0)) OR l.card_id <> t.card_id) = 0
        FROM app.transactions t LEFT JOIN app.point_ledger l ON l.tx_no = t.tx_no
        WHERE t.status = 'completed'$q$),
    (7, $q$
        -- Nothing differs, no movement has met two events, and every event has met one.
        , events AS NOT MATERIALIZED (
            SELECT e.object_id, e.action, e.context ->> 'change' AS change FROM audit.event_log e
            WHERE e.object_type = 'transaction' AND e.action IN ('payment', 'refund', 'recharge', 'adjustment'))
        SELECT count(*) = (SELECT count(*) FROM moved)
           AND count(e.object_id) = (SELECT count(*) FROM events)
           AND count(*) FILTER (WHERE (e.action = m.tx_type::text AND e.change = m.change::text) IS NOT TRUE) = 0
        FROM moved m LEFT JOIN events e ON e.object_id = m.tx_no$q$),
    (8, $q$
        , keys AS NOT MATERIALIZED (SELECT k.* FROM app.idempotency_keys k WHERE cardinality($3) = 0 OR k.ref_id / 100000000000 <> ALL ($3)),
        -- Every key has met the transaction it leads to, every transaction with a key has met it, and they agree.
        met AS (
            SELECT count(k.ref_id) AS keys,
                   count(*) FILTER (WHERE CASE WHEN k.ref_id IS NULL THEN t.idempotency_key IS NOT NULL AND t.id >= $8
                       ELSE (k.idempotency_key = t.idempotency_key
                             AND t.tx_type = CASE WHEN k.operation = 1 THEN 'payment' WHEN k.operation = 2 THEN 'refund'
                                                  WHEN k.operation IN (3, 11, 21) THEN 'recharge' ELSE 'adjustment' END::app.tx_type
                             AND (k.operation NOT IN (1, 2, 3) OR t.merchant_id = k.scope_no)) IS NOT TRUE END) AS odd
            FROM app.transactions t LEFT JOIN keys k ON k.ref_id = t.id AND k.operation <> 13)
        SELECT met.odd = 0 AND met.keys = (SELECT count(*) FROM keys k WHERE k.operation <> 13)
           AND NOT EXISTS (
               SELECT FROM keys k
               LEFT JOIN app.personal_cards c ON c.card_no = 'VIP' || lpad(k.scope_no::text, greatest(8, length(k.scope_no::text)), '0')
               LEFT JOIN app.point_ledger l ON l.card_id = c.id AND l.point_seq = k.ref_id % 100000000000
               WHERE k.operation = 13 AND l.card_id IS NULL)
        FROM met$q$),
    (9, $q$
        , orders AS NOT MATERIALIZED (SELECT o.* FROM app.external_orders o WHERE cardinality($3) = 0 OR o.tx_id / 100000000000 <> ALL ($3)),
        -- As for keys: first the order ids, then the gateways' trade numbers.
        met AS (
            SELECT count(o.tx_id) AS orders,
                   count(*) FILTER (WHERE CASE WHEN o.tx_id IS NULL THEN t.external_order_id IS NOT NULL AND (t.tx_type <> 'payment' OR t.id >= $8)
                       ELSE (o.order_id = t.external_order_id
                             AND t.tx_type = CASE WHEN o.scope = 1 THEN 'payment' ELSE 'recharge' END::app.tx_type
                             AND (o.scope <> 1 OR t.merchant_id = o.scope_no)) IS NOT TRUE END) AS odd
            FROM app.transactions t LEFT JOIN orders o ON o.tx_id = t.id AND o.scope <> 3),
        traded AS (
            SELECT count(o.tx_id) AS numbers, count(*) FILTER (WHERE (o.order_id = t.gateway_trade_no AND t.tx_type = 'recharge') IS NOT TRUE) AS odd
            FROM app.transactions t LEFT JOIN orders o ON o.tx_id = t.id AND o.scope = 3 WHERE t.gateway_trade_no IS NOT NULL)
        SELECT met.odd = 0 AND met.orders = (SELECT count(*) FROM orders o WHERE o.scope <> 3)
           AND traded.odd = 0 AND traded.numbers = (SELECT count(*) FROM orders o WHERE o.scope = 3)
        FROM met, traded$q$)
    ) AS r (place, sound)
$proofs$;
COMMENT ON FUNCTION sec.books_proofs() IS 'For rules of sec.books_rules(), by place: a query that proves cheaply that nothing breaks them. Internal.';
CREATE OR REPLACE FUNCTION app.verify_books(p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL)
    RETURNS TABLE (check_name text, ok boolean, detail text)
    -- STABLE: all checks see one moment, and it runs on a standby. Months are those of UTC. A sort of a million rows wants
    -- more memory than a charge.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET work_mem = '128MB' SET jit = off
    SET enable_nestloop = on SET enable_mergejoin = on AS $verify$
DECLARE
    v record;
    v_from timestamptz := coalesce(p_from, '-infinity');
    v_to timestamptz := coalesce(p_to, 'infinity');
    v_months_from timestamptz := date_trunc('month', v_from);
    v_months_to timestamptz := CASE WHEN isfinite(v_to) THEN date_trunc('month', v_to - interval '1 microsecond') + interval '1 month' ELSE v_to END;
    v_everything boolean := p_from IS NULL AND p_to IS NULL;
    v_archived bigint[];
    v_sound boolean;
    v_numbered boolean := false;
    v_found text[];
    v_places integer[] := '{}';
    v_names text[] := '{}';
    v_details text[] := '{}';
    v_events_before timestamptz := 'infinity';
    -- Keys of these months are remembered whatever settings.key_retention_days was in the meantime: 90 days is its least.
    v_keys_from bigint := to_char(now() - interval '90 days', 'YYMM')::bigint * 100000000000;
    v_month_ids_from bigint := CASE WHEN isfinite(v_months_from) THEN to_char(v_months_from, 'YYMM')::bigint * 100000000000 ELSE (-1)::bigint << 62 END;
    v_month_ids_to bigint := CASE WHEN isfinite(v_months_to) THEN to_char(v_months_to, 'YYMM')::bigint * 100000000000 ELSE 1::bigint << 62 END;
    v_ids_from bigint := v_month_ids_from;
    v_ids_to bigint := v_month_ids_to;
    v_with text := $w$
        WITH cards AS (
            SELECT c.id, c.card_no, c.balance, c.card_seq, c.last_tx_id, c.last_posted_at FROM app.personal_cards c
            UNION ALL
            SELECT c.id, c.card_no, c.balance, c.card_seq, c.last_tx_id, c.last_posted_at FROM app.enterprise_cards c),
        moved AS NOT MATERIALIZED (
            SELECT t.id, t.tx_no, t.tx_type, t.card_id, t.card_seq, t.prev_tx_id, t.skip_tx_id, t.posted_at, t.balance_after,
                   CASE t.tx_type WHEN 'payment' THEN -t.final_amount ELSE t.final_amount END AS change
            FROM app.transactions t WHERE t.status = 'completed' AND t.created_at >= $1 AND t.created_at < $2)$w$;
BEGIN
    IF v_from >= v_to THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_from is before p_to');
    END IF;
    SELECT coalesce(array_agg(to_char(a.month, 'YYMM')::bigint), '{}') INTO v_archived FROM app.archived_months a;
    IF isfinite(v_to) THEN
        -- A recharge is audited when it is confirmed, which may be long after it was asked for.
        SELECT greatest(v_to, max(t.posted_at)) + interval '1 hour' INTO v_events_before
        FROM app.transactions t WHERE t.created_at >= v_from AND t.created_at < v_to;
    END IF;
    IF v_everything THEN
        -- Autovacuum makes no statistics of partitioned tables. Without them the planner takes a million rows for a few, and
        -- would look each of them up.
        PERFORM set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true);
    ELSE
        -- Within a month, keys and orders know no time, but numbers: those between the lowest and the highest of the range.
        SELECT CASE WHEN v_from = v_months_from THEN v_month_ids_from ELSE coalesce(min(t.id), 0) END,
               CASE WHEN v_to = v_months_to THEN v_month_ids_to ELSE coalesce(max(t.id) + 1, 0) END
        INTO v_ids_from, v_ids_to
        FROM app.transactions t WHERE t.created_at >= v_from AND t.created_at < v_to;
    END IF;
    -- Numbers first: on them the short proofs build.
    FOR v IN SELECT r.place, r.checks, r.finds, p.sound, 'numbers' = ANY (r.checks) AS is_numbers
             FROM sec.books_rules() r LEFT JOIN sec.books_proofs() p ON p.place = r.place ORDER BY 5 DESC, 1 LOOP
        v_sound := false;
        IF v.sound IS NOT NULL AND v_everything AND v_numbered THEN
            EXECUTE v_with || v.sound INTO v_sound
                USING v_from, v_to, v_archived, v_everything, v_events_before, v_months_from, v_months_to, v_keys_from;
            IF v_sound IS NOT TRUE THEN
                RAISE DEBUG 'no short proof of %', v.checks;
            END IF;
        END IF;
        IF v_sound THEN
            v_found := array_fill('ok'::text, ARRAY[cardinality(v.checks)]);
        ELSE
            EXECUTE
                'SELECT array_agg(y.detail ORDER BY y.place) FROM ('
                || 'SELECT c.place, CASE WHEN count(f.what) = 0 THEN ''ok'' ELSE string_agg(f.what, ''; '' ORDER BY f.what) '
                || '            || CASE WHEN max(f.found) > 10 THEN format(''; and %s more'', max(f.found) - 10) ELSE '''' END END AS detail '
                || 'FROM unnest($9::text[]) WITH ORDINALITY c (name, place) LEFT JOIN ('
                || '    SELECT x.name, x.what, row_number() OVER (PARTITION BY x.name ORDER BY x.what) AS nth, count(*) OVER (PARTITION BY x.name) AS found FROM ('
                || v_with
                || regexp_replace(v.finds, '\{month ([^}]+)\}',
                       'CASE WHEN (\1) / 10000000000000 BETWEEN 0 AND 99 AND (\1) / 100000000000 % 100 BETWEEN 1 AND 12 '
                       || 'THEN make_timestamptz((2000 + (\1) / 10000000000000)::integer, ((\1) / 100000000000 % 100)::integer, 1, 0, 0, 0) END', 'g')
                || ') x (name, what)) f ON f.name = c.name AND f.nth <= 10 GROUP BY c.place, c.name) y'
                INTO v_found
                USING v_from, v_to, v_archived, v_everything, v_events_before, v_months_from, v_months_to, v_keys_from, v.checks,
                      v_ids_from, v_ids_to, v_month_ids_from, v_month_ids_to;
        END IF;
        v_numbered := v_numbered OR (v.is_numbers AND v_found = array_fill('ok'::text, ARRAY[cardinality(v.checks)]));
        v_places := v_places || array_fill(v.place, ARRAY[cardinality(v.checks)]);
        v_names := v_names || v.checks;
        v_details := v_details || v_found;
    END LOOP;
    RETURN QUERY
        SELECT x.name, x.detail = 'ok', x.detail FROM unnest(v_places, v_names, v_details) WITH ORDINALITY x (place, name, detail, nth)
        ORDER BY x.place, x.nth;
END
$verify$;
COMMENT ON FUNCTION app.verify_books(timestamptz, timestamptz) IS
    'Proves the books: one row per check, with up to ten cards or transactions that break it. Of transactions asked for (created_at) from p_from to before p_to; NULL: everything that is not archived. A range reads its months only, so it compares a card with its movements where the last one lies in it; of keys and orders it looks at those whose numbers lie between the range''s. For operators, also on a standby. Errors: INVALID_ARGUMENT.';
CREATE OR REPLACE FUNCTION audit.seal_hash(p_seal_no bigint, p_ids bigint[], p_digests bigint[], p_first_at timestamptz, p_last_at timestamptz, p_sealed_at timestamptz, p_events_hash bytea, p_prev_hash bytea)
    RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sha256(convert_to(jsonb_build_array('mps seal 1', p_seal_no, p_ids, p_digests,
        (extract(epoch FROM p_first_at) * 1000000)::bigint, (extract(epoch FROM p_last_at) * 1000000)::bigint,
        (extract(epoch FROM p_sealed_at) * 1000000)::bigint, encode(p_events_hash, 'hex'), encode(p_prev_hash, 'hex'))::text, 'UTF8'))
$$;
CREATE FUNCTION audit.event_logs() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT 'SELECT e.* FROM audit.event_log e' || coalesce(string_agg(format(' UNION ALL SELECT e.* FROM %s e', x.log), '' ORDER BY a.month), '')
    FROM app.archived_months a, LATERAL (SELECT to_regclass('mps_archive.event_log_' || to_char(a.month, 'YYYYMM')) AS log) x
    WHERE x.log IS NOT NULL
$$;
COMMENT ON FUNCTION audit.event_logs() IS 'The query for every event that is in this database, archived months included. Internal.';
CREATE FUNCTION audit.intact_seals(p_seals int8range) RETURNS int8multirange
    -- Joining each seal to a subquery of its own would do without this function, but such a join is never shared among processes.
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_intact int8multirange;
BEGIN
    EXECUTE format($q$
        SELECT range_agg(int8range(s.seal_no, s.seal_no, '[]'))
        FROM audit.seals s LEFT JOIN audit.seals b ON b.seal_no = s.seal_no - 1,
             LATERAL (SELECT count(*) AS events, sha256(string_agg(int8send(e.id) || %s, '' ORDER BY e.id)) AS hash FROM (%s) e
                      WHERE e.id > CASE WHEN s.seal_no = 1 THEN -1 ELSE b.last_id END AND e.id <= s.last_id) x
        WHERE s.seal_no >= $1 AND s.seal_no < $2 AND x.events = s.events AND x.hash = s.events_hash
        $q$, audit.event_digest(), audit.event_logs())
        INTO v_intact USING lower(p_seals), upper(p_seals);
    RETURN v_intact;
END
$$;
COMMENT ON FUNCTION audit.intact_seals(int8range) IS
    'Which of these seals have exactly their events between the end of the seal before and their own: the same ids with the same contents, none more and none less. Internal.';
CREATE OR REPLACE FUNCTION audit.verify(p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL, p_head text DEFAULT NULL)
    RETURNS TABLE (check_name text, ok boolean, detail text)
    -- Seals are few, but each stands for a thousand events to hash: worth several processes.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET work_mem = '64MB' SET jit = off
    SET min_parallel_table_scan_size = 0 AS $verify$
DECLARE
    c_piece constant integer := 16;
    v record;
    v_from timestamptz := coalesce(p_from, '-infinity');
    v_to timestamptz := coalesce(p_to, 'infinity');
    v_found text[] := '{}';
    v_broken bigint[];
    v_intact int8multirange;
    v_same int8multirange;
    v_chosen int8range;
    v_unsure int8multirange := '{}';
    v_missing text[];
    v_missing_at tstzmultirange;
    v_changed text[];
    v_removed text[];
    v_inserted text[];
    v_reordered text[];
    v_events bigint;
    v_seals bigint;
BEGIN
    IF v_from >= v_to THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_from is before p_to');
    END IF;

    SELECT coalesce(array_agg(to_char(a.month, 'YYYY-MM') ORDER BY a.month), '{}'), coalesce(range_agg(tstzrange(a.month, a.month + interval '1 month')), '{}')
    INTO v_missing, v_missing_at
    FROM app.archived_months a WHERE to_regclass('mps_archive.event_log_' || to_char(a.month, 'YYYYMM')) IS NULL;
    SELECT int8range(min(s.seal_no) FILTER (WHERE s.last_at >= v_from), max(s.seal_no) FILTER (WHERE s.first_at < v_to), '[]') INTO v_chosen
    FROM audit.seals s
    HAVING min(s.seal_no) FILTER (WHERE s.last_at >= v_from) <= max(s.seal_no) FILTER (WHERE s.first_at < v_to);
    -- The costly part, and so cut in pieces that several processes can share: which seals are not what their hash says, and
    -- which of the chosen ones have exactly their events. What no piece vouches for, be it because its first seal is gone, is
    -- looked at event by event below. (EXECUTE, because a SELECT ... INTO would ask for two rows, and that is never shared.)
    EXECUTE $q$
        SELECT coalesce(array_agg(x.seal_no) FILTER (WHERE x.whole IS NOT TRUE), '{}'), coalesce(range_agg(x.intact), '{}')
        FROM (SELECT s.seal_no,
                     s.hash = audit.seal_hash(s.seal_no, s.ids, s.digests, s.first_at, s.last_at, s.sealed_at, s.events_hash, s.prev_hash)
                         AND (s.first_id, s.last_id, s.events) = (s.ids[1], s.ids[cardinality(s.ids)], cardinality(s.ids)) AS whole,
                     CASE WHEN s.seal_no % $2 = 1 AND int8range(s.seal_no, s.seal_no + $2) && $1
                          THEN audit.intact_seals(int8range(s.seal_no, s.seal_no + $2) * $1) END AS intact
              FROM audit.seals s OFFSET 0) x$q$
        INTO v_broken, v_intact USING v_chosen, c_piece;

    -- The chain, always all of it: every seal is what its hash says, and follows the one before.
    FOR v IN
        SELECT s.seal_no, s.first_id, s.last_id, coalesce(lag(s.seal_no) OVER w, 0) AS before_no, coalesce(lag(s.last_id) OVER w, 0) AS before_last,
               coalesce(lead(s.first_id) OVER w, s.last_id + 1) AS next_first,
               s.prev_hash = coalesce(lag(s.hash) OVER w, decode(repeat('00', 32), 'hex')) AS follows,
               s.seal_no <> ALL (v_broken) AS whole
        FROM audit.seals s WINDOW w AS (ORDER BY s.seal_no)
    LOOP
        IF v.seal_no <> v.before_no + 1 THEN
            v_found := v_found || format('seal %s follows seal %s: what was between them is missing', v.seal_no, v.before_no);
            v_unsure := v_unsure + int8multirange(int8range(v.before_last, greatest(v.first_id, v.before_last), '()'));
        ELSIF NOT v.follows THEN
            v_found := v_found || format('seal %s does not follow seal %s as that is now', v.seal_no, v.before_no);
        END IF;
        IF NOT v.whole THEN
            -- Whatever it says: its events are those between its neighbours', and cannot be compared with anything.
            v_found := v_found || format('seal %s was changed: events %s to %s cannot be checked', v.seal_no, v.before_last + 1, v.next_first - 1);
            v_unsure := v_unsure + int8multirange(int8range(v.before_last, greatest(v.next_first, v.before_last), '()'));
        END IF;
    END LOOP;
    check_name := 'seals'; ok := cardinality(v_found) = 0; detail := sec.first_ten(v_found);
    RETURN NEXT;

    SELECT count(*) > 0, max(s.seal_no) INTO ok, v_seals FROM audit.seals s
    WHERE s.hash = CASE WHEN p_head ~* '^([0-9a-f]{2})+$' THEN decode(p_head, 'hex') END;
    check_name := 'head';
    detail := CASE WHEN p_head IS NULL THEN 'ok; not checked: no head was given'
                   WHEN ok THEN format('ok; it is seal %s', v_seals) ELSE 'no seal has this hash: these are not the seals that it was taken from' END;
    ok := ok OR p_head IS NULL;
    RETURN NEXT;

    -- The ids between two whole seals, where what is there has the hash of the second: nothing of it was changed, removed,
    -- inserted or reordered. What is left of the chosen is compared event by event.
    SELECT coalesce(range_agg(int8range(coalesce(b.last_id, -1), s.last_id, '(]')) FILTER (WHERE x.same), '{}'),
           coalesce(sum(s.events) FILTER (WHERE x.same), 0)
    INTO v_same, v_events
    FROM audit.seals s LEFT JOIN audit.seals b ON b.seal_no = s.seal_no - 1,
         LATERAL (SELECT s.seal_no <@ v_intact AND s.seal_no <> ALL (v_broken) AND (s.seal_no = 1 OR b.seal_no <> ALL (v_broken)) IS TRUE AS same) x
    WHERE s.seal_no <@ v_chosen;
    EXECUTE format($q$
        WITH chosen AS (
            SELECT s.seal_no, s.first_id, s.last_id, s.first_at, s.last_at, s.ids, s.digests, s.events_hash,
                   tstzrange(s.first_at, s.last_at, '[]') && $5 AS has_missing
            FROM audit.seals s
            WHERE s.seal_no <@ $6),
        -- One stretch of ids: whatever lies in it and is in none of its seals was inserted.
        stretch AS (
            SELECT CASE WHEN $1 = '-infinity' THEN 0 ELSE min(c.first_id) END AS first_id, max(c.last_id) AS last_id,
                   least($1, min(c.first_at)) AS first_at, greatest($2, max(c.last_at) + interval '1 microsecond') AS last_at
            FROM chosen c),
        sealed AS (SELECT c.seal_no, c.has_missing, u.id, u.digest FROM chosen c, unnest(c.ids, c.digests) u (id, digest)
                   WHERE c.seal_no <> ALL ($3) AND NOT c.last_id <@ $7),
        present AS (
            SELECT e.id, %s AS digest FROM (%s) e
            WHERE e.id >= (SELECT s.first_id FROM stretch s) AND e.id <= (SELECT s.last_id FROM stretch s)
              AND e.happened_at >= (SELECT s.first_at FROM stretch s) AND e.happened_at < (SELECT s.last_at FROM stretch s)
              AND NOT e.id <@ $7),
        compared AS MATERIALIZED (
            SELECT s.seal_no, s.id AS sealed_id, s.has_missing, s.digest AS was, p.id, p.digest AS full_digest,
                   ('x' || encode(substr(p.digest, 1, 8), 'hex'))::bit(64)::bigint AS now
            FROM sealed s FULL JOIN present p ON p.id = s.id),
        odd AS MATERIALIZED (
            SELECT c.* FROM compared c
            WHERE (c.sealed_id IS NULL AND NOT c.id <@ $4) OR (c.id IS NULL AND NOT c.has_missing) OR c.now <> c.was),
        named AS (
            SELECT coalesce(o.sealed_id, o.id) AS id,
                   CASE WHEN o.sealed_id IS NULL THEN 'inserted' WHEN o.id IS NULL THEN 'removed' WHEN t.id IS NULL THEN 'changed' ELSE 'reordered' END AS kind,
                   CASE WHEN t.id IS NULL THEN format('event %%s', coalesce(o.sealed_id, o.id)) ELSE format('event %%s is what was sealed as %%s', o.id, t.id) END AS what
            FROM odd o LEFT JOIN LATERAL (SELECT x.sealed_id AS id FROM odd x WHERE x.was = o.now AND x.sealed_id <> o.id ORDER BY 1 LIMIT 1) t ON true
            UNION ALL
            -- An event that was forged to the first eight bytes.
            SELECT min(d.sealed_id), 'changed', format('one of the events of seal %%s', d.seal_no)
            FROM compared d JOIN chosen c ON c.seal_no = d.seal_no
            WHERE d.seal_no IS NOT NULL AND NOT d.has_missing
            GROUP BY d.seal_no, c.events_hash
            HAVING sha256(string_agg(int8send(d.id) || d.full_digest, '' ORDER BY d.id)) IS DISTINCT FROM c.events_hash
               AND d.seal_no <> ALL (ARRAY(SELECT o.seal_no FROM odd o WHERE o.seal_no IS NOT NULL)))
        SELECT coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'changed'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'removed'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'inserted'), '{}'),
               coalesce(array_agg(n.what ORDER BY n.id) FILTER (WHERE n.kind = 'reordered'), '{}'),
               (SELECT count(*) FROM compared c WHERE c.id = c.sealed_id) + $8, (SELECT count(*) FROM chosen)
        FROM named n
        $q$, audit.event_digest(), audit.event_logs())
        INTO v_changed, v_removed, v_inserted, v_reordered, v_events, v_seals
        USING v_from, v_to, v_broken, v_unsure, v_missing_at, v_chosen, v_same, v_events;
    RETURN QUERY
        SELECT x.name, cardinality(x.found) = 0, sec.first_ten(x.found)
        FROM (VALUES ('events_changed', v_changed), ('events_removed', v_removed), ('events_inserted', v_inserted), ('events_reordered', v_reordered)) x (name, found);
    check_name := 'compared';
    ok := true;
    detail := format('ok; %s events with %s seals', v_events, v_seals)
              || CASE WHEN cardinality(v_missing) > 0 THEN '; not checked, archived and no longer here: ' || array_to_string(v_missing, ', ') ELSE '' END;
    RETURN NEXT;
END
$verify$;
CREATE OR REPLACE FUNCTION app.health() RETURNS TABLE (check_name text, ok boolean, detail text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    -- A job may miss two runs before anybody is told.
    c_missed_runs constant integer := 3;
    c_unsealed_age constant interval := '1 hour';
    -- expire_recharges cancels what is due; between its runs something always is.
    c_recharge_grace constant interval := '1 hour';
    v record;
    v_answer text;
    v_message text;
BEGIN
    SELECT count(*) AS ahead INTO v
    FROM generate_series(1, 120) n
    WHERE NOT EXISTS (
        SELECT FROM generate_series(0, n) k, unnest(ARRAY['app.transactions_', 'app.point_ledger_', 'audit.event_log_']) t
        WHERE to_regclass(t || to_char(now() + make_interval(months => k), 'YYYYMM')) IS NULL);
    RETURN QUERY SELECT 'partitions'::text, v.ahead >= 1,
                        format('%s months ahead are made%s', v.ahead, CASE WHEN v.ahead < 1 THEN ': CALL app.maintain_partitions()' ELSE '' END);

    SELECT count(*) AS events, clock_timestamp() - min(e.happened_at) AS age INTO v
    FROM audit.event_log e WHERE e.id > coalesce((SELECT max(s.last_id) FROM audit.seals s), 0);
    RETURN QUERY SELECT 'unsealed_events'::text, v.events = 0 OR v.age < c_unsealed_age,
                        CASE WHEN v.events = 0 THEN 'none' ELSE format('%s, the oldest %s old', v.events, date_trunc('second', v.age)) END;

    SELECT count(*) AS recharges, min(t.created_at) AS oldest, (array_agg(t.tx_no ORDER BY t.created_at))[1:10] AS numbers INTO v
    FROM app.transactions t, app.settings s
    WHERE t.status = 'processing' AND t.created_at < now() - make_interval(mins => s.recharge_ttl_minutes);
    RETURN QUERY
        SELECT 'stale_recharges'::text,
               NOT coalesce((SELECT v.oldest < now() - make_interval(mins => s.recharge_ttl_minutes) - c_recharge_grace FROM app.settings s), false),
               CASE WHEN v.recharges = 0 THEN 'none' ELSE format('%s older than settings.recharge_ttl_minutes: %s', v.recharges, array_to_string(v.numbers, ', ')) END;

    SELECT count(*) AS cards, (array_agg(format('%s (%s)', c.card_no, c.balance) ORDER BY c.card_no))[1:10] AS numbers INTO v
    FROM (SELECT p.card_no, p.balance FROM app.personal_cards p WHERE p.status = 'closed' AND p.balance <> 0
          UNION ALL SELECT e.card_no, e.balance FROM app.enterprise_cards e WHERE e.status = 'closed' AND e.balance <> 0) c;
    RETURN QUERY SELECT 'closed_cards_with_balance'::text, v.cards = 0,
                        CASE WHEN v.cards = 0 THEN 'none' ELSE format('%s, credited after they were closed: %s', v.cards, array_to_string(v.numbers, ', ')) END;

    -- After a takeover without their values the sequences begin again: numbers would repeat. The greatest of a padded number is
    -- found by its text, which is one probe of its index, and right up to 99,999,999.
    SELECT string_agg(format('%s gave %s, but %s is used', x.seq, x.given, x.used), '; ') AS behind INTO v
    FROM (SELECT 'app.tx_no_seq' AS seq, (SELECT CASE WHEN q.is_called THEN q.last_value ELSE q.last_value - 1 END FROM app.tx_no_seq q) AS given, (SELECT max(t.id) % 100000000000 FROM app.transactions t) AS used
          UNION ALL SELECT 'audit.event_id_seq', (SELECT CASE WHEN q.is_called THEN q.last_value ELSE q.last_value - 1 END FROM audit.event_id_seq q), greatest((SELECT max(e.id) FROM audit.event_log e), (SELECT max(s.last_id) FROM audit.seals s))
          UNION ALL SELECT 'app.merchant_id_seq', (SELECT CASE WHEN q.is_called THEN q.last_value ELSE q.last_value - 1 END FROM app.merchant_id_seq q), (SELECT max(m.id) FROM app.merchants m)
          UNION ALL SELECT 'app.member_no_seq', (SELECT CASE WHEN q.is_called THEN q.last_value ELSE q.last_value - 1 END FROM app.member_no_seq q), (SELECT substr(max(m.member_no), 2)::bigint FROM app.member_profiles m)
          UNION ALL SELECT 'app.personal_card_no_seq', (SELECT CASE WHEN q.is_called THEN q.last_value ELSE q.last_value - 1 END FROM app.personal_card_no_seq q), (SELECT substr(max(c.card_no), 4)::bigint FROM app.personal_cards c)
          UNION ALL SELECT 'app.enterprise_card_no_seq', (SELECT CASE WHEN q.is_called THEN q.last_value ELSE q.last_value - 1 END FROM app.enterprise_card_no_seq q), (SELECT max(substr(c.card_no, 4)::bigint) FROM app.enterprise_cards c)) x
    WHERE x.used > x.given;
    RETURN QUERY SELECT 'sequences'::text, v.behind IS NULL, coalesce(v.behind || ': setval() them before anybody writes', 'none is behind its table');

    RETURN QUERY
        SELECT 'job ' || coalesce(j.job, r.job),
               coalesce(coalesce(r.finished_at, r.started_at) > now() - c_missed_runs * j.every, r.job IS NOT NULL AND j.job IS NULL),
               CASE WHEN r.job IS NULL THEN 'has never run: SELECT * FROM app.schedule_jobs()'
                    ELSE format('%s %s ago, %s rows', CASE WHEN r.finished_at IS NULL THEN 'began, but has not finished,' ELSE 'finished' END,
                                date_trunc('second', greatest(clock_timestamp() - coalesce(r.finished_at, r.started_at), interval '0')), r.rows_done) END
        FROM sec.jobs() j FULL JOIN app.job_runs r ON r.job = j.job ORDER BY j.job IS NULL, 1;

    -- Only the library knows its version: any RPC answers SCHEMA_OUTDATED before anything else.
    BEGIN
        PERFORM app.get_settings();
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_answer = MESSAGE_TEXT, v_message = PG_EXCEPTION_DETAIL;
    END;
    RETURN QUERY
        SELECT 'schema_version'::text, v_answer IS DISTINCT FROM 'SCHEMA_OUTDATED',
               CASE WHEN v_answer = 'SCHEMA_OUTDATED' THEN v_message || ': SELECT app.migrate()'
                    ELSE format('tables %s, extension %s', s.schema_version, coalesce(e.extversion, 'missing')) END
        FROM (SELECT) one LEFT JOIN app.settings s ON true LEFT JOIN pg_extension e ON e.extname = 'mps';
END
$$;
COMMENT ON FUNCTION app.health() IS
    'One row per thing to watch: months made ahead, audit events not sealed, recharges nobody confirmed, closed cards that were credited, sequences behind their tables, the last run of each job, the version of the tables. For operators, also on a standby.';
CREATE FUNCTION sec.what_there_is() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_rows bigint;
    v_transactions bigint := 0;
    v_events bigint := 0;
    v_cards bigint;
    v_balance numeric;
BEGIN
    SELECT count(*), coalesce(sum(c.balance), 0.00) INTO v_cards, v_balance
    FROM (SELECT p.balance FROM app.personal_cards p UNION ALL SELECT e.balance FROM app.enterprise_cards e) c;
    FOR v IN
        SELECT 'app.transactions' AS tab, true AS moves UNION ALL SELECT 'audit.event_log', false
        UNION ALL
        SELECT c.oid::regclass::text, c.relname ~ '^transactions_' FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('mps_archive') AND c.relkind = 'r' AND c.relname ~ '^(transactions|event_log)_[0-9]{6}$'
    LOOP
        EXECUTE 'SELECT count(*) FROM ' || v.tab INTO v_rows;
        v_transactions := v_transactions + CASE WHEN v.moves THEN v_rows ELSE 0 END;
        v_events := v_events + CASE WHEN v.moves THEN 0 ELSE v_rows END;
    END LOOP;
    RETURN format('%s cards holding %s, %s transactions and the audit log of %s events of database %s', v_cards, v_balance, v_transactions, v_events, current_database());
END
$$;
COMMENT ON FUNCTION sec.what_there_is() IS 'In words, what sec.destroy_everything() would destroy at this moment, archived months included. Internal.';
CREATE FUNCTION sec.destroy_everything(p_confirm text) RETURNS TABLE (statement text, remark text)
    -- SECURITY INVOKER: mps_owner may neither drop what is another's nor be the one who did this. Whoever works in the tables
    -- is not kept waiting for long.
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET lock_timeout = '5s' AS $$
DECLARE
    v record;
    v_owner oid := to_regrole('mps_owner');
    v_spaces oid[] := ARRAY(SELECT n.oid FROM pg_namespace n WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive'));
    v_what text;
    v_in_the_way text;
    v_elsewhere text;
BEGIN
    IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
        PERFORM sec.raise('NOT_ALLOWED', 'only a superuser destroys everything');
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'under READ COMMITTED only: an older view would count what was there before the locks');
    END IF;
    -- Twice: without locks, so that who only asks what would be lost keeps nobody waiting; and again when nothing can change.
    FOR v_try IN 1 .. 2 LOOP
        v_what := sec.what_there_is();
        IF p_confirm IS DISTINCT FROM 'destroy ' || v_what THEN
            PERFORM sec.raise('INVALID_ARGUMENT', format('nothing was destroyed; p_confirm has to be: destroy %s', v_what));
        END IF;
        EXIT WHEN v_try = 2;
        -- First the lock of sec.make_month(), then the tables.
        LOCK TABLE app.archived_months IN ACCESS EXCLUSIVE MODE;
        FOR v IN SELECT c.oid::regclass AS tab FROM pg_class c
                 WHERE c.relnamespace = ANY (v_spaces) AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.oid::regclass::text
        LOOP
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', v.tab);
        END LOOP;
    END LOOP;

    -- A partition goes with its table, whoever's it is.
    SELECT string_agg(format('table %s', c.oid::regclass), ', ' ORDER BY c.oid::regclass::text) INTO v_in_the_way
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
    WHERE p.relnamespace = ANY (v_spaces) AND p.relowner = v_owner AND p.relkind = 'p'
      AND (c.relowner <> v_owner OR c.relnamespace <> ALL (v_spaces)) AND c.relkind IN ('r', 'p', 'f');
    IF v_in_the_way IS NULL THEN
        BEGIN
            FOR v IN
                SELECT format('DROP TRIGGER %I ON %s', g.tgname, g.tgrelid::regclass) AS command, 1 AS place
                FROM pg_trigger g WHERE g.tgname = 'mps_signup' AND g.tgfoid = 'sec.on_signup()'::regprocedure AND NOT g.tgisinternal
                UNION ALL
                -- Each kind at once, so that what hangs together does; RESTRICT, so that nothing else goes along.
                SELECT format('DROP %s %s', x.kind, string_agg(c.oid::regclass::text, ', ')), x.place
                FROM pg_class c JOIN (VALUES ('v', 'VIEW', 2), ('r', 'TABLE', 3), ('p', 'TABLE', 3), ('S', 'SEQUENCE', 4)) x (relkind, kind, place) ON x.relkind = c.relkind
                WHERE c.relnamespace = ANY (v_spaces) AND c.relowner = v_owner AND NOT c.relispartition
                GROUP BY x.kind, x.place
                UNION ALL
                SELECT 'DROP TYPE ' || string_agg(t.oid::regtype::text, ', '), 5
                FROM pg_type t WHERE t.typnamespace = ANY (v_spaces) AND t.typowner = v_owner AND t.typtype = 'e'
                HAVING count(*) > 0
                UNION ALL
                SELECT format('DROP SCHEMA %I', n.nspname), 6 FROM pg_namespace n WHERE n.nspname = 'mps_archive' AND n.nspowner = v_owner
                ORDER BY 2
            LOOP
                EXECUTE v.command;
            END LOOP;
        EXCEPTION WHEN dependent_objects_still_exist THEN
            GET STACKED DIAGNOSTICS v_in_the_way = PG_EXCEPTION_DETAIL;
        END;
    END IF;
    IF v_in_the_way IS NULL THEN
        -- What the next steps would stumble over: whatever else lies in the schemas or uses a function of the extension.
        SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ') INTO v_in_the_way
        FROM pg_depend d, pg_extension e
        WHERE e.extname = 'mps' AND d.deptype = 'n' AND (d.classid, d.objid) <> ('pg_extension'::regclass, e.oid)
          AND ((d.refclassid = 'pg_namespace'::regclass AND d.refobjid = ANY (v_spaces))
               OR (d.refclassid, d.refobjid) IN (SELECT m.classid, m.objid FROM pg_depend m
                                                 WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e'))
          AND (d.classid, d.objid) NOT IN (SELECT m.classid, m.objid FROM pg_depend m
                                           WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e');
    END IF;
    IF v_in_the_way IS NOT NULL THEN
        PERFORM sec.raise('STATUS_CONFLICT', format('nothing was destroyed, because these are not of mps: %s', v_in_the_way));
    END IF;

    RAISE LOG 'mps: % (logged in as %, from %) destroyed %', current_user, session_user, coalesce(host(inet_client_addr()), 'this machine'), v_what;
    SELECT string_agg(d.datname, ', ' ORDER BY d.datname) INTO v_elsewhere
    FROM pg_database d
    WHERE d.datname <> current_database()
      AND EXISTS (SELECT FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = v_owner AND s.dbid = d.oid);
    IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
        RETURN QUERY EXECUTE
            'SELECT format(''SELECT cron.unschedule(%s);'', j.jobid), format(''job %s of %s'', coalesce(j.jobname, ''?''), j.username) FROM cron.job j '
            'WHERE j.database = current_database() AND j.jobname = ANY ($1) ORDER BY j.jobid'
            USING ARRAY(SELECT 'mps_' || j.job FROM sec.jobs() j);
    END IF;
    RETURN QUERY
        VALUES ('DROP EXTENSION mps;', 'after this transaction; CREATE EXTENSION mps then starts afresh'),
               ('DROP SCHEMA app, audit, sec;', 'they are empty then'),
               ('DROP ROLE mps_owner;', CASE WHEN v_elsewhere IS NULL THEN 'no other database of this server uses it'
                                             ELSE 'not as long as other databases use it: ' || v_elsewhere END);
END
$$;
COMMENT ON FUNCTION sec.destroy_everything(text) IS
    'Destroys every card, transaction, setting and audit event of this database, archived months included, for good; returns what is left to be run by hand. p_confirm is a sentence that says how much there is at this moment: any other text is refused with the sentence in the detail. Refused also while anything that is not of mps depends on it. The server''s log gets a line. For a superuser. Errors: INVALID_ARGUMENT, NOT_ALLOWED, STATUS_CONFLICT.';
CREATE FUNCTION sec.settle_functions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    -- Everybody's EXECUTE goes, and everything that runs with its owner's rights belongs to mps_owner.
    FOR v IN
        SELECT format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure) AS target
        FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mps')
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', v.target);
        EXECUTE format('ALTER %s OWNER TO mps_owner', v.target);
    END LOOP;
    -- What ALTER DEFAULT PRIVILEGES gave to others on the way goes as well: only sec.grant_api() grants.
    FOR v IN
        SELECT DISTINCT format('REVOKE ALL ON %s %s FROM %I', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END,
                               p.oid::regprocedure, pg_get_userbyid(a.grantee)) AS command
        FROM pg_proc p, aclexplode(p.proacl) a
        WHERE p.pronamespace IN ('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace)
          AND a.grantee NOT IN (0, p.proowner)
        UNION ALL
        SELECT DISTINCT format('REVOKE ALL ON SCHEMA %I FROM %s', n.nspname,
                               CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
        FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE n.nspname IN ('app', 'audit', 'sec') AND a.grantee <> n.nspowner AND current_setting('row_security') <> 'off'
    LOOP
        EXECUTE v.command;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.settle_functions() IS
    'Gives the extension''s functions to mps_owner and takes every grant on them and on the schemas back; sec.install() grants anew. Internal: CREATE EXTENSION and ALTER EXTENSION UPDATE call it.';
CREATE FUNCTION sec.disown_data() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
DECLARE
    v record;
BEGIN
    -- Data is not the extension's: DROP EXTENSION must not take it.
    FOR v IN
        SELECT d.classid, d.objid, o.type, o.identity
        FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) o
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mps')
          AND d.classid IN ('pg_class'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass)
        ORDER BY d.classid = 'pg_type'::regclass, o.identity LIKE '%[]'
    LOOP
        -- Newer servers let a table take its row type along, and a type its array.
        IF EXISTS (SELECT FROM pg_depend d WHERE d.classid = v.classid AND d.objid = v.objid AND d.deptype = 'e') THEN
            EXECUTE format('ALTER EXTENSION mps DROP %s %s', v.type, v.identity);
        END IF;
    END LOOP;
    -- A grant inside CREATE EXTENSION counts as the extension's own and pg_dump leaves it out, also on what is no member. Ours
    -- are to be dumped like anybody's.
    DELETE FROM pg_init_privs i
    USING pg_namespace n
    WHERE n.nspname IN ('app', 'audit', 'sec')
      AND ((i.classoid = 'pg_namespace'::regclass AND i.objoid = n.oid)
        OR (i.classoid = 'pg_class'::regclass AND i.objoid IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = n.oid))
        OR (i.classoid = 'pg_proc'::regclass AND i.objoid IN (SELECT p.oid FROM pg_proc p WHERE p.pronamespace = n.oid)));
END
$$;
COMMENT ON FUNCTION sec.disown_data() IS
    'Takes tables, sequences, views, types and schemas out of the extension, so that nothing takes a row with it. Internal: CREATE EXTENSION and ALTER EXTENSION UPDATE call it.';

-- End of the functions --

-- Owner and grants of what is new, then the tables, then nothing of the data is left to the extension.
SELECT sec.settle_functions();
SELECT sec.migrate_tables();
SELECT sec.disown_data();
