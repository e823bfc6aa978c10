/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for the disk (Enrol, GetSigningKey, ProvisionKey: the audit trail) runs on a pool;
 * GetKeySet and Sign are answered in place, but for signatures of which the trail must be told
 * first. */
#include "signing_keys.h"

#include "skms_proto_descriptors.h"

#include <stdlib.h>

#define THREADS       8u /* they wait for the disk, and whoever waits together has one sync */
#define QUEUE_MAX     1024u
#define ARENA_BYTES   (256u << 10)
#define SIGN_TRIES    8u
#define JWK_BYTES_MAX 4096u
#define SERVICE       "skms.v1.SigningKeys"

typedef struct methods {
    Skms__V1__SigningKeys_Service base;
    skm_signing_keys *keys;
} methods;

struct skm_signing_keys {
    skm_service *service;
    rpc_server *rpc;
    rpc_listener *listener;
    rpc_pool *pool;
    program_calls calls;
    methods methods;
    host_counter *sign_refused, *released, *enrolled, *provisioned;
};

typedef rpc_code method_fn(program_call *c, rpc_status *reterr);
typedef struct method {
    const char *name;
    method_fn *run;
} method;

/* ---- who calls ----------------------------------------------------------------------------------
 */

rpc_code skm_no_purpose(rpc_status *reterr)
{
    return rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "purpose: must be PURPOSE_TOKENS or PURPOSE_MANIFESTS");
}

const char *skm_caller_name(const rpc_call *call)
{
    const rpc_peer *peer = rpc_call_peer(call);
    if (peer->dns_names && peer->dns_names[0])
        return peer->dns_names[0];
    return peer->uri_names && peer->uri_names[0] ? peer->uri_names[0] : "";
}

static rpc_code check_certificate(const rpc_call *call, rpc_status *reterr)
{
    return rpc_call_peer(call)->has_certificate
               ? RPC_OK
               : rpc_status_set(reterr, RPC_UNAUTHENTICATED,
                     "this method needs a client certificate that listen.keys.client_ca signed");
}

/* With a refusal: by it the operator finds the reason in log and trail. */
static void name_request(rpc_call *call, const char *request_id)
{
    rpc_call_add_trailer(call, "dacm-request-id", rpc_bytes_str(request_id));
}

static skm_service *service_of(const program_call *c)
{
    return ((skm_signing_keys *)c->service)->service;
}

/* Who calls: what is known of him by certificate and token. */
typedef struct visitor {
    skm_caller caller;
    trust_token *token; /* NULL: none, or not good here */
    bool known;         /* enrolled, or the token is genuine */
} visitor;

static void visitor_done(visitor *v)
{
    trust_token_unref(v->token);
}

/* Whatever is refused here stands in the trail, as what is allowed; strangers share records. */
static rpc_code audit(program_call *c, const skm_record *what, rpc_status *reterr)
{
    skm_record record = *what;
    record.request_id = c->request_id;
    record.client = skm_caller_name(c->call);
    record.certificate_sha256 = rpc_call_peer(c->call)->certificate_sha256;
    return skm_trail(service_of(c), &record, reterr);
}

/* ---- the token of a VAL server ------------------------------------------------------------------
 */

/* Callers learn one sentence, whatever the reason. */
static void log_refusal(const program_call *c, const char *name, const char *why)
{
    HOST_LOG(service_of(c)->log, HOST_INFO, "a caller was refused", host_text("method", name),
        host_text("request_id", c->request_id), host_text("client", skm_caller_name(c->call)),
        host_text("why", why));
}

static rpc_code refuse_token(
    const program_call *c, const char *name, const rpc_status *why, rpc_status *reterr)
{
    log_refusal(c, name, why->message);
    if (why->code == RPC_UNAUTHENTICATED)
        return rpc_status_set(reterr, RPC_UNAUTHENTICATED,
            "the access token is not good: the operator can look up request %s", c->request_id);
    return skm_not_for_you(reterr);
}

/* What skm_keys_release() and skm_key_provision() refuse. */
static void log_stranger(const program_call *c, const char *name, rpc_code code)
{
    if (code == RPC_PERMISSION_DENIED)
        log_refusal(c, name,
            "nobody with this certificate and this token's client is enrolled with that VAL "
            "service, or its policy and purposes have no such keys");
}

