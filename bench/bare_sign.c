/* SPDX-License-Identifier: Apache-2.0 */
/* libsodium's own rate of Ed25519 signatures over a message of that size, on one core. Prints it.
 *
 *   bare_sign COUNT BYTES */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BYTES_MAX 65536u

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static uint8_t message[BYTES_MAX];
    uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
    uint8_t signature[crypto_sign_BYTES];
    const unsigned long count = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    const unsigned long size = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (count == 0 || size == 0 || size > BYTES_MAX || sodium_init() < 0) {
        fprintf(stderr, "usage: bare_sign COUNT BYTES\n");
        return 2;
    }
    memset(message, 'x', size);
    crypto_sign_keypair(public, secret);
    const double begun = seconds_now();
    for (unsigned long i = 0; i < count; i++)
        crypto_sign_detached(signature, NULL, message, size, secret);
    printf("{\"signs_per_s\": %.1f}\n", (double)count / (seconds_now() - begun));
    return 0;
}
