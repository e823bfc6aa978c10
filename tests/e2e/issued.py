# SPDX-License-Identifier: Apache-2.0
"""Tokens that simsd really issued, and what dacmd says of them once one thing is changed.

Issued is simsd beside a dacmd that has that simsd's keys by discovery and its revocations by its
stream, and nothing else of it. forge() changes an issued token and signs it again with simsd's
own key, so that all but the change is as simsd has it. Case sends what is to be refused to every
method, cold and on a connection that just used a good token, and checks status, the one message,
what the operator is told, that nothing was stored, and that a caller beside it is served."""
import threading
import time
import unittest

import grpc

import configured
import forged
import methods
import sims
from configured import request_id_of
from harness import bearer, da
from sims import Browser, details, sim

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
MESSAGES = {
    UNAUTHENTICATED: "the access token is missing, not valid or not fresh; get a new one "
                     "(request ID)",
    DENIED: "not allowed, or there is no such asset; the operator can look up request ID",
}
ANNA, ANNA_TOO = "msisdn-491110000001", "extid-anna@users.example"
BERT, CARL, EVE = "msisdn-491110000002", "extid-carl@users.example", "msisdn-491110000003"
SKMS = "https://skms.example/"
OPERATIONS = [da.OPERATION_DISCOVERY, da.OPERATION_GET, da.OPERATION_UPDATE, da.OPERATION_DELETE]
ACTIONS = ["get", "update", "delete"]

# What a token of those actions is good for; each would change or reveal something.
METHODS = {name: methods.USERS[name][2] for name in (
    "Authorize", "Download", "GetProfile", "Upload", "UpdateProfile", "DeleteProfile")}


def no_fault(text, request_id):
    """The text of a refusal without what differs from one to the next."""
    return text.replace(request_id, "ID") if request_id else text


