//! The maintenance jobs: run by a real pg_cron, and cut off in the middle.

use mps_tests::{Cluster, Db, NULL, Session, Shop, Till, Waiting, program, until};
use std::time::Duration;

/// The jobs that are to run by themselves, and how each is called.
const JOBS: &[(&str, &str)] = &[
    ("mps_expire_cards", "CALL app.expire_cards()"),
    ("mps_expire_keys", "CALL app.expire_keys()"),
    ("mps_expire_qrcodes", "CALL app.expire_qrcodes()"),
    ("mps_expire_recharges", "CALL app.expire_recharges()"),
    ("mps_maintain_partitions", "CALL app.maintain_partitions()"),
    ("mps_seal", "CALL audit.seal()"),
];

/// pg_cron looks at the clock once a minute; then all jobs run at once.
const NEXT_MINUTE: Duration = Duration::from_secs(90);

/// Whether the Postgres of the tests has pg_cron; says so where it has not.
fn has_pg_cron(test: &str) -> bool {
    let sql = "select count(*) from pg_available_extensions where name = 'pg_cron'";
    let found = program("psql", &["-XqAtc", sql]).expect("the server of the tests answers") == "1";
    if !found {
        eprintln!("SKIPPED {test}: this Postgres has no pg_cron (Debian: postgresql-NN-cron)");
    }
    found
}

/// `shop` has pg_cron and mps, `branch` has mps only; an operator schedules the jobs of the first, a superuser those of both.
fn jobs_run(options: &str) {
    let server =
        Cluster::start_with(&format!("-c shared_preload_libraries=pg_cron -c cron.database_name=shop {options}"));
    for database in ["shop", "branch"] {
        let made = format!("create database {database} template template0 encoding 'UTF8'");
        server.psql("postgres", &made).unwrap();
        server.psql(database, "create extension mps").expect("installs");
    }
    server.psql("postgres", "create role shop_ops login").unwrap();
    let shop = server.superuser("shop");
    shop.run("create extension pg_cron; grant usage on schema cron to shop_ops");
    shop.run("select sec.grant_api('shop_ops', 'operator')");
    let operator = server.login("shop_ops", "shop");

    let schedule = "select * from app.schedule_jobs() order by job";
    let jobs = "select jobname || ' ' || command || ' ' || username || ' ' || active from cron.job where database = 'shop' \
        order by jobname";
    let registered: Vec<String> = JOBS.iter().map(|(name, call)| format!("{name} {call} shop_ops true")).collect();
    let done = |session: &Session| -> Vec<String> { session.rows(schedule).iter().map(|r| r["done"].into()).collect() };
    let answer = operator.rows(schedule);
    assert_eq!(answer.iter().map(|r| (&r["job"], &r["command"])).collect::<Vec<_>>(), JOBS);
    assert_eq!(shop.column(jobs), registered);
    // Again: nothing. What somebody has changed stays so, and is said.
    assert_eq!(done(&operator), ["scheduled already"; 6]);
    assert_eq!(shop.column(jobs), registered);
    let ids = "select min(jobid) || ' ' || max(jobid) || ' ' || count(*) from cron.job";
    let before = shop.value(ids);
    shop.run("select cron.alter_job(jobid, schedule => '1 1 1 1 *') from cron.job where jobname = 'mps_expire_keys'");
    shop.run("select cron.alter_job(jobid, active => false) from cron.job where jobname = 'mps_seal'");
    shop.run(
        "select cron.alter_job(jobid, command => 'CALL app.maintain_partitions(12)') from cron.job where jobname = \
        'mps_maintain_partitions'",
    );
    for _ in 0..2 {
        let said = done(&operator);
        assert_eq!(said[1], "scheduled already, but by another schedule, which is kept: 1 1 1 1 *");
        assert_eq!(
            said[4],
            "scheduled already, but with another command, which is kept: CALL app.maintain_partitions(12)"
        );
        assert_eq!(said[5], "scheduled already, but not active");
    }
    assert_eq!(shop.value("select schedule from cron.job where jobname = 'mps_expire_keys'"), "1 1 1 1 *");
    shop.run("select cron.alter_job(jobid, schedule => '40 2 * * *') from cron.job where jobname = 'mps_expire_keys'");
    shop.run(
        "select cron.alter_job(jobid, command => 'CALL app.maintain_partitions()') from cron.job where jobname = \
        'mps_maintain_partitions'",
    );
    shop.run("select cron.alter_job(jobid, active => true) from cron.job where jobname = 'mps_seal'");
    assert_eq!(done(&operator), ["scheduled already"; 6]);
    assert_eq!((shop.column(jobs), shop.value(ids)), (registered, before));

    // Where pg_cron is not, the commands for the database that has it: run there, as they are, twice.
    let branch = server.superuser("branch");
    for _ in 0..2 {
        for row in branch.rows(schedule) {
            assert!(row["done"].starts_with("nothing: pg_cron is not in this database"), "{row:?}");
            shop.run(&row["command"]);
        }
    }
    let there =
        shop.column("select jobname || ' ' || command from cron.job where database = 'branch' order by jobname");
    let expected: Vec<String> = JOBS.iter().map(|(name, call)| format!("{name}_branch {call}")).collect();
    assert_eq!(there, expected);
    assert_eq!(shop.value("select count(*) from cron.job"), "12");

    // Something to do, and all jobs of both databases at the same moment.
    for session in [server.superuser("shop"), server.superuser("branch")] {
        Till::open(session).member("50.00");
    }
    let never = "select count(*) from app.health() where check_name ~ '^job ' and not ok";
    assert_eq!((operator.value(never), branch.value(never)), ("6".into(), "6".into()));
    shop.run("select cron.alter_job(jobid, schedule => '* * * * *') from cron.job");
    let runs = "select string_agg(distinct format('%s: %s %s', j.jobname, r.status, r.return_message), '; ') \
                from cron.job_run_details r join cron.job j using (jobid) where r.status = 'failed'";
    let succeeded = "select count(distinct jobid) from cron.job_run_details where status = 'succeeded'";
    until("every job has run", NEXT_MINUTE, || {
        assert_eq!(shop.value(runs), NULL);
        shop.value(succeeded) == "12"
    });
    for session in [&operator, &branch] {
        assert_eq!(session.column("select detail from app.health() where not ok"), [] as [String; 0]);
        assert_eq!(
            session.value("select count(*) from app.health() where check_name ~ '^job ' and detail ~ '^finished '"),
            "6"
        );
        assert_eq!(session.value("select count(*) from audit.head()"), "1");
        assert_eq!(session.value("select count(*) from audit.verify() where ok is not true"), "0");
    }
}

