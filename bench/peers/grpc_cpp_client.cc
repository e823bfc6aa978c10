// SPDX-License-Identifier: Apache-2.0
// The peer's own load generator: gRPC C++ with the callback API, a channel with a subchannel pool
// of its own per connection, otherwise its defaults. Prints what dacm-bench prints.
//     grpc_cpp_client ADDRESS CA WORK CONNECTIONS INFLIGHT SECONDS|xCOUNT ASSET GPSI TOKEN-FILE [tuned]
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "dacm/v1/digital_asset.grpc.pb.h"
#include "tuned.h"

namespace {

using Clock = std::chrono::steady_clock;

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

struct Run {
    std::string asset, gpsi, token;
    bool unary = true;
    std::atomic<bool> stop{false};
    bool by_time = true;
    std::atomic<long> left{0};  // calls to start, unless by time
    std::atomic<uint64_t> failures{0}, bytes{0};
    std::mutex lock;
    std::condition_variable idle;
    int running = 0;
    std::vector<uint32_t> samples;

    bool MayStart() {
        if (stop.load(std::memory_order_relaxed))
            return false;
        return by_time || left.fetch_sub(1) > 0;
    }
    void Add(const std::vector<uint32_t> &more) {
        std::lock_guard<std::mutex> guard(lock);
        samples.insert(samples.end(), more.begin(), more.end());
        if (--running == 0)
            idle.notify_all();
    }
    void Fail(const grpc::Status &status) {
        if (failures++ == 0)
            std::cerr << "grpc_cpp_client: " << status.error_message() << "\n";
        stop = true;
    }
};

// One call in flight after another.
class Slot {
  public:
    Slot(Run *run, dacm::v1::DigitalAssets::Stub *stub) : run_(run), stub_(stub) {
        request_.set_asset_id(run->asset);
        request_.set_gpsi(run->gpsi);
        request_.set_operation(dacm::v1::OPERATION_GET);
    }
    void Start() {
        if (!run_->MayStart()) {
            run_->Add(samples_);
            return;
        }
        context_ = std::make_unique<grpc::ClientContext>();
        context_->AddMetadata("dacm-token", run_->token);
        begin_ = Clock::now();
        stub_->async()->Authorize(context_.get(), &request_, &response_,
                                  [this](const grpc::Status &status) { Done(status); });
    }

  private:
    void Done(const grpc::Status &status) {
        if (status.ok())
            samples_.push_back(static_cast<uint32_t>(
                std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin_)
                    .count()));
        else
            run_->Fail(status);
        Start();
    }
    Run *run_;
    dacm::v1::DigitalAssets::Stub *stub_;
    std::unique_ptr<grpc::ClientContext> context_;
    dacm::v1::AuthorizeRequest request_;
    dacm::v1::AuthorizeResponse response_;
    Clock::time_point begin_;
    std::vector<uint32_t> samples_;
};

// One download after another, on a thread of its own; bytes are counted, not checked.
void Downloads(Run *run, dacm::v1::DigitalAssets::Stub *stub) {
    std::vector<uint32_t> samples;
    while (run->MayStart()) {
        grpc::ClientContext context;
        context.AddMetadata("dacm-token", run->token);
        dacm::v1::DownloadRequest request;
        request.set_asset_id(run->asset);
        request.set_gpsi(run->gpsi);
        const auto begin = Clock::now();
        auto reader = stub->Download(&context, request);
        dacm::v1::DownloadResponse response;
        while (reader->Read(&response))
            run->bytes += response.ByteSizeLong();
        const grpc::Status status = reader->Finish();
        if (status.ok())
            samples.push_back(static_cast<uint32_t>(
                std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin)
                    .count()));
        else
            run->Fail(status);
    }
    run->Add(samples);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 10 && argc != 11) {
        std::cerr << "usage: grpc_cpp_client ADDRESS CA WORK CONNECTIONS INFLIGHT "
                     "SECONDS|xCOUNT ASSET GPSI TOKEN-FILE [tuned]\n";
        return 2;
    }
    Run run;
    run.unary = std::string(argv[3]) == "unary";
    const int connections = std::atoi(argv[4]), inflight = std::atoi(argv[5]);
    run.asset = argv[7];
    run.gpsi = argv[8];
    run.token = ReadFile(argv[9]);
    while (!run.token.empty() && run.token.back() == '\n')
        run.token.pop_back();
    run.by_time = argv[6][0] != 'x';
    if (!run.by_time)
        run.left = std::atol(argv[6] + 1);
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = ReadFile(argv[2]);
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    if (argc == 11)
        Tune([&arguments](const char *name, int value) { arguments.SetInt(name, value); },
             [&arguments](const char *name, const char *value) {
                 arguments.SetString(name, value);
             });
    std::vector<std::unique_ptr<dacm::v1::DigitalAssets::Stub>> stubs;
    std::vector<std::unique_ptr<Slot>> slots;
    std::vector<std::thread> threads;
    run.running = run.unary ? connections * inflight : connections;
    for (int i = 0; i < connections; i++)
        stubs.push_back(dacm::v1::DigitalAssets::NewStub(
            grpc::CreateCustomChannel(argv[1], grpc::SslCredentials(tls), arguments)));
    const auto begin = Clock::now();
    for (auto &stub : stubs) {
        if (!run.unary)
            threads.emplace_back(Downloads, &run, stub.get());
        for (int k = 0; run.unary && k < inflight; k++) {
            slots.push_back(std::make_unique<Slot>(&run, stub.get()));
            slots.back()->Start();
        }
    }
    {
        std::unique_lock<std::mutex> guard(run.lock);
        auto over = [&run] { return run.running == 0; };
        if (run.by_time && !run.idle.wait_for(guard,
                                       std::chrono::seconds(std::atoi(argv[6])), over))
            run.stop = true;
        run.idle.wait(guard, over);
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    for (auto &thread : threads)
        thread.join();
    std::sort(run.samples.begin(), run.samples.end());
    const size_t count = run.samples.size();
    std::printf("{\"calls\": %zu, \"failures\": %llu, \"seconds\": %.6f, \"calls_per_s\": %.1f, "
                "\"mb_per_s\": %.2f, \"p50_us\": %u, \"p99_us\": %u}\n",
                count, static_cast<unsigned long long>(run.failures.load()), seconds,
                count / seconds, run.bytes / seconds / 1e6, count ? run.samples[count / 2] : 0,
                count ? run.samples[count - 1 - count / 100] : 0);
    return run.failures ? 1 : 0;
}
