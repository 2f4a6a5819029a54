-- What the signed-in user paid, as a view.

-- COST: so that a page is sorted and cut before its tags are looked at.
CREATE FUNCTION sec.shown_tag(p_tag jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'shown_tag_wrapper';
COMMENT ON FUNCTION sec.shown_tag(jsonb) IS
    E'The tag of a transaction as views and statements show it: itself, or where its text would be longer than 16 KiB (older '
    'releases let such in) {"mps_omitted": "tag", "bytes_of_text": how many}.\n'
    'Level: client.';

CREATE FUNCTION sec.make_usage_logs() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE OR REPLACE VIEW app.v_usage_logs WITH (security_invoker = true) AS
        SELECT t.id AS tx_id, t.tx_no, t.tx_type::text AS tx_type, t.status::text AS status, t.card_type::text AS card_type,
               t.card_id, t.member_id, t.merchant_id, t.raw_amount, t.discount, t.final_amount, t.points_earned,
               t.balance_after, t.payment_method::text AS payment_method, t.original_tx_no, t.refunded_amount,
               t.reason, sec.shown_tag(t.tag) AS tag, t.created_at, t.posted_at
        -- Of two things, so that nobody takes it for a view that can be written to; the planner drops the second.
        FROM app.transactions t, (SELECT) read_only WHERE t.member_id = (SELECT sec.uid());
    COMMENT ON COLUMN app.v_usage_logs.tag IS 'As sec.shown_tag() shows it: one whose text would be longer than 16 KiB is left out.';
    COMMENT ON VIEW app.v_usage_logs IS
        'The transactions that the signed-in user made, with enterprise cards as long as it is bound to them. It costs the months '
        'that a constant condition on created_at names, without one every month that is not archived; for a page, '
        'app.usage_page() costs the page.';
END
$$;
COMMENT ON FUNCTION sec.make_usage_logs() IS 'Makes app.v_usage_logs, or makes it anew. Internal.';
