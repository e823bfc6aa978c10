/* SPDX-License-Identifier: Apache-2.0 */
/* One request's way to its decision: token, facts, trust_decide(), audit, answer.
 *
 *   start ─▶ token ─▶ its steps ─▶ facts ─▶ all steps ─▶ explained, audited ─▶ fn
 *                         └──── refused ────────────────────────┘
 * Refused by a step before the facts or by one after: the caller sees the same bytes. */
#include "dacm_internal.h"

#include "host.h"

#include <string.h>

static const char *action_name(dacm_action action)
{
    static const char *const names[] = {[DACM_ACTION_CREATE] = "create",
        [DACM_ACTION_DISCOVERY] = "discovery",
        [DACM_ACTION_GET] = "get",
        [DACM_ACTION_UPDATE] = "update",
        [DACM_ACTION_DELETE] = "delete"};
    return names[action];
}

static trust_action trust_action_of(dacm_action action)
{
    static const trust_action actions[] = {[DACM_ACTION_CREATE] = TRUST_ACTION_CREATE,
        [DACM_ACTION_DISCOVERY] = TRUST_ACTION_DISCOVERY,
        [DACM_ACTION_GET] = TRUST_ACTION_GET,
        [DACM_ACTION_UPDATE] = TRUST_ACTION_UPDATE,
        [DACM_ACTION_DELETE] = TRUST_ACTION_DELETE};
    return actions[action];
}

static uint32_t operation_bit_of(dacm_action action)
{
    switch (action) {
    case DACM_ACTION_DISCOVERY:
        return 1u << DACM__V1__OPERATION__OPERATION_DISCOVERY;
    case DACM_ACTION_GET:
        return 1u << DACM__V1__OPERATION__OPERATION_GET;
    case DACM_ACTION_UPDATE:
        return 1u << DACM__V1__OPERATION__OPERATION_UPDATE;
    case DACM_ACTION_DELETE:
        return 1u << DACM__V1__OPERATION__OPERATION_DELETE;
    case DACM_ACTION_CREATE:
        break;
    }
    return 0;
}

static void post_on_call(void *ctx, void (*fn)(void *arg), void *arg)
{
    rpc_call_post(ctx, fn, arg);
}

store_executor dacm_call_executor(rpc_call *call)
{
    return (store_executor){post_on_call, call};
}

void dacm_access_init(dacm_access *access, dacm_service *service, rpc_call *call)
{
    *access = (dacm_access){.service = service, .call = call};
    access->executor = dacm_call_executor(call);
    strncpy(access->request_id, host_rpc_request_id(call), sizeof access->request_id - 1);
}

void dacm_access_done(dacm_access *access)
{
    dacm_bearer_done(&access->bearer);
}

/* ---- syntax ---- */

static rpc_code prepare_user(dacm_access *access, const dacm_request *request, rpc_status *reterr)
{
    if (request->gpsi) {
        if (!trust_gpsi_valid(rpc_bytes_str(request->gpsi)))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "gpsi: must be msisdn- and 5 to 15 digits, or extid-local@domain with the domain "
                "in lower case");
        rpc_text_copy(access->gpsi, sizeof access->gpsi, request->gpsi);
        return RPC_OK;
    }
    trust_gpsi gpsi;
    if (!request->external_id)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "user: name the UE by gpsi or by external_id");
    if (trust_gpsi_valid(rpc_bytes_str(request->external_id)) ||
        trust_gpsi_parse(rpc_bytes_str(request->external_id), &gpsi, NULL) != RPC_OK)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "external_id: must be local@domain with the domain in lower case; a GPSI goes into "
            "gpsi");
    rpc_text_copy(access->gpsi, sizeof access->gpsi, gpsi.text);
    return RPC_OK;
}

rpc_code dacm_access_prepare(dacm_access *access, const dacm_request *request, rpc_status *reterr)
{
    access->method = request->method;
    access->action = request->action;
    access->about_profile = request->about_profile;
    access->remember = request->remember && request->asset_id;
    if (request->asset_id) {
        if (!trust_asset_id_valid(rpc_bytes_str(request->asset_id)))
            return rpc_status_set(
                reterr, RPC_INVALID_ARGUMENT, "asset_id: must be 1 to 128 of A-Z a-z 0-9 . _ ~ -");
        rpc_text_copy(access->asset_id, sizeof access->asset_id, request->asset_id);
    }
    rpc_code code = prepare_user(access, request, reterr);
    access->prepared = code == RPC_OK;
    return code;
}

