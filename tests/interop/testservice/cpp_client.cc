// SPDX-License-Identifier: Apache-2.0
// gRPC C++ as client of grpc.testing.TestService: one interop case, by name.
//     interop_cpp_client HOST:PORT CA TEST_CASE SOAK_ITERATIONS
#include "cpp_common.h"
#include "grpc/testing/test.grpc.pb.h"

#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <vector>

using grpc::ClientContext;
using grpc::Status;
using grpc::StatusCode;
using namespace grpc::testing;

namespace {

constexpr int kLargeRequest = 271828, kLargeResponse = 314159;

void Must(bool ok, const std::string &what) {
    if (ok) return;
    std::cerr << "interop_cpp_client: " << what << std::endl;
    std::exit(1);
}

void MustBe(const Status &status, StatusCode code) {
    Must(status.error_code() == code, "status " + std::to_string(status.error_code()) + " (" +
                                          status.error_message() + ") instead of " +
                                          std::to_string(code));
}

void Deadline(ClientContext *context) {
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
}

struct Context : ClientContext {
    Context() { Deadline(this); }
};

std::string target, ca;
std::shared_ptr<grpc::Channel> channel;
std::unique_ptr<TestService::Stub> stub;
int soak_iterations;

std::shared_ptr<grpc::Channel> NewChannel() {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ca;
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a channel is a connection
    return grpc::CreateCustomChannel(target, grpc::SslCredentials(options), arguments);
}

SimpleRequest LargeRequest() {
    SimpleRequest request;
    request.set_response_size(kLargeResponse);
    request.mutable_payload()->set_body(std::string(kLargeRequest, '\0'));
    return request;
}

template <typename Response>
void CheckPayload(const Response &response, size_t size) {
    Must(response.payload().body() == std::string(size, '\0'), "the payload is not " +
         std::to_string(size) + " zeros but has " + std::to_string(response.payload().body().size()));
}

void EmptyUnary() {
    Context context;
    Empty request, response;
    MustBe(stub->EmptyCall(&context, request, &response), StatusCode::OK);
    Must(response.ByteSizeLong() == 0, "the reply is not empty");
}

void LargeUnaryOn(TestService::Stub *on) {
    Context context;
    SimpleResponse response;
    MustBe(on->UnaryCall(&context, LargeRequest(), &response), StatusCode::OK);
    CheckPayload(response, kLargeResponse);
}

void LargeUnary() { LargeUnaryOn(stub.get()); }

void ClientStreaming() {
    Context context;
    StreamingInputCallResponse response;
    auto writer = stub->StreamingInputCall(&context, &response);
    for (int size : {27182, 8, 1828, 45904}) {
        StreamingInputCallRequest request;
        request.mutable_payload()->set_body(std::string(size, '\0'));
        Must(writer->Write(request), "write");
    }
    writer->WritesDone();
    MustBe(writer->Finish(), StatusCode::OK);
    Must(response.aggregated_payload_size() == 74922, "the sum is wrong");
}

void ServerStreaming() {
    const std::vector<int> sizes = {31415, 9, 2653, 58979};
    Context context;
    StreamingOutputCallRequest request;
    for (int size : sizes) request.add_response_parameters()->set_size(size);
    auto reader = stub->StreamingOutputCall(&context, request);
    StreamingOutputCallResponse response;
    size_t count = 0;
    for (; reader->Read(&response); count++) {
        Must(count < sizes.size(), "too many responses");
        CheckPayload(response, sizes[count]);
    }
    Must(count == sizes.size(), "too few responses");
    MustBe(reader->Finish(), StatusCode::OK);
}

StreamingOutputCallRequest Ask(int response, int payload) {
    StreamingOutputCallRequest request;
    request.add_response_parameters()->set_size(response);
    request.mutable_payload()->set_body(std::string(payload, '\0'));
    return request;
}

void PingPong() {
    const std::pair<int, int> rounds[] = {{31415, 27182}, {9, 8}, {2653, 1828}, {58979, 45904}};
    Context context;
    auto stream = stub->FullDuplexCall(&context);
    StreamingOutputCallResponse response;
    for (const auto &[size, payload] : rounds) {
        Must(stream->Write(Ask(size, payload)), "write");
        Must(stream->Read(&response), "read");
        CheckPayload(response, size);
    }
    stream->WritesDone();
    Must(!stream->Read(&response), "too many responses");
    MustBe(stream->Finish(), StatusCode::OK);
}

void HalfDuplex() {
    const std::pair<int, int> rounds[] = {{31415, 27182}, {9, 8}, {2653, 1828}, {58979, 45904}};
    Context context;
    auto stream = stub->HalfDuplexCall(&context);
    for (const auto &[size, payload] : rounds) {
        StreamingOutputCallRequest request = Ask(size, payload);
        request.mutable_response_parameters(0)->set_interval_us(1000);
        Must(stream->Write(request), "write");
    }
    stream->WritesDone();
    StreamingOutputCallResponse response;
    for (const auto &[size, payload] : rounds) {
        Must(stream->Read(&response), "read");
        CheckPayload(response, size);
    }
    Must(!stream->Read(&response), "too many responses");
    MustBe(stream->Finish(), StatusCode::OK);
}

void EmptyStream() {
    Context context;
    auto stream = stub->FullDuplexCall(&context);
    StreamingOutputCallResponse response;
    stream->WritesDone();
    Must(!stream->Read(&response), "a response");
    MustBe(stream->Finish(), StatusCode::OK);
}

// The case is about the server, so there is a connection before it begins.
void ConnectFirst() { EmptyUnary(); }

void CancelAfterBegin() {
    ConnectFirst();
    Context context;
    StreamingInputCallResponse response;
    auto writer = stub->StreamingInputCall(&context, &response);
    context.TryCancel();
    MustBe(writer->Finish(), StatusCode::CANCELLED);
}

void CancelAfterFirstResponse() {
    Context context;
    auto stream = stub->FullDuplexCall(&context);
    StreamingOutputCallResponse response;
    Must(stream->Write(Ask(31415, 27182)), "write");
    Must(stream->Read(&response), "read");
    CheckPayload(response, 31415);
    context.TryCancel();
    MustBe(stream->Finish(), StatusCode::CANCELLED);
}

void TimeoutOnSleepingServer() {
    ConnectFirst();
    ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1));
    auto stream = stub->FullDuplexCall(&context);
    StreamingOutputCallRequest request;
    request.mutable_payload()->set_body(std::string(27182, '\0'));
    stream->Write(request);
    MustBe(stream->Finish(), StatusCode::DEADLINE_EXCEEDED);
}

