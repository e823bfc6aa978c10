# SPDX-License-Identifier: Apache-2.0
"""Who may: Authorize and Download asked by a VAL client, a SEAL client and a VAL server, by GPSI
and External ID, with tokens bound to certificates, with the cache of tokens cold and warm; that
refusals look the same on the wire whatever their reason; and that the operator is told it."""
import hashlib
import json
import random
import socket
import threading
import unittest

import grpc

import harness
from configured import Issuer, Server, request_id_of
from harness import bearer, da

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
ANN, ANN_GPSI = "ann@example.com", "extid-ann@example.com"
MODE_TOKEN = Issuer("https://no-lists.example", mode="token")


def configure(server, config):
    config["issuers"].append(MODE_TOKEN.entry(server.dir / "config"))
    return config


def setUpModule():
    global server, owner, listed, unlisted, content, asset, other_asset
    server = Server(configure)
    owner, listed, unlisted = server.users[0], server.users[1], server.users[-1]
    content = hashlib.shake_256(b"decision").digest(20_000)
    asset = server.upload(content, owner, [listed, ANN_GPSI]).asset_id
    other_asset = server.upload(content, owner, [listed, ANN_GPSI]).asset_id


def tearDownModule():
    assert server.stop() == 0, server.read_log()


def user_token(client):
    """A token that a user got through a client of that kind."""
    def make(gpsi, asset_id=None, profile=None, **changes):
        return server.token(gpsi, asset_id or asset, ["get"], profile or [owner, listed, ANN_GPSI],
                            client_id=client, **changes)
    return make


def server_token(gpsi, asset_id=None, profile=None, **changes):
    """A VAL server's token (client_credentials): it says for whom it acts, not who it is."""
    claims = server.claims(None, asset_id or asset, ["get"], profile or [owner, listed, ANN_GPSI],
                           sub="val-server", client_id="val-server", **changes)
    claims["authorization_details"][0]["users"] = [gpsi]
    return server.sign(claims)


REQUESTERS = {"val_client": user_token("val-app"), "seal_client": user_token("seal-client"),
              "val_server": server_token}


def named(user):
    return {"gpsi": user} if user.startswith(("msisdn-", "extid-")) else {"external_id": user}


def gpsi_of(user):
    return user if "gpsi" in named(user) else "extid-" + user


class Case(unittest.TestCase):
    def authorize(self, stub, token, user, asset_id=None):
        """allowed, or the status code of the failure."""
        request = da.AuthorizeRequest(asset_id=asset_id or asset, **named(user))
        try:
            answer = stub.Authorize(request, metadata=bearer(token) if token else (), timeout=60)
        except grpc.RpcError as error:
            return error.code()
        self.assertEqual(answer.allowed, answer.valid_until != 0)
        return answer.allowed

    def download(self, stub, token, user, asset_id=None):
        """True with the right bytes, or the status code of the failure."""
        request = da.DownloadRequest(asset_id=asset_id or asset, **named(user))
        try:
            return content == server.check_download(stub.Download(
                request, metadata=bearer(token) if token else (), timeout=60))[0]
        except grpc.RpcError as error:
            return error.code()

    def assert_answers(self, token, user, authorize, download, certificate=None, asset_id=None):
        """Both methods, each twice on one connection: cold, then warm."""
        with server.client(certificate) as channel:
            stub = server.stub(channel)
            for cache in ("cold", "warm"):
                with self.subTest(cache=cache, user=user):
                    self.assertEqual(self.authorize(stub, token, user, asset_id), authorize)
                    self.assertEqual(self.download(stub, token, user, asset_id), download)

    def assert_allowed(self, token, user, **kwargs):
        self.assert_answers(token, user, True, True, **kwargs)

    def assert_denied(self, token, user, **kwargs):
        self.assert_answers(token, user, False, DENIED, **kwargs)

    def assert_not_taken(self, token, user, **kwargs):
        self.assert_answers(token, user, UNAUTHENTICATED, UNAUTHENTICATED, **kwargs)


