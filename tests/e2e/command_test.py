# SPDX-License-Identifier: Apache-2.0
"""The command dacm as a user types it: exit codes, one line of JSON, and what its failures say."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import grpc

import harness
import ports
from configured import Server, wait_until


home = tempfile.TemporaryDirectory(prefix="dacm-home-")  # whoever runs this may be logged in


def run(*arguments, env=None, **options):
    """dacm with the variables of env only, and nobody logged in; output and error as text."""
    variables = {name: value for name, value in os.environ.items()
                 if not name.startswith(("DACM_", "XDG_"))} | {"HOME": home.name}
    return subprocess.run([harness.BIN / "dacm", *arguments], env={**variables, **(env or {})},
                          capture_output=True, text=True, timeout=120, **options)


class Development(unittest.TestCase):
    """`dacm dev` itself."""

    def setUp(self):
        self.dev = harness.Dev()

    def tearDown(self):
        self.assertEqual(self.dev.stop(), 0)

    def test_second_run_in_the_same_folder_is_refused_and_harms_nothing(self):
        before = (self.dev.dir / "env.json").read_bytes()
        second = run("--json", "dev", "--dir", self.dev.dir,
                     "--ports-from", str(ports.reserve()))
        self.assertEqual(second.returncode, 9, second)
        error = json.loads(second.stdout)["error"]
        self.assertEqual(error["code"], "FAILED_PRECONDITION")
        self.assertIn(str(self.dev.dir), error["message"])
        self.assertEqual((self.dev.dir / "env.json").read_bytes(), before)
        listed = run("ls", "--as", self.dev.users[0], env={"DACM_ENV": str(self.dev.dir)})
        self.assertEqual(listed.returncode, 0, listed)

    def test_taken_port_is_no_advice_to_look_for_the_server(self):
        other = self.dev.dir / "other"
        second = run("dev", "--dir", other, "--ports-from", str(self.dev.first_port))
        self.assertEqual(second.returncode, 9, second)
        self.assertIn("--ports-from", second.stderr)
        self.assertNotIn("Is the server running", second.stderr)

    def test_what_put_proposes_works_as_it_stands(self):
        env = {"DACM_ENV": str(self.dev.dir)}
        file = self.dev.dir / "some.bin"
        file.write_bytes(b"some bytes")
        put = run("put", file, "--as", self.dev.users[0], env=env, cwd=self.dev.dir)
        self.assertEqual(put.returncode, 0, put)
        get = put.stderr.split("next: dacm ")[1].split(",")[0].split()
        self.assertEqual(get[:2], ["get", put.stdout.strip()])
        got = run(*get, env=env, cwd=self.dev.dir)
        self.assertEqual(got.returncode, 0, got)
        self.assertEqual((self.dev.dir / put.stdout.strip()).read_bytes(), b"some bytes")

    def test_failures_name_what_failed(self):
        env = {"DACM_ENV": str(self.dev.dir)}
        owner = ["--as", self.dev.users[0]]
        fifo, file = self.dev.dir / "fifo", self.dev.dir / "some.bin"
        os.mkfifo(fifo)
        file.write_bytes(b"some bytes")
        for code, words, *arguments in (
                (2, ["'nobody'"], "put", file, *owner, "--allow", "nobody"),
                (2, ["'a b'"], "get", "a b", *owner),
                (2, ["--asset"], "token", "issue", "--user", self.dev.users[0]),
                (11, [str(fifo)], "put", fifo, *owner),
                (11, ["'nothing'"], "verify", "nothing"),
                (11, [f"{file}.jws", "--jws"], "verify", file),
                (11, ["'nothing'"], "ls", *owner, "--ca", "nothing"),
                (11, ["signing key", "'nothing'"], "token", "issue", "--user", self.dev.users[0],
                 "--asset", "x", "--signing-key", "nothing"),
                (8, ["no.such.invalid", "name is not known"], "ls", *owner, "--server",
                 "tls+tcp://no.such.invalid:7443"),
                (8, ["/nowhere.sock", "--ca"], "explain", "x" * 26, "--server",
                 "ipc:///nowhere.sock")):
            with self.subTest(arguments=arguments):
                failed = run(*arguments, env=env)
                self.assertEqual(failed.returncode, code, failed)
                for word in words:
                    self.assertIn(word, failed.stderr)


class Json(unittest.TestCase):
    """With --json standard output holds objects and nothing else, whatever happens."""

    def test_wrong_arguments_are_an_object_too(self):
        for word, *arguments in (("which asset", "--json", "get"), ("which file", "put", "--json"),
                                 ("--bogus", "--json", "ls", "--bogus"),
                                 ("--streams", "get", "x", "--streams", "9", "--json"),
                                 ("no command", "--json", "nonsense"),
                                 ("who are you", "ls", "--json")):
            with self.subTest(arguments=arguments):
                failed = run(*arguments)
                self.assertEqual((failed.returncode, failed.stderr), (2, ""))
                lines = failed.stdout.splitlines()
                self.assertEqual(len(lines), 1)
                error = json.loads(lines[0])["error"]
                self.assertEqual(error["code"], "INVALID_ARGUMENT")
                self.assertIn(word, error["message"])

    def test_help_stays_help(self):
        shown = run("--json", "get", "--help")
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertTrue(shown.stdout.startswith("Usage: dacm get"))


class Completion(unittest.TestCase):
    """What bash proposes."""

    def proposed(self, line):
        words = line.split(" ")
        script = ("source <(dacm completion bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); "
                  "_dacm; printf '%s\\n' \"${COMPREPLY[@]}\"")
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", *words], text=True,
                              env={**os.environ, "PATH": f"{harness.BIN}:{os.environ['PATH']}"},
                              capture_output=True, timeout=120)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def test_commands_and_their_own_options(self):
        for line, expected in (("dacm auth", ["authorize"]), ("dacm --json auth", ["authorize"]),
                               ("dacm pki k", ["keys"]), ("dacm get --st", ["--streams"]),
                               ("dacm get ID --token-f", ["--token-file"]),
                               ("dacm token issue --li", ["--lifetime"]),
                               ("dacm --json token issue --li", ["--lifetime"]),
                               ("dacm pki keys DIR --f", ["--for"]),
                               ("dacm ada", ["adapt"]), ("dacm insp", ["inspect"]),
                               ("dacm adapt FILE --pre", ["--preset"]),
                               ("dacm adapt FILE --texture-q", ["--texture-quality"]),
                               ("dacm trust u", ["update"]),
                               ("dacm trust add FILE --f", ["--fingerprint"]),
                               ("dacm verify FILE --tr", ["--trust"])):
            with self.subTest(line=line):
                self.assertEqual(self.proposed(line), expected)
        self.assertNotIn("--streams", self.proposed("dacm ls --"))


class Pki(unittest.TestCase):
    """Files for a server of one's own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dacm-e2e-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def good(self, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, 0, result)
        return result

    def test_group_alone_lists_its_commands(self):
        for group, verb in (("pki", "keys"), ("token", "revoke")):
            self.assertIn(verb, self.good(group, "--help").stdout)
            alone = run(group)
            self.assertEqual((alone.returncode, alone.stdout), (2, ""))
            self.assertIn(verb, alone.stderr)
            error = json.loads(run("--json", group, "nonsense").stdout)["error"]
            self.assertIn(f"dacm {group} --help", error["message"])

    def test_what_is_there_is_kept_and_the_user_is_told(self):
        self.good("pki", "init", self.dir)
        first = self.good("--json", "pki", "issue", self.dir, "server")
        self.assertIs(json.loads(first.stdout)["kept"], False)
        before = (self.dir / "server.crt").read_bytes()
        again = self.good("--json", "pki", "issue", self.dir, "server", "--dns", "other.example")
        self.assertIs(json.loads(again.stdout)["kept"], True)
        self.assertIn("kept", again.stderr)
        self.assertEqual((self.dir / "server.crt").read_bytes(), before)

    def test_folder_that_others_can_write_gets_no_keys(self):
        folder = self.dir / "open"
        folder.mkdir()
        folder.chmod(0o777)
        done = run("pki", "init", folder)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("a folder of your own", done.stderr)
        self.assertEqual(list(folder.iterdir()), [])
        if os.geteuid() == 0:
            folder.chmod(0o755)
            os.chown(folder, 65534, 65534)
            self.assertNotEqual(run("pki", "init", folder).returncode, 0)
            self.assertEqual(list(folder.iterdir()), [])

    def test_keys_say_what_they_are_for(self):
        undecided = run("pki", "keys", self.dir, "some")
        self.assertEqual(undecided.returncode, 2)
        self.assertIn("--for", undecided.stderr)
        self.good("pki", "keys", self.dir, "some", "--for", "token")
        self.assertEqual((self.dir / "some.jwks").stat().st_mode & 0o777, 0o600)
        self.assertEqual([path.name for path in sorted(self.dir.iterdir())],
                         ["some.jwks", "some.pub.jwks"])
        self.assertNotIn('"d"', (self.dir / "some.pub.jwks").read_text())
        self.good("pki", "keys", self.dir, "some", "--for", "token")
        other = run("pki", "keys", self.dir, "some", "--for", "client")
        self.assertEqual(other.returncode, 9)
        self.assertIn("holds a key for 'token', not 'client'", other.stderr)

    def test_example_and_what_pki_makes_are_a_server(self):
        users = ["msisdn-4915100000001", "msisdn-4915100000002"]
        port = ports.reserve()
        (self.dir / "store").mkdir()
        self.good("pki", "init", self.dir / "pki")
        self.good("pki", "issue", self.dir / "pki", "dacmd", "--ip", "127.0.0.1")
        self.good("pki", "keys", self.dir, "manifest", "--for", "manifest")
        self.good("pki", "keys", self.dir, "sims", "--for", "token")
        text = (harness.SOURCE / "server/dacm/dacmd.example.yaml").read_text()
        for here, there in (("/etc/dacm", self.dir), ("/var/lib/dacm", self.dir / "store"),
                            ("/run/dacmd", self.dir), (":7443", f":{port}"),
                            (":7444", f":{port + 1}"), ("port: 7480", f"port: {port + 2}")):
            self.assertIn(here, text)
            text = text.replace(here, str(there))
        config = self.dir / "dacmd.yaml"
        config.write_text(text)
        log = open(self.dir / "log", "wb")
        self.addCleanup(log.close)
        server = subprocess.Popen([harness.BIN / "dacmd", "--config", config], stderr=log)
        try:
            where = ["--server", f"tls+tcp://127.0.0.1:{port}", "--ca", self.dir / "pki/ca.crt",
                     "--keys", self.dir / "manifest.pub.jwks", "--issuer", "https://dacm.example/"]
            token = ["token", "issue", "--signing-key", self.dir / "sims.jwks", "--token-issuer",
                     "https://sims.example", "--audience", "https://dacm.example/"]
            create = self.good(*token, "--user", users[0], "--actions", "create").stdout.strip()
            deadline = time.monotonic() + harness.START_SECONDS
            put = ["--json", "put", config, "--as", users[0], "--allow", users[1], "--token",
                   create, *where]
            stored = run(*put)
            while stored.returncode == 8 and time.monotonic() < deadline:
                self.assertIsNone(server.poll(), (self.dir / "log").read_text())
                stored = run(*put)
            self.assertEqual(stored.returncode, 0, stored)
            asset = json.loads(stored.stdout)["asset_id"]
            get = self.good(*token, "--user", users[1], "--asset", asset,
                            "--profile", users[1]).stdout.strip()
            copy = self.dir / "copy"
            self.good("get", asset, "--as", users[1], "-o", copy, "--token", get, *where)
            self.assertEqual(copy.read_text(), text)
        finally:
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(harness.START_SECONDS), 0)


