/* SPDX-License-Identifier: Apache-2.0 */
/* The token endpoint. Everything is judged before the DACM is asked (step 5a), and everything is
 * signed before the code or refresh token is used up: what fails before leaves them as they were.
 */
#include "client_auth.h"
#include "mint.h"

#include <stdlib.h>

#define NO_ASSET "no such asset, or whom the token is for may not use it"

typedef struct token_request {
    sim_oidc *oidc;
    sim_grant_kind kind;
    host_request *request;
    const host_params *form;
    sim_caller caller;
    const sim_dacm *dacm;
    bool reused;                     /* a code or refresh token that had been used */
    char subject[SIM_SUB_CHARS + 1]; /* "" = no user is known yet */
    bool has_details;
    sim_details details; /* what is granted */
    char scope[SIM_SCOPE_BYTES_MAX + 1];
    const char *users[TRUST_USERS_MAX + 1]; /* of details, for a VAL server */
    char skeyprov[SIM_SKEYPROV_MAX + 1];
    sim_ticket ticket;
} token_request;

static bool failed(token_request *t, const rpc_status *status, sim_error *reterr)
{
    HOST_LOG(t->oidc->service->log, HOST_ERROR, status->message,
        host_text("request_id", host_request_id_of(t->request)));
    return sim_refuse_code(reterr, status->code);
}

/* ---- what every grant has ----------------------------------------------------------------------
 */

/* A token for a client that must be bound, or may be, names the certificate it came with. */
static bool bind_certificate(token_request *t, sim_error *reterr)
{
    const sim_client *client = t->caller.client;
    if (client->bound && !t->caller.certificate_sha256)
        return sim_refuse(reterr, SIM_INVALID_REQUEST,
            "this client's tokens are bound: it must come with its certificate to the endpoint of "
            "mtls_endpoint_aliases");
    if (client->bound || client->auth == SIM_AUTH_TLS || client->auth == SIM_AUTH_NONE)
        t->ticket.certificate_sha256 = t->caller.certificate_sha256;
    return true;
}

/* resource as asked for; granted "" = any that we know. */
static bool choose_resource(token_request *t, const char *granted, sim_error *reterr)
{
    const char *asked = sim_param(t->form, "resource");
    if (asked && *granted && strcmp(asked, granted) != 0)
        return sim_refuse(
            reterr, SIM_INVALID_TARGET, "another resource was granted than the one asked for");
    t->dacm = sim_oidc_dacm(t->oidc, asked ? asked : granted);
    if (!t->dacm)
        return sim_refuse(reterr, SIM_INVALID_TARGET, "no tokens are issued for this resource");
    t->ticket.audience = t->dacm->resource;
    return true;
}

/* Tokens for an SKM-S are a VAL server's own: the keys of an SKM-C are no user's. */
static bool choose_resource_of_client(token_request *t, sim_error *reterr)
{
    const char *asked = sim_param(t->form, "resource");
    const char *const *skms = t->oidc->service->config.skms;
    for (size_t i = 0; asked && i < t->oidc->service->config.skms_count; i++)
        if (strcmp(skms[i], asked) == 0) {
            t->ticket.audience = skms[i];
            return true;
        }
    return choose_resource(t, "", reterr);
}

/* The scope asked for, which must be within what may be had; all of that when none is asked for. */
static bool choose_scope(token_request *t, const char *all, sim_error *reterr)
{
    const char *asked = sim_param(t->form, "scope");
    if (!sim_words_copy(asked ? asked : all, t->scope, sizeof t->scope))
        return sim_refuse(reterr, SIM_INVALID_SCOPE, "scope has more than 1,024 bytes");
    if (!*t->scope || !sim_words_within(t->scope, all))
        return sim_refuse(reterr, SIM_INVALID_SCOPE, "more scope is asked for than was granted");
    t->ticket.scope = t->scope;
    return true;
}

/* Step 5a of TR 33.721 solution #6: which of users may use the asset, by the DACM's list now.
 * Unknown asset and unlisted user are one and the same from here on. */
