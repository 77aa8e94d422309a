#!/usr/bin/env python3
"""Measures how the house reads: words, doc comments, file sizes, import circles.

A thermometer, not the patient: write for the reader, then look. The ranges are those of axum,
tower-sessions, sqlx, apalis and async-stripe, measured in the same way.

    python3 tools/thermometer.py          # the table
    python3 tools/thermometer.py WORD     # where a word is used in rustdoc prose
"""

import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = [
    "src", "payload", "core", "macros", "axum-adapter", "actix-adapter", "rocket-adapter", "serve",
    "storage/sqlite", "storage/postgres", "storage/sqlx-tx", "conformance",
]
# Words per 1,000 in rustdoc prose: pattern, lowest and highest of the anchors.
GROUPS = [
    ("who, nobody, somebody…", r"who|whom|whoever|nobody|somebody|anybody|everybody|someone", 0.0, 0.4),
    ("tell, say, hear, ask", r"tells?|told|telling|says?|said|saying|hears?|heard|asks?|asked|asking", 0.0, 0.4),
    ("what", r"what|whatever", 0.0, 0.7),
    ("default, timeout, limit…", r"defaults?|timeouts?|limits?|limited|retry|retries|retried|maximum|intervals?", 4.1, 23.2),
    ("return, error", r"returns?|returned|errors?", 11.3, 20.2),
    ("you, your", r"you|your|yours", 3.0, 8.5),
]
# Terms that a developer searches for.
TERMS = [
    "webhook", "rate limit", "circuit breaker", "dead letter", "fencing token", "jitter", "graceful shutdown",
    "group commit", "inbox pattern", "idempotency", "at least once", "exactly once", "poison message", "back-off",
]


def sources():
    for package in PUBLISHED:
        folder = ROOT / package
        for path in sorted((folder if package == "src" else folder / "src").rglob("*.rs")):
            yield path


def doc_comments(text):
    """The doc comments of a file, each as one text without code blocks."""
    comment, in_code = [], False
    for line in text.splitlines() + [""]:
        found = re.match(r"\s*//[/!] ?(.*)", line)
        if not found:
            if comment:
                yield " ".join(comment)
            comment, in_code = [], False
        elif found[1].startswith("```"):
            in_code = not in_code
        elif not in_code:
            comment.append(found[1])


def words(text):
    text = re.sub(r"\]\([^)]*\)", "]", text)  # the targets of links
    return re.findall(r"[A-Za-z][A-Za-z'’-]*", re.sub(r"`[^`]*`", "Code", text))


def code_lines(text):
    tests = re.search(r"\n#\[cfg\(test\)\]\nmod tests", text)
    return [line for line in text[: tests.start() if tests else None].splitlines() if line.strip()]


def imports(path, folder):
    """The files that a file of a crate imports, by its `use` lines; re-exports of a `mod.rs` are followed."""
    text = path.read_text().split("#[cfg(test)]\nmod tests")[0]
    for line in re.findall(r"(?m)^use ((?:crate|super)::[^;]*);", text):
        line = re.sub(r"\s+", "", line)
        head, _, names = line.partition("{")
        for name in (names.rstrip("}").split(",") if names else [""]):
            module = resolve(path, folder, (head + name).split("::"))
            if module and module != path:
                yield module


def resolve(path, folder, parts):
    here = folder if parts[0] == "crate" else (path.parent if path.stem != "mod" else path.parent.parent)
    module = None
    for part in parts[1:]:
        file, inner = here / f"{part}.rs", here / part / "mod.rs"
        if file.is_file():
            return file
        if inner.is_file():
            here, module = here / part, inner
        else:
            return defined_in(module, part) if module else None
    return module


def defined_in(face, name):
    found = re.search(r"use self::(\w+)(?:::\w+)*::(?:\{[^}]*\b%s\b[^}]*\}|%s\b)" % (name, name), face.read_text())
    if not found:
        return face
    file, inner = face.parent / f"{found[1]}.rs", face.parent / found[1] / "mod.rs"
    return file if file.is_file() else defined_in(inner, name) if inner.is_file() else face


def largest_circle(folder):
    files = sorted(folder.rglob("*.rs"))
    edges = {path: set(imports(path, folder)) for path in files}
    reach = {path: {path} for path in files}
    changed = True
    while changed:
        changed = False
        for path in files:
            more = set().union(*(reach[other] for other in edges[path] if other in reach)) - reach[path]
            if more:
                reach[path] |= more
                changed = True
    circles = [{other for other in reach[path] if path in reach[other]} for path in files]
    return max(circles, key=len)


def main():
    texts = {path: path.read_text() for path in sources()}
    docs = [(path, doc) for path, text in texts.items() for doc in doc_comments(text)]
    if len(sys.argv) > 1:
        for path, doc in docs:
            if re.search(rf"\b(?:{sys.argv[1]})\b", doc, re.I):
                print(f"{path.relative_to(ROOT)}: {doc}")
        return
    prose = [word.lower() for _, doc in docs for word in words(doc)]
    print(f"{'words per 1,000 in rustdoc prose':40} {'here':>8}  anchors")
    for name, pattern, low, high in GROUPS:
        rate = 1000 * sum(bool(re.fullmatch(pattern, word)) for word in prose) / len(prose)
        print(f"  {name:38} {rate:8.1f}  {low} to {high}{'' if low <= rate <= high else '  !'}")
    short = sum(len(words(doc)) <= 3 for _, doc in docs)
    print(f"{'doc comments of three words or fewer':40} {100 * short / len(docs):7.1f}%  under 2 %")
    sizes = sorted(len(text.splitlines()) for text in texts.values())
    print(f"{'lines of a file: median, 90th, longest':40} {statistics.median(sizes):.0f}, {sizes[len(sizes) * 9 // 10]}, {sizes[-1]}")
    lines = [line.strip() for text in texts.values() for line in code_lines(text)]
    doc_lines = sum(line.startswith(("///", "//!")) for line in lines)
    print(f"{'doc lines per code line':40} {doc_lines / (len(lines) - doc_lines):8.2f}  at least 0.4")
    for crate in ["payload", "core", "macros"]:
        circle = largest_circle(ROOT / crate / "src")
        print(f"{'largest import circle of ' + crate:40} {len(circle):8}  at most 2")
        if len(circle) > 2:
            print("   ", ", ".join(str(path.relative_to(ROOT)) for path in sorted(circle)))
    pages = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = " ".join(" ".join(page.read_text().lower().split()) for page in pages)
    missing = [term for term in TERMS if term not in text]
    print(f"{'terms that no page has':40} {', '.join(missing) or 'none'}")


main()
