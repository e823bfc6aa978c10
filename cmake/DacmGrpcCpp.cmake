# SPDX-License-Identifier: Apache-2.0
# gRPC C++ as a peer in tests and bench; nothing of ours is written in C++.
#     dacm_grpc_cpp_protos(TARGET ROOT folder FILES file…)
enable_language(CXX)
set(CMAKE_CXX_STANDARD 17)
find_program(DACM_GRPC_CPP_PLUGIN grpc_cpp_plugin)
pkg_check_modules(grpcpp QUIET IMPORTED_TARGET GLOBAL grpc++)
pkg_check_modules(protobufpp QUIET IMPORTED_TARGET GLOBAL protobuf)
if(NOT DACM_GRPC_CPP_PLUGIN OR NOT grpcpp_FOUND OR NOT protobufpp_FOUND)
    message(FATAL_ERROR "tests and bench need gRPC C++ as a peer. "
        "Install it: apt-get install libgrpc++-dev protobuf-compiler-grpc")
endif()

function(dacm_grpc_cpp_protos target)
    cmake_parse_arguments(ARG "" "ROOT" "FILES" ${ARGN})
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${target})
    file(MAKE_DIRECTORY ${out})
    set(sources)
    foreach(file IN LISTS ARG_FILES)
        string(REGEX REPLACE "\\.proto$" "" stem ${file})
        add_custom_command(
            OUTPUT ${out}/${stem}.pb.cc ${out}/${stem}.grpc.pb.cc
            COMMAND ${DACM_PROTOC} -I ${ARG_ROOT} --cpp_out=${out} --grpc_out=${out}
                --plugin=protoc-gen-grpc=${DACM_GRPC_CPP_PLUGIN} ${file}
            DEPENDS ${ARG_ROOT}/${file}
            VERBATIM)
        list(APPEND sources ${out}/${stem}.pb.cc ${out}/${stem}.grpc.pb.cc)
    endforeach()
    add_library(${target} STATIC ${sources})
    target_include_directories(${target} SYSTEM PUBLIC ${out})
    target_link_libraries(${target} PUBLIC PkgConfig::grpcpp PkgConfig::protobufpp)
endfunction()
