-- What the ledger declares, and the kernel gathers (sql/kernel/gathered.sql).

CREATE FUNCTION sec.jobs_of_ledger() RETURNS TABLE (job text, schedule text, command text, every interval)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('maintain_partitions', '10 2 * * *', 'CALL app.maintain_partitions()', interval '1 day'),
           ('expire_keys', '40 2 * * *', 'CALL app.expire_keys()', interval '1 day'),
           ('seal', '*/5 * * * *', 'CALL audit.seal()', interval '5 minutes')
$$;
COMMENT ON FUNCTION sec.jobs_of_ledger() IS 'The jobs of the ledger. Internal: sec.jobs().';

CREATE FUNCTION sec.monthly_tables_of_ledger() RETURNS TABLE (nsp text, tab text, pk text, is_append_only boolean)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app', 'transactions', 'id', false), ('app', 'point_ledger', 'card_id, point_seq', true), ('audit', 'event_log', 'id', true)
$$;
COMMENT ON FUNCTION sec.monthly_tables_of_ledger() IS 'The tables of the ledger that are kept by month. Internal: sec.monthly_tables().';

CREATE FUNCTION sec.columns_of_ledger() RETURNS TABLE (level text, tab text, cols text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('client', 'app.transactions',
            'id, created_at, posted_at, card_seq, points_earned, merchant_id, tx_type, status, card_type, payment_method, card_id, '
            'member_id, discount, raw_amount, final_amount, balance_after, refunded_amount, tx_no, original_tx_no, reason, tag, '
            'excluded_amount, coupon_discount, member_coupon_id, points_base, points_bonus, campaigns'),
           ('client', 'app.point_ledger', 'card_id, point_seq, created_at, change, balance_after, level, tx_no, reason')
$$;
COMMENT ON FUNCTION sec.columns_of_ledger() IS 'What may be read of the ledger. Internal: sec.api_columns(), sec.backend_columns().';

CREATE FUNCTION sec.policies_of_ledger() RETURNS TABLE (tab text, policy text, condition text, shown text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES -- With the balance of a company card in them, only as long as one is bound to it.
           ('app.transactions', 'own_transaction',
            'member_id = (SELECT sec.uid()) AND (card_type = ''personal'' OR card_id IN (SELECT b.enterprise_card_id FROM '
            'app.enterprise_card_bindings b WHERE b.member_id = (SELECT sec.uid())))',
            'member_id=SELECTsec.uidASuidANDcard_type=''personal''::app.card_typeORcard_idIN'
            'SELECTb.enterprise_card_idFROMapp.enterprise_card_bindingsbWHEREb.member_id=SELECTsec.uidASuid'),
           ('app.point_ledger', 'points_of_own_card',
            'card_id IN (SELECT c.id FROM app.personal_cards c WHERE c.member_id = (SELECT sec.uid()))',
            'card_idINSELECTc.idFROMapp.personal_cardscWHEREc.member_id=SELECTsec.uidASuid')
$$;
COMMENT ON FUNCTION sec.policies_of_ledger() IS 'The policies of the ledger. Internal: sec.policies().';

CREATE FUNCTION sec.standing_triggers_of_ledger() RETURNS TABLE (tab text, trig text, events text, each text, func text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.closed_months', 'config_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.config_changed'),
           ('app.closed_months', 'config_row_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', 'sec.config_changed'),
           ('audit.event_log', 'append_only', 'BEFORE UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.append_only'),
           ('audit.seals', 'append_only', 'BEFORE UPDATE OR DELETE OR TRUNCATE', 'STATEMENT', 'sec.append_only')
$$;
COMMENT ON FUNCTION sec.standing_triggers_of_ledger() IS 'The standing triggers of the ledger. Internal: sec.standing_triggers().';

CREATE FUNCTION sec.descriptions_of_ledger() RETURNS TABLE (rel text, col text, says text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('app.transactions', 'merchant_id', 'The merchant; NULL where none is concerned.'),
           ('app.transactions', 'tx_type', 'payment, refund, recharge, adjustment, withdrawal.'),
           ('app.transactions', 'status', 'processing, completed, failed, cancelled; only completed ones have moved money.'),
           ('app.transactions', 'card_type', 'personal, enterprise.'),
           ('app.transactions', 'payment_method', 'balance, or of recharges wechat, alipay, cash.'),
           ('app.transactions', 'card_id', 'The card that was used.'),
           ('app.transactions', 'discount', 'What the price was multiplied by: 0.950 is five percent off.'),
           ('app.transactions', 'excluded_amount',
            'Of raw_amount, what took no part: no discount, no coupon, no points. NULL: all of it took part.'),
           ('app.transactions', 'coupon_discount', 'What the coupon took off. NULL: no coupon was used.'),
           ('app.transactions', 'member_coupon_id', 'The coupon that was used: app.member_coupons. NULL: none.'),
           ('app.transactions', 'points_base', 'Of points_earned, what the payment earned without campaigns. NULL: none applied.'),
           ('app.transactions', 'points_bonus', 'Of points_earned, what campaigns gave. NULL: none applied.'),
           ('app.transactions', 'campaigns',
            'The campaigns that applied: for each its id and the version of its terms ("3.1"), and the points it gave. NULL: none.'),
           ('app.transactions', 'balance_after', 'The card''s balance after it; NULL until it is completed.'),
           ('app.transactions', 'tx_no',
            'ZF (payment), TK (refund), CZ (recharge), TZ (adjustment) or TX (withdrawal), then year, month, running number.'),
           ('app.transactions', 'final_amount',
            'What moved: payment and withdrawal take it from the card, refund and recharge add it, an adjustment adds it with its sign.'),
           ('app.transactions', 'reason', 'As it was given.'),
           ('app.transactions', 'tag', 'As it was given; a JSON object.'),
           ('app.point_ledger', 'card_id', 'The personal card.'),
           ('app.point_ledger', 'created_at', 'When.'),
           ('app.point_ledger', 'change', 'Signed.'),
           ('app.point_ledger', 'balance_after', 'The points after it.'),
           ('app.point_ledger', 'level', 'The level after it.'),
           ('app.point_ledger', 'reason', 'As it was given, of points adjusted by hand.'),
           ('app.idempotency_keys', 'operation',
            '1 charge, 2 refund, 3 recharge (scope: merchant); 11 recharge, 12 compensation, 13 points, 14 withdrawal (scope: personal '
            'card); 21 recharge, 22 compensation, 24 withdrawal (scope: enterprise card); 31 coupons issued (scope: coupon), 32 coupon '
            'claimed (scope: member), whose ref_id is yymm x 10^11 + the id of the first one'),
           ('app.external_orders', 'scope',
            '1 payment order (scope_no: merchant); 2 recharge order, 3 gateway trade number (scope_no: payment method, 1 cash, 2 wechat, '
            '3 alipay; of trade numbers 0, but where two methods had credited one before 0.3.0); 4 and 5 order of a member''s recharge '
            '(scope_no: number of the personal, enterprise card)'),
           ('app.external_orders', 'tx_id',
            'The transaction; of a trade number in suspense the id in app.suspense_payments, with a minus.'),
           ('audit.event_log', 'actor_role',
            'The database role that is responsible: the one that the server ran the caller under, or whose code made the call if that '
            'has the lesser level.')
$$;
COMMENT ON FUNCTION sec.descriptions_of_ledger() IS 'What columns of the ledger are. Internal: sec.describe_columns().';

CREATE FUNCTION sec.settings_of_ledger()
    RETURNS TABLE (place integer, setting text, kind text, fallback text, lowest text, highest text, choices text[], en text, zh text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (3, 'points_per_unit', 'rate', '1', '0', '1000', NULL::text[], 'Points for one currency unit paid.', '每消费一元得多少积分。'),
           (4, 'max_amount', 'money', '50000.00', '0.01', '10000000000', NULL, 'The largest single amount of any RPC.',
            '单笔金额上限。'),
           (5, 'max_balance', 'money', '1000000.00', '0.01', '100000000000', NULL,
            'The largest balance that a recharge or a correction may lead to.', '申请充值或调账后允许的最高余额。'),
           (8, 'key_retention_days', 'whole', '90', '90', '3650', NULL,
            'How long idempotency keys and payment order ids are remembered, at least.', '幂等键和支付订单号至少保留的天数。'),
           (11, 'business_time_zone', 'time_zone', '''UTC''', NULL, NULL, NULL,
            'By whose clocks a business day begins.', '营业日所用的时区。'),
           (12, 'business_day_starts_at', 'minute_of_day', '''00:00:00''', NULL, NULL, NULL,
            'When a business day begins. A change of either counts from the next day that begins by it.',
            '营业日开始的时间；两项修改后，从按新设置开始的下一个营业日起生效。')
$$;
COMMENT ON FUNCTION sec.settings_of_ledger() IS 'The settings of the ledger. Internal: sec.settings().';
