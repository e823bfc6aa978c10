# SPDX-License-Identifier: Apache-2.0
"""simsd as a program: what it says of a configuration, what SIGHUP and SIGTERM do, its tools beside
it, and what it tells of its DACM."""
import json
import os
import shutil
import signal
import ssl
import subprocess
import unittest
import urllib.error
import urllib.request

import harness
from configured import wait_until
from harness import ports

FAILED = 1


class Simsd:
    """A simsd of the test's own: certificates and DACM are those of `dacm dev`."""

    def __init__(self, dev):
        self.dev, self.process = dev, None
        self.dir = dev.dir / ("own-" + os.urandom(4).hex())
        self.dir.mkdir(mode=0o700)
        (self.dir / "store").mkdir(mode=0o700)
        self.port = ports.reserve()
        self.log_file = self.dir / "log"
        self.new_key()
        pki = dev.dir / "pki"
        tls = {"certificate": f"{pki}/simsd.crt", "key": f"{pki}/simsd.key"}
        self.config = {
            "issuer": f"https://localhost:{self.port}",
            "listen": {"https": dict(tls, address="127.0.0.1", port=self.port),
                       "mtls": {"address": "127.0.0.1", "port": self.port + 1,
                                "client_ca": f"{pki}/ca.crt"},
                       "ops": dict(tls, address="127.0.0.1", port=self.port + 2),
                       "admin": {"url": f"ipc://{self.dir}/admin.sock"}},
            "dacms": [{"resource": dev.audience, "target": f"tls+tcp://127.0.0.1:{self.port + 3}",
                       "ca": f"{pki}/ca.crt", "certificate": f"{pki}/sims.crt",
                       "key": f"{pki}/sims.key"}],
            "keys": {"source": "file", "file": str(self.key_file)},
            "store": {"directory": f"{self.dir}/store"},
            "audit": {"directory": f"{self.dir}/audit"},
        }

    @property
    def key_file(self):
        return self.dir / "token.jwks"

    def new_key(self):
        """Another token key in the place of the one that is there."""
        folder = self.dir / os.urandom(4).hex()
        self.dev.cli("pki", "keys", folder, "token", "--for", "token", check=True)
        (folder / "token.jwks").rename(self.key_file)

    @property
    def kids(self):
        return {key["kid"] for key in json.loads(self.key_file.read_text())["keys"]}

    def write(self):
        path = self.dir / "simsd.yaml"
        path.write_text(json.dumps(self.config))  # JSON is YAML
        return path

    def tool(self, *arguments):
        return subprocess.run([harness.BIN / "simsd", "--config", self.write(), *arguments],
                              text=True, capture_output=True, timeout=120)

    def start(self):
        self.log = open(self.log_file, "ab")
        self.process = subprocess.Popen([harness.BIN / "simsd", "--config", self.write()],
                                        stdout=self.log, stderr=self.log)
        wait_until("simsd", lambda: self.said("ready") or self.process.poll() is not None)
        assert self.process.poll() is None, self.log_file.read_text()

    def said(self, message):
        return sum(json.loads(line)["message"] == message
                   for line in self.log_file.read_text().splitlines() if line.startswith("{"))

    def reload(self):
        """True when it went well."""
        good, bad = "reloaded keys and certificates", "reload failed: everything stays as it was"
        before = self.said(good), self.said(bad)
        self.process.send_signal(signal.SIGHUP)
        wait_until("an answer to SIGHUP", lambda: (self.said(good), self.said(bad)) != before)
        return self.said(good) > before[0]

    def stop(self):
        code = 0
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(harness.START_SECONDS)
        if self.process:
            self.log.close()
        return code

    def get(self, port, path):
        context = ssl.create_default_context(cafile=self.dev.env["ca_file"])
        with urllib.request.urlopen(
                f"https://localhost:{port}{path}", context=context, timeout=30) as reply:
            return reply.read().decode()

    def published(self):
        metadata = json.loads(self.get(self.port, "/.well-known/openid-configuration"))
        path = metadata["jwks_uri"].removeprefix(self.config["issuer"])
        return {key["kid"] for key in json.loads(self.get(self.port, path))["keys"]}


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dev = harness.Dev()

    @classmethod
    def tearDownClass(cls):
        assert cls.dev.stop() == 0

    def setUp(self):
        self.sims = Simsd(self.dev)

    def tearDown(self):
        self.assertEqual(self.sims.stop(), 0)

    # -- configuration

    def test_configuration_is_judged_with_the_files_that_it_names(self):
        done = self.sims.tool("--check-config")
        self.assertEqual((done.returncode, done.stdout.strip().endswith(": ok")), (0, True),
                         done.stderr)
        self.assertEqual(list((self.sims.dir / "store").iterdir()), [])  # nothing was made

    def test_file_that_is_wrong_is_named_with_its_setting(self):
        pki = self.dev.dir / "pki"
        for setting, change in (
                ("issuer", lambda c: c.update(issuer=c["issuer"] + "/")),
                ("dacms[0]", lambda c: c["dacms"][0].update(key=f"{pki}/val.key")),
                ("dacms[0]", lambda c: c["dacms"][0].update(ca=str(self.sims.dir / "none"))),
                ("listen.https", lambda c: c["listen"]["https"].update(key=f"{pki}/val.key")),
                ("listen.mtls", lambda c: c["listen"]["mtls"].update(client_ca=f"{pki}/val.key")),
                ("listen.ops", lambda c: c["listen"]["ops"].update(key=f"{pki}/val.key")),
                ("keys.file", lambda c: c["keys"].update(file=f"{pki}/manifest.jwks")),
                ("keys.file", lambda c: c["keys"].update(file=str(self.sims.dir / "none")))):
            kept = json.dumps(self.sims.config)
            change(self.sims.config)
            done = self.sims.tool("--check-config")
            self.assertEqual(done.returncode, FAILED, setting)
            self.assertIn(f"'{setting}'", done.stderr)
            self.assertIn("/simsd.yaml: ", done.stderr)
            self.sims.config = json.loads(kept)

    def test_key_that_others_can_read_is_refused(self):
        self.sims.key_file.chmod(0o644)
        done = self.sims.tool("--check-config")
        self.assertEqual(done.returncode, FAILED)
        self.assertIn("chmod 600", done.stderr)

    def test_every_setting_is_explained(self):
        done = subprocess.run([harness.BIN / "simsd", "--help-config"], text=True,
                              capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0)
        for setting in ("issuer", "listen.mtls.client_ca", "tokens.access_life_s",
                        "step5a.deadline_ms", "login.password_memory_bytes", "dacms"):
            self.assertIn(setting, done.stdout)

    # -- signals

    def test_sighup_takes_a_new_key_and_keeps_the_old_one_where_it_cannot(self):
        self.sims.start()
        first = self.sims.published()
        self.assertEqual(first, self.sims.kids)
        self.sims.new_key()
        self.assertTrue(self.sims.reload())
        second = self.sims.published()
        self.assertEqual(second, self.sims.kids)
        self.assertNotEqual(first, second)
        self.sims.key_file.write_text("{}")
        self.assertFalse(self.sims.reload())
        self.assertEqual(self.sims.published(), second)

    def test_sighup_that_is_refused_changes_nothing(self):
        """A good key, with settings and files that a reload cannot take."""
        pki = self.dev.dir / "pki"
        for kind in "crt", "key":  # its own pair for the DACM, which may go
            shutil.copy(pki / f"sims.{kind}", self.sims.dir / f"dacm.{kind}")
        self.sims.config["dacms"][0].update(
            certificate=str(self.sims.dir / "dacm.crt"), key=str(self.sims.dir / "dacm.key"))
        self.sims.start()
        first, good = self.sims.published(), json.dumps(self.sims.config)
        self.sims.new_key()

        def plain(config):
            listen = config["listen"]
            listen["ops"] = {name: listen["ops"][name] for name in ("address", "port")}

        def moved(config):  # they are read where they were at the start
            config["dacms"][0].update(certificate=f"{pki}/sims.crt", key=f"{pki}/sims.key")
            (self.sims.dir / "dacm.key").rename(self.sims.dir / "gone.key")

        for change, named in (plain, "listen.ops"), (moved, "dacms[0]"):
            with self.subTest(named=named):
                self.sims.config = json.loads(good)
                change(self.sims.config)
                self.sims.write()
                self.assertFalse(self.sims.reload())
                self.assertIn(named, self.sims.log_file.read_text().splitlines()[-1])
                self.assertEqual(self.sims.published(), first)
        (self.sims.dir / "gone.key").rename(self.sims.dir / "dacm.key")
        self.sims.config = json.loads(good)
        self.sims.write()
        self.assertTrue(self.sims.reload())
        self.assertEqual(self.sims.published(), self.sims.kids)

    def test_sigterm_ends_it_well_and_it_starts_again(self):
        for _ in range(2):
            self.sims.start()
            self.assertEqual(self.sims.stop(), 0)
            self.assertTrue(self.sims.said("stopped"))
            self.sims.log_file.unlink()

    def test_second_simsd_on_a_store_is_refused(self):
        self.sims.start()
        second = self.sims.tool()
        self.assertEqual(second.returncode, FAILED)
        self.assertIn("audit", second.stderr + second.stdout)

    # -- tools

    def test_tools_work_beside_it(self):
        self.sims.start()
        admin = ("--admin", self.sims.config["listen"]["admin"]["url"])
        password = self.sims.dir / "password"
        password.write_text("correct horse battery\n")
        self.dev.cli("user", "add", "carol", *admin, "--password-file", password,
                     "--gpsi", "msisdn-4915100000042", check=True)
        copy = self.sims.dir / "copy"
        checked = self.sims.tool("--store-check", "--json")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.assertEqual(json.loads(checked.stdout)["faults"], 0)
        self.assertGreaterEqual(json.loads(checked.stdout)["records"], 3)
        self.assertEqual(self.sims.tool("--store-backup", copy).returncode, 0)
        self.assertFalse((copy / "secret").exists())
        self.assertEqual(self.sims.tool("--store-stat", "--json").returncode, 0)
        audit = self.sims.tool("--audit-verify", "--json")
        self.assertEqual(audit.returncode, 0)
        self.assertGreaterEqual(json.loads(audit.stdout)["records"], 1)
        self.assertEqual(self.sims.stop(), 0)
        self.sims.config["store"]["directory"] = str(copy)
        self.assertEqual(self.sims.tool("--store-check").returncode, 0)
        self.sims.log_file.unlink()
        self.sims.start()
        told = self.dev.cli("user", "show", "carol", *admin, check=True)
        self.assertIn("msisdn-4915100000042", told.stdout)

    # -- watching

    def test_dacm_that_is_away_is_a_warning_and_a_metric(self):
        self.sims.start()
        health = json.loads(self.sims.get(self.sims.port + 2, "/healthz"))
        self.assertEqual(health["status"], "ok")
        self.assertIn("dacm away", [warning["name"] for warning in health["warnings"]])
        metrics = self.sims.get(self.sims.port + 2, "/metrics")
        self.assertIn(f'sim_report_connected{{dacm="{self.dev.audience}"}} 0', metrics)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            self.sims.get(self.sims.port, "/metrics")
        self.assertEqual(refused.exception.code, 404)


if __name__ == "__main__":
    unittest.main(verbosity=2)
