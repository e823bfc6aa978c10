# SPDX-License-Identifier: Apache-2.0
"""Access tokens that simsd issued, presented where they are not good: for another avatar, by
another user, on another connection, after what they stood on is gone. And Digital_profile with
one thing wrong, under simsd's own key."""
import hashlib
import json
import os
import subprocess
import unittest
import urllib.parse

import grpc

import configured
import harness
import issued
import methods
from harness import bearer, da, unb64url
from issued import (ACTIONS, ANNA, ANNA_TOO, BERT, CARL, DENIED, EVE, MESSAGES, METHODS,
                    UNAUTHENTICATED, details, sim)

UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
FEW = ["Authorize", "Download"]  # those that ask for Digital_profile


def setUpModule():
    issued.Case.world = issued.Issued()


def tearDownModule():
    assert issued.Case.world.stop() == 0


class DigitalProfile(issued.Case):
    def unlisted(self, profile, gpsi=ANNA, reason="digital_profile"):
        token = self.forge(Digital_profile=profile)
        self.denied(token, reason, gpsi=gpsi, via=FEW)

    def malformed(self, profile):
        self.refused(self.forge(Digital_profile=profile), detail="Digital_profile", via=FEW)

    def test_gpsi_not_in_the_list(self):
        self.unlisted(CARL)
        self.unlisted(ANNA_TOO)  # the same person, by another of her names
        self.unlisted(ANNA, gpsi=ANNA_TOO)

    def test_substring_prefix_and_suffix_of_a_listed_one(self):
        for profile in (ANNA[:-1], ANNA + "0", ANNA[:-1] + " " + ANNA + "0",
                        ANNA_TOO + ".com " + ANNA_TOO[:-1], "msisdn-" + ANNA[8:]):
            self.unlisted(profile)
        self.unlisted("extid-aanna@users.example extid-anna@users.example.org", gpsi=ANNA_TOO)
        for profile in ("x" + ANNA, ANNA[7:]):  # no GPSIs at all
            self.malformed(profile)

    def test_other_case_and_unicode_look_alike(self):
        self.unlisted("extid-Anna@users.example", gpsi=ANNA_TOO)
        for profile in (ANNA.upper(), ANNA_TOO.replace("users", "USERS"), ANNA_TOO.upper(),
                        ANNA.replace("m", "\u217f"), ANNA_TOO.replace("a", "\u0430"),
                        ANNA.replace("1", "\u0661"), ANNA.replace("-", "\u2010"),
                        ANNA_TOO.replace("@", "\uff20"), ANNA + "\u200b"):
            with self.subTest(profile=profile):
                self.malformed(profile)

    def test_extid_form_when_only_msisdn_is_listed(self):
        """Nothing is forged here: the list has one of anna's two names."""
        asset = self.world.upload([ANNA])
        token = self.world.token(asset=asset)
        self.accepted(token, asset=asset)
        self.denied(token, "digital_profile", gpsi=ANNA_TOO, asset=asset, via=FEW)
        self.denied(token, "digital_profile", gpsi="extid-491110000001@users.example",
                    asset=asset, via=FEW)

    def test_absent_or_empty_denies(self):
        self.unlisted(None)
        self.unlisted("")
        token = self.world.token(narrow=False)  # as simsd issues it for no asset
        self.assertNotIn("Digital_profile", self.world.body(token))
        self.denied(token, "asset")

    def test_tabs_newlines_double_leading_and_trailing_spaces(self):
        for profile in (ANNA + " ", " " + ANNA, f"{CARL}  {ANNA}", f"{CARL}\t{ANNA}",
                        f"{CARL}\n{ANNA}", f"{CARL}\r\n{ANNA}", f"{CARL}\u00a0{ANNA}",
                        f"{CARL},{ANNA}", " ", ANNA + "\n"):
            with self.subTest(profile=profile):
                self.malformed(profile)

    def test_array_object_or_number_instead_of_a_string(self):
        for profile in ([ANNA], {ANNA: 1}, 5, True, [[ANNA]]):
            with self.subTest(profile=profile):
                self.malformed(profile)

    def test_lists_of_one_and_a_hundred_are_accepted(self):
        token = self.world.val_token(ANNA)  # those of its users that may: one
        self.assertEqual(self.world.body(token)["Digital_profile"], ANNA)
        self.accepted(token)
        many = ["msisdn-49170%07d" % i for i in range(99)]
        asset = self.world.upload([*many, ANNA])
        token = self.world.token(asset=asset)
        self.assertEqual(set(self.world.body(token)["Digital_profile"].split(" ")),
                         {*many, ANNA, self.world.owner})
        self.accepted(token, asset=asset)

    def test_list_beyond_four_kilobytes_names_the_holder_alone(self):
        count = 100_000 if harness.FULL else 1_000
        asset = self.world.upload([*("msisdn-49170%07d" % i for i in range(count)), ANNA])
        token = self.world.token(asset=asset)
        self.assertEqual(self.world.body(token)["Digital_profile"], ANNA)
        self.accepted(token, asset=asset)

    def test_list_that_makes_the_token_too_large_is_refused_by_its_size(self):
        many = " ".join("msisdn-49170%07d" % i for i in range(2000))
        self.refused(self.forge(Digital_profile=many + " " + ANNA), detail="32 KiB", via=FEW)