void AddEchoes(ClientContext *context) {
    context->AddMetadata("x-grpc-test-echo-initial", "test_initial_metadata_value");
    context->AddMetadata("x-grpc-test-echo-trailing-bin", "\xab\xab\xab");
}

void CheckEchoes(const ClientContext &context) {
    const auto &initial = context.GetServerInitialMetadata();
    const auto &trailing = context.GetServerTrailingMetadata();
    auto one = initial.find("x-grpc-test-echo-initial");
    auto two = trailing.find("x-grpc-test-echo-trailing-bin");
    Must(one != initial.end() && one->second == "test_initial_metadata_value", "initial metadata");
    Must(two != trailing.end() && two->second == "\xab\xab\xab", "trailing metadata");
}

void CustomMetadata() {
    Context unary, duplex;
    AddEchoes(&unary);
    SimpleResponse response;
    MustBe(stub->UnaryCall(&unary, LargeRequest(), &response), StatusCode::OK);
    CheckPayload(response, kLargeResponse);
    CheckEchoes(unary);
    AddEchoes(&duplex);
    auto stream = stub->FullDuplexCall(&duplex);
    StreamingOutputCallResponse streamed;
    Must(stream->Write(Ask(kLargeResponse, kLargeRequest)), "write");
    stream->WritesDone();
    Must(stream->Read(&streamed), "read");
    CheckPayload(streamed, kLargeResponse);
    Must(!stream->Read(&streamed), "too many responses");
    MustBe(stream->Finish(), StatusCode::OK);
    CheckEchoes(duplex);
}

