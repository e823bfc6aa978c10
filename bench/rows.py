# SPDX-License-Identifier: Apache-2.0
"""The rows of the bench: what is measured, against whom, and the ratio asked for."""
import dataclasses
import json
import statistics

import connections
import hostile
import load
import media_rows
import sims_rows
import skms_rows
from row import Row
from servers import LARGE, SMALL

GRPC = "gRPC C++"
TUNED = "gRPC C++ tuned"


# ---- unary ------------------------------------------------------------------------------------

def unary(name, connections, inflight, figure, mark, peer=GRPC):
    def measure(servers, side, quick):
        return load.own_client(servers, side, "unary", connections, inflight,
                               ("--seconds", 1 if quick else 2))[figure]
    what = {"p50_us": ", median", "p99_us": ", 99th percentile"}.get(figure, "")
    return Row(name, f"Authorize, {connections} connections, {inflight} in flight on each, each "
               f"side's own client{what}; decision, log and store against an echo",
               "us" if what else "calls/s", peer, mark, not what, measure)


def cpu_per_call(name, peer, mark, header="dacm-token"):
    def measure(servers, side, quick):
        count = 30_000 if quick else 150_000
        done = load.h2load(servers, side, "authorize", count, 1, 64, header)
        return done["cpu_seconds"] / count * 1e6
    answer = "`return 200`" if peer == "nginx" else "an echo"
    return Row(name, f"server's CPU for one Authorize, h2load 1 x 64, token in {header}; decision, "
               f"log and store against {answer}", "us", peer, mark, False, measure)


class PollerRow(Row):
    """nng's poller beside all of dacmd: what one thread for all sockets costs a call."""

    def run(self, servers, rounds, quick):
        count = 30_000 if quick else 150_000
        runs = [load.h2load(servers, "dacmd", "authorize", count, 1, 64) for _ in range(rounds)]
        poller = [one["poller_seconds"] / count * 1e6 for one in runs]
        whole = [one["cpu_seconds"] / count * 1e6 for one in runs]
        ratios = [b / a for a, b in zip(poller, whole)]
        return self.result(statistics.median(poller), statistics.median(whole),
                           statistics.median(ratios), ratios)


# ---- objects ----------------------------------------------------------------------------------

