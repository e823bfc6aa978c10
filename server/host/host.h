/* SPDX-License-Identifier: Apache-2.0 */
/** What every server of the suite needs besides its service: settings, log, health, request IDs,
 *  lifecycle; http.h has its HTTPS server. Functions are for any thread unless they say otherwise.
 */
#ifndef DACM_HOST_H
#define DACM_HOST_H

#include "rpc.h"

#include <stdatomic.h>
#include <stdio.h>

/* ---- settings -------------------------------------------------------------------------- */

#define HOST_SETTINGS_BYTES_MAX (1u << 20)
#define HOST_LIST_ENTRIES_MAX   1024u

typedef enum host_kind {
    HOST_BOOL,        /* true or false */
    HOST_INT,         /* min..max, in `unit` */
    HOST_STRING,      /* min..max bytes */
    HOST_ENUM,        /* one of choices */
    HOST_STRING_LIST, /* each entry min..max bytes */
    HOST_MAP_LIST,    /* entries with `fields` */
} host_kind;

/** One line of a server's table of settings: parser, --help-config and manual are made of it. */
typedef struct host_setting {
    const char *name; /* "listen.users.url"; a field of a map list has a plain name */
    host_kind kind;
    const char *unit; /* "ms", "bytes"; NULL = none */
    int64_t min, max;
    const char *fallback;       /* default as text; NULL = required; list kinds: NULL = empty */
    const char *const *choices; /* HOST_ENUM: NULL-terminated */
    const struct host_setting *fields; /* HOST_MAP_LIST */
    size_t field_count;
    bool reloadable;
    bool required_list; /* list kinds: at least one entry */
    const char *description;
} host_setting;

/** Parsed values; immutable. */
typedef struct host_settings host_settings;
/** The values of one entry of a map list, or of the whole file. */
typedef struct host_values host_values;

/** Reads YAML (as events: no anchors, aliases or tags) against the table. name is for messages:
 *  "dacmd.yaml:7: 'listen.user': no such setting; did you mean 'listen.users'?".
 *  INVALID_ARGUMENT, RESOURCE_EXHAUSTED (too large, no memory). table outlives the result. */
RPC_MUST_USE rpc_code host_settings_parse(const char *name, rpc_bytes yaml,
    const host_setting *table, size_t count, host_settings **ret, rpc_status *reterr);
/** The same from a file of at most 1 MiB. NOT_FOUND, PERMISSION_DENIED as well. */
RPC_MUST_USE rpc_code host_settings_load(const char *path, const host_setting *table, size_t count,
    host_settings **ret, rpc_status *reterr);
void host_settings_free(host_settings *settings);

const host_values *host_settings_values(const host_settings *settings);
/** Values by name; a name that the table does not have with that kind is a bug (abort).
 *  Strings live as long as the settings. An optional string without value is "". */
bool host_bool(const host_values *values, const char *name);
int64_t host_int(const host_values *values, const char *name);
const char *host_string(const host_values *values, const char *name);
unsigned host_enum(const host_values *values, const char *name); /* index into choices */
size_t host_list_count(const host_values *values, const char *name);
const char *const *host_string_list(const host_values *values, const char *name);
const host_values *host_map_list(const host_values *values, const char *name, size_t index);
/** Line of the file where it was set; 0 = default. */
unsigned host_line(const host_values *values, const char *name);

/** Calls fn for every setting whose value differs between the two (of one table). */
void host_settings_diff(const host_settings *old_settings, const host_settings *new_settings,
    void (*fn)(void *ctx, const host_setting *setting), void *ctx);
/** What every server of librpc can limit: X(member of rpc_limits, setting, unit, least, most,
 *  default, description). The ranges are those that rpc_server_new() takes. */
