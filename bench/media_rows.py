# SPDX-License-Identifier: Apache-2.0
"""Rows of media adaptation."""
import dataclasses
import json
import statistics
import subprocess
import sys

import load
from row import BoundRow, Row
from servers import SMALL

ROUNDS, ROUNDS_QUICK = 9, 3
HOSTILE = 50


def jobs(servers, quick):
    """(µs a job, what else is to be told)"""
    rounds = [json.loads(load.run("media jobs", [
        servers.build / "bench" / "media_jobs", servers.bin / "dacm-media", 200 if quick else 1000]))
        for _ in range(ROUNDS_QUICK if quick else ROUNDS)]
    figures = [one["us_per_job"] for one in rounds]
    return statistics.median(figures), {
        "child_cpu_us": statistics.median(one["child_cpu_us"] for one in rounds),
        "lowest": min(figures), "highest": max(figures), "rounds": len(figures)}


def download_p99_us(servers, quick):
    asset = servers.assets[SMALL]
    return json.loads(load.run("downloads", [
        servers.bin / "dacm-bench", "--target", "tls+tcp://" + servers.targets["dacmd"], "--ca",
        servers.ca, "--work", "download", "--connections", 1, "--inflight", 1, "--asset", asset,
        "--gpsi", servers.user, "--token", servers.fresh_token(asset=asset), "--seconds",
        2 if quick else 7]))["p99_us"]


@dataclasses.dataclass(frozen=True)
class HostileRow(Row):
    """Downloads with hostile adaptations on the same machine and without, by turns."""

    def run(self, servers, rounds, quick):
        beside, alone, told = [], [], {}
        for _ in range(rounds):
            alone.append(download_p99_us(servers, quick))
            siege = subprocess.Popen(
                [servers.build / "bench" / "media_siege",
                 servers.build / "tests" / "media-misbehaves", str(HOSTILE)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            if siege.stdout.readline().strip() != "standing":
                sys.exit("bench: the hostile adaptations do not run")
            beside.append(download_p99_us(servers, quick))
            told = json.loads(siege.communicate("\n")[0])
        ratios = [without / under for without, under in zip(alone, beside)]
        result = self.result(statistics.median(beside), statistics.median(alone),
                             statistics.median(ratios), ratios)
        result["more"] = told
        return result


ROWS = [
    BoundRow("media-job", "a file with one node inspected in a sandboxed process of its own, one "
             "after the other, from the asking to the answer", "us", "bound", 1.0, False, jobs,
             "dacm-media", 1000.0),
    HostileRow("beside-hostile-adaptations", "p99 of downloads of 100 KB, 1 connection, 1 in "
               f"flight, beside {HOSTILE} adaptations that loop, burst, crash and lie (half of the "
               "processors, as by default), against the same without them", "us",
               "no adaptations", round(1 / 1.5, 3), False, None),
]
