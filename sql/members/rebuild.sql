-- Members from the audit log.

CREATE FUNCTION sec.logged_of_members() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('member.registered', ARRAY['member_id', 'card_no', 'card_id', 'level']), ('member.status_set', ARRAY['status'])
$$;
COMMENT ON FUNCTION sec.logged_of_members() IS 'The events of members. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_members() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (30, 'rebuild_members')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_members() IS 'The step of members. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.rebuild_members() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.member_profiles (id, created_at, member_no, status, name)
    SELECT (e.context ->> 'member_id')::uuid, e.happened_at, e.object_id, coalesce(s.status, 'active'), e.object_id
    FROM audit.event_log e
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'status' AS status
               FROM audit.event_log x WHERE x.action = 'member.status_set' ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    WHERE e.action = 'member.registered';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'members';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_members() IS
    'Every member, under its number in place of a name, which is not in the log. Internal: app.rebuild_from_log().';
