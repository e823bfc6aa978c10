# SPDX-License-Identifier: Apache-2.0
"""Every method against every kind of caller it is not for; what cannot be borrowed (a forwarded
certificate, a verified token of somebody else, a verified token for something else); and the ID
of an avatar in every method."""
import hashlib
import json
import unittest

import grpc

import methods
from configured import Server, request_id_of
from harness import bearer, da

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
KEYS = ("authorization", "dacm-token")


def setUpModule():
    global server, owner, listed, unlisted, content, asset, other_asset, peers
    server = Server()
    owner, listed, unlisted = server.users[0], server.users[1], server.users[-1]
    content = hashlib.shake_256(b"callers").digest(3_000)
    asset = server.upload(content, owner, [listed]).asset_id
    other_asset = server.upload(content, owner, [listed, unlisted]).asset_id
    peers = server.env["dacm"]["peers"].split("://")[-1]


def tearDownModule():
    assert server.stop() == 0, server.read_log()


def val_server_token():
    claims = server.claims(None, asset, ["get"], [owner, listed], sub="val", client_id="val")
    claims["authorization_details"][0]["users"] = [listed]
    return server.sign(claims)


class Case(unittest.TestCase):
    def setUp(self):
        self.before = self.state()

    def tearDown(self):
        self.assertEqual(self.state(), self.before, "a refused call changed something")

    @staticmethod
    def state():
        """All that the refused calls of this file could have changed."""
        return ([server.users_on(a).profile for a in (asset, other_asset)],
                server.download(asset, listed)[0])

    def channel(self, certificate=None, target=None):
        channel = server.channel(*(server.certificate(certificate) if certificate else ()),
                                 target=target)
        self.addCleanup(channel.close)
        return channel

    def code(self, call, **kwargs):
        try:
            call(timeout=60, **kwargs)
        except grpc.RpcError as error:
            return error.code()
        return None


class Methods(Case):
    def credentials(self):
        return {"none": (), "user": bearer(server.token(owner, asset, ["get"], [owner])),
                "val server": bearer(val_server_token())}

    def test_operators_methods_are_for_operators(self):
        for method, call in methods.OPERATORS.items():
            for certificate in (None, "val", "sims", "dacmd", "admin"):
                for name, metadata in self.credentials().items():
                    with self.subTest(method=method, certificate=certificate, token=name):
                        users = self.channel(certificate)
                        self.assertEqual(self.code(
                            lambda **k: call(users, **k), metadata=metadata), UNIMPLEMENTED)
                        if certificate in (None, "admin"):
                            continue  # none: no connection; admin: below
                        channel = self.channel(certificate, peers)
                        self.assertEqual(self.code(
                            lambda **k: call(channel, **k), metadata=metadata), DENIED)

    def test_operator_may_whatever_token_comes_along(self):
        channel = self.channel("admin", peers)
        for metadata in self.credentials().values():
            self.assertIsNone(self.code(
                lambda **k: methods.OPERATORS["GetStoreStat"](channel, **k), metadata=metadata))

    def test_sims_methods_are_for_a_sims(self):
        for method, call in methods.SIMS.items():
            for certificate in ("val", "dacmd", "admin"):
                for name, metadata in self.credentials().items():
                    with self.subTest(method=method, certificate=certificate, token=name):
                        channel = self.channel(certificate, peers)
                        self.assertEqual(self.code(
                            lambda **k: call(channel, asset, listed, **k), metadata=metadata), DENIED)
            channel = self.channel("sims", peers)
            self.assertIsNone(self.code(lambda **k: call(channel, asset, listed, **k)))

    def test_users_methods_need_a_token_whatever_the_certificate(self):
        for method, (_, _, call) in methods.USERS.items():
            for certificate in (None, "val", "sims", "admin", "dacmd"):
                with self.subTest(method=method, certificate=certificate):
                    stub = server.stub(self.channel(certificate))
                    self.assertEqual(self.code(
                        lambda **k: call(stub, asset, owner, **k)), UNAUTHENTICATED)

    def test_users_methods_are_not_on_the_peers_listener(self):
        for method, (action, named, call) in methods.USERS.items():
            token = server.token(owner, asset if named else None, [action], [owner])
            stub = server.stub(self.channel("admin", peers))
            with self.subTest(method=method):
                self.assertEqual(self.code(lambda **k: call(stub, asset, owner, **k),
                                           metadata=bearer(token)), UNIMPLEMENTED)

    def test_token_of_one_action_is_none_for_another(self):
        for method, (action, named, call) in methods.USERS.items():
            for other in ("get", "update", "delete", "create", "discovery"):
                if other == action:
                    continue
                token = server.token(owner, asset if named else None, [other], [owner])
                stub = server.stub(self.channel())
                with self.subTest(method=method, action=other):
                    answer = self.code(lambda **k: call(stub, asset, owner, **k),
                                       metadata=bearer(token))
                    if method == "Authorize":  # says so in its answer
                        self.assertIsNone(answer)
                        self.assertFalse(call(stub, asset, owner, metadata=bearer(token)).allowed)
                    else:
                        self.assertEqual(answer, DENIED)


