# SPDX-License-Identifier: Apache-2.0
"""Private keys, the key of the store, the operator's secret and tokens: none of them is in a file but
where it belongs, in an answer of the wrong one, in memory that is swapped out or dumped; and skmsd
does not start where it cannot hold that."""
import json
import os
import resource
import shutil
import signal
import subprocess
import unittest

import grpc

import harness
import keyserver
import memory
from harness import code_of, unb64url
from keyserver import DACM, admin, keys

DELEGATED = "https://delegated.example"
SANITIZED = bool(os.environ.get("DACM_SANITIZE"))


def debug(_, config):
    config["log"]["level"] = "debug"


def private_parts(opened):
    """Seeds as they are, and as files would have them."""
    found = {}
    for jwk in opened:
        seed = unb64url(jwk["d"])
        for how, value in (("bytes", seed), ("base64url", jwk["d"].encode()),
                           ("hex", seed.hex().encode()), ("HEX", seed.hex().upper().encode())):
            found[f"private key {jwk['kid']} as {how}"] = value
    return found


class Secrets(unittest.TestCase):
    """After everything that handles a secret has been done, with success and without."""

    @classmethod
    def setUpClass(cls):
        cls.skms = skms = keyserver.Skms(debug)
        cls.secrets = {"the operator's secret": keyserver.SECRET.encode()}
        cls.answers = []
        skms.add()
        skms.add(DELEGATED, delegated=True)
        tokens = {name: skms.token(name + ".example") for name in ("used", "unused", "foreign")}
        client = keyserver.Client(skms, "used.example").enrol(tokens["used"])
        stranger = keyserver.Client(skms, "stranger.example")
        cls.refused(stranger.enrol, tokens["foreign"])
        cls.refused(client.enrol, tokens["used"])
        cls.tokens = {f"the {name} token": token.encode() for name, token in tokens.items()}
        for purpose in (keys.PURPOSE_TOKENS, keys.PURPOSE_MANIFESTS):
            cls.secrets.update(private_parts(client.keys(purpose)[1]))
            cls.refused(stranger.keys, purpose, DACM)
        skms.get(f"/ss-kir/v1/key-records?val-service-id={DACM}", "used.example")
        cls.delegate = skms.client("delegated.example", DELEGATED)
        cls.signing = cls.delegate.stub.Sign(
            keys.SignRequest(purpose=keys.PURPOSE_TOKENS, message=b"input")).kid
        operator = skms.admin()
        operator.RotateKey(admin.RotateKeyRequest(val_service=DACM, purpose=keys.PURPOSE_TOKENS))
        operator.RotateRoot(admin.RotateRootRequest())
        listed = operator.ListKeys(admin.ListKeysRequest()).keys
        operator.RevokeKey(admin.RevokeKeyRequest(kid=listed[0].kid, reason="lost"))
        cls.answers += [str(listed), str(operator.ListServices(admin.ListServicesRequest())),
                        str(operator.GetRoot(admin.GetRootRequest()))]
        for path in ("/metrics", "/healthz",
                     f"/.well-known/jwks.json?val-service-id={DACM}&purpose=manifests"):
            cls.answers.append(skms.get(path)[2].decode())
        cls.copy = skms.dir / "copy"
        done = skms.run("--store-backup", cls.copy)
        assert done.returncode == 0, done.stderr
        cls.pages = cls.locked_pages()

    @classmethod
    def tearDownClass(cls):
        cls.skms.close()

    @classmethod
    def refused(cls, call, *arguments):
        try:
            call(*arguments)
        except grpc.RpcError as error:
            cls.answers.append(error.details())
        else:
            raise AssertionError("it was not refused")

    @classmethod
    def locked_pages(cls):
        """What skmsd holds in locked memory, of which the last bytes of a page are in use."""
        if SANITIZED:
            return []
        with open(f"/proc/{cls.skms.process.pid}/mem", "rb", buffering=0) as file:
            return [memory.read(file, mapping)
                    for mapping in memory.mappings(cls.skms.process.pid) if mapping.locked]

    def held(self):
        """By the public half that libsodium keeps behind the private one; what has none is the key
        that seals all others."""
        publics = {}
        for key in self.skms.admin().ListKeys(admin.ListKeysRequest()).keys:
            publics[unb64url(json.loads(key.public_jwk)["x"])] = f"delegated key {key.kid}"
        root = json.loads(self.skms.admin().GetRoot(admin.GetRootRequest()).jwk)
        publics[unb64url(root["x"])] = "root"
        found = {}
        for page in self.pages:
            name = publics.get(page[-32:])
            found[name or "key of the store"] = page[-64:-32] if name else page[-32:]
        return found

    def all_secrets(self):
        return self.secrets | self.tokens | (self.held() if self.pages else {})

    # -- files and answers

    def test_files_hold_none_of_them(self):
        files = [path for path in self.skms.dir.rglob("*")
                 if path.is_file() and path != self.skms.secret_file
                 and path.parent != self.skms.pki]
        names = {path.name for path in files}
        self.assertLessEqual({"skmsd.log", "data.mdb"} & names, names)
        self.assertTrue(any(self.copy in path.parents for path in files))
        self.assertTrue(any(path.name.startswith("audit-") for path in files))
        for path in files:
            content = path.read_bytes()
            for name, secret in self.all_secrets().items():
                self.assertNotIn(secret, content, f"{name} in {path}")

    def test_answers_and_refusals_hold_none_of_them(self):
        self.assertGreater(len(self.answers), 8)
        for answer in self.answers:
            for name, secret in self.all_secrets().items():
                self.assertNotIn(secret, answer.encode(), name)

    # -- memory

    @unittest.skipIf(SANITIZED, "sanitizers lock no memory")
    @unittest.skipIf(os.geteuid() != 0, "only root reads the memory of a process that hides it")
    def test_memory_that_can_be_swapped_out_or_dumped_holds_no_key(self):
        held = self.held()
        self.assertEqual(set(held), {"root", "key of the store", f"delegated key {self.signing}"})
        found = memory.search(self.skms.process.pid, self.secrets | held)
        for name, mapping in found:
            self.assertTrue(mapping.locked and not mapping.dumped, f"{name} in {mapping}")
        self.assertEqual(sorted(name for name, _ in found), sorted(held))  # each of them once
        self.assertGreaterEqual(memory.locked_kb(self.skms.process.pid), 4 * len(held))

    def test_no_core_is_dumped(self):
        """Neither the limit nor the process itself permits one, and whoever could raise the limit
        finds the keys' memory left out of it (above)."""
        skms = keyserver.Skms()
        self.addCleanup(shutil.rmtree, skms.dir)
        self.addCleanup(skms.process.kill)
        self.assertEqual(resource.prlimit(skms.process.pid, resource.RLIMIT_CORE), (0, 0))
        skms.process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(skms.process.pid, 0)
        skms.process.returncode = -os.WTERMSIG(status)
        skms.process.stderr.close()
        self.assertEqual(os.WTERMSIG(status), signal.SIGABRT)
        self.assertFalse(os.WCOREDUMP(status))


