/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"
#include "cleanup.h"
#include "keyserver.h"

#include "dacm/v1/digital_asset.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"

#include <string.h>
#include <time.h>

#define TIMEOUT_MS_DEFAULT 30000
#define ATTEMPTS_DEFAULT   5
#define HEALTH_PAUSE_MS    50

/* An SKM-S answers a key set (64 KiB) and the statements of its roots. */
#define KEYSERVER_ANSWER_BYTES_MAX (1u << 20)
#define KEYSERVER_TIMEOUT_MS       10000
/* A watch without a word is the rule: a peer that is gone is noticed by a PING. The server takes
 * one in 10 s. */
#define KEYSERVER_KEEPALIVE_MS         30000
#define KEYSERVER_KEEPALIVE_TIMEOUT_MS 10000
#define KEYSERVER_BACKOFF_FIRST_MS     250
#define KEYSERVER_BACKOFF_MAX_MS       10000

const char *dacm_operation_name(dacm_operation operation)
{
    static const char *const names[] = {NULL, "discovery", "get", "update", "delete"};
    return (unsigned)operation < sizeof names / sizeof *names ? names[operation] : NULL;
}

bool dacm_operation_parse(const char *text, dacm_operation *ret)
{
    for (int i = DACM_OPERATION_DISCOVERY; i <= DACM_OPERATION_DELETE; i++)
        if (strcmp(text, dacm_operation_name((dacm_operation)i)) == 0) {
            *ret = (dacm_operation)i;
            return true;
        }
    return false;
}

/** A copy of an optional string; false when memory is short. */
static bool copy(const char *text, char **ret)
{
    *ret = text ? strdup(text) : NULL;
    return *ret || !text;
}

static dacm_code judge(const dacm_client_options *options, dacm_error *reterr)
{
    if (!options->target)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "no server was named; give a target such as tls+tcp://localhost:7443");
    if (!options->certificate_file != !options->key_file)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "a client certificate and its key belong together; give both or neither");
    if (options->token && options->token_fn)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "a token and a token provider were given; give one of them");
    if (options->keys_file && !options->issuer)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "manifest keys were given (keys_file, --keys) without the DACM that they speak for; "
            "name its "
            "resource URI (issuer, --issuer)");
    if (options->trust_dir && !options->issuer)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "a folder of pinned roots was given (trust_dir, --trust) without the DACM whose keys "
            "are wanted; name its resource URI (issuer, --issuer)");
    if (options->trust_dir && options->keys_file)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "a file of keys (keys_file, --keys) and a folder of pinned roots (trust_dir, --trust) "
            "were given; give one of them");
    return DACM_OK;
}

static dacm_code judge_file(const char *file, dacm_error *reterr)
{
    return !file || access(file, R_OK) == 0 ? DACM_OK
                                            : client__fail_file(reterr, "cannot read", file);
}

static dacm_code judge_files(const dacm_client_options *options, dacm_error *reterr)
{
    dacm_code code = judge_file(options->ca_file, reterr);
    if (code == DACM_OK)
        code = judge_file(options->certificate_file, reterr);
    if (code == DACM_OK)
        code = judge_file(options->key_file, reterr);
    return code;
}

static dacm_code open_channel(dacm_client *client, const dacm_client_options *options,
    const rpc_channel_options *more, dacm_error *reterr)
{
    const dacm_code code = judge_files(options, reterr);
    if (code != DACM_OK)
        return code;
    rpc_channel_options channel = *more;
    channel.target = options->target;
    channel.allow_plain_text = options->allow_plain_text;
    channel.tls = (rpc_tls_options){
        .ca_file = options->ca_file,
        .certificate_file = options->certificate_file,
        .key_file = options->key_file,
        .server_name = options->server_name,
    };
    const rpc_runtime_options runtime = {.clock = client->clock};
    rpc_status status = {.code = RPC_OK};
    if ((!client->runtime && rpc_runtime_new(&runtime, &client->runtime, &status) != RPC_OK) ||
        rpc_channel_new(client->runtime, &channel, &client->channel, &status) != RPC_OK)
        return client__fail_status(reterr, &status);
    return DACM_OK;
}

static void set_times(dacm_client *client, const dacm_client_options *options)
{
    client->clock = options->clock ? options->clock : rpc_clock_system();
    client->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    client->attempts = options->attempts > 0 ? options->attempts : ATTEMPTS_DEFAULT;
}

static dacm_code fill(dacm_client *client, const dacm_client_options *options, dacm_error *reterr)
{
    set_times(client, options);
    client->token_fn = options->token_fn;
    client->token_ctx = options->token_ctx;
    client->verify = options->verify;
    if (!copy(options->token, &client->token) || !copy(options->issuer, &client->issuer) ||
        !copy(options->state_dir, &client->state_dir) ||
        !copy(options->trust_dir, &client->trust_dir))
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a client");
    if (options->keys_file) {
        const dacm_code code = client__keys_load(options->keys_file, &client->keys, reterr);
        if (code != DACM_OK)
            return code;
    }
    const rpc_channel_options channel = {.limits = rpc_limits_default_client()};
    const dacm_code code = open_channel(client, options, &channel, reterr);
    return code == DACM_OK && options->trust_dir && !options->keys_offline
               ? client__watch_new(client, options, &client->watch, reterr)
               : code;
}

