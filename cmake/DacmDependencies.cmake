# SPDX-License-Identifier: Apache-2.0
# Every library we build on, found once. A missing one stops the configure run with the
# sentence that installs it.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(dacm_require target module package)
    pkg_check_modules(${target} QUIET IMPORTED_TARGET GLOBAL ${module})
    if(NOT ${target}_FOUND)
        message(FATAL_ERROR
            "dacm needs ${module}, which was not found. Install it: apt-get install ${package} "
            "(scripts/test and scripts/demo install everything).")
    endif()
    add_library(dep::${target} ALIAS PkgConfig::${target})
endfunction()

# Some Debian packages ship no pkg-config file.
function(dacm_require_library target library header package)
    find_library(${target}_LIBRARY ${library})
    find_path(${target}_INCLUDE ${header})
    if(NOT ${target}_LIBRARY OR NOT ${target}_INCLUDE)
        message(FATAL_ERROR
            "dacm needs ${library} (${header}), which was not found. "
            "Install it: apt-get install ${package} "
            "(scripts/test and scripts/demo install everything).")
    endif()
    add_library(${target} INTERFACE IMPORTED GLOBAL)
    target_link_libraries(${target} INTERFACE ${${target}_LIBRARY})
    target_include_directories(${target} INTERFACE ${${target}_INCLUDE})
    add_library(dep::${target} ALIAS ${target})
endfunction()

dacm_require(nghttp2 libnghttp2 libnghttp2-dev)
dacm_require(protobuf_c libprotobuf-c libprotobuf-c-dev)
dacm_require(zlib zlib zlib1g-dev)
dacm_require(openssl libssl libssl-dev)
dacm_require(crypto libcrypto libssl-dev)
dacm_require_library(nng nng nng/nng.h libnng-dev)
if(DACM_RPC_ONLY)
    return()
endif()

dacm_require(sodium libsodium libsodium-dev)
dacm_require(jansson jansson libjansson-dev)
dacm_require(microhttpd libmicrohttpd libmicrohttpd-dev)
dacm_require(gnutls gnutls libgnutls28-dev)
dacm_require(curl libcurl libcurl4-openssl-dev)
dacm_require(yaml yaml-0.1 libyaml-dev)
dacm_require(lmdb lmdb liblmdb-dev)
# media
dacm_require(png libpng libpng-dev)
dacm_require(turbojpeg libturbojpeg libturbojpeg0-dev)
dacm_require(webp libwebp libwebp-dev)
dacm_require(webpdemux libwebpdemux libwebp-dev)
dacm_require(webpmux libwebpmux libwebp-dev)
dacm_require(seccomp libseccomp libseccomp-dev)
dacm_require_library(meshoptimizer meshoptimizer meshoptimizer.h libmeshoptimizer-dev)
dacm_require_library(stb stb stb/stb_image_resize.h libstb-dev)
