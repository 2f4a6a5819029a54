"""Reading the declarations in SQL sources. For the other tools."""
import re
import sys


def statements(text):
    """The top-level statements, each without its semicolon, comments before it left out."""
    token = re.compile(r"--[^\n]*\n|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]*\"|(\$\w*\$).*?\1|;|[^;'\"$/-]+|.", re.S)
    out, now = [], ""
    for match in token.finditer(text):
        piece = match.group(0)
        if piece == ";":
            out.append(now.strip())
            now = ""
        elif piece.startswith(("--", "/*")) and not now.strip():
            continue
        else:
            now += piece
    return [s for s in out if s]


def functions(text):
    """What makes functions and says what they are, by what it is about."""
    found = {}
    for statement in statements(text):
        head = re.match(r"CREATE (FUNCTION|PROCEDURE) ([\w.]+)", statement) or re.match(
            r"(COMMENT ON (?:FUNCTION|PROCEDURE)) ([\w.]+(?:\([^)]*\))?)", statement)
        if head:
            if (head.group(1), head.group(2)) in found:
                sys.exit(f"two of {head.group(0)}: no rule for overloads")
            found[head.group(1), head.group(2)] = statement
    return found


def parted(statement):
    """Arguments and result of a declaration; and what it says of language, volatility and the like, up to the body."""
    head, rest = re.split(r"\n\s*(?:--[^\n]*\n\s*)*LANGUAGE ", statement, maxsplit=1)
    return re.sub(r"\s+", " ", head), re.split(r"\bAS\b", rest, maxsplit=1)[0]


def result(statement):
    """Arguments and result: what CREATE OR REPLACE cannot change."""
    return parted(statement)[0]


def pieces(text):
    """A list of SQL, parted by its commas."""
    depth, out = 0, [""]
    for piece in re.findall(r"'(?:[^']|'')*'|.", text, re.S):
        depth += (piece in "([") - (piece in ")]")
        if piece == "," and depth == 0:
            out.append("")
        else:
            out[-1] += piece
    return [piece.strip() for piece in out if piece.strip()]


def literal(text):
    """What adjacent literals of SQL say together."""
    parts, escaped = [], False
    for kind, body in re.findall(r"(E?)'((?:[^']|'')*)'", text):
        escaped = escaped or kind == "E"
        body = body.replace("''", "'")
        parts.append(body.replace("\\n", "\n").replace("\\\\", "\\") if escaped else body)
    return "".join(parts)
