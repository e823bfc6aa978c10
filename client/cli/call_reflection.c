/* SPDX-License-Identifier: Apache-2.0 */
/* The types of a server, as grpc.reflection tells them. What it says is not trusted: files, bytes
 * and questions are counted, and an import that nobody has is left out. */
#include "call.h"
#include "cleanup.h"

#include "grpc/reflection/v1/reflection.pb-c.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define QUESTIONS_MAX 512u
#define SERVICES_MAX  10000u

typedef Grpc__Reflection__V1__ServerReflectionRequest question;
typedef Grpc__Reflection__V1__ServerReflectionResponse answer;

#define ASK(name)    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define ANSWER(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

RPC_PRINTF(3, 4)
static dacm_code fail(dacm_error *error, dacm_code code, const char *format, ...)
{
    rpc_status status = {.code = (rpc_code)(code == DACM_LOCAL_FILE ? DACM_INTERNAL : code)};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(status.message, sizeof status.message, format, arguments);
    va_end(arguments);
    cli_fail_status(error, &status);
    return error->code = code;
}

/* ---- one question
 * --------------------------------------------------------------------------------- */

/** The one answer of a call, or how it ended without. */
static dacm_code take_answer(call_stream *stream, rpc_message **ret, dacm_error *reterr)
{
    dacm_error end = {.code = DACM_OK};
    call_event event;
    while ((event = call_stream_wait(stream, ret, &end)) == CALL_EVENT_WRITABLE)
        ;
    if (event == CALL_EVENT_MESSAGE)
        return DACM_OK;
    if (end.code == DACM_OK)
        return fail(reterr, DACM_INTERNAL, "the server's reflection gave no answer");
    *reterr = end;
    return end.code;
}

static dacm_code ask_version(
    call_reflection *reflection, const question *asked, rpc_message **ret, dacm_error *reterr)
{
    call_stream *stream = NULL;
    const char *path = reflection->alpha
                           ? "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
                           : "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    dacm_code code = call_stream_open(
        reflection->channel, path, &reflection->options, &stream, reterr);
    if (code != DACM_OK)
        return code;
    if (rpc_call_send_packed(call_stream_call(stream), &asked->base) == RPC_SENT_OK)
        rpc_call_half_close(call_stream_call(stream));
    /* Otherwise the call is over already, and its end says why. */
    code = take_answer(stream, ret, reterr);
    call_stream_close(stream);
    return code;
}

/** v1alpha has the same messages under another name, and is all that older servers have. */
static dacm_code ask(call_reflection *reflection, const question *asked, rpc_message **ret_message,
    answer **ret, dacm_error *reterr)
{
    rpc_message *message = NULL;
    ProtobufCMessage *unpacked = NULL;
    rpc_status status = {.code = RPC_OK};
    dacm_code code = ask_version(reflection, asked, &message, reterr);
    if (code == DACM_UNIMPLEMENTED && !reflection->alpha) {
        reflection->alpha = true;
        code = ask_version(reflection, asked, &message, reterr);
    }
    if (code == DACM_UNIMPLEMENTED)
        return fail(reterr, code,
            "the server has no reflection; give its types with --proto-set FILE "
            "(protoc --include_imports --descriptor_set_out=FILE)");
    if (code != DACM_OK)
        return code;
    if (rpc_message_unpack(message, &grpc__reflection__v1__server_reflection_response__descriptor,
            &unpacked, &status) != RPC_OK) {
        rpc_message_release(message);
        return fail(
            reterr, DACM_INTERNAL, "the server's reflection is malformed: %.300s", status.message);
    }
    *ret = (answer *)unpacked;
    *ret_message = message;
    return DACM_OK;
}

/** An answer of another kind than was asked for. */
static dacm_code fail_answer(const answer *got, const char *about, dacm_error *reterr)
{
    if (got->message_response_case != ANSWER(ERROR_RESPONSE) || !got->error_response)
        return fail(reterr, DACM_INTERNAL, "the server's reflection answered something else");
    const int32_t told = got->error_response->error_code;
    const dacm_code code = told > 0 && told <= RPC_UNAUTHENTICATED ? (dacm_code)told : DACM_UNKNOWN;
    return fail(reterr, code, "the server's reflection has no '%.120s': %.200s", about,
        got->error_response->error_message);
}

