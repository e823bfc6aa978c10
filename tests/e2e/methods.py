# SPDX-License-Identifier: Apache-2.0
"""Every method of dacmd, as something to call: by whom it may be called says the table it is in."""
import hashlib

from harness import da  # it knows where the stubs are

from dacm.v1 import admin_pb2, admin_pb2_grpc, token_status_pb2, token_status_pb2_grpc
from dacm.v1 import consumer_list_pb2, consumer_list_pb2_grpc

NOBODY = "msisdn-4915990000099"  # put on a list by an UpdateProfile that should have been refused


def uploading(asset, user):
    yield da.UploadRequest(start=da.UploadStart(
        asset=da.AssetVersion(asset_id=asset), upload_id="methods", size=3, gpsi=user,
        sha256=hashlib.sha256(b"abc").digest(), media_type="model/gltf-binary"))
    yield da.UploadRequest(data=b"abc")


# name: (action of its token, does it name an asset, how it is called)
USERS = {
    "Authorize": ("get", True, lambda s, a, u, **k: s.Authorize(
        da.AuthorizeRequest(asset_id=a, gpsi=u), **k)),
    "Download": ("get", True, lambda s, a, u, **k: list(s.Download(
        da.DownloadRequest(asset_id=a, gpsi=u), **k))),
    "Upload": ("update", True, lambda s, a, u, **k: s.Upload(uploading(a, u), **k)),
    "GetProfile": ("get", True, lambda s, a, u, **k: s.GetProfile(
        da.GetProfileRequest(asset_id=a, gpsi=u), **k)),
    "UpdateProfile": ("update", True, lambda s, a, u, **k: s.UpdateProfile(
        da.UpdateProfileRequest(asset_id=a, gpsi=u, allow=[
            da.AccessControlEntry(allowed_user=NOBODY)]), **k)),
    "DeleteProfile": ("delete", True, lambda s, a, u, **k: s.DeleteProfile(
        da.DeleteProfileRequest(asset_id=a, gpsi=u), **k)),
    "CreateProfile": ("create", False, lambda s, a, u, **k: s.CreateProfile(
        da.CreateProfileRequest(gpsi=u, profile=da.DigitalAssetProfile()), **k)),
    "DiscoverProfiles": ("discovery", False, lambda s, a, u, **k: s.DiscoverProfiles(
        da.DiscoverProfilesRequest(gpsi=u), **k)),
}
# name: how it is called on a channel
OPERATORS = {
    "Revoke": lambda c, **k: token_status_pb2_grpc.TokenStatusStub(c).Revoke(
        token_status_pb2.RevokeRequest(issuer="https://methods.example", jti="methods"), **k),
    "Explain": lambda c, **k: admin_pb2_grpc.AdminStub(c).Explain(
        admin_pb2.ExplainRequest(request_id="methods"), **k),
    "GetStoreStat": lambda c, **k: admin_pb2_grpc.AdminStub(c).GetStoreStat(
        admin_pb2.GetStoreStatRequest(), **k),
}
# name: how it is called on a channel, for an asset and a user
SIMS = {
    "GetConsumerList": lambda c, a, u, **k: consumer_list_pb2_grpc.ConsumerListsStub(
        c).GetConsumerList(consumer_list_pb2.GetConsumerListRequest(asset_id=a, users=[u]), **k),
    "ListConsumers": lambda c, a, u, **k: list(consumer_list_pb2_grpc.ConsumerListsStub(
        c).ListConsumers(consumer_list_pb2.ListConsumersRequest(asset_id=a), **k)),
}
