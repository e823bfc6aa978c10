# SPDX-License-Identifier: Apache-2.0
"""skmsd as a program: its configuration, where the master secret comes from, what it says when that
is another one, health, metrics, SIGHUP."""
import os
import signal
import subprocess
import threading
import unittest

import harness
import keyserver
from configured import wait_until
from keyserver import admin


class SkmsProgram(unittest.TestCase):
    def setUp(self):
        self.servers = []

    def tearDown(self):
        for server in self.servers:
            server.close()

    def server(self, settings=None):
        self.servers.append(keyserver.Skms(settings))
        return self.servers[-1]

    def test_check_config_judges_files_and_says_what_is_wrong(self):
        server = self.server()
        done = server.run("--check-config")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        server.secret_file.chmod(0o644)
        done = server.run("--check-config")
        self.assertEqual(done.returncode, 1)
        self.assertIn("others can read or change it", done.stderr)
        server.secret_file.chmod(0o600)
        server.secret_file.write_text("short\n")
        self.assertIn("5 bytes", server.run("--check-config").stderr)
        server.secret_file.write_text(keyserver.SECRET)
        server.config["listen"]["keys"]["client_ca"] = "/nonexistent"
        self.assertIn("listen.keys", server.run("--check-config").stderr)
        done = subprocess.run([harness.BIN / "skmsd", "--help-config"], capture_output=True,
                              text=True, timeout=60)
        self.assertIn("keys.published_before_s", done.stdout)

    def test_another_secret_is_told_as_such(self):
        server = self.server()
        server.add()
        server.stop()
        server.secret_file.write_text("another secret, as long as it has to be\n")
        done = server.run()
        self.assertEqual(done.returncode, 1)
        self.assertIn("not the one that this store was sealed with", done.stderr + server.log())
        self.assertNotIn("another secret", done.stderr + server.log())
        server.secret_file.write_text(keyserver.SECRET + "\n")
        server.start()
        self.assertEqual(len(server.admin().ListKeys(admin.ListKeysRequest()).keys), 4)

    def test_secret_from_a_descriptor_and_from_a_credential_is_the_same_secret(self):
        server = self.server()
        server.add()
        server.stop()
        read, write = os.pipe()
        server.config["master"] |= {"source": "descriptor", "descriptor": read}
        server.pass_fds = (read,)
        writer = threading.Thread(target=lambda: (os.write(write, keyserver.SECRET.encode()),
                                                  os.close(write)))
        writer.start()
        server.start()
        writer.join()
        os.close(read)
        self.assertEqual(len(server.admin().ListKeys(admin.ListKeysRequest()).keys), 4)
        server.stop()
        server.pass_fds = ()
        server.config["master"]["source"] = "credential"
        self.assertIn("LoadCredential", server.run("--check-config").stderr)
        folder = server.dir / "credentials"
        folder.mkdir(mode=0o700)
        (folder / "skmsd.master").write_text(keyserver.SECRET + "\n")
        (folder / "skmsd.master").chmod(0o400)
        os.environ["CREDENTIALS_DIRECTORY"] = str(folder)
        try:
            server.start()
        finally:
            del os.environ["CREDENTIALS_DIRECTORY"]
        self.assertEqual(len(server.admin().ListKeys(admin.ListKeysRequest()).keys), 4)

    def test_health_and_metrics(self):
        server = self.server()
        server.add()
        status, _, body = server.get("/healthz")
        self.assertEqual(status, 200, body)
        _, _, body = server.get("/metrics")
        for line in (b"skm_key_set_changes_total 2", b"skm_key_sets_signed_total 2",
                     b"skm_watchers 0", b"skm_audit_refused_total 0"):
            self.assertIn(line, body)

    def test_sighup_takes_a_new_certificate_and_keeps_the_old_when_it_is_broken(self):
        server = self.server()
        certificate = server.pki / "skmsd.crt"

        def serial():
            done = subprocess.run(
                ["openssl", "s_client", "-connect", server.address, "-alpn", "h2"], input="",
                capture_output=True, text=True, timeout=60)
            return done.stdout[done.stdout.index("-----BEGIN"):done.stdout.index("-----END")]

        def reload(expected):
            before = server.log().count(expected)
            server.process.send_signal(signal.SIGHUP)
            wait_until(expected, lambda: server.log().count(expected) > before)
        first = serial()
        server.certificate("skmsd")
        reload("reloaded certificates")
        second = serial()
        self.assertNotEqual(first, second)
        good = certificate.read_text()
        certificate.write_text("no certificate")
        reload("listen.keys")
        self.assertEqual(serial(), second)
        certificate.write_text(good)
        self.assertEqual(server.stop()[0], 0)

    def test_watchers_are_bounded_and_counted(self):
        def one(_, config):
            config["keysets"] = {"watchers_max": 1}
        server = self.server(one)
        server.add()
        stub = server.stub()
        request = keyserver.keys.GetKeySetRequest(
            val_service=keyserver.DACM, purpose=keyserver.keys.PURPOSE_TOKENS)
        first = stub.WatchKeys(request, timeout=60)
        next(first)
        with self.assertRaises(keyserver.grpc.RpcError) as refused:
            next(stub.WatchKeys(request, timeout=60))
        self.assertEqual(harness.code_of(refused), keyserver.grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn(b"skm_watchers_refused_total 1", server.get("/metrics")[2])
        first.cancel()
        wait_until("room for a watcher", lambda: b"skm_watchers 0" in server.get("/metrics")[2])

    def test_watchers_are_told_that_the_server_stops_and_do_not_hold_it_up(self):
        def one(_, config):
            config["limits"] = {"drain_ms": 600000}  # longer than stop() waits
        server = self.server(one)
        server.add()
        watch = server.stub().WatchKeys(keyserver.keys.GetKeySetRequest(
            val_service=keyserver.DACM, purpose=keyserver.keys.PURPOSE_TOKENS))
        next(watch)
        self.assertEqual(server.stop()[0], 0)
        with self.assertRaises(keyserver.grpc.RpcError) as ended:
            next(watch)
        self.assertEqual(harness.code_of(ended), keyserver.grpc.StatusCode.UNAVAILABLE)
        self.assertIn("the server stops", ended.exception.details())


if __name__ == "__main__":
    unittest.main()
