# SPDX-License-Identifier: Apache-2.0
"""What must be refused at the SKM-S but for changed tokens: right tokens in wrong hands, SKeyProv
of every wrong form, private keys asked for by anyone but their owner, keys asked to sign that may
not, one purpose for another, old key sets, broken and oversized requests."""
import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest
import urllib.parse

import grpc

import harness
import keygiver
import keyrefused
import keyserver
from configured import wait_until
from harness import b64url, bearer, code_of, unb64url
from keygiver import MANIFESTS, RESOURCE, TOKENS, private_jwk
from keyrefused import CHAT, ELSE, MAPS, SECOND, SECONDS, UNAUTHENTICATED
from keyserver import admin, keys

DENIED, INVALID, PRECONDITION = (
    grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION)
USER = "msisdn-491110000001"


def setUpModule():
    keyrefused.Case.world = keyrefused.World()


def tearDownModule():
    assert keyrefused.Case.world.close() == 0


class Case(keyrefused.Case):
    def fails(self, code, call, *arguments, **options):
        with self.assertRaises(grpc.RpcError) as error:
            call(*arguments, **options)
        self.assertEqual(code_of(error), code, error.exception.details())
        return error.exception.details()


class Binding(Case):
    def test_bound_token_on_another_clients_connection(self):
        self.refused(self.good(), "another certificate", stub=self.world.other.stub)

    def test_token_without_a_client_certificate(self):
        for method in keyrefused.METHODS:
            told = self.fails(UNAUTHENTICATED, self.call, method, bearer(self.good()),
                              stub=self.world.skms.stub())
            self.assertIn("client certificate", told)

    def test_cnf_that_was_stripped_brings_no_key(self):
        self.refused(self.forge(cnf=None), "not bound", via=["ProvisionKey"])

    def test_cnf_that_was_stripped_gives_no_key_to_another(self):
        self.denied(self.forge(cnf=None), via=["GetSigningKey"], stub=self.world.other.stub)

    def test_cnf_malformed(self):
        whole = self.forger.body(self.good())["cnf"]["x5t#S256"]
        for cnf in ({}, 7, "x", [], {"x5t#S256": ""}, {"x5t#S256": whole[:-1]},
                    {"x5t#S256": whole + "A"}, {"x5t#S256": whole + "="}, {"x5t#S256": 7},
                    {"jkt": whole}, {"x5t": whole}):
            with self.subTest(cnf=cnf):
                self.refused(self.forge(cnf=cnf), "cnf")

    def test_forwarded_certificate_headers_are_not_believed(self):
        chain = self.world.val.certificate[0].decode()
        forwarded = [(name, value) for name in (
            "x-forwarded-client-cert", "x-client-cert", "ssl-client-cert", "x-ssl-client-cert")
            for value in (urllib.parse.quote(chain), f'Cert="{urllib.parse.quote(chain)}"')]
        for header in forwarded:
            self.refused(self.good(), "another certificate", stub=self.world.other.stub,
                         metadata=(*bearer(self.good()), header))
            self.fails(UNAUTHENTICATED, self.call, "GetSigningKey", (*bearer(self.good()), header),
                       stub=self.world.skms.stub())

    def test_authorization_and_dacm_token_both_present(self):
        both = (*bearer(self.good()), *bearer(self.good(), "dacm-token"))
        self.refused(metadata=both, detail="more than one")
        self.refused(metadata=bearer(self.good()) * 2, detail="more than one")

    def test_token_under_another_scheme_or_name(self):
        token = self.good()
        for value, why in (
                ("Basic " + token, "scheme Bearer"), (token, "scheme Bearer"),
                ("Bearer", "scheme Bearer"), ("DPoP " + token, "scheme Bearer"),
                ("Bearer  " + token, "base64url")):
            with self.subTest(value=value[:10]):
                self.refused(metadata=(("authorization", value),), detail=why)
        for name in ("x-access-token", "proxy-authorization", "access_token"):
            self.fails(UNAUTHENTICATED, self.call, "ProvisionKey", ((name, token),))
            self.denied(metadata=((name, token),), token=None, via=["GetSigningKey"])


