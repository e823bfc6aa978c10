# SPDX-License-Identifier: Apache-2.0
"""What ends a right: revocation of a token or of a subject, taking a user off the list, deleting
the asset, the token's end, and taking the issuer's key out of its set. New calls are refused, on
warm connections too, after kill -9 too, and running downloads end."""
import hashlib
import json
import os
import socket
import ssl
import time
import unittest

import grpc

import harness
from configured import Issuer, Server, wait_until
from dacm.v1 import token_status_pb2, token_status_pb2_grpc
from harness import bearer, da

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
LARGE_BYTES = (64 if harness.FULL else 24) << 20
KEYS = ("authorization", "dacm-token")


def setUpModule():
    global server, owner, listed, content, asset, large
    server = Server()
    owner, listed = server.users[0], server.users[1]
    content = hashlib.shake_256(b"revocation").digest(10_000)
    large = os.urandom(LARGE_BYTES)
    asset = server.upload(content, owner, [listed]).asset_id


def tearDownModule():
    assert server.stop() == 0, server.read_log()


def new_token(gpsi=None, asset_id=None, **changes):
    """(claims, token) of a correct token."""
    gpsi = gpsi or listed
    claims = server.claims(gpsi, asset_id or asset, ["get"], [owner, listed], **changes)
    return claims, server.sign(claims)


def revoke(*arguments):
    server.cli("token", "revoke", *arguments, check=True)


class RawClient:
    """HTTP/2 by hand, for one thing that grpcio does not do: it puts the token into the
    connection's header table at first, and then sends nothing but its index."""

    STATIC = {":method": 0x83, ":scheme": 0x87}  # POST, https

    def __init__(self, key, token):
        context = ssl.create_default_context(cafile=server.env["ca_file"])
        context.set_alpn_protocols(["h2"])
        host, port = server.target.rsplit(":", 1)
        self.sock = context.wrap_socket(
            socket.create_connection((host, int(port)), timeout=60), server_hostname="localhost")
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(4, 0, 0, b"\x00\x01" + bytes(4))  # SETTINGS: no header table towards us
        self.buffer, self.stream, self.indexed = b"", 1, False
        self.header = (key, "Bearer " + token if key == "authorization" else token)

    def close(self):
        self.sock.close()

    def frame(self, kind, flags, stream, payload):
        self.sock.sendall(len(payload).to_bytes(3, "big") + bytes((kind, flags))
                          + stream.to_bytes(4, "big") + payload)

    @staticmethod
    def text(value):
        """A string without Huffman code (RFC 7541, 5.2)."""
        size, out = len(value), b""
        if size >= 127:
            out, size = b"\x7f", size - 127
            while size >= 128:
                out, size = out + bytes((size % 128 + 128,)), size // 128
        return out + bytes((size,)) + value.encode()

    def block(self, path):
        plain = {":path": path, ":authority": "localhost", "content-type": "application/grpc",
                 "te": "trailers"}
        out = bytes(self.STATIC.values())
        out += b"".join(b"\x00" + self.text(name) + self.text(value)
                        for name, value in plain.items())
        if self.indexed:
            return out + b"\xbe"  # 62, the newest entry of the table
        self.indexed = True
        return out + b"\x40" + self.text(self.header[0]) + self.text(self.header[1])

    def read_frame(self):
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(
                self.buffer[:3], "big"):
            data = self.sock.recv(65536)
            if not data:
                raise AssertionError("the server closed the connection")
            self.buffer += data
        size = int.from_bytes(self.buffer[:3], "big")
        kind, flags = self.buffer[3], self.buffer[4]
        stream = int.from_bytes(self.buffer[5:9], "big")
        payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
        return kind, flags, stream, payload

    def authorize(self):
        """True or False as answered, or "UNAUTHENTICATED"."""
        stream, self.stream, answer, trailer = self.stream, self.stream + 2, b"", b""
        message = da.AuthorizeRequest(asset_id=asset, gpsi=listed).SerializeToString()
        self.frame(1, 4, stream, self.block("/dacm.v1.DigitalAssets/Authorize"))
        self.frame(0, 1, stream, b"\x00" + len(message).to_bytes(4, "big") + message)
        while True:
            kind, flags, on, payload = self.read_frame()
            if kind == 4 and not flags & 1:
                self.frame(4, 1, 0, b"")
            if kind in (3, 7):
                raise AssertionError(f"RST_STREAM or GOAWAY: {payload!r}")
            if on == stream and kind == 0:
                answer += payload
            if on == stream and kind == 1:
                trailer = payload
            if on == stream and flags & 1:
                break
        if b"\x02" + b"16" in trailer:  # grpc-status: two characters are never Huffman-coded
            return "UNAUTHENTICATED"
        return da.AuthorizeResponse.FromString(answer[5:]).allowed


