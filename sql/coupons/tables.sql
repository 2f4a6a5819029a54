-- Coupons: what can be issued, under which terms, what is left of their budgets, and which member has a right to use one.

CREATE FUNCTION sec.install_coupons() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.coupon_id_seq') IS NULL THEN
        CREATE SEQUENCE app.coupon_id_seq AS integer;
        COMMENT ON SEQUENCE app.coupon_id_seq IS 'Ids of coupons';
    END IF;
    IF to_regclass('app.coupon_no_seq') IS NULL THEN
        CREATE SEQUENCE app.coupon_no_seq AS bigint;
        COMMENT ON SEQUENCE app.coupon_no_seq IS 'Numbers of coupons that members have (CP00000001); may skip, never repeats';
    END IF;
    IF to_regclass('app.coupons') IS NULL THEN
        CREATE TABLE app.coupons (
            id            integer       NOT NULL DEFAULT nextval('app.coupon_id_seq') PRIMARY KEY,
            terms_version integer       NOT NULL,
            issued        bigint        NOT NULL DEFAULT 0 CHECK (issued >= 0),
            created_at    timestamptz   NOT NULL,
            budget_amount numeric(14,2) CHECK (budget_amount > 0),
            status        text          NOT NULL CHECK (status IN ('draft', 'active', 'paused', 'ended')),
            code          text          NOT NULL UNIQUE
        );
        COMMENT ON TABLE app.coupons IS
            'Coupons that can be issued, by code; what one gives, when and to whom is in app.coupon_terms';
        COMMENT ON COLUMN app.coupons.terms_version IS 'The newest of app.coupon_terms: what is issued now is issued under it.';
        COMMENT ON COLUMN app.coupons.issued IS 'How many were issued so far, revoked ones included. What its issue_limit limits.';
        COMMENT ON COLUMN app.coupons.budget_amount IS 'What all payments together may be reduced by. NULL: no limit.';
        COMMENT ON COLUMN app.coupons.status IS
            'draft; active; paused (nothing is issued and nothing used meanwhile); ended (nothing more is issued, for ever).';
    END IF;
    PERFORM sec.install_coupon_terms();
    IF to_regclass('app.coupon_budget_parts') IS NULL THEN
        CREATE TABLE app.coupon_budget_parts (
            coupon_id   integer       NOT NULL REFERENCES app.coupons,
            part        smallint      NOT NULL CHECK (part BETWEEN 0 AND 15),
            left_amount numeric(14,2) NOT NULL CHECK (left_amount >= 0),
            PRIMARY KEY (coupon_id, part)
        );
        COMMENT ON TABLE app.coupon_budget_parts IS
            'What is left of the budget of a coupon, in sixteen parts, so that charges of many cards do not wait for one row';
    END IF;
    IF to_regclass('app.member_coupons') IS NULL THEN
        CREATE TABLE app.member_coupons (
            id            bigint      NOT NULL PRIMARY KEY,
            issued_with   bigint      NOT NULL,
            issued_at     timestamptz NOT NULL,
            valid_from    timestamptz NOT NULL,
            valid_until   timestamptz,
            member_id     uuid        NOT NULL,
            coupon_id     integer     NOT NULL,
            terms_version integer     NOT NULL,
            tx_no         text,
            status        text        NOT NULL CHECK (status IN ('active', 'used', 'revoked')),
            how           text        NOT NULL CHECK (how IN ('issued', 'claimed', 'to_all')),
            CHECK (valid_until > valid_from),
            CHECK ((status = 'used') = (tx_no IS NOT NULL))
            -- Nearly every one is used, and then is another version of its row: on the same page, no index needs to know.
        ) WITH (fillfactor = 70);
        CREATE INDEX member_coupons_member_id_idx ON app.member_coupons (member_id, coupon_id);
        COMMENT ON TABLE app.member_coupons IS
            'What members have: a row for each right to use a coupon once. The row is what is locked and spent';
        COMMENT ON COLUMN app.member_coupons.issued_with IS 'id of the first one that the same request issued.';
        COMMENT ON COLUMN app.member_coupons.status IS
            'active, used, revoked. An active one whose valid_until has come is over: nothing has to be written for that.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_coupons() IS
    'Makes the tables of coupons and the sequences of their ids and numbers, where they are missing. Internal: sec.install() calls it.';