#[test]
fn pg_cron_runs_every_job_in_background_workers() {
    if has_pg_cron("pg_cron_runs_every_job_in_background_workers") {
        jobs_run("-c cron.use_background_workers=on");
    }
}

#[test]
fn pg_cron_runs_every_job_over_connections() {
    if has_pg_cron("pg_cron_runs_every_job_over_connections") {
        jobs_run("-c cron.host=127.0.0.1");
    }
}

/// Calls a procedure and, once it waits for a lock that somebody holds, ends its connection.
#[track_caller]
fn cut_off(db: &Db, call: &str) {
    let (watch, session) = (db.superuser(), db.superuser());
    let pid = session.pid();
    let waiting = Waiting::start(session, &watch, format!("call {call}"));
    assert_eq!(watch.value(&format!("select pg_terminate_backend({pid})")), "t");
    waiting.end().expect_err("it was cut off");
    let gone = format!("select count(*) from pg_stat_activity where pid = {pid}");
    until("the backend is gone", Duration::from_secs(20), || watch.value(&gone) == "0");
}

fn job(session: &Session, job: &str) -> (String, String) {
    let row = session
        .row(&format!("select finished_at is not null as ended, rows_done from app.job_runs where job = '{job}'"));
    (row["ended"].into(), row["rows_done"].into())
}

/// More than one batch of the sweeps, which take 500 rows at a time.
const ROWS: u32 = 600;

#[test]
fn recompute_levels_cut_off_keeps_its_batches_and_completes_when_run_again() {
    let shop = Shop::open();
    let s = &shop.superuser;
    s.run(&format!("select app.register_member('x', p_user_id => gen_random_uuid()) from generate_series(1, {ROWS})"));
    s.run("update app.membership_levels set discount = 0.990 where level = 0");
    let holder = shop.db.superuser();
    holder.run("begin; select 1 from app.personal_cards where id = (select max(id::text)::uuid from app.personal_cards) for update");
    cut_off(&shop.db, "app.recompute_levels()");
    let done = "select count(*) from app.personal_cards where discount = 0.990";
    assert_eq!((s.value(done), job(s, "recompute_levels")), ("500".into(), ("f".into(), "500".into())));
    holder.run("rollback");
    s.run("call app.recompute_levels()");
    assert_eq!((s.value(done), job(s, "recompute_levels")), (ROWS.to_string(), ("t".into(), "100".into())));
    let events = "select sum((context ->> 'cards')::integer) from audit.event_log where action = 'levels.recomputed'";
    assert_eq!(s.value(events), ROWS.to_string());
}