class Daemon(unittest.TestCase):
    """dacmd's own command line and what it refuses to start with."""

    def setUp(self):
        self.server = Server()

    def tearDown(self):
        self.assertEqual(self.server.stop(), 0)

    def dacmd(self, *arguments):
        return subprocess.run([harness.BIN / "dacmd", *arguments], capture_output=True, text=True,
                              timeout=120)

    def test_version_and_one_tool_at_a_time(self):
        self.assertRegex(self.dacmd("--version").stdout, r"^dacmd \d+\.\d+\.\d+\n$")
        two = self.dacmd("--config", self.server.config_file, "--store-check", "--audit-verify")
        self.assertEqual((two.returncode, two.stdout), (64, ""))
        self.assertIn("at a time", two.stderr)

    def test_reload_uses_changed_issuers_and_says_so_of_what_needs_a_restart(self):
        before = len(self.server.read_log())
        self.server.config["issuers"][0]["require_binding"] = True
        self.server.config["limits"] = {"streams": 50}
        self.server.write_config()
        self.assertTrue(self.server.reload())
        log = self.server.read_log()[before:]
        self.assertIn("limits.streams", log)
        self.assertNotIn('"issuers"', log)

    def test_reload_that_is_refused_changes_nothing(self):
        """Good issuers and certificates, with settings that a reload cannot take."""
        server, owner = self.server, self.server.users[0]
        asset = server.upload(b"bytes", owner).asset_id
        users = server.config["listen"]["users"]["url"].split("://")[1]

        def certificate():
            done = subprocess.run(["openssl", "s_client", "-connect", users, "-alpn", "h2"],
                                  input="", capture_output=True, text=True, timeout=60)
            return done.stdout[done.stdout.index("-----BEGIN"):done.stdout.index("-----END")]
        first, good = certificate(), json.dumps(server.config)
        for kind in "crt", "key":
            (server.dir / "pki" / f"dacmd.{kind}").unlink()
        server.cli("pki", "issue", server.dir / "pki", "dacmd", "--dns", "localhost", "--ip",
                   "127.0.0.1", check=True)
        plain = {"url": "tcp://" + users, "allow_plain_text": True}
        for listener, changed in (
                ("https", {name: server.config["listen"]["https"][name]
                           for name in ("address", "port")}),
                ("users", plain)):
            with self.subTest(listener=listener):
                server.config = json.loads(good)
                server.config["issuers"][0]["require_binding"] = True
                server.config["listen"][listener] = changed
                server.write_config()
                self.assertFalse(server.reload())
                self.assertIn(f"listen.{listener}", server.read_log().splitlines()[-1])
                self.assertEqual(certificate(), first)
                self.assertEqual(server.download(asset, owner)[0], b"bytes")
        server.config = json.loads(good)
        server.config["issuers"][0]["require_binding"] = True
        server.write_config()
        self.assertTrue(server.reload())
        self.assertNotEqual(certificate(), first)
        with self.assertRaises(grpc.RpcError) as refused:
            server.download(asset, owner)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

    def test_reload_into_and_out_of_literal_mode_is_seen_in_the_health(self):
        self.server.terminate()
        self.server.arguments = ["--allow-literal"]
        self.server.run()
        for mode, warned in (("literal", ["literal"]), ("token", [])):
            self.server.config["issuers"][0]["mode"] = mode
            self.server.write_config()
            self.assertTrue(self.server.reload())
            warnings = self.server.health()["warnings"]
            self.assertEqual([warning["name"] for warning in warnings], warned)

    def test_key_that_others_can_read_is_refused(self):
        key = pathlib.Path(self.server.config["signing"]["key_file"])
        for mode, taken in ((0o600, True), (0o640, True), (0o644, False), (0o660, False)):
            with self.subTest(mode=oct(mode)):
                key.chmod(mode)
                before = len(self.server.read_log())
                self.server.daemon.send_signal(signal.SIGHUP)
                wait_until("the reload", lambda: "reload" in self.server.read_log()[before:])
                log = self.server.read_log()[before:]
                self.assertEqual("chmod 600" in log, not taken, log)


if __name__ == "__main__":
    unittest.main()
