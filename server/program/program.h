/* SPDX-License-Identifier: Apache-2.0 */
/** What the server programs with a store and an audit trail have in common: the frame of main(),
 *  the tools that run beside a server, settings that mean the same everywhere, and files of keys.
 *  host/ is below it: that knows neither store nor trail. */
#ifndef SERVER_PROGRAM_H
#define SERVER_PROGRAM_H

#include "audit.h"
#include "http.h"
#include "store.h"

#include <jansson.h>
#include <pthread.h>
#include <sys/types.h>

/* ---- main ------------------------------------------------------------------------------------ */

struct argp;

/** A program; everything static. */
typedef struct program {
    const char *name;    /* "dacmd" */
    const char *version; /* of DACM_VERSION */
    const char *text;    /* for --help: what it is, \v, what signals do */
    const host_setting *settings;
    size_t setting_count;
    const struct argp *argp; /* options of its own, or NULL; its input is `input` */
    void *input;
    const char *reloaded; /* for the log: "reloaded keys and certificates" */
    /** What no single line of the settings can say. */
    rpc_code (*check)(void *input, const host_values *values, rpc_status *reterr);
    /** Reads every file that settings name, as a start would, and changes nothing. */
    rpc_code (*check_files)(const host_values *values, rpc_status *reterr);
    /** Takes settings, also on failure; they live until stop. */
    rpc_code (*start)(host_settings *settings, host_log *log, void **ret, rpc_status *reterr);
    /** Where it listens, for a line of the log. */
    const char *(*url)(const void *server);
    /** On failure everything stays as it was. */
    rpc_code (*reload)(void *server, const host_settings *settings, rpc_status *reterr);
    void (*stop)(void *server);
    /** --store-check: a line for each finding, of JSON where json; an exit code. */
    int (*store_check)(const char *directory, bool json);
    /** After --store-backup has copied; NULL: nothing. */
    rpc_code (*backed_up)(const char *destination, rpc_status *reterr);
    /** Tools of its own, which its argp options ask for; NULL: none. An exit code. */
    bool (*tool_asked)(const void *input);
    int (*tool)(const void *input, const host_values *values, bool json);
} program;

/** All of main(): command line, --check-config, --help-config, the tools, log, serving until
 *  SIGTERM, SIGHUP. Returns the exit code. */
int program_main(const program *program, int argc, char **argv);

/* ---- tools ----------------------------------------------------------------------------------- */

/** One line of JSON; takes object. */
void program_print_json(json_t *object);
/** The failure of a tool, as text on standard error or as JSON; returns 1. */
int program_tool_failed(const char *name, bool json, const rpc_status *status);

/** What a record is by its key. *ret_known false: no key of ours is like that; NULL: its value is
 * no message. */
typedef const ProtobufCMessageDescriptor *program_kind_fn(
    const store_entry *entry, bool *ret_known);
/** --store-check of a server that keeps records only: the store's own check, then each record is
 *  read as what its key says that it is. Prints what it finds; an exit code. */
int program_store_check(const char *name, const char *directory, bool json, program_kind_fn *kind);

/* ---- settings of all ------------------------------------------------------------------------- */

/** Lines of a table of settings. */
#define PROGRAM_TEXT(n, least, fb, text)                                                           \
    {                                                                                              \
        .name = (n), .kind = HOST_STRING, .min = (least), .max = 1024, .fallback = (fb),           \
        .description = (text)                                                                      \
    }
/** What SIGHUP reads again. */
#define PROGRAM_RELOADED(n, least, fb, text)                                                       \
    {                                                                                              \
        .name = (n), .kind = HOST_STRING, .min = (least), .max = 1024, .fallback = (fb),           \
        .reloadable = true, .description = (text)                                                  \
    }
#define PROGRAM_NUMBER(n, u, least, most, fb, text)                                                \
    {                                                                                              \
        .name = (n), .kind = HOST_INT, .unit = (u), .min = (least), .max = (most),                 \
        .fallback = (fb), .description = (text)                                                    \
    }
#define PROGRAM_FLAG(n, fb, text)                                                                  \
    {                                                                                              \
        .name = (n), .kind = HOST_BOOL, .fallback = (fb), .description = (text)                    \
    }
#define PROGRAM_CHOICE(n, list, fb, text)                                                          \
    {                                                                                              \
        .name = (n), .kind = HOST_ENUM, .choices = (list), .fallback = (fb), .description = (text) \
    }
#define PROGRAM_TEXTS(n, text)                                                                     \
    {                                                                                              \
        .name = (n), .kind = HOST_STRING_LIST, .min = 1, .max = 255, .description = (text)         \
    }

extern const char *const program_durabilities[]; /* of audit.durability */
extern const char *const program_levels[];       /* of log.level */

