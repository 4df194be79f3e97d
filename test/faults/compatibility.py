#!/usr/bin/env python3
"""Runs the tests of compatibility.toml on every PostgreSQL major and fills the table in the README.

Ends with 0 when all tests passed and the README has the table they give.
"""
import argparse
import sys
import tomllib

from run import ROOT, list_tests, run_tests

FEATURES = ROOT / "test" / "faults" / "compatibility.toml"
README = ROOT / "README.md"
BEGIN, END = "<!-- compatibility: begin -->\n", "<!-- compatibility: end -->\n"
MAJORS = [str(major) for major in range(10, 19)]


def cell(results):
    if not results or any(result == "failed" for result in results):
        return "FAILED"
    return "yes" if all(result == "passed" for result in results) else "–"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", help="folder of the build")
    parser.add_argument("--write", action="store_true", help="write the table instead of checking it")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()

    features = tomllib.loads(FEATURES.read_text())["feature"]
    paths = {name: f"{arguments.build}/test/freshet_{name}_test" for name in ("faults", "integration")}
    programs = {name: list_tests(name, path) for name, path in paths.items()}

    def tests_of(feature, major):
        for reference in feature["tests"]:
            program, name = reference.split()
            test = programs[program].get(name) or sys.exit(f"no test {reference}")
            if major not in test.instances:
                sys.exit(f"PostgreSQL {major} is not installed: ./scripts/postgres_major.sh {major}")
            yield program, test.instances[major]

    wanted = {test for feature in features for major in MAJORS for test in tests_of(feature, major)}
    results = run_tests(wanted, paths, arguments.jobs)
    lines = ["| | " + " | ".join(MAJORS) + " |\n", "|---" * (len(MAJORS) + 1) + "|\n"]
    for feature in features:
        cells = [cell([results[test] for test in tests_of(feature, major)]) for major in MAJORS]
        lines.append(f"| {feature['name']} | {' | '.join(cells)} |\n")
    table = "".join(lines)
    print(table)

    readme = README.read_text()
    head, rest = readme.split(BEGIN)
    tail = rest.split(END)[1]
    if arguments.write:
        README.write_text(head + BEGIN + table + END + tail)
    elif readme != head + BEGIN + table + END + tail:
        print("the README has another table: scripts/test.sh compatibility --write")
        return 1
    return 1 if "FAILED" in table else 0


if __name__ == "__main__":
    sys.exit(main())
