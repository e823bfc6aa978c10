/* SPDX-License-Identifier: Apache-2.0 */
/* dacm keys list, show, rotate, revoke, root: the keys of an SKM-S, by its operator's service. */
#include "cleanup.h"
#include "keys.h"
#include "pki.h"
#include "trust.h"

#include <inttypes.h>
#include <string.h>

#define KID_CHARS 43 /* an RFC 7638 thumbprint */
#define PAGE      1000

enum { OPTION_PURPOSE = 512, OPTION_STATE, OPTION_REASON };

/* ---- names -------------------------------------------------------------------------------------
 */

typedef struct named {
    const char *name;
    int value;
} named;

static const named purposes[] = {
    {"tokens", SKMS__V1__PURPOSE__PURPOSE_TOKENS},
    {"manifests", SKMS__V1__PURPOSE__PURPOSE_MANIFESTS},
    {0},
};
static const named states[] = {
    {"pre-published", SKMS__V1__KEY_STATE__KEY_STATE_PRE_PUBLISHED},
    {"active", SKMS__V1__KEY_STATE__KEY_STATE_ACTIVE},
    {"verify-only", SKMS__V1__KEY_STATE__KEY_STATE_VERIFY_ONLY},
    {"retired", SKMS__V1__KEY_STATE__KEY_STATE_RETIRED},
    {"compromised", SKMS__V1__KEY_STATE__KEY_STATE_COMPROMISED},
    {0},
};

static const char *name_of(const named *list, int value)
{
    while (list->name && list->value != value)
        list++;
    return list->name ? list->name : "?";
}

static int value_of(const named *list, const char *text)
{
    while (list->name && strcmp(list->name, text) != 0)
        list++;
    return list->value;
}

const char *keys_purpose_name(Skms__V1__Purpose purpose)
{
    return name_of(purposes, (int)purpose);
}

const char *keys_state_name(Skms__V1__KeyState state)
{
    return name_of(states, (int)state);
}

Skms__V1__Purpose keys_purpose_parse(const char *text, struct argp_state *state)
{
    const int value = value_of(purposes, text);
    if (!value)
        argp_error(state, "--purpose takes manifests or tokens, not '%s'", text);
    return (Skms__V1__Purpose)value;
}

/* ---- arguments ---------------------------------------------------------------------------------
 */

typedef struct keys_arguments {
    operator_calls s;
    const char *what;   /* for the sentence that it is missing; NULL: it takes nothing */
    bool may_be_absent; /* … or need not be there */
    char *argument;
    Skms__V1__Purpose purpose;
    int state; /* 0: any */
    char *reason;
} keys_arguments;

static error_t parse(int key, char *argument, struct argp_state *state)
{
    keys_arguments *keys = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &keys->s;
        return 0;
    case OPTION_PURPOSE:
        keys->purpose = keys_purpose_parse(argument, state);
        return 0;
    case OPTION_STATE:
        keys->state = value_of(states, argument);
        if (!keys->state)
            argp_error(state,
                "--state takes pre-published, active, verify-only, retired or compromised, not "
                "'%s'",
                argument);
        return 0;
    case OPTION_REASON:
        keys->reason = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (keys->argument || !keys->what)
            argp_error(state, "what is '%s'?", argument);
        keys->argument = argument;
        return 0;
    case ARGP_KEY_END:
        if (keys->what && !keys->argument && !keys->may_be_absent)
            argp_error(state, "which %s?", keys->what);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&operator_skms.argp, 0, NULL, 10}, {0}};
#define PURPOSE_OPTION(help)                                                                       \
    {                                                                                              \
        "purpose", OPTION_PURPOSE, "manifests|tokens", 0, help, 1                                  \
    }

static bool looks_like_kid(const char *text)
{
    return strlen(text) == KID_CHARS &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
               KID_CHARS;
}

