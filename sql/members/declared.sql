-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_members() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.member_profiles', 'id, created_at, member_no, status, name, phone, email')
$$;
COMMENT ON FUNCTION sec.columns_of_members() IS 'What may be read of members. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_members() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.member_profiles', 'own_profile', 'id = (SELECT sec.uid())', 'id=SELECTsec.uidASuid')
$$;
COMMENT ON FUNCTION sec.policies_of_members() IS 'The policies of members. Internal: sec.policies().';

CREATE FUNCTION sec.descriptions_of_members() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.member_profiles', 'id', 'The user''s id at the identity provider.'),
           ('app.member_profiles', 'created_at', 'When it registered.'),
           ('app.member_profiles', 'member_no', 'M and eight digits.'),
           ('app.member_profiles', 'status', 'active, suspended, closed.'),
           ('app.member_profiles', 'name', 'As given when it registered.'),
           ('app.member_profiles', 'phone', 'As given when it registered.'),
           ('app.member_profiles', 'email', 'As given when it registered.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_members() IS 'What columns of members are. Internal: sec.describe_columns().';

CREATE FUNCTION sec.settings_of_members()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (10, 'signup_anonymous', 'switch', 'false', NULL, NULL, NULL::text[],
            'Whether users who are signed in anonymously become members at once; if not, once they have an identity.',
            '匿名登录的用户是否立即成为会员；否则在绑定邮箱、手机等身份后自动成为会员。')
$$;
COMMENT ON FUNCTION sec.settings_of_members() IS 'The settings of members. Internal: sec.settings().';