#define HOST_RPC_LIMITS(X)                                                                         \
    X(connections_max, "limits.connections", NULL, 1, 1000000, "10000", "connections in all")      \
    X(connections_per_address_max, "limits.connections_per_address", NULL, 1, 1000000, "2000",     \
        "connections of an address (of IPv6: a /64)")                                              \
    X(unauthenticated_max, "limits.unauthenticated", NULL, 1, 1000000, "1024",                     \
        "connections before their first request")                                                  \
    X(unauthenticated_per_address_max, "limits.unauthenticated_per_address", NULL, 1, 1000000,     \
        "64", "the same, an address")                                                              \
    X(handshake_ms, "limits.handshake_ms", "ms", 1, 3600000, "5000", "for the TLS handshake")      \
    X(first_request_ms, "limits.first_request_ms", "ms", 1, 3600000, "10000",                      \
        "from connecting to the first request")                                                    \
    X(idle_ms, "limits.idle_ms", "ms", 0, 31536000000, "300000",                                   \
        "a connection without a call is kept; 0: for ever")                                        \
    X(write_progress_ms, "limits.write_progress_ms", "ms", 1, 3600000, "30000",                    \
        "output waits and the peer takes none of it")                                              \
    X(stream_receive_ms, "limits.stream_receive_ms", "ms", 0, 31536000000, "300000",               \
        "a call waits for the caller's next message or its end; 0: for ever")                      \
    X(stream_send_ms, "limits.stream_send_ms", "ms", 0, 31536000000, "300000",                     \
        "a call waits for the caller to take what is sent; 0: for ever")                           \
    X(keepalive_ms, "limits.keepalive_ms", "ms", 0, 31536000000, "7200000",                        \
        "after so long without a byte of a peer with calls it is sent a PING; 0: never")           \
    X(keepalive_timeout_ms, "limits.keepalive_timeout_ms", "ms", 1, 3600000, "20000",              \
        "without a byte after that PING the peer is taken for dead")                               \
    X(streams_max, "limits.streams", NULL, 1, 10000, "100", "calls at a time on a connection")     \
    X(header_list_bytes_max, "limits.header_list_bytes", "bytes", 1024, 16777216, "65536",         \
        "headers of a request")                                                                    \
    X(header_count_max, "limits.header_count", NULL, 8, 65536, "256", "headers of a request")      \
    X(continuations_max, "limits.continuations", NULL, 1, 10000, "8",                              \
        "CONTINUATION frames of a request")                                                        \
    X(ping_interval_min_ms, "limits.ping_interval_ms", "ms", 0, 3600000, "10000",                  \
        "least time between PINGs without calls")                                                  \
    X(ping_strikes_max, "limits.ping_strikes", NULL, 0, 1000000, "2",                              \
        "faster PINGs before the connection ends")                                                 \
    X(pings_per_second_max, "limits.pings_per_second", NULL, 1, 1000000, "100",                    \
        "PINGs beside calls")                                                                      \
    X(resets_per_second_max, "limits.resets_per_second", NULL, 1, 1000000, "100",                  \
        "calls cancelled by the caller, on a connection")                                          \
    X(settings_per_second_max, "limits.settings_per_second", NULL, 2, 1000000, "100",              \
        "SETTINGS frames on a connection")                                                         \
    X(empty_data_per_second_max, "limits.empty_data_per_second", NULL, 1, 1000000, "100",          \
        "DATA frames without data on a connection")                                                \
    X(other_frames_per_second_max, "limits.other_frames_per_second", NULL, 1, 1000000, "1000",     \
        "frames of types that mean nothing here")                                                  \
    X(window_updates_max, "limits.window_updates", NULL, 100, 1000000, "1000",                     \
        "WINDOW_UPDATE frames beyond ten for each DATA frame sent")                                \
    X(message_receive_bytes_max, "limits.message_bytes", "bytes", 1, 4294967295, "4194304",        \
        "largest message")                                                                         \
    X(call_memory_bytes_max, "limits.call_memory_bytes", "bytes", 16384, 1099511627776,            \
        "16777216", "memory of one call")                                                          \
    X(connection_request_bytes_max, "limits.connection_memory_bytes", "bytes", 1, 1099511627776,   \
        "8388608", "messages that wait on a connection")                                           \
    X(server_memory_bytes_max, "limits.server_memory_bytes", "bytes", 1048576, 1099511627776,      \
        "1073741824", "memory of all connections and calls; over it new calls are refused")        \
    X(retry_pushback_ms, "limits.retry_pushback_ms", "ms", 0, 3600000, "1000",                     \
        "what such a caller is told to wait")                                                      \
    X(stream_window_bytes, "limits.stream_window_bytes", "bytes", 1024, 2147483647, "65536",       \
        "receive window of a call")                                                                \
    X(connection_window_bytes, "limits.connection_window_bytes", "bytes", 65535, 2147483647,       \
        "1048576", "receive window of a connection")                                               \
    X(frame_bytes_max, "limits.frame_bytes", "bytes", 16384, 16777215, "262144",                   \
        "largest frame taken and sent")                                                            \
    X(header_table_bytes, "limits.header_table_bytes", "bytes", 0, 1048576, "16384",               \
        "table of header compression (HPACK), each way")

