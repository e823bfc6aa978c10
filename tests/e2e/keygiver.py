# SPDX-License-Identifier: Apache-2.0
"""simsd and skmsd together, and VAL servers that bring keys: each a client of simsd with
tls_client_auth and a certificate that both know."""
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import keyserver
import memory
import sims
from harness import b64url, bearer
from keyserver import keys

RESOURCE = "https://skms.example/"
TOKENS, MANIFESTS = keys.PURPOSE_TOKENS, keys.PURPOSE_MANIFESTS


def private_jwk(key=None, **changes):
    """A private JWK as others make it; None removes."""
    key = key or Ed25519PrivateKey.generate()
    raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    seed = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw,
                             serialization.NoEncryption())
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public_key().public_bytes(*raw)),
           "d": b64url(seed), **changes}
    return {name: value for name, value in jwk.items() if value is not None}


class Server:
    """A VAL server: its client at simsd, its certificate, its tokens."""

    def __init__(self, world, client_id, services, scopes=("seal.kp", "seal.km"), **fields):
        self.world, self.client_id, self.name = world, client_id, client_id + ".example"
        self.certificate = world.certificate(self.name)
        self.client = world.sims.add_client(
            client_id, "tls_client_auth", grants=["client_credentials"], scopes=list(scopes),
            tls_san=self.name, key_services=services, **fields)
        self.client.certificate = self.name
        self.stub = world.skms.stub(self.certificate)

    def answer(self, **form):
        return self.client.own(**{"resource": RESOURCE, **form})

    def token(self, **form):
        reply = self.answer(**form)
        assert reply.status == 200, reply.text
        return reply.json["access_token"]

    def provision(self, service, jwk=None, purpose=MANIFESTS, token=None, stub=None, **fields):
        text = jwk if isinstance(jwk, bytes) else json.dumps(jwk or private_jwk()).encode()
        metadata = () if token == "" else bearer(token or self.token(scope="seal.kp"))
        return (stub or self.stub).ProvisionKey(keys.ProvisionKeyRequest(
            val_service=service, purpose=purpose, jwk=text, **fields), metadata=metadata,
            timeout=60)


class World:
    new_sims = sims.Sims

    def __init__(self):
        self.sims = self.new_sims(lambda _, config: {**config, "skms": {"resources": [RESOURCE]}})
        self.skms = keyserver.Skms(self.configure)

    def configure(self, skms, config):
        both = skms.dir / "both.pem"
        own = self.sims.dir / "pki"
        both.write_bytes((skms.pki / "ca.crt").read_bytes() + (own / "ca.crt").read_bytes())
        config["listen"]["keys"]["client_ca"] = str(both)
        config["resource"] = RESOURCE
        config["issuers"] = [{"issuer": self.sims.issuer,
                              "jwks_file": str(own / "sims-token.published")}]

    def certificate(self, name):
        self.sims.dacm.cli("pki", "issue", self.sims.dir / "pki", name, "--dns", name, check=True)
        return tuple((self.sims.dir / "pki" / f"{name}.{kind}").read_bytes()
                     for kind in ("crt", "key"))

    def service(self, name, client=None, san=None, **policy):
        """A VAL service that takes keys, of a VAL server that is enrolled."""
        self.skms.add(name, **{"provisioned": True, **policy})
        return self.enrolment(name, client, san) if client else None

    def enrolment(self, service, client, san=None, issuer=""):
        return self.skms.admin().CreateEnrolment(keyserver.admin.CreateEnrolmentRequest(
            val_service=service, certificate_san=san or client.name,
            client_id=client.client_id, client_issuer=issuer)).token

    def key_set(self, service, purpose=MANIFESTS):
        reply = self.skms.stub().GetKeySet(keys.GetKeySetRequest(
            val_service=service, purpose=purpose))
        return self.skms.verifier().read(reply)["keys"]

    def memory_holds(self, *needles):
        """Those of needles that are somewhere in skmsd's memory."""
        return {needle for needle, _ in memory.search(
            self.skms.process.pid, {needle: needle for needle in needles})}

    def close(self):
        self.skms.close()
        return self.sims.stop()
