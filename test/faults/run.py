#!/usr/bin/env python3
"""Runs the tests of every fault in faults.toml, prints the table, and checks that docs/faults.md is it.

A case without a test fails the run, and so do a test that was skipped on every major, and a test named
after a case that is not there. Ends with 0 when every case holds.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
REGISTRY = ROOT / "test" / "faults" / "faults.toml"
PAGE = ROOT / "docs" / "faults.md"
CASES = 74
SECONDS_FOR_A_PROGRAM = 1500

PAGE_HEAD = """# Faults

What freshet does when something breaks: {cases} cases, each proven by tests against real servers. Made by
`./scripts/test.sh faults --write` from [test/faults/faults.toml](../test/faults/faults.toml) and the results of
that run; `./scripts/test.sh faults` runs all cases and fails when this page is not what came out.
Exit codes: [cli.md](cli.md).

PostgreSQL: the majors the case was run on; a dash where no server is needed. A case marked *simulated* cannot
be provoked for real on one machine; the note says what stands in for it.

| # | fault | what you see | PostgreSQL | result |
|---|---|---|---|---|
"""


class Test:
    """A gtest of one program, with all parameters it has."""

    def __init__(self, program, name):
        self.program, self.name = program, name
        self.instances = {}  # parameter ("" without one) -> full name


def plain(full_name):
    """'Majors/SlotTest.Name/15' -> ('SlotTest.Name', '15')."""
    suite, test = full_name.split(".", 1)
    test, _, parameter = test.partition("/")
    return f"{suite.rpartition('/')[2]}.{test}", parameter


def list_tests(program, path):
    """The tests that a program has, by plain name."""
    listed = subprocess.run([path, "--gtest_list_tests"], check=True, capture_output=True, text=True)
    out, suite = {}, ""
    for line in listed.stdout.splitlines():
        name = line.split("#")[0].strip()
        if not line.startswith(" "):
            suite = name
            continue
        key, parameter = plain(suite + name)
        out.setdefault(key, Test(program, key)).instances[parameter] = suite + name
    return out


def read_registry():
    """The cases by number. Ends the program when the numbers are not 1 to 74."""
    faults = tomllib.loads(REGISTRY.read_text())["fault"]
    numbers = [fault["number"] for fault in faults]
    if numbers != list(range(1, CASES + 1)):
        sys.exit(f"{REGISTRY}: the numbers must be 1 to {CASES}, in order")
    return {fault["number"]: fault for fault in faults}


def assign(faults, programs):
    """The tests of each case: those that name it, and those that carry its number."""
    tests, problems = collections.defaultdict(list), []
    for number, fault in faults.items():
        for reference in fault.get("tests", []):
            program, name = reference.split()
            test = programs.get(program, {}).get(name)
            if test is None:
                problems.append(f"fault {number} names {reference}, which is not there")
            else:
                tests[number].append(test)
    for name, test in programs["faults"].items():
        match = re.fullmatch(r"\w+\.Fault(\d+)_\w+", name)
        if not match or int(match[1]) not in faults:
            problems.append(f"faults {name} carries no number of a case")
        else:
            tests[int(match[1])].append(test)
    return tests, problems


def run_program(path, names, folder):
    """Runs tests of one program. full name -> passed, failed or skipped; one it never ended: failed."""
    report = pathlib.Path(folder) / f"{pathlib.Path(path).name}.{time.monotonic_ns()}.json"
    arguments = [path, f"--gtest_filter={':'.join(names)}", f"--gtest_output=json:{report}",
                 "--gtest_brief=1"]
    try:
        done = subprocess.run(arguments, cwd=ROOT, timeout=SECONDS_FOR_A_PROGRAM, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = done.stdout
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace")
    results = dict.fromkeys(names, "failed")
    if report.exists():
        for suite in json.loads(report.read_text())["testsuites"]:
            for test in suite["testsuite"]:
                skipped = test["result"] == "SKIPPED"
                passed = test["result"] == "COMPLETED" and not test.get("failures")
                results[f"{suite['name']}.{test['name']}"] = (
                    "skipped" if skipped else "passed" if passed else "failed")
    if "failed" in results.values():
        print(said, flush=True)
    return results


def run_tests(wanted, paths, jobs):
    """Runs every wanted (program, full name), a process for each suite, `jobs` of them at once."""
    shares = []
    for program in sorted({program for program, _ in wanted}):
        # Tests of one suite share a server; a suite that hangs takes no other with it.
        suites = collections.defaultdict(list)
        for name in sorted(name for of, name in wanted if of == program):
            suites[name.split(".")[0]].append(name)
        shares += [(program, names) for names in suites.values()]
    shares.sort(key=lambda share: len(share[1]), reverse=True)
    results = {}
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        runs = [(program, pool.submit(run_program, paths[program], names, folder))
                for program, names in shares]
        for program, run in runs:
            results.update({(program, name): result for name, result in run.result().items()})
    return results


def run_script(command):
    print(f"--- {command}", flush=True)
    return subprocess.run(command, shell=True, cwd=ROOT).returncode == 0


def outcome(fault, tests, results, scripts):
    """(majors, result) of a case, as they stand in the table."""
    by_parameter = collections.defaultdict(list)
    for test in tests:
        for parameter, name in test.instances.items():
            if (test.program, name) in results:
                by_parameter[parameter].append(results[test.program, name])
    said = [result for of in by_parameter.values() for result in of]
    said += ["passed" if scripts[command] else "failed" for command in fault.get("scripts", [])]
    majors = sorted(int(p) for p, of in by_parameter.items() if p.isdigit() and "passed" in of)
    if not majors and "passed" in by_parameter.get("", []):
        majors = fault.get("majors", [])
    majors = ", ".join(str(major) for major in majors) or "–"
    if not said:
        return majors, "NO TEST"
    if "failed" in said:
        return majors, "FAILED"
    if "passed" not in said:
        return majors, "SKIPPED"
    return majors, "holds, simulated" if "simulated" in fault else "holds"


def page(faults, outcomes):
    """The page with the rows of `outcomes`; the other rows are those that it has."""
    rows = {int(row.split()[1]): row for row in (PAGE.read_text().splitlines() if PAGE.exists() else [])
            if re.match(r"\| \d", row)}
    for number, (majors, result) in outcomes.items():
        fault = faults[number]
        if "simulated" in fault and "holds" in result:
            result = f"holds; *simulated*: {fault['simulated']}"
        result = "not proven yet" if result in ("NO TEST", "SKIPPED") else result
        rows[number] = f"| {number} | {fault['fault']} | {fault['sees']} | {majors} | {result} |"
    return PAGE_HEAD.format(cases=CASES) + "".join(rows[number] + "\n" for number in sorted(rows))


def page_is_of_registry(faults):
    """Whether docs/faults.md has the registry's words, whatever results stand beside them."""
    rows = [line.split(" | ")[:3] for line in PAGE.read_text().splitlines() if re.match(r"\| \d", line)]
    return rows == [[f"| {number}", fault["fault"], fault["sees"]] for number, fault in faults.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", nargs="?", help="folder of the build; without it only the page's words are "
                        "compared with the registry's")
    parser.add_argument("--write", action="store_true", help="write docs/faults.md, or the rows of --only, instead of checking it")
    parser.add_argument("--majors", default="10,15,18", help="versions that parameters may name")
    parser.add_argument("--only", help="numbers of cases, as 8,14-17; of the page their rows count")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    faults = read_registry()
    if not arguments.build:
        if page_is_of_registry(faults):
            return 0
        print(f"{PAGE} has other words than {REGISTRY}: scripts/test.sh faults --write")
        return 1
    used = {reference.split()[0] for fault in faults.values() for reference in fault.get("tests", [])}
    paths = {name: f"{arguments.build}/test/freshet_{name}_test" for name in sorted(used | {"faults"})}
    programs = {name: list_tests(name, path) for name, path in paths.items()}
    tests, problems = assign(faults, programs)
    chosen = set(faults)
    if arguments.only:
        chosen = set()
        for part in arguments.only.split(","):
            first, _, last = part.partition("-")
            chosen.update(range(int(first), int(last or first) + 1))

    majors = set(arguments.majors.split(","))
    wanted = {(test.program, name) for number in chosen for test in tests[number]
              for parameter, name in test.instances.items()
              if not parameter.isdigit() or parameter in majors}
    began = time.monotonic()
    results = run_tests(wanted, paths, arguments.jobs)
    commands = sorted({c for number in chosen for c in faults[number].get("scripts", [])})
    scripts = {command: run_script(command) for command in commands}
    outcomes = {n: outcome(faults[n], tests[n], results, scripts) for n in sorted(chosen)}

    print(f"\n{'#':>3}  {'result':<17} {'PostgreSQL':<20} fault")
    for number, (ran_on, result) in outcomes.items():
        print(f"{number:>3}  {result:<17} {ran_on:<20} {faults[number]['fault']}")
    for (program, name), result in sorted(results.items()):
        if result == "failed":
            problems.append(f"failed: freshet_{program}_test --gtest_filter={name}")
    text = page(faults, outcomes)
    if arguments.write:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        problems.append("docs/faults.md is not what this run says; scripts/test.sh faults --write")
    for problem in problems:
        print(problem)
    held = sum("holds" in result for _, result in outcomes.values())
    print(f"{held} of {len(outcomes)} cases hold, {len(results)} tests, {time.monotonic() - began:.0f} s")
    return 0 if held == len(outcomes) and not problems else 1


if __name__ == "__main__":
    sys.exit(main())
