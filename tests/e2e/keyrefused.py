# SPDX-License-Identifier: Apache-2.0
"""Whoever has no authority at skmsd: what they are told, what the operator is told, and that it
changes nothing.

World is a simsd and a skmsd that has its keys from where simsd publishes them, and a second issuer
whose keys are a file of the test's. Case sends what is to be refused to both methods that take a
token, ProvisionKey with a key that is there already, so that it changes nothing where it is
taken."""
import json
import pathlib
import time
import unittest

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import configured
import forged
import keygiver
import keyserver
import sims
from harness import b64url, bearer
from keygiver import MANIFESTS, RESOURCE, private_jwk
from keyserver import admin, keys

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
MESSAGES = {
    UNAUTHENTICATED: "the access token is not good: the operator can look up request ID",
    DENIED: "there are no such keys for this certificate and token; the operator enrols SKM-Cs "
            "(skms.v1.Admin/CreateEnrolment), a VAL server's token needs scope seal.km or seal.kp, "
            "and its SKeyProv names the VAL services whose keys it may bring",
}
METHODS = ["ProvisionKey", "GetSigningKey"]
EVENTS = {"ProvisionKey": "provision", "GetSigningKey": "release"}
MAPS, CHAT, ELSE = "https://maps.example", "https://chat.example", "https://else.example"
SECOND, SECONDS = "https://second.example", "https://keys-of-second.example"  # issuer, service


class ForgingSims(forged.Forger, sims.Sims):
    pass


class World(keygiver.World):
    new_sims = ForgingSims

    def __init__(self):
        self.second_key = Ed25519PrivateKey.generate()
        super().__init__()
        self.sims.load_keys()
        self.val = keygiver.Server(self, "val", [MAPS, CHAT])
        self.other = keygiver.Server(self, "other", [ELSE])
        self.jwk, self.others_jwk = private_jwk(), private_jwk()
        for server, service in ((self.val, MAPS), (self.val, CHAT), (self.other, ELSE)):
            token = self.service(service, server)
            self.owner = keyserver.Client(self.skms, "unused.example")
            self.owner.stub = server.stub
            self.owner.enrol(token)
        configured.wait_until("simsd's keys at skmsd", self.knows_simsd)
        self.other.provision(ELSE, self.others_jwk)
        self.give_second_a_service()

    def give_second_a_service(self):
        """The same certificate and client_id, but of the second issuer."""
        self.owner.enrol(self.enrol_second())
        self.seconds_jwk = private_jwk()
        self.val.provision(SECONDS, self.seconds_jwk, token=self.second_token())

    def enrol_second(self):
        self.skms.add(SECONDS, provisioned=True)
        self.owner.stub = self.val.stub
        return self.enrolment(SECONDS, self.val, issuer=SECOND)

    def second_token(self, **changes):
        return self.sims.forge(
            self.val.token(scope="seal.km seal.kp"), header={"kid": "second"},
            key=self.second_key, **{"iss": SECOND, "SKeyProv": SECONDS, **changes})

    def configure(self, skms, config):
        super().configure(skms, config)
        self.second_file = skms.dir / "second.jwks"
        self.publish_second()
        config["issuers"] = [
            {"issuer": self.sims.issuer, "jwks_url": self.sims.issuer + "/jwks.json",
             "jwks_ca_file": str(self.sims.dir / "pki" / "ca.crt"), "jwks_refresh_s": 1,
             "jwks_unknown_kid_s": 1},
            {"issuer": SECOND, "jwks_file": str(self.second_file)}]
        config["keys"] = {"published_before_s": 0, "verify_only_s": 0}

    def enrolment(self, service, client, san=None, issuer=None):
        return super().enrolment(service, client, san, issuer or self.sims.issuer)

    def knows_simsd(self):
        try:
            return self.val.provision(MAPS, self.jwk).kid
        except grpc.RpcError as error:
            assert error.code() == UNAUTHENTICATED, error.details()
            return None

    # -- the second issuer

    def second_jwk(self, **changes):
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(forged.raw_public(self.second_key)),
               "kid": "second", "alg": "EdDSA", "use": "sig", **changes}
        return {name: value for name, value in jwk.items() if value is not None}

    def publish_second(self, *jwks):
        self.second_file.write_text(json.dumps({"keys": list(jwks) or [self.second_jwk()]}))

    # -- what is there

    def stored(self):
        """All that refused calls could have changed."""
        operator = self.skms.admin()
        kept = operator.ListKeys(admin.ListKeysRequest(page_size=1000)).keys
        return ([(key.kid, key.val_service, key.purpose, key.state) for key in kept],
                [service.SerializeToString(deterministic=True) for service in
                 operator.ListServices(admin.ListServicesRequest()).services])

    def logged(self, request_id):
        """Why that request was refused, by the operator's log."""
        return [line["why"] for line in self.lines("a caller was refused")
                if line["request_id"] == request_id]

    def lines(self, text):
        return [json.loads(line) for line in self.skms.log().splitlines() if text in line]

    def metric(self, series):
        """Of simsd."""
        import urllib.request
        port = self.sims.config["listen"]["ops"]["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
            text = reply.read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith(series))


