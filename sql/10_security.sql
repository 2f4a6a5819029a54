-- Who is calling: what policies, views and RPCs ask. Members of the extension, owned by mps_owner (90_finish.sql).

CREATE FUNCTION sec.uid() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'uid_wrapper';
COMMENT ON FUNCTION sec.uid() IS
    'The signed-in user: the sub of request.jwt.claims as a uuid, or NULL (no claims, no sub, or a sub that is no uuid; and in what maintenance evaluates, whatever the claims).';

-- Marker functions: whoever may execute one has that level. They do nothing.
CREATE FUNCTION sec.level_client() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
COMMENT ON FUNCTION sec.level_client() IS 'Marker: a role that may execute it has client level.';
CREATE FUNCTION sec.level_backend() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
COMMENT ON FUNCTION sec.level_backend() IS 'Marker: a role that may execute it has backend level.';
CREATE FUNCTION sec.level_operator() RETURNS void
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
COMMENT ON FUNCTION sec.level_operator() IS 'Marker: a role that may execute it has operator level.';

CREATE FUNCTION sec.raise(p_token text, p_detail text) RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'raise_token_wrapper';
COMMENT ON FUNCTION sec.raise(text, text) IS
    'Raises one of the errors of app.error_codes, for the SQL parts of mps. Internal.';

CREATE FUNCTION sec.config_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'config_changed_trigger_wrapper';
COMMENT ON FUNCTION sec.config_changed() IS
    'Trigger: makes every backend read settings and levels anew once the change commits. Internal.';

CREATE FUNCTION sec.require_operator() RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'require_operator_wrapper';
COMMENT ON FUNCTION sec.require_operator() IS
    'Refuses a batch that somebody calls through the function of an operator without being one, or that maintenance evaluates. Internal. Errors: NOT_ALLOWED.';

CREATE FUNCTION sec.caller_role() RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'caller_role_wrapper';
COMMENT ON FUNCTION sec.caller_role() IS
    'Who is responsible for what a SECURITY DEFINER function or a trigger of mps does, for the audit log: the role that the session runs under. Internal.';

CREATE FUNCTION sec.append_only() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.raise('NOT_ALLOWED', pg_catalog.format('%I.%I is append-only: %s is refused to everyone',
                                            TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.append_only() IS 'Trigger: refuses UPDATE, DELETE and TRUNCATE on the event log. Internal.';

-- Sets that policies ask for. SECURITY DEFINER, because a policy that reads its own table under its own policy never ends.
CREATE FUNCTION sec.admin_card_ids() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT b.enterprise_card_id FROM app.enterprise_card_bindings b
    WHERE b.member_id = (SELECT sec.uid()) AND b.role = 'admin'::app.bind_role
$$;
COMMENT ON FUNCTION sec.admin_card_ids() IS 'The enterprise cards that the signed-in user administers.';

CREATE FUNCTION sec.merchant_ids() RETURNS SETOF integer
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.merchant_id FROM app.merchant_users u WHERE u.user_id = (SELECT sec.uid())
$$;
COMMENT ON FUNCTION sec.merchant_ids() IS 'The merchants that the signed-in user operates, in whatever role.';

-- COST: so that a page is sorted and cut before its tags are looked at.
CREATE FUNCTION sec.shown_tag(p_tag jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'shown_tag_wrapper';
COMMENT ON FUNCTION sec.shown_tag(jsonb) IS
    'The tag of a transaction as views and statements show it: itself, or where its text would be longer than 16 KiB (older releases let such in) {"mps_omitted": "tag", "bytes_of_text": how many}.';

CREATE FUNCTION sec.level_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_before jsonb := CASE WHEN TG_OP IN ('UPDATE', 'DELETE') THEN to_jsonb(OLD) END;
    v_after jsonb := CASE WHEN TG_OP IN ('INSERT', 'UPDATE') THEN to_jsonb(NEW) END;
BEGIN
    IF TG_OP = 'UPDATE' AND v_after = v_before THEN
        RETURN NULL;
    END IF;
    PERFORM sec.make_month((now() AT TIME ZONE 'UTC')::date);
    INSERT INTO audit.event_log (id, happened_at, actor_user_id, actor_role, action, object_type, object_id, context)
    VALUES (nextval('audit.event_id_seq'), now(), sec.uid(), sec.caller_role(),
            'level.' || CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END,
            'membership_level', coalesce(v_after ->> 'level', v_before ->> 'level', 'all'),
            jsonb_strip_nulls(jsonb_build_object('before', v_before, 'after', v_after)));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sec.level_changed() IS
    'Trigger: writes an audit event for every change of app.membership_levels, which has no RPC. Internal.';
