-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_gateways() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.gateway_accounts', 'code, provider, active, merchant_id, created_at, config')
$$;
COMMENT ON FUNCTION sec.columns_of_gateways() IS
    'What may be read of payment gateways; of keys nothing. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_gateways() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES -- Clients see nothing of it, and nobody anything of the keys.
           ('app.gateway_accounts', 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
            'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege')
$$;
COMMENT ON FUNCTION sec.policies_of_gateways() IS 'The policies of payment gateways. Internal: sec.policies().';

CREATE FUNCTION sec.descriptions_of_gateways() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.gateway_accounts', 'code', 'By which the functions and the proxy name it.'),
           ('app.gateway_accounts', 'provider', 'wechat, alipay.'),
           ('app.gateway_accounts', 'active', 'Whether notices of it are taken.'),
           ('app.gateway_accounts', 'merchant_id', 'The merchant whose bank receives; NULL: the platform.'),
           ('app.gateway_accounts', 'created_at', 'When it was first set.'),
           ('app.gateway_accounts', 'config', 'Whose notices are its own, as app.set_gateway_account() was given it.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_gateways() IS 'What columns of payment gateways are. Internal: sec.describe_columns().';
