-- What audit.seal() does for receipts, where there is a key: the trees grow, and heads are signed.

CREATE FUNCTION audit.receipts_are_on() RETURNS boolean
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'receipts_are_on_wrapper';
COMMENT ON FUNCTION audit.receipts_are_on IS
    E'Whether mps.seal_key_file is set.\n'
    'Part of audit.seal().\n'
    'Level: operator.';

CREATE FUNCTION audit.grow_tree() RETURNS bigint
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'grow_tree_wrapper';
COMMENT ON FUNCTION audit.grow_tree IS
    E'Takes the movements of the next 10,000 sealed events into the tree; returns how many.\n'
    'Part of audit.seal(). A movement whose month is archived, or whose row is missing, is left out; the latter is said in the log of '
    'the server.\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT, SCHEMA_OUTDATED.';

CREATE FUNCTION audit.sign_head() RETURNS bigint
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'sign_head_wrapper';
COMMENT ON FUNCTION audit.sign_head IS
    E'Signs a head for what is sealed and in the trees, if there is anything new; returns its number, else NULL.\n'
    'Part of audit.seal(). Not in the transaction that sealed, and only where the commit is waited for (synchronous_commit), so that '
    'no head is ever seen whose seal could be lost in a crash. Where the server is another one than that of the head before, or on '
    'another timeline, the head says so: the database was restored.\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT (no key, one that cannot be used, commits are not waited for), SCHEMA_OUTDATED.';

CREATE FUNCTION audit.declare_restore(p_reason text) RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'declare_restore_wrapper';
COMMENT ON FUNCTION audit.declare_restore IS
    E'Has the next head say that the database was restored to an earlier point, and why; false where that waits to be said already.\n'
    'To be called before audit.seal() runs again where neither the system identifier nor the timeline shows it: a snapshot of the disk '
    'was put back. Everywhere else heads say it by themselves. Whoever holds a receipt of what was lost sees what is said here.\n'
    'Level: operator.\n'
    'Results: whether it was noted now.\n'
    'Errors: INVALID_ARGUMENT, STATUS_CONFLICT (no head was ever signed), SCHEMA_OUTDATED.';

CREATE FUNCTION sec.finish_tree(p_tree integer) RETURNS bigint
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'finish_tree_wrapper';
COMMENT ON FUNCTION sec.finish_tree IS
    'Makes nodes, root and total of a month''s tree from its leaves; returns how many there are. Internal: audit.publish_balances().';

CREATE FUNCTION sec.check_heads() RETURNS SETOF text
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'check_heads_wrapper';
COMMENT ON FUNCTION sec.check_heads IS
    'What of heads and trees is not as it was signed. Internal: audit.verify() calls it.';

CREATE FUNCTION sec.months_with_balances() RETURNS TABLE (month date, tree integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT m.month::date, to_char(m.month, 'YYYYMM')::integer
    FROM audit.trees b, generate_series(date_trunc('month', b.begun_at), date_trunc('month', now()) - interval '1 month',
                                        interval '1 month') m (month)
    -- What moved since is looked at to know what was held before: all of it must be here.
    WHERE b.tree = 0 AND NOT EXISTS (
        SELECT FROM app.archived_months a
        WHERE a.month >= m.month OR EXISTS (SELECT FROM app.late_postings l
                                            WHERE l.posted_at >= m.month + interval '1 month'
                                              AND l.created_at >= a.month AND l.created_at < a.month + interval '1 month'))
$$;
COMMENT ON FUNCTION sec.months_with_balances() IS
    'The months that are over since receipts began, of which it can be told what every card held at the end. Internal: '
    'audit.note_balances().';

CREATE FUNCTION audit.note_balances() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_month date;
    v_cut xid8;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    -- Not before the wait: somebody may have put code on the tables meanwhile.
    PERFORM sec.refuse_shadows();
    PERFORM sec.refuse_read_only();
    -- The months since the first in which movements were taken up, one after the other.
    SELECT m.month INTO v_month FROM sec.months_with_balances() m
    WHERE NOT EXISTS (SELECT FROM audit.trees t WHERE t.tree = m.tree AND t.root IS NOT NULL)
    ORDER BY m.month LIMIT 1;
    IF v_month IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM audit.trees t WHERE t.tree = to_char(v_month, 'YYYYMM')::integer AND sec.cut_is_of_here(t.cut)) THEN
        v_cut := sec.cut('the cut is noted first thing in a transaction: CALL audit.seal()');
        INSERT INTO audit.trees AS t (tree, begun_at, cut, secret)
        VALUES (to_char(v_month, 'YYYYMM')::integer, clock_timestamp(), v_cut, sec.secret())
        ON CONFLICT (tree) DO UPDATE SET cut = excluded.cut, begun_at = excluded.begun_at;
    END IF;
    RETURN to_char(v_month, 'YYYYMM')::integer;