/** An entry of HOST_RPC_LIMITS as a line of a server's table of settings:
 *  `static const host_setting table[] = {HOST_RPC_LIMITS(HOST_RPC_LIMIT_SETTING) …};` */
#define HOST_RPC_LIMIT_SETTING(member, setting, of, least, most, standard, text)                   \
    {.name = (setting),                                                                            \
        .kind = HOST_INT,                                                                          \
        .unit = (of),                                                                              \
        .min = (least),                                                                            \
        .max = (most),                                                                             \
        .fallback = (standard),                                                                    \
        .description = (text)},
/** The limits that values set; of a table with all of HOST_RPC_LIMITS. */
rpc_limits host_rpc_limits(const host_values *values);

/** Every setting with unit, range, default and description (--help-config). */
void host_settings_help(const host_setting *table, size_t count, FILE *out);

/* ---- records of a store -------------------------------------------------------------------- */

#define HOST_KEY_BYTES_MAX 250u
/** A group or item of a store; the bytes stand in the struct. */
typedef struct host_key {
    size_t size;
    uint8_t data[HOST_KEY_BYTES_MAX];
} host_key;
static inline rpc_bytes host_key_bytes(const host_key *key)
{
    return rpc_bytes_of(key->data, key->size);
}
/** prefix (at most 8 bytes) and name; a name of more than 200 bytes is replaced by `#` and its
 *  SHA-256, as is one that begins with `#`. */
host_key host_key_of(const char *prefix, const char *name);

/** Packs a record into memory of its own (free()); data is NULL when memory is short. */
rpc_bytes host_record_pack(const ProtobufCMessage *message);
/** Unpacks into arena, through the gate. DATA_LOSS when the bytes are no such record; *ret stays as
 *  it was, so that NULL before is NULL after a failure. */
rpc_code host_record_unpack(const ProtobufCMessageDescriptor *descriptor, rpc_bytes bytes,
    rpc_arena *arena, ProtobufCMessage **ret, rpc_status *reterr);

/* ---- log ---------------------------------------------------------------------------------- */

typedef enum host_level { HOST_ERROR, HOST_WARNING, HOST_INFO, HOST_DEBUG } host_level;

typedef struct host_log host_log;

/** Lines go to path, or to standard error where it is empty. */
RPC_MUST_USE rpc_code host_log_open(const char *path, host_level level, const char *program,
    const rpc_clock *clock, host_log **ret, rpc_status *reterr);
/** Waits for what is in the ring. No call may come later. */
void host_log_close(host_log *log);
void host_log_set_level(host_log *log, host_level level);
/** Opens its file again (after rotation by others). */
RPC_MUST_USE rpc_code host_log_reopen(host_log *log, rpc_status *reterr);

