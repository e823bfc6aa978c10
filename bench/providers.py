# SPDX-License-Identifier: Apache-2.0
"""simsd and npm oidc-provider as OpenID providers: the same clients, algorithms and TLS, one load
generator (grants.c) for both, and a browser that logs in at either."""
import base64
import hashlib
import http.cookiejar
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

from cryptography.hazmat.primitives import serialization

import suite
from load import run
from servers import CIPHER, Child

OIDC = "oidc-provider"
APP, VAL = "bench-app", "bench-val"
REDIRECT = "https://app.example/cb"
SCOPE = "openid seal.da"
CONNECTIONS = 16
WARM_UP = 3000  # of each kind: Node's compiler needs some thousand
USER, PASSWORD = "bench", "correct horse battery"


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Browser(urllib.request.HTTPRedirectHandler):
    """Logs in once; cookies are kept. A redirect to the application is where it stops."""

    def __init__(self, ca, name_field, forms):
        self.forms = forms
        self.cookies = http.cookiejar.CookieJar()
        self.name_field = name_field
        self.opener = urllib.request.build_opener(
            self, urllib.request.HTTPCookieProcessor(self.cookies),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)))

    def redirect_request(self, request, file, code, message, headers, url):
        if url.startswith(REDIRECT):
            return None  # becomes an HTTPError that has the location
        return super().redirect_request(request, file, 302, message, headers, url)

    def open(self, url, fields=None):
        """(page, its address), or (None, where the application is sent to)."""
        body = urllib.parse.urlencode(fields).encode() if fields else None
        try:
            with self.opener.open(url, body) as reply:
                return reply.read().decode(), reply.geturl()
        except urllib.error.HTTPError as error:
            if error.headers.get("location", "").startswith(REDIRECT):
                return None, error.headers["location"]
            sys.exit(f"bench: {url}: {error.code} {error.read().decode()[:400]}")

    def code(self, url):
        """From the authorization request to the code, through the login if there must be one."""
        page, address = self.open(url)
        if page is not None:
            form = self.forms(page)
            page, address = self.open(urllib.parse.urljoin(address, form.action), {
                **form.fields, self.name_field: USER, "password": PASSWORD})
        answer = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))
        if page is not None or "code" not in answer:
            sys.exit(f"bench: no code came, but {page or address}")
        return answer["code"]

    def post(self, url, fields):
        page, _ = self.open(url, fields)
        return json.loads(page)

    def cookie_header(self, url):
        request = urllib.request.Request(url)
        self.cookies.add_cookie_header(request)
        return "Cookie: " + (request.get_header("Cookie") or "")


class Provider:
    """What the load generator needs to know of one. issuer, ca, resource, token_url, authorize_url,
    key_file, child and name_field are set by who derives."""

    def __init__(self, servers):
        self.build = servers.build
        self.dir = servers.dir
        self.verifier = b64url(os.urandom(32))
        self.browser = None

    def authorize(self):
        challenge = b64url(hashlib.sha256(self.verifier.encode()).digest())
        return self.authorize_url + "?" + urllib.parse.urlencode({
            "response_type": "code", "client_id": APP, "redirect_uri": REDIRECT, "scope": SCOPE,
            "state": "s", "nonce": "n", "code_challenge": challenge,
            "code_challenge_method": "S256", "resource": self.resource})

    def log_in(self):
        if not self.browser:
            self.browser = Browser(self.ca, self.name_field, suite.load(self.build).Forms)
        return self.browser

    def tokens(self):
        """A new family of tokens of the session."""
        browser = self.log_in()
        return browser.post(self.token_url, {
            "grant_type": "authorization_code", "client_id": APP, "redirect_uri": REDIRECT,
            "code": browser.code(self.authorize()), "code_verifier": self.verifier,
            "resource": self.resource})

    def load(self, work, count, *more):
        """What the generator says, with the server's CPU time."""
        before = self.child.cpu_seconds()
        done = json.loads(run(f"{self.name}: {work}", [
            self.build / "bench" / "grants", work, self.token_url, self.ca, VAL if work == "client" else APP,
            self.resource, CONNECTIONS, count, *more]))
        if (done["protocol"], done["cipher"]) != ("TLSv1.3", CIPHER):
            sys.exit(f"bench: {self.name} negotiated {done['protocol']} with {done['cipher']}")
        return dict(done, server_cpu_seconds=self.child.cpu_seconds() - before)

    def client_credentials(self, count):
        return self.load("client", count, self.key_file, self.issuer)

    def refreshes(self, count):
        file = self.dir / "refresh"
        file.write_text("".join(self.tokens()["refresh_token"] + "\n"
                                for _ in range(CONNECTIONS)))
        return self.load("refresh", count, file)

    def exchanges(self, count):
        file, url = self.dir / "session", self.authorize()
        browser = self.log_in()
        browser.code(url)
        file.write_text("\n".join((url, browser.cookie_header(url), REDIRECT, self.verifier))
                        + "\n")
        return self.load("exchange", count, file)


