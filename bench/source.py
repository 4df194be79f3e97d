"""Benchmarks of the source's side: snapshot, giant transaction, many tables, idle."""
import json
import shutil
import statistics
import subprocess
import threading
import time

import harness
from harness import PrivatePostgres, SERVER, free_port, say

SNAPSHOT_ROWS = 5_000_000
SNAPSHOT_WORKERS = 2
SNAPSHOT_SINKS = {
    "snapshot_parquet": "  out: { files: { url: \"%s/lake\", format: parquet }, mode: append }",
    "snapshot_duckdb": "  out: { duckdb: { path: \"%s/out.duckdb\" }, mode: upsert }",
}
SNAPSHOT_SHARE_GOAL = 0.8
SNAPSHOT_CPU_GOAL_US = 1.7  # Parquet

GIANT_ROWS = 10_000_000
GIANT_MEMORY_GOAL_MIB = 300

TABLES = 10_000
TABLES_STALL_GOAL_SECONDS = 1
TABLES_MEMORY_GOAL_BYTES = 10_000  # a table

IDLE_SECONDS = 30
IDLE_CPU_GOAL = 0.01  # of a core

CASES = [*SNAPSHOT_SINKS, "giant", "tables", "idle"]

WIDE = """
CREATE TABLE public.wide (
  id bigint PRIMARY KEY, account int NOT NULL, amount numeric(12,2), note text,
  created_at timestamptz NOT NULL, active boolean, ratio double precision, code text);
"""
WIDE_ROW = """i, (i * 7919 % 100000)::int, (i % 1000000) / 100.0, md5(i::text),
  timestamptz '2026-01-01 00:00:00+00' + i * interval '1 millisecond', i % 3 = 0, i / 7.0,
  'c' || i % 1000"""


def config_text(server, place, sink, port, more=""):
    return (f"source:\n  postgres:\n    url: \"{server.url('bench')}\"\n"
            f"    tables: [public.*]\n{more}"
            f"log: {{ path: \"{place}/log\", budget: 40GiB }}\n"
            f"sinks:\n{sink.replace('%s', str(place))}\n"
            f"http: {{ listen: 127.0.0.1:{port} }}\n")


def forget(server):
    """Removes what a run left at the source."""
    server.sql("bench", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots;"
                        "DROP PUBLICATION IF EXISTS freshet")


