"""The parts of docs/ that follow from the declarations. For tools/api.

In docs/rpc each RPC has a section: its signature, what it returns and a line of the list are written from the declaration, and the rest
by hand. A new RPC gets a section from its comment, in the page of its family, to be gone on with; one that went loses its section. The
tables of settings are written whole, of errors what is not said in words.
"""
import glob
import os
import re
import sys
import textwrap

import releases  # tools/releases.py
from declarations import functions, literal, pieces  # tools/declarations.py

WIDTH = 140
LISTS = {"en": "docs/rpc/README.md", "zh": "docs/rpc/README.zh-CN.md"}
WHO = {"en": {"client": "Whoever has a level.", "backend": "A backend.", "gateway": "The gateway level.",
              "superuser": "A superuser."},
       "zh": {"client": "任何有级别的角色。", "backend": "后台。", "gateway": "gateway 级别。", "superuser": "超级用户。"}}
# What docs/rpc/conventions.md says once for all.
COMMON = ("INVALID_ARGUMENT", "SCHEMA_OUTDATED", "NOT_AUTHENTICATED")
NONE = {"en": "none", "zh": "无"}
SUFFIX = {"en": "", "zh": ".zh-CN"}


def wrapped(text, width=WIDTH, indent=""):
    """A paragraph in lines; a code span may be broken at its spaces, as Markdown allows."""
    lines = textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def flat(text):
    return re.sub(r"\s+", " ", text)


def replaced(page, pattern, span):
    """A page where the first code span of a pattern is another; nothing is touched where it is the same but for its lines."""
    found = re.search(pattern, page, re.S)
    if not found or flat(found.group(1)) == span:
        return page
    start, end = found.span(1)
    page = page[:start] + span + page[end:]
    first = page.rfind("\n\n", 0, start) + 2
    last = page.find("\n\n", start)
    last = len(page) if last < 0 else last
    return page[:first] + wrapped(flat(page[first:last])).rstrip() + page[last:]


def signature(rpc):
    arguments = [" ".join(filter(None, (a.get("name"), a["type"]))) + (f" = {a['default']}" if "default" in a else "")
                 for a in rpc["arguments"]]
    return f"{rpc['name'].split('.')[1]}({', '.join(arguments)})"


def returned(rpc):
    return ", ".join(f"{c['name']} {c['type']}" for c in rpc["columns"]) if "columns" in rpc else rpc["returns"]


def said(text):
    return text if isinstance(text, str) else " ".join(text)


def section(rpc):
    """What a new RPC has to begin with."""
    name = rpc["name"].split(".")[1]
    own = [f"`{e}`" for e in rpc["errors"] if e not in COMMON]
    errors = [f"Errors: {', '.join(own)}."] if own else []
    says = [said(rpc[key]) for key in ("summary", "description", "results") if key in rpc]
    parts = [f"## {name}", f"`{signature(rpc)}`", f"Returns `{returned(rpc)}`.", f"Who: {who(rpc, 'en').lower()}", *errors, " ".join(says)]
    return "\n\n".join([parts[0], *(wrapped(part) for part in parts[1:])]) + "\n"


def who(rpc, language):
    level = next((level for level in ("client", "backend", "gateway") if level in rpc["levels"]), "superuser")
    return WHO[language][level]


def sections(rpcs, homes):
    """The pages of the families."""
    pages = {f: open(f).read() for f in sorted(glob.glob("docs/rpc/*.md")) if "README" not in f}
    for name, rpc in rpcs.items():
        heading = f"\n## {name}\n"
        path = next((f for f, page in pages.items() if heading in page), None)
        if path is None:
            path = f"docs/rpc/{homes[rpc['name']]}.md"
            pages[path] = pages[path].rstrip("\n") + "\n\n" + section(rpc)
            continue
        start = pages[path].index(heading)
        end = pages[path].find("\n## ", start + 1)
        end = len(pages[path]) if end < 0 else end
        part = replaced(pages[path][start:end], rf"`({name}\([^`]*\))`", signature(rpc))
        part = replaced(part, r"[Rr]eturns `([^`]*)`", returned(rpc))
        pages[path] = pages[path][:start] + part + pages[path][end:]
    for path, page in pages.items():
        for gone in set(re.findall(r"^## ([a-z]+(?:_[a-z]+)+)$", page, re.M)) - rpcs.keys():
            page = re.sub(rf"\n## {gone}\n.*?(?=\n## |\Z)", "", page, flags=re.S)
        yield path, open(path).read(), page.rstrip("\n") + "\n"


