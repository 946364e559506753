#!/usr/bin/env python3
"""Uses the console of a local run as a person does, in Chromium.

Chromium comes from this machine, playwright-core and axe-core from the npm registry. If one cannot be
had, the last line says SKIPPED. Needs the built workspace (`cargo build --workspace --bins`).

    scripts/try_console.py [--screenshots DIR]     DIR gets a picture of each page, size and scheme
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

from processes import ROOT
from try_examples import CHROMIUM, Skipped, install, local_run

PACKAGES = {"playwright-core": "1.49.1", "axe-core": "4.10.2"}
# The whole run, in seconds. It takes about one minute and a half.
LONGEST = 600


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screenshots", metavar="DIR", type=pathlib.Path)
    options = parser.parse_args()
    try:
        check(options.screenshots)
        print("ok: the console in Chromium")
    except Skipped as reason:
        print(f"SKIPPED: {reason}")


def check(screenshots):
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not chromium:
        raise Skipped("Chromium is missing (Debian: `apt-get install chromium`)")
    packages = install("console-pages", PACKAGES["playwright-core"], PACKAGES)
    if screenshots:
        screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        # A copy, because a step breaks client.toml.
        client = shutil.copytree(ROOT / "clients/demo", folder / "demo")
        with local_run(folder, client=client) as local:
            command = ["node", ROOT / "scripts/console_pages/check.mjs", packages, chromium, local.url]
            command += [client / "client.toml", folder / "state", *([screenshots] if screenshots else [])]
            done = subprocess.run(command, timeout=LONGEST)
    if done.returncode != 0:
        sys.exit("FAILED: see the step above")


if __name__ == "__main__":
    main()