#[test]
fn expire_recharges_cut_off_keeps_its_batches_and_completes_when_run_again() {
    let shop = Shop::open();
    let s = &shop.superuser;
    let ming = shop.member("0");
    s.run("update app.settings set max_pending_recharges = 1000");
    shop.db.user(ming.id).run(&format!(
        "select (app.user_recharge_personal_card('{}', 1.00, p_reason => n::text)).tx_no from generate_series(1, {ROWS}) n",
        ming.card
    ));
    shop.a_month_passes();
    let holder = shop.db.superuser();
    holder.run("begin; select 1 from app.transactions where id = (select max(id) from app.transactions) for update");
    let waiting = "select count(*) from app.transactions where status = 'processing'";
    cut_off(&shop.db, "app.expire_recharges()");
    let cancelled = "select count(*) from audit.event_log where action = 'recharge.cancelled'";
    assert_eq!((s.value(waiting), s.value(cancelled)), ("100".into(), "500".into()));
    assert_eq!(job(s, "expire_recharges"), ("f".into(), "500".into()));
    holder.run("rollback");
    s.run("call app.expire_recharges()");
    assert_eq!((s.value(waiting), s.value(cancelled)), ("0".into(), ROWS.to_string()));
    assert_eq!(job(s, "expire_recharges"), ("t".into(), "100".into()));
}

/// A function that waits for whoever holds the advisory lock 77.
const WAIT: &str = "create function public.wait() returns trigger language plpgsql as \
                    'begin perform pg_catalog.pg_advisory_xact_lock(77); return new; end'";

#[test]
fn seal_cut_off_keeps_its_seals_and_goes_on_where_it_was() {
    let shop = Shop::open();
    let s = &shop.superuser;
    s.run(
        "insert into audit.event_log (id, happened_at, actor_role, action, object_type, object_id) \
         select nextval('audit.event_id_seq'), now(), 'test', 'test', 'test', n::text from generate_series(1, 2500) n",
    );
    s.run(WAIT);
    s.run("create trigger wait before insert on audit.seals for each row when (new.seal_no = 2) execute function public.wait()");
    let holder = shop.db.superuser();
    holder.run("select pg_advisory_lock(77)");
    cut_off(&shop.db, "audit.seal()");
    let wrong = "select check_name || ': ' || detail from audit.verify() where ok is not true";
    let seals = "select array_agg(events order by seal_no) from audit.seals";
    assert_eq!((s.value(seals), job(s, "seal")), ("{1000}".into(), ("f".into(), "1000".into())));
    assert_eq!(s.column(wrong), [] as [String; 0]);
    holder.run("select pg_advisory_unlock(77)");
    let events: u32 = s.value("select count(*) from audit.event_log").parse().expect("a number");
    s.run("call audit.seal()");
    assert_eq!(s.value(seals), format!("{{1000,1000,{}}}", events - 2000));
    assert_eq!(job(s, "seal"), ("t".into(), (events - 1000).to_string()));
    assert_eq!(s.column(wrong), [] as [String; 0]);
}

#[test]
fn maintain_partitions_cut_off_leaves_no_half_a_month_and_completes_when_run_again() {
    let db = Db::new();
    let s = db.superuser();
    let month =
        |n: u32| s.value(&format!("select to_char(now() at time zone 'UTC' + interval '{n} months', 'YYYYMM')"));
    let (sixth, fifth) = (month(6), month(5));
    s.run("call app.maintain_partitions(5)");
    let holder = db.superuser();
    holder.run("begin; lock table app.point_ledger in access exclusive mode");
    cut_off(&db, "app.maintain_partitions(8)");
    let made = |suffix: &str| {
        s.value(&format!(
            "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid where c.relkind = 'r' and c.relname ~ '_{suffix}$'"
        ))
    };
    // Its transactions were made before what it waited for.
    assert_eq!((made(&fifth), made(&sixth)), ("4".into(), "0".into()));
    assert_eq!(s.value(&format!("select to_regclass('app.transactions_{sixth}')")), NULL);
    assert_eq!(job(&s, "maintain_partitions").0, "f");
    holder.run("commit");
    s.run("call app.maintain_partitions(8)");
    assert_eq!((0..=8).map(|n| made(&month(n))).collect::<Vec<_>>(), ["4"; 9]);
    assert_eq!(job(&s, "maintain_partitions").0, "t");
    assert_eq!(s.column("select rule from sec.security_check() where not ok"), [] as [String; 0]);
}

#[test]
fn a_job_beside_somebody_who_is_granting_gives_way_and_comes_again() {
    let db = Db::new();
    let (s, granting) = (db.superuser(), db.superuser());
    s.run("create role t_granted");
    granting.run("begin; select sec.grant_api('t_granted', 'operator')");
    assert_eq!(s.value("select app.maintain_partitions_batch(0)"), NULL, "a lock was not to be had");
    granting.run("rollback");
    assert_eq!(s.value("select app.maintain_partitions_batch(0)"), "f");
    s.run("drop role t_granted");
}