static bool ask_dacm(token_request *t, const char *const *users, size_t count, bool *allowed,
    sim_profile **ret, sim_error *reterr)
{
    rpc_status status;
    unsigned retry_s = 0;
    if (count == 0)
        return sim_refuse(reterr, SIM_INVALID_DETAILS, NO_ASSET);
    rpc_code code = sim_consumers_ask(
        t->dacm->consumers, t->details.asset_id, users, count, allowed, ret, &retry_s, &status);
    if (code == RPC_OK)
        return true;
    if (code == RPC_NOT_FOUND)
        return sim_refuse(reterr, SIM_INVALID_DETAILS, NO_ASSET);
    failed(t, &status, reterr);
    return sim_refuse_with(reterr, 503, SIM_UNAVAILABLE,
        "the asset service cannot be asked now; the same request may be sent again",
        retry_s ? retry_s : 1);
}

static rpc_code note(token_request *t, const sim_tokens *tokens, rpc_status *reterr)
{
    host_counter_add(t->oidc->counters.tokens[t->kind][SIM_TOKEN_ISSUED], 1);
    return SIM_AUDIT(t->oidc->service, host_request_id_of(t->request), "token", reterr,
        host_text("grant", sim_grant_kind_name(t->kind)),
        host_text("client", t->caller.client->client_id), host_who("subject", t->ticket.subject),
        host_text("jti", tokens->jti), host_text("scope", t->ticket.scope),
        host_text("resource", t->ticket.audience),
        host_text("asset", t->has_details ? t->details.asset_id : ""));
}

/* ---- grants of users ---------------------------------------------------------------------------
 */

/* Narrows what was granted to what is asked for now (RFC 9396 6): one asset at most. */
static bool narrow(token_request *t, const sim_grant *grant, sim_error *reterr)
{
    const char *asked = sim_param(t->form, "authorization_details");
    unsigned granted = sim_actions_bits(grant->actions);
    t->has_details = grant->digital_asset;
    if (asked && !grant->digital_asset)
        return sim_refuse(reterr, SIM_INVALID_DETAILS, "no authorization_details were granted");
    if (asked)
        return sim_details_parse(rpc_bytes_str(asked), false, &t->details, reterr) &&
               sim_details_narrow(grant->asset_id, granted, &t->details, reterr);
    t->details.actions = granted;
    snprintf(t->details.asset_id, sizeof t->details.asset_id, "%s", grant->asset_id);
    return true;
}

static bool check_binding(token_request *t, const sim_grant *grant, sim_error *reterr)
{
    const uint8_t *certificate = t->caller.certificate_sha256;
    if (grant->bound && (!certificate || memcmp(certificate, grant->certificate_sha256, 32) != 0))
        return sim_refuse(
            reterr, SIM_INVALID_GRANT, "it is bound to another certificate than this connection's");
    return bind_certificate(t, reterr);
}

static bool find_user(token_request *t, const sim_grant *grant, sim_user **ret, sim_error *reterr)
{
    rpc_status status;
    rpc_code code = sim_user_by_sub(t->oidc->service->state, grant->sub, ret, &status);
    snprintf(t->subject, sizeof t->subject, "%s", grant->sub);
    t->ticket.subject = t->subject;
    if (code == RPC_NOT_FOUND || (code == RPC_OK && (*ret)->disabled))
        return sim_refuse(reterr, SIM_INVALID_GRANT, "the grant has ended");
    return code == RPC_OK || failed(t, &status, reterr);
}

static bool use_up(token_request *t, const sim_grant *grant, bool by_code, const sim_tokens *tokens,
    char ret_refresh[SIM_CODE_MAX], sim_error *reterr)
{
    rpc_status status;
    const sim_client *client = t->caller.client;
    const sim_issue issue = {
        .code = by_code,
        .refresh = client->grants & SIM_GRANT_REFRESH,
        .jti = tokens->jti,
        .expires_at = tokens->expires_at,
        .bind_sha256 = by_code && client->auth == SIM_AUTH_NONE ? t->caller.certificate_sha256
                                                                : NULL,
    };
    rpc_code code = sim_grant_issue(t->oidc->service->state, grant, &issue, ret_refresh, &status);
    if (code == RPC_ABORTED || code == RPC_NOT_FOUND)
        return sim_refuse(reterr, SIM_INVALID_GRANT, "it was used before, or the grant has ended");
    if (code == RPC_OK)
        code = note(t, tokens, &status);
    return code == RPC_OK || failed(t, &status, reterr);
}

