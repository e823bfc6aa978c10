// SPDX-License-Identifier: Apache-2.0
// The peer of the bench: gRPC C++ with the callback API and its defaults. Authorize answers
// allowed without any decision, with as many bytes as dacmd; Download sends `size` bytes in
// messages of 512 KiB, from memory. `tuned` turns what gRPC's own benchmarks turn.
//     grpc_cpp_server ADDRESS CERTIFICATE KEY SIZE [tuned]
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "dacm/v1/digital_asset.grpc.pb.h"
#include "tuned.h"

namespace {

constexpr size_t kMessageBytes = 512 << 10;
constexpr char kRequestId[] = "1iq3p0a2v0abcdefghijklmnop";  // 26 characters, as dacmd's

std::string ReadFile(const char *path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    if (!file) {
        std::cerr << "cannot read " << path << "\n";
        std::exit(2);
    }
    return text.str();
}

class Sender : public grpc::ServerWriteReactor<dacm::v1::DownloadResponse> {
  public:
    explicit Sender(size_t size) : left_(size) {
        message_.mutable_start()->set_send_bytes(size);
        StartWrite(&message_);
    }
    void OnWriteDone(bool ok) override {
        if (!ok || left_ == 0) {
            Finish(ok ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNKNOWN, "write failed"));
            return;
        }
        const size_t next = left_ < kMessageBytes ? left_ : kMessageBytes;
        if (message_.chunks().data().size() != next)
            message_.mutable_chunks()->mutable_data()->assign(next, 'x');
        left_ -= next;
        StartWrite(&message_);
    }
    void OnDone() override { delete this; }

  private:
    size_t left_;
    dacm::v1::DownloadResponse message_;
};

class Service final : public dacm::v1::DigitalAssets::CallbackService {
  public:
    explicit Service(size_t size) : size_(size) {}
    grpc::ServerUnaryReactor *Authorize(grpc::CallbackServerContext *context,
                                        const dacm::v1::AuthorizeRequest *,
                                        dacm::v1::AuthorizeResponse *response) override {
        response->set_allowed(true);
        response->set_valid_until(1790000000);
        response->set_request_id(kRequestId);
        context->AddTrailingMetadata("dacm-request-id", kRequestId);
        auto *reactor = context->DefaultReactor();
        reactor->Finish(grpc::Status::OK);
        return reactor;
    }
    grpc::ServerWriteReactor<dacm::v1::DownloadResponse> *Download(
        grpc::CallbackServerContext *, const dacm::v1::DownloadRequest *) override {
        return new Sender(size_);
    }

  private:
    const size_t size_;
};

}  // namespace

int main(int argc, char **argv) {
    if (argc != 5 && argc != 6) {
        std::cerr << "usage: grpc_cpp_server ADDRESS CERTIFICATE KEY SIZE [tuned]\n";
        return 2;
    }
    grpc::SslServerCredentialsOptions tls;
    tls.pem_key_cert_pairs.push_back({ReadFile(argv[3]), ReadFile(argv[2])});
    Service service(std::strtoull(argv[4], nullptr, 10));
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(argv[1], grpc::SslServerCredentials(tls), &port);
    if (argc == 6)
        Tune([&builder](const char *name, int value) { builder.AddChannelArgument(name, value); },
             [&builder](const char *name, const char *value) {
                 builder.AddChannelArgument(name, std::string(value));
             });
    builder.RegisterService(&service);
    auto server = builder.BuildAndStart();
    if (!server || port == 0) {
        std::cerr << "cannot listen on " << argv[1] << "\n";
        return 1;
    }
    std::cout << port << std::endl;
    server->Wait();
}