class Named(issued.Case):
    """The asset, the action and the user that the token names."""

    def test_token_for_one_avatar_used_for_another(self):
        for token, gpsi in ((self.world.token(), ANNA), (self.world.refreshed(), ANNA),
                            (self.world.val_token(ANNA, CARL), CARL)):
            self.denied(token, "asset", gpsi=gpsi, asset=self.world.second)
        token = self.world.val_token(CARL, asset=self.world.second)
        self.accepted(token, CARL, self.world.second)
        self.denied(token, "asset", gpsi=CARL)

    def test_token_without_the_action(self):
        tokens = self.world.answer(narrow=False)
        reply = self.world.app.refresh(tokens["refresh_token"], authorization_details=details(
            self.world.asset, actions=["get"]))
        token = reply.json["access_token"]
        self.accepted(token)
        self.denied(token, "action", via=["Upload", "UpdateProfile", "DeleteProfile"])
        reply = self.world.app.refresh(reply.json["refresh_token"], authorization_details=details(
            self.world.asset, actions=["delete"]))
        self.denied(reply.json["access_token"], "action",
                    via=["Authorize", "Download", "GetProfile", "UpdateProfile"])

    def test_listed_gpsi_that_is_not_the_holders(self):
        self.denied(self.good(), "holder", gpsi=CARL)
        self.denied(self.world.refreshed(), "holder", gpsi=CARL)
        self.denied(self.good(), "holder", gpsi=self.world.owner)

    def test_val_server_without_the_right_for_this_ue(self):
        self.denied(self.world.val_token(CARL), "digital_profile", gpsi=ANNA, via=FEW)
        token = self.world.forge(self.world.val_token(CARL), Digital_profile=f"{ANNA} {CARL}")
        self.denied(token, "holder", gpsi=ANNA)

    def test_listed_in_the_token_but_not_in_the_profile(self):
        token = self.world.token("bert", narrow=False)
        token = self.world.forge(token, Digital_profile=BERT, authorization_details=json.loads(
            details(self.world.asset, actions=ACTIONS)))
        self.denied(token, "list", gpsi=BERT)

    def test_unlisted_user_learns_nothing_in_any_method(self):
        """simsd gives bert no token for any avatar; what he has says the same of all of them."""
        token, told = self.world.token("bert", narrow=False), {}
        for asset in (self.world.asset, self.world.second, "no-such-asset", "0" * 32):
            with self.dacm.client() as channel:
                stub = self.dacm.stub(channel)
                for method in METHODS:
                    for gpsi in (BERT, ANNA):
                        told.setdefault(method, set()).add(
                            self.ask(stub, method, bearer(token), asset, gpsi)[:2])
        self.assertEqual(told, {method: {(DENIED, MESSAGES[DENIED])} for method in METHODS})

    def test_gpsi_and_users_both_or_neither(self):
        users = self.world.val_token(ANNA)
        for token in (self.world.forge(users, gpsi=ANNA), self.forge(gpsi=None),
                      self.forge(authorization_details=json.loads(details(
                          self.world.asset, actions=ACTIONS, users=[ANNA])))):
            self.denied(token, "holder")
        for gpsi in ([], "", {}, 7, None):
            if gpsi is not None:
                self.refused(self.forge(gpsi=gpsi), detail="gpsi", via=FEW)

    def test_more_than_64_users_or_8_gpsis(self):
        many = ["msisdn-49170%07d" % i for i in range(64)]
        rights = lambda users: json.loads(details(  # noqa: E731
            self.world.asset, actions=ACTIONS, users=users))
        val = self.world.val_token(ANNA)
        self.refused(self.world.forge(val, authorization_details=rights([*many, ANNA])),
                     detail="users", via=FEW)
        self.refused(self.forge(gpsi=[*many[:8], ANNA]), detail="gpsi", via=FEW)
        self.accepted(self.world.forge(val, authorization_details=rights([*many[:63], ANNA])))
        self.accepted(self.forge(gpsi=[*many[:7], ANNA]))

    def test_two_authorization_details_unknown_type_or_member_and_no_action(self):
        one = self.world.body(self.good())["authorization_details"][0]
        for changed in ([one, one], [], [dict(one, type="other")], [dict(one, type=["other"])],
                        [{key: one[key] for key in one if key != "actions"}],
                        [dict(one, actions=[])], [dict(one, actions="get")],
                        [dict(one, actions=["get", "fly"])], [dict(one, locations=["x"])],
                        [dict(one, identifier=7)], [dict(one, identifier="a/b")],
                        [dict(one, identifier="")], one, "x", [7], [[one]]):
            with self.subTest(changed=str(changed)[:50]):
                self.refused(self.forge(authorization_details=changed), via=FEW)
        self.denied(self.forge(authorization_details=None), "asset")

    def test_avatar_id_of_wrong_form_in_every_method_and_at_the_token_endpoint(self):
        tokens = self.world.answer(narrow=False)
        answers = set()
        for bad in ("", "a" * 129, "a" * 4096, "../x", "a/b", "a b", "a\tb", "a\x7fb", "a%00b",
                    "\u00e9", "a\0b"):
            with self.dacm.client() as channel:
                for method in METHODS:
                    with self.subTest(method=method, id=bad[:8], size=len(bad)):
                        self.assertEqual(self.ask(self.dacm.stub(channel), method,
                                                  bearer(self.good()), bad, ANNA)[0], INVALID)
            reply = self.world.app.refresh(tokens["refresh_token"],
                                           authorization_details=details(bad))
            answers.add((reply.status, reply.json["error"]))
        self.assertEqual(answers, {(400, "invalid_authorization_details")})

    def test_id_that_begins_or_ends_like_another_is_another(self):
        asset = self.world.asset
        for near in (asset + "x", asset[:-1], asset.upper(), "." + asset):
            self.denied(self.good(), "asset", asset=near)


