# SPDX-License-Identifier: Apache-2.0
"""Access tokens that simsd issued and somebody changed: header, key, signature, encoding, claims.
Where a forger would need simsd's own key, the test has it, and all but the fault is simsd's."""
import base64
import hashlib
import hmac
import json
import os
import socket
import time
import unittest

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import issued
from harness import b64url, bearer, unb64url
from issued import ANNA, CARL, DENIED, METHODS, SKMS, UNAUTHENTICATED, details

ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's base point
SMALL_ORDER = [b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", bytes(32),
               bytes(31) + b"\x80"]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
FEW = ["Authorize", "Download"]  # where many tokens differ in little


def setUpModule():
    issued.Case.world = issued.Issued()


def tearDownModule():
    assert issued.Case.world.stop() == 0


def raw_public(key):
    return key.public_key().public_bytes(serialization.Encoding.Raw,
                                         serialization.PublicFormat.Raw)


def pss(key):
    return lambda data: key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32),
                                 hashes.SHA256())


class Correct(issued.Case):
    """Without these the refusals below would show nothing."""

    def test_token_by_code_opens_the_avatar(self):
        self.accepted(self.world.token())

    def test_token_by_narrowing_refresh_opens_the_avatar(self):
        self.accepted(self.world.refreshed())

    def test_token_by_client_credentials_opens_the_avatar(self):
        self.accepted(self.world.val_token(ANNA))

    def test_token_under_rs256_opens_the_avatar(self):
        token = self.world.token(client=self.world.rs256)
        self.assertEqual(json.loads(unb64url(token.split(".")[0]))["alg"], "RS256")
        self.accepted(token)

    def test_bound_token_opens_the_avatar_with_its_certificate(self):
        self.accepted(self.world.token(client=self.world.native), certificate="val")

    def test_token_signed_again_unchanged_opens_the_avatar(self):
        self.accepted(self.forge())

    def test_token_changes_and_deletes_what_its_user_may(self):
        asset = self.world.upload([ANNA, CARL])
        token = self.world.token(asset=asset)
        with self.dacm.client() as channel:
            for method in METHODS:  # the last one deletes
                self.assertIsNone(self.ask(self.dacm.stub(channel), method, bearer(token), asset,
                                           ANNA)[0], method)


