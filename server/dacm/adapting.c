/* SPDX-License-Identifier: Apache-2.0 */
#include "adapting.h"

#include "beside.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static rpc_code media_program(const host_values *v, char ret[4096], rpc_status *reterr)
{
    const char *path = host_string(v, "media.program");
    if (path[0] ? !rpc_text_copy(ret, 4096, path) : !rpc_path_beside("dacm-media", ret, 4096))
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "'media.program': cannot find this program's own folder; say where dacm-media is");
    return RPC_OK;
}

rpc_code dacm_adapting_check(const host_values *v, rpc_status *reterr)
{
    char path[4096];
    if (!host_bool(v, "media.adapt"))
        return RPC_OK;
    const rpc_code code = media_program(v, path, reterr);
    if (code != RPC_OK || access(path, X_OK) == 0)
        return code;
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "'media.program': cannot run '%.200s': %s; it is installed beside dacmd (media.adapt: "
        "false serves originals only)",
        path, strerror(errno));
}

rpc_code dacm_adapting_open(
    dacm_service *service, const host_values *v, host_metrics *metrics, rpc_status *reterr)
{
    char path[4096];
    if (!host_bool(v, "media.adapt"))
        return RPC_OK;
    if (media_program(v, path, reterr) != RPC_OK)
        return reterr->code;
    dacm_adaptations_links links = {.store = service->store,
        .variants = service->variants,
        .runtime = service->runtime,
        .log = service->log,
        .metrics = metrics,
        .clock = service->clock,
        .workers = media_workers_defaults(),
        .threads = (unsigned)host_int(v, "threads.media")};
    links.workers.program = path;
    if (host_int(v, "media.workers") > 0)
        links.workers.workers = (unsigned)host_int(v, "media.workers");
    links.workers.queue_length = (unsigned)host_int(v, "media.queue");
    links.workers.share_jobs = (unsigned)host_int(v, "media.jobs_per_user");
    links.workers.deadline_ms = (uint32_t)host_int(v, "media.deadline_ms");
    links.workers.memory_bytes = (uint64_t)host_int(v, "media.memory_bytes");
    links.workers.source_bytes_max = (uint64_t)host_int(v, "media.source_bytes_max");
    rpc_status why;
    const rpc_code code = dacm_adaptations_start(&links, &service->adaptations, &why);
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code,
                                "%.400s (media.adapt: false serves originals only)", why.message);
}