/* visitor_done() it, whatever is returned. A token with too few rights is a genuine one. */
static rpc_code take_token(
    program_call *c, const char *name, const char *scope, visitor *ret, rpc_status *reterr)
{
    rpc_status why;
    *ret = (visitor){.caller = skm_caller_of(c->call)};
    const rpc_code code = skm_token_of(service_of(c)->tokens, c->call, scope, &ret->token, &why);
    ret->known = ret->token || code == RPC_PERMISSION_DENIED ||
                 skm_caller_known(service_of(c)->state, &ret->caller);
    if (code != RPC_OK)
        return refuse_token(c, name, &why, reterr);
    if (ret->token)
        ret->caller.client = (skm_client){ret->token->issuer, ret->token->client_id};
    return RPC_OK;
}

/* ---- Enrol --------------------------------------------------------------------------------------
 */

typedef struct root_text {
    program_call *c;
    char *jwk;
} root_text;

static void take_root(void *ctx, uint64_t sequence, const char *jwk, const char *const *statements,
    size_t statement_count)
{
    root_text *root = ctx;
    (void)sequence;
    (void)statements;
    (void)statement_count;
    root->jwk = program_call_text(root->c, jwk);
}

static rpc_code tell_enrolled(program_call *c, const skm_enrolled *enrolled, rpc_status *reterr)
{
    root_text root = {.c = c};
    Skms__V1__EnrolResponse *reply = program_call_new(c, &skms__v1__enrol_response__descriptor);
    Skms__V1__Purpose *purposes = rpc_arena_alloc(c->arena, SKM_PURPOSES * sizeof *purposes);
    skm_root_get(service_of(c)->state, take_root, &root);
    if (!reply || !purposes || !root.jwk ||
        !(reply->val_service = program_call_text(c, enrolled->service)))
        return program_call_no_memory(reterr);
    reply->purposes = purposes;
    for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++)
        if (enrolled->purposes[p])
            purposes[reply->n_purposes++] = (Skms__V1__Purpose)p;
    reply->delegated = enrolled->delegated;
    reply->root = root.jwk;
    c->reply = &reply->base;
    return RPC_OK;
}

static rpc_code enrol(program_call *c, rpc_status *reterr)
{
    const Skms__V1__EnrolRequest *request = (const Skms__V1__EnrolRequest *)c->request;
    skm_signing_keys *keys = c->service;
    const skm_caller caller = skm_caller_of(c->call);
    skm_enrolled enrolled = {.service = ""};
    rpc_status why;
    if (request->sealing_key.len != SKM_SEALING_BYTES)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "sealing_key: an X25519 public key has %d bytes", SKM_SEALING_BYTES);
    rpc_code code = skm_enrol_check(
        keys->service->state, &caller, request->token, request->sealing_key.data, reterr);
    const bool genuine = code == RPC_OK;
    if (genuine) {
        const skm_record asked = {.event = "enrol", .outcome = "asked"};
        if ((code = audit(c, &asked, reterr)) != RPC_OK)
            return code;
        code = skm_enrol(keys->service->state, &caller, request->token, request->sealing_key.data,
            &enrolled, reterr);
    }
    const skm_record record = {.event = "enrol",
        .outcome = rpc_code_name(code),
        .val_service = enrolled.service,
        .stranger = !genuine && !skm_caller_known(keys->service->state, &caller)};
    if (audit(c, &record, &why) != RPC_OK)
        return rpc_status_text(reterr, why.code, why.message);
    if (code != RPC_OK)
        return code;
    host_counter_add(keys->enrolled, 1);
    return tell_enrolled(c, &enrolled, reterr);
}

/* ---- GetSigningKey ------------------------------------------------------------------------------
 */

static rpc_code tell_keys(program_call *c, const skm_release *release, rpc_status *reterr)
{
    Skms__V1__GetSigningKeyResponse *reply = program_call_new(
        c, &skms__v1__get_signing_key_response__descriptor);
    if (!reply ||
        !(reply->keys = rpc_arena_alloc(c->arena, release->count * sizeof(reply->keys[0]))))
        return program_call_no_memory(reterr);
    for (size_t i = 0; i < release->count; i++) {
        const skm_released_key *from = &release->keys[i];
        Skms__V1__SealedKey *key = program_call_new(c, &skms__v1__sealed_key__descriptor);
        uint8_t *sealed = rpc_arena_alloc(c->arena, from->sealed_size + 1);
        if (!key || !sealed || !(key->kid = program_call_text(c, from->kid)))
            return program_call_no_memory(reterr);
        memcpy(sealed, from->sealed_jwk, from->sealed_size);
        key->sealed_jwk = (ProtobufCBinaryData){from->sealed_size, sealed};
        key->signs_from = from->signs_from;
        key->signs_until = from->signs_until;
        reply->keys[reply->n_keys++] = key;
    }
    reply->key_set_version = release->version;
    c->reply = &reply->base;
    return RPC_OK;
}

