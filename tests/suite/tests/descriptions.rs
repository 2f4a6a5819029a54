//! What the database says of itself: the comments that `\df+`, `\d+` and PostgREST's page show.

use mps_tests::{Db, Session};

const NOTHING: [&str; 0] = [];

/// What whoever may call it reads: everything of `app` and `audit`, and of `sec` what is for people.
const PUBLIC: &str = "select p.oid, p.oid::regprocedure::text as name, p.proname, p.proargnames, p.proargmodes, obj_description(p.oid, 'pg_proc') as says \
     from pg_proc p where p.pronamespace in ('app'::regnamespace, 'audit'::regnamespace) \
        or p.oid::regproc::text in ('sec.grant_api', 'sec.revoke_api', 'sec.security_check', 'sec.destroy_everything', 'sec.uid')";

fn of_public(s: &Session, columns: &str, condition: &str) -> Vec<String> {
    s.column(&format!("select {columns} from ({PUBLIC}) f where {condition} order by 1"))
}

#[test]
fn a_summary_is_one_sentence_on_the_first_line() {
    let db = Db::new();
    let s = db.superuser();
    // PostgREST makes the first line the summary and the rest the description.
    let wrong = of_public(
        &s,
        "name || ': ' || split_part(says, E'\\n', 1)",
        "split_part(says, E'\\n', 1) !~ '^[A-Z].*[.]$' or split_part(says, E'\\n', 1) ~ '[.] [A-Z]' or \
            length(split_part(says, E'\\n', 1)) > 160",
    );
    assert_eq!(wrong, NOTHING);
    let others = "select p.oid::regprocedure || ': ' || obj_description(p.oid, 'pg_proc') from pg_proc p \
                  where p.pronamespace = 'sec'::regnamespace and split_part(obj_description(p.oid, 'pg_proc'), E'\\n', 1) !~ '^[A-Z].*[.]$'";
    assert_eq!(s.column(others), NOTHING);
}

#[test]
fn every_result_is_described() {
    let db = Db::new();
    let s = db.superuser();
    let wrong = "select f.name || '.' || a.name from (PUBLIC) f, unnest(f.proargnames, f.proargmodes) a (name, mode) \
                 where a.mode = 't' and coalesce(split_part(f.says, E'\\nResults: ', 2), '') !~ ('\\m' || a.name || '\\M') order by 1";
    assert_eq!(s.column(&wrong.replace("PUBLIC", PUBLIC)), NOTHING);
    let columns = "select c.oid::regclass || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 \
                   where c.relkind = 'v' and c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace) \
                     and col_description(c.oid, a.attnum) is null order by 1";
    assert_eq!(s.column(columns), NOTHING);
    // And of the tables what clients and backends may read, in every month.
    let read = "select r.one::regclass || '.' || a.attname from (select * from sec.api_columns() union all select * from sec.backend_columns()) c, \
                  lateral (select c.tab::regclass as one union all select i.inhrelid from pg_inherits i where i.inhparent = c.tab::regclass) r, \
                  pg_attribute a \
                where a.attrelid = r.one and a.attname = any (string_to_array(c.cols, ', ')) and col_description(a.attrelid, a.attnum) is null order by 1";
    assert_eq!(s.column(read), NOTHING);
}

#[test]
fn what_an_argument_may_be_is_said_and_nothing_is_said_by_pointing_elsewhere() {
    let db = Db::new();
    let s = db.superuser();
    let unsaid = "select f.name || '.' || a.name from (PUBLIC) f, unnest(f.proargnames) a (name) \
                  where a.name in ('p_card_type', 'p_role', 'p_status', 'p_payment_method', 'p_resolution', 'p_level') \
                    and f.name !~ '^sec[.].*_api' and f.says !~ (a.name || '(:| \\()') order by 1";
    assert_eq!(s.column(&unsaid.replace("PUBLIC", PUBLIC)), NOTHING);
    let labels = "select f.name || ': ' || l.label from (PUBLIC) f, \
                    (select 'p_card_type' as name, unnest(enum_range(null::app.card_type))::text as label \
                     union all select 'p_payment_method', unnest(array['wechat', 'alipay', 'cash'])) l \
                  where l.name = any (f.proargnames) and f.says !~ ('\\m' || l.label || '\\M') order by 1";
    assert_eq!(s.column(&labels.replace("PUBLIC", PUBLIC)), NOTHING);
    assert_eq!(
        of_public(&s, "name", "says ~ 'Errors: (as|those)' or says ~ '[:,.] as (set|user|merchant|enterprise)_'"),
        NOTHING
    );
}

/// PostgREST shows the verbs of writing on what could be written to, whoever may.
#[test]
fn no_view_looks_as_if_it_could_be_written_to() {
    let db = Db::new();
    let s = db.superuser();
    let writable = "select c.oid::regclass::text from pg_class c where c.relkind = 'v' and pg_relation_is_updatable(c.oid, true) <> 0 \
                    and c.relnamespace in ('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace)";
    assert_eq!(s.column(writable), NOTHING);
}

#[test]
fn batches_are_for_operators_alone() {
    let db = Db::new();
    let s = db.superuser();
    let mut seen = 0;
    for role in ["anon", "authenticated", "service_role"] {
        let sql = format!(
            "select p.oid::regproc || ' ' || has_function_privilege('{role}', p.oid, 'execute') from pg_proc p \
             where p.proname ~ '_batch$' and p.pronamespace in ('app'::regnamespace, 'audit'::regnamespace, 'sec'::regnamespace) order by 1"
        );
        for line in s.column(&sql) {
            assert!(line.ends_with(" false"), "{role}: {line}");
            seen += 1;
        }
    }
    assert!(seen >= 24, "{seen}");
}

#[test]
fn a_column_that_a_shop_has_described_stays_so() {
    let db = Db::new();
    let s = db.superuser();
    s.run("comment on column app.v_user_cards.balance is 'Yuan.'; comment on column app.v_user_cards.points is null");
    s.run("select sec.describe_columns()");
    let says = "select col_description('app.v_user_cards'::regclass, a.attnum) from pg_attribute a \
                where a.attrelid = 'app.v_user_cards'::regclass and a.attname in ('balance', 'points') order by a.attnum";
    assert_eq!(s.column(says), ["Yuan.", "Of a personal card; NULL for an enterprise card."]);
}
