# SPDX-License-Identifier: Apache-2.0
"""Every mode of an issuer against every kind of token, and foreign issuers: other algorithms,
claim names, types and the GPSIs that they may assert.

One server has an issuer of each mode; what each mode makes of each token is the table EXPECTED,
which restates docs/security.md and section "Token" of docs/wire.md."""
import hashlib
import json
import subprocess
import unittest

import grpc

import harness
from configured import Issuer, Server, request_id_of
from harness import bearer, da

OK = grpc.StatusCode.OK
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND = grpc.StatusCode.NOT_FOUND

MODES = ("token+profile", "profile", "token", "literal")
# A kind of token, and what each mode answers, with the step that decides.
EXPECTED = {
    "full": ("allowed",) * 4,
    "no_authorization_details": ("asset", "allowed", "asset", "allowed"),
    "no_identifier": ("asset", "asset", "asset", "allowed"),
    "another_asset": ("asset", "asset", "asset", "allowed"),
    "another_action": ("action", "action", "action", "allowed"),
    "no_digital_profile": ("digital_profile", "allowed", "digital_profile", "digital_profile"),
    "empty_digital_profile": ("digital_profile",) * 4,
    "user_not_in_digital_profile": ("digital_profile",) * 4,
    "user_not_on_the_list": ("list", "list", "allowed", "allowed"),
    "user_not_the_holders": ("holder", "holder", "holder", "allowed"),
    "nobody_is_the_holder": ("holder", "holder", "holder", "allowed"),
    "no_scope_of_ours": ("scope", "scope", "scope", "allowed"),
    "missing_asset": ("missing", "missing", "not_found", "not_found"),
}
FOREIGN_USER = "msisdn-49170555000"
FOREIGN_ID = "extid-ann@foreign.example"


def configure(server, config):
    global modes, foreign, bound, strict, folder
    folder = server.dir / "config"
    modes = {mode: Issuer("https://" + mode.replace("+", "-") + ".example", mode=mode)
             for mode in MODES}
    foreign = [
        Issuer("https://foreign-%s.example" % alg.lower(), alg=alg, typ="application/at+jwt",
               gpsi_claim="phone", profile_claim="allowed_users",
               gpsi_namespaces=["msisdn-49170", "extid-*@foreign.example"])
        for alg in ("ES256", "RS256", "PS256")]
    bound = Issuer("https://bound.example", require_binding=True)
    config["issuers"] += [issuer.entry(folder)
                          for issuer in [*modes.values(), *foreign, bound]]
    return config


def setUpModule():
    global server, owner, listed, unlisted, content, asset, other_asset
    server = Server(configure, ["--allow-literal"])
    owner, listed, unlisted = server.users[0], server.users[1], server.users[-1]
    content = hashlib.shake_256(b"modes").digest(30_000)
    asset = server.upload(content, owner, [listed, FOREIGN_USER, FOREIGN_ID]).asset_id
    other_asset = server.upload(content, owner, [listed]).asset_id


def tearDownModule():
    assert server.stop() == 0, server.read_log()


class Case(unittest.TestCase):
    def get(self, stub, token, asset_id=None, gpsi=None):
        """Download and check; (status code, reason of the operator)."""
        request = da.DownloadRequest(asset_id=asset_id or asset, gpsi=gpsi or listed)
        try:
            got = server.check_download(
                stub.Download(request, metadata=bearer(token), timeout=60))[0]
            self.assertEqual(got, content)
            return OK, "allowed"
        except grpc.RpcError as error:
            return error.code(), server.explain(request_id_of(error))["reason"]

    def outcome(self, token, certificate=None, **kwargs):
        """The same twice on one connection: with the cache of tokens cold and warm."""
        with server.client(certificate) as channel:
            stub = server.stub(channel)
            cold, warm = self.get(stub, token, **kwargs), self.get(stub, token, **kwargs)
        self.assertEqual(cold, warm)
        return cold

    def assert_accepted(self, token, **kwargs):
        self.assertEqual(self.outcome(token, **kwargs), (OK, "allowed"))

    def assert_not_genuine(self, token, **kwargs):
        self.assertEqual(self.outcome(token, **kwargs), (UNAUTHENTICATED, "token"))


