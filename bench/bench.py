#!/usr/bin/env python3
"""Measures freshet against what the server can send at all. See --help and docs/benchmarks.md."""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

import harness
import source
import workload
from harness import PrivatePostgres, ROOT, SERVER, fetch_json, free_port, say, timed, wait_until

PAUSES_US = (0, 50, 100, 200, 300)
TRANSPORTS = ("tcp", "socket")
ROWS_PER_TRANSACTION = 1_000

# case -> (workload, sink of the configuration, share of the limit's rows/s that is the goal)
DRAINS = {
    "log": ("insert", "  out: { discard: {} }", 0.95),
    "parquet": ("insert", "  out: { files: { url: \"%s/lake\", format: parquet }, mode: append }", 0.90),
    "duckdb_append": ("insert", "  out: { duckdb: { path: \"%s/out.duckdb\" }, mode: append }", 0.85),
    "duckdb_upsert_insert":
        ("insert", "  out: { duckdb: { path: \"%s/out.duckdb\" }, mode: upsert }", 0.70),
    "duckdb_upsert_mix":
        ("mix", "  out: { duckdb: { path: \"%s/out.duckdb\" }, mode: upsert }", 0.50),
}
CATCH_UP_GOAL = 2.0  # times the rate of streaming the same backlog
COMPONENTS = {"parser": "pgoutput_bench", "log_append": "log_append_bench"}
LATENCY_GOAL_MS = 250
CPU_GOAL_US = 1.2
MEMORY_GOAL_MIB = 300


class Drain:
    """One workload: a server with the backlog in it, drained again and again."""

    def __init__(self, name, options, folder):
        self.name, self.options, self.folder = name, options, folder / name
        self.folder.mkdir()
        self.rows = options.rows // ROWS_PER_TRANSACTION * ROWS_PER_TRANSACTION
        self.server = PrivatePostgres(settings=SERVER)

    def __enter__(self):
        self.server.start()
        self.server.sql("postgres", "CREATE DATABASE bench")
        is_mix = self.name == "mix"
        self.server.sql("bench", workload.TABLE + (workload.BASE if is_mix else ""))
        # Slot, publication and (for the mix) the rows the changes refer to exist before the load.
        sink = DRAINS["duckdb_upsert_mix" if is_mix else "log"][1]
        self.run_freshet(sink, "tcp", "initial" if is_mix else "never", "prepared")
        self.server.sql("bench", """
            SELECT pg_create_logical_replication_slot('limit', 'pgoutput');
            SELECT pg_copy_logical_replication_slot('freshet', 'kept')""")
        say(f"{self.name}: loading {self.rows:,} changes")
        self.server.sql("bench", workload.MIX if is_mix else workload.INSERT)
        self.server.sql("bench", f"CALL load({self.rows // ROWS_PER_TRANSACTION}, {ROWS_PER_TRANSACTION})")
        self.server.sql("bench", "CHECKPOINT")
        self.end = self.server.sql("bench", "SELECT pg_current_wal_lsn()")
        return self

    def __exit__(self, *error):
        self.server.__exit__(*error)

    def run_freshet(self, sink, transport, snapshot, target, catch_up="off"):
        """Runs freshet until caught up, on a copy of the prepared state if there is one."""
        prepared, place = self.folder / "prepared", self.folder / target
        if place != prepared:
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(prepared, place)
            self.server.sql("bench", """
                SELECT pg_drop_replication_slot('freshet');
                SELECT pg_copy_logical_replication_slot('kept', 'freshet')""")
        place.mkdir(exist_ok=True)
        config = place / "freshet.yaml"
        config.write_text(
            f"source:\n  postgres:\n    url: \"{self.server.url('bench', transport == 'tcp')}\"\n"
            f"    tables: [public.*]\n    snapshot: {snapshot}\n    catch_up: {catch_up}\n"
            f"log: {{ path: \"{place}/log\", budget: 20GiB }}\n"
            f"sinks:\n{sink.replace('%s', str(place))}\n"
            f"http: {{ listen: 127.0.0.1:{free_port()} }}\n", encoding="utf-8")
        return timed([self.options.freshet, "run", "-c", config, "--until-caught-up",
                      "--output", "json"])

    def limit(self, transport, pause):
        """The same backlog through bare libpq."""
        url = self.server.url("bench", transport == "tcp")
        conninfo = f"{url}?replication=database" if transport == "tcp" else f"{url} replication=database"
        figures = timed([self.options.build / "bench" / "walsender_limit", conninfo, "limit", "freshet",
                         self.end, str(pause)])
        self.expect("walsender_limit", figures["answer"]["rows"])
        return figures

    def drain(self, case, transport):
        """The backlog through freshet. The rows must have arrived, or the figure means nothing."""
        figures = self.run_freshet(DRAINS[case][1], transport, "never", case)
        self.expect(case, figures["answer"]["sinks"][0]["rows_total"])
        return figures

    def catch_up(self, transport):
        """The backlog read in rounds instead of streamed."""
        figures = self.run_freshet(DRAINS["log"][1], transport, "never", "catch_up", "auto")
        self.expect("catch_up", figures["answer"]["sinks"][0]["rows_total"])
        return figures

    def check(self, case):
        """A warehouse must hold the rows that the source has."""
        if not case.startswith("duckdb"):
            return
        arrived = harness.query(self.options.freshet, self.folder / case / "freshet.yaml",
                                "SELECT count(*) FROM public.entries")
        expected = self.server.sql("bench", "SELECT count(*) FROM public.entries")
        if arrived != expected:
            raise SystemExit(f"{case}: the source has {expected} rows, the target {arrived}")

    def expect(self, reader, rows):
        if int(rows) != self.rows:
            raise SystemExit(f"{reader} read {rows} rows of a backlog of {self.rows}")


