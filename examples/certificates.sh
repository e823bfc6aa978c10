#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# certificates.sh FOLDER: a CA, a server's and a client's certificate, for trying things out.
set -eu
mkdir -p "$1" && cd "$1"
openssl req -x509 -newkey ed25519 -nodes -days 30 -subj "/CN=example CA" \
    -keyout ca.key -out ca.crt 2>/dev/null
issue() { # NAME SUBJECT_ALTERNATIVE_NAME
    openssl req -newkey ed25519 -nodes -subj "/CN=$1" -addext "subjectAltName=$2" \
        -keyout "$1.key" -out "$1.csr" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -days 30 -copy_extensions copy \
        -out "$1.crt" 2>/dev/null
    rm "$1.csr"
}
issue server DNS:localhost,IP:127.0.0.1
issue client URI:https://client.example/
