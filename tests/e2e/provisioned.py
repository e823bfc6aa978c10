# SPDX-License-Identifier: Apache-2.0
"""Servers whose keys come from an skmsd of their own."""
import concurrent.futures
import ctypes
import json

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import keyserver
from configured import Server, wait_until
from harness import b64url, bearer, da, unb64url
from keyserver import admin, keys, keys_grpc

RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def x25519(private):
    """The public half."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(*RAW)


def kid_of(start):
    return keyserver.jws_parts(start.manifest)[0]["kid"]


def skms_settings(skms, folder, name):
    """The section skms of a server's configuration: its certificate, token and folder in folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    skms.certificate(name, "--dns", name)
    return {
        "target": f"tls+tcp://{skms.address}", "server_name": "localhost",
        "ca": f"{skms.pki}/ca.crt", "certificate": f"{skms.pki}/{name}.crt",
        "key": f"{skms.pki}/{name}.key", "directory": str(folder / "kept"),
        "enrolment_file": str(folder / "token"), "timeout_ms": 5000, "warn_s": 0,
    }


def put_token(skms, folder, name, service):
    path = folder / "token"
    path.write_text(skms.token(name, service) + "\n")
    path.chmod(0o600)


class Dacm(Server):
    """dacmd with manifest keys from skms. policy: of its VAL service there; None: it has one.
    configure changes the configuration once more; enrol False: the operator made no token."""

    NAME = "dacm.example"

    def __init__(self, skms, policy=None, configure=None, enrol=True, arguments=()):
        self.skms, self.policy, self.enrol, self.more = skms, policy, enrol, configure
        super().__init__(self.provision, arguments)

    @property
    def folder(self):
        return self.dir / "skmc"

    def provision(self, _, config):
        if self.policy is not None:
            self.skms.add(self.audience, **self.policy)
        config["signing"] = {"source": "skms"}
        config["skms"] = skms_settings(self.skms, self.folder, self.NAME)
        (self.folder / "kept").mkdir(mode=0o700)
        if self.enrol:
            put_token(self.skms, self.folder, self.NAME, self.audience)
        if self.more:
            self.more(self, config)
        return config

    # -- the operator of the SKM-S

    def listed(self, state=None):
        """Its keys at the SKM-S, by kid."""
        reply = self.skms.admin().ListKeys(admin.ListKeysRequest(
            val_service=self.audience, purpose=keys.PURPOSE_MANIFESTS))
        return {key.kid: key for key in reply.keys if state in (None, key.state)}

    def active(self):
        """The kid of the key that signs: of the active ones that which began last."""
        return max(self.listed(keys.KEY_STATE_ACTIVE).values(), key=lambda key: key.signs_from).kid

    def rotate(self):
        """Another key signs then; its kid."""
        before = self.active()
        self.skms.admin().RotateKey(admin.RotateKeyRequest(
            val_service=self.audience, purpose=keys.PURPOSE_MANIFESTS))
        wait_until("another key", lambda: self.active() != before)
        return self.active()

    def revoke(self, kid):
        self.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=kid, reason="a test"))

    # -- what dacmd has of it

    def kept(self):
        return json.loads((self.folder / "kept" / "kept.json").read_text())

    def key_set(self):
        """The claims of its key set, verified as anybody can."""
        return self.skms.verifier().read(self.skms.stub().GetKeySet(keys.GetKeySetRequest(
            val_service=self.audience, purpose=keys.PURPOSE_MANIFESTS)))

    def manifest_claims(self, jws):
        """The claims of a manifest that verifies by the key set of now."""
        head, claims, signed, signature = keyserver.jws_parts(jws)
        assert head["typ"] == "dacm-manifest+jwt" and head["alg"] == "EdDSA", head
        key = next(key for key in self.key_set()["keys"] if key["kid"] == head["kid"])
        assert key["dacm_state"] != "compromised", key
        assert key["nbf"] <= claims["iat"] <= key["exp"], (key, claims)
        Ed25519PublicKey.from_public_bytes(unb64url(key["x"])).verify(signature, signed)
        return claims

    def manifest_kid(self, asset, gpsi, **options):
        """Of the key that signed the manifest of a download, all of which is checked."""
        _, _, start = self.download(asset, gpsi, **options)
        return kid_of(start)

    def start_of(self, asset, gpsi=None):
        """The first message of a download, with the manifest; nobody verifies it."""
        gpsi = gpsi or self.users[0]
        token = self.token(gpsi, asset, ["get"], [gpsi])
        responses = self.stub().Download(da.DownloadRequest(asset_id=asset, gpsi=gpsi),
                                         metadata=bearer(token), timeout=60)
        start = next(responses).start
        responses.cancel()
        return start

    def metric(self, name):
        for line in self.https("/metrics").splitlines():
            if line.split(" ")[0].split("{")[0] == name:
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name}")


class FakeSkms(keys_grpc.SigningKeysServicer):
    """Somebody at the address of skms, which has ended, with its certificate. key_set: what it
    gives to everybody who watches; root: what it names at an enrolment."""

    def __init__(self, skms, val_service, key_set, root=""):
        self.val_service, self.key_set, self.root = val_service, key_set, root
        self.sealing_key, self.released = None, 0
        self.over = concurrent.futures.Future()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        keys_grpc.add_SigningKeysServicer_to_server(self, self.server)
        files = [(skms.pki / f"skmsd.{kind}").read_bytes() for kind in ("key", "crt")]
        credentials = grpc.ssl_server_credentials(
            [tuple(files)], root_certificates=skms.ca, require_client_auth=True)
        assert self.server.add_secure_port(skms.address, credentials)
        self.server.start()

    def stop(self):
        if not self.over.done():
            self.over.set_result(None)
        self.server.stop(None).wait()

    def Enrol(self, request, context):  # noqa: N802
        self.sealing_key = request.sealing_key
        return keys.EnrolResponse(val_service=self.val_service, root=self.root,
                                  purposes=[keys.PURPOSE_MANIFESTS, keys.PURPOSE_TOKENS])

    def WatchKeys(self, request, context):  # noqa: N802
        yield self.key_set
        context.add_callback(lambda: self.over.done() or self.over.set_result(None))
        self.over.result()

    def GetSigningKey(self, request, context):  # noqa: N802
        """Private halves of its own, under the kids of the set; nothing to who enrolled before."""
        if self.sealing_key is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        claims = keyserver.jws_parts(self.key_set.jws)[1]
        return keys.GetSigningKeyResponse(
            key_set_version=claims["version"],
            keys=[keys.SealedKey(kid=key["kid"], sealed_jwk=self.sealed(key),
                                 signs_from=key["nbf"], signs_until=key["exp"])
                  for key in claims["keys"]])

    def sealed(self, jwk):
        seed = Ed25519PrivateKey.generate().private_bytes(
            RAW[0], serialization.PrivateFormat.Raw, serialization.NoEncryption())
        text = json.dumps(jwk | {"d": b64url(seed)}, separators=(",", ":")).encode()
        out = ctypes.create_string_buffer(len(text) + 48)
        assert keyserver.sodium.crypto_box_seal(
            out, text, ctypes.c_ulonglong(len(text)), self.sealing_key) == 0
        self.released += 1
        return out.raw
