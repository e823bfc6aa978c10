# SPDX-License-Identifier: Apache-2.0
"""simsd beside a dacmd that takes its tokens: users and clients made by the operator's service, a
browser of a few lines, and the flows of OAuth by hand, so that a test can bend each step.

Sims starts both under one folder. Browser keeps cookies and fills in forms. Client is a
registered client with its credentials."""
import base64
import hashlib
import html.parser
import http.client
import json
import os
import pathlib
import signal
import ssl
import subprocess
import time
import urllib.parse

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey, Ed25519PublicKey)

import configured
import harness
from configured import wait_until
from harness import b64url, ports, unb64url
from sim.v1 import admin_pb2 as sim
from sim.v1 import admin_pb2_grpc as sim_grpc

PASSWORD = "correct horse battery"
GRANTS = {"authorization_code": sim.GRANT_TYPE_AUTHORIZATION_CODE,
          "refresh_token": sim.GRANT_TYPE_REFRESH_TOKEN,
          "client_credentials": sim.GRANT_TYPE_CLIENT_CREDENTIALS}
AUTHS = {"none": sim.CLIENT_AUTH_NONE, "private_key_jwt": sim.CLIENT_AUTH_PRIVATE_KEY_JWT,
         "tls_client_auth": sim.CLIENT_AUTH_TLS_CLIENT_AUTH,
         "client_secret_basic": sim.CLIENT_AUTH_CLIENT_SECRET_BASIC}
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.getheaders()
        self.body = response.read()

    def header(self, name):
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[0] if found else None

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def location(self):
        """(address without its query, its parameters) of a redirect."""
        assert self.status in (302, 303), (self.status, self.text)
        address, _, query = self.header("location").partition("?")
        return address, dict(urllib.parse.parse_qsl(query, keep_blank_values=True))

    def same_as(self, other):
        """All that an answer says, but for when it was given and under which ID."""
        keep = lambda reply: (reply.status, reply.body, [  # noqa: E731
            (key, value) for key, value in reply.headers
            if key.lower() not in ("date", "x-request-id")])
        return keep(self) == keep(other)


class Forms(html.parser.HTMLParser):
    """The only form of a page: where it goes and what it takes along."""

    def __init__(self, text):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            assert attributes["method"] == "post", attributes
            self.action = attributes["action"]
        elif tag == "input":
            self.fields[attributes["name"]] = attributes.get("value", "")


