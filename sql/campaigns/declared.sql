-- What the family declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.columns_of_campaigns() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('backend', 'app.campaigns', 'id, terms_version, created_at, status, code'),
           ('backend', 'app.campaign_terms',
            'campaign_id, version, created_at, valid_from, valid_until, priority, hours_from, hours_until, exclusive, name, kind, value, '
            'min_spend, weekdays, merchants, levels, card_types'),
           ('backend', 'app.campaign_uses', NULL)
$$;
COMMENT ON FUNCTION sec.columns_of_campaigns() IS 'What may be read of campaigns. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_campaigns() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.tab, 'backends', '(SELECT has_function_privilege(''sec.level_backend()'', ''EXECUTE''))',
           'SELECThas_function_privilege''sec.level_backend''::text,''EXECUTE''::textAShas_function_privilege'
    FROM (VALUES ('app.campaigns'), ('app.campaign_terms')) t (tab)
$$;
COMMENT ON FUNCTION sec.policies_of_campaigns() IS 'The policies of campaigns. Internal: sec.policies().';

CREATE FUNCTION sec.standing_triggers_of_campaigns() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.campaigns', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.campaigns', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
           ('app.campaign_terms', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.campaign_terms', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_campaigns() IS 'The standing triggers of campaigns. Internal: sec.standing_triggers().';

CREATE FUNCTION sec.descriptions_of_campaigns() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.campaigns', 'id', 'campaign_id elsewhere.'),
           ('app.campaigns', 'created_at', 'When it was created.'),
           ('app.campaigns', 'code', 'By which the RPCs name it.'),
           ('app.campaign_terms', 'campaign_id', 'The campaign.'),
           ('app.campaign_terms', 'version', '1, 2, ...: which edit it is.'),
           ('app.campaign_terms', 'created_at', 'When they were made.'),
           ('app.campaign_terms', 'name', 'What it is called.'),
           ('app.campaign_terms', 'kind', 'points_multiplier, points_bonus.'),
           ('app.campaign_terms', 'valid_from', 'From when it applies. NULL: from its beginning.'),
           ('app.campaign_terms', 'valid_until', 'Until before when it applies. NULL: until it ends.'),
           ('app.campaign_terms', 'weekdays', 'The days on which its hours begin: Monday is 1. NULL: all.'),
           ('app.campaign_terms', 'card_types',
            'personal, enterprise: the cards that it applies to; only personal ones earn points. NULL: any.'),
           ('app.campaign_uses', 'tx_no', 'The payment.'),
           ('app.campaign_uses', 'created_at', 'When it was asked for.'),
           ('app.campaign_uses', 'campaign_id', 'The campaign that applied.'),
           ('app.campaign_uses', 'code', 'The code of the campaign.'),
           ('app.campaign_uses', 'terms_version', 'The terms that it applied by.'),
           ('app.campaign_uses', 'points', 'What it gave: a multiplier what it added to those before it.'),
           ('app.campaign_uses', 'member_id', 'Whose card it was.'),
           ('app.campaign_uses', 'merchant_id', 'Who took the payment.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_campaigns() IS 'What columns of campaigns are. Internal: sec.describe_columns().';
