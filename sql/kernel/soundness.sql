-- What app.health() asks about the tables as such.

CREATE FUNCTION sec.published_without_identity() RETURNS TABLE (relation regclass, problem text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    WITH
    published AS (
        SELECT p.pubname, c.oid, c.relreplident, r.prrelid, r.prattrs, r.prqual,
               (SELECT i.indkey FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid
                  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END) AS identity
        FROM pg_publication p
        JOIN pg_class c ON c.relkind = 'r'
             AND c.relnamespace IN (SELECT n.oid FROM pg_namespace n WHERE n.nspname IN ('app', 'audit', 'sec'))
        LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid
             AND (r.prrelid = c.oid OR r.prrelid IN (SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = c.oid))
        WHERE (p.pubupdate OR p.pubdelete)
          AND (p.puballtables OR r.oid IS NOT NULL
               OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace))
    ),
    named AS (
        SELECT p.*,
               ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = p.oid AND a.attnum = ANY (p.identity::int2[])) AS key,
               ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = p.prrelid AND a.attnum = ANY (p.prattrs::int2[])) AS listed,
               ARRAY(SELECT a.attname FROM regexp_matches(p.prqual::text, ':varattno (\d+)', 'g') f
                     JOIN pg_attribute a ON a.attrelid = p.prrelid AND a.attnum = f[1]::integer) AS filtered
        FROM published p
    )
    SELECT n.oid::regclass,
           format('%s is in publication %s %s: no row of it can be changed', n.oid::regclass, n.pubname,
                  CASE WHEN n.relreplident <> 'f' AND n.identity IS NULL THEN 'without a replica identity'
                       WHEN n.prattrs IS NOT NULL AND (n.relreplident = 'f' OR NOT n.key <@ n.listed)
                           THEN 'with a column list that lacks its replica identity'
                       ELSE 'with a row filter on columns outside its replica identity' END)
    FROM named n
    WHERE (n.relreplident <> 'f' AND n.identity IS NULL)
       OR (n.prattrs IS NOT NULL AND (n.relreplident = 'f' OR NOT n.key <@ n.listed))
       OR (n.prqual IS NOT NULL AND n.relreplident <> 'f' AND NOT n.filtered <@ n.key)
$$;
COMMENT ON FUNCTION sec.published_without_identity() IS
    'Tables of mps that are in a publication of changes in such a way that the server refuses every UPDATE and DELETE. Internal.';

CREATE FUNCTION sec.table_problems() RETURNS TABLE (problem text, is_unreadable boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    WITH
    relations AS (
        SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, n.nspname, c.relkind, c.relpersistence, c.relispartition,
               -- Nothing changes a row of these.
               c.relname = 'seals' OR EXISTS (SELECT FROM sec.monthly_tables() t WHERE t.is_append_only
                                                AND c.relname ~ format('^%s(_[0-9]{6})?$', t.tab)) AS is_append_only
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        -- Another's are nobody's business here; one of ours that became another's stops every call, which says so.
        WHERE n.nspname IN ('app', 'audit', 'sec', 'mps_archive') AND c.relkind IN ('r', 'p', 'S') AND c.relowner = sec.owner()
    )
    SELECT format('%s is UNLOGGED, and a crash empties it: ALTER %s %s SET LOGGED',
                  r.name, CASE r.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, r.name), false
    FROM relations r WHERE r.relpersistence = 'u'
    UNION ALL
    SELECT format('%s is detached: no statement and no book has what is in it', r.name), false
    FROM relations r
    WHERE EXISTS (SELECT FROM sec.monthly_tables() t WHERE r.name ~ format('^%s\.%s_[0-9]{6}$', t.nsp, t.tab))
      AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = r.oid AND NOT i.inhdetachpending)
    UNION ALL
    SELECT format('%s may not %s %s: GRANT it', sec.owner(), string_agg(p.privilege, ', ' ORDER BY p.privilege), r.name),
           bool_or(p.privilege = 'SELECT')
    FROM relations r
    JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE']) p (privilege)
         ON CASE r.relkind WHEN 'S' THEN p.privilege IN ('SELECT', 'UPDATE', 'USAGE')
                           ELSE p.privilege <> 'USAGE' AND NOT (r.is_append_only AND p.privilege IN ('UPDATE', 'DELETE')) END
    WHERE r.nspname <> 'mps_archive'
      AND NOT CASE r.relkind WHEN 'S' THEN has_sequence_privilege(sec.owner(), r.oid, p.privilege)
                             ELSE has_table_privilege(sec.owner(), r.oid, p.privilege) END
    GROUP BY r.name
    UNION ALL
    SELECT format('a trigger of %1$s that mps relies on does not fire: ALTER TABLE %1$s ENABLE TRIGGER %2$s',
                  r.name, string_agg(quote_ident(t.tgname), ', ' ORDER BY t.tgname)), false
    FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid JOIN pg_proc f ON f.oid = t.tgfoid
    WHERE t.tgenabled IN ('D', 'R') AND (t.tgisinternal OR f.pronamespace = 'sec'::regnamespace) AND r.nspname <> 'mps_archive'
    GROUP BY r.name
    UNION ALL
    -- One of this name that calls something else, or at another time, is somebody else's.
    SELECT CASE WHEN t.oid IS NULL THEN format('%s lacks its trigger %s, which %s: SELECT app.migrate()', x.tab, x.trig, x.does)
                ELSE format('trigger %1$s of %2$s is not the one of mps: DROP TRIGGER %1$s ON %2$s (or rename another''s), then '
                            'SELECT app.migrate()', x.trig, x.tab) END, false
    FROM (VALUES ('app.external_orders', 'mps_refuse_old_claim', 'holds calls of earlier releases to the rules of now',
                  'BEFORE INSERT ON app.external_orders FOR EACH ROW WHEN new.scope = 2 OR new.scope = 3 AND new.scope_no <> 0 '
                  'EXECUTE FUNCTION sec.refuse_old_claim'),
                 ('app.transactions', 'mps_count_recharge', 'holds calls of earlier releases to the rules of now',
                  'AFTER INSERT OR UPDATE OF status ON app.transactions FOR EACH ROW WHEN new.tx_type = ''recharge''::app.tx_type '
                  'EXECUTE FUNCTION sec.count_recharge'),
                 ('app.membership_levels', 'audited', 'writes what changes into the log',
                  'AFTER INSERT OR DELETE OR UPDATE ON app.membership_levels FOR EACH ROW EXECUTE FUNCTION sec.level_changed'),
                 ('app.membership_levels', 'audited_truncate', 'writes what changes into the log',
                  'AFTER TRUNCATE ON app.membership_levels FOR EACH STATEMENT EXECUTE FUNCTION sec.level_changed'))
         x (tab, trig, does, shown)
    LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(x.tab) AND t.tgname = x.trig
    -- As the server shows it, without brackets.
    WHERE replace(replace(pg_get_triggerdef(t.oid), '(', ''), ')', '') IS DISTINCT FROM format('CREATE TRIGGER %s %s', x.trig, x.shown)
    UNION ALL
    SELECT p.problem, false FROM sec.published_without_identity() p JOIN relations r ON r.oid = p.relation WHERE NOT r.is_append_only
$$;
COMMENT ON FUNCTION sec.table_problems() IS
    E'What stops calls, or will lose rows, in how the tables of mps are set up now.\n'
    'A sentence each, and whether a table cannot be read: unlogged tables and sequences, detached months, rights that mps_owner '
    'lacks, missing and disabled triggers, publications. Internal: app.health() shows it.';
