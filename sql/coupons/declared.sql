-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_coupons() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.member_coupons',
            'id, issued_at, valid_from, valid_until, member_id, coupon_id, terms_version, tx_no, status, how'),
           ('client', 'app.coupons', 'id, code'),
           ('client', 'app.coupon_terms',
            'coupon_id, version, hours_from, hours_until, goes_with_level_discount, first_purchase_only, name, kind, value, min_spend, '
            'max_discount, weekdays, levels, card_types'),
           ('client', 'app.v_member_coupons', NULL),
           ('backend', 'app.member_coupons', 'issued_with'),
           ('backend', 'app.coupons', 'terms_version, issued, created_at, budget_amount, status'),
           ('backend', 'app.coupon_terms',
            'created_at, valid_from, valid_until, issue_limit, per_member_limit, per_member_per_day, valid_days_after_issue, '
            'starts_after_days, claimable, budget_amount, on_full_refund, merchants'),
           ('backend', 'app.coupon_budget_parts', 'coupon_id, part, left_amount')
$$;
COMMENT ON FUNCTION sec.columns_of_coupons() IS 'What may be read of coupons. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_coupons() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.tab, 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.coupon_budget_parts')) t (tab)
    UNION ALL
    -- A member sees what it has, and of coupons those; a backend all.
    SELECT t.tab, t.policy, t.own || ' OR (SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           t.shown || 'ORSELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.member_coupons', 'own_coupons_or_backend', 'member_id = (SELECT sec.uid())', 'member_id=SELECTsec.uidASuid'),
                 ('app.coupons', 'held_coupons_or_backend',
                  'id IN (SELECT m.coupon_id FROM app.member_coupons m WHERE m.member_id = (SELECT sec.uid()))',
                  'idINSELECTm.coupon_idFROMapp.member_couponsmWHEREm.member_id=SELECTsec.uidASuid'),
                 ('app.coupon_terms', 'held_terms_or_backend',
                  '(coupon_id, version) IN (SELECT m.coupon_id, m.terms_version FROM app.member_coupons m '
                  'WHERE m.member_id = (SELECT sec.uid()))',
                  'coupon_id,versionINSELECTm.coupon_id,m.terms_versionFROMapp.member_couponsmWHEREm.member_id=SELECTsec.uidASuid'))
         t (tab, policy, own, shown)
$$;
COMMENT ON FUNCTION sec.policies_of_coupons() IS 'The policies of coupons. Internal: sec.policies().';

