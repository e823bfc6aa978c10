# SPDX-License-Identifier: Apache-2.0
"""The rehearsal: while people log in and download all the time, every key and every certificate of
the three servers is changed; then a manifest key and a token key are revoked as compromised. Nobody
is refused, and nothing that was delivered fails to verify. Prints what the revocations took."""
import threading
import time
import unittest

import grpc

import keyserver
from configured import wait_until
from keyserver import admin
from rehearsed import ANNA, MANIFESTS, TOKENS, KeySets, World


class Load(threading.Thread):
    """Does work all the time; what it raised is told at the end."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.ending, self.done, self.failures = work, False, 0, []
        self.start()

    def run(self):
        while not self.ending:
            try:
                self.work()
                self.done += 1
            except Exception as error:  # told to the test
                self.failures.append((time.monotonic(), error))
                if len(self.failures) > 20:
                    return

    def stop(self):
        self.ending = True
        self.join(60)


class Rehearsal(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.manifests = KeySets(self.world, self.world.dacm.audience, MANIFESTS)
        self.revoking, self.seen = False, set()
        self.loads = [Load(self.download_many) for _ in range(2)] + [Load(self.log_in)]

    def tearDown(self):
        for load in self.loads:
            load.stop()
        self.manifests.stop()
        self.assertEqual(self.world.stop(), 0)

    # -- the load

    def log_in(self):
        self.world.login()

    def download_many(self):
        """On one connection, by one login, as an app does."""
        token = self.world.login()
        with self.world.dacm.client() as channel:
            stub = self.world.dacm.stub(channel)
            new = self.world.dacm.upload(b"small", self.world.owner, stub=stub)
            self.judge(new.manifest)  # signed now, by the key whose turn it is
            for _ in range(10):
                self.judge(self.world.download(stub, token))

    def judge(self, manifest):
        kid = self.manifests.verify(manifest)
        if kid is None and not self.revoking:
            raise AssertionError("a manifest does not verify: " + manifest)
        self.seen.add(kid)

    def go_on(self, count=3):
        """Until each has done so much more."""
        wanted = [load.done + count for load in self.loads]
        wait_until("the load", lambda: any(load.failures for load in self.loads) or all(
            load.done >= enough for load, enough in zip(self.loads, wanted)))
        for load in self.loads:
            self.assertEqual(load.failures, [])

    # -- the rehearsal

    def test_everything_is_changed_under_load(self):
        world = self.world
        self.go_on()
        for _ in range(2):
            world.rotate(world.dacm.audience, MANIFESTS)
            world.rotate(world.issuer, TOKENS)
            self.go_on()
            world.skms.admin().RotateRoot(admin.RotateRootRequest())
            self.go_on()
            world.renew_certificates()
            self.go_on()
        self.assertEqual(self.manifests.verifier.replaced, 2)
        self.assertEqual(len(self.seen), 3)  # the first key and two that came after it
        self.manifest_key_is_lost()
        self.token_key_is_lost()

    def manifest_key_is_lost(self):
        world = self.world
        lost = world.kid(world.dacm.audience, MANIFESTS)
        made = world.dacm.upload(world.content, world.owner, allow=[ANNA])
        self.assertEqual(self.manifests.verify(made.manifest), lost)
        token, stub = world.login(made.asset_id), world.dacm.stub()
        self.assertEqual(
            self.manifests.verify(world.download(stub, token, made.asset_id)), lost)
        self.revoking = True  # what is on its way may be refused; new downloads verify
        at = time.monotonic()
        world.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=lost, reason="rehearsal"))
        with self.manifests.lock:
            self.assertTrue(self.manifests.lock.wait_for(
                lambda: self.manifests.keys[lost]["dacm_state"] == "compromised", 60))
            known = self.manifests.times[self.manifests.version] - at
        self.assertIsNone(self.manifests.verify(made.manifest))
        wait_until("a manifest of another key", lambda: self.manifests.verify(
            world.download(stub, token, made.asset_id)) not in (None, lost))
        served = time.monotonic() - at
        self.revoking = False
        self.go_on()
        print(f"manifest key revoked: verifiers know after {1000 * known:.0f} ms, downloads come "
              f"under the next after {1000 * served:.0f} ms")

    def token_key_is_lost(self):
        world = self.world
        lost, old = world.kid(world.issuer, TOKENS), world.login()
        stub = world.dacm.stub()
        world.download(stub, old)
        kid = keyserver.jws_parts(old)[0]["kid"]
        for load in self.loads:  # their tokens are under the key that goes
            load.stop()
            self.assertEqual(load.failures, [])
        at = time.monotonic()
        world.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=lost, reason="rehearsal"))

        def refused():
            try:
                world.download(stub, old)
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.UNAUTHENTICATED
            return False
        self.assertEqual(kid, lost)
        wait_until("the end of the token", refused)
        ended = time.monotonic() - at
        wait_until("a token of another key", world.one_login)
        print(f"token key revoked: its tokens are refused after {1000 * ended:.0f} ms, others are "
              f"served after {1000 * (time.monotonic() - at):.0f} ms")


if __name__ == "__main__":
    unittest.main()
