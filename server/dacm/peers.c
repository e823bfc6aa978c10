/* SPDX-License-Identifier: Apache-2.0 */
#include "peers.h"

#include "program.h"
#include "sims.h"

#include <string.h>

static bool holds(const char *const *names, const char *wanted)
{
    for (; names && *names; names++)
        if (strcmp(*names, wanted) == 0)
            return true;
    return false;
}

static bool certified(const rpc_peer *peer, const char *san)
{
    return peer->has_certificate && (holds(peer->dns_names, san) || holds(peer->uri_names, san));
}

bool dacm_caller_is_sims(dacm_service *service, const rpc_call *call, bool *ret_full_list)
{
    const rpc_peer *peer = rpc_call_peer(call);
    issuers_set *issuers = dacm_trust_issuers(service->trust);
    const dacm_sims *sims = dacm_sims_of(issuers);
    bool found = false;
    for (size_t i = 0; i < sims->count && !found; i++) {
        found = certified(peer, sims->list[i].san);
        *ret_full_list = found && sims->list[i].full_list;
    }
    issuers_unref(issuers);
    return found;
}

bool dacm_caller_issuer(dacm_service *service, const rpc_call *call, char *ret_issuer, size_t room)
{
    const rpc_peer *peer = rpc_call_peer(call);
    issuers_set *issuers = dacm_trust_issuers(service->trust);
    const dacm_sims *sims = dacm_sims_of(issuers);
    const char *found = NULL;
    bool one = true;
    for (size_t i = 0; i < sims->count; i++) {
        if (!certified(peer, sims->list[i].san))
            continue;
        one = one && (!found || strcmp(found, sims->list[i].issuer) == 0);
        found = sims->list[i].issuer;
    }
    one = one && found && rpc_text_copy(ret_issuer, room, found);
    issuers_unref(issuers);
    return one;
}

bool dacm_caller_is_operator(const dacm_service *service, const rpc_call *call)
{
    const dacm_config *config = service->config;
    const rpc_peer *peer = rpc_call_peer(call);
    if (peer->has_uid)
        return program_admin_caller(call, config->admin_uids, config->admin_uid_count);
    for (size_t i = 0; i < config->admin_san_count; i++)
        if (certified(peer, config->admin_sans[i]))
            return true;
    return false;
}

static void refused(void *arg, const rpc_status *status)
{
    unary *u = arg;
    rpc_status denied;
    rpc_status_set(&denied, RPC_PERMISSION_DENIED,
        "this method is not for you; the operator can look up request %s", u->access.request_id);
    unary_fail(u, status->code == RPC_OK ? &denied : status);
}

void dacm_refuse_peer(unary *u, const char *what)
{
    dacm_access_record(&u->access, "", RPC_PERMISSION_DENIED, what, refused, u);
}
