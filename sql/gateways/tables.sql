-- Accounts at payment gateways, and the keys that their notices are verified with.

CREATE FUNCTION sec.install_gateways() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.gateway_accounts') IS NULL THEN
        CREATE TABLE app.gateway_accounts (
            code        text        NOT NULL PRIMARY KEY,
            provider    text        NOT NULL CHECK (provider IN ('wechat', 'alipay')),
            active      boolean     NOT NULL DEFAULT true,
            merchant_id integer     REFERENCES app.merchants,
            created_at  timestamptz NOT NULL,
            config      jsonb       NOT NULL
        );
        CREATE INDEX gateway_accounts_merchant_id_idx ON app.gateway_accounts (merchant_id);
        COMMENT ON TABLE app.gateway_accounts IS 'Accounts at payment gateways, whose notices are taken';
    END IF;
    IF to_regclass('sec.gateway_keys') IS NULL THEN
        CREATE TABLE sec.gateway_keys (
            account     text        NOT NULL REFERENCES app.gateway_accounts,
            kind        text        NOT NULL CHECK (kind IN ('wechat_apiv3_key', 'wechat_public_key', 'alipay_public_key')),
            key_id      text        NOT NULL,
            created_at  timestamptz NOT NULL,
            valid_from  timestamptz,
            valid_until timestamptz,
            sealed      boolean     NOT NULL,
            key         bytea       NOT NULL,
            PRIMARY KEY (account, kind, key_id)
        );
        COMMENT ON TABLE sec.gateway_keys IS 'What notices of payment gateways are verified and decrypted with; for nobody to read';
        COMMENT ON COLUMN sec.gateway_keys.sealed IS 'Whether the key is under the master key, which is in no database.';
        COMMENT ON COLUMN sec.gateway_keys.valid_from IS 'NULL: since ever.';
        COMMENT ON COLUMN sec.gateway_keys.valid_until IS 'NULL: for ever.';
        COMMENT ON COLUMN sec.gateway_keys.key IS 'A public key as it was given, or a secret.';
    END IF;
    PERFORM sec.install_gateway_events();
END
$install$;
COMMENT ON FUNCTION sec.install_gateways() IS
    'Makes the tables of payment gateways, where they are missing. Internal: sec.install() calls it.';
