/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the product's heart. Read it top to bottom; the order is the contract. */
#include "trust.h"

#include <string.h>

#define SCOPE "seal.da"

static const struct {
    const char *name, *text;
} reasons[TRUST_REASONS] = {
    [TRUST_REASON_ALLOWED] = {"allowed", "every step passed"},
    [TRUST_REASON_TOKEN] = {"token",
        "the token is missing, not genuine or not fresh; the log has the exact fault"},
    [TRUST_REASON_REVOKED] = {"revoked", "the token or its subject was revoked"},
    [TRUST_REASON_STALE] = {"stale",
        "the token's issuer must report revocations (issuers[].revocations), and its SIM-S was not "
        "heard for longer than max_staleness_s: look at its stream, TokenStatus.Report"},
    [TRUST_REASON_BINDING] = {"binding",
        "the token is bound to another client certificate, or must be bound and is not"},
    [TRUST_REASON_SCOPE] = {"scope", "the token's scope lacks seal.da"},
    [TRUST_REASON_ASSET] = {"asset",
        "authorization_details of the token do not name the asset of the request"},
    [TRUST_REASON_ACTION] = {"action",
        "authorization_details of the token do not name the action of the request"},
    [TRUST_REASON_PROFILE_CLAIM] = {"digital_profile",
        "Digital_profile of the token does not contain the user of the request"},
    [TRUST_REASON_HOLDER] = {"holder",
        "the user of the request is neither a GPSI of the token's holder nor one that the VAL "
        "server may act for"},
    [TRUST_REASON_LIST] = {"list",
        "the asset's own list does not allow the user this operation; `dacm allow` does"},
    [TRUST_REASON_MISSING] = {"missing", "there is no asset of that ID"},
    [TRUST_REASON_NOT_FOUND] = {"not_found",
        "there is no asset of that ID; the caller passed every other step and was told so"},
};

const char *trust_reason_name(trust_reason reason)
{
    return (unsigned)reason < TRUST_REASONS ? reasons[reason].name : "unknown";
}

const char *trust_reason_text(trust_reason reason)
{
    return (unsigned)reason < TRUST_REASONS ? reasons[reason].text : "";
}

static bool fresh(const trust_question *q)
{
    return q->now <= q->token->expires_at + TRUST_SKEW_S;
}

static bool bound_as_it_must(const trust_question *q)
{
    if (!q->token->bound)
        return !q->binding_required;
    return q->certificate_sha256 &&
           memcmp(q->certificate_sha256, q->token->certificate_sha256, 32) == 0;
}

/* What solution #6 is about; the rest is about profiles (docs/wire.md, "Methods"). */
static bool asks_for_media(const trust_question *q)
{
    return q->action == TRUST_ACTION_GET && !q->about_profile;
}

/* The letter of the text is about media: it lets nobody read or change what others own. */
static bool literally(const trust_question *q)
{
    return q->mode == TRUST_MODE_LITERAL && asks_for_media(q);
}

/* create and discovery name no asset, and a token for one asset is no token for them. */
static bool names_asset(const trust_question *q)
{
    if (!q->asset_id)
        return q->token->asset_id == NULL;
    return q->token->asset_id && strcmp(q->token->asset_id, q->asset_id) == 0;
}

/* Rel-19 needs no asset claim, but one that is there binds. */
static bool asset_step_passes(const trust_question *q)
{
    if (literally(q))
        return true;
    if (q->mode == TRUST_MODE_PROFILE && q->token->actions == 0)
        return true;
    return names_asset(q);
}

static bool action_step_passes(const trust_question *q)
{
    if (literally(q) || (q->mode == TRUST_MODE_PROFILE && q->token->actions == 0))
        return true;
    return (q->token->actions & (unsigned)q->action) != 0;
}

/* The list says who may use the media; a profile is the business of its owners and own list. */
static bool profile_claim_passes(const trust_question *q)
{
    if (!asks_for_media(q))
        return true;
    if (q->mode == TRUST_MODE_PROFILE && !q->token->has_profile)
        return true;
    return q->token->has_profile && trust_users_contain(&q->token->profile, q->gpsi);
}

/* Both or neither of gpsi and users: nobody's token. */
static bool holder_step_passes(const trust_question *q)
{
    if (literally(q))
        return true;
    if (q->token->has_gpsis == q->token->has_users)
        return false;
    return trust_users_contain(q->token->has_users ? &q->token->users : &q->token->gpsis, q->gpsi);
}

static trust_decision refuse(rpc_code code, trust_reason reason)
{
    return (trust_decision){.code = code, .reason = reason};
}

static trust_decision judge_facts(const trust_question *q, trust_decision decision)
{
    bool listless = q->mode == TRUST_MODE_TOKEN || q->mode == TRUST_MODE_LITERAL;
    if (!q->asset_id) /* no asset to look at: the policy of creation, or one's own assets */
        return q->action == TRUST_ACTION_DISCOVERY || q->facts->allowed
                   ? decision
                   : refuse(RPC_PERMISSION_DENIED, TRUST_REASON_LIST);
    if (listless && asks_for_media(q))
        return q->facts->exists ? decision : refuse(RPC_NOT_FOUND, TRUST_REASON_NOT_FOUND);
    if (!q->facts->exists)
        return refuse(RPC_PERMISSION_DENIED, TRUST_REASON_MISSING);
    if (!q->facts->owner && !q->facts->allowed)
        return refuse(RPC_PERMISSION_DENIED, TRUST_REASON_LIST);
    return decision;
}

trust_decision trust_decide(const trust_question *q)
{
    if (!q->token || !fresh(q))
        return refuse(RPC_UNAUTHENTICATED, TRUST_REASON_TOKEN);
    if (q->revoked)
        return refuse(RPC_UNAUTHENTICATED, TRUST_REASON_REVOKED);
    if (q->stale)
        return refuse(RPC_UNAVAILABLE, TRUST_REASON_STALE);
    if (!bound_as_it_must(q))
        return refuse(RPC_UNAUTHENTICATED, TRUST_REASON_BINDING);
    if (!literally(q) && !trust_token_has_scope(q->token, SCOPE))
        return refuse(RPC_PERMISSION_DENIED, TRUST_REASON_SCOPE);
    if (!asset_step_passes(q))
        return refuse(RPC_PERMISSION_DENIED, TRUST_REASON_ASSET);
    if (!action_step_passes(q))
        return refuse(RPC_PERMISSION_DENIED, TRUST_REASON_ACTION);
    if (!profile_claim_passes(q))
        return refuse(RPC_PERMISSION_DENIED, TRUST_REASON_PROFILE_CLAIM);
    if (!holder_step_passes(q))
        return refuse(RPC_PERMISSION_DENIED, TRUST_REASON_HOLDER);
    trust_decision decision = {.code = RPC_OK,
        .reason = TRUST_REASON_ALLOWED,
        .pending = q->facts == NULL,
        .valid_until = q->token->expires_at + TRUST_SKEW_S};
    return q->facts ? judge_facts(q, decision) : decision;
}
