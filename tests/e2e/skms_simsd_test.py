# SPDX-License-Identifier: Apache-2.0
"""simsd whose token keys come from the SKM-S."""
import concurrent.futures
import json
import signal
import subprocess
import threading
import unittest
import urllib.error
import urllib.request

import grpc

import harness
import keygiver
import keyserver
import provisioned
import sims
from configured import wait_until
from harness import unb64url
from keyserver import admin, keys

TOKENS = keys.PURPOSE_TOKENS


class World(sims.Sims):
    """policy: of simsd's VAL service at the SKM-S; enrol False: the operator made no token."""
    NAME = "sims.example"

    def __init__(self, skms, enrol=True, **policy):
        self.skms, self.enrol, self.policy = skms, enrol, policy
        super().__init__(self.provision, rs256=False)
        self.val = self.add_client("val", "private_key_jwt", grants=["client_credentials"],
                                   scopes=["seal.da"])

    @property
    def folder(self):
        return self.dir / "sims" / "skmc"

    def provision(self, _, config):
        self.skms.add(self.issuer, **self.policy)
        config["keys"] = {"source": "skms"}
        config["skms"] = provisioned.skms_settings(self.skms, self.folder, self.NAME)
        (self.folder / "kept").mkdir(mode=0o700)
        if self.enrol:
            self.put_token()
        return config

    def put_token(self):
        provisioned.put_token(self.skms, self.folder, self.NAME, self.issuer)

    def listed(self):
        return {key.kid: key for key in self.skms.admin().ListKeys(admin.ListKeysRequest(
            val_service=self.issuer, purpose=TOKENS)).keys}

    def signer(self):
        return next(kid for kid, key in self.listed().items()
                    if key.state == keys.KEY_STATE_ACTIVE)

    def revoke(self, kid):
        self.skms.admin().RevokeKey(admin.RevokeKeyRequest(kid=kid, reason="a test"))

    def token(self):
        """A token by client_credentials; None: none is issued now."""
        reply = self.val.own()
        return reply.json["access_token"] if reply.status == 200 else None

    def signed_by(self):
        token = self.token()
        return token and kid_of(token)

    def published(self):
        return {key["kid"]: key for key in self.get("/jwks.json").json["keys"]}

    def health(self):
        """Of the side listener, plain HTTP on loopback."""
        url = f"http://127.0.0.1:{self.ops_port}/healthz"
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def active(self, token):
        """By introspection."""
        return self.val.send("/introspect", {"token": token}).json["active"]


def kid_of(token):
    return json.loads(unb64url(token.split(".")[0]))["kid"]


