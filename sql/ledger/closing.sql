-- Closing months: noting who has transactions in a month that is over, so that a page of somebody who has none there does not
-- look into it. Whoever writes into a closed month later (by a clock that was set back) notes that itself.

CREATE FUNCTION sec.install_closing() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.closed_months') IS NULL THEN
        CREATE TABLE app.closed_months (
            singleton     boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
            noted_through date        NOT NULL CHECK (extract(day FROM noted_through) = 1),
            through       date        CHECK (through <= noted_through),
            xid           xid8,
            noted_at      timestamptz NOT NULL
        );
        COMMENT ON TABLE app.closed_months IS
            'Up to which month app.merchant_months and app.member_months say who has transactions; without a row, no month is closed';
        COMMENT ON COLUMN app.closed_months.noted_through IS
            'Who writes into this month (its first day) or an older one adds to the two tables what is missing there.';
        COMMENT ON COLUMN app.closed_months.through IS 'This month and all older ones are in the two tables.';
        COMMENT ON COLUMN app.closed_months.xid IS
            'Every transaction that could have written before it knew of noted_through had an id of its own below this one. Worth '
            'nothing in another cluster, and noted anew there.';
    END IF;
    IF to_regclass('app.merchant_months') IS NULL THEN
        CREATE TABLE app.merchant_months (
            merchant_id integer NOT NULL,
            month       date    NOT NULL,
            PRIMARY KEY (merchant_id, month)
        );
        COMMENT ON TABLE app.merchant_months IS 'In which closed months (UTC, by created_at) a merchant has transactions';
    END IF;
    IF to_regclass('app.member_months') IS NULL THEN
        CREATE TABLE app.member_months (
            member_id uuid NOT NULL,
            month     date NOT NULL,
            PRIMARY KEY (member_id, month)
        );
        COMMENT ON TABLE app.member_months IS
            'In which closed months (UTC, by created_at) a member has transactions with company cards; those with its own cards are '
            'found along the card';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_closing() IS 'Makes the tables of closed months, where they are missing. Internal: sec.install() calls it.';

CREATE FUNCTION app.close_months_note_batch() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- A month's end is a day past.
    v_through date := (date_trunc('month', (now() - interval '1 day') AT TIME ZONE 'UTC') - interval '1 month')::date;
    v record;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    LOCK TABLE app.closed_months IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    SELECT c.noted_through, c.through IS DISTINCT FROM c.noted_through
               AND sec.cut_is_of_here(c.xid) IS NOT TRUE AS unmarked INTO v
    FROM app.closed_months c;
    IF NOT FOUND THEN
        INSERT INTO app.closed_months (noted_through, noted_at) VALUES (v_through, clock_timestamp());
    ELSIF v.noted_through < v_through OR v.unmarked THEN
        UPDATE app.closed_months SET noted_through = greatest(noted_through, v_through), xid = NULL, noted_at = clock_timestamp();
    ELSE
        RETURN false;
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION app.close_months_note_batch() IS
    E'Notes which months are over, so that whoever writes into them says so; returns whether anything is new.\n'
    'The first batch of app.close_months(); app.close_months_mark_batch() is the next, in a transaction of its own.\n'
    'Level: operator.';

CREATE FUNCTION app.close_months_mark_batch() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_cut xid8;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    -- So that the cut marks no note that came after it.
    LOCK TABLE app.closed_months IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    -- Who has inserted a row looks then whether its month is noted, and has a transaction id by that time. So whoever looked
    -- before the note was there has one below this.
    v_cut := sec.cut('months are marked first thing in a transaction: CALL app.maintain_partitions()');
    UPDATE app.closed_months SET xid = v_cut WHERE xid IS NULL;
END
$$;
COMMENT ON FUNCTION app.close_months_mark_batch() IS
    E'Marks the moment from which on every transaction knows which months are noted.\n'
    'One batch of app.close_months().\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT, not by itself in a transaction.';

CREATE FUNCTION sec.closing_is_ready() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.refuse_outdated();
    RETURN coalesce((SELECT c.through = c.noted_through OR sec.cut_has_passed(c.xid)
                     FROM app.closed_months c), false);