END
$$;
COMMENT ON FUNCTION audit.note_balances() IS
    E'The month, as yyyymm, whose balances are to be published next, and notes what has to end before that; NULL: none.\n'
    'Part of audit.seal().\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT.';

CREATE FUNCTION sec.secret() RETURNS bytea
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'secret_wrapper';
COMMENT ON FUNCTION sec.secret IS 'A secret: 32 random bytes of the server''s strong source. Internal.';

CREATE FUNCTION audit.balances_ready(p_tree integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    RETURN EXISTS (SELECT FROM audit.trees t WHERE t.tree = p_tree AND sec.cut_has_passed(t.cut));
END
$$;
COMMENT ON FUNCTION audit.balances_ready(integer) IS
    E'Whether every transaction has ended that could have posted in the month.\n'
    'Part of audit.seal().\n'
    'Level: operator.';

CREATE FUNCTION sec.balances_at(p_end timestamptz) RETURNS TABLE (card_no text, card_seq bigint, balance numeric)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH late AS (
        -- What was posted since and lies in an earlier month.
        SELECT t.card_id, t.card_seq, t.balance_after, t.tx_type, t.final_amount
        FROM app.late_postings l JOIN app.transactions t ON t.id = l.tx_id AND t.created_at = l.created_at
        WHERE l.posted_at >= p_end AND l.created_at < p_end),
    since AS (
        SELECT DISTINCT ON (x.card_id) x.card_id, x.card_seq - 1 AS card_seq,
               x.balance_after - CASE WHEN x.tx_type IN ('payment', 'withdrawal') THEN -x.final_amount ELSE x.final_amount END AS balance
        FROM (SELECT t.card_id, t.card_seq, t.balance_after, t.tx_type, t.final_amount FROM app.transactions t
              WHERE t.created_at >= p_end AND t.posted_at >= p_end
              UNION ALL SELECT l.* FROM late l) x
        ORDER BY x.card_id, x.card_seq),
    cards AS (
        SELECT c.id, c.card_no, c.card_seq, c.balance FROM app.personal_cards c
        UNION ALL SELECT c.id, c.card_no, c.card_seq, c.balance FROM app.enterprise_cards c)
    SELECT c.card_no, coalesce(s.card_seq, c.card_seq), coalesce(s.balance, c.balance)
    FROM cards c LEFT JOIN since s ON s.card_id = c.id
    WHERE coalesce(s.card_seq, c.card_seq) > 0
$$;
COMMENT ON FUNCTION sec.balances_at(timestamptz) IS
    'What each card that had moved by then held at the end of a month, and how many movements it had. Internal: audit.publish_balances().';

CREATE FUNCTION audit.publish_balances(p_tree integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET work_mem = '64MB' SET jit = off AS $$
DECLARE
    c_chunk constant integer := 256;
    v_end timestamptz;
    v_month text;
    v_secret bytea;
BEGIN
    PERFORM sec.require_operator();
    PERFORM sec.refuse_outdated();
    LOCK TABLE audit.seal_cut IN SHARE ROW EXCLUSIVE MODE;
    PERFORM sec.refuse_shadows();
    PERFORM sec.refuse_read_only();
    SELECT to_char(m, 'YYYY-MM'), m + interval '1 month', t.secret INTO v_month, v_end, v_secret
    FROM audit.trees t, LATERAL (SELECT make_timestamptz(t.tree / 100, t.tree % 100, 1, 0, 0, 0, 'UTC') AS m) x
    WHERE t.tree = p_tree AND t.tree > 0 AND t.root IS NULL AND sec.cut_has_passed(t.cut)
      AND p_tree IN (SELECT b.tree FROM sec.months_with_balances() b);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM audit.tree_chunks c WHERE c.tree = p_tree;
    DELETE FROM audit.tree_nodes n WHERE n.tree = p_tree;
    -- Ordered by what nobody can foresee: where a card stands says nothing about it.
    INSERT INTO audit.tree_chunks (tree, chunk_no, first_hash, labels)
    SELECT p_tree, z.chunk_no, substr(z.labels, 9, 32), z.labels
    FROM (
    SELECT x.place / c_chunk AS chunk_no, string_agg(int8send(x.cents) || x.hash, '' ORDER BY x.place) AS labels
    FROM (SELECT y.cents, y.hash, row_number() OVER (ORDER BY y.hash) - 1 AS place
          FROM (SELECT (b.balance * 100)::bigint AS cents,
                       sha256('\x00'::bytea || convert_to(format('["mps balance 1","%s","%s",%s,"%s","%s"]', v_month, b.card_no,
                                    b.card_seq, b.balance,
                                    encode(substr(sha256(v_secret || convert_to(b.card_no, 'UTF8')), 1, 16), 'hex')), 'UTF8')) AS hash
                FROM sec.balances_at(v_end) b) y) x
    GROUP BY x.place / c_chunk) z;
    RETURN sec.finish_tree(p_tree);
END
$$;
COMMENT ON FUNCTION audit.publish_balances(integer) IS
    E'Makes the tree of what every card held at the end of a month; returns of how many cards, NULL where that is done or too early.\n'
    'Part of audit.seal(): the next head publishes it.\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT.';

CREATE PROCEDURE audit.sign_heads()
    LANGUAGE plpgsql AS $$
DECLARE
    v_tree integer;
BEGIN
    IF sec.jobs_rest() THEN
        RETURN;
    END IF;
    IF NOT audit.receipts_are_on() THEN
        RETURN;
    END IF;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    LOOP
        EXIT WHEN audit.grow_tree() OPERATOR(pg_catalog.=) 0;
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    END LOOP;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    v_tree := audit.note_balances();
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF v_tree IS NOT NULL THEN
        -- At most three seconds for the transactions that were running; what they hold up is left to the next run.
        FOR v_try IN 1 .. 60 LOOP
            EXIT WHEN audit.balances_ready(v_tree);
            COMMIT;
            PERFORM pg_catalog.pg_sleep(0.05);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        END LOOP;
        PERFORM audit.publish_balances(v_tree);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    END IF;
    -- Whoever sees a head may rely on it: its commit is waited for, and so is all that came before.
    IF pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off' THEN
        SET LOCAL synchronous_commit = on;
    END IF;
    PERFORM audit.sign_head();
    COMMIT;
END
$$;
COMMENT ON PROCEDURE audit.sign_heads() IS
    E'Takes what is sealed into the trees, publishes the balances of the month that ended, and signs a head.\n'
    'The last part of audit.seal(); nothing where mps.seal_key_file is not set. Charges neither wait nor pay for it.\n'
    'Level: operator.\n'
    'Errors: STATUS_CONFLICT, SCHEMA_OUTDATED.';