class Requesters(Case):
    def with_the_right(self, make):
        for user in (listed, ANN_GPSI, ANN, owner):
            self.assert_allowed(make(gpsi_of(user)), user)

    def without_the_right(self, make):
        self.assert_denied(make(unlisted, profile=[owner, unlisted]), unlisted)
        for user in (listed, ANN_GPSI, ANN):
            self.assert_denied(make(gpsi_of(user), profile=[owner]), user)
            self.assert_denied(make(gpsi_of(user), asset_id=other_asset), user)

    def for_another_ue(self, make):
        for holder, user in ((listed, ANN), (listed, ANN_GPSI), (ANN_GPSI, listed),
                             (listed, owner), (unlisted, listed)):
            self.assert_denied(make(holder), user)


def add_requesters():
    for name, make in REQUESTERS.items():
        for how in ("with_the_right", "without_the_right", "for_another_ue"):
            def test(self, make=make, how=how):
                getattr(self, how)(make)
            setattr(Requesters, "test_%s_%s" % (name, how), test)


add_requesters()


class StepOne(Case):
    def test_without_a_token_nobody_is_answered(self):
        for user in (listed, owner, ANN, unlisted):
            self.assert_not_taken(None, user)
        self.assert_not_taken(None, listed, asset_id="no-such-asset")

    def test_val_server_acts_for_each_of_its_users_and_for_nobody_else(self):
        claims = server.claims(None, asset, ["get"], [owner, listed, ANN_GPSI], sub="val-server",
                               client_id="val-server")
        claims["authorization_details"][0]["users"] = [listed, ANN_GPSI]
        token = server.sign(claims)
        self.assert_allowed(token, listed)
        self.assert_allowed(token, ANN)
        self.assert_denied(token, owner)

    def test_external_id_that_is_a_gpsi_is_a_fault_of_syntax(self):
        token = user_token("app")(listed)
        for request in (da.AuthorizeRequest(asset_id=asset, external_id=listed),
                        da.AuthorizeRequest(asset_id=asset, gpsi=ANN),
                        da.AuthorizeRequest(asset_id=asset, external_id=ANN_GPSI),
                        da.AuthorizeRequest(asset_id=asset)):
            with self.assertRaises(grpc.RpcError) as error:
                server.stub().Authorize(request, metadata=bearer(token), timeout=60)
            self.assertEqual(error.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)


class Binding(Case):
    def test_bound_token_counts_with_its_certificate_only(self):
        for make in REQUESTERS.values():
            token = make(listed, cnf={"x5t#S256": server.thumbprint("val")})
            self.assert_allowed(token, listed, certificate="val")
            self.assert_not_taken(token, listed, certificate="sims")
            self.assert_not_taken(token, listed)
            self.assert_allowed(token, listed, certificate="val")

    def test_token_without_binding_is_taken_from_whomever(self):
        token = user_token("app")(listed)
        for certificate in (None, "val", "sims"):
            self.assert_allowed(token, listed, certificate=certificate)

    def test_right_certificate_does_not_replace_the_right(self):
        token = user_token("app")(unlisted, profile=[unlisted],
                                  cnf={"x5t#S256": server.thumbprint("val")})
        self.assert_denied(token, unlisted, certificate="val")


# ---- what the wire shows ---------------------------------------------------------------------

# RFC 7541, appendix B: bits of a character, of those that a request ID is made of.
FIVE, SEVEN = set("012aceiost"), set("jkqv")


def huffman_bits(text):
    return sum(5 if c in FIVE else 7 if c in SEVEN else 6 for c in text)


RECORD_BYTES = 5 + 1 + 16  # header, content type and tag of a TLS 1.3 record