class Callers(Case):
    def test_same_client_id_of_another_issuer(self):
        """Each issuer's clients are its own, whatever they are called."""
        self.denied(self.world.second_token(SKeyProv=MAPS))
        ours = self.forge(SKeyProv=SECONDS)
        self.denied(ours, service=SECONDS, jwk=self.world.seconds_jwk)

    def test_users_token_on_methods_for_val_servers(self):
        """Of a user who logged in with the VAL server's client: the right is the client's."""
        for changes in ({"sub": "anna"}, {"sub": "anna", "gpsi": USER}, {"gpsi": USER}):
            with self.subTest(changes=changes):
                self.denied(self.forge(**changes), "user")

    def test_token_for_the_dacm_at_the_skms(self):
        shop = self.world.sims.add_client(
            "shop", "tls_client_auth", grants=["client_credentials"],
            scopes=["seal.da", "seal.km", "seal.kp"], tls_san=self.world.val.name,
            key_services=[MAPS], users=[USER])
        shop.certificate = self.world.val.name
        for scope in ("seal.da", "seal.da seal.km seal.kp"):
            self.refused(shop.own(scope=scope).json["access_token"], "aud")

    def test_one_scope_in_the_place_of_the_other(self):
        self.denied(self.world.val.token(scope="seal.km"), "scope", via=["ProvisionKey"])
        self.denied(self.world.val.token(scope="seal.kp"), "scope", via=["GetSigningKey"])

    def test_enrolment_token_as_access_token_and_the_reverse(self):
        enrolment = self.world.skms.token("nobody.example", CHAT)
        self.before = self.world.stored()
        self.refused(enrolment, "not a token")
        self.fails(UNAUTHENTICATED, self.world.val.stub.Enrol, keys.EnrolRequest(
            token=self.good(), sealing_key=self.world.owner.public.raw))

    def test_key_sets_and_manifests_as_access_token(self):
        jws = self.world.skms.stub().GetKeySet(keys.GetKeySetRequest(
            val_service=MAPS, purpose=MANIFESTS)).jws
        self.refused(jws, "iss")

    def test_key_brought_for_manifests_signs_no_access_token(self):
        raw = unb64url(self.world.jwk["d"])
        key = keygiver.Ed25519PrivateKey.from_private_bytes(raw)
        kid = keyserver.thumbprint(self.world.jwk)
        self.refused(self.forge(header={"kid": kid}, key=key), "kid")
        self.refused(self.forge(key=key), "signature")

    def test_all_who_may_not_are_told_the_same(self):
        """Another's service, one that is not there, a purpose that it has not: one text, and with
        the request's ID taken out the same answer of the same size."""
        self.world.skms.add("https://tokens-only.example", provisioned=True)
        self.before = self.world.stored()
        for service in (ELSE, "https://nobody.example", "https://tokens-only.example", SECONDS,
                        MAPS + "/", MAPS.upper(), MAPS[:-1], "x" * 200):
            self.denied(self.good(), service=service)
        self.denied(self.good(), service=ELSE, stub=self.world.val.stub, jwk=private_jwk())


