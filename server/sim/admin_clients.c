/* SPDX-License-Identifier: Apache-2.0 */
/* sim.v1.Admin: clients, and how far DACMs are. */
#include "admin_internal.h"

#include <sodium.h>
#include <stdlib.h>

static const struct {
    unsigned bit;
    Sim__V1__GrantType type;
} grant_types[] = {
    {SIM_GRANT_CODE, SIM__V1__GRANT_TYPE__GRANT_TYPE_AUTHORIZATION_CODE},
    {SIM_GRANT_REFRESH, SIM__V1__GRANT_TYPE__GRANT_TYPE_REFRESH_TOKEN},
    {SIM_GRANT_CLIENT_CREDENTIALS, SIM__V1__GRANT_TYPE__GRANT_TYPE_CLIENT_CREDENTIALS},
};
#define GRANT_TYPES (sizeof grant_types / sizeof *grant_types)

_Static_assert(
    (int)SIM_AUTH_NONE == SIM__V1__CLIENT_AUTH__CLIENT_AUTH_NONE &&
        (int)SIM_AUTH_PRIVATE_KEY_JWT == SIM__V1__CLIENT_AUTH__CLIENT_AUTH_PRIVATE_KEY_JWT &&
        (int)SIM_AUTH_TLS == SIM__V1__CLIENT_AUTH__CLIENT_AUTH_TLS_CLIENT_AUTH &&
        (int)SIM_AUTH_SECRET_BASIC == SIM__V1__CLIENT_AUTH__CLIENT_AUTH_CLIENT_SECRET_BASIC,
    "client authentication has the same numbers on the wire");
_Static_assert((int)SIM_CONSENT_ONCE == SIM__V1__CONSENT_RULE__CONSENT_RULE_ONCE &&
                   (int)SIM_CONSENT_ALWAYS == SIM__V1__CONSENT_RULE__CONSENT_RULE_ALWAYS &&
                   (int)SIM_CONSENT_NEVER == SIM__V1__CONSENT_RULE__CONSENT_RULE_NEVER,
    "rules of consent have the same numbers on the wire");

/* ---- to the wire
 * -------------------------------------------------------------------------------------- */

static bool tell_grants(program_call *c, const sim_client *client, Sim__V1__Client *message)
{
    message->grant_types = rpc_arena_alloc(c->arena, GRANT_TYPES * sizeof *message->grant_types);
    for (size_t i = 0; message->grant_types && i < GRANT_TYPES; i++)
        if (client->grants & grant_types[i].bit)
            message->grant_types[message->n_grant_types++] = grant_types[i].type;
    return message->grant_types;
}

static rpc_code tell_client(
    program_call *c, const sim_client *client, Sim__V1__Client **ret, rpc_status *reterr)
{
    Sim__V1__Client *message = program_call_new(c, &sim__v1__client__descriptor);
    if (!message || !tell_grants(c, client, message))
        return program_call_no_memory(reterr);
    message->client_id = program_call_text(c, client->client_id);
    message->name = program_call_text(c, client->name);
    message->redirect_uris = admin_texts(c, client->redirect_uris, &message->n_redirect_uris);
    message->jwks = program_call_text(c, client->jwks);
    message->tls_san = program_call_text(c, client->tls_san);
    message->scopes = admin_texts(c, client->scopes, &message->n_scopes);
    message->users = admin_texts(c, client->users, &message->n_users);
    message->key_services = admin_texts(c, client->key_services, &message->n_key_services);
    message->token_alg = program_call_text(
        c, client->token_alg == TRUST_ALG_RS256 ? "RS256" : "EdDSA");
    if (!message->client_id || !message->name || !message->redirect_uris || !message->jwks ||
        !message->tls_san || !message->scopes || !message->users || !message->key_services ||
        !message->token_alg)
        return program_call_no_memory(reterr);
    message->auth = (Sim__V1__ClientAuth)client->auth;
    message->consent = (Sim__V1__ConsentRule)client->consent;
    message->bound = client->bound;
    message->disabled = client->disabled;
    message->created_at = client->created_at;
    *ret = message;
    return RPC_OK;
}

