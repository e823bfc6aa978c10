/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile adaptations without end, for what else runs on the machine: keeps JOBS of them in a pool
 * with the limits of a server, each replaced when it ends. Says "standing" when they run; at the
 * end of its input it tells how they ended, as one JSON object.
 *
 *   media_siege PROGRAM JOBS      PROGRAM: media-misbehaves, whose sources say what to do */
#include "media_worker.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define JOBS_MAX    1000
#define DEADLINE_MS 1000 /* so that loops are followed by others within a measurement */

static media_workers *workers;
static atomic_bool leaving;
static atomic_uint next_kind;

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "media_siege: %s\n", what);
    exit(1);
}

static void add_one(void);

static void note(void *ctx, const rpc_status *status, media_made *made)
{
    (void)ctx;
    must(status->code != RPC_OK && !made, "a hostile job was served");
    if (!leaving)
        add_one();
}

static void add_one(void)
{
    static const char *const kinds[] = {
        "loop", "bomb", "segfault", "flood", "garbage", "loop", "bomb", "overflow"};
    const char *kind = kinds[next_kind++ % (sizeof kinds / sizeof *kinds)];
    rpc_status status = {.code = RPC_OK};
    const media_job job = {
        .source = media_source_open(&status), .share = "attacker", .recipe = "{}", .done = note};
    must(job.source >= 0 &&
             media_source_write(job.source, rpc_bytes_str(kind), &status) == RPC_OK &&
             media_source_seal(job.source, &status) == RPC_OK &&
             media_workers_submit(workers, &job, NULL, NULL, &status) == RPC_OK,
        status.message);
}

static void tell(void)
{
    media_workers_stats stats;
    uint64_t sum = 0;
    media_workers_get_stats(workers, &stats);
    for (int code = 0; code <= RPC_UNAUTHENTICATED; code++)
        sum += stats.ended[code];
    printf(
        "{\"jobs\": %llu, \"crashed_or_lied\": %llu, \"cost_too_much\": %llu, \"cpu_s\": %.1f}\n",
        (unsigned long long)sum, (unsigned long long)stats.ended[RPC_INTERNAL],
        (unsigned long long)stats.ended[RPC_RESOURCE_EXHAUSTED], (double)stats.cpu_us / 1e6);
}

int main(int argc, char **argv)
{
    char byte = 0;
    must(argc == 3, "takes a program and a number of jobs");
    const long jobs = strtol(argv[2], NULL, 10);
    must(jobs > 0 && jobs <= JOBS_MAX, "takes a program and 1 to 1000 jobs");
    rpc_status status = {.code = RPC_OK};
    media_workers_options options = media_workers_defaults();
    options.program = argv[1];
    options.queue_length = options.share_jobs = JOBS_MAX + 1;
    options.share_running = options.workers;
    options.deadline_ms = DEADLINE_MS;
    must(media_workers_start(&options, &workers, &status) == RPC_OK, status.message);
    for (long i = 0; i < jobs; i++)
        add_one();
    puts("standing");
    fflush(stdout);
    must(read(STDIN_FILENO, &byte, 1) >= 0, "cannot wait for the end of the input");
    leaving = true;
    tell();
    media_workers_stop(workers);
    return 0;
}
