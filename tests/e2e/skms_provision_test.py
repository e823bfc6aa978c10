# SPDX-License-Identifier: Apache-2.0
"""Keys that VAL servers bring (TS 33.434 5.8) and get (5.3), by tokens that simsd issued: scope,
SKeyProv, the client, its certificate; what is not a key; and that nothing of it stays in memory."""
import json
import time
import unittest

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import configured
import keygiver
import keyserver
from harness import bearer, code_of, unb64url
from keygiver import MANIFESTS, TOKENS, private_jwk
from keyserver import keys

DENIED, UNAUTHENTICATED, INVALID = (
    grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = keygiver.World()
        cls.services = ["https://maps.example", "https://chat.example"]
        cls.val = keygiver.Server(cls.world, "val", cls.services)
        cls.other = keygiver.Server(cls.world, "other", ["https://else.example"])
        for service in cls.services:
            cls.world.service(service, cls.val)
        cls.world.service("https://else.example", cls.other)

    @classmethod
    def tearDownClass(cls):
        assert cls.world.close() == 0

    def fresh(self, **policy):
        """A service of this test, whose VAL server may bring keys of it."""
        name = self.id().rsplit(".", 1)[1].removeprefix("test_").replace("_", "-")
        server = keygiver.Server(self.world, name[:40].strip("-"), [name])
        self.world.service(name, server, **policy)
        return name, server

    def refused(self, code, call, *arguments, **options):
        with self.assertRaises(grpc.RpcError) as error:
            call(*arguments, **options)
        self.assertEqual(code_of(error), code, error.exception.details())
        return error.exception.details()

    def uniform(self, code, *calls):
        """All refused with one text but for the request's ID."""
        texts = set()
        for call in calls:
            with self.assertRaises(grpc.RpcError) as error:
                call()
            self.assertEqual(code_of(error), code, error.exception.details())
            texts.add(error.exception.details().replace(
                configured.request_id_of(error.exception), "ID"))
        self.assertEqual(len(texts), 1, texts)


class Bringing(Case):
    def test_key_is_published_audited_and_given_back_to_its_owner_alone(self):
        service, server = self.fresh()
        pair = Ed25519PrivateKey.generate()
        made = server.provision(service, private_jwk(pair))
        published = {key["kid"]: key for key in self.world.key_set(service)}
        self.assertEqual(list(published), [made.kid])
        self.assertEqual(published[made.kid]["x"], private_jwk(pair)["x"])
        self.assertEqual(made.kid, keyserver.thumbprint(published[made.kid]))
        self.assertEqual(made.state, keys.KEY_STATE_ACTIVE)  # the first one signs at once
        record = [r for r in self.world.skms.audit() if r["event"] == "provision"][-1]
        self.assertEqual((record["outcome"], record["val_service"], record["kids"]),
                         ("OK", service, made.kid))
        # it enrols a sealing key and gets the key that it brought
        client = keyserver.Client(self.world.skms, "unused.example")
        client.stub = server.stub
        client.enrol(self.world.enrolment(service, server))
        request = keys.GetSigningKeyRequest(val_service=service, purpose=MANIFESTS)
        reply = server.stub.GetSigningKey(
            request, metadata=bearer(server.token(scope="seal.km")))
        self.assertEqual(client.opened(reply.keys[0].sealed_jwk)["d"], private_jwk(pair)["d"])
        # … but not without a token, with one for something else, or another's
        self.uniform(DENIED, lambda: server.stub.GetSigningKey(request), *(
            lambda token=token: server.stub.GetSigningKey(request, metadata=bearer(token))
            for token in (server.token(scope="seal.kp"),)))
        self.refused(UNAUTHENTICATED, server.stub.GetSigningKey, request, metadata=bearer(
            self.other.token(scope="seal.km")))  # bound to another certificate

    def test_same_key_again_gives_the_same_answer(self):
        service, server = self.fresh()
        jwk = private_jwk()
        first = server.provision(service, jwk)
        self.assertEqual(server.provision(service, {**jwk, "alg": "EdDSA"}), first)
        self.assertEqual(server.provision(service, jwk, signs_from=first.signs_from), first)
        self.refused(grpc.StatusCode.ALREADY_EXISTS, server.provision, service, jwk,
                     signs_from=first.signs_from + 5)
        self.assertEqual(len(self.world.key_set(service)), 1)

    def test_next_key_is_published_before_it_signs(self):
        service, server = self.fresh(active_s=1000, published_before_s=100)
        server.provision(service)
        now = int(time.time())
        second = server.provision(service)
        self.assertEqual(second.state, keys.KEY_STATE_PRE_PUBLISHED)
        self.assertGreaterEqual(second.signs_from, now + 100)
        self.assertEqual(second.signs_until, second.signs_from + 1000)
        for wrong in ({"signs_from": now + 5}, {"signs_from": now - 5},
                      {"signs_from": now + 400 * 86400},
                      {"signs_from": 2**63 - 1}, {"signs_from": -2**63}, {"signs_until": -2**63},
                      {"signs_until": 2**63 - 1},
                      {"signs_from": -2**63, "signs_until": 2**63 - 1},
                      {"signs_from": now + 200, "signs_until": now + 200},
                      {"signs_from": now + 200, "signs_until": now + 1300}):
            self.assertIn("signs_", self.refused(INVALID, server.provision, service, **wrong))
        third = server.provision(service, signs_from=now + 300, signs_until=now + 500)
        self.assertEqual((third.signs_from, third.signs_until), (now + 300, now + 500))
        server.provision(service)
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, server.provision, service)

    def test_revoked_key_cannot_be_brought_again(self):
        service, server = self.fresh()
        jwk = private_jwk()
        made = server.provision(service, jwk)
        self.world.skms.admin().RevokeKey(
            keyserver.admin.RevokeKeyRequest(kid=made.kid, reason="lost"))
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, server.provision, service, jwk)
        server.provision(service)  # another may

    def test_survives_a_restart(self):
        service, server = self.fresh()
        made = server.provision(service)
        self.world.skms.kill()
        self.world.skms.start()
        server.stub = self.world.skms.stub(server.certificate)
        self.assertEqual([key["kid"] for key in self.world.key_set(service)], [made.kid])

    def test_private_key_leaves_no_trace_in_memory(self):
        service, server = self.fresh()
        jwk = private_jwk()
        needles = jwk["d"].encode(), unb64url(jwk["d"])
        server.provision(service, jwk)
        marker = service.encode()
        self.assertEqual(self.world.memory_holds(marker), {marker})  # the search finds what is there
        self.assertEqual(self.world.memory_holds(*needles), set())
        for wrong in ({**jwk, "x": private_jwk()["x"]}, {**jwk, "use": "enc"},
                      {**jwk, "filling": "x" * 3000}):
            try:
                server.provision(service, wrong)
            except grpc.RpcError:
                pass
        self.assertEqual(self.world.memory_holds(*needles), set())
        for text in (self.world.skms.log(), json.dumps(self.world.skms.audit())):
            self.assertNotIn(jwk["d"], text)


