-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_merchants() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.merchants', 'id, active, created_at, code, name'),
           ('client', 'app.merchant_users', 'merchant_id, user_id, created_at, role')
$$;
COMMENT ON FUNCTION sec.columns_of_merchants() IS 'What may be read of merchants. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_merchants() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.merchants', 'operated_merchant', 'id IN (SELECT sec.merchant_ids())', 'idINSELECTsec.merchant_idsASmerchant_ids'),
           ('app.merchant_users', 'operators_of_operated_merchant', 'merchant_id IN (SELECT sec.merchant_ids())',
            'merchant_idINSELECTsec.merchant_idsASmerchant_ids')
$$;
COMMENT ON FUNCTION sec.policies_of_merchants() IS 'The policies of merchants. Internal: sec.policies().';

CREATE FUNCTION sec.descriptions_of_merchants() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.merchants', 'id', 'merchant_id elsewhere.'),
           ('app.merchants', 'active', 'Whether it takes payments.'),
           ('app.merchants', 'created_at', 'When it was created.'),
           ('app.merchants', 'code', 'By which the RPCs name it.'),
           ('app.merchants', 'name', 'What it is called.'),
           ('app.merchant_users', 'merchant_id', 'The merchant.'),
           ('app.merchant_users', 'user_id', 'The user''s id at the identity provider.'),
           ('app.merchant_users', 'created_at', 'Since when.'),
           ('app.merchant_users', 'role', 'owner, admin, cashier.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_merchants() IS 'What columns of merchants are. Internal: sec.describe_columns().';
