-- Sets that policies ask for. SECURITY DEFINER, because a policy that reads its own table under its own policy never ends. Where
-- the owner is bound by policies it would not end either, so that is asked first.
CREATE FUNCTION sec.admin_card_ids() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sec.require_sound_tables();
    SELECT b.enterprise_card_id FROM app.enterprise_card_bindings b
    WHERE b.member_id = (SELECT sec.uid()) AND b.role = 'admin'::app.bind_role
$$;
COMMENT ON FUNCTION sec.admin_card_ids() IS
    E'The enterprise cards that the signed-in user administers.\n'
    'Level: client.';
