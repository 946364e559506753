#!/usr/bin/env python3
"""Finds snapshots that no test compares any more, and pending ones. Standard library only.

    INSTA_SNAPSHOT_REFERENCES_FILE=FILE cargo test --workspace
    scripts/check_snapshots.py FILE

While tests run, insta appends the path of each snapshot that a test compares to FILE. So the list
is not a guess from names. Run all tests of the workspace: snapshots of tests that did not run are
reported.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def snapshots():
    """The snapshots of the work tree, and those that wait to be accepted."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    paths = [path for path in paths if path.exists()]
    kept = {path for path in paths if path.suffix == ".snap"}
    return kept, {path for path in paths if path.name.endswith(".snap.new")}


def main(references):
    lines = Path(references).read_text(encoding="utf-8").splitlines()
    compared = {Path(line).resolve() for line in lines if line}
    kept, pending = snapshots()
    unused = kept - compared
    for path in sorted(unused):
        print(f"{path.relative_to(ROOT)}: no test compares this snapshot, delete it")
    for path in sorted(pending):
        print(f"{path.relative_to(ROOT)}: a snapshot that waits to be accepted or deleted")
    if kept and not kept & compared:
        print(f"{references} names no snapshot: was INSTA_SNAPSHOT_REFERENCES_FILE set?")
    print(f"{len(kept)} snapshots, {len(unused)} that no test compares, {len(pending)} pending")
    return 1 if unused or pending else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
