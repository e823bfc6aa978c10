# SPDX-License-Identifier: Apache-2.0
"""skmsd in a folder of its own, with a throw-away PKI: its operator's service, SKM-Cs that enrol
with a key pair of their own, and verifiers that hold the root."""
import ctypes
import ctypes.util
import datetime
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey, Ed25519PublicKey)

import configured
import harness
from harness import b64url, unb64url
from skms.v1 import admin_pb2 as admin
from skms.v1 import admin_pb2_grpc as admin_grpc
from skms.v1 import signing_keys_pb2 as keys
from skms.v1 import signing_keys_pb2_grpc as keys_grpc

DACM = "https://dacm.example/"
SECRET = "correct horse battery staple"
sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")


def revocation_list(pki, *names):
    """ca.crl in a folder of dacm pki, with the certificates of these names in it."""
    issuer = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    now = datetime.datetime.utcnow()
    made = (x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
            .last_update(now - datetime.timedelta(minutes=1))
            .next_update(now + datetime.timedelta(days=1)))
    for name in names:
        certificate = x509.load_pem_x509_certificate((pki / f"{name}.crt").read_bytes())
        made = made.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            .revocation_date(now).build())
    digest = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    (pki / "ca.crl").write_bytes(made.sign(key, digest).public_bytes(serialization.Encoding.PEM))
    return pki / "ca.crl"


class Skms:
    """skmsd, ready to serve. settings, if given, changes its configuration before it starts; prefix
    is put before its command."""
    prefix = ()

    def __init__(self, settings=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="dacm-skms-"))
        self.pki = self.dir / "pki"
        for folder in ("store", "audit"):
            (self.dir / folder).mkdir(mode=0o700)
        self.made("pki", "init", self.pki)
        self.certificate("skmsd")
        self.secret_file = self.dir / "master"
        self.secret_file.write_text(SECRET + "\n")
        self.secret_file.chmod(0o600)
        self.config = self.base_config(harness.ports.reserve(), harness.ports.reserve())
        self.address = self.config["listen"]["keys"]["url"].split("://")[1]
        self.https = f"https://localhost:{self.config['listen']['https']['port']}"
        if settings:
            settings(self, self.config)
        self.process, self.pass_fds = None, ()
        self.start()

    def base_config(self, rpc_port, https_port):
        tls = {"certificate": f"{self.pki}/skmsd.crt", "key": f"{self.pki}/skmsd.key"}
        return {
            "issuer": "https://skms.example",
            "listen": {
                "keys": dict(tls, url=f"tls+tcp://127.0.0.1:{rpc_port}",
                             client_ca=f"{self.pki}/ca.crt"),
                "https": dict(tls, address="127.0.0.1", port=https_port),
                "admin": {"url": f"ipc://{self.dir}/admin.sock"},
            },
            "master": {"source": "file", "file": str(self.secret_file), "memory_bytes": 65536,
                       "passes": 1},
            "store": {"directory": f"{self.dir}/store"},
            "audit": {"directory": f"{self.dir}/audit"},
            "signing": {"count_interval_s": 1},
            "log": {"file": f"{self.dir}/skmsd.log"},
        }

    # -- life

    def made(self, *arguments):
        subprocess.run([harness.BIN / "dacm", *map(str, arguments)], check=True,
                       capture_output=True)

    def certificate(self, name, *names):
        """A new certificate of the PKI: (certificate, key) as PEM."""
        for kind in ("crt", "key"):
            (self.pki / f"{name}.{kind}").unlink(missing_ok=True)
        self.made("pki", "issue", self.pki, name, *(names or ("--dns", "localhost")))
        return ((self.pki / f"{name}.crt").read_bytes(), (self.pki / f"{name}.key").read_bytes())

    @property
    def config_file(self):
        return self.dir / "skmsd.yaml"

    def run(self, *arguments):
        """skmsd as a tool."""
        self.config_file.write_text(json.dumps(self.config, indent=1))  # JSON is YAML
        return subprocess.run(
            [*self.prefix, harness.BIN / "skmsd", "--config", self.config_file, *arguments],
            capture_output=True, text=True, timeout=120)

    def start(self):
        """Returns when it tells READY=1, as to a service manager."""
        address = str(self.dir / "notify.sock")
        self.config_file.write_text(json.dumps(self.config, indent=1))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            pathlib.Path(address).unlink(missing_ok=True)
            notify.bind(address)
            notify.settimeout(0.2)
            self.process = subprocess.Popen(
                [*self.prefix, harness.BIN / "skmsd", "--config", self.config_file],
                pass_fds=self.pass_fds,
                env=os.environ | {"NOTIFY_SOCKET": address}, stderr=subprocess.PIPE)
            self.wait_ready(notify)

    def wait_ready(self, notify):
        deadline = time.monotonic() + harness.START_SECONDS
        while True:
            try:
                if b"READY=1" in notify.recv(4096):
                    return
            except TimeoutError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    told = self.process.communicate()[1].decode() + self.log()
                    raise AssertionError("skmsd did not start: " + told) from None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told.decode()

    def reload(self, said="reloaded"):
        """SIGHUP; returns once the log says how it went."""
        self.config_file.write_text(json.dumps(self.config, indent=1))
        before = self.log().count(said)
        self.process.send_signal(signal.SIGHUP)
        configured.wait_until(said, lambda: self.log().count(said) > before)

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.dir)

    def log(self):
        return (self.dir / "skmsd.log").read_text()

    def audit(self):
        lines = b"".join(path.read_bytes() for path in sorted((self.dir / "audit").iterdir())
                         if path.suffix == ".log")
        records = (json.loads(found) for found in re.findall(rb"\{[^\n]*\}", lines))
        return [record for record in records if "event" in record]  # not the segments' headers

    # -- callers

    @property
    def ca(self):
        return (self.pki / "ca.crt").read_bytes()

    def admin(self):
        # the peer's uid is what counts
        return admin_grpc.AdminStub(grpc.insecure_channel(f"unix:{self.dir}/admin.sock"))

    def channel(self, certificate=None):
        chain, key = certificate or (None, None)
        credentials = grpc.ssl_channel_credentials(self.ca, key, chain)
        return grpc.secure_channel(self.address, credentials, options=[
            ("grpc.ssl_target_name_override", "localhost"),
            ("grpc.use_local_subchannel_pool", 1)])

    def stub(self, certificate=None):
        return keys_grpc.SigningKeysStub(self.channel(certificate))

    def get(self, path, certificate=None, headers=None):
        """(status, headers, body) over HTTPS."""
        context = ssl.create_default_context(cafile=self.pki / "ca.crt")
        if certificate:
            context.load_cert_chain(self.pki / f"{certificate}.crt", self.pki / f"{certificate}.key")
        request = urllib.request.Request(self.https + path, headers=headers or {})
        try:
            with urllib.request.urlopen(request, context=context, timeout=60) as reply:
                return reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def add(self, service=DACM, **policy):
        return self.admin().CreateService(admin.ValService(
            val_service=service, purposes=[keys.PURPOSE_TOKENS, keys.PURPOSE_MANIFESTS],
            policy=admin.Policy(**policy)))

    def client(self, name, service=DACM):
        """An enrolled SKM-C with a certificate for that DNS name."""
        return Client(self, name).enrol(self.token(name, service))

    def token(self, san, service=DACM):
        return self.admin().CreateEnrolment(
            admin.CreateEnrolmentRequest(val_service=service, certificate_san=san)).token

    def verifier(self):
        return Verifier(self.admin().GetRoot(admin.GetRootRequest()))


