# SPDX-License-Identifier: Apache-2.0
"""Profiles and lists over the wire (TS 23.438 7.2): who sees and changes what, pages, generations,
IDs that are never used again, and fields that are refused by name."""
import unittest

import grpc

import harness
from harness import bearer, da

DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
ABORTED = grpc.StatusCode.ABORTED
LIST = 100_000 if harness.FULL else 3000


def setUpModule():
    global dev, owner, listed, other
    dev = harness.Dev()
    owner, listed, other = dev.users[0], dev.users[1], dev.users[-1]


def tearDownModule():
    assert dev.stop() == 0, dev.read_log()


class Case(unittest.TestCase):
    def setUp(self):
        self.channel = dev.channel()
        self.stub = dev.stub(self.channel)

    def tearDown(self):
        self.channel.close()

    def token(self, user, asset, action):
        return bearer(dev.token(user, asset, [action], [user]))

    def create(self, user=None, **profile):
        user = user or owner
        return self.stub.CreateProfile(
            da.CreateProfileRequest(gpsi=user, profile=da.DigitalAssetProfile(
                asset_type=da.ASSET_TYPE_AVATAR, **profile)),
            metadata=self.token(user, None, "create"), timeout=60).profile

    def get(self, asset, user=None, **fields):
        user = user or owner
        return self.stub.GetProfile(da.GetProfileRequest(asset_id=asset, gpsi=user, **fields),
                                    metadata=self.token(user, asset, "get"), timeout=60)

    def update(self, asset, user=None, **fields):
        user = user or owner
        return self.stub.UpdateProfile(
            da.UpdateProfileRequest(asset_id=asset, gpsi=user, **fields),
            metadata=self.token(user, asset, "update"), timeout=60).generation

    def delete(self, asset, user=None, **fields):
        user = user or owner
        self.stub.DeleteProfile(da.DeleteProfileRequest(asset_id=asset, gpsi=user, **fields),
                                metadata=self.token(user, asset, "delete"), timeout=60)

    def discover(self, user, **fields):
        return self.stub.DiscoverProfiles(
            da.DiscoverProfilesRequest(gpsi=user, **fields),
            metadata=self.token(user, None, "discovery"), timeout=60)

    def refused(self, code, fn, *args, word="", **kwargs):
        with self.assertRaises(grpc.RpcError) as error:
            fn(*args, **kwargs)
        self.assertEqual(error.exception.code(), code, error.exception.details())
        self.assertIn(word, error.exception.details())


def entry(user, *operations):
    return da.AccessControlEntry(allowed_user=user, allowed_operations=operations)


class Profiles(Case):
    def test_created_profile_is_shown_as_it_was_given(self):
        made = self.create(access_control_list=[entry(listed, da.OPERATION_GET)],
                           spatial_conditions=["cell-1"])
        shown = self.get(made.asset_id)
        self.assertEqual(list(shown.profile.owners), [owner])
        self.assertEqual([e.allowed_user for e in shown.profile.access_control_list], [listed])
        self.assertEqual(list(shown.profile.spatial_conditions), ["cell-1"])
        self.assertEqual(shown.profile.current_status, da.ASSET_STATUS_IN_USE)
        self.assertFalse(shown.profile.HasField("media"))
        self.assertEqual((shown.access_control_count, shown.profile.generation), (1, 1))

    def test_listed_user_sees_the_own_entry_alone_and_strangers_nothing(self):
        asset = self.create(access_control_list=[entry(listed), entry("msisdn-4912345678")]).asset_id
        shown = self.get(asset, listed).profile
        self.assertEqual([e.allowed_user for e in shown.access_control_list], [listed])
        self.refused(DENIED, self.get, asset, other)

    def test_operations_bound_what_a_listed_user_may_do(self):
        asset = self.create(access_control_list=[
            entry(listed, da.OPERATION_GET, da.OPERATION_UPDATE)]).asset_id
        self.update(asset, listed, allow=[entry(other, da.OPERATION_GET)])
        self.get(asset, other)
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, self.update, asset, listed,
                     allow=[entry(other, da.OPERATION_DELETE)], word="owner")
        self.refused(DENIED, self.delete, asset, listed)
        self.refused(DENIED, self.update, asset, other, deny=[listed])

    def test_if_match_names_a_generation(self):
        asset = self.create().asset_id
        generation = self.update(asset, allow=[entry(listed)], if_match=1)
        self.refused(ABORTED, self.update, asset, deny=[listed], if_match=1, word="if_match")
        self.refused(ABORTED, self.delete, asset, if_match=1, word="if_match")
        self.get(asset, listed)
        self.delete(asset, if_match=generation)

    def test_deleted_asset_is_gone_for_everybody_and_its_id_is_never_used_again(self):
        asset = self.create(access_control_list=[entry(listed)]).asset_id
        self.delete(asset)
        for user in (owner, listed):
            self.refused(DENIED, self.get, asset, user)
        self.refused(DENIED, dev.upload, b"again", owner, asset=asset)
        self.assertNotIn(asset, [p.asset_id for p in self.discover(owner, page_size=1000).profiles])

    def test_owners_are_added_and_one_stays(self):
        asset = self.create().asset_id
        self.update(asset, add_owners=[listed])
        self.refused(INVALID, self.update, asset, remove_owners=[owner, listed], word="owner")
        self.update(asset, listed, remove_owners=[owner])
        self.refused(DENIED, self.get, asset, owner)
        self.assertEqual(list(self.get(asset, listed).profile.owners), [listed])

    def test_wrong_fields_are_refused_by_name(self):
        asset = self.create().asset_id
        for word, fields in (("allow", {"allow": [entry("bob")]}), ("deny", {"deny": ["+49 170"]}),
                             ("twice", {"allow": [entry(listed)], "deny": [listed]}),
                             ("add_owners", {"add_owners": ["nobody"]}),
                             ("allow", {"allow": [entry("msisdn-49%09d" % i)
                                                  for i in range(1001)]})):
            with self.subTest(word=word):
                with self.assertRaises(grpc.RpcError) as error:
                    self.update(asset, **fields)
                self.assertEqual(error.exception.code(), INVALID, error.exception.details())
        self.refused(INVALID, self.get, asset, page_token="*", word="page_token")
        self.refused(INVALID, self.get, asset, page_size=10_001, word="page_size")
        self.refused(INVALID, self.create, asset_id="mine", word="asset_id")

    def test_long_list_in_pages_without_gaps_or_doubles(self):
        asset = self.create().asset_id
        users = ["msisdn-4917%08d" % i for i in range(LIST)]
        for at in range(0, LIST, 1000):
            self.update(asset, allow=[entry(user) for user in users[at:at + 1000]])
        seen, token = [], ""
        while True:
            page = self.get(asset, page_size=700, page_token=token)
            self.assertEqual(page.access_control_count, LIST)
            seen += [e.allowed_user for e in page.profile.access_control_list]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(sorted(seen), users)