class SKeyProv(Case):
    def kept_out(self, *claims):
        for claim in claims:
            with self.subTest(claim=claim):
                self.denied(self.forge(SKeyProv=claim), "SKeyProv", via=["ProvisionKey"])

    def test_absent(self):
        self.kept_out(None)

    def test_with_another_services(self):
        self.kept_out(CHAT, ELSE, f"{CHAT} {ELSE}")

    def test_substring_prefix_suffix_and_case(self):
        self.kept_out(MAPS[:-1], MAPS[1:], MAPS + "x", "x" + MAPS, MAPS + "/", MAPS.upper(),
                      MAPS.replace("https", "http"), f"{MAPS},{CHAT}", f"{MAPS};", f'"{MAPS}"', "*",
                      "https://*.example")

    def test_unicode_look_alike(self):
        self.kept_out(MAPS.replace("a", "\u0430"), MAPS + "\u200b", "\ufeff" + MAPS,
                      MAPS + "\u00a0" + CHAT)

    def test_white_space_other_than_single_spaces(self):
        self.kept_out(" ", " " + MAPS, MAPS + " ", f"{CHAT}  {MAPS}", f"{MAPS}\t{CHAT}",
                      f"{CHAT}\n{MAPS}", MAPS + "\n", f"{CHAT}\r\n{MAPS}", f"{MAPS}\v{CHAT}")

    def test_empty_or_another_json_type(self):
        for claim in ("", True, 7, [MAPS], {"service": MAPS}, MAPS + " " + "x" * 300):
            with self.subTest(claim=claim):
                self.refused(self.forge(SKeyProv=claim), "SKeyProv")

    def test_one_of_several_is_enough(self):
        """Without it the refusals above would show nothing."""
        for claim in (MAPS, f"{CHAT} {MAPS}", f"{MAPS} {CHAT}", f"{ELSE} {MAPS} {CHAT}"):
            self.accepted(self.forge(SKeyProv=claim))

    def test_simsd_gives_it_to_nobody_who_asks_for_more(self):
        reply = self.world.other.answer(scope="seal.kp", SKeyProv=MAPS)
        if reply.status == 200:
            self.assertEqual(self.forger.body(reply.json["access_token"])["SKeyProv"], ELSE)
        reply = self.world.val.answer(scope="seal.km")
        self.assertNotIn("SKeyProv", self.forger.body(reply.json["access_token"]))


class Owner(Case):
    """A private key asked for by anyone but its owner."""

    def test_by_certificates_with_nearly_the_owners_name(self):
        for name in ("xval.example", "val.example.evil", "val.exampl", "val", "example",
                     "sub.val.example"):
            stub = self.world.skms.stub(self.world.certificate(name))
            self.denied(self.forge(cnf=None), via=["GetSigningKey"], stub=stub)

    def test_by_the_sims_the_dacm_and_the_skms_itself(self):
        for folder, name in ((self.world.sims.dir, "sims"), (self.world.sims.dir, "dacmd"),
                             (self.world.skms.dir, "skmsd")):
            pair = tuple((folder / "pki" / f"{name}.{kind}").read_bytes()
                         for kind in ("crt", "key"))
            stub = self.world.skms.stub(pair)
            for service in (MAPS, ELSE, ""):
                self.denied(token=None, metadata=(), service=service, stub=stub,
                            via=["GetSigningKey"])

    def test_by_the_owners_certificate_without_its_token(self):
        self.denied(token=None, metadata=(), via=["GetSigningKey"])
        self.denied(token=None, metadata=(), via=["GetSigningKey"], service="")

    def test_by_the_owners_certificate_over_https_without_its_token(self):
        for path in (f"/ss-kir/v1/key-records?val-service-id={MAPS}",
                     f"/ss-kir/v1/key-records?val-service-id={MAPS}&purpose=manifests"):
            self.assertEqual(self.https(path), 401)
            self.assertEqual(self.https(path, "val"), 403)
            self.assertEqual(self.https(path, "other"), 403)

    def https(self, path, server=None, method="GET", headers=None):
        """The status; the certificate is of simsd's PKI, which listen.keys.client_ca has."""
        port = self.world.skms.config["listen"]["https"]["port"]
        context = keyserver.ssl.create_default_context(cafile=self.world.skms.pki / "ca.crt")
        if server:
            pki = self.world.sims.dir / "pki"
            context.load_cert_chain(pki / f"{server}.example.crt", pki / f"{server}.example.key")
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
        try:
            connection.request(method, path, headers=headers or {})
            return connection.getresponse().status
        finally:
            connection.close()

    def test_by_a_thief_whose_sealing_key_was_never_registered(self):
        """The answer to the right caller is sealed; whoever sees it has nothing."""
        reply = self.call("GetSigningKey", bearer(self.good()))
        thief = keyserver.Client.__new__(keyserver.Client)
        thief.public, thief.private = (keyserver.ctypes.create_string_buffer(32)
                                       for _ in range(2))
        keyserver.sodium.crypto_box_keypair(thief.public, thief.private)
        self.assertIsNone(thief.opened(reply.keys[0].sealed_jwk))
        self.assertNotIn(self.world.jwk["d"].encode(), reply.SerializeToString())

    def test_by_the_operator(self):
        """Who may do everything else: no answer has a private half."""
        operator = self.world.skms.admin()
        for key in operator.ListKeys(admin.ListKeysRequest(page_size=1000)).keys:
            self.assertNotIn('"d"', key.public_jwk)
        for answer in (operator.ListServices(admin.ListServicesRequest()),
                       operator.GetRoot(admin.GetRootRequest())):
            text = answer.SerializeToString()
            self.assertNotIn(b'"d"', text)
            self.assertNotIn(unb64url(self.world.jwk["d"]), text)

    def test_by_one_whose_enrolment_was_revoked(self):
        service = "https://left.example"
        gone = keygiver.Server(self.world, "gone", [service])
        client = keyserver.Client(self.world.skms, "unused.example")
        client.stub = gone.stub
        client.enrol(self.world.service(service, gone))
        gone.provision(service)
        token = gone.token(scope="seal.km")
        self.call("GetSigningKey", bearer(token), stub=gone.stub, service=service)
        self.world.skms.admin().RevokeEnrolment(admin.RevokeEnrolmentRequest(
            val_service=service, certificate_san=gone.name))
        self.before = self.world.stored()
        self.denied(token, via=["GetSigningKey"], stub=gone.stub, service=service)

    def test_admin_methods_with_every_certificate_on_the_keys_listener(self):
        for pair in (None, self.world.val.certificate, self.world.certificate("admin")):
            stub = keyserver.admin_grpc.AdminStub(self.world.skms.channel(pair))
            for method, request in (
                    ("ListKeys", admin.ListKeysRequest()), ("RotateRoot", admin.RotateRootRequest()),
                    ("CreateEnrolment", admin.CreateEnrolmentRequest(
                        val_service=MAPS, certificate_san="thief.example")),
                    ("RevokeKey", admin.RevokeKeyRequest(kid=keyserver.thumbprint(
                        self.world.jwk)))):
                self.fails(grpc.StatusCode.UNIMPLEMENTED, getattr(stub, method), request,
                           metadata=bearer(self.good()))


