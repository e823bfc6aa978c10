#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the rows of the bench: every round measures ours and the peer, in an order that
alternates; a row's ratio is the median of the rounds' paired ratios (above 1: ours is better),
and it holds when that is at least its mark. Absolute figures depend on the machine; ratios of
one run are what to quote."""
import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess

from rows import ROWS
from servers import Servers


def commit():
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], text=True, capture_output=True,
                          cwd=pathlib.Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def show(result):
    mark = "" if result["mark"] is None else f"mark {result['mark']:5.2f} "
    verdict = "" if result["mark"] is None else "holds" if result["holds"] else "DOES NOT HOLD"
    low, high = result["spread"]
    return (f"{result['row']:24} ours {result['ours']:10.1f}  {result['peer_name']:14} "
            f"{result['peer']:10.1f} {result['unit']:9} ratio {result['ratio']:6.2f} "
            f"[{low:.2f}, {high:.2f}] {mark}{verdict}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("row", nargs="*")
    args = parser.parse_args()
    table = {row.name: row for row in ROWS}
    if args.list:
        print("\n".join(table))
        return
    unknown = [name for name in args.row if name not in table]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; --list names them")
    servers = Servers(args.build)
    failed = []
    try:
        for name in args.row or table:
            if table[name].ours == "dacmd":
                servers.start_with_peers()
            result = table[name].run(servers, 3 if args.quick else 9, args.quick)
            if not result["holds"]:
                failed.append(name)
            print(json.dumps(result) if args.json else show(result), flush=True)
            if "more" in result and not args.json:
                print(f"{'':24} {json.dumps(result['more'])}", flush=True)
    finally:
        servers.stop()
    shutil.rmtree(servers.dir)  # with gigabytes of log; kept where a row failed
    summary = {"summary": {"machine": f"{platform.machine()}, {os.cpu_count()} cores, "
                                      f"{platform.release()}",
                           "commit": commit(), "does_not_hold": failed}}
    print(json.dumps(summary) if args.json else
          f"does not hold: {', '.join(failed) if failed else 'none'}")


if __name__ == "__main__":
    main()
