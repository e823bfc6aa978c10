# SPDX-License-Identifier: Apache-2.0
"""What somebody can change of an access token that simsd issued, and what every resource server
must say to it. Forger, mixed into a Sims, has simsd's own keys, so that all but the change is
simsd's. The classes of tests are mixed into a server's Case, which has:

    forger           the Sims
    audience, other_issuer, LIFE_MAX, OWN_CLAIMS, nul_in_own_claims(), SCOPES_THAT_ARE_NOT
    FEW, ONE         methods for tokens that differ in little
    good()           a correct token; forge(…) changes it
    accepted(token), refused(token, detail=, via=), denied(token, reason, via=)
    codes(tokens)    status codes, in their order, of calls over one connection"""
import base64
import hashlib
import hmac
import json
import socket
import time

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness import b64url, unb64url

ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's base point
SMALL_ORDER = [b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", bytes(32),
               bytes(31) + b"\x80"]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def raw_public(key):
    return key.public_key().public_bytes(serialization.Encoding.Raw,
                                         serialization.PublicFormat.Raw)


def pss(key):
    return lambda data: key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32),
                                 hashes.SHA256())


class Forger:
    def load_keys(self):
        keys = json.loads((self.dir / "pki" / "sims-token.jwks").read_text())["keys"]
        number = lambda key, name: int.from_bytes(unb64url(key[name]), "big")  # noqa: E731
        self.signers = {}
        for key in keys:
            if key["kty"] == "OKP":
                self.signers[key["kid"]] = Ed25519PrivateKey.from_private_bytes(
                    unb64url(key["d"]))
                self.kid = key["kid"]
                continue
            self.signers[key["kid"]] = rsa.RSAPrivateNumbers(
                *(number(key, name) for name in ("p", "q", "d", "dp", "dq", "qi")),
                rsa.RSAPublicNumbers(number(key, "e"), number(key, "n"))).private_key()
            self.rsa_kid = key["kid"]

    def forge(self, token, header=None, key=None, body=None, **claims):
        """The token with these members of header and claims (None: without), signed by simsd's
        key of its kid, or by another. header and body may be bytes, taken as they are."""
        head, old, _ = token.split(".")
        head, old = json.loads(unb64url(head)), json.loads(unb64url(old))
        signer = key or self.signers[head["kid"]]
        if body is None:
            body = json.dumps({name: value for name, value in {**old, **claims}.items()
                               if value is not None}).encode()
        if not isinstance(header, bytes):
            head = {**head, **(header or {})}
            header = json.dumps({name: value for name, value in head.items()
                                 if value is not None}).encode()
        text = b64url(header) + "." + b64url(body)
        return text + "." + b64url(self.signature(signer, text.encode()))

    @staticmethod
    def signature(signer, data):
        if isinstance(signer, Ed25519PrivateKey):
            return signer.sign(data)
        if isinstance(signer, rsa.RSAPrivateKey):
            return signer.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return signer(data)

    @staticmethod
    def body(token):
        return json.loads(unb64url(token.split(".")[1]))


