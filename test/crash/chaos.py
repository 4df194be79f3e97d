#!/usr/bin/env python3
"""Kills freshet at bad moments, N times, and compares source and targets after each.

A round: traffic runs, freshet runs, one of them or the server dies; then freshet catches up, and
  * `freshet verify` compares every table of every sink with the source,
  * the changelog's rows are counted by table and operation and compared with what PostgreSQL itself
    decodes of the same transactions through a second slot, so that no duplicate hides in an upsert.
Every tenth round begins with an empty log and empty targets and dies during the initial snapshot.
Prints the seed; leaves everything behind in the evidence folder when a round fails.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "test" / "support"))
from private_postgres import PrivatePostgres  # noqa: E402

FAILPOINTS = ("after_receive", "after_append", "after_fsync", "after_sink_write",
              "before_sink_commit", "after_sink_commit", "after_ack")
MOST_PASSES = 20  # a failpoint strikes at one of so many passes, by chance
PATIENCE_SECONDS = 60  # for anything that must happen
FAILPOINT_SECONDS = 10  # traffic may end before the n-th pass: then an ordinary kill does
LONGEST_LIFE_SECONDS = 1.5  # before a kill at a random moment
TRAFFIC_ROWS_PER_SECOND = 600
INITIAL_ROWS = 2_000
FRESH_EVERY = 10
STOPPED_AT_ONCE = 130  # freshet's exit code
MAIN_SLOT, COUNTING_SLOT = "freshet", "counting"


class Failure(Exception):
    """freshet broke a promise. The message says which."""


class Crash:
    """One run of rounds on one server."""

    def __init__(self, options, server, folder):
        self.options, self.server, self.folder = options, server, folder
        self.random = random.Random(options.seed)
        self.config = folder / "freshet.yaml"
        self.changelog_config = folder / "changelog.yaml"  # for `query`: the same, one warehouse only
        self.data = folder / "data"
        self.counted = collections.Counter()  # (table, operation) -> changes the server decoded
        self.counted_to = None  # how far the second slot was read
        self.compared = 0  # changes of the changelog, over all rounds
        self.struck = collections.Counter()  # fault -> rounds in which it struck

    # The pieces of a round.

    def start(self, *arguments, environment=None):
        """Starts freshet with its messages in a file of the evidence."""
        self.messages = open(self.folder / f"{arguments[0]}.log", "a", encoding="utf-8")
        return subprocess.Popen([self.options.freshet, *map(str, arguments)], stdout=self.messages,
                                stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})})

    def finish(self, *arguments):
        """Runs freshet to its end, which must be a good one. Returns what it printed."""
        done = subprocess.run([self.options.freshet, *map(str, arguments)], text=True,
                              capture_output=True, timeout=5 * PATIENCE_SECONDS, check=False)
        with open(self.folder / f"{arguments[0]}.log", "a", encoding="utf-8") as messages:
            messages.write(done.stdout + done.stderr)
        if done.returncode != 0:
            raise Failure(f"freshet {arguments[0]} ended with {done.returncode}: "
                          f"{(done.stderr.strip() or done.stdout.strip())[-1000:]}")
        return done.stdout

    def traffic(self, round_number):
        return self.start("generate", "--url", self.server.url("shop"), "--schema", "shop",
                          "--rate", TRAFFIC_ROWS_PER_SECOND,
                          "--seed", self.options.seed * 1_000 + round_number)

    def wait_until(self, what, condition):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise Failure(f"waited {PATIENCE_SECONDS} s in vain: {what}")
            time.sleep(0.01)

    def slot_is_active(self):
        return self.server.sql("shop", "SELECT active FROM pg_replication_slots "
                                       f"WHERE slot_name = '{MAIN_SLOT}'") == "t"

    @staticmethod
    def end(child):
        """kill -9, unless it is dead already. Returns how it ended."""
        child.kill()
        return child.wait()

    # Faults: each starts freshet and returns when it is dead.

    def die_at_failpoint(self, name):
        passes = self.random.randint(1, MOST_PASSES)
        child = self.start("run", "-c", self.config,
                           environment={"FRESHET_FAILPOINT": f"{name}:{passes}"})
        try:
            child.wait(timeout=FAILPOINT_SECONDS)
            self.struck[name] += 1
        except subprocess.TimeoutExpired:
            pass
        return self.end(child)

    def die_at_random(self, _name):
        child = self.start("run", "-c", self.config)
        try:
            child.wait(timeout=self.random.uniform(0, LONGEST_LIFE_SECONDS))
        except subprocess.TimeoutExpired:
            self.struck["random"] += 1
        return self.end(child)

    def lose_the_server(self, name):
        """The server dies under a running freshet, which must come back by itself before it dies."""
        child = self.start("run", "-c", self.config)
        try:
            self.wait_until("freshet streams", self.slot_is_active)
            time.sleep(self.random.uniform(0, LONGEST_LIFE_SECONDS / 3))
            if name == "server_kill":
                self.server.kill()
            else:
                self.server.stop("immediate")
            self.server.start()
            self.wait_until("freshet streams again", lambda: child.poll() is not None or
                            self.slot_is_active())
            self.struck[name] += 1
        finally:
            code = self.end(child)
        return code

    def fault(self, round_number):
        """Every failpoint in turn, then random moments and the server's death."""
        faults = [(self.die_at_failpoint, name) for name in FAILPOINTS]
        faults += [(self.die_at_random, "random")] * 2
        faults += [(self.lose_the_server, "server_kill"), (self.lose_the_server, "server_stop")]
        return faults[round_number % len(faults)]

    # Rounds.

    def prepare(self):
        self.server.sql("postgres", "CREATE DATABASE shop")
        self.finish("generate", "--url", self.server.url("shop"), "--schema", "shop", "--seed",
                    self.options.seed, "--initial-rows", INITIAL_ROWS, "--rows", 100)
        changelog = f"""
source:
  postgres:
    url: {self.server.url('shop')}
    slot: {MAIN_SLOT}
    tables: [public.*]
    status_interval: 100ms
log: {{ path: {self.data}/log, segment_size: 1MiB }}
sinks:
  changelog:
    duckdb: {{ path: {self.data}/changelog.duckdb }}
    mode: append
    flush: {{ interval: 50ms }}
"""
        self.changelog_config.write_text(changelog, encoding="utf-8")
        self.config.write_text(changelog + f"""
  warehouse:
    duckdb: {{ path: {self.data}/warehouse.duckdb }}
    mode: upsert
    flush: {{ interval: 20ms }}
  lake:
    files: {{ url: "{self.data}/lake", format: parquet }}
    mode: append
    flush: {{ interval: 100ms }}
""", encoding="utf-8")

    def drop_slots(self):
        """False while the server has not noticed that the slot's reader is dead."""
        self.server.sql("shop", "SELECT pg_drop_replication_slot(slot_name) "
                                "FROM pg_replication_slots WHERE NOT active")
        return self.server.sql("shop", "SELECT count(*) FROM pg_replication_slots") == "0"

    def begin_anew(self):
        """No log, no targets, no slot; then a death during the snapshot, unless that was quicker."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir()
        self.wait_until("the slots are free", self.drop_slots)
        self.counted.clear()
        child = self.start("run", "-c", self.config)
        try:
            child.wait(timeout=self.random.uniform(0, LONGEST_LIFE_SECONDS / 2))
        except subprocess.TimeoutExpired:
            self.struck["snapshot"] += 1
        code = self.end(child)
        self.finish("run", "-c", self.config, "--until-caught-up")
        # Nobody writes now, so the second slot begins where the changelog ends.
        self.server.sql("shop", f"""
            SELECT pg_create_logical_replication_slot('{COUNTING_SLOT}', 'pgoutput')""")
        self.counted_to = self.counting_slot_position()
        return code

    def counting_slot_position(self):
        return self.server.sql("shop", "SELECT confirmed_flush_lsn FROM pg_replication_slots "
                                       f"WHERE slot_name = '{COUNTING_SLOT}'")

    def round(self, round_number):
        if round_number % FRESH_EVERY == 0:
            fault = "snapshot"
            code = self.begin_anew()
        else:
            strike, fault = self.fault(round_number)
            traffic = self.traffic(round_number)
            try:
                code = strike(fault)
            finally:
                traffic.terminate()
                traffic.wait()
            ways_to_stop = (0, STOPPED_AT_ONCE, -signal.SIGTERM)  # the latter: before it had begun
            if traffic.returncode not in ways_to_stop and not fault.startswith("server"):
                raise Failure(f"generate ended with {traffic.returncode}")
        if code != -signal.SIGKILL:
            raise Failure(f"freshet ended by itself with {code} at fault {fault}")
        self.finish("run", "-c", self.config, "--until-caught-up")
        self.finish("verify", "-c", self.config)
        self.compare_counts()
        return fault

    def compare_counts(self):
        """The changelog against what the server decodes: as many of each kind, table by table."""
        # A server that crashed may have forgotten how far the slot was read, and would repeat.
        self.server.sql("shop",
                        f"SELECT pg_replication_slot_advance('{COUNTING_SLOT}', '{self.counted_to}')")
        rows = self.server.sql("shop", f"""
            WITH changes AS (
              SELECT chr(get_byte(data, 0)) AS kind,
                     get_byte(data, 1)::bigint << 24 | get_byte(data, 2) << 16
                     | get_byte(data, 3) << 8 | get_byte(data, 4) AS relation
              FROM pg_logical_slot_get_binary_changes('{COUNTING_SLOT}', NULL, NULL,
                     'proto_version', '1', 'publication_names', '{MAIN_SLOT}')
              WHERE get_byte(data, 0) IN (ascii('I'), ascii('U'), ascii('D')))
            SELECT relname, kind, count(*) FROM changes JOIN pg_class c ON c.oid = relation
            GROUP BY 1, 2""")
        self.counted_to = self.counting_slot_position()
        operations = {"I": "insert", "U": "update_postimage", "D": "delete"}
        for line in rows.splitlines():
            table, kind, count = line.split("|")
            self.counted[table, operations[kind]] += int(count)
            self.compared += int(count)
        tables = self.server.sql("shop", "SELECT relname FROM pg_class WHERE relkind = 'r' AND "
                                         "relnamespace = 'public'::regnamespace").splitlines()
        query = " UNION ALL ".join(
            f"SELECT '{table}' AS name, _cdc_operation AS operation, count(*) AS n,"
            " count(DISTINCT (_cdc_lsn, _cdc_seq)) AS places"
            f" FROM public.{table} WHERE _cdc_operation IN ('insert', 'update_postimage', 'delete')"
            " GROUP BY ALL" for table in tables)
        answer = json.loads(self.finish("query", "-c", self.changelog_config, "--output", "json",
                                        query))
        found = collections.Counter()
        for name, operation, count, places in answer["rows"]:
            found[name, operation] = int(count)
            if int(count) != int(places):
                raise Failure(f"{name}: {count} changes of kind {operation} at {places} places")
        if found != self.counted:
            differing = {key: (self.counted[key], found[key]) for key in
                         self.counted.keys() | found.keys() if self.counted[key] != found[key]}
            raise Failure(f"the changelog differs from what the server decoded (server, changelog): "
                          f"{differing}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--postgres", type=int, default=15, help="major of the server")
    parser.add_argument("--freshet", type=pathlib.Path, default=ROOT / "build" / "release" / "freshet")
    options = parser.parse_args()

    folder = pathlib.Path(tempfile.mkdtemp(prefix="freshet-chaos-"))
    print(f"chaos: {options.rounds} rounds, seed {options.seed}, evidence in {folder} if one fails",
          flush=True)
    begin = time.monotonic()
    with PrivatePostgres(options.postgres, {"max_wal_senders": 10, "fsync": "off"}) as server:
        crash = Crash(options, server, folder)
        try:
            crash.prepare()
            for number in range(options.rounds):
                fault = crash.round(number)
                print(f"chaos: round {number + 1:3d}, {fault}: equal", flush=True)
        except (Failure, subprocess.TimeoutExpired, KeyboardInterrupt) as failure:
            shutil.copy(server.folder / "server.log", folder / "postgres.log")
            print(f"chaos: NOT EQUAL, seed {options.seed}: {failure}\nchaos: evidence: {folder}")
            return 1
    if options.rounds > 1 and crash.compared == 0:
        print(f"chaos: nothing was compared: no traffic arrived; evidence: {folder}")
        return 1
    shutil.rmtree(folder)
    struck = ", ".join(f"{name} {count}" for name, count in sorted(crash.struck.items()))
    print(f"chaos: EQUAL after {options.rounds} rounds in {time.monotonic() - begin:.0f} s, "
          f"{crash.compared:,} changes counted twice; struck: {struck}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