class Signing(Case):
    """Keys that do not leave, asked to sign what they may not."""

    def service(self, **policy):
        name = f"https://{self.id().rsplit('.', 1)[1].replace('_', '-')}.example"
        self.world.skms.add(name, delegated=True, **policy)
        client = self.world.skms.client(f"{name[8:40].strip('-')}.signs.example", name)
        return name, client

    def sign(self, client, kid="", purpose=MANIFESTS):
        return client.stub.Sign(keys.SignRequest(purpose=purpose, kid=kid, message=b"a.b"),
                                timeout=60)

    def states(self, service, purpose=MANIFESTS):
        return {key.kid: key.state for key in self.world.skms.admin().ListKeys(
            admin.ListKeysRequest(val_service=service, purpose=purpose)).keys}

    def rotated(self, verify_only_s):
        """(client, service, kid of the key that signed before)."""
        service, client = self.service(verify_only_s=verify_only_s)
        old = self.sign(client).kid
        self.world.skms.admin().RotateKey(admin.RotateKeyRequest(
            val_service=service, purpose=MANIFESTS))
        def turned():  # and the one after it was made: nothing changes later by itself
            states = self.states(service)
            return states.pop(old) not in (
                keys.KEY_STATE_ACTIVE, keys.KEY_STATE_PRE_PUBLISHED) and (
                keys.KEY_STATE_PRE_PUBLISHED in states.values())
        wait_until("the next key signs", turned)
        return client, service, old

    def signs_on_without(self, client, kid):
        self.fails(PRECONDITION, self.sign, client, kid)
        self.assertNotEqual(self.sign(client).kid, kid)
        self.before = self.world.stored()

    def test_retired_key(self):
        client, service, old = self.rotated(0)
        self.assertEqual(self.states(service)[old], keys.KEY_STATE_RETIRED)
        self.signs_on_without(client, old)

    def test_key_that_only_verifies(self):
        client, service, old = self.rotated(3600)
        self.assertEqual(self.states(service)[old], keys.KEY_STATE_VERIFY_ONLY)
        self.signs_on_without(client, old)

    def test_compromised_key(self):
        service, client = self.service()
        old = self.sign(client).kid
        self.world.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=old, reason="lost"))
        self.signs_on_without(client, old)

    def test_key_whose_time_is_to_come(self):
        service, client = self.service()
        ahead, = (kid for kid, state in self.states(service).items()
                  if state == keys.KEY_STATE_PRE_PUBLISHED)
        self.signs_on_without(client, ahead)

    def test_key_of_another_purpose_or_service(self):
        service, client = self.service()
        tokens = self.sign(client, purpose=TOKENS).kid
        self.fails(PRECONDITION, self.sign, client, tokens)
        brought = keyserver.thumbprint(self.world.jwk)
        foreign = self.world.skms.stub(self.world.val.certificate)
        self.fails(PRECONDITION, self.sign, client, brought)
        self.before = self.world.stored()
        self.fails(DENIED, foreign.Sign, keys.SignRequest(
            purpose=MANIFESTS, kid=tokens, message=b"a.b"))

    def test_kid_that_is_none(self):
        _, client = self.service()
        self.before = self.world.stored()
        for kid in ("nothing", "../" + "x" * 20, "k" * 65536, "'; --", self.sign(client).kid + "="):
            with self.subTest(kid=kid[:10]):
                self.fails(PRECONDITION, self.sign, client, kid)

    def test_by_a_val_server_whatever_its_token(self):
        """What it brings it has; Sign is for servers whose keys do not leave."""
        request = keys.SignRequest(purpose=MANIFESTS, message=b"a.b")
        for metadata in ((), bearer(self.good())):
            self.fails(DENIED, self.world.val.stub.Sign, request, metadata=metadata)
        service, _ = self.service()
        self.world.enrolment(service, self.world.val)
        self.before = self.world.stored()
        self.fails(DENIED, self.world.val.stub.Sign, request, metadata=bearer(self.good()))

    def test_by_nobody(self):
        self.fails(UNAUTHENTICATED, self.world.skms.stub().Sign,
                   keys.SignRequest(purpose=MANIFESTS, message=b"a.b"))


