# SPDX-License-Identifier: Apache-2.0
"""libdacm and `dacm` learn keys from the SKM-S by themselves, with nothing pinned but its root: turns
and revocations while clients live on, rollback, an SKM-S that is away, and one that lies."""
import http.server
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import harness
import keyserver
import provisioned
import trust_test
from configured import wait_until
from harness import bearer, da
from keys_app import App, Liar, Replay, seconds_until
from keyserver import admin

SMALL, LARGE = 60_000, 6_000_000
ROUNDS = 60 if harness.FULL else 8
FOR_EVER_MS = 3_600_000


def setUpModule():
    global skms, dacm, owner, small, large, own
    skms = keyserver.Skms(lambda _, config: config.update(keys={"published_before_s": 0}))
    dacm = provisioned.Dacm(skms, {})
    owner = dacm.users[0]
    own = int(re.search(r"^skm_watchers (\d+)$", skms.get("/metrics")[2].decode(), re.M)[1])
    small = dacm.upload(os.urandom(SMALL), owner).asset_id
    large = dacm.upload(os.urandom(LARGE), owner).asset_id


def tearDownModule():
    try:
        assert dacm.stop() == 0
    finally:
        skms.close()


def record(asset, **fields):
    """What dacmd answers to a Download."""
    token = dacm.token(owner, asset, ["get"], [owner])
    return list(dacm.stub().Download(
        da.DownloadRequest(asset_id=asset, gpsi=owner, **fields), metadata=bearer(token),
        timeout=60))


def signed_by_active():
    """A new asset whose manifest is signed by the key that is active now; dacmd learns of it a moment
    after skmsd, and what it has signed before stays as it is."""
    found = []

    def upload():
        found[:] = [dacm.upload(os.urandom(SMALL), owner).asset_id]
        return dacm.manifest_kid(found[0], owner) == dacm.active()
    wait_until("a manifest by the active key", upload)
    return found[0]


def wait_key(kid, asset):
    wait_until(f"a manifest under {kid}", lambda: dacm.manifest_kid(asset, owner) == kid)


def turn():
    """Another key signs then, from the next second on; its kid."""
    before = dacm.active()
    dacm.rotate()
    wait_until("another active key", lambda: dacm.active() != before)
    return dacm.active()


def watches(count):
    """So many run at skmsd; its own, of dacmd, included."""
    wait_until(f"{count} watches", lambda: f"skm_watchers {count}\n" in
               skms.get("/metrics")[2].decode())


def asked_of_skmsd():
    """GetKeySet and WatchKeys that ended at skmsd, by its metrics."""
    text = skms.get("/metrics")[2].decode()
    ended = {name: 0 for name in ("GetKeySet", "WatchKeys")}
    for name, count in re.findall(r'dacm_calls_total\{method="(\w+)",code="\w+"\} (\d+)', text):
        if name in ended:
            ended[name] += int(count)
    return ended


