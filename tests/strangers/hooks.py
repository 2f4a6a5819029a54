"""What schemathesis is told about MPS: real values beside its own, and what every answer must be.

schemathesis loads it by SCHEMATHESIS_HOOKS; tests/strangers/run says by STRANGERS_* who calls and where to count.
"""
import atexit
import json
import os
import random
import re
import subprocess
import threading
import urllib.parse
from collections import Counter, defaultdict
from pathlib import Path

import requests
import schemathesis
from hypothesis import strategies as st

WHO = os.environ["STRANGERS_WHO"]
# The database role of the caller; empty for who has none.
ROLE = os.environ["STRANGERS_ROLE"]
DATABASE = os.environ["MPS_TEST_DB"]
API = json.loads((Path(__file__).parents[2] / "docs" / "api.json").read_text())
FUNCTIONS = {f["name"].removeprefix("app."): f for f in API["functions"] if f["name"].startswith("app.")}
STATUS_OF_TOKEN = {error["token"]: error["status"] for error in API["errors"]}
# docs/rpc/conventions.md: what any RPC can give.
ANY_RPC_GIVES = {"INVALID_ARGUMENT", "SCHEMA_OUTDATED", "NOT_AUTHENTICATED", "ARCHIVED", "NOT_ALLOWED", "STATUS_CONFLICT"}

# What may be answered beside the tokens: what the server or PostgREST says before a function is entered, with the HTTP status
# that PostgREST makes of it. The list is closed.
NOT_OURS = {
    "42501": ({401, 403}, "the role has no right to the function, table or column"),
    "22P02": ({400}, "a text that is no value of the argument's type"),
    "22003": ({400}, "a number that its type cannot hold"),
    "22007": ({400}, "a text that is no date or time"),
    "22008": ({400}, "a date or time out of the calendar"),
    "22009": ({400}, "a time zone's distance that cannot be"),
    "22023": ({400}, "a name of a time zone that is none"),
    "22025": ({400}, "a filter by LIKE with an escape that is none"),
    "42704": ({400}, "a column is to be shown as a type that is not there"),
    "42846": ({400}, "a column is to be shown as a type that it cannot be"),
    "22P05": ({400}, "the character U+0000 in jsonb"),
    "22021": ({400}, "bytes that are no UTF-8 text"),
    "22030": ({400}, "a key twice in jsonb"),
    "2201B": ({400}, "a filter by a regular expression that is none"),
    "54000": ({413}, "a text in jsonb beyond what jsonb holds"),
    "54001": ({413}, "JSON too deep to be read"),
    "25006": ({405}, "GET of a function that writes: PostgREST calls it in a transaction that only reads"),
    "42703": ({400}, "a filter, order or select names a column that is not there"),
    "42883": ({404}, "an operator that a column's type has not; a function of one jsonb that is given none"),
    "42804": ({400}, "a body whose columns are of another type"),
    "PGRST100": ({400}, "a query string that PostgREST cannot read"),
    "PGRST101": ({405}, "a method that functions have not"),
    "PGRST102": ({400}, "a body that is no JSON, or not what the Content-Type says"),
    "PGRST103": ({416}, "a range that cannot be"),
    "PGRST105": ({405}, "PUT that does not name one row"),
    "PGRST106": ({406}, "another schema"),
    "PGRST107": ({415, 406}, "a media type that is not offered"),
    "PGRST108": ({400}, "a filter on what is not embedded"),
    "PGRST109": ({400}, "a limited change without an order"),
    "PGRST110": ({400}, "a limited change that changes more"),
    "PGRST114": ({400}, "PUT with a limit"),
    "PGRST115": ({400}, "PUT of a row that the query string does not name"),
    "PGRST116": ({406}, "one row was asked for, and there are none or several"),
    "PGRST117": ({405}, "a method that is not offered"),
    "PGRST118": ({400}, "an order by what is not embedded"),
    "PGRST119": ({400}, "columns spread of what is not one row"),
    "PGRST120": ({400}, "a filter that embedding has not"),
    "PGRST122": ({400}, "a preference that cannot be"),
    "PGRST123": ({400}, "an aggregate, which PostgREST does not give unless told to"),
    "PGRST124": ({400}, "more rows than are to be affected"),
    "PGRST200": ({400}, "embedding of what has no relationship"),
    "PGRST202": ({404}, "no function has these arguments"),
    "PGRST204": ({400}, "a column of the body that is not there"),
}
# Rows of a page (p_limit), bytes of an answer as in tests/suite/tests/bounds.rs, and seconds.
MOST_ROWS = 500
MOST_BYTES = 500 * (16 << 10) + 500 * 4096
MOST_SECONDS = 2.0
# A hash in hex or base64, as PostgREST would write a bytea or a text of one.
HASH = r"\\\\x[0-9a-f]{16}|\b[0-9a-f]{64}\b|_hash\b"
# What says where a program stopped; whole rows.
PLACE = r"stack backtrace|panicked|\.rs:\d|PL/pgSQL|SQL statement|Failing row|Key \("
# Where hashes, or files and messages as they came, are what is answered.
PROOFS = {"/rpc/head_proof", "/rpc/tx_proof", "/rpc/liability_proof", "/gateway_bills", "/gateway_bill_files", "/gateway_events"}
# Cases until the shop is put right and has new things.
WORLD_LASTS = 30


