# SPDX-License-Identifier: Apache-2.0
"""What a server answers reaches a terminal as text: a DACM that sends control characters in every
field that it can steers nothing, with --json or without."""
import datetime
import json as jsons
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import BIN, da, da_grpc
from dacm.v1 import admin_pb2, admin_pb2_grpc  # noqa: E402
from skms.v1 import admin_pb2 as skms  # noqa: E402
from skms.v1 import admin_pb2_grpc as skms_grpc  # noqa: E402

ASSET, USER = "abc", "msisdn-4915100000001"
REQUEST_ID = "01JZZZZZZZZZZZZZZZZZZZZZZZ"
EVIL = "\x1b]0;title\x07\x1b[2J\x7f\u009b31m"  # C0, DEL and, in two bytes of UTF-8, C1


class Assets(da_grpc.DigitalAssetsServicer):
    """Honest but for the field that `evil` names."""

    evil = None

    def text(self, name, honest):
        return honest + EVIL if name == self.evil else honest

    def profile(self):
        profile = da.DigitalAssetProfile(
            asset_id=self.text("asset_id", ASSET), owners=[self.text("owners", USER)])
        profile.media.version = 1
        profile.media.media_type = self.text("media_type", "model/gltf-binary")
        profile.access_control_list.add(allowed_user=self.text("allowed_user", USER))
        return profile

    def Authorize(self, request, context):
        return da.AuthorizeResponse(request_id=self.text("request_id", REQUEST_ID))

    def DiscoverProfiles(self, request, context):
        return da.DiscoverProfilesResponse(profiles=[self.profile()])

    def GetProfile(self, request, context):
        return da.GetProfileResponse(profile=self.profile(), access_control_count=1)

    def DeleteProfile(self, request, context):
        context.abort(grpc.StatusCode.ABORTED, self.text("message", "somebody else was faster"))


class Admin(admin_pb2_grpc.AdminServicer):
    def Explain(self, request, context):
        return admin_pb2.ExplainResponse(**{
            name: name + EVIL for name in ("request_id", "method", "asset_id", "outcome",
                                           "reason", "detail", "subject", "user")})


class Skms(skms_grpc.AdminServicer):
    """The operator's service of an SKM-S."""

    def key(self):
        return skms.Key(kid="kid" + EVIL, val_service="service" + EVIL, reason="reason" + EVIL,
                        public_jwk=jsons.dumps({"kid": "kid" + EVIL}), state=77, purpose=77)

    def service(self):
        return skms.ValService(
            val_service="service" + EVIL, purposes=[77], policy=skms.Policy(active_s=1),
            enrolments=[skms.Enrolment(certificate_san="san" + EVIL, client_id="client" + EVIL,
                                       client_issuer="issuer" + EVIL, enrolled_at=-2**63)])

    def ListKeys(self, request, context):
        return skms.ListKeysResponse(keys=[self.key()])

    def RotateKey(self, request, context):
        return self.key()

    def RevokeKey(self, request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "there is none" + EVIL)

    def ListServices(self, request, context):
        return skms.ListServicesResponse(services=[self.service()])

    def CreateService(self, request, context):
        return self.service()

    def CreateEnrolment(self, request, context):
        return skms.CreateEnrolmentResponse(token="token" + EVIL, expires_at=2**63 - 1)

    def GetRoot(self, request, context):
        return skms.Root(jwk=jsons.dumps({
            "kty": "OKP", "crv": "Ed25519", "kid": "PMX9xK7yyZDeUWv0OIMayupt-JUN2helBsQ0DpLf5mI",
            "dacm_purpose": "keyset", "x": "v7SoRTkMqFUIt4V1JyC0Bt0QIH75kRfmtSwa7SNepTI",
            "dacm_issuer": "issuer" + EVIL}), statements=["statement" + EVIL])


class Terminal(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="dacm-terminal-"))
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.utcnow()
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .add_extension(x509.BasicConstraints(True, None), True)
            .sign(key, hashes.SHA256())).public_bytes(serialization.Encoding.PEM)
        (cls.dir / "ca.crt").write_bytes(certificate)
        cls.assets = Assets()
        cls.server = grpc.server(futures.ThreadPoolExecutor(2))
        da_grpc.add_DigitalAssetsServicer_to_server(cls.assets, cls.server)
        admin_pb2_grpc.add_AdminServicer_to_server(Admin(), cls.server)
        cls.port = cls.server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                              serialization.NoEncryption()), certificate)]))
        skms_grpc.add_AdminServicer_to_server(Skms(), cls.server)
        cls.server.add_insecure_port(f"unix:{cls.dir}/admin.sock")
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop(None).wait()
        shutil.rmtree(cls.dir)

    def run_dacm(self, *arguments):
        where = ("--admin", f"ipc://{self.dir}/admin.sock") if arguments[0] == "keys" else (
            "--server", f"tls+tcp://localhost:{self.port}", "--ca", self.dir / "ca.crt")
        done = subprocess.run(
            [BIN / "dacm", *arguments, *where], capture_output=True, timeout=300,
            env=dict(os.environ, HOME=str(self.dir), XDG_STATE_HOME=str(self.dir)))
        for text in (done.stdout.decode(), done.stderr.decode()):
            steering = [c for c in text if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")]
            self.assertEqual(steering, [], text)
        return done.returncode

    def both(self, code, command, *arguments):
        for json in ((), ("--json",)):
            with self.subTest(command=command, evil=self.assets.evil, json=json):
                self.assertEqual(self.run_dacm(command, *arguments, *json), code)

    def test_profile(self):
        user = ("--as", USER, "--token", "x")
        self.assets.evil = None
        self.both(0, "ls", *user)
        self.both(0, "show", ASSET, *user)
        for self.assets.evil in ("asset_id", "owners", "media_type", "allowed_user"):
            self.both(1, "ls", *user)
            self.both(1, "show", ASSET, *user)

    def test_answer_and_error(self):
        user = ("--as", USER, "--token", "x")
        self.assets.evil = "request_id"
        self.both(3, "authorize", ASSET, *user)
        self.assets.evil = "message"
        self.both(9, "rm", ASSET, *user)

    def test_explanation(self):
        self.both(0, "explain", REQUEST_ID)

    def test_keys(self):
        for code, *command in ((0, "list"), (0, "show", "kid" + EVIL), (4, "show", "other"),
                               (0, "rotate", "service", "--purpose", "tokens"),
                               (4, "revoke", "kid", "--reason", "lost"), (0, "services"),
                               (0, "services", "create", "service", "--purpose", "tokens"),
                               (0, "enrol", "service", "name"), (0, "root")):
            self.both(code, "keys", *command)


if __name__ == "__main__":
    unittest.main()