class AvatarIds(Case):
    BAD = ("", "a" * 129, "a" * 4096, "../x", "a/b", "a b", "a\tb", "a\x7fb", "a%00b", "\u00e9")

    def test_bad_id_in_every_method(self):
        for method, (action, named, call) in methods.USERS.items():
            if not named:
                continue
            stub = server.stub(self.channel())
            for bad in self.BAD:
                token = server.token(owner, asset, [action], [owner])
                with self.subTest(method=method, id=bad[:8], size=len(bad)):
                    self.assertEqual(self.code(lambda **k: call(stub, bad, owner, **k),
                                               metadata=bearer(token)), INVALID)

    def test_nul_in_an_id_is_refused_before_anything_looks_at_it(self):
        for method, (action, named, call) in methods.USERS.items():
            if not named:
                continue
            stub = server.stub(self.channel())
            token = server.token(owner, asset, [action], [owner])
            with self.subTest(method=method):
                self.assertEqual(self.code(lambda **k: call(stub, asset + "\0", owner, **k),
                                           metadata=bearer(token)), INVALID)

    def test_id_that_begins_or_ends_like_another_is_another(self):
        for method, (action, named, call) in methods.USERS.items():
            if not named or method == "Authorize":
                continue
            stub = server.stub(self.channel())
            for near in (asset + "x", asset[:-1], asset.upper(), asset.swapcase()):
                if near == asset:
                    continue
                token = server.token(owner, near, [action], [owner])
                with self.subTest(method=method, id=near):
                    self.assertIn(self.code(lambda **k: call(stub, near, owner, **k),
                                            metadata=bearer(token)),
                                  (DENIED, grpc.StatusCode.NOT_FOUND))


