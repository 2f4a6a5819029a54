-- Writing to the audit log from SQL, and what keeps it as it was written.

CREATE FUNCTION sec.append_only() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.raise('NOT_ALLOWED', pg_catalog.format('%I.%I is append-only: %s is refused to everyone',
                                            TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.append_only() IS 'Trigger: refuses UPDATE, DELETE and TRUNCATE on the event log. Internal.';

CREATE FUNCTION sec.record_event(p_action text, p_object_type text, p_object_id text, p_context jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Where the log is a copy of another server's, an event of our own would have the id of one that is to arrive.
    IF EXISTS (SELECT FROM pg_subscription_rel r WHERE r.srrelid = 'audit.event_log'::regclass
                 OR r.srrelid IN (SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'audit.event_log'::regclass)) THEN
        RAISE LOG 'mps: % by %: % % %, not in the audit log, which is subscribed to',
            p_action, sec.caller_role(), p_object_type, p_object_id, p_context;
        RETURN;
    END IF;
    -- Whoever does something rare must not fail because nobody has made this month.
    IF to_regclass('audit.event_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')) IS NULL THEN
        PERFORM sec.make_month((now() AT TIME ZONE 'UTC')::date);
    END IF;
    INSERT INTO audit.event_log (id, happened_at, actor_user_id, actor_role, action, object_type, object_id, context)
    VALUES (sec.next_event_id(), now(), sec.uid(), sec.caller_role(), p_action, p_object_type, p_object_id, p_context);
END
$$;
COMMENT ON FUNCTION sec.record_event(text, text, text, jsonb) IS
    'Writes one audit event for the SQL parts of mps, and makes this month if it is missing. Internal.';
