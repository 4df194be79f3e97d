"""What the benchmarks share: running a program with its figures taken, waiting, asking over HTTP."""
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test" / "support"))
from private_postgres import PrivatePostgres, free_port  # noqa: E402,F401

SERVER = {
    "max_wal_size": "'16GB'", "checkpoint_timeout": "'1h'", "shared_buffers": "'512MB'",
    "autovacuum": "off", "synchronous_commit": "off", "wal_sender_timeout": "0",
    "max_replication_slots": 20, "max_wal_senders": 20,
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def timed(command):
    """Runs a program that prints JSON. Returns that, wall and CPU seconds and peak resident MiB."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, \
            tempfile.TemporaryFile("w+", encoding="utf-8") as messages:
        begin = time.monotonic()
        child = subprocess.Popen(command, stdout=out, stderr=messages)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        messages.seek(0)
        if child.returncode != 0:
            raise SystemExit(f"{command[0]} failed:\n{messages.read()[-2000:]}")
        answer = json.load(out)
    return {"seconds": wall, "cpu_seconds": cpu_seconds(usage), "peak_mib": usage.ru_maxrss / 1024,
            "answer": answer}


def cpu_seconds(usage):
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def running(freshet, config, figures):
    """freshet in the background; `figures` gets its CPU seconds and peak MiB when it has ended."""
    with open(config.parent / "freshet.out", "w", encoding="utf-8") as out:
        child = subprocess.Popen([freshet, "run", "-c", config], stdout=out,
                                 stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        child.terminate()
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
        figures.update(cpu_seconds=cpu_seconds(usage), peak_mib=usage.ru_maxrss / 1024)


def wait_until(condition, seconds=60, pause=0.02):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("bench: waited in vain")
        time.sleep(pause)


def fetch_json(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def query(freshet, config, sql):
    """The first value that `freshet query` answers with, as text."""
    answer = json.loads(subprocess.run(
        [freshet, "query", "-c", config, "--output", "json", sql],
        check=True, capture_output=True, text=True).stdout)
    return str(answer["rows"][0][0])
