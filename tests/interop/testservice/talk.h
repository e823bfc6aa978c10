/* SPDX-License-Identifier: Apache-2.0 */
/** One call of any kind, driven step by step from the test's thread: callbacks put what comes
 *  into a queue, the functions here wait for it. What must not happen ends the program with a
 *  sentence and exit status 1: a test client has nothing else to do. */
#ifndef DACM_INTEROP_TALK_H
#define DACM_INTEROP_TALK_H

#include "rpc.h"

#include <pthread.h>

#define TALK_MESSAGES_MAX 64
#define TALK_TIMEOUT_MS   60000 /* of every call that names no other; only a hang is so long */

typedef struct talk {
    rpc_call *call;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    rpc_message *messages[TALK_MESSAGES_MAX]; /* received, not yet taken */
    bool compressed[TALK_MESSAGES_MAX];
    unsigned first, count;
    bool writable, ended;
    rpc_status status;
    char initial[64];     /* x-grpc-test-echo-initial */
    uint8_t trailing[64]; /* x-grpc-test-echo-trailing-bin */
    size_t trailing_size;
} talk;

/** Ends the program with the sentence. */
_Noreturn void give_up(const char *format, ...) RPC_PRINTF(1, 2);
/** The same unless ok. */
#define must(ok, ...)                                                                              \
    do {                                                                                           \
        if (!(ok))                                                                                 \
            give_up(__VA_ARGS__);                                                                  \
    } while (0)

/** options may be NULL. */
void talk_start(talk *t, rpc_channel *channel, const char *path, const rpc_call_options *options);
/** Waits for room when there is none. */
void talk_send(talk *t, const ProtobufCMessage *message);
void talk_half_close(talk *t);
void talk_cancel(talk *t);
/** The next message, unpacked into arena, or NULL when the call has ended. */
ProtobufCMessage *talk_receive(
    talk *t, const ProtobufCMessageDescriptor *descriptor, rpc_arena *arena, bool *ret_compressed);
/** Waits for the end; nothing may be left in the queue. Outputs of t stay. */
void talk_end(talk *t, rpc_code expected);

#endif