class Callers(issued.Case):
    def tokens(self):
        return {"user": self.good(), "val server": self.world.val_token(ANNA),
                "user without an asset": self.world.token(narrow=False)}

    def code(self, call):
        try:
            call()
        except grpc.RpcError as error:
            return error.code()
        return None

    def test_users_and_val_servers_tokens_on_the_methods_of_others(self):
        peers = self.dacm.env["dacm"]["peers"].split("://")[-1]
        for name, token in self.tokens().items():
            for method, call in {**methods.OPERATORS, **methods.SIMS}.items():
                more = (self.world.asset, ANNA) if method in methods.SIMS else ()
                for target, certificate, expected in (
                        (None, None, UNIMPLEMENTED), (None, "sims", UNIMPLEMENTED),
                        (peers, "val", DENIED), (peers, "dacmd", DENIED)):
                    pair = self.dacm.certificate(certificate) if certificate else ()
                    with self.dacm.channel(*pair, target=target) as channel:
                        with self.subTest(token=name, method=method, certificate=certificate):
                            self.assertEqual(self.code(lambda: call(
                                channel, *more, metadata=bearer(token), timeout=60)), expected)

    def test_sims_certificate_is_nobody_on_users_methods(self):
        """simsd asks for lists and reports; it is no user, even with a user's bound token."""
        token = self.world.token(client=self.world.native)
        for certificate in ("sims", "admin", "dacmd"):
            with self.dacm.client(certificate) as channel:
                for method in METHODS:
                    got = self.ask(self.dacm.stub(channel), method, (), self.world.asset, ANNA)
                    self.assertEqual(got[:2], (UNAUTHENTICATED, MESSAGES[UNAUTHENTICATED]))
            self.refused(token, "binding", certificate=certificate, via=FEW)

    def test_token_of_a_user_creates_and_finds_by_the_action_only(self):
        stub = self.dacm.stub()
        for method, action in (("CreateProfile", "discovery"), ("DiscoverProfiles", "create")):
            token = self.world.token(narrow=False, authorization_details=details(actions=[action]))
            self.assertEqual(self.code(lambda: methods.USERS[method][2](
                stub, None, ANNA, metadata=bearer(token), timeout=60)), DENIED)
            self.assertEqual(self.code(lambda: methods.USERS[method][2](
                stub, None, ANNA, metadata=bearer(self.good()), timeout=60)), DENIED)