/* The record says which keys left, to whom; it is written before they do. */
static rpc_code get_signing_key(program_call *c, rpc_status *reterr)
{
    const Skms__V1__GetSigningKeyRequest *request = (const Skms__V1__GetSigningKeyRequest *)
                                                        c->request;
    skm_signing_keys *keys = c->service;
    visitor v;
    char kids[SKM_RELEASED_KIDS_BYTES];
    skm_purpose purpose;
    skm_release release;
    rpc_status why;
    if (!skm_purpose_of(request->purpose, &purpose))
        return skm_no_purpose(reterr);
    memset(&release, 0, sizeof release);
    rpc_code code = take_token(c, "GetSigningKey", SKM_SCOPE_RETRIEVAL, &v, reterr);
    if (code == RPC_OK) {
        code = skm_keys_release(
            keys->service->state, &v.caller, request->val_service, purpose, &release, reterr);
        log_stranger(c, "GetSigningKey", code);
    }
    visitor_done(&v);
    skm_release_kids(&release, kids);
    const skm_record record = {.event = "release",
        .outcome = rpc_code_name(code),
        .val_service = code == RPC_OK ? release.service : request->val_service,
        .purpose = skm_purpose_name(purpose),
        .kids = kids,
        .stranger = code != RPC_OK && !v.known};
    if (audit(c, &record, &why) != RPC_OK)
        return rpc_status_text(reterr, why.code, why.message);
    if (code != RPC_OK)
        return code;
    host_counter_add(keys->released, release.count);
    return tell_keys(c, &release, reterr);
}

/* ---- ProvisionKey -------------------------------------------------------------------------------
 */

static rpc_code read_key(rpc_bytes jwk, skm_purpose purpose, trust_signer **ret, rpc_status *reterr)
{
    rpc_status why;
    if (jwk.size == 0 || jwk.size > JWK_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "jwk: must have 1 to %u bytes: one private Ed25519 key (RFC 8037)", JWK_BYTES_MAX);
    const rpc_code code = trust_signer_import(
        jwk, purpose == SKM_FOR_TOKENS ? TRUST_FOR_TOKENS : TRUST_FOR_MANIFESTS, ret, &why);
    return code == RPC_OK ? code : rpc_status_set(reterr, code, "jwk: %.300s", why.message);
}

/* Bound, of a client with the right to bring keys of that service. */
static rpc_code check_provisioning(
    const program_call *c, const trust_token *token, const char *service, rpc_status *reterr)
{
    rpc_status why = {0};
    if (!token)
        rpc_status_set(&why, RPC_UNAUTHENTICATED, "token: there is none");
    else if (!token->bound)
        rpc_status_set(&why, RPC_UNAUTHENTICATED, "token: it is not bound to a certificate (cnf)");
    else if (!skm_token_provisions(token, service))
        rpc_status_set(&why, RPC_PERMISSION_DENIED,
            token->skeyprov ? "token: SKeyProv does not name the VAL service"
                            : "token: it has no SKeyProv");
    return why.code == RPC_OK ? RPC_OK : refuse_token(c, "ProvisionKey", &why, reterr);
}

static rpc_code provision(
    program_call *c, visitor *v, skm_purpose purpose, skm_provisioned *ret, rpc_status *reterr)
{
    const Skms__V1__ProvisionKeyRequest *request = (const Skms__V1__ProvisionKeyRequest *)
                                                       c->request;
    trust_signer *signer = NULL;
    rpc_code code = take_token(c, "ProvisionKey", SKM_SCOPE_PROVISIONING, v, reterr);
    if (code == RPC_OK)
        code = check_provisioning(c, v->token, request->val_service, reterr);
    if (code == RPC_OK)
        code = read_key(
            rpc_bytes_of(request->jwk.data, request->jwk.len), purpose, &signer, reterr);
    if (code == RPC_OK && purpose != SKM_FOR_TOKENS &&
        skm_tokens_know_key(service_of(c)->tokens, signer))
        code = skm_key_is_elsewhere(reterr);
    if (code == RPC_OK) {
        code = skm_key_provision(service_of(c)->state, &v->caller, request->val_service, purpose,
            signer, request->signs_from, request->signs_until, ret, reterr);
        log_stranger(c, "ProvisionKey", code);
    }
    trust_signer_free(signer);
    return code;
}

