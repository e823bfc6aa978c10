/* SPDX-License-Identifier: Apache-2.0 */
/* What a server may send to our client: HTTP/2, gRPC and messages, without TLS and network. The
 * first byte: its low bits are the size of a read (0 = as much as there is), and its highest bit
 * says that the input has a preface of its own. The second: 1 = the server falls silent at the
 * end instead of closing, 2 = it reads little. The third: how many 255ths of the rest come on the
 * first connection; what is left comes on the second. */
#include "fuzz.h"
#include "fuzz_client.h"

#define HEAD_BYTES   3
#define OWN_PREFACE  0x80
#define CHUNK_MASK   0x7f
#define STAYS        1
#define READS_LITTLE 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char settings[] = "\0\0\0\4\0\0\0\0\0";
    if (size < HEAD_BYTES)
        return 0;
    rpc_bytes rest = rpc_bytes_of(data + HEAD_BYTES, size - HEAD_BYTES);
    size_t first = (rest.size * data[2] + 254) / 255;
    rpc_bytes preface = rpc_bytes_of(settings, data[0] & OWN_PREFACE ? 0 : sizeof settings - 1);
    const rpc_bytes pieces[2][2] = {{preface, rpc_bytes_of(rest.data, first)},
        {preface, rpc_bytes_of(rest.data + first, rest.size - first)}};
    memory_peer peers[2];
    for (size_t i = 0; i < 2; i++)
        peers[i] = (memory_peer){.pieces = pieces[i],
            .piece_count = 2,
            .chunk_max = data[0] & CHUNK_MASK,
            .stays = data[1] & STAYS,
            .reads_little = data[1] & READS_LITTLE};
    fuzz_client_run(peers, first < rest.size ? 2 : 1, NULL, NULL);
    return 0;
}
