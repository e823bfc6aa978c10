# SPDX-License-Identifier: Apache-2.0
"""kill -9 of dacmd at random instants of uploads, profile changes and deletions. After each
restart the store is clean, everything acknowledged is there, and nothing half-written is seen.

What a killed server did with a request that it never answered is open; the model keeps both
possibilities and the next look settles it. 30 rounds, 300 with --full; DACM_TEST_SEED repeats."""
import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import threading
import time
import unittest

import grpc

import harness
from harness import bearer, da

ROUNDS = 300 if harness.FULL else 10 if os.environ.get("DACM_SANITIZE") else 30
SEED = int(os.environ.get("DACM_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
WORKERS = 3
GONE = object()


def dacmd_pid(parent):
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if text.startswith("Name:\tdacmd\n") and f"PPid:\t{parent}\n" in text:
            return int(status.parent.name)
    raise AssertionError("dacmd is not running")


class Asset:
    """What must be true of one asset: states that the server may be in."""

    def __init__(self, digests, grants):
        self.digests = {digests}    # SHA-256 of the newest version, or GONE
        self.grants = {frozenset(grants)}


class Worker(threading.Thread):
    """Changes its own assets until the server dies."""

    def __init__(self, dev, seed, owner, others, assets):
        super().__init__(daemon=True)
        self.dev, self.rng, self.owner, self.others, self.assets = (
            dev, random.Random(seed), owner, others, assets)
        self.acknowledged = 0
        self.unexpected = None

    def run(self):
        try:
            with self.dev.channel() as channel:
                stub = self.dev.stub(channel)
                while True:
                    self.rng.choice([self.create, self.create, self.new_version, self.change,
                                     self.change, self.delete])(stub)
                    self.acknowledged += 1
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
                                    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
                self.unexpected = error
        except Exception as error:  # carried to the main thread, which raises it
            self.unexpected = error

    def content(self):
        return self.rng.randbytes(self.rng.choice([10, 5_000, 200_000, 1_500_000]))

    def live(self):
        return [name for name, asset in self.assets.items() if GONE not in asset.digests]

    def create(self, stub):
        content, allow = self.content(), self.rng.sample(self.others, 1)
        response = self.dev.upload(content, self.owner, allow, stub=stub)
        self.assets[response.asset_id] = Asset(hashlib.sha256(content).digest(), allow)

    def new_version(self, stub):
        if not self.live():
            return self.create(stub)
        name = self.rng.choice(self.live())
        content, asset = self.content(), self.assets[name]
        digest = hashlib.sha256(content).digest()
        asset.digests = asset.digests | {digest}
        self.dev.upload(content, self.owner, asset=name, stub=stub)
        asset.digests = {digest}

    def change(self, stub):
        if not self.live():
            return self.create(stub)
        name = self.rng.choice(self.live())
        asset = self.assets[name]
        user = self.rng.choice(self.others)
        allow = self.rng.random() < 0.5
        request = da.UpdateProfileRequest(asset_id=name, gpsi=self.owner)
        if allow:
            request.allow.add(allowed_user=user)
        else:
            request.deny.append(user)
        after = {grants | {user} if allow else grants - {user} for grants in asset.grants}
        asset.grants = asset.grants | after
        token = self.dev.token(self.owner, name, ["update"], [self.owner])
        stub.UpdateProfile(request, metadata=bearer(token), timeout=60)
        asset.grants = after

    def delete(self, stub):
        if len(self.live()) < 4:
            return self.create(stub)
        name = self.rng.choice(self.live())
        asset = self.assets[name]
        asset.digests = asset.digests | {GONE}
        token = self.dev.token(self.owner, name, ["delete"], [self.owner])
        stub.DeleteProfile(da.DeleteProfileRequest(asset_id=name, gpsi=self.owner),
                           metadata=bearer(token), timeout=60)
        asset.digests = {GONE}


class NothingLost(unittest.TestCase):
    def settle(self, name, asset, owner, stub):
        """Looks at one asset; it must be in one of its possible states, which it then keeps."""
        try:
            content, claims, _ = self.dev.download(name, owner, stub=stub)
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.PERMISSION_DENIED, error.details())
            self.assertIn(GONE, asset.digests, f"{name} was acknowledged and is gone")
            asset.digests = {GONE}
            return
        digest = hashlib.sha256(content).digest()
        self.assertIn(digest, asset.digests, f"{name} version {claims['version']} is not one that "
                                             "was acknowledged or under way")
        asset.digests = {digest}
        token = self.dev.token(owner, name, ["get"], [owner])
        profile = stub.GetProfile(da.GetProfileRequest(asset_id=name, gpsi=owner),
                                  metadata=bearer(token), timeout=60).profile
        listed = frozenset(entry.allowed_user for entry in profile.access_control_list)
        self.assertIn(listed, asset.grants, f"{name}: {listed}")
        asset.grants = {listed}

    def check_store(self):
        done = subprocess.run([harness.BIN / "dacmd", "--config",
                               self.dev.dir / "config" / "dacmd.yaml", "--store-check"],
                              text=True, capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_kill_at_random_instants(self):
        print(f"seed {SEED} (DACM_TEST_SEED={SEED} repeats)", flush=True)
        rng = random.Random(SEED)
        self.dev = harness.Dev()
        owner, others = self.dev.users[0], self.dev.users[1:]
        assets = [{} for _ in range(WORKERS)]
        acknowledged = 0
        for _ in range(ROUNDS):
            workers = [Worker(self.dev, rng.random(), owner, others, assets[i])
                       for i in range(WORKERS)]
            for worker in workers:
                worker.start()
            time.sleep(rng.uniform(0.02, 0.5))  # the instant is what is random here
            os.kill(dacmd_pid(self.dev.process.pid), signal.SIGKILL)
            for worker in workers:
                worker.join(60)
                self.assertIsNone(worker.unexpected, worker.unexpected)
                acknowledged += worker.acknowledged
            self.dev.process.wait(60)
            self.dev.log.close()
            self.check_store()
            self.dev.start()
            with self.dev.channel() as channel:
                stub = self.dev.stub(channel)
                for group in assets:
                    for name, asset in list(group.items()):
                        self.settle(name, asset, owner, stub)
                        if GONE in asset.digests:
                            del group[name]
                    # Old assets stay in the store; looking at ten of them is enough.
                    for name in list(group)[:-10]:
                        del group[name]
        self.assertGreater(acknowledged, ROUNDS)
        print(f"{acknowledged} changes acknowledged in {ROUNDS} rounds", flush=True)
        self.assertEqual(self.dev.stop(), 0)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    unittest.main(verbosity=2)
