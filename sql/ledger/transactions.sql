-- What moved money, by month.

CREATE FUNCTION sec.install_transactions() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regtype('app.tx_type') IS NULL THEN
        CREATE TYPE app.tx_type AS ENUM ('payment', 'refund', 'recharge', 'adjustment', 'withdrawal');
        COMMENT ON TYPE app.tx_type IS 'What a transaction is: numbers ZF, TK, CZ, TZ, TX';
    ELSIF NOT EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = 'app.tx_type'::regtype AND e.enumlabel = 'withdrawal') THEN
        -- Nothing that the same transaction makes or runs may name it: the server allows that once it is committed.
        ALTER TYPE app.tx_type ADD VALUE 'withdrawal';
        COMMENT ON TYPE app.tx_type IS 'What a transaction is: numbers ZF, TK, CZ, TZ, TX';
    END IF;
    IF to_regtype('app.tx_status') IS NULL THEN
        CREATE TYPE app.tx_status AS ENUM ('processing', 'completed', 'failed', 'cancelled');
        COMMENT ON TYPE app.tx_status IS 'Only completed transactions have moved money';
    END IF;
    IF to_regtype('app.pay_method') IS NULL THEN
        CREATE TYPE app.pay_method AS ENUM ('balance', 'cash', 'wechat', 'alipay');
        COMMENT ON TYPE app.pay_method IS 'Where the money came from: the card''s balance, or outside (recharges)';
    END IF;
    IF to_regclass('app.tx_no_seq') IS NULL THEN
        CREATE SEQUENCE app.tx_no_seq AS bigint MAXVALUE 99999999999;
        COMMENT ON SEQUENCE app.tx_no_seq IS 'Running part of every transaction number, across months and types; may skip, never repeats';
    END IF;
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
            tag               jsonb          NOT NULL DEFAULT '{}',
            excluded_amount   numeric(14,2),
            coupon_discount   numeric(14,2),
            member_coupon_id  bigint,
            points_base       bigint,
            points_bonus      bigint,
            campaigns         jsonb
            -- No CHECK here: the server parses each one anew at every INSERT (a tenth of a charge for five of them). The
            -- library asserts the same things before it writes, and the books are verified.
        ) PARTITION BY RANGE (created_at);
        CREATE INDEX transactions_member_id_idx ON app.transactions (member_id, created_at) WHERE member_id IS NOT NULL;
        CREATE INDEX transactions_merchant_posted_idx ON app.transactions (merchant_id, posted_at);
        CREATE INDEX transactions_processing_idx ON app.transactions (created_at) WHERE status = 'processing';
        COMMENT ON TABLE app.transactions IS
            'Every payment, refund, recharge, adjustment and withdrawal, by month of created_at (UTC). Each partition has its own '
            'primary key (id); the id carries the month, so ids are unique for ever.';
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
        COMMENT ON COLUMN app.transactions.refunded_amount IS 'On a payment: the sum of its refunds so far. NULL elsewhere.';
        COMMENT ON COLUMN app.transactions.refundable_left IS 'On a refund: what was left of the payment after it. NULL elsewhere.';
        COMMENT ON COLUMN app.transactions.points_earned IS 'Points added by it; negative where taken back.';
        COMMENT ON COLUMN app.transactions.original_tx_no IS
            'On a refund: the payment. On an adjustment: what it corrects, or the other half of a card''s replacement.';
        COMMENT ON COLUMN app.transactions.member_id IS
            'Whose card it is, or who used or recharged the enterprise card. NULL where a backend did.';
        COMMENT ON COLUMN app.transactions.processed_by IS 'sec.uid() of who called; NULL for a backend without one.';
    ELSIF sec.lacks_price_columns() THEN
        -- Of older releases. What has no default is the catalog's alone, whatever the number of rows.
        ALTER TABLE app.transactions
            ADD COLUMN excluded_amount numeric(14,2), ADD COLUMN coupon_discount numeric(14,2), ADD COLUMN member_coupon_id bigint,
            ADD COLUMN points_base bigint, ADD COLUMN points_bonus bigint, ADD COLUMN campaigns jsonb;
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_transactions() IS
    'Makes the table of transactions, its types and the sequence of its numbers, where they are missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.lacks_price_columns() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('app.transactions') AND a.attname = 'excluded_amount')
$$;
COMMENT ON FUNCTION sec.lacks_price_columns() IS
    'Whether app.transactions is as releases before 0.3.0 made it: without what decides a price. Internal.';
