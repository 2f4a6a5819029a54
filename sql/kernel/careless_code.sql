-- Code of others on the tables of mps.

-- What others put on our tables runs as mps_owner and, unless it says otherwise, looks its names up on our path, which ends in
-- the caller's temporary schema. Where a path does not name that schema it is searched first, for tables and for types: with
-- search_path = '' the word text may be a domain of the caller's, whose CHECK is the caller's code.
CREATE FUNCTION sec.careless_code() RETURNS TABLE (what text)
    -- Not in SQL: that would be planned at every call.
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    RETURN QUERY
    -- From the functions on, which are few, not from the tables, which are many.
    WITH RECURSIVE
    -- A body that was parsed when it was made (BEGIN ATOMIC) finds its names, but what it calls inherits the path.
    careless AS (
        SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE l.lanname NOT IN ('internal', 'c')
          AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c
                          WHERE c ~ '^search_path=(.*, )?"?pg_temp"?$' AND cardinality(regexp_split_to_array(c, 'pg_temp')) = 2)
          -- What comes with the server has been looked at by others.
          AND p.oid >= 16384
    ),
    -- Our tables, and those of others that ours take along: the action of a foreign key runs as their owner, under our path.
    reached (oid) AS (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('app', 'audit', 'sec') AND c.relkind IN ('r', 'p')
        UNION
        SELECT k.conrelid FROM reached r JOIN pg_constraint k ON k.confrelid = r.oid AND k.contype = 'f'
        WHERE k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')
    ),
    users AS (
        SELECT c.oid AS func, d.classid, d.objid
        FROM careless c JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = c.oid
        UNION
        SELECT c.oid, d.classid, d.objid
        FROM careless c JOIN pg_operator o ON o.oprcode = c.oid
        JOIN pg_depend d ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
    ),
    -- Domains that call one, in a CHECK or by default, and what is made of them.
    types (func, classid, objid, typ) AS (
        SELECT u.func, u.classid, u.objid, k.contypid
        FROM users u JOIN pg_constraint k ON u.classid = 'pg_constraint'::regclass AND k.oid = u.objid WHERE k.contypid <> 0
        UNION
        SELECT u.func, u.classid, u.objid, u.objid FROM users u WHERE u.classid = 'pg_type'::regclass
        UNION
        SELECT t.func, t.classid, t.objid, x.oid
        FROM types t CROSS JOIN LATERAL (
            SELECT y.oid FROM pg_type y WHERE y.typbasetype = t.typ OR y.typelem = t.typ
            UNION ALL
            SELECT y.oid FROM pg_attribute a JOIN pg_type y ON y.typrelid = a.attrelid WHERE a.atttypid = t.typ AND a.attnum > 0
            UNION ALL
            SELECT g.rngtypid FROM pg_range g WHERE g.rngsubtype = t.typ) x
    ),
    holders (func, classid, objid, relation) AS (
        SELECT u.func, u.classid, u.objid, t.tgrelid
        FROM users u JOIN pg_trigger t ON u.classid = 'pg_trigger'::regclass AND t.oid = u.objid
        UNION ALL
        SELECT u.func, u.classid, u.objid, k.conrelid
        FROM users u JOIN pg_constraint k ON u.classid = 'pg_constraint'::regclass AND k.oid = u.objid
        UNION ALL
        SELECT t.func, t.classid, t.objid, a.attrelid FROM types t JOIN pg_attribute a ON a.atttypid = t.typ AND a.attnum > 0
        UNION ALL
        SELECT u.func, u.classid, u.objid, x.stxrelid
        FROM users u JOIN pg_statistic_ext x ON u.classid = 'pg_statistic_ext'::regclass AND x.oid = u.objid
        UNION ALL
        -- Of an operator class: whose indexes are.
        SELECT f.func, 'pg_class'::regclass, i.indexrelid, i.indrelid
        FROM (SELECT c.oid AS func, p.amprocfamily AS family FROM careless c JOIN pg_amproc p ON p.amproc = c.oid
              UNION
              SELECT c.oid, m.amopfamily FROM careless c JOIN pg_operator o ON o.oprcode = c.oid JOIN pg_amop m ON m.amopopr = o.oid) f
        JOIN pg_opclass k ON k.opcfamily = f.family JOIN pg_index i ON k.oid = ANY (i.indclass)
        UNION ALL
        SELECT u.func, u.classid, u.objid, d.adrelid
        FROM users u JOIN pg_attrdef d ON u.classid = 'pg_attrdef'::regclass AND d.oid = u.objid
        UNION ALL
        SELECT u.func, u.classid, u.objid, i.indrelid
        FROM users u JOIN pg_index i ON u.classid = 'pg_class'::regclass AND i.indexrelid = u.objid
        UNION ALL
        SELECT u.func, u.classid, u.objid, r.ev_class
        FROM users u JOIN pg_rewrite r ON u.classid = 'pg_rewrite'::regclass AND r.oid = u.objid
        UNION ALL
        -- They bind us only then.
        SELECT u.func, u.classid, u.objid, p.polrelid
        FROM users u JOIN pg_policy p ON u.classid = 'pg_policy'::regclass AND p.oid = u.objid
        JOIN pg_class c ON c.oid = p.polrelid AND c.relforcerowsecurity
    ),
    -- Partitions repeat what their table has.
    found AS (
        SELECT h.func, min(pg_describe_object(h.classid, h.objid, 0)) AS holder, count(*) AS holders
        FROM holders h JOIN reached r ON r.oid = h.relation
        GROUP BY h.func
    )
    SELECT format('%s%s runs %s', f.holder, CASE WHEN f.holders > 1 THEN format(' and %s more', f.holders - 1) ELSE '' END,
                  f.func::regprocedure)
    FROM found f;
END
$$;
COMMENT ON FUNCTION sec.careless_code() IS
    'What others put on the tables of mps (triggers, checks, defaults, indexes, rules, domains) that runs a function without a '
    'search_path of its own which ends in pg_temp. Internal.';