def token_of(kind, issuer):
    """(token, asset, user) of a row of the table."""
    users = [owner, listed]
    full = dict(gpsi=listed, asset=asset, profile=users)
    changed = {
        "full": {},
        "no_authorization_details": {"asset": None},
        "no_identifier": {"authorization_details": [
            {"type": "digital_asset", "actions": ["get"]}]},
        "another_asset": {"asset": other_asset},
        "another_action": {"actions": ["update"]},
        "no_digital_profile": {"profile": None},
        "empty_digital_profile": {"Digital_profile": ""},
        "user_not_in_digital_profile": {"profile": [owner]},
        "user_not_on_the_list": {"gpsi": unlisted, "profile": [*users, unlisted]},
        "user_not_the_holders": {"gpsi": unlisted},
        "nobody_is_the_holder": {"gpsi_removed": True},
        "no_scope_of_ours": {"scope": "openid"},
        "missing_asset": {"asset": "no-such-asset"},
    }[kind]
    arguments = {**full, **changed}
    changes = {"gpsi": None} if arguments.pop("gpsi_removed", False) else {}
    gpsi = arguments.pop("gpsi")
    text = issuer_token(issuer, gpsi, changes, **arguments)
    return (text, "no-such-asset" if kind == "missing_asset" else asset,
            unlisted if kind == "user_not_on_the_list" else listed)


def issuer_token(issuer, gpsi, removed, asset, profile, **arguments):
    claims = {name: arguments.pop(name) for name in ("scope", "authorization_details",
                                                     "Digital_profile") if name in arguments}
    token = issuer.token(server, gpsi, asset, profile, **arguments, **claims)
    if not removed:
        return token
    body = json.loads(harness.unb64url(token.split(".")[1]))
    for name in removed:
        del body[name]
    return issuer.sign(body)


def add_table():
    """One test for each kind of token in each mode."""
    codes = {"allowed": OK, "not_found": NOT_FOUND}
    for kind, reasons in EXPECTED.items():
        for mode, reason in zip(MODES, reasons):
            def test(self, kind=kind, mode=mode, reason=reason):
                token, asset_id, gpsi = token_of(kind, modes[mode])
                self.assertEqual(self.outcome(token, asset_id=asset_id, gpsi=gpsi),
                                 (codes.get(reason, DENIED), reason))
            name = "test_%s_in_mode_%s" % (kind, mode.replace("+", "_and_"))
            setattr(Modes, name, test)


class Modes(Case):
    pass


add_table()


class ModesOfOtherMethods(Case):
    """A mode is about the use of the media; what changes an asset takes the full token."""

    def refused(self, call, request, token, reason):
        with self.assertRaises(grpc.RpcError) as error:
            call(request, metadata=bearer(token), timeout=60)
        self.assertEqual(error.exception.code(), DENIED, error.exception.details())
        self.assertEqual(server.explain(request_id_of(error.exception))["reason"], reason)

    def test_no_mode_lets_a_holder_change_what_others_own(self):
        stub = server.stub()
        for mode, issuer in modes.items():
            with self.subTest(mode=mode):
                token = issuer.token(server, unlisted, asset, [owner, unlisted],
                                     ["get", "update", "delete"])
                named = dict(asset_id=asset, gpsi=owner)
                self.refused(stub.DeleteProfile, da.DeleteProfileRequest(**named), token,
                             "holder")
                self.refused(stub.UpdateProfile, da.UpdateProfileRequest(
                    deny=[listed], **named), token, "holder")
                self.refused(stub.GetProfile, da.GetProfileRequest(**named), token, "holder")

    def test_no_mode_shows_a_profile_to_a_user_whom_its_list_does_not_name(self):
        stub = server.stub()
        for mode, issuer in modes.items():
            with self.subTest(mode=mode):
                token = issuer.token(server, unlisted, asset, [unlisted])
                self.refused(stub.GetProfile, da.GetProfileRequest(
                    asset_id=asset, gpsi=unlisted), token, "list")

    def test_profile_needs_no_list_in_the_token(self):
        stub = server.stub()
        for mode, issuer in modes.items():
            with self.subTest(mode=mode):
                token = issuer.token(server, listed, asset, None)
                got = stub.GetProfile(da.GetProfileRequest(asset_id=asset, gpsi=listed),
                                      metadata=bearer(token), timeout=60)
                self.assertEqual(got.profile.asset_id, asset)