typedef struct host_field {
    const char *name; /* printable ASCII without quotes and backslashes */
    size_t name_size;
    enum { HOST_FIELD_TEXT, HOST_FIELD_NUMBER, HOST_FIELD_PSEUDONYM } kind;
    rpc_bytes text; /* escaped, cut at 1,024 bytes; PSEUDONYM: only its HMAC is written */
    int64_t number;
} host_field;
static inline host_field host_text(const char *name, const char *text)
{
    host_field field = {name, strlen(name), HOST_FIELD_TEXT, rpc_bytes_str(text ? text : ""), 0};
    return field;
}
static inline host_field host_number(const char *name, int64_t number)
{
    host_field field = {name, strlen(name), HOST_FIELD_NUMBER, {NULL, 0}, number};
    return field;
}
/** A subject or GPSI: never written as it is. */
static inline host_field host_who(const char *name, const char *text)
{
    host_field field = {
        name, strlen(name), HOST_FIELD_PSEUDONYM, rpc_bytes_str(text ? text : ""), 0};
    return field;
}

/** Of a line or record. */
#define HOST_FIELDS_MAX 32u

/** Writes one JSON line {"time", "level", "program", "message", fields…} before it returns. Texts
 *  that are too large together are cut further, the largest first, so that each field is there. */
void host_log_write(
    host_log *log, host_level level, const char *message, const host_field *fields, size_t count);
#define HOST_LOG(log, level, message, ...)                                                         \
    host_log_write((log), (level), (message), (const host_field[]){__VA_ARGS__},                   \
        sizeof((const host_field[]){__VA_ARGS__}) / sizeof(host_field))
/** An access line: queued, written by a thread of the log, dropped and counted when
 *  1 MiB of them waits. */
void host_log_access(host_log *log, const host_field *fields, size_t count);
uint64_t host_log_dropped(const host_log *log);

/** The fields as one JSON object, as log lines have them: for the audit trail. Its bytes. Where
 *  texts are too large for room they are cut, so that foreign text keeps no record from being
 *  written and no other field from being in it; only where names and numbers alone are too large
 *  fields are left out. 0 when there is no room for an object. */
size_t host_fields_json(
    host_log *log, const host_field *fields, size_t count, char *ret, size_t room);

#define HOST_PSEUDONYM_CHARS 24
/** HMAC under a key that is drawn at start and rotates every 24 hours: the same person has the
 *  same pseudonym within a day of one process, and nobody can compute it. */
void host_pseudonym(host_log *log, rpc_bytes who, char ret[HOST_PSEUDONYM_CHARS + 1]);
/** Changes with the key: what was made under one number is made no more under another. */
uint64_t host_pseudonym_version(host_log *log);

/* ---- request IDs ---------------------------------------------------------------------------- */

#define HOST_REQUEST_ID_CHARS 26
/** Always 26 of 0-9 a-v; sorts by time (milliseconds), the rest is random. */
void host_request_id(const rpc_clock *clock, char ret[HOST_REQUEST_ID_CHARS + 1]);
/** The time in it; -1 when text is no request ID. */
int64_t host_request_id_ms(const char *text);

/* ---- metrics -------------------------------------------------------------------------------- */

/** Counters, gauges and histograms in Prometheus' text format (version 0.0.4). Series are added
 *  and never removed; adding takes a lock, counting and writing the text do not. Callers keep
 *  what they are given: it lives as long as the metrics. What is counted elsewhere (librpc counts
 *  calls) is not counted again: a family is given by a function that reads it.
 *
 *  Names and labels are the program's own words, never foreign text: one that breaks Prometheus'
 *  rules, one name used for two types, and a gauge or family added twice are bugs (abort). The help
 *  text of a name's first series stands for all. All strings are copied. */
typedef struct host_metrics host_metrics;
typedef struct host_counter host_counter;
typedef struct host_histogram host_histogram;