class Cache(issued.Case):
    def warm(self, stub, key):
        for _ in range(3):
            self.served(stub, self.good(), key=key)
        return bearer(self.good(), key)

    def test_verified_token_answers_for_nothing_else(self):
        for key in ("authorization", "dacm-token"):
            with self.dacm.client() as channel:
                stub = self.dacm.stub(channel)
                known = self.warm(stub, key)
                for asset, gpsi in ((self.world.second, ANNA), (self.world.asset, CARL),
                                    (self.world.asset, EVE), ("no-such-asset", ANNA)):
                    for method in METHODS:
                        got = self.ask(stub, method, known, asset, gpsi)
                        self.assertEqual(got[:2], (DENIED, MESSAGES[DENIED]), (method, gpsi))
                self.served(stub, self.good(), key=key)

    def test_token_that_differs_in_one_byte_is_not_the_one_known(self):
        token = self.good()
        head, body, signature = token.split(".")
        for key in ("authorization", "dacm-token"):
            with self.dacm.client() as channel:
                stub = self.dacm.stub(channel)
                self.warm(stub, key)
                for at in range(0, len(signature) - 2, 5):
                    other = "A" if signature[at] != "A" else "B"
                    changed = f"{head}.{body}.{signature[:at]}{other}{signature[at + 1:]}"
                    got = self.ask(stub, "Download", bearer(changed, key), self.world.asset, ANNA)
                    self.assertEqual(got[0], UNAUTHENTICATED, at)
                self.served(stub, token, key=key)

    def test_verified_token_for_another_audience_or_issuer_is_none(self):
        for changes in ({"aud": issued.SKMS}, {"aud": self.dacm.audience + "/"},
                        {"iss": self.world.issuer + "/"}, {"iss": self.dacm.issuer}):
            self.refused(self.forge(**changes), via=FEW)

    def test_token_of_one_user_behind_that_of_another_on_one_connection(self):
        with self.dacm.client() as channel:
            stub, carl = self.dacm.stub(channel), self.world.val_token(CARL)
            for _ in range(3):
                self.served(stub, self.good())
                self.served(stub, carl, CARL)
                for token, gpsi in ((self.good(), CARL), (carl, ANNA)):
                    self.assertEqual(self.ask(stub, "Download", bearer(token), self.world.asset,
                                              gpsi)[0], DENIED)