static rpc_code provision_key(program_call *c, rpc_status *reterr)
{
    const Skms__V1__ProvisionKeyRequest *request = (const Skms__V1__ProvisionKeyRequest *)
                                                       c->request;
    skm_signing_keys *keys = c->service;
    skm_purpose purpose;
    skm_provisioned provisioned = {.kid = ""};
    visitor v;
    rpc_status why;
    if (!skm_purpose_of(request->purpose, &purpose))
        return skm_no_purpose(reterr);
    const rpc_code code = provision(c, &v, purpose, &provisioned, reterr);
    visitor_done(&v);
    const skm_record record = {.event = "provision",
        .outcome = rpc_code_name(code),
        .val_service = request->val_service,
        .purpose = skm_purpose_name(purpose),
        .kids = provisioned.kid,
        .stranger = code != RPC_OK && !v.known};
    if (audit(c, &record, &why) != RPC_OK)
        return rpc_status_text(reterr, why.code, why.message);
    if (code != RPC_OK)
        return code;
    Skms__V1__ProvisionKeyResponse *reply = program_call_new(
        c, &skms__v1__provision_key_response__descriptor);
    if (!reply || !(reply->kid = program_call_text(c, provisioned.kid)))
        return program_call_no_memory(reterr);
    reply->state = (Skms__V1__KeyState)provisioned.state;
    reply->signs_from = provisioned.signs_from;
    reply->signs_until = provisioned.signs_until;
    host_counter_add(keys->provisioned, 1);
    c->reply = &reply->base;
    return RPC_OK;
}

/* ---- Sign, where the trail must be told first ---------------------------------------------------
 */

static rpc_code announce(void *ctx, const skm_announce *what, uint64_t up_to, rpc_status *reterr)
{
    skm_service *service = ctx;
    char id[HOST_REQUEST_ID_CHARS + 1];
    host_request_id(service->clock, id);
    return SKM_AUDIT(service, id, "signing", reterr, host_text("val_service", what->service),
        host_text("purpose", skm_purpose_name(what->purpose)), host_text("kid", what->kid),
        host_number("up_to", (int64_t)up_to));
}

typedef struct signed_message {
    char kid[TRUST_KID_MAX + 1];
    uint8_t signature[SKM_SIGNATURE_BYTES];
} signed_message;

static rpc_code sign_now(skm_service *service, const rpc_call *call,
    const Skms__V1__SignRequest *request, signed_message *ret, skm_announce *ret_more,
    rpc_status *reterr)
{
    const skm_caller caller = skm_caller_of(call);
    skm_purpose purpose;
    return skm_purpose_of(request->purpose, &purpose)
               ? skm_sign(service->state, &caller, request->val_service, purpose, request->kid,
                     rpc_bytes_of(request->message.data, request->message.len), ret->kid,
                     ret->signature, ret_more, reterr)
               : skm_no_purpose(reterr);
}

/* Others sign meanwhile: what was announced may be used up again. */
static rpc_code sign(program_call *c, rpc_status *reterr)
{
    skm_service *service = service_of(c);
    skm_announce more = {.needed = false};
    signed_message *made = rpc_arena_alloc(c->arena, sizeof *made);
    Skms__V1__SignResponse *reply = program_call_new(c, &skms__v1__sign_response__descriptor);
    if (!made || !reply)
        return program_call_no_memory(reterr);
    rpc_code code = RPC_ABORTED;
    for (unsigned i = 0; i < SIGN_TRIES && code == RPC_ABORTED; i++) {
        code = sign_now(
            service, c->call, (const Skms__V1__SignRequest *)c->request, made, &more, reterr);
        rpc_status why;
        if (more.needed &&
            skm_signatures_announce(service->state, &more, announce, service, &why) != RPC_OK &&
            code == RPC_ABORTED)
            code = rpc_status_text(reterr, why.code, why.message);
    }
    if (code != RPC_OK) {
        host_counter_add(((skm_signing_keys *)c->service)->sign_refused, 1);
        return code == RPC_ABORTED ? rpc_status_set(reterr, RPC_UNAVAILABLE,
                                         "too many sign with that key; try again")
                                   : code;
    }
    reply->kid = made->kid;
    reply->signature = (ProtobufCBinaryData){sizeof made->signature, made->signature};
    c->reply = &reply->base;
    return RPC_OK;
}

