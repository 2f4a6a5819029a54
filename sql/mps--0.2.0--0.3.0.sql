-- From 0.2.0 to 0.3.0. Run by ALTER EXTENSION mps UPDATE, in one transaction. Tables keep their rows and change only by
-- sec.migrate_tables(), which also serves an old dump restored under this release.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers = off;

-- Functions, written by tools/upgrade-script --

CREATE OR REPLACE FUNCTION sec.uid() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'uid_wrapper';
COMMENT ON FUNCTION sec.uid() IS
    'The signed-in user: the sub of request.jwt.claims as a uuid, or NULL (no claims, no sub, or a sub that is no uuid; and in what maintenance evaluates, whatever the claims).';
CREATE OR REPLACE FUNCTION sec.config_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'config_changed_trigger_wrapper';
CREATE FUNCTION sec.require_operator() RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'require_operator_wrapper';
COMMENT ON FUNCTION sec.require_operator() IS
    'Refuses a batch that somebody calls through the function of an operator without being one, or that maintenance evaluates. Internal. Errors: NOT_ALLOWED.';
CREATE FUNCTION sec.caller_role() RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'caller_role_wrapper';
COMMENT ON FUNCTION sec.caller_role() IS
    'Who is responsible for what a SECURITY DEFINER function or a trigger of mps does, for the audit log: the role that the session runs under. Internal.';
