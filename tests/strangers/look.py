#!/usr/bin/env python3
"""The parts of tests/strangers/run that a shell is no good for. Only the standard library.

  look.py sign ROLE SUB                 a JWT of PostgREST's
  look.py document WHO FILE short|long  PostgREST's own OpenAPI, as schemathesis reads it
  look.py watch DATABASE FILE           how much memory its backends, and sqlsmith's, take at most, until it is ended
  look.py judge DIR short|long          what was called and what came of it; fails where something was not
  look.py memory FILE                   what was watched; fails where it is too much
  look.py log FROM                      what the server wrote since this byte of its log; fails where no stranger may bring that about
"""
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

TOP = Path(__file__).parents[2]
# By how much the address space of a backend may grow over what it was when it had started, in MB: one request may take 64
# (tests/suite/tests/bounds.rs), the rest is what a backend that lives long keeps.
MOST_MEGABYTES = 128
# Who comes with which levels.
LEVELS = {"nobody": (), "member": ("client",), "till": ("client",), "operator": ("operator",), "backend": ("client", "backend")}
# Functions that were never answered with success by anybody, and why that is as it should be.
NEVER_ANSWERED = {
    "liability_proof": "no month is over yet",
    "rebuild_from_log": "books are written anew only where there are none",
}


def sign(claims):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    body = part(b'{"alg":"HS256","typ":"JWT"}') + "." + part(json.dumps(claims).encode())
    return body + "." + part(hmac.new(os.environ["MPS_JWT_SECRET"].encode(), body.encode(), hashlib.sha256).digest())


def functions_of(levels):
    api = json.loads((TOP / "docs" / "api.json").read_text())
    wanted = (f for f in api["functions"] if f["kind"] == "function" and f["name"].startswith("app."))
    return {f["name"].removeprefix("app."): f for f in wanted if set(levels) & set(f["levels"])}


def document(who, file, form):
    """What PostgREST says, but for what would only keep strangers from getting anywhere."""
    # Nobody is shown nothing, and tries what backends are shown.
    role = {"nobody": "service_role", "backend": "service_role", "operator": os.environ["STRANGERS_OPERATOR"]}.get(who, "authenticated")
    claims = {"role": role, "sub": "00000000-0000-4000-8000-000000000001"}
    request = urllib.request.Request(os.environ["MPS_REST_URL"] + "/", headers={"Authorization": "Bearer " + sign(claims)})
    with urllib.request.urlopen(request, timeout=30) as answer:
        page = json.loads(answer.read())
    reads = {name for name, f in functions_of(["client", "backend", "operator"]).items() if f["volatility"] != "volatile"}
    del page["paths"]["/"]
    for path, methods in page["paths"].items():
        function = path.removeprefix("/rpc/") if path.startswith("/rpc/") else None
        for method in list(methods):
            # The page offers what the role has no right to, and GET of functions that write. The long form tries that, too.
            useless = method != "get" if function is None else method == "get" and function not in reads
            if useless and form == "short":
                del methods[method]
                continue
            # Of every media type that it offers the answer would be that the body is none of it.
            if form == "short":
                methods[method].pop("produces", None)
            if function:
                methods[method].pop("description", None)
                for parameter in methods[method].get("parameters", []):
                    if "schema" in parameter:
                        parameter["schema"] = {**parameter["schema"], "additionalProperties": False}
                        parameter["schema"].pop("description", None)
    if form == "short":
        page["consumes"] = page["produces"] = ["application/json"]
    Path(file).write_text(json.dumps(page))


def backends(database):
    """The processes of the server that serve clients in these databases, with the highest of their memory."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            title = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            # Where sqlsmith only thinks, what it asks of the catalogs is its own.
            if not re.match(rf"postgres: authenticator {re.escape(database)}(_smith)? ", title):
                continue
            peak = re.search(r"^VmPeak:\s*(\d+) kB", Path(entry.path, "status").read_text(), re.M)
        except OSError:
            continue
        if peak:
            yield entry.name, title.split()[2], int(peak.group(1)) / 1024


def watch(database, file):
    """The peak is one that the system keeps: only backends that end between two looks lose the last of theirs."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    first, most = {}, {}
    while True:
        for pid, where, peak in backends(database):
            first.setdefault(pid, peak)
            most[where] = max(most.get(where, 0), round(peak - first[pid], 1))
        # In its place at once: it is ended whenever the run ends.
        Path(f"{file}-new").write_text(json.dumps({"backends": len(first), "most": most}))
        os.replace(f"{file}-new", file)
        time.sleep(0.2)


