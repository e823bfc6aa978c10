/* SPDX-License-Identifier: Apache-2.0 */
#include "skms.h"

#define SIGN_QUEUE_MAX 65536u

static bool is_own(const dacm_service *service, const char *val_service)
{
    return strcmp(val_service, service->config->resource) == 0;
}

static bool acceptable(
    void *ctx, const char *val_service, const trust_keyring *ring, rpc_status *reterr)
{
    const dacm_service *service = ctx;
    return (is_own(service, val_service)
                   ? dacm_trust_judge_own(service->trust, ring, reterr)
                   : dacm_trust_judge_keys(service->trust, ring, reterr)) == RPC_OK;
}

/* A token that runs under a key that is gone is judged anew. */
static void take_issuers_keys(const dacm_service *service)
{
    if (!dacm_trust_renew_keys(service->trust))
        HOST_LOG(service->log, HOST_ERROR, "no memory for an issuer's new keys; the old ones stay");
    dacm_running_recheck(service->running, NULL);
}

static void changed(void *ctx, const char *val_service)
{
    const dacm_service *service = ctx;
    if (is_own(service, val_service))
        dacm_trust_take_keys(service->trust, skmc_keys_now(service->trust->skms));
    else
        take_issuers_keys(service);
}

static rpc_code watch_issuers(dacm_trust *trust, const host_values *settings, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < host_list_count(settings, "issuers"); i++) {
        const host_values *entry = host_map_list(settings, "issuers", i);
        if (issuers_watched(entry))
            code = skmc_watch(trust->skms, host_string(entry, "issuer"), TRUST_FOR_TOKENS, reterr);
    }
    return code;
}

static rpc_code open_client(dacm_service *service, const host_values *settings,
    host_metrics *metrics, host_health *health, rpc_status *reterr)
{
    dacm_trust *trust = service->trust;
    const skmc_options options = {.runtime = service->runtime,
        .settings = settings,
        .clock = service->clock,
        .log = service->log,
        .metrics = metrics,
        .health = health,
        .val_service = trust->from_skms ? service->config->resource : NULL,
        .purpose = TRUST_FOR_MANIFESTS,
        .acceptable = acceptable,
        .changed = changed,
        .next_version = issuers_next_version,
        .ctx = service};
    rpc_code code = skmc_open(&options, &trust->skms, reterr);
    if (code == RPC_OK)
        code = watch_issuers(trust, settings, reterr);
    return code == RPC_OK ? skmc_start(trust->skms, reterr) : code;
}

rpc_code dacm_skms_open(dacm_service *service, const host_values *settings, host_metrics *metrics,
    host_health *health, rpc_status *reterr)
{
    if (!skmc_configured(settings))
        return RPC_OK;
    const rpc_code code = rpc_pool_new(service->runtime, "sign",
        (unsigned)host_int(settings, "threads.sign"), SIGN_QUEUE_MAX, &service->sign_pool, reterr);
    return code == RPC_OK ? open_client(service, settings, metrics, health, reterr) : code;
}

rpc_code dacm_skms_judge_reload(
    const dacm_service *service, const host_values *settings, rpc_status *reterr)
{
    for (size_t i = 0; i < host_list_count(settings, "issuers"); i++) {
        const host_values *entry = host_map_list(settings, "issuers", i);
        const char *issuer = host_string(entry, "issuer");
        if (issuers_watched(entry) &&
            !(service->trust->skms && skmc_watches(service->trust->skms, issuer)))
            return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                "'issuers[%zu].jwks_skms': is new; restart to watch the key set of '%.200s'", i,
                issuer);
    }
    return RPC_OK;
}

rpc_code dacm_skms_reload(dacm_service *service, const host_values *settings, rpc_status *reterr)
{
    skmc *skms = service->trust->skms;
    /* settings without it, or with a first one, are for the next start */
    return skms && skmc_configured(settings) ? skmc_reload(skms, settings, reterr) : RPC_OK;
}

void dacm_skms_judge(dacm_service *service)
{
    if (service->trust->skms)
        skmc_judge(service->trust->skms);
}

void dacm_skms_close(dacm_service *service)
{
    rpc_pool_free(service->sign_pool); /* its jobs ask the SKM-S */
    skmc_close(service->trust->skms);
}