class Refused(Case):
    """Whoever may not bring a key learns one sentence; the operator's log has the reason."""

    def reason(self, text):
        return [line for line in self.world.skms.log().splitlines()
                if "a caller was refused" in line and text in line]

    def test_without_skeyprov(self):
        service = "https://no-claim.example"
        server = keygiver.Server(self.world, "no-claim", [])
        self.world.service(service, server)
        self.refused(DENIED, server.provision, service)
        self.assertTrue(self.reason("it has no SKeyProv"))

    def test_with_another_services_skeyprov(self):
        service = "https://not-named.example"
        self.world.service(service, self.val)
        self.refused(DENIED, self.val.provision, service)
        self.assertTrue(self.reason("SKeyProv does not name"))

    def test_a_service_that_is_a_part_of_one_in_skeyprov(self):
        for part in ("https://maps", "maps.example", "https://maps.example https://chat.example"):
            self.refused(DENIED, self.val.provision, part)

    def test_by_another_client(self):
        """A token with the very SKeyProv, of a client that the operator did not enrol."""
        thief = keygiver.Server(self.world, "thief", self.services)
        self.refused(DENIED, thief.provision, self.services[0])
        self.refused(UNAUTHENTICATED, thief.provision, self.services[0],
                     token=self.val.token(scope="seal.kp"))  # stolen: bound to its certificate
        self.assertTrue(self.reason("bound to another certificate"))

    def test_with_the_right_certificate_and_another_clients_token(self):
        twin = self.world.sims.add_client(
            "twin", "tls_client_auth", grants=["client_credentials"], scopes=["seal.kp"],
            tls_san=self.val.name, key_services=self.services)
        twin.certificate = self.val.name
        token = twin.own(resource=keygiver.RESOURCE, scope="seal.kp").json["access_token"]
        self.refused(DENIED, self.val.provision, self.services[0], token=token)

    def test_without_scope_token_certificate_or_binding(self):
        self.refused(DENIED, self.val.provision, self.services[0],
                     token=self.val.token(scope="seal.km"))
        self.refused(UNAUTHENTICATED, self.val.provision, self.services[0], token="")
        self.refused(UNAUTHENTICATED, self.val.provision, self.services[0],
                     stub=self.world.skms.stub())
        free = self.world.sims.add_client(
            "free", "private_key_jwt", grants=["client_credentials"], scopes=["seal.kp"],
            key_services=self.services)
        token = free.own(resource=keygiver.RESOURCE).json["access_token"]
        self.refused(UNAUTHENTICATED, self.val.provision, self.services[0], token=token)
        self.assertTrue(self.reason("not bound"))

    def test_reasons_are_told_alike(self):
        no_service = lambda: self.val.provision("https://nobody.example")  # noqa: E731
        others = lambda: self.val.provision("https://else.example")  # noqa: E731
        scope = lambda: self.val.provision(  # noqa: E731
            self.services[0], token=self.val.token(scope="seal.km"))
        self.uniform(DENIED, no_service, others, scope)

    def test_token_for_the_dacm_and_the_reverse(self):
        shop = self.world.sims.add_client(
            "shop", "tls_client_auth", grants=["client_credentials"],
            scopes=["seal.da", "seal.km", "seal.kp"], tls_san=self.val.name,
            key_services=self.services, users=["msisdn-4915100000001"])
        shop.certificate = self.val.name
        token = shop.own(scope="seal.da seal.kp").json["access_token"]
        self.assertNotIn("SKeyProv", self.world.sims.claims(token))
        self.refused(UNAUTHENTICATED, self.val.provision, self.services[0], token=token)
        mine = self.val.token(scope="seal.kp")
        self.assertEqual(self.world.sims.claims(mine)["SKeyProv"], " ".join(self.services))
        dacm = self.world.sims.dacm
        with self.assertRaises(grpc.RpcError) as error:
            dacm.download("any", dacm.users[0], mine)
        self.assertEqual(code_of(error), UNAUTHENTICATED)

    def test_service_that_makes_its_keys_itself(self):
        service, server = "https://own-keys.example", None
        server = keygiver.Server(self.world, "own-keys", [service])
        self.world.service(service, server, provisioned=False)
        self.refused(DENIED, server.provision, service)

    def test_server_that_is_enrolled_without_a_client(self):
        service = "https://plain.example"
        server = keygiver.Server(self.world, "plain", [service])
        self.world.skms.add(service, provisioned=True)
        self.world.skms.token(server.name, service)
        self.refused(DENIED, server.provision, service)

    def test_revoked_enrolment(self):
        service = "https://left.example"
        server = keygiver.Server(self.world, "left", [service])
        self.world.service(service, server)
        server.provision(service)
        self.world.skms.admin().RevokeEnrolment(keyserver.admin.RevokeEnrolmentRequest(
            val_service=service, certificate_san=server.name))
        self.refused(DENIED, server.provision, service)


