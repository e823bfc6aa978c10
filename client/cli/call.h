/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of `dacm call` share. The command opens an rpc_channel of its own instead of a
 *  dacm_client: any method of any server, with any metadata and types learnt at run time, is not
 *  what libdacm promises, and would only blur its contract. */
#ifndef DACM_CALL_H
#define DACM_CALL_H

#include "cli.h"
#include "dynamic.h"
#include "rpc.h"

/* ---- a call as one thread sees it (call_stream.c) ------------------------------------------- */

typedef struct call_stream call_stream;

typedef enum call_event {
    CALL_EVENT_NONE,
    CALL_EVENT_MESSAGE,  /* *ret_message is the caller's */
    CALL_EVENT_WRITABLE, /* after RPC_SENT_BUSY */
    CALL_EVENT_END,      /* *ret_end is how it ended; comes again if asked again */
} call_event;

/** Starts a call of any kind. */
dacm_code call_stream_open(rpc_channel *channel, const char *path, const rpc_call_options *options,
    call_stream **ret, dacm_error *reterr);
/** Cancels it if it runs, waits for its end, frees it. NULL is allowed. */
void call_stream_close(call_stream *stream);
rpc_call *call_stream_call(call_stream *stream);
/** Readable when there may be an event; for poll(). */
int call_stream_fd(const call_stream *stream);
/** The next event; does not wait. Messages come before the end. */
call_event call_stream_next(call_stream *stream, rpc_message **ret_message, dacm_error *ret_end);
/** The same, waiting. */
call_event call_stream_wait(call_stream *stream, rpc_message **ret_message, dacm_error *ret_end);

/* ---- descriptors (call_reflection.c) -----------------------------------------------------------
 */

/** How to ask a server for its types. */
typedef struct call_reflection {
    rpc_channel *channel;
    rpc_call_options options; /* metadata and timeout of each question */
    bool alpha;               /* learnt: it only has v1alpha */
} call_reflection;

/** Prints nothing; names are malloc'd strings in a JSON array that the caller owns. */
dacm_code call_list_services(call_reflection *reflection, json_t **ret, dacm_error *reterr);
/** The types that a symbol needs: its file and all it imports. */
dacm_code call_fetch_schema(
    call_reflection *reflection, const char *symbol, dynamic_schema **ret, dacm_error *reterr);
/** The types of a FileDescriptorSet. */
dacm_code call_load_schema(const char *path, dynamic_schema **ret, dacm_error *reterr);

/* ---- the input (call_input.c)
 * -------------------------------------------------------------------- */

/** JSON values one after another, from text, a file or standard input. */
typedef struct call_input {
    int fd;     /* -1: all there is stands in data */
    bool owned; /* fd is ours to close */
    char *data;
    size_t size, room;
    size_t start, at; /* of the value being looked at; how far it was looked at */
    unsigned depth;
    bool inside, in_string, escaped;
} call_input;

typedef enum call_next {
    CALL_NEXT_VALUE, /* *ret is the caller's */
    CALL_NEXT_MORE,  /* call_input_fill() first */
    CALL_NEXT_END,
    CALL_NEXT_BAD, /* *reterr says why */
} call_next;

/** source  JSON, "@FILE", "-" or NULL (nothing). LOCAL_FILE, RESOURCE_EXHAUSTED. */
dacm_code call_input_open(const char *source, call_input *ret, dacm_error *reterr);
void call_input_done(call_input *input);
/** Reads once; blocks as long as fd has nothing. */
dacm_code call_input_fill(call_input *input, dacm_error *reterr);
call_next call_input_next(call_input *input, json_t **ret, dacm_error *reterr);

#endif