def rsa_jwk(kid):
    """A private RSA key as JWK set files have it."""
    key = rsa.generate_private_key(65537, 2048)
    numbers = key.private_numbers()
    number = lambda n: b64url(n.to_bytes((n.bit_length() + 7) // 8, "big"))  # noqa: E731
    return {"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "dacm_purpose": "token",
            "n": number(numbers.public_numbers.n), "e": number(numbers.public_numbers.e),
            "d": number(numbers.d), "p": number(numbers.p), "q": number(numbers.q),
            "dp": number(numbers.dmp1), "dq": number(numbers.dmq1), "qi": number(numbers.iqmp)}


class Sims:
    """dacmd and simsd. settings, if given, changes simsd's configuration before it starts."""
    host, address = "localhost", "127.0.0.1"  # in its URL, and where it listens
    prefix = ()  # of the command that starts simsd

    def __init__(self, settings=None, rs256=True):
        self.settings, self.rs256 = settings, rs256
        self.daemon = None
        self.port = ports.reserve()
        self.mtls_port, self.ops_port = self.port + 1, self.port + 2
        self.issuer = f"https://{self.host}:{self.port}"
        self.dacm = configured.Server(self.configure_dacm)
        self.dir = self.dacm.dir
        self.ca_file = self.dacm.env["ca_file"]
        self.log = open(self.dir / "simsd.log", "ab")
        self.config = self.base_config()
        if settings:
            self.config = settings(self, self.config) or self.config
        self.run()

    # -- life

    def configure_dacm(self, dacm, config):
        pki = dacm.dir / "pki"
        dacm.cli("pki", "issue", pki, "sims-https", "--dns", "localhost", "--ip",
                 self.address, check=True)
        dacm.cli("pki", "keys", pki, "sims-token", "--for", "token", check=True)
        keys = pki / "sims-token.jwks"
        jwks = json.loads(keys.read_text())
        if self.rs256:
            jwks["keys"].append(rsa_jwk("rsa-1"))
            keys.write_text(json.dumps(jwks))
        public = {"keys": [{name: value for name, value in key.items()
                            if name not in ("d", "p", "q", "dp", "dq", "qi")}
                           for key in jwks["keys"]]}
        (pki / "sims-token.published").write_text(json.dumps(public))
        config["issuers"].append({"issuer": self.issuer, "may_delegate": True,
                                  "jwks_file": str(pki / "sims-token.published")})
        for entry in config["peers"]["sims"]:
            entry["issuer"] = self.issuer
        return config

    def base_config(self):
        pki, data = self.dir / "pki", self.dir / "sims"
        tls = {"certificate": f"{pki}/sims-https.crt", "key": f"{pki}/sims-https.key"}
        return {
            "issuer": self.issuer,
            "listen": {
                "https": dict(tls, address=self.address, port=self.port),
                "mtls": {"address": self.address, "port": self.mtls_port,
                         "client_ca": f"{pki}/ca.crt"},
                "ops": {"address": "127.0.0.1", "port": self.ops_port},
                "admin": {"url": f"ipc://{self.dir}/sims-admin.sock"},
            },
            "dacms": [{"resource": self.dacm.audience,
                       "target": self.dacm.config["listen"]["peers"]["url"],
                       "ca": f"{pki}/ca.crt", "certificate": f"{pki}/sims.crt",
                       "key": f"{pki}/sims.key", "server_name": "localhost"}],
            "keys": {"source": "file", "file": f"{pki}/sims-token.jwks"},
            "login": {"password_memory_bytes": 1048576, "password_passes": 1},
            "store": {"directory": f"{data}/store"},
            "audit": {"directory": f"{data}/audit"},
        }

    @property
    def config_file(self):
        return self.dir / "config" / "simsd.yaml"

    def run(self):
        for folder in ("store", "audit"):
            (self.dir / "sims" / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config_file.write_text(json.dumps(self.config, indent=1))  # JSON is YAML
        self.daemon = subprocess.Popen(
            [*self.prefix, harness.BIN / "simsd", "--config", self.config_file],
            stdout=self.log, stderr=self.log)
        wait_until("simsd's discovery", self.answers)

    def answers(self):
        if self.daemon.poll() is not None:
            raise AssertionError("simsd did not start:\n" + self.read_log())
        try:
            return self.get("/.well-known/openid-configuration").status == 200
        except OSError:
            return False

    def read_log(self):
        self.log.flush()
        return (self.dir / "simsd.log").read_text(errors="replace")

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()

    def restart(self):
        self.kill()
        self.run()

    def stop(self):
        code = 0
        if self.daemon and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            code = self.daemon.wait(harness.START_SECONDS)
        self.log.close()
        if code != 0:
            print((self.dir / "simsd.log").read_text(errors="replace"))
        return code or self.dacm.stop()

    # -- HTTP

    def context(self, certificate=None):
        context = ssl.create_default_context(cafile=self.ca_file)
        if certificate:
            context.load_cert_chain(self.dir / "pki" / f"{certificate}.crt",
                                    self.dir / "pki" / f"{certificate}.key")
        return context

    def request(self, method, path, body=None, headers=None, certificate=None, mtls=False):
        port = self.mtls_port if mtls or certificate else self.port
        connection = http.client.HTTPSConnection(
            self.host, port, context=self.context(certificate), timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, headers=None, **options):
        return self.request("GET", path, None, headers, **options)

    def post(self, path, form, headers=None, **options):
        """form: an object, a list of pairs, or the encoded text."""
        body = form if isinstance(form, (str, bytes)) else urllib.parse.urlencode(form)
        return self.request("POST", path, body, {
            "Content-Type": "application/x-www-form-urlencoded", **(headers or {})}, **options)

    @property
    def metadata(self):
        return self.get("/.well-known/openid-configuration").json

    # -- the operator

    def admin(self):
        socket = "unix://" + self.config["listen"]["admin"]["url"].removeprefix("ipc://")
        return sim_grpc.AdminStub(grpc.insecure_channel(
            socket, [("grpc.use_local_subchannel_pool", 1)]))

    def add_user(self, username, gpsis=(), password=PASSWORD, name=""):
        return self.admin().CreateUser(sim.CreateUserRequest(
            username=username, name=name, password=password, gpsis=gpsis), timeout=60)

    def add_client(self, client_id, auth="none", redirect_uris=("http://127.0.0.1/cb",),
                   grants=("authorization_code", "refresh_token"),
                   scopes=("openid", "profile", "seal.da"), consent=sim.CONSENT_RULE_NEVER,
                   **fields):
        """Registers a client and gives it what it needs to prove who it is."""
        key = None
        if auth == "private_key_jwt":
            key = Ed25519PrivateKey.generate()
            raw = key.public_key().public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            fields["jwks"] = json.dumps({"keys": [
                {"kty": "OKP", "crv": "Ed25519", "kid": client_id + "-1", "x": b64url(raw),
                 "alg": "EdDSA", "use": "sig"}]})
        if "authorization_code" not in grants:
            redirect_uris = ()
        made = self.admin().CreateClient(sim.CreateClientRequest(client=sim.Client(
            client_id=client_id, name=fields.pop("name", client_id), auth=AUTHS[auth],
            redirect_uris=redirect_uris, grant_types=[GRANTS[grant] for grant in grants],
            scopes=scopes, consent=consent, **fields)), timeout=60)
        return Client(self, client_id, auth, key, made.client_secret,
                      redirect_uris[0] if redirect_uris else None)

    # -- tokens

    def claims(self, jwt, typ="at+jwt"):
        """Claims of a token whose signature holds under the published keys."""
        head, body, signature = jwt.split(".")
        header = json.loads(unb64url(head))
        assert header["typ"] == typ, header
        key = next(key for key in self.get("/jwks.json").json["keys"]
                   if key["kid"] == header["kid"])
        signed, signature = f"{head}.{body}".encode(), unb64url(signature)
        if header["alg"] == "EdDSA":
            Ed25519PublicKey.from_public_bytes(unb64url(key["x"])).verify(signature, signed)
        else:
            assert header["alg"] == "RS256", header
            number = lambda name: int.from_bytes(unb64url(key[name]), "big")  # noqa: E731
            rsa.RSAPublicNumbers(number("e"), number("n")).public_key().verify(
                signature, signed, padding.PKCS1v15(), hashes.SHA256())
        return json.loads(unb64url(body))


class Client:
    """A registered client, its credentials, and what it would send."""

    def __init__(self, sims, client_id, auth, key, secret, redirect_uri):
        self.sims, self.client_id, self.auth = sims, client_id, auth
        self.key, self.secret, self.redirect_uri = key, secret, redirect_uri
        self.certificate = None
        if redirect_uri == "http://127.0.0.1/cb":
            self.redirect_uri = "http://127.0.0.1:41234/cb"
        self.verifier = b64url(os.urandom(32))

    def assertion(self, key=None, header=None, **changes):
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.sims.issuer,
                  "iat": now, "exp": now + 60, "jti": os.urandom(12).hex(), **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        head = {"alg": "EdDSA", "kid": self.client_id + "-1", "typ": "JWT", **(header or {})}
        text = b64url(json.dumps(head).encode()) + "." + b64url(json.dumps(claims).encode())
        return text + "." + b64url((key or self.key).sign(text.encode()))

    def credentials(self, assertion=None):
        """(form fields, headers) by which it proves who it is."""
        if self.auth == "private_key_jwt":
            return {"client_assertion_type": ASSERTION_TYPE,
                    "client_assertion": assertion or self.assertion()}, {}
        if self.auth == "client_secret_basic":
            quote = lambda text: urllib.parse.quote(text, safe="")  # noqa: E731
            pair = f"{quote(self.client_id)}:{quote(self.secret)}"
            return {}, {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        return {"client_id": self.client_id}, {}

    def send(self, path, form, assertion=None):
        fields, headers = self.credentials(assertion)
        return self.sims.post(path, {**fields, **form}, headers, certificate=self.certificate,
                              mtls=self.auth == "tls_client_auth")

    def query(self, **changes):
        """An authorization request; changes replace or, with None, remove."""
        challenge = b64url(hashlib.sha256(self.verifier.encode()).digest())
        query = {"response_type": "code", "client_id": self.client_id, "scope": "openid seal.da",
                 "redirect_uri": self.redirect_uri, "state": "state-1", "nonce": "nonce-1",
                 "acr_values": "3gpp:acr:password", "code_challenge": challenge,
                 "code_challenge_method": "S256", **changes}
        return urllib.parse.urlencode(
            {name: value for name, value in query.items() if value is not None})

    def exchange(self, code, **changes):
        form = {"grant_type": "authorization_code", "code": code, "client_id": self.client_id,
                "redirect_uri": self.redirect_uri, "code_verifier": self.verifier, **changes}
        return self.send("/token", {name: value for name, value in form.items()
                                    if value is not None})

    def refresh(self, token, **form):
        return self.send("/token", {"grant_type": "refresh_token", "refresh_token": token, **form})

    def own(self, assertion=None, **form):
        """client_credentials."""
        return self.send("/token", {"grant_type": "client_credentials", **form}, assertion)


def details(asset=None, actions=("get",), **more):
    detail = {"type": "digital_asset", "actions": list(actions), **more}
    if asset is not None:
        detail["identifier"] = asset
    return json.dumps([detail])


class Browser:
    """Cookies as a browser keeps them, and forms as it sends them."""

    def __init__(self, sims):
        self.sims, self.cookies = sims, {}

    def keep(self, reply):
        for key, value in reply.headers:
            if key.lower() == "set-cookie":
                name, _, rest = value.partition("=")
                text, *attributes = [part.strip() for part in rest.split(";")]
                assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes), value
                assert name.startswith("__Host-"), value
                if "Max-Age=0" in attributes:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = text
        return reply

    def headers(self):
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} \
            if self.cookies else {}

    def get(self, path):
        return self.keep(self.sims.get(path, self.headers()))

    def post(self, path, form):
        return self.keep(self.sims.post(path, form, self.headers()))

    def submit(self, page, **fields):
        """Sends the form of a page with what a person fills in."""
        form = Forms(page.text)
        assert form.action, page.text
        return self.post(form.action, {**form.fields, **fields})

    def login(self, page, username, password=PASSWORD):
        return self.submit(page, username=username, password=password)

    def authorize(self, client, **changes):
        return self.get("/authorize?" + client.query(**changes))

    def code(self, client, username, **changes):
        """From the link to the code, through whatever pages come."""
        page = self.authorize(client, **changes)
        if page.status == 200 and 'name="password"' in page.text:
            page = self.login(page, username)
        if page.status == 200 and 'name="decision"' in page.text:
            page = self.submit(page, decision="allow")
        address, answer = page.location
        assert "code" in answer, answer
        assert answer["iss"] == self.sims.issuer, answer
        return answer["code"]

    def tokens(self, client, username, exchange=None, **changes):
        """The answer of the token endpoint after a login, as an object."""
        reply = client.exchange(self.code(client, username, **changes), **(exchange or {}))
        assert reply.status == 200, reply.text
        return reply.json