class Discovery(Case):
    def assert_pages_hide(self, user, asset):
        """Neither the pages nor their tokens name it, and a token says nothing twice."""
        seen, token = set(), ""
        while True:
            page = self.discover(user, page_size=1, page_token=token)
            token = page.next_page_token
            self.assertNotIn(asset, [profile.asset_id for profile in page.profiles])
            self.assertNotIn(asset.encode(), harness.unb64url(token))
            self.assertNotIn(token, seen)
            seen.add(token)
            if not token:
                break
        self.assertGreater(len(seen), 1)

    def test_page_token_of_another_user_or_list_or_changed_is_refused(self):
        user, stranger = "msisdn-4915999000002", "msisdn-4915999000003"
        asset = [self.create(user, access_control_list=[entry(listed), entry(other)]).asset_id
                 for _ in range(2)][0]
        token = self.discover(user, page_size=1).next_page_token
        of_list = self.get(asset, user, page_size=1).next_page_token
        changed = [token[:at] + ("B" if token[at] == "A" else "A") + token[at + 1:]
                   for at in range(len(token) - 1)]
        for bad in (of_list, token[:-4], token + "AAAA", "AAAA", "A" * 2000, *changed):
            self.refused(INVALID, self.discover, user, page_token=bad)
        self.refused(INVALID, self.discover, stranger, page_token=token)
        self.refused(INVALID, self.get, asset, user, page_token=token)
        self.assertEqual(len(self.discover(user, page_size=1, page_token=token).profiles), 1)

    def test_own_assets_and_those_one_may_discover_in_pages(self):
        user = "msisdn-4915999000001"
        mine = {self.create(user).asset_id for _ in range(7)}
        shown = self.create(access_control_list=[entry(user, da.OPERATION_DISCOVERY)]).asset_id
        hidden = self.create(access_control_list=[entry(user, da.OPERATION_GET)]).asset_id
        seen, token = [], ""
        while True:
            page = self.discover(user, page_size=3, page_token=token)
            self.assertLessEqual(len(page.profiles), 3)
            for profile in page.profiles:
                self.assertFalse(profile.access_control_list)
                seen.append(profile.asset_id)
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(len(seen), len(set(seen)))
        self.assertEqual(set(seen), mine | {shown})
        self.assertNotIn(hidden, seen)
        self.update(shown, deny=[user])
        self.assert_pages_hide(user, shown)
        self.assertNotIn(shown, [p.asset_id for p in self.discover(user, page_size=1000).profiles])

    def test_token_for_one_asset_is_none_for_discovery(self):
        asset = self.create().asset_id
        with self.assertRaises(grpc.RpcError) as error:
            self.stub.DiscoverProfiles(da.DiscoverProfilesRequest(gpsi=owner),
                                       metadata=self.token(owner, asset, "discovery"), timeout=60)
        self.assertEqual(error.exception.code(), DENIED)


if __name__ == "__main__":
    unittest.main(verbosity=2)