class Issued(forged.Forger, sims.Sims):
    """Users anna, bert (not listed) and eve (may do nothing); the asset is anna's and carl's to
    use, of every operation, the second one carl's alone."""

    def __init__(self, settings=None, fetched=True, **entry):
        """fetched: dacmd finds simsd's keys by discovery, else in the file that `published`
        names. entry: more of the issuer's settings at dacmd."""
        self.entry, self.fetched = entry, fetched
        super().__init__(settings or (lambda server, config: config))
        self.load_keys()
        self.add_user("anna", [ANNA, ANNA_TOO])
        self.add_user("bert", [BERT])
        self.add_user("eve", [EVE])
        self.app = self.add_client("app", scopes=["openid", "profile", "seal.da", "seal.km"])
        self.rs256 = self.add_client("rs256", token_alg="RS256")
        bound = bool(entry.get("require_binding"))
        self.val = self.add_client("val", "private_key_jwt", grants=["client_credentials"],
                                   scopes=["seal.da", "seal.km"], users=[ANNA, CARL], bound=bound)
        self.val.certificate = "val" if bound else None
        self.native = self.add_client("native", bound=True)
        self.native.certificate = "val"
        self.owner = self.dacm.users[0]
        self.content = b"an avatar " * 3000
        self.asset = self.upload([ANNA, ANNA_TOO, CARL])
        self.second = self.upload([CARL])
        wait = lambda: self.code(self.val_token(CARL)) != UNAUTHENTICATED  # noqa: E731
        configured.wait_until("simsd's keys at dacmd", wait)
        self.beside = Beside(self)

    def configure_dacm(self, dacm, config):
        config = super().configure_dacm(dacm, config)
        entry = config["issuers"][-1]
        self.published = dacm.dir / "pki" / "sims-token.published"
        if self.fetched:
            del entry["jwks_file"]
            entry.update({"discovery": True, "jwks_ca_file": f"{dacm.dir}/pki/ca.crt",
                          "jwks_refresh_s": 1, "jwks_unknown_kid_s": 1})
        entry.update({"revocations": "report", "algorithms": ["EdDSA", "RS256"], **self.entry})
        return config

    def base_config(self):
        config = super().base_config()
        # keys for the SKM-S: a second resource, at a peer that never answers
        config["dacms"].append({**config["dacms"][0], "resource": SKMS,
                                "target": "tls+tcp://127.0.0.1:1"})
        config["dacms"][0]["disclose"] = "full"  # the pCR's letter
        return config

    def stop(self):
        self.beside.stop()
        return super().stop()

    def upload(self, users, content=None):
        """An asset whose list lets the users do everything."""
        made = self.dacm.upload(content or self.content, self.owner)
        token = self.dacm.token(self.owner, made.asset_id, ["update"], [self.owner])
        for at in range(0, len(users), 1000):
            self.dacm.stub().UpdateProfile(da.UpdateProfileRequest(
                asset_id=made.asset_id, gpsi=self.owner, allow=[da.AccessControlEntry(
                    allowed_user=user, allowed_operations=OPERATIONS)
                    for user in users[at:at + 1000]]), metadata=bearer(token), timeout=60)
        return made.asset_id

    # -- tokens, each as simsd issues it

    def login(self, username="anna", client=None, **changes):
        changes.setdefault("authorization_details", details(actions=ACTIONS))
        client = client or self.app
        browser = Browser(self)
        code = browser.code(client, username, **changes)
        return client, code

    def answer(self, username="anna", asset=None, client=None, narrow=True, **changes):
        """What the token endpoint answers to a code."""
        client, code = self.login(username, client, **changes)
        form = {"authorization_details": details(asset or self.asset, actions=ACTIONS)} \
            if narrow else {}
        reply = client.exchange(code, **form)
        assert reply.status == 200, reply.text
        return reply.json

    def token(self, *arguments, **changes):
        """Of a user, by authorization code and PKCE."""
        return self.answer(*arguments, **changes)["access_token"]

    def refreshed(self, username="anna", asset=None):
        """Of a user, by a refresh that narrows."""
        tokens = self.answer(username, narrow=False)
        reply = self.app.refresh(tokens["refresh_token"], authorization_details=details(
            asset or self.asset, actions=ACTIONS))
        assert reply.status == 200, reply.text
        return reply.json["access_token"]

    def val_token(self, *users, asset=None, client=None):
        """Of a VAL server, by client_credentials."""
        reply = (client or self.val).own(scope="seal.da", authorization_details=details(
            asset or self.asset, actions=ACTIONS, users=list(users or [ANNA])))
        assert reply.status == 200, reply.text
        return reply.json["access_token"]

    # -- what is there

    def code(self, token, gpsi=CARL, asset=None):
        """None when the token opens the asset, else the status."""
        with self.dacm.client(self.val.certificate) as channel:
            try:
                allowed = METHODS["Authorize"](self.dacm.stub(channel), asset or self.asset, gpsi,
                                               metadata=bearer(token), timeout=60).allowed
                return None if allowed else DENIED
            except grpc.RpcError as error:
                return error.code()

    def stored(self):
        """All that refused calls could have changed."""
        profiles = [self.dacm.users_on(asset).profile.SerializeToString(deterministic=True)
                    for asset in (self.asset, self.second)]
        return profiles, self.admin().GetStatus(sim.GetStatusRequest(), timeout=60).sequence

    def metric(self, series):
        text = self.request_ops("/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith(series))

    def request_ops(self, path):
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", self.ops_port, timeout=60)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()


class Beside(threading.Thread):
    """Somebody who does what is right all the time; never refused, whatever others send."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.served, self.failed = world, 0, None
        self.moved, self.ending = threading.Condition(), False
        self.paused = self.resting = False
        self.start()

    def run(self):
        try:
            while not self.ending:
                token, until = self.world.val_token(CARL), time.monotonic() + 200
                with self.world.dacm.client(self.world.val.certificate) as channel:
                    stub = self.world.dacm.stub(channel)
                    while time.monotonic() < until and not self.ending:
                        self.ask(stub, token)
        except Exception as error:  # told to the test, which waits for it
            with self.moved:
                self.failed = error
                self.moved.notify_all()

    def ask(self, stub, token):
        with self.moved:
            self.resting = self.paused
            self.moved.notify_all()
            self.moved.wait_for(lambda: not self.paused or self.ending)
            self.resting = False
        if self.ending:
            return
        assert METHODS["Authorize"](stub, self.world.asset, CARL, metadata=bearer(token),
                                    timeout=60).allowed
        with self.moved:
            self.served += 1
            self.moved.notify_all()
            self.moved.wait(0.05)  # leaves the processor to the test

    def again(self):
        """Returns once it was served after this was called."""
        with self.moved:
            before = self.served
            self.moved.wait_for(lambda: self.failed or self.served > before, 60)
            if self.failed or self.served <= before:
                raise AssertionError(f"the caller beside is not served: {self.failed}")

    def pause(self):
        """For what takes its key away."""
        with self.moved:
            self.paused = True
            self.moved.wait_for(lambda: self.failed or self.resting, 60)

    def resume(self):
        with self.moved:
            self.paused = False
            self.moved.notify_all()

    def stop(self):
        with self.moved:
            self.ending = True
            self.moved.notify_all()
        self.join(60)
        if self.failed:
            raise AssertionError(f"the caller beside was not served: {self.failed}")


class Case(unittest.TestCase):
    world = None  # set by the module

    def setUp(self):
        self.before = self.world.stored()

    def tearDown(self):
        self.assertEqual(self.world.stored(), self.before, "a refused call changed something")
        self.world.beside.again()

    @property
    def dacm(self):
        return self.world.dacm

    def good(self):
        """One correct token for the whole class: making one needs a login."""
        kept = type(self).__dict__.get("kept")
        if not kept or kept[1] < time.monotonic():
            type(self).kept = kept = (self.world.token(), time.monotonic() + 200)
        return kept[0]

    # what forged.py asks of a server
    FEW, ONE, LIFE_MAX = ["Authorize", "Download"], ["Download"], 900
    OWN_CLAIMS = ["gpsi", "authorization_details", "Digital_profile"]
    SCOPES_THAT_ARE_NOT = [
        "openid", "seal", "seal.d", "seal.daa", "seal.da.x", "SEAL.DA", "seal.km", "seal.kp", "",
        "seal.da,openid", "openid\tseal.da", "seal.\u0434\u0430"]

    @property
    def forger(self):
        return self.world

    @property
    def audience(self):
        return self.dacm.audience

    @property
    def other_issuer(self):
        return self.dacm.issuer

    def nul_in_own_claims(self):
        return ({"gpsi": ANNA + "\0"}, {"gpsi": [ANNA, CARL + "\0x"]},
                {"Digital_profile": ANNA + "\0"})

    def codes(self, tokens):
        with self.dacm.client() as channel:
            stub = self.dacm.stub(channel)
            return [self.ask(stub, "Authorize", bearer(token), self.world.asset, ANNA)[0]
                    for token in tokens]

    def forge(self, *arguments, **changes):
        return self.world.forge(self.good(), *arguments, **changes)

    def ask(self, stub, method, metadata, asset, gpsi):
        """(status or None, text, request ID or None)."""
        try:
            given = METHODS[method](stub, asset, gpsi, metadata=metadata, timeout=60)
        except grpc.RpcError as error:
            request_id = request_id_of(error)
            if request_id:  # one that dacmd itself refused, with nothing else to read
                self.assertEqual({key for key, _ in error.trailing_metadata()},
                                 {"dacm-request-id"})
            return error.code(), no_fault(error.details(), request_id), request_id
        if method == "Authorize" and not given.allowed:
            return DENIED, MESSAGES[DENIED], None
        return None, "", None

    def served(self, stub, token, gpsi=ANNA, asset=None, key="authorization"):
        asset = asset or self.world.asset
        content, _, _ = self.dacm.download(asset, gpsi, token=token, stub=stub) \
            if key == "authorization" else self.dacm.check_download(stub.Download(
                da.DownloadRequest(asset_id=asset, gpsi=gpsi), metadata=bearer(token, key),
                timeout=60))
        self.assertEqual(content, self.world.content)

    def accepted(self, token, gpsi=ANNA, asset=None, certificate=None):
        """Twice on a connection: the second time from its memory."""
        with self.dacm.client(certificate) as channel:
            for _ in range(2):
                self.served(self.dacm.stub(channel), token, gpsi, asset)

    def refused(self, token, reason="token", detail="", code=UNAUTHENTICATED, gpsi=ANNA,
                asset=None, certificate=None, key="authorization", metadata=None, via=METHODS):
        metadata = metadata or bearer(token, key)
        asset = self.world.asset if asset is None else asset
        good = self.good()
        for warm in (False, True):
            with self.dacm.client(certificate) as channel:
                stub = self.dacm.stub(channel)
                if warm:
                    self.served(stub, good)
                for method in via:
                    got = self.ask(stub, method, metadata, asset, gpsi)
                    self.assertEqual(got[:2], (code, MESSAGES[code]), (method, warm))
                    if method == "Download":
                        told = self.dacm.explain(got[2])
                        self.assertEqual(told["reason"], reason, told)
                        self.assertIn(detail, told["detail"])
                if warm:
                    self.served(stub, good)

    def denied(self, token, reason, **options):
        self.refused(token, reason, code=DENIED, **options)