def home(name, pages):
    """The page that has a section of this name, as it is linked from the list."""
    return os.path.basename(next(path for path, _, page in pages if f"\n## {name}\n" in page))


def listed(text, rpcs, pages, language):
    """The list of all RPCs: an item each."""
    colon = ": " if language == "en" else "："
    stop = ". " if language == "en" else "。"
    item = re.compile(r"^- \[`(\w+)`\]\([\w.]+#\w+\)(?:(?!\n- |\n\n).)*\n", re.M | re.S)
    items = {m.group(1): m.group(0) for m in item.finditer(text)}
    for name, rpc in rpcs.items():
        arguments = ", ".join(a.get("name", a["type"])
                              + (f" = {a['default'].strip() if a['default'] != 'NULL' else 'null'}" if "default" in a else "")
                              for a in rpc["arguments"]).replace("'{}'", "{}")
        arguments = f"`{arguments}`" if arguments else NONE[language]
        was = flat(items.get(name, "")).strip()
        parted = re.match(r"(- \[`\w+`\]\([^)]*\)[^:：`]*)(?:: |：)(?:`([^`]*)`|none|无)(?:\. |。)(.*)$", was)
        if parted and (f"`{parted.group(2)}`" == arguments or parted.group(2) is None and arguments == NONE[language]):
            continue
        link = parted.group(1) if parted else f"- [`{name}`]({home(name, pages)}#{name})"
        rest = parted.group(3) if parted else who(rpc, language)
        width = 128 if language == "en" else 120
        items[name] = wrapped(f"{link}{colon}{arguments}{stop}{rest}", width, "  ") + "\n"
    span = [m.span() for m in item.finditer(text)]
    return text[:span[0][0]] + "".join(text_of for name, text_of in items.items() if name in rpcs) + text[span[-1][1]:]


BOUNDS = {"en": {"to": " to ", "rate": ", four decimals", "time_zone": "a name of `pg_timezone_names`", "or": ", "},
          "zh": {"to": "～", "rate": "，四位小数", "time_zone": "`pg_timezone_names` 中的名称", "or": "、"}}
SETTINGS = {"en": "| setting | default | range | meaning |", "zh": "| 设置项 | 默认值 | 范围 | 含义 |"}


def bounds(kind, lowest, highest, choices, language):
    words = BOUNDS[language]
    if kind in ("whole", "money", "rate"):
        grouped = lambda text: f"{int(text):,}" if text.isdigit() and len(text) > 5 else text
        return f"{grouped(lowest)}{words['to']}{grouped(highest)}{words.get(kind, '')}"
    if kind == "choice":
        return words["or"].join(f"`{choice}`" for choice in choices)
    if kind == "minute_of_day":
        return f"`00:00`{words['to']}`23:59`"
    return words["time_zone"] if kind == "time_zone" else words["or"].join(("true", "false"))


def settings(declared):
    """The settings as their families declare them, by place."""
    kinds = re.findall(r"\('(\w+)', '", declared["FUNCTION", "sec.setting_kinds"])
    text = lambda sql: None if sql == "NULL" else literal(sql)
    found = []
    for (_, name), statement in declared.items():
        if not name.startswith("sec.settings_of_") or not statement.startswith("CREATE"):
            continue
        for row in pieces(re.search(r"VALUES (.*)\n\$\$", statement, re.S).group(1)):
            place, setting, kind, default, lowest, highest, choices, en, zh = pieces(row[1:-1])
            found.append({"place": int(place), "name": literal(setting), "kind": literal(kind), "default": literal(default),
                          "lowest": text(lowest), "highest": text(highest), "choices": re.findall(r"'([^']+)'", choices),
                          "en": literal(en), "zh": literal(zh)})
    for setting in found:
        wrong = odd(setting, kinds)
        if wrong:
            sys.exit(f"setting {setting['name']}: {wrong}")
    found.sort(key=lambda setting: setting["place"])
    places = [setting["place"] for setting in found]
    if places != list(range(1, len(found) + 1)):
        sys.exit(f"the places of the settings are {', '.join(map(str, places))}: each is given once, the last is {len(found)}")
    return found


