/* SPDX-License-Identifier: Apache-2.0 */
/* dacm call: any method of any gRPC server, its types learnt by reflection or from a file. */
#include "call.h"
#include "cleanup.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define HEADERS_MAX      64u
#define TIMEOUT_MS       30000 /* of a unary call and of a question to reflection */
#define TIMEOUT_S_MAX    86400.0
#define TOKEN_BYTES_MAX  32768u
#define LISTED_BYTES_MAX 16384u

enum { OPTION_LIST = 512, OPTION_DESCRIBE, OPTION_PLAIN_TEXT, OPTION_TIMEOUT, OPTION_PROTO_SET };

typedef struct call_arguments {
    cli_context *cli;
    const char *target, *input; /* SERVICE/METHOD, JSON */
    const char *describe, *proto_set;
    const char *headers[HEADERS_MAX];
    size_t header_count;
    int64_t timeout_ms; /* 0 = not given */
    bool list, plain_text;
} call_arguments;

static const struct argp_option call_options[] = {
    {"list", OPTION_LIST, NULL, 0, "list the server's services, or the methods of SERVICE", 1},
    {"describe", OPTION_DESCRIBE, "NAME", 0, "show a message, enum, service or method", 1},
    {"header", 'H', "NAME=VALUE", 0, "metadata to send, repeated; NAME-bin takes base64", 1},
    {"timeout", OPTION_TIMEOUT, "SECONDS", 0,
        "end the call after that; 30 for unary calls, none for streams", 1},
    {"proto-set", OPTION_PROTO_SET, "FILE", 0,
        "types from protoc --include_imports --descriptor_set_out=FILE instead of reflection", 1},
    {"plain-text", OPTION_PLAIN_TEXT, NULL, 0, "without TLS: tcp://, on loopback only", 1},
    {0},
};

static error_t parse_timeout(const char *text, int64_t *ret)
{
    char *end = NULL;
    const double seconds = strtod(text, &end);
    if (*end || end == text || !(seconds >= 0.001 && seconds <= TIMEOUT_S_MAX))
        return EINVAL;
    *ret = (int64_t)(seconds * 1000);
    return 0;
}

