# SPDX-License-Identifier: Apache-2.0
# Installed with librpc, and used by this tree itself.
#
# dacm_rpc_protos(TARGET [NAME name] [ROOT folder] FILES file… [LINK target…])
# makes the static library TARGET with protobuf-c's code for the files, which are named below ROOT
# (default: here), and NAME_descriptors.h (NAME: as TARGET unless given) with protoc's FileDescriptorSet, which
# rpc_server_add_service() wants:
#     extern const unsigned char NAME_descriptors[]; extern const size_t NAME_descriptors_size;
# Includes are as in the .proto: "hello/v1/hello.proto" becomes "hello/v1/hello.pb-c.h".
find_program(DACM_PROTOC protoc)
find_program(DACM_PROTOC_C protoc-gen-c)
if(NOT DACM_PROTOC OR NOT DACM_PROTOC_C)
    message(FATAL_ERROR "dacm-rpc needs protoc and protoc-gen-c. "
        "Install them: apt-get install protobuf-compiler protobuf-c-compiler")
endif()

function(dacm_rpc_protos target)
    cmake_parse_arguments(ARG "" "ROOT;NAME" "FILES;LINK" ${ARGN})
    if(NOT ARG_ROOT)
        set(ARG_ROOT ${CMAKE_CURRENT_SOURCE_DIR})
    endif()
    if(NOT ARG_NAME)
        set(ARG_NAME ${target})
    endif()
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME})
    set(descriptors ${out}/${ARG_NAME}_descriptors)
    file(MAKE_DIRECTORY ${out})
    set(sources)
    set(inputs)
    foreach(file IN LISTS ARG_FILES)
        string(REGEX REPLACE "\\.proto$" "" stem ${file})
        add_custom_command(
            OUTPUT ${out}/${stem}.pb-c.c ${out}/${stem}.pb-c.h
            COMMAND ${DACM_PROTOC} -I ${ARG_ROOT} --c_out=${out} ${file}
            DEPENDS ${ARG_ROOT}/${file}
            VERBATIM)
        list(APPEND sources ${out}/${stem}.pb-c.c)
        list(APPEND inputs ${ARG_ROOT}/${file})
    endforeach()
    add_custom_command(
        OUTPUT ${descriptors}.c ${descriptors}.h
        COMMAND ${DACM_PROTOC} -I ${ARG_ROOT} --include_imports
            --descriptor_set_out=${out}/${ARG_NAME}.pb ${ARG_FILES}
        COMMAND ${CMAKE_COMMAND} -DINPUT=${out}/${ARG_NAME}.pb -DNAME=${ARG_NAME}_descriptors
            -DOUTPUT=${descriptors} -P ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/EmbedFile.cmake
        DEPENDS ${inputs} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/EmbedFile.cmake
        VERBATIM)
    add_library(${target} STATIC ${sources} ${descriptors}.c)
    target_include_directories(${target} SYSTEM PUBLIC ${out})
    target_link_libraries(${target} PUBLIC ${ARG_LINK})
    if(TARGET PkgConfig::DACM_RPC_PROTOBUF_C)
        target_link_libraries(${target} PUBLIC PkgConfig::DACM_RPC_PROTOBUF_C)
    endif()
endfunction()