dacm_code call_list_services(call_reflection *reflection, json_t **ret, dacm_error *reterr)
{
    char all[] = "*";
    question asked = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    asked.message_request_case = ASK(LIST_SERVICES);
    asked.list_services = all;
    rpc_message *message = NULL;
    answer *got = NULL;
    dacm_code code = ask(reflection, &asked, &message, &got, reterr);
    if (code != DACM_OK)
        return code;
    json_t *names = json_array();
    if (got->message_response_case != ANSWER(LIST_SERVICES_RESPONSE) ||
        !got->list_services_response)
        code = fail_answer(got, "list of services", reterr);
    else if (got->list_services_response->n_service > SERVICES_MAX)
        code = fail(reterr, DACM_RESOURCE_EXHAUSTED, "the server lists more than %u services",
            SERVICES_MAX);
    for (size_t i = 0; code == DACM_OK && i < got->list_services_response->n_service; i++) {
        char *name = got->list_services_response->service[i]->name;
        rpc_text_printable(name);
        if (json_array_append_new(names, json_string(name)) != 0)
            code = fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for the server's list");
    }
    rpc_message_release(message);
    if (code == DACM_OK)
        *ret = names;
    else
        json_decref(names);
    return code;
}

/* ---- files
 * ------------------------------------------------------------------------------------------- */

/** The files so far; each name once. */
typedef struct collected {
    rpc_bytes files[DYNAMIC_FILES_MAX]; /* copies */
    size_t count, bytes;
    unsigned questions;
} collected;

static void free_files(collected *all)
{
    for (size_t i = 0; i < all->count; i++)
        free((void *)(uintptr_t)all->files[i].data);
}

static bool has_file(const collected *all, rpc_bytes name)
{
    rpc_bytes other;
    for (size_t i = 0; i < all->count; i++)
        if (dynamic_file_name(all->files[i], &other) && rpc_bytes_equal(name, other))
            return true;
    return false;
}

static dacm_code add_file(collected *all, const ProtobufCBinaryData *data, dacm_error *reterr)
{
    const rpc_bytes file = rpc_bytes_of(data->data, data->len);
    rpc_bytes name;
    if (!dynamic_file_name(file, &name))
        return fail(reterr, DACM_INTERNAL, "the server's reflection gave a damaged file");
    if (has_file(all, name))
        return DACM_OK;
    if (all->count >= DYNAMIC_FILES_MAX || file.size > DYNAMIC_BYTES_MAX - all->bytes)
        return fail(reterr, DACM_RESOURCE_EXHAUSTED,
            "the server's types are more than %u files or %u MiB", DYNAMIC_FILES_MAX,
            DYNAMIC_BYTES_MAX >> 20);
    uint8_t *copy = malloc(file.size);
    if (!copy)
        return fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for the server's types");
    memcpy(copy, file.data, file.size);
    all->files[all->count++] = rpc_bytes_of(copy, file.size);
    all->bytes += file.size;
    return DACM_OK;
}

static dacm_code add_files(call_reflection *reflection, const question *asked, const char *about,
    collected *all, dacm_error *reterr)
{
    rpc_message *message = NULL;
    answer *got = NULL;
    if (++all->questions > QUESTIONS_MAX)
        return fail(reterr, DACM_RESOURCE_EXHAUSTED, "the server's types import more than %u files",
            QUESTIONS_MAX);
    dacm_code code = ask(reflection, asked, &message, &got, reterr);
    if (code != DACM_OK)
        return code;
    if (got->message_response_case != ANSWER(FILE_DESCRIPTOR_RESPONSE) ||
        !got->file_descriptor_response)
        code = fail_answer(got, about, reterr);
    else
        for (size_t i = 0;
             code == DACM_OK && i < got->file_descriptor_response->n_file_descriptor_proto; i++)
            code = add_file(all, &got->file_descriptor_response->file_descriptor_proto[i], reterr);
    rpc_message_release(message);
    return code;
}