class Case(unittest.TestCase):
    world = None  # set by the module

    # what forged.py asks of a server
    FEW, ONE, LIFE_MAX = METHODS, ["ProvisionKey"], 300
    OWN_CLAIMS = ["SKeyProv", "cnf"]
    SCOPES_THAT_ARE_NOT = [
        "openid", "seal", "seal.k", "seal.kmp", "seal.kp.x seal.km.x", "SEAL.KM SEAL.KP",
        "seal.da", "", "seal.km,seal.kp", "openid\tseal.km\tseal.kp", "seal.\u043am seal.k\u0440"]
    audience, other_issuer = RESOURCE, "https://skms.example"

    @property
    def forger(self):
        return self.world.sims

    def nul_in_own_claims(self):
        return ({"SKeyProv": MAPS + "\0"}, {"SKeyProv": MAPS + "\0x " + CHAT})

    def setUp(self):
        self.before = self.world.stored()

    def tearDown(self):
        self.assertEqual(self.world.stored(), self.before, "a refused call changed something")
        self.accepted(self.good())

    def good(self):
        """One correct token for the whole class, good for both methods."""
        kept = type(self).__dict__.get("kept")
        if not kept or kept[1] < time.monotonic():
            token = self.world.val.token(scope="seal.km seal.kp")
            type(self).kept = kept = (token, time.monotonic() + 200)
        return kept[0]

    def forge(self, *arguments, **changes):
        return self.forger.forge(self.good(), *arguments, **changes)

    # -- calls

    def call(self, method, metadata=(), stub=None, service=MAPS, jwk=None, purpose=MANIFESTS):
        stub = stub or self.world.val.stub
        if method == "ProvisionKey":
            return stub.ProvisionKey(keys.ProvisionKeyRequest(
                val_service=service, purpose=purpose,
                jwk=json.dumps(jwk or self.world.jwk).encode()), metadata=metadata, timeout=60)
        return stub.GetSigningKey(keys.GetSigningKeyRequest(
            val_service=service, purpose=purpose), metadata=metadata, timeout=60)

    def accepted(self, token, via=METHODS, **options):
        for method in via:
            self.call(method, bearer(token), **options)

    def codes(self, tokens):
        found = []
        for token in tokens:
            try:
                self.call("GetSigningKey", bearer(token))
                found.append(None)
            except grpc.RpcError as error:
                found.append(error.code())
        return found

    def refused(self, token=None, detail="", code=UNAUTHENTICATED, via=METHODS, metadata=None,
                **options):
        """detail: of the reason that the log tells; it always tells one."""
        for method in via:
            with self.assertRaises(grpc.RpcError) as error:
                self.call(method, bearer(token) if metadata is None else metadata, **options)
            self.told(method, error.exception, code, detail)

    def told(self, method, error, code, detail):
        request_id = configured.request_id_of(error)
        self.assertEqual((error.code(), error.details().replace(request_id, "ID")),
                         (code, MESSAGES[code]), method)
        self.assertEqual({key for key, _ in error.trailing_metadata()}, {"dacm-request-id"})
        reason, = self.world.logged(request_id)
        self.assertIn(detail, reason)
        records = [record for record in self.world.skms.audit()
                   if record.get("request_id") == request_id]
        self.assertEqual([(record["event"], record["outcome"]) for record in records],
                         [(EVENTS[method], code.name)])

    def denied(self, token, reason="", **options):
        self.refused(token, reason, code=DENIED, **options)
