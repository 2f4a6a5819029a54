-- What payment gateways say of a day in their own files, and what of it is not as the books have it.

CREATE FUNCTION sec.install_reconciliation() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.gateway_bill_id_seq') IS NULL THEN
        CREATE SEQUENCE app.gateway_bill_id_seq AS bigint;
        COMMENT ON SEQUENCE app.gateway_bill_id_seq IS 'Ids of app.gateway_bills; may skip, never repeats';
    END IF;
    IF to_regclass('app.gateway_bills') IS NULL THEN
        CREATE TABLE app.gateway_bills (
            id              bigint        NOT NULL PRIMARY KEY,
            imported_at     timestamptz   NOT NULL,
            replaced_at     timestamptz,
            account         text          NOT NULL REFERENCES app.gateway_accounts,
            bill_date       date          NOT NULL,
            kind            text          NOT NULL CHECK (kind IN ('trade', 'fundflow')),
            lines           bigint        NOT NULL,
            payments        bigint        NOT NULL,
            payment_total   numeric(20,2) NOT NULL,
            payment_settled numeric(20,2) NOT NULL,
            refunds         bigint        NOT NULL,
            refund_total    numeric(20,2) NOT NULL,
            refund_settled  numeric(20,2) NOT NULL,
            fee_total       numeric(20,5) NOT NULL,
            incoming        bigint        NOT NULL,
            incoming_total  numeric(20,2) NOT NULL,
            outgoing        bigint        NOT NULL,
            outgoing_total  numeric(20,2) NOT NULL,
            sha256          bytea         NOT NULL,
            warnings        jsonb         NOT NULL DEFAULT '[]'
        );
        CREATE UNIQUE INDEX gateway_bills_current_idx ON app.gateway_bills (account, bill_date, kind) WHERE replaced_at IS NULL;
        COMMENT ON TABLE app.gateway_bills IS
            'The bills of payment gateways that were imported; of a day and kind one counts, and those before it are kept';
    END IF;
    IF to_regclass('app.gateway_bill_files') IS NULL THEN
        CREATE TABLE app.gateway_bill_files (
            bill_id bigint NOT NULL PRIMARY KEY REFERENCES app.gateway_bills,
            content bytea  NOT NULL
        );
        -- Most are packed already.
        ALTER TABLE app.gateway_bill_files ALTER COLUMN content SET STORAGE EXTERNAL;
        COMMENT ON TABLE app.gateway_bill_files IS 'The files of app.gateway_bills, as they were downloaded';
    END IF;
    IF to_regclass('app.gateway_bill_lines') IS NULL THEN
        CREATE TABLE app.gateway_bill_lines (
            bill_id       bigint        NOT NULL,
            line          bigint        NOT NULL,
            at            timestamptz   NOT NULL,
            owner         bigint,
            amount        numeric(14,2) NOT NULL,
            settled       numeric(14,2) NOT NULL,
            fee           numeric(20,5),
            is_copy       boolean       NOT NULL,
            entry         text          NOT NULL,
            trade_no      text          NOT NULL,
            order_no      text,
            refund_no     text,
            out_refund_no text,
            state         text,
            refund_state  text,
            PRIMARY KEY (bill_id, line)
        );
        CREATE INDEX gateway_bill_lines_trade_no_idx ON app.gateway_bill_lines (trade_no);
        CREATE INDEX gateway_bill_lines_order_no_idx ON app.gateway_bill_lines (order_no) WHERE owner IS NULL;
        CREATE INDEX gateway_bill_lines_out_refund_no_idx ON app.gateway_bill_lines (out_refund_no) WHERE out_refund_no IS NOT NULL;
        COMMENT ON TABLE app.gateway_bill_lines IS 'The payments and refunds of the trade bills that count, a row for each line';
    END IF;
    IF to_regclass('app.recon_days') IS NULL THEN
        CREATE TABLE app.recon_days (
            account               text          NOT NULL REFERENCES app.gateway_accounts,
            bill_date             date          NOT NULL,
            reconciled_at         timestamptz,
            closed_at             timestamptz,
            closed_by             uuid,
            closed_role           text,
            reopened_at           timestamptz,
            matched_payments      bigint        NOT NULL DEFAULT 0,
            matched_payment_total numeric(20,2) NOT NULL DEFAULT 0,
            matched_refunds       bigint        NOT NULL DEFAULT 0,
            matched_refund_total  numeric(20,2) NOT NULL DEFAULT 0,
            book_payments         bigint        NOT NULL DEFAULT 0,
            book_payment_total    numeric(20,2) NOT NULL DEFAULT 0,
            book_refunds          bigint        NOT NULL DEFAULT 0,
            book_refund_total     numeric(20,2) NOT NULL DEFAULT 0,
            callbacks             bigint        NOT NULL DEFAULT 0,
            callback_total        numeric(20,2) NOT NULL DEFAULT 0,
            PRIMARY KEY (account, bill_date)
        );
        CREATE INDEX recon_days_reopened_idx ON app.recon_days (bill_date) WHERE reopened_at IS NOT NULL AND closed_at IS NULL;
        COMMENT ON TABLE app.recon_days IS
            'Days of accounts at payment gateways: as app.reconcile() found them last, and whether they are closed';
    END IF;
    PERFORM sec.install_recon_items();
