-- Campaigns from the audit log. Which applied to a payment, its own event says.

CREATE FUNCTION sec.logged_of_campaigns() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('campaign.created', ARRAY['campaign_id', 'version', 'terms']), ('campaign.updated', ARRAY['version', 'terms']),
           ('campaign.status_set', ARRAY['status'])
$$;
COMMENT ON FUNCTION sec.logged_of_campaigns() IS 'The events of campaigns. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_campaigns() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (195, 'rebuild_campaigns')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_campaigns() IS 'The steps of campaigns. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.rebuild_campaigns() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.campaigns (id, terms_version, created_at, status, code)
    SELECT (e.context ->> 'campaign_id')::integer, (t.context ->> 'version')::integer, e.happened_at, coalesce(s.status, 'draft'),
           e.object_id
    FROM audit.event_log e
    JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context FROM audit.event_log x
          WHERE x.action IN ('campaign.created', 'campaign.updated') ORDER BY x.object_id, x.id DESC) t ON t.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'status' AS status FROM audit.event_log x
               WHERE x.action = 'campaign.status_set' ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    WHERE e.action = 'campaign.created';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'campaigns';
    RETURN NEXT;

    INSERT INTO app.campaign_terms (campaign_id, version, created_at, name, kind, value, min_spend, valid_from, valid_until, weekdays,
                                    hours_from, hours_until, merchants, levels, card_types, priority, exclusive)
    SELECT c.id, (e.context ->> 'version')::integer, e.happened_at, t.name, t.kind, t.value, t.min_spend, t.valid_from, t.valid_until,
           t.weekdays, extract(epoch FROM t.hours_from) / 60, extract(epoch FROM t.hours_until) / 60, t.merchants, t.levels, t.card_types,
           t.priority, t.exclusive
    FROM audit.event_log e
    JOIN app.campaigns c ON c.code = e.object_id
    CROSS JOIN LATERAL jsonb_to_record(e.context -> 'terms') AS t (
        name text, kind text, value numeric, min_spend numeric, valid_from timestamptz, valid_until timestamptz, weekdays smallint[],
        hours_from time, hours_until time, merchants integer[], levels smallint[], card_types text[], priority integer, exclusive boolean)
    WHERE e.action IN ('campaign.created', 'campaign.updated');
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'terms of campaigns';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_campaigns() IS 'Every campaign, and every version of its terms. Internal: app.rebuild_from_log().';
