# SPDX-License-Identifier: Apache-2.0
"""health.py TARGET CA: watches rpctest.Echo, prints each status and at last the code of the end."""
import sys

import grpc
import health_pb2 as pb
import health_pb2_grpc as stubs


def main():
    target, ca = sys.argv[1:]
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(target, credentials) as channel:
        health = stubs.HealthStub(channel)
        unknown = health.Watch(pb.HealthCheckRequest(service="no.Such"))
        assert next(unknown).status == pb.HealthCheckResponse.SERVICE_UNKNOWN
        unknown.cancel()
        try:
            for response in health.Watch(pb.HealthCheckRequest(service="rpctest.Echo")):
                print(pb.HealthCheckResponse.ServingStatus.Name(response.status), flush=True)
        except grpc.RpcError as error:
            print(error.code().name, flush=True)


main()
