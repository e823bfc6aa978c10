# SPDX-License-Identifier: Apache-2.0
"""After calls of every kind, allowed, refused and broken: no token, GPSI or private key is in the
log, the metrics, the health, the audit trail or an error's text. And the signals: SIGHUP while
calls run, SIGTERM that lets a running download end."""
import base64
import hashlib
import json
import os
import pathlib
import re
import unittest

import grpc

import harness
from configured import Issuer, Server, request_id_of, wait_until
from dacm.v1 import consumer_list_pb2 as cl
from dacm.v1 import consumer_list_pb2_grpc as cl_grpc
from harness import b64url, bearer, da

LARGE_BYTES = 16 << 20


class Secrets:
    """Every byte string that may be nowhere, and every text that a caller got."""

    def __init__(self, server):
        self.server, self.texts, self.tokens, self.users = server, [], set(), set(server.users)

    def token(self, text):
        """Remembers a token, whole and in parts, and gives it back."""
        self.tokens.add(text)
        return text

    def needles(self):
        for token in self.tokens:
            yield token.encode()
            for part in token.split("."):
                if len(part) > 20:
                    yield part.encode()
            body = token.split(".")[1:2]
            try:
                yield base64.urlsafe_b64decode(body[0] + "===")
            except (ValueError, IndexError):
                pass
        for user in self.users:
            yield user.encode()
            yield user.split("-", 1)[1].encode()
        for path in (self.server.dir / "pki").iterdir():
            text = path.read_bytes()
            if path.suffix == ".key":
                yield from (line for line in text.splitlines() if len(line) > 40)
            if path.suffix == ".jwks" and ".pub" not in path.name:
                for key in json.loads(text)["keys"]:
                    yield key["d"].encode()
                    yield harness.unb64url(key["d"])
                    yield harness.unb64url(key["d"]).hex().encode()


def setUpModule():
    global server, owner, listed, unlisted, asset, content, secrets, other_issuer

    def configure(server, config):
        global other_issuer
        other_issuer = Issuer("https://other.example", alg="ES256",
                              gpsi_namespaces=["extid-*@other.example"])
        config["issuers"].append(other_issuer.entry(server.dir / "config"))
        config["log"] = {"level": "debug"}
        return config
    server = Server(configure)
    # What `dacm dev` printed before names its users; dacmd's own log begins here.
    server.log_begins = len(server.read_log()) - len(
        server.read_log()[server.read_log().rfind('"ready"'):])
    owner, listed, unlisted = server.users[0], server.users[1], server.users[-1]
    content = hashlib.shake_256(b"secrets").digest(60_000)
    secrets = Secrets(server)
    asset = server.upload(content, owner, [listed, "extid-secret.name@example.com"]).asset_id


def tearDownModule():
    assert server.stop() == 0, server.read_log()


def broken(token):
    """The token spoiled in ways that different parts of the server find."""
    head, body, signature = token.split(".")
    claims = json.loads(harness.unb64url(body))
    return [
        head + "." + body + ".", body + "." + head + "." + signature, token + "." + signature,
        token[:-5] + "AAAAA", token + "=", token[:40], body,
        server.sign(json.dumps(claims).encode()[:-1]), server.sign(b"[" + body.encode() + b"]"),
        server.sign(dict(claims, aud="https://" + listed + ".example/")),
        server.sign(dict(claims, iss="https://" + listed + ".example")),
        server.sign(dict(claims, gpsi="x" + listed)), server.sign(dict(claims, gpsi=[listed, 7])),
        server.sign(dict(claims, Digital_profile=listed + "\t" + owner)),
        server.sign(dict(claims, Digital_profile={listed: owner})),
        server.sign(dict(claims, exp=1, iat=0)), server.sign(dict(claims, cnf=listed)),
        server.sign(dict(claims, authorization_details=[{"type": listed}])),
        server.sign(dict(claims, authorization_details=[
            {"type": "digital_asset", "actions": [listed]}])),
        server.sign(dict(claims, authorization_details=[
            {"type": "digital_asset", "actions": ["get"], listed: 1}])),
        server.sign(claims, header={"kid": listed}), server.sign(claims, header={"typ": listed}),
        server.sign(claims, header={"alg": listed}), server.sign(claims, header={"alg": "none"}),
        server.sign(claims, header={"crit": [listed]}),
        other_issuer.token(server, listed, asset, [listed]),
        other_issuer.sign(claims), server.sign(dict(claims, **{"x": "y" * 40_000})),
    ]


