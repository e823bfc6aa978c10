# SPDX-License-Identifier: Apache-2.0
"""How long a key is believed once it is revoked at skmsd: from the moment at which the operator has the
answer, to the one at which a verifier that watches knows, dacmd hands out a manifest under another
key, and a token under a revoked token key is refused."""
import time

import grpc

import delays
import suite

TRIALS_PER_WORLD = 20  # a set keeps compromised keys as long as what they could have signed lives
END_SECONDS = 30


class Trials:
    def __init__(self, servers):
        self.suite = suite.load(servers.build, "rehearsed")
        self.world = self.suite.World()
        self.sets = self.suite.KeySets(
            self.world, self.world.dacm.audience, self.suite.MANIFESTS)
        self.stub = self.world.dacm.stub()
        self.admin = self.world.skms.admin()

    def stop(self):
        self.sets.stop()
        self.world.stop()

    def kid_of(self, jws):
        return self.suite.keyserver.jws_parts(jws)[0]["kid"]

    def revoke(self, kid):
        self.admin.RevokeKey(self.suite.admin.RevokeKeyRequest(kid=kid, reason="bench"))
        return time.monotonic()

    def until(self, done):
        end = time.monotonic() + END_SECONDS
        while not done():
            assert time.monotonic() < end, "the key is believed on"
        return time.monotonic()

    def served_by(self, token):
        """The kid of the manifest that dacmd hands out; None while it has no key to sign with: two
        keys were lost before the third one came."""
        try:
            return self.kid_of(self.world.download(self.stub, token))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            return None

    def manifest_key(self):
        """Seconds: verifiers, dacmd."""
        self.until(self.world.one_login)
        token = self.world.login()
        lost = self.world.kid(self.world.dacm.audience, self.suite.MANIFESTS)
        self.until(lambda: self.served_by(token) == lost)
        began = self.revoke(lost)
        served = self.until(lambda: self.served_by(token) not in (None, lost))
        self.until(lambda: self.sets.state(lost) == "compromised")
        known = self.sets.times[self.sets.version]
        return max(known - began, 0), served - began

    def is_refused(self, token):
        try:
            self.world.download(self.stub, token)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
            return True
        return False

    def token_key(self):
        lost = self.world.kid(self.world.issuer, self.suite.TOKENS)
        token = self.world.login()
        assert self.kid_of(token) == lost
        self.until(lambda: not self.is_refused(token))
        began = self.revoke(lost)
        ended = self.until(lambda: self.is_refused(token))
        self.until(self.world.one_login)
        return ended - began


def measure(servers, quick):
    """(the longest in ms, the distribution of each kind in ms)."""
    found = {"verifiers know": [], "dacmd signs with another": [], "tokens are refused": []}
    for _ in range(1 if quick else 5):
        trials = Trials(servers)
        try:
            for _ in range(6 if quick else TRIALS_PER_WORLD):
                known, served = trials.manifest_key()
                found["verifiers know"].append(known)
                found["dacmd signs with another"].append(served)
                found["tokens are refused"].append(trials.token_key())
        finally:
            trials.stop()
    every = [took for times in found.values() for took in times]
    return max(every) * 1e3, {"ms": {kind: delays.distribution(times)
                                     for kind, times in found.items()}}