@unittest.skipIf(SANITIZED, "sanitizers lock no memory")
class LockedMemory(unittest.TestCase):
    """Started without the right to lock more than a limit."""

    def skms(self, kib, settings=None):
        drop = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []

        class Limited(keyserver.Skms):
            prefix = ["prlimit", f"--memlock={kib << 10}", *drop]
        skms = Limited(settings)
        self.addCleanup(skms.close)
        return skms

    def test_too_little_is_a_reason_not_to_start_that_says_what_to_do(self):
        with self.assertRaises(AssertionError) as error:
            self.skms(64)
        for part in ("128 KiB", "LimitMEMLOCK=", "ulimit -l", "master.allow_unlocked"):
            self.assertIn(part, str(error.exception))

    def test_operator_may_allow_it_and_is_warned(self):
        def allow(_, config):
            config["master"]["allow_unlocked"] = True
        skms = self.skms(0, allow)
        self.assertIn("may be written to the swap", skms.log())
        skms.add()
        self.assertTrue(all(skms.client("dacm.example").keys()[1]))
        self.assertEqual(memory.locked_kb(skms.process.pid), 0)

    def test_key_for_which_none_is_left_does_not_sign_and_says_why(self):
        skms = self.skms(160)
        signed, refusals = 0, []
        for i in range(24):
            service = f"https://{i}.example"
            skms.add(service, delegated=True)
            client = skms.client(f"{i}.example", service)
            for purpose in (keys.PURPOSE_TOKENS, keys.PURPOSE_MANIFESTS):
                try:
                    client.stub.Sign(keys.SignRequest(purpose=purpose, message=b"x"))
                    signed += 1
                except grpc.RpcError as error:
                    refusals.append(error)
        self.assertGreater(signed, 30)
        self.assertTrue(refusals)
        for error in refusals:
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertIn("LimitMEMLOCK", error.details())
        self.assertLessEqual(memory.locked_kb(skms.process.pid), 160)


if __name__ == "__main__":
    unittest.main(verbosity=2)