char **keys_spare_kid(int *argc, char **argv)
{
    static char dashes[] = "--";
    char **spared = calloc((size_t)*argc + 2, sizeof *spared), *kid = NULL;
    int count = 0;
    for (int i = 0; spared && i < *argc; i++) {
        if (strcmp(argv[i], dashes) == 0) { /* whoever wrote it knows */
            memcpy(spared, argv, (size_t)*argc * sizeof *spared);
            return spared;
        }
        if (!kid && i > 0 && argv[i][0] == '-' && looks_like_kid(argv[i]))
            kid = argv[i];
        else
            spared[count++] = argv[i];
    }
    if (!spared || !kid)
        return spared;
    spared[count++] = dashes;
    spared[count++] = kid;
    *argc = count;
    return spared;
}

/** cli_parse() for a command that takes a kid. */
static int parse_kid(
    const struct argp *argp, const char *name, int argc, char **argv, keys_arguments *keys)
{
    RPC_AUTOFREE char **spared = keys_spare_kid(&argc, argv);
    return spared ? cli_parse(argp, name, argc, spared, keys)
                  : cli_fail_text(keys->s.cli, DACM_RESOURCE_EXHAUSTED, "no memory");
}

/* ---- a key -------------------------------------------------------------------------------------
 */

static json_t *key_json(const Skms__V1__Key *key)
{
    rpc_status unread;
    json_t *jwk = trust_json_parse(
        rpc_bytes_str(key->public_jwk), TRUST_JWKS_BYTES_MAX, "a public key", &unread);
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o?, s:I, s:o?}", "kid",
        key->kid, "service", key->val_service, "purpose", keys_purpose_name(key->purpose), "state",
        keys_state_name(key->state), "created_at", (json_int_t)key->created_at, "signs_from",
        (json_int_t)key->signs_from, "signs_until", (json_int_t)key->signs_until, "verifies_until",
        key->verifies_until ? json_integer(key->verifies_until) : NULL, "signatures",
        (json_int_t)key->signatures, "jwk", jwk);
    if (object && key->reason[0])
        json_object_set_new(object, "reason", json_string(key->reason));
    return object;
}

static void print_key(const cli_context *cli, Skms__V1__Key *key)
{
    char from[32], until[32], text[96];
    if (cli->json) {
        cli_print_json(key_json(key));
        return;
    }
    operator_print_line("key", key->kid);
    operator_print_line("of", key->val_service);
    operator_print_word("for", keys_purpose_name(key->purpose));
    operator_print_word("state", keys_state_name(key->state));
    operator_print_line("because", key->reason);
    cli_time_text(key->signs_from, from);
    cli_time_text(key->signs_until, until);
    snprintf(text, sizeof text, "%s to %s", from, until);
    operator_print_word("signs", text);
    if (key->verifies_until)
        cli_time_text(key->verifies_until, until);
    operator_print_word("verifies", key->state == SKMS__V1__KEY_STATE__KEY_STATE_COMPROMISED
                                        ? "nothing any more"
                                    : key->verifies_until ? until
                                                          : "what it signed, for good");
    snprintf(text, sizeof text, "%" PRIu64, key->signatures);
    if (key->signatures)
        operator_print_word("signed", text);
}

static void list_key(const cli_context *cli, Skms__V1__Key *key, const Skms__V1__Key *before)
{
    char from[32], until[32];
    if (cli->json) {
        cli_print_json(key_json(key));
        return;
    }
    if (!before || before->purpose != key->purpose ||
        strcmp(before->val_service, key->val_service) != 0) {
        RPC_AUTOFREE char *service = strdup(key->val_service);
        if (service)
            rpc_text_printable(service);
        printf("%s, %s\n", service ? service : "?", keys_purpose_name(key->purpose));
    }
    cli_time_text(key->signs_from, from);
    cli_time_text(key->signs_until, until);
    RPC_AUTOFREE char *kid = strdup(key->kid);
    if (kid)
        rpc_text_printable(kid);
    printf("  %-14s %s  %s to %s\n", keys_state_name(key->state), kid ? kid : "?", from, until);
}

