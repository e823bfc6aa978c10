# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, "From login to verified bytes, in Python": its blocks run as they stand, against
simsd and dacmd; the test is the person at the browser. Then through a mirror between dacmd and the
client that changes what it passes on, and with keys of somebody else: no byte is accepted."""
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import harness
import sims
from harness import b64url, da, da_grpc
from sims import Browser

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "package"))
import tutorial  # noqa: E402

ANNA, BERT = "msisdn-491110000001", "msisdn-491110000002"
SECTION = "## From login to verified bytes, in Python"


def flip(data, at):
    """data with one bit of the byte at that place changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


class Mirror(da_grpc.DigitalAssetsServicer):
    """Stands between client and dacmd, with a certificate that the client trusts; change(response)
    is what it makes of each response, a list."""

    def __init__(self, dacm):
        self.change, self.asset = lambda response: [response], None
        self.upstream = dacm.stub()
        pki = dacm.dir / "pki"
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        da_grpc.add_DigitalAssetsServicer_to_server(self, self.server)
        port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
            [((pki / "dacmd.key").read_bytes(), (pki / "dacmd.crt").read_bytes())]))
        self.target = f"localhost:{port}"
        self.server.start()

    def Download(self, request, context):
        metadata = [pair for pair in context.invocation_metadata() if pair[0] == "authorization"]
        for response in self.upstream.Download(request, metadata=metadata, timeout=120):
            yield from self.change(response)

    def close(self):
        self.server.stop(None).wait()