static dacm_code add_import(
    call_reflection *reflection, rpc_bytes name, collected *all, dacm_error *reterr)
{
    if (name.size == 0 || !rpc_utf8_valid(name) || has_file(all, name))
        return DACM_OK;
    RPC_AUTOFREE char *text = strndup((const char *)name.data, name.size);
    if (!text)
        return fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for the server's types");
    question asked = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    asked.message_request_case = ASK(FILE_BY_FILENAME);
    asked.file_by_filename = text;
    const dacm_code code = add_files(reflection, &asked, text, all, reterr);
    return code == DACM_NOT_FOUND ? DACM_OK : code; /* its types are known by name only */
}

/** The list grows while it is walked; every import is asked for once. */
static dacm_code add_imports(call_reflection *reflection, collected *all, dacm_error *reterr)
{
    rpc_bytes name;
    for (size_t i = 0; i < all->count; i++)
        for (size_t j = 0; dynamic_file_import(all->files[i], j, &name); j++) {
            const dacm_code code = add_import(reflection, name, all, reterr);
            if (code != DACM_OK)
                return code;
        }
    return DACM_OK;
}

static dacm_code make_schema(
    const rpc_bytes *files, size_t count, dynamic_schema **ret, dacm_error *reterr)
{
    rpc_status status = {.code = RPC_OK};
    if (dynamic_schema_new(files, count, ret, &status) != RPC_OK)
        return cli_fail_status(reterr, &status);
    return DACM_OK;
}

dacm_code call_fetch_schema(
    call_reflection *reflection, const char *symbol, dynamic_schema **ret, dacm_error *reterr)
{
    RPC_CLEANUP(free_files) collected all = {.count = 0};
    RPC_AUTOFREE char *name = strdup(symbol);
    if (!name)
        return fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for the server's types");
    question asked = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    asked.message_request_case = ASK(FILE_CONTAINING_SYMBOL);
    asked.file_containing_symbol = name;
    dacm_code code = add_files(reflection, &asked, symbol, &all, reterr);
    if (code == DACM_OK)
        code = add_imports(reflection, &all, reterr);
    return code == DACM_OK ? make_schema(all.files, all.count, ret, reterr) : code;
}

/* ---- a set in a file
 * --------------------------------------------------------------------------------- */

/** *ret is malloc'd. */
static dacm_code read_set(const char *path, uint8_t **ret, size_t *ret_size, dacm_error *reterr)
{
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = fopen(path, "re");
    RPC_AUTOFREE uint8_t *data = malloc(DYNAMIC_BYTES_MAX + 1);
    if (!data)
        return fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for '%.200s'", path);
    const size_t size = file ? fread(data, 1, DYNAMIC_BYTES_MAX + 1, file) : 0;
    if (!file || ferror(file))
        return fail(reterr, DACM_LOCAL_FILE, "cannot read '%.200s': %s", path, strerror(errno));
    if (size > DYNAMIC_BYTES_MAX)
        return fail(
            reterr, DACM_LOCAL_FILE, "'%.200s' is over %u MiB", path, DYNAMIC_BYTES_MAX >> 20);
    *ret = RPC_TAKE(data);
    *ret_size = size;
    return DACM_OK;
}

dacm_code call_load_schema(const char *path, dynamic_schema **ret, dacm_error *reterr)
{
    RPC_AUTOFREE uint8_t *data = NULL;
    rpc_bytes files[DYNAMIC_FILES_MAX];
    size_t size = 0, count = 0;
    rpc_status status = {.code = RPC_OK};
    const dacm_code code = read_set(path, &data, &size, reterr);
    if (code != DACM_OK)
        return code;
    if (dynamic_set_files(rpc_bytes_of(data, size), files, DYNAMIC_FILES_MAX, &count, &status) !=
            RPC_OK ||
        dynamic_schema_new(files, count, ret, &status) != RPC_OK)
        return fail(reterr, DACM_LOCAL_FILE, "cannot use '%.150s': %.300s", path, status.message);
    return DACM_OK;
}
