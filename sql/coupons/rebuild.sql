-- Coupons from the audit log. What used one, and what gave it back, the movements say.

CREATE FUNCTION sec.logged_of_coupons() RETURNS TABLE (action text, needs text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('coupon.created', ARRAY['coupon_id', 'version', 'terms']), ('coupon.updated', ARRAY['version', 'terms']),
           ('coupon.status_set', ARRAY['status']), ('coupon.issued', ARRAY['version', 'how', 'ids', 'members', 'valid_from']),
           ('coupon.claimed', ARRAY['version', 'how', 'ids', 'members', 'valid_from']), ('coupon.revoked', '{}'),
           ('coupon.returned', ARRAY['payment'])
$$;
COMMENT ON FUNCTION sec.logged_of_coupons() IS 'The events of coupons. Internal: sec.logged_actions().';

CREATE FUNCTION sec.rebuilds_of_coupons() RETURNS TABLE (place integer, step text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (190, 'rebuild_coupons'), (191, 'rebuild_member_coupons'), (192, 'rebuild_coupon_uses'),
           (193, 'rebuild_coupon_budgets')
$$;
COMMENT ON FUNCTION sec.rebuilds_of_coupons() IS 'The steps of coupons. Internal: sec.rebuild_steps().';

CREATE FUNCTION sec.rebuild_coupons() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.coupons (id, terms_version, created_at, budget_amount, status, code)
    SELECT (e.context ->> 'coupon_id')::integer, (t.context ->> 'version')::integer, e.happened_at,
           (t.context -> 'terms' ->> 'budget_amount')::numeric, coalesce(s.status, 'draft'), e.object_id
    FROM audit.event_log e
    JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context FROM audit.event_log x
          WHERE x.action IN ('coupon.created', 'coupon.updated') ORDER BY x.object_id, x.id DESC) t ON t.object_id = e.object_id
    LEFT JOIN (SELECT DISTINCT ON (x.object_id) x.object_id, x.context ->> 'status' AS status FROM audit.event_log x
               WHERE x.action = 'coupon.status_set' ORDER BY x.object_id, x.id DESC) s ON s.object_id = e.object_id
    WHERE e.action = 'coupon.created';
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'coupons';
    RETURN NEXT;

    INSERT INTO app.coupon_terms (coupon_id, version, created_at, name, kind, value, min_spend, max_discount, goes_with_level_discount,
                                  valid_from, valid_until, weekdays, hours_from, hours_until, valid_days_after_issue, starts_after_days,
                                  merchants, levels, card_types, first_purchase_only, issue_limit, per_member_limit, per_member_per_day,
                                  claimable, on_full_refund, budget_amount)
    SELECT c.id, (e.context ->> 'version')::integer, e.happened_at, t.name, t.kind, t.value, t.min_spend, t.max_discount,
           t.goes_with_level_discount, t.valid_from, t.valid_until, t.weekdays, extract(epoch FROM t.hours_from) / 60,
           extract(epoch FROM t.hours_until) / 60, t.valid_days_after_issue, t.starts_after_days, t.merchants, t.levels, t.card_types,
           t.first_purchase_only, t.issue_limit, t.per_member_limit, t.per_member_per_day, t.claimable, t.on_full_refund, t.budget_amount
    FROM audit.event_log e
    JOIN app.coupons c ON c.code = e.object_id
    CROSS JOIN LATERAL jsonb_to_record(e.context -> 'terms') AS t (
        name text, kind text, value numeric, min_spend numeric, max_discount numeric, goes_with_level_discount boolean,
        valid_from timestamptz, valid_until timestamptz, weekdays smallint[], hours_from time, hours_until time,
        valid_days_after_issue integer, starts_after_days integer, merchants integer[], levels smallint[], card_types text[],
        first_purchase_only boolean, issue_limit bigint, per_member_limit integer, per_member_per_day integer, claimable boolean,
        on_full_refund text, budget_amount numeric)
    WHERE e.action IN ('coupon.created', 'coupon.updated');
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'terms of coupons';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_coupons() IS 'Every coupon, and every version of its terms. Internal: app.rebuild_from_log().';

CREATE FUNCTION sec.rebuild_member_coupons() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.member_coupons (id, issued_with, issued_at, valid_from, valid_until, member_id, coupon_id, terms_version, status, how)
    SELECT i.id::bigint, (e.context -> 'ids' ->> 0)::bigint, e.happened_at, (e.context ->> 'valid_from')::timestamptz,
           (e.context ->> 'valid_until')::timestamptz,
           -- All are of the one that is named, or each is of its own.
           coalesce(e.context -> 'members' ->> (i.nth - 1)::integer, e.context -> 'members' ->> 0)::uuid,
           coalesce(c.id, sec.refuse_log(e.id, format('there is no coupon %s', e.object_id))), (e.context ->> 'version')::integer,
           CASE WHEN r.object_id IS NULL THEN 'active' ELSE 'revoked' END, e.context ->> 'how'
    FROM audit.event_log e
    CROSS JOIN LATERAL jsonb_array_elements_text(e.context -> 'ids') WITH ORDINALITY i (id, nth)
    LEFT JOIN app.coupons c ON c.code = e.object_id
    LEFT JOIN audit.event_log r ON r.action = 'coupon.revoked' AND r.object_id = sec.coupon_no(i.id::bigint)
    WHERE e.action IN ('coupon.issued', 'coupon.claimed');
    GET DIAGNOSTICS n = ROW_COUNT;
    UPDATE app.coupons c SET issued = x.issued
    FROM (SELECT m.coupon_id, count(*) AS issued FROM app.member_coupons m GROUP BY m.coupon_id) x WHERE x.coupon_id = c.id;
    what := 'coupons of members';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_member_coupons() IS 'What members have of coupons. Internal: app.rebuild_from_log().';

CREATE FUNCTION sec.rebuild_coupon_budgets() RETURNS TABLE (what text, n bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Shared out evenly, as when they were made: which part a payment drew from is not in the log.
    INSERT INTO app.coupon_budget_parts (coupon_id, part, left_amount)
    SELECT c.id, p.part, (div(c.cents, 16) + (p.part < mod(c.cents, 16))::integer) / 100
    FROM (SELECT b.id, (b.budget_amount - coalesce(s.spent, 0)) * 100 AS cents
          FROM app.coupons b LEFT JOIN sec.spent_of_coupons() s ON s.coupon_id = b.id WHERE b.budget_amount IS NOT NULL) c
    CROSS JOIN generate_series(0, 15) p (part);
    GET DIAGNOSTICS n = ROW_COUNT;
    what := 'parts of budgets';
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sec.rebuild_coupon_budgets() IS
    'What is left of the budgets of coupons, in even parts. Internal: app.rebuild_from_log().';
