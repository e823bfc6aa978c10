# SPDX-License-Identifier: Apache-2.0
"""One login, many avatars: step 5a of TR 33.721 solution #6, Digital_profile, narrowing at the
token endpoint, VAL servers, and what dacmd makes of the tokens that simsd issued."""
import unittest

import grpc

import configured
import sims
from harness import bearer, da
from sims import Browser, details

ANNA, BERT = "msisdn-491110000001", "msisdn-491110000002"
ANNA_TOO, CARL = "extid-anna@users.example", "extid-carl@users.example"
DORA = "extid-dora@elsewhere.example"


def setUpModule():
    Base.sims = server = sims.Sims()
    Base.dacm = server.dacm
    server.add_user("anna", [ANNA, ANNA_TOO])
    server.add_user("bert", [BERT])
    server.add_user("nobody")
    Base.app = server.add_client("app")
    Base.val = server.add_client("val", "private_key_jwt", grants=["client_credentials"],
                                 scopes=["seal.da"], users=[BERT, "extid-*@users.example"])
    Base.content = b"an avatar " * 30000
    owner = Base.dacm.users[0]
    Base.asset = Base.dacm.upload(Base.content, owner, allow=[ANNA, CARL]).asset_id
    Base.second = Base.dacm.upload(Base.content[::-1], owner, allow=[ANNA_TOO, DORA]).asset_id
    Base.closed = Base.dacm.upload(b"of nobody else", owner).asset_id


def tearDownModule():
    assert Base.sims.stop() == 0


class Base(unittest.TestCase):
    def setUp(self):
        self.browser = Browser(self.sims)

    def tokens(self, username="anna", exchange=None, **changes):
        changes.setdefault("authorization_details", details(actions=["get", "update"]))
        return self.browser.tokens(self.app, username, exchange, **changes)

    def refused(self, reply, error="invalid_authorization_details", status=400):
        self.assertEqual((reply.status, reply.json["error"]), (status, error), reply.text)
        return reply

    def narrowed(self, tokens, asset, **options):
        """(next answer, claims) of a refresh that is narrowed to the asset."""
        reply = self.app.refresh(tokens["refresh_token"],
                                 authorization_details=details(asset, **options))
        self.assertEqual(reply.status, 200, reply.text)
        return reply.json, self.sims.claims(reply.json["access_token"])

    def denied(self, call):
        with self.assertRaises(grpc.RpcError) as error:
            call()
        self.assertEqual(error.exception.code(), grpc.StatusCode.PERMISSION_DENIED)