class Binding(issued.Case):
    def setUp(self):
        super().setUp()
        self.bound = self.world.token(client=self.world.native)

    def test_bound_token_on_another_clients_connection(self):
        self.assertIn("cnf", self.world.body(self.bound))
        self.accepted(self.bound, certificate="val")
        for certificate in (None, "sims"):
            self.refused(self.bound, "binding", certificate=certificate)
        self.accepted(self.bound, certificate="val")

    def test_binding_of_wrong_form_or_of_another_certificate(self):
        own, other = (self.dacm.thumbprint(name) for name in ("val", "sims"))
        for cnf in ({}, [], "x", {"x5t#S256": ""}, {"x5t#S256": own[:-1]}, {"x5t": own},
                    {"x5t#S256": own, "jkt": own}, {"x5t#S256": own + "="},
                    {"x5t#S256": [own]}, {"jwk": {}}, 7):
            with self.subTest(cnf=cnf):
                self.refused(self.world.forge(self.bound, cnf=cnf), detail="cnf",
                             certificate="val", via=FEW)
        self.refused(self.world.forge(self.bound, cnf={"x5t#S256": other}), "binding",
                     certificate="val", via=FEW)

    def test_certificate_that_a_proxy_forwards_binds_nothing(self):
        pem = urllib.parse.quote(self.dacm.certificate("val")[0].decode())
        print_ = self.dacm.thumbprint("val")
        for header in (("x-forwarded-client-cert", "Hash=" + print_),
                       ("x-forwarded-client-cert", f'Cert="{pem}"'), ("x-ssl-client-cert", pem),
                       ("ssl-client-cert", pem), ("client-cert", f":{print_}:"),
                       ("x-client-verify", "SUCCESS"), ("x-amzn-mtls-clientcert", pem)):
            with self.subTest(header=header[0]):
                self.refused(self.bound, "binding", metadata=bearer(self.bound) + (header,),
                             via=FEW)

    def test_authorization_and_dacm_token_both_present(self):
        good, carl = self.good(), self.world.val_token(CARL)
        for metadata in (bearer(good) + bearer(good, "dacm-token"),
                         bearer(good) + bearer(carl, "dacm-token"),
                         bearer(good) + bearer("x", "dacm-token"), bearer(good) * 2,
                         bearer(good, "dacm-token") * 2):
            self.refused(good, detail="more than one", metadata=metadata, via=FEW)

    def test_token_under_another_scheme_or_name(self):
        good = self.good()
        for metadata in ((("authorization", "Basic " + good),), (("authorization", good),),
                         (("authorization", "DPoP " + good),), (("dacm-token", "Bearer " + good),),
                         (("proxy-authorization", "Bearer " + good),),
                         (("cookie", "access_token=" + good),), (("x-access-token", good),)):
            with self.subTest(name=metadata[0][0], scheme=metadata[0][1][:6]):
                self.refused(good, metadata=metadata, via=FEW)

    def test_asserted_identity_of_a_proxy_is_nobodys(self):
        self.refused("", metadata=(("x-3gpp-asserted-identity", ANNA),), via=FEW)
        self.denied("", "holder", gpsi=CARL, metadata=bearer(self.good()) + (
            ("x-3gpp-asserted-identity", CARL),))


