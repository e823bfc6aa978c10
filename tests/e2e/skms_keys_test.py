# SPDX-License-Identifier: Apache-2.0
"""The SKM-S over the wire, by clients that are not ours: enrolling, keys that only their owner can
open, signed key sets and those who watch them, rotation, revocation, delegated signatures."""
import json
import unittest

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey, Ed25519PublicKey)

import keyserver
from configured import wait_until
from harness import code_of, unb64url
from keyserver import DACM, admin, keys

MANIFESTS, TOKENS = keys.PURPOSE_MANIFESTS, keys.PURPOSE_TOKENS


def set_request(purpose=MANIFESTS, service=DACM, have_root=0):
    return keys.GetKeySetRequest(val_service=service, purpose=purpose, have_root=have_root)


class SkmsKeys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.skms = keyserver.Skms()
        cls.skms.add()
        cls.dacm = cls.skms.client("dacm.example")
        cls.anybody = cls.skms.stub()

    @classmethod
    def tearDownClass(cls):
        cls.skms.close()

    def service(self):
        """A VAL service of this test alone."""
        name = f"https://{self.id().rsplit('.', 1)[1]}.example"
        self.skms.add(name)
        return name

    def refused(self, code, call, *arguments):
        with self.assertRaises(grpc.RpcError) as error:
            call(*arguments)
        self.assertEqual(code_of(error), code, error.exception.details())
        return error.exception.details()

    # -- enrolling

    def test_enrolment_is_good_once_and_for_its_certificate(self):
        service = self.service()
        token = self.skms.token("once.example", service)
        other = keyserver.Client(self.skms, "other.example")
        self.refused(grpc.StatusCode.UNAUTHENTICATED, other.enrol, token)
        client = keyserver.Client(self.skms, "once.example").enrol(token)  # the failure did not use it up
        self.assertEqual(client.enrolled.val_service, service)
        self.assertEqual(list(client.enrolled.purposes), [TOKENS, MANIFESTS])
        self.assertEqual(json.loads(client.enrolled.root), self.skms.verifier().root)
        self.refused(grpc.StatusCode.UNAUTHENTICATED, client.enrol, token)
        self.refused(grpc.StatusCode.UNAUTHENTICATED, client.enrol, "")
        self.refused(grpc.StatusCode.UNAUTHENTICATED, client.enrol, "a" * 100000)
        anybody = keys.EnrolRequest(token=token, sealing_key=client.public.raw)
        self.refused(grpc.StatusCode.UNAUTHENTICATED, self.anybody.Enrol, anybody)

    def test_sealing_key_that_seals_nothing_is_refused(self):
        client = keyserver.Client(self.skms, "sealing.example")
        for key in (b"", bytes(31), bytes(33), bytes(32)):  # the last is a point of small order
            message = self.refused(grpc.StatusCode.INVALID_ARGUMENT, client.stub.Enrol,
                                   keys.EnrolRequest(token="x", sealing_key=key))
            self.assertIn("sealing_key", message)

    def test_newer_token_voids_the_older(self):
        service = self.service()
        older, newer = (self.skms.token("two.example", service) for _ in range(2))
        client = keyserver.Client(self.skms, "two.example")
        self.refused(grpc.StatusCode.UNAUTHENTICATED, client.enrol, older)
        client.enrol(newer)

    # -- private keys

    def test_private_key_is_given_to_its_owner_alone(self):
        reply, opened = self.dacm.keys()
        self.assertEqual(len(reply.keys), 2)
        self.assertLess(reply.keys[0].signs_from, reply.keys[1].signs_from)
        claims = self.skms.verifier().read(self.anybody.GetKeySet(set_request()))
        published = {key["kid"]: key for key in claims["keys"]}
        self.assertEqual(reply.key_set_version, claims["version"])
        for key, jwk in zip(reply.keys, opened):
            public = Ed25519PrivateKey.from_private_bytes(unb64url(jwk["d"])).public_key()
            self.assertEqual(public.public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw), unb64url(published[key.kid]["x"]))
            self.assertEqual(jwk["kid"], keyserver.thumbprint(published[key.kid]))
            self.assertEqual((jwk["nbf"], jwk["exp"]), (key.signs_from, key.signs_until))
            self.assertEqual(jwk["dacm_purpose"], "manifest")
        stranger = keyserver.Client(self.skms, "stranger.example")
        self.assertIsNone(stranger.opened(reply.keys[0].sealed_jwk))
        request = keys.GetSigningKeyRequest(val_service=DACM, purpose=MANIFESTS)
        message = self.refused(grpc.StatusCode.PERMISSION_DENIED, stranger.stub.GetSigningKey,
                               request)
        unknown = keys.GetSigningKeyRequest(val_service="https://nobody.example", purpose=MANIFESTS)
        self.assertEqual(message, self.refused(
            grpc.StatusCode.PERMISSION_DENIED, stranger.stub.GetSigningKey, unknown))
        self.assertEqual(message, self.refused(
            grpc.StatusCode.PERMISSION_DENIED, self.dacm.stub.GetSigningKey, unknown))
        self.refused(grpc.StatusCode.UNAUTHENTICATED, self.anybody.GetSigningKey, request)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, self.dacm.stub.GetSigningKey,
                     keys.GetSigningKeyRequest(val_service=DACM))

    def test_client_of_another_service_gets_nothing_of_this_one(self):
        other = self.skms.client("another.example", self.service())
        self.refused(grpc.StatusCode.PERMISSION_DENIED, other.stub.GetSigningKey,
                     keys.GetSigningKeyRequest(val_service=DACM, purpose=MANIFESTS))
        reply, opened = other.keys()
        self.assertEqual(len([jwk for jwk in opened if jwk]), len(reply.keys))

    def test_revoked_enrolment_gets_nothing_any_more(self):
        service = self.service()
        client = self.skms.client("gone.example", service)
        client.keys()
        self.skms.admin().RevokeEnrolment(admin.RevokeEnrolmentRequest(
            val_service=service, certificate_san="gone.example"))
        self.refused(grpc.StatusCode.PERMISSION_DENIED, client.keys)

    def test_seed_is_in_no_file_and_each_release_is_in_the_trail(self):
        reply, opened = self.dacm.keys(TOKENS)
        released = [record for record in self.skms.audit() if record["event"] == "release"][-1]
        self.assertEqual(released["kids"].split(), [key.kid for key in reply.keys])
        self.assertEqual((released["client"], released["outcome"]), ("dacm.example", "OK"))
        secrets = [keyserver.SECRET.encode()]
        for jwk in opened:
            seed = unb64url(jwk["d"])
            secrets += [seed, jwk["d"].encode(), seed.hex().encode()]
        files = [path for path in self.skms.dir.rglob("*")
                 if path.is_file() and path != self.skms.secret_file]
        self.assertTrue(any("data.mdb" in path.name or path.stat().st_size for path in files))
        for path in files:
            content = path.read_bytes()
            for secret in secrets:
                self.assertNotIn(secret, content, path)

    # -- key sets

    def test_watcher_is_told_of_each_change_at_once_and_numbers_have_no_gaps(self):
        service = self.service()
        watching = self.anybody.WatchKeys(set_request(service=service), timeout=120)
        verifier = self.skms.verifier()
        versions = [verifier.read(next(watching))["version"]]
        self.skms.admin().RotateKey(admin.RotateKeyRequest(val_service=service, purpose=MANIFESTS))
        versions.append(verifier.read(next(watching))["version"])
        active = next(key for key in self.skms.admin().ListKeys(admin.ListKeysRequest(
            val_service=service, purpose=MANIFESTS)).keys if key.state == keys.KEY_STATE_ACTIVE)
        revoked = self.skms.admin().RevokeKey(admin.RevokeKeyRequest(
            kid=active.kid, reason="lost"))
        self.assertEqual(revoked.state, keys.KEY_STATE_COMPROMISED)
        claims = verifier.read(next(watching))
        versions.append(claims["version"])
        self.assertEqual(versions, [1, 2, 3])
        states = {key["kid"]: key["dacm_state"] for key in claims["keys"]}
        self.assertEqual(states[active.kid], "compromised")
        watching.cancel()
        self.refused(grpc.StatusCode.NOT_FOUND, next, self.anybody.WatchKeys(
            set_request(service="https://nobody.example")))
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, next, self.anybody.WatchKeys(
            keys.GetKeySetRequest(val_service=service)))

    def test_new_root_is_followed_by_its_statement(self):
        service = self.service()
        verifier = self.skms.verifier()
        have = verifier.replaced
        watching = self.anybody.WatchKeys(
            set_request(service=service, have_root=have), timeout=120)
        verifier.read(next(watching), have)
        root = self.skms.admin().RotateRoot(admin.RotateRootRequest())
        claims = verifier.read(next(watching), have)
        self.assertEqual(verifier.root["x"], json.loads(root.jwk)["x"])
        self.assertEqual(json.loads(root.jwk)["dacm_issuer"], claims["iss"])
        self.assertEqual(claims["version"], 1)
        watching.cancel()

    def test_jose_libraries_have_a_plain_key_set_with_cache_headers(self):
        service = self.service()
        path = f"/.well-known/jwks.json?val-service-id={service}&purpose=manifests"
        status, headers, body = self.skms.get(path)
        self.assertEqual((status, headers["Content-Type"]), (200, "application/jwk-set+json"))
        self.assertEqual(headers["Cache-Control"], "public, max-age=300")
        jwks = json.loads(body)["keys"]
        self.assertEqual({key["kid"] for key in jwks}, {keyserver.thumbprint(key) for key in jwks})
        self.assertFalse([key for key in jwks if "d" in key])
        status, headers, body = self.skms.get(path, headers={"If-None-Match": headers["ETag"]})
        self.assertEqual((status, body), (304, b""))
        self.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=jwks[0]["kid"]))
        status, _, body = self.skms.get(path, headers={"If-None-Match": headers["ETag"]})
        self.assertEqual(status, 200)
        self.assertNotIn(jwks[0]["kid"], body.decode())
        for wrong, expected in ((f"?val-service-id={service}", 400), ("", 400),
                                ("?val-service-id=nobody&purpose=tokens", 404),
                                (f"?val-service-id={service}&purpose=audit", 400),
                                (f"?val-service-id=a&val-service-id=b&purpose=tokens", 400)):
            self.assertEqual(self.skms.get("/.well-known/jwks.json" + wrong)[0], expected, wrong)

    def test_key_record_of_ts_29549_is_for_its_owner(self):
        path = f"/ss-kir/v1/key-records?val-service-id={DACM}"
        self.assertEqual(self.skms.get(path)[0], 401)
        self.skms.certificate("nobody", "--dns", "nobody.example")
        self.assertEqual(self.skms.get(path, "nobody")[0], 403)
        self.assertEqual(self.skms.get("/ss-kir/v1/key-records", "dacm.example")[0], 400)
        self.assertEqual(self.skms.get(path + "&val-tgt-ue=x", "dacm.example")[0], 404)
        status, _, body = self.skms.get(path, "dacm.example")
        self.assertEqual(status, 200)
        record, = json.loads(body)
        self.assertEqual(record["valService"], DACM)
        info = json.loads(record["keyInfo"])
        self.assertEqual(self.dacm.opened(unb64url(info["keys"][0]["sealed_jwk"]))["kid"],
                         info["keys"][0]["kid"])
        released = [record for record in self.skms.audit() if record["event"] == "release"][-1]
        self.assertEqual(released["kids"].split(), [key["kid"] for key in info["keys"]])
        self.assertEqual(len(info["keys"]), 2)

    # -- delegated signatures

    def test_key_that_does_not_leave_signs_and_the_trail_counts(self):
        service = "https://delegated.example"
        self.skms.add(service, delegated=True)
        client = self.skms.client("delegated.example", service)
        reply = client.stub.GetSigningKey(keys.GetSigningKeyRequest(purpose=TOKENS))
        self.assertEqual([key.sealed_jwk for key in reply.keys], [b"", b""])
        for _ in range(5):
            signed = client.stub.Sign(keys.SignRequest(purpose=TOKENS, message=b"header.claims"))
        claims = self.skms.verifier().read(self.anybody.GetKeySet(set_request(TOKENS, service)))
        jwk = next(key for key in claims["keys"] if key["kid"] == signed.kid)
        Ed25519PublicKey.from_public_bytes(unb64url(jwk["x"])).verify(
            signed.signature, b"header.claims")
        wait_until("the count in the trail", lambda: sum(
            record["count"] for record in self.skms.audit()
            if record["event"] == "signed" and record["kid"] == signed.kid) == 5)
        sign = client.stub.Sign
        next_kid = reply.keys[1].kid
        for request, code in (
                (keys.SignRequest(purpose=TOKENS), grpc.StatusCode.INVALID_ARGUMENT),
                (keys.SignRequest(purpose=TOKENS, message=bytes(65537)),
                 grpc.StatusCode.INVALID_ARGUMENT),
                (keys.SignRequest(message=b"x"), grpc.StatusCode.INVALID_ARGUMENT),
                (keys.SignRequest(purpose=TOKENS, message=b"x", kid=next_kid),
                 grpc.StatusCode.FAILED_PRECONDITION),
                (keys.SignRequest(purpose=MANIFESTS, message=b"x", kid=signed.kid),
                 grpc.StatusCode.FAILED_PRECONDITION)):
            self.refused(code, sign, request)
        self.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=signed.kid))
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, sign,
                     keys.SignRequest(purpose=TOKENS, message=b"x", kid=signed.kid))
        self.assertEqual(sign(keys.SignRequest(purpose=TOKENS, message=b"x")).kid, next_kid)
        self.refused(grpc.StatusCode.PERMISSION_DENIED, self.dacm.stub.Sign,
                     keys.SignRequest(purpose=MANIFESTS, message=b"x"))
        self.refused(grpc.StatusCode.UNAUTHENTICATED, self.anybody.Sign,
                     keys.SignRequest(purpose=MANIFESTS, message=b"x"))

    # -- the operator

    def test_operator_is_told_what_to_do(self):
        operator = self.skms.admin()
        self.assertIn("val_service", self.refused(
            grpc.StatusCode.ALREADY_EXISTS, operator.CreateService,
            admin.ValService(val_service=DACM, purposes=[TOKENS])))
        self.refused(grpc.StatusCode.NOT_FOUND, operator.RevokeKey,
                     admin.RevokeKeyRequest(kid="nothing"))
        self.refused(grpc.StatusCode.NOT_FOUND, operator.RotateKey,
                     admin.RotateKeyRequest(val_service="nobody", purpose=TOKENS))
        self.refused(grpc.StatusCode.NOT_FOUND, operator.ListKeys,
                     admin.ListKeysRequest(val_service="nobody"))
        self.refused(grpc.StatusCode.UNIMPLEMENTED, keyserver.admin_grpc.AdminStub(
            self.skms.channel()).GetRoot, admin.GetRootRequest())  # not on the users' listener
        page = operator.ListKeys(admin.ListKeysRequest(val_service=DACM, page_size=1))
        self.assertTrue(page.more)
        rest = operator.ListKeys(admin.ListKeysRequest(val_service=DACM, after=page.keys[0].kid))
        self.assertEqual(len(rest.keys), 3)
        services = operator.ListServices(admin.ListServicesRequest()).services
        self.assertIn(DACM, [service.val_service for service in services])


class SkmsSurvives(unittest.TestCase):
    def test_kill_9_loses_nothing_that_was_answered(self):
        server = keyserver.Skms()
        try:
            server.add()
            client = server.client("dacm.example")
            client.keys()
            before = list(server.admin().ListKeys(admin.ListKeysRequest()).keys)
            server.kill()
            server.start()
            client = keyserver.Client(server, "dacm.example")  # another key pair, not enrolled anew
            after = list(server.admin().ListKeys(admin.ListKeysRequest()).keys)
            self.assertEqual(before, after)
            reply, opened = client.keys()
            self.assertEqual(opened, [None, None])  # sealed to the pair that enrolled
            self.assertEqual(server.stop(), (0, ""))
            for tool in ("--store-check", "--audit-verify", "--store-stat"):
                done = server.run(tool)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        finally:
            server.close()


if __name__ == "__main__":
    unittest.main()