class Narrowing(Base):
    def test_one_login_opens_one_avatar_at_a_time(self):
        tokens = self.tokens()
        for asset, gpsi, content in ((self.asset, ANNA, self.content),
                                     (self.second, ANNA_TOO, self.content[::-1])):
            tokens, claims = self.narrowed(tokens, asset)
            self.assertEqual(tokens["authorization_details"], claims["authorization_details"])
            self.assertEqual(claims["authorization_details"], [
                {"type": "digital_asset", "actions": ["get"], "identifier": asset}])
            self.assertEqual(claims["Digital_profile"], gpsi)
            self.assertEqual(set(claims["gpsi"]), {ANNA, ANNA_TOO})
            token = tokens["access_token"]
            self.assertEqual(self.dacm.download(asset, gpsi, token=token)[0], content)

    def test_token_without_an_asset_opens_none(self):
        tokens = self.tokens()
        claims = self.sims.claims(tokens["access_token"])
        self.assertNotIn("Digital_profile", claims)
        self.assertNotIn("identifier", claims["authorization_details"][0])
        self.denied(lambda: self.dacm.download(
            self.asset, ANNA, token=tokens["access_token"]))

    def test_token_for_one_avatar_does_not_open_another(self):
        tokens, _ = self.narrowed(self.tokens(), self.asset)
        self.denied(lambda: self.dacm.download(
            self.second, ANNA_TOO, token=tokens["access_token"]))

    def test_code_exchange_narrows_as_well(self):
        tokens = self.tokens(exchange={"authorization_details": details(self.asset)})
        self.assertEqual(self.sims.claims(tokens["access_token"])["Digital_profile"], ANNA)
        tokens, claims = self.narrowed(tokens, self.second)
        self.assertEqual(claims["Digital_profile"], ANNA_TOO)

    def test_asset_named_at_authorization_is_the_only_one(self):
        tokens = self.tokens(authorization_details=details(self.asset))
        self.assertEqual(self.sims.claims(tokens["access_token"])["Digital_profile"], ANNA)
        for more in (details(self.second), details(), details(self.asset, actions=["update"])):
            self.refused(self.app.refresh(tokens["refresh_token"], authorization_details=more))
        again = self.app.refresh(tokens["refresh_token"]).json
        self.assertEqual(self.sims.claims(again["access_token"])["Digital_profile"], ANNA)

    def test_actions_are_narrowed_never_widened(self):
        tokens = self.tokens()
        self.refused(self.app.refresh(tokens["refresh_token"],
                                      authorization_details=details(actions=["delete"])))
        _, claims = self.narrowed(tokens, self.asset, actions=["update"])
        self.assertEqual(claims["authorization_details"][0]["actions"], ["update"])

    def test_nothing_granted_nothing_to_narrow(self):
        tokens = self.browser.tokens(self.app, "anna")
        self.refused(self.app.refresh(tokens["refresh_token"],
                                      authorization_details=details(self.asset)))

    def test_malformed_details_at_the_token_endpoint(self):
        tokens = self.tokens()
        good = details(self.asset)
        for bad in (good[:-1], "[]", "{}", "x", good.replace("digital_asset", "other"),
                    details(self.asset, extra=1), good[:-1] + "," + good[1:],
                    details(self.asset, users=[ANNA]), details("a" * 129), details("a/b"),
                    "[" * 10000 + "]" * 10000):
            self.refused(self.app.refresh(tokens["refresh_token"], authorization_details=bad))
        self.narrowed(tokens, self.asset)


class Uniform(Base):
    def test_unknown_asset_and_unlisted_user_get_the_same_bytes(self):
        for username in ("bert", "nobody"):
            tokens = self.tokens(username)
            answers = [self.refused(self.app.refresh(
                tokens["refresh_token"], authorization_details=details(asset)))
                for asset in (self.asset, self.closed, "no-such-asset", self.second, "x")]
            for answer in answers[1:]:
                self.assertTrue(answers[0].same_as(answer), (answers[0].headers, answer.headers))
        closed = self.app.refresh(self.tokens()["refresh_token"],
                                  authorization_details=details(self.closed))
        self.assertTrue(answers[0].same_as(closed))

    def test_refusal_uses_nothing_up(self):
        tokens = self.tokens("bert")
        self.refused(self.app.refresh(tokens["refresh_token"],
                                      authorization_details=details(self.asset)))
        self.assertEqual(self.app.refresh(tokens["refresh_token"]).status, 200)
        code = self.browser.code(self.app, "bert", authorization_details=details())
        self.refused(self.app.exchange(code, authorization_details=details(self.asset)))
        self.assertEqual(self.app.exchange(code).status, 200)

    def test_asset_named_at_authorization_tells_nothing_there(self):
        for asset in (self.asset, "no-such-asset"):
            code = self.browser.code(self.app, "bert", authorization_details=details(asset))
            self.refused(self.app.exchange(code))

    def test_user_taken_off_the_list_gets_no_token_any_more(self):
        owner = self.dacm.users[0]
        asset = self.dacm.upload(b"for a while", owner, allow=[ANNA]).asset_id
        tokens, _ = self.narrowed(self.tokens(), asset)
        token = self.dacm.token(owner, asset, ["update"], [owner])
        self.dacm.stub().UpdateProfile(da.UpdateProfileRequest(
            asset_id=asset, gpsi=owner, deny=[ANNA]),
            metadata=bearer(token), timeout=60)
        self.refused(self.app.refresh(tokens["refresh_token"],
                                      authorization_details=details(asset)))