/* ---- what remains of a decision ---- */

static void explain(dacm_access *access, rpc_code outcome, const char *reason, const char *detail,
    const char *fault)
{
    const trust_token *token = access->bearer.token;
    dacm_explanation explanation = {.outcome = outcome,
        .method = access->method ? access->method : "",
        .reason = reason,
        .detail = detail,
        .time_ms = rpc_clock_wall_ms(access->service->clock)};
    memcpy(explanation.request_id, access->request_id, sizeof explanation.request_id);
    memcpy(explanation.asset_id, access->asset_id, sizeof access->asset_id);
    strncpy(explanation.fault, fault, sizeof explanation.fault - 1);
    rpc_text_printable(explanation.fault); /* it may be cut within a character */
    if (token)
        host_pseudonym(access->service->log, rpc_bytes_str(token->subject), explanation.subject);
    if (access->gpsi[0])
        host_pseudonym(access->service->log, rpc_bytes_str(access->gpsi), explanation.user);
    dacm_ring_put(access->service->ring, &explanation);
    access->noted = true;
}

/* What a record says beside its time and request ID, and a remembered decision has in common with
 * the next: a JSON object. */
static size_t audit_rest(dacm_access *access, const char *asset_id, const char *outcome,
    const char *reason, const char *fault, char *out, size_t room)
{
    const trust_token *token = access->bearer.token;
    const rpc_peer *peer = rpc_call_peer(access->call);
    host_field fields[16];
    size_t count = 0;
    fields[count++] = host_text("method", access->method);
    if (access->prepared)
        fields[count++] = host_text("action", action_name(access->action));
    fields[count++] = host_text("asset_id", asset_id);
    fields[count++] = host_text("outcome", outcome);
    fields[count++] = host_text("reason", reason);
    if (fault[0])
        fields[count++] = host_text("fault", fault);
    if (access->left_out > 0)
        fields[count++] = host_number("left_out", (int64_t)access->left_out);
    if (access->gpsi[0])
        fields[count++] = host_who("user", access->gpsi);
    if (token) {
        fields[count++] = host_who("subject", token->subject);
        fields[count++] = host_text("issuer", token->issuer);
        fields[count++] = host_text("jti", token->jti);
        fields[count++] = host_text("client_id", token->client_id);
    }
    fields[count++] = host_text("peer", peer->address);
    if (peer->has_uid)
        fields[count++] = host_number("peer_uid", peer->uid);
    if (peer->has_certificate && peer->dns_names && peer->dns_names[0])
        fields[count++] = host_text("peer_name", peer->dns_names[0]);
    return host_fields_json(access->service->log, fields, count, out, room);
}

static const char NO_AUDIT[] =
    "the audit trail cannot be written, and nothing is decided without it; try again later";

static void deliver(dacm_access *access)
{
    rpc_status outcome = access->outcome;
    access->fn(access->arg, &outcome);
}

static void audit_failed(dacm_access *access, const rpc_status *why)
{
    HOST_LOG(access->service->log, HOST_ERROR, "audit record refused",
        host_text("request_id", access->request_id), host_text("why", why->message));
    host_counter_add(access->service->trust->records_refused, 1);
    rpc_status_set(
        &access->outcome, RPC_UNAVAILABLE, "%s (request %s)", NO_AUDIT, access->request_id);
}

/* Strand. */
static void audited(void *arg)
{
    dacm_access *access = arg;
    if (!access->audited) {
        rpc_status why;
        rpc_status_set(&why, RPC_UNAVAILABLE, "the disk of the audit trail refused it");
        audit_failed(access, &why);
    }
    deliver(access);
}

/* The audit's thread. */
static void on_audited(void *arg, bool written)
{
    dacm_access *access = arg;
    access->audited = written;
    rpc_call_post(access->call, audited, access);
}

