# SPDX-License-Identifier: Apache-2.0
"""Servers whose keys come from an skmsd of their own."""
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import keyserver
from configured import Server, wait_until
from harness import unb64url
from keyserver import admin, keys


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
        return next(iter(self.listed(keys.KEY_STATE_ACTIVE)))

    def rotate(self):
        self.skms.admin().RotateKey(admin.RotateKeyRequest(
            val_service=self.audience, purpose=keys.PURPOSE_MANIFESTS))

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
        assert key["nbf"] <= claims["iat"] < key["exp"], (key, claims)
        Ed25519PublicKey.from_public_bytes(unb64url(key["x"])).verify(signature, signed)
        return claims

    def manifest_kid(self, asset, gpsi, **options):
        """Of the key that signed the manifest of a download, all of which is checked."""
        _, _, start = self.download(asset, gpsi, **options)
        return keyserver.jws_parts(start.manifest)[0]["kid"]

    def metric(self, name):
        for line in self.https("/metrics").splitlines():
            if line.split(" ")[0].split("{")[0] == name:
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name}")

    def wait_key(self, kid, asset, gpsi):
        wait_until(f"a manifest under {kid}", lambda: self.manifest_kid(asset, gpsi) == kid)


__all__ = ["Dacm", "keyserver", "put_token", "skms_settings"]
