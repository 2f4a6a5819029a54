//! docs/api.json, which is written from the sources, against the catalog of a database: what programs rely on is what is there.

use mps_tests::manual::document;
use mps_tests::{Db, Row, q};

const NOTHING: [Row; 0] = [];

/// Each function of the file with what the catalog says about it; `j` is the one, `p` the other.
fn compared(problems: &str) -> String {
    format!(
        "with file as (select {}::jsonb as j), f as (select jsonb_array_elements(j->'functions') as j from file) \
         select j->>'name' as name, x.problem from f \
         left join pg_proc p on p.oid = to_regproc(j->>'name'), lateral ({problems}) x (problem) where x.problem is not null",
        q(document("docs/api.json"))
    )
}

/// A text of the file: one line, or several.
fn text(key: &str) -> String {
    format!(
        "case jsonb_typeof(j->'{key}') when 'array' \
         then (select string_agg(l, ' ' order by n) from jsonb_array_elements_text(j->'{key}') with ordinality t (l, n)) \
         else j->>'{key}' end"
    )
}

#[test]
fn signatures_are_those_of_the_catalog() {
    let db = Db::new();
    let listed =
        "select array_agg(a->>'{key}' order by n) from jsonb_array_elements(j->'{list}') with ordinality t (a, n)";
    let of = |key: &str, list: &str| listed.replace("{key}", key).replace("{list}", list);
    let typed = |list: &str| of("type", list).replace("a->>'type'", "(a->>'type')::regtype::oid");
    let said = |list: &str, modes: &str, what: &str| {
        format!(
            "(({wanted}) is distinct from (select array_agg(m.{what} order by m.n) \
              from unnest(p.proargnames, coalesce(p.proargmodes::text[], array_fill('i'::text, array[p.pronargs])), \
                          coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality m (name, mode, type, n) \
              where m.mode in ({modes})))",
            wanted = if what == "name" { of("name", list) } else { typed(list) }
        )
    };
    let problems = format!(
        "select case when p.oid is null then 'is not there, or more than once' \
              when {names} then 'other arguments' when {types} then 'arguments of other types' \
              when {columns} then 'other result columns' when {column_types} then 'result columns of other types' \
              when p.pronargdefaults <> (select count(a->>'default') from jsonb_array_elements(j->'arguments') a) then 'other defaults' \
              when (p.prokind = 'p') <> (j->>'kind' = 'procedure') then 'another kind' \
              when p.prokind = 'f' and j->>'returns' <> 'table' and pg_get_function_result(p.oid)::text \
                   <> replace(j->>'returns', 'timestamptz', 'timestamp with time zone') then 'another result' \
              when p.prokind = 'f' and p.provolatile <> left(j->>'volatility', 1)::\"char\" then 'another volatility' end",
        names = said("arguments", "'i', 'b'", "name"),
        types = said("arguments", "'i', 'b'", "type"),
        columns = said("columns", "'t'", "name"),
        column_types = said("columns", "'t'", "type"),
    );
    assert_eq!(db.superuser().rows(&compared(&problems)), NOTHING);
}

#[test]
fn every_function_of_a_level_is_there_and_levels_are_those_that_execute() {
    let db = Db::new();
    let s = db.superuser();
    for level in ["client", "backend", "operator", "gateway"] {
        s.run(&format!("create role only_{level}_{0}; select sec.grant_api('only_{level}_{0}', '{level}')", db.name));
    }
    // A level that is named executes it; client and gateway level execute nothing that does not name them.
    let problems = format!(
        "select l.level from (values ('client'), ('backend'), ('operator'), ('gateway')) l (level) \
         where (j->'levels' ? l.level and not has_function_privilege(format('only_%s_{0}', l.level), p.oid, 'execute')) \
            or (l.level in ('client', 'gateway') and not j->'levels' ? l.level \
                and has_function_privilege(format('only_%s_{0}', l.level), p.oid, 'execute'))",
        db.name
    );
    assert_eq!(s.rows(&compared(&problems)), NOTHING);
    let missing = format!(
        "select p.oid::regproc::text from pg_proc p where p.pronamespace::regnamespace::text in ('app', 'audit', 'sec', 'mps_gateway') \
         and (has_function_privilege('only_client_{0}', p.oid, 'execute') or has_function_privilege('only_backend_{0}', p.oid, 'execute') \
              or has_function_privilege('only_operator_{0}', p.oid, 'execute') \
              or has_function_privilege('only_gateway_{0}', p.oid, 'execute')) \
         and not exists (select from jsonb_array_elements({1}::jsonb->'functions') j where to_regproc(j->>'name') = p.oid)",
        db.name,
        q(document("docs/api.json"))
    );
    assert_eq!(s.rows(&missing), NOTHING);
    for level in ["client", "backend", "operator", "gateway"] {
        s.run(&format!("select sec.revoke_api('only_{level}_{0}', '{level}'); drop role only_{level}_{0}", db.name));
    }
}

#[test]
fn texts_and_errors_are_those_of_the_database() {
    let db = Db::new();
    let s = db.superuser();
    let [summary, description, results] = ["summary", "description", "results"].map(text);
    let problems = format!(
        "select t.said from (select regexp_replace(coalesce(obj_description(p.oid, 'pg_proc'), ''), '\\s+', ' ', 'g')) c (text), \
         (values ({summary}), ({description}), ({results})) t (said) \
         where t.said is not null and position(regexp_replace(t.said, '\\s+', ' ', 'g') in c.text) = 0"
    );
    assert_eq!(s.rows(&compared(&problems)), NOTHING);
    let errors = format!(
        "with e as (select token, http_status::text as status, message_zh as zh, message_en as en from app.error_codes), \
         f as (select j->>'token' as token, j->>'status' as status, j->>'zh' as zh, {} as en \
               from jsonb_array_elements({}::jsonb->'errors') j) \
         (table e except table f) union all (table f except table e)",
        text("en"),
        q(document("docs/api.json"))
    );
    assert_eq!(s.rows(&errors), NOTHING);
}