def median(samples, key):
    return statistics.median(sample[key] for sample in samples)


def measure_drains(cases, options, folder):
    results = []
    for name in ("insert", "mix"):
        chosen = [case for case in cases if DRAINS[case][0] == name]
        if not chosen:
            continue
        samples = {}
        with Drain(name, options, folder) as drain:
            for round_number in range(options.rounds):
                for transport in TRANSPORTS:
                    for pause in PAUSES_US:
                        samples.setdefault((transport, pause), []).append(drain.limit(transport, pause))
                    for case in chosen:
                        samples.setdefault((transport, case), []).append(
                            drain.drain(case, transport))
                say(f"{name}: round {round_number + 1} of {options.rounds}")
            for case in chosen:
                drain.check(case)
        for transport in TRANSPORTS:
            pause = min(PAUSES_US, key=lambda p: median(samples[transport, p], "seconds"))
            limit = samples[transport, pause]
            for case in chosen:
                results.append(drain_result(case, transport, drain.rows, samples[transport, case],
                                            limit, pause))
    return results


def measure_catch_up(options, folder):
    """A backlog to the log, streamed and in rounds, in turn."""
    samples = {(transport, how): [] for transport in TRANSPORTS for how in ("streamed", "rounds")}
    place = folder / "catch_up"
    place.mkdir()
    with Drain("insert", options, place) as drain:
        for round_number in range(options.rounds):
            for transport in TRANSPORTS:
                samples[transport, "streamed"].append(drain.drain("log", transport))
                samples[transport, "rounds"].append(drain.catch_up(transport))
            say(f"catch-up: round {round_number + 1} of {options.rounds}")
    results = []
    for transport in TRANSPORTS:
        streamed, rounds = samples[transport, "streamed"], samples[transport, "rounds"]
        seconds = median(rounds, "seconds")
        results.append({
            "case": "catch-up", "transport": transport, "rows": drain.rows, "rounds": len(rounds),
            "rows_per_second": round(drain.rows / seconds),
            "streamed_rows_per_second": round(drain.rows / median(streamed, "seconds")),
            "times_streamed": round(median(streamed, "seconds") / seconds, 2), "goal": CATCH_UP_GOAL,
            "cpu_us_per_row": round(median(rounds, "cpu_seconds") / drain.rows * 1e6, 3),
            "peak_mib": round(max(sample["peak_mib"] for sample in rounds)),
        })
    return results


