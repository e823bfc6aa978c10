# SPDX-License-Identifier: Apache-2.0
"""skmsd, dacmd and simsd together, with keys of both from skmsd; and a verifier that watches."""
import signal
import threading
import time

import grpc

import keyserver
import provisioned
import sims
from configured import wait_until
from harness import bearer, da, unb64url
from keyserver import admin, keys
from sims import Browser, details

MANIFESTS, TOKENS = keys.PURPOSE_MANIFESTS, keys.PURPOSE_TOKENS
ANNA = "msisdn-4915100000077"
POLICY = {"active_s": 100000, "published_before_s": 3, "verify_only_s": 90000}


class Unavailable(Exception):
    """simsd has no key to sign with now: two were lost before the third one came."""


class World(sims.Sims):
    """skmsd, dacmd and simsd; keys of both come from skmsd."""

    def __init__(self):
        self.skms = keyserver.Skms()
        super().__init__(self.with_keys, rs256=False)
        self.add_user("anna", [ANNA])
        self.app = self.add_client("app")
        self.owner = self.dacm.users[0]
        self.content = bytes(range(256)) * 2000
        self.asset = self.dacm.upload(self.content, self.owner, allow=[ANNA]).asset_id
        wait_until("simsd's keys at dacmd", self.one_login)

    def one_login(self):
        try:
            self.download(self.dacm.stub(), self.login())
        except Unavailable:
            return False
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAUTHENTICATED:
                raise
            return False
        return True

    def configure_dacm(self, dacm, config):
        config = super().configure_dacm(dacm, config)
        folder = dacm.dir / "skmc"
        self.skms.add(dacm.audience, **POLICY)
        config["signing"] = {"source": "skms"}
        config["skms"] = provisioned.skms_settings(self.skms, folder, "dacm.example")
        (folder / "kept").mkdir(mode=0o700)
        provisioned.put_token(self.skms, folder, "dacm.example", dacm.audience)
        entry = config["issuers"][-1]
        del entry["jwks_file"]
        entry.update({"jwks_skms": True, "revocations": "report"})
        return config

    def with_keys(self, _, config):
        folder = self.dir / "sims" / "skmc"
        self.skms.add(self.issuer, **POLICY)
        config["keys"] = {"source": "skms"}
        config["skms"] = {**config.get("skms", {}), **provisioned.skms_settings(
            self.skms, folder, "sims.example")}
        (folder / "kept").mkdir(mode=0o700)
        provisioned.put_token(self.skms, folder, "sims.example", self.issuer)
        return config

    # -- what people do

    def login(self, asset=None):
        """A token that opens the avatar (or another asset), by a new browser."""
        code = Browser(self).code(self.app, "anna", authorization_details=details(actions=["get"]))
        reply = self.app.exchange(code, authorization_details=details(asset or self.asset, ["get"]))
        if reply.status == 503:
            raise Unavailable(reply.text)
        assert reply.status == 200, reply.text
        return reply.json["access_token"]

    def download(self, stub, token, asset=None):
        """(manifest, content), as they came."""
        start, entries, content = None, b"", b""
        for part in stub.Download(da.DownloadRequest(asset_id=asset or self.asset, gpsi=ANNA),
                                  metadata=bearer(token), timeout=60):
            if part.WhichOneof("part") == "start":
                start = part.start
            elif part.WhichOneof("part") == "chunk_list":
                entries += part.chunk_list.entries
            else:
                content += part.chunks.data
        assert content == self.content
        return start.manifest

    # -- what operators do

    def kid(self, service, purpose):
        reply = self.skms.admin().ListKeys(
            admin.ListKeysRequest(val_service=service, purpose=purpose))
        return next(key.kid for key in reply.keys if key.state == keys.KEY_STATE_ACTIVE)

    def rotate(self, service, purpose):
        """Returns once the next key signs by skmsd's book."""
        before = self.kid(service, purpose)
        self.skms.admin().RotateKey(admin.RotateKeyRequest(val_service=service, purpose=purpose))
        wait_until("the next key", lambda: self.kid(service, purpose) != before)

    def renew_certificates(self):
        """New ones in the same files, then SIGHUP to each."""
        pki = self.dir / "pki"
        for name, names in (("dacmd", ("--dns", "localhost", "--ip", "127.0.0.1")),
                            ("sims-https", ("--dns", "localhost", "--ip", self.address)),
                            ("sims", ("--dns", "sims.dacm.localhost"))):
            for kind in ("crt", "key"):
                (pki / f"{name}.{kind}").unlink()
            self.dacm.cli("pki", "issue", pki, name, *names, check=True)
        for name in ("skmsd", "dacm.example", "sims.example"):
            self.skms.certificate(name, "--dns", "localhost" if name == "skmsd" else name)
        assert self.dacm.reload()
        for process, log in ((self.daemon, self.read_log), (self.skms.process, self.skms.log)):
            said = log().count("reloaded")
            process.send_signal(signal.SIGHUP)
            wait_until("an answer to SIGHUP", lambda log=log, said=said: log().count(
                "reloaded") > said)

    def stop(self):
        code = super().stop()
        self.skms.close()
        return code


class KeySets(threading.Thread):
    """A verifier: pins the root, watches the key set, notes when each version came."""

    def __init__(self, world, service, purpose):
        super().__init__(daemon=True)
        self.world, self.request = world, keys.GetKeySetRequest(
            val_service=service, purpose=purpose)
        self.verifier, self.lock = world.skms.verifier(), threading.Condition()
        self.keys, self.version, self.times, self.ending = {}, 0, {}, False
        self.start()
        with self.lock:
            assert self.lock.wait_for(lambda: self.version, 60)

    def run(self):
        while not self.ending:
            try:
                self.call = self.world.skms.stub().WatchKeys(self.request)
                for key_set in self.call:
                    self.take(key_set)
            except grpc.RpcError:
                time.sleep(0.1)  # it is away; tried again

    def take(self, key_set):
        with self.lock:
            claims = self.verifier.read(key_set)
            assert claims["version"] >= self.version, "an older key set"
            self.version = claims["version"]
            self.keys = {key["kid"]: key for key in claims["keys"]}
            self.times.setdefault(self.version, time.monotonic())
            self.lock.notify_all()

    def refresh(self):
        self.take(self.world.skms.stub().GetKeySet(self.request))

    def state(self, kid):
        with self.lock:
            return self.keys.get(kid, {}).get("dacm_state")

    def verify(self, jws):
        """The kid under which it verifies now; None: it does not."""
        head, claims, signed, signature = keyserver.jws_parts(jws)
        if self.state(head["kid"]) is None:
            self.refresh()
        with self.lock:
            key = self.keys.get(head["kid"])
        if not key or key["dacm_state"] == "compromised":
            return None
        keyserver.Ed25519PublicKey.from_public_bytes(unb64url(key["x"])).verify(signature, signed)
        assert key["nbf"] <= claims["iat"] < key["exp"], (key, claims)
        return head["kid"]

    def stop(self):
        self.ending = True
        self.call.cancel()
