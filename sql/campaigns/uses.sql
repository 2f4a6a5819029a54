-- Which campaigns applied to a payment, as a view over the payments, and the report.

CREATE FUNCTION sec.make_campaign_uses() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE VIEW app.campaign_uses WITH (security_invoker = true) AS
        SELECT t.tx_no, t.created_at, c.id AS campaign_id, c.code, split_part(u.key, '.', 2)::integer AS terms_version,
               u.value::bigint AS points, t.member_id, t.merchant_id
        FROM app.transactions t CROSS JOIN LATERAL jsonb_each_text(t.campaigns) u
        LEFT JOIN app.campaigns c ON c.id = split_part(u.key, '.', 1)::integer
        WHERE t.campaigns IS NOT NULL;
    COMMENT ON VIEW app.campaign_uses IS
        'Each campaign that applied to a payment, and what it gave; of the months that are here. Ask for a range of created_at';
END
$$;
COMMENT ON FUNCTION sec.make_campaign_uses() IS 'Makes app.campaign_uses. Internal.';
