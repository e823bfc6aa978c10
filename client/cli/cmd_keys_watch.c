/* SPDX-License-Identifier: Apache-2.0 */
/* dacm keys watch: the key sets of a VAL service as they change, each verified against the pinned
 * root before a word of it is printed, and kept as `dacm trust update` keeps them. */
#include "call.h"
#include "cleanup.h"
#include "keys.h"
#include "skms.h"
#include "trust.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#define WAIT_FIRST_MS   1000
#define WAIT_LONGEST_MS 30000

enum { OPTION_PURPOSE = 512, OPTION_DIR, OPTION_ONCE };

typedef struct watching {
    skms s;
    const char *folder; /* --dir */
    char *service;
    Skms__V1__Purpose purpose;
    bool once;
    dacm_trust trust;
    json_t *claims; /* of the set before; NULL: there was none */
} watching;

static error_t parse(int key, char *argument, struct argp_state *state)
{
    watching *w = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &w->s;
        return 0;
    case OPTION_PURPOSE:
        w->purpose = keys_purpose_parse(argument, state);
        return 0;
    case OPTION_DIR:
        w->folder = argument;
        return 0;
    case OPTION_ONCE:
        w->once = true;
        return 0;
    case ARGP_KEY_ARG:
        if (w->service)
            argp_error(state, "what is '%s'?", argument);
        w->service = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- what is verified --------------------------------------------------------------------------
 */

/** The claims of a set that was verified. */
static json_t *claims_of(const char *jws)
{
    const char *from = strchr(jws, '.'), *to = from ? strchr(from + 1, '.') : NULL;
    const size_t room = to ? (size_t)(to - from) : 0;
    size_t size = 0;
    RPC_AUTOFREE uint8_t *text = room ? malloc(room) : NULL;
    if (!text || sodium_base642bin(text, room, from + 1, (size_t)(to - from - 1), NULL, &size, NULL,
                     sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return NULL;
    return trust_json_parse(rpc_bytes_of(text, size), TRUST_KEYSET_BYTES_MAX, "a key set", NULL);
}

/** Statements and set, as `dacm trust update` takes them. */
static char *text_of(const Skms__V1__KeySet *set)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return NULL;
    for (size_t i = 0; i < set->n_root_statements; i++)
        fprintf(stream, "%s\n", set->root_statements[i]);
    fprintf(stream, "%s\n", set->jws);
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static bool says(const json_t *claims, const char *name, const char *value)
{
    const char *said = json_string_value(json_object_get(claims, name));
    return said && strcmp(said, value) == 0;
}

/** What came is kept, or refused; *ret are its claims, json_decref() them. */
static dacm_code verify(watching *w, const Skms__V1__KeySet *set, json_t **ret, dacm_error *reterr)
{
    dacm_trust_change change;
    RPC_AUTOFREE char *text = text_of(set);
    rpc_status why = {.code = RPC_RESOURCE_EXHAUSTED, .message = "no memory for a key set"};
    if (!text)
        return cli_fail_status(reterr, &why);
    const dacm_code code = dacm_trust_update(&w->trust, rpc_bytes_str(text), &change, reterr);
    if (code != DACM_OK)
        return code;
    *ret = claims_of(set->jws);
    if (says(*ret, "service", w->service) && says(*ret, "purpose", keys_purpose_name(w->purpose)))
        return DACM_OK;
    json_decref(*ret);
    *ret = NULL;
    rpc_status_set(&why, RPC_FAILED_PRECONDITION,
        "the server answered with a key set of another service or purpose; is it an SKM-S?");
    return cli_fail_status(reterr, &why);
}

/* ---- what is told ------------------------------------------------------------------------------
 */

static const json_t *find_key(const json_t *claims, const char *kid)
{
    const json_t *keys = json_object_get(claims, "keys");
    for (size_t i = 0; i < json_array_size(keys); i++)
        if (says(json_array_get(keys, i), "kid", kid))
            return json_array_get(keys, i);
    return NULL;
}

static const char *member(const json_t *key, const char *name)
{
    const char *value = json_string_value(json_object_get(key, name));
    return value ? value : "?";
}

/** "from" where it was there before, "to" where it is there now. */
static void add_change(json_t *changes, const json_t *before, const json_t *now)
{
    json_t *change = json_pack("{s:s}", "kid", member(now ? now : before, "kid"));
    if (before)
        json_object_set_new(change, "from", json_string(member(before, "dacm_state")));
    if (now)
        json_object_set_new(change, "to", json_string(member(now, "dacm_state")));
    json_array_append_new(changes, change);
}

static json_t *changes_of(const json_t *before, const json_t *now)
{
    json_t *changes = json_array();
    const json_t *keys = json_object_get(now, "keys"), *gone = json_object_get(before, "keys");
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        const json_t *known = find_key(before, member(key, "kid"));
        if (!known || !json_equal(known, key))
            add_change(changes, known, key);
    }
    for (size_t i = 0; i < json_array_size(gone); i++) {
        const json_t *key = json_array_get(gone, i);
        if (!find_key(now, member(key, "kid")))
            add_change(changes, key, NULL);
    }
    return changes;
}

static int64_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void print_json(const json_t *claims, json_t *changes)
{
    json_t *object = json_object();
    static const char *const told[] = {
        "iss", "service", "purpose", "version", "iat", "exp", "keys"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        json_object_set(object, told[i], json_object_get(claims, told[i]));
    json_object_set_new(object, "changes", changes);
    cli_print_json(object);
}

static void print_change(const json_t *change, const json_t *claims)
{
    const char *kid = member(change, "kid");
    const json_t *from = json_object_get(change, "from"), *to = json_object_get(change, "to");
    const json_t *key = find_key(claims, kid);
    char begins[32], ends[32];
    if (!to) {
        printf("  %s: is not there any more\n", kid);
        return;
    }
    const bool turns = json_is_integer(json_object_get(key, "dacm_signs_from"));
    cli_time_text(number(key, turns ? "dacm_signs_from" : "nbf"), begins);
    cli_time_text(number(key, "exp"), ends);
    printf("  %s: ", kid);
    if (from && !json_equal(from, to))
        printf("%s, now ", json_string_value(from));
    printf("%s, signs %s to %s at most\n", json_string_value(to), begins, ends);
}

static void print_set(const watching *w, const json_t *claims)
{
    char until[32];
    json_t *changes = changes_of(w->claims, claims);
    if (w->s.cli->json) {
        print_json(claims, changes);
        return;
    }
    cli_time_text(number(claims, "exp"), until);
    printf("version %" PRId64 ", good until %s%s\n", number(claims, "version"), until,
        json_array_size(changes) ? "" : ": the same keys");
    for (size_t i = 0; i < json_array_size(changes); i++)
        print_change(json_array_get(changes, i), claims);
    fflush(stdout);
    json_decref(changes);
}

static dacm_code take(watching *w, rpc_message *message, dacm_error *reterr)
{
    ProtobufCMessage *unpacked = NULL;
    json_t *claims = NULL;
    rpc_status status;
    if (rpc_message_unpack(message, &skms__v1__key_set__descriptor, &unpacked, &status) != RPC_OK)
        return cli_fail_status(reterr, &status);
    const dacm_code code = verify(w, (const Skms__V1__KeySet *)unpacked, &claims, reterr);
    if (code != DACM_OK)
        return code;
    print_set(w, claims);
    json_decref(w->claims);
    w->claims = claims;
    return DACM_OK;
}

/* ---- the call ----------------------------------------------------------------------------------
 */

/** What is pinned of who speaks for the service, or of the only one that is pinned: how often its
 *  root was replaced, and where it answers. Which one that is the set says; before it came, 0 is
 *  right for all: statements that are known are no news. */
static void read_pin(const watching *w, uint64_t *ret_replaced, char **ret_address)
{
    dacm_trust_roots *roots = NULL;
    const dacm_trust_root *root = NULL;
    dacm_error ignored; /* whoever takes a set says it, too */
    *ret_replaced = 0;
    if (dacm_trust_list(&w->trust, &roots, &ignored) != DACM_OK)
        return;
    if (roots->count == 1)
        root = &roots->items[0];
    for (size_t i = 0; i < roots->count; i++)
        for (size_t k = 0; k < roots->items[i].set_count; k++)
            if (strcmp(roots->items[i].sets[k].service, w->service) == 0)
                root = &roots->items[i];
    if (root)
        *ret_replaced = root->sequence;
    if (root && root->address && ret_address)
        *ret_address = strdup(root->address);
    dacm_trust_roots_free(roots);
}

static dacm_code ask(const watching *w, call_stream **ret, dacm_error *reterr)
{
    Skms__V1__GetKeySetRequest request = SKMS__V1__GET_KEY_SET_REQUEST__INIT;
    request.val_service = w->service;
    request.purpose = w->purpose;
    read_pin(w, &request.have_root, NULL);
    const rpc_call_options options = {.timeout_ms = 0};
    const dacm_code code = call_stream_open(
        w->s.channel, "/skms.v1.SigningKeys/WatchKeys", &options, ret, reterr);
    if (code != DACM_OK)
        return code;
    rpc_call *call = call_stream_call(*ret);
    if (rpc_call_send_packed(call, &request.base) == RPC_SENT_OK)
        rpc_call_half_close(call);
    return DACM_OK; /* a call that is over already tells why itself */
}

/** One call, until it ends; its failure, or OK when there is nothing more to do. *ret_got: it
 *  brought something. */
static dacm_code follow(watching *w, bool *ret_got, dacm_error *reterr)
{
    call_stream *stream = NULL;
    dacm_code code = ask(w, &stream, reterr);
    while (code == DACM_OK) {
        rpc_message *message = NULL;
        const call_event event = call_stream_wait(stream, &message, reterr);
        if (event == CALL_EVENT_END) {
            if (reterr->code == DACM_OK)
                cli_fail_status(
                    reterr, &(rpc_status){RPC_UNAVAILABLE, "the server ended the call"});
            code = reterr->code;
        } else if (event == CALL_EVENT_MESSAGE) {
            code = take(w, message, reterr);
            rpc_message_release(message);
            *ret_got = code == DACM_OK;
            if (code == DACM_OK && w->once)
                break;
        }
    }
    call_stream_close(stream);
    return code;
}

/** It goes on where it was cut: whoever was told that watches are on believes it. */
static int watch(watching *w)
{
    int64_t wait_ms = WAIT_FIRST_MS;
    for (;;) {
        dacm_error error = {.code = DACM_OK};
        bool got = false;
        if (follow(w, &got, &error) == DACM_OK)
            return CLI_EXIT_OK;
        if (error.code != DACM_UNAVAILABLE || w->once || (!got && !w->claims))
            return cli_fail(w->s.cli, &error);
        wait_ms = got                             ? WAIT_FIRST_MS
                  : wait_ms * 2 < WAIT_LONGEST_MS ? wait_ms * 2
                                                  : WAIT_LONGEST_MS;
        fprintf(stderr, "dacm: %s; again in %" PRId64 " s\n", error.message, wait_ms / 1000);
        const struct timespec pause = {.tv_sec = wait_ms / 1000};
        nanosleep(&pause, NULL);
    }
}

static void watching_done(watching *w)
{
    json_decref(w->claims);
    skms_done(&w->s);
}

int cli_keys_watch(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"purpose", OPTION_PURPOSE, "manifests|tokens", 0, "which key set; default: manifests", 1},
        {"dir", OPTION_DIR, "DIR", 0,
            "where roots and key sets are kept (DACM_TRUST); default: ~/.local/state/dacm/trust",
            1},
        {"once", OPTION_ONCE, NULL, 0, "print the set of now and end", 1}, {0}};
    static const struct argp_child children[] = {{&skms_argp, 0, NULL, 10}, {0}};
    static const struct argp argp = {options, parse, "[SERVICE]",
        "Prints the key set of a VAL service, and each change of it until Ctrl-C.\vSERVICE is the "
        "resource of a DACM or the issuer of a SIM-S. Every set is verified against the pinned "
        "root (dacm trust add) first, and kept, so that dacm verify --trust has the newest one: "
        "what is expired, older than one that was seen, or signed by nobody who is pinned ends the "
        "command. A connection that is lost is made anew.",
        children, NULL, NULL};
    RPC_CLEANUP(watching_done)
    watching w = {.s = {.cli = cli}, .purpose = SKMS__V1__PURPOSE__PURPOSE_MANIFESTS};
    RPC_AUTOFREE char *folder = NULL, *address = NULL;
    uint64_t replaced = 0;
    dacm_error error;
    int code = cli_parse(&argp, "dacm keys watch", argc, argv, &w);
    if (code >= 0)
        return code;
    if (cli_load_env(cli, &error) != DACM_OK)
        return cli_fail(cli, &error);
    if (!w.service)
        w.service = (char *)(uintptr_t)(w.purpose == SKMS__V1__PURPOSE__PURPOSE_TOKENS
                                            ? cli->env.issuer
                                            : cli->env.resource);
    if (!w.service)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "whose keys? Give the resource of the DACM, or the issuer of the SIM-S");
    if (!w.folder && !getenv("DACM_TRUST"))
        w.folder = cli->env.trust_folder;
    if ((code = cli_trust_folder(cli, w.folder, &folder)) != CLI_EXIT_OK)
        return code;
    w.trust.folder = folder;
    read_pin(&w, &replaced, &address);
    w.s.usual = address;
    if (skms_connect(&w.s, &error) != DACM_OK)
        return cli_fail(cli, &error);
    return watch(&w);
}