class Client:
    """An SKM-C with a certificate and a key pair that its keys are sealed to."""

    def __init__(self, skms, name):
        self.skms, self.name = skms, name
        self.stub = skms.stub(skms.certificate(name, "--dns", name))
        self.public, self.private = (ctypes.create_string_buffer(32) for _ in range(2))
        assert sodium.crypto_box_keypair(self.public, self.private) == 0

    def enrol(self, token):
        self.enrolled = self.stub.Enrol(
            keys.EnrolRequest(token=token, sealing_key=self.public.raw))
        return self

    def opened(self, sealed):
        """The private JWK; None where it is sealed to somebody else."""
        plain = ctypes.create_string_buffer(len(sealed))
        if sodium.crypto_box_seal_open(plain, sealed, ctypes.c_ulonglong(len(sealed)), self.public,
                                       self.private) != 0:
            return None
        return json.loads(plain.raw[:len(sealed) - 48])

    def keys(self, purpose=keys.PURPOSE_MANIFESTS, service=""):
        reply = self.stub.GetSigningKey(
            keys.GetSigningKeyRequest(val_service=service, purpose=purpose))
        return reply, [self.opened(key.sealed_jwk) for key in reply.keys]


def jws_parts(jws):
    head, body, signature = jws.split(".")
    return json.loads(unb64url(head)), json.loads(unb64url(body)), (head + "." + body).encode(), \
        unb64url(signature)


class Verifier:
    """Pins a root; follows its statements; reads key sets as anybody can."""

    def __init__(self, root):
        self.root, self.replaced = json.loads(root.jwk), root.sequence
        assert "d" not in self.root

    def key(self):
        return Ed25519PublicKey.from_public_bytes(unb64url(self.root["x"]))

    def follow(self, statements):
        for statement in statements:
            head, claims, signed, signature = jws_parts(statement)
            assert head["typ"] == "dacm-root+jwt" and head["kid"] == self.root["kid"], head
            self.key().verify(signature, signed)
            assert claims["sequence"] == self.replaced + 1, claims
            self.root, self.replaced = claims["root"], claims["sequence"]

    def read(self, key_set, have_root=0):
        """The claims of a KeySet, after following the root; have_root as it was asked for."""
        self.follow(key_set.root_statements[self.replaced - have_root:])
        head, claims, signed, signature = jws_parts(key_set.jws)
        assert head["typ"] == "dacm-keyset+jwt" and head["kid"] == self.root["kid"], head
        self.key().verify(signature, signed)
        assert claims["version"] == key_set.version
        return claims


def thumbprint(jwk):
    text = json.dumps({name: jwk[name] for name in ("crv", "kty", "x")}, separators=(",", ":"))
    return b64url(hashlib.sha256(text.encode()).digest())