static rpc_code find_client(
    program_call *c, const char *client_id, Sim__V1__Client **ret, rpc_status *reterr)
{
    sim_client *client = NULL;
    rpc_code code = sim_client_find(admin_service(c)->state, client_id, &client, reterr);
    if (code == RPC_OK)
        code = tell_client(c, client, ret, reterr);
    sim_client_free(client);
    return code;
}

static rpc_code reply_client(program_call *c, const char *client_id, rpc_status *reterr)
{
    Sim__V1__Client *message = NULL;
    rpc_code code = find_client(c, client_id, &message, reterr);
    if (code == RPC_OK)
        c->reply = &message->base;
    return code;
}

/* ---- from the wire
 * ------------------------------------------------------------------------------------ */

static rpc_code take_grants(const Sim__V1__Client *message, unsigned *ret, rpc_status *reterr)
{
    *ret = 0;
    for (size_t i = 0; i < message->n_grant_types; i++) {
        size_t at = 0;
        while (at < GRANT_TYPES && grant_types[at].type != message->grant_types[i])
            at++;
        if (at == GRANT_TYPES)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "grant_types: unknown");
        *ret |= grant_types[at].bit;
    }
    return RPC_OK;
}

/* NULL-terminated; NULL when memory is short. */
static const char *const *list_of(program_call *c, char *const *texts, size_t count)
{
    const char **list = rpc_arena_alloc(c->arena, (count + 1) * sizeof *list);
    for (size_t i = 0; list && i <= count; i++)
        list[i] = i < count ? texts[i] : NULL;
    return list;
}

static rpc_code take_client(
    program_call *c, const Sim__V1__Client *message, sim_client *ret, rpc_status *reterr)
{
    unsigned grants = 0;
    if (!message)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "client: is missing");
    rpc_code code = take_grants(message, &grants, reterr);
    if (code != RPC_OK)
        return code;
    bool rs256 = strcmp(message->token_alg, "RS256") == 0;
    if (!rs256 && message->token_alg[0] && strcmp(message->token_alg, "EdDSA") != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "token_alg: EdDSA or RS256");
    *ret = (sim_client){.client_id = message->client_id,
        .name = message->name,
        .auth = (sim_client_auth)message->auth,
        .redirect_uris = list_of(c, message->redirect_uris, message->n_redirect_uris),
        .jwks = message->jwks,
        .tls_san = message->tls_san,
        .grants = grants,
        .scopes = list_of(c, message->scopes, message->n_scopes),
        .users = list_of(c, message->users, message->n_users),
        .key_services = list_of(c, message->key_services, message->n_key_services),
        .token_alg = rs256 ? TRUST_ALG_RS256 : TRUST_ALG_EDDSA,
        .bound = message->bound,
        .consent = (sim_consent_rule)message->consent,
        .disabled = message->disabled};
    return ret->redirect_uris && ret->scopes && ret->users && ret->key_services
               ? RPC_OK
               : program_call_no_memory(reterr);
}

/* ---- methods
 * ------------------------------------------------------------------------------------------- */

rpc_code admin_create_client(program_call *c, rpc_status *reterr)
{
    const Sim__V1__CreateClientRequest *request = (const Sim__V1__CreateClientRequest *)c->request;
    sim_client client = {0};
    char *secret = NULL;
    Sim__V1__CreateClientResponse *response = program_call_new(
        c, &sim__v1__create_client_response__descriptor);
    rpc_code code = response ? take_client(c, request->client, &client, reterr)
                             : program_call_no_memory(reterr);
    if (code == RPC_OK)
        code = sim_client_add(admin_service(c)->state, &client, &secret, reterr);
    if (code == RPC_OK)
        code = find_client(c, client.client_id, &response->client, reterr);
    if (code == RPC_OK && secret && !(response->client_secret = program_call_text(c, secret)))
        code = program_call_no_memory(reterr);
    if (secret)
        sodium_memzero(secret, strlen(secret));
    free(secret);
    if (code == RPC_OK)
        c->reply = &response->base;
    return code;
}