def odd(setting, kinds):
    """What is wrong with a setting, if anything is."""
    default, quoted = setting["default"].strip("'"), setting["default"].startswith("'")
    numeric = setting["kind"] in ("whole", "money", "rate")
    if setting["kind"] not in kinds:
        return f"{setting['kind']} is no kind of sec.setting_kinds()"
    if quoted != (setting["kind"] in ("choice", "time_zone", "minute_of_day")):
        return f"its default {setting['default']} is SQL: a text is quoted in it, nothing else is"
    if setting["kind"] == "choice" and default not in setting["choices"]:
        return f"its default {default} is none of its choices"
    if setting["kind"] == "switch" and default not in ("true", "false"):
        return f"its default {default} is neither true nor false"
    lowest, highest = setting["lowest"] or "nan", setting["highest"] or "nan"
    if numeric and not float(lowest) <= float(default) <= float(highest):
        return f"its default {default} is not within its bounds"
    if not re.search(r"[\u4e00-\u9fff]", setting["zh"]) or not setting["en"].endswith("."):
        return "a sentence in English and one in Chinese say what it is"
    return None


def with_settings(text, declared, language):
    """The table of the settings, whole."""
    head = SETTINGS[language] + "\n|---|---|---|---|\n"
    start = text.index(head) + len(head)
    rows = ""
    for s in settings(declared):
        default = s["default"].strip("'")
        default = f"`{default}`" if default != s["default"] else default
        says = re.sub(r"\b((?:app\.)?[a-z]+_[a-z_]+(?:\(\))?)", r"`\1`", s[language])
        rows += f"| `{s['name']}` | {default} | {bounds(s['kind'], s['lowest'], s['highest'], s['choices'], language)} | {says} |\n"
    return text[:start] + rows + text[text.index("\n\n", start) + 1:]


def with_errors(text, errors, language):
    """The table of the errors: those of the closed list with their status; when one is given is said by hand."""
    row = re.compile(r"^\| `([A-Z_]+)` \| (\d{3}) \| (.*) \|\n", re.M)
    when = {m.group(1): m.group(3) for m in row.finditer(text)}
    spans = [m.span() for m in row.finditer(text)]
    known = {e["token"]: e for e in errors}
    order = [token for token in when if token in known] + [token for token in known if token not in when]
    rows = "".join(f"| `{t}` | {known[t]['status']} | {when.get(t, said(known[t][language]))} |\n" for t in order)
    return text[:spans[0][0]] + rows + text[spans[-1][1]:]


def pages(api, of_superusers):
    """Each page that follows from the declarations: its path, what it is, what it is to be. What superusers call of the kernel's is
    in the page on operation, in words."""
    sources = {f: functions(open(f).read()) for f in releases.sources()}
    homes = {name: os.path.basename(os.path.dirname(f)) for f, found in sources.items() for (_, name) in found}
    declared = {key: statement for found in sources.values() for key, statement in found.items()}
    rpcs = {f["name"].split(".")[1]: f for f in api["functions"]
            if f["name"].startswith(("app.", "mps_gateway.")) and f["name"] != "app.error_list"
            and set(f["levels"]) & {"client", "backend", "gateway"}}
    rpcs |= {f["name"].split(".")[1]: f for f in of_superusers if homes[f["name"]] != "kernel"}
    families = list(sections(rpcs, homes))
    yield from families
    for language, path in LISTS.items():
        text = open(path).read()
        yield path, text, listed(text, rpcs, families, language)
    for language, suffix in SUFFIX.items():
        for page, made, of in (("settings", with_settings, declared), ("errors", with_errors, api["errors"])):
            path = f"docs/{page}{suffix}.md"
            text = open(path).read()
            yield path, text, made(text, of, language)