class Recipe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sims = sims.Sims()
        cls.dacm = cls.sims.dacm
        cls.sims.add_user("anna", [ANNA])
        cls.sims.add_user("bert", [BERT])
        cls.sims.add_client("viewer", redirect_uris=["http://127.0.0.1/callback"])
        cls.content = os.urandom(1_500_000)
        owner = cls.dacm.users[0]
        cls.asset = cls.dacm.upload(cls.content, owner, allow=[ANNA]).asset_id
        cls.other = cls.dacm.upload(cls.content[::-1], owner, allow=[ANNA]).asset_id
        document = (harness.SOURCE / "docs" / "wire.md").read_text()
        assert document.count(SECTION) == 1
        section = re.split(r"^## ", document.split(SECTION)[1], flags=re.M)[0]
        cls.files, cls.script, shown = tutorial.take_apart(section)
        assert list(cls.files) == ["download.py"] and not shown and "protoc" in cls.script
        cls.mirror = Mirror(cls.dacm)

    @classmethod
    def tearDownClass(cls):
        cls.mirror.close()
        assert cls.sims.stop() == 0

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dacm-recipe-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name, text in self.files.items():
            (self.folder / name).write_text(text)
        (self.folder / "proto").symlink_to(harness.SOURCE / "proto")
        self.mirror.change = lambda response: [response]

    def person(self, address, username):
        """Logs in at the address and follows the redirect back to the recipe's listener."""
        start = urllib.parse.urlsplit(address)
        browser = Browser(self.sims)
        page = browser.get(f"{start.path}?{start.query}")
        reply = browser.login(page, username)
        back = urllib.parse.urlsplit(reply.header("location"))
        connection = http.client.HTTPConnection("127.0.0.1", back.port, timeout=60)
        try:
            connection.request("GET", f"{back.path}?{back.query}")
            self.assertEqual(connection.getresponse().status, 200)
        finally:
            connection.close()

    def run_recipe(self, username="anna", gpsi=ANNA, **changes):
        """(exit code, all that was printed) of the section's commands."""
        # Debian's Python and its packages, and nothing of ours in sight.
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("DACM_", "PYTHON"))}
        environment.update({
            "PATH": "/usr/bin:/bin", "CA": self.sims.ca_file, "ISSUER": self.sims.issuer, "CLIENT": "viewer",
            "RESOURCE": self.dacm.audience, "SERVER": self.dacm.target,
            "KEYS": self.dacm.env["dacm"]["https"] + "/.well-known/jwks.json",
            "ASSET": self.asset, "GPSI": gpsi, **changes})
        process = subprocess.Popen(["/bin/bash", "-c", self.script], cwd=self.folder, text=True,
                                   env=environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        try:
            told = ""
            for line in process.stdout:
                told += line
                if line.startswith("Open this address in a browser: "):
                    self.person(line.split(": ", 1)[1].strip(), username)
            return process.wait(120), told
        finally:
            process.kill()
            process.stdout.close()
            process.wait()

    @property
    def written(self):
        path = self.folder / "avatar.glb"
        return path.read_bytes() if path.exists() else None

    def refused(self, word, **options):
        code, told = self.run_recipe(**options)
        self.assertNotEqual(code, 0, told)
        self.assertIn(word, told)
        self.assertIsNone(self.written)

    def test_from_login_to_verified_bytes(self):
        code, told = self.run_recipe()
        self.assertEqual(code, 0, told)
        self.assertEqual(self.written, self.content)
        self.assertIn(f"{len(self.content)} verified bytes", told)

    def test_through_an_honest_mirror(self):
        """What the refusals below are measured by."""
        code, told = self.run_recipe(SERVER=self.mirror.target)
        self.assertEqual(code, 0, told)
        self.assertEqual(self.written, self.content)

    def through(self, part, change):
        """A mirror that changes the first such part only."""
        met = []

        def passed_on(response):
            if response.WhichOneof("part") == part and not met:
                met.append(part)
                return change(response)
            return [response]
        self.mirror.change = passed_on
        return {"SERVER": self.mirror.target}

    def test_flipped_byte_of_a_chunk(self):
        def change(response):
            data = response.chunks.data
            response.chunks.data = flip(data, len(data) // 2)
            return [response]
        self.refused("refused: chunk", **self.through("chunks", change))

    def test_flipped_byte_of_the_list(self):
        def change(response):
            response.chunk_list.entries = flip(response.chunk_list.entries, 20)
            return [response]
        self.refused("refused: the list", **self.through("chunk_list", change))

    def test_flipped_bytes_of_the_manifest(self):
        def changed(segment, make):
            def change(response):
                segments = response.start.manifest.split(".")
                segments[segment] = b64url(make(harness.unb64url(segments[segment])))
                response.start.manifest = ".".join(segments)
                return [response]
            return change
        size = str(len(self.content)).encode()
        for segment, make in ((1, lambda data: data.replace(size, size[:-1] + b"7")),
                              (2, lambda data: flip(data, 40))):
            with self.subTest(segment=segment):
                self.refused("InvalidSignature", **self.through("start", changed(segment, make)))

    def test_chunk_that_is_left_out(self):
        self.refused("refused: ", **self.through("chunks", lambda response: []))

    def test_download_that_ends_early(self):
        self.refused("refused: the avatar is not whole", **self.through(
            "chunks", lambda response: self.ended()))

    def ended(self):
        self.mirror.change = lambda response: []
        return []

    def test_another_avatar_under_this_ones_name(self):
        """Genuine in every byte, and not what was asked for."""
        start = next(iter(self.dacm.stub().Download(
            da.DownloadRequest(asset_id=self.other, gpsi=ANNA), timeout=60,
            metadata=harness.bearer(self.dacm_token(self.other)))))
        self.refused("refused: the manifest of another avatar",
                     **self.through("start", lambda response: [start]))

    def dacm_token(self, asset):
        app = self.sims.add_client("another-viewer")
        return Browser(self.sims).tokens(
            app, "anna", authorization_details=sims.details(asset))["access_token"]

    def test_foreign_key(self):
        """Of the same name, and one of no name that is known."""
        raw = Ed25519PrivateKey.generate().public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        genuine = json.loads(pathlib.Path(self.dacm.env["keys_file"]).read_text())["keys"]
        path = self.folder / "keys.jwks"
        for kid, word in ((genuine[0]["kid"], "InvalidSignature"),
                          ("somebody-elses", "refused: no key for this signature")):
            with self.subTest(word=word):
                path.write_text(json.dumps({"keys": [
                    {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64url(raw)}]}))
                self.refused(word, KEYS=path.as_uri())

    def test_keys_of_a_file(self):
        code, told = self.run_recipe(KEYS=pathlib.Path(self.dacm.env["keys_file"]).as_uri())
        self.assertEqual(code, 0, told)
        self.assertEqual(self.written, self.content)

    def test_user_who_is_on_no_list(self):
        self.refused("invalid_authorization_details", username="bert", gpsi=BERT)

    def test_user_who_is_not_the_holder(self):
        self.refused("PERMISSION_DENIED", gpsi=BERT)


if __name__ == "__main__":
    unittest.main(verbosity=2)