def judge(directory, form):
    bad, answered, asked = [], set(), set()
    for who, levels in LEVELS.items():
        counted = {"counts": {}, "slowest": [0, "none"]}
        if Path(directory, f"{who}.json").exists():
            counted = json.loads(Path(directory, f"{who}.json").read_text())
        counts = counted["counts"]
        of_function = {}
        for operation, outcomes in counts.items():
            path = operation.split(" ")[1]
            if path.startswith("/rpc/"):
                of_function.setdefault(path.removeprefix("/rpc/"), Counter()).update(outcomes)
        total = sum(sum(outcomes.values()) for outcomes in counts.values())
        print(f"{who}: {total} requests, {len(of_function)} functions; the slowest {counted['slowest'][0]:.2f} s, {counted['slowest'][1]}")
        may_call = functions_of(levels) if levels else functions_of(["client", "backend"])
        for name in sorted(may_call):
            outcomes = of_function.get(name, Counter())
            answered_here = outcomes.pop("answered", 0)
            tokens = Counter({o: n for o, n in outcomes.items() if re.fullmatch(r"[A-Z_]{5,}", o) and not o.startswith("PGRST")})
            others = outcomes - tokens
            said = ", ".join(f"{token} {n}" for token, n in tokens.most_common())
            other = ", ".join(f"{code} {n}" for code, n in others.most_common())
            numbers = f"{answered_here:5} answered {sum(tokens.values()):5} refused {sum(others.values()):5} before it"
            print(f"  {name:36} {numbers}   {said} | {other}")
            if not answered_here + sum(outcomes.values()):
                bad.append(f"{who} never called {name}")
            asked.add(name) if levels else None
            if answered_here:
                answered.add(name)
    silent = sorted(asked - answered - set(NEVER_ANSWERED))
    if silent and form == "long":
        bad.append(f"nobody got an answer of {', '.join(silent)}")
    elif silent:
        print(f"not answered to anybody in this short form: {', '.join(silent)}")
    return bad


def memory(file):
    taken = json.loads(Path(file).read_text())
    if not taken["backends"]:
        print("SKIPPED: memory is not measured, the server's processes cannot be looked at from here")
    for database, megabytes in taken["most"].items():
        print(f"memory: {megabytes} MB at most above the beginning of a backend, in {database}")
    return [f"a backend of {db} took {mb} MB, the most is {MOST_MEGABYTES}" for db, mb in taken["most"].items() if mb > MOST_MEGABYTES]


def entries(text):
    """What the server wrote, each with its detail, place and statement."""
    entry = []
    for line in text.splitlines():
        begins = re.match(r"\S+ \S+ \S+ \[\d+\] +(\w+): ", line)
        if begins and begins.group(1) not in ("DETAIL", "HINT", "CONTEXT", "STATEMENT", "LOCATION", "QUERY") and entry:
            yield "\n".join(entry)
            entry = []
        entry.append(line)
    if entry:
        yield "\n".join(entry)


def log(begin):
    """PANIC, a FATAL, a signal, XX. What is XX in a statement without any function of ours is the server's own: it is listed."""
    with open(os.environ["MPS_LOG"], "rb") as file:
        file.seek(int(begin))
        text = file.read().decode(errors="replace")
    bad, not_ours, codes = [], [], Counter()
    for entry in entries(text):
        code = re.search(r"(ERROR|FATAL|PANIC): +(\w{5}): ", entry)
        if code:
            codes[code.group(2)] += 1
        if re.search(r"PANIC:|FATAL:|terminated by signal|TRAP:|panicked", entry):
            bad.append(entry[:2000])
        elif code and code.group(2).startswith("XX"):
            (bad if re.search(r"\b(app|sec|audit|sieve)\.\w+\s*\(|\"app\"\.", entry) else not_ours).append(entry[:2000])
    print(f"server's log: {sum(codes.values())} errors: " + ", ".join(f"{code} {n}" for code, n in codes.most_common()))
    for entry in not_ours:
        print(f"an internal error of the server's own, no function of ours in the statement:\n{entry}")
    # The same one again and again says no more.
    return bad[:5]


def main():
    what, *rest = sys.argv[1:]
    if what == "sign":
        print(sign({"role": rest[0], "sub": rest[1]}))
        return
    bad = {"document": document, "watch": watch, "judge": judge, "memory": memory, "log": log}[what](*rest) or []
    for line in bad:
        print(f"FAILED: {line}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