/** The most series of one host_metrics: labels are for a few known values, never for names of
 *  users, assets or addresses. */
#define HOST_METRICS_SERIES_MAX 4096u

/** NULL when memory is short. */
RPC_MUST_USE host_metrics *host_metrics_new(void);
/** NULL is allowed. No call on it or on what it gave may come later or be under way. */
void host_metrics_free(host_metrics *metrics);

/** labels  `method="Download",code="OK"` or NULL. The same name and labels (in any order) are the
 *  same counter. NULL when memory is short or HOST_METRICS_SERIES_MAX is reached. */
host_counter *host_metrics_counter(
    host_metrics *metrics, const char *name, const char *help, const char *labels);
/** NULL is allowed. */
void host_counter_add(host_counter *counter, uint64_t n);

/** A histogram of durations; as host_metrics_counter(). Shown in seconds, at the bounds 0.0001,
 *  0.00025, 0.0005 … 10, +Inf. */
host_histogram *host_metrics_histogram(
    host_metrics *metrics, const char *name, const char *help, const char *labels);
/** NULL is allowed. Less than 0 counts as 0, more than an hour as an hour. No lock. */
void host_histogram_record(host_histogram *histogram, int64_t us);

/** fn is called at each host_metrics_text(), on that thread; it must not block. A gauge that
 *  memory is too short for is left out of the text. */
void host_metrics_gauge(host_metrics *metrics, const char *name, const char *help,
    const char *labels, double (*fn)(void *ctx), void *ctx);

/** Where a family's function puts its series, for as long as it runs. */
typedef struct host_samples host_samples;
typedef void host_family_fn(void *ctx, host_samples *samples);
/** All series of a name, of which no other may be added: of counters, or of histograms of
 * latencies. fn is called as a gauge's, and gives each series once. */
void host_metrics_counters(
    host_metrics *metrics, const char *name, const char *help, host_family_fn *fn, void *ctx);
void host_metrics_latencies(
    host_metrics *metrics, const char *name, const char *help, host_family_fn *fn, void *ctx);
/** labels as host_metrics_counter()'s; in a family of host_metrics_counters(). */
void host_sample_count(host_samples *samples, const char *labels, uint64_t value);
/** Shown as a host_histogram; in a family of host_metrics_latencies(). */
void host_sample_latency(host_samples *samples, const char *labels, const rpc_call_stats *stats);

/** All series, those of a name together, as text that the caller frees; NULL when memory is
 *  short. ret_size: without the NUL behind it. */
RPC_MUST_USE char *host_metrics_text(host_metrics *metrics, size_t *ret_size);

/* ---- health -----------------------------------------------------------------------------------
 */

/** Named conditions and warnings, for /healthz. name and text are static strings of the program.
 *  More than HOST_HEALTH_ENTRIES_MAX names of a kind are a bug (abort). */
typedef struct host_health host_health;
#define HOST_HEALTH_ENTRIES_MAX 32u

/** NULL when memory is short. */
RPC_MUST_USE host_health *host_health_new(void);
/** NULL is allowed. */
void host_health_free(host_health *health);
/** Sets the condition `name` ("store"), which is added when it is new. text: what is wrong, or
 *  NULL. */
void host_health_set(host_health *health, const char *name, bool ok, const char *text);
/** Sets the warning `name` ("literal mode"); text NULL takes it back. Warnings fail nothing. */
void host_health_warn(host_health *health, const char *name, const char *text);
/** True when no condition is failing. */
bool host_health_ok(host_health *health);

/* ---- lifecycle --------------------------------------------------------------------------------
 */

/** Once, first in main, before any thread: files are made for their owner alone (umask 077), no
 *  core dump or debugger of the same user sees keys, SIGPIPE and SIGXFSZ are ignored, SIGTERM,
 *  SIGINT and SIGHUP wait for host_wait_signal() (a child process must unblock them before exec),
 *  the soft limit of descriptors is raised to the hard one (at most 1,048,576), and the heap keeps
 *  no more than a few MiB that are free. Ends the process with a message when the system refuses.
 */
