# SPDX-License-Identifier: Apache-2.0
"""client.py TARGET CA: calls every kind of method of rpctest.Echo; exit status 0 when all is right."""
import sys

import grpc
import test_pb2 as pb
import test_pb2_grpc as stubs


def expect_error(code, function):
    try:
        function()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError(f"no {code}")


def unary(echo):
    reply, call = echo.Unary.with_call(
        pb.Item(text="hällo"), metadata=[("x-echo", "one"), ("x-echo-bin", b"\x00\xff")], timeout=20)
    assert reply.text == "hällo"
    assert ("x-echo", "one") in call.initial_metadata()
    assert ("x-echo-bin", b"\x00\xff") in call.initial_metadata()
    assert ("x-tail", "one") in call.trailing_metadata()
    error = expect_error(grpc.StatusCode.NOT_FOUND, lambda: echo.Unary(pb.Item(text="fail")))
    assert error.details() == "100 % nø such\nthing", error.details()
    expect_error(grpc.StatusCode.DEADLINE_EXCEEDED,
                 lambda: echo.Unary(pb.Item(text="never"), timeout=0.2))


def streams(echo):
    items = list(echo.Download(pb.Item(size=200, data=b"d" * 65536)))
    assert len(items) == 200 and all(item.data == b"d" * 65536 for item in items)
    reply = echo.Upload(pb.Item(data=b"u" * 65536) for _ in range(200))
    assert reply.size == 200 * 65536
    chat = list(echo.Chat(pb.Item(text=str(i)) for i in range(10)))
    assert [item.text for item in chat] == [str(i) for i in range(10)]
    download = echo.Download(pb.Item(size=1000, data=b"d" * 65536))
    next(download)
    download.cancel()
    expect_error(grpc.StatusCode.CANCELLED, lambda: list(download))


def compression(echo):
    """Both ways with each encoding; what the flag of a message was, the C tests look at."""
    text = "compressible " * 1000
    for encoding, name in ((grpc.Compression.Gzip, "gzip"), (grpc.Compression.Deflate, "deflate")):
        reply, call = echo.Unary.with_call(
            pb.Item(text=text), compression=encoding, metadata=[("x-compress", name)], timeout=20)
        assert reply.text == text
        chat = list(echo.Chat((pb.Item(text=text + str(i)) for i in range(10)),
                              compression=encoding, metadata=[("x-compress", name)], timeout=20))
        assert [item.text for item in chat] == [text + str(i) for i in range(10)]
    bomb = pb.Item(data=b"\0" * 5_000_000)
    error = expect_error(grpc.StatusCode.RESOURCE_EXHAUSTED,
                         lambda: echo.Unary(bomb, compression=grpc.Compression.Gzip, timeout=20))
    assert "message_receive_bytes_max" in error.details(), error.details()


def details(echo):
    packed = b"\x08\x05\x12\x04fail\xff\x00"
    error = expect_error(grpc.StatusCode.NOT_FOUND, lambda: echo.Unary(
        pb.Item(text="fail"), metadata=[("x-details-bin", packed)]))
    assert ("grpc-status-details-bin", packed) in error.trailing_metadata()


def main():
    target, ca = sys.argv[1:]
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(target, credentials) as channel:
        echo = stubs.EchoStub(channel)
        unary(echo)
        streams(echo)
        compression(echo)
        details(echo)
        expect_error(grpc.StatusCode.UNIMPLEMENTED,
                     lambda: stubs.OtherStub(channel).Unary(pb.Item()))
        assert echo.Unary(pb.Item(text="after all")).text == "after all"


main()
