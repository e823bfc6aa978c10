# SPDX-License-Identifier: Apache-2.0
"""Rows of media adaptation."""
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys

import load
from row import BoundRow, Row
from servers import SMALL
from suite import SOURCE

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


VARIANT = b"\x08\x01"  # Recipe: preset low


def stored(servers, file):
    answer = servers.cli("--json", "put", file, "--as", servers.user)
    return json.loads(answer.splitlines()[-1])["asset_id"]


@dataclasses.dataclass
class Pair:
    """An avatar whose low variant is kept, and an asset that has the variant's bytes."""
    source: str
    copy: str
    size: int

    @classmethod
    def of(cls, servers):
        drawn, variant = servers.dir / "avatar.glb", servers.dir / "variant.glb"
        load.run("make-avatar", ["/usr/bin/python3", SOURCE / "tests" / "data" / "make-avatar",
                                 "--kind", "humanoid", "--seed", 1, "-o", drawn])
        source = stored(servers, drawn)
        servers.cli("get", source, "--as", servers.user, "--preset", "low", "-o", variant)
        return cls(source, stored(servers, variant), pathlib.Path(variant).stat().st_size)


def cost_of_download(servers, asset, size, recipe, count):
    """(CPU µs of dacmd, wall µs) of each download, by a client that is nobody's."""
    body = servers.dir / "request"
    body.write_bytes(load.grpc_request((1, asset), (2, servers.user),
                                       *(((4, recipe.decode()),) if recipe else ())))
    before = servers.dacmd.cpu_seconds()
    done = load.parse_h2load(load.run("h2load", [
        "h2load", "-n", count, "-c", 1, "-m", 4, "-t", 1, "-w", 23, "-W", 24, "-d", body,
        "-H", "content-type: application/grpc", "-H", "te: trailers", "-H",
        "dacm-token: " + servers.fresh_token(asset=asset).read_text(),
        f"https://{servers.targets['dacmd']}/dacm.v1.DigitalAssets/Download"]))
    if done["bytes"] < count * size:
        sys.exit(f"bench: {done['bytes']} bytes came for {count} downloads of {size}")
    cpu = servers.dacmd.cpu_seconds() - before
    return cpu / count * 1e6, done["seconds"] / count * 1e6


@dataclasses.dataclass(frozen=True)
class CachedRow(Row):
    """Downloads of a kept variant and of an asset with the same bytes, by turns. The figure is
    CPU or wall time of one, whichever compares worse."""

    def run(self, servers, rounds, quick):
        pair, count = Pair.of(servers), 20_000 if quick else 50_000
        kept, plain = [], []
        for i in range(3 * rounds):  # the median of few would be noise's
            turns = [(kept, pair.source, VARIANT), (plain, pair.copy, None)]
            for figures, asset, recipe in turns if i % 2 == 0 else turns[::-1]:
                figures.append(cost_of_download(servers, asset, pair.size, recipe, count))
        results = []
        for which in (0, 1):
            ratios = [other[which] / ours[which] for ours, other in zip(kept, plain)]
            results.append(self.result(
                statistics.median(ours[which] for ours in kept),
                statistics.median(other[which] for other in plain),
                statistics.median(ratios), ratios))
        cpu, wall = results
        worse = min(results, key=lambda result: result["ratio"])
        return dict(worse, more={
            "bytes": pair.size, "cpu_ratio": cpu["ratio"], "cpu_spread": cpu["spread"],
            "wall_ratio": wall["ratio"], "wall_spread": wall["spread"]})


ROWS = [
    CachedRow("cached-variant", "one download of a kept variant against one of an asset with the "
              "same bytes, same client, 1 connection, 4 in flight; CPU time of dacmd or wall time, "
              "whichever compares worse", "us", "unadapted", 0.95, False, None),
    BoundRow("media-job", "a file with one node inspected in a sandboxed process of its own, one "
             "after the other, from the asking to the answer", "us", "bound", 1.0, False, jobs,
             "dacm-media", 1000.0),
    HostileRow("beside-hostile-adaptations", "p99 of downloads of 100 KB, 1 connection, 1 in "
               f"flight, beside {HOSTILE} adaptations that loop, burst, crash and lie (half of the "
               "processors, as by default), against the same without them", "us",
               "no adaptations", round(1 / 1.5, 3), False, None),
]
