# SPDX-License-Identifier: Apache-2.0
"""channelz.py TARGET CA: asks our server's channelz as gRPC's tools do; exit status 0 when all is
right."""
import sys

import channelz_pb2 as pb
import channelz_pb2_grpc as stubs
import grpc


def main():
    target, ca = sys.argv[1:]
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(target, credentials) as channel:
        channelz = stubs.ChannelzStub(channel)
        servers = channelz.GetServers(pb.GetServersRequest())
        assert servers.end and len(servers.server) == 1, servers
        server = servers.server[0]
        assert server.data.calls_started == 1 and len(server.listen_socket) == 1, server
        number = server.ref.server_id
        assert channelz.GetServer(pb.GetServerRequest(server_id=number)).server.ref == server.ref
        sockets = channelz.GetServerSockets(pb.GetServerSocketsRequest(server_id=number))
        assert sockets.end and len(sockets.socket_ref) == 1, sockets
        socket = channelz.GetSocket(
            pb.GetSocketRequest(socket_id=sockets.socket_ref[0].socket_id)).socket
        assert socket.data.streams_started == 4 and socket.data.streams_succeeded == 3, socket
        assert socket.remote.tcpip_address.ip_address == bytes((127, 0, 0, 1)), socket
        assert socket.security.tls.standard_name.startswith("TLS_"), socket
        assert socket.data.last_remote_stream_created_timestamp.ToSeconds() > 1_700_000_000
        try:
            channelz.GetSocket(pb.GetSocketRequest(socket_id=1 << 40))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
        else:
            raise AssertionError("a socket that is not there")
        assert not channelz.GetTopChannels(pb.GetTopChannelsRequest(start_channel_id=1000)).channel


main()
