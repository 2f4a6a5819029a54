#!/usr/bin/env python3
"""The benchmark: `make bench`, or `make bench QUICK=1` for a few minutes.

Runs pgbench against a cluster of its own, one operation after another and round after round (A B A B), and prints the
median of every figure. Times mean little on a shared machine; ratios within one run do. Server CPU is what the
postmaster's finished children used (/proc), WAL is what pg_stat_wal counts: the bytes of all records.

    make bench ONLY="charge others"     only these sections, which take their places in RESULTS.md: charge others prices callbacks bills clients hot footprint memory pages big growth; or cards
"""

import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

import bills
import callbacks
import pages

HERE = pathlib.Path(__file__).resolve().parent
QUICK = os.environ.get("QUICK", "") not in ("", "0")
ONLY = os.environ.get("ONLY", "").split()
SECONDS = 2 if QUICK else 5
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

    def __init__(self, name, cards, history=0):
        self.name, self.cards, self.months = name, cards, 4
        started = time.time()
        sh("dropdb", "--force", "--if-exists", name)
        sh("createdb", name)
        psql(name, file="setup.sql", cards=cards, merchants=MERCHANTS)
        if history:
            psql(name, file="history.sql", cards=cards, movements=history // cards, merchants=MERCHANTS)
        psql(name, file="twin.sql")
        sh("pgbench", "-i", "-q", "-s", "10", name)
        psql(name, file="more.sql", merchants=MERCHANTS)
        print(f"   {name}: {cards} cards, {history} movements of history: {time.time() - started:.0f} s", flush=True)

    def add_months(self, months):
        for month in range(self.months, months):
            psql(self.name, f"SELECT sec.make_month((now() + interval '{month} months')::date)")
        self.months = months

    def measure(self, script, clients=2, user="bench_client", commit="off", images="off", calls=None, first=None):
        """One round of one operation, for SECONDS or so many calls of each client: tps, CPU microseconds and WAL bytes per call."""
        if first:
            psql(self.name, first)
        psql(self.name, f"ALTER SYSTEM SET synchronous_commit = {commit}")
        psql(self.name, f"ALTER SYSTEM SET full_page_writes = {images}")
        psql(self.name, "SELECT pg_reload_conf()")
        psql(self.name, "CHECKPOINT")
        before, ticks = self.wal(), children_ticks()
        out = sh("pgbench", "-n", "-M", "prepared", "-U", user, "-d", self.name, "-c", str(clients), "-j", "2",
                 *(("-t", str(calls)) if calls else ("-T", str(SECONDS))), "-D", f"cards={self.cards}", "-D", f"merchants={MERCHANTS}", "-f", str(HERE / "scripts" / f"{script}.sql"))
        done = int(re.search(r"actually processed: (\d+)", out)[1])
        if int(re.search(r"failed transactions: (\d+)", out)[1]):
            sys.exit(f"{script}: failed transactions\n{out}")
        # Both are told by backends that have ended, which takes them a moment.
        while psql(self.name, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") != "0":
            time.sleep(0.01)
        time.sleep(0.05)
        return {"tps": float(re.search(r"tps = ([\d.]+)", out)[1]), "cpu": (children_ticks() - ticks) * TICK_US / done,
                "wal": (self.wal() - before) / done}

    def wal(self):
        """Bytes of WAL so far; the backends of pgbench have reported theirs when they ended."""
        return int(psql(self.name, "SELECT wal_bytes FROM pg_stat_wal"))

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

    def rounds_with(self, other, *cases):
        """CPU of each case there and here, taken in turns. Statistics are fresh on both sides, as autovacuum keeps them."""
        results = {script: ([], []) for script, _ in cases}
        for shop in (other, self):
            psql(shop.name, "VACUUM ANALYZE")
        for _ in range(ROUNDS):
            for script, user in cases:
                for shop, figures in zip((other, self), results[script]):
                    figures.append(shop.measure(script=script, user=user)["cpu"])
        return {script: tuple(statistics.median(f) for f in figures) for script, figures in results.items()}

    def footprint(self, sql, user):
        """Locks held at the end of one call and shared buffers it touched, in a warm session."""
        script = f"{sql}; {sql}; BEGIN; {sql}; SELECT 'locks=' || count(*) FROM pg_locks WHERE pid = pg_backend_pid(); ROLLBACK; EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql};"
        out = subprocess.run(["psql", "-qXtA", "-U", user, "-d", self.name], input=script, text=True, capture_output=True, check=True).stdout
        locks = int(re.search(r"locks=(\d+)", out)[1])
        hits = re.search(r"Buffers: shared hit=(\d+)(?: read=(\d+))?", out)
        return locks, int(hits[1]) + int(hits[2] or 0)


RESULTS = HERE / "RESULTS.md"
# What each section says, by its name; what stands before all of them is of none.
SAID = {"": []}


def say(line=""):
    print(line, flush=True)
    SAID[list(SAID)[-1]].append(line)


def begin(name):
    """What is said from here on is of this section."""
    SAID[name] = []
    say(f"<!-- {name} -->")
    say(f"_{time.strftime('%Y-%m-%d')}_")


def kept():
    """The sections of the last runs."""
    sections = {"": []}
    for line in RESULTS.read_text().splitlines():
        mark = re.fullmatch("<!-- (\\w+) -->", line)
        if mark:
            sections[mark[1]] = []
        sections[list(sections)[-1]].append(line)
    return sections


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


# What makes the twin one whose rows have random UUIDs (version 4) for keys, as many schemas do.
RANDOM = (
    ("twin.", "random."),
    ("SCHEMA twin", "SCHEMA random"),
    ("CREATE SEQUENCE random.event_id_seq;", ""),
    ("CREATE TABLE random.event_log (LIKE", "ALTER TABLE random.transactions ALTER id TYPE uuid USING NULL, ALTER prev_tx_id TYPE uuid USING NULL, ALTER skip_tx_id TYPE uuid USING NULL;\n"
     "CREATE INDEX ON random.transactions (tx_no);\nALTER TABLE random.point_ledger ADD id uuid NOT NULL DEFAULT gen_random_uuid();\n"
     "CREATE INDEX ON random.point_ledger (card_id, point_seq);\nALTER TABLE random.idempotency_keys ALTER ref_id TYPE uuid USING NULL;\n"
     "ALTER TABLE random.personal_cards ALTER last_tx_id TYPE uuid USING NULL, ALTER skip_tx_id TYPE uuid USING NULL;\nCREATE TABLE random.event_log (LIKE"),
    ("DO $$\nDECLARE v date", "ALTER TABLE random.event_log ALTER id TYPE uuid USING NULL;\nDO $$\nDECLARE v date"),
    ("(PRIMARY KEY (card_id, point_seq))", "(PRIMARY KEY (id))"),
    ("tx_id bigint, tx_no text", "tx_id uuid, tx_no text"),
    ("v_known bigint;", "v_known uuid;"),
    ("v_id bigint;", "v_id uuid;"),
    ("WHERE t.id = v_known AND t.created_at >= date_trunc('month', to_timestamp((v_known / 100000000000)::text, 'YYMM'))", "WHERE t.id = v_known"),
    ("v_id := to_char(v_now AT TIME ZONE 'UTC', 'YYMM')::bigint * 100000000000 + nextval('random.tx_no_seq');", "v_id := gen_random_uuid();"),
    ("(v_id / 100000000000)::text || lpad((v_id % 100000000000)::text, 6, '0')", "to_char(v_now AT TIME ZONE 'UTC', 'YYMM') || lpad(nextval('random.tx_no_seq')::text, 6, '0')"),
    ("nextval('random.event_id_seq')", "gen_random_uuid()"),
)


def random_twin(name):
    text = (HERE / "twin.sql").read_text()
    text = text[:text.index("-- As after any bulk load")]
    for old, new in RANDOM:
        if old not in text:
            sys.exit(f"bench/twin.sql has no {old}")
        text = text.replace(old, new)
    # The codes are the twin's: card ids are the same.
    text = re.sub(r"UPDATE bench.codes c SET twin_code = .*;\n", "", text)
    done = subprocess.run(["psql", "-qXtA", "-v", "ON_ERROR_STOP=1", "-d", name], input=text + "VACUUM FULL random.personal_cards; VACUUM ANALYZE;", text=True, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr)
    psql(name, "GRANT ALL ON ALL TABLES IN SCHEMA random TO bench_client; GRANT ALL ON ALL SEQUENCES IN SCHEMA random TO bench_client")


def section_charge(small):
    hot_before = small.updates()
    results = small.rounds(case("charge"), case("twin"), case("floor"), case("bare"), case("tpcb"))
    updates, hot = (after - before for after, before in zip(small.updates(), hot_before))
    table("A charge over 10,000 cards, with an idempotency key", results, "twin")
    say()
    say(f"Updates of `app.personal_cards` by these {updates:,} charges that stayed on their page (HOT): {100 * hot / updates:.2f} %.")


def section_others(small):
    results = small.rounds(case("charge"), case("refund"), case("replay"), case("rotate", user="bench_backend"),
                           case("recharge", "recharge + confirm (5 statements)", user="postgres"),
                           case("statement", "card_statement page of 50", user="bench_backend"), case("usage", "v_usage_logs page of 20", user="bench_member"))
    table("The other operations", results, "charge")


def section_prices(small):
    psql(small.name, file="prices.sql", cards=small.cards)
    campaigns = lambda status: f"SELECT app.set_campaign_status(c.code, '{status}', 'bench') FROM app.campaigns c WHERE c.status <> 'draft' OR '{status}' = 'active'"
    none = campaigns("paused")
    results = small.rounds(case("charge", first=none), case("charge", "charge, three campaigns on, one applies", first=campaigns("active")),
                           case("coupon", "charge with a coupon", first=none), case("coupon_budget", "charge with a coupon that has a budget", first=none))
    table("What decides a price, 10,000 cards", results, "charge")
    results = small.rounds(*[case(s, l, clients=8, first=none) for s, l in (("coupon", "with a coupon"), ("coupon_budget", "one that has a budget"))])
    table("Coupons of one kind, 8 clients", results, "with a coupon")
    left = psql(small.name, "SELECT least(400000 - nextval('bench.plain'), 400000 - nextval('bench.budget'))").split()[-1]
    if int(left) <= 0:
        sys.exit("there were too few coupons: what was measured was not a charge")


def section_clients(small):
    results = small.rounds(*[case(s, f"{s}, {c} clients, commit {m}", clients=c, commit=m)
                             for c in ((2, 8) if QUICK else (1, 2, 8)) for m in ("off", "on") for s in ("charge", "twin")])
    table("Clients and commit", results)


def section_hot(small):
    results = small.rounds(*[case(s, l, clients=8) for s, l in (("hot", "one company card"), ("hot_twin", "one card, twin"), ("hot_bare", "one card, bare UPDATE"))])
    table("One hot card, 8 clients", results, "one card, twin")


def section_footprint(small):
    say()
    say("### Locks and buffers of one call, warm")
    say()
    say("| operation | locks | buffers |")
    say("|---|---:|---:|")
    for label, user, sql in (
        ("charge", "bench_client", "SELECT * FROM app.merchant_charge_by_qr('SHOP-0001', (SELECT code FROM bench.codes WHERE n = 7), 10.00, NULL, '{}', 'k' || random())"),
        ("twin", "bench_client", "SELECT * FROM twin.charge('SHOP-0001', (SELECT twin_code FROM bench.codes WHERE n = 7), 10.00, NULL, '{}', 'k' || random())"),
        ("refund", "bench_client", "SELECT * FROM app.merchant_refund_tx((SELECT merchant FROM bench.payments WHERE n = 7), (SELECT tx_no FROM bench.payments WHERE n = 7), 0.01)"),
        ("replay", "bench_client", "SELECT * FROM app.merchant_charge_by_qr((SELECT merchant FROM bench.payments WHERE n = 7), (SELECT code FROM bench.codes WHERE n = 7), 100.00, NULL, '{}', 'replay-7')"),
        ("recharge by a backend", "bench_backend", "SELECT * FROM app.user_recharge_personal_card((SELECT card_id FROM bench.codes WHERE n = 7), 10.00)"),
        ("rotate_card_qr", "bench_backend", "SELECT * FROM app.rotate_card_qr((SELECT card_id FROM bench.codes WHERE n = 10007))"),
        ("card_statement page of 50", "bench_backend", "SELECT * FROM app.card_statement((SELECT card_id FROM bench.codes WHERE n = 7))"),
        ("v_usage_logs page of 20", "bench_member", "SELECT * FROM app.v_usage_logs ORDER BY created_at DESC LIMIT 20"),
    ):
        locks, buffers = small.footprint(sql, user)
        say(f"| {label} | {locks} | {buffers} |")


def section_pages(_):
    pages.section(say, children_ticks, TICK_US)


def section_callbacks(small):
    callbacks.section(small, psql, table, ROUNDS)


def section_bills(_):
    bills.section(say, psql, sh, 100_000 if QUICK else 1_000_000)


def section_cards(small):
    """The same as the first rows of section_growth, over an empty month."""
    big = Shop("bench_big", 100_000 if QUICK else 1_000_000)
    say()
    say("### Cards alone: server CPU µs over an empty month")
    say()
    say(f"| operation | {small.cards:,} cards | {big.cards:,} cards | ratio |")
    say("|---|---:|---:|---:|")
    for script, (few, many) in big.rounds_with(small, ("charge", "bench_client"), ("refund", "bench_client")).items():
        say(f"| {script} | {few:.0f} | {many:.0f} | {many / few:.2f} |")


def section_big():
    big = Shop("bench_big", 100_000 if QUICK else 1_000_000)
    results = big.rounds(case("charge"), case("twin"))
    table(f"A charge over {big.cards:,} cards", results, "twin")
    # A month that has its rows already, and every page of it due for an image.
    random_twin(big.name)
    psql(big.name, file="month.sql", movements=big.cards, merchants=MERCHANTS)
    # The same number of charges for each: the longer a round, the fewer pages are touched for the first time.
    calls = 300 if QUICK else 1_000
    results = big.rounds(*[case(s, l, images="on", calls=calls) for s, l in (
        ("charge", None), ("twin", None), ("random", "twin with random UUID keys"))])
    table(f"The first {2 * calls:,} charges after a checkpoint, with page images, {big.cards:,} cards and as many movements in the month", results, "twin with random UUID keys")
    return big


def section_growth(small, big):
    short = Shop("bench_short", 100, history=5_000)
    old = Shop("bench_old", 10_000, history=500_000 if QUICK else 5_000_000)
    pages = old.rounds_with(short, ("statement", "bench_backend"), ("usage", "bench_member"))
    say()
    say("### A page of history: server CPU µs")
    say()
    say(f"| operation | 5,000 movements | {500_000 if QUICK else 5_000_000:,} movements | ratio |")
    say("|---|---:|---:|---:|")
    for script, (few, many) in pages.items():
        say(f"| {script} | {few:.0f} | {many:.0f} | {many / few:.2f} |")
    cases = ("charge", "bench_client"), ("refund", "bench_client"), ("statement", "bench_backend"), ("usage", "bench_member")
    cards = big.rounds_with(small, *cases[:2]) if big else {}
    history = old.rounds_with(small, *cases[:2])
    few_months = {script: [old.measure(script=script, user=user)["cpu"] for _ in range(ROUNDS)] for script, user in cases}
    months = old.months
    old.add_months(120)
    many_months = {script: [old.measure(script=script, user=user)["cpu"] for _ in range(ROUNDS)] for script, user in cases}
    say()
    say("### Growth: server CPU µs, and the ratio to the small case")
    say()
    say("| operation | small | larger | ratio |")
    say("|---|---:|---:|---:|")
    for what, results in ((f"{big.cards if big else 0:,} cards against {small.cards:,}", cards), (f"{500_000 if QUICK else 5_000_000:,} movements against none", history)):
        for script, (few, many) in results.items():
            say(f"| {script}, {what} | {few:.0f} | {many:.0f} | {many / few:.2f} |")
    for script, few in few_months.items():
        few, many = statistics.median(few), statistics.median(many_months[script])
        say(f"| {script}, {old.months} months against {months} | {few:.0f} | {many:.0f} | {many / few:.2f} |")


def main():
    say("# Benchmark results")
    say()
    say(f"{'Quick run, ' if QUICK else ''}{ROUNDS} rounds of {SECONDS} s, medians. {os.cpu_count()} CPUs, {platform.machine()}; "
        f"{psql('postgres', 'SELECT split_part(version(), chr(32), 2)')} with "
        + ", ".join(f"{s} {psql('postgres', f'SHOW {s}')}" for s in ("shared_buffers", "max_wal_size", "autovacuum", "fsync")) + ". "
        "`pgbench -n -M prepared`; 2 clients, synchronous_commit off and full_page_writes off unless said otherwise; 1,000 merchants. Each section is of the day that it names, and was measured in one run. Written by `make bench`.")
    sections = {"charge": section_charge, "others": section_others, "prices": section_prices, "callbacks": section_callbacks, "bills": section_bills, "clients": section_clients, "hot": section_hot,
                "footprint": section_footprint, "memory": memory, "pages": section_pages}
    wanted = ONLY or [*sections, "big", "growth"]
    small = Shop("bench_small", 10_000) if set(wanted) - {"bills", "pages"} else None
    for name, section in sections.items():
        if name in wanted:
            begin(name)
            section(small)
    big = None
    if "big" in wanted:
        begin("big")
        big = section_big()
    if "cards" in wanted:
        begin("cards")
        section_cards(small)
    if "growth" in wanted:
        begin("growth")
        section_growth(small, big)
    # A quick run of some says nothing that is kept.
    if not ONLY or not QUICK:
        said = {**(kept() if ONLY else {}), **SAID}
        order = ["", *sections, "big", "cards", "growth"]
        RESULTS.write_text("\n\n".join("\n".join(said[name]).strip() for name in order if name in said) + "\n")


def memory(shop):
    """Resident memory of one backend after a few and after many mixed calls."""
    few, many = (500, 20_000) if QUICK else (2_000, 200_000)
    calls = """
        DO $$ BEGIN FOR i IN 1 .. {n} LOOP
            PERFORM app.merchant_charge_by_qr('SHOP-0001', (SELECT code FROM bench.codes WHERE n = 1 + i % 10000), 1.00, NULL, '{{}}', 'm{tag}-' || i);
            IF i % 10 = 0 THEN PERFORM app.merchant_refund_tx('SHOP-0001', (SELECT tx_no FROM bench.payments WHERE merchant = 'SHOP-0001' AND n = 1000 * (1 + i / 10 % 10)), 0.01); END IF;
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
    say()
    say(f"A backend's own memory after {many:,} mixed calls is {grown:+,} kB of what it was after {few:,} ({first:,} kB).")


main()