class Purpose(issued.Case):
    def file(self):
        path = self.dacm.dir / "avatar.glb"
        path.write_bytes(self.world.content)
        return path

    def test_manifest_key_signs_no_token(self):
        key = json.loads((self.dacm.dir / "pki" / "manifest.jwks").read_text())
        key = key.get("keys", [key])[0]
        private = harness.Ed25519PrivateKey.from_private_bytes(unb64url(key["d"]))
        for kid in (key["kid"], self.world.kid):
            self.refused(self.forge(header={"kid": kid}, key=private), via=FEW)

    def test_manifest_is_no_token(self):
        _, _, start = self.dacm.download(self.world.asset, ANNA, token=self.good())
        self.refused(start.manifest, via=FEW)

    def test_token_and_what_simsds_key_signs_are_no_manifest(self):
        _, claims, start = self.dacm.download(self.world.asset, ANNA, token=self.good())
        file, signature = self.file(), self.dacm.dir / "avatar.glb.jws"
        signature.write_text(start.manifest)
        self.assertEqual(self.dacm.cli("verify", file).returncode, 0)
        forged = self.world.forge(self.good(), header={"typ": "dacm-manifest+jwt"},
                                  body=json.dumps(claims).encode())
        published = self.dacm.dir / "pki" / "sims-token.published"
        for jws in (self.good(), forged):
            signature.write_text(jws)
            for keys in ((), ("--keys", published)):
                done = self.dacm.cli(*keys, "verify", file)
                self.assertIn(done.returncode, (2, 5, 6), done.stdout + done.stderr)

    def test_simsd_refuses_a_manifest_key_as_its_own(self):
        path = self.world.dir / "config" / "crossed.yaml"
        path.write_text(json.dumps({**self.world.config, "keys": {
            "source": "file", "file": str(self.world.dir / "pki" / "manifest.jwks")}}))
        done = subprocess.run([harness.BIN / "simsd", "--config", path, "--check-config"],
                              text=True, capture_output=True, timeout=60)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn("purpose", done.stderr)


