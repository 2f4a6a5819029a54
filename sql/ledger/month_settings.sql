-- What a shop added to the monthly tables reaches the months to come: what the server does not pass on by itself is taken from
-- the partitioned table or, where that cannot have it, from the present month.

CREATE FUNCTION sec.model_month(p_parent regclass) RETURNS regclass
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid::regclass FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid
    WHERE p.oid = p_parent AND c.relnamespace = p.relnamespace AND c.relkind = 'r' AND c.relname ~ ('^' || p.relname || '_[0-9]{6}$')
      AND right(c.relname, 6) <= to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')
    ORDER BY right(c.relname, 6) DESC LIMIT 1
$$;
COMMENT ON FUNCTION sec.model_month(regclass) IS
    'The month of a table whose settings the months to come get: the present one, or the newest before it. Internal.';

CREATE FUNCTION sec.access_method_of(p_parent regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- From PostgreSQL 17 on a partitioned table can have one for its partitions.
    SELECT coalesce((SELECT format(' USING %I', a.amname) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.oid = p_parent), '')
$$;
COMMENT ON FUNCTION sec.access_method_of(regclass) IS 'The clause that gives a month the access method that its table asks for. Internal.';

CREATE FUNCTION sec.primary_key_of(p_table regclass) RETURNS regclass
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT x.indexrelid::regclass FROM pg_index x WHERE x.indrelid = p_table AND x.indisprimary
$$;
COMMENT ON FUNCTION sec.primary_key_of(regclass) IS 'The index of a table''s primary key. Internal.';

CREATE FUNCTION sec.tablespace_like(p_clause text, VARIADIC p_relations regclass[]) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Where the owner may make nothing in it the month is made in the database's own: that must not stop a charge.
    -- sec.month_remarks() says so.
    SELECT coalesce((SELECT format('%s %I', p_clause, s.spcname)
                     FROM unnest(p_relations) WITH ORDINALITY r (relation, place) JOIN pg_class c ON c.oid = r.relation
                     JOIN pg_tablespace s ON s.oid = c.reltablespace
                     WHERE has_tablespace_privilege(sec.owner(), s.oid, 'CREATE') ORDER BY r.place LIMIT 1), '')
$$;
COMMENT ON FUNCTION sec.tablespace_like(text, regclass[]) IS
    'The clause that puts a new table or index where the first of these is that is in a tablespace of its own. Internal.';

CREATE FUNCTION sec.missing_options(p_model oid, p_month oid, p_prefix text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('%s%I = %L', p_prefix, split_part(o.option, '=', 1), substr(o.option, strpos(o.option, '=') + 1)), ', '
                      ORDER BY o.option)
    FROM (SELECT unnest(c.reloptions) AS option FROM pg_class c WHERE c.oid = p_model
          EXCEPT SELECT unnest(c.reloptions) FROM pg_class c WHERE c.oid = p_month) o
    -- What the server keeps there for itself.
    WHERE o.option NOT LIKE 'pg\_%'
$$;
COMMENT ON FUNCTION sec.missing_options(oid, oid, text) IS
    'The storage settings of one relation that another has not, for ALTER TABLE ... SET; NULL: none. Internal.';

CREATE FUNCTION sec.dress_columns(p_month regclass, p_parent regclass, p_model regclass, p_new boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_changes text[] := '{}';
BEGIN
    FOR v IN
        SELECT quote_ident(n.attname) AS col,
               coalesce(nullif(p.attstattarget::integer, -1), nullif(m.attstattarget::integer, -1)) AS target,
               nullif(n.attstattarget::integer, -1) AS has_target,
               (SELECT string_agg(format('%I = %L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)), ', ')
                FROM unnest(m.attoptions) o WHERE o LIKE 'n\_distinct%' AND o <> ALL (coalesce(n.attoptions, '{}'))) AS options,
               CASE WHEN p.attstorage <> t.typstorage THEN p.attstorage ELSE coalesce(m.attstorage, p.attstorage) END AS storage,
               n.attstorage AS has_storage,
               coalesce(nullif(p.attcompression, ''), m.attcompression, '') AS compression, n.attcompression AS has_compression
        FROM pg_attribute n JOIN pg_attribute p ON p.attrelid = p_parent AND p.attname = n.attname AND NOT p.attisdropped
        JOIN pg_type t ON t.oid = p.atttypid
        LEFT JOIN pg_attribute m ON m.attrelid = p_model AND m.attname = n.attname AND NOT m.attisdropped
        WHERE n.attrelid = p_month AND n.attnum > 0 AND NOT n.attisdropped ORDER BY n.attnum
    LOOP
        IF v.target IS DISTINCT FROM v.has_target AND v.target IS NOT NULL THEN
            v_changes := v_changes || format('ALTER COLUMN %s SET STATISTICS %s', v.col, v.target);
        END IF;
        IF v.options IS NOT NULL THEN
            v_changes := v_changes || format('ALTER COLUMN %s SET (%s)', v.col, v.options);
        END IF;
        -- These would take a lock that stops whoever reads all months.
        CONTINUE WHEN NOT p_new;
        IF v.storage <> v.has_storage THEN
            v_changes := v_changes || format('ALTER COLUMN %s SET STORAGE %s', v.col,
                CASE v.storage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END);
        END IF;
        IF v.compression <> v.has_compression AND v.compression <> '' THEN
            v_changes := v_changes || format('ALTER COLUMN %s SET COMPRESSION %s', v.col,
                                             CASE v.compression WHEN 'l' THEN 'lz4' ELSE 'pglz' END);
        END IF;
    END LOOP;
    RETURN nullif(array_to_string(v_changes, ', '), '');
END
$$;
COMMENT ON FUNCTION sec.dress_columns(regclass, regclass, regclass, boolean) IS
    'What ALTER TABLE does to a month so that its columns have the settings of its table and of the present month; NULL: nothing. '
    'Internal.';

CREATE FUNCTION sec.replica_identity_like(p_month regclass, p_parent regclass, p_model regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN p.relreplident = 'f' OR m.relreplident = 'f' THEN 'FULL'
        WHEN m.relreplident = 'n' THEN 'NOTHING'
        WHEN m.relreplident = 'i' THEN (
            -- The index that hangs on the same one of the table.
            SELECT format('USING INDEX %I', c.relname) FROM pg_index x JOIN pg_inherits xi ON xi.inhrelid = x.indexrelid
            JOIN pg_inherits ni ON ni.inhparent = xi.inhparent JOIN pg_index n ON n.indexrelid = ni.inhrelid
            JOIN pg_class c ON c.oid = n.indexrelid
            WHERE x.indrelid = m.oid AND x.indisreplident AND n.indrelid = p_month)
    END
    FROM pg_class p LEFT JOIN pg_class m ON m.oid = p_model WHERE p.oid = p_parent
$$;
COMMENT ON FUNCTION sec.replica_identity_like(regclass, regclass, regclass) IS
    'The replica identity that a new month is to have, where that is not the default. Internal.';

CREATE FUNCTION sec.dress_month(p_month regclass, p_parent regclass, p_model regclass, p_new boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    v_settings text;
    v_identity text;
BEGIN
    v_settings := concat_ws(', ', sec.missing_options(p_model, p_month, ''),
                            sec.missing_options((SELECT c.reltoastrelid FROM pg_class c WHERE c.oid = p_model),
                                                (SELECT c.reltoastrelid FROM pg_class c WHERE c.oid = p_month), 'toast.'));
    IF v_settings <> '' THEN
        PERFORM sec.run_ddl(format('ALTER TABLE %s SET (%s)', p_month, v_settings));
    END IF;
    v_settings := sec.dress_columns(p_month, p_parent, p_model, p_new);
    IF v_settings IS NOT NULL THEN
        PERFORM sec.run_ddl(format('ALTER TABLE %s %s', p_month, v_settings));
    END IF;
    v_identity := sec.replica_identity_like(p_month, p_parent, p_model);
    IF p_new AND v_identity IS NOT NULL THEN
        PERFORM sec.run_ddl(format('ALTER TABLE %s REPLICA IDENTITY %s', p_month, v_identity));
    END IF;
    FOR v IN
        SELECT n.attname, col_description(p_parent, p.attnum) AS says
        FROM pg_attribute p JOIN pg_attribute n ON n.attrelid = p_month AND n.attname = p.attname AND NOT n.attisdropped
        WHERE p.attrelid = p_parent AND p.attnum > 0 AND NOT p.attisdropped
          AND col_description(p_parent, p.attnum) IS DISTINCT FROM coalesce(col_description(p_month, n.attnum), '')
    LOOP
        CONTINUE WHEN v.says IS NULL;
        PERFORM sec.run_ddl(format('COMMENT ON COLUMN %s.%I IS %L', p_month, v.attname, v.says));
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.dress_month(regclass, regclass, regclass, boolean) IS
    'Gives a month what its table and the present month have and it has not: storage settings, statistics targets and options of '
    'columns, comments; a new one also storage, compression and replica identity. Nothing is taken away. Internal.';

CREATE FUNCTION sec.dress_made_month(p_day date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN SELECT x.parent, x.part, sec.model_month(x.parent) AS model
             FROM (SELECT format('%I.%I', t.nsp, t.tab)::regclass AS parent,
                          to_regclass(format('%I.%I', t.nsp, t.tab || to_char(p_day::timestamp, '_YYYYMM'))) AS part
                   FROM sec.monthly_tables() t) x
             WHERE x.part IS NOT NULL LOOP
        IF v.part <> v.model THEN
            PERFORM sec.dress_month(v.part, v.parent, v.model, false);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sec.dress_made_month(date) IS
    'Gives the tables of a month that was made before what the present month has got since, as far as that keeps nobody waiting. '
    'Internal.';