/** One page after another; false of fn ends it. Answers of one page live at a time. */
typedef bool page_fn(void *ctx, Skms__V1__Key *key, const Skms__V1__Key *before);
static int each_key(
    operator_calls *s, char *service, Skms__V1__Purpose purpose, page_fn *fn, void *ctx)
{
    Skms__V1__ListKeysRequest request = SKMS__V1__LIST_KEYS_REQUEST__INIT;
    char after[TRUST_KID_MAX + 1] = "", none[] = "";
    request.val_service = service ? service : none;
    request.purpose = purpose;
    request.after = after;
    request.page_size = PAGE;
    for (bool more = true; more;) {
        Skms__V1__ListKeysResponse *reply = NULL;
        const int code = operator_call(
            s, "ListKeys", &request.base, &skms__v1__list_keys_response__descriptor, &reply);
        if (code != CLI_EXIT_OK)
            return code;
        for (size_t i = 0; i < reply->n_keys; i++)
            if (!fn(ctx, reply->keys[i], i > 0 ? reply->keys[i - 1] : NULL))
                return CLI_EXIT_OK;
        more = reply->more && reply->n_keys &&
               rpc_text_copy(after, sizeof after, reply->keys[reply->n_keys - 1]->kid);
        rpc_arena_reset(s->arena);
    }
    return CLI_EXIT_OK;
}

static bool list_one(void *ctx, Skms__V1__Key *key, const Skms__V1__Key *before)
{
    const keys_arguments *keys = ctx;
    if (!keys->state || keys->state == (int)key->state)
        list_key(keys->s.cli, key, keys->state ? NULL : before);
    return true;
}

int cli_keys_list(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        PURPOSE_OPTION("only keys that sign these; default: both"),
        {"state", OPTION_STATE, "STATE", 0, "only keys in this state", 1}, {0}};
    static const struct argp argp = {options, parse, "[SERVICE]",
        "Lists the keys of a VAL service (the resource of a DACM, the issuer of a SIM-S), or of "
        "all.",
        children, NULL, NULL};
    keys_arguments keys = {
        .s = {.cli = cli, .server = &operator_skms}, .what = "VAL service", .may_be_absent = true};
    int code = cli_parse(&argp, "dacm keys list", argc, argv, &keys);
    if (code >= 0)
        return code;
    code = each_key(&keys.s, keys.argument, keys.purpose, list_one, &keys);
    operator_done(&keys.s);
    return code;
}

typedef struct wanted {
    const cli_context *cli;
    const char *kid;
    bool found;
} wanted;

static bool show_it(void *ctx, Skms__V1__Key *key, const Skms__V1__Key *before)
{
    (void)before;
    wanted *w = ctx;
    w->found = strcmp(key->kid, w->kid) == 0;
    if (w->found)
        print_key(w->cli, key);
    return !w->found;
}

int cli_keys_show(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "KID",
        "What the SKM-S knows of a key; with --json its public half, too.", children, NULL, NULL};
    keys_arguments keys = {.s = {.cli = cli, .server = &operator_skms}, .what = "key"};
    int code = parse_kid(&argp, "dacm keys show", argc, argv, &keys);
    if (code >= 0)
        return code;
    wanted w = {.cli = cli, .kid = keys.argument};
    code = each_key(&keys.s, NULL, 0, show_it, &w);
    if (code == CLI_EXIT_OK && !w.found)
        code = cli_fail_text(cli, DACM_NOT_FOUND,
            "there is no key '%.128s'; dacm keys list has those that there are", keys.argument);
    operator_done(&keys.s);
    return code;
}

/* ---- rotate and revoke -------------------------------------------------------------------------
 */

/** The service's only purpose; 0 where it has both. Exit code. */
static int only_purpose(operator_calls *s, const char *service, Skms__V1__Purpose *ret)
{
    Skms__V1__ListServicesRequest request = SKMS__V1__LIST_SERVICES_REQUEST__INIT;
    char after[256] = "";
    bool found = false;
    request.after = after;
    request.page_size = PAGE;
    for (bool more = true; more;) {
        Skms__V1__ListServicesResponse *reply = NULL;
        const int code = operator_call(s, "ListServices", &request.base,
            &skms__v1__list_services_response__descriptor, &reply);
        if (code != CLI_EXIT_OK)
            return code;
        for (size_t i = 0; !found && i < reply->n_services; i++) {
            const Skms__V1__ValService *at = reply->services[i];
            found = strcmp(at->val_service, service) == 0;
            if (found && at->n_purposes == 1)
                *ret = at->purposes[0];
        }
        more = !found && reply->more && reply->n_services &&
               rpc_text_copy(
                   after, sizeof after, reply->services[reply->n_services - 1]->val_service);
        rpc_arena_reset(s->arena);
    }
    return found ? CLI_EXIT_OK
                 : cli_fail_text(s->cli, DACM_NOT_FOUND,
                       "there is no such VAL service; dacm keys services lists them, and each "
                       "character of its name counts");
}