class Keys(Case):
    """What is no key, or not for this."""

    def bad(self, jwk, *words, purpose=MANIFESTS):
        text = self.refused(INVALID, self.val.provision, self.services[0], jwk, purpose=purpose)
        for word in words:
            self.assertIn(word, text)
        if isinstance(jwk, dict) and jwk.get("d"):
            self.assertNotIn(jwk["d"], text)

    def test_broken_keys(self):
        good = private_jwk()
        self.bad(b"", "jwk")
        self.bad(b"{", "jwk")
        self.bad(b"[]", "jwk")
        self.bad(b"\xff" * 100, "jwk")
        self.bad(b"[" * 4000, "jwk")
        self.bad({**good, "filling": "x" * 5000}, "4096")
        self.bad({"keys": [good]}, "no set")
        self.bad({**good, "kty": "EC"}, "Ed25519")
        self.bad({**good, "crv": "X25519"}, "Ed25519")
        self.bad({**good, "d": None}, "d")
        self.bad({name: value for name, value in good.items() if name != "d"}, "private")
        self.bad({**good, "d": good["d"][:-2]}, "private")
        self.bad({**good, "x": private_jwk()["x"]}, "does not belong")
        self.bad({**good, "use": "enc"}, "use")
        self.bad({**good, "key_ops": ["verify"]}, "key_ops")
        self.bad({**good, "dacm_state": "retired"}, "dacm_state")
        self.bad({**good, "kid": "mine"}, "thumbprint", keyserver.thumbprint(good))
        self.bad(json.dumps(good).replace("{", '{"kty":"OKP",', 1).encode(), "twice")

    def test_manifest_key_where_a_token_key_belongs(self):
        jwk = private_jwk(dacm_purpose="manifest")
        self.bad(jwk, "purpose", purpose=TOKENS)
        self.bad(private_jwk(dacm_purpose="token"), "purpose")
        bare = private_jwk()
        self.val.provision(self.services[0], bare)
        self.bad(bare, "something else", purpose=TOKENS)

    def test_key_of_another_service(self):
        jwk = private_jwk()
        self.other.provision("https://else.example", jwk)
        self.bad(jwk, "something else")

    def test_purpose_that_is_none(self):
        for purpose in (0, 3, 77):
            self.refused(INVALID, self.val.provision, self.services[0], purpose=purpose)


if __name__ == "__main__":
    unittest.main()