class AlgorithmAndKey(issued.Case):
    def test_alg_none_in_every_spelling(self):
        for alg in ("none", "None", "NONE", "nOnE", "", None):
            with self.subTest(alg=alg):
                forged = self.forge(header={"alg": alg})
                self.refused(forged, detail="alg")
                self.refused(forged.rsplit(".", 1)[0] + ".", via=FEW)

    def test_empty_signature(self):
        self.refused(self.good().rsplit(".", 1)[0] + ".", detail="not a token")

    def test_hs256_with_the_public_key_as_secret(self):
        published = self.world.get("/jwks.json").body
        public = raw_public(self.world.signers[self.world.kid])
        for secret in (public, b64url(public).encode(), published, published.strip()):
            self.refused(self.forge(header={"alg": "HS256"}, key=lambda data, s=secret: hmac.new(
                s, data, hashlib.sha256).digest()), detail="alg")

    def test_es_rs_and_ps_where_the_key_is_okp(self):
        other, curve = rsa.generate_private_key(65537, 2048), ec.generate_private_key(
            ec.SECP256R1())
        for alg, key in (("RS256", other), ("PS256", pss(other)),
                         ("ES256", lambda data: curve.sign(data, ec.ECDSA(hashes.SHA256()))),
                         ("RS256", self.world.signers[self.world.rsa_kid])):
            with self.subTest(alg=alg):
                self.refused(self.forge(header={"alg": alg}, key=key), detail="alg")

    def test_eddsa_ps_and_es_where_the_key_is_rsa(self):
        key = self.world.signers[self.world.rsa_kid]
        token = self.world.token(client=self.world.rs256)
        ours = self.world.signers[self.world.kid]
        for alg, signer in (("EdDSA", ours), ("Ed25519", ours), ("PS256", pss(key)),
                            ("ES256", key), ("RS384", key), ("HS256", key), ("none", key)):
            with self.subTest(alg=alg):
                self.refused(self.world.forge(token, header={"alg": alg}, key=signer),
                             detail="alg", via=FEW)
        self.refused(self.world.forge(token, key=pss(key)), detail="signature")

    def test_key_of_one_algorithm_under_the_kid_of_another(self):
        self.refused(self.forge(header={"kid": self.world.rsa_kid}), detail="alg")
        self.refused(self.forge(header={"kid": self.world.rsa_kid, "alg": "RS256"},
                                key=self.world.signers[self.world.kid]), detail="signature")

    def test_kid_missing_long_or_with_nul_and_path_characters(self):
        for kid in (None, "", "k" * 129, "k" * 8000, "../../etc/passwd", self.world.kid + "\0",
                    self.world.kid + "/..", self.world.kid.upper() + "x", 7, [self.world.kid],
                    {"kid": self.world.kid}):
            with self.subTest(kid=str(kid)[:20]):
                self.refused(self.forge(header={"kid": kid}), via=FEW)

    def test_kid_of_64_kb_ends_the_call_and_not_the_server(self):
        with self.dacm.client() as channel:
            status, _, _ = self.ask(self.dacm.stub(channel), "Download",
                                    bearer(self.forge(header={"kid": "k" * 65536})),
                                    self.world.asset, ANNA)
            self.assertIsNotNone(status)
        self.accepted(self.good())

    def test_another_key_under_simsds_kid(self):
        self.refused(self.forge(key=Ed25519PrivateKey.generate()), detail="signature")

    def test_key_locations_in_the_header_are_never_followed(self):
        mine, listener = Ed25519PrivateKey.generate(), socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks"
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(raw_public(mine)), "kid": "mine"}
        for header in ({"jwk": jwk}, {"jku": url}, {"x5u": url},
                       {"x5c": [base64.b64encode(b"x").decode()]}):
            for kid in (self.world.kid, "mine"):
                with self.subTest(header=list(header), kid=kid):
                    self.refused(self.forge(header={**header, "kid": kid}, key=mine),
                                 detail="members", via=FEW)
            self.refused(self.forge(header=header), detail="members", via=FEW)
        listener.setblocking(False)
        with self.assertRaises(BlockingIOError):
            listener.accept()
        listener.close()

    def test_crit_with_an_unknown_entry_b64_false_and_zip(self):
        for header in ({"crit": ["exp2"], "exp2": 1}, {"crit": ["b64"], "b64": False},
                       {"b64": False}, {"crit": []}, {"crit": ["exp"]}, {"zip": "DEF"}):
            with self.subTest(header=header):
                self.refused(self.forge(header=header), detail="members", via=FEW)

    def test_jwe_and_nested_token(self):
        self.refused("e30.e30.e30.e30.e30")
        self.refused(self.forge(header={"cty": "JWT"}), detail="members")
        self.refused(self.forge(body=self.good().encode()))
        self.refused(self.forge(header={"enc": "A256GCM", "alg": "dir"}))

    def test_ed25519_signatures_that_are_not_canonical(self):
        text, signature = self.good().rsplit(".", 1)
        raw = unb64url(signature)
        s = (int.from_bytes(raw[32:], "little") + ORDER).to_bytes(32, "little")
        for wrong in (raw[:32] + s, raw[:63], raw + b"\0", raw[:32] + bytes(32), raw[:1], bytes(64),
                      raw[32:] + raw[:32], *(point + bytes(32) for point in SMALL_ORDER),
                      *(point + raw[32:] for point in SMALL_ORDER)):
            self.refused(text + "." + b64url(wrong), detail="signature", via=FEW)

    def test_flood_of_unknown_kids_asks_simsd_once_an_interval(self):
        """dacmd asks for the set each second here whatever comes: not more often than that, and
        once in an interval besides."""
        series = 'dacm_http_requests_total{route="/jwks.json"'
        before, began = self.world.metric(series), time.monotonic()
        self.assertGreater(before, 0)
        with self.dacm.client() as channel:
            stub = self.dacm.stub(channel)
            for _ in range(150):
                forged = self.forge(header={"kid": "kid-" + os.urandom(6).hex()})
                self.assertEqual(self.ask(stub, "Download", bearer(forged), self.world.asset,
                                          ANNA)[0], UNAUTHENTICATED)
        seconds = time.monotonic() - began
        self.assertLessEqual(self.world.metric(series) - before, 2 * (seconds / 0.9 + 1))