static int rotate(keys_arguments *keys)
{
    Skms__V1__RotateKeyRequest request = SKMS__V1__ROTATE_KEY_REQUEST__INIT;
    Skms__V1__Key *reply = NULL;
    int code = keys->purpose ? CLI_EXIT_OK : only_purpose(&keys->s, keys->argument, &keys->purpose);
    if (code != CLI_EXIT_OK)
        return code;
    if (!keys->purpose)
        return cli_fail_text(keys->s.cli, DACM_INVALID_ARGUMENT,
            "which keys? Give --purpose manifests or --purpose tokens; dacm keys services shows "
            "what each VAL service has");
    request.val_service = keys->argument;
    request.purpose = keys->purpose;
    code = operator_call(&keys->s, "RotateKey", &request.base, &skms__v1__key__descriptor, &reply);
    if (code == CLI_EXIT_OK)
        print_key(keys->s.cli, reply);
    return code;
}

int cli_keys_rotate(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        PURPOSE_OPTION("which keys; not needed where the service has keys for one purpose only"),
        {0}};
    static const struct argp argp = {options, parse, "SERVICE",
        "The next key of a VAL service takes over.\vAs soon as it has been published for long "
        "enough (published_before of the service's policy), which the next key usually was: then "
        "it signs at once. What the key before it signed still verifies. Prints the key that "
        "signs next.",
        children, NULL, NULL};
    keys_arguments keys = {.s = {.cli = cli, .server = &operator_skms}, .what = "VAL service"};
    int code = cli_parse(&argp, "dacm keys rotate", argc, argv, &keys);
    if (code >= 0)
        return code;
    code = rotate(&keys);
    operator_done(&keys.s);
    return code;
}

int cli_keys_revoke(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"reason", OPTION_REASON, "TEXT", 0, "for the audit trail, 1 to 256 bytes; needed", 1},
        {0}};
    static const struct argp argp = {options, parse, "KID",
        "A key is compromised: nothing that it signed verifies any more.\vAnother key signs in "
        "the same second, and who watches is told at once; whoever is cut off believes the key "
        "until the key set expires that it has, an hour at most. There is no way back: to replace "
        "a key that is not lost, use dacm keys rotate.",
        children, NULL, NULL};
    keys_arguments keys = {.s = {.cli = cli, .server = &operator_skms}, .what = "key"};
    int code = parse_kid(&argp, "dacm keys revoke", argc, argv, &keys);
    if (code >= 0)
        return code;
    if (!keys.reason || !keys.reason[0])
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "why? Give --reason: nothing that this key signed will verify, and the audit trail "
            "has to say why");
    Skms__V1__RevokeKeyRequest request = SKMS__V1__REVOKE_KEY_REQUEST__INIT;
    Skms__V1__Key *reply = NULL;
    request.kid = keys.argument;
    request.reason = keys.reason;
    code = operator_call(&keys.s, "RevokeKey", &request.base, &skms__v1__key__descriptor, &reply);
    if (code == CLI_EXIT_OK)
        print_key(cli, reply);
    operator_done(&keys.s);
    return code;
}

/* ---- the root ----------------------------------------------------------------------------------
 */

enum { OPTION_OUTPUT = 'o' };

typedef struct root_arguments {
    operator_calls s;
    const char *output;
} root_arguments;

