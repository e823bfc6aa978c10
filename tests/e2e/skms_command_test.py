# SPDX-License-Identifier: Apache-2.0
"""dacm keys … against a real skmsd: the operator's commands on its socket, and key sets over TLS."""
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import time
import unittest

import configured
import harness
import keygiver
import keyserver
from keyserver import DACM, keys

SIMS = "https://sims.example"


class Command(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        def roomy(_, config):
            config["store"]["services_max"] = 4096
        cls.skms = keyserver.Skms(roomy)

    @classmethod
    def tearDownClass(cls):
        cls.skms.close()

    def setUp(self):
        home = tempfile.TemporaryDirectory(prefix="dacm-e2e-")
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith(("DACM_", "XDG_"))}
        self.env |= {"HOME": str(self.home), "DACM_SKMS_ADMIN": f"ipc://{self.skms.dir}/admin.sock",
                     "DACM_SKMS": f"tls+tcp://{self.skms.address}",
                     "DACM_CA": f"{self.skms.pki}/ca.crt"}
        self.service = f"https://{self.id().rsplit('.', 1)[1].replace('_', '-')}.example/"

    def run_dacm(self, *arguments, code=0):
        done = subprocess.run([harness.BIN / "dacm", *map(str, arguments)], env=self.env,
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def told(self, *arguments):
        """The objects that a command prints."""
        done = self.run_dacm("keys", *arguments, "--json")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def fails(self, exit_code, words, *arguments):
        """Both as a sentence and as an object."""
        done = self.run_dacm("keys", *arguments, code=exit_code)
        self.assertEqual(done.stdout, "")
        self.assertIn(words, done.stderr)
        error = json.loads(self.run_dacm("--json", "keys", *arguments, code=exit_code).stdout)
        self.assertIn(words, error["error"]["message"])

    def create(self, *more):
        return self.told("services", "create", self.service, "--purpose", "manifests", *more)[0]

    def key(self, state):
        return self.told("list", self.service, "--state", state)[0]["kid"]


class Operator(Command):
    def test_services_are_created_and_listed(self):
        made = self.create("--purpose", "tokens", "--active", "30d", "--published-before", "2h",
                           "--verify-only", "90m", "--delegated")
        self.assertEqual(made["purposes"], ["tokens", "manifests"])
        self.assertEqual(made["policy"], {
            "active_s": 30 * 86400, "published_before_s": 7200, "verify_only_s": 5400,
            "delegated": True, "provisioned": False})
        self.assertIn(made, self.told("services"))
        text = self.run_dacm("keys", "services").stdout
        self.assertIn(f"{self.service}\n  keys for tokens and manifests\n  each signs for 30d, is "
                      "published 2h before, verifies for 90m after; private halves do not leave\n",
                      text)
        self.fails(9, "is there already", "services", "create", self.service, "--purpose", "tokens")

    def test_wrong_services_say_what_is_right(self):
        for words, *arguments in (
                ("--purpose manifests (a DACM)", self.service),
                ("--purpose takes manifests or tokens", self.service, "--purpose", "everything"),
                ("which VAL service", "--purpose", "tokens"),
                ("what is 'more'", self.service, "more", "--purpose", "tokens"),
                ("val_service", "no uri", "--purpose", "tokens"),
                *(("--active takes a time such as 90d", self.service, "--purpose", "tokens",
                   "--active", wrong) for wrong in ("", "0d", "-1d", "9y", "d", "1dd", "3661d",
                                                    "99999999999999999999d"))):
            with self.subTest(arguments=arguments):
                self.fails(2, words, "services", "create", *arguments)
        self.assertEqual([made for made in self.told("services")
                          if made["service"] == self.service], [])

    def test_many_services_and_keys_come_in_pages(self):
        names = [f"{self.service}{at:04}" for at in range(1005)]
        stub = self.skms.admin()
        policy = keyserver.admin.Policy(provisioned=True)  # none is made: quick
        for name in names:
            stub.CreateService(keyserver.admin.ValService(
                val_service=name, purposes=[keys.PURPOSE_TOKENS], policy=policy))
        self.assertEqual([made["service"] for made in self.told("services")
                          if made["service"].startswith(self.service)], names)
        self.assertEqual(self.told("list", names[-1]), [])

    def test_keys_are_listed_shown_and_rotated(self):
        self.create("--published-before", "1s")
        active, following = self.told("list", self.service)
        self.assertEqual((active["state"], following["state"]), ("active", "pre-published"))
        self.assertEqual(active["signs_until"], following["signs_from"])
        self.assertEqual(active["jwk"]["kid"], active["kid"])
        self.assertNotIn("d", active["jwk"])
        self.assertEqual(self.told("show", active["kid"]), [active])
        text = self.run_dacm("keys", "list", self.service).stdout
        self.assertRegex(text, f"^{re.escape(self.service)}, manifests\n"
                         f"  active         {active['kid']}  2.* UTC to 2.* UTC\n"
                         f"  pre-published  {following['kid']}  ")
        self.assertIn("state     active\n",
                      self.run_dacm("keys", "show", active["kid"]).stdout)
        self.assertEqual(self.told("list", self.service, "--purpose", "tokens"), [])
        self.assertEqual(
            [key["kid"] for key in self.told("list", "--state", "active")
             if key["service"] == self.service], [active["kid"]])
        deadline = time.monotonic() + harness.START_SECONDS
        self.assertEqual(self.told("rotate", self.service)[0]["kid"], following["kid"])
        while self.key("active") != following["kid"]:  # published for a second by then
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(self.key("verify-only"), active["kid"])

    def test_rotation_asks_which_keys_where_there_are_both(self):
        self.create("--purpose", "tokens")
        self.fails(2, "--purpose manifests or --purpose tokens", "rotate", self.service)
        turned = self.told("rotate", self.service, "--purpose", "tokens")[0]
        self.assertEqual(turned["purpose"], "tokens")

    def test_a_revoked_key_is_compromised_and_another_one_signs(self):
        self.create()
        first, following = self.key("active"), self.key("pre-published")
        self.fails(2, "Give --reason", "revoke", first)
        self.fails(2, "Give --reason", "revoke", first, "--reason", "")
        self.fails(2, "reason", "revoke", first, "--reason", "x" * 257)
        self.assertEqual(self.key("active"), first)
        gone = self.told("revoke", first, "--reason", "the disk was sold")[0]
        self.assertEqual((gone["state"], gone["reason"]), ("compromised", "the disk was sold"))
        self.assertEqual(self.key("active"), following)
        again = self.run_dacm("keys", "revoke", first, "--reason", "twice").stdout
        self.assertIn("because   the disk was sold\n", again)
        self.assertIn("verifies  nothing any more\n", again)
        self.assertIn("the disk was sold", json.dumps(self.skms.audit()))
        told = [line for line in self.skms.log().splitlines() if "a key is compromised" in line]
        self.assertEqual((json.loads(told[0])["kid"], json.loads(told[0])["level"]),
                         (first, "warning"))
        self.assertNotIn("the disk was sold", self.skms.log())

    def test_a_kid_may_begin_with_a_dash(self):
        kid = "-" + "a" * 42
        for verb in (["show"], ["revoke", "--reason", "lost"]):
            self.fails(4, f"'{kid}'", *verb, kid)
            self.fails(4, f"'{kid}'", *verb, "--", kid)
        self.fails(2, "", "show", "-" + "a" * 41)

    def test_what_is_not_there_is_told_as_such(self):
        other = "https://nobody.example/"
        for arguments in (["list", other], ["rotate", other, "--purpose", "tokens"],
                          ["rotate", other],
                          ["enrol", other, "dacm.example"], ["unenrol", other, "dacm.example"],
                          ["show", "a" * 43], ["revoke", "a" * 43, "--reason", "lost"]):
            with self.subTest(arguments=arguments):
                self.fails(4, "there is no", *arguments)
        self.fails(2, "which key", "show")
        self.fails(2, "--state takes pre-published", "list", "--state", "lost")
        self.fails(2, "which SKM-C", "enrol", other)

    def test_an_skm_c_enrols_with_the_token_and_is_sent_away_again(self):
        self.create()
        name = "enrolled.example"
        token = self.told("enrol", self.service, name)[0]
        self.assertEqual((token["service"], token["name"]), (self.service, name))
        self.assertGreater(token["expires_at"], time.time())
        file = self.home / "token"
        text = self.run_dacm("keys", "enrol", self.service, name, "-o", file).stdout
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertNotIn(file.read_text().strip(), text)
        client = keyserver.Client(self.skms, name)
        with self.assertRaises(keyserver.grpc.RpcError):  # the second token replaced the first
            client.enrol(token["token"])
        client.enrol(file.read_text().strip())
        self.assertEqual(client.keys()[1][0]["kid"], self.key("active"))
        self.assertIn(f"  {name}: enrolled 2", self.run_dacm("keys", "services").stdout)
        self.run_dacm("keys", "unenrol", self.service, name)
        with self.assertRaises(keyserver.grpc.RpcError) as refused:
            client.keys()
        self.assertEqual(harness.code_of(refused), keyserver.grpc.StatusCode.PERMISSION_DENIED)
        self.fails(4, "has no enrolment", "unenrol", self.service, name)
        self.fails(11, "cannot", "enrol", self.service, name, "-o", "/nonexistent/token")

    def test_another_server_and_none(self):
        self.env["DACM_SKMS_ADMIN"] = ""
        self.fails(2, "no SKM-S was named; give --admin ipc:///run/skmsd/admin.sock", "list")
        self.fails(8, "", "list", "--admin", f"ipc://{self.home}/nobody.sock")

    def test_help_and_completion_know_every_command(self):
        done = self.run_dacm("keys", "--help").stdout
        verbs = re.findall(r"^  (\w+(?: create| rotate)?) ", done, re.M)
        self.assertEqual(len(verbs), 12, done)
        for verb in verbs:
            text = self.run_dacm("keys", *verb.split(), "--help").stdout
            self.assertIn("Usage: dacm keys " + verb, text)
        script = self.run_dacm("completion", "bash").stdout

        def complete(*words):
            run = subprocess.run(
                ["bash", "-c", script + '\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dacm; '
                 'printf "%s\\n" "${COMPREPLY[@]}"', "-", harness.BIN / "dacm", *words],
                env=self.env, capture_output=True, text=True, timeout=60)
            self.assertEqual(run.returncode, 0, run.stderr)
            return run.stdout.split()
        self.assertEqual(complete("key"), ["keys"])
        self.assertEqual(complete("keys", "ser"), ["services"])
        self.assertEqual(complete("keys", "services", "c"), ["create"])
        self.assertEqual(complete("keys", "root", "r"), ["rotate"])
        self.assertEqual(complete("keys", "services", "create", "--del"), ["--delegated"])
        self.assertEqual(complete("keys", "revoke", "--rea"), ["--reason"])
        self.assertIn("-a rotate", self.run_dacm("completion", "fish").stdout)


class Watch(Command):
    """The root is pinned first, as an operator tells it."""

    def pin(self, *more):
        file = self.home / "root.jwk"
        root = self.told("root", "-o", file)[0]
        self.assertEqual(json.loads(file.read_text()), root["jwk"])
        self.run_dacm("trust", "add", file, "--fingerprint", root["fingerprint"], *more)
        return root

    def watch(self, *more):
        """Started; its lines as objects, one after another."""
        process = subprocess.Popen(
            [harness.BIN / "dacm", "keys", "watch", self.service, "--json", "--server-name",
             "localhost", *more], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)

        def end():
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def next(self, process):
        line = process.stdout.readline()
        if not line:
            self.fail(process.stderr.read())
        return json.loads(line)

    def states(self, told):
        return {change["kid"]: (change.get("from"), change.get("to"))
                for change in told["changes"]}

    def once(self, *more, code=0):
        return self.run_dacm("keys", "watch", self.service, "--once", "--server-name", "localhost",
                             *more, code=code)

    def test_changes_come_verified_as_they_happen(self):
        self.pin()
        self.create()
        active, following = self.key("active"), self.key("pre-published")
        process = self.watch()
        told = self.next(process)
        self.assertEqual((told["service"], told["purpose"], told["version"]),
                         (self.service, "manifests", 1))
        self.assertEqual(self.states(told), {active: (None, "active"), following: (None, "active")})
        self.told("revoke", active, "--reason", "lost")
        told = self.next(process)
        self.assertGreater(told["version"], 1)
        self.assertEqual(self.states(told)[active], ("active", "compromised"))
        self.assertEqual(self.states(told)[self.key("pre-published")], (None, "active"))
        kept = json.loads(self.run_dacm("--json", "trust", "list").stdout)
        self.assertEqual({made["service"]: made["version"] for made in kept["sets"]}[self.service],
                         told["version"])

    def test_a_root_that_is_replaced_is_followed(self):
        self.pin()
        self.create()
        process = self.watch()
        self.next(process)
        before = self.told("root")[0]["sequence"]
        root = self.told("root", "rotate")[0]
        self.assertEqual(root["sequence"], before + 1)
        self.next(process)
        kept = json.loads(self.run_dacm("--json", "trust", "list").stdout)
        self.assertEqual((kept["sequence"], kept["fingerprint"]),
                         (root["sequence"], root["fingerprint"]))

    def test_it_goes_on_when_the_server_comes_back(self):
        self.pin()
        self.create()
        process = self.watch()
        version = self.next(process)["version"]
        self.skms.kill()
        self.assertIn("again in", process.stderr.readline())
        self.skms.start()
        told = self.next(process)
        self.assertGreaterEqual(told["version"], version)
        self.assertEqual(told["changes"], [])

    def test_once_prints_the_set_of_now_as_text(self):
        self.pin()
        self.create()
        text = self.once().stdout
        self.assertRegex(text, "^version 1, good until 2.* UTC\n")
        self.assertIn(f"  {self.key('active')}: active, signs 2", text)

    def test_nothing_unverified_is_printed(self):
        self.create()
        done = self.once(code=6)
        self.assertIn("dacm trust add", done.stderr)
        self.assertEqual(done.stdout, "")
        file = self.home / "other.jwk"
        signer = json.loads(self.run_dacm("keys", "root", "--json").stdout)
        stranger = dict(signer["jwk"], x=self.told("list", self.service)[0]["jwk"]["x"])
        del stranger["kid"]
        stranger["kid"] = keyserver.thumbprint(stranger)
        file.write_text(json.dumps(stranger))
        self.run_dacm("trust", "add", file, "--fingerprint", "SHA256:" + stranger["kid"])
        done = self.once(code=6)
        self.assertEqual(done.stdout, "")

    def test_a_set_that_is_older_than_what_was_seen_ends_it(self):
        self.pin()
        self.create()
        self.once()
        file = next(self.home.rglob("trust.json"))
        text = file.read_text()
        kept = json.loads(text)
        seen = json.dumps(kept).count('"version": 1')
        self.assertTrue(seen, text)
        file.write_text(json.dumps(kept).replace('"version": 1', '"version": 5'))
        done = self.once(code=5)
        self.assertEqual(done.stdout, "")

    def test_wrong_arguments_and_servers_say_what_to_do(self):
        self.pin()
        self.fails(2, "--purpose takes", "watch", self.service, "--purpose", "all")
        self.fails(2, "whose keys", "watch", "--once")
        done = self.once(code=4)  # no such service
        self.assertEqual(done.stdout, "")
        self.create()
        self.once("--ca", self.home / "nothing", code=2)
        self.env["DACM_SKMS"] = ""
        self.fails(2, "--server tls+tcp://host:7643", "watch", self.service)
        self.run_dacm("trust", "remove", "https://skms.example")
        self.pin("--address", f"tls+tcp://{self.skms.address}")
        self.once()  # where the pin says
        self.env["DACM_SKMS"] = f"tls+tcp://127.0.0.1:{harness.ports.reserve()}"
        self.once(code=8)


class Upload(unittest.TestCase):
    """dacm keys upload, by a VAL server with a certificate and a token of simsd's."""

    @classmethod
    def setUpClass(cls):
        cls.world = keygiver.World()
        cls.service = "https://maps.example"
        cls.val = keygiver.Server(cls.world, "val", [cls.service])
        cls.other = keygiver.Server(cls.world, "other", ["https://else.example"])
        skms, pki = cls.world.skms, cls.world.sims.dir / "pki"
        cls.pki = pki
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="dacm-e2e-"))
        cls.env = {name: value for name, value in os.environ.items()
                   if not name.startswith(("DACM_", "XDG_"))}
        cls.env |= {"HOME": str(cls.dir), "DACM_SKMS": f"tls+tcp://{skms.address}",
                    "DACM_CA": f"{skms.pki}/ca.crt",
                    "DACM_SKMS_ADMIN": f"ipc://{skms.dir}/admin.sock"}
        cls.run_dacm("services", "create", cls.service, "--purpose", "manifests", "--purpose",
                     "tokens", "--provisioned", "--published-before", "60s")
        cls.run_dacm("enrol", cls.service, cls.val.name, "--client", "val", "--client-issuer",
                     cls.world.sims.issuer)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)
        assert cls.world.close() == 0

    @classmethod
    def run_dacm(cls, *arguments, code=0):
        done = subprocess.run([harness.BIN / "dacm", "keys", *map(str, arguments)], env=cls.env,
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def file(self, name, text, mode=0o600):
        path = self.dir / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        path.chmod(mode)
        return path

    def upload(self, key, *more, server=None, service=None, token=None, purpose="manifests",
               code=0):
        server = server or self.val
        token = self.file("token", (token or server.token(scope="seal.kp")) + "\n")
        return self.run_dacm(
            "upload", service or self.service, key, "--purpose", purpose, "--token-file", token,
            "--server-name", "localhost", "--cert", self.pki / f"{server.name}.crt", "--key",
            self.pki / f"{server.name}.key", *more, code=code)

    def published(self, kid):
        return [key["dacm_state"] for key in self.world.key_set(self.service)
                if key["kid"] == kid]

    def test_a_key_is_brought_shown_and_brought_again(self):
        jwk = keygiver.private_jwk()
        file = self.file("key.jwk", jwk)
        told = json.loads(self.upload(file, "--json").stdout)
        self.assertEqual(told["kid"], keyserver.thumbprint(jwk))
        self.assertEqual(self.published(told["kid"]), ["active"])
        shown = json.loads(self.run_dacm("show", told["kid"], "--json").stdout)
        self.assertEqual((shown["service"], shown["signs_from"]),
                         (self.service, told["signs_from"]))
        self.assertEqual(json.loads(self.upload(file, "--json").stdout), told)
        listed = self.run_dacm("services").stdout
        self.assertIn(f"with tokens of val from {self.world.sims.issuer}", listed)
        text = self.upload(file).stdout
        self.assertNotIn(jwk["d"], text)
        self.assertIn(f"key       {told['kid']}\nof        {self.service}\n", text)

    def test_what_dacm_pki_keys_makes_signs_when_it_is_said(self):
        subprocess.run([harness.BIN / "dacm", "pki", "keys", self.dir, "own", "--for", "token"],
                       check=True, capture_output=True)
        begins = int(time.time()) + 7200
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begins + 3600))
        told = json.loads(self.upload(self.dir / "own.jwks", "--signs-from", begins,
                                      "--signs-until", ends, "--json", purpose="tokens").stdout)
        self.assertEqual((told["signs_from"], told["signs_until"], told["purpose"]),
                         (begins, begins + 3600, "tokens"))

    def test_who_may_not_is_refused(self):
        file = self.file("key.jwk", keygiver.private_jwk())
        self.upload(file, server=self.other, code=3)  # its SKeyProv names another service
        self.upload(file, service="https://else.example", code=3)
        self.upload(file, token=self.val.token(scope="seal.km"), code=3)
        self.upload(file, token=self.other.token(scope="seal.kp"), code=7)  # another certificate's
        self.upload(file, token="nonsense", code=7)
        self.assertEqual(self.published(keyserver.thumbprint(json.loads(file.read_text()))), [])

    def test_what_is_no_key_stays_here_and_in_no_message(self):
        jwk = keygiver.private_jwk()
        for wrong in ({**jwk, "d": None}, {"keys": [jwk, keygiver.private_jwk()]}, {"keys": []},
                      [jwk], "{" + jwk["d"], "", "x" * 5000, {"keys": jwk}):
            with self.subTest(wrong=wrong):
                done = self.upload(self.file("wrong.jwk", wrong), code=2)
                self.assertNotIn(jwk["d"], done.stdout + done.stderr)
        self.upload(self.file("wrong.jwk", {**jwk, "kty": "RSA"}), code=2)
        self.upload(self.dir / "nowhere", code=11)

    def test_wrong_arguments_say_what_is_right(self):
        file = self.file("key.jwk", keygiver.private_jwk())
        for words, *arguments in (
                ("which VAL service",), ("which key", "x"), ("--purpose manifests", "x", file),
                ("what is", "x", file, "more"), ("--token-file", "x", file, "--purpose", "tokens"),
                *(("--signs-from takes a time", "x", file, "--signs-from", wrong)
                  for wrong in ("", "0", "-5", "tomorrow", "2026-12-01", "1e9", "9" * 30,
                                "2026-12-01T00:00:00Zx", "1960-01-01T00:00:00Z"))):
            with self.subTest(arguments=arguments):
                self.assertIn(words, self.run_dacm("upload", *arguments, code=2).stderr)


