#!/usr/bin/env python3
"""How far two profiles of one machine lie apart: per table, |a/b - 1| of the medians of shared points.

  kernels/profile_spread.py PROFILE PROFILE

Ends with 2 when a folder holds no tables or the two share no point.
"""
import csv
import pathlib
import statistics
import sys

RESULTS = {"l2", "median_ns", "p10_ns", "p90_ns", "samples", "clock_mhz", "check_err", "noisy", "note"}


def medians(folder):
    """{table: {axes of a point: median in ns}}"""
    tables = {}
    for path in sorted(pathlib.Path(folder).glob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            tables[path.name] = {
                tuple(value for name, value in row.items() if name not in RESULTS): int(row["median_ns"])
                for row in csv.DictReader(file)}
    return tables


def spreads(first, second):
    """(table, shared points, median and 90th percentile of |a/b - 1|, median of a/b - 1)"""
    for table in sorted(first.keys() & second.keys()):
        shared = first[table].keys() & second[table].keys()
        if not shared:
            continue
        ratios = [first[table][point] / second[table][point] - 1 for point in shared]
        sizes = sorted(abs(ratio) for ratio in ratios)
        yield (table, len(sizes), statistics.median(sizes),
               sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))], statistics.median(ratios))


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    both = [medians(folder) for folder in arguments]
    for folder, tables in zip(arguments, both):
        if not tables:
            print(f"{folder}: no tables", file=sys.stderr)
            return 2
    rows = list(spreads(*both))
    if not rows:
        print("the profiles share no point", file=sys.stderr)
        return 2
    print(f"{'table':<28} {'points':>7} {'median':>8} {'p90':>8} {'bias':>8}")
    for table, points, median, p90, bias in rows:
        print(f"{table:<28} {points:>7} {median:>8.2%} {p90:>8.2%} {bias:>+8.2%}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