static error_t parse_root(int key, char *argument, struct argp_state *state)
{
    root_arguments *root = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &root->s;
        return 0;
    case OPTION_OUTPUT:
        root->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "what is '%s'?", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int keys_write_file(const cli_context *cli, const char *path, unsigned mode, const char *text)
{
    dacm_error error;
    RPC_AUTOFREE char *line = pki_text("%s\n", text);
    if (!line)
        return cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory");
    const dacm_code code = pki_write_file(path, mode, line, strlen(line), &error);
    explicit_bzero(line, strlen(line));
    return code == DACM_OK ? CLI_EXIT_OK : cli_fail(cli, &error);
}

static int print_root(const root_arguments *arguments, Skms__V1__Root *root)
{
    const cli_context *cli = arguments->s.cli;
    char fingerprint[TRUST_FINGERPRINT_SIZE], replaced[64];
    RPC_AUTOFREE char *clean = NULL;
    rpc_status status;
    if (trust_root_read(rpc_bytes_str(root->jwk), fingerprint, &clean, &status) != RPC_OK)
        return cli_fail_text(cli, DACM_INTERNAL, "what came is no root: %s", status.message);
    const int code = arguments->output ? keys_write_file(cli, arguments->output, 0644, root->jwk)
                                       : CLI_EXIT_OK;
    if (code != CLI_EXIT_OK)
        return code;
    json_t *jwk = trust_json_parse(rpc_bytes_str(root->jwk), TRUST_ROOT_BYTES_MAX, "a root", NULL);
    if (cli->json) {
        cli_print_json(json_pack("{s:s, s:I, s:o?, s:o}", "fingerprint", fingerprint, "sequence",
            (json_int_t)root->sequence, "jwk", jwk, "statements",
            operator_strings_json(root->statements, root->n_statements)));
        return CLI_EXIT_OK;
    }
    operator_print_word("root", fingerprint);
    const char *issuer = json_string_value(json_object_get(jwk, "dacm_issuer"));
    RPC_AUTOFREE char *of = strdup(issuer ? issuer : "");
    json_decref(jwk);
    if (of)
        operator_print_line("of", of);
    snprintf(replaced, sizeof replaced, "%" PRIu64 " times", root->sequence);
    operator_print_word("replaced", root->sequence == 0   ? "never"
                                    : root->sequence == 1 ? "once"
                                                          : replaced);
    operator_print_word("file", arguments->output ? arguments->output : "");
    return CLI_EXIT_OK;
}

static int run_root(cli_context *cli, const struct argp *argp, const char *name, const char *method,
    const ProtobufCMessage *request, int argc, char **argv)
{
    root_arguments root = {.s = {.cli = cli, .server = &operator_skms}};
    Skms__V1__Root *reply = NULL;
    int code = cli_parse(argp, name, argc, argv, &root);
    if (code >= 0)
        return code;
    code = operator_call(&root.s, method, request, &skms__v1__root__descriptor, &reply);
    if (code == CLI_EXIT_OK)
        code = print_root(&root, reply);
    operator_done(&root.s);
    return code;
}

static const struct argp_option root_options[] = {
    {"output", OPTION_OUTPUT, "FILE", 0, "write the root's public JWK there, for dacm trust add",
        1},
    {0}};

int cli_keys_root(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {root_options, parse_root, NULL,
        "The root that signs the key sets: what verifiers pin.\vTell them the fingerprint another "
        "way than the file: dacm trust add FILE --fingerprint …",
        children, NULL, NULL};
    const Skms__V1__GetRootRequest request = SKMS__V1__GET_ROOT_REQUEST__INIT;
    return run_root(cli, &argp, "dacm keys root", "GetRoot", &request.base, argc, argv);
}

int cli_keys_root_rotate(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {root_options, parse_root, NULL,
        "Replaces the root of key sets.\vVerifiers follow by themselves: the old root states who "
        "comes after it. A root that was stolen is no case for it, since whoever has it can state "
        "another one: verifiers then pin a new one by its fingerprint.",
        children, NULL, NULL};
    const Skms__V1__RotateRootRequest request = SKMS__V1__ROTATE_ROOT_REQUEST__INIT;
    return run_root(cli, &argp, "dacm keys root rotate", "RotateRoot", &request.base, argc, argv);
}
