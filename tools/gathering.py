"""What the families declare, put together in sql/kernel/gathered.sql. For tools/api.

A family declares its jobs in sec.jobs_of_FAMILY(), and so on for whatever is named below: a function without arguments, beside what it
is about. Levels come from the line `Level:` of each function's comment, tables from where they are made. So a family that joins is
asked wherever the kernel asks, and no list of the kernel is edited.
"""
import os
import re
import sys

import releases  # tools/releases.py
from declarations import functions, literal, result  # tools/declarations.py

FILE = "sql/kernel/gathered.sql"
# Who has which level: kept by the kernel, whatever becomes of the other tables.
OF_LEVELS = {"sec.api_grants", "sec.level_holders"}
# The function that asks all families, its volatility and the like, what it is, and who may call it.
KINDS = {
    "jobs": ("jobs", "IMMUTABLE SECURITY DEFINER", "The procedures that are to run by themselves, and how often. "
             "app.recompute_levels() and app.archive_partitions() are run by hand.", "operator"),
    "monthly_tables": ("monthly_tables", "IMMUTABLE", "The tables that are kept by month, with the primary key of each month, and whether "
                       "a row of them is never changed. Whatever locks several of them does so in this order."),
    "settings": ("settings", "IMMUTABLE", "The settings, by place: kind, default as SQL, bounds or choices, what it is in English and "
                 "Chinese. sec.setting_kinds() says what a kind is."),
    "columns": ("columns_by_level", "IMMUTABLE", "What may be read past the functions, by level."),
    "policies": ("policies", "IMMUTABLE", "The policies, all for SELECT: table, name, condition, and the condition as the server shows it, "
                 "without white space and brackets."),
    "standing_triggers": ("standing_triggers", "IMMUTABLE", "The triggers that fire whatever session_replication_role says; every month "
                          "of the log has its own append_only besides. sec.install_triggers() makes them, sec.security_check() looks for "
                          "them."),
    "descriptions": ("descriptions", "IMMUTABLE", "What columns are: those that clients and backends read, and those that a release added "
                     "to a table of before."),
    "health": ("health_rows", "STABLE", "What the families have to say in app.health()."),
    "sequences": ("sequence_states", "STABLE", "Every sequence that numbers rows: what it gave last, and the greatest that is used."),
    "logged": ("logged_actions", "IMMUTABLE", "Every kind of event that this release writes, and what its context must have for the books "
               "to be written anew from the log."),
    "rebuilds": ("rebuild_steps", "IMMUTABLE", "The steps of app.rebuild_from_log(): functions in sec, by their place."),
    "rules": ("books_families", "IMMUTABLE", "The rules that the families name, for sec.books_rules() and sec.books_proofs()."),
}


def families():
    """Folders of sql/, in the order of src/sql.rs."""
    found = [os.path.basename(os.path.dirname(f)) for f in releases.sources()]
    return list(dict.fromkeys(found))


def of_superusers(declared):
    """The functions of `app` that only a superuser may call, from their comments."""
    comments = [(name.split("(")[0], literal(text.split(" IS", 1)[1])) for (kind, name), text in declared.items()
                if kind.startswith("COMMENT") and name.startswith("app.")]
    return [name for name, says in comments if re.search(r"\bFor a superuser\.", says)]


def levels_of(declared):
    """Name of a function to its levels, from the line of its comment."""
    known = re.findall(r"\('(\w+)', ", declared["FUNCTION", "sec.level_markers"])
    found = {}
    for (kind, name), statement in declared.items():
        if not kind.startswith("COMMENT"):
            continue
        text = statement.split(" IS", 1)[1]
        if re.sub(r"E?'(?:[^']|'')*'|\s+", "", text):
            sys.exit(f"{name}: its comment has a form that is not read")
        lines = literal(text).split("\n")
        said = [line for line in lines if line.startswith("Level: ")]
        if said:
            names = said[0][len("Level: "):].rstrip(".").split(", ")
            if len(said) > 1 or not said[0].endswith(".") or set(names) - set(known) or len(set(names)) < len(names):
                sys.exit(f"{name}: its comment's line `Level:` names no level: {' '.join(said)}")
            found[name.split("(")[0]] = names
        elif not re.search(r"\bInternal\b|\bFor a superuser\.", literal(text)):
            sys.exit(f"{name}: its comment says neither who may call it (Level: ...) nor that it is internal or for a superuser")
    return found


def commented(name, says, level=None):
    text = says.replace("'", "''") + ("\\n" if level else " Internal.")
    lines, now = [], ""
    for word in re.findall(r"\S+\s*", text):
        if len(now + word) > 128:
            lines.append(now)
            now = ""
        now += word
    lines += [now] + ([f"Level: {level}."] if level else [])
    said = "\n    ".join(f"'{line}'" for line in lines)
    return f"COMMENT ON FUNCTION sec.{name}() IS\n    {'E' if level else ''}{said};\n"


def valued(name, returns, rows, says):
    """A function that returns rows."""
    return (f"CREATE FUNCTION sec.{name}() RETURNS TABLE ({returns})\n"
            "    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$\n"
            "    VALUES " + ",\n           ".join(rows) + f"\n$$;\n{commented(name, says)}")


def gathered(kind, declared):
    """The function that asks each family that has one of this kind."""
    name, attributes, says, *level = KINDS[kind]
    asked = [f"sec.{kind}_of_{family}" for family in families() if ("FUNCTION", f"sec.{kind}_of_{family}") in declared]
    results = {re.sub(r"^CREATE FUNCTION [\w.]+", "", result(declared["FUNCTION", function])) for function in asked}
    if len(results) != 1:
        sys.exit(f"sec.{kind}_of_FAMILY(): {len(asked)} functions, which return different things, or none")
    returns = re.match(r"\(\) RETURNS TABLE \((.*)\)$", results.pop())
    body = "\n    UNION ALL ".join(f"SELECT * FROM {function}()" for function in asked)
    head = f"CREATE FUNCTION sec.{name}()"
    table = f"RETURNS TABLE ({returns.group(1)})"
    head = f"{head} {table}" if len(head) + len(table) < 139 else f"{head}\n    {table}"
    body = f"LANGUAGE sql {attributes} SET search_path = pg_catalog, pg_temp AS $$\n    {body}\n$$;\n"
    return f"{head}\n    {body}{commented(name, says, *level)}"


def text():
    """What sql/kernel/gathered.sql is to be."""
    sources = {f: open(f).read() for f in releases.sources() if f != FILE}
    declared = functions("".join(sources.values()))
    tables = sorted({t for s in sources.values() for t in re.findall(r"CREATE TABLE ((?:app|audit|sec)\.\w+) ", s)} - OF_LEVELS)
    known = levels_of(declared) | {f"sec.{name}": level for name, _, _, *level in KINDS.values() if level}
    levels = [(name, level) for name, names in known.items() for level in names]
    parts = [
        "-- Written by tools/api from what the families declare. What may be declared is in tools/gathering.py.\n",
        valued("api_functions", "func text, level text", [f"('{name}', '{level}')" for name, level in levels],
               "Every function that a level may call, from the line `Level:` of its comment; what is not here is internal. A backend may "
               "also call what a client may. Grants are made from it, and sec.security_check() compares with it."),
        valued("tables", "tab text", [f"('{table}')" for table in tables],
               "The tables of mps that calls read and write: all but those of who has which level."),
    ]
    return "\n".join(parts + [gathered(kind, declared) for kind in KINDS])
