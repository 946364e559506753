#!/usr/bin/env python3
"""Checks what the docs refer to, and the titles of new commits. Standard library only, no network.

1. Every relative link in a Markdown file leads to a file, and its #anchor to a heading there.
2. Every path in backticks that begins with a top-level folder exists: `cli/src/main.rs`.
   A placeholder matches anything: `events/stores/<kind>/` needs one folder below `events/stores`.
3. The title of every commit after FIRST has at most 72 characters. Merge commits are exempt.
4. No two pages in `docs/decisions` have one number.

Not checked: links to other hosts, links in code blocks, paths that begin below a top-level folder.

    scripts/check_docs.py [FILE.md ...]

Without files it checks every Markdown file of the work tree, the numbers and the commits.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent

# The rule of commit titles holds after this commit.
FIRST = "49d59e7e9081"
LONGEST_TITLE = 72

# Paths that docs name and that no clone holds.
EXAMPLES = (
    "clients/acme",  # the client of the examples
    "clients/<client>/webhooks.json",  # written by `tellonce webhook register`
)

FENCE = re.compile(r"^\s*(```+|~~~+)")
CODE_SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
LINK = re.compile(
    r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]"  # the text, brackets in it included
    r"\(\s*<?([^()\s<>]*(?:\([^()\s]*\)[^()\s<>]*)*)>?"  # the target
    r"(?:\s+\"[^\"]*\")?\s*\)"  # a title
)
DEFINITION = re.compile(r"^\s{0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", re.MULTILINE)
HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
HTML_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
PLACEHOLDER = re.compile(r"<[^<>/]+>|\{[^{}/]+\}|\*+|…")
PATH = re.compile(r"[\w.-]+(?:/[\w.@+<>{}*… -]*)+")


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def files_of_the_work_tree():
    """Tracked files and new ones, without those that git ignores or that are deleted."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is None:
        sys.exit("check_docs.py: not a git work tree, so the files of the project are unknown")
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).exists()})


def without_code_blocks(text):
    """The same lines, with those of fenced blocks emptied: line numbers stay true."""
    kept, fence = [], None
    for line in text.split("\n"):
        found = FENCE.match(line)
        if fence is None and found:
            fence = found[1]
            kept.append("")
        elif fence is not None:
            if found and found[1].startswith(fence) and line.strip() == found[1]:
                fence = None
            kept.append("")
        else:
            kept.append(line)
    return "\n".join(kept)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def anchors(path, cache={}):
    """The anchors that GitHub gives the headings of a Markdown file."""
    if path not in cache:
        text = without_code_blocks(path.read_text(encoding="utf-8"))
        found, seen = set(HTML_ANCHOR.findall(text)), Counter()
        for line in text.split("\n"):
            heading = HEADING.match(line)
            if not heading:
                continue
            title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[2])
            title = title.replace("`", "").replace("*", "")
            slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
        cache[path] = found
    return cache[path]


def dead_link(path, target):
    """Why a link leads nowhere, or None."""
    if re.match(r"[a-z][a-z0-9+.-]*:|//", target, re.IGNORECASE):
        return None
    name, _, anchor = target.partition("#")
    name = unquote(name.split("?")[0])
    place = (path.parent / name).resolve() if name else path
    if place != ROOT and ROOT not in place.parents:
        return "leads out of the repository"
    if not place.exists():
        return "the file does not exist"
    if anchor and place.suffix == ".md" and unquote(anchor) not in anchors(place):
        return f"`{place.relative_to(ROOT)}` has no heading for this anchor"
    return None


def named_path(token, folders):
    """The path that a token in backticks names, or None if it names none."""
    token = token.strip("'\"(),;")
    token = re.sub(r"(?:::.*|:\d+(?:-\d+)?|[.,;:])$", "", token)
    if not PATH.fullmatch(token) or token.split("/")[0] not in folders:
        return None
    return None if any(token.startswith(example) for example in EXAMPLES) else token


def path_exists(name):
    if not PLACEHOLDER.search(name):
        return (ROOT / name).exists()
    return any(ROOT.glob(PLACEHOLDER.sub("*", name).rstrip("/")))


def check_file(name, folders):
    path = ROOT / name
    text = without_code_blocks(path.read_text(encoding="utf-8"))
    problems = []
    prose = CODE_SPAN.sub(lambda found: re.sub(r"[^\n]", "x", found[0]), text)
    for pattern in (LINK, DEFINITION):
        for found in pattern.finditer(prose):
            # Code in a link's text is masked; the target is read from the text itself.
            target = text[found.start(1) : found.end(1)]
            why = dead_link(path, target)
            if why:
                problems.append((line_of(text, found.start()), f"link `{target}`: {why}"))
    for span in CODE_SPAN.finditer(text):
        for token in span[2].split():
            named = named_path(token, folders)
            if named and not path_exists(named):
                problems.append((line_of(text, span.start()), f"path `{named}` does not exist"))
    return [f"{name}:{line}: {what}" for line, what in sorted(problems)]


def check_numbers(files):
    """Problems of decision pages whose number another page has."""
    pages, problems = {}, []
    for name in files:
        found = re.fullmatch(r"docs/decisions/(\d+)-[^/]*\.md", name)
        if found and pages.setdefault(int(found[1]), name) != name:
            problems.append(f"{name}: number {found[1]} is also the number of {pages[int(found[1])]}")
    return problems


def check_titles():
    if git("rev-parse", "--is-shallow-repository") != "false\n":
        print("NOT CHECKED: commit titles (this clone is shallow)")
        return []
    if git("merge-base", "--is-ancestor", FIRST, "HEAD") is None:
        return [f"commit {FIRST} is not in this history: change FIRST in scripts/check_docs.py"]
    titles = git("log", "--no-merges", "--format=%h%x09%s", f"{FIRST}..HEAD") or ""
    problems = []
    for commit in titles.splitlines():
        short, title = commit.split("\t", 1)
        if len(title) > LONGEST_TITLE:
            limit = f"{len(title)} characters, at most {LONGEST_TITLE}"
            problems.append(f"commit {short}: title has {limit}: {title}")
    return problems


def main(named):
    files = files_of_the_work_tree()
    folders = {name.split("/")[0] for name in files if "/" in name}
    docs = named or [name for name in files if name.endswith(".md")]
    problems = [problem for name in docs for problem in check_file(name, folders)]
    if not named:
        problems += check_numbers(files)
        problems += check_titles()
    for problem in problems:
        print(problem)
    print(f"{len(docs)} Markdown files, {len(problems)} problems")
    return 1 if problems or not docs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