class NowhereToBeFound(unittest.TestCase):
    def call(self, method, request, token, *keys, stub=None):
        metadata = ()
        for key in keys or ("authorization",):
            metadata += bearer(secrets.token(token), key) if token else ()
        try:
            reply = getattr(stub or self.stub, method)(request, metadata=metadata, timeout=60)
            if method == "Download":
                list(reply)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            secrets.texts.append(error.details() + repr(error.trailing_metadata()))
            return error.code()

    def every_kind(self):
        """Statuses of calls of every kind."""
        seen = set()
        call = lambda *args, **kwargs: seen.add(self.call(*args, **kwargs))  # noqa: E731
        get = da.DownloadRequest(asset_id=asset, gpsi=listed)
        good = server.token(listed, asset, ["get"], [owner, listed])
        for keys in (("authorization",), ("dacm-token",), ("authorization", "dacm-token"),
                     ("dacm-token", "dacm-token")):
            call("Download", get, good, *keys)
            for token in broken(good):
                call("Download", get, token, *keys)
                call("Authorize", da.AuthorizeRequest(asset_id=asset, gpsi=listed), token, *keys)
        # Syntax: what is wrong with the field holds a user, a token.
        for text in (listed.upper(), listed + " ", "x" + listed, good, good[:100]):
            call("Download", da.DownloadRequest(asset_id=asset, gpsi=text), good)
            call("Download", da.DownloadRequest(asset_id=asset, external_id=text), good)
            call("Download", da.DownloadRequest(asset_id=text + "/", gpsi=listed), good)
            call("GetProfile", da.GetProfileRequest(
                asset_id=asset, gpsi=listed, page_token=text + "!"), good)
        changes = [
            dict(deny=[listed.upper()]), dict(add_owners=[listed + "/"]),
            dict(allow=[da.AccessControlEntry(allowed_user="X" + listed)]),
            dict(allow=[da.AccessControlEntry(allowed_user=listed)], deny=[listed]),
            dict(remove_owners=[owner]), dict(deny=["msisdn-4917099887766"]),
            dict(if_match=99),
        ]
        update = server.token(owner, asset, ["update"])
        for fields in changes:
            call("UpdateProfile", da.UpdateProfileRequest(asset_id=asset, gpsi=owner, **fields),
                 update)
        call("UpdateProfile", da.UpdateProfileRequest(asset_id=asset, gpsi=unlisted),
             server.token(unlisted, asset, ["update"]))
        call("CreateProfile", da.CreateProfileRequest(profile=da.DigitalAssetProfile(
            owners=[listed]), gpsi=owner), server.token(owner, None, ["create"]))
        call("DiscoverProfiles", da.DiscoverProfilesRequest(gpsi=owner),
             server.token(owner, None, ["discovery"]))
        call("DiscoverProfiles", da.DiscoverProfilesRequest(gpsi=owner, page_token=listed),
             server.token(owner, None, ["discovery"]))
        call("DeleteProfile", da.DeleteProfileRequest(asset_id=asset, gpsi=unlisted),
             server.token(unlisted, asset, ["delete"]))
        call("Download", get, "")
        for size in (1, len(content) + 5):
            token = secrets.token(server.token(owner, None, ["create"]))
            with self.assertRaises(grpc.RpcError) as error:
                server.upload(content, owner, [listed], size=size, token=token)
            secrets.texts.append(error.exception.details())
        self.peers()
        claims = server.claims(listed, asset)
        server.cli("token", "revoke", "--jti", claims["jti"], check=True)
        call("Download", get, server.sign(claims))
        return seen

    def peers(self):
        target = server.env["dacm"]["peers"].split("://")[-1]
        for certificate in ("sims", "val"):
            with server.channel(*server.certificate(certificate), target=target) as channel:
                stub = cl_grpc.ConsumerListsStub(channel)
                for users in ([listed, unlisted], [listed, listed.upper()], []):
                    try:
                        stub.GetConsumerList(cl.GetConsumerListRequest(
                            asset_id=asset, users=users), timeout=60)
                    except grpc.RpcError as error:
                        secrets.texts.append(error.details())

    def haystacks(self):
        log = server.read_log()[server.log_begins:].encode()
        yield "log", log
        yield "metrics", server.https("/metrics").encode()
        yield "health", server.https("/healthz").encode()
        for path in pathlib.Path(server.config["audit"]["directory"]).rglob("*"):
            if path.is_file():
                yield "audit " + path.name, path.read_bytes()
        yield "errors", "\n".join(secrets.texts).encode()
        ids = set(re.findall(rb'"request_id": ?"([0-9a-v]{26})"', log))
        self.assertGreater(len(ids), 100)
        yield "explanations", b"\n".join(
            server.cli("--json", "explain", one.decode()).stdout.encode()
            for one in sorted(ids)[::7])

    def test_secrets_are_nowhere_in_what_the_server_says_of_itself(self):
        with server.client() as channel:
            self.stub = server.stub(channel)
            seen = self.every_kind()
        codes = grpc.StatusCode
        self.assertGreaterEqual(seen, {
            codes.OK, codes.UNAUTHENTICATED, codes.PERMISSION_DENIED, codes.INVALID_ARGUMENT,
            codes.ABORTED})
        needles = {needle for needle in secrets.needles() if len(needle) >= 8}
        self.assertGreater(len(needles), 100)
        sizes = {}
        for name, hay in self.haystacks():
            sizes[name.split()[0]] = sizes.get(name.split()[0], 0) + len(hay)
            for needle in needles:
                at = hay.find(needle)
                self.assertEqual(at, -1, f"{name}: {hay[max(0, at - 200):at + 60]!r}")
        for name in ("log", "metrics", "health", "audit", "errors", "explanations"):
            self.assertGreater(sizes[name], 60, sizes)

    def test_secrets_are_in_no_log_when_the_server_fails_to_start(self):
        """A configuration that names a private key where a public one belongs."""
        private = server.dir / "pki" / "token.jwks"
        secret = json.loads(private.read_text())["keys"][0]["d"]
        config = json.loads(json.dumps(server.config))
        config["issuers"][0]["jwks_file"] = str(private)
        path = server.dir / "config" / "wrong.yaml"
        path.write_text(json.dumps(config))
        import subprocess
        done = subprocess.run([harness.BIN / "dacmd", "--config", path], text=True,
                              capture_output=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("private", done.stdout + done.stderr)
        self.assertNotIn(secret, done.stdout + done.stderr)


class Signals(unittest.TestCase):
    def begin(self, large):
        self.channel = grpc.secure_channel(
            server.target, grpc.ssl_channel_credentials(server.ca),
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)])
        self.addCleanup(self.channel.close)
        token = server.token(listed, large, ["get"], [listed])
        call = server.stub(self.channel).Download(
            da.DownloadRequest(asset_id=large, gpsi=listed), metadata=bearer(token), timeout=240)
        return call, next(call)

    def rest(self, call, start):
        def responses():
            yield start
            yield from call
        return server.check_download(responses())[0]

    def upload(self):
        self.large = os.urandom(LARGE_BYTES)
        return server.upload(self.large, owner, [listed]).asset_id

    def test_sighup_ends_no_download_and_no_connection(self):
        call, start = self.begin(self.upload())
        for _ in range(3):
            self.assertTrue(server.reload())
        self.assertEqual(self.rest(call, start), self.large)
        self.assertEqual(server.download(asset, listed)[0], content)

    def test_sighup_with_a_broken_configuration_changes_nothing(self):
        text = server.config_file.read_text()
        for wrong in ("", "no_such_setting: 1\n", text.replace("token.pub.jwks", "none.jwks"),
                      text.replace("manifest.jwks", "token.pub.jwks")):
            server.config_file.write_text(wrong)
            self.assertFalse(server.reload())
            self.assertEqual(server.download(asset, listed)[0], content)
        server.config_file.write_text(text)
        self.assertTrue(server.reload())

    def test_sighup_says_which_changes_need_a_restart(self):
        server.config["limits"] = {"streams": 50}
        server.write_config()
        self.assertTrue(server.reload())
        self.assertIn("limits.streams", server.read_log())
        del server.config["limits"]
        server.write_config()
        self.assertTrue(server.reload())

    def test_sigterm_lets_a_running_download_end_and_takes_no_new_connection(self):
        call, start = self.begin(self.upload())
        import signal
        server.daemon.send_signal(signal.SIGTERM)
        wait_until("the word that it stops", lambda: '"stopping"' in server.read_log())
        self.assertEqual(self.rest(call, start), self.large)
        self.assertEqual(call.code(), grpc.StatusCode.OK)
        self.assertEqual(server.daemon.wait(harness.START_SECONDS), 0)
        with self.assertRaises(grpc.RpcError) as error:
            server.download(asset, listed)
        self.assertEqual(error.exception.code(), grpc.StatusCode.UNAVAILABLE)
        server.run()
        self.assertEqual(server.download(asset, listed)[0], content)

    def test_sigterm_does_not_wait_for_ever_for_a_reader_that_sleeps(self):
        call, _ = self.begin(self.upload())
        self.assertEqual(server.terminate(), 0)
        with self.assertRaises(grpc.RpcError):
            list(call)
        server.run()
        self.assertEqual(server.download(asset, listed)[0], content)


if __name__ == "__main__":
    unittest.main(verbosity=2)
