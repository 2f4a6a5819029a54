#!/usr/bin/env python3
"""The benchmark: `make bench`, or `make bench QUICK=1` for a few minutes.

Runs pgbench against a cluster of its own, one operation after another and round after round (A B A B), and prints the
median of every figure. Times mean little on a shared machine; ratios within one run do. Server CPU is what the
postmaster's finished children used (/proc), WAL is the distance of the insert position.
"""

import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
QUICK = os.environ.get("QUICK", "") not in ("", "0")
SECONDS = 2 if QUICK else 8
ROUNDS = 3
MERCHANTS = 1000
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


def sh(*command):
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def psql(database, sql=None, file=None, **variables):
    command = ["psql", "-qXtA", "-v", "ON_ERROR_STOP=1", "-d", database]
    for name, value in variables.items():
        command += ["-v", f"{name}={value}"]
    command += ["-f", str(HERE / file)] if file else ["-c", sql]
    return sh(*command).strip()


def children_ticks():
    """CPU that the postmaster's finished children used: pgbench's backends end with pgbench."""
    pid = (pathlib.Path(os.environ["MPS_DATA"]) / "postmaster.pid").read_text().split()[0]
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return int(fields[13]) + int(fields[14])


class Shop:
    """A database with cards, merchants and live codes."""

    def __init__(self, name, cards, history=0, months=3):
        self.name, self.cards = name, cards
        started = time.time()
        sh("dropdb", "--force", "--if-exists", name)
        sh("createdb", name)
        psql(name, file="setup.sql", cards=cards, merchants=MERCHANTS)
        if history:
            psql(name, file="history.sql", cards=cards, movements=history // cards, merchants=MERCHANTS)
        for month in range(4, months):
            psql(name, f"SELECT sec.make_month((now() + interval '{month} months')::date)")
        psql(name, file="twin.sql")
        sh("pgbench", "-i", "-q", "-s", "10", name)
        psql(name, file="more.sql", merchants=MERCHANTS)
        print(f"   {name}: {cards} cards, {history} movements of history, {months} months: {time.time() - started:.0f} s", flush=True)

    def measure(self, script, clients=2, user="bench_client", commit="off", images="off"):
        """One round of one operation: tps, CPU microseconds and WAL bytes per transaction."""
        psql(self.name, f"ALTER SYSTEM SET synchronous_commit = {commit}")
        psql(self.name, f"ALTER SYSTEM SET full_page_writes = {images}")
        psql(self.name, "SELECT pg_reload_conf()")
        psql(self.name, "CHECKPOINT")
        before, ticks = psql(self.name, "SELECT pg_current_wal_insert_lsn()"), children_ticks()
        out = sh("pgbench", "-n", "-M", "prepared", "-U", user, "-d", self.name, "-c", str(clients), "-j", "2",
                 "-T", str(SECONDS), "-D", f"cards={self.cards}", "-D", f"merchants={MERCHANTS}", "-f", str(HERE / "scripts" / f"{script}.sql"))
        done = int(re.search(r"actually processed: (\d+)", out)[1])
        if int(re.search(r"failed transactions: (\d+)", out)[1]):
            sys.exit(f"{script}: failed transactions\n{out}")
        wal = int(psql(self.name, f"SELECT pg_current_wal_insert_lsn() - '{before}'"))
        return {"tps": float(re.search(r"tps = ([\d.]+)", out)[1]), "cpu": (children_ticks() - ticks) * TICK_US / done, "wal": wal / done}

    def updates(self):
        """Updates of the cards so far, and how many of them were HOT."""
        row = psql(self.name, "SELECT pg_stat_force_next_flush(); SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'app.personal_cards'::regclass")
        return [int(n) for n in row.split()[-1].split("|")]

    def rounds(self, *cases):
        """Several cases, round after round; the median of each figure."""
        results = {case[0]: [] for case in cases}
        for _ in range(ROUNDS):
            for label, options in cases:
                results[label].append(self.measure(**options))
        return {label: {k: statistics.median(r[k] for r in rounds) for k in rounds[0]} for label, rounds in results.items()}

    def footprint(self, sql, user):
        """Locks held at the end of one call and shared buffers it touched, in a warm session."""
        script = f"{sql}; {sql}; BEGIN; {sql}; SELECT 'locks=' || count(*) FROM pg_locks WHERE pid = pg_backend_pid(); ROLLBACK; EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql};"
        out = subprocess.run(["psql", "-qXtA", "-U", user, "-d", self.name], input=script, text=True, capture_output=True, check=True).stdout
        locks = int(re.search(r"locks=(\d+)", out)[1])
        hits = re.search(r"Buffers: shared hit=(\d+)(?: read=(\d+))?", out)
        return locks, int(hits[1]) + int(hits[2] or 0)


TABLE = []


def say(line=""):
    print(line, flush=True)
    TABLE.append(line)


def table(title, results, base=None):
    say()
    say(f"### {title}")
    say()
    say("| operation | TPS | CPU µs | WAL bytes | TPS / " + (base or "first") + " | CPU / " + (base or "first") + " |")
    say("|---|---:|---:|---:|---:|---:|")
    reference = results[base] if base else next(iter(results.values()))
    for label, r in results.items():
        say(f"| {label} | {r['tps']:,.0f} | {r['cpu']:.0f} | {r['wal']:,.0f} | {r['tps'] / reference['tps']:.2f} | {r['cpu'] / reference['cpu']:.2f} |")


def case(script, label=None, **options):
    return (label or script, dict(script=script, **options))


def main():
    say("# Benchmark results")
    say()
    say(f"{time.strftime('%Y-%m-%d')}, {'quick run, ' if QUICK else ''}{ROUNDS} rounds of {SECONDS} s, medians. {os.cpu_count()} CPUs, {platform.machine()}; "
        f"{psql('postgres', 'SELECT split_part(version(), chr(32), 2)')} with "
        + ", ".join(f"{s} {psql('postgres', f'SHOW {s}')}" for s in ("shared_buffers", "max_wal_size", "autovacuum", "fsync")) + ". "
        "`pgbench -n -M prepared`; 2 clients, synchronous_commit off and full_page_writes off unless said otherwise; 1,000 merchants. Written by `make bench`.")
    shop = Shop("bench_small", 10_000)
    hot_before = shop.updates()
    results = shop.rounds(case("charge"), case("twin"), case("floor"), case("bare"), case("tpcb"))
    updates, hot = (after - before for after, before in zip(shop.updates(), hot_before))
    table("A charge over 10,000 cards, with an idempotency key", results, "twin")
    results = shop.rounds(case("charge"), case("refund"), case("replay"), case("rotate", user="bench_backend"),
                          case("recharge", "recharge + confirm (5 statements)", user="postgres"),
                          case("statement", "card_statement page of 50", user="bench_backend"), case("usage", "v_usage_logs page of 20", user="bench_member"))
    table("The other operations", results, "charge")
    results = shop.rounds(*[case(s, f"{s}, {c} clients, commit {m}", clients=c, commit=m) for c in ((2, 8) if QUICK else (1, 2, 8)) for m in ("off", "on") for s in ("charge", "twin")])
    table("Clients and commit", results)
    results = shop.rounds(*[case(s, l, clients=8) for s, l in (("hot", "one company card"), ("hot_twin", "one card, twin"), ("hot_bare", "one card, bare UPDATE"))])
    table("One hot card, 8 clients", results, "one card, twin")

    say()
    say("### Locks and buffers of one call, warm")
    say()
    say("| operation | locks | buffers |")
    say("|---|---:|---:|")
    for label, user, sql in (
        ("charge", "bench_client", "SELECT * FROM app.merchant_charge_by_qr('SHOP-0001', (SELECT code FROM bench.codes WHERE n = 7), 10.00, NULL, '{}', 'k' || random())"),
        ("twin", "bench_client", "SELECT * FROM twin.charge('SHOP-0001', (SELECT twin_code FROM bench.codes WHERE n = 7), 10.00, NULL, '{}', 'k' || random())"),
        ("refund", "bench_client", "SELECT * FROM app.merchant_refund_tx((SELECT merchant FROM bench.payments WHERE n = 7), (SELECT tx_no FROM bench.payments WHERE n = 7), 0.01)"),
        ("card_statement", "bench_backend", "SELECT * FROM app.card_statement((SELECT card_id FROM bench.codes WHERE n = 7))"),
    ):
        locks, buffers = shop.footprint(sql, user)
        say(f"| {label} | {locks} | {buffers} |")
    say()
    say(f"Updates of `app.personal_cards` by the first table's {updates:,} charges that stayed on their page (HOT): {100 * hot / updates:.2f} %.")
    memory(shop)

    big = Shop("bench_big", 100_000 if QUICK else 1_000_000)
    results = big.rounds(case("charge"), case("twin"), case("charge", "charge, page images on", images="on"), case("twin", "twin, page images on", images="on"))
    table(f"A charge over {big.cards:,} cards", results, "twin")

    old = Shop("bench_old", 10_000, history=500_000 if QUICK else 5_000_000, months=120)
    growth = {}
    for _ in range(ROUNDS):
        for label, where in (("small", shop), ("cards", big), ("history and 120 months", old)):
            for script, user in (("charge", "bench_client"), ("refund", "bench_client"), ("statement", "bench_backend"), ("usage", "bench_member")):
                growth.setdefault((script, label), []).append(where.measure(script=script, user=user))
    results = {f"{s}: {l}": {k: statistics.median(r[k] for r in v) for k in v[0]} for (s, l), v in growth.items()}
    say()
    say("### Growth: server CPU µs against the small shop")
    say()
    say(f"| operation | 10,000 cards, no history | {big.cards:,} cards | 10,000 cards, {500_000 if QUICK else 5_000_000:,} movements, 120 months | worst ratio |")
    say("|---|---:|---:|---:|---:|")
    for script in ("charge", "refund", "statement", "usage"):
        small, cards, history = (results[f"{script}: {l}"]["cpu"] for l in ("small", "cards", "history and 120 months"))
        say(f"| {script} | {small:.0f} | {cards:.0f} | {history:.0f} | {max(cards, history) / small:.2f} |")
    (HERE / "RESULTS.md").write_text("\n".join(TABLE) + "\n")


def memory(shop):
    """Resident memory of one backend after a few and after many mixed calls."""
    few, many = (500, 20_000) if QUICK else (2_000, 200_000)
    calls = """
        DO $$ BEGIN FOR i IN 1 .. {n} LOOP
            PERFORM app.merchant_charge_by_qr('SHOP-0001', (SELECT code FROM bench.codes WHERE n = 1 + i % 10000), 1.00, NULL, '{{}}', 'm{tag}-' || i);
            IF i % 10 = 0 THEN PERFORM app.merchant_refund_tx('SHOP-0001', (SELECT tx_no FROM bench.payments WHERE n = 1000), 0.01); END IF;
            IF i % 10 = 1 THEN PERFORM app.card_statement((SELECT card_id FROM bench.codes WHERE n = 1 + i % 10000)); END IF;
            COMMIT;
        END LOOP; END $$;
    """
    with subprocess.Popen(["psql", "-qXtA", "-d", shop.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        def ask(sql):
            session.stdin.write(sql + "\n")
            session.stdin.flush()
            return session.stdout.readline().strip()

        def resident():
            # Without the shared buffers that the process has touched: what is its own.
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            return int(re.search(r"RssAnon:\s+(\d+)", status)[1])

        pid = ask("SELECT pg_backend_pid();")
        ask(calls.format(n=few, tag="a") + "SELECT 1;")
        first = resident()
        ask(calls.format(n=many, tag="b") + "SELECT 1;")
        grown = resident() - first
        session.stdin.close()
    say(f"A backend's own memory after {many:,} mixed calls is {grown:+,} kB of what it was after {few:,} ({first:,} kB).")


main()