CREATE OR REPLACE FUNCTION sec.level_changed() RETURNS trigger
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
    VALUES (nextval('audit.event_id_seq'), now(), sec.uid(), sec.caller_role(),
            'level.' || CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END,
            'membership_level', coalesce(v_after ->> 'level', v_before ->> 'level', 'all'),
            jsonb_strip_nulls(jsonb_build_object('before', v_before, 'after', v_after)));
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION app.register_member(p_name text, p_phone text DEFAULT NULL, p_email text DEFAULT NULL, p_user_id uuid DEFAULT NULL)
    RETURNS TABLE (member_id uuid, member_no text, card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'register_member_wrapper';
CREATE OR REPLACE FUNCTION app.rotate_card_qr(p_card_id uuid, p_card_type text DEFAULT 'personal', p_member_id uuid DEFAULT NULL)
    RETURNS TABLE (qr_plain text, qr_expires_at timestamptz)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'rotate_card_qr_wrapper';
CREATE OR REPLACE FUNCTION app.merchant_charge_by_qr(p_merchant_code text, p_qr_plain text, p_amount numeric, p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL, p_external_order_id text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_type text, card_id uuid, raw_amount numeric, discount numeric, final_amount numeric, points_earned bigint, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'merchant_charge_by_qr_wrapper';
CREATE OR REPLACE FUNCTION app.merchant_refund_tx(p_merchant_code text, p_original_tx_no text, p_refund_amount numeric, p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (refund_tx_id bigint, refund_tx_no text, refunded_amount numeric, points_reversed bigint, refundable_left numeric, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'merchant_refund_tx_wrapper';
CREATE OR REPLACE FUNCTION app.user_recharge_personal_card(p_personal_card_id uuid, p_amount numeric, p_payment_method text DEFAULT 'wechat', p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_external_order_id text DEFAULT NULL, p_idempotency_key text DEFAULT NULL, p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'user_recharge_personal_card_wrapper';
CREATE OR REPLACE FUNCTION app.user_recharge_enterprise_card_admin(p_enterprise_card_id uuid, p_amount numeric, p_payment_method text DEFAULT 'wechat', p_reason text DEFAULT NULL, p_tag jsonb DEFAULT '{}', p_external_order_id text DEFAULT NULL, p_idempotency_key text DEFAULT NULL, p_merchant_code text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'user_recharge_enterprise_card_admin_wrapper';
CREATE OR REPLACE FUNCTION app.confirm_recharge(p_tx_no text, p_amount numeric, p_gateway_trade_no text, p_payload jsonb DEFAULT '{}')
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'confirm_recharge_wrapper';
CREATE OR REPLACE FUNCTION app.fail_recharge(p_tx_no text, p_reason text)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, status text, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'fail_recharge_wrapper';
CREATE OR REPLACE FUNCTION app.enterprise_add_member(p_card_no text, p_member_id uuid, p_role text DEFAULT 'member')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'enterprise_add_member_wrapper';
CREATE OR REPLACE FUNCTION app.enterprise_remove_member(p_card_no text, p_member_id uuid)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'enterprise_remove_member_wrapper';
CREATE OR REPLACE FUNCTION app.create_merchant(p_code text, p_name text)
    RETURNS TABLE (merchant_id integer, code text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_merchant_wrapper';
CREATE OR REPLACE FUNCTION app.set_merchant_user(p_merchant_code text, p_user_id uuid, p_role text DEFAULT 'cashier')
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_user_wrapper';
CREATE OR REPLACE FUNCTION app.remove_merchant_user(p_merchant_code text, p_user_id uuid)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'remove_merchant_user_wrapper';
CREATE OR REPLACE FUNCTION app.set_merchant_status(p_merchant_code text, p_active boolean, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_merchant_status_wrapper';
CREATE OR REPLACE FUNCTION app.create_enterprise_card(p_company_name text, p_fixed_discount numeric DEFAULT 1.000, p_admin_member_id uuid DEFAULT NULL)
    RETURNS TABLE (card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'create_enterprise_card_wrapper';
CREATE OR REPLACE FUNCTION app.set_member_status(p_member_id uuid, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_member_status_wrapper';
CREATE OR REPLACE FUNCTION app.set_card_status(p_card_id uuid, p_card_type text, p_status text, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_card_status_wrapper';
CREATE OR REPLACE FUNCTION app.set_card_expiry(p_card_id uuid, p_card_type text, p_expires_at timestamptz, p_reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_card_expiry_wrapper';
CREATE OR REPLACE FUNCTION app.replace_card(p_card_id uuid, p_reason text)
    RETURNS TABLE (card_id uuid, card_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'replace_card_wrapper';
CREATE OR REPLACE FUNCTION app.adjust_points(p_card_id uuid, p_change bigint, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (points bigint, level integer)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'adjust_points_wrapper';
CREATE OR REPLACE FUNCTION app.compensate_tx(p_tx_no text, p_amount numeric, p_reason text, p_idempotency_key text DEFAULT NULL)
    RETURNS TABLE (tx_id bigint, tx_no text, card_id uuid, amount numeric, balance_after numeric, created_at timestamptz, replayed boolean)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'compensate_tx_wrapper';
CREATE OR REPLACE FUNCTION app.get_settings()
    RETURNS jsonb
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'get_settings_wrapper';
CREATE OR REPLACE FUNCTION app.update_settings(p_settings jsonb)
    RETURNS jsonb
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'update_settings_wrapper';
CREATE OR REPLACE FUNCTION app.card_statement(p_card_id uuid, p_card_type text DEFAULT 'personal', p_before text DEFAULT NULL, p_limit integer DEFAULT 50)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, change numeric, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, balance_after numeric, card_seq bigint, payment_method text,
        merchant_code text, member_id uuid, original_tx_no text, refunded_amount numeric, reason text, tag jsonb,
        created_at timestamptz, posted_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'card_statement_wrapper';
CREATE OR REPLACE FUNCTION app.merchant_statement(p_merchant_code text, p_from timestamptz DEFAULT NULL, p_to timestamptz DEFAULT NULL, p_before text DEFAULT NULL, p_limit integer DEFAULT 50)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, card_type text, card_id uuid, raw_amount numeric, discount numeric,
        final_amount numeric, points_earned bigint, payment_method text, original_tx_no text, refunded_amount numeric, reason text,
        tag jsonb, external_order_id text, processed_by uuid, created_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'merchant_statement_wrapper';
CREATE OR REPLACE FUNCTION app.balance_as_of(p_card_id uuid, p_at timestamptz, p_card_type text DEFAULT 'personal')
    RETURNS numeric
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'balance_as_of_wrapper';
CREATE OR REPLACE FUNCTION app.tx_by_no(p_tx_no text)
    RETURNS TABLE (tx_id bigint, tx_no text, tx_type text, status text, card_type text, card_id uuid, member_id uuid, merchant_code text,
        raw_amount numeric, discount numeric, final_amount numeric, points_earned bigint, balance_after numeric, payment_method text,
        original_tx_no text, refunded_amount numeric, reason text, tag jsonb, created_at timestamptz, posted_at timestamptz)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'tx_by_no_wrapper';
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
            schema_version        integer       NOT NULL DEFAULT 3,
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
CREATE OR REPLACE FUNCTION sec.migrate_tables() RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $migrate$
DECLARE
    c_version constant integer := 3;
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
    IF v_found < 3 THEN
        -- 0.3.0.
        ALTER TABLE app.settings ALTER COLUMN schema_version SET DEFAULT 3;
    END IF;
    UPDATE app.settings SET schema_version = c_version WHERE schema_version <> c_version;
    RETURN c_version;
END
$migrate$;
CREATE OR REPLACE FUNCTION sec.job_batch(p_job text, p_rows bigint, p_first boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.require_operator();
    IF p_job IS NULL OR p_job NOT IN ('maintain_partitions', 'archive_partitions', 'seal') OR p_rows IS NULL OR p_rows < 0 OR p_first IS NULL THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'no batch of a job of mps');
    END IF;
    INSERT INTO app.job_runs AS j (job, started_at, finished_at, rows_done)
    VALUES (p_job, clock_timestamp(), CASE WHEN p_rows = 0 THEN clock_timestamp() END, p_rows)
    ON CONFLICT (job) DO UPDATE SET
        started_at = CASE WHEN p_first THEN excluded.started_at ELSE j.started_at END,
        finished_at = excluded.finished_at,
        rows_done = CASE WHEN p_first THEN excluded.rows_done ELSE j.rows_done + excluded.rows_done END;
    RETURN p_rows = 0;
END
$$;
CREATE OR REPLACE FUNCTION app.maintain_partitions_batch(p_ahead integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.check_months_ahead(p_ahead);
    RETURN sec.make_month(((now() AT TIME ZONE 'UTC')::date + make_interval(months => p_ahead))::date);
END
$$;
CREATE OR REPLACE FUNCTION app.expire_cards_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_cards_batch_wrapper';
CREATE OR REPLACE FUNCTION app.expire_qrcodes_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_qrcodes_batch_wrapper';
CREATE OR REPLACE FUNCTION app.expire_recharges_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_recharges_batch_wrapper';
CREATE OR REPLACE FUNCTION app.expire_keys_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'expire_keys_batch_wrapper';
CREATE OR REPLACE FUNCTION app.recompute_levels_batch(p_after text) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'recompute_levels_batch_wrapper';
CREATE OR REPLACE FUNCTION sec.register_signup(p_user_id uuid, p_name text, p_phone text, p_email text) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'register_signup_wrapper';
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
               p.proacl, p.proowner, p.prosecdef, p.proconfig, p.prolang = (SELECT l.oid FROM pg_language l WHERE l.lanname = 'c') AS is_native
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
    -- Who has a level, whatever list says so: the right to execute its marker.
    leveled AS (
        SELECT r.oid, has_function_privilege(r.oid, 'sec.level_client()', 'EXECUTE') AS is_client,
               has_function_privilege(r.oid, 'sec.level_backend()', 'EXECUTE') AS is_backend
        FROM pg_roles r, owner o WHERE NOT r.rolsuper AND r.oid <> o.oid
    ),
    findings (rule, problem) AS (
        SELECT 'row-level security is on for every table', r.name FROM relations r WHERE r.relkind IN ('r', 'p') AND NOT r.relrowsecurity
        UNION ALL
        SELECT 'nothing is granted to PUBLIC or anon', format('%s: %s to %s', n.object, n.privilege_type, n.who)
        FROM named n WHERE n.who IN ('PUBLIC', 'anon')
        UNION ALL
        SELECT 'SECURITY DEFINER functions belong to mps_owner', format('%s belongs to %s', f.name, pg_get_userbyid(f.proowner))
        FROM functions f WHERE (f.prosecdef OR f.is_native OR f.func LIKE 'sec.level%') AND f.proowner IS DISTINCT FROM (SELECT o.oid FROM owner o)
        UNION ALL
        SELECT 'SECURITY DEFINER functions have a fixed search_path ending in pg_temp', f.name
        FROM functions f
        WHERE f.prosecdef AND NOT EXISTS (SELECT FROM unnest(f.proconfig) c WHERE c ~ '^search_path=("?pg_catalog"?, )?"?pg_temp"?$')
        UNION ALL
        -- It would take its owner for the immediate caller, and whoever stands between would not be seen.
        SELECT 'native functions see who calls them (are not SECURITY DEFINER)', f.name FROM functions f WHERE f.prosecdef AND f.is_native
        UNION ALL
        SELECT 'clients create nothing where backends may find it', format('%s may CREATE in schema %s', x.who, x.nspname)
        FROM (SELECT n.oid, n.nspname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS who
              FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
              WHERE a.privilege_type = 'CREATE' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                AND (a.grantee = 0 OR EXISTS (SELECT FROM leveled l WHERE l.is_client AND NOT l.is_backend AND pg_has_role(l.oid, a.grantee, 'MEMBER')))) x
        WHERE EXISTS (SELECT FROM leveled l WHERE l.is_backend AND has_schema_privilege(l.oid, x.oid, 'USAGE'))
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
               (15, 'settings and levels announce their changes'),
               (16, 'native functions see who calls them (are not SECURITY DEFINER)'),
               (17, 'clients create nothing where backends may find it')
    )
    SELECT r.rule, count(f.rule) = 0, coalesce(string_agg(f.problem, '; ' ORDER BY f.problem), 'ok')
    FROM rules r LEFT JOIN findings f ON f.rule = r.rule GROUP BY r.place, r.rule ORDER BY r.place
$check$;
CREATE OR REPLACE FUNCTION audit.seal_note() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_up_to bigint;
    v_xid xid8;
BEGIN
    PERFORM sec.require_operator();
    -- One sealer at a time. A lock on a table of our own, because an advisory lock is anybody's to take.
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM audit.seal_cut c WHERE c.xid < pg_snapshot_xmax(pg_current_snapshot())) THEN
        RETURN false;
    END IF;
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'the cut is noted first thing in a transaction: CALL audit.seal()');
    END IF;
    -- Event ids are drawn before the commit, so a lower one may become visible later. Whoever drew one has a transaction id
    -- by then, and all of those are below the one that is taken here, after the sequence was read: once they have ended,
    -- nothing up to up_to can appear any more. (The snapshot's xmax would not do: it is the next after the last one that
    -- ended, and transactions beyond it may be running.)
    SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END INTO v_up_to FROM audit.event_id_seq q;
    v_xid := pg_current_xact_id();
    INSERT INTO audit.seal_cut AS c (up_to, xid, noted_at) VALUES (v_up_to, v_xid, clock_timestamp())
    ON CONFLICT (singleton) DO UPDATE SET up_to = excluded.up_to, xid = excluded.xid, noted_at = excluded.noted_at;
    RETURN true;
END
$$;
CREATE OR REPLACE FUNCTION audit.seal_batch() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_batch_events constant integer := 1000;
    v_up_to bigint;
    v_last_no bigint;
    v_last_id bigint;
    v_last_hash bytea;
    v record;
    v_sealed_at timestamptz := clock_timestamp();
BEGIN
    PERFORM sec.require_operator();
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    SELECT c.up_to INTO v_up_to FROM audit.seal_cut c WHERE pg_snapshot_xmin(pg_current_snapshot()) >= c.xid;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT s.seal_no, s.last_id, s.hash INTO v_last_no, v_last_id, v_last_hash FROM audit.seals s ORDER BY s.seal_no DESC LIMIT 1;
    EXECUTE format($q$
        SELECT count(*)::integer AS events, min(x.happened_at) AS first_at, max(x.happened_at) AS last_at,
               array_agg(x.id ORDER BY x.id) AS ids,
               array_agg(('x' || encode(substr(x.digest, 1, 8), 'hex'))::bit(64)::bigint ORDER BY x.id) AS digests,
               sha256(string_agg(int8send(x.id) || x.digest, '' ORDER BY x.id)) AS events_hash
        FROM (SELECT e.id, e.happened_at, %s AS digest FROM audit.event_log e WHERE e.id > $1 AND e.id <= $2 ORDER BY e.id LIMIT $3) x
        $q$, audit.event_digest())
        INTO v USING coalesce(v_last_id, 0), v_up_to, c_batch_events;
    IF v.events > 0 THEN
        v_last_hash := coalesce(v_last_hash, decode(repeat('00', 32), 'hex'));
        INSERT INTO audit.seals (seal_no, first_id, last_id, events, first_at, last_at, sealed_at, ids, digests, events_hash, prev_hash, hash)
        VALUES (coalesce(v_last_no, 0) + 1, v.ids[1], v.ids[v.events], v.events, v.first_at, v.last_at, v_sealed_at, v.ids, v.digests, v.events_hash, v_last_hash,
                audit.seal_hash(coalesce(v_last_no, 0) + 1, v.ids, v.digests, v.first_at, v.last_at, v_sealed_at, v.events_hash, v_last_hash));
    END IF;
    IF v.events < c_batch_events THEN
        -- All of it is sealed: the next cut may be noted.
        DELETE FROM audit.seal_cut;
    END IF;
    RETURN v.events;
END
$$;
CREATE OR REPLACE FUNCTION app.archive_month_batch(p_month date) RETURNS text
    -- Shorter than deadlock_timeout: whatever this waits for, it gives way, and nobody queues behind it for longer.
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '500ms' AS $$
DECLARE
    v_month date;
    v_suffix text := to_char(p_month, 'YYYYMM');
    v_sealed bigint;
    v_unsealed bigint;
    v record;
BEGIN
    PERFORM sec.require_operator();
    IF p_month IS NULL OR p_month <> date_trunc('month', p_month)::date THEN
        PERFORM sec.raise('INVALID_ARGUMENT', 'p_month is the first day of a month');
    END IF;
    IF to_regnamespace('mps_archive') IS NULL
       OR (SELECT n.nspowner::regrole::text FROM pg_namespace n WHERE n.nspname = 'mps_archive') <> 'mps_owner' THEN
        PERFORM sec.raise('STATUS_CONFLICT', 'there is no schema mps_archive of mps_owner: CREATE SCHEMA mps_archive AUTHORIZATION mps_owner');
    END IF;
    BEGIN
        -- First the lock of sec.make_month(), then the tables, so that nothing is decided on what may still change.
        LOCK TABLE app.archived_months IN SHARE ROW EXCLUSIVE MODE;
        LOCK TABLE app.transactions, app.point_ledger, audit.event_log IN ACCESS EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN 'busy';
    END;
    SELECT m.month INTO v_month FROM sec.months_to_archive((p_month + interval '1 month')::date) m WHERE m.month = p_month;
    IF NOT FOUND THEN
        RETURN 'not there, or not over yet';
    END IF;
    FOR v IN SELECT x.name FROM (VALUES ('app.transactions', 'app'), ('app.point_ledger', 'app'), ('audit.event_log', 'audit')) x (name, nsp)
             WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = x.name::regclass AND i.inhrelid = to_regclass(x.name || '_' || v_suffix)) LOOP
        RETURN format('%s has no such month', v.name);
    END LOOP;
    IF EXISTS (SELECT FROM app.transactions t WHERE t.status = 'processing' AND t.created_at >= p_month::timestamptz
                 AND t.created_at < p_month + interval '1 month') THEN
        RETURN 'a recharge of it is still processing: confirm it, fail it, or let app.expire_recharges() end it';
    END IF;
    SELECT max(s.last_id) INTO v_sealed FROM audit.seals s;
    SELECT count(*) INTO v_unsealed FROM audit.event_log e
    WHERE e.happened_at >= p_month::timestamptz AND e.happened_at < p_month + interval '1 month' AND e.id > coalesce(v_sealed, 0);
    IF v_unsealed > 0 THEN
        RETURN format('%s audit events of it are not sealed: CALL audit.seal()', v_unsealed);
    END IF;

    INSERT INTO app.archived_months (month, archived_at) VALUES (p_month, clock_timestamp());
    FOR v IN SELECT * FROM (VALUES ('app', 'transactions'), ('app', 'point_ledger'), ('audit', 'event_log')) x (nsp, tab) LOOP
        EXECUTE format('ALTER TABLE %1$I.%2$I DETACH PARTITION %1$I.%3$I', v.nsp, v.tab, v.tab || '_' || v_suffix);
        EXECUTE format('ALTER TABLE %I.%I SET SCHEMA mps_archive', v.nsp, v.tab || '_' || v_suffix);
    END LOOP;
    PERFORM sec.make_month((now())::date);
    INSERT INTO audit.event_log (id, happened_at, actor_user_id, actor_role, action, object_type, object_id, context)
    VALUES (nextval('audit.event_id_seq'), now(), sec.uid(), sec.caller_role(), 'month.archived', 'month', to_char(p_month, 'YYYY-MM'), '{}');
    RETURN NULL;
END
$$;

-- End of the functions --

-- Owner and grants of what is new, then the tables, then nothing of the data is left to the extension.
SELECT sec.settle_functions();
SELECT sec.migrate_tables();
SELECT sec.disown_data();