class AlgorithmAndKey:
    def test_alg_none_in_every_spelling(self):
        for alg in ("none", "None", "NONE", "nOnE", "", None):
            with self.subTest(alg=alg):
                forged = self.forge(header={"alg": alg})
                self.refused(forged, detail="alg")
                self.refused(forged.rsplit(".", 1)[0] + ".", via=self.FEW)

    def test_empty_signature(self):
        self.refused(self.good().rsplit(".", 1)[0] + ".", detail="not a token")

    def test_hs256_with_the_public_key_as_secret(self):
        published = self.forger.get("/jwks.json").body
        public = raw_public(self.forger.signers[self.forger.kid])
        for secret in (public, b64url(public).encode(), published, published.strip()):
            self.refused(self.forge(header={"alg": "HS256"}, key=lambda data, s=secret: hmac.new(
                s, data, hashlib.sha256).digest()), detail="alg")

    def test_es_rs_and_ps_where_the_key_is_okp(self):
        other, curve = rsa.generate_private_key(65537, 2048), ec.generate_private_key(
            ec.SECP256R1())
        for alg, key in (("RS256", other), ("PS256", pss(other)),
                         ("ES256", lambda data: curve.sign(data, ec.ECDSA(hashes.SHA256()))),
                         ("RS256", self.forger.signers[self.forger.rsa_kid])):
            with self.subTest(alg=alg):
                self.refused(self.forge(header={"alg": alg}, key=key), detail="alg")

    def test_kid_missing_long_or_with_nul_and_path_characters(self):
        for kid in (None, "", "k" * 129, "k" * 8000, "../../etc/passwd", self.forger.kid + "\0",
                    self.forger.kid + "/..", self.forger.kid.upper() + "x", 7, [self.forger.kid],
                    {"kid": self.forger.kid}):
            with self.subTest(kid=str(kid)[:20]):
                self.refused(self.forge(header={"kid": kid}), via=self.FEW)

    def test_another_key_under_simsds_kid(self):
        self.refused(self.forge(key=Ed25519PrivateKey.generate()), detail="signature")

    def test_key_locations_in_the_header_are_never_followed(self):
        mine, listener = Ed25519PrivateKey.generate(), socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks"
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(raw_public(mine)), "kid": "mine"}
        for header in ({"jwk": jwk}, {"jku": url}, {"x5u": url},
                       {"x5c": [base64.b64encode(b"x").decode()]}):
            for kid in (self.forger.kid, "mine"):
                with self.subTest(header=list(header), kid=kid):
                    self.refused(self.forge(header={**header, "kid": kid}, key=mine),
                                 detail="members", via=self.FEW)
            self.refused(self.forge(header=header), detail="members", via=self.FEW)
        listener.setblocking(False)
        with self.assertRaises(BlockingIOError):
            listener.accept()
        listener.close()

    def test_crit_with_an_unknown_entry_b64_false_and_zip(self):
        for header in ({"crit": ["exp2"], "exp2": 1}, {"crit": ["b64"], "b64": False},
                       {"b64": False}, {"crit": []}, {"crit": ["exp"]}, {"zip": "DEF"}):
            with self.subTest(header=header):
                self.refused(self.forge(header=header), detail="members", via=self.FEW)

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
            self.refused(text + "." + b64url(wrong), detail="signature", via=self.FEW)


class Encoding:
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
                self.refused(text, via=self.FEW)

    def test_two_four_and_empty_segments(self):
        token = self.good()
        head, body, signature = token.split(".")
        for text in (head + "." + body, token + ".e30", "." + token, "..", ".", "x",
                     f"{head}..{signature}", f".{body}.{signature}", f"{body}.{head}.{signature}"):
            self.refused(text, via=self.FEW)

    def test_duplicate_json_members(self):
        claims, body = self.forger.body(self.good()), json.dumps(self.forger.body(self.good()))
        for name in ("exp", "aud", "iss", "scope", *self.OWN_CLAIMS):
            more = ', %s: %s}' % (json.dumps(name), json.dumps(claims[name]))
            with self.subTest(name=name):
                self.refused(self.forge(body=(body[:-1] + more).encode()), via=self.FEW)
        head = json.dumps({"alg": "EdDSA", "kid": self.forger.kid, "typ": "at+jwt"})
        self.refused(self.forge(header=(head[:-1] + ', "alg": "EdDSA"}').encode()))
        self.refused(self.forge(header=(head[:-1] + ', "\\u0061lg": "EdDSA"}').encode()))

    def test_times_that_are_not_plain_integers(self):
        now = int(time.time())
        for name in ("exp", "iat", "nbf"):
            for value in (now + 100.5, str(now + 100), -1, 2**53, 2**63, 2**64, True, [now], {}):
                with self.subTest(name=name, value=value):
                    self.refused(self.forge(**{name: value}), via=self.ONE)
        body = json.dumps({**self.forger.body(self.good()), "exp": 7})
        for exp in ("1e999", "1E400", "-0", "0x7fffffff", "NaN", "Infinity", "017"):
            self.refused(self.forge(body=body.replace('"exp": 7', '"exp": ' + exp).encode()),
                         via=self.ONE)

    def test_nesting_of_ten_thousand(self):
        body = json.dumps(self.forger.body(self.good()))
        for deep in ("[" * 10000 + "]" * 10000, '{"x":' * 5000 + "1" + "}" * 5000):
            self.refused(self.forge(body=(body[:-1] + ', "x": ' + deep + "}").encode()),
                         via=self.FEW)

    def test_token_beyond_the_limit_is_refused_by_its_size(self):
        self.refused(self.forge(x="y" * 33000), detail="32 KiB")

    def test_invalid_utf8_overlong_surrogates_and_bom(self):
        body = json.dumps(self.forger.body(self.good())).encode()
        for junk in (b"\xff", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80",
                     b"\xf8\x88\x80\x80\x80", b"\xf4\x90\x80\x80", b"\\ud800", b"\\udc00\\ud800"):
            with self.subTest(junk=junk):
                self.refused(self.forge(body=body[:-1] + b', "x": "' + junk + b'"}'), via=self.FEW)
        self.refused(self.forge(body=b"\xef\xbb\xbf" + body))
        self.refused(self.forge(body=body.decode().encode("utf-16")))

    def test_escaped_nul_in_a_user(self):
        for changes in (*self.nul_in_own_claims(), {"sub": "a\0b"}, {"jti": "\0"},
                        {"client_id": "app\0"}, {"iss": self.forger.issuer + "\0"},
                        {"aud": self.audience + "\0"}):
            with self.subTest(changes=changes):
                self.refused(self.forge(**changes), via=self.FEW)

    def test_truncated_at_every_byte(self):
        token = self.good()
        cut = [token[:length] for length in range(1, len(token))]  # none at all: no header either
        for length, code in enumerate(self.codes(cut), 1):
            self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED, length)
        self.accepted(token)

    def test_body_that_is_not_an_object(self):
        for body in (b"", b"null", b"[]", b'"x"', b"1", b"{", b"{}x", b"{} {}", b"{}"):
            self.refused(self.forge(body=body), via=self.FEW)