static bool issue_to_user(token_request *t, const sim_grant *grant, bool by_code,
    const char *const *gpsis, const sim_profile *profile, sim_error *reterr)
{
    sim_tokens tokens;
    char refresh[SIM_CODE_MAX] = "";
    t->ticket.client = t->caller.client;
    t->ticket.details = t->has_details ? &t->details : NULL;
    t->ticket.gpsis = gpsis;
    t->ticket.profile = profile;
    t->ticket.tokens_after = grant->tokens_after;
    t->ticket.auth_time = grant->auth_time;
    t->ticket.acr = grant->acr;
    t->ticket.nonce = by_code ? grant->nonce : NULL; /* OpenID Connect Core 12.2 */
    t->ticket.id_token = sim_words_have(t->ticket.scope, "openid");
    if (!sim_mint(t->oidc, t->request, &t->ticket, &tokens, reterr))
        return false;
    bool used = use_up(t, grant, by_code, &tokens, refresh, reterr);
    if (used)
        sim_answer_tokens(t->oidc, t->request, &t->ticket, &tokens, refresh);
    sim_tokens_done(&tokens);
    return used;
}

static bool issue_by_grant(
    token_request *t, const sim_grant *grant, bool by_code, sim_error *reterr)
{
    RPC_CLEANUP(sim_user_freep) sim_user *user = NULL;
    RPC_CLEANUP(sim_profile_freep) sim_profile *profile = NULL;
    bool allowed[SIM_GPSIS_MAX];
    if (!find_user(t, grant, &user, reterr) || !check_binding(t, grant, reterr) ||
        !choose_resource(t, grant->resource, reterr) || !narrow(t, grant, reterr))
        return false;
    if (t->has_details && *t->details.asset_id &&
        !ask_dacm(t, user->gpsis, user->gpsi_count, allowed, &profile, reterr))
        return false;
    return issue_to_user(t, grant, by_code, user->gpsis, profile, reterr);
}

static bool found(token_request *t, rpc_code code, const rpc_status *status, sim_error *reterr)
{
    if (code == RPC_OK)
        return true;
    t->reused = code == RPC_ABORTED;
    if (code == RPC_NOT_FOUND || code == RPC_ABORTED || code == RPC_INVALID_ARGUMENT)
        return sim_refuse(
            reterr, SIM_INVALID_GRANT, "it is none of this client's, has expired, or was used");
    return failed(t, status, reterr);
}

static bool by_code(token_request *t, sim_error *reterr)
{
    rpc_status status;
    RPC_CLEANUP(sim_grant_freep) sim_grant *grant = NULL;
    const char *text = sim_param(t->form, "code");
    const char *redirect = sim_param(t->form, "redirect_uri");
    const char *verifier = sim_param(t->form, "code_verifier");
    if (!text || !redirect || !verifier)
        return sim_refuse(
            reterr, SIM_INVALID_REQUEST, "code, redirect_uri and code_verifier are needed");
    rpc_code code = sim_grant_by_code(
        t->oidc->service->state, t->caller.client->client_id, text, &grant, &status);
    if (!found(t, code, &status, reterr))
        return false;
    if (strcmp(redirect, grant->redirect_uri) != 0)
        return sim_refuse(reterr, SIM_INVALID_GRANT, "redirect_uri is not that of the request");
    if (!sim_pkce_matches(verifier, grant->code_challenge))
        return sim_refuse(reterr, SIM_INVALID_GRANT, "code_verifier does not fit the challenge");
    return choose_scope(t, grant->scope, reterr) && issue_by_grant(t, grant, true, reterr);
}

static bool by_refresh(token_request *t, sim_error *reterr)
{
    rpc_status status;
    RPC_CLEANUP(sim_grant_freep) sim_grant *grant = NULL;
    const char *text = sim_param(t->form, "refresh_token");
    if (!text)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "refresh_token is needed");
    rpc_code code = sim_grant_by_refresh(
        t->oidc->service->state, t->caller.client->client_id, text, &grant, &status);
    return found(t, code, &status, reterr) && choose_scope(t, grant->scope, reterr) &&
           issue_by_grant(t, grant, false, reterr);
}

/* ---- VAL servers -------------------------------------------------------------------------------
 */