class Purposes(Case):
    """One key, one service, one purpose."""

    def bring(self, jwk, purpose, service=MAPS, server=None):
        server = server or self.world.val
        return self.call("ProvisionKey", bearer(server.token(scope="seal.kp")), service=service,
                         stub=server.stub, jwk=jwk, purpose=purpose)

    def test_manifest_key_where_a_token_key_belongs(self):
        self.assertIn("something else", self.fails(INVALID, self.bring, self.world.jwk, TOKENS))
        self.assertIn("purpose", self.fails(
            INVALID, self.bring, private_jwk(dacm_purpose="manifest"), TOKENS))

    def test_token_key_where_a_manifest_key_belongs(self):
        self.assertIn("purpose", self.fails(
            INVALID, self.bring, private_jwk(dacm_purpose="token"), MANIFESTS))

    def test_key_that_signs_access_tokens_for_this_server(self):
        """simsd's own key, without a word of what it is for, as a key for manifests."""
        for signer in (self.forger.signers[self.forger.kid], self.world.second_key):
            self.assertIn("something else", self.fails(
                INVALID, self.bring, private_jwk(signer), MANIFESTS))

    def test_key_of_another_service(self):
        self.assertIn("something else", self.fails(
            INVALID, self.bring, self.world.others_jwk, MANIFESTS))

    def test_sets_are_for_the_purpose_that_was_asked_for(self):
        stub = self.world.skms.stub()
        found = {}
        for purpose, name in ((MANIFESTS, "manifests"), (TOKENS, "tokens")):
            claims = self.world.skms.verifier().read(stub.GetKeySet(keys.GetKeySetRequest(
                val_service=MAPS, purpose=purpose)))
            self.assertEqual((claims["purpose"], claims["service"]), (name, MAPS))
            found[name] = {key["kid"] for key in claims["keys"]}
        self.assertFalse(found["manifests"] & found["tokens"])


