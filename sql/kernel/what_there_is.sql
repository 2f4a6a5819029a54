-- How much there is to destroy.

CREATE FUNCTION sec.what_there_is() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_rows bigint;
    v_transactions bigint := 0;
    v_events bigint := 0;
    v_cards bigint;
    v_balance numeric;
    v_accounts bigint;
    v_keys bigint;
    v_coupons bigint;
BEGIN
    SELECT count(*), coalesce(sum(c.balance), 0.00) INTO v_cards, v_balance
    FROM (SELECT p.balance FROM app.personal_cards p UNION ALL SELECT e.balance FROM app.enterprise_cards e) c;
    FOR v IN
        SELECT 'app.transactions' AS tab, true AS moves UNION ALL SELECT 'audit.event_log', false
        UNION ALL
        SELECT c.oid::regclass::text, c.relname ~ '^transactions_' FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('mps_archive') AND c.relkind = 'r' AND c.relname ~ '^(transactions|event_log)_[0-9]{6}$'
    LOOP
        EXECUTE 'SELECT count(*) FROM ' || v.tab INTO v_rows;
        v_transactions := v_transactions + CASE WHEN v.moves THEN v_rows ELSE 0 END;
        v_events := v_events + CASE WHEN v.moves THEN 0 ELSE v_rows END;
    END LOOP;
    SELECT count(*) INTO v_accounts FROM app.gateway_accounts;
    SELECT count(*) INTO v_keys FROM sec.gateway_keys;
    SELECT count(*) INTO v_coupons FROM app.member_coupons m WHERE m.status = 'active';
    RETURN format('%s cards holding %s, %s transactions and the audit log of %s events of database %s',
                  v_cards, v_balance, v_transactions, v_events, current_database())
           || CASE WHEN v_accounts > 0 THEN format(', with %s accounts at payment gateways and %s keys', v_accounts, v_keys) ELSE '' END
           || CASE WHEN v_coupons > 0 THEN format(', with %s coupons that members can use', v_coupons) ELSE '' END;
END
$$;
COMMENT ON FUNCTION sec.what_there_is() IS
    'In words, what sec.destroy_everything() would destroy at this moment, archived months included. Internal.';
