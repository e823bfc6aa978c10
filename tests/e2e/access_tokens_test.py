# SPDX-License-Identifier: Apache-2.0
"""Access tokens that must be refused, each against the running server over the wire, with the
cache of verified tokens cold and warm: the warm pass makes the server accept a correct token of
the same user on the same connection first and checks that it still does afterwards.

UNAUTHENTICATED is for faults of the token, PERMISSION_DENIED for what comes after; all of a kind
look the same to the caller, and `dacm explain` tells the operator which it was."""
import base64
import hashlib
import json
import os
import time
import unittest

import grpc
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import harness
from harness import b64url, bearer, da, unb64url

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def setUpModule():
    global dev, owner, listed, unlisted, asset, other_asset, content
    dev = harness.Dev()
    owner, listed, unlisted = dev.users[0], dev.users[1], dev.users[-1]
    content = hashlib.shake_256(b"token tests").digest(50_000)
    asset = dev.upload(content, owner, [listed]).asset_id
    other_asset = dev.upload(content, owner, [owner]).asset_id


def tearDownModule():
    assert dev.stop() == 0, dev.read_log()


class Case(unittest.TestCase):
    """refused() and accepted() send one Download with the given token."""

    def attempt(self, stub, token, gpsi=None, asset_id=None, key="authorization", **fields):
        fields = fields or {"gpsi": gpsi or listed}
        request = da.DownloadRequest(asset_id=asset if asset_id is None else asset_id, **fields)
        return dev.check_download(stub.Download(request, metadata=bearer(token, key), timeout=60))

    def accepted(self, token, **kwargs):
        with dev.channel() as channel:
            self.assertEqual(self.attempt(dev.stub(channel), token, **kwargs)[0], content)

    def refused(self, token, code=UNAUTHENTICATED, reason=None, **kwargs):
        details = set()
        for warm in (False, True):
            with dev.channel() as channel:
                stub = dev.stub(channel)
                if warm:
                    self.attempt(stub, good())
                with self.assertRaises(grpc.RpcError) as error:
                    self.attempt(stub, token, **kwargs)
                self.assertEqual(error.exception.code(), code, error.exception.details())
                request_id = dict(error.exception.trailing_metadata()).get("dacm-request-id")
                details.add(error.exception.details().replace(request_id or "-", "ID"))
                if warm:
                    self.attempt(stub, good())
                if reason and request_id:
                    explained = json.loads(dev.cli("--json", "explain", request_id,
                                                   check=True).stdout)
                    self.assertIn(reason, explained["reason"], explained)
        self.assertEqual(len(details), 1, details)
        return details.pop()


def good(**changes):
    return dev.token(listed, asset, ["get"], [owner, listed], **changes)


def good_claims(**changes):
    return dev.claims(listed, asset, ["get"], [owner, listed], **changes)


def with_header(**changes):
    return dev.sign(good_claims(), header=changes)