class Wire:
    """Between a client and the server: counts what the server sends. TLS keeps lengths."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.target = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.count, self.lock = 0, threading.Lock()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            host, port = server.target.rsplit(":", 1)
            upstream = socket.create_connection((host, int(port)))
            for source, sink, counted in ((client, upstream, False), (upstream, client, True)):
                threading.Thread(target=self.copy, args=(source, sink, counted),
                                 daemon=True).start()

    def copy(self, source, sink, counted):
        while True:
            try:
                data = source.recv(65536)
                if counted:
                    with self.lock:
                        self.count += len(data)
                sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)
            except OSError:
                return
            if not data:
                return

    def taken(self):
        with self.lock:
            count, self.count = self.count, 0
        return count

    def channel(self):
        credentials = grpc.ssl_channel_credentials(server.ca)
        return grpc.secure_channel(self.target, credentials, options=[
            ("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0),
            # No header table: what was sent before does not change the size of what comes.
            ("grpc.http2.hpack_table_size.decoder", 0)])


class Uniform(unittest.TestCase):
    """forbidden, unlisted, wrong asset and missing: one code, one text, one size."""

    ROUNDS = 8

    def requests(self):
        """reason: (user, asset, token of an action)."""
        def token(gpsi, asset_id, profile):
            return lambda action: server.token(gpsi, asset_id, [action], profile)
        return {
            "holder": (listed, asset, token(unlisted, asset, [owner, listed])),
            "list": (unlisted, asset, token(unlisted, asset, [unlisted])),
            "asset": (listed, asset, token(listed, other_asset, [listed])),
            "missing": (listed, "0" * 32, token(listed, "0" * 32, [listed])),
            "action": (listed, asset, lambda _: server.token(listed, asset, ["discovery"],
                                                             [listed])),
            "scope": (listed, asset, lambda action: server.token(
                listed, asset, [action], [listed], scope="openid")),
            "digital_profile": (listed, asset, token(listed, asset, [owner])),
        }

    def answers(self, call, action, skip=()):
        """reason → set of (code, text, trailing names, bytes less those of the request ID)."""
        wire, seen = Wire(), {}
        rows = [(reason, row) for reason, row in self.requests().items() if reason not in skip]
        with wire.channel() as channel:
            stub = server.stub(channel)
            for _ in range(6):  # connection and tickets settle
                call(stub, listed, asset, rows[0][1][2](action))
            order = rows * self.ROUNDS
            random.Random(7).shuffle(order)
            for reason, (user, asset_id, token) in order:
                text = token(action)
                wire.taken()
                code, details, trailer, fixed = call(stub, user, asset_id, text)
                size = wire.taken()
                request_id = trailer["dacm-request-id"]
                self.assertEqual(server.explain(request_id)["reason"], reason)
                size -= fixed(request_id)
                seen.setdefault(reason, set()).add(
                    (code, details.replace(request_id, "ID"), tuple(sorted(trailer)), size))
        wire.listener.close()
        return seen

    @staticmethod
    def failing(method, make_request):
        """A call that fails: its ID is in the text and in the trailer, both Huffman-coded."""
        def call(stub, user, asset_id, token):
            try:
                reply = getattr(stub, method)(make_request(user, asset_id),
                                              metadata=bearer(token), timeout=60)
                if method in ("Download",):
                    list(reply)
            except grpc.RpcError as error:
                trailer = dict(error.trailing_metadata())
                text = error.details()
                rest = text.replace(trailer["dacm-request-id"], "")

                def fixed(request_id, bits=huffman_bits):
                    # The text is one string: bits add up before they are rounded to bytes.
                    # What is left of it has the same bits in every refusal.
                    known = sum(TEXT_BITS[c] for c in rest)
                    return (known + bits(request_id) + 7) // 8 + (bits(request_id) + 7) // 8
                return error.code(), text, trailer, fixed
            raise AssertionError("was not refused")
        return call

    def assert_uniform(self, seen, reasons):
        """The one (code, text, names, size). On a busy machine an answer may leave in several TLS
        records, which says nothing of its reason: sizes are taken modulo a record's overhead, and
        the least of each reason exactly."""
        self.assertEqual(len(seen), reasons)
        kinds = {(*kind[:3], kind[3] % RECORD_BYTES) for kind in set().union(*seen.values())}
        least = {min(kind[3] for kind in of_reason) for of_reason in seen.values()}
        self.assertEqual(len(kinds), 1, seen)
        self.assertEqual(len(least), 1, seen)
        return kinds.pop()

    def test_download(self):
        call = self.failing("Download", lambda user, asset_id: da.DownloadRequest(
            asset_id=asset_id, gpsi=user))
        kind = self.assert_uniform(self.answers(call, "get"), 7)
        self.assertEqual(kind[0], DENIED)

    def test_profile_methods(self):
        methods = {
            "GetProfile": (da.GetProfileRequest, "get"),
            "UpdateProfile": (da.UpdateProfileRequest, "update"),
            "DeleteProfile": (da.DeleteProfileRequest, "delete"),
        }
        for method, (request, action) in methods.items():
            with self.subTest(method=method):
                call = self.failing(method, lambda user, asset_id, request=request: request(
                    asset_id=asset_id, gpsi=user))
                seen = self.answers(call, action, skip=["digital_profile"])
                self.assertEqual(self.assert_uniform(seen, 6)[0], DENIED)

    def test_authorize(self):
        def call(stub, user, asset_id, token):
            answer, state = stub.Authorize.with_call(
                da.AuthorizeRequest(asset_id=asset_id, gpsi=user), metadata=bearer(token),
                timeout=60)
            trailer = dict(state.trailing_metadata())
            self.assertEqual(answer.request_id, trailer["dacm-request-id"])
            text = "%s %s ID" % (answer.allowed, answer.valid_until)
            return state.code(), text, trailer, lambda i: (huffman_bits(i) + 7) // 8
        kind = self.assert_uniform(self.answers(call, "get"), 7)
        self.assertEqual(kind[:2], (grpc.StatusCode.OK, "False 0 ID"))

    def test_faults_of_the_token(self):
        """Not genuine, expired, not bound as it must be: one code, one text."""
        good = server.token(listed, asset, ["get"], [listed])
        kinds = set()
        for metadata in ((), bearer("x"), bearer(good[:-4] + "AAAA"), bearer(good) * 2,
                         bearer(server.token(listed, asset, ["get"], [listed], iat=1, exp=301)),
                         bearer(server.token(listed, asset, ["get"], [listed], iss="https://x")),
                         bearer(server.token(listed, asset, ["get"], [listed], cnf={
                             "x5t#S256": server.thumbprint("val")}))):
            with self.assertRaises(grpc.RpcError) as error:
                list(server.stub().Download(da.DownloadRequest(asset_id=asset, gpsi=listed),
                                            metadata=metadata, timeout=60))
            kinds.add((error.exception.code(), error.exception.details().replace(
                request_id_of(error.exception), "ID")))
        self.assertEqual(len(kinds), 1, kinds)
        self.assertEqual(kinds.pop()[0], UNAUTHENTICATED)


# RFC 7541, appendix B, of the characters that stand in refusals.
TEXT_BITS = {c: bits for bits, chars in {
    5: "012aceiost", 6: " %-./3456789=A_bdfghlmnpru", 7: ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: "&*,;XZ", 10: "!\"()?"}.items() for c in chars}


class Explain(Case):
    """What the operator is told, from memory and, after a restart, from the audit trail."""

    def failure(self, request, metadata, certificate=None, method="Download"):
        with server.client(certificate) as channel:
            with self.assertRaises(grpc.RpcError) as error:
                call = getattr(server.stub(channel), method)(
                    request, metadata=metadata, timeout=60)
                list(call)
        return request_id_of(error.exception)

    def ids(self):
        """reason: (request ID, outcome)."""
        get = lambda user, asset_id=None: da.DownloadRequest(  # noqa: E731
            asset_id=asset_id or asset, gpsi=user)
        token = lambda *args, **kwargs: bearer(server.token(*args, **kwargs))  # noqa: E731
        revoked = server.claims(listed, asset, ["get"], [listed])
        server.cli("token", "revoke", "--jti", revoked["jti"], check=True)
        good = server.stub().Download(get(listed), metadata=token(listed, asset, profile=[listed]))
        list(good)
        denied = "PERMISSION_DENIED"
        fail = self.failure
        return {
            "allowed": (dict(good.trailing_metadata())["dacm-request-id"], "OK"),
            "token": (fail(get(listed), ()), "UNAUTHENTICATED"),
            "revoked": (fail(get(listed), bearer(server.sign(revoked))), "UNAUTHENTICATED"),
            "binding": (fail(get(listed), token(listed, asset, cnf={
                "x5t#S256": server.thumbprint("val")}), "sims"), "UNAUTHENTICATED"),
            "scope": (fail(get(listed), token(listed, asset, scope="seal.km")), denied),
            "asset": (fail(get(listed), token(listed, other_asset, profile=[listed])), denied),
            "action": (fail(get(listed), token(listed, asset, ["update"], [listed])), denied),
            "digital_profile": (fail(get(listed), token(listed, asset)), denied),
            "holder": (fail(get(listed), token(unlisted, asset, profile=[listed])), denied),
            "list": (fail(get(unlisted), token(unlisted, asset, profile=[unlisted])), denied),
            "missing": (fail(get(listed, "gone"), token(listed, "gone", profile=[listed])),
                        denied),
            "not_found": (fail(get(listed, "gone"), bearer(
                MODE_TOKEN.token(server, listed, "gone", [listed]))), "NOT_FOUND"),
        }

    def test_each_reason_is_told_to_the_operator_before_and_after_a_restart(self):
        ids = self.ids()
        for restarted in (False, True):
            if restarted:
                server.kill()
                server.run()
            for reason, (request_id, outcome) in ids.items():
                with self.subTest(reason=reason, restarted=restarted):
                    told = server.explain(request_id)
                    self.assertEqual((told["reason"], told["outcome"]), (reason, outcome), told)
                    self.assertEqual(told["request_id"], request_id)
                    self.assertEqual(told["method"], "Download")
                    gone = reason in ("missing", "not_found")
                    self.assertEqual(told["asset_id"], "gone" if gone else asset)
                    self.assertGreater(len(told["detail"]), 10)
                    self.assertTrue(told["user"])
                    self.assertEqual(bool(told["subject"]), reason != "token")
                    for gpsi in (listed, unlisted, owner):
                        self.assertNotIn(gpsi, json.dumps(told))

    def test_fault_of_a_token_is_named(self):
        for changes, word in (({"aud": "https://other.example/"}, "aud"),
                              ({"iat": 1, "exp": 301}, "expired"),
                              ({"scope": None}, "scope")):
            request_id = self.failure(da.DownloadRequest(asset_id=asset, gpsi=listed),
                                      bearer(server.token(listed, asset, **changes)))
            for restarted in (False, True):
                if restarted:
                    server.kill()
                    server.run()
                told = server.explain(request_id)
                self.assertEqual(told["reason"], "token")
                self.assertIn(word, told["detail"])

    def test_refusal_before_any_decision_and_failure_after_it(self):
        token = server.token(listed, asset, ["get"], [listed])
        early = self.failure(da.DownloadRequest(asset_id="a b", gpsi=listed), bearer(token))
        late = self.failure(
            da.DownloadRequest(asset_id=asset, gpsi=listed, recipe=da.Recipe(lod=1)), bearer(token))
        self.assertEqual(server.explain(early)["reason"], "request")
        self.assertEqual(server.explain(early)["outcome"], "INVALID_ARGUMENT")
        self.assertEqual(server.explain(late)["reason"], "after the decision")
        self.assertEqual(server.explain(late)["outcome"], "UNIMPLEMENTED")

    def test_id_that_never_was(self):
        self.assertEqual(server.cli("explain", "0" * 26).returncode, 4)
        self.assertEqual(server.cli("explain", "nonsense").returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
