-- The recharges that wait for their payment, those that were paid otherwise than asked for, and gateway money in suspense.

CREATE FUNCTION sec.install_recharges() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.pending_recharges') IS NULL THEN
        CREATE TABLE app.pending_recharges (
            tx_id   bigint NOT NULL PRIMARY KEY,
            card_id uuid   NOT NULL
        );
        CREATE INDEX pending_recharges_card_id_idx ON app.pending_recharges (card_id);
        COMMENT ON TABLE app.pending_recharges IS
            'The recharges that wait for their payment, by card: what settings.max_pending_recharges bounds';
    END IF;
    IF to_regclass('app.asked_methods') IS NULL THEN
        CREATE TABLE app.asked_methods (
            tx_id          bigint         NOT NULL PRIMARY KEY,
            payment_method app.pay_method NOT NULL
        );
        COMMENT ON TABLE app.asked_methods IS
            'The recharges that were paid by another method than the one asked for, which payment_method has: whoever repeats the '
            'request is known by it';
    END IF;
    IF to_regclass('app.suspense_id_seq') IS NULL THEN
        CREATE SEQUENCE app.suspense_id_seq AS bigint;
        COMMENT ON SEQUENCE app.suspense_id_seq IS 'Ids of app.suspense_payments; may skip, never repeats';
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
            status           text           NOT NULL DEFAULT 'open'
                CHECK (status IN ('open', 'credited', 'refunding', 'refunded', 'written_off')),
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
        COMMENT ON COLUMN app.suspense_payments.amount IS 'What the gateway has taken and not given back by itself, in currency units.';
        COMMENT ON COLUMN app.suspense_payments.reason IS
            'Why it was not credited: already_settled (the recharge has its money already); of callbacks amount_differs, order_unknown, '
            'order_ambiguous, archived, balance_limit, partly_refunded (amount is what is left), refunded; '
            'in_a_bill (app.resolve_recon_item() sends it back).';
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
END
$install$;
COMMENT ON FUNCTION sec.install_recharges() IS
    'Makes the tables of pending recharges, of methods that were asked for and of suspense, and the sequence of its ids, where they '
    'are missing. Internal: sec.install() calls it.';
