# SPDX-License-Identifier: Apache-2.0
# One function makes a module: a folder, a public header, a static library. A module's folder
# is an include directory of those that link it and of nobody else: that is how the link arrows
# of docs/architecture.md are held by the compiler.
include(CheckCCompilerFlag)

set(DACM_WARNINGS)
foreach(flag -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual
        -Wformat=2 -Wundef -Wvla -Wnull-dereference -Wpointer-arith -Wwrite-strings
        -Wimplicit-fallthrough -Wdouble-promotion -Wlogical-op -Wduplicated-cond)
    string(MAKE_C_IDENTIFIER "HAVE${flag}" have)
    check_c_compiler_flag(-Werror\ ${flag} ${have})
    if(${have})
        list(APPEND DACM_WARNINGS ${flag})
    endif()
endforeach()
if(DACM_WERROR)
    list(APPEND DACM_WARNINGS -Werror)
endif()

add_library(dacm_options INTERFACE)
target_compile_definitions(dacm_options INTERFACE _GNU_SOURCE)
if(DACM_SANITIZE)
    target_compile_options(dacm_options INTERFACE
        -fsanitize=${DACM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(dacm_options INTERFACE -fsanitize=${DACM_SANITIZE})
endif()
if(DACM_FUZZ)
    target_compile_options(dacm_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(DACM_COVERAGE)
    target_compile_options(dacm_options INTERFACE --coverage)
    target_link_options(dacm_options INTERFACE --coverage)
endif()
if(DACM_HARDEN)
    target_compile_options(dacm_options INTERFACE
        -fstack-protector-strong -fstack-clash-protection -fcf-protection
        -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
    target_link_options(dacm_options INTERFACE -Wl,-z,relro -Wl,-z,now)
endif()

# dacm_module(NAME SOURCES file… [PUBLIC_LINK target…] [PRIVATE_LINK target…])
# makes the static library dacm_NAME with the alias dacm::NAME.
function(dacm_module name)
    cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC_LINK;PRIVATE_LINK" ${ARGN})
    add_library(dacm_${name} STATIC ${ARG_SOURCES})
    add_library(dacm::${name} ALIAS dacm_${name})
    target_include_directories(dacm_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
    target_compile_options(dacm_${name} PRIVATE ${DACM_WARNINGS})
    target_link_libraries(dacm_${name}
        PUBLIC ${ARG_PUBLIC_LINK} dacm_options PRIVATE ${ARG_PRIVATE_LINK})
endfunction()

# dacm_program(NAME SOURCES file… LINK target…) makes build/<preset>/bin/NAME.
function(dacm_program name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_compile_options(${name} PRIVATE ${DACM_WARNINGS})
    target_link_libraries(${name} PRIVATE ${ARG_LINK} dacm_options)
    if(DACM_HARDEN)
        set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
        target_link_options(${name} PRIVATE -pie)
    endif()
endfunction()