/* What a client may have without a user: no scope that is about one; and for an SKM-S (no DACM)
 * only those that are about keys. */
static bool is_of_client(const char *scope, bool dacm)
{
    if (!dacm)
        return strcmp(scope, SIM_SCOPE_KEYS) == 0 || strcmp(scope, SIM_SCOPE_PROVISIONING) == 0;
    return strcmp(scope, "openid") != 0 && strcmp(scope, "profile") != 0 &&
           strcmp(scope, "offline_access") != 0;
}

static bool scopes_of_client(
    const sim_client *client, bool dacm, char ret[SIM_SCOPE_BYTES_MAX + 1], sim_error *reterr)
{
    size_t size = 0;
    ret[0] = '\0';
    for (const char *const *scope = client->scopes; *scope; scope++) {
        if (!is_of_client(*scope, dacm))
            continue;
        int written = snprintf(
            ret + size, SIM_SCOPE_BYTES_MAX + 1 - size, "%s%s", size ? " " : "", *scope);
        if (written < 0 || (size_t)written > SIM_SCOPE_BYTES_MAX - size)
            return sim_refuse(
                reterr, SIM_INVALID_SCOPE, "this client's scopes are too long: ask for some");
        size += (size_t)written;
    }
    return true;
}

static bool take_users(token_request *t, sim_error *reterr)
{
    const char *json = sim_param(t->form, "authorization_details");
    t->has_details = json != NULL;
    if (!json)
        return true;
    if (!t->dacm)
        return sim_refuse(
            reterr, SIM_INVALID_DETAILS, "an SKM-S has no assets: leave authorization_details out");
    if (!sim_details_parse(rpc_bytes_str(json), true, &t->details, reterr))
        return false;
    if (!sim_scope_allowed(SIM_SCOPE_ASSETS, t->caller.client->scopes))
        return sim_refuse(
            reterr, SIM_INVALID_DETAILS, "this client is not registered for scope seal.da");
    if (!sim_details_users_within(&t->details, t->caller.client->users))
        return sim_refuse(reterr, SIM_INVALID_DETAILS, "this client may not act for all of users");
    for (size_t i = 0; i < t->details.user_count; i++)
        t->users[i] = t->details.users[i].text;
    t->users[t->details.user_count] = NULL;
    return true;
}

/* SKeyProv (TS 33.434 A.2.2): whose keys the client may bring, in tokens for that alone. */
static void take_provisioning(token_request *t)
{
    size_t size = 0;
    const char *const *service = t->caller.client->key_services;
    if (t->dacm || !sim_words_within(SIM_SCOPE_PROVISIONING, t->scope) || !*service)
        return;
    for (; *service; service++) /* a registration has no more than fit */
        size += (size_t)snprintf(
            t->skeyprov + size, sizeof t->skeyprov - size, "%s%s", size ? " " : "", *service);
    t->ticket.skeyprov = t->skeyprov;
}

static bool issue_to_client(token_request *t, const sim_profile *profile, sim_error *reterr)
{
    sim_tokens tokens;
    rpc_status status;
    const sim_client *client = t->caller.client;
    t->ticket.client = client;
    t->ticket.subject = client->client_id;
    t->ticket.details = t->has_details ? &t->details : NULL;
    t->ticket.users = t->has_details ? t->users : NULL;
    t->ticket.profile = profile;
    t->ticket.tokens_after = client->tokens_after;
    if (!sim_mint(t->oidc, t->request, &t->ticket, &tokens, reterr))
        return false;
    rpc_code code = sim_client_unchanged(t->oidc->service->state, client, &status);
    if (code == RPC_OK)
        code = note(t, &tokens, &status);
    if (code == RPC_OK)
        sim_answer_tokens(t->oidc, t->request, &t->ticket, &tokens, "");
    sim_tokens_done(&tokens);
    if (code == RPC_ABORTED || code == RPC_NOT_FOUND)
        return sim_refuse_with(reterr, 503, SIM_UNAVAILABLE,
            "the client's registration changed meanwhile; try again", 1);
    return code == RPC_OK || failed(t, &status, reterr);
}