class Rollback(Case):
    """Sets as this skmsd signed them, to a client that pins its root."""

    def setUp(self):
        super().setUp()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="dacm-skms-"))
        self.addCleanup(keyserver.shutil.rmtree, self.home)
        self.service = f"https://{self.id().rsplit('.', 1)[1].replace('_', '-')}.example"
        self.world.skms.add(self.service)
        root = json.loads(self.world.skms.admin().GetRoot(admin.GetRootRequest()).jwk)
        (self.home / "root.jwk").write_text(json.dumps(root))
        self.trust("add", self.home / "root.jwk", "--fingerprint",
                   "SHA256:" + keyserver.thumbprint(root), "--issuer", "https://skms.example")
        self.old = self.newest()

    def tearDown(self):
        self.before = self.world.stored()
        super().tearDown()

    def newest(self):
        return self.world.skms.stub().GetKeySet(keys.GetKeySetRequest(
            val_service=self.service, purpose=MANIFESTS))

    def trust(self, *arguments, code=0):
        done = subprocess.run(
            [harness.BIN / "dacm", "trust", arguments[0], "--dir", self.home / "trust",
             *map(str, arguments[1:])], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stderr

    def update(self, key_set, code=0):
        (self.home / "set").write_text(key_set.jws)
        return self.trust("update", self.home / "set", code=code)

    def revoke(self):
        kid = next(key.kid for key in self.world.skms.admin().ListKeys(admin.ListKeysRequest(
            val_service=self.service, purpose=MANIFESTS)).keys
            if key.state == keys.KEY_STATE_ACTIVE)
        self.world.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=kid, reason="lost"))

    def test_older_set_is_refused_after_a_newer_one_was_seen(self):
        self.update(self.old)
        self.revoke()
        self.update(self.newest())
        self.assertIn("is an old one", self.update(self.old, code=5))
        self.update(self.newest())

    def test_kill_9_publishes_no_lower_version(self):
        self.revoke()
        before = self.newest()
        self.update(before)
        self.world.skms.kill()
        self.world.skms.start()
        for server in (self.world.val, self.world.other):
            server.stub = self.world.skms.stub(server.certificate)
        wait_until("simsd's keys at skmsd", self.world.knows_simsd)
        after = self.newest()
        self.assertEqual(after.version, before.version)
        self.update(after)


