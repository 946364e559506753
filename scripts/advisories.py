#!/usr/bin/env python3
"""Compares Cargo.lock with the snapshot of the RustSec database in scripts/advisories.json.

    scripts/advisories.py                        check; exit code 1 if a crate has a known vulnerability
    scripts/advisories.py --refresh CLONE        write the snapshot from a clone of the database

.ci/run uses the check if the database itself cannot be fetched. The snapshot holds facts only: id,
crate and version ranges of each advisory that is not withdrawn. --refresh needs Python 3.11.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SNAPSHOT = HERE / "advisories.json"
LOCK = HERE.parent / "Cargo.lock"


def parse_version(text):
    """A version as numbers, and its pre-release parts. Build metadata does not count."""
    core, _, pre = text.split("+")[0].partition("-")
    numbers = [int(part) for part in core.split(".")]
    key = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".") if part)
    # A version without a pre-release part is later than any with one.
    return (*(numbers + [0, 0])[:3], key == (), key), len(numbers)


def upper_bound(operator, version, given):
    """The first version that `^` or `~` excludes, as numbers."""
    major, minor, patch = version[:3]
    if operator == "~":
        return (major + 1, 0, 0) if given == 1 else (major, minor + 1, 0)
    if major > 0 or given == 1:
        return (major + 1, 0, 0)
    return (0, minor + 1, 0) if minor > 0 or given == 2 else (0, 0, patch + 1)


def satisfies(version, comparator):
    operator, text = re.fullmatch(r"\s*(>=|<=|>|<|=|\^|~)?\s*([0-9][^\s]*)\s*", comparator).groups()
    bound, given = parse_version(text)
    match operator:
        case ">=":
            return version >= bound
        case "<=":
            return version <= bound
        case ">":
            return version > bound
        case "<":
            return version < bound
        case "=":
            return version == bound
        case _:
            return version >= bound and version[:3] < upper_bound(operator or "^", bound, given)


def is_in(version, ranges):
    return any(all(satisfies(version, comparator) for comparator in one.split(",")) for one in ranges)


def locked_crates():
    pattern = re.compile(r'\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"\nsource = "registry')
    return pattern.findall(LOCK.read_text(encoding="utf-8"))


def check():
    snapshot = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    advisories = {}
    for advisory in snapshot["advisories"]:
        advisories.setdefault(advisory["crate"], []).append(advisory)
    found = []
    crates = locked_crates()
    for name, text in crates:
        version, _ = parse_version(text)
        for advisory in advisories.get(name, []):
            if not is_in(version, advisory["patched"]) and not is_in(version, advisory["unaffected"]):
                found.append(f"{advisory['id']}: {name} {text}; patched: {', '.join(advisory['patched']) or 'never'}")
    print(f"{len(crates)} crates compared with the advisories of {snapshot['date']}")
    for one in found:
        print(one, file=sys.stderr)
    return 1 if found else 0


def refresh(clone):
    import tomllib

    git = lambda *arguments: subprocess.run(  # noqa: E731
        ["git", "-C", clone, *arguments], check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout
    commit, date = git("log", "-1", "--format=%H %cs").split()
    rows = []
    for path in git("ls-tree", "-r", "--name-only", "HEAD", "crates").splitlines():
        if not path.endswith(".md"):
            continue
        facts = tomllib.loads(git("show", f"HEAD:{path}").split("```toml\n", 1)[1].split("\n```", 1)[0])
        advisory, versions = facts["advisory"], facts["versions"]
        # An unmaintained crate is not a vulnerability; deny.toml decides about those.
        if "withdrawn" in advisory or advisory.get("informational") in ("unmaintained", "notice"):
            continue
        rows.append(
            {
                "id": advisory["id"],
                "crate": advisory["package"],
                "patched": versions.get("patched", []),
                "unaffected": versions.get("unaffected", []),
            }
        )
    lines = ",\n".join(json.dumps(row) for row in sorted(rows, key=lambda row: row["id"]))
    SNAPSHOT.write_text(
        f'{{"source": "github.com/rustsec/advisory-db", "commit": "{commit}", "date": "{date}", '
        f'"advisories": [\n{lines}\n]}}\n',
        encoding="utf-8",
    )
    print(f"{len(rows)} advisories of {date}")
    return 0


if __name__ == "__main__":
    sys.exit(refresh(sys.argv[2]) if sys.argv[1:2] == ["--refresh"] else check())
