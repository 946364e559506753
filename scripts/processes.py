"""Processes and HTTP requests of the tests in this folder that start real programs."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent


def announce(text):
    print(f"--- {text}", flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, find, seconds):
    """Calls `find` every 0.2 s until it returns something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            found = find()
            if found:
                return found
        time.sleep(0.2)
    raise SystemExit(f"FAILED: waited {seconds} s for {what}")


def http(method, url, body=None, headers=None):
    """(status, body) of a response, including error responses."""
    request = urllib.request.Request(url, method=method, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextlib.contextmanager
def running(name, command, env, log):
    """Runs a process in a new process group and ends the whole group afterwards."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, cwd=ROOT)
    try:
        yield process
    finally:
        for end_signal in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, end_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
        if sys.exc_info()[0] is not None:
            print(f"--- the end of {name}'s log:", *log.read_text(errors="replace").splitlines()[-60:], sep="\n", flush=True)