def copy_limit(server):
    """The same table through as many COPYs side by side, into nothing. Returns seconds."""
    blocks = int(server.sql("bench", "SELECT pg_relation_size('public.wide') / 8192"))
    bounds = [blocks * n // SNAPSHOT_WORKERS for n in range(SNAPSHOT_WORKERS)] + [2**32 - 1]
    begin = time.monotonic()
    readers = [subprocess.Popen(
        ["/usr/bin/psql", "-XAtq", "-d", server.url("bench"), "-c",
         f"COPY (SELECT * FROM public.wide WHERE ctid >= '({first},0)' AND ctid < '({end},0)') TO STDOUT"],
        stdout=subprocess.DEVNULL) for first, end in zip(bounds, bounds[1:])]
    if any([reader.wait() for reader in readers]):
        raise SystemExit("COPY failed")
    return time.monotonic() - begin


def measure_snapshots(cases, options, folder):
    if not cases:
        return []
    rows = options.snapshot_rows
    limits, samples = [], {case: [] for case in cases}
    with PrivatePostgres(settings=SERVER) as server:
        server.sql("postgres", "CREATE DATABASE bench")
        say(f"snapshot: loading {rows:,} rows")
        server.sql("bench", WIDE + f"INSERT INTO public.wide SELECT {WIDE_ROW} "
                                   f"FROM generate_series(1::bigint, {rows}) i; VACUUM ANALYZE; CHECKPOINT")
        for number in range(options.rounds):
            limits.append(copy_limit(server))
            for case in cases:
                place = folder / f"{case}_{number}"
                place.mkdir()
                config = place / "freshet.yaml"
                config.write_text(config_text(server, place, SNAPSHOT_SINKS[case], free_port(),
                                              f"    snapshot_workers: {SNAPSHOT_WORKERS}\n"),
                                  encoding="utf-8")
                figures = harness.timed([options.freshet, "run", "-c", config, "--until-caught-up",
                                         "--output", "json"])
                if int(figures["answer"]["sinks"][0]["rows_total"]) != rows:
                    raise SystemExit(f"{case}: not {rows} rows: {json.dumps(figures['answer'])[:500]}")
                samples[case].append(figures)
                forget(server)
            say(f"snapshot: round {number + 1} of {options.rounds}")
    limit = statistics.median(limits)
    results = []
    for case in cases:
        seconds = statistics.median(s["seconds"] for s in samples[case])
        results.append({
            "case": case, "rows": rows, "rounds": options.rounds,
            "rows_per_second": round(rows / seconds), "limit_rows_per_second": round(rows / limit),
            "share_of_limit": round(limit / seconds, 3), "share_goal": SNAPSHOT_SHARE_GOAL,
            "cpu_us_per_row": round(statistics.median(s["cpu_seconds"] for s in samples[case]) / rows * 1e6, 3),
            "peak_mib": round(max(s["peak_mib"] for s in samples[case]))})
    return results


def measure_giant(options, folder):
    """One transaction of many rows into DuckDB: memory, and whether it is visible as a whole."""
    place = folder / "giant"
    place.mkdir()
    config = place / "freshet.yaml"
    rows = options.giant_rows
    with PrivatePostgres(settings=SERVER) as server:
        server.sql("postgres", "CREATE DATABASE bench")
        server.sql("bench", WIDE)
        config.write_text(config_text(server, place, SNAPSHOT_SINKS["snapshot_duckdb"], free_port()),
                          encoding="utf-8")
        command = [options.freshet, "run", "-c", config, "--until-caught-up", "--output", "json"]
        harness.timed(command)
        say(f"giant: loading {rows:,} rows")
        server.sql("bench", f"INSERT INTO public.wide SELECT {WIDE_ROW} "
                            f"FROM generate_series(1::bigint, {rows}) i")
        figures = harness.timed(command)
        arrived = harness.query(options.freshet, config, "SELECT count(*) FROM public.wide")
        if arrived != str(rows):
            raise SystemExit(f"giant: {arrived} of {rows} rows arrived")
    return {"case": "giant", "rows": rows, "rows_per_second": round(rows / figures["seconds"]),
            "cpu_us_per_row": round(figures["cpu_seconds"] / rows * 1e6, 3),
            "peak_mib": round(figures["peak_mib"]), "goal_peak_mib": GIANT_MEMORY_GOAL_MIB}


def measure_tables(options, folder):
    """Many tables, all wanted, then all touched for the first time: how long, the longest standstill,
    the memory that a touch takes, and what the process has more than with a single table."""
    place = folder / "tables"
    place.mkdir()
    port = free_port()
    config = place / "freshet.yaml"
    tables = options.tables
    with PrivatePostgres(settings={**SERVER, "max_locks_per_transaction": 1024}) as server:
        server.sql("postgres", "CREATE DATABASE bench")
        say(f"tables: making {tables:,} tables")
        server.sql("bench", f"""
            CREATE PROCEDURE make() LANGUAGE plpgsql AS $$ BEGIN
              FOR n IN 1 .. {tables} LOOP
                EXECUTE format('CREATE TABLE t_%s (id bigint PRIMARY KEY, name text, amount numeric(12,2), at timestamptz)', n);
                IF n % 500 = 0 THEN COMMIT; END IF;
              END LOOP; END $$;
            CREATE PROCEDURE touch(value bigint) LANGUAGE plpgsql AS $$ BEGIN
              FOR n IN 1 .. {tables} LOOP
                EXECUTE format('INSERT INTO t_%s VALUES (%s, ''x'', 1.5, now())', n, value);
                COMMIT;
              END LOOP; END $$;
            CALL make();""")
        sink = "  out: { discard: {} }"
        text = config_text(server, place, sink, port)
        config.write_text(text.replace("public.*", "public.t_1"), encoding="utf-8")
        figures = {}
        with harness.running(options.freshet, config, figures):
            harness.wait_until(lambda: reachable(port) and caught_up(server))
            alone = int(harness.fetch_json(port, "/status")["process"]["resident_bytes"])
        harness.wait_until(lambda: not caught_up(server))
        forget(server)
        shutil.rmtree(place / "log")
        config.write_text(text, encoding="utf-8")
        with harness.running(options.freshet, config, figures):
            begin = time.monotonic()
            harness.wait_until(lambda: reachable(port) and caught_up(server), 600)
            started = time.monotonic() - begin
            before = harness.fetch_json(port, "/status")
            stall, seconds = watch_touch(server, port, int(before["source"]["rows_total"]) + tables, 1)
            first = harness.fetch_json(port, "/status")
            again, _ = watch_touch(server, port, int(before["source"]["rows_total"]) + 2 * tables, 2)
    start, resident = [int(s["process"]["resident_bytes"]) for s in (before, first)]
    a_table = round((resident - start) / tables)
    if options.check and a_table > TABLES_MEMORY_GOAL_BYTES:
        raise SystemExit(f"tables: {a_table:,} bytes a table, more than {TABLES_MEMORY_GOAL_BYTES:,}")
    return {"case": "tables", "tables": tables, "start_seconds": round(started, 1),
            "touch_seconds": round(seconds, 1), "longest_stall_seconds": round(stall, 2),
            "longest_stall_second_touch": round(again, 2), "goal_stall_seconds": TABLES_STALL_GOAL_SECONDS,
            "bytes_per_table": a_table, "bytes_per_table_in_all": round((resident - alone) / tables),
            "resident_mib": round(resident / 2**20), "goal_bytes_per_table": TABLES_MEMORY_GOAL_BYTES,
            "peak_mib": round(figures["peak_mib"])}


def reachable(port):
    try:
        return harness.fetch_json(port, "/status")["source"]["state"] == "streaming"
    except OSError:
        return False


def caught_up(server):
    return server.sql("bench", "SELECT count(*) FROM pg_replication_slots WHERE active") == "1"


def watch_touch(server, port, wanted, value):
    """Touches every table while looking at the rows that arrive. Longest standstill, seconds."""
    writer = threading.Thread(target=server.sql, args=("bench", f"CALL touch({value})"))
    begin = moved = time.monotonic()
    rows, longest = -1, 0.0
    writer.start()
    while True:
        now_rows = int(harness.fetch_json(port, "/status")["source"]["rows_total"])
        now = time.monotonic()
        if now_rows != rows:
            longest = max(longest, now - moved)
            rows, moved = now_rows, now
        if now_rows >= wanted:
            break
        if now - moved > 120:
            raise SystemExit(f"tables: {now_rows} of {wanted} rows arrived")
        time.sleep(0.02)
    writer.join()
    return longest, time.monotonic() - begin


def measure_idle(options, folder):
    """CPU without traffic, and with traffic on tables that are not captured."""
    place = folder / "idle"
    place.mkdir()
    port = free_port()
    config = place / "freshet.yaml"
    with PrivatePostgres(settings=SERVER) as server:
        server.sql("postgres", "CREATE DATABASE bench")
        server.sql("bench", WIDE + "CREATE SCHEMA other; CREATE TABLE other.noise (n bigint, t text);"
                            "INSERT INTO public.wide (id, account, created_at) VALUES (1, 1, now())")
        config.write_text(config_text(server, place, SNAPSHOT_SINKS["snapshot_duckdb"], port),
                          encoding="utf-8")
        figures = {}
        with harness.running(options.freshet, config, figures):
            harness.wait_until(lambda: reachable(port) and caught_up(server))
            quiet = cpu_share(port, lambda: time.sleep(IDLE_SECONDS))
            script = place / "noise.sql"
            script.write_text("INSERT INTO other.noise SELECT n, md5(n::text) FROM generate_series(1, 20) n;\n",
                              encoding="utf-8")
            place.chmod(0o755)
            noisy = cpu_share(port, lambda: subprocess.run(
                ["/usr/lib/postgresql/15/bin/pgbench", "-n", "-c", "1", "-R", "100", "-T",
                 str(IDLE_SECONDS), "-f", script, server.url("bench", tcp=False)],
                check=True, capture_output=True))
            behind = int(server.sql("bench", "SELECT pg_current_wal_lsn() - confirmed_flush_lsn "
                                             "FROM pg_replication_slots WHERE slot_name = 'freshet'"))
            written = int(server.sql("bench", "SELECT pg_total_relation_size('other.noise')"))
    return {"case": "idle", "cpu_share": round(quiet, 4), "cpu_share_other_tables": round(noisy, 4),
            "goal_cpu_share": IDLE_CPU_GOAL, "slot_behind_bytes": behind, "other_tables_bytes": written}


def cpu_share(port, action):
    def used():
        return float(harness.fetch_json(port, "/status")["process"]["cpu_seconds"])
    begin, cpu = time.monotonic(), used()
    action()
    return (used() - cpu) / (time.monotonic() - begin)


def measure(cases, options, folder):
    results = measure_snapshots([case for case in SNAPSHOT_SINKS if case in cases], options, folder)
    for case, measure_case in (("giant", measure_giant), ("tables", measure_tables), ("idle", measure_idle)):
        if case in cases:
            results.append(measure_case(options, folder))
    return results


def markdown(results):
    """The tables of docs/benchmarks.md."""
    lines = []
    snapshots = [r for r in results if r["case"] in SNAPSHOT_SINKS]
    if snapshots:
        lines += ["| case | rows/s | parallel COPY rows/s | share | goal | CPU us/row | peak MiB |",
                  "|---|---|---|---|---|---|---|"]
        lines += [f"| {r['case']} | {r['rows_per_second']:,} | {r['limit_rows_per_second']:,} |"
                  f" {r['share_of_limit']:.2f} | {r['share_goal']:.2f} | {r['cpu_us_per_row']:.2f} |"
                  f" {r['peak_mib']} |" for r in snapshots]
        lines += ["", f"CPU goal: {SNAPSHOT_CPU_GOAL_US} us a row for Parquet.", ""]
    for r in results:
        if r["case"] == "giant":
            lines += ["| case | rows in one transaction | rows/s | CPU us/row | peak MiB | goal |",
                      "|---|---|---|---|---|---|",
                      f"| giant | {r['rows']:,} | {r['rows_per_second']:,} | {r['cpu_us_per_row']:.2f} |"
                      f" {r['peak_mib']} | {r['goal_peak_mib']} |", ""]
        if r["case"] == "tables":
            lines += ["| case | tables | start s | first touch s | longest stall s | goal | bytes a table"
                      " by its first touch | goal | in all |",
                      "|---|---|---|---|---|---|---|---|---|",
                      f"| tables | {r['tables']:,} | {r['start_seconds']} | {r['touch_seconds']} |"
                      f" {r['longest_stall_seconds']} | {r['goal_stall_seconds']} | {r['bytes_per_table']:,} |"
                      f" {r['goal_bytes_per_table']:,} | {r['bytes_per_table_in_all']:,} |", ""]
        if r["case"] == "idle":
            lines += ["| case | CPU of a core | with traffic on other tables | goal | slot behind |",
                      "|---|---|---|---|---|",
                      f"| idle | {r['cpu_share']:.2%} | {r['cpu_share_other_tables']:.2%} |"
                      f" {r['goal_cpu_share']:.0%} | {r['slot_behind_bytes']:,} bytes, {r['other_tables_bytes']:,}"
                      " written |", ""]
    return lines
