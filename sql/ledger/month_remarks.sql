-- What of the present month later months do not get, or get at a cost.

CREATE FUNCTION sec.month_remarks() RETURNS TABLE (remark text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH parents AS (SELECT p.oid, p.oid::regclass AS parent, p.reltablespace, sec.model_month(p.oid::regclass) AS model
                     FROM sec.monthly_tables() t JOIN pg_class p ON p.oid = format('%I.%I', t.nsp, t.tab)::regclass),
    alone (object, month) AS (
        SELECT 'index ' || x.indexrelid::regclass, p.model FROM parents p JOIN pg_index x ON x.indrelid = p.model
        WHERE NOT x.indisprimary AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = x.indexrelid)
        UNION ALL
        SELECT format('constraint %I', k.conname), p.model FROM parents p JOIN pg_constraint k ON k.conrelid = p.model
        WHERE k.contype IN ('c', 'f', 'u', 'x') AND k.coninhcount = 0 AND k.conparentid = 0
        UNION ALL
        SELECT format('trigger %I', g.tgname), p.model FROM parents p JOIN pg_trigger g ON g.tgrelid = p.model
        WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgfoid <> 'sec.append_only()'::regprocedure
        UNION ALL
        SELECT format('policy %I', q.polname), p.model FROM parents p JOIN pg_policy q ON q.polrelid = p.model
        UNION ALL
        SELECT format('rule %I', r.rulename), p.model FROM parents p JOIN pg_rewrite r ON r.ev_class = p.model
        UNION ALL
        SELECT format('statistics %I.%I', n.nspname, s.stxname), p.model
        FROM parents p JOIN pg_statistic_ext s ON s.stxrelid = p.model JOIN pg_namespace n ON n.oid = s.stxnamespace
        UNION ALL
        SELECT format('publication %I', b.pubname), p.model
        FROM parents p JOIN pg_publication_rel r ON r.prrelid = p.model JOIN pg_publication b ON b.oid = r.prpubid
        UNION ALL
        SELECT format('default of column %I', a.attname), p.model
        FROM parents p JOIN pg_attrdef d ON d.adrelid = p.model JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
        JOIN pg_attribute o ON o.attrelid = p.oid AND o.attname = a.attname
        LEFT JOIN pg_attrdef e ON (e.adrelid, e.adnum) = (o.attrelid, o.attnum)
        WHERE pg_get_expr(d.adbin, d.adrelid) IS DISTINCT FROM pg_get_expr(e.adbin, e.adrelid)
        UNION ALL
        SELECT format('rights of %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END), p.model
        FROM parents p JOIN pg_class c ON c.oid = p.model, aclexplode(c.relacl) a WHERE a.grantee <> c.relowner
        UNION ALL
        SELECT 'forced row-level security', p.model FROM parents p JOIN pg_class c ON c.oid = p.model WHERE c.relforcerowsecurity
        UNION ALL
        SELECT 'replica identity', p.model FROM parents p JOIN pg_class c ON c.oid = p.model
        WHERE c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index x JOIN pg_inherits i ON i.inhrelid = x.indexrelid
                                                   WHERE x.indrelid = p.model AND x.indisreplident)
        UNION ALL
        SELECT format('access method %I', a.amname), p.model
        FROM parents p JOIN pg_class c ON c.oid = p.model JOIN pg_am a ON a.oid = c.relam JOIN pg_class o ON o.oid = p.oid
        WHERE a.amname <> 'heap' AND o.relam <> c.relam)
    SELECT format('%s has %s, which later months do not get', a.month, string_agg(DISTINCT a.object, ', ' ORDER BY a.object))
    FROM alone a GROUP BY a.month
    UNION ALL
    SELECT format('tablespace %I of %s is not for later months: %s may not CREATE in it', s.spcname, c.oid::regclass, sec.owner())
    FROM parents p JOIN pg_class c ON c.oid IN (p.oid, p.model, sec.primary_key_of(p.model)) JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE NOT has_tablespace_privilege(sec.owner(), s.oid, 'CREATE')
    UNION ALL
    SELECT format('trigger %I on %s does not fire: the RPCs write to the months', g.tgname, p.parent)
    FROM parents p JOIN pg_trigger g ON g.tgrelid = p.oid
    WHERE NOT g.tgisinternal AND g.tgtype & 1 = 0 AND g.tgfoid <> 'sec.append_only()'::regprocedure
    UNION ALL
    SELECT format('rule %I on %s is not followed: the RPCs write to the months', r.rulename, p.parent)
    FROM parents p JOIN pg_rewrite r ON r.ev_class = p.oid
    UNION ALL
    SELECT format('trigger %I on %s calls %s, which %s may not execute: that stops the making of months',
                  g.tgname, p.parent, g.tgfoid::regprocedure, sec.owner())
    FROM parents p JOIN pg_trigger g ON g.tgrelid = p.oid
    WHERE NOT g.tgisinternal AND NOT has_function_privilege(sec.owner(), g.tgfoid, 'EXECUTE')
    UNION ALL
    SELECT format('foreign key %I: making a month keeps writers of %s waiting for a moment', k.conname,
                  CASE k.conrelid WHEN p.oid THEN k.confrelid ELSE k.conrelid END::regclass)
    FROM parents p JOIN pg_constraint k ON k.contype = 'f' AND p.oid IN (k.conrelid, k.confrelid) AND k.conparentid = 0
    ORDER BY 1
$$;
COMMENT ON FUNCTION sec.month_remarks() IS
    'What a shop added to the monthly tables or to the present month and later months do not get, or that costs something when they '
    'are made. Internal: app.health() shows it.';
