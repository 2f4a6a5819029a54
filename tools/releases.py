"""Which releases there are, by their frozen scripts, and what the SQL of now is made of. For the other tools."""
import glob
import os
import re
import sys

sys.dont_write_bytecode = True
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
# Where scripts lie that were released.
FROZEN = "sql/released" if os.path.isdir(os.path.join(TOP, "sql/released")) else "sql"


def number(version):
    return [int(part) for part in version.split(".")]


def released():
    """Every release whose install script is kept, oldest first."""
    names = [os.path.basename(f) for f in glob.glob(f"{FROZEN}/mps--*.sql", root_dir=TOP)]
    return sorted((m.group(1) for m in (re.fullmatch(r"mps--([\d.]+)\.sql", n) for n in names) if m), key=number)


def current():
    """The version in the making."""
    return re.search(r'^version = "(.+)"$', open(os.path.join(TOP, "Cargo.toml")).read(), re.M).group(1)


def making():
    """Where the scripts lie that lead to it."""
    return FROZEN if glob.glob(f"{FROZEN}/mps--*--{current()}.sql", root_dir=TOP) else "sql"


def sources():
    """The SQL that CREATE EXTENSION runs, by file, in its order; a file that is not in that list is not part of the extension."""
    listed = re.findall(r'"\.\./(sql/[\w/]+\.sql)"', open(os.path.join(TOP, "src/sql.rs")).read())
    there = {f for f in glob.glob("sql/*/**/*.sql", root_dir=TOP, recursive=True) if not f.startswith("sql/released/")}
    if set(listed) != there or len(listed) != len(there):
        wrong = {f for f in listed if listed.count(f) > 1} | (set(listed) ^ there)
        sys.exit("src/sql.rs does not name these once: " + " ".join(sorted(wrong)))
    return listed
