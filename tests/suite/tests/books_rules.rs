//! The rules of the books: functions that are parsed with the extension, gathered by their names, taken into one query.

use mps_tests::{Db, Session, Shop};

/// How `app.verify_books()` calls each rule and each proof, and the checks of each in the order in which it shows them.
fn calls(superuser: &Session) -> (Vec<String>, Vec<String>) {
    const CALLS: &str =
        "select finds from sec.books_rules() union all select sound from sec.books_proofs() where sound is not null";
    const CHECKS: &str =
        "select c from sec.books_rules() r, unnest(r.checks) with ordinality c (c, n) order by r.place, n";
    (superuser.column(CALLS), superuser.column(CHECKS))
}

#[test]
fn every_rule_is_shown_and_has_the_form_of_one() {
    let db = Db::new();
    let superuser = db.superuser();
    let (calls, checks) = calls(&superuser);
    assert_eq!(superuser.column("select check_name from app.verify_books()"), checks);
    assert_eq!(
        superuser
            .value("select count(distinct place) || ' of ' || count(*) from sec.books_rules() where finds is not null"),
        "23 of 23"
    );
    let mut named: Vec<String> = calls.iter().map(|c| c[4..c.find('(').expect(c)].to_owned()).collect();
    named.sort();
    let made = superuser.sorted(
        "select p.proname from pg_proc p where p.pronamespace = 'sec'::regnamespace \
         and pg_get_function_result(p.oid) in ('TABLE(name text, what text)', 'TABLE(sound boolean)')",
    );
    assert_eq!(named, made, "a rule that no family names, or one that is not there");
}

/// Else it would be planned without the values at hand, and no process would share its work.
#[test]
fn a_rule_is_taken_into_the_query_that_asks_it() {
    const NULLS: &str = "null::timestamptz, null::timestamptz, null::bigint[], null::boolean, null::timestamptz, null::timestamptz, \
                         null::timestamptz, null::bigint, null::bigint, null::bigint, null::bigint, null::bigint, null::date[]";
    let shop = Shop::open();
    let superuser = &shop.superuser;
    let given: Vec<&str> = NULLS.split(", ").map(str::trim).collect();
    for call in calls(superuser).0 {
        let (name, numbers) = call.trim_end_matches(')').split_once('(').expect("a call");
        let arguments: Vec<&str> = numbers
            .split(", ")
            .filter(|n| !n.is_empty())
            .map(|n| given[n[1..].parse::<usize>().expect("a number") - 1])
            .collect();
        let plan = superuser.column(&format!("explain select * from {name}({})", arguments.join(", "))).join("\n");
        assert!(!plan.contains("Function Scan on books_"), "{call}\n{plan}");
    }
}

#[test]
fn a_rule_of_a_family_that_joins_is_asked() {
    let db = Db::new();
    let superuser = db.superuser();
    let before = calls(&superuser).1;
    superuser.run(
        "create function sec.rules_of_gifts() returns table (place integer, checks text[], rule text) \
             language sql immutable set search_path = pg_catalog, pg_temp as $$ values (45, array['gifts', 'ribbons'], 'books_gifts') $$; \
         create function sec.books_gifts(p_to timestamptz, p_everything boolean) returns table (name text, what text) \
             language sql stable parallel safe as $$ select 'ribbons', format('%s %s', p_to, p_everything) $$",
    );
    // What no list names is not asked.
    assert_eq!(superuser.column("select check_name from app.verify_books()"), before);
    let asking = superuser.value("select pg_get_functiondef('sec.books_families'::regproc)");
    let gathered = asking.replacen("UNION ALL", "UNION ALL SELECT * FROM sec.rules_of_gifts() UNION ALL", 1);
    superuser.run(&gathered);
    superuser.run("alter function sec.rules_of_gifts() owner to mps_owner");
    superuser.run("alter function sec.books_gifts(timestamptz, boolean) owner to mps_owner");
    let found = superuser
        .column("select check_name || ' ' || detail from app.verify_books() where check_name in ('gifts', 'ribbons')");
    assert_eq!(found, ["gifts ok", "ribbons infinity t"]);
    let place = |name: &str| calls(&superuser).1.iter().position(|c| c == name).expect(name);
    assert!(place("point_ledger") < place("gifts") && place("gifts") < place("points_of_transactions"));
    // A proof is believed where everything is asked for.
    superuser.run(
        "create function sec.books_gifts_proof() returns table (sound boolean) language sql stable parallel safe as 'select true'; \
         alter function sec.books_gifts_proof() owner to mps_owner",
    );
    let detail = |range: &str| {
        superuser.value(&format!("select detail from app.verify_books({range}) where check_name = 'ribbons'"))
    };
    assert_eq!(detail(""), "ok");
    assert!(detail("now() - interval '1 day', now()").ends_with(" f"));
    superuser.run(&asking);
    superuser.run("drop function sec.rules_of_gifts(), sec.books_gifts(timestamptz, boolean), sec.books_gifts_proof()");
}

/// CREATE EXTENSION asks this, and fails with it.
#[test]
fn a_rule_that_names_what_is_not_there_is_found_when_it_is_made() {
    let db = Db::new();
    let superuser = db.superuser();
    superuser.run("select sec.parse_functions()");
    superuser.run("begin");
    superuser.run("set local check_function_bodies = off");
    superuser.run(
        "create function sec.books_gifts() returns table (name text, what text) language sql stable parallel safe \
         as $$ select 'gifts', t.no_such_column from app.transactions t $$",
    );
    superuser.run("alter extension mps add function sec.books_gifts()");
    let failure = superuser.failure("select sec.parse_functions()");
    assert!(failure.message.contains("no_such_column"), "{failure:?}");
    assert!(failure.more.inner_query.contains("'gifts'"), "{failure:?}");
    superuser.run("rollback");
}
