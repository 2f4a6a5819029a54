-- The cards of the signed-in user, as a view.

CREATE FUNCTION sec.make_user_cards() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.v_user_cards WITH (security_invoker = true) AS
        SELECT 'personal'::text AS card_type, c.id AS card_id, c.card_no, c.balance, c.points, c.level::integer AS level,
               l.name AS level_name, c.discount, c.status::text AS status, c.expires_at, c.qr_expires_at,
               'owner'::text AS role, NULL::text AS company_name, c.member_id
        FROM app.personal_cards c LEFT JOIN app.membership_levels l ON l.level = c.level
        WHERE c.member_id = (SELECT sec.uid())
        UNION ALL
        SELECT 'enterprise', e.id, e.card_no, e.balance, NULL, NULL, NULL, e.fixed_discount, e.status::text, e.expires_at,
               b.qr_expires_at, b.role::text, e.company_name, b.member_id
        FROM app.enterprise_card_bindings b JOIN app.enterprise_cards e ON e.id = b.enterprise_card_id
        WHERE b.member_id = (SELECT sec.uid());
    COMMENT ON VIEW app.v_user_cards IS 'The cards of the signed-in user: the personal one and the enterprise cards it is bound to';
END
$$;
COMMENT ON FUNCTION sec.make_user_cards() IS 'Makes app.v_user_cards. Internal.';
