# SPDX-License-Identifier: Apache-2.0
# librpc on its own: the library dacm-rpc, shared and static, with its headers, CMake package and
# pkg-config file. `cmake --install BUILD --component rpc` installs it and nothing else.
file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/rpc.h lines REGEX "^#define RPC_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX MATCHALL "[0-9]+" numbers "${lines}")
list(JOIN numbers "." DACM_RPC_VERSION)
string(REGEX MATCH "^[0-9]+\\.[0-9]+" DACM_RPC_SOVERSION ${DACM_RPC_VERSION}) # until 1.0
set(DACM_RPC_HEADERS rpc.h rpc_limits.h base/base.h)

# Programs of this tree include what those outside do: <dacm-rpc/rpc.h>.
set(DACM_RPC_INCLUDE ${CMAKE_CURRENT_BINARY_DIR}/include)
file(MAKE_DIRECTORY ${DACM_RPC_INCLUDE}/dacm-rpc)
foreach(header IN LISTS DACM_RPC_HEADERS)
    get_filename_component(name ${header} NAME)
    file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR}/${header} ${DACM_RPC_INCLUDE}/dacm-rpc/${name}
        SYMBOLIC)
endforeach()

if(DACM_SANITIZE OR DACM_FUZZ OR DACM_COVERAGE)
    # Not for installing; examples and tests of the package's interface link the parts.
    add_library(dacm_rpc_in_tree INTERFACE)
    target_include_directories(dacm_rpc_in_tree INTERFACE ${DACM_RPC_INCLUDE})
    target_link_libraries(dacm_rpc_in_tree INTERFACE dacm::rpc)
    add_library(dacm-rpc::rpc ALIAS dacm_rpc_in_tree)
    return()
endif()

set(objects $<TARGET_OBJECTS:dacm_base> $<TARGET_OBJECTS:dacm_rpc> $<TARGET_OBJECTS:dacm_proto_grpc>
    $<TARGET_OBJECTS:dacm_proto_google>)
get_target_property(linked dacm_rpc LINK_LIBRARIES)
list(FILTER linked INCLUDE REGEX "^(dep::|Threads::)")

add_library(dacm_rpc_shared SHARED ${objects})
set_target_properties(dacm_rpc_shared PROPERTIES
    OUTPUT_NAME dacm-rpc VERSION ${DACM_RPC_VERSION} SOVERSION ${DACM_RPC_SOVERSION}
    LINKER_LANGUAGE C)
target_include_directories(dacm_rpc_shared INTERFACE ${DACM_RPC_INCLUDE})
target_link_libraries(dacm_rpc_shared PUBLIC dep::protobuf_c PRIVATE ${linked} dacm_options)
target_link_options(dacm_rpc_shared PRIVATE -Wl,-z,defs -Wl,--as-needed)
add_library(dacm-rpc::rpc ALIAS dacm_rpc_shared)

# One object whose only symbols are the API: what is hidden in the shared library is local in the
# static one too, so that a program may have its own code for grpc.health.v1.
set(object ${CMAKE_CURRENT_BINARY_DIR}/dacm-rpc.o)
add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_LINKER} -r -o ${object} ${objects}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${object}
    DEPENDS ${objects}
    COMMAND_EXPAND_LISTS VERBATIM)
add_library(dacm_rpc_archive STATIC ${object})
set_target_properties(dacm_rpc_archive PROPERTIES OUTPUT_NAME dacm-rpc LINKER_LANGUAGE C)
target_include_directories(dacm_rpc_archive INTERFACE ${DACM_RPC_INCLUDE})
target_link_libraries(dacm_rpc_archive INTERFACE dep::protobuf_c ${linked})
add_library(dacm-rpc::rpc_static ALIAS dacm_rpc_archive)

# What the static library needs, for the package files: a pkg-config module where there is one.
set(DACM_RPC_REQUIRES_PRIVATE)
set(DACM_RPC_LIBS_PRIVATE -pthread)
foreach(dependency IN LISTS linked)
    string(REGEX REPLACE "^[a-z]+::" "" name ${dependency})
    if(dependency STREQUAL "dep::protobuf_c" OR NOT dependency MATCHES "^dep::")
        continue()
    elseif(${name}_MODULE_NAME)
        list(APPEND DACM_RPC_REQUIRES_PRIVATE ${${name}_MODULE_NAME})
    else()
        list(APPEND DACM_RPC_LIBS_PRIVATE -l${name})
    endif()
endforeach()
list(JOIN DACM_RPC_REQUIRES_PRIVATE " " DACM_RPC_REQUIRES_PRIVATE_TEXT)
list(JOIN DACM_RPC_LIBS_PRIVATE " " DACM_RPC_LIBS_PRIVATE_TEXT)

# Debian's libnng.a has its own TLS in it, which we do not use but a static program must link.
set(DACM_RPC_NNG_STATIC "-lmbedtls -lmbedx509 -lmbedcrypto")
file(RELATIVE_PATH DACM_RPC_PC_TO_PREFIX
    /${CMAKE_INSTALL_LIBDIR}/pkgconfig /) # the prefix may be chosen when installing
string(REGEX REPLACE "/$" "" DACM_RPC_PC_TO_PREFIX ${DACM_RPC_PC_TO_PREFIX})

include(CMakePackageConfigHelpers)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/dacm-rpc)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/dacm-rpc-config.cmake.in
    ${CMAKE_CURRENT_BINARY_DIR}/dacm-rpc-config.cmake
    INSTALL_DESTINATION ${package} PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/dacm-rpc-config-version.cmake
    VERSION ${DACM_RPC_VERSION} COMPATIBILITY SameMinorVersion)
configure_file(${PROJECT_SOURCE_DIR}/cmake/dacm-rpc.pc.in ${CMAKE_CURRENT_BINARY_DIR}/dacm-rpc.pc @ONLY)

install(TARGETS dacm_rpc_shared dacm_rpc_archive COMPONENT rpc
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(header IN LISTS DACM_RPC_HEADERS)
    install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dacm-rpc COMPONENT rpc)
endforeach()
install(FILES
    ${CMAKE_CURRENT_BINARY_DIR}/dacm-rpc-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/dacm-rpc-config-version.cmake
    ${PROJECT_SOURCE_DIR}/cmake/DacmRpcProtos.cmake ${PROJECT_SOURCE_DIR}/cmake/EmbedFile.cmake
    DESTINATION ${package} COMPONENT rpc)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dacm-rpc.pc COMPONENT rpc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/docs/librpc/reference.md ${PROJECT_SOURCE_DIR}/LICENSE COMPONENT rpc
    DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/dacm-rpc)
