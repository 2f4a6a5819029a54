CREATE FUNCTION sec.merchant_ids() RETURNS SETOF integer
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT u.merchant_id FROM app.merchant_users u WHERE u.user_id = (SELECT sec.uid())
$$;
COMMENT ON FUNCTION sec.merchant_ids() IS
    E'The merchants that the signed-in user operates, in whatever role.\n'
    'Level: client.';