typedef struct announcing {
    skm_service *service;
    skm_announce what;
} announcing;

/* Pool. Where it fails, those who find nothing left are told why. */
static void announce_more(void *arg)
{
    announcing *a = arg;
    rpc_status why;
    if (skm_signatures_announce(a->service->state, &a->what, announce, a->service, &why) !=
        RPC_OK) {
        /* it is in the log already */
    }
    free(a);
}

static void announce_soon(skm_signing_keys *keys, const skm_announce *what)
{
    announcing *a = malloc(sizeof *a);
    if (!a)
        return;
    *a = (announcing){keys->service, *what};
    if (rpc_pool_submit(keys->pool, announce_more, a) != RPC_OK)
        free(a);
}

/* ---- on the pool --------------------------------------------------------------------------------
 */

static rpc_code run(program_call *c, rpc_status *reterr)
{
    const method *m = c->method;
    rpc_code code = check_certificate(c->call, reterr);
    if (code == RPC_OK)
        code = m->run(c, reterr);
    if (code != RPC_OK)
        name_request(c->call, c->request_id);
    return code;
}

#define POOLED(X)                                                                                  \
    X(enrol, Enrol, EnrolResponse)                                                                 \
    X(get_signing_key, GetSigningKey, GetSigningKeyResponse)                                       \
    X(provision_key, ProvisionKey, ProvisionKeyResponse)