class ValServers(Base):
    def own(self, asset=None, users=(BERT,), **options):
        return self.val.own(authorization_details=details(asset, users=list(users), **options))

    def test_digital_profile_is_the_intersection(self):
        reply = self.own(self.asset, [BERT, CARL])
        self.assertEqual(reply.status, 200, reply.text)
        claims = self.sims.claims(reply.json["access_token"])
        self.assertEqual(claims["Digital_profile"], CARL)
        self.assertEqual((claims["sub"], claims["client_id"]), ("val", "val"))
        self.assertNotIn("gpsi", claims)
        self.assertEqual(claims["authorization_details"][0]["users"], [CARL, BERT])
        self.assertEqual(reply.json["authorization_details"], claims["authorization_details"])
        self.assertFalse({"refresh_token", "id_token"} & set(reply.json))
        content, _, _ = self.dacm.download(self.asset, CARL, token=reply.json["access_token"])
        self.assertEqual(content, self.content)
        self.denied(lambda: self.dacm.download(
            self.asset, BERT, token=reply.json["access_token"]))

    def test_users_outside_of_the_rights(self):
        for users in ([ANNA], [DORA], [BERT, ANNA], ["extid-carl@sub.users.example"],
                      ["extid-carl@evil-users.example"], [BERT + "0"]):
            self.refused(self.own(self.asset, users))

    def test_users_missing_or_malformed(self):
        for text in (details(self.asset), details(self.asset, users=[]),
                     details(self.asset, users=BERT), details(self.asset, users=[BERT, BERT]),
                     details(self.asset, users=["extid-*@users.example"] * 65)):
            self.refused(self.val.own(authorization_details=text))

    def test_unknown_asset_and_unlisted_users_get_the_same_bytes(self):
        answers = [self.refused(self.own(asset, [BERT]))
                   for asset in (self.asset, self.closed, "no-such-asset")]
        for answer in answers[1:]:
            self.assertTrue(answers[0].same_as(answer))

    def test_token_without_an_asset_opens_none(self):
        for reply in (self.own(None, [BERT]), self.val.own()):
            self.assertEqual(reply.status, 200, reply.text)
            self.assertNotIn("Digital_profile", self.sims.claims(reply.json["access_token"]))
            self.denied(lambda r=reply: self.dacm.download(
                self.asset, CARL, token=r.json["access_token"]))

    def test_scopes_about_users_are_none_of_its_own(self):
        for scope in ("openid", "seal.da openid", "seal.km"):
            self.refused(self.val.own(scope=scope), "invalid_scope")


class Away(Base):
    def test_dacm_away_leaves_code_and_refresh_token_as_they_were(self):
        tokens = self.tokens()
        code = self.browser.code(self.app, "anna", authorization_details=details(self.asset))
        self.dacm.kill()
        asking = {"authorization_details": details(self.asset)}
        for ask in (lambda: self.app.exchange(code), lambda: self.app.exchange(code, **asking),
                    lambda: self.app.refresh(tokens["refresh_token"], **asking),
                    lambda: self.val.own(authorization_details=details(self.asset, users=[CARL]))):
            reply = self.refused(ask(), "temporarily_unavailable", 503)
            self.assertGreaterEqual(int(reply.header("retry-after")), 1)
        # what needs no list goes on
        again = self.app.refresh(tokens["refresh_token"])
        self.assertEqual(again.status, 200)
        self.dacm.run()
        replies = []

        def answered():
            replies.append(self.app.exchange(code))
            return replies[-1].status != 503
        configured.wait_until("the DACM's answers", answered)
        self.assertEqual(replies[-1].status, 200, replies[-1].text)
        claims = self.sims.claims(replies[-1].json["access_token"])
        self.assertEqual(claims["Digital_profile"], ANNA)
        self.narrowed(again.json, self.asset)


class Disclosure(unittest.TestCase):
    def test_whole_list_is_disclosed_where_that_is_set(self):
        def full(server, config):
            config["dacms"][0]["disclose"] = "full"
            return config
        server = sims.Sims(full)
        try:
            server.add_user("anna", [ANNA])
            app = server.add_client("app")
            owner = server.dacm.users[0]
            asset = server.dacm.upload(b"listed", owner, allow=[ANNA, CARL]).asset_id
            tokens = Browser(server).tokens(app, "anna", authorization_details=details(asset))
            profile = server.claims(tokens["access_token"])["Digital_profile"]
            self.assertEqual(set(profile.split(" ")), {ANNA, CARL, owner})
            self.assertEqual(server.dacm.download(
                asset, ANNA, token=tokens["access_token"])[0], b"listed")
        finally:
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
