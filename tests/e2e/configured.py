# SPDX-License-Identifier: Apache-2.0
"""dacmd under a configuration of the test's own: certificates and token keys are those that `dacm dev`
makes, then dacmd alone is started, with a manifest key in a file, reloaded, killed and started again.

Issuer is an issuer of access tokens with a key of any kind that dacmd takes."""
import copy
import hashlib
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import harness
from harness import b64url, da
from dacm.v1 import admin_pb2, admin_pb2_grpc

WAIT_SECONDS = harness.START_SECONDS


def wait_until(what, condition, seconds=WAIT_SECONDS):
    """Waits for a condition; the bound is for a run that hangs and says nothing of speed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def request_id_of(error):
    """The ID that a refusal carries in its trailing metadata."""
    return dict(error.trailing_metadata()).get("dacm-request-id")


class Issuer:
    """Signs access tokens; `entry` is its part of dacmd's configuration."""

    def __init__(self, name, alg="EdDSA", key=None, kid=None, typ="at+jwt", gpsi_claim="gpsi",
                 profile_claim="Digital_profile", **settings):
        self.name, self.alg, self.typ = name, alg, typ
        self.gpsi_claim, self.profile_claim = gpsi_claim, profile_claim
        self.kid = kid or "kid-" + os.urandom(6).hex()
        self.key = key or self.new_key(alg)
        self.settings = settings

    @staticmethod
    def new_key(alg):
        if alg == "EdDSA":
            return Ed25519PrivateKey.generate()
        if alg == "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        return rsa.generate_private_key(65537, 2048)

    def jwk(self):
        public = self.key.public_key()
        jwk = {"kid": self.kid, "use": "sig", "alg": self.alg}
        if self.alg == "EdDSA":
            raw = public.public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return dict(jwk, kty="OKP", crv="Ed25519", x=b64url(raw))
        numbers = public.public_numbers()
        if self.alg == "ES256":
            return dict(jwk, kty="EC", crv="P-256", x=b64url(numbers.x.to_bytes(32, "big")),
                        y=b64url(numbers.y.to_bytes(32, "big")))
        size = (numbers.n.bit_length() + 7) // 8
        return dict(jwk, kty="RSA", n=b64url(numbers.n.to_bytes(size, "big")),
                    e=b64url(numbers.e.to_bytes(3, "big")))

    def entry(self, folder):
        """Writes the key set into folder; the issuer's entry of the configuration."""
        path = pathlib.Path(folder) / (hashlib.sha256(self.name.encode()).hexdigest()[:16]
                                       + ".jwks")
        path.write_text(json.dumps({"keys": [self.jwk()]}))
        entry = {"issuer": self.name, "jwks_file": str(path), "algorithms": [self.alg],
                 "typ": [self.typ], "gpsi_claim": self.gpsi_claim,
                 "profile_claim": self.profile_claim}
        return dict(entry, **self.settings)

    def signature(self, data):
        if self.alg == "EdDSA":
            return self.key.sign(data)
        if self.alg == "ES256":
            r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if self.alg == "PS256":
            return self.key.sign(
                data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def sign(self, claims, **header):
        head = {"alg": self.alg, "kid": self.kid, "typ": self.typ, **header}
        text = b64url(json.dumps(head).encode()) + "." + b64url(json.dumps(claims).encode())
        return text + "." + b64url(self.signature(text.encode()))

    def token(self, server, gpsi, asset, profile, actions=("get",), header=None, **changes):
        """A correct token of this issuer for server; changes replace or, with None, remove.
        None as asset or profile leaves the claim out."""
        claims = server.claims(gpsi, asset or "", actions, None, iss=self.name)
        if asset is None:
            del claims["authorization_details"]
        claims[self.gpsi_claim] = claims.pop("gpsi")
        if profile is not None:
            claims[self.profile_claim] = " ".join(profile)
        for name, value in changes.items():
            if value is None:
                claims.pop(name, None)
            else:
                claims[name] = value
        return self.sign(claims, **(header or {}))


class Server(harness.Dev):
    """dacmd alone. configure, if given, changes the configuration (an object) before the first
    start and may write files into self.dir; arguments go to dacmd."""

    def __init__(self, configure=None, arguments=()):
        self.configure, self.arguments = configure, list(arguments)
        self.daemon = None
        super().__init__()

    # -- life

    def start(self):
        super().start()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(harness.START_SECONDS) == 0, self.read_log()
        subprocess.run([harness.BIN / "dacm", "pki", "keys", self.dir / "pki", "manifest", "--for",
                        "manifest"], check=True, capture_output=True)
        self.env["keys_file"] = str(self.dir / "pki" / "manifest.pub.jwks")
        for absent in ("skms", "trust_dir"):
            del self.env[absent]
        (self.dir / "env.json").write_text(json.dumps(self.env))
        self.config = self.base_config()
        if self.configure:
            self.config = self.configure(self, copy.deepcopy(self.config)) or self.config
        self.run()

    def base_config(self):
        """What `dacm dev` runs, as an object, but for the key."""
        pki, data = self.dir / "pki", self.dir / "data"
        tls = {"certificate": f"{pki}/dacmd.crt", "key": f"{pki}/dacmd.key"}
        return {
            "resource": self.audience,
            "listen": {
                "users": dict(tls, url=self.env["dacm"]["grpc"], client_ca=f"{pki}/ca.crt"),
                "peers": dict(tls, url=self.env["dacm"]["peers"], client_ca=f"{pki}/ca.crt"),
                "admin": {"url": self.env["dacm"]["admin"], "sans": ["admin.dacm.localhost"]},
                "https": dict(tls, address="127.0.0.1",
                              port=int(self.env["dacm"]["https"].rsplit(":", 1)[1])),
            },
            "issuers": [{"issuer": self.issuer, "jwks_file": f"{pki}/token.pub.jwks",
                         "may_delegate": True}],
            "peers": {"sims": [{"san": "sims.dacm.localhost", "issuer": self.issuer,
                                "full_list": True}]},
            "signing": {"source": "file", "key_file": f"{pki}/manifest.jwks"},
            "store": {"directory": f"{data}/store"},
            "audit": {"directory": f"{data}/audit"},
        }

    @property
    def config_file(self):
        return self.dir / "config" / "own.yaml"

    def write_config(self):
        self.config_file.write_text(json.dumps(self.config, indent=1))  # JSON is YAML

    def spawn(self, arguments=None, **kwargs):
        return subprocess.Popen(
            [harness.BIN / "dacmd", "--config", self.config_file,
             *(self.arguments if arguments is None else arguments)], **kwargs)

    def run(self):
        """Starts dacmd and waits until its health says that it serves."""
        self.write_config()
        self.daemon = self.spawn(stdout=self.log, stderr=self.log)
        wait_until("dacmd's health", self.healthy)

    def healthy(self):
        if self.daemon.poll() is not None:
            raise AssertionError("dacmd did not start:\n" + self.read_log())
        with self.channel() as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            try:
                return check(b"", timeout=5) == b"\x08\x01"
            except grpc.RpcError:
                return False

    def reload(self):
        """SIGHUP; returns once dacmd has said how it went."""
        lines = ("reloaded keys, certificates and issuers", "reload failed")
        said = lambda: sum(self.read_log().count(line) for line in lines)  # noqa: E731
        before = said()
        self.daemon.send_signal(signal.SIGHUP)
        wait_until("an answer to SIGHUP", lambda: said() > before)
        return self.read_log().rsplit(lines[0], 1)[-1].count(lines[1]) == 0

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()

    def terminate(self):
        self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(harness.START_SECONDS)

    def stop(self):
        code = 0
        if self.daemon and self.daemon.poll() is None:
            code = self.terminate()
        self.log.close()
        if code == 0:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            sys.stderr.write(f"kept {self.dir}: dacmd ended with {code}\n")
        return code

    # -- what it says

    def https(self, path):
        context = ssl.create_default_context(cafile=self.env["ca_file"])
        with urllib.request.urlopen(
                self.env["dacm"]["https"] + path, context=context, timeout=30) as reply:
            return reply.read().decode()

    def health(self):
        return json.loads(self.https("/healthz"))

    # -- clients

    def certificate(self, name):
        """(certificate chain, key) of a client of the development PKI: val, sims, admin."""
        return tuple((self.dir / "pki" / (name + end)).read_bytes() for end in (".crt", ".key"))

    def thumbprint(self, name):
        """x5t#S256 of that certificate."""
        certificate = x509.load_pem_x509_certificate(self.certificate(name)[0])
        return b64url(certificate.fingerprint(hashes.SHA256()))

    def client(self, name=None):
        """A channel to the users' listener, with a client certificate if one is named."""
        return self.channel(*(self.certificate(name) if name else ()))

    def explain(self, request_id):
        """What `dacm explain` prints, asked for by its operator's socket."""
        socket = self.env["dacm"]["admin"].replace("ipc://", "unix://")
        with grpc.insecure_channel(socket, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            told = admin_pb2_grpc.AdminStub(channel).Explain(
                admin_pb2.ExplainRequest(request_id=request_id), timeout=WAIT_SECONDS)
        return {field.name: getattr(told, field.name) for field in told.DESCRIPTOR.fields}

    def users_on(self, asset, gpsi=None):
        """Of an asset: what its owner sees of the list."""
        owner = gpsi or self.users[0]
        token = self.token(owner, asset, ["get"], [owner])
        return self.stub().GetProfile(da.GetProfileRequest(asset_id=asset, gpsi=owner),
                                      metadata=harness.bearer(token), timeout=60)