#define DEFINE(function, rpc, reply)                                                               \
    static void on_##function(Skms__V1__SigningKeys_Service *self,                                 \
        const Skms__V1__##rpc##Request *request, Skms__V1__##reply##_Closure closure, void *call)  \
    {                                                                                              \
        static const method it = {#rpc, function};                                                 \
        program_call_begin(&((methods *)self)->keys->calls, &it, &request->base,                   \
            (ProtobufCClosure)closure, call);                                                      \
    }
POOLED(DEFINE)

/* ---- GetKeySet, in place ------------------------------------------------------------------------
 */

typedef struct telling {
    uint64_t have;
    rpc_arena *arena;
    Skms__V1__KeySet *message;
    bool failed;
} telling;

static void add_statements(void *ctx, uint64_t sequence, const char *jwk,
    const char *const *statements, size_t statement_count)
{
    telling *t = ctx;
    (void)sequence;
    (void)jwk;
    const size_t from = t->have < statement_count ? (size_t)t->have : statement_count;
    char **texts = rpc_arena_alloc(t->arena, (statement_count - from + 1) * sizeof *texts);
    t->failed = !texts;
    for (size_t i = from; !t->failed && i < statement_count; i++) {
        texts[i - from] = rpc_arena_strndup(t->arena, statements[i], strlen(statements[i]));
        t->failed = !texts[i - from];
    }
    t->message->root_statements = texts;
    t->message->n_root_statements = statement_count - from;
}

Skms__V1__KeySet *skm_tell_set(
    skm_service *service, const skm_keyset *set, uint64_t have, rpc_arena *arena)
{
    Skms__V1__KeySet *message = rpc_arena_alloc(arena, sizeof *message);
    if (!message)
        return NULL;
    skms__v1__key_set__init(message);
    message->version = skm_keyset_version(set);
    message->jws = rpc_arena_strndup(arena, skm_keyset_jws(set), strlen(skm_keyset_jws(set)));
    telling t = {.have = have, .arena = arena, .message = message};
    skm_root_get(service->state, add_statements, &t);
    return message->jws && !t.failed ? message : NULL;
}

static void on_get_key_set(Skms__V1__SigningKeys_Service *self,
    const Skms__V1__GetKeySetRequest *request, Skms__V1__KeySet_Closure closure, void *call)
{
    skm_service *service = ((methods *)self)->keys->service;
    skm_purpose purpose;
    skm_keyset *set = NULL;
    rpc_status status = {0};
    rpc_code code = skm_purpose_of(request->purpose, &purpose) ? RPC_OK : skm_no_purpose(&status);
    if (code == RPC_OK)
        code = skm_keyset_get(service->state, request->val_service, purpose, &set, &status);
    Skms__V1__KeySet *reply = code == RPC_OK ? skm_tell_set(service, set, request->have_root,
                                                   rpc_call_arena(call))
                                             : NULL;
    if (code == RPC_OK && !reply)
        code = program_call_no_memory(&status);
    if (code == RPC_OK)
        closure(reply, call);
    else
        rpc_call_fail(call, &status);
    skm_keyset_unref(set);
}

/* ---- GetRoot, in place -------------------------------------------------------------------------
 */

typedef struct root_telling {
    rpc_arena *arena;
    Skms__V1__Root *message;
    bool failed;
} root_telling;

static char *arena_text(rpc_arena *arena, const char *text)
{
    return rpc_arena_strndup(arena, text, strlen(text));
}

static void fill_root(void *ctx, uint64_t sequence, const char *jwk, const char *const *statements,
    size_t statement_count)
{
    root_telling *t = ctx;
    char **texts = rpc_arena_alloc(t->arena, (statement_count + 1) * sizeof *texts);
    t->message->jwk = arena_text(t->arena, jwk);
    t->failed = !texts || !t->message->jwk;
    for (size_t i = 0; !t->failed && i < statement_count; i++)
        t->failed = !(texts[i] = arena_text(t->arena, statements[i]));
    t->message->sequence = sequence - 1;
    t->message->statements = texts;
    t->message->n_statements = statement_count;
}

Skms__V1__Root *skm_tell_root(skm_service *service, rpc_arena *arena)
{
    Skms__V1__Root *message = rpc_arena_alloc(arena, sizeof *message);
    if (!message)
        return NULL;
    skms__v1__root__init(message);
    root_telling t = {.arena = arena, .message = message};
    skm_root_get(service->state, fill_root, &t);
    return t.failed ? NULL : message;
}

static void on_get_root(Skms__V1__SigningKeys_Service *self,
    const Skms__V1__GetRootRequest *request, Skms__V1__Root_Closure closure, void *call)
{
    (void)request;
    rpc_status status = {0};
    Skms__V1__Root *reply = skm_tell_root(((methods *)self)->keys->service, rpc_call_arena(call));
    if (reply) {
        closure(reply, call);
        return;
    }
    program_call_no_memory(&status);
    rpc_call_fail(call, &status);
}

/* ---- Sign, in place -----------------------------------------------------------------------------
 */

static void on_sign(Skms__V1__SigningKeys_Service *self, const Skms__V1__SignRequest *request,
    Skms__V1__SignResponse_Closure closure, void *call)
{
    static const method on_pool = {"Sign", sign};
    skm_signing_keys *keys = ((methods *)self)->keys;
    signed_message made;
    skm_announce more = {.needed = false};
    rpc_status status = {0};
    rpc_code code = check_certificate(call, &status);
    if (code == RPC_OK)
        code = sign_now(keys->service, call, request, &made, &more, &status);
    if (code == RPC_ABORTED) {
        program_call_begin(&keys->calls, &on_pool, &request->base, (ProtobufCClosure)closure, call);
        return;
    }
    if (code != RPC_OK) {
        host_counter_add(keys->sign_refused, 1);
        name_request(call, host_rpc_request_id(call));
        rpc_call_fail(call, &status);
        return;
    }
    if (more.needed)
        announce_soon(keys, &more);
    Skms__V1__SignResponse reply = SKMS__V1__SIGN_RESPONSE__INIT;
    reply.kid = made.kid;
    reply.signature = (ProtobufCBinaryData){sizeof made.signature, made.signature};
    closure(&reply, call);
}

/* ---- life --------------------------------------------------------------------------------------
 */

rpc_tls_options skm_signing_keys_tls(const host_values *settings)
{
    const char *crl = host_string(settings, "listen.keys.client_crl");
    return (rpc_tls_options){.certificate_file = host_string(settings, "listen.keys.certificate"),
        .key_file = host_string(settings, "listen.keys.key"),
        .ca_file = host_string(settings, "listen.keys.client_ca"),
        .crl_file = crl[0] ? crl : NULL,
        .client_auth = RPC_CLIENT_AUTH_REQUEST}; /* verifiers need none */
}

static rpc_code open_server(
    skm_signing_keys *keys, host_rpc *calls, const host_values *settings, rpc_status *reterr)
{
    static const rpc_method_options watch = {.stream_receive_ms = RPC_NO_TIMEOUT};
#define MEMBER(function, rpc, reply) .function = on_##function,
    keys->methods = (methods){
        .base = {.base = SKMS__V1__SIGNING_KEYS__BASE_INIT,
            POOLED(MEMBER).get_key_set = on_get_key_set,
            .get_root = on_get_root,
            .sign = on_sign},
        .keys = keys,
    };
    const rpc_interceptor interceptor = host_rpc_interceptor(calls);
    rpc_server_options options = {.limits = host_rpc_limits(settings),
        .interceptors = &interceptor,
        .interceptor_count = 1,
        .on_event = host_rpc_event,
        .event_ctx = calls};
    const rpc_service_options described = {
        .descriptor_set = {skms_proto_descriptors, skms_proto_descriptors_size}};
    const rpc_listener_options listener = {.name = "keys",
        .url = host_string(settings, "listen.keys.url"),
        .tls = skm_signing_keys_tls(settings)};
    options.limits.overwrite_messages = true; /* ProvisionKey carries private keys */
    rpc_status why = {0};
    rpc_code code = rpc_server_new(keys->service->runtime, &options, &keys->rpc, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_service(keys->rpc, &keys->methods.base.base, &described, reterr);
    if (code == RPC_OK)
        code = rpc_server_set_handler(
            keys->rpc, "/" SERVICE "/WatchKeys", &skm_watch_handler, keys->service, &watch, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_health(keys->rpc, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_reflection(keys->rpc, reterr);
    if (code == RPC_OK &&
        (code = rpc_server_listen(keys->rpc, &listener, &keys->listener, &why)) != RPC_OK)
        code = rpc_status_set(reterr, code, "'listen.keys.url': %.300s", why.message);
    if (code == RPC_OK && (code = rpc_server_start(keys->rpc, reterr)) == RPC_OK)
        host_rpc_show(calls, keys->rpc);
    return code;
}

static void count_in(skm_signing_keys *keys)
{
    host_metrics *metrics = keys->service->metrics;
    keys->sign_refused = host_metrics_counter(
        metrics, "skm_signatures_refused_total", "Calls of Sign that were refused.", NULL);
    keys->released = host_metrics_counter(
        metrics, "skm_keys_released_total", "Private keys given to their owners, sealed.", NULL);
    keys->provisioned = host_metrics_counter(
        metrics, "skm_keys_provisioned_total", "Calls of ProvisionKey whose key is there.", NULL);
    keys->enrolled = host_metrics_counter(
        metrics, "skm_enrolments_total", "SKM-Cs that enrolled.", NULL);
}

rpc_code skm_signing_keys_start(skm_service *service, host_rpc *calls, const host_values *settings,
    skm_signing_keys **ret, rpc_status *reterr)
{
    skm_signing_keys *keys = calloc(1, sizeof *keys);
    if (!keys)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "skmsd: no memory to start");
    keys->service = service;
    count_in(keys);
    rpc_code code = rpc_pool_new(service->runtime, "keys", THREADS, QUEUE_MAX, &keys->pool, reterr);
    keys->calls = (program_calls){
        .pool = keys->pool, .service = keys, .arena_bytes = ARENA_BYTES, .run = run};
    if (code == RPC_OK)
        code = open_server(keys, calls, settings, reterr);
    if (code != RPC_OK) {
        skm_signing_keys_stop(keys, 0);
        return code;
    }
    rpc_server_set_health(keys->rpc, "", true);
    rpc_server_set_health(keys->rpc, SERVICE, true);
    *ret = keys;
    return RPC_OK;
}

rpc_code skm_signing_keys_reload(
    skm_signing_keys *keys, const host_values *settings, rpc_status *reterr)
{
    const rpc_tls_options tls = skm_signing_keys_tls(settings);
    return rpc_listener_set_tls(keys->listener, &tls, reterr);
}

const char *skm_signing_keys_url(const skm_signing_keys *keys)
{
    return rpc_listener_url(keys->listener);
}

void skm_signing_keys_stop(skm_signing_keys *keys, int64_t grace_ms)
{
    if (!keys)
        return;
    if (keys->rpc)
        rpc_server_stop(keys->rpc, grace_ms);
    rpc_pool_free(keys->pool); /* its jobs hold calls of the server */
    rpc_server_free(keys->rpc);
    free(keys);
}
