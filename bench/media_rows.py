# SPDX-License-Identifier: Apache-2.0
"""Rows of media adaptation."""
import dataclasses
import json
import os
import pathlib
import re
import statistics
import struct
import subprocess
import sys
import time
import zlib

import load
from row import BoundRow, Row
from servers import SMALL
from suite import SOURCE

ROUNDS, ROUNDS_QUICK = 9, 3
HOSTILE = 50


def jobs(servers, quick):
    """(µs a job, what else is to be told)"""
    program = [servers.build / "bench" / "media_jobs", servers.bin / "dacm-media",
               200 if quick else 1000]
    rounds = [json.loads(load.run("media jobs", program))
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


ATTACKERS = [f"msisdn-49155{i:07d}" for i in range(5)]


def bomb(file):
    """64 Mpx, all there are allowed to be, in a few hundred kilobytes."""
    side = 8192
    packer = zlib.compressobj(1)
    data = b"".join([packer.compress(bytes(1 + 4 * side)) for _ in range(side)] + [packer.flush()])
    with open(file, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)),
                           (b"IDAT", data), (b"IEND", b"")):
            out.write(struct.pack(">I", len(body)) + kind + body
                      + struct.pack(">I", zlib.crc32(kind + body)))


def attacks(servers):
    """What siege of dacmd's adaptations is told: HOSTILE requests of five users."""
    picture, broken = servers.dir / "bomb.png", servers.dir / "broken.glb"
    bomb(picture)
    make_avatar(broken, "times-fall")
    kinds = [("triangles", real_avatar()), ("picture", picture), ("broken", broken)]
    asks = []
    for kind, file in kinds:
        asset = stored(servers, file)
        servers.cli("allow", asset, *ATTACKERS, "--as", servers.user)
        tokens = [servers.fresh_token(user, asset).read_text() for user in ATTACKERS]
        asks += [{"user": user, "asset": asset, "token": token, "kind": kind}
                 for user, token in zip(ATTACKERS, tokens)]
    return {"target": servers.targets["dacmd"], "ca": str(servers.ca),
            "asks": [asks[i % len(asks)] for i in range(HOSTILE)]}


def wait_idle(servers):
    """What a siege had begun ends by itself; it is not to run beside the next round alone."""
    while re.search(r"^dacm_adaptations_(running|queued) [1-9]", servers.metrics(), re.M):
        time.sleep(0.1)


@dataclasses.dataclass(frozen=True)
class BesideRow(Row):
    """Downloads with hostile adaptations beside them and without, by turns."""

    def run(self, servers, rounds, quick):
        beside, alone, told = [], [], {}
        for _ in range(rounds):
            alone.append(download_p99_us(servers, quick))
            siege = self.measure(servers)
            if siege.stdout.readline().strip() != "standing":
                sys.exit("bench: the hostile adaptations do not run")
            beside.append(download_p99_us(servers, quick))
            told = json.loads(siege.communicate("\n")[0])
            wait_idle(servers)
        ratios = [without / under for without, under in zip(alone, beside)]
        result = self.result(statistics.median(beside), statistics.median(alone),
                             statistics.median(ratios), ratios)
        result["more"] = told
        return result


