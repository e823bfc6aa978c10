# SPDX-License-Identifier: Apache-2.0
"""What every end-to-end test stands on: `dacm dev` in a folder of its own, gRPC stubs made from
proto/ alone, tokens of any shape, and helpers to upload and download over the wire.

Environment (set by CMake): DACM_BIN, the folder of the programs; DACM_STUBS, the folder of the
generated Python stubs; DACM_SOURCE_DIR; DACM_TEST_DATA and DACM_REQUIRE_DATA as in CONTRIBUTING.md."""
import base64
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.environ["DACM_STUBS"])
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

import grpc  # noqa: E402
import ports  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: E402
    Ed25519PrivateKey, Ed25519PublicKey)

from dacm.v1 import digital_asset_pb2 as da  # noqa: E402
from dacm.v1 import digital_asset_pb2_grpc as da_grpc  # noqa: E402

BIN = pathlib.Path(os.environ["DACM_BIN"])
SOURCE = pathlib.Path(os.environ["DACM_SOURCE_DIR"])
FULL = os.environ.get("DACM_TEST_FULL") == "1"
START_SECONDS = 60  # a bound on waiting, not an expectation


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def data_file(name):
    """A real file of the test data; skips, or fails where DACM_REQUIRE_DATA=1."""
    root = pathlib.Path(os.environ.get("DACM_TEST_DATA", SOURCE / ".." / "shared" / "data"))
    path = root / name
    if not path.exists():
        if os.environ.get("DACM_REQUIRE_DATA") == "1":
            raise AssertionError(f"test data '{path}' is missing and DACM_REQUIRE_DATA=1")
        raise unittest.SkipTest(f"test data '{path}' is missing (set DACM_TEST_DATA)")
    return path