class Audit(Command):
    """dacm audit verify, of skmsd's trail."""

    def verify(self, folder, *more, code=0):
        return self.run_dacm("audit", "verify", folder, *more, code=code)

    def test_the_trail_is_followed_beside_a_running_server_and_a_stopped_one(self):
        folder = self.skms.dir / "audit"
        self.create()
        running = json.loads(self.verify(folder, "--json").stdout)
        self.assertEqual((running["first"], running["records"]), (1, len(self.skms.audit())))
        self.create_another()
        self.assertEqual(self.skms.stop()[0], 0)
        self.addCleanup(self.skms.start)
        stopped = json.loads(self.verify(folder, "--json", "--head", running["head"]).stdout)
        self.assertGreater(stopped["records"], running["records"])
        self.assertNotEqual(stopped["head"], running["head"])
        tool = json.loads(self.skms.run("--audit-verify", "--json").stdout)
        self.assertEqual(tool, stopped)
        self.assertIn(f"the chain holds; its head is\n{stopped['head']}\n",
                      self.verify(folder).stdout)

    def create_another(self):
        self.told("enrol", self.service, "another.example")

    def test_what_was_changed_or_removed_is_found(self):
        self.create()
        self.create_another()
        copy = self.home / "audit"
        shutil.copytree(self.skms.dir / "audit", copy)
        head = json.loads(self.verify(copy, "--json").stdout)["head"]
        segment = sorted(copy.glob("audit-*.log"))[-1]
        lines = segment.read_bytes().splitlines(keepends=True)
        segment.write_bytes(b"".join(lines[:-1]))  # the newest record: the chain holds without it
        self.verify(copy)
        done = self.verify(copy, "--head", head, code=5)
        self.assertIn("records were removed", done.stderr)
        segment.write_bytes(b"".join(lines).replace(b"another.example", b"someone.example"))
        done = self.verify(copy, code=5)
        self.assertIn(segment.name, done.stderr)

    def test_wrong_arguments_say_what_is_right(self):
        self.assertIn("audit.directory", self.run_dacm("audit", "verify", code=2).stderr)
        self.assertIn("--head takes", self.verify("x", "--head", "A" * 64, code=2).stderr)
        self.verify(self.home / "nowhere", code=11)