class Gone(unittest.TestCase):
    """What the token stood on is taken away. Bounded waits: revocations come by simsd's stream."""

    @property
    def world(self):
        return issued.Case.world

    def setUp(self):
        self.dacm = self.world.dacm
        self.name = "user-" + os.urandom(4).hex()
        self.gpsi = "extid-%s@users.example" % self.name
        self.world.add_user(self.name, [self.gpsi])
        self.asset = self.world.upload([self.gpsi, CARL])

    def tearDown(self):
        self.world.beside.again()

    def outcome(self, stub, token, gpsi=None, asset=None):
        """(status, the operator's reason) of a download."""
        try:
            self.dacm.check_download(stub.Download(da.DownloadRequest(
                asset_id=asset or self.asset, gpsi=gpsi or self.gpsi), metadata=bearer(token),
                timeout=60))
        except grpc.RpcError as error:
            request_id = configured.request_id_of(error)
            code = error.code()
            assert error.details().replace(request_id, "ID") == MESSAGES[code], error.details()
            return code, self.dacm.explain(request_id)["reason"]
        return None, "allowed"

    def ends(self, token, what, code, reason, others=(), **options):
        """The token is good, on a connection that knows it, until what() was done; then it is
        none there and elsewhere, and the others are still good."""
        with self.dacm.client() as channel, self.dacm.client() as beside:
            stub, others = self.dacm.stub(channel), list(others)
            self.assertEqual(self.outcome(stub, token)[0], None)
            for other, gpsi in others:
                self.assertEqual(self.outcome(self.dacm.stub(beside), other, gpsi)[0], None)
            what()
            configured.wait_until("the end of the token",
                                  lambda: self.outcome(stub, token)[0] is not None)
            with self.dacm.client() as new:
                for each in (stub, self.dacm.stub(new)):
                    self.assertEqual(self.outcome(each, token), (code, reason))
            for other, gpsi in others:
                self.assertEqual(self.outcome(self.dacm.stub(beside), other, gpsi)[0], None)

    def owners_update(self, **fields):
        owner = self.world.owner
        self.dacm.stub().UpdateProfile(
            da.UpdateProfileRequest(asset_id=self.asset, gpsi=owner, **fields), metadata=bearer(
                self.dacm.token(owner, self.asset, ["update"], [owner])), timeout=60)

    def test_revoked_token_and_no_other_of_its_user(self):
        token, other = (self.world.token(self.name, self.asset) for _ in range(2))
        self.ends(token, lambda: self.world.app.send("/revoke", {"token": token}),
                  UNAUTHENTICATED, "revoked", [(other, self.gpsi)])

    def test_code_used_twice_ends_the_token_it_gave(self):
        client, code = self.world.login(self.name, authorization_details=details(self.asset))
        other = self.world.token(self.name, self.asset)
        token = client.exchange(code).json["access_token"]
        self.ends(token, lambda: client.exchange(code), UNAUTHENTICATED, "revoked",
                  [(other, self.gpsi)])

    def test_refresh_token_used_twice_ends_every_token_of_its_family(self):
        tokens = self.world.answer(self.name, self.asset)
        reply = self.world.app.refresh(tokens["refresh_token"],
                                       authorization_details=details(self.asset))
        with self.dacm.client() as channel:
            second = reply.json["access_token"]
            self.assertEqual(self.outcome(self.dacm.stub(channel), second)[0], None)
            self.ends(tokens["access_token"],
                      lambda: self.world.app.refresh(tokens["refresh_token"]),
                      UNAUTHENTICATED, "revoked")
            configured.wait_until("the end of the second", lambda: self.outcome(
                self.dacm.stub(channel), second) == (UNAUTHENTICATED, "revoked"))

    def test_disabled_deleted_and_logged_out_user(self):
        admin, name = self.world.admin(), self.name
        carl = [(self.world.val_token(CARL, asset=self.asset), CARL)]
        ends = {
            "logged out": lambda: admin.EndSessions(
                sim.EndSessionsRequest(username=name), timeout=60),
            "another password": lambda: admin.UpdateUser(sim.UpdateUserRequest(
                username=name, password=issued.sims.PASSWORD), timeout=60),
            "disabled": lambda: admin.UpdateUser(sim.UpdateUserRequest(
                username=name, disabled=sim.SWITCH_ON), timeout=60),
        }
        for what, end in ends.items():
            with self.subTest(what=what):
                self.ends(self.world.token(name, self.asset), end, UNAUTHENTICATED, "revoked",
                          carl)
        admin.UpdateUser(sim.UpdateUserRequest(username=name, disabled=sim.SWITCH_OFF), timeout=60)
        self.ends(self.world.token(name, self.asset), lambda: admin.DeleteUser(
            sim.DeleteUserRequest(username=name), timeout=60), UNAUTHENTICATED, "revoked", carl)

    def test_gpsi_moved_to_another_user_while_the_old_ones_token_lives(self):
        token, heir = self.world.token(self.name, self.asset), "heir-of-" + self.name
        self.world.add_user(heir)
        admin = self.world.admin()

        def move():
            admin.UpdateUser(sim.UpdateUserRequest(
                username=self.name, unmap_gpsis=[self.gpsi]), timeout=60)
            admin.UpdateUser(sim.UpdateUserRequest(
                username=heir, map_gpsis=[self.gpsi]), timeout=60)
        self.ends(token, move, UNAUTHENTICATED, "revoked")
        with self.dacm.client() as channel:
            new = self.world.token(heir, self.asset)
            self.assertEqual(self.outcome(self.dacm.stub(channel), new)[0], None)
        # and the old user, logged in anew, is nobody on that list
        tokens = self.world.answer(self.name, narrow=False)
        reply = self.world.app.refresh(tokens["refresh_token"],
                                       authorization_details=details(self.asset))
        self.assertEqual(reply.json["error"], "invalid_authorization_details")

    def test_user_taken_off_the_list_while_the_token_still_names_him(self):
        token = self.world.token(self.name, self.asset)
        self.assertIn(self.gpsi, self.world.body(token)["Digital_profile"])
        self.ends(token, lambda: self.owners_update(deny=[self.gpsi]), DENIED, "list",
                  [(self.world.val_token(CARL, asset=self.asset), CARL)])

    def test_deleted_assets_id_with_a_token_issued_for_it(self):
        token = self.world.token(self.name, self.asset)

        def delete():
            METHODS["DeleteProfile"](self.dacm.stub(), self.asset, self.gpsi,
                                     metadata=bearer(token), timeout=60)
        self.ends(token, delete, DENIED, "missing")
        tokens = self.world.answer(self.name, narrow=False)
        gone, never = (self.world.app.refresh(
            tokens["refresh_token"], authorization_details=details(asset))
            for asset in (self.asset, "never-was"))
        self.assertTrue(gone.same_as(never))

    def test_client_disabled(self):
        client = self.world.add_client("val-" + self.name, "private_key_jwt", scopes=["seal.da"],
                                       grants=["client_credentials"], users=[self.gpsi])
        token = self.world.val_token(self.gpsi, asset=self.asset, client=client)
        admin = self.world.admin()

        def disable():
            record = admin.GetClient(sim.GetClientRequest(client_id=client.client_id), timeout=60)
            record.disabled = True
            admin.UpdateClient(sim.UpdateClientRequest(client=record), timeout=60)
        self.ends(token, disable, UNAUTHENTICATED, "revoked",
                  [(self.world.token(self.name, self.asset), self.gpsi)])


