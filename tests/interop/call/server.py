# SPDX-License-Identifier: Apache-2.0
"""server.py [v1|v1alpha|none|lies] [CERTIFICATE KEY]: serves calltest.Kinds with that reflection on
any port of loopback, prints the port, ends when its standard input does."""
import os
import sys
from concurrent import futures

import grpc

sys.path.insert(0, os.environ["STUBS"])
grpc.__path__.append(os.path.join(os.environ["STUBS"], "grpc"))

import call_pb2 as pb  # noqa: E402
import call_pb2_grpc as stubs  # noqa: E402
from google.protobuf import descriptor_pool  # noqa: E402
from grpc.reflection.v1 import reflection_pb2  # noqa: E402
from grpc.reflection.v1alpha import reflection_pb2 as alpha_pb2  # noqa: E402


class Kinds(stubs.KindsServicer):
    def Echo(self, request, context):
        for name, value in context.invocation_metadata():
            if name in ("x-echo", "dacm-token"):
                request.a_string = value
            if name == "x-echo-bin":
                request.a_bytes = value
        return request

    def Count(self, request, context):
        for i in range(request.value):
            yield pb.Number(value=i)

    def Sum(self, requests, context):
        return pb.Number(value=sum(request.value for request in requests))

    def Chat(self, requests, context):
        yield from requests

    def Fail(self, request, context):
        code = next(code for code in grpc.StatusCode if code.value[0] == request.value)
        context.set_trailing_metadata((("dacm-request-id", "req-17"),))
        context.abort(code, "no\x1b[2J such\nthing")


class Reflection:
    """A file alone, without what it imports: the client has to ask for each."""

    def __init__(self, messages, lies):
        self.messages, self.lies = messages, lies

    def file(self, descriptor):
        if self.lies:  # cut in the middle
            data = descriptor.serialized_pb
            return data[:len(data) * 2 // 3]
        return descriptor.serialized_pb

    def answer(self, request, pool=descriptor_pool.Default()):
        if request.HasField("list_services"):
            names = ["calltest.Kinds", "grpc.reflection.v1.ServerReflection"]
            return {"list_services_response": {"service": [{"name": name} for name in names]}}
        try:
            if request.HasField("file_by_filename"):
                found = pool.FindFileByName(request.file_by_filename)
            else:
                found = pool.FindFileContainingSymbol(request.file_containing_symbol)
            return {"file_descriptor_response": {"file_descriptor_proto": [self.file(found)]}}
        except KeyError:
            return {"error_response": {"error_code": 5, "error_message": "not here"}}

    def serve(self, requests, context):
        for request in requests:
            yield self.messages.ServerReflectionResponse(
                original_request=request, **self.answer(request))


def add_reflection(server, messages, package, lies):
    handler = grpc.stream_stream_rpc_method_handler(
        Reflection(messages, lies).serve, messages.ServerReflectionRequest.FromString,
        messages.ServerReflectionResponse.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        f"grpc.reflection.{package}.ServerReflection", {"ServerReflectionInfo": handler}),))


def main():
    kind = sys.argv[1]
    server = grpc.server(futures.ThreadPoolExecutor(8))
    stubs.add_KindsServicer_to_server(Kinds(), server)
    if kind in ("v1", "lies"):
        add_reflection(server, reflection_pb2, "v1", kind == "lies")
    if kind == "v1alpha":
        add_reflection(server, alpha_pb2, "v1alpha", False)
    if len(sys.argv) > 2:
        certificate, key = (open(name, "rb").read() for name in sys.argv[2:])
        port = server.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait()


main()