#define PROGRAM_AUDIT_SETTINGS                                                                     \
    PROGRAM_TEXT("audit.directory", 1, NULL, "where the audit trail is kept"),                     \
        PROGRAM_CHOICE("audit.durability", program_durabilities, "process",                        \
            "what an audit record survives before its answer: the process, or loss of power"),     \
        PROGRAM_NUMBER("audit.segment_bytes_max", "bytes", 8192, INT64_MAX, "67108864",            \
            "a segment of the audit trail that is as large is followed by the next"),              \
        PROGRAM_NUMBER("audit.waiting_bytes_max", "bytes", 1048576, 17179869184, "33554432",       \
            "memory for records that a slow disk has not taken; from a quarter of it on, answers " \
            "are held back"),                                                                      \
        PROGRAM_TEXT("audit.key_file", 0, "",                                                      \
            "private key that seals the trail, a JWK set of mode 0600 (dacm pki keys --for "       \
            "audit); "                                                                             \
            "empty: it is chained and not sealed"),                                                \
        PROGRAM_NUMBER("audit.seal_interval_ms", "ms", 100, 3600000, "10000",                      \
            "how often the head of the trail is signed, when records came"),                       \
        PROGRAM_NUMBER("audit.stuck_ms", "ms", 1, 3600000, "10000",                                \
            "a write of records that takes longer is taken for a broken disk: no answer waits "    \
            "for it")

/** Of a server whose trail strangers reach: program_strangers. */
#define PROGRAM_STRANGERS_SETTING                                                                  \
    PROGRAM_NUMBER("audit.unauthenticated_per_s", NULL, 1, 1000000, "100",                         \
        "records a second of requests of strangers, without a genuine token (nor, at the SIM-S, "  \
        "the right password, nor, at the SKM-S, an enrolment); the others are counted")

#define PROGRAM_LOG_SETTINGS                                                                       \
    {.name = "log.level",                                                                          \
        .kind = HOST_ENUM,                                                                         \
        .choices = program_levels,                                                                 \
        .fallback = "info",                                                                        \
        .reloadable = true,                                                                        \
        .description = "what is logged"},                                                          \
        PROGRAM_TEXT("log.file", 0, "", "file of the log; empty: standard error")

#define PROGRAM_ADMIN_SETTINGS                                                                     \
    PROGRAM_TEXT("listen.admin.url", 0, "", "ipc:// socket of the operator; empty: none"),         \
    {                                                                                              \
        .name = "listen.admin.uids", .kind = HOST_STRING_LIST, .min = 1, .max = 10,                \
        .description = "user IDs that may use the socket besides the server's own"                 \
    }

/** Of an HTTPS server whose routes may block (host/http.h); its limits are HOST_HTTPS_LIMITS. */
#define PROGRAM_HTTP_WORKERS                                                                       \
    PROGRAM_NUMBER("http.workers", NULL, 2, 256, "64", "requests that are worked on at a time"),   \
        PROGRAM_NUMBER(                                                                            \
            "http.polling_threads", NULL, 1, 64, "1", "threads that read, write and do the TLS")
/** By PROGRAM_HTTP_WORKERS, into options. */
void program_http_workers(const host_values *values, host_https_options *options);

/** The trail as audit.* says; a record that a crash tore is cut off and told to log. */
RPC_MUST_USE rpc_code program_audit_open(const host_values *values, const rpc_clock *clock,
    host_log *log, trust_audit **ret, rpc_status *reterr);

/** listen.admin.uids; free() *ret. INVALID_ARGUMENT names the entry that is no number. */
RPC_MUST_USE rpc_code program_admin_uids(
    const host_values *values, uid_t **ret, size_t *ret_count, rpc_status *reterr);

/** Does the call come from this machine, by our own user or one of uids? */
bool program_admin_caller(const rpc_call *call, const uid_t *uids, size_t count);
/** The operator's server on listen.admin.url: that service, health, channelz and reflection,
 * watched by calls; it serves when this returns. *ret is set on failure too, once it is made:
 * rpc_server_free() it. Everything outlives the server. The errors of librpc, with the setting's
 * name. */
RPC_MUST_USE rpc_code program_admin_serve(rpc_runtime *runtime, host_rpc *calls,
    const host_values *settings, ProtobufCService *service, rpc_bytes descriptor_set,
    rpc_server **ret, rpc_status *reterr);

/** Both or neither of two settings. */
RPC_MUST_USE rpc_code program_check_pair(
    const host_values *values, const char *first, const char *second, rpc_status *reterr);
/** listen.NAME.url of librpc's listeners. */
RPC_MUST_USE rpc_code program_check_url(
    const host_values *values, const char *name, bool allow_plain_text, rpc_status *reterr);
/** The options of a side server by listen.NAME.address, .port, .certificate and .key; without
 *  routes. */