class Provisioned(unittest.TestCase):
    def setUp(self):
        self.skms = keyserver.Skms()
        self.addCleanup(self.skms.close)

    def world(self, **options):
        world = World(self.skms, **options)
        self.addCleanup(lambda: self.assertEqual(world.stop(), 0))
        return world

    def test_key_of_the_skms_signs_and_is_published_with_the_next(self):
        world = self.world()
        token = world.token()
        self.assertEqual(kid_of(token), world.signer())
        world.claims(token)  # its signature holds under what is published
        self.assertEqual(set(world.published()), set(world.listed()))
        self.assertNotIn("d", set().union(*world.published().values()))
        self.assertTrue(world.active(token))
        self.assertEqual(world.health()["status"], "ok", world.health())

    def test_rotation_takes_effect_without_a_restart_and_old_tokens_go_on(self):
        world = self.world(published_before_s=1)
        old, first = world.token(), world.signer()
        self.skms.admin().RotateKey(admin.RotateKeyRequest(
            val_service=world.issuer, purpose=TOKENS))
        wait_until("a token of the next key", lambda: world.signed_by() not in (None, first))
        self.assertEqual(world.signed_by(), world.signer())
        self.assertTrue(world.active(old))
        self.assertIn(first, world.published())

    def test_revoked_key_signs_no_more_and_its_tokens_are_void(self):
        world = self.world()
        old, lost = world.token(), world.signer()
        world.revoke(lost)
        wait_until("a token of another key", lambda: world.signed_by() not in (None, lost))
        self.assertFalse(world.active(old))
        self.assertNotIn(lost, world.published())
        self.assertEqual(world.get("/userinfo", {"Authorization": "Bearer " + old}).status, 401)

    def test_it_serves_on_while_the_skms_is_away_and_across_a_restart(self):
        world = self.world()
        kid = world.signed_by()
        self.skms.kill()
        wait_until("the warning", lambda: "skms" in json.dumps(world.health()))
        self.assertEqual(world.signed_by(), kid)
        world.restart()  # takes no assertion of the second in which it starts
        wait_until("a token", world.signed_by)
        self.assertEqual(world.signed_by(), kid)
        self.skms.start()
        wait_until("the end of the warning", lambda: world.health()["status"] == "ok")

    def test_without_any_key_it_says_so_and_goes_on_with_the_first(self):
        world = self.world(enrol=False)
        self.assertIsNone(world.token())
        self.assertEqual(world.published(), {})
        reply = world.val.own()
        self.assertEqual(reply.status, 503, reply.text)
        world.put_token()  # is taken within seconds, without a restart
        wait_until("a token", world.signed_by)
        self.assertEqual(world.signed_by(), world.signer())

    def test_key_that_does_not_leave_the_skms_signs_there(self):
        world = self.world(delegated=True)
        token = world.token()
        world.claims(token)
        self.skms.kill()
        self.assertIsNone(world.token())
        self.skms.start()
        wait_until("a token", world.signed_by)

    def test_delegated_keys_turn_and_no_token_fails(self):
        """In whatever moment of a turn it is asked for, which simsd hears of a moment later."""
        world = self.world(delegated=True, published_before_s=1)
        over = threading.Event()

        def ask():
            kids = set()
            while not over.is_set():
                reply = world.val.own()
                self.assertEqual(reply.status, 200, reply.text)
                kids.add(kid_of(reply.json["access_token"]))
            return kids

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            try:
                for _ in range(6):
                    before = world.signer()
                    self.skms.admin().RotateKey(admin.RotateKeyRequest(
                        val_service=world.issuer, purpose=TOKENS))
                    wait_until("the next key", lambda: world.signer() != before)  # noqa: B023
            finally:
                over.set()
            self.assertGreater(len(set.union(*(each.result() for each in asking))), 3)

    def test_configuration_that_contradicts_itself_is_refused(self):
        world = self.world()
        for changes, setting in (({"keys": {"source": "file"}}, "keys.file"),
                                 ({"skms": {**world.config["skms"], "target": ""}}, "skms.target")):
            path = world.dir / "config" / "wrong.yaml"
            path.write_text(json.dumps({**world.config, **changes}))
            done = subprocess.run([harness.BIN / "simsd", "--config", path, "--check-config"],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(setting, done.stderr)


class Own(World):
    """Whose tokens for VAL servers the SKM-S takes by the key set that it has of it itself, and
    did before it had one."""

    def provision(self, _, config):
        skms = self.skms
        skms.stop()
        both = skms.dir / "both.pem"
        both.write_bytes(skms.ca + (self.dir / "pki" / "ca.crt").read_bytes())
        skms.config["listen"]["keys"]["client_ca"] = str(both)
        skms.config["resource"] = keygiver.RESOURCE
        skms.config["issuers"] = [{"issuer": self.issuer, "jwks_skms": True}]
        skms.start()
        config = super().provision(_, config)
        config["skms"]["resources"] = [keygiver.RESOURCE]
        return config


class GivingWorld(keygiver.World):
    def __init__(self, own):
        self.sims, self.skms = own, own.skms


class OwnTokens(unittest.TestCase):
    MAPS = "https://maps.example"

    def setUp(self):
        self.skms = keyserver.Skms()
        self.addCleanup(self.skms.close)
        self.world = GivingWorld(Own(self.skms, published_before_s=1))
        self.addCleanup(lambda: self.assertEqual(self.world.sims.stop(), 0))
        self.server = keygiver.Server(self.world, "maps", [self.MAPS])
        self.world.service(self.MAPS, self.server)

    def test_revoked_token_key_counts_at_once_and_the_next_one_as_well(self):
        jwk, lost = keygiver.private_jwk(), self.world.sims.signer()
        token = self.server.token(scope="seal.kp")
        self.assertEqual(kid_of(token), lost)
        made = self.server.provision(self.MAPS, jwk, token=token)
        self.world.sims.revoke(lost)
        with self.assertRaises(grpc.RpcError) as error:  # nothing is waited for
            self.server.provision(self.MAPS, jwk, token=token)
        self.assertEqual(harness.code_of(error), grpc.StatusCode.UNAUTHENTICATED)
        wait_until("a token of another key", lambda: self.world.sims.signed_by() not in (None, lost))
        fresh = self.server.token(scope="seal.kp")
        self.assertEqual(self.server.provision(self.MAPS, jwk, token=fresh), made)

    def test_it_takes_the_keys_of_its_store_after_a_restart_and_a_reload(self):
        jwk, token = keygiver.private_jwk(), self.server.token(scope="seal.kp")
        made = self.server.provision(self.MAPS, jwk, token=token)
        self.skms.process.send_signal(signal.SIGHUP)
        wait_until("the reload", lambda: "reloaded certificates and issuers" in self.skms.log())
        self.assertEqual(self.server.provision(self.MAPS, jwk, token=token), made)
        self.skms.kill()
        self.skms.start()
        self.server.stub = self.skms.stub(self.server.certificate)
        self.assertEqual(self.server.provision(self.MAPS, jwk, token=token), made)

    def test_token_keys_that_it_makes_itself_are_brought_for_nothing_else(self):
        """The SIM-S has the private half of its own token keys and could bring it as another."""
        kid = self.world.sims.signer()
        self.assertIn(kid, self.world.sims.published())
        folder = self.world.sims.folder / "kept"
        client = keyserver.Client(self.skms, "opener.example")
        client.private.raw = unb64url((folder / "sealing.key").read_text())
        client.public.raw = provisioned.x25519(client.private.raw)
        sealed = json.loads((folder / "kept.json").read_text())["sealed"]
        opened = [client.opened(unb64url(entry["jwk"])) for entry in sealed]
        jwk = next(jwk for jwk in opened if jwk["kid"] == kid)
        own = {name: jwk[name] for name in ("kty", "crv", "x", "d")}
        with self.assertRaises(grpc.RpcError) as error:
            self.server.provision(self.MAPS, own)
        self.assertEqual(harness.code_of(error), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("there for something else", error.exception.details())


if __name__ == "__main__":
    unittest.main()