static bool by_client(token_request *t, sim_error *reterr)
{
    char all[SIM_SCOPE_BYTES_MAX + 1];
    const char *own[TRUST_USERS_MAX + 1];
    bool allowed[TRUST_USERS_MAX];
    sim_profile mine = {.users = own};
    RPC_CLEANUP(sim_profile_freep) sim_profile *profile = NULL;
    if (t->caller.client->auth == SIM_AUTH_NONE)
        return sim_refuse(
            reterr, "unauthorized_client", "a public client cannot act in its own name");
    if (!choose_resource_of_client(t, reterr) ||
        !scopes_of_client(t->caller.client, t->dacm, all, reterr) ||
        !choose_scope(t, all, reterr) || !bind_certificate(t, reterr) || !take_users(t, reterr))
        return false;
    take_provisioning(t);
    if (!t->has_details || !*t->details.asset_id)
        return issue_to_client(t, NULL, reterr);
    if (!ask_dacm(t, t->users, t->details.user_count, allowed, &profile, reterr))
        return false;
    /* never the whole list: a VAL server learns of those that it acts for */
    for (size_t i = 0; i < t->details.user_count; i++)
        if (allowed[i])
            own[mine.count++] = t->users[i];
    own[mine.count] = NULL;
    return issue_to_client(t, &mine, reterr);
}

/* ---- endpoint ----------------------------------------------------------------------------------
 */

static bool answer(token_request *t, sim_error *reterr)
{
    static const struct {
        unsigned grant;
        bool (*issue)(token_request *t, sim_error *reterr);
    } grants[] = {
        [SIM_KIND_CODE] = {SIM_GRANT_CODE, by_code},
        [SIM_KIND_REFRESH] = {SIM_GRANT_REFRESH, by_refresh},
        [SIM_KIND_CLIENT] = {SIM_GRANT_CLIENT_CREDENTIALS, by_client},
    };
    if (!sim_params_sound(t->form))
        return sim_refuse(
            reterr, SIM_INVALID_REQUEST, "a parameter is there twice, or is not UTF-8");
    if (!sim_caller_prove(t->oidc, t->request, &t->caller, reterr))
        return false;
    const char *name = sim_param(t->form, "grant_type");
    if (!name)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "grant_type is missing");
    t->kind = sim_grant_kind_of(name);
    if (t->kind == SIM_KIND_OTHER)
        return sim_refuse(reterr, "unsupported_grant_type",
            "grant_type can be authorization_code, refresh_token and client_credentials");
    if (!(t->caller.client->grants & grants[t->kind].grant))
        return sim_refuse(reterr, "unauthorized_client", "this client may not use that grant_type");
    return grants[t->kind].issue(t, reterr);
}

/* Does a refusal belong into the trail? Not what anybody can bring about who knows the name of a
 * public client: nobody floods the trail. */
static bool worth_noting(const token_request *t)
{
    const sim_client *client = t->caller.client;
    return client && (client->auth != SIM_AUTH_NONE || *t->subject || t->reused);
}

/* It stands in the trail before it is told. */
static void note_refusal(token_request *t, sim_error *error)
{
    rpc_status status;
    sim_token_outcome outcome = error->status >= 429 ? SIM_TOKEN_UNAVAILABLE : SIM_TOKEN_REFUSED;
    host_counter_add(t->oidc->counters.tokens[t->kind][outcome], 1);
    if (outcome == SIM_TOKEN_UNAVAILABLE || !worth_noting(t))
        return;
    rpc_code code = SIM_AUDIT(t->oidc->service, host_request_id_of(t->request), "token", &status,
        host_text("grant", sim_grant_kind_name(t->kind)),
        host_text("client", t->caller.client->client_id), host_who("subject", t->subject),
        host_text("refused", error->error),
        host_text(
            "why", t->reused ? "used twice: all that came of it is revoked" : error->description),
        host_text("asset", t->has_details ? t->details.asset_id : ""));
    if (code != RPC_OK)
        failed(t, &status, error);
}

void sim_token_handle(void *ctx, host_request *request)
{
    sim_error error;
    token_request t = {.oidc = ctx,
        .kind = SIM_KIND_OTHER,
        .request = request,
        .form = host_request_form(request)};
    if (!answer(&t, &error)) {
        note_refusal(&t, &error);
        sim_answer_error(request, &error);
    }
    sim_client_free(t.caller.client);
}
