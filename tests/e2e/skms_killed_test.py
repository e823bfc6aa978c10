# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random instants of rotations, revocations, uploads, enrolments and signatures: when
skmsd is back, nothing that it acknowledged is lost, no version of a key set has two contents, every
set has its signer, the audit chain verifies and knows of every signature that was answered.
SKMS_SEED repeats; DACM_TEST_FULL=1 makes 300 rounds of 30."""
import collections
import json
import os
import random
import threading
import time
import unittest

import grpc

import keygiver
import keyserver
from keygiver import MANIFESTS, TOKENS
from keyserver import admin, keys

ROUNDS = 300 if os.environ.get("DACM_TEST_FULL") == "1" else 30
INSTANT_S = 0.25  # the latest, after the first answer
GOING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)
SIGNED = "https://signed.example"


class Round:
    """What was acknowledged in one round, on VAL services of its own."""

    def __init__(self, world, number):
        self.world, self.number = world, number
        self.service = f"https://{number}.example"
        self.brought = f"https://brought-{number}.example"
        self.revoked, self.turned, self.made, self.enrolled = set(), {}, set(), []
        self.answered = collections.Counter()
        self.failures = []
        self.killed = threading.Event()
        self.first = threading.Event()
        world.skms.add(self.service, active_s=86400)
        world.skms.add(self.brought, provisioned=True)
        self.val = keygiver.Server(world, f"val-{number}", [self.brought])
        world.enrolment(self.brought, self.val)

    def repeat(self, work):
        try:
            while not self.killed.is_set():
                work()
                self.first.set()
        except grpc.RpcError as error:
            if error.code() not in GOING or not self.killed.wait(30):
                self.failures.append(error)
        except Exception as error:  # a thread's failure is the test's
            self.failures.append(error)
        finally:
            self.first.set()

    # -- what is done, each by a thread

    def turn(self):
        key = self.admin.RotateKey(admin.RotateKeyRequest(
            val_service=self.service, purpose=TOKENS))
        self.turned[key.kid] = key.signs_from

    def revoke(self):
        listed = self.admin.ListKeys(admin.ListKeysRequest(
            val_service=self.service, purpose=MANIFESTS)).keys
        if len(listed) > 40:
            time.sleep(0.01)  # the set has room for so many
            return
        kid = next(key.kid for key in listed if key.state == keys.KEY_STATE_ACTIVE)
        self.admin.RevokeKey(admin.RevokeKeyRequest(kid=kid, reason="killed"))
        self.revoked.add(kid)

    def provision(self):
        if len(self.made) < 4:
            self.made.add(self.val.provision(
                self.brought, stub=self.val_stub, token=self.token).kid)
        else:
            time.sleep(0.01)

    def sign(self):
        self.answered[self.sign_stub.Sign(keys.SignRequest(
            purpose=TOKENS, message=b"input")).kid] += 1

    def enrol(self):
        client = keyserver.Client.__new__(keyserver.Client)
        client.__dict__.update(self.enrolling.__dict__)
        client.enrol(self.admin.CreateEnrolment(admin.CreateEnrolmentRequest(
            val_service=self.service, certificate_san="enrolling.example")).token)
        self.enrolled.append(client)
        time.sleep(0.02)

    def run(self, draw):
        skms = self.world.skms
        self.admin = skms.admin()
        self.val_stub = skms.stub(self.val.certificate)
        self.sign_stub = skms.stub(self.world.signing)
        self.enrolling = keyserver.Client.__new__(keyserver.Client)
        self.enrolling.__dict__.update(self.world.enrolling.__dict__,
                                       stub=skms.stub(self.world.enrolling_certificate))
        self.token = self.val.token(scope="seal.kp")
        threads = [threading.Thread(target=self.repeat, args=(work,)) for work in (
            self.turn, self.revoke, self.provision, self.sign, self.enrol)]
        for thread in threads:
            thread.start()
        self.first.wait(30)
        time.sleep(draw.uniform(0, INSTANT_S))  # where it is killed, nothing that is waited for
        skms.process.kill()
        self.killed.set()
        skms.process.communicate()
        for thread in threads:
            thread.join()


class Killed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = world = keygiver.World()
        world.skms.stop()
        world.skms.config["keys"] = {"published_before_s": 0}
        world.skms.config["signing"]["count_interval_s"] = 3600
        world.skms.start()
        world.skms.add(SIGNED, delegated=True)
        world.skms.client("signing.example", SIGNED)
        world.signing = tuple((world.skms.pki / f"signing.example.{kind}").read_bytes()
                              for kind in ("crt", "key"))
        world.enrolling = keyserver.Client(world.skms, "enrolling.example")
        world.enrolling_certificate = tuple(
            (world.skms.pki / f"enrolling.example.{kind}").read_bytes() for kind in ("crt", "key"))
        cls.verifier = world.skms.verifier()
        cls.contents = {}  # (service, purpose, version): keys
        cls.versions = {}  # (service, purpose): the highest seen
        cls.answered = collections.Counter()

    @classmethod
    def tearDownClass(cls):
        assert cls.world.close() == 0

    def look(self, service, purpose):
        """Keys of the set by kid; one version has one content, and none goes back."""
        reply = self.world.skms.stub().GetKeySet(keys.GetKeySetRequest(
            val_service=service, purpose=purpose))
        claims = self.verifier.read(reply)
        content = json.dumps(claims["keys"])
        self.assertEqual(self.contents.setdefault((service, purpose, claims["version"]), content),
                         content)
        self.assertGreaterEqual(claims["version"], self.versions.get((service, purpose), 0))
        self.versions[service, purpose] = claims["version"]
        return {key["kid"]: key for key in claims["keys"]}

    def listed(self, service, purpose):
        return {key.kid: key for key in self.world.skms.admin().ListKeys(admin.ListKeysRequest(
            val_service=service, purpose=purpose)).keys}

    def check(self, done):
        self.assertEqual(done.failures, [])
        manifests, tokens = (self.look(done.service, purpose) for purpose in (MANIFESTS, TOKENS))
        for kid in done.revoked:
            self.assertEqual(manifests[kid]["dacm_state"], "compromised")
        for kid, signs_from in done.turned.items():
            self.assertLessEqual(tokens[kid]["nbf"], signs_from)
        for purpose in (MANIFESTS, TOKENS):
            states = [key.state for key in self.listed(done.service, purpose).values()]
            self.assertEqual(states.count(keys.KEY_STATE_ACTIVE), 1, states)
        self.assertLessEqual(done.made, set(self.look(done.brought, MANIFESTS)))
        for client in done.enrolled[-1:]:
            client.stub = self.world.skms.stub(self.world.enrolling_certificate)
            self.assertTrue(all(client.keys(TOKENS, done.service)[1]))

    def counted(self):
        """kid: so many signatures the trail knows of, at most."""
        known, announced = collections.Counter(), {}
        for record in self.world.skms.audit():
            kid = record.get("kid")
            if record["event"] == "signing":
                if record["up_to"] < announced.get(kid, 0):  # after another start
                    known[kid] += announced[kid]
                announced[kid] = record["up_to"]
        return known + collections.Counter(announced)

    def test_killed_at_any_instant_nothing_acknowledged_is_lost(self):
        seed = int(os.environ.get("SKMS_SEED", time.time()))
        print("SKMS_SEED", seed, flush=True)
        draw = random.Random(seed)
        total = collections.Counter()
        for number in range(ROUNDS):
            done = Round(self.world, number)
            done.run(draw)
            self.answered.update(done.answered)
            self.world.skms.start()
            self.check(done)
            self.assertLessEqual(self.answered, self.counted())
            total.update(turned=len(done.turned), revoked=len(done.revoked),
                         brought=len(done.made), enrolled=len(done.enrolled),
                         signed=sum(done.answered.values()))
        checked = self.world.skms.run("--audit-verify")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        checked = self.world.skms.run("--store-check")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        print(ROUNDS, "rounds:", dict(total))
        for what in ("turned", "revoked", "brought", "enrolled", "signed"):
            self.assertGreater(total[what], ROUNDS // 10, total)


if __name__ == "__main__":
    unittest.main(verbosity=2)