class Requests(Case):
    """Bytes that are no request, and requests too large: a status, and others are served."""

    GOOD = {
        "Enrol": keys.EnrolRequest(token="t" * 43, sealing_key=os.urandom(32)),
        "GetSigningKey": keys.GetSigningKeyRequest(val_service=MAPS, purpose=MANIFESTS),
        "ProvisionKey": keys.ProvisionKeyRequest(
            val_service=MAPS, purpose=MANIFESTS, jwk=b"{}", signs_from=1, signs_until=2),
        "GetKeySet": keys.GetKeySetRequest(val_service=MAPS, purpose=MANIFESTS, have_root=1),
        "Sign": keys.SignRequest(purpose=MANIFESTS, kid="k", message=b"m"),
    }

    def raw(self, method, data, channel=None):
        """The status code; None: answered."""
        call = (channel or self.channel).unary_unary(f"/skms.v1.SigningKeys/{method}")
        try:
            call(data, timeout=60, metadata=bearer(self.good()))
        except grpc.RpcError as error:
            return error.code()
        return None

    def setUp(self):
        super().setUp()
        self.channel = self.world.skms.channel(self.world.val.certificate)
        self.addCleanup(self.channel.close)

    def test_unknown_fields_are_harmless(self):
        good = self.GOOD["GetKeySet"].SerializeToString()
        for more in (b"\xf8\x07\x01", b"\xfa\x07\x03abc", b"\xfd\x07abcd", b"\xf9\x07abcdefgh"):
            self.assertIsNone(self.raw("GetKeySet", good + more))

    def test_truncated_and_wrong_wire_types(self):
        for method, message in self.GOOD.items():
            good = message.SerializeToString()
            for wrong in (*(good[:size] for size in range(len(good))), good + b"\x0a\xff\xff",
                          good + b"\x0a\xff\xff\xff\xff\x0f", good + b"\x0b", good + b"\x0f",
                          good + b"\x00", b"\x09" + bytes(8), b"\xff" * 40, os.urandom(200)):
                self.assertNotIn(self.raw(method, wrong), (
                    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN,
                    grpc.StatusCode.UNAVAILABLE), (method, wrong))

    def test_strings_with_nul_or_no_utf8(self):
        for method in ("GetSigningKey", "ProvisionKey", "GetKeySet"):
            for text in (MAPS.encode() + b"\0", MAPS.encode() + b"\0/../x", b"\xff", b"\xc0\xaf",
                         b"\xed\xa0\x80"):
                data = b"\x0a" + bytes([len(text)]) + text + b"\x10\x02"
                self.assertEqual(self.raw(method, data), INVALID, (method, text))

    def test_names_of_services_of_every_wrong_form(self):
        for name in ("", " ", "../" * 20, "s/" + MAPS, "x" * 4096, "x" * 100000, "\n", "\u0430",
                     MAPS + "\u202e", "%00", "'\"\\"):
            with self.subTest(name=name[:10]):
                self.denied(self.good(), service=name, via=["ProvisionKey"])
                if name:
                    self.denied(self.good(), service=name, via=["GetSigningKey"])
                self.fails(grpc.StatusCode.NOT_FOUND, self.world.skms.stub().GetKeySet,
                           keys.GetKeySetRequest(val_service=name, purpose=MANIFESTS))

    def test_no_field_of_a_refusals_record_is_lost_to_a_long_name(self):
        """Whatever a caller names: who it was, what for, and how it ended stand in the trail."""
        longest = "https://" + "x" * 192
        for name in (longest, longest + "x", "x" * 1024, "x" * 100000, '"' * 4096, "\x01" * 4096,
                     "\u0430" * 4096, "\U0001f642\n" * 2000):
            for method, event in (("GetSigningKey", "release"), ("ProvisionKey", "provision")):
                self.fails(DENIED, self.call, method, bearer(self.good()), service=name)
                record = [r for r in self.world.skms.audit() if r["event"] == event][-1]
                self.assertEqual(set(record), {
                    "time_ms", "request_id", "event", "outcome", "client", "certificate_sha256",
                    "val_service", "purpose", "kids"}, (method, name[:10]))
                self.assertEqual((record["outcome"], record["client"], record["purpose"]),
                                 ("PERMISSION_DENIED", self.world.val.name, "manifests"))
                self.assertTrue(name.startswith(record["val_service"]))
                self.assertGreaterEqual(len(record["val_service"]), min(len(name), 200))

    def test_purposes_that_are_none(self):
        for purpose in (0, 3, -1, 2**31 - 1):
            for method in keyrefused.METHODS:
                self.fails(INVALID, self.call, method, bearer(self.good()), purpose=purpose)

    def test_key_too_large_and_message_too_large(self):
        good = json.dumps(self.world.jwk)
        for size, code in ((4097, INVALID), (1 << 20, grpc.StatusCode.RESOURCE_EXHAUSTED),
                           ((4 << 20) + 1, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            request = keys.ProvisionKeyRequest(
                val_service=MAPS, purpose=MANIFESTS, jwk=good.encode() + b" " * (size - len(good)))
            self.assertEqual(self.raw("ProvisionKey", request.SerializeToString()), code, size)
        exact = keys.ProvisionKeyRequest(
            val_service=MAPS, purpose=MANIFESTS, jwk=good.encode() + b" " * (4096 - len(good)))
        self.assertIsNone(self.raw("ProvisionKey", exact.SerializeToString()))

    def test_bombs_of_many_fields(self):
        for method, field in (("GetKeySet", b"\x0a\x01x"), ("ProvisionKey", b"\x1a\x01x")):
            self.assertEqual(self.raw(method, field * 1000000),
                             grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_statements_after_a_root_that_never_was(self):
        for have in (1, 2**53, 2**64 - 1):
            reply = self.world.skms.stub().GetKeySet(keys.GetKeySetRequest(
                val_service=MAPS, purpose=MANIFESTS, have_root=have))
            self.assertEqual(list(reply.root_statements), [])

    def test_methods_that_there_are_not(self):
        for path in ("Nothing", "../Admin/ListKeys", "signingkeys", ""):
            self.assertEqual(self.raw(path, b""), grpc.StatusCode.UNIMPLEMENTED)


if __name__ == "__main__":
    unittest.main()
