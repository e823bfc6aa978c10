// SPDX-License-Identifier: Apache-2.0
// What gRPC C++ keeps to its own tests: whether the last message came compressed. Its contexts
// befriend classes of these names, and the function is exported without a header.
#ifndef DACM_INTEROP_CPP_COMMON_H
#define DACM_INTEROP_CPP_COMMON_H

#include <grpc/impl/codegen/grpc_types.h>
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <sstream>
#include <string>

uint32_t grpc_call_test_only_get_message_flags(grpc_call *call);

namespace grpc::testing
{

// What the decompressing filter leaves: GRPC_WRITE_INTERNAL_TEST_ONLY_WAS_COMPRESSED.
constexpr uint32_t kCompressedFlag = 0x40000000u;

class InteropServerContextInspector
{
  public:
    static bool Compressed(const ServerContext &context)
    {
        return grpc_call_test_only_get_message_flags(context.call_.call) & kCompressedFlag;
    }
};

class InteropClientContextInspector
{
  public:
    static bool Compressed(const ClientContext &context)
    {
        return grpc_call_test_only_get_message_flags(context.call_) & kCompressedFlag;
    }
};

} // namespace grpc::testing

inline std::string ReadFile(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

#endif
