# SPDX-License-Identifier: Apache-2.0
"""dacm login, logout and whoami against the SIM-S of `dacm dev`: the command prints an address, a
browser of a few lines goes through the pages and comes back to the command's loopback port."""
import concurrent.futures
import json
import os
import pathlib
import socket
import stat
import subprocess
import unittest
import urllib.error
import urllib.parse
import urllib.request

import harness
import sims
from sim.v1 import admin_pb2, admin_pb2_grpc
import grpc

DENIED, UNAUTHENTICATED, UNAVAILABLE, FILE, USAGE = 3, 7, 8, 11, 2


class DevSims(sims.Sims):
    """The simsd that `dacm dev` runs."""

    def __init__(self, dev):  # nothing is started: it runs
        env = dev.env
        port = lambda url: int(url.rsplit(":", 1)[1])  # noqa: E731
        self.dir, self.ca_file, self.issuer = dev.dir, env["ca_file"], env["issuer"]
        self.port, self.mtls_port = port(self.issuer), port(env["sims"]["mtls"])
        self.config = {"listen": {"admin": {"url": env["sims"]["admin"]}}}


class Login(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dev = harness.Dev()
        cls.sims = DevSims(cls.dev)
        cls.asset = cls.dev.env["assets"][0]["asset_id"]
        cls.users = {user["username"]: user for user in cls.dev.env["users"]}

    @classmethod
    def tearDownClass(cls):
        assert cls.dev.stop() == 0

    def setUp(self):
        self.home = self.dev.dir / ("home-" + os.urandom(4).hex())
        self.home.mkdir(mode=0o700)
        self.logins = []

    def tearDown(self):
        for process in self.logins:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()

    # -- the command

    def environment(self):
        return dict(os.environ, DACM_ENV=str(self.dev.dir / "env.json"), HOME=str(self.home),
                    XDG_STATE_HOME=str(self.home / "state"),
                    XDG_CONFIG_HOME=str(self.home / "config"))

    def dacm(self, *arguments):
        done = subprocess.run([harness.BIN / "dacm", "--json", *map(str, arguments)],
                              env=self.environment(), text=True, capture_output=True, timeout=120)
        done.answer = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None
        return done

    def begin(self, *arguments):
        """(`dacm login`, waiting for the browser; the address that it printed)."""
        process = subprocess.Popen(
            [harness.BIN / "dacm", "--json", "login", "--no-browser", *arguments],
            env=self.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.logins.append(process)
        line = process.stdout.readline()
        return process, json.loads(line)["authorization_url"]

    def end(self, process):
        """(exit code, the last object that it printed)."""
        lines = process.stdout.read().splitlines()
        return process.wait(60), json.loads(lines[-1]) if lines else None

    # -- the browser

    def browse(self, url, username, decision="allow"):
        """Logs in and consents; where the SIM-S sends the browser then."""
        self.assertTrue(url.startswith(self.sims.issuer + "/"), url)
        browser = sims.Browser(self.sims)
        page = browser.get(url[len(self.sims.issuer):])
        page = browser.login(page, username, self.users[username]["password"])
        if page.status == 200 and 'name="decision"' in page.text:
            page = browser.submit(page, decision=decision)
        self.assertIn(page.status, (302, 303), page.text)
        return page.header("location")

    def visit(self, url):
        """The status with which the command answers its browser."""
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            return error.code

    def log_in(self, username):
        process, url = self.begin()
        self.assertEqual(self.visit(self.browse(url, username)), 200)
        code, told = self.end(process)
        self.assertEqual(code, 0, told)
        return told

    @property
    def file(self):
        return self.home / "config" / "dacm" / "login.json"

    def kept(self):
        return json.loads(self.file.read_text())

    # -- who is logged in

    def test_login_tells_who_it_is_and_keeps_tokens_for_the_user_alone(self):
        told = self.log_in("alice")
        self.assertEqual(told["issuer"], self.sims.issuer)
        self.assertEqual(told["gpsis"], [self.users["alice"]["gpsi"]])
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.file.parent.stat().st_mode), 0o700)
        who = self.dacm("whoami")
        self.assertEqual(who.returncode, 0, who.stdout)
        self.assertEqual(who.answer["sub"], told["sub"])
        self.assertEqual(who.answer["gpsis"], told["gpsis"])
        self.assertEqual(who.answer["username"], "alice")

    def test_nobody_is_logged_in_at_first(self):
        for command in (("whoami",), ("logout",)):
            done = self.dacm(*command)
            self.assertEqual(done.returncode, UNAUTHENTICATED)
            self.assertIn("dacm login", done.answer["error"]["message"])
        self.assertEqual(self.dacm("get", self.asset).returncode, USAGE)

    def test_file_that_others_can_read_is_not_used(self):
        self.log_in("alice")
        self.file.chmod(0o644)
        done = self.dacm("whoami")
        self.assertEqual(done.returncode, FILE)
        self.assertIn("others can read", done.answer["error"]["message"])

    # -- what it opens

    def test_listed_user_downloads_with_the_login_alone(self):
        self.log_in("bob")
        target = self.home / "cube.glb"
        done = self.dacm("get", self.asset, "-o", target)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(target.read_bytes(),
                         pathlib.Path(self.dev.env["assets"][0]["file"]).read_bytes())

    def test_unlisted_user_is_refused_as_for_an_asset_that_is_not_there(self):
        self.log_in("mallory")
        refused = self.dacm("get", self.asset, "-o", self.home / "x")
        missing = self.dacm("get", "0" * 32, "-o", self.home / "x")
        self.assertEqual(refused.returncode, DENIED, refused.stdout)
        self.assertEqual(refused.stdout, missing.stdout)
        self.assertFalse((self.home / "x").exists())

    def test_owner_stores_lists_allows_and_deletes(self):
        self.log_in("alice")
        content = self.home / "a.glb"
        content.write_bytes(pathlib.Path(self.dev.env["assets"][0]["file"]).read_bytes())
        put = self.dacm("put", content)
        self.assertEqual(put.returncode, 0, put.stdout)
        asset = put.answer["asset_id"]
        for command in (("ls",), ("allow", asset, self.users["mallory"]["gpsi"]),
                        ("show", asset), ("rm", asset)):
            done = self.dacm(*command)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_token_opens_one_asset(self):
        self.log_in("alice")
        for asset in self.dev.env["assets"][:2]:
            done = self.dacm("authorize", asset["asset_id"])
            self.assertTrue(done.answer["allowed"], done.stdout)
        tokens = self.kept()["tokens"]
        for asset in self.dev.env["assets"][:2]:
            claims = self.sims.claims(tokens["get " + asset["asset_id"]]["access_token"])
            self.assertEqual(claims["authorization_details"], [
                {"type": "digital_asset", "identifier": asset["asset_id"], "actions": ["get"]}])
            self.assertIn(self.users["alice"]["gpsi"], claims["Digital_profile"].split(" "))

    def test_many_commands_at_a_time_renew_it_without_ending_it(self):
        self.log_in("alice")
        assets = [asset["asset_id"] for asset in self.dev.env["assets"]]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            done = list(pool.map(lambda i: self.dacm("authorize", assets[i % 3]), range(6)))
        for one in done:
            self.assertTrue(one.returncode == 0 and one.answer["allowed"], one.stdout)
        self.assertEqual(self.dacm("whoami").returncode, 0)

    def test_development_key_is_not_asked_where_a_login_is_meant(self):
        self.log_in("bob")
        done = self.dacm("authorize", self.asset)
        self.assertNotIn("development key", done.stderr)
        other = self.dacm("authorize", self.asset, "--as", self.users["mallory"]["gpsi"])
        self.assertIn("development key", other.stderr)
        self.assertFalse(other.answer["allowed"])

    # -- the way back

    def test_answer_with_another_state_is_dropped_without_a_word(self):
        process, url = self.begin()
        location = self.browse(url, "alice")
        back = urllib.parse.urlsplit(location)
        answer = dict(urllib.parse.parse_qsl(back.query))
        for forged in (dict(answer, state="x" + answer["state"][1:]), {"code": answer["code"]},
                       dict(answer, state="")):
            self.assertEqual(self.visit(urllib.parse.urlunsplit(
                back._replace(query=urllib.parse.urlencode(forged)))), 404)
        twice = back.query + "&state=" + answer["state"]
        self.assertEqual(self.visit(urllib.parse.urlunsplit(back._replace(query=twice))), 404)
        self.assertIsNone(process.poll())
        self.assertEqual(self.visit(location), 200)
        code, told = self.end(process)
        self.assertEqual(code, 0, told)

    def test_answer_of_another_issuer_is_refused_before_the_code_goes_out(self):
        for iss in ("https://elsewhere.example", self.sims.issuer + "/", None):
            process, url = self.begin()
            back = urllib.parse.urlsplit(self.browse(url, "alice"))
            answer = dict(urllib.parse.parse_qsl(back.query))
            answer.pop("iss")
            if iss:
                answer["iss"] = iss
            self.visit(urllib.parse.urlunsplit(
                back._replace(query=urllib.parse.urlencode(answer))))
            code, told = self.end(process)
            self.assertEqual(code, UNAUTHENTICATED, told)
            self.assertFalse(self.file.exists())

    def test_code_that_is_not_ours_gets_no_login(self):
        process, url = self.begin()
        back = urllib.parse.urlsplit(self.browse(url, "alice"))
        answer = dict(urllib.parse.parse_qsl(back.query), code="A" * 43)
        self.visit(urllib.parse.urlunsplit(back._replace(query=urllib.parse.urlencode(answer))))
        self.assertEqual(self.end(process)[0], UNAUTHENTICATED)
        self.assertFalse(self.file.exists())

    def test_user_who_does_not_consent_is_not_logged_in(self):
        # consent is asked for once: as a client whose consent nobody gave yet
        with self.admin() as channel:
            admin = admin_pb2_grpc.AdminStub(channel)
            admin.CreateClient(admin_pb2.CreateClientRequest(client=admin_pb2.Client(
                client_id="asks-" + self.home.name, redirect_uris=["http://127.0.0.1/callback"],
                grant_types=[admin_pb2.GRANT_TYPE_AUTHORIZATION_CODE,
                             admin_pb2.GRANT_TYPE_REFRESH_TOKEN],
                scopes=["openid", "profile", "seal.da"], consent=admin_pb2.CONSENT_RULE_ALWAYS)), timeout=60)
        process, url = self.begin("--client-id", "asks-" + self.home.name)
        self.visit(self.browse(url, "alice", decision="deny"))
        code, told = self.end(process)
        self.assertEqual(code, DENIED, told)
        self.assertFalse(self.file.exists())

    def test_nobody_who_comes_is_waited_for_so_long_as_was_said(self):
        process, _ = self.begin("--timeout", "1")
        code, told = self.end(process)
        self.assertEqual(code, UNAVAILABLE, told)
        self.assertIn("--timeout", told["error"]["message"])

    def test_requests_that_are_none_keep_nobody_from_logging_in(self):
        process, url = self.begin()
        location = self.browse(url, "alice")
        self.assertEqual(self.visit(location.replace("/callback", "/other")), 404)
        self.assertEqual(self.visit(location.split("?")[0]), 404)
        host, port = urllib.parse.urlsplit(location).netloc.split(":")
        for junk in (b"", b"\0" * 100, b"GET /callback?state=%00 HTTP/1.1\r\n\r\n",
                     b"GET /callback?" + b"a" * 40000, b"POST /callback?a=b HTTP/1.1\r\n\r\n"):
            with socket.create_connection((host, int(port)), timeout=30) as peer:
                try:
                    peer.sendall(junk)
                    peer.shutdown(1)
                    peer.recv(100)
                except OSError:
                    pass  # the command may be done with us before we are
        self.assertEqual(self.visit(location), 200)
        self.assertEqual(self.end(process)[0], 0)

    # -- the end

    def admin(self):
        return grpc.insecure_channel(self.dev.env["sims"]["admin"].replace("ipc://", "unix://"),
                                     [("grpc.use_local_subchannel_pool", 1)])

    def test_logout_ends_it_here_and_there(self):
        self.log_in("alice")
        refresh = self.kept()["refresh_token"]
        self.assertEqual(self.dacm("logout").returncode, 0)
        self.assertFalse(self.file.exists())
        answer = self.sims.post("/token", {"grant_type": "refresh_token", "client_id": "dacm",
                                           "refresh_token": refresh})
        self.assertEqual((answer.status, answer.json["error"]), (400, "invalid_grant"))
        self.assertEqual(self.dacm("whoami").returncode, UNAUTHENTICATED)

    def test_login_that_the_operator_ended_says_so(self):
        self.log_in("alice")
        with self.admin() as channel:
            admin_pb2_grpc.AdminStub(channel).EndSessions(
                admin_pb2.EndSessionsRequest(username="alice"), timeout=60)
        done = self.dacm("whoami")
        self.assertEqual(done.returncode, UNAUTHENTICATED, done.stdout)
        self.assertIn("dacm login", done.answer["error"]["message"])

    # -- VAL servers

    def test_val_server_logs_in_by_its_key_and_by_its_certificate(self):
        for client in self.dev.env["clients"][1:]:
            done = self.dacm("login", "--client-credentials", "--client-id", client["client_id"])
            self.assertEqual(done.returncode, 0, done.stdout)
            for user, allowed in (("bob", True), ("mallory", False)):
                # no --as: with it `dacm dev`'s key would make the token
                self.kept()
                done = self.act_for(self.users[user]["gpsi"])
                self.assertEqual(done.returncode, 0 if allowed else DENIED,
                                 done.stdout + done.stderr)

    def act_for(self, gpsi):
        """Authorize as a VAL server for that user, without what `dacm dev` would mint."""
        environment = self.environment()
        del environment["DACM_ENV"]
        env = self.dev.env
        return subprocess.run(
            [harness.BIN / "dacm", "--json", "authorize", self.asset, "--as", gpsi, "--server",
             env["dacm"]["grpc"], "--ca", env["ca_file"]],
            env=environment, text=True, capture_output=True, timeout=120)

    def test_client_without_credentials_is_told_to_bring_some(self):
        done = self.dacm("login", "--client-credentials", "--client-id", "nobody")
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("--client-key", done.answer["error"]["message"])

    def test_issuer_that_is_no_provider_is_refused(self):
        done = self.dacm("login", self.sims.issuer + "/elsewhere")
        self.assertEqual(done.returncode, USAGE, done.stdout)
        done = self.dacm("login", self.sims.issuer + "/")
        self.assertEqual(done.returncode, USAGE, done.stdout)
        self.assertIn("leave the slash at its end out", done.answer["error"]["message"])
        done = self.dacm("login", "http" + self.sims.issuer[5:])
        self.assertEqual(done.returncode, USAGE, done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
