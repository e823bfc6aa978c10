# SPDX-License-Identifier: Apache-2.0
"""The SIM-S and its operator: `dacm user` and `dacm client` on the admin socket of a real simsd, who
may use it, what is told and what is not."""
import ctypes
import ctypes.util
import fcntl
import http.client
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import termios
import unittest
import urllib.parse

import grpc
import harness
from sim.v1 import admin_pb2 as sim
from sim.v1 import admin_pb2_grpc as sim_grpc
from sims import Forms

PASSWORD = "correct horse battery staple"
GPSI = "msisdn-4915550001"


def argon2id(password, passes, memory_bytes):
    """As another provider keeps it: made by libsodium itself."""
    sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
    text = ctypes.create_string_buffer(128)
    done = sodium.crypto_pwhash_str(
        text, password.encode(), ctypes.c_ulonglong(len(password)), ctypes.c_ulonglong(passes),
        ctypes.c_size_t(memory_bytes))
    assert done == 0
    return text.value.decode()


class Simsd:
    """simsd with its admin socket, ready to serve."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="dacm-sims-"))
        for folder in ("store", "audit"):
            (self.dir / folder).mkdir(mode=0o700)
        self.made("pki", "init", self.dir / "pki")
        self.made("pki", "issue", self.dir / "pki", "simsd", "--dns", "localhost")
        self.made("pki", "keys", self.dir, "token", "--for", "token")
        self.admin = f"ipc://{self.dir}/admin.sock"
        self.config = self.dir / "simsd.yaml"
        self.ports = [harness.ports.reserve(), harness.ports.reserve()]
        self.config.write_text(self.text())
        self.process = None
        self.start()

    def made(self, *arguments):
        subprocess.run([harness.BIN / "dacm", *arguments], check=True, capture_output=True)

    def text(self):
        pki = self.dir / "pki"
        return f"""issuer: https://localhost
listen:
  https: {{address: 127.0.0.1, port: {self.ports[0]}, certificate: {pki}/simsd.crt,
    key: {pki}/simsd.key}}
  ops: {{address: 127.0.0.1, port: {self.ports[1]}}}
  admin: {{url: "{self.admin}"}}
dacms:
  - resource: https://dacm.example/
    target: tls+tcp://127.0.0.1:1
    ca: {pki}/ca.crt
    certificate: {pki}/simsd.crt
    key: {pki}/simsd.key