rpc_code admin_get_client(program_call *c, rpc_status *reterr)
{
    const Sim__V1__GetClientRequest *request = (const Sim__V1__GetClientRequest *)c->request;
    return reply_client(c, request->client_id, reterr);
}

typedef struct paging {
    program_call *c;
    Sim__V1__ListClientsResponse *response;
    uint32_t size;
    rpc_status status;
} paging;

static bool add_client(void *ctx, const sim_client *client)
{
    paging *p = ctx;
    if (p->response->n_clients == p->size) {
        p->response->more = true;
        return false;
    }
    p->status.code = tell_client(
        p->c, client, &p->response->clients[p->response->n_clients], &p->status);
    p->response->n_clients += p->status.code == RPC_OK;
    return p->status.code == RPC_OK;
}

rpc_code admin_list_clients(program_call *c, rpc_status *reterr)
{
    const Sim__V1__ListClientsRequest *request = (const Sim__V1__ListClientsRequest *)c->request;
    paging p = {.c = c, .size = program_page_size(request->page_size)};
    p.response = program_call_new(c, &sim__v1__list_clients_response__descriptor);
    if (!p.response ||
        !(p.response->clients = rpc_arena_alloc(c->arena, p.size * sizeof *p.response->clients)))
        return program_call_no_memory(reterr);
    rpc_code code = sim_clients_list(
        admin_service(c)->state, request->after[0] ? request->after : NULL, add_client, &p, reterr);
    if (code == RPC_OK && p.status.code != RPC_OK)
        code = rpc_status_text(reterr, p.status.code, p.status.message);
    c->reply = &p.response->base;
    return code;
}

rpc_code admin_update_client(program_call *c, rpc_status *reterr)
{
    const Sim__V1__UpdateClientRequest *request = (const Sim__V1__UpdateClientRequest *)c->request;
    sim_client client = {0};
    rpc_code code = take_client(c, request->client, &client, reterr);
    if (code == RPC_OK)
        code = sim_client_update(admin_service(c)->state, &client, reterr);
    return code == RPC_OK ? reply_client(c, client.client_id, reterr) : code;
}

rpc_code admin_delete_client(program_call *c, rpc_status *reterr)
{
    const Sim__V1__DeleteClientRequest *request = (const Sim__V1__DeleteClientRequest *)c->request;
    rpc_code code = sim_client_delete(admin_service(c)->state, request->client_id, reterr);
    if (code != RPC_OK)
        return code;
    c->reply = program_call_new(c, &sim__v1__delete_client_response__descriptor);
    return c->reply ? RPC_OK : program_call_no_memory(reterr);
}

rpc_code admin_get_status(program_call *c, rpc_status *reterr)
{
    const sim_service *service = admin_service(c);
    const size_t count = service->dacm_count;
    Sim__V1__GetStatusResponse *response = program_call_new(
        c, &sim__v1__get_status_response__descriptor);
    if (!response ||
        !(response->dacms = rpc_arena_alloc(c->arena, (count + 1) * sizeof *response->dacms)))
        return program_call_no_memory(reterr);
    response->sequence = sim_revocations_sequence(service->state);
    for (size_t i = 0; i < count; i++) {
        Sim__V1__DacmStatus *dacm = program_call_new(c, &sim__v1__dacm_status__descriptor);
        if (!dacm || !(dacm->resource = program_call_text(c, service->dacms[i].resource)))
            return program_call_no_memory(reterr);
        dacm->connected = sim_reporter_connected(service->dacms[i].reporter);
        dacm->applied = sim_reporter_applied(service->dacms[i].reporter);
        response->dacms[response->n_dacms++] = dacm;
    }
    c->reply = &response->base;
    return RPC_OK;
}