def pool_siege(servers):
    return subprocess.Popen(
        [servers.build / "bench" / "media_siege", servers.build / "tests" / "media-misbehaves",
         str(HOSTILE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def dacmd_siege(servers):
    siege = subprocess.Popen([sys.executable, SOURCE / "bench" / "adaptations_siege.py"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    siege.stdin.write(json.dumps(attacks(servers)) + "\n")
    siege.stdin.flush()
    return siege


VARIANT = b"\x08\x01"  # Recipe: preset low


def real_avatar():
    """A VALID avatar of 2 MB, 58,724 triangles."""
    folder = os.environ.get("DACM_TEST_DATA", SOURCE.parent / "shared" / "data")
    file = pathlib.Path(folder) / "avatars" / "valid-white-m-1-casual.glb"
    if not file.exists():
        sys.exit(f"bench: no '{file}'; set DACM_TEST_DATA to the folder with real avatars")
    return file


def make_avatar(file, kind):
    load.run("make-avatar", ["/usr/bin/python3", SOURCE / "tests" / "data" / "make-avatar",
                             "--kind", kind, "--seed", 1, "-o", file])


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
    def of(cls, servers, file):
        variant = servers.dir / "variant.glb"
        source = stored(servers, file)
        servers.cli("get", source, "--as", servers.user, "--preset", "low", "-o", variant)
        return cls(source, stored(servers, variant), pathlib.Path(variant).stat().st_size)


def downloads(servers, asset, recipe, count, inflight, least):
    """What h2load says of so many downloads on one connection, each of least bytes."""
    body = servers.dir / "request"
    body.write_bytes(load.grpc_request((1, asset), (2, servers.user),
                                       *(((4, recipe.decode()),) if recipe else ())))
    done = load.parse_h2load(load.run("h2load", [
        "h2load", "-n", count, "-c", 1, "-m", inflight, "-t", 1, "-w", 23, "-W", 24, "-d", body,
        "-H", "content-type: application/grpc", "-H", "te: trailers", "-H",
        "dacm-token: " + servers.fresh_token(asset=asset).read_text(),
        f"https://{servers.targets['dacmd']}/dacm.v1.DigitalAssets/Download"]))
    if done["bytes"] < count * least:
        sys.exit(f"bench: {done['bytes']} bytes came for {count} downloads of {least}")
    return done


def cost_of_download(servers, asset, size, recipe, count):
    """(CPU µs of dacmd, wall µs) of each download."""
    before = servers.dacmd.cpu_seconds()
    done = downloads(servers, asset, recipe, count, 4, size)
    cpu = servers.dacmd.cpu_seconds() - before
    return cpu / count * 1e6, done["seconds"] / count * 1e6


@dataclasses.dataclass(frozen=True)
class CachedRow(Row):
    """Downloads of a kept variant and of an asset with the same bytes, by turns. The figure is
    CPU or wall time of one, whichever compares worse."""

    def run(self, servers, rounds, quick):
        file, count = self.measure(servers, quick)
        pair = Pair.of(servers, file)
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


def avatar_of_people(_, quick):
    return real_avatar(), 1_000 if quick else 4_000


def avatar_of_boxes(servers, quick):
    file = servers.dir / "avatar.glb"
    make_avatar(file, "humanoid")
    return file, 20_000 if quick else 50_000


def cold_ms(servers, quick):
    """(ms from the request to the last byte, what else is to be told); each of a recipe of its
    own, so that none is kept."""
    asset, took = stored(servers, real_avatar()), []
    for i in range(5 if quick else 20):
        recipe = VARIANT + bytes([6 << 3, 60 + i])  # and a texture_quality
        took.append(1e3 * downloads(servers, asset, recipe, 1, 1, 100_000)["seconds"])
    return statistics.median(took), {"lowest": min(took), "highest": max(took), "of": len(took)}


ROWS = [
    CachedRow("cached-variant", "one download of a kept variant (low, of a VALID avatar of 2 MB) "
              "against one of an asset with the same bytes, same client, 1 connection, 4 in "
              "flight; CPU time of dacmd or wall time, whichever compares worse", "us",
              "unadapted", 0.95, False, avatar_of_people),
    CachedRow("cached-variant-13k", "the same with a variant of 13 kB, which tells what the way of "
              "a recipe costs", "us", "unadapted", None, False, avatar_of_boxes),
    BoundRow("cold-variant", "the first download of a variant (low, of a VALID avatar of 2 MB), "
             "from the request to the last byte; one core adapts", "ms", "bound", 1.0, False,
             cold_ms, "dacmd", 1000.0),
    BoundRow("media-job", "a file with one node inspected in a sandboxed process of its own, one "
             "after the other, from the asking to the answer", "us", "bound", 1.0, False, jobs,
             "dacm-media", 1000.0),
    BesideRow("beside-hostile-recipes", "p99 of downloads of 100 KB, 1 connection, 1 in flight, "
              f"while five users have the same dacmd adapt {HOSTILE} things at once that are slow, "
              "huge or broken, each with a recipe of its own, against the same without them", "us",
              "no adaptations", round(1 / 1.5, 3), False, dacmd_siege),
    BesideRow("beside-hostile-adaptations", "p99 of downloads of 100 KB, 1 connection, 1 in "
              f"flight, beside {HOSTILE} adaptations that loop, burst, crash and lie (half of the "
              "processors, as by default), against the same without them", "us",
              "no adaptations", round(1 / 1.5, 3), False, pool_siege),
]