class Encoding(issued.Case):
    def test_non_canonical_base64url(self):
        token = self.good()
        head, body, signature = token.split(".")
        last = signature[:-1] + ALPHABET[ALPHABET.index(signature[-1]) ^ 1]
        self.refused(f"{head}.{body}.{last}", detail="canonical")

    def test_padding_and_white_space(self):
        token = self.good()
        for text in (token + "=", token + "==", token.replace(".", "=.", 1), token + " x",
                     token[:20] + " " + token[20:], token[:20] + "%20" + token[20:],
                     "Bearer " + token, token + ",", token + ";x", '"' + token + '"',
                     token.replace("-", "+").replace("_", "/") + "+"):
            with self.subTest(text=text[:4] + text[-4:]):
                self.refused(text, via=FEW)

    def test_two_four_and_empty_segments(self):
        token = self.good()
        head, body, signature = token.split(".")
        for text in (head + "." + body, token + ".e30", "." + token, "..", ".", "x",
                     f"{head}..{signature}", f".{body}.{signature}", f"{body}.{head}.{signature}"):
            self.refused(text, via=FEW)

    def test_duplicate_json_members(self):
        claims, body = self.world.body(self.good()), json.dumps(self.world.body(self.good()))
        for name in ("gpsi", "exp", "aud", "iss", "authorization_details", "Digital_profile"):
            more = ', %s: %s}' % (json.dumps(name), json.dumps(claims[name]))
            with self.subTest(name=name):
                self.refused(self.forge(body=(body[:-1] + more).encode()), via=FEW)
        head = json.dumps({"alg": "EdDSA", "kid": self.world.kid, "typ": "at+jwt"})
        self.refused(self.forge(header=(head[:-1] + ', "alg": "EdDSA"}').encode()))
        self.refused(self.forge(header=(head[:-1] + ', "\\u0061lg": "EdDSA"}').encode()))

    def test_times_that_are_not_plain_integers(self):
        now = int(time.time())
        for name in ("exp", "iat", "nbf"):
            for value in (now + 100.5, str(now + 100), -1, 2**53, 2**63, 2**64, True, [now], {}):
                with self.subTest(name=name, value=value):
                    self.refused(self.forge(**{name: value}), via=["Download"])
        body = json.dumps({**self.world.body(self.good()), "exp": 7})
        for exp in ("1e999", "1E400", "-0", "0x7fffffff", "NaN", "Infinity", "017"):
            self.refused(self.forge(body=body.replace('"exp": 7', '"exp": ' + exp).encode()),
                         via=["Download"])

    def test_nesting_of_ten_thousand(self):
        body = json.dumps(self.world.body(self.good()))
        for deep in ("[" * 10000 + "]" * 10000, '{"x":' * 5000 + "1" + "}" * 5000):
            self.refused(self.forge(body=(body[:-1] + ', "x": ' + deep + "}").encode()),
                         via=FEW)

    def test_token_of_a_megabyte_ends_the_call_and_not_the_server(self):
        with self.dacm.client() as channel:
            status, _, _ = self.ask(self.dacm.stub(channel), "Download",
                                    bearer(self.good() + "a" * (1 << 20)), self.world.asset, ANNA)
            self.assertIsNotNone(status)
        self.accepted(self.good())

    def test_token_beyond_the_limit_is_refused_by_its_size(self):
        self.refused(self.forge(x="y" * 33000), detail="32 KiB")

    def test_invalid_utf8_overlong_surrogates_and_bom(self):
        body = json.dumps(self.world.body(self.good())).encode()
        for junk in (b"\xff", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80",
                     b"\xf8\x88\x80\x80\x80", b"\xf4\x90\x80\x80", b"\\ud800", b"\\udc00\\ud800"):
            with self.subTest(junk=junk):
                self.refused(self.forge(body=body[:-1] + b', "x": "' + junk + b'"}'), via=FEW)
        self.refused(self.forge(body=b"\xef\xbb\xbf" + body))
        self.refused(self.forge(body=body.decode().encode("utf-16")))

    def test_escaped_nul_in_a_user(self):
        for changes in ({"gpsi": ANNA + "\0"}, {"gpsi": [ANNA, CARL + "\0x"]},
                        {"Digital_profile": ANNA + "\0"}, {"sub": "a\0b"}, {"jti": "\0"},
                        {"client_id": "app\0"}, {"iss": self.world.issuer + "\0"},
                        {"aud": self.dacm.audience + "\0"}):
            with self.subTest(changes=changes):
                self.refused(self.forge(**changes), via=FEW)

    def test_truncated_at_every_byte(self):
        token = self.good()
        with self.dacm.client() as channel:
            stub = self.dacm.stub(channel)
            for length in range(1, len(token)):  # none at all: no header either
                got = self.ask(stub, "Authorize", bearer(token[:length]), self.world.asset, ANNA)
                self.assertEqual(got[0], UNAUTHENTICATED, length)
            self.served(stub, token)

    def test_body_that_is_not_an_object(self):
        for body in (b"", b"null", b"[]", b'"x"', b"1", b"{", b"{}x", b"{} {}", b"{}"):
            self.refused(self.forge(body=body), via=FEW)