def as_by_default(_, config):
    """Takes back what makes tests fast. The load has one address for all its connections, and one
    user for all its logins, whose grants the limit would keep in one group of the store."""
    del config["login"]
    return dict(config, limits={"https": {"connections_per_address": 1024}},
                grants={"per_user_and_client": 0})


class Simsd(Provider):
    name, name_field = "simsd", "username"

    def __init__(self, servers):
        super().__init__(servers)
        sims = self.sims = servers.sims(as_by_default)
        self.child = Child(sims.daemon.pid)
        self.ca, self.resource, self.issuer = sims.ca_file, sims.dacm.audience, sims.issuer
        self.token_url = sims.metadata["token_endpoint"]
        self.authorize_url = sims.metadata["authorization_endpoint"]
        sims.add_user(USER, ["msisdn-4917000001"], PASSWORD)
        sims.add_client(APP, redirect_uris=(REDIRECT,), scopes=SCOPE.split())
        key = sims.add_client(VAL, "private_key_jwt", grants=["client_credentials"],
                              scopes=["seal.da"]).key
        raw = serialization.Encoding.Raw
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "kid": VAL + "-1", "alg": "EdDSA",
                    "use": "sig", "x": b64url(key.public_key().public_bytes(
                        raw, serialization.PublicFormat.Raw))}
        self.key_file = servers.dir / "val.jwk"
        self.key_file.write_text(json.dumps(dict(self.jwk, d=b64url(key.private_bytes(
            raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())))))


class OidcProvider(Provider):
    """One process of Node, in production mode, with its own default adapter (memory)."""
    name, name_field = OIDC, "login"

    def __init__(self, servers, ours):
        super().__init__(servers)
        pki, port = ours.sims.dir / "pki", suite.load(servers.build).ports.reserve()
        self.issuer, self.ca = f"https://localhost:{port}", ours.ca
        self.resource, self.key_file = ours.resource, ours.key_file
        self.token_url, self.authorize_url = self.issuer + "/token", self.issuer + "/auth"
        app = {"client_id": APP, "redirect_uris": [REDIRECT], "response_types": ["code"],
               "grant_types": ["authorization_code", "refresh_token"],
               "token_endpoint_auth_method": "none", "id_token_signed_response_alg": "EdDSA"}
        val = {"client_id": VAL, "redirect_uris": [], "response_types": [],
               "grant_types": ["client_credentials"],
               "token_endpoint_auth_method": "private_key_jwt",
               "token_endpoint_auth_signing_alg": "EdDSA", "jwks": {"keys": [ours.jwk]}}
        if not (suite.NODE / "node_modules" / "oidc-provider").exists():
            sys.exit("bench: run `npm ci` in tests/interop/node")
        self.child = servers.start(
            ["/usr/bin/node", "--experimental-global-webcrypto", "--no-warnings",
             suite.NODE / "provider.mjs", json.dumps({
                 "port": port, "certificate": f"{pki}/simsd.crt", "key": f"{pki}/simsd.key",
                 "resource": self.resource, "alg": "EdDSA", "clients": [app, val]})],
            stdout=subprocess.PIPE, stderr=servers.log, text=True,
            env=dict(os.environ, NODE_ENV="production"))
        if self.child.process.stdout.readline() != "ready\n":
            sys.exit("bench: oidc-provider did not start; see " + str(servers.dir / "dev.log"))


def of(servers, side):
    """The provider of that name; both are started when the first is asked for, and warm."""
    if not servers.providers:
        ours = Simsd(servers)
        servers.providers = {each.name: each for each in (ours, OidcProvider(servers, ours))}
        for each in servers.providers.values():
            for work in (each.client_credentials, each.refreshes, each.exchanges):
                work(WARM_UP)
    return servers.providers[side]
