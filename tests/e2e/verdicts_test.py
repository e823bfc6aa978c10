# SPDX-License-Identifier: Apache-2.0
"""Decisions that a connection remembers: they answer the very question they were made for, on
that connection, and fall with what they stood on. Every call here comes on a connection that has
been allowed something before."""
import unittest

import grpc

from configured import Server
from harness import bearer, da

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
KEYS = ("dacm-token", "authorization")


def setUpModule():
    global server, owner, listed
    server = Server()
    owner, listed = server.users[0], server.users[1]


def tearDownModule():
    assert server.stop() == 0, server.read_log()


def remembered():
    """How many decisions were answered from memory."""
    for line in server.https("/metrics").splitlines():
        if line.startswith("dacm_decisions_remembered_total "):
            return int(line.split()[1])
    raise AssertionError("dacm_decisions_remembered_total is missing")


class Warm(unittest.TestCase):
    def setUp(self):
        self.asset = server.upload(b"verdicts" * 100, owner, [listed]).asset_id

    def ask(self, stub, token, asset=None, gpsi=None, operation=da.OPERATION_GET,
            key="dacm-token"):
        """True, False or the status."""
        request = da.AuthorizeRequest(
            asset_id=asset or self.asset, gpsi=gpsi or listed, operation=operation)
        try:
            return stub.Authorize(request, metadata=bearer(token, key), timeout=60).allowed
        except grpc.RpcError as error:
            return error.code()

    def token(self, gpsi=None, asset=None, **changes):
        return server.token(gpsi or listed, asset or self.asset, ["get"], [owner, listed],
                            **changes)

    def warm(self, channel, token, **kwargs):
        """A stub on whose connection that has been allowed, the last times from memory."""
        stub = server.stub(channel)
        for _ in range(3):
            self.assertIs(self.ask(stub, token, **kwargs), True)
        before = remembered()
        self.assertIs(self.ask(stub, token, **kwargs), True)
        self.assertEqual(remembered(), before + 1)
        return stub

    def test_same_question_is_answered_from_memory_and_audited_each_time(self):
        for key in KEYS:
            with self.subTest(key=key), server.client() as channel:
                token = self.token()
                stub = self.warm(channel, token, key=key)
                reply = stub.Authorize(da.AuthorizeRequest(asset_id=self.asset, gpsi=listed),
                                       metadata=bearer(token, key), timeout=60)
                told = server.explain(reply.request_id)
                self.assertEqual((told["reason"], told["asset_id"]), ("allowed", self.asset))

    def test_another_question_is_not(self):
        other = server.upload(b"other", owner, [listed]).asset_id
        with server.client() as channel:
            token = self.token()
            stub = self.warm(channel, token)
            before = remembered()
            self.assertIs(self.ask(stub, token, asset=other), False)
            self.assertIs(self.ask(stub, token, asset=self.asset + "0"), False)
            self.assertIs(self.ask(stub, token, gpsi=owner), False)
            self.assertIs(self.ask(stub, token, gpsi=listed + "0"), False)
            self.assertIs(self.ask(stub, token, operation=da.OPERATION_DELETE), False)
            self.assertEqual(remembered(), before)
            self.assertIs(self.ask(stub, token), True)

    def test_another_token_is_not(self):
        with server.client() as channel:
            stub = self.warm(channel, self.token())
            for changes, answer in (({"Digital_profile": owner}, False),
                                    ({"aud": "https://other.example/"}, UNAUTHENTICATED),
                                    ({"scope": "seal.km"}, False), ({"gpsi": owner}, False)):
                with self.subTest(changes=changes):
                    for key in KEYS:
                        self.assertEqual(self.ask(stub, self.token(**changes), key=key), answer)

    def test_bound_token_on_another_connection_is_not(self):
        token = self.token(cnf={"x5t#S256": server.thumbprint("val")})
        with server.client("val") as bound, server.client() as bare, \
                server.client("sims") as other:
            self.warm(bound, token)
            for channel in (bare, other):
                stub = self.warm(channel, self.token())
                for key in KEYS:
                    self.assertEqual(self.ask(stub, token, key=key), UNAUTHENTICATED)

    def test_falls_with_the_list_and_comes_back_with_it(self):
        for key in KEYS:
            with self.subTest(key=key), server.client() as channel:
                token = self.token()
                stub = self.warm(channel, token, key=key)
                server.cli("deny", self.asset, listed, "--as", owner, check=True)
                for _ in range(3):
                    self.assertIs(self.ask(stub, token, key=key), False)
                server.cli("allow", self.asset, listed, "--as", owner, check=True)
                self.assertIs(self.ask(stub, token, key=key), True)

    def test_falls_with_the_asset(self):
        with server.client() as channel:
            token = self.token()
            stub = self.warm(channel, token)
            server.cli("rm", self.asset, "--as", owner, check=True)
            for _ in range(3):
                self.assertIs(self.ask(stub, token), False)

    def test_falls_with_a_revocation(self):
        for key in KEYS:
            with self.subTest(key=key), server.client() as channel:
                claims = server.claims(listed, self.asset, ["get"], [owner, listed])
                token, other = server.sign(claims), self.token()
                stub = self.warm(channel, token, key=key)
                self.warm(channel, other, key=key)
                server.cli("token", "revoke", "--jti", claims["jti"], check=True)
                for _ in range(3):
                    self.assertEqual(self.ask(stub, token, key=key), UNAUTHENTICATED)
                    self.assertIs(self.ask(stub, other, key=key), True)

    def test_falls_when_keys_and_rules_are_read_again(self):
        with server.client() as channel:
            token = self.token()
            stub = self.warm(channel, token)
            server.reload()
            before = remembered()
            self.assertIs(self.ask(stub, token), True)
            self.assertEqual(remembered(), before)


if __name__ == "__main__":
    unittest.main()