def run(sql):
    command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", DATABASE, "-c", sql]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"{sql}: {answer.stderr}")
    return answer.stdout


def ask(sql):
    return json.loads(run(sql))


class World:
    """What there is in the shop now."""

    def __init__(self):
        self.lock = threading.Lock()
        self.calls = 0
        self.pools = ask("SELECT strangers.world()")
        self.secrets = ask("SELECT secrets FROM strangers.kept")
        self.readable = ask(f"SELECT strangers.readable('{ROLE}')") if ROLE else {}

    def called(self):
        with self.lock:
            self.calls += 1
            if self.calls % WORLD_LASTS == 0:
                self.pools = ask("SELECT strangers.world()")
                # What was paid meanwhile has its receipts.
                run("CALL audit.seal()")

    def pool(self, name):
        """The values for an argument of a function, or for a column."""
        return self.pools.get(name)

    def value(self, name, of_type, number):
        """One of the values that fit a name and a type of Postgres."""
        fitting = self.pool(name) if of_type != "boolean" else None
        if not fitting:
            fitting = OF_TYPE.get(of_type, [f"text-{number}", "Lin Xia", f"key-{number % 20}"])
        # The first ones are the caller's own and the newest.
        places = number // 2 % len(fitting), number // 97 % len(fitting)
        return fitting[min(places) if number % 2 else places[0]]


OF_TYPE = {
    "numeric": [1, 0.01, 0.9, 1.00, 5, 12.5],
    "bigint": [1, 10, 100],
    "integer": [1, 50, 500, 2],
    "boolean": [True, False],
    "jsonb": [{}, {"item": "latte"}],
    "json": [{}],
    "date": ["2026-01-01", "today", "2030-01-31"],
    "timestamp with time zone": ["now", "today", "2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"],
    "uuid": ["00000000-0000-4000-8000-000000000001"],
}
world = World()
counts = defaultdict(Counter)
slowest = [0.0, ""]


def names_and_types(operation):
    """Of the arguments of a function, as POST has them: name, type, whether it is required."""
    parameters = operation.definition.raw.get("parameters", [])
    body = next((p for p in parameters if p.get("in") == "body" and "schema" in p), None)
    if body is not None:
        schema = body["schema"]
        return [(n, p.get("format", "text"), n in schema.get("required", [])) for n, p in schema.get("properties", {}).items()]
    return [(p["name"], p.get("format", "text"), p.get("required", False)) for p in parameters if p.get("in") == "query"]


def real_arguments(operation, as_query):
    """A strategy of right values: the required arguments, and some of the others."""
    def resolved(seed):
        # Hypothesis likes the same small numbers again and again; of 0 come the required arguments, each with the first that fits.
        draw = random.Random(seed)
        given, number = {}, 0
        for name, of_type, required in arguments:
            number = draw.randrange(10_000) if seed else 0
            if required or (seed and draw.random() < 0.3):
                given[name] = world.value(name, of_type, number)
            if name == "p_card_id" and number % 4 < 3:
                given[name] = world.value("personal_card_id", of_type, number)
        if given.get("p_card_type") == "enterprise" and "p_card_id" in given:
            given["p_card_id"] = world.value("enterprise_card_id", "uuid", number)
        if as_query:
            return {name: json.dumps(v) if isinstance(v, dict) else v for name, v in given.items() if v is not None}
        return given

    arguments = names_and_types(operation)
    return st.integers(0, 2**32 - 1).map(resolved)


def mixed(generated, real):
    """Schemathesis's own, with right values for about half of the arguments."""
    def merge(both):
        own, right, seed = both
        if not isinstance(own, dict):
            return own
        draw = random.Random(seed)
        return own | {name: value for name, value in sorted(right.items()) if draw.random() < 0.5}

    return st.tuples(generated, real, st.integers(0, 2**32 - 1)).map(merge)


def function_of(operation):
    return FUNCTIONS.get(operation.path.removeprefix("/rpc/")) if operation.path.startswith("/rpc/") else None


@schemathesis.hook
def before_generate_body(context, strategy):
    if not context.operation.path.startswith("/rpc/"):
        return strategy
    real = real_arguments(context.operation, as_query=False)
    return st.one_of(real, strategy, mixed(strategy, real), real)


@schemathesis.hook
def before_generate_query(context, strategy):
    operation = context.operation
    if operation.path.startswith("/rpc/"):
        if operation.method.upper() != "GET":
            return strategy
        real = real_arguments(operation, as_query=True)
    else:
        columns = world.readable.get(operation.path.strip("/"))
        if not columns:
            return strategy
        real = real_filters(columns)
    return st.one_of(real, strategy, mixed(strategy, real), real)


