"""What a page and a day's totals cost with 4 and with 120 months: `make bench ONLY=pages`. Fails where it is more than 1.3 times."""

import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
QUICK = os.environ.get("QUICK", "") not in ("", "0")
MONTHS = (4, 120)
# Of fifty members: one has a full page in each month.
ROWS = 1_250 if QUICK else 2_500
CALLS = 2_000 if QUICK else 4_000
ROUNDS = 3 if QUICK else 5
MOST = 1.3
DAY = "(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '20 days')::date"

CASES = (
    ("usage_page, newest 20", "bench_client", "SELECT * FROM app.usage_page()"),
    ("usage_page, from a line two months back", "bench_client", "SELECT * FROM app.usage_page('{deep}')"),
    ("merchant_statement, busy, full page", "bench_backend", "SELECT * FROM app.merchant_statement('BUSY')"),
    ("merchant_statement, busy, a day", "bench_backend", f"SELECT * FROM app.merchant_statement('BUSY', p_day => {DAY}, p_limit => 500)"),
    ("merchant_statement, quiet, short page", "bench_backend", "SELECT * FROM app.merchant_statement('QUIET')"),
    ("merchant_statement, new, one line", "bench_backend", "SELECT * FROM app.merchant_statement('NEW')"),
    ("merchant_statement, nothing", "bench_backend", "SELECT * FROM app.merchant_statement('NEW', p_to => '2000-01-02')"),
    ("day_totals of a day", "bench_backend", f"SELECT * FROM app.day_totals({DAY})"),
    ("day_totals of today", "bench_backend", "SELECT * FROM app.day_totals()"),
)


def sh(*command, **more):
    done = subprocess.run(command, text=True, capture_output=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def database(months):
    name = f"bench_pages_{months}"
    for role in ("bench_client", "bench_backend"):
        sh("psql", "-qXd", "postgres", "-c", f"DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    sh("dropdb", "--force", "--if-exists", name)
    sh("createdb", name)
    sh("psql", "-qXtA", "-v", "ON_ERROR_STOP=1", "-v", f"months={months}", "-v", f"rows={ROWS}", "-d", name, "-f", str(HERE / "pages.sql"))
    return name


def footprint(name, user, sql):
    """Locks held at the end of one call and shared buffers it touched, in a warm session."""
    # Until the plans are those that stay.
    script = (f"{sql}; " * 8 + f"BEGIN; {sql}; SELECT 'locks=' || count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'; "
              f"ROLLBACK; EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql};")
    out = sh("psql", "-qXtA", "-U", user, "-d", name, input=script)
    hits = re.search(r"Buffers: shared hit=(\d+)(?: read=(\d+))?", out)
    return int(re.search(r"locks=(\d+)", out)[1]), int(hits[1]) + int(hits[2] or 0)


def cpu(name, user, sql, children_ticks, tick_us):
    """Server CPU of one call, in microseconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(sql + ";\n")
        script.flush()
        before = children_ticks()
        sh("pgbench", "-n", "-M", "prepared", "-U", user, "-d", name, "-c", "1", "-t", str(CALLS), "-f", script.name)
        while sh("psql", "-qXtAd", name, "-c", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'").strip() != "0":
            pass
        return (children_ticks() - before) * tick_us / CALLS


def section(say, children_ticks, tick_us):
    names = [database(months) for months in MONTHS]
    line = sh("psql", "-qXtA", "-d", names[0], "-c",
              "SELECT tx_no FROM app.transactions t JOIN bench.members b ON b.card_id = t.card_id AND b.n = 7 "
              "WHERE t.posted_at < date_trunc('month', now()) - interval '2 months' ORDER BY t.posted_at DESC LIMIT 1").strip()
    deep = [line, sh("psql", "-qXtA", "-d", names[1], "-c",
                     "SELECT tx_no FROM app.transactions t JOIN bench.members b ON b.card_id = t.card_id AND b.n = 7 "
                     "WHERE t.posted_at < date_trunc('month', now()) - interval '2 months' ORDER BY t.posted_at DESC LIMIT 1").strip()]
    say()
    say(f"### A page and a day with {MONTHS[0]} and with {MONTHS[1]} months of {ROWS:,} rows")
    say()
    say("| operation | locks | buffers | CPU µs | CPU ratio |")
    say("|---|---:|---:|---:|---:|")
    dear = []
    for label, user, sql in CASES:
        few, many = (footprint(name, user, sql.format(deep=d)) for name, d in zip(names, deep))
        # In turns, so that whatever else the machine does meets both.
        times = [[cpu(name, user, sql.format(deep=d), children_ticks, tick_us) for name, d in zip(names, deep)] for _ in range(ROUNDS)]
        times = [statistics.median(t) for t in zip(*times)]
        say(f"| {label} | {few[0]}, {many[0]} | {few[1]}, {many[1]} | {times[0]:.0f}, {times[1]:.0f} | {times[1] / times[0]:.2f} |")
        # A few buffers more are an index that is a level higher.
        if many[0] > MOST * few[0] or many[1] > MOST * few[1] + 3 or times[1] > MOST * times[0]:
            dear.append(label)
    if dear:
        sys.exit(f"more than {MOST} times as dear with {MONTHS[1]} months: {', '.join(dear)}")