/* Then fn with access->outcome. common: NULL, why says why. */
static void audit_common(dacm_access *access, trust_audit_class class, trust_audit_common *common,
    const rpc_status *why_not)
{
    dacm_trust *trust = access->service->trust;
    rpc_status why = *why_not;
    bool pending = false;
    if (!common || trust_audit_write_common(trust->audit, common, access->now_ms,
                       access->request_id, class, on_audited, access, &pending, &why) != RPC_OK)
        audit_failed(access, &why);
    if (pending && class == TRUST_AUDIT_SOON)
        host_counter_add(trust->records_held, 1);
    if (!pending)
        deliver(access);
}

static trust_audit_common *common_of(dacm_access *access, const char *asset_id, const char *outcome,
    const char *reason, const char *fault, rpc_status *reterr)
{
    char json[TRUST_AUDIT_COMMON_BYTES_MAX];
    size_t size = audit_rest(access, asset_id, outcome, reason, fault, json, sizeof json);
    return trust_audit_common_new(rpc_bytes_of(json, size), reterr);
}

static void audit(dacm_access *access, trust_audit_class class, const char *asset_id,
    const char *outcome, const char *reason, const char *fault)
{
    rpc_status why = {.code = RPC_OK};
    trust_audit_common *common = common_of(access, asset_id, outcome, reason, fault, &why);
    audit_common(access, class, common, &why);
    trust_audit_common_unref(common);
}

/* ---- the decision ---- */

static void set_outcome(dacm_access *access, rpc_code code)
{
    switch (code) {
    case RPC_OK:
        access->outcome = (rpc_status){.code = RPC_OK};
        break;
    case RPC_UNAUTHENTICATED:
        rpc_status_set(&access->outcome, code,
            "the access token is missing, not valid or not fresh; get a new one (request %s)",
            access->request_id);
        break;
    case RPC_UNAVAILABLE:
        rpc_status_set(&access->outcome, code,
            "whether the access token was revoked cannot be known just now; try again in a minute "
            "(request %s)",
            access->request_id);
        break;
    case RPC_NOT_FOUND:
        rpc_status_set(&access->outcome, code, "asset_id: there is no such asset (request %s)",
            access->request_id);
        break;
    default:
        rpc_status_set(&access->outcome, code,
            "not allowed, or there is no such asset; the operator can look up request %s",
            access->request_id);
    }
}

/* ---- decisions remembered ---- */

static dacm_grounds grounds_of(dacm_access *access, uint64_t trust)
{
    return (dacm_grounds){.method = access->method,
        .asset_id = access->asset_id,
        .gpsi = access->gpsi,
        .action = (int)access->action,
        .list = access->list_seen,
        .revocation = access->revocation_seen,
        .pseudonyms = host_pseudonym_version(access->service->log),
        .trust = trust};
}

/* Before anything is read that the decision stands on. */
static void look_at_clocks(dacm_access *access)
{
    const dacm_service *service = access->service;
    access->list_seen = dacm_lists_now(service->lists, access->asset_id);
    access->revocation_seen = trust_revocations_epoch(service->trust->revocations);
}

/* Allowed: remembered beside the token, audited and delivered. Keys and issuers may have changed
 * since the token was judged, and another call have had it judged anew: what is remembered says by
 * which of them. */
static void remember(dacm_access *access, const char *reason)
{
    rpc_status why = {.code = RPC_OK};
    const dacm_grounds grounds = grounds_of(access, access->bearer.version);
    dacm_verdicts *verdicts = dacm_bearer_verdicts(access->service, access->call);
    trust_audit_common *common = common_of(
        access, access->asset_id, rpc_code_name(RPC_OK), reason, "", &why);
    if (verdicts && common && grounds.pseudonyms != 0) {
        const dacm_verdict verdict = {.valid_until = access->valid_until, .audit = common};
        dacm_verdicts_add(verdicts, &grounds, &verdict);
    }
    audit_common(access, TRUST_AUDIT_SOON, common, &why);
    trust_audit_common_unref(common);
}

/* True: the same was allowed before on this connection, nothing has changed since, and the call
 * has its answer. `dacm explain` finds it in the audit trail. */