def drain_result(case, transport, rows, samples, limit, pause):
    seconds, limit_seconds = median(samples, "seconds"), median(limit, "seconds")
    return {
        "case": case, "transport": transport, "rows": rows, "rounds": len(samples),
        "rows_per_second": round(rows / seconds), "limit_rows_per_second": round(rows / limit_seconds),
        "limit_pause_us": pause, "share_of_limit": round(limit_seconds / seconds, 3),
        "share_goal": DRAINS[case][2],
        "cpu_us_per_row": round(median(samples, "cpu_seconds") / rows * 1e6, 3),
        "limit_cpu_us_per_row": round(median(limit, "cpu_seconds") / rows * 1e6, 3),
        "peak_mib": round(max(sample["peak_mib"] for sample in samples)),
    }


def measure_latency(options, folder):
    """1,000 single-row commits a second into DuckDB, every change flushed at once."""
    place = folder / "latency"
    place.mkdir()
    with PrivatePostgres(settings={**SERVER, "synchronous_commit": "on"}) as server:
        server.sql("postgres", "CREATE DATABASE bench")
        server.sql("bench", workload.TABLE + "CREATE SEQUENCE ids CACHE 100;")
        port = free_port()
        config = place / "freshet.yaml"
        config.write_text(
            f"source: {{ postgres: {{ url: \"{server.url('bench')}\", tables: [public.*] }} }}\n"
            f"log: {{ path: \"{place}/log\" }}\n"
            f"sinks:\n  out:\n    duckdb: {{ path: \"{place}/out.duckdb\" }}\n    mode: upsert\n"
            f"    flush: {{ interval: 0s }}\nhttp: {{ listen: 127.0.0.1:{port} }}\n", encoding="utf-8")
        script = place / "insert.sql"
        script.write_text("INSERT INTO public.entries SELECT nextval('ids'), 1, 1.5, md5('x'), now();\n",
                          encoding="utf-8")
        place.chmod(0o755)
        figures = {}
        with harness.running(options.freshet, config, figures):
            wait_until(lambda: server.sql(
                "bench", "SELECT count(*) FROM pg_replication_slots WHERE active") == "1")
            done = subprocess.run(
                ["/usr/lib/postgresql/15/bin/pgbench", "-n", "-c", "4", "-R", "1000",
                 "-T", str(options.latency_seconds), "-f", script, server.url("bench", tcp=False)],
                check=True, capture_output=True, text=True)
            commits = int(re.search(r"transactions actually processed: (\d+)", done.stdout).group(1))
            status = fetch_json(port, "/status")
            latency = find_latency(status)
    return {"case": "latency", "commits": commits, "seconds": options.latency_seconds,
            "goal_p99_ms": LATENCY_GOAL_MS, **latency,
            "cpu_us_per_row": round(figures["cpu_seconds"] / commits * 1e6, 1),
            "peak_mib": round(figures["peak_mib"])}


def find_latency(status):
    """Commit to visible, of the only sink."""
    latency = status["sinks"][0]["latency"]["commit_to_durable"]
    return {f"p{p}_ms": round(int(latency[f"p{p}_micros"]) / 1e3, 1) for p in (50, 95, 99)}


def measure_component(case, options):
    program = options.build / "bench" / COMPONENTS[case]
    out = subprocess.run([program, "--benchmark_format=json", "--benchmark_min_time=1"], check=True,
                         capture_output=True, text=True).stdout
    return [{"case": case, "name": run["name"],
             "rows_per_second": round(run.get("items_per_second", 0)),
             "mib_per_second": round(run.get("bytes_per_second", 0) / 2**20),
             "cpu_us": round(run["cpu_time"] / {"ns": 1e3, "us": 1, "ms": 1e-3}[run["time_unit"]], 3)}
            for run in json.loads(out)["benchmarks"]]