static void parse_argument(call_arguments *call, char *argument, struct argp_state *state)
{
    if (!call->target)
        call->target = argument;
    else if (!call->input)
        call->input = argument;
    else
        argp_error(state, "what is '%s'?", argument);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    call_arguments *call = state->input;
    switch (key) {
    case OPTION_LIST:
        call->list = true;
        return 0;
    case OPTION_DESCRIBE:
        call->describe = argument;
        return 0;
    case 'H':
        if (call->header_count == HEADERS_MAX)
            argp_error(state, "at most %u headers", HEADERS_MAX);
        else
            call->headers[call->header_count++] = argument;
        return 0;
    case OPTION_TIMEOUT:
        if (parse_timeout(argument, &call->timeout_ms) != 0)
            argp_error(state, "--timeout takes 0.001 to 86400 seconds, not '%s'", argument);
        return 0;
    case OPTION_PROTO_SET:
        call->proto_set = argument;
        return 0;
    case OPTION_PLAIN_TEXT:
        call->plain_text = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_call(int key, char *argument, struct argp_state *state)
{
    call_arguments *call = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = call->cli;
        return 0;
    case ARGP_KEY_ARG:
        parse_argument(call, argument, state);
        return 0;
    case ARGP_KEY_END:
        if (!call->target && !call->list && !call->describe)
            argp_error(state, "which method? SERVICE/METHOD, or --list shows what there is");
        return 0;
    default:
        return parse_option(key, argument, state);
    }
}

/* ---- metadata ---------------------------------------------------------------------------------
 */

typedef struct metadata {
    rpc_metadatum list[HEADERS_MAX + 1];
    size_t count;
    char *names[HEADERS_MAX];
    uint8_t *values[HEADERS_MAX]; /* decoded from base64 */
    char token[TOKEN_BYTES_MAX + 2];
} metadata;

static void metadata_free(metadata **m)
{
    if (!*m)
        return;
    for (size_t i = 0; i < HEADERS_MAX; i++) {
        free((*m)->names[i]);
        free((*m)->values[i]);
    }
    explicit_bzero((*m)->token, sizeof(*m)->token);
    free(*m);
}

/** NAME=VALUE, or NAME: VALUE as others write it. All are sent as sensitive: we cannot know. */
static int add_header(const cli_context *cli, const char *header, metadata *m)
{
    const size_t name_size = strcspn(header, "=:");
    const char *value = header + name_size;
    if (name_size == 0 || !*value)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT, "-H takes NAME=VALUE");
    value += strspn(value + 1, " ") + 1;
    const size_t i = m->count;
    char *name = m->names[i] = strndup(header, name_size);
    if (!name)
        return cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory for the metadata");
    for (char *at = name; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    rpc_bytes bytes = rpc_bytes_str(value);
    if (name_size > 4 && strcmp(name + name_size - 4, "-bin") == 0) {
        size_t size = 0;
        if (!dynamic_unbase64(bytes, &m->values[i], &size))
            return cli_fail_text(
                cli, DACM_INVALID_ARGUMENT, "the value of '%.60s' is not base64", name);
        bytes = rpc_bytes_of(m->values[i], size);
    }
    m->list[m->count++] = (rpc_metadatum){.name = name, .value = bytes, .sensitive = true};
    return CLI_EXIT_OK;
}

/** A token of the environment belongs to the server of the environment: it is not for whatever
 *  server --server names. */
static const char *token_file(const cli_context *cli)
{
    const char *file = getenv("DACM_TOKEN_FILE"), *server = getenv("DACM_SERVER");
    const bool from_environment = cli->token_file == file;
    return from_environment && cli->server && cli->server != server ? NULL : cli->token_file;
}

static int add_token(const cli_context *cli, metadata *m)
{
    const char *path = token_file(cli);
    if (cli->token) {
        if ((size_t)snprintf(m->token, sizeof m->token, "%s", cli->token) > TOKEN_BYTES_MAX)
            return cli_fail_text(cli, DACM_INVALID_ARGUMENT, "the token is over 32 KiB");
    } else if (path) {
        RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = fopen(path, "re");
        if (!file || (!fgets(m->token, sizeof m->token, file) && ferror(file)))
            return cli_fail_text(cli, DACM_LOCAL_FILE, "cannot read the token in '%.200s': %s",
                path, strerror(errno));
        m->token[strcspn(m->token, "\r\n")] = 0;
        if (strlen(m->token) > TOKEN_BYTES_MAX)
            return cli_fail_text(cli, DACM_INVALID_ARGUMENT, "the token is over 32 KiB");
    }
    if (m->token[0])
        m->list[m->count++] = (rpc_metadatum){
            .name = "dacm-token", .value = rpc_bytes_str(m->token)};
    return CLI_EXIT_OK;
}

static int make_metadata(const call_arguments *call, metadata *m)
{
    int code = CLI_EXIT_OK;
    for (size_t i = 0; code == CLI_EXIT_OK && i < call->header_count; i++)
        code = add_header(call->cli, call->headers[i], m);
    return code == CLI_EXIT_OK ? add_token(call->cli, m) : code;
}

/* ---- the connection
 * ------------------------------------------------------------------------------ */

typedef struct connection {
    rpc_runtime *runtime;
    rpc_channel *channel;
} connection;

static void disconnect(connection *c)
{
    rpc_channel_free(c->channel);
    rpc_runtime_free(c->runtime);
}

static int fail_status(const cli_context *cli, const rpc_status *status)
{
    dacm_error error;
    cli_fail_status(&error, status);
    return cli_fail(cli, &error);
}

static int connect_to(const call_arguments *call, connection *ret)
{
    cli_context *cli = call->cli;
    dacm_error error;
    if (cli_load_env(cli, &error) != DACM_OK)
        return cli_fail(cli, &error);
    const char *server = cli->server ? cli->server : cli->env.grpc;
    RPC_AUTOFREE char *target = NULL;
    if (!server)
        return cli_fail_text(
            cli, DACM_INVALID_ARGUMENT, "no server was named; give --server tls+tcp://host:port");
    if (asprintf(&target, "%s%s",
            strstr(server, "://") ? ""
            : call->plain_text    ? "tcp://"
                                  : "tls+tcp://",
            server) < 0)
        return cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory for a connection");
    const rpc_channel_options options = {
        .target = target,
        .allow_plain_text = call->plain_text,
        .tls = {.ca_file = cli->ca_file ? cli->ca_file : cli->env.ca_file,
            .certificate_file = cli->certificate_file,
            .key_file = cli->key_file,
            .server_name = cli->server_name},
        .limits = rpc_limits_default_client(),
    };
    const rpc_runtime_options runtime = {.threads = 2};
    rpc_status status = {.code = RPC_OK};
    if (rpc_runtime_new(&runtime, &ret->runtime, &status) != RPC_OK ||
        rpc_channel_new(ret->runtime, &options, &ret->channel, &status) != RPC_OK)
        return fail_status(cli, &status);
    return CLI_EXIT_OK;
}

/* ---- types
 * --------------------------------------------------------------------------------------- */

/** What the rest of the command works with. */
typedef struct session {
    const call_arguments *call;
    cli_context *cli;
    connection connection; /* not made with --proto-set and nothing to call */
    metadata *metadata;
    dynamic_schema *schema;
} session;

static call_reflection reflection_of(const session *s)
{
    return (call_reflection){.channel = s->connection.channel,
        .options = {.timeout_ms = s->call->timeout_ms ? s->call->timeout_ms : TIMEOUT_MS,
            .metadata = s->metadata->list,
            .metadata_count = s->metadata->count}};
}

/** name  the symbol whose types are wanted; a slash counts as a dot. */
static int get_schema(session *s, const char *name)
{
    dacm_error error;
    RPC_AUTOFREE char *symbol = strdup(name);
    call_reflection reflection = reflection_of(s);
    if (!symbol)
        return cli_fail_text(s->cli, DACM_RESOURCE_EXHAUSTED, "no memory for types");
    for (char *at = symbol; *at; at++)
        if (*at == '/')
            *at = '.';
    const dacm_code code = s->call->proto_set
                               ? call_load_schema(s->call->proto_set, &s->schema, &error)
                               : call_fetch_schema(&reflection, symbol, &s->schema, &error);
    return code == DACM_OK ? CLI_EXIT_OK : cli_fail(s->cli, &error);
}

/* ---- --list and --describe
 * ------------------------------------------------------------------------- */

static void print_service(const session *s, const char *name)
{
    if (s->cli->json)
        cli_print_json(json_pack("{s:s}", "service", name));
    else
        puts(name);
}

static int list_services(session *s)
{
    json_t *names = NULL;
    dacm_error error;
    call_reflection reflection = reflection_of(s);
    if (s->call->proto_set) {
        const int code = get_schema(s, "");
        const dynamic_service *service;
        for (size_t i = 0; code == CLI_EXIT_OK && (service = dynamic_service_at(s->schema, i)); i++)
            print_service(s, service->name);
        return code;
    }
    if (call_list_services(&reflection, &names, &error) != DACM_OK)
        return cli_fail(s->cli, &error);
    for (size_t i = 0; i < json_array_size(names); i++)
        print_service(s, json_string_value(json_array_get(names, i)));
    json_decref(names);
    return CLI_EXIT_OK;
}

static void print_method(
    const session *s, const dynamic_service *service, const dynamic_method *method)
{
    if (!s->cli->json) {
        printf("%s/%s\n", service->name, method->name);
        return;
    }
    json_t *object = json_pack("{s:s, s:s, s:b, s:b}", "input", method->input_name, "output",
        method->output_name, "client_streaming", method->client_streaming, "server_streaming",
        method->server_streaming);
    if (object)
        json_object_set_new(object, "method", json_sprintf("%s/%s", service->name, method->name));
    cli_print_json(object);
}

static int list_methods(session *s)
{
    const int code = get_schema(s, s->call->target);
    if (code != CLI_EXIT_OK)
        return code;
    const dynamic_service *service = dynamic_find_service(s->schema, s->call->target);
    if (!service)
        return cli_fail_text(
            s->cli, DACM_NOT_FOUND, "'%.100s' is no service; --list shows them", s->call->target);
    for (size_t i = 0; i < service->method_count; i++)
        print_method(s, service, &service->methods[i]);
    return CLI_EXIT_OK;
}

static int describe(session *s)
{
    RPC_AUTOFREE char *text = NULL;
    rpc_status status = {.code = RPC_OK};
    const int code = get_schema(s, s->call->describe);
    if (code != CLI_EXIT_OK)
        return code;
    if (dynamic_describe(s->schema, s->call->describe, &text, &status) != RPC_OK)
        return fail_status(s->cli, &status);
    if (s->cli->json)
        cli_print_json(json_pack("{s:s, s:s}", "name", s->call->describe, "text", text));
    else
        fputs(text, stdout);
    return CLI_EXIT_OK;
}

/* ---- calling
 * ------------------------------------------------------------------------------------------ */

/** A call under way. */
typedef struct running {
    session *s;
    const dynamic_method *method;
    call_input input;
    call_stream *stream;
    uint8_t *pending; /* packed, not yet taken; NULL = none */
    size_t pending_size;
    bool busy;     /* the call takes nothing until it is writable */
    bool sent_all; /* half-closed, or nobody listens */
    bool want_input;
    json_t *reply; /* of a method with one reply, until its status is known */
    unsigned replies;
    int exit; /* the failure, once there was one */
} running;

static void running_done(running *r)
{
    call_stream_close(r->stream);
    call_input_done(&r->input);
    free(r->pending);
    json_decref(r->reply);
}

static bool print_reply(running *r, const json_t *json)
{
    RPC_AUTOFREE char *text = dynamic_print(json, !r->s->cli->json && !r->method->server_streaming);
    if (text && puts(text) >= 0 && fflush(stdout) == 0)
        return true;
    r->exit = cli_fail_text(r->s->cli, DACM_LOCAL_FILE, "cannot write the reply");
    return false;
}

static bool take_reply(running *r, rpc_message *message)
{
    rpc_status status = {.code = RPC_OK};
    json_t *json = NULL;
    const rpc_code code = dynamic_decode(
        r->method->output, rpc_message_bytes(message), &json, &status);
    rpc_message_release(message);
    r->replies++;
    if (code != RPC_OK) {
        r->exit = fail_status(r->s->cli, &status);
        return false;
    }
    if (!r->method->server_streaming) {
        json_decref(r->reply);
        r->reply = json;
        return true;
    }
    const bool printed = print_reply(r, json);
    json_decref(json);
    return printed;
}

static void finish(running *r, const dacm_error *end)
{
    if (end->code != DACM_OK)
        r->exit = cli_fail(r->s->cli, end);
    else if (!r->method->server_streaming && r->replies != 1)
        r->exit = cli_fail_text(r->s->cli, DACM_INTERNAL,
            "the server gave %u replies where the method has one", r->replies);
    else if (r->reply)
        print_reply(r, r->reply);
}

/** False: the call is over, r->exit says how. */
static bool take_events(running *r)
{
    for (;;) {
        rpc_message *message = NULL;
        dacm_error end;
        switch (call_stream_next(r->stream, &message, &end)) {
        case CALL_EVENT_MESSAGE:
            if (!take_reply(r, message))
                return false;
            break;
        case CALL_EVENT_WRITABLE:
            r->busy = false;
            break;
        case CALL_EVENT_END:
            finish(r, &end);
            return false;
        case CALL_EVENT_NONE:
            return true;
        }
    }
}

static bool encode(running *r, const json_t *json)
{
    rpc_status status = {.code = RPC_OK};
    if (dynamic_encode(r->method->input, json, &r->pending, &r->pending_size, &status) == RPC_OK)
        return true;
    r->exit = fail_status(r->s->cli, &status);
    return false;
}

/** The next value of the input, packed. False: r->exit. */
static bool take_input(running *r)
{
    dacm_error error;
    json_t *json = NULL;
    bool good = true;
    switch (call_input_next(&r->input, &json, &error)) {
    case CALL_NEXT_VALUE:
        good = encode(r, json);
        json_decref(json);
        return good;
    case CALL_NEXT_MORE:
        r->want_input = true;
        return true;
    case CALL_NEXT_END:
        rpc_call_half_close(call_stream_call(r->stream));
        r->sent_all = true;
        return true;
    case CALL_NEXT_BAD:
        break;
    }
    r->exit = cli_fail(r->s->cli, &error);
    return false;
}

static void send_pending(running *r)
{
    const rpc_sent sent = rpc_call_send(
        call_stream_call(r->stream), rpc_bytes_of(r->pending, r->pending_size), NULL);
    r->busy = sent == RPC_SENT_BUSY;
    r->sent_all = sent == RPC_SENT_OVER; /* its end says why */
    if (sent == RPC_SENT_BUSY)
        return;
    free(r->pending);
    r->pending = NULL;
}

/** Sends until the call or the input makes us wait. False: r->exit. */
static bool send_some(running *r)
{
    while (!r->busy && !r->sent_all && !r->want_input) {
        if (r->pending)
            send_pending(r);
        else if (!take_input(r))
            return false;
        /* What has come meanwhile is not kept waiting by a long input. */
        if (!take_events(r))
            return false;
    }
    return true;
}

static bool wait_for_either(running *r)
{
    struct pollfd fds[2] = {{.fd = call_stream_fd(r->stream), .events = POLLIN},
        {.fd = r->want_input && !r->sent_all ? r->input.fd : -1, .events = POLLIN}};
    dacm_error error;
    if (poll(fds, 2, -1) < 0 && errno != EINTR) {
        r->exit = cli_fail_text(r->s->cli, DACM_INTERNAL, "cannot wait: %s", strerror(errno));
        return false;
    }
    if (fds[1].revents == 0)
        return true;
    r->want_input = false;
    if (call_input_fill(&r->input, &error) == DACM_OK)
        return true;
    r->exit = cli_fail(r->s->cli, &error);
    return false;
}

/** The whole input before the call: one value, or none for an empty message. */
static bool take_only_input(running *r)
{
    dacm_error error;
    json_t *json = NULL, *second = NULL;
    call_next next;
    while (r->input.fd >= 0)
        if (call_input_fill(&r->input, &error) != DACM_OK) {
            r->exit = cli_fail(r->s->cli, &error);
            return false;
        }
    next = call_input_next(&r->input, &json, &error);
    if (next == CALL_NEXT_END)
        json = json_object();
    if (next == CALL_NEXT_VALUE)
        next = call_input_next(&r->input, &second, &error);
    if (next == CALL_NEXT_VALUE)
        r->exit = cli_fail_text(
            r->s->cli, DACM_INVALID_ARGUMENT, "the method takes one message; the input has more");
    else if (next == CALL_NEXT_BAD)
        r->exit = cli_fail(r->s->cli, &error);
    const bool good = next == CALL_NEXT_END && json && encode(r, json);
    json_decref(json);
    json_decref(second);
    return good;
}

static bool start(running *r, const char *path)
{
    const session *s = r->s;
    const bool streams = r->method->client_streaming || r->method->server_streaming;
    const rpc_call_options options = {
        .timeout_ms = s->call->timeout_ms ? s->call->timeout_ms
                      : streams           ? 0
                                          : TIMEOUT_MS,
        .metadata = s->metadata->list,
        .metadata_count = s->metadata->count,
    };
    dacm_error error;
    if (call_input_open(s->call->input, &r->input, &error) != DACM_OK) {
        r->exit = cli_fail(s->cli, &error);
        return false;
    }
    if (!r->method->client_streaming && !take_only_input(r))
        return false;
    if (call_stream_open(s->connection.channel, path, &options, &r->stream, &error) == DACM_OK)
        return true;
    r->exit = cli_fail(s->cli, &error);
    return false;
}

static int run(session *s, const dynamic_method *method, const char *path)
{
    RPC_CLEANUP(running_done) running r = {.s = s, .method = method, .input = {.fd = -1}};
    if (start(&r, path))
        while (take_events(&r) && send_some(&r) && wait_for_either(&r))
            ;
    return r.exit;
}

/** "package.Service/Method", or with a dot before the method. */
static int invoke(session *s)
{
    RPC_AUTOFREE char *name = strdup(s->call->target);
    RPC_AUTOFREE char *path = NULL;
    char *cut = name ? strrchr(name, '/') : NULL;
    if (name && !cut)
        cut = strrchr(name, '.');
    if (!cut || cut == name || !cut[1])
        return cli_fail_text(s->cli, DACM_INVALID_ARGUMENT,
            "'%.100s' is no SERVICE/METHOD; --list shows what there is", s->call->target);
    *cut = 0;
    const int code = get_schema(s, name);
    if (code != CLI_EXIT_OK)
        return code;
    const dynamic_service *service = dynamic_find_service(s->schema, name);
    const dynamic_method *method = service ? dynamic_find_method(service, cut + 1) : NULL;
    if (!method)
        return cli_fail_text(s->cli, DACM_NOT_FOUND, "there is no %s '%.100s'; --list shows them",
            service ? "method" : "service", service ? s->call->target : name);
    if (!method->input || !method->output)
        return cli_fail_text(s->cli, DACM_NOT_FOUND, "the type '%.100s' is not described",
            method->input ? method->output_name : method->input_name);
    if (asprintf(&path, "/%s/%s", name, cut + 1) < 0)
        return cli_fail_text(s->cli, DACM_RESOURCE_EXHAUSTED, "no memory for a call");
    return run(s, method, path);
}

/* ---- the command
 * ---------------------------------------------------------------------------------- */

static void session_done(session *s)
{
    disconnect(&s->connection);
    metadata_free(&s->metadata);
    dynamic_schema_free(s->schema);
}

static int run_session(const call_arguments *call)
{
    RPC_CLEANUP(session_done) session s = {.call = call, .cli = call->cli};
    const bool offline = call->proto_set && (call->list || call->describe);
    s.metadata = calloc(1, sizeof *s.metadata);
    if (!s.metadata)
        return cli_fail_text(call->cli, DACM_RESOURCE_EXHAUSTED, "no memory for metadata");
    int code = make_metadata(call, s.metadata);
    if (code == CLI_EXIT_OK && !offline)
        code = connect_to(call, &s.connection);
    if (code != CLI_EXIT_OK)
        return code;
    if (call->describe)
        return describe(&s);
    if (call->list)
        return call->target ? list_methods(&s) : list_services(&s);
    return invoke(&s);
}

int cli_call(cli_context *cli, int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_connection_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {call_options, parse_call, "SERVICE/METHOD [JSON | @FILE | -]",
        "Calls any method of any gRPC server that has reflection, with JSON for its messages; "
        "streams take several values one after another and print one a line. A token given with "
        "--token-file is sent as dacm-token.",
        children, NULL, NULL};
    call_arguments call = {.cli = cli};
    const int code = cli_parse(&argp, "dacm call", argc, argv, &call);
    if (code >= 0)
        return code;
    if (cli->as)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "--as says nothing about which token a foreign method needs; make one with "
            "`dacm token issue` and give it with --token-file");
    return run_session(&call);
}
