# SPDX-License-Identifier: Apache-2.0
"""server.py CERTIFICATE KEY: serves rpctest.Echo, prints its port, ends when stdin does."""
import sys
from concurrent import futures

import grpc
import test_pb2 as pb
import test_pb2_grpc as stubs


class Echo(stubs.EchoServicer):
    def Unary(self, request, context):
        for name, value in context.invocation_metadata():
            if name == "x-details-bin":
                context.set_trailing_metadata((("grpc-status-details-bin", value),))
        if request.text == "fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "100 % nø such\nthing")
        for name, value in context.invocation_metadata():
            if name == "x-echo":
                context.send_initial_metadata(((name, value),))
                context.set_trailing_metadata((("x-tail", value),))
            if name == "x-compress":
                context.set_compression(
                    grpc.Compression.Gzip if value == "gzip" else grpc.Compression.Deflate)
        return request

    def Download(self, request, context):
        for _ in range(request.size):
            yield pb.Item(data=request.data)

    def Upload(self, requests, context):
        return pb.Item(size=sum(len(item.data) for item in requests))

    def Chat(self, requests, context):
        for name, value in context.invocation_metadata():
            if name == "x-compress":
                context.set_compression(
                    grpc.Compression.Gzip if value == "gzip" else grpc.Compression.Deflate)
        for number, item in enumerate(requests):
            if number % 2:
                context.disable_next_message_compression()
            yield item


def main():
    certificate, key = (open(name, "rb").read() for name in sys.argv[1:])
    server = grpc.server(futures.ThreadPoolExecutor(8))
    stubs.add_EchoServicer_to_server(Echo(), server)
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait()


main()