END
$$;
COMMENT ON FUNCTION sec.closing_is_ready() IS
    E'Whether every transaction has ended that may write into a noted month without saying so. Internal.\n'
    'Level: operator.';

CREATE FUNCTION app.close_month_batch(p_after date) RETURNS date
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
    SET jit = off AS $$
DECLARE
    v record;
    v_ready boolean;
    v_month date;
    v_table text;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    PERFORM sec.refuse_read_only();
    LOCK TABLE app.closed_months IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    v_ready := sec.closing_is_ready();
    SELECT c.noted_through, coalesce(c.through, '-infinity') AS through INTO v FROM app.closed_months c;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Never beyond a month that is not closed yet, whatever is asked for.
    SELECT m.month INTO v_month
    FROM (SELECT to_date(right(c.relname::text, 6), 'YYYYMM') AS month
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'app.transactions'::regclass AND c.relname ~ '^transactions_20[0-9]{4}$') m
    WHERE m.month > least(coalesce(p_after, '-infinity'), v.through)
      AND m.month <= CASE WHEN v_ready THEN v.noted_through ELSE v.through END
    ORDER BY m.month LIMIT 1;
    IF NOT FOUND THEN
        IF v_ready THEN
            UPDATE app.closed_months SET through = noted_through WHERE through IS DISTINCT FROM noted_through;
        END IF;
        RETURN NULL;
    END IF;
    v_table := 'transactions_' || to_char(v_month, 'YYYYMM');
    BEGIN
        EXECUTE format($q$
            INSERT INTO app.merchant_months (merchant_id, month)
            WITH RECURSIVE merchants (id) AS (
                (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id IS NOT NULL ORDER BY x.merchant_id LIMIT 1)
                UNION ALL
                SELECT (SELECT x.merchant_id FROM app.%1$I x WHERE x.merchant_id > m.id ORDER BY x.merchant_id LIMIT 1)
                FROM merchants m WHERE m.id IS NOT NULL)
            SELECT m.id, $1 FROM merchants m WHERE m.id IS NOT NULL ON CONFLICT DO NOTHING$q$, v_table) USING v_month;
        IF v_month > v.through THEN
            EXECUTE format($q$
                INSERT INTO app.member_months (member_id, month)
                SELECT DISTINCT x.member_id, $1 FROM app.%1$I x WHERE x.card_type = 'enterprise' AND x.member_id IS NOT NULL
                ON CONFLICT DO NOTHING$q$, v_table) USING v_month;
            UPDATE app.closed_months SET through = v_month;
        END IF;
    EXCEPTION WHEN undefined_table THEN
        -- Archived since it was looked up: nothing to close.
        IF NOT EXISTS (SELECT FROM app.archived_months a WHERE a.month = v_month) THEN
            RAISE;
        END IF;
    END;
    RETURN v_month;
END
$$;
COMMENT ON FUNCTION app.close_month_batch(date) IS
    E'Closes the month after p_after (NULL: the first), or looks again into one that is closed.\n'
    'Returns that month; NULL when all is done or an older transaction is still running. One batch of app.close_months().\n'
    'Level: operator.';

CREATE PROCEDURE app.close_months()
    LANGUAGE plpgsql AS $$
DECLARE
    v_month date;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF app.close_months_note_batch() THEN
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        PERFORM app.close_months_mark_batch();
    END IF;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    -- At most a second for the transactions that were running; what they hold up is left to the next run.
    FOR v_try IN 1 .. 20 LOOP
        EXIT WHEN sec.closing_is_ready();
        COMMIT;
        PERFORM pg_catalog.pg_sleep(0.05);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    END LOOP;
    LOOP
        v_month := app.close_month_batch(v_month);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        EXIT WHEN v_month IS NULL;
    END LOOP;
    COMMIT;
END
$$;
COMMENT ON PROCEDURE app.close_months() IS
    E'Notes who has transactions in each month that has been over for a day.\n'
    'So that a page costs the page however many months there are. app.maintain_partitions() calls it. What a long transaction holds '
    'up is left to the next run.\n'
    'Level: operator.';