class Development(unittest.TestCase):
    """`dacm dev` runs skmsd, and its dacmd signs with the key that it has from there."""

    def setUp(self):
        self.dev = harness.Dev()
        self.addCleanup(lambda: self.assertEqual(self.dev.stop(), 0))

    def dacm(self, *arguments):
        done = self.dev.cli(*arguments)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def listed(self):
        return {key["state"]: key["kid"] for key in map(json.loads, self.dacm(
            "keys", "list", self.dev.audience, "--json").splitlines())}

    def kid_of_new(self):
        asset = self.dev.upload(os.urandom(100), self.dev.users[0]).asset_id
        out = self.dev.dir / asset
        self.dacm("get", asset, "--as", self.dev.users[0], "-o", out)
        self.dacm("verify", out)
        return json.loads(harness.unb64url(
            pathlib.Path(f"{out}.jws").read_text().split(".")[0]))["kid"]

    def watch(self):
        self.dacm("keys", "watch", "--once")

    def test_commands_go_by_the_pinned_root_and_learn_of_a_lost_key(self):
        kid = self.kid_of_new()
        out = next(self.dev.dir.glob("*.jws")).with_suffix("")
        self.dacm("keys", "revoke", "--reason", "a test", "--", kid)
        done = self.dev.cli("verify", out)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("compromised", done.stderr)
        self.dacm("verify", out, "--keys", self.dev.env["keys_file"])  # of the start

    def test_manifests_are_signed_by_keys_of_skmsd_that_turn_and_are_revoked(self):
        self.assertEqual(set(self.dev.env["skms"]) & {"grpc", "https", "resource"},
                         {"grpc", "https", "resource"})
        self.watch()
        before = self.listed()
        self.assertEqual(self.kid_of_new(), before["active"])
        self.assertIn(before["active"], pathlib.Path(self.dev.env["keys_file"]).read_text())
        turned = json.loads(self.dacm("keys", "rotate", self.dev.audience, "--json"))["kid"]
        self.assertEqual(turned, before["pre-published"])
        configured.wait_until("it signs", lambda: self.listed()["active"] == turned)
        self.watch()
        configured.wait_until("dacmd turns", lambda: self.kid_of_new() == turned)
        self.dacm("keys", "revoke", "--reason", "a test", "--", turned)
        self.watch()
        configured.wait_until(
            "dacmd signs with another", lambda: self.kid_of_new() == self.listed()["active"])

    def test_a_second_run_goes_on_and_enrols_only_where_it_has_to(self):
        first = self.kid_after_watch()
        token = self.dev.dir / "config" / "dacmd.token"
        used = token.read_text()
        self.restart()
        self.assertEqual(self.kid_after_watch(), first)
        self.assertEqual(token.read_text(), used)
        self.restart(lambda: shutil.rmtree(self.dev.dir / "data" / "skms"))
        self.assertEqual(self.kid_after_watch(), first)
        self.assertNotEqual(token.read_text(), used)

    def kid_after_watch(self):
        self.watch()
        return self.kid_of_new()

    def restart(self, between=lambda: None):
        self.dev.process.terminate()
        self.assertEqual(self.dev.process.wait(harness.START_SECONDS), 0)
        self.dev.log.close()
        between()
        self.dev.start()


if __name__ == "__main__":
    unittest.main()