void UnaryEchoesStatus(const std::string &message) {
    Context context;
    SimpleRequest request;
    SimpleResponse response;
    request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
    request.mutable_response_status()->set_message(message);
    Status status = stub->UnaryCall(&context, request, &response);
    MustBe(status, StatusCode::UNKNOWN);
    Must(status.error_message() == message, "the message is " + status.error_message());
}

void StatusCodeAndMessage() {
    const std::string message = "test status message";
    UnaryEchoesStatus(message);
    Context context;
    auto stream = stub->FullDuplexCall(&context);
    StreamingOutputCallRequest request;
    StreamingOutputCallResponse response;
    request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
    request.mutable_response_status()->set_message(message);
    stream->Write(request);
    stream->WritesDone();
    Must(!stream->Read(&response), "a response");
    Status status = stream->Finish();
    MustBe(status, StatusCode::UNKNOWN);
    Must(status.error_message() == message, "the message is " + status.error_message());
}

void SpecialStatusMessage() {
    UnaryEchoesStatus("\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP "
                      "\xf0\x9f\x98\x88\t\n");
}

void UnimplementedMethod() {
    Context context;
    Empty request, response;
    MustBe(stub->UnimplementedCall(&context, request, &response), StatusCode::UNIMPLEMENTED);
}

void UnimplementedServiceCase() {
    Context context;
    Empty request, response;
    MustBe(UnimplementedService::NewStub(channel)->UnimplementedCall(&context, request, &response),
           StatusCode::UNIMPLEMENTED);
}

void PerRpcCreds() {
    SimpleRequest request;
    request.set_fill_username(true);
    request.set_fill_oauth_scope(true);
    for (const std::string user : {"one", "two"}) {
        Context context;
        SimpleResponse response;
        context.set_credentials(grpc::AccessTokenCredentials("interop/" + user + "/scope-" + user));
        MustBe(stub->UnaryCall(&context, request, &response), StatusCode::OK);
        Must(response.username() == user, "the username is " + response.username());
        Must(response.oauth_scope() == "scope-" + user, "the scope is " + response.oauth_scope());
    }
    Context context;
    SimpleResponse response;
    MustBe(stub->UnaryCall(&context, request, &response), StatusCode::UNAUTHENTICATED);
}

void ClientCompressedUnary() {
    const struct {
        bool expected, compressed;
        StatusCode code;
    } steps[] = {{true, false, StatusCode::INVALID_ARGUMENT},
                 {true, true, StatusCode::OK},
                 {false, false, StatusCode::OK}};
    for (const auto &step : steps) {
        Context context;
        SimpleRequest request = LargeRequest();
        SimpleResponse response;
        request.mutable_expect_compressed()->set_value(step.expected);
        if (step.compressed) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
        MustBe(stub->UnaryCall(&context, request, &response), step.code);
        if (step.code == StatusCode::OK) CheckPayload(response, kLargeResponse);
    }
}

void ServerCompressedUnary() {
    for (bool compressed : {true, false}) {
        Context context;
        SimpleRequest request = LargeRequest();
        SimpleResponse response;
        request.mutable_response_compressed()->set_value(compressed);
        MustBe(stub->UnaryCall(&context, request, &response), StatusCode::OK);
        CheckPayload(response, kLargeResponse);
        Must(InteropClientContextInspector::Compressed(context) == compressed,
             "the reply is not compressed as asked");
    }
}

