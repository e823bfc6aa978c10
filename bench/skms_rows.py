# SPDX-License-Identifier: Apache-2.0
"""The rows of skmsd."""
import json
import statistics

import key_delays
import load
from row import BoundRow

SIGNED_BYTES = 700  # what dacm-bench lets sign: an access token's signing input
SERVICE = "https://bench.example"
ROUNDS, ROUNDS_QUICK = 9, 3


class Signing:
    """skmsd with one enrolled SKM-C whose keys do not leave it."""

    def __init__(self, servers):
        self.servers = servers
        self.skms = servers.skms(lambda _, config: config.pop("signing"))  # as by default
        self.skms.add(SERVICE, delegated=True)
        self.skms.client("bench.example", SERVICE)
        port = self.skms.address.rsplit(":", 1)[1]
        self.target = f"tls+tcp://localhost:{port}"  # as its certificate has it

    def ours(self, seconds):
        return json.loads(load.run("sign", [
            self.servers.bin / "dacm-bench", "--target", self.target, "--ca", self.skms.pki / "ca.crt", "--certificate", self.skms.pki / "bench.example.crt",
            "--key", self.skms.pki / "bench.example.key", "--work", "sign", "--inflight", 64,
            "--seconds", seconds]))

    def bare(self):
        return json.loads(load.run("libsodium", [
            self.servers.build / "bench" / "bare_sign", 20_000, SIGNED_BYTES]))["signs_per_s"]


def sign(servers, quick):
    """(calls/s, what else is to be told): ours and libsodium's by turns."""
    signing = Signing(servers)
    signing.ours(1)
    ours, bare = [], []
    for i in range(ROUNDS_QUICK if quick else ROUNDS):
        if i % 2:
            bare.append(signing.bare())
        ours.append(signing.ours(1 if quick else 2))
        if not i % 2:
            bare.append(signing.bare())
    rates = [one["calls_per_s"] for one in ours]
    median = statistics.median
    return median(rates), {
        "p50_us": median(one["p50_us"] for one in ours),
        "p99_us": median(one["p99_us"] for one in ours),
        "lowest": min(rates), "highest": max(rates), "rounds": len(rates),
        "libsodium_per_s": round(median(bare), 1),
        "share_of_libsodium": round(median(a / b for a, b in zip(rates, bare)), 3)}


ROWS = [
    BoundRow("sign", f"Sign of {SIGNED_BYTES} bytes by a delegated key, gRPC with TLS 1.3 and a "
             "client certificate, 1 connection, 64 in flight, counted for the audit trail; client "
             "on the same cores. Beside it libsodium's bare rate on one core", "calls/s", "bound",
             1.0, True, sign, "skmsd", 20_000.0),
    BoundRow("key-revocation-delay", "the longest of 300 (--quick: 18) times between the answer to who "
             "revokes a manifest or token key at skmsd, and the moment at which a verifier that "
             "watches knows, dacmd hands out a manifest under another key, or refuses a token under "
             "the lost one", "ms", "bound", 1.0, False, key_delays.measure, "skmsd", 2000.0),
]