class Claims(issued.Case):
    def test_expired_and_both_edges_of_the_skew(self):
        """Each edge is sharp on the side on which a slow machine cannot hide it."""
        now = int(time.time())
        self.refused(self.forge(iat=now - 331, exp=now - 31), detail="expired")
        self.accepted(self.forge(iat=now - 300, exp=now - 10))

    def test_not_yet_valid_and_issued_in_the_future(self):
        now = int(time.time())
        self.refused(self.forge(nbf=now + 90), detail="not yet valid")
        self.accepted(self.forge(nbf=now + 30))
        self.refused(self.forge(iat=now + 90, exp=now + 300), detail="future")
        self.accepted(self.forge(iat=now + 30, exp=now + 300))

    def test_lifetime_beyond_the_maximum_or_none(self):
        now = int(time.time())
        for changes in ({"exp": now + 901}, {"exp": now}, {"exp": now - 1},
                        {"exp": now + 100_000}):
            self.refused(self.forge(iat=now, **changes), detail="lives longer", via=FEW)

    def test_audience_wrong_missing_or_array_without_us(self):
        ours = self.dacm.audience
        for aud in ("https://other.example/", None, [], ["https://a.example"], 7, {ours: 1},
                    ours + "/", ours.upper(), ours[:-1], ours + "?x", " " + ours, [ours, 7],
                    self.world.issuer, "app", "*"):
            with self.subTest(aud=aud):
                self.refused(self.forge(aud=aud), detail="aud", via=FEW)
        self.accepted(self.forge(aud=["https://other.example/", ours]))

    def test_issuer_wrong_or_differing_by_slash_or_case(self):
        ours = self.world.issuer
        for iss in ("https://other.example", ours + "/", ours.upper(), ours[:-1], ours + "#",
                    ours.replace("https", "http"), None, 7, "", [ours], self.dacm.issuer):
            with self.subTest(iss=iss):
                self.refused(self.forge(iss=iss), via=FEW)

    def test_other_kinds_of_token_that_simsd_issued_as_access_token(self):
        answer = self.world.answer()
        _, code = self.world.login()
        assertion = self.world.val.assertion(aud=self.dacm.audience)
        for name, token in (("ID token", answer["id_token"]), ("code", code),
                            ("refresh token", answer["refresh_token"]), ("assertion", assertion)):
            with self.subTest(name=name):
                self.refused(token)

    def test_id_token_with_every_claim_of_an_access_token(self):
        token = self.world.answer()["id_token"]
        claims = self.world.body(self.good())
        self.refused(self.world.forge(token, **claims), detail="typ")

    def test_other_types_under_the_same_key(self):
        for typ in ("JWT", "jwt", "id+jwt", "rt+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt",
                    "token-introspection+jwt", "dacm-manifest+jwt", "dacm-keyset+jwt",
                    "AT+JWTX", "at+jwt ", "", None, 7, ["at+jwt"]):
            with self.subTest(typ=typ):
                self.refused(self.forge(header={"typ": typ}), via=FEW)

    def test_required_claim_missing_or_of_another_type(self):
        for name in ("iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"):
            for value in (None, 7.5, {}, False):
                with self.subTest(name=name, value=value):
                    self.refused(self.forge(**{name: value}), via=FEW)
        for name in ("sub", "jti", "client_id"):
            for value in ("", "x" * 256):
                self.refused(self.forge(**{name: value}), detail=name, via=FEW)

    def test_scope_lacking_or_a_prefix_of_the_needed_one(self):
        for scope in ("openid", "seal", "seal.d", "seal.daa", "seal.da.x", "SEAL.DA", "seal.km",
                      "seal.kp", "", "seal.da,openid", "openid\tseal.da", "seal.\u0434\u0430"):
            with self.subTest(scope=scope):
                self.denied(self.forge(scope=scope), "scope", via=FEW)

    def test_scope_that_simsd_narrowed_opens_nothing(self):
        tokens = self.world.answer(scope="openid seal.da seal.km")
        narrow = self.world.app.refresh(tokens["refresh_token"], scope="openid seal.km",
                                        authorization_details=details(self.world.asset))
        self.denied(narrow.json["access_token"], "scope")

    def test_token_for_the_skms_at_the_dacm(self):
        token = self.world.token(narrow=False, resource=SKMS, scope="openid seal.da seal.km")
        self.assertEqual(self.world.body(token)["aud"], SKMS)
        self.refused(token, detail="aud")
        self.refused(self.world.val.own(resource=SKMS, scope="seal.km").json["access_token"],
                     detail="aud")
        # and one for the key service's scope alone, though for this audience
        token = self.world.token(narrow=False, scope="openid seal.km")
        self.denied(token, "scope")


if __name__ == "__main__":
    unittest.main()