CREATE FUNCTION sec.descriptions_of_coupons() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.coupons', 'id', 'coupon_id elsewhere.'),
           ('app.coupons', 'created_at', 'When it was created.'),
           ('app.coupons', 'code', 'By which the RPCs name it.'),
           ('app.coupon_terms', 'coupon_id', 'The coupon.'),
           ('app.coupon_terms', 'version', '1, 2, ...: which edit it is.'),
           ('app.coupon_terms', 'created_at', 'When they were made.'),
           ('app.coupon_terms', 'name', 'What it is called.'),
           ('app.coupon_terms', 'kind', 'amount_off, percent_off, fixed_price.'),
           ('app.coupon_terms', 'max_discount', 'It takes off no more than this. NULL: no limit.'),
           ('app.coupon_terms', 'valid_from', 'From when it can be used. NULL: from its issue.'),
           ('app.coupon_terms', 'valid_until', 'Until before when it can be used. NULL: see valid_days_after_issue, else for ever.'),
           ('app.coupon_terms', 'weekdays', 'The days on which its hours begin: Monday is 1. NULL: all.'),
           ('app.coupon_terms', 'card_types', 'personal, enterprise: the cards that it can be used with. NULL: any.'),
           ('app.coupon_terms', 'first_purchase_only', 'Whether it can be used only by who has not paid before.'),
           ('app.coupon_terms', 'per_member_limit', 'How many a member gets at most. NULL: no limit.'),
           ('app.coupon_terms', 'per_member_per_day', 'How many a member gets in a business day at most. NULL: no limit.'),
           ('app.coupon_terms', 'claimable', 'Whether members may claim it themselves.'),
           ('app.coupon_terms', 'on_full_refund', 'return, keep_used: what a full refund of the payment does to it.'),
           ('app.coupon_terms', 'budget_amount', 'What the edit made the budget of the coupon. NULL: none.'),
           ('app.coupon_budget_parts', 'coupon_id', 'The coupon.'),
           ('app.coupon_budget_parts', 'part', '0 to 15.'),
           ('app.coupon_budget_parts', 'left_amount', 'What can still be drawn from it.'),
           ('app.member_coupons', 'id', 'The number in coupon_code.'),
           ('app.member_coupons', 'issued_at', 'When it was issued.'),
           ('app.member_coupons', 'valid_from', 'From when it can be used.'),
           ('app.member_coupons', 'valid_until', 'Until before when; NULL: for ever.'),
           ('app.member_coupons', 'member_id', 'Whose it is.'),
           ('app.member_coupons', 'coupon_id', 'Of which coupon.'),
           ('app.member_coupons', 'terms_version', 'The terms that it was issued under.'),
           ('app.member_coupons', 'tx_no', 'The payment that used it.'),
           ('app.member_coupons', 'how', 'issued, claimed, to_all: how the member came by it.')
    UNION ALL SELECT * FROM sec.descriptions_of_v_member_coupons()
$$;
COMMENT ON FUNCTION sec.descriptions_of_coupons() IS 'What columns of coupons are. Internal: sec.describe_columns().';

CREATE FUNCTION sec.descriptions_of_v_member_coupons() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.v_member_coupons', 'coupon_code', 'CP and at least eight digits: what is shown at the till.'),
           ('app.v_member_coupons', 'code', 'The code of the coupon that it is one of.'),
           ('app.v_member_coupons', 'name', 'What it is called.'),
           ('app.v_member_coupons', 'kind', 'amount_off, percent_off, fixed_price.'),
           ('app.v_member_coupons', 'value', 'What is taken off, per cent, or the price that is left, by the kind.'),
           ('app.v_member_coupons', 'min_spend', 'Of what takes part in the payment, before any discount. NULL: none.'),
           ('app.v_member_coupons', 'max_discount', 'It takes off no more than this. NULL: no limit.'),
           ('app.v_member_coupons', 'goes_with_level_discount', 'Whether it comes on top of the card''s own discount, or takes its place.'),
           ('app.v_member_coupons', 'status', 'active, used, expired, revoked.'),
           ('app.v_member_coupons', 'valid_from', 'From when it can be used.'),
           ('app.v_member_coupons', 'valid_until', 'Until before when; NULL: for ever.'),
           ('app.v_member_coupons', 'weekdays', 'The days on which its hours begin: Monday is 1. NULL: all.'),
           ('app.v_member_coupons', 'hours_from', 'HH:MM, in the shop''s time. NULL: all day.'),
           ('app.v_member_coupons', 'hours_until', 'HH:MM; earlier than hours_from: of the next day.'),
           ('app.v_member_coupons', 'levels', 'Levels of personal cards that it can be used with. NULL: any card.'),
           ('app.v_member_coupons', 'card_types', 'personal, enterprise: the cards that it can be used with. NULL: any.'),
           ('app.v_member_coupons', 'first_purchase_only', 'Whether it can be used only by who has not paid before.'),
           ('app.v_member_coupons', 'issued_at', 'When it was issued.'),
           ('app.v_member_coupons', 'how', 'issued, claimed, to_all: how the member came by it.'),
           ('app.v_member_coupons', 'tx_no', 'The payment that used it.'),
           ('app.v_member_coupons', 'member_id', 'Whose it is.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_v_member_coupons() IS
    'What columns of app.v_member_coupons are. Internal: sec.descriptions_of_coupons().';
