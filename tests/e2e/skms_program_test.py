# SPDX-License-Identifier: Apache-2.0
"""skmsd as a program: its configuration, where the master secret comes from, what it says when that
is another one, health, metrics, SIGHUP."""
import functools
import json
import os
import re
import signal
import subprocess
import threading
import unittest

import grpc

import harness
import keygiver
import keyserver
from configured import wait_until
from keyserver import admin, keys


def certificate_of(server):
    done = subprocess.run(["openssl", "s_client", "-connect", server.address, "-alpn", "h2"],
                          input="", capture_output=True, text=True, timeout=60)
    return done.stdout[done.stdout.index("-----BEGIN"):done.stdout.index("-----END")]


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

    def test_revocations_are_counted_by_purpose_and_reason(self):
        server = self.server()
        server.add()

        def active(purpose):
            return next(key.kid for key in server.admin().ListKeys(admin.ListKeysRequest(
                val_service=keyserver.DACM, purpose=purpose)).keys
                if key.state == keys.KEY_STATE_ACTIVE)

        def counted():
            """What is not 0."""
            found = re.findall(
                r'(?m)^skm_keys_revoked_total\{purpose="(.+)",reason="(.+)"\} (\d+)$',
                server.get("/metrics")[2].decode())
            self.assertEqual(len(found), 14)
            return {(purpose, reason): int(count) for purpose, reason, count in found
                    if count != "0"}
        self.assertEqual(counted(), {})
        for purpose, reason in (
                (keys.PURPOSE_TOKENS, "keyCompromise"), (keys.PURPOSE_TOKENS, "laptop stolen"),
                (keys.PURPOSE_MANIFESTS, "KEYCOMPROMISE: laptop stolen"),
                (keys.PURPOSE_MANIFESTS, "keyCompromised"), (keys.PURPOSE_MANIFESTS, ""),
                (keys.PURPOSE_MANIFESTS, 'x"} 7\nskm_keys_revoked_total 9'),
                (keys.PURPOSE_MANIFESTS, "superseded by a better one")):
            request = admin.RevokeKeyRequest(kid=active(purpose), reason=reason)
            for _ in range(2):  # a second time changes nothing
                server.admin().RevokeKey(request)
        with self.assertRaises(keyserver.grpc.RpcError):
            server.admin().RevokeKey(admin.RevokeKeyRequest(kid="none", reason="keyCompromise"))
        self.assertEqual(counted(), {
            ("tokens", "keyCompromise"): 1, ("tokens", "other"): 1,
            ("manifests", "keyCompromise"): 1, ("manifests", "other"): 2,
            ("manifests", "unspecified"): 1, ("manifests", "superseded"): 1})

    def strangers(self):
        """skmsd that records one stranger a second, its VAL service's SKM-C, and what somebody with
        a certificate of the PKI and nothing else can ask for."""
        def few(_, config):
            config["audit"]["unauthenticated_per_s"] = 1
        server = self.server(few)
        server.add()
        known = server.client("dacm.example")
        nobody = server.stub(server.certificate("nobody.example", "--dns", "nobody.example"))
        late = server.token("late.example")  # a good token of another's
        jwk = keygiver.private_jwk()
        return server, known, {
            "Enrol": lambda: nobody.Enrol(keys.EnrolRequest(
                token="x" * 43, sealing_key=b"k" * 32)),
            "Enrol with a stolen token": lambda: nobody.Enrol(keys.EnrolRequest(
                token=late, sealing_key=b"k" * 32)),
            "GetSigningKey": lambda: nobody.GetSigningKey(keys.GetSigningKeyRequest(
                val_service=keyserver.DACM, purpose=keys.PURPOSE_MANIFESTS)),
            "GetSigningKey with a forged token": lambda: nobody.GetSigningKey(
                keys.GetSigningKeyRequest(purpose=keys.PURPOSE_TOKENS),
                metadata=harness.bearer("a.b.c")),
            "ProvisionKey": lambda: nobody.ProvisionKey(keys.ProvisionKeyRequest(
                val_service=keyserver.DACM, purpose=keys.PURPOSE_MANIFESTS,
                jwk=json.dumps(jwk).encode())),
            "key-records": lambda: self.assertEqual(server.get(
                f"/ss-kir/v1/key-records?val-service-id={keyserver.DACM}", "nobody.example")[0],
                403),
        }

    def refused(self, call):
        try:
            call()
        except keyserver.grpc.RpcError as error:
            self.assertIn(error.code(), (keyserver.grpc.StatusCode.UNAUTHENTICATED,
                                         keyserver.grpc.StatusCode.PERMISSION_DENIED))

    def test_strangers_do_not_fill_the_audit_trail(self):
        server, _, calls = self.strangers()
        before = len(server.audit())
        for name, call in calls.items():
            with self.subTest(name=name):
                told, asked = [], 0
                while not told or not told[-1].get("left_out"):  # one that speaks of others
                    self.refused(call)
                    asked += 1
                    told = server.audit()[before:]
                self.assertLess(len(told), asked)
                self.assertEqual(len(told) + sum(r.get("left_out", 0) for r in told), asked)
                self.assertNotIn("asked", {record["outcome"] for record in told})
                before += len(told)
        left_out = sum(record.get("left_out", 0) for record in server.audit())
        self.assertRegex(server.get("/metrics")[2].decode(),
                         rf"(?m)^skm_audit_left_out_total {left_out}$")
        done = server.run("--audit-verify")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_whoever_is_enrolled_has_a_record_of_each_refusal(self):
        server, known, calls = self.strangers()
        for _ in range(3):  # nothing is left for strangers in this second
            self.refused(calls["GetSigningKey"])
        before = len(server.audit())
        for _ in range(5):
            self.refused(lambda: known.keys(service="https://else.example"))
            known.keys()
        told = [record["outcome"] for record in server.audit()[before:]]
        self.assertEqual(told, ["PERMISSION_DENIED", "OK"] * 5)
        known.enrol(server.token("dacm.example"))
        self.assertEqual([(record["event"], record["outcome"]) for record in server.audit()[-2:]],
                         [("enrol", "asked"), ("enrol", "OK")])

    def test_sighup_takes_a_new_certificate_and_keeps_the_old_when_it_is_broken(self):
        server = self.server()
        certificate = server.pki / "skmsd.crt"
        serial = functools.partial(certificate_of, server)
        first = serial()
        server.certificate("skmsd")
        server.reload("reloaded certificates")
        second = serial()
        self.assertNotEqual(first, second)
        good = certificate.read_text()
        certificate.write_text("no certificate")
        server.reload("listen.keys")
        self.assertEqual(serial(), second)
        certificate.write_text(good)
        server.certificate("skmsd")  # good, with settings that a reload cannot take
        https = server.config["listen"]["https"]
        server.config["listen"]["https"] = {name: https[name] for name in ("address", "port")}
        server.reload("reload failed")
        self.assertEqual(serial(), second)
        server.config["listen"]["https"] = https
        server.reload("reloaded certificates")
        self.assertNotEqual(serial(), second)
        self.assertEqual(server.stop()[0], 0)

    def test_sighup_that_cannot_open_the_log_again_changes_nothing(self):
        server = self.server()
        log, away = server.dir / "skmsd.log", server.dir / "away.log"
        first = certificate_of(server)
        server.certificate("skmsd")
        log.rename(away)
        log.mkdir()
        server.process.send_signal(signal.SIGHUP)
        wait_until("an answer to SIGHUP", lambda: "reload failed" in away.read_text())
        self.assertIn("reload failed: everything stays as it was", away.read_text())
        self.assertEqual(certificate_of(server), first)
        log.rmdir()
        server.process.send_signal(signal.SIGHUP)  # the log is made anew
        wait_until("a new log", lambda: log.exists() and "reloaded certificates" in log.read_text())
        self.assertNotEqual(certificate_of(server), first)

    def test_revoked_certificate_gets_nothing_by_either_listener(self):
        server = self.server()
        server.add(keyserver.DACM)
        gone, other = (server.client(name) for name in ("gone.example", "other.example"))
        path = f"/ss-kir/v1/key-records?val-service-id={keyserver.DACM}"
        for client in (gone, other):
            client.keys()
            self.assertEqual(server.get(path, client.name)[0], 200)
        crl = keyserver.revocation_list(server.pki, "gone.example")
        server.config["listen"]["keys"]["client_crl"] = str(crl)
        server.reload("reloaded certificates")
        status, _, body = server.get(path, "gone.example")
        self.assertEqual(status, 403, body)
        self.assertIn(b"was revoked", body)
        files = [(server.pki / f"gone.example.{kind}").read_bytes() for kind in ("crt", "key")]
        with self.assertRaises(grpc.RpcError) as error:
            server.stub(tuple(files)).GetSigningKey(
                keys.GetSigningKeyRequest(purpose=keys.PURPOSE_MANIFESTS), timeout=60)
        self.assertEqual(error.exception.code(), grpc.StatusCode.UNAVAILABLE)  # no handshake
        other.keys()
        self.assertEqual(server.get(path, "other.example")[0], 200)
        self.assertEqual(server.get("/healthz")[0], 200)
        crl.write_text("no list")
        server.reload("listen.keys")
        self.assertEqual(server.get(path, "gone.example")[0], 403)
        self.assertEqual(server.stop()[0], 0)

    def test_watchers_are_bounded_and_counted(self):
        def one(_, config):
            config["keysets"] = {"watchers_max": 1}
        server = self.server(one)
        server.add()
        stub = server.stub()
        request = keys.GetKeySetRequest(
            val_service=keyserver.DACM, purpose=keys.PURPOSE_TOKENS)
        first = stub.WatchKeys(request, timeout=60)
        next(first)
        with self.assertRaises(keyserver.grpc.RpcError) as refused:
            next(stub.WatchKeys(request, timeout=60))
        self.assertEqual(harness.code_of(refused), keyserver.grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn(b"skm_watchers_refused_total 1", server.get("/metrics")[2])
        first.cancel()
        wait_until("room for a watcher", lambda: b"skm_watchers 0" in server.get("/metrics")[2])

    def test_strangers_who_watch_keep_no_skm_c_out_and_nobody_takes_all_places(self):
        def few(_, config):
            config["keysets"] = {"watchers_max": 6, "watchers_per_peer": 4}
        server = self.server(few)
        server.add()
        request = keys.GetKeySetRequest(
            val_service=keyserver.DACM, purpose=keys.PURPOSE_TOKENS)
        running = []

        def watch(stub):
            """Kept; the reason, where it is refused."""
            call = stub.WatchKeys(request, timeout=120)
            try:
                next(call)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                return error.details()
            running.append(call)
            return None

        strangers = [server.stub() for _ in range(5)]  # connections of one address
        first, second = (server.client(f"{name}.example") for name in ("dacm", "val"))
        for stub in strangers[:4]:
            self.assertIsNone(watch(stub))
        self.assertIn("watchers_per_peer", watch(strangers[4]))
        for _ in range(4):
            self.assertIsNone(watch(first.stub))
        self.assertIn("watchers_per_peer", watch(first.stub))
        for _ in range(2):
            self.assertIsNone(watch(second.stub))
        self.assertIn("watchers_max", watch(second.stub))
        self.assertIn(b"skm_watchers 10\n", server.get("/metrics")[2])
        for call in running:
            call.cancel()
        wait_until("room", lambda: b"skm_watchers 0\n" in server.get("/metrics")[2])
        for stub in (strangers[4], first.stub, second.stub):
            self.assertIsNone(watch(stub))

    def test_watchers_are_told_that_the_server_stops_and_do_not_hold_it_up(self):
        def one(_, config):
            config["limits"] = {"drain_ms": 600000}  # longer than stop() waits
        server = self.server(one)
        server.add()
        watch = server.stub().WatchKeys(keys.GetKeySetRequest(
            val_service=keyserver.DACM, purpose=keys.PURPOSE_TOKENS))
        next(watch)
        self.assertEqual(server.stop()[0], 0)
        with self.assertRaises(keyserver.grpc.RpcError) as ended:
            next(watch)
        self.assertEqual(harness.code_of(ended), keyserver.grpc.StatusCode.UNAVAILABLE)
        self.assertIn("the server stops", ended.exception.details())


if __name__ == "__main__":
    unittest.main()
