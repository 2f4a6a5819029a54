"""A gateway's bill of a day with as many lines as the largest shop has: imported, and matched with books and callbacks."""
import datetime
import gzip
import io
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
NAME = "bench_bills"
# The names of the gateway's columns, in its order.
COLUMNS = ("交易时间 公众账号ID 商户号 特约商户号 设备号 微信订单号 商户订单号 用户标识 交易类型 交易状态 付款银行 货币种类 应结订单金额 代金券金额 微信退款单号 "
           "商户退款单号 退款金额 充值券退款金额 退款类型 退款状态 商品名称 商户数据包 手续费 费率 订单金额 申请退款金额 费率备注").split()
TOTALS = "总交易单数 应结订单总金额 退款总金额 充值券退款总金额 手续费总金额 订单总金额 申请退款总金额".split()
APP, SHOP = "wx0000000000000001", "1900000001"
# Of so many payments each of the following is one; their lines more and less make up for each other.
EVERY = 3_000
(WAITS, FAILED, NO_LINE, NOBODYS, OTHER_AMOUNT, TWICE, SECOND, NEXT_DAY, CONSOLE, SENT_BACK, BACK_TOO_EARLY, FEE, NO_MONTH, LATE, EARLY, *NO_LINES) = range(1, 19)
SECONDS_ALLOWED, MEMORY_ALLOWED = 60, 256


def yuan(fen):
    return f"{fen / 100:.2f}"


def head():
    return ("\ufeff" + ",".join(COLUMNS) + "\r\n").encode()