void host_process_prepare(void);

typedef enum host_signal {
    HOST_SIGNAL_STOP,   /* SIGTERM, SIGINT */
    HOST_SIGNAL_RELOAD, /* SIGHUP */
} host_signal;
/** Blocks until one arrives. One thread. */
host_signal host_wait_signal(void);

/** Tells the service manager (sd_notify): "READY=1", "RELOADING=1", "STOPPING=1", "STATUS=…";
 *  lines are separated by \n. MONOTONIC_USEC, which RELOADING=1 needs, is added. Nothing happens
 *  where NOTIFY_SOCKET is not set or nobody listens. */
void host_notify(const char *state);

struct argp;
/** What every server's command line has. Zero before parsing. */
typedef struct host_options {
    const char *config; /* borrowed from argv */
    bool check_config, help_config;
} host_options;
/** --config FILE, --check-config, --help-config. Its input is a host_options; for use alone or as
 *  a child of a server's own argp. Neither --config nor --help-config is a usage
 *  error, as is a second --config. */
extern const struct argp host_argp;

/* ---- calls ------------------------------------------------------------------------------------
 */

/** Gives every call of a server its request ID, writes its access line, and shows in the metrics
 *  what librpc counts. */
typedef struct host_rpc host_rpc;
/** log, metrics and clock outlive it. NULL when memory is short. */
RPC_MUST_USE host_rpc *host_rpc_new(host_log *log, host_metrics *metrics, const rpc_clock *clock);
/** After the servers that it watches. */
void host_rpc_free(host_rpc *watch);
/** Once, after rpc_server_start(): from now on the metrics have dacm_calls_total,
 *  dacm_call_seconds, dacm_received_bytes_total, dacm_sent_bytes_total,
 *  dacm_connection_events_total and dacm_limit_reached_total of that server. No
 *  host_metrics_text() once it is freed. */
void host_rpc_show(host_rpc *watch, const rpc_server *server);
/** For rpc_server_options: the first interceptor, and on_event with the host_rpc as its ctx. */
rpc_interceptor host_rpc_interceptor(host_rpc *watch);
void host_rpc_event(void *watch, const rpc_event *event);
/** Of a call that the interceptor saw; "" otherwise. Strand, until the call has ended: whoever
 * works elsewhere takes a copy along. */
const char *host_rpc_request_id(const rpc_call *call);

/* ---- fetching ---------------------------------------------------------------------------------
 */

/** One document by HTTPS GET. Only the configuration names what is fetched. */
typedef struct host_fetch {
    const char *url;
    const char *ca_file; /* PEM; NULL or "": the system's */
    bool allow_http;     /* http:// too, on loopback (127.0.0.1, [::1], localhost) only */
    size_t bytes_max;    /* of the answer's body */
    int64_t connect_ms, total_ms;
    const atomic_bool *cancel; /* may be NULL; true ends it within a second */
} host_fetch;

/** Only url and allow_http are looked at. INVALID_ARGUMENT: no https:// URL with a host, or one
 * with a user name or fragment. */
RPC_MUST_USE rpc_code host_fetch_check(const host_fetch *fetch, rpc_status *reterr);
/** TLS 1.2 or newer, certificate and name verified; redirects are not followed: whoever may answer
 *  for the URL must not choose another. Answer 200 only. *ret has a NUL behind it; free() it.
 *  INVALID_ARGUMENT as host_fetch_check(); RESOURCE_EXHAUSTED: more than bytes_max, or no memory;
 *  CANCELLED; UNAVAILABLE: everything else, the message says what. Blocks. */
RPC_MUST_USE rpc_code host_fetch_get(
    const host_fetch *fetch, char **ret, size_t *ret_size, rpc_status *reterr);

#endif