dacm_code dacm_client_new(const dacm_client_options *options, dacm_client **ret, dacm_error *reterr)
{
    dacm_code code = judge(options, reterr);
    if (code != DACM_OK)
        return code;
    dacm_client *client = calloc(1, sizeof *client);
    if (!client)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a client");
    pthread_mutex_init(&client->state_lock, NULL);
    code = fill(client, options, reterr);
    if (code != DACM_OK) {
        dacm_client_free(client);
        return code;
    }
    *ret = client;
    return DACM_OK;
}

static dacm_code fill_keyserver(
    dacm_client *client, const dacm_client_options *options, dacm_error *reterr)
{
    rpc_channel_options channel = {
        .limits = rpc_limits_default_client(),
        .connect_ms = KEYSERVER_TIMEOUT_MS,
        .backoff_initial_ms = KEYSERVER_BACKOFF_FIRST_MS,
        .backoff_max_ms = KEYSERVER_BACKOFF_MAX_MS,
    };
    channel.limits.message_receive_bytes_max = KEYSERVER_ANSWER_BYTES_MAX;
    channel.limits.stream_window_bytes = KEYSERVER_ANSWER_BYTES_MAX;
    channel.limits.connection_window_bytes = 2 * KEYSERVER_ANSWER_BYTES_MAX;
    channel.limits.keepalive_ms = KEYSERVER_KEEPALIVE_MS;
    channel.limits.keepalive_timeout_ms = KEYSERVER_KEEPALIVE_TIMEOUT_MS;
    set_times(client, options);
    if (options->timeout_ms <= 0)
        client->timeout_ms = KEYSERVER_TIMEOUT_MS;
    return open_channel(client, options, &channel, reterr);
}

dacm_code client__new_keyserver(
    const dacm_client_options *options, rpc_runtime *runtime, dacm_client **ret, dacm_error *reterr)
{
    dacm_client *client = calloc(1, sizeof *client);
    if (!client)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a connection");
    pthread_mutex_init(&client->state_lock, NULL);
    client->runtime = runtime;
    client->borrowed = runtime != NULL;
    const dacm_code code = fill_keyserver(client, options, reterr);
    if (code == DACM_OK)
        *ret = client;
    else
        dacm_client_free(client);
    return code;
}

void dacm_client_free(dacm_client *client)
{
    if (!client)
        return;
    client__watch_free(client->watch); /* its connection has this client's runtime */
    rpc_channel_free(client->channel);
    if (!client->borrowed)
        rpc_runtime_free(client->runtime);
    client__keys_free(client->keys);
    if (client->token)
        explicit_bzero(client->token, strlen(client->token));
    free(client->token);
    free(client->issuer);
    free(client->state_dir);
    free(client->trust_dir);
    pthread_mutex_destroy(&client->state_lock);
    free(client);
}

static dacm_code health_once(dacm_client *client, dacm_error *reterr)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    const dacm_code code = client__unary(client, "/grpc.health.v1.Health/Check", NULL,
        &request.base, &grpc__health__v1__health_check_response__descriptor, &message, &reply,
        reterr);
    if (code != DACM_OK)
        return code;
    const bool serving = ((Grpc__Health__V1__HealthCheckResponse *)reply)->status ==
                         GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    rpc_message_release(message);
    if (!serving)
        return client__fail(reterr, DACM_UNAVAILABLE, "the server answers but is not serving yet");
    return DACM_OK;
}

dacm_code dacm_health_wait(dacm_client *client, int64_t wait_ms, dacm_error *reterr)
{
    const int64_t end = rpc_clock_monotonic_us(client->clock) + wait_ms * 1000;
    for (;;) {
        const dacm_code code = health_once(client, reterr);
        if (code != DACM_UNAVAILABLE || rpc_clock_monotonic_us(client->clock) >= end)
            return code;
        const struct timespec pause = {.tv_nsec = HEALTH_PAUSE_MS * 1000000};
        nanosleep(&pause, NULL);
    }
}

dacm_code dacm_authorize(dacm_client *client, const char *asset_id, const char *user,
    dacm_operation operation, dacm_authorization *ret, dacm_error *reterr)
{
    bool external = false;
    dacm_code code = client__check_subject(asset_id, user, &external, reterr);
    if (code != DACM_OK)
        return code;
    const char *action = dacm_operation_name(operation);
    if (!action)
        return client__fail(reterr, DACM_INVALID_ARGUMENT, "operation %d is none", operation);
    Dacm__V1__AuthorizeRequest request = DACM__V1__AUTHORIZE_REQUEST__INIT;
    request.asset_id = (char *)(uintptr_t)asset_id;
    request.user_case = external ? DACM__V1__AUTHORIZE_REQUEST__USER_EXTERNAL_ID
                                 : DACM__V1__AUTHORIZE_REQUEST__USER_GPSI;
    request.gpsi = (char *)(uintptr_t)user;
    request.operation = (Dacm__V1__Operation)operation;
    const dacm_token_request need = {.user = user, .asset_id = asset_id, .action = action};
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    code = client__unary(client, "/dacm.v1.DigitalAssets/Authorize", &need, &request.base,
        &dacm__v1__authorize_response__descriptor, &message, &reply, reterr);
    if (code != DACM_OK)
        return code;
    const Dacm__V1__AuthorizeResponse *answer = (const Dacm__V1__AuthorizeResponse *)reply;
    *ret = (dacm_authorization){.allowed = answer->allowed, .valid_until = answer->valid_until};
    client__copy_text(ret->request_id, sizeof ret->request_id, answer->request_id);
    rpc_message_release(message);
    return DACM_OK;
}
