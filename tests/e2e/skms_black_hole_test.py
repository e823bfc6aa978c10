# SPDX-License-Identifier: Apache-2.0
"""A verifier that watches skmsd over a connection that becomes a black hole: it is let go, others
are told meanwhile, and when the way is back it learns everything."""
import pathlib
import subprocess
import sys
import threading
import unittest

from configured import wait_until
from keyserver import DACM, keys
from skms_faults_test import MANIFESTS, Case

import network


def setUpModule():
    network.require()


WATCH = """
import sys
sys.path.insert(0, sys.argv[1])
import grpc, keyserver
from keyserver import keys
skms = object.__new__(keyserver.Skms)
skms.address, ca = sys.argv[2], open(sys.argv[3], "rb").read()
stub = keyserver.keys_grpc.SigningKeysStub(grpc.secure_channel(
    skms.address, grpc.ssl_channel_credentials(ca),
    options=[("grpc.ssl_target_name_override", "localhost"),
             ("grpc.keepalive_time_ms", 2000), ("grpc.keepalive_timeout_ms", 2000),
             ("grpc.http2.max_pings_without_data", 0),
             ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]))
while True:
    try:
        for key_set in stub.WatchKeys(keys.GetKeySetRequest(
                val_service=keyserver.DACM, purpose=keys.PURPOSE_MANIFESTS), wait_for_ready=True):
            print(key_set.version, flush=True)
    except grpc.RpcError as error:
        print(error.code().name, flush=True)
"""


class Watcher:
    """A verifier at the far end of a wire that watches for good."""

    def __init__(self, wire, skms):
        self.process = subprocess.Popen(
            [*wire.prefix, sys.executable, "-c", WATCH, str(pathlib.Path(__file__).parent),
             f"{wire.near}:{skms.address.rsplit(':', 1)[1]}", str(skms.pki / "ca.crt")],
            stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()

    def follow(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


class BlackHole(Case):
    def settings(self, _, config):
        url = config["listen"]["keys"]["url"]
        config["listen"]["keys"]["url"] = url.replace("127.0.0.1", "0.0.0.0")
        config["limits"] = {"keepalive_ms": 1000, "keepalive_timeout_ms": 2000}

    def setUp(self):
        self.wire = network.Wire()  # first: it makes the loopback too
        self.addCleanup(self.wire.close)
        super().setUp()

    def test_verifier_that_vanishes_is_let_go_and_learns_everything_when_it_is_back(self):
        near = self.skms.stub().WatchKeys(keys.GetKeySetRequest(
            val_service=DACM, purpose=MANIFESTS), timeout=120)
        version = next(near).version
        far = Watcher(self.wire, self.skms)
        self.addCleanup(far.stop)
        wait_until("the far watcher", lambda: str(version) in far.lines)
        self.wire.black_hole()
        revoked = self.revoke()
        version = next(near).version  # who is reached is told, whoever else is not
        wait_until("a watcher that is let go", lambda: self.metric("skm_watchers") == 1)
        self.assertNotIn(str(version), far.lines)
        self.wire.heal()
        wait_until("news at the far end", lambda: str(version) in far.lines)
        states = {key["kid"]: key["dacm_state"] for key in self.read()["keys"]}
        self.assertEqual(states[revoked], "compromised")
        self.assertEqual(self.health()[0], 200)
        near.cancel()


if __name__ == "__main__":
    network.enter()
    unittest.main(verbosity=2)