def real_filters(columns):
    def resolved(drawn):
        shown, by, number, filtered, limit = drawn
        query = {"select": ",".join(sorted(set(shown))), "order": f"{by}.desc", "limit": str(limit)}
        fitting = world.pool(filtered)
        if fitting and number % 3 == 0:
            query[filtered] = f"eq.{fitting[number % len(fitting)]}"
        return query

    column = st.sampled_from(columns)
    return st.tuples(st.lists(column, min_size=1), column, st.integers(0, 9999), column, st.integers(0, 1000)).map(resolved)


@schemathesis.hook
def after_call(context, case, response):
    world.called()
    outcome = "answered" if response.status_code < 400 else error_of(response).get("code") or str(response.status_code)
    if outcome.startswith("PT"):
        outcome = error_of(response).get("message")
    if of_a_header(response):
        outcome = "header not ASCII"
    counts[f"{case.method} {case.operation.path}"][outcome] += 1


@atexit.register
def say_what_was_counted():
    Path(os.environ["STRANGERS_COUNTS"]).write_text(json.dumps({"counts": counts, "slowest": slowest}))


def error_of(response):
    try:
        error = json.loads(response.content)
    except ValueError:
        return {}
    return error if isinstance(error, dict) else {}


def text_of(response):
    return response.content.decode("utf-8", errors="replace")


def sent(response):
    body = response.request.body or b""
    body = body.decode("utf-8", errors="replace") if isinstance(body, bytes) else str(body)
    return urllib.parse.unquote_plus(response.request.url) + body


def of_a_header(response):
    """Whether PostgREST 12 gave up on a header that is no ASCII. It does so with a 500, before it asks the database anything."""
    strange = any(ord(c) > 126 for value in response.request.headers.values() for c in (
        value.decode("latin-1") if isinstance(value, bytes) else value))
    return strange and response.status_code == 500 and response.content == b"Something went wrong"


@schemathesis.check
def nothing_but_errors_of_the_list(ctx, response, case):
    if of_a_header(response) or case.method == "OPTIONS":
        return
    assert response.status_code < 500, f"HTTP {response.status_code}: {text_of(response)[:500]}"
    function = function_of(case.operation)
    if response.status_code < 400:
        assert WHO != "nobody" or case.operation.path == "/", "nobody is answered"
        # PATCH of no column is answered by PostgREST, which asks the database nothing.
        changes_nothing = case.method in ("GET", "HEAD") or response.request.body in (b"{}", b"[]", b"[{}]")
        assert changes_nothing or function is not None, "a table is written by the API"
        return
    if case.method == "HEAD" or not response.content:
        return
    error = error_of(response)
    code, message = error.get("code") or "", error.get("message")
    if code.startswith("PT"):
        assert STATUS_OF_TOKEN.get(message) == response.status_code, f"no token of the list: {error}"
        assert code == f"PT{response.status_code}" and error.get("details") and error.get("hint"), f"not as errors are: {error}"
        assert function and message in {*function["errors"], *ANY_RPC_GIVES}, f"the reference does not say that it gives {message}"
        return
    statuses, _ = NOT_OURS.get(code, (set(), ""))
    assert response.status_code in statuses, f"HTTP {response.status_code}, no token of the list: {error or text_of(response)[:500]}"


@schemathesis.check
def within_bounds(ctx, response, case):
    assert len(response.content) <= MOST_BYTES, f"an answer of {len(response.content)} bytes"
    seconds = response.elapsed
    # Others make use of the machine: the least of three counts.
    for _ in range(2):
        if seconds <= MOST_SECONDS:
            break
        seconds = min(seconds, requests.Session().send(response.request, timeout=60).elapsed.total_seconds())
    slowest[:] = max(slowest, [seconds, f"{case.method} {case.operation.path}"])
    assert seconds <= MOST_SECONDS, f"took {seconds:.1f} s"
    if not case.operation.path.startswith("/rpc/") or response.status_code >= 400 or not response.content:
        return
    rows = json.loads(response.content)
    if not isinstance(rows, list):
        return
    assert len(rows) <= MOST_ROWS, f"{len(rows)} rows"
    function = function_of(case.operation)
    if function and rows and isinstance(rows[0], dict):
        columns = [column["name"] for column in function.get("columns", [])]
        assert list(rows[0]) == columns, f"{list(rows[0])} are not the columns of the reference"


@schemathesis.check
def keeps_secrets(ctx, response, case):
    text = text_of(response)
    known = sent(response)
    proves = case.operation.path in PROOFS and response.status_code < 400
    telltale = PLACE if proves else f"{HASH}|{PLACE}"
    told = next((m.group(0) for m in re.finditer(telltale, text) if m.group(0) not in known and m.group(0).strip("\\") not in known), None)
    # The catalog of errors and the names of columns in PostgREST's own sentences are no secrets.
    assert told is None or error_of(response).get("code") in ("42501", "42703", "PGRST204"), f"shows {told}: {text[:500]}"
    if WHO in ("member", "till") and response.status_code < 400:
        seen = [s for s in world.secrets if re.search(rf"(?<![\w.]){re.escape(s)}(?![\w.])", text)]
        assert not seen, f"shows what is somebody else's: {seen}"