class Owners(unittest.TestCase):
    """Uploads with simsd's tokens alone, from the first version to a new owner."""

    def setUp(self):
        self.world, self.dacm = issued.Case.world, issued.Case.world.dacm

    def refused(self, code, call):
        with self.assertRaises(grpc.RpcError) as error:
            call()
        self.assertEqual(error.exception.code(), code, error.exception.details())

    def test_upload_replayed_with_a_stale_if_match_and_by_a_former_owner(self):
        create = self.world.token(narrow=False, authorization_details=details(actions=["create"]))
        made = self.dacm.upload(b"first", ANNA, token=create, upload_id="issued-1")
        again = self.dacm.upload(b"first", ANNA, token=create, upload_id="issued-1")
        self.assertEqual(again, made)
        asset = made.asset_id
        token = self.world.token(asset=asset)
        for _ in range(2):
            answer = self.dacm.upload(b"second", ANNA, asset=asset, token=token, if_match=1,
                                      upload_id="issued-2")
            self.assertEqual(answer.version, 2)
        self.refused(grpc.StatusCode.ABORTED, lambda: self.dacm.upload(
            b"third", ANNA, asset=asset, token=token, if_match=1))
        self.refused(DENIED, lambda: self.dacm.upload(b"third", ANNA, asset=asset, token=create))
        for gpsi, fields in ((ANNA, {"add_owners": [BERT]}), (BERT, {"remove_owners": [ANNA]})):
            user = "anna" if gpsi == ANNA else "bert"
            self.dacm.stub().UpdateProfile(
                da.UpdateProfileRequest(asset_id=asset, gpsi=gpsi, **fields),
                metadata=bearer(self.world.token(user, asset)), timeout=60)
        for upload_id in ("issued-2", "issued-3"):
            self.refused(DENIED, lambda i=upload_id: self.dacm.upload(
                b"second", ANNA, asset=asset, token=token, upload_id=i))
        content, claims, _ = self.dacm.download(asset, BERT, token=self.world.token("bert", asset))
        self.assertEqual((content, claims["version"]), (b"second", 2))
        self.assertEqual(unb64url(claims["sha256"]), hashlib.sha256(b"second").digest())


if __name__ == "__main__":
    unittest.main()
