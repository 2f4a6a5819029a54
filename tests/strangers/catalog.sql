-- What sqlsmith reads instead of the catalogs, in a copy of the database in which it only thinks its statements out: what it may
-- not touch anyway, or what fails for reasons of its own, would be nearly everything that it writes. Run by a superuser. Its
-- search_path has information_schema first, whose relations it does not use.
CREATE VIEW information_schema.pg_proc AS
    SELECT p.* FROM pg_catalog.pg_proc p
    WHERE has_schema_privilege(p.pronamespace, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
        -- What takes nothing would stand at the end of every branch.
        AND p.pronargs > 0 AND p.prorettype <> 'void'::regtype
        AND (p.pronamespace::regnamespace::text IN ('app', 'sec', 'audit', 'sieve')
            -- A few of the server's own that cannot wait, end sessions or read files, and are of types that ours have.
            OR p.pronamespace = 'pg_catalog'::regnamespace AND p.provolatile = 'i' AND mod(p.oid::bigint, 30) = 0
                AND NOT EXISTS (SELECT FROM unnest(p.proargtypes::oid[] || p.prorettype) t WHERE t NOT IN (
                    SELECT unnest(o.proargtypes::oid[] || o.prorettype) FROM pg_catalog.pg_proc o
                    WHERE o.pronamespace = 'app'::regnamespace)));
CREATE VIEW information_schema.pg_attribute AS
    SELECT a.attname, a.atttypid, a.attrelid, a.attnum, a.attisdropped FROM pg_catalog.pg_attribute a
    WHERE has_column_privilege(a.attrelid, a.attnum, 'SELECT');
CREATE OR REPLACE VIEW information_schema.tables AS
    SELECT current_database()::information_schema.sql_identifier AS table_catalog,
        n.nspname::information_schema.sql_identifier AS table_schema, c.relname::information_schema.sql_identifier AS table_name,
        CASE WHEN has_table_privilege(c.oid, 'INSERT') THEN 'BASE TABLE' ELSE 'VIEW' END::information_schema.character_data AS table_type,
        NULL::information_schema.sql_identifier AS self_referencing_column_name,
        NULL::information_schema.character_data AS reference_generation,
        NULL::information_schema.sql_identifier AS user_defined_type_catalog,
        NULL::information_schema.sql_identifier AS user_defined_type_schema,
        NULL::information_schema.sql_identifier AS user_defined_type_name,
        CASE WHEN has_table_privilege(c.oid, 'INSERT') THEN 'YES' ELSE 'NO' END::information_schema.yes_or_no AS is_insertable_into,
        'NO'::information_schema.yes_or_no AS is_typed, NULL::information_schema.character_data AS commit_action
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('app', 'audit', 'sieve') AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
        AND has_any_column_privilege(c.oid, 'SELECT');
GRANT SELECT ON information_schema.pg_proc, information_schema.pg_attribute TO PUBLIC;
-- It has no idea what a range or "any element" may be, nor that a point has no equal.
SET allow_system_table_mods = on;
DELETE FROM pg_catalog.pg_operator o WHERE EXISTS (
    SELECT FROM pg_catalog.pg_type t WHERE t.oid IN (o.oprleft, o.oprright)
        AND (t.typtype = 'p' OR t.typname IN ('point', 'polygon', 'path', 'line', 'lseg', 'box', 'circle', 'jsonpath', 'xml')));