class Claims:
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
        for changes in ({"exp": now + self.LIFE_MAX + 1}, {"exp": now}, {"exp": now - 1},
                        {"exp": now + 100_000}):
            self.refused(self.forge(iat=now, **changes), detail="lives longer", via=self.FEW)

    def test_audience_wrong_missing_or_array_without_us(self):
        ours = self.audience
        for aud in ("https://other.example/", None, [], ["https://a.example"], 7, {ours: 1},
                    ours + "/", ours.upper(), ours[:-1], ours + "?x", " " + ours, [ours, 7],
                    self.forger.issuer, "app", "*"):
            with self.subTest(aud=aud):
                self.refused(self.forge(aud=aud), detail="aud", via=self.FEW)
        self.accepted(self.forge(aud=["https://other.example/", ours]))

    def test_issuer_wrong_or_differing_by_slash_or_case(self):
        ours = self.forger.issuer
        for iss in ("https://other.example", ours + "/", ours.upper(), ours[:-1], ours + "#",
                    ours.replace("https", "http"), None, 7, "", [ours], self.other_issuer):
            with self.subTest(iss=iss):
                self.refused(self.forge(iss=iss), via=self.FEW)

    def test_other_types_under_the_same_key(self):
        for typ in ("JWT", "jwt", "id+jwt", "rt+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt",
                    "token-introspection+jwt", "dacm-manifest+jwt", "dacm-keyset+jwt",
                    "AT+JWTX", "at+jwt ", "", None, 7, ["at+jwt"]):
            with self.subTest(typ=typ):
                self.refused(self.forge(header={"typ": typ}), via=self.FEW)

    def test_required_claim_missing_or_of_another_type(self):
        for name in ("iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"):
            for value in (None, 7.5, {}, False):
                with self.subTest(name=name, value=value):
                    self.refused(self.forge(**{name: value}), via=self.FEW)
        for name in ("sub", "jti", "client_id"):
            for value in ("", "x" * 256):
                self.refused(self.forge(**{name: value}), detail=name, via=self.FEW)

    def test_scope_lacking_or_a_prefix_of_the_needed_one(self):
        for scope in self.SCOPES_THAT_ARE_NOT:
            with self.subTest(scope=scope):
                self.denied(self.forge(scope=scope), "scope", via=self.FEW)