class Case(unittest.TestCase):
    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="dacm-keys-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.trust_dir = self.home / "trust"

    # -- the command

    def run_dacm(self, *arguments, code=0):
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("DACM_", "XDG_"))}
        env.update(HOME=str(self.home), DACM_TRUST=str(self.trust_dir))
        done = subprocess.run([harness.BIN / "dacm", *map(str, arguments)], env=env, text=True,
                              capture_output=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def fingerprint(self):
        root = json.loads(skms.admin().GetRoot(admin.GetRootRequest()).jwk)
        return "SHA256:" + keyserver.thumbprint(root)

    @property
    def address(self):
        return "tls+tcp://localhost:" + skms.address.rsplit(":", 1)[1]

    def pin(self, *more):
        return self.run_dacm("trust", "add", self.address, "--fingerprint", self.fingerprint(),
                             "--ca", skms.pki / "ca.crt", *more)

    # -- the application

    def app(self, **options):
        app = App(**{"target": dacm.env["dacm"]["grpc"], "ca": dacm.env["ca_file"],
                     "issuer": dacm.audience, "trust": self.trust_dir,
                     "state": self.home / "state", "keys_ca": skms.pki / "ca.crt", **options})
        self.addCleanup(app.close)
        return app

    def get(self, app, asset=None, code="OK"):
        asset = asset or small
        told = app.ask("get", asset, owner, dacm.token(owner, asset, ["get"], [owner]),
                       self.home / "avatar.glb")
        self.assertEqual(told["code"], code, told)
        return told

    def version(self):
        sets = json.loads((self.trust_dir / "trust.json").read_text())["issuers"][0]["sets"]
        return sets[0]["version"] if sets else 0


class Command(Case):
    def test_one_command_pins_the_root_and_where_to_ask(self):
        other = "SHA256:" + trust_test.Key().kid
        done = self.run_dacm("trust", "add", self.address, "--fingerprint", other, "--ca",
                             skms.pki / "ca.crt", code=5)
        self.assertIn(self.fingerprint(), done.stderr)
        self.assertFalse((self.trust_dir / "trust.json").exists())
        self.assertIn(self.address, self.pin().stdout)
        self.run_dacm("trust", "update", code=6)  # nobody knows yet of which service
        done = self.run_dacm("trust", "update", "--service", dacm.audience, "--ca",
                             skms.pki / "ca.crt")
        self.assertIn("key sets taken: 2", done.stdout)  # manifests and tokens
        known = self.run_dacm("trust", "update", "--ca", skms.pki / "ca.crt").stdout
        self.assertIn("known already: 2", known)
        kept = json.loads(self.run_dacm("--json", "trust", "list").stdout)
        self.assertEqual(kept["address"], self.address)
        done = self.run_dacm("trust", "update", "--service", "https://nobody.example", "--ca",
                             skms.pki / "ca.crt", code=4)
        self.assertIn("no such keys", done.stderr)
        self.run_dacm("trust", "update", code=8)  # by no authority that the system knows

    def test_root_comes_from_any_https_address(self):
        root = skms.admin().GetRoot(admin.GetRootRequest()).jwk.encode()

        class Files(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = self.path == "/root.jwk"
                self.send_response(200 if found else 404)
                self.end_headers()
                self.wfile.write(root if found else b"no")

            def log_message(self, *_):
                pass
        server = http.server.HTTPServer(("localhost", 0), Files)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(skms.pki / "skmsd.crt", skms.pki / "skmsd.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        url = f"https://localhost:{server.server_port}"
        trusting = ["--fingerprint", self.fingerprint(), "--ca", skms.pki / "ca.crt"]
        self.run_dacm("trust", "add", url + "/nothing", *trusting, code=8)
        self.run_dacm("trust", "add", url + "/root.jwk", "--fingerprint", self.fingerprint(), code=8)
        done = self.run_dacm("trust", "add", url + "/root.jwk", *trusting, "--address", self.address)
        self.assertIn(self.address, done.stdout)

    def test_get_and_verify_fetch_what_they_need(self):
        self.pin()
        file, token = self.home / "a.glb", self.home / "token"
        token.write_text(dacm.token(owner, small, ["get"], [owner]))
        # One authority for both here: the system has none of either.
        both = self.home / "ca.crt"
        both.write_text(pathlib.Path(dacm.env["ca_file"]).read_text()
                        + (skms.pki / "ca.crt").read_text())
        trusting = ["--trust", "--ca", both]
        done = self.run_dacm("get", small, "-o", file, "--as", owner, "--token-file", token,
                             "--server", dacm.env["dacm"]["grpc"], "--issuer", dacm.audience,
                             *trusting)
        self.assertEqual(done.stderr, "")
        shutil.rmtree(self.trust_dir)
        self.pin()
        self.run_dacm("verify", file, "--trust", "--offline", code=6)
        self.assertEqual(self.run_dacm("verify", file, *trusting).stderr, "")
        # What is kept counts while nobody can be asked, and that is said.
        nobody = ["--skms", "tls+tcp://localhost:1"]
        done = self.run_dacm("verify", file, *trusting, *nobody)
        self.assertIn("may not be the newest", done.stderr)
        told = json.loads(self.run_dacm("--json", "verify", file, *trusting, *nobody).stdout)
        self.assertIn("keys_failure", told)
        self.assertEqual(self.run_dacm("verify", file, "--trust", "--offline").stderr, "")


class Connected(Case):
    def test_keys_turn_under_downloads_and_none_fails(self):
        self.pin()
        apps = [self.app() for _ in range(2)]
        newest, kids, stop, failed = [small], set(), threading.Event(), []

        def load(app):
            while not stop.is_set():
                asset = newest[0]
                token = dacm.token(owner, asset, ["get"], [owner])
                told = app.ask("get", asset, owner, token, self.home / f"{id(app)}.glb")
                if told["code"] != "OK" or not told["valid"]:
                    failed.append(told)
                    return
                kids.add(told["kid"])
        threads = [threading.Thread(target=load, args=[app]) for app in apps]
        for thread in threads:
            thread.start()
        try:
            for _ in range(ROUNDS):
                now, newest[0] = turn(), signed_by_active()
                wait_until("a download under the next key", lambda: now in kids or failed)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failed, [])
        self.assertGreaterEqual(len(kids), ROUNDS)

    def test_client_that_was_away_takes_the_key_that_signs_now(self):
        self.pin()
        self.get(self.app())
        self.assertEqual(turn(), self.get(self.app(), signed_by_active())["kid"])

    def test_compromised_key_is_refused_in_running_downloads_and_in_what_was_recorded(self):
        self.pin()
        kid = dacm.manifest_kid(small, owner)
        replay = Replay(dacm)
        self.addCleanup(replay.close)
        replay.responses = record(small)
        app, replayed = self.app(), self.app(target=replay.target)
        app.watches()
        replayed.watches()
        self.assertEqual(self.get(replayed)["kid"], kid)
        wait_key(kid, large)
        token = dacm.token(owner, large, ["get"], [owner])
        self.assertEqual(app.ask("hold", large, owner, token), {"held": True})
        answers = [state["answers"] for state in (app.state(), replayed.state())]
        dacm.revoke(kid)
        took = seconds_until(lambda: replayed.state()["answers"] > answers[1])
        app.wait_state("the set without it", lambda state: state["answers"] > answers[0])
        told = app.ask("go")
        self.assertEqual(told["code"], "BAD_SIGNATURE", told)
        self.assertIn("compromised", self.get(replayed, code="BAD_SIGNATURE")["message"])
        wait_key(dacm.active(), small)
        self.assertNotEqual(self.get(app)["kid"], kid)
        print(f"a revoked key was known after {took * 1000:.0f} ms")

    def test_unknown_keys_cause_one_question_in_an_interval(self):
        """A DACM of the same name signs with keys that the SKM-S does not know."""
        self.pin()
        watches(own)
        stranger = Replay(dacm)
        self.addCleanup(stranger.close)
        response = da.DownloadResponse()
        response.CopyFrom(record(small)[0])
        claims = keyserver.jws_parts(response.start.manifest)[1]
        response.start.manifest = trust_test.Key().sign("dacm-manifest+jwt", claims)
        stranger.responses = [response]
        app = self.app(target=stranger.target, unknown_ms=FOR_EVER_MS)
        app.watches()
        watches(own + 1)
        before = asked_of_skmsd()
        token = dacm.token(owner, small, ["get"], [owner])
        for _ in range(3):
            self.assertEqual(app.ask("storm", 32, small, owner, token), {"NO_KEY": 32})
        wait_until("the question in the metrics",
                   lambda: asked_of_skmsd()["GetKeySet"] == before["GetKeySet"] + 1)
        self.assertEqual(asked_of_skmsd()["WatchKeys"], before["WatchKeys"])
        again = self.app(target=stranger.target, unknown_ms=1)
        again.watches()
        watches(own + 2)
        before = asked_of_skmsd()
        for _ in range(3):
            self.get(again, code="NO_KEY")
        wait_until("three questions in the metrics",
                   lambda: asked_of_skmsd()["GetKeySet"] >= before["GetKeySet"] + 3)

    def test_skmsd_away_and_back(self):
        self.pin()
        first = self.app()
        first.watches()
        self.get(first)
        skms.kill()
        try:
            first.wait_state("that it is away", lambda state: not state["watching"])
            self.get(first)  # by what is kept
            second = self.app()
            self.get(second)
            self.assertEqual(second.state()["failure"], "UNAVAILABLE")
            self.assertEqual(second.ask("wait", 1)["code"], "UNAVAILABLE")
        finally:
            skms.start()
        for app in (first, second):
            app.watches()
            self.assertEqual(app.state()["failure"], "OK")
            self.get(app)

    def test_client_that_pinned_nothing_or_no_address_asks_nobody(self):
        nobody = self.app()
        self.assertEqual(nobody.ask("wait", 1)["code"], "NO_KEY")
        self.get(nobody, code="NO_KEY")
        root = self.home / "root.jwk"
        root.write_text(skms.admin().GetRoot(admin.GetRootRequest()).jwk)
        self.run_dacm("trust", "add", root, "--fingerprint", self.fingerprint())
        self.assertEqual(nobody.ask("wait", 1)["code"], "FAILED_PRECONDITION")
        self.get(self.app(keys_address=self.address))
        offline = self.app(offline=1)
        self.assertEqual(offline.state(), {"asks": False})
        self.get(offline)


class Rollback(Case):
    """What a client that has seen newer refuses, and one that has not where it is too old."""

    def replay(self, responses):
        replay = Replay(dacm)
        self.addCleanup(replay.close)
        replay.responses = responses
        return replay.target

    def test_old_version_of_an_avatar_is_refused_by_who_has_seen_a_newer(self):
        self.pin()
        asset = dacm.upload(os.urandom(SMALL), owner).asset_id
        first = record(asset)
        dacm.upload(os.urandom(SMALL), owner, asset=asset)
        self.assertEqual(self.get(self.app(), asset)["version"], 2)
        told = self.get(self.app(target=self.replay(first)), asset, code="BAD_SIGNATURE")
        self.assertIn("version 2 was seen", told["message"])
        # Who has seen nothing cannot know; `exp` of the manifest ends it, after a day at most.
        other = self.app(target=self.replay(first), state=self.home / "other")
        self.assertEqual(self.get(other, asset)["version"], 1)

    def test_manifest_that_expired_is_refused_by_who_has_seen_nothing(self):
        liar = Liar(skms.pki)
        self.addCleanup(liar.close)
        key = trust_test.Key()
        self.run_dacm("trust", "add", liar.address, "--fingerprint", liar.root.fingerprint, "--ca",
                      skms.pki / "ca.crt")
        window = dict(trust_test.listed(key), nbf=1, exp=int(time.time()) + 86400)
        liar.tell(liar.set([window], 1, service=dacm.audience))
        responses = record(small)
        claims = keyserver.jws_parts(responses[0].start.manifest)[1]
        for age, code in ((0, "OK"), (86400, "BAD_SIGNATURE")):
            start = da.DownloadResponse()
            start.CopyFrom(responses[0])
            start.start.manifest = key.sign("dacm-manifest+jwt", dict(
                claims, iat=claims["iat"] - age, exp=claims["exp"] - age - 60))
            app = self.app(target=self.replay([start, *responses[1:]]))
            told = self.get(app, code=code)
            self.assertIn("expired" if age else "", told["message"])


class Lies(Case):
    """Whatever an SKM-S answers, what is kept stays, and downloads go on by it until it expires."""

    def setUp(self):
        super().setUp()
        self.liar = Liar(skms.pki)
        self.addCleanup(self.liar.close)
        self.key = trust_test.Key()
        self.replay = Replay(dacm)
        self.addCleanup(self.replay.close)
        self.replay.responses = record(small)
        claims = keyserver.jws_parts(self.replay.responses[0].start.manifest)[1]
        self.replay.responses[0].start.manifest = self.key.sign("dacm-manifest+jwt", claims)
        self.run_dacm("trust", "add", self.liar.address, "--fingerprint",
                      self.liar.root.fingerprint, "--ca", skms.pki / "ca.crt")
        self.good = self.set(5)

    def set(self, version, listed=None, **changes):
        listed = [trust_test.listed(self.key)] if listed is None else listed
        return self.liar.set(listed, version, **{"service": dacm.audience, **changes})

    def liar_app(self, **options):
        app = self.app(target=self.replay.target, **options)
        app.watches()
        self.get(app)
        return app

    def test_lies_are_refused_and_what_is_kept_stays(self):
        self.liar.tell(self.good)
        other = trust_test.Key()
        compromised = [trust_test.listed(self.key, state="compromised")]
        lies = {
            "an older set": (self.set(4), "BAD_SIGNATURE", "seen before"),
            "a second history": (self.set(5, compromised), "BAD_SIGNATURE", "two different"),
            "a set of another service": (
                self.set(6, service="https://other.example"), "BAD_SIGNATURE", "was answered"),
            "tokens for manifests": (
                self.set(6, [trust_test.listed(other, "token")], purpose="tokens"),
                "BAD_SIGNATURE", "was answered"),
            "another root": (self.set(6, compromised, root=other), "NO_KEY", "another root"),
            "an expired set": (
                self.set(6, compromised, age=3640, life=3600), "FAILED_PRECONDITION", "expired"),
            "a set of the future": (self.set(6, age=-3600), "FAILED_PRECONDITION", "future"),
            "nothing": (self.liar.set([], 6), "BAD_SIGNATURE", "was answered"),
            "no JWS": (keyserver.keys.KeySet(version=6, jws="no"), "INVALID_ARGUMENT", "neither"),
            "too much": (keyserver.keys.KeySet(version=6, jws="x" * (2 << 20)),
                         "RESOURCE_EXHAUSTED", ""),
            "statements without end": (keyserver.keys.KeySet(
                version=6, jws=self.good.jws, root_statements=["x" * 4000] * 1000),
                "RESOURCE_EXHAUSTED", ""),
            "two sets": (keyserver.keys.KeySet(
                version=5, jws=self.good.jws + " " + self.good.jws), "BAD_SIGNATURE", "two"),
        }
        for what, (answer, code, words) in lies.items():
            with self.subTest(what):
                self.liar.tell(self.good)
                app = self.liar_app()
                self.liar.tell(answer)
                app.wait_state(what, lambda state: state["failures"] > 0)
                state = app.state()
                self.assertEqual(state["failure"], code, state)
                self.assertIn(words, state["message"])
                self.get(app)
                self.assertEqual(self.version(), 5)
                app.close()
                self._cleanups.pop()

    def test_a_stream_without_end_is_hung_up_on(self):
        self.liar.tell(self.good)
        app = self.liar_app()
        self.liar.endless = True
        self.liar.tell(self.good)
        app.wait_state("that it hung up", lambda state: state["failures"] > 0)
        self.assertIn("without end", app.state()["message"])
        answers = app.state()["answers"]
        self.get(app)
        self.assertLess(answers, 100)

    def test_key_that_is_removed_is_known_no_more(self):
        self.liar.tell(self.good)
        app = self.liar_app()
        self.liar.tell(self.set(6, [trust_test.listed(trust_test.Key())]))
        app.wait_state("the set without it", lambda state: state["answers"] > 1)
        self.get(app, code="NO_KEY")

    def test_who_cannot_watch_asks_now_and_then(self):
        self.liar.tell(self.good)
        self.liar.full = True
        app = self.app(target=self.replay.target)
        self.get(app)
        self.assertEqual(self.version(), 5)
        self.assertFalse(app.state()["watching"])
        self.assertEqual(self.liar.asked[:2], ["WatchKeys", "GetKeySet"])  # it comes again
        self.liar.full = False
        self.liar.tell(self.set(6))
        app.watches()
        self.assertEqual(self.version(), 6)

    def test_set_that_expires_where_it_is_kept_verifies_nothing_more(self):
        """30 s for clocks; a set that expired 10 s ago has 20 s left."""
        self.liar.tell(self.set(5, age=3600, life=3590))
        app = self.liar_app()
        self.liar.close()
        app.wait_state("that it is away", lambda state: not state["watching"])
        token = dacm.token(owner, small, ["get"], [owner])
        wait_until("its end", lambda: app.ask(
            "get", small, owner, token, self.home / "x.glb")["code"] != "OK")
        self.assertIn("expired", self.get(app, code="FAILED_PRECONDITION")["message"])

    def test_root_is_replaced_while_clients_watch(self):
        self.liar.tell(self.good)
        app = self.liar_app()
        new = trust_test.Key()
        statement = trust_test.statement(self.liar.root, new, 1)
        answer = self.set(6, root=new)
        answer.root_statements.append(statement)
        self.liar.tell(answer)
        app.wait_state("the set of the new root", lambda state: state["answers"] > 1)
        self.get(app)
        self.assertEqual(self.version(), 6)
        # The old root says nothing any more.
        self.liar.tell(self.set(7))
        app.wait_state("the refusal", lambda state: state["failures"] > 0)
        self.assertEqual(app.state()["failure"], "NO_KEY")

    def test_file_that_is_truncated_or_that_others_could_write_is_not_believed(self):
        self.liar.tell(self.good)
        app = self.liar_app()
        file = self.trust_dir / "trust.json"
        content = file.read_bytes()
        for cut in (0, 1, len(content) // 2, len(content) - 2):
            file.write_bytes(content[:cut])
            self.get(app, code="LOCAL_FILE")
        file.write_bytes(content)
        self.get(app)
        file.chmod(0o666)
        self.get(app, code="LOCAL_FILE")
        file.chmod(0o600)
        self.get(app)

    def test_file_that_is_replaced_by_an_older_one_is_brought_up_to_date(self):
        self.liar.tell(self.set(4))
        app = self.liar_app()
        old = (self.trust_dir / "trust.json").read_bytes()
        self.liar.tell(self.good)
        app.wait_state("the newer set", lambda state: state["answers"] > 1)
        (self.trust_dir / "trust.json").write_bytes(old)
        again = self.liar_app()
        self.assertEqual(again.state()["failure"], "OK")
        self.assertEqual(self.version(), 5)


if __name__ == "__main__":
    unittest.main()
