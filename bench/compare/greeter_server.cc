// SPDX-License-Identifier: Apache-2.0
// examples/greeter_server.c in gRPC C++.     greeter_server FOLDER_OF_CERTIFICATES
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>

#include "greeter.grpc.pb.h"

static std::string ReadFile(const std::string &path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

class Service final : public greeter::Greeter::CallbackService {
    grpc::ServerUnaryReactor *Greet(grpc::CallbackServerContext *context,
                                    const greeter::Hello *request,
                                    greeter::Greeting *reply) override {
        auto *reactor = context->DefaultReactor();
        if (request->name().empty()) {
            reactor->Finish({grpc::StatusCode::INVALID_ARGUMENT, "greeter: whom? Fill in name"});
            return reactor;
        }
        reply->set_text("Hello, " + request->name() + "!");
        reactor->Finish(grpc::Status::OK);
        return reactor;
    }
};

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    const std::string folder = argv[1];
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back(
        {ReadFile(folder + "/server.key"), ReadFile(folder + "/server.crt")});
    Service service;
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port);
    builder.RegisterService(&service);
    auto server = builder.BuildAndStart();
    std::cout << "127.0.0.1:" << port << std::endl;
    while (std::cin.get() != EOF) {
    }
    server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
    return 0;
}