static bool allowed_before(dacm_access *access)
{
    dacm_verdicts *verdicts = dacm_bearer_verdicts(access->service, access->call);
    if (!verdicts)
        return false;
    const dacm_grounds grounds = grounds_of(access, dacm_trust_version(access->service->trust));
    const dacm_verdict *verdict = dacm_verdicts_find(verdicts, &grounds, access->now_ms / 1000);
    if (!verdict)
        return false;
    host_counter_add(access->service->trust->decisions[TRUST_REASON_ALLOWED], 1);
    host_counter_add(access->service->trust->remembered, 1);
    access->reason = TRUST_REASON_ALLOWED;
    access->valid_until = verdict->valid_until;
    access->exists = access->noted = true;
    access->outcome.code = RPC_OK;
    access->outcome.message[0] = '\0';
    audit_common(access, TRUST_AUDIT_SOON, verdict->audit, &(rpc_status){.code = RPC_OK});
    return true;
}

static void conclude(dacm_access *access, const trust_decision *decision)
{
    const char *reason = trust_reason_name(decision->reason);
    const char *fault = access->bearer.token ? "" : access->bearer.status.message;
    bool allowed = decision->code == RPC_OK;
    host_counter_add(access->service->trust->decisions[decision->reason], 1);
    access->reason = decision->reason;
    access->valid_until = decision->valid_until;
    set_outcome(access, decision->code);
    if (allowed && access->is_again) { /* nothing has changed: nothing to tell */
        deliver(access);
        return;
    }
    explain(access, decision->code, reason, trust_reason_text(decision->reason), fault);
    if (allowed && access->remember) {
        remember(access, reason);
        return;
    }
    if (!access->bearer.token && !program_strangers_admit(&access->service->strangers,
                                     access->now_ms / 1000, &access->left_out)) {
        deliver(access);
        return;
    }
    audit(access, allowed ? TRUST_AUDIT_SOON : TRUST_AUDIT_BEFORE, access->asset_id,
        rpc_code_name(decision->code), reason, fault);
}

static trust_decision decide(dacm_access *access, const trust_asset_facts *facts)
{
    dacm_service *service = access->service;
    const rpc_peer *peer = rpc_call_peer(access->call);
    const trust_token *token = access->bearer.token;
    const trust_question question = {
        .token = token,
        .revoked = token && trust_revocations_has(service->trust->revocations, token),
        .stale = access->bearer.rule.stale && atomic_load(access->bearer.rule.stale),
        .mode = access->bearer.rule.mode,
        .binding_required = access->bearer.rule.require_binding,
        .certificate_sha256 = peer->has_certificate ? peer->certificate_sha256 : NULL,
        .action = trust_action_of(access->action),
        .about_profile = access->about_profile,
        .asset_id = access->asset_id[0] ? access->asset_id : NULL,
        .gpsi = access->gpsi,
        .now = access->now_ms / 1000,
        .facts = facts,
    };
    return trust_decide(&question);
}

static void conclude_with(dacm_access *access, const trust_asset_facts *facts)
{
    trust_decision decision = decide(access, facts);
    conclude(access, &decision);
}

static void have_facts(void *arg, const dacm_facts *facts, const rpc_status *status)
{
    dacm_access *access = arg;
    if (status->code != RPC_OK) {
        access->outcome = *dacm_store_status(access->service, "lookup of an asset", status);
        deliver(access);
        return;
    }
    access->facts = *facts;
    access->exists = facts->profile != NULL;
    const trust_asset_facts known = {
        .exists = facts->profile != NULL,
        .owner = facts->owner,
        .allowed = (facts->operations & operation_bit_of(access->action)) != 0,
    };
    conclude_with(access, &known);
}

static bool may_create(const dacm_access *access)
{
    const dacm_config *config = access->service->config;
    if (config->create != DACM_CREATE_LIST)
        return config->create == DACM_CREATE_ANY;
    for (size_t i = 0; i < config->create_user_count; i++)
        if (strcmp(config->create_users[i], access->gpsi) == 0)
            return true;
    return false;
}

static void have_token(void *arg)
{
    dacm_access *access = arg;
    access->now_ms = rpc_clock_wall_ms(access->service->clock); /* verifying may have taken long */
    if (access->bearer.status.code == RPC_RESOURCE_EXHAUSTED) {
        access->outcome = access->bearer.status;
        deliver(access);
        return;
    }
    trust_decision decision = decide(access, NULL);
    if (decision.code != RPC_OK) {
        conclude(access, &decision);
        return;
    }
    if (!access->asset_id[0]) {
        const trust_asset_facts policy = {
            .allowed = access->action != DACM_ACTION_CREATE || may_create(access)};
        conclude_with(access, &policy);
        return;
    }
    dacm_facts_get(&access->load, access->service->store, &access->executor, access->arena,
        access->asset_id, access->gpsi, have_facts, access);
}

