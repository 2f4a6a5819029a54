-- What withdrawals take of each source.

CREATE FUNCTION sec.install_withdrawals() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.withdrawals') IS NULL THEN
        CREATE TABLE app.withdrawals (
            created_at        timestamptz    NOT NULL,
            settled_at        timestamptz,
            card_type         app.card_type  NOT NULL,
            payment_method    app.pay_method NOT NULL,
            card_id           uuid           NOT NULL,
            amount            numeric(14,2)  NOT NULL CHECK (amount > 0),
            refund_no         text           NOT NULL PRIMARY KEY,
            tx_no             text           NOT NULL,
            source_tx_no      text,
            gateway_account   text,
            gateway_trade_no  text,
            asked             text           NOT NULL CHECK (asked IN ('source', 'transfer', 'cash')),
            payout            text           NOT NULL CHECK (payout IN ('source', 'transfer', 'cash')),
            status            text           NOT NULL CHECK (status IN ('processing', 'completed', 'returned', 'paid_after_return')),
            gateway_state     text,
            gateway_refund_no text,
            returned_tx_no    text           UNIQUE,
            reason            text,
            CHECK ((status = 'processing') = (settled_at IS NULL)),
            CHECK ((status IN ('returned', 'paid_after_return')) = (returned_tx_no IS NOT NULL))
        );
        CREATE INDEX withdrawals_tx_no_idx ON app.withdrawals (tx_no);
        CREATE INDEX withdrawals_source_tx_no_idx ON app.withdrawals (source_tx_no) WHERE source_tx_no IS NOT NULL;
        CREATE INDEX withdrawals_gateway_trade_no_idx ON app.withdrawals (gateway_trade_no) WHERE gateway_trade_no IS NOT NULL;
        CREATE INDEX withdrawals_open_idx ON app.withdrawals (created_at) WHERE status IN ('processing', 'paid_after_return');
        COMMENT ON TABLE app.withdrawals IS
            'What a withdrawal takes of each source, under a refund number of its own. The withdrawal is over when none of them is '
            'processing';
        COMMENT ON COLUMN app.withdrawals.settled_at IS 'When the last word was said of it. NULL: it is processing.';
        COMMENT ON COLUMN app.withdrawals.payment_method IS
            'How it came in: cash, wechat, alipay; balance where that lies in archived months.';
        COMMENT ON COLUMN app.withdrawals.refund_no IS
            'tx_no, a hyphen, and which of its sources: what is sent to a gateway as out_refund_no or out_request_no.';
        COMMENT ON COLUMN app.withdrawals.source_tx_no IS
            'The recharge that it came in by, of the card or of one that this took over from. NULL: of archived months.';
        COMMENT ON COLUMN app.withdrawals.gateway_account IS 'The account whose callback has credited that recharge, if one has.';
        COMMENT ON COLUMN app.withdrawals.gateway_trade_no IS 'The gateway''s number of the payment that is refunded, if it has one.';
        COMMENT ON COLUMN app.withdrawals.payout IS
            'How it goes out: source (by the gateway, or by who had said that it came), transfer (somebody makes it), cash.';
        COMMENT ON COLUMN app.withdrawals.status IS
            'processing; completed, the payer has it; returned, the card has it again; paid_after_return, the payer was paid after that.';
        COMMENT ON COLUMN app.withdrawals.gateway_state IS 'What the gateway said while it is processing: ABNORMAL asks for somebody.';
        COMMENT ON COLUMN app.withdrawals.gateway_refund_no IS 'The number that the gateway or the bank has for it, if somebody noted it.';
        COMMENT ON COLUMN app.withdrawals.returned_tx_no IS 'The adjustment that gave it back to the card.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_withdrawals() IS 'Makes the table of withdrawals, where it is missing. Internal: sec.install() calls it.';