class Case(unittest.TestCase):
    def code(self, stub, token, gpsi=None, key="authorization"):
        """None when served, otherwise the status code."""
        request = da.DownloadRequest(asset_id=asset, gpsi=gpsi or listed)
        try:
            got = server.check_download(
                stub.Download(request, metadata=bearer(token, key), timeout=60))[0]
        except grpc.RpcError as error:
            return error.code()
        self.assertEqual(got, content)
        return None

    def new_code(self, token, **kwargs):
        with server.client() as channel:
            return self.code(server.stub(channel), token, **kwargs)


class Revocation(Case):
    def test_token_is_refused_from_then_on(self):
        for key in KEYS:
            claims, token = new_token()
            _, sibling = new_token()
            with self.subTest(key=key), server.client() as channel:
                stub = server.stub(channel)
                for _ in range(3):
                    self.assertIsNone(self.code(stub, token, key=key))
                revoke("--jti", claims["jti"])
                for _ in range(3):
                    self.assertEqual(self.code(stub, token, key=key), UNAUTHENTICATED)
                    self.assertIsNone(self.code(stub, sibling, key=key))
                self.assertEqual(self.new_code(token, key=key), UNAUTHENTICATED)

    def test_token_that_the_connection_refers_to_by_its_index(self):
        for key in KEYS:
            claims, token = new_token()
            with self.subTest(key=key):
                client, other = RawClient(key, token), RawClient(key, new_token()[1])
                self.assertEqual([client.authorize() for _ in range(4)], [True] * 4)
                self.assertEqual([other.authorize() for _ in range(4)], [True] * 4)
                revoke("--jti", claims["jti"])
                self.assertEqual([client.authorize() for _ in range(4)],
                                 ["UNAUTHENTICATED"] * 4)
                self.assertEqual([other.authorize() for _ in range(4)], [True] * 4)
                client.close()
                other.close()

    def test_subject_loses_all_tokens_issued_until_then_and_others_none(self):
        tokens = [new_token(sub="sub-to-go")[1] for _ in range(3)]
        _, other = new_token(sub="sub-to-stay")
        _, owners = new_token(owner)
        clients = [RawClient(key, tokens[0]) for key in KEYS]
        with server.client() as channel:
            stub = server.stub(channel)
            for token in (*tokens, other):
                self.assertIsNone(self.code(stub, token))
            self.assertTrue(all(client.authorize() for client in clients * 2))
            revoke("--subject", "sub-to-go")
            for token in (*tokens, new_token(sub="sub-to-go", iat=int(time.time()) - 5)[1]):
                for key in KEYS:
                    self.assertEqual(self.code(stub, token, key=key), UNAUTHENTICATED)
            self.assertIsNone(self.code(stub, other))
            self.assertIsNone(self.code(stub, owners, owner))
        for client in clients:
            self.assertEqual(client.authorize(), "UNAUTHENTICATED")
            client.close()

    def test_same_name_of_another_kind_or_issuer_revokes_nothing(self):
        claims, token = new_token(sub="one-name", jti="one-name-too")
        revoke("--subject", "one-name-too")
        revoke("--jti", "one-name")
        self.assertIsNone(self.new_code(token))
        done = server.cli("token", "revoke", "--jti", claims["jti"], "--token-issuer",
                          "https://nobody.example")
        self.assertEqual(done.returncode, 2)
        self.assertIsNone(self.new_code(token))

    def test_revocations_outlive_a_kill(self):
        one, revoked = new_token()
        _, of_subject = new_token(sub="sub-of-the-dead")
        _, other = new_token()
        revoke("--jti", one["jti"])
        revoke("--subject", "sub-of-the-dead")
        for _ in range(2):
            server.kill()
            server.run()
            self.assertEqual(self.new_code(revoked), UNAUTHENTICATED)
            self.assertEqual(self.new_code(of_subject), UNAUTHENTICATED)
            self.assertIsNone(self.new_code(other))

    def test_only_the_operator_revokes(self):
        claims, token = new_token()
        request = token_status_pb2.RevokeRequest(issuer=server.issuer, jti=claims["jti"])
        peers = server.env["dacm"]["peers"].split("://")[-1]
        for target, certificate, code in (
                (server.target, "admin", grpc.StatusCode.UNIMPLEMENTED),
                (peers, "sims", DENIED), (peers, "val", DENIED)):
            with server.channel(*server.certificate(certificate), target=target) as channel:
                with self.assertRaises(grpc.RpcError) as error:
                    token_status_pb2_grpc.TokenStatusStub(channel).Revoke(request, timeout=60)
                self.assertEqual(error.exception.code(), code)
        self.assertIsNone(self.new_code(token))
        with server.channel(*server.certificate("admin"), target=peers) as channel:
            token_status_pb2_grpc.TokenStatusStub(channel).Revoke(request, timeout=60)
        self.assertEqual(self.new_code(token), UNAUTHENTICATED)

    def test_revoked_is_revoked_however_long_it_is_to_be_remembered(self):
        peers = server.env["dacm"]["peers"].split("://")[-1]
        now = int(time.time())
        with server.channel(*server.certificate("admin"), target=peers) as channel:
            stub = token_status_pb2_grpc.TokenStatusStub(channel)
            for expires_at in (1, now - 1000, now - 31, now + 1, 253402300799):
                claims, token = new_token()
                with self.subTest(expires_at=expires_at):
                    self.assertIsNone(self.new_code(token))
                    stub.Revoke(token_status_pb2.RevokeRequest(
                        issuer=server.issuer, jti=claims["jti"], expires_at=expires_at), timeout=60)
                    self.assertEqual(self.new_code(token), UNAUTHENTICATED)

    def test_what_is_no_revocation_is_refused(self):
        peers = server.env["dacm"]["peers"].split("://")[-1]
        with server.channel(*server.certificate("admin"), target=peers) as channel:
            stub = token_status_pb2_grpc.TokenStatusStub(channel)
            for word, fields in (("issuer", {"jti": "x", "issuer": "https://nobody.example"}),
                                 ("what", {}), ("what", {"jti": ""}),
                                 ("what", {"jti": "x" * 256}), ("what", {"subject": "x" * 256}),
                                 ("reason", {"jti": "x", "reason": "r" * 257}),
                                 ("expires_at", {"jti": "x", "expires_at": -1}),
                                 ("expires_at", {"jti": "x", "expires_at": 2**63 - 1}),
                                 ("expires_at", {"jti": "x", "expires_at": 2**63 - 30})):
                with self.subTest(fields=fields), self.assertRaises(grpc.RpcError) as error:
                    stub.Revoke(token_status_pb2.RevokeRequest(
                        **{"issuer": server.issuer, **fields}),
                        timeout=60)
                self.assertEqual(error.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
                self.assertTrue(error.exception.details().startswith(word + ":"))


class Running(Case):
    """A download whose reader reads no more, until what ends the right has happened: the server
    ends the call by itself, since a reader that waits must not keep it."""

    def setUp(self):
        self.asset = server.upload(large, owner, [listed]).asset_id
        self.quiet = grpc.secure_channel(
            server.target, grpc.ssl_channel_credentials(server.ca),
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)])

    def tearDown(self):
        self.quiet.close()

    def begin(self, token, gpsi=None):
        call = server.stub(self.quiet).Download(
            da.DownloadRequest(asset_id=self.asset, gpsi=gpsi or listed),
            metadata=bearer(token), timeout=240)
        self.assertEqual(next(call).WhichOneof("part"), "start")
        self.assertEqual(next(call).WhichOneof("part"), "chunk_list")
        next(call)
        return call

    def ended(self):
        """How many downloads the server has logged the end of."""
        return server.read_log().count('"method": "Download"')

    def assert_ends(self, calls, code, ended_before):
        wait_until("the end of the running downloads",
                   lambda: self.ended() >= ended_before + len(calls))
        for call in calls:
            size = 0
            with self.assertRaises(grpc.RpcError) as error:
                for response in call:
                    size += len(response.chunks.data)
            self.assertEqual(error.exception.code(), code, error.exception.details())
            self.assertLess(size, LARGE_BYTES)

    def assert_still_whole(self, call):
        """A download that nothing should have ended gets every byte."""
        size = sum(len(response.chunks.data) for response in call)
        self.assertGreater(size, LARGE_BYTES - (2 << 20))
        self.assertEqual(call.code(), grpc.StatusCode.OK)

    def test_ends_by_revocation_of_its_token_and_no_other(self):
        claims, token = new_token(asset_id=self.asset)
        call, other = self.begin(token), self.begin(new_token(asset_id=self.asset)[1])
        before = self.ended()
        revoke("--jti", claims["jti"])
        self.assert_ends([call], UNAUTHENTICATED, before)
        self.assert_still_whole(other)

    def test_ends_by_revocation_of_its_subject(self):
        calls = [self.begin(new_token(asset_id=self.asset, sub="sub-in-flight")[1])
                 for _ in range(3)]
        other = self.begin(new_token(asset_id=self.asset, sub="sub-that-flies-on")[1])
        before = self.ended()
        revoke("--subject", "sub-in-flight")
        self.assert_ends(calls, UNAUTHENTICATED, before)
        self.assert_still_whole(other)

    def test_ends_when_the_user_is_taken_off_the_list(self):
        call = self.begin(new_token(asset_id=self.asset)[1])
        owners = self.begin(new_token(owner, asset_id=self.asset)[1], owner)
        before = self.ended()
        server.cli("deny", self.asset, listed, "--as", owner, check=True)
        self.assert_ends([call], DENIED, before)
        self.assert_still_whole(owners)

    def test_breaks_off_when_all_of_it_is_queued_already(self):
        small = server.upload(large[:400_000], owner, [listed]).asset_id
        calls = [server.stub(self.quiet).Download(
            da.DownloadRequest(asset_id=small, gpsi=gpsi),
            metadata=bearer(new_token(gpsi, asset_id=small)[1]), timeout=240)
            for gpsi in (listed, owner)]
        for call in calls:
            self.assertEqual(next(call).WhichOneof("part"), "start")
        before = self.ended()
        server.cli("deny", small, listed, "--as", owner, check=True)
        self.assert_ends(calls[:1], grpc.StatusCode.CANCELLED, before)
        self.assertEqual(sum(len(response.chunks.data) for response in calls[1]), 400_000)
        self.assertEqual(calls[1].code(), grpc.StatusCode.OK)

    def test_ends_when_the_asset_is_deleted(self):
        calls = [self.begin(new_token(asset_id=self.asset)[1]),
                 self.begin(new_token(owner, asset_id=self.asset)[1], owner)]
        before = self.ended()
        server.cli("rm", self.asset, "--as", owner, check=True)
        self.assert_ends(calls, DENIED, before)

    def test_ends_when_its_token_does(self):
        now = int(time.time())
        _, token = new_token(asset_id=self.asset, iat=now - 60, exp=now - 26)  # skew: 30 s
        other = self.begin(new_token(asset_id=self.asset)[1])
        before = self.ended()
        self.assert_ends([self.begin(token)], UNAUTHENTICATED, before)
        self.assert_still_whole(other)

    def test_goes_on_when_the_list_changes_for_somebody_else(self):
        call = self.begin(new_token(asset_id=self.asset)[1])
        server.cli("allow", self.asset, "msisdn-4917012345", "--as", owner, check=True)
        server.cli("deny", self.asset, "msisdn-4917012345", "--as", owner, check=True)
        self.assert_still_whole(call)


