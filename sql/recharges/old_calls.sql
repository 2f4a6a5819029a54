-- A call that began in the library of an older release goes on in it after ALTER EXTENSION UPDATE. These two hold it to the
-- rules of now. The library knows triggers that call them, and that they have nothing to do about its own rows.

CREATE FUNCTION sec.refuse_old_claim() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The order of a recharge (2) is claimed by backends alone, and a trade number (3) is one whatever the method.
    IF NEW.scope = 3 OR NOT has_function_privilege(sec.caller_role()::name, 'sec.level_backend()', 'EXECUTE') THEN
        PERFORM sec.raise('SCHEMA_OUTDATED', 'this call began in the library of an earlier release');
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sec.refuse_old_claim() IS
    'Trigger: refuses an order or trade number that is claimed as before 0.3.0. Internal. Errors: SCHEMA_OUTDATED.';

CREATE FUNCTION sec.count_recharge() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.status = 'processing' THEN
        INSERT INTO app.pending_recharges (tx_id, card_id) VALUES (NEW.id, NEW.card_id) ON CONFLICT DO NOTHING;
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM app.pending_recharges r WHERE r.tx_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.count_recharge() IS
    'Trigger: has app.pending_recharges say which recharges wait, for who writes app.transactions without saying so itself. Internal.';