CREATE FUNCTION sec.install_coupon_terms() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.coupon_terms') IS NULL THEN
        CREATE TABLE app.coupon_terms (
            coupon_id                integer       NOT NULL REFERENCES app.coupons,
            version                  integer       NOT NULL CHECK (version > 0),
            created_at               timestamptz   NOT NULL,
            valid_from               timestamptz,
            valid_until              timestamptz,
            issue_limit              bigint        CHECK (issue_limit > 0),
            per_member_limit         integer       CHECK (per_member_limit > 0),
            per_member_per_day       integer       CHECK (per_member_per_day > 0),
            valid_days_after_issue   integer       CHECK (valid_days_after_issue >= 0),
            starts_after_days        integer       CHECK (starts_after_days >= 0),
            hours_from               smallint      CHECK (hours_from BETWEEN 0 AND 1439),
            hours_until              smallint      CHECK (hours_until BETWEEN 0 AND 1439),
            goes_with_level_discount boolean       NOT NULL,
            first_purchase_only      boolean       NOT NULL,
            claimable                boolean       NOT NULL,
            name                     text          NOT NULL,
            kind                     text          NOT NULL CHECK (kind IN ('amount_off', 'percent_off', 'fixed_price')),
            value                    numeric(14,2) NOT NULL CHECK (value >= 0),
            min_spend                numeric(14,2) CHECK (min_spend > 0),
            max_discount             numeric(14,2) CHECK (max_discount > 0),
            budget_amount            numeric(14,2) CHECK (budget_amount > 0),
            on_full_refund           text          NOT NULL CHECK (on_full_refund IN ('return', 'keep_used')),
            weekdays                 smallint[],
            merchants                integer[],
            levels                   smallint[],
            card_types               text[],
            PRIMARY KEY (coupon_id, version),
            CHECK (valid_until > valid_from),
            CHECK (valid_until IS NULL OR valid_days_after_issue IS NULL),
            CHECK ((hours_from IS NULL) = (hours_until IS NULL) AND hours_from <> hours_until),
            CHECK (CASE kind WHEN 'amount_off' THEN value > 0 AND value < 'NaN' WHEN 'percent_off' THEN value > 0 AND value <= 100
                             ELSE value < 'NaN' END),
            CHECK (min_spend < 'NaN' AND max_discount < 'NaN' AND budget_amount < 'NaN'),
            CHECK (cardinality(weekdays) > 0 AND weekdays <@ '{1,2,3,4,5,6,7}'::smallint[]),
            CHECK (cardinality(merchants) > 0 AND array_position(merchants, NULL) IS NULL),
            CHECK (cardinality(levels) > 0 AND array_position(levels, NULL) IS NULL),
            CHECK (cardinality(card_types) > 0 AND card_types <@ '{personal,enterprise}'::text[])
        );
        COMMENT ON TABLE app.coupon_terms IS
            'What a coupon gives, when, where and to whom: a row for each edit, never changed. A right to use one keeps the terms that '
            'it was issued under';
        COMMENT ON COLUMN app.coupon_terms.value IS
            'amount_off: what is taken off; percent_off: how many per cent of it; fixed_price: the price that is left.';
        COMMENT ON COLUMN app.coupon_terms.min_spend IS 'Of what takes part in the payment, before any discount. NULL: none.';
        COMMENT ON COLUMN app.coupon_terms.goes_with_level_discount IS
            'Whether it comes on top of the card''s own discount, or takes its place.';
        COMMENT ON COLUMN app.coupon_terms.valid_days_after_issue IS 'To the end of so many business days after the one of the issue.';
        COMMENT ON COLUMN app.coupon_terms.starts_after_days IS 'From the beginning of so many business days after the one of the issue.';
        COMMENT ON COLUMN app.coupon_terms.hours_from IS 'From this minute of the day, by the business time zone. NULL: all day.';
        COMMENT ON COLUMN app.coupon_terms.hours_until IS 'To before this minute; where it comes before hours_from, of the next day.';
        COMMENT ON COLUMN app.coupon_terms.issue_limit IS 'How many are issued at most. The newest terms say it for all.';
        COMMENT ON COLUMN app.coupon_terms.merchants IS 'Ids of those where it can be used. NULL: everywhere.';
        COMMENT ON COLUMN app.coupon_terms.levels IS 'Levels of personal cards that it can be used with. NULL: any card.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_coupon_terms() IS
    'Makes the table of the terms of coupons, where it is missing. Internal: sec.install_coupons() calls it.';
