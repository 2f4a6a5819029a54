-- The corrections.

CREATE FUNCTION sec.install_compensations() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
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
END
$install$;
COMMENT ON FUNCTION sec.install_compensations() IS 'Makes the table of corrections, where it is missing. Internal: sec.install() calls it.';
