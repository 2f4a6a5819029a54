-- The merchants, and who operates them.

CREATE FUNCTION sec.install_merchants() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.merchant_id_seq') IS NULL THEN
        CREATE SEQUENCE app.merchant_id_seq AS integer;
        COMMENT ON SEQUENCE app.merchant_id_seq IS 'Ids of merchants';
    END IF;
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
END
$install$;
COMMENT ON FUNCTION sec.install_merchants() IS
    'Makes the tables of merchants and the sequence of their ids, where they are missing. Internal: sec.install() calls it.';
