// SPDX-License-Identifier: Apache-2.0
// gRPC C++ as server of grpc.testing.TestService, from the public proto.
//     interop_cpp_server CERTIFICATE KEY
// Prints its port and ends when standard input does.
#include "cpp_common.h"
#include "grpc/testing/test.grpc.pb.h"

#include <chrono>
#include <iostream>
#include <thread>
#include <vector>

using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;
using grpc::testing::InteropServerContextInspector;
using namespace grpc::testing;

namespace {

void EchoMetadata(ServerContext *context) {
    const auto &metadata = context->client_metadata();
    auto initial = metadata.find("x-grpc-test-echo-initial");
    if (initial != metadata.end())
        context->AddInitialMetadata("x-grpc-test-echo-initial",
                                    std::string(initial->second.data(), initial->second.size()));
    auto trailing = metadata.find("x-grpc-test-echo-trailing-bin");
    if (trailing != metadata.end())
        context->AddTrailingMetadata("x-grpc-test-echo-trailing-bin",
                                     std::string(trailing->second.data(), trailing->second.size()));
}

// "Bearer interop/USER/SCOPE"
bool ReadAccount(ServerContext *context, std::string *user, std::string *scope) {
    const std::string prefix = "Bearer interop/";
    auto found = context->client_metadata().find("authorization");
    if (found == context->client_metadata().end()) return false;
    const std::string value(found->second.data(), found->second.size());
    const size_t slash = value.rfind('/');
    if (value.compare(0, prefix.size(), prefix) != 0 || slash < prefix.size()) return false;
    *user = value.substr(prefix.size(), slash - prefix.size());
    *scope = value.substr(slash + 1);
    return true;
}

Status Asked(const EchoStatus &status) {
    return Status(static_cast<StatusCode>(status.code()), status.message());
}

template <typename Request>
bool AsExpected(ServerContext *context, const Request &request) {
    return !request.has_expect_compressed() ||
           request.expect_compressed().value() == InteropServerContextInspector::Compressed(*context);
}

class Service final : public TestService::Service {
    Status EmptyCall(ServerContext *, const Empty *, Empty *) override { return Status::OK; }

    Status UnaryCall(ServerContext *context, const SimpleRequest *request,
                     SimpleResponse *response) override {
        EchoMetadata(context);
        if (!AsExpected(context, *request))
            return Status(StatusCode::INVALID_ARGUMENT, "not compressed as expected");
        if (request->response_status().code() != 0) return Asked(request->response_status());
        if (request->fill_username() || request->fill_oauth_scope()) {
            std::string user, scope;
            if (!ReadAccount(context, &user, &scope))
                return Status(StatusCode::UNAUTHENTICATED, "no token of the test");
            if (request->fill_username()) response->set_username(user);
            if (request->fill_oauth_scope()) response->set_oauth_scope(scope);
        }
        if (request->response_compressed().value())
            context->set_compression_level(GRPC_COMPRESS_LEVEL_HIGH);
        response->mutable_payload()->set_body(std::string(request->response_size(), '\0'));
        return Status::OK;
    }

    template <typename Writer>
    static bool WriteAll(const StreamingOutputCallRequest &request, Writer *writer) {
        for (const auto &parameters : request.response_parameters()) {
            StreamingOutputCallResponse response;
            response.mutable_payload()->set_body(std::string(parameters.size(), '\0'));
            grpc::WriteOptions options;
            if (!parameters.compressed().value()) options.set_no_compression();
            if (parameters.interval_us() > 0)
                std::this_thread::sleep_for(std::chrono::microseconds(parameters.interval_us()));
            if (!writer->Write(response, options)) return false;
        }
        return true;
    }

    Status StreamingOutputCall(ServerContext *context, const StreamingOutputCallRequest *request,
                               grpc::ServerWriter<StreamingOutputCallResponse> *writer) override {
        context->set_compression_level(GRPC_COMPRESS_LEVEL_HIGH);
        WriteAll(*request, writer);
        return Status::OK;
    }

    Status StreamingInputCall(ServerContext *context,
                              grpc::ServerReader<StreamingInputCallRequest> *reader,
                              StreamingInputCallResponse *response) override {
        StreamingInputCallRequest request;
        size_t sum = 0;
        while (reader->Read(&request)) {
            if (!AsExpected(context, request))
                return Status(StatusCode::INVALID_ARGUMENT, "not compressed as expected");
            sum += request.payload().body().size();
        }
        response->set_aggregated_payload_size(static_cast<int>(sum));
        return Status::OK;
    }

    using Stream = grpc::ServerReaderWriter<StreamingOutputCallResponse, StreamingOutputCallRequest>;

    Status FullDuplexCall(ServerContext *context, Stream *stream) override {
        EchoMetadata(context);
        StreamingOutputCallRequest request;
        while (stream->Read(&request)) {
            if (request.response_status().code() != 0) return Asked(request.response_status());
            if (!WriteAll(request, stream)) break;
        }
        return Status::OK;
    }

    Status HalfDuplexCall(ServerContext *, Stream *stream) override {
        std::vector<StreamingOutputCallRequest> requests(1);
        while (stream->Read(&requests.back())) requests.emplace_back();
        for (const auto &request : requests)
            if (!WriteAll(request, stream)) break;
        return Status::OK;
    }
};

}  // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::cerr << "usage: interop_cpp_server CERTIFICATE KEY\n";
        return 2;
    }
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({ReadFile(argv[2]), ReadFile(argv[1])});
    Service service;
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port);
    builder.RegisterService(&service);
    auto server = builder.BuildAndStart();
    if (!server) return 1;
    std::cout << port << std::endl;
    while (std::cin.get() != EOF) {
    }
    server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(10));
    return 0;
}