class Dev:
    """`dacm dev`, up and healthy."""

    def __init__(self, directory=None, extra=()):
        self.own_dir = directory is None
        self.dir = pathlib.Path(directory or tempfile.mkdtemp(prefix="dacm-e2e-"))
        self.extra = list(extra)
        self.process = None
        self.first_port = ports.reserve()
        self.start()

    def start(self):
        env_file = self.dir / "env.json"
        env_file.unlink(missing_ok=True)
        self.log = open(self.dir / "dev.log", "ab")
        self.process = subprocess.Popen(
            [BIN / "dacm", "dev", "--dir", self.dir, "--ports-from", str(self.first_port),
             *self.extra], stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + START_SECONDS
        while not env_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("dacm dev did not start:\n" + self.read_log())
            time.sleep(0.02)
        self.env = json.loads(env_file.read_text())
        self.ca = pathlib.Path(self.env["ca_file"]).read_bytes()
        self.target = self.env["dacm"]["grpc"].split("://")[-1]
        key = json.loads(pathlib.Path(self.env["token_key_file"]).read_text())
        if "keys" in key:
            key = key["keys"][0]
        self.token_key, self.token_kid = Ed25519PrivateKey.from_private_bytes(
            unb64url(key["d"])), key["kid"]

    def read_log(self):
        if not self.log.closed:
            self.log.flush()
        return (self.dir / "dev.log").read_text(errors="replace")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(START_SECONDS)
        self.log.close()
        code = self.process.returncode if self.process else 0
        if self.own_dir:
            if code == 0:
                shutil.rmtree(self.dir, ignore_errors=True)
            else:
                sys.stderr.write(f"kept {self.dir}: dacm dev ended with {code}\n")
        return code

    # -- who is who

    @property
    def issuer(self):
        return self.env["issuer"]

    @property
    def audience(self):
        return self.env["dacm"]["resource"]

    @property
    def users(self):
        return [user["gpsi"] for user in self.env["users"]]

    # -- tokens

    def claims(self, gpsi, /, asset=None, actions=("get",), profile=None, **changes):
        """The claims of a correct access token; changes replace or, with None, remove."""
        now = int(time.time())
        detail = {"type": "digital_asset", "actions": list(actions)}
        if asset is not None:
            detail["identifier"] = asset
        claims = {
            "iss": self.issuer, "sub": "sub-" + (gpsi or "none"), "aud": self.audience,
            "iat": now, "exp": now + 300, "jti": os.urandom(12).hex(), "client_id": "app",
            "scope": "seal.da", "authorization_details": [detail],
        }
        if gpsi:
            claims["gpsi"] = gpsi
        if profile is not None:
            claims["Digital_profile"] = profile if isinstance(profile, str) else " ".join(profile)
        for name, value in changes.items():
            if value is None:
                claims.pop(name, None)
            else:
                claims[name] = value
        return claims

    def sign(self, claims, header=None, key=None):
        """A JWS over claims (an object, or bytes as they are)."""
        head = {"alg": "EdDSA", "kid": self.token_kid, "typ": "at+jwt"}
        if isinstance(header, dict):
            head.update(header)
            head = {name: value for name, value in head.items() if value is not None}
        head_bytes = header if isinstance(header, bytes) else json.dumps(head).encode()
        body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signing_input = b64url(head_bytes) + "." + b64url(body)
        signature = (key or self.token_key).sign(signing_input.encode())
        return signing_input + "." + b64url(signature)

    def token(self, gpsi, /, asset=None, actions=("get",), profile=None, **changes):
        return self.sign(self.claims(gpsi, asset, actions, profile, **changes))

    # -- calls

    def channel(self, cert=None, key=None, target=None):
        credentials = grpc.ssl_channel_credentials(self.ca, key, cert)
        return grpc.secure_channel(target or self.target, credentials, options=[
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", 8 << 20)])

    def stub(self, channel=None):
        return da_grpc.DigitalAssetsStub(channel or self.channel())

    def cli(self, *arguments, check=False, **kwargs):
        """Runs `dacm`; the finished process with .stdout and .stderr as text."""
        environment = dict(os.environ, DACM_ENV=str(self.dir / "env.json"),
                           HOME=str(self.dir), XDG_STATE_HOME=str(self.dir / "state"),
                           XDG_CONFIG_HOME=str(self.dir / "config-home"))
        done = subprocess.run([BIN / "dacm", *map(str, arguments)], env=environment, text=True,
                              capture_output=True, timeout=300, **kwargs)
        if check and done.returncode != 0:
            raise AssertionError(f"dacm {arguments} ended with {done.returncode}:\n"
                                 f"{done.stdout}{done.stderr}")
        return done

    def upload(self, content, owner, allow=(), media_type="model/gltf-binary", asset=None,
               if_match=0, upload_id=None, stub=None, size=None, sha256=None, token=None):
        """Uploads bytes over the wire; the UploadResponse."""
        start = da.UploadStart(upload_id=upload_id or os.urandom(8).hex(), gpsi=owner,
                               size=len(content) if size is None else size,
                               sha256=sha256 or hashlib.sha256(content).digest(),
                               media_type=media_type)
        if asset:
            start.asset.asset_id = asset
            start.asset.if_match = if_match
        else:
            start.profile.asset_type = da.ASSET_TYPE_AVATAR
            start.profile.owners.append(owner)
            for user in allow:
                start.profile.access_control_list.add(allowed_user=user)
        if token is None:
            token = (self.token(owner, asset, ["update"], [owner]) if asset
                     else self.token(owner, None, ["create"]))

        def requests():
            yield da.UploadRequest(start=start)
            for at in range(0, len(content), 256 << 10):
                yield da.UploadRequest(data=content[at:at + (256 << 10)])
        return (stub or self.stub()).Upload(requests(), metadata=bearer(token), timeout=120)

    def download(self, asset, gpsi, token=None, stub=None, **fields):
        """Downloads and checks manifest, list and every chunk; (bytes, claims, start)."""
        token = token or self.token(gpsi, asset, ["get"], [gpsi])
        request = da.DownloadRequest(asset_id=asset, gpsi=gpsi, **fields)
        return self.check_download(
            (stub or self.stub()).Download(request, metadata=bearer(token), timeout=120))

    def manifest_claims(self, jws):
        """The claims of a manifest whose signature holds under the published key set."""
        head, body, signature = jws.split(".")
        header = json.loads(unb64url(head))
        assert header["typ"] == "dacm-manifest+jwt" and header["alg"] == "EdDSA", header
        keys = json.loads(pathlib.Path(self.env["keys_file"]).read_text())["keys"]
        key = next(k for k in keys if k["kid"] == header["kid"])
        Ed25519PublicKey.from_public_bytes(unb64url(key["x"])).verify(
            unb64url(signature), (head + "." + body).encode())
        return json.loads(unb64url(body))

    def check_download(self, responses):
        start, entries, chunks = None, b"", {}
        for response in responses:
            part = response.WhichOneof("part")
            if part == "start":
                assert start is None, "a second start"
                start = response.start
            elif part == "chunk_list":
                assert not chunks, "list after chunks"
                entries += response.chunk_list.entries
            else:
                index, at, data = response.chunks.first, 0, response.chunks.data
                assert len(data) <= 512 << 10, "message too large"
                while at < len(data):
                    length = int.from_bytes(entries[36 * index:36 * index + 4], "big")
                    digest = entries[36 * index + 4:36 * index + 36]
                    piece = data[at:at + length]
                    assert hashlib.sha256(piece).digest() == digest, f"chunk {index} is wrong"
                    chunks[index] = piece
                    at += length
                    index += 1
                assert at == len(data), "a chunk was cut"
        claims = self.manifest_claims(start.manifest)
        if not start.not_modified:
            assert unb64url(claims["chunks"]) == hashlib.sha256(entries).digest(), "list differs"
        content = b"".join(chunks[i] for i in sorted(chunks))
        if len(chunks) == len(entries) // 36 and not start.not_modified:
            assert len(content) == claims["size"]
            assert unb64url(claims["sha256"]) == hashlib.sha256(content).digest()
        return content, claims, start


def bearer(token, key="authorization"):
    return ((key, "Bearer " + token if key == "authorization" else token),)


def code_of(error):
    return error.exception.code()