static void begin(dacm_access *access, rpc_arena *arena, dacm_access_fn *fn, void *arg)
{
    access->arena = arena;
    access->fn = fn;
    access->arg = arg;
    access->now_ms = rpc_clock_wall_ms(access->service->clock);
    access->facts = (dacm_facts){0};
}

void dacm_access_start(dacm_access *access, rpc_arena *arena, dacm_access_fn *fn, void *arg)
{
    begin(access, arena, fn, arg);
    if (access->remember) {
        look_at_clocks(access);
        if (allowed_before(access))
            return;
    }
    dacm_bearer_get(access->service, access->call, &access->bearer, have_token, access);
}

void dacm_access_again(dacm_access *access, rpc_arena *arena, dacm_access_fn *fn, void *arg)
{
    begin(access, arena, fn, arg);
    access->is_again = true;
    if (access->bearer.version == dacm_trust_version(access->service->trust))
        have_token(access);
    else /* keys or issuers have changed: the token is judged anew */
        dacm_bearer_get(access->service, access->call, &access->bearer, have_token, access);
}

void dacm_access_expired(dacm_access *access, rpc_status *ret)
{
    rpc_status_set(ret, RPC_UNAUTHENTICATED,
        "the access token expired while the call ran; resume with a new one (request %s)",
        access->request_id);
    explain(access, ret->code, "expired", "the token expired while the call ran", "");
}

/* ---- changes, and the end ---- */

void dacm_access_record(dacm_access *access, const char *asset_id, rpc_code outcome,
    const char *what, dacm_access_fn *fn, void *arg)
{
    access->fn = fn;
    access->arg = arg;
    access->now_ms = rpc_clock_wall_ms(access->service->clock);
    access->outcome = (rpc_status){.code = RPC_OK};
    audit(access, TRUST_AUDIT_BEFORE, asset_id, rpc_code_name(outcome), what, "");
}

void dacm_access_changed(
    dacm_access *access, const char *asset_id, const char *what, dacm_access_fn *fn, void *arg)
{
    dacm_access_record(access, asset_id, RPC_OK, what, fn, arg);
}

void dacm_access_end(dacm_access *access, rpc_code code)
{
    if (access->request_id[0])
        rpc_call_add_trailer(access->call, "dacm-request-id", rpc_bytes_str(access->request_id));
    if (code == RPC_OK || code == RPC_CANCELLED)
        return;
    if (!access->noted)
        explain(access, code, "request",
            "refused before any decision; the answer's text says what is wrong with it", "");
    else if (access->reason == TRUST_REASON_ALLOWED && code != RPC_UNAUTHENTICATED)
        explain(access, code, "after the decision",
            access->why[0] ? "every step passed, then the asset was not adapted"
                           : "every step passed, then the call failed; the answer's text says why",
            access->why);
}

void dacm_access_finish(dacm_access *access, const rpc_status *status)
{
    dacm_access_end(access, status->code);
    rpc_call_finish(access->call, status->code, status->message);
}

/* ---- failures of the store ---- */

void dacm_log_store_failure(dacm_service *service, const char *doing, const rpc_status *status)
{
    HOST_LOG(service->log, HOST_ERROR, "store failed", host_text("doing", doing),
        host_text("status", rpc_code_name(status->code)), host_text("why", status->message));
}

void dacm_hide_store_failure(rpc_status *status)
{
    rpc_status_set(status, RPC_INTERNAL,
        "the store failed; the operator's log says how, and dacmd --store-check looks closer");
}

const rpc_status *dacm_store_status(
    dacm_service *service, const char *doing, const rpc_status *status)
{
    static _Thread_local rpc_status shown;
    shown = *status;
    if (status->code == RPC_DATA_LOSS || status->code == RPC_INTERNAL ||
        status->code == RPC_FAILED_PRECONDITION) {
        dacm_log_store_failure(service, doing, status);
        dacm_hide_store_failure(&shown);
    }
    return &shown;
}