def same_client(name, what, peer, mark, figure, size=LARGE, connections=1, inflight=1, count=16,
                http1=False):
    def measure(servers, side, quick):
        calls = max(count // 4, 4) if quick else count
        done = load.h2load(servers, side, "download", calls, connections, inflight, size=size,
                           http1=http1 and side == "nginx")
        return figure(done)
    unit, larger = {rate: ("MB/s", True), objects: ("objects/s", True),
                    cpu_per_gb: ("s/GB", False)}[figure]
    return Row(name, what, unit, peer, mark, larger, measure)


def rate(done):
    return done["bytes"] / done["seconds"] / 1e6


def objects(done):
    return done["done"] / done["seconds"]


def cpu_per_gb(done):
    return done["cpu_seconds"] / (done["bytes"] / 1e9)


def own_clients_download(name, connections, mark, peer=GRPC):
    def measure(servers, side, quick):
        return load.own_client(servers, side, "download", connections, 1,
                               ("--count", (2 if quick else 8) * connections))["mb_per_s"]
    return Row(name, f"64 MiB downloads on {connections} connections, each side's own client",
               "MB/s", peer, mark, True, measure)


def verified(servers, side, quick):
    """libdacm checks every chunk; the peer's client counts bytes."""
    count = 3 if quick else 10
    if side != "dacmd":
        return load.own_client(servers, side, "download", 1, 1, ("--count", count))["mb_per_s"]
    text = load.run("libdacm download", [
        servers.build / "bench" / "verified", "tls+tcp://" + servers.targets["dacmd"], servers.ca,
        servers.env["keys_file"], servers.env["dacm"]["resource"], servers.fresh_token(),
        servers.assets[LARGE], servers.user, count])
    return json.loads(text)["mb_per_s"]


# ---- functions ----------------------------------------------------------------------------------

class TokenRow(Row):
    """Both sides are timed by one program, by turns."""

    def run(self, servers, rounds, quick):
        text = load.run("tokens", [servers.build / "bench" / "cold_tokens", rounds])
        pairs = [json.loads(line) for line in text.splitlines()]
        ratios = [pair["verify_per_s"] / pair["libsodium_per_s"] for pair in pairs]
        return self.result(statistics.median(pair["verify_per_s"] for pair in pairs),
                           statistics.median(pair["libsodium_per_s"] for pair in pairs),
                           statistics.median(ratios), ratios)


# ---- what refusals tell ---------------------------------------------------------------------------

UNLISTED = "msisdn-4917099999"


@dataclasses.dataclass(frozen=True)
class UniformRow(Row):
    """Identical bytes is a condition; the row is how far apart the medians are."""
    users: int = 1

    def pairs(self, servers, forbidden, count):
        missing = "no-such-asset-of-the-same-length"[:len(forbidden)]
        text = load.run("pairs", [
            servers.bin / "dacm-bench", "--target", "tls+tcp://" + servers.targets["dacmd"], "--ca",
            servers.ca, "--work", "pairs", "--count", 2 * count, "--gpsi", UNLISTED, "--asset",
            forbidden, "--token", servers.fresh_token(UNLISTED, forbidden), "--asset-2", missing,
            "--token-2", servers.fresh_token(UNLISTED, missing)])
        done = json.loads(text)
        if not done["same_answers"] or done["code"] != "PERMISSION_DENIED":
            raise SystemExit(f"bench: the answers tell forbidden and missing apart: {done}")
        return done["first_p50_us"], done["second_p50_us"]

    def run(self, servers, rounds, quick):
        forbidden = servers.store_forbidden(self.users)
        figures = [self.pairs(servers, forbidden, 1000) for _ in range(rounds)]
        there, missing = (statistics.median(side) for side in zip(*figures))
        return self.result(there, missing, min(there, missing) / max(there, missing),
                           [min(pair) / max(pair) for pair in figures])


def uniform(name, users):
    return UniformRow(name, f"1,000 refused downloads each of an asset with {users} users on its "
                      "list and of none, by turns; answers identical but for the request ID", "us",
                      "missing asset", 0.95, False, None, users)


# ---- under attack ---------------------------------------------------------------------------------

class SiegeRow(Row):
    """A caller's median with hostile clients beside it and without, by turns; a call that fails
    ends the bench. All share the cores with the server."""

    def p50_us(self, servers, quick):
        return load.own_client(servers, "dacmd", "unary", 1, 1,
                               ("--seconds", 2 if quick else 7))["p50_us"]

    def run(self, servers, rounds, quick):
        attacked, calm, told = [], [], []
        for _ in range(rounds):
            calm.append(self.p50_us(servers, quick))
            with servers.siege() as siege:
                attacked.append(self.p50_us(servers, quick))
                told.append(siege.end())
        ratios = [without / beside for without, beside in zip(calm, attacked)]
        result = self.result(statistics.median(attacked), statistics.median(calm),
                             statistics.median(ratios), ratios)
        result["more"] = told[-1]
        return result


# ---- all ------------------------------------------------------------------------------------------

def objects_100k(name, peer, connections, inflight, mark):
    return same_client(name, f"100 KB objects, {connections} x {inflight}, h2load", peer, mark,
                       objects, SMALL, connections, inflight, 4000)


def hostile_memory(name, what, attack, count):
    """Tells only: how it is bounded is a matter of limits, and the peer has few."""
    return Row(name, f"anonymous memory of the server for a connection that sends {what}", "kB",
               GRPC, None, False, hostile.memory_kb(attack, count))


ROWS = [
    unary("unary-1x1-p50", 1, 1, "p50_us", 1.0),
    unary("unary-1x1-p99", 1, 1, "p99_us", 1.0),
    unary("unary-1x16", 1, 16, "calls_per_s", 3.0),
    unary("unary-1x64", 1, 64, "calls_per_s", 5.0),
    unary("unary-4x16", 4, 16, "calls_per_s", 4.5),
    unary("unary-1x64-tuned", 1, 64, "calls_per_s", 1.0, TUNED),
    cpu_per_call("cpu-unary", GRPC, 4.0),
    cpu_per_call("cpu-unary-nginx", "nginx", round(1 / 0.65, 3)),
    cpu_per_call("cpu-unary-authorization", GRPC, 2.5, "authorization"),
    PollerRow("poller", "CPU of nng's poller for one Authorize, h2load 1 x 64, and of all dacmd",
              "us", "all of dacmd", None, False, None),
    same_client("download-64m", "64 MiB downloads, one connection, h2load", GRPC, 1.0, rate),
    same_client("download-64m-nginx", "64 MiB downloads, one connection, h2load", "nginx", 1.1,
                rate),
    own_clients_download("download-64m-x4", 4, 1.1),
    own_clients_download("download-64m-tuned", 1, 1.0, TUNED),
    same_client("cpu-per-gb", "server's CPU for 64 MiB downloads, one connection, h2load", GRPC,
                round(1 / 0.85, 3), cpu_per_gb),
    same_client("cpu-per-gb-nginx", "server's CPU for 64 MiB downloads, one connection, h2load",
                "nginx", round(1 / 0.78, 3), cpu_per_gb),
    same_client("cpu-per-gb-nginx-http1", "server's CPU for 64 MiB downloads, one connection, "
                "h2load, nginx by HTTP/1.1", "nginx", round(1 / 0.82, 3), cpu_per_gb, http1=True),
    objects_100k("objects-100k-1x16-nginx", "nginx", 1, 16, 1.0),
    objects_100k("objects-100k-1x16", GRPC, 1, 16, 1.6),
    objects_100k("objects-100k-4x4-nginx", "nginx", 4, 4, 1.15),
    objects_100k("objects-100k-4x4", GRPC, 4, 4, 1.6),
    Row("download-64m-verified", "64 MiB downloads by libdacm, every chunk verified, against gRPC "
        "C++'s client that verifies nothing", "MB/s", GRPC, 0.9, True, verified),
    TokenRow("token-cold", "a token with 20 users verified whole, against libsodium's "
             "Ed25519 alone", "tokens/s", "libsodium", 0.7, True, None),
    Row("idle-connection", "anonymous memory of the server for one idle TLS connection that has "
        "made a call", "kB", GRPC, round(1 / 0.65, 3), False, connections.idle_kb),
    Row("handshake-full", "server's CPU for a full handshake and the first SETTINGS", "us", "nginx",
        round(1 / 1.2, 3), False, connections.handshake_us(resumed=False)),
    Row("handshake-resumed", "server's CPU for a handshake that resumes a session, each with the "
        "last one's ticket", "us", "nginx", round(1 / 1.35, 3), False,
        connections.handshake_us(resumed=True)),
    hostile_memory("memory-half-handshake", "half a ClientHello and nothing more",
                   hostile.half_handshake, hostile.STRANGERS),
    hostile_memory("memory-half-request", "a message of 100 KB of which half comes",
                   hostile.half_request, hostile.HALF_REQUESTS),
    hostile_memory("memory-slow-reader", "a download of 64 MiB of which nothing is read, with "
                   "every window open", hostile.slow_reader, hostile.READERS),
    SiegeRow("under-attack", "Authorize, 1 connection, 1 in flight, median, beside 500 readers of a "
             "byte a second, 1,000 idle connections, 200 unfinished handshakes and 2,000 requests "
             "reset a second, against the same without them", "us", "no attack", 0.5, False, None),
    uniform("uniform-answers-1", 1),
    uniform("uniform-answers-1k", 1000),
    uniform("uniform-answers-100k", 100_000),
    *sims_rows.ROWS,
    *skms_rows.ROWS,
    *media_rows.ROWS,
]
