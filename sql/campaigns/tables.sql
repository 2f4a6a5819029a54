-- Campaigns: what is given beside the price of a payment, and under which terms.

CREATE FUNCTION sec.install_campaigns() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.campaign_id_seq') IS NULL THEN
        CREATE SEQUENCE app.campaign_id_seq AS integer;
        COMMENT ON SEQUENCE app.campaign_id_seq IS 'Ids of campaigns';
    END IF;
    IF to_regclass('app.campaigns') IS NULL THEN
        CREATE TABLE app.campaigns (
            id            integer     NOT NULL DEFAULT nextval('app.campaign_id_seq') PRIMARY KEY,
            terms_version integer     NOT NULL,
            created_at    timestamptz NOT NULL,
            status        text        NOT NULL CHECK (status IN ('draft', 'active', 'paused', 'ended')),
            code          text        NOT NULL UNIQUE
        );
        COMMENT ON TABLE app.campaigns IS
            'Campaigns, by code; what one gives, when and to whom is in app.campaign_terms. Every backend keeps those that are active';
        COMMENT ON COLUMN app.campaigns.terms_version IS 'The newest of app.campaign_terms: payments go by them.';
        COMMENT ON COLUMN app.campaigns.status IS 'draft; active; paused (gives nothing meanwhile); ended (for ever).';
    END IF;
    IF to_regclass('app.campaign_terms') IS NULL THEN
        CREATE TABLE app.campaign_terms (
            campaign_id integer       NOT NULL REFERENCES app.campaigns,
            version     integer       NOT NULL CHECK (version > 0),
            created_at  timestamptz   NOT NULL,
            valid_from  timestamptz,
            valid_until timestamptz,
            priority    integer       NOT NULL,
            hours_from  smallint      CHECK (hours_from BETWEEN 0 AND 1439),
            hours_until smallint      CHECK (hours_until BETWEEN 0 AND 1439),
            exclusive   boolean       NOT NULL,
            name        text          NOT NULL,
            kind        text          NOT NULL CHECK (kind IN ('points_multiplier', 'points_bonus')),
            value       numeric(14,2) NOT NULL CHECK (value > 0),
            min_spend   numeric(14,2) CHECK (min_spend > 0),
            weekdays    smallint[],
            merchants   integer[],
            levels      smallint[],
            card_types  text[],
            PRIMARY KEY (campaign_id, version),
            CHECK (valid_until > valid_from),
            CHECK ((hours_from IS NULL) = (hours_until IS NULL) AND hours_from <> hours_until),
            -- Every payment reads those that are on: a row that is none would stop it.
            CHECK (CASE kind WHEN 'points_multiplier' THEN value > 1 AND value <= 100
                             ELSE value = trunc(value) AND value BETWEEN 1 AND 1000000 END),
            CHECK (min_spend < 'NaN'),
            CHECK (cardinality(weekdays) > 0 AND weekdays <@ '{1,2,3,4,5,6,7}'::smallint[]),
            CHECK (cardinality(merchants) > 0 AND array_position(merchants, NULL) IS NULL),
            CHECK (cardinality(levels) > 0 AND array_position(levels, NULL) IS NULL),
            CHECK (cardinality(card_types) > 0 AND card_types <@ '{personal,enterprise}'::text[])
        );
        COMMENT ON TABLE app.campaign_terms IS
            'What a campaign gives, when, where and to whom: a row for each edit, never changed. A payment keeps which it went by';
        COMMENT ON COLUMN app.campaign_terms.value IS
            'points_multiplier: how many times the points; points_bonus: how many points more.';
        COMMENT ON COLUMN app.campaign_terms.min_spend IS 'Of what takes part in the payment, before any discount. NULL: none.';
        COMMENT ON COLUMN app.campaign_terms.priority IS 'Among exclusive campaigns that apply the greatest counts.';
        COMMENT ON COLUMN app.campaign_terms.exclusive IS 'Whether no other gives anything where this one applies.';
        COMMENT ON COLUMN app.campaign_terms.hours_from IS 'From this minute of the day, by the business time zone. NULL: all day.';
        COMMENT ON COLUMN app.campaign_terms.hours_until IS 'To before this minute; where it comes before hours_from, of the next day.';
        COMMENT ON COLUMN app.campaign_terms.merchants IS 'Ids of those where it applies. NULL: everywhere.';
        COMMENT ON COLUMN app.campaign_terms.levels IS 'Levels of the cards that it applies to. NULL: all.';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_campaigns() IS
    'Makes the tables of campaigns and the sequence of their ids, where they are missing. Internal: sec.install() calls it.';