host_https_options program_https_options(const host_values *values, const char *name);
RPC_MUST_USE rpc_code program_check_https(
    const host_values *values, const char *name, rpc_status *reterr);
/** What a listener would say of these files; the message names the setting. */
RPC_MUST_USE rpc_code program_check_tls(
    const rpc_tls_options *tls, const char *setting, rpc_status *reterr);
/** host_https_reload_check(), for a reload that is taken as a whole or not at all; the message
 * names the setting. */
RPC_MUST_USE rpc_code program_check_https_reload(const host_https *https,
    const host_https_options *options, const char *setting, rpc_status *reterr);

/* ---- audit records -----------------------------------------------------------------------------
 */

/** Writes a record {"time_ms", "request_id", "event", fields…} and waits until it is as durable as
 *  audit.durability asks. event is static ("login", "release", …). UNAVAILABLE: it is not in the
 *  trail, which is logged and counted in refused; the answer must not go out. */
RPC_MUST_USE rpc_code program_audit(trust_audit *audit, host_log *log, const rpc_clock *clock,
    host_counter *refused, const char *request_id, const char *event, const host_field *fields,
    size_t count, rpc_status *reterr);

/** Requests of those whom nobody knows are anybody's to send, as fast as the network allows. So
 *  many a second (PROGRAM_STRANGERS_SETTING) have an audit record of their own; the others are
 *  counted, and the next record says how many there were: a stranger must not be able to fill the
 *  audit trail's disk, on which every answer hangs. Why so: docs/decisions/0010. Any thread. */
typedef struct program_strangers {
    pthread_mutex_t lock;
    unsigned records_per_s_max;
    int64_t second; /* (lock) of records */
    unsigned records;
    uint64_t left_out;          /* (lock) since the last record */
    host_counter *left_out_all; /* may be NULL */
} program_strangers;

void program_strangers_init(
    program_strangers *strangers, const host_values *values, host_counter *left_out_all);
void program_strangers_done(program_strangers *strangers);
/** True: the request at now_s (seconds since 1970) is to be recorded, with *ret_left_out others
 *  that were not. False: it was counted. */
bool program_strangers_admit(program_strangers *strangers, int64_t now_s, uint64_t *ret_left_out);
/** program_audit() with the number of the others as left_out, or RPC_OK and it was counted. */
RPC_MUST_USE rpc_code program_strangers_audit(program_strangers *strangers, trust_audit *audit,
    host_log *log, const rpc_clock *clock, host_counter *refused, const char *request_id,
    const char *event, const host_field *fields, size_t count, rpc_status *reterr);

/* ---- unary methods that may block
 * ----------------------------------------------------------------
 */

/** A call as its method sees it, on a thread of a pool. */
typedef struct program_call {
    void *service;      /* of program_calls */
    const void *method; /* as it was given to program_call_begin() */
    rpc_call *call;
    const char *request_id; /* as long as call */
    rpc_arena *arena;
    const ProtobufCMessage *request; /* a copy: the call may be over; its texts and bytes are wiped
                                      * afterwards */
    ProtobufCMessage *reply;         /* set on RPC_OK; in the arena */
} program_call;

/** How the methods of a service are run. */
typedef struct program_calls {
    rpc_pool *pool;
    void *service;
    size_t arena_bytes; /* of a call: request and reply */
    rpc_code (*run)(program_call *c, rpc_status *reterr);
} program_calls;

/** Runs calls->run on the pool with a copy of request and answers. RESOURCE_EXHAUSTED when too many
 *  wait. Strand; calls outlives the pool. */
void program_call_begin(const program_calls *calls, const void *method,
    const ProtobufCMessage *request, ProtobufCClosure closure, rpc_call *call);
/** A message of that type in the call's arena, initialised; a copy of a text in it. NULL when
 *  memory is short: program_call_no_memory(). */
void *program_call_new(program_call *c, const ProtobufCMessageDescriptor *descriptor);
char *program_call_text(program_call *c, const char *text);
rpc_code program_call_no_memory(rpc_status *reterr);
/** As many as a page may have: 100 where it does not say, at most 1,000. */
uint32_t program_page_size(uint32_t asked);

/* ---- files ----------------------------------------------------------------------------------- */

/** A whole file of at most max bytes with a NUL behind them; program_file_done() wipes and frees
 *  it, NULL allowed. NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, RESOURCE_EXHAUSTED (too large, no
 *  memory). */
RPC_MUST_USE rpc_code program_file_read(
    const char *path, size_t max, char **ret, size_t *ret_size, rpc_status *reterr);
void program_file_done(char *content, size_t size);
/** The same of a file with a private key, which nobody else may read (mode 0640 at most): whoever
 *  reads it can sign in our name. setting is for the message. */
RPC_MUST_USE rpc_code program_key_file_read(const char *setting, const char *path, size_t max,
    char **ret, size_t *ret_size, rpc_status *reterr);

#endif