def totals(lines, paid, refunded, fee):
    row = (f"{lines}.0", yuan(paid), yuan(refunded), "0.00", yuan((fee + 500) // 1000), yuan(paid), yuan(refunded))
    return (",".join(TOTALS) + "\r\n`" + ",`".join(row) + "\r\n").encode()


class Day:
    """The bill, the books that it is of, and what comparing them must say."""

    def __init__(self, lines, is_told):
        self.is_told = is_told
        self.day = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=8)).date() - datetime.timedelta(days=1)
        self.start = datetime.datetime.combine(self.day, datetime.time(), datetime.timezone(datetime.timedelta(hours=8)))
        self.lines, self.sums, self.fee = 0, {"payment": 0, "refund": 0}, 0
        self.classes = {"matched": [0, 0]}
        # What the day before waits for.
        self.early = [0, 0]
        # Payments, their sum; refunds, their sum; callbacks, their sum.
        self.books = [0] * 6
        self.paid = io.StringIO()
        packed = io.BytesIO()
        # As a gateway packs it.
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as self.file:
            self.file.write(head())
            for n in range(1, lines + 1):
                self.pay(n, n % EVERY, 100 + n * 7919 % 100_000, 7200 + n * 72_000 // lines)
            self.file.write(totals(self.lines, self.sums["payment"], self.sums["refund"], self.fee))
            self.plain = self.file.tell()
        self.packed = packed.getvalue()

    def pay(self, n, case, fen, second):
        """The payment of number n: what the books, the callbacks and the bill have of it, and what is to be said of it."""
        status = {WAITS: "processing", FAILED: "failed", NOBODYS: "nobodys", NO_MONTH: "nobodys", SENT_BACK: "refunded", BACK_TOO_EARLY: "refunding"}.get(case, "completed")
        in_books = status not in ("processing", "failed", "nobodys") and case not in (NEXT_DAY, EARLY)
        told = self.is_told and in_books and n * 2_654_435_761 // 65_536 % 10 != 0
        second = {NEXT_DAY: 86_399, LATE: 86_399 - 300, EARLY: 2}.get(case, second)
        at = self.start + datetime.timedelta(seconds=second)
        posted = at + datetime.timedelta(seconds={NEXT_DAY: 60, EARLY: -3}.get(case, 1))
        utc = posted.astimezone(datetime.timezone.utc)
        # As a gateway's: they say nothing of each other.
        trade = f"4200002{self.day:%Y%m%d}{n * 736_878_713 % 10**10:010}"
        order = {"nobodys": f"shop-{n}", "refunded": f"shop-{n}", "refunding": f"shop-{n}"}.get(status, f"CZ{utc:%y%m}{n:06}")
        if case == NO_MONTH:
            order = f"CZ1501{n:06}"
        self.paid.write(f"{n}\t{status}\t{fen}\t{utc:%Y-%m-%d %H:%M:%S}+00\t{trade}\t{order}\t{'t' if told else 'f'}\n")
        if in_books:
            self.books[0] += 1
            self.books[1] += fen
            if told:
                self.books[4] += 1
                self.books[5] += fen
        if case == LATE:
            return self.item("timing", fen)
        if case == NO_LINE or case in NO_LINES:
            return self.item("only_in_books", fen)
        billed = fen + (case == OTHER_AMOUNT)
        extra = 2_000 if case == FEE else 0
        self.line(at, trade, order, "payment", billed, extra)
        self.item({WAITS: "status_differs", FAILED: "status_differs", NOBODYS: "only_in_bill", NO_MONTH: "only_in_bill", OTHER_AMOUNT: "amount_differs",
                   NEXT_DAY: "timing", EARLY: "timing"}.get(case, "matched"), billed)
        if case == EARLY:
            self.early[0] += 1
            self.early[1] += fen
        elif case == FEE:
            self.item("fee_differs", (billed * 6 + extra + 500) // 1000)
        elif case in (TWICE, SECOND):
            self.line(at, trade if case == TWICE else f"9{trade[1:]}", order, "payment", fen)
            self.item("duplicate", fen)
        elif case in (CONSOLE, SENT_BACK, BACK_TOO_EARLY):
            self.line(at, trade, order, "refund", fen, number=f"console-{n}" if case == CONSOLE else f"SR{n}")
            self.item({CONSOLE: "only_in_bill", SENT_BACK: "matched", BACK_TOO_EARLY: "status_differs"}[case], fen)
            if case == SENT_BACK:
                self.books[2] += 1
                self.books[3] += fen

    def item(self, name, fen):
        entry = self.classes.setdefault(name, [0, 0])
        entry[0] += 1
        entry[1] += fen

    def line(self, at, trade, order, entry, fen, extra=0, number="0"):
        back = entry == "refund"
        # Of the rate 0.6 %, in hundred-thousandths of a yuan.
        fee = -fen * 6 if back else fen * 6 + extra
        self.lines += 1
        self.sums[entry] += fen
        self.fee += fee
        amount, refund = ("0.00", yuan(fen)) if back else (yuan(fen), "0.00")
        self.file.write((f"`{at:%Y-%m-%d %H:%M:%S},`{APP},`{SHOP},`0,`,`{trade},`{order},`oUpF8{trade[-14:]}XkWeS6o,`JSAPI,`{'REFUND' if back else 'SUCCESS'},`OTHERS,"
                         f"`CNY,`{amount},`0.00,`{'5030' + trade[4:] if back else '0'},`{number},`{refund},`0.00,`{'ORIGINAL' if back else ''},"
                         f"`{'SUCCESS' if back else ''},`储值,`,`{fee / 100_000:.5f},`0.60%,`{amount},`{refund},`\r\n").encode())

    def expected(self):
        return sorted(f"{name} {count} {yuan(fen)}" for name, (count, fen) in self.classes.items())


class Watched:
    """A session of a backend, and what its server process uses: its own memory at the peak, CPU time, WAL."""

    def __init__(self, psql):
        self.psql = psql
        self.session = subprocess.Popen(["psql", "-qXtA", "-v", "ON_ERROR_STOP=1", "-U", "bench_backend", "-d", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.ask("SELECT pg_backend_pid()")[0]

    def ask(self, sql):
        self.session.stdin.write(f"{sql};\n\\echo .\n")
        self.session.stdin.flush()
        rows = []
        while (row := self.session.stdout.readline()) != ".\n":
            if not row:
                sys.exit(f"{sql}: failed")
            rows.append(row.rstrip("\n"))
        return rows

    def own(self):
        """Without the shared buffers that it has touched: what the process has for itself, in kB."""
        return int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text())[1])

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wal(self):
        return int(self.psql(NAME, "SELECT wal_bytes FROM pg_stat_wal"))

    def measure(self, sql):
        """What one call answers, and its seconds, CPU seconds, MB at the peak and bytes of WAL. The session is over then."""
        peak, over = [self.own()], threading.Event()

        def watch():
            while not over.wait(0.01):
                peak[0] = max(peak[0], self.own())

        wal, cpu, started = self.wal(), self.cpu(), time.monotonic()
        watcher = threading.Thread(target=watch)
        watcher.start()
        rows = self.ask(sql)
        took = time.monotonic() - started
        over.set()
        watcher.join()
        cpu = self.cpu() - cpu
        # It tells of its WAL when it ends.
        self.session.stdin.close()
        self.session.wait()
        while self.psql(NAME, f"SELECT count(*) FROM pg_stat_activity WHERE pid = {self.pid}") != "0":
            time.sleep(0.01)
        time.sleep(0.05)
        return rows, (took, cpu, peak[0] / 1024, self.wal() - wal)


def books(psql, sh, day):
    sh("dropdb", "--force", "--if-exists", NAME)
    sh("createdb", NAME)
    cards = day.lines // 100
    psql(NAME, file="setup.sql", cards=cards, merchants=1000)
    psql(NAME, "DO $$ BEGIN IF to_regrole('bench_backend') IS NULL THEN CREATE ROLE bench_backend LOGIN; END IF; END $$; SELECT sec.grant_api('bench_backend', 'backend')")
    config = f'{{"mchid": "{SHOP}", "appids": ["{APP}"], "fee_rate": 0.006}}'
    psql(NAME, f"SELECT app.set_gateway_account('wechat', 'wechat', '{config}')")
    if not day.is_told:
        # Then nobody but the bills says whose a payment is, where there are two.
        psql(NAME, f"SELECT app.set_gateway_account('other', 'wechat', '{config.replace(SHOP, '1900000002')}')")
    psql(NAME, "CREATE TABLE bench.paid (n bigint, status text, fen integer, posted_at timestamptz, trade_no text, order_no text, told boolean); "
               "CREATE TABLE bench.bill (content bytea); ALTER TABLE bench.bill ALTER content SET STORAGE EXTERNAL")
    for table, content in (("paid", day.paid.getvalue()), ("bill", "\\\\x" + day.packed.hex() + "\n")):
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", NAME, "-c", f"\\copy bench.{table} FROM STDIN"], input=content, text=True, check=True)
    psql(NAME, file="bills.sql", cards=cards, day=day.day)
    for setting in ("synchronous_commit", "full_page_writes"):
        psql(NAME, f"ALTER SYSTEM SET {setting} = off")
    psql(NAME, "SELECT pg_reload_conf()")


def must_be(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found}, and not {expected}")


def compared(psql, sh, lines, is_told):
    """What importing and comparing a day use, and the day."""
    started = time.time()
    day = Day(lines, is_told)
    must_be("lines", day.lines, lines)
    books(psql, sh, day)
    print(f"   {NAME}: {lines} lines, {len(day.packed) >> 20} MB of gzip, {day.plain >> 20} MB in it: {time.time() - started:.0f} s", flush=True)
    # The day before had nothing in its bill: what came just before midnight waits for this one.
    before = day.day - datetime.timedelta(days=1)
    empty = gzip.compress(head() + totals(0, 0, 0, 0)).hex()
    psql(NAME, f"SELECT app.import_bill('wechat', '{before}', 'trade', '\\x{empty}')")
    must_be("the day before", psql(NAME, f"SELECT concat_ws(' ', class, items, amount) FROM app.reconcile('wechat', '{before}')"),
            f"matched 0 0.00\ntiming {day.early[0]} {yuan(day.early[1])}")
    psql(NAME, "CHECKPOINT")
    answer, imported = Watched(psql).measure(
        "SELECT r.lines, r.payment_total, r.refund_total, r.warnings FROM bench.bill b, app.import_bill('wechat', '%s', 'trade', b.content) r" % day.day)
    must_be("imported", answer, [f"{lines}|{yuan(day.sums['payment'])}|{yuan(day.sums['refund'])}|{{}}"])
    results = {"import_bill": imported}
    for label in ("reconcile", "reconcile once more"):
        answer, results[label] = Watched(psql).measure(f"SELECT concat_ws(' ', class, items, amount) FROM app.reconcile('wechat', '{day.day}')")
        must_be(label, sorted(answer), day.expected())
        sums = "book_payments, book_payment_total, book_refunds, book_refund_total, callbacks, callback_total"
        expected = "|".join(str(n) if i % 2 == 0 else yuan(n) for i, n in enumerate(day.books))
        must_be("the day", psql(NAME, f"SELECT {sums} FROM app.v_recon_days WHERE bill_date = '{day.day}'"), expected)
        must_be("the day before", psql(NAME, f"SELECT open_items FROM app.v_recon_days WHERE bill_date = '{before}'"), "0")
    sh("dropdb", "--force", NAME)
    return day, results


def section(say, psql, sh, lines):
    told, results = compared(psql, sh, lines, True)
    say()
    say(f"### A trade bill of {lines:,} lines ({len(told.packed) >> 20} MB of gzip, {told.plain >> 20} MB in it) beside as many recharges")
    say()
    say("| operation | seconds | CPU seconds | own memory at the peak, MB | WAL bytes per line |")
    say("|---|---:|---:|---:|---:|")
    untold = compared(psql, sh, lines, False)[1]
    results |= {f"{label}, two accounts, no callbacks": used for label, used in untold.items()}
    for label, (took, cpu, peak, wal) in results.items():
        say(f"| {label} | {took:.1f} | {cpu:.1f} | {peak:.0f} | {wal / lines:,.0f} |")
    differing = ", ".join(f"{count:,} {name}" for name, (count, _) in sorted(told.classes.items()) if name != "matched")
    say()
    say(f"{told.classes['matched'][0]:,} matched, {differing}: as the bench counts them itself.")
    first = max(used["import_bill"][0] + used["reconcile"][0] for used in (results, untold))
    if first > SECONDS_ALLOWED or max(r[2] for r in results.values()) > MEMORY_ALLOWED:
        say()
        say(f"That is more than {SECONDS_ALLOWED} s or {MEMORY_ALLOWED} MB: the promise is not kept.")