END
$install$;
COMMENT ON FUNCTION sec.install_reconciliation() IS
    'Makes the tables of bills and reconciliation, where they are missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.install_recon_items() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.recon_item_id_seq') IS NULL THEN
        CREATE SEQUENCE app.recon_item_id_seq AS bigint;
        COMMENT ON SEQUENCE app.recon_item_id_seq IS 'Ids of app.recon_items; may skip, never repeats';
    END IF;
    IF to_regclass('app.recon_items') IS NULL THEN
        CREATE TABLE app.recon_items (
            id            bigint        NOT NULL PRIMARY KEY DEFAULT nextval('app.recon_item_id_seq'),
            first_seen    timestamptz   NOT NULL,
            last_seen     timestamptz   NOT NULL,
            account       text          NOT NULL REFERENCES app.gateway_accounts,
            bill_date     date          NOT NULL,
            entry         text          NOT NULL CHECK (entry IN ('payment', 'refund', 'fee')),
            class         text          NOT NULL CHECK (class IN ('status_differs', 'only_in_bill', 'only_in_books', 'amount_differs',
                                                                  'fee_differs', 'duplicate', 'timing')),
            ref           text          NOT NULL,
            tx_no         text,
            trade_no      text,
            order_no      text,
            refund_no     text,
            book_amount   numeric(14,2),
            bill_amount   numeric(14,2),
            status        text          NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'resolved')),
            resolution    text          CHECK (resolution IN ('credit', 'debit', 'refund', 'write_off', 'explained', 'settled')),
            resolved_at   timestamptz,
            resolved_by   uuid,
            resolved_role text,
            note          text,
            result_tx_no  text,
            suspense_id   bigint,
            receivable    numeric(14,2) NOT NULL DEFAULT 0 CHECK (receivable >= 0),
            uncovered     numeric(14,2) NOT NULL DEFAULT 0 CHECK (uncovered >= receivable),
            source_tx_no  text,
            UNIQUE (account, bill_date, entry, ref),
            CHECK ((status = 'resolved') = (resolution IS NOT NULL))
        );
        CREATE INDEX recon_items_open_idx ON app.recon_items (account, bill_date) WHERE status = 'open';
        CREATE INDEX recon_items_trade_no_idx ON app.recon_items (trade_no);
        CREATE INDEX recon_items_result_idx ON app.recon_items (result_tx_no) WHERE result_tx_no IS NOT NULL;
        CREATE INDEX recon_items_source_tx_no_idx ON app.recon_items (source_tx_no) WHERE uncovered > 0;
        CREATE INDEX recon_items_receivable_idx ON app.recon_items (account) WHERE receivable > 0;
        COMMENT ON TABLE app.recon_items IS
            'Where bill, callbacks and books of a day differ, until app.resolve_recon_item() says what becomes of it, or it is so no more';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_recon_items() IS
    'Makes the table of differences and the sequence of its ids, where they are missing. Internal: sec.install_reconciliation() calls it.';