class Borrowed(Case):
    def test_certificate_that_a_proxy_forwards_binds_nothing(self):
        """dacmd speaks TLS itself: who is at the other end it does not take from a header."""
        der = server.certificate("val")[0].decode()
        token = server.token(listed, asset, ["get"], [listed],
                             cnf={"x5t#S256": server.thumbprint("val")})
        one_line = der.replace("\n", "%0A")
        stub = server.stub(self.channel())
        for header in (("x-forwarded-client-cert", "Hash=" + server.thumbprint("val")),
                       ("x-forwarded-client-cert", 'Cert="' + one_line + '"'),
                       ("x-ssl-client-cert", one_line), ("ssl-client-cert", one_line),
                       ("client-cert", ":" + server.thumbprint("val") + ":"),
                       ("x-client-verify", "SUCCESS")):
            with self.subTest(header=header[0]):
                self.assertEqual(self.code(
                    lambda **k: methods.USERS["Download"][2](stub, asset, listed, **k),
                    metadata=bearer(token) + (header,)), UNAUTHENTICATED)

    def test_asserted_identity_of_a_proxy_is_nobodys(self):
        """TS 24.547 A.2 knows X-3GPP-Asserted-Identity for the network's own side only."""
        stub = server.stub(self.channel())
        self.assertEqual(self.code(
            lambda **k: methods.USERS["Download"][2](stub, asset, listed, **k),
            metadata=(("x-3gpp-asserted-identity", listed),)), UNAUTHENTICATED)

    def warm(self, stub, key):
        """The connection and the server know this token; it is good for asset and listed."""
        token = server.token(listed, asset, ["get"], [owner, listed])
        for _ in range(3):
            self.assertIsNone(self.code(
                lambda **k: methods.USERS["Download"][2](stub, asset, listed, **k),
                metadata=bearer(token, key)))
        return bearer(token, key)

    def test_verified_token_answers_for_nothing_else(self):
        """What was decided once is not decided for another avatar, user or operation."""
        for key in KEYS:
            stub = server.stub(self.channel())
            known = self.warm(stub, key)
            for method, a, u in (("Download", other_asset, listed), ("Download", asset, owner),
                                 ("Download", asset, unlisted), ("GetProfile", other_asset, listed),
                                 ("UpdateProfile", asset, listed), ("DeleteProfile", asset, listed),
                                 ("Upload", asset, listed), ("CreateProfile", asset, listed),
                                 ("DiscoverProfiles", asset, listed)):
                with self.subTest(key=key, method=method, user=u):
                    self.assertEqual(self.code(
                        lambda **k: methods.USERS[method][2](stub, a, u, **k), metadata=known),
                        DENIED)
            for a, u, allowed in ((asset, listed, True), (other_asset, listed, False),
                                  (asset, owner, False), (asset, listed, True)):
                answer = stub.Authorize(da.AuthorizeRequest(asset_id=a, gpsi=u), metadata=known,
                                        timeout=60)
                self.assertEqual(answer.allowed, allowed, (a, u))

    def test_token_that_differs_in_one_byte_is_not_the_one_known(self):
        for key in KEYS:
            stub = server.stub(self.channel())
            token = self.warm(stub, key)[0][1].removeprefix("Bearer ")
            head, body, signature = token.split(".")
            for at in (0, len(signature) // 2, len(signature) - 3):
                other = "A" if signature[at] != "A" else "B"
                changed = ".".join((head, body, signature[:at] + other + signature[at + 1:]))
                with self.subTest(key=key, at=at):
                    self.assertEqual(self.code(
                        lambda **k: methods.USERS["Download"][2](stub, asset, listed, **k),
                        metadata=bearer(changed, key)), UNAUTHENTICATED)

    def test_verified_token_for_another_audience_is_none(self):
        stub = server.stub(self.channel())
        self.warm(stub, "authorization")
        claims = server.claims(listed, asset, ["get"], [owner, listed])
        for audience in (server.audience + "/", server.audience.upper(), "https://skms.example"):
            with self.subTest(audience=audience):
                self.assertEqual(self.code(
                    lambda **k: methods.USERS["Download"][2](stub, asset, listed, **k),
                    metadata=bearer(server.sign(dict(claims, aud=audience)))), UNAUTHENTICATED)

    def test_bound_token_that_is_known_stays_bound(self):
        token = bearer(server.token(listed, asset, ["get"], [listed],
                                    cnf={"x5t#S256": server.thumbprint("val")}))
        own, others = server.stub(self.channel("val")), server.stub(self.channel("sims"))
        download = methods.USERS["Download"][2]
        for _ in range(3):
            self.assertIsNone(self.code(
                lambda **k: download(own, asset, listed, **k), metadata=token))
            self.assertEqual(self.code(
                lambda **k: download(others, asset, listed, **k), metadata=token), UNAUTHENTICATED)

    def test_reason_is_told_to_the_operator(self):
        stub = server.stub(self.channel())
        known = self.warm(stub, "authorization")
        with self.assertRaises(grpc.RpcError) as error:
            methods.USERS["Download"][2](stub, asset, owner, metadata=known, timeout=60)
        done = server.cli("--json", "explain", request_id_of(error.exception), check=True)
        self.assertIn("holder", json.loads(done.stdout)["reason"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
