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
import statistics
import subprocess
import sys
import tempfile
import time

DOWNLOAD_BYTES = 64 << 20
UNLISTED = "msisdn-4917099999"


class Server:
    """A process that serves; stopped at the end whatever happens."""

    def __init__(self, arguments, **kwargs):
        self.process = subprocess.Popen(arguments, **kwargs)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


class Bench:
    def __init__(self, build):
        self.bin = build / "bin"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="dacm-bench-"))
        self.log = open(self.dir / "dev.log", "w+")
        self.dev = Server([self.bin / "dacm", "dev", "--dir", self.dir / "dev", "--ports-from",
                           "17443"], stdout=self.log, stderr=self.log)
        env_file = self.dir / "dev" / "env.json"
        while not env_file.exists():
            if self.dev.process.poll() is not None:
                self.log.seek(0)
                sys.exit("bench: dacm dev did not start: " + self.log.read())
            time.sleep(0.05)
        self.env_file = env_file
        self.env = json.loads(env_file.read_text())
        self.user = self.env["users"][0]["gpsi"]
        self.build = build
        pki = self.dir / "dev" / "pki"
        self.peer = Server([build / "bench" / "grpc_cpp_server", "127.0.0.1:0",
                            pki / "dacmd.crt", pki / "dacmd.key", str(DOWNLOAD_BYTES)],
                           stdout=subprocess.PIPE, text=True)
        port = self.peer.process.stdout.readline().strip()
        if not port:
            sys.exit("bench: gRPC C++ did not start")
        self.targets = {"ours": self.env["dacm"]["grpc"],
                        "gRPC C++ 1.51": f"tls+tcp://127.0.0.1:{port}"}
        self.asset = self.store_object()

    def cli(self, *arguments):
        done = subprocess.run([self.bin / "dacm", *arguments], text=True, capture_output=True,
                              env=dict(os.environ, DACM_ENV=str(self.env_file)))
        if done.returncode != 0:
            sys.exit(f"bench: dacm {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def store_object(self):
        file = self.dir / "object"
        file.write_bytes(os.urandom(DOWNLOAD_BYTES))
        answer = self.cli("--json", "put", file, "--as", self.user)
        return json.loads(answer.splitlines()[-1])["asset_id"]

    def fresh_token(self, user=None, asset=None):
        """Tokens live five minutes; a new one for every measurement keeps a long run going."""
        user, asset = user or self.user, asset or self.asset
        file = self.dir / f"token-{asset}"
        file.write_text(self.cli("token", "issue", "--user", user, "--asset", asset,
                                 "--actions", "get", "--profile", user).strip())
        return file

    def store_forbidden(self, users):
        """An asset with a list of that many users, UNLISTED not among them."""
        file = self.dir / "small"
        file.write_bytes(b"x" * 1000)
        answer = self.cli("--json", "put", file, "--as", self.user)
        asset = json.loads(answer.splitlines()[-1])["asset_id"]
        listed = [f"msisdn-49170{i:07d}" for i in range(users)]
        for at in range(0, users, 1000):
            self.cli("allow", asset, *listed[at:at + 1000], "--as", self.user)
        return asset

    def pairs(self, forbidden, count):
        """Refused downloads of an asset that is there and of one that is not, by turns."""
        missing = os.urandom(16).hex()
        done = subprocess.run(
            [self.bin / "dacm-bench", "--target", self.targets["ours"], "--ca",
             self.env["ca_file"], "--work", "pairs", "--count", str(2 * count), "--gpsi", UNLISTED,
             "--asset", forbidden, "--token", self.fresh_token(UNLISTED, forbidden),
             "--asset-2", missing, "--token-2", self.fresh_token(UNLISTED, missing)],
            text=True, capture_output=True)
        if done.returncode != 0:
            sys.exit(f"bench: pairs: {done.stdout}{done.stderr}")
        result = json.loads(done.stdout)
        if not result["same_answers"] or result["code"] != "PERMISSION_DENIED":
            sys.exit(f"bench: the answers tell forbidden and missing apart: {result}")
        return result["first_p50_us"], result["second_p50_us"]

    def load(self, name, work, connections=1, inflight=1, amount=(), same_client=False):
        """One measurement. The peer is called by its own client, except where the row compares
        servers under the same client."""
        if name == PEER and not same_client:
            how, much = amount
            arguments = [self.build / "bench" / "grpc_cpp_client",
                         self.targets[name].split("://")[1], self.env["ca_file"], work,
                         str(connections), str(inflight),
                         much if how == "--seconds" else "x" + much, self.asset, self.user,
                         self.fresh_token()]
        else:
            arguments = [self.bin / "dacm-bench", "--target", self.targets[name], "--ca",
                         self.env["ca_file"], "--work", work, "--connections", str(connections),
                         "--inflight", str(inflight), "--asset", self.asset, "--gpsi", self.user,
                         "--token", self.fresh_token(), *amount]
        done = subprocess.run(arguments, text=True, capture_output=True)
        if done.returncode != 0:
            sys.exit(f"bench: {name} {work}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def stop(self):
        self.peer.stop()
        self.dev.stop()


PEER = "gRPC C++ 1.51"


def unary(connections, inflight, figure, quick):
    def measure(bench, name):
        return bench.load(name, "unary", connections, inflight,
                          ("--seconds", "1" if quick else "2"))[figure]
    return measure


def download(bench, name, quick):
    return bench.load(name, "download", amount=("--count", "4" if quick else "16"),
                      same_client=True)["mb_per_s"]


def rows(quick):
    """name → (sentence, unit, mark, larger is better, measure)."""
    return {
        "unary-1x1-p50": ("Authorize, 1 connection, 1 in flight, median", "us", 1.0, False,
                          unary(1, 1, "p50_us", quick)),
        "unary-1x1-p99": ("Authorize, 1 connection, 1 in flight, 99th percentile", "us", 1.0,
                          False, unary(1, 1, "p99_us", quick)),
        "unary-1x16": ("Authorize, 1 connection, 16 in flight", "calls/s", 3.0, True,
                       unary(1, 16, "calls_per_s", quick)),
        "unary-1x64": ("Authorize, 1 connection, 64 in flight", "calls/s", 5.0, True,
                       unary(1, 64, "calls_per_s", quick)),
        "unary-4x16": ("Authorize, 4 connections, 16 in flight each", "calls/s", 4.5, True,
                       unary(4, 16, "calls_per_s", quick)),
        "download-64m": ("64 MiB download, 1 connection, same client", "MB/s", 1.0, True,
                         lambda bench, name: download(bench, name, quick)),
        **{name: None for name in UNIFORM},
    }


def run_uniform(bench, name, users, rounds):
    """Identical bytes is a condition; the row is how far apart the medians are."""
    forbidden = bench.store_forbidden(users)
    figures = [bench.pairs(forbidden, 1000) for _ in range(rounds)]
    ratios = [min(pair) / max(pair) for pair in figures]
    there, missing = (statistics.median(side) for side in zip(*figures))
    ratio = min(there, missing) / max(there, missing)
    return {"row": name, "work": f"1,000 refused downloads each of an asset with {users} users on "
            "its list and of none, by turns; answers identical but for the request ID",
            "unit": "us", "ours": there, "peer": missing, "peer_name": "missing asset",
            "ratio": round(ratio, 3), "mark": 0.95, "holds": ratio >= 0.95, "rounds": rounds,
            "spread": [round(min(ratios), 3), round(max(ratios), 3)]}


UNIFORM = {"uniform-answers-1": 1, "uniform-answers-1k": 1000, "uniform-answers-100k": 100_000}


def run_row(bench, name, row, rounds):
    if name in UNIFORM:
        return run_uniform(bench, name, UNIFORM[name], rounds)
    work, unit, mark, larger, measure = row
    figures = {"ours": [], PEER: []}
    for i in range(rounds):
        for side in (("ours", PEER) if i % 2 == 0 else (PEER, "ours")):
            figures[side].append(measure(bench, side))
    ratios = [ours / peer if larger else peer / ours
              for ours, peer in zip(figures["ours"], figures[PEER])]
    ratio = statistics.median(ratios)
    return {"row": name, "work": work + "; decision and store against an echo", "unit": unit,
            "ours": statistics.median(figures["ours"]), "peer": statistics.median(figures[PEER]),
            "peer_name": PEER, "ratio": round(ratio, 3), "mark": mark, "holds": ratio >= mark,
            "rounds": rounds, "spread": [round(min(ratios), 3), round(max(ratios), 3)]}


def commit():
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], text=True, capture_output=True,
                          cwd=pathlib.Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("row", nargs="*")
    args = parser.parse_args()
    table = rows(args.quick)
    if args.list:
        print("\n".join(table))
        return
    unknown = [name for name in args.row if name not in table]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; --list names them")
    bench = Bench(args.build)
    failed = []
    try:
        for name in args.row or table:
            result = run_row(bench, name, table[name], 3 if args.quick else 9)
            if not result["holds"]:
                failed.append(name)
            if args.json:
                print(json.dumps(result), flush=True)
            else:
                print(f"{name:20} ours {result['ours']:10.1f}  {result['peer_name']:13} "
                      f"{result['peer']:10.1f} "
                      f"{result['unit']:8} ratio {result['ratio']:6.2f} "
                      f"[{result['spread'][0]:.2f}, {result['spread'][1]:.2f}] "
                      f"mark {result['mark']:.2f} {'holds' if result['holds'] else 'DOES NOT HOLD'}",
                      flush=True)
    finally:
        bench.stop()
    summary = {"summary": {"machine": f"{platform.machine()}, {os.cpu_count()} cores, "
                                      f"{platform.release()}",
                           "commit": commit(), "does_not_hold": failed}}
    print(json.dumps(summary) if args.json else
          f"does not hold: {', '.join(failed) if failed else 'none'}")


if __name__ == "__main__":
    main()