class Literal(unittest.TestCase):
    def test_is_refused_without_the_operators_word(self):
        done = server.spawn(arguments=["--check-config"], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
        _, errors = done.communicate(timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--allow-literal", errors)
        done = server.spawn(arguments=[], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)
        _, errors = done.communicate(timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--allow-literal", errors)

    def test_is_warned_of_in_the_log_and_in_health(self):
        self.assertIn("mode literal", server.read_log())
        health = server.health()
        self.assertEqual(health["status"], "ok")
        self.assertIn("literal", [warning["name"] for warning in health["warnings"]])


class ForeignIssuer(Case):
    def token(self, issuer, gpsi=FOREIGN_USER, **kwargs):
        return issuer.token(server, gpsi, asset, [owner, gpsi], **kwargs)

    def test_its_algorithm_type_and_claim_names_are_taken(self):
        for issuer in foreign:
            for gpsi in (FOREIGN_USER, FOREIGN_ID):
                with self.subTest(alg=issuer.alg, gpsi=gpsi):
                    self.assert_accepted(self.token(issuer, gpsi), gpsi=gpsi)

    def test_the_usual_claim_names_mean_nothing_in_its_tokens(self):
        for issuer in foreign:
            holder = self.token(issuer, phone=None, gpsi=FOREIGN_USER)
            profile = self.token(issuer, allowed_users=None, Digital_profile=FOREIGN_USER)
            with self.subTest(alg=issuer.alg):
                self.assertEqual(self.outcome(holder, gpsi=FOREIGN_USER), (DENIED, "holder"))
                self.assertEqual(self.outcome(profile, gpsi=FOREIGN_USER),
                                 (DENIED, "digital_profile"))

    def test_another_type_is_refused(self):
        for issuer in foreign:
            for typ in ("JWT", "id+jwt", "dacm-manifest+jwt", ""):
                with self.subTest(alg=issuer.alg, typ=typ):
                    self.assert_not_genuine(self.token(issuer, header={"typ": typ}),
                                            gpsi=FOREIGN_USER)

    def test_it_asserts_no_gpsi_outside_its_namespaces(self):
        for issuer in foreign:
            for gpsi in (listed, "extid-ann@other.example", "extid-ann@sub.foreign.example"):
                with self.subTest(alg=issuer.alg, gpsi=gpsi):
                    self.assert_not_genuine(self.token(issuer, gpsi), gpsi=gpsi)
            mixed = self.token(issuer, phone=[FOREIGN_USER, listed])
            self.assert_not_genuine(mixed, gpsi=FOREIGN_USER)

    def test_its_list_may_name_users_of_others(self):
        for issuer in foreign:
            token = issuer.token(server, FOREIGN_USER, asset, [owner, listed, FOREIGN_USER])
            self.assert_accepted(token, gpsi=FOREIGN_USER)

    def test_it_may_not_delegate(self):
        for issuer in foreign:
            details = [{"type": "digital_asset", "identifier": asset, "actions": ["get"],
                        "users": [FOREIGN_USER]}]
            token = self.token(issuer, phone=None, authorization_details=details)
            self.assert_not_genuine(token, gpsi=FOREIGN_USER)

    def test_keys_of_another_issuer_are_refused(self):
        issuers = [*modes.values(), *foreign]
        for one in issuers:
            for other in issuers:
                if one is other:
                    continue
                user = FOREIGN_USER if one in foreign else listed
                with self.subTest(claims=one.name, key=other.name):
                    claims = one.token(server, user, asset, [user]).split(".")[1]
                    body = json.loads(harness.unb64url(claims))
                    self.assert_not_genuine(other.sign(body), gpsi=user)
                    self.assert_not_genuine(other.sign(body, typ=one.typ), gpsi=user)
                    self.assert_not_genuine(other.sign(body, typ=one.typ, kid=one.kid), gpsi=user)
                    self.assert_not_genuine(
                        other.sign(body, typ=one.typ, kid=one.kid, alg=one.alg), gpsi=user)

    def test_one_algorithm_under_the_key_of_another_is_refused(self):
        rs256, ps256 = (next(i for i in foreign if i.alg == alg) for alg in ("RS256", "PS256"))
        for issuer, alg in ((rs256, "PS256"), (ps256, "RS256")):
            liar = Issuer(issuer.name, alg=alg, key=issuer.key, kid=issuer.kid, typ=issuer.typ,
                          gpsi_claim="phone", profile_claim="allowed_users")
            self.assert_not_genuine(self.token(liar), gpsi=FOREIGN_USER)


class RequiredBinding(Case):
    def token(self, certificate=None):
        changes = {"cnf": {"x5t#S256": server.thumbprint(certificate)}} if certificate else {}
        return bound.token(server, listed, asset, [owner, listed], **changes)

    def test_token_without_binding_is_refused_whatever_the_connection(self):
        for certificate in (None, "val"):
            self.assertEqual(self.outcome(self.token(), certificate=certificate),
                             (UNAUTHENTICATED, "binding"))

    def test_bound_token_is_taken_only_with_its_certificate(self):
        token = self.token("val")
        self.assert_accepted(token, certificate="val")
        for certificate in (None, "sims"):
            self.assertEqual(self.outcome(token, certificate=certificate),
                             (UNAUTHENTICATED, "binding"))
        self.assert_accepted(token, certificate="val")


if __name__ == "__main__":
    unittest.main(verbosity=2)