class KeyTakenOut(Case):
    def setUp(self):
        self.path = server.dir / "pki" / "token.pub.jwks"
        self.keys = json.loads(self.path.read_text())

    def tearDown(self):
        self.path.write_text(json.dumps(self.keys))
        self.assertTrue(server.reload())

    def take_out(self, left):
        self.path.write_text(json.dumps({"keys": left}))
        self.assertTrue(server.reload(), server.read_log()[-600:])

    def test_tokens_under_a_key_that_was_taken_out_are_refused_from_then_on(self):
        for left in ([Issuer("x").jwk()], []):
            _, token = new_token()
            clients = [RawClient(key, token) for key in KEYS]
            with self.subTest(left=len(left)), server.client() as channel:
                stub = server.stub(channel)
                for _ in range(3):
                    self.assertIsNone(self.code(stub, token))
                    self.assertTrue(all(client.authorize() for client in clients))
                self.take_out(left)
                for key in KEYS:
                    self.assertEqual(self.code(stub, token, key=key), UNAUTHENTICATED)
                    self.assertEqual(self.new_code(token, key=key), UNAUTHENTICATED)
                for client in clients:
                    self.assertEqual(client.authorize(), "UNAUTHENTICATED")
                    client.close()
                self.tearDown()
                self.assertIsNone(self.code(stub, token))

    def test_running_download_under_it_ends(self):
        running = Running()
        running.setUp()
        call = running.begin(new_token(asset_id=running.asset)[1])
        before = running.ended()
        self.take_out([])
        running.assert_ends([call], UNAUTHENTICATED, before)
        running.tearDown()

    def test_broken_key_set_changes_nothing(self):
        _, token = new_token()
        private = (server.dir / "pki" / "token.jwks").read_text()
        twice = json.dumps({"keys": self.keys["keys"] * 2})
        for text in ("", "{", '{"keys": 1}', private, twice):
            with self.subTest(text=text[:12]):
                self.path.write_text(text)
                self.assertFalse(server.reload())
                self.assertIsNone(self.new_code(token))


if __name__ == "__main__":
    unittest.main(verbosity=2)
