// SPDX-License-Identifier: Apache-2.0
// gRPC C++ as a client of dacmd: Authorize, Download with every digest checked, reflection.
//     interop_cpp_client TARGET CA ASSET GPSI TOKEN OUT
#include <grpcpp/grpcpp.h>
#include <openssl/sha.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <memory>
#include <set>
#include <sstream>
#include <string>

#include "dacm/v1/digital_asset.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace {

int failures = 0;

void Check(bool ok, const std::string &what) {
    std::cout << (ok ? "ok   " : "FAIL ") << what << std::endl;
    failures += !ok;
}

std::string ReadFile(const char *path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string Sha256(const std::string &bytes) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char *>(bytes.data()), bytes.size(), digest);
    return std::string(reinterpret_cast<char *>(digest), sizeof digest);
}

void Prepare(grpc::ClientContext *context, const std::string &token) {
    context->AddMetadata("authorization", "Bearer " + token);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
}

void Authorize(const std::shared_ptr<grpc::Channel> &channel, char **argv) {
    auto stub = dacm::v1::DigitalAssets::NewStub(channel);
    grpc::ClientContext context;
    Prepare(&context, argv[5]);
    dacm::v1::AuthorizeRequest request;
    request.set_asset_id(argv[3]);
    request.set_gpsi(argv[4]);
    request.set_operation(dacm::v1::OPERATION_GET);
    dacm::v1::AuthorizeResponse response;
    const auto status = stub->Authorize(&context, request, &response);
    Check(status.ok(), "Authorize answers: " + status.error_message());
    Check(response.allowed() && response.valid_until() > 0, "Authorize allows");
}

uint32_t Length(const std::string &entries, size_t index) {
    const auto *at = reinterpret_cast<const unsigned char *>(entries.data()) + 36 * index;
    return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
}

void Download(const std::shared_ptr<grpc::Channel> &channel, char **argv) {
    auto stub = dacm::v1::DigitalAssets::NewStub(channel);
    grpc::ClientContext context;
    Prepare(&context, argv[5]);
    dacm::v1::DownloadRequest request;
    request.set_asset_id(argv[3]);
    request.set_gpsi(argv[4]);
    auto reader = stub->Download(&context, request);
    dacm::v1::DownloadResponse response;
    std::string entries, content;
    size_t started = 0, next = 0, wrong = 0;
    while (reader->Read(&response)) {
        if (response.has_start()) {
            started++;
        } else if (response.has_chunk_list()) {
            entries += response.chunk_list().entries();
        } else {
            const std::string &data = response.chunks().data();
            size_t at = 0;
            next = response.chunks().first();
            while (at < data.size() && 36 * (next + 1) <= entries.size()) {
                const std::string chunk = data.substr(at, Length(entries, next));
                wrong += Sha256(chunk) != entries.substr(36 * next + 4, 32);
                content += chunk;
                at += chunk.size();
                next++;
            }
        }
    }
    const auto status = reader->Finish();
    Check(status.ok(), "Download ends well: " + status.error_message());
    Check(started == 1, "one start");
    Check(wrong == 0 && next > 0 && 36 * next == entries.size(), "every chunk has its digest");
    std::ofstream(argv[6], std::ios::binary) << content;
}

void Reflection(const std::shared_ptr<grpc::Channel> &channel) {
    auto stub = grpc::reflection::v1alpha::ServerReflection::NewStub(channel);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    auto stream = stub->ServerReflectionInfo(&context);
    grpc::reflection::v1alpha::ServerReflectionRequest request;
    request.set_list_services("");
    stream->Write(request);
    grpc::reflection::v1alpha::ServerReflectionResponse response;
    std::set<std::string> names;
    if (stream->Read(&response))
        for (const auto &service : response.list_services_response().service())
            names.insert(service.name());
    Check(names.count("dacm.v1.DigitalAssets") == 1, "reflection lists the service");
    request.Clear();
    request.set_file_containing_symbol("dacm.v1.DigitalAssets");
    stream->Write(request);
    Check(stream->Read(&response) &&
              response.file_descriptor_response().file_descriptor_proto_size() > 0,
          "reflection gives the file of a symbol");
    request.Clear();
    request.set_file_containing_symbol("no.such.Symbol");
    stream->Write(request);
    Check(stream->Read(&response) && response.error_response().error_code() ==
                                         static_cast<int>(grpc::StatusCode::NOT_FOUND),
          "reflection says that a symbol is unknown");
    stream->WritesDone();
    Check(stream->Finish().ok(), "reflection ends well");
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 7) {
        std::cerr << "usage: interop_cpp_client TARGET CA ASSET GPSI TOKEN OUT\n";
        return 2;
    }
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = ReadFile(argv[2]);
    auto channel = grpc::CreateChannel(argv[1], grpc::SslCredentials(tls));
    Authorize(channel, argv);
    Download(channel, argv);
    Reflection(channel);
    return failures == 0 ? 0 : 1;
}
