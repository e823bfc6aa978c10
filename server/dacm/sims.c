/* SPDX-License-Identifier: Apache-2.0 */
#include "sims.h"

#include "settings.h"

static rpc_code check_namespaces(const host_values *entry, size_t index, rpc_status *reterr)
{
    const char *const *list = host_string_list(entry, "gpsi_namespaces");
    for (size_t i = 0; i < host_list_count(entry, "gpsi_namespaces"); i++)
        if (!trust_gpsi_namespace_valid(list[i]))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'issuers[%zu].gpsi_namespaces': '%.64s' is no pattern; write msisdn-DIGITS, "
                "extid- or extid-*@domain",
                index, list[i]);
    return RPC_OK;
}

rpc_code dacm_issuers_check(const host_values *settings, rpc_status *reterr)
{
    rpc_code code = issuers_check(settings, reterr);
    for (size_t i = 0; code == RPC_OK && i < host_list_count(settings, "issuers"); i++)
        code = check_namespaces(host_map_list(settings, "issuers", i), i, reterr);
    return code;
}

static rpc_code read_entry(const host_values *entry, size_t index, rpc_arena *arena,
    trust_issuer *issuer, issuers_rule *rule, rpc_status *reterr)
{
    const bool reports = host_enum(entry, "revocations") == DACM_REVOCATIONS_REPORT;
    issuer->gpsi_claim = issuers_copy_text(arena, entry, "gpsi_claim");
    issuer->profile_claim = issuers_copy_text(arena, entry, "profile_claim");
    issuer->gpsi_namespaces = issuers_copy_list(arena, entry, "gpsi_namespaces");
    issuer->may_delegate = host_bool(entry, "may_delegate");
    rule->mode = (trust_mode)host_enum(entry, "mode");
    rule->require_binding = host_bool(entry, "require_binding");
    rule->max_staleness_s = reports ? host_int(entry, "max_staleness_s") : 0;
    return check_namespaces(entry, index, reterr);
}

static const dacm_sims *read_sims(const host_values *settings, rpc_arena *arena)
{
    dacm_sims *sims = rpc_arena_alloc(arena, sizeof *sims);
    const size_t count = host_list_count(settings, "peers.sims");
    if (!sims || !(sims->list = rpc_arena_alloc(arena, (count + 1) * sizeof *sims->list)))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const host_values *entry = host_map_list(settings, "peers.sims", i);
        sims->list[i] = (dacm_sim){.san = issuers_copy_text(arena, entry, "san"),
            .issuer = issuers_copy_text(arena, entry, "issuer"),
            .full_list = host_bool(entry, "full_list")};
    }
    sims->count = count;
    return rpc_arena_exhausted(arena) ? NULL : sims;
}

rpc_code dacm_issuers_load(
    const host_values *settings, const char *audience, issuers_set **ret, rpc_status *reterr)
{
    issuers_set *set = NULL;
    const rpc_code code = issuers_load(settings, audience, read_entry, &set, reterr);
    if (code != RPC_OK)
        return code;
    set->extra = read_sims(settings, set->arena);
    if (!set->extra) {
        issuers_unref(set);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the peers");
    }
    *ret = set;
    return RPC_OK;
}

const dacm_sims *dacm_sims_of(const issuers_set *issuers)
{
    return issuers->extra;
}