class AlgorithmAndKey(Case):
    def test_correct_token_is_accepted(self):
        self.accepted(good())

    def test_alg_none_in_every_spelling(self):
        for alg in ("none", "None", "NONE", "nOnE", "", None):
            body = b64url(json.dumps(good_claims()).encode())
            head = {"typ": "at+jwt", "kid": dev.token_kid}
            if alg is not None:
                head["alg"] = alg
            text = b64url(json.dumps(head).encode()) + "." + body + "."
            with self.subTest(alg=alg):
                self.refused(text)
                self.refused(dev.sign(good_claims(), header={"alg": alg}))

    def test_empty_signature(self):
        self.refused(good().rsplit(".", 1)[0] + ".")

    def test_hs256_with_the_public_key_as_secret(self):
        import hmac
        head = b64url(json.dumps({"alg": "HS256", "typ": "at+jwt",
                                  "kid": dev.token_kid}).encode())
        signing_input = head + "." + b64url(json.dumps(good_claims()).encode())
        public = raw_public(dev.token_key)
        for secret in (public, b64url(public).encode()):
            mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
            self.refused(signing_input + "." + b64url(mac))

    def test_es_rs_and_ps_where_the_key_is_okp(self):
        rsa_key = rsa.generate_private_key(65537, 2048)
        ec_key = ec.generate_private_key(ec.SECP256R1())
        signers = {
            "RS256": lambda data: rsa_key.sign(data, padding.PKCS1v15(), hashes.SHA256()),
            "PS256": lambda data: rsa_key.sign(data, padding.PSS(
                padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
            "ES256": lambda data: ec_key.sign(data, ec.ECDSA(hashes.SHA256())),
        }
        for alg, sign in signers.items():
            head = b64url(json.dumps({"alg": alg, "typ": "at+jwt",
                                      "kid": dev.token_kid}).encode())
            signing_input = head + "." + b64url(json.dumps(good_claims()).encode())
            with self.subTest(alg=alg):
                self.refused(signing_input + "." + b64url(sign(signing_input.encode())))

    def test_kid_missing_long_or_with_nul_and_path_characters(self):
        with self.assertRaises(grpc.RpcError):  # beyond what any header may have
            self.attempt(dev.stub(), with_header(kid="k" * 65536))
        self.accepted(good())
        for kid in (None, "", "k" * 16384, "../../etc/passwd", dev.token_kid + "\u0000",
                    dev.token_kid + "/..", 7, [dev.token_kid]):
            with self.subTest(kid=str(kid)[:20]):
                self.refused(with_header(kid=kid))

    def test_unknown_kid(self):
        self.refused(with_header(kid="nobody"))

    def test_another_key_under_a_known_kid(self):
        self.refused(dev.sign(good_claims(), key=Ed25519PrivateKey.generate()))

    def test_key_locations_in_the_header_are_never_followed(self):
        mine = Ed25519PrivateKey.generate()
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(raw_public(mine)), "kid": "mine"}
        for header in ({"jwk": jwk}, {"jku": "http://127.0.0.1:1/jwks"}, {"x5u": "http://127.0.0.1:1"},
                       {"x5c": [base64.b64encode(b"x").decode()]}):
            with self.subTest(header=list(header)):
                self.refused(dev.sign(good_claims(), header=header, key=mine))
                self.refused(dev.sign(good_claims(), header=dict(header, kid="mine"), key=mine))

    def test_crit_with_an_unknown_entry_and_b64_false(self):
        self.refused(with_header(crit=["exp2"], exp2=1))
        self.refused(with_header(crit=["b64"], b64=False))
        self.refused(with_header(b64=False))

    def test_jwe_and_nested_token(self):
        self.refused("e30.e30.e30.e30.e30")
        self.refused(with_header(cty="JWT"))
        self.refused(dev.sign(good().encode()))

    def test_ed25519_s_not_below_the_order(self):
        head_body, signature = good().rsplit(".", 1)
        raw = unb64url(signature)
        s = int.from_bytes(raw[32:], "little") + ED25519_ORDER
        self.refused(head_body + "." + b64url(raw[:32] + s.to_bytes(32, "little")))

    def test_ed25519_small_order_r(self):
        head_body = good().rsplit(".", 1)[0]
        for point in (bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"):
            self.refused(head_body + "." + b64url(point + bytes(32)))

    def test_signature_of_63_and_65_bytes(self):
        head_body, signature = good().rsplit(".", 1)
        raw = unb64url(signature)
        self.refused(head_body + "." + b64url(raw[:63]))
        self.refused(head_body + "." + b64url(raw + b"\0"))


def raw_public(key):
    from cryptography.hazmat.primitives import serialization
    return key.public_key().public_bytes(serialization.Encoding.Raw,
                                         serialization.PublicFormat.Raw)


class Encoding(Case):
    def test_non_canonical_base64url(self):
        token = good()
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = token[-1]  # 64 bytes leave 4 unused bits in the last character
        self.refused(token[:-1] + alphabet[alphabet.index(last) ^ 1])

    def test_padding_and_white_space(self):
        token = good()
        for text in (token + "=", token + "==", token.replace(".", "=.", 1), token + " x",
                     token[:20] + " " + token[20:],
                     token.replace("-", "+").replace("_", "/") + "+"):
            self.refused(text)

    def test_two_or_four_segments(self):
        token = good()
        self.refused(token.rsplit(".", 1)[0])
        self.refused(token + ".e30")
        self.refused("." + token)
        self.refused("..")
        self.refused("x", key="authorization")

    def test_duplicate_json_members(self):
        body = json.dumps(good_claims())
        self.refused(dev.sign((body[:-1] + ', "gpsi": "%s"}' % listed).encode()))
        head = json.dumps({"alg": "EdDSA", "kid": dev.token_kid, "typ": "at+jwt"})
        self.refused(dev.sign(good_claims(), header=(head[:-1] + ', "alg": "EdDSA"}').encode()))

    def test_times_that_are_not_plain_integers(self):
        now = int(time.time())
        for name in ("exp", "iat", "nbf"):
            for value in (now + 100.5, str(now + 100), -1, 2**53, 2**63, 2**64, True, [now], {}):
                with self.subTest(name=name, value=value):
                    self.refused(good(**{name: value}))
        body = json.dumps(good_claims(exp=7)).replace('"exp": 7', '"exp": 1e999')
        self.refused(dev.sign(body.encode()))

    def test_nesting_of_ten_thousand(self):
        body = json.dumps(good_claims())[:-1] + ', "x": ' + "[" * 10000 + "]" * 10000 + "}"
        self.refused(dev.sign(body.encode()))

    def test_token_of_a_megabyte_ends_the_call_and_not_the_server(self):
        with self.assertRaises(grpc.RpcError):
            with dev.channel() as channel:
                self.attempt(dev.stub(channel), "a" * (1 << 20))
        self.accepted(good())

    def test_token_beyond_the_limit_is_refused(self):
        self.refused(good(x="y" * 33000))

    def test_invalid_utf8_overlong_surrogates_and_bom(self):
        body = json.dumps(good_claims(), ensure_ascii=False).encode()
        for junk in (b"\xff", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"):
            self.refused(dev.sign(body[:-1] + b', "x": "' + junk + b'"}'))
        self.refused(dev.sign(b"\xef\xbb\xbf" + body))
        self.refused(dev.sign(body[:-1] + b', "x": "\\ud800"}'))

    def test_escaped_nul_in_a_user(self):
        self.refused(good(gpsi=listed + "\u0000"))
        self.refused(dev.token(listed, asset, ["get"], listed + "\u0000"))

    def test_truncated_at_every_byte(self):
        token = good()
        with dev.channel() as channel:
            stub = dev.stub(channel)
            for length in range(1, len(token), 1 if harness.FULL else 7):
                with self.assertRaises(grpc.RpcError) as error:
                    self.attempt(stub, token[:length])
                self.assertEqual(error.exception.code(), UNAUTHENTICATED, length)

    def test_body_that_is_not_an_object(self):
        for body in (b"", b"null", b"[]", b'"x"', b"1", b"{", b"{}x", b"{} {}"):
            self.refused(dev.sign(body))


class Claims(Case):
    def test_expired_and_both_edges_of_the_skew(self):
        now = int(time.time())
        self.refused(good(iat=now - 400, exp=now - 40))
        self.accepted(good(iat=now - 300, exp=now - 15))

    def test_not_yet_valid_and_issued_in_the_future(self):
        now = int(time.time())
        self.refused(good(nbf=now + 60))
        self.accepted(good(nbf=now + 15))
        self.refused(good(iat=now + 60, exp=now + 300))
        self.accepted(good(iat=now + 15, exp=now + 300))

    def test_lifetime_beyond_the_maximum(self):
        now = int(time.time())
        self.refused(good(iat=now, exp=now + 100_000))

    def test_audience_wrong_missing_or_array_without_us(self):
        for aud in ("https://other.example/", None, [], ["https://a.example"], 7,
                    dev.audience + "/", dev.audience.upper(), dev.audience[:-1]):
            with self.subTest(aud=aud):
                self.refused(good(aud=aud))

    def test_audience_array_with_us_is_accepted(self):
        self.accepted(good(aud=["https://other.example/", dev.audience]))

    def test_issuer_wrong_or_differing_by_slash_or_case(self):
        for iss in ("https://other.example", dev.issuer + "/", dev.issuer.upper(), None, 7, ""):
            with self.subTest(iss=iss):
                self.refused(good(iss=iss))

    def test_other_kinds_of_token_as_access_token(self):
        for typ in ("JWT", "id+jwt", "rt+jwt", "logout+jwt", "dacm-manifest+jwt",
                    "dacm-keyset+jwt", "", None, 7):
            with self.subTest(typ=typ):
                self.refused(with_header(typ=typ))

    def test_required_claim_missing(self):
        for name in ("iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"):
            with self.subTest(name=name):
                self.refused(good(**{name: None}))

    def test_scope_lacking_or_a_prefix_of_the_needed_one(self):
        for scope in ("openid", "seal", "seal.d", "seal.daa", "seal.da.x", "SEAL.DA", "seal.km",
                      "seal.kp", ""):
            with self.subTest(scope=scope):
                self.refused(good(scope=scope), DENIED, "scope")
        self.accepted(good(scope="openid seal.da"))

    def test_token_for_the_skms_at_the_dacm(self):
        self.refused(good(aud="https://skms.example/", scope="seal.km"))


class DigitalProfile(Case):
    def denied(self, profile, gpsi=None, code=DENIED, **changes):
        token = dev.token(gpsi or listed, asset, ["get"], **changes)
        claims = json.loads(unb64url(token.split(".")[1]))
        if profile is not None:
            claims["Digital_profile"] = profile
        return self.refused(dev.sign(claims), code, gpsi=gpsi)

    def test_gpsi_not_in_the_list(self):
        self.denied(owner)

    def test_substring_prefix_and_suffix_of_a_listed_one(self):
        for item in (listed[:-1], listed + "0"):
            self.denied(item)
        for item in ("x" + listed, listed[7:]):  # no GPSIs: the token itself is refused
            self.denied(item, code=UNAUTHENTICATED)
        self.denied(listed[:-1] + " " + listed + "0")

    def test_other_case_and_unicode_look_alike(self):
        self.denied(listed.upper(), code=UNAUTHENTICATED)
        self.denied(listed.replace("m", "\u217f", 1), code=UNAUTHENTICATED)

    def test_extid_form_when_only_msisdn_is_listed(self):
        self.denied("extid-" + listed.split("-", 1)[1] + "@example.com")

    def test_absent_or_empty_denies(self):
        self.denied(None)
        self.denied("")

    def test_string_with_tabs_newlines_double_or_trailing_spaces(self):
        for profile in (listed + " ", " " + listed, owner + "  " + listed, owner + "\t" + listed,
                        owner + "\n" + listed):
            with self.subTest(profile=profile):
                token = dev.token(listed, asset, ["get"], profile)
                with self.assertRaises(grpc.RpcError) as error:
                    with dev.channel() as channel:
                        self.attempt(dev.stub(channel), token)
                self.assertIn(error.exception.code(), (UNAUTHENTICATED, DENIED))

    def test_array_object_or_number_instead_of_a_string(self):
        for profile in ([listed], {listed: 1}, 5, True):
            with self.assertRaises(grpc.RpcError) as error:
                with dev.channel() as channel:
                    self.attempt(dev.stub(channel), good(Digital_profile=profile))
            self.assertIn(error.exception.code(), (UNAUTHENTICATED, DENIED))

    def test_lists_of_one_and_a_hundred_are_accepted(self):
        self.accepted(dev.token(listed, asset, ["get"], [listed]))
        many = ["msisdn-49170%07d" % i for i in range(99)]
        self.accepted(dev.token(listed, asset, ["get"], many + [listed]))

    def test_list_that_makes_the_token_too_large_is_refused(self):
        many = ["msisdn-49170%07d" % i for i in range(2000)]
        self.refused(dev.token(listed, asset, ["get"], many + [listed]))

    def test_token_for_another_avatar(self):
        token = dev.token(owner, other_asset, ["get"], [owner])
        self.refused(token, DENIED, gpsi=owner)

    def test_token_without_an_asset_opens_none(self):
        self.refused(dev.token(listed, None, ["get"], [listed]), DENIED)

    def test_token_without_the_action(self):
        self.refused(dev.token(listed, asset, ["update"], [listed]), DENIED)

    def test_listed_gpsi_that_is_not_the_holders(self):
        self.refused(dev.token(unlisted, asset, ["get"], [listed, unlisted]), DENIED, gpsi=listed)

    def test_listed_in_the_token_but_not_in_the_profile(self):
        self.refused(dev.token(unlisted, asset, ["get"], [unlisted]), DENIED, gpsi=unlisted)

    def test_all_denials_read_the_same(self):
        texts = {
            self.denied(owner), self.denied(""),
            self.refused(dev.token(listed, other_asset, ["get"], [listed]), DENIED),
            self.refused(dev.token(unlisted, asset, ["get"], [unlisted]), DENIED, gpsi=unlisted),
            self.refused(dev.token(listed, "missing", ["get"], [listed]), DENIED,
                         asset_id="missing"),
            self.refused(good(scope="openid"), DENIED),
        }
        self.assertEqual(len(texts), 1, texts)


class Request(Case):
    def test_avatar_id_empty_long_or_with_forbidden_characters(self):
        for asset_id in ("", "a" * 129, "a" * 4096, "../x", "a/b", "a b", "a\u0001", "\u00e4"):
            with self.subTest(asset_id=asset_id[:10]):
                self.refused(good(), INVALID, asset_id=asset_id)

    def test_avatar_id_with_nul(self):
        request = da.DownloadRequest(asset_id="a\0b", gpsi=listed)
        with self.assertRaises(grpc.RpcError) as error:
            list(dev.stub().Download(request, metadata=bearer(good()), timeout=60))
        self.assertEqual(error.exception.code(), INVALID)

    def test_gpsi_of_forbidden_syntax(self):
        for gpsi in ("", "msisdn-1234", "msisdn-1234567890123456", "msisdn-12a45", "4915110000002",
                     "extid-a", "extid-@b", "extid-a@", "extid-a@b@c", "extid-a b@c",
                     "extid-a@B.example", "extgroupid-a@b", "extid-\u00e4@b.example",
                     "MSISDN-4915110000002", "msisdn-4915110000002 ", "extid-" + "a" * 250 + "@b"):
            with self.subTest(gpsi=gpsi[:20]):
                with self.assertRaises(grpc.RpcError) as error:
                    self.attempt(dev.stub(), good(), gpsi=gpsi) if gpsi else self.attempt(
                        dev.stub(), good(), external_id="")
                self.assertEqual(error.exception.code(), INVALID)


class HolderAndDelegation(Case):
    def server_token(self, users, detail=None, **changes):
        claims = dev.claims(None, asset, ["get"], [owner, listed], sub="val-server",
                            client_id="val-server", **changes)
        claims["authorization_details"][0]["users"] = users
        claims["authorization_details"][0].update(detail or {})
        return dev.sign(claims)

    def test_val_server_with_the_right_is_served(self):
        self.accepted(self.server_token([listed]))

    def test_val_server_for_another_ue_is_refused(self):
        self.refused(self.server_token([listed]), DENIED, gpsi=owner)

    def test_gpsi_and_users_both_present_or_both_absent(self):
        self.refused(self.server_token([listed], gpsi=listed), DENIED)
        self.refused(good(gpsi=None), DENIED)

    def test_more_than_64_users_or_8_gpsis(self):
        many = ["msisdn-49170%07d" % i for i in range(64)]
        with self.assertRaises(grpc.RpcError):
            self.attempt(dev.stub(), self.server_token(many + [listed]))
        with self.assertRaises(grpc.RpcError):
            self.attempt(dev.stub(), good(gpsi=many[:8] + [listed]))
        self.accepted(self.server_token(many[:63] + [listed]))
        self.accepted(good(gpsi=many[:7] + [listed]))

    def test_two_authorization_details_unknown_type_or_missing_action(self):
        one = good_claims()["authorization_details"][0]
        for details in ([one, one], [dict(one, type="other")], [],
                        [{k: v for k, v in one.items() if k != "actions"}],
                        [dict(one, actions=[])], [dict(one, actions="get")], one, "x", [7]):
            with self.subTest(details=str(details)[:40]):
                with self.assertRaises(grpc.RpcError) as error:
                    self.attempt(dev.stub(), good(authorization_details=details))
                self.assertIn(error.exception.code(), (UNAUTHENTICATED, DENIED))

    def test_both_headers_present(self):
        request = da.DownloadRequest(asset_id=asset, gpsi=listed)
        both = bearer(good()) + bearer(good(), "dacm-token")
        with self.assertRaises(grpc.RpcError) as error:
            list(dev.stub().Download(request, metadata=both, timeout=60))
        self.assertEqual(error.exception.code(), UNAUTHENTICATED)

    def test_header_given_twice_or_of_another_scheme(self):
        request = da.DownloadRequest(asset_id=asset, gpsi=listed)
        for metadata in (bearer(good()) * 2, bearer(good(), "dacm-token") * 2,
                         (("authorization", "Basic " + good()),),
                         (("authorization", good()),)):
            with self.assertRaises(grpc.RpcError) as error:
                list(dev.stub().Download(request, metadata=metadata, timeout=60))
            self.assertEqual(error.exception.code(), UNAUTHENTICATED)


class Secrets(unittest.TestCase):
    def test_no_token_and_no_gpsi_in_the_log(self):
        token = good()
        dev.download(asset, listed, token)
        log = dev.read_log()
        self.assertNotIn(token, log)
        self.assertNotIn(token.rsplit(".", 1)[1], log)
        self.assertNotIn(listed, "".join(
            line for line in log.splitlines() if line.startswith("{")))


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    unittest.main(verbosity=2)