void ClientCompressedStreaming() {
    {
        Context context;
        StreamingInputCallRequest request;
        StreamingInputCallResponse response;
        auto writer = stub->StreamingInputCall(&context, &response);
        request.mutable_expect_compressed()->set_value(true);
        request.mutable_payload()->set_body(std::string(27182, '\0'));
        writer->Write(request);
        writer->WritesDone();
        MustBe(writer->Finish(), StatusCode::INVALID_ARGUMENT);
    }
    Context context;
    StreamingInputCallRequest request;
    StreamingInputCallResponse response;
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    auto writer = stub->StreamingInputCall(&context, &response);
    request.mutable_expect_compressed()->set_value(true);
    request.mutable_payload()->set_body(std::string(27182, '\0'));
    Must(writer->Write(request), "write");
    request.mutable_expect_compressed()->set_value(false);
    request.mutable_payload()->set_body(std::string(45904, '\0'));
    Must(writer->Write(request, grpc::WriteOptions().set_no_compression()), "write");
    writer->WritesDone();
    MustBe(writer->Finish(), StatusCode::OK);
    Must(response.aggregated_payload_size() == 73086, "the sum is wrong");
}

void ServerCompressedStreaming() {
    const struct {
        int size;
        bool compressed;
    } parts[] = {{31415, true}, {92653, false}};
    Context context;
    StreamingOutputCallRequest request;
    for (const auto &part : parts) {
        auto *parameters = request.add_response_parameters();
        parameters->set_size(part.size);
        parameters->mutable_compressed()->set_value(part.compressed);
    }
    auto reader = stub->StreamingOutputCall(&context, request);
    StreamingOutputCallResponse response;
    for (const auto &part : parts) {
        Must(reader->Read(&response), "read");
        CheckPayload(response, part.size);
        Must(InteropClientContextInspector::Compressed(context) == part.compressed,
             "a response is not compressed as asked");
    }
    Must(!reader->Read(&response), "too many responses");
    MustBe(reader->Finish(), StatusCode::OK);
}

void RpcSoak() {
    for (int i = 0; i < soak_iterations; i++) LargeUnary();
}

void ChannelSoak() {
    for (int i = 0; i < soak_iterations; i++)
        LargeUnaryOn(TestService::NewStub(NewChannel()).get());
}

const std::map<std::string, std::function<void()>> cases = {
    {"empty_unary", EmptyUnary},
    {"large_unary", LargeUnary},
    {"client_streaming", ClientStreaming},
    {"server_streaming", ServerStreaming},
    {"ping_pong", PingPong},
    {"half_duplex", HalfDuplex},
    {"empty_stream", EmptyStream},
    {"cancel_after_begin", CancelAfterBegin},
    {"cancel_after_first_response", CancelAfterFirstResponse},
    {"timeout_on_sleeping_server", TimeoutOnSleepingServer},
    {"custom_metadata", CustomMetadata},
    {"status_code_and_message", StatusCodeAndMessage},
    {"special_status_message", SpecialStatusMessage},
    {"unimplemented_method", UnimplementedMethod},
    {"unimplemented_service", UnimplementedServiceCase},
    {"per_rpc_creds", PerRpcCreds},
    {"client_compressed_unary", ClientCompressedUnary},
    {"server_compressed_unary", ServerCompressedUnary},
    {"client_compressed_streaming", ClientCompressedStreaming},
    {"server_compressed_streaming", ServerCompressedStreaming},
    {"rpc_soak", RpcSoak},
    {"channel_soak", ChannelSoak},
};

}  // namespace

int main(int argc, char **argv) {
    if (argc != 5) {
        std::cerr << "usage: interop_cpp_client HOST:PORT CA TEST_CASE SOAK_ITERATIONS\n";
        return 2;
    }
    target = argv[1];
    ca = ReadFile(argv[2]);
    soak_iterations = std::atoi(argv[4]);
    channel = NewChannel();
    stub = TestService::NewStub(channel);
    auto found = cases.find(argv[3]);
    Must(found != cases.end(), std::string("there is no case ") + argv[3]);
    found->second();
    return 0;
}