keys: {{file: {self.dir}/token.jwks}}
login: {{password_memory_bytes: 1048576, password_passes: 1}}
store: {{directory: {self.dir}/store}}
audit: {{directory: {self.dir}/audit}}
log: {{file: {self.dir}/simsd.log}}
"""

    def start(self):
        """Returns when it tells READY=1, as to a service manager."""
        address = str(self.dir / "notify.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            pathlib.Path(address).unlink(missing_ok=True)
            notify.bind(address)
            notify.settimeout(harness.START_SECONDS)
            self.process = subprocess.Popen(
                [harness.BIN / "simsd", "--config", self.config],
                env=os.environ | {"NOTIFY_SOCKET": address}, stderr=subprocess.PIPE)
            while b"READY=1" not in notify.recv(4096):
                pass

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told.decode()

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.dir)

    def dacm(self, *arguments, stdin=None, admin=None):
        return subprocess.run(
            [harness.BIN / "dacm", *arguments, "--admin", admin or self.admin],
            input=stdin, capture_output=True, text=True, timeout=60)

    def audit(self):
        lines = b"".join(path.read_bytes() for path in sorted((self.dir / "audit").iterdir())
                         if path.is_file())
        return [json.loads(found) for found in re.findall(rb"\{[^\n]*\}", lines)]


class Operator(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sims = Simsd()

    @classmethod
    def tearDownClass(cls):
        cls.sims.close()

    def ok(self, *arguments, **options):
        done = self.sims.dacm(*arguments, "--json", **options)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def fails(self, exit_code, code, *arguments, **options):
        done = self.sims.dacm(*arguments, "--json", **options)
        self.assertEqual(done.returncode, exit_code, done.stdout + done.stderr)
        error = json.loads(done.stdout)["error"]
        self.assertEqual(error["code"], code)
        self.assertTrue(error["message"])
        return error["message"]

    def add(self, name, *arguments):
        return self.ok("user", "add", name, "--password-stdin", *arguments, stdin=PASSWORD + "\n")[0]

    def test_user_from_first_to_last_day(self):
        user = self.add("carol", "--name", "Carol Ö.", "--gpsi", "carol@example.com")
        self.assertEqual(user["gpsis"], ["extid-carol@example.com"])
        self.assertEqual(user["name"], "Carol Ö.")
        self.assertTrue(user["has_password"])
        self.assertRegex(user["sub"], r"^[A-Za-z0-9_-]{22}$")
        self.assertEqual(self.ok("user", "show", "carol"), [user])
        mapped = self.ok("user", "map", "carol", "msisdn-4915550007")[0]
        self.assertEqual(mapped["gpsis"], ["extid-carol@example.com", "msisdn-4915550007"])
        self.assertEqual(self.ok("user", "unmap", "carol", "carol@example.com")[0]["gpsis"],
                         ["msisdn-4915550007"])
        self.assertTrue(self.ok("user", "disable", "carol")[0]["disabled"])
        self.assertFalse(self.ok("user", "enable", "carol")[0]["disabled"])
        self.ok("user", "logout", "carol")
        self.ok("user", "passwd", "carol", "--password-stdin", stdin="another password\n")
        self.ok("user", "rm", "carol")
        self.fails(4, "NOT_FOUND", "user", "show", "carol")
        again = self.add("carol")
        self.assertNotEqual(again["sub"], user["sub"], "a sub is never given again")
        self.assertEqual(again["gpsis"], [])
        self.ok("user", "map", "carol", "msisdn-4915550007")

    def test_gpsi_has_one_user(self):
        self.add("dave", "--gpsi", GPSI)
        self.add("erin")
        message = self.fails(9, "ALREADY_EXISTS", "user", "map", "erin", GPSI)
        self.assertNotIn("dave", message, "whose it is is told to nobody")
        self.fails(9, "ALREADY_EXISTS", "user", "add", "frank", "--no-password", "--gpsi", GPSI)
        self.fails(4, "NOT_FOUND", "user", "show", "frank")
        self.ok("user", "unmap", "dave", GPSI)
        self.assertEqual(self.ok("user", "map", "erin", GPSI)[0]["gpsis"], [GPSI])

    def test_what_no_user_can_have_is_refused(self):
        for name in ("", "with space", "x" * 65, "näme", "a/b"):
            self.fails(2, "INVALID_ARGUMENT", "user", "add", name, "--no-password")
        self.fails(2, "INVALID_ARGUMENT", "user", "add", "gina", "--password-stdin", stdin="short\n")
        self.fails(2, "INVALID_ARGUMENT", "user", "add", "gina", "--password-stdin", stdin="")
        self.fails(2, "INVALID_ARGUMENT", "user", "add", "gina", "--password-stdin",
                   stdin="x" * 300)
        self.fails(2, "INVALID_ARGUMENT", "user", "add", "gina", "--no-password", "--gpsi", "0171")
        self.fails(11, "LOCAL_FILE", "user", "add", "gina", "--password-file", "/nonexistent")
        self.fails(4, "NOT_FOUND", "user", "show", "gina")
        self.fails(4, "NOT_FOUND", "user", "disable", "gina")

    def test_password_is_asked_for_on_the_terminal_and_not_shown(self):
        parent, child = pty.openpty()
        process = subprocess.Popen(
            [harness.BIN / "dacm", "user", "add", "tess", "--admin", self.sims.admin, "--json"],
            stdin=child, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(child)
        shown = b""
        for asked in (b"Password of tess: ", b"Again, password of tess: "):
            while not shown.endswith(asked):
                ready, _, _ = select.select([parent], [], [], 30)
                self.assertTrue(ready, shown)
                shown += os.read(parent, 1024)
            os.write(parent, PASSWORD.encode() + b"\n")
        told, _ = process.communicate(timeout=60)
        os.close(parent)
        self.assertEqual(process.returncode, 0, told)
        self.assertNotIn(PASSWORD.encode(), shown)
        self.assertTrue(json.loads(told)["has_password"])

    def test_users_are_listed_page_by_page(self):
        names = [f"list-{i:02}" for i in range(12)]
        for name in names:
            self.ok("user", "add", name, "--no-password")
        listed = [user["username"] for user in self.ok("user", "ls")]
        self.assertEqual([name for name in listed if name.startswith("list-")], names)
        self.assertEqual(listed, sorted(listed))

    def test_client_from_first_to_last_day(self):
        client = self.ok("client", "add", "viewer", "--name", "Viewer", "--redirect-uri",
                         "http://127.0.0.1/callback")[0]
        self.assertEqual(client["auth"], "none")
        self.assertEqual(client["grant_types"], ["authorization_code", "refresh_token"])
        self.assertEqual(client["scopes"], ["openid", "seal.da"])
        self.assertEqual(client["token_alg"], "EdDSA")
        changed = self.ok("client", "set", "viewer", "--consent", "never", "--redirect-uri",
                          "https://viewer.example/cb", "--redirect-uri", "com.example.viewer:/cb")[0]
        self.assertEqual(changed["redirect_uris"],
                         ["https://viewer.example/cb", "com.example.viewer:/cb"])
        self.assertEqual(changed["name"], "Viewer")
        self.assertEqual(self.ok("client", "show", "viewer"), [changed])
        self.assertTrue(self.ok("client", "disable", "viewer")[0]["disabled"])
        self.assertFalse(self.ok("client", "enable", "viewer")[0]["disabled"])
        self.assertIn("viewer", [one["client_id"] for one in self.ok("client", "ls")])
        self.ok("client", "rm", "viewer")
        self.fails(4, "NOT_FOUND", "client", "show", "viewer")
        self.fails(9, "ALREADY_EXISTS", "client", "add", "viewer", "--redirect-uri",
                   "https://viewer.example/cb")

    def test_secret_of_a_client_is_told_once(self):
        added = self.ok("client", "add", "val", "--auth", "client_secret_basic", "--user",
                        "extid-*@example.com")[0]
        self.assertRegex(added["client_secret"], r"^[A-Za-z0-9_-]{43}$")
        self.assertEqual(added["grant_types"], ["client_credentials"])
        self.assertNotIn("client_secret", self.ok("client", "show", "val")[0])
        self.assertNotIn("client_secret", self.ok("client", "set", "val", "--name", "VAL")[0])
        everything = b"".join(path.read_bytes() for path in self.sims.dir.rglob("*")
                              if path.is_file() and not path.is_symlink())
        self.assertNotIn(added["client_secret"].encode(), everything)

    def test_registrations_that_cannot_be_are_refused(self):
        uri = ("--redirect-uri", "https://a.example/")
        for arguments in (
                ("--redirect-uri", "http://a.example/"), ("--redirect-uri", "https://a.example/#x"),
                ("--redirect-uri", "javascript:alert(1)"), ("--redirect-uri", "https://*.example/"),
                ("--redirect-uri", "https://user@a.example/"), ("--redirect-uri", "//a.example/"),
                (*uri, "--auth", "private_key_jwt"), (*uri, "--auth", "tls_client_auth"),
                (*uri, "--tls-san", "a.example"), (*uri, "--grant", "refresh_token"),
                (*uri, "--grant", "client_credentials"), (*uri, "--user", GPSI), (),
                (*uri, "--token-alg", "HS256"), (*uri, "--scope", "two words"),
                (*uri, "--jwks-file", self.sims.config),
                ("--auth", "client_secret_basic", "--user", "everybody")):
            self.fails(2, "INVALID_ARGUMENT", "client", "add", "bad", *arguments)
        self.fails(4, "NOT_FOUND", "client", "show", "bad")

    def test_nobody_else_may_ask(self):
        if os.geteuid() != 0:
            self.skipTest("only root can try as somebody else")
        path = self.sims.dir / "admin.sock"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.sims.dir.chmod(0o755)
        path.chmod(0o666)  # even where the file would let anybody in
        try:
            done = subprocess.run([harness.BIN / "dacm", "user", "ls", "--json", "--admin",
                                   self.sims.admin], capture_output=True, text=True, user=65534,
                                  timeout=60)
        finally:
            path.chmod(0o600)
            self.sims.dir.chmod(0o700)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertEqual(json.loads(done.stdout)["error"]["code"], "PERMISSION_DENIED")
        refused = [record for record in self.sims.audit() if record.get("outcome") == "refused"]
        self.assertEqual(refused[-1]["uid"], 65534)

    def test_every_call_is_audited_and_no_password_is_anywhere(self):
        self.add("hank")
        self.ok("user", "passwd", "hank", "--password-stdin", stdin="sesame open now\n")
        self.fails(4, "NOT_FOUND", "user", "show", "nobody")
        records = [record for record in self.sims.audit() if record.get("event") == "admin"]
        methods = [record["method"] for record in records]
        self.assertIn("CreateUser", methods)
        self.assertEqual(records[-1]["outcome"], "NOT_FOUND")
        self.assertEqual(records[-2]["outcome"], "asked")
        for path in self.sims.dir.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                self.assertNotIn(PASSWORD.encode(), content, path)
                self.assertNotIn(b"sesame open now", content, path)

    def create(self, **fields):
        with grpc.insecure_channel("unix://" + self.sims.admin.removeprefix("ipc://")) as channel:
            return sim_grpc.AdminStub(channel).CreateUser(
                sim.CreateUserRequest(**fields), timeout=60)

    def login(self, username, password):
        """The status of a login by the form, in a browser that was never seen."""
        context = ssl.create_default_context(cafile=self.sims.dir / "pki/ca.crt")
        query = urllib.parse.urlencode({
            "response_type": "code", "client_id": "hashes", "scope": "openid",
            "redirect_uri": "https://hashes.example/", "code_challenge": "a" * 43,
            "code_challenge_method": "S256"})
        connection = http.client.HTTPSConnection(
            "localhost", self.sims.ports[0], context=context, timeout=60)
        try:
            connection.request("GET", "/authorize?" + query)
            page = connection.getresponse()
            form = Forms(page.read().decode())
            cookie = page.getheader("Set-Cookie").partition(";")[0]
            connection.request("POST", form.action, urllib.parse.urlencode(
                {**form.fields, "username": username, "password": password}),
                {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie})
            reply = connection.getresponse()
            reply.read()
            return reply.status
        finally:
            connection.close()

    def test_password_hash_of_another_provider_logs_in_and_is_told_to_nobody(self):
        self.ok("client", "add", "hashes", "--consent", "never", "--scope", "openid",
                "--redirect-uri", "https://hashes.example/")
        text = argon2id("moved from elsewhere", passes=2, memory_bytes=2 << 20)
        made = self.create(username="moved", name="Moved M.", password_hash=text)
        self.assertTrue(made.has_password)
        self.assertEqual(self.ok("user", "show", "moved")[0]["sub"], made.sub)
        self.assertEqual(self.login("moved", "moved from elsewhere!"), 403)
        for _ in range(2):  # by the hash that was brought, then by the one made of it
            self.assertEqual(self.login("moved", "moved from elsewhere"), 303)
        told = self.sims.dacm("user", "show", "moved", "--json").stdout
        for seen in (told, str(made), json.dumps(self.sims.audit()),
                     (self.sims.dir / "simsd.log").read_text()):
            self.assertNotIn("argon2", seen)
            self.assertNotIn(text.rpartition("$")[2], seen)

    def test_password_hash_that_cannot_be_taken_makes_no_user(self):
        good = argon2id("some password", passes=1, memory_bytes=8192)
        for text in ("not a hash", good.replace("argon2id", "argon2i"), good + "x" * 100,
                     good.replace("p=1", "p=2"), good.replace("m=8,", "m=65537,"),
                     good.replace("t=1,", "t=17,"), good.rpartition("$")[0],
                     "$2b$12$" + "a" * 53):
            with self.assertRaises(grpc.RpcError) as refused:
                self.create(username="unmoved", password_hash=text)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT, text)
            self.assertIn("password_hash", refused.exception.details())
        with self.assertRaises(grpc.RpcError) as refused:
            self.create(username="unmoved", password_hash=good, password=PASSWORD)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.fails(4, "NOT_FOUND", "user", "show", "unmoved")

    def test_command_line_has_no_password(self):
        done = self.sims.dacm("user", "add", "ivy", "--password", "x")
        self.assertEqual(done.returncode, 2)

    def test_what_was_acknowledged_is_there_after_a_restart(self):
        self.add("judy", "--gpsi", "msisdn-4915550009")
        before = self.ok("user", "show", "judy")
        code, told = self.sims.stop()
        self.assertEqual((code, told), (0, ""))
        self.fails(8, "UNAVAILABLE", "user", "show", "judy")
        checked = subprocess.run([harness.BIN / "simsd", "--config", self.sims.config,
                                  "--store-check"], capture_output=True, text=True, timeout=60)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.sims.start()
        self.assertEqual(self.ok("user", "show", "judy"), before)


if __name__ == "__main__":
    unittest.main()