def markdown(results):
    """The tables of docs/benchmarks.md."""
    lines = []
    drains = [r for r in results if r["case"] in DRAINS]
    if drains:
        lines += ["| case | connection | rows/s | limit rows/s | share | goal | CPU us/row (limit) | peak MiB |",
                  "|---|---|---|---|---|---|---|---|"]
        lines += [f"| {r['case']} | {r['transport']} | {r['rows_per_second']:,} |"
                  f" {r['limit_rows_per_second']:,} ({r['limit_pause_us']} us) | {r['share_of_limit']:.2f} |"
                  f" {r['share_goal']:.2f} | {r['cpu_us_per_row']:.2f} ({r['limit_cpu_us_per_row']:.2f}) |"
                  f" {r['peak_mib']} |" for r in drains]
        lines += ["", f"CPU goal: {CPU_GOAL_US} us a row for `log` over TCP. Memory goal: {MEMORY_GOAL_MIB} MiB.", ""]
    catch_ups = [r for r in results if r["case"] == "catch-up"]
    if catch_ups:
        lines += ["| case | connection | rows/s | streamed rows/s | times | goal | CPU us/row | peak MiB |",
                  "|---|---|---|---|---|---|---|---|"]
        lines += [f"| catch-up | {r['transport']} | {r['rows_per_second']:,} |"
                  f" {r['streamed_rows_per_second']:,} | {r['times_streamed']:.2f} | {r['goal']:.2f} |"
                  f" {r['cpu_us_per_row']:.2f} | {r['peak_mib']} |" for r in catch_ups]
        lines += [""]
    for r in (r for r in results if r["case"] == "latency"):
        lines += ["| case | commits | p50 ms | p95 ms | p99 ms | goal p99 | CPU us/row | peak MiB |",
                  "|---|---|---|---|---|---|---|---|",
                  f"| latency | {r['commits']:,} in {r['seconds']} s | {r['p50_ms']} | {r['p95_ms']} |"
                  f" {r['p99_ms']} | {r['goal_p99_ms']} | {r['cpu_us_per_row']} | {r['peak_mib']} |", ""]
    lines += source.markdown(results)
    components = [r for r in results if r["case"] in COMPONENTS]
    if components:
        lines += ["| component | rows/s | MiB/s | CPU us an iteration |", "|---|---|---|---|"]
        lines += [f"| {r['name']} | {r['rows_per_second']:,} | {r['mib_per_second']:,} | {r['cpu_us']} |"
                  for r in components]
    return "\n".join(lines)


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {"cpu": model.group(1) if model else "unknown", "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "load": os.getloadavg()[0]}


def main():
    cases = [*DRAINS, "catch-up", "latency", *source.CASES, *COMPONENTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", choices=[*cases, "all"], metavar="CASE",
                        help=f"all, or some of: {', '.join(cases)}")
    parser.add_argument("--output", choices=["text", "json"], default="text",
                        help="text is Markdown, as in docs/benchmarks.md")
    parser.add_argument("--rows", type=int, default=2_000_000, help="changes in the backlog")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved; medians are reported")
    parser.add_argument("--latency-seconds", type=int, default=20)
    parser.add_argument("--snapshot-rows", type=int, default=source.SNAPSHOT_ROWS)
    parser.add_argument("--giant-rows", type=int, default=source.GIANT_ROWS)
    parser.add_argument("--tables", type=int, default=source.TABLES)
    parser.add_argument("--check", action="store_true",
                        help="fail where a table takes more memory than the goal")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    options = parser.parse_args()
    options.freshet = options.build / "freshet"
    chosen = cases if "all" in options.cases else options.cases

    # The folder holds copies of targets; /tmp may be small, TMPDIR moves it.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="freshet-bench-"))
    try:
        results = measure_drains([case for case in chosen if case in DRAINS], options, folder)
        if "catch-up" in chosen:
            results += measure_catch_up(options, folder)
        if "latency" in chosen:
            results.append(measure_latency(options, folder))
        results += source.measure(chosen, options, folder)
        for case in chosen:
            if case in COMPONENTS:
                results += measure_component(case, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.output == "json":
        print(json.dumps({"machine": machine(), "results": results}, indent=2))
    else:
        print(markdown(results))


if __name__ == "__main__":
    main()
