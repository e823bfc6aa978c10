# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it: packages, builds, and quiet about success.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc)

packages_build=(
    build-essential cmake ninja-build pkg-config
    libnng-dev libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
    liblmdb-dev libsodium-dev libssl-dev libjansson-dev libmicrohttpd-dev libgnutls28-dev
    libcurl4-openssl-dev libyaml-dev zlib1g-dev grpc-proto libprotobuf-dev
    libmeshoptimizer-dev libpng-dev libturbojpeg0-dev libwebp-dev libstb-dev libseccomp-dev
)
packages_test=(
    python3 libcmocka-dev clang libclang-rt-14-dev curl openssl iproute2
    libgrpc++-dev protobuf-compiler-grpc python3-grpcio python3-protobuf python3-cryptography
    python3-nacl python3-pil jq xxd
    nghttp2-client chromium chromium-driver fonts-dejavu-core
)
packages_bench=(nginx nghttp2-client python3-hpack)

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# quietly WHAT COMMAND… shows the command's output only when it fails.
quietly() {
    local what=$1 log; shift
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        die "$what failed: $*"
    fi
    rm -f "$log"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "needs root to install packages; run: apt-get install ${missing[*]}"
    fi
}

# install_packages PACKAGE… installs those that are missing.
install_packages() {
    command -v apt-get >/dev/null || return 0
    missing=()
    local package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${#missing[@]} packages"
    quietly 'apt-get update' as_root apt-get update -qq
    quietly 'apt-get install' as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Debian's Node.js and npm, unless some are there.
install_node() {
    [ -x /usr/bin/node ] && command -v npm >/dev/null && return 0
    install_packages nodejs npm
}

# install_node_packages FOLDER… what package-lock.json names there.
install_node_packages() {
    local folder
    for folder in "$@"; do
        (cd "$root/$folder" && quietly 'npm ci' npm ci --no-audit --no-fund)
    done
}

# build PRESET [cmake option…]
build() {
    local preset=$1; shift
    say "building $preset"
    (cd "$root" &&
        quietly "configuring $preset" cmake --preset "$preset" "$@" &&
        quietly "building $preset" cmake --build --preset "$preset" -j "$jobs")
}
