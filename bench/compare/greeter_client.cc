// SPDX-License-Identifier: Apache-2.0
// examples/greeter_client.c in gRPC C++.     greeter_client URL FOLDER_OF_CERTIFICATES NAME
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>

#include "greeter.grpc.pb.h"

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    std::ifstream file(std::string(argv[2]) + "/ca.crt");
    std::stringstream ca;
    ca << file.rdbuf();
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ca.str();
    auto stub = greeter::Greeter::NewStub(grpc::CreateChannel(argv[1], grpc::SslCredentials(options)));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    greeter::Hello request;
    greeter::Greeting reply;
    request.set_name(argv[3]);
    const grpc::Status status = stub->Greet(&context, request, &reply);
    std::cout << (status.ok() ? reply.text() : status.error_message()) << std::endl;
    return status.ok() ? 0 : 1;
}
