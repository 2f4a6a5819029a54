-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.jobs_of_cards() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('expire_cards', '5 * * * *', 'CALL app.expire_cards()', interval '1 hour'),
           ('expire_qrcodes', '15 * * * *', 'CALL app.expire_qrcodes()', interval '1 hour')
$$;
COMMENT ON FUNCTION sec.jobs_of_cards() IS 'The jobs of cards. Internal: sec.jobs().';

CREATE FUNCTION sec.columns_of_cards() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.personal_cards',
            'id, member_id, replaced_by, created_at, expires_at, status, level, points, card_seq, last_posted_at, qr_expires_at, '
            'balance, discount, card_no'),
           ('client', 'app.enterprise_cards',
            'id, created_at, expires_at, status, card_seq, last_posted_at, balance, fixed_discount, card_no, company_name'),
           ('client', 'app.enterprise_card_bindings', 'enterprise_card_id, member_id, created_at, qr_expires_at, role'),
           ('client', 'app.v_user_cards', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_cards() IS 'What may be read of cards. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_cards() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.personal_cards', 'own_card', 'member_id = (SELECT sec.uid())', 'member_id=SELECTsec.uidASuid'),
           ('app.enterprise_cards', 'bound_card',
            'id IN (SELECT b.enterprise_card_id FROM app.enterprise_card_bindings b WHERE b.member_id = (SELECT sec.uid()))',
            'idINSELECTb.enterprise_card_idFROMapp.enterprise_card_bindingsbWHEREb.member_id=SELECTsec.uidASuid'),
           ('app.enterprise_card_bindings', 'own_binding_or_administered_card',
            'member_id = (SELECT sec.uid()) OR enterprise_card_id IN (SELECT sec.admin_card_ids())',
            'member_id=SELECTsec.uidASuidORenterprise_card_idINSELECTsec.admin_card_idsASadmin_card_ids')
$$;
COMMENT ON FUNCTION sec.policies_of_cards() IS 'The policies of cards. Internal: sec.policies().';

CREATE FUNCTION sec.descriptions_of_cards() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.v_user_cards', 'card_type', 'personal, enterprise.'),
           ('app.v_user_cards', 'card_id', 'For rotate_card_qr, card_statement and the recharges.'),
           ('app.v_user_cards', 'card_no', 'VIP and eight digits, or ENT and at least five.'),
           ('app.v_user_cards', 'balance', 'Currency units.'),
           ('app.v_user_cards', 'points', 'Of a personal card; NULL for an enterprise card.'),
           ('app.v_user_cards', 'level', '0 to 4, by the points; NULL for an enterprise card.'),
           ('app.v_user_cards', 'level_name', 'What the level is called; NULL for an enterprise card.'),
           ('app.v_user_cards', 'discount', 'What a price is multiplied by: 0.950 is five percent off.'),
           ('app.v_user_cards', 'status', 'active, frozen, lost, expired, closed; only an active one pays.'),
           ('app.v_user_cards', 'expires_at', 'Until when it is good; NULL: for ever.'),
           ('app.v_user_cards', 'qr_expires_at', 'Until when the last pay code lives; NULL where there is none.'),
           ('app.v_user_cards', 'role', 'owner (of a personal card); admin, member (of an enterprise card).'),
           ('app.v_user_cards', 'company_name', 'Of an enterprise card; NULL for a personal card.'),
           ('app.v_user_cards', 'member_id', 'The signed-in user.'),
           ('app.personal_cards', 'id', 'For rotate_card_qr, card_statement and the recharges.'),
           ('app.personal_cards', 'member_id', 'Whose it is.'),
           ('app.personal_cards', 'created_at', 'When it was issued.'),
           ('app.personal_cards', 'expires_at', 'Until when it is good; NULL: for ever.'),
           ('app.personal_cards', 'status', 'active, frozen, lost, expired, closed; only an active one pays.'),
           ('app.personal_cards', 'level', '0 to 4, by the points; see app.membership_levels.'),
           ('app.personal_cards', 'points', 'May be below zero after a refund.'),
           ('app.personal_cards', 'last_posted_at', 'When its balance last moved.'),
           ('app.personal_cards', 'qr_expires_at', 'Until when the last pay code lives; NULL where there is none.'),
           ('app.personal_cards', 'discount', 'What a price is multiplied by: 0.950 is five percent off.'),
           ('app.personal_cards', 'card_no', 'VIP and eight digits.'),
           ('app.enterprise_cards', 'id', 'For rotate_card_qr, card_statement and the recharges.'),
           ('app.enterprise_cards', 'created_at', 'When it was issued.'),
           ('app.enterprise_cards', 'expires_at', 'Until when it is good; NULL: for ever.'),
           ('app.enterprise_cards', 'status', 'active, frozen, lost, expired, closed; only an active one pays.'),
           ('app.enterprise_cards', 'card_seq', 'Number of movements of the balance; the last one''s card_seq.'),
           ('app.enterprise_cards', 'last_posted_at', 'When its balance last moved.'),
           ('app.enterprise_cards', 'balance', 'Currency units; equals balance_after of the last movement.'),
           ('app.enterprise_cards', 'fixed_discount', 'What a price is multiplied by: 0.880 is twelve percent off.'),
           ('app.enterprise_cards', 'card_no', 'ENT and at least five digits.'),
           ('app.enterprise_cards', 'company_name', 'Whose it is.'),
           ('app.enterprise_card_bindings', 'enterprise_card_id', 'The card.'),
           ('app.enterprise_card_bindings', 'member_id', 'Who is bound to it.'),
           ('app.enterprise_card_bindings', 'created_at', 'Since when.'),
           ('app.enterprise_card_bindings', 'qr_expires_at', 'Until when this member''s last pay code lives; NULL where there is none.'),
           ('app.enterprise_card_bindings', 'role', 'admin, member.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_cards() IS 'What columns of cards are. Internal: sec.describe_columns().';

CREATE FUNCTION sec.settings_of_cards()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (1, 'qr_ttl_seconds', 'whole', '900', '10', '86400', NULL::text[], 'How long a pay code lives.', '付款码有效秒数。'),
           (2, 'qr_single_use', 'switch', 'true', NULL, NULL, NULL, 'Whether a successful charge uses its pay code up.',
            '收款成功后付款码是否作废。')
$$;
COMMENT ON FUNCTION sec.settings_of_cards() IS 'The settings of cards. Internal: sec.settings().';
