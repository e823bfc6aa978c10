/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs that hostile files are parsed in processes of their own: inspections of a file with
 * one node, one after the other, from the asking to the answer. One JSON object.
 *
 *   media_jobs PROGRAM COUNT      PROGRAM: dacm-media */
#include "media_worker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_TEXT "{\"asset\":{\"version\":\"2.0\"},\"nodes\":[{\"name\":\"n\"}]}"
#define WARM      50

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool ended;

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "media_jobs: %s\n", what);
    exit(1);
}

static void note(void *ctx, const rpc_status *status, media_made *made)
{
    int64_t *cpu_us = ctx;
    must(status->code == RPC_OK, status->message);
    pthread_mutex_lock(&lock);
    *cpu_us += made->cpu_us;
    ended = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    media_made_free(made);
}

static void run_one(media_workers *workers, int64_t *cpu_us)
{
    rpc_status status = {.code = RPC_OK};
    const media_job job = {
        .source = media_source_open(&status), .share = "bench", .done = note, .ctx = cpu_us};
    ended = false;
    must(job.source >= 0 &&
             media_source_write(job.source, rpc_bytes_str(FILE_TEXT), &status) == RPC_OK &&
             media_source_seal(job.source, &status) == RPC_OK &&
             media_workers_submit(workers, &job, NULL, NULL, &status) == RPC_OK,
        status.message);
    pthread_mutex_lock(&lock);
    while (!ended)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
    must(argc == 3, "takes a program and a count");
    const long count = strtol(argv[2], NULL, 10);
    must(count > 0, "takes a program and a count above 0");
    const rpc_clock *clock = rpc_clock_system();
    media_workers *workers = NULL;
    rpc_status status = {.code = RPC_OK};
    int64_t cpu_us = 0;
    media_workers_options options = media_workers_defaults();
    options.program = argv[1];
    must(media_workers_start(&options, &workers, &status) == RPC_OK, status.message);
    for (int i = 0; i < WARM; i++)
        run_one(workers, &cpu_us);
    cpu_us = 0;
    const int64_t begin = rpc_clock_monotonic_us(clock);
    for (long i = 0; i < count; i++)
        run_one(workers, &cpu_us);
    const double us = (double)(rpc_clock_monotonic_us(clock) - begin);
    printf("{\"us_per_job\": %.1f, \"child_cpu_us\": %.1f}\n", us / (double)count,
        (double)cpu_us / (double)count);
    media_workers_stop(workers);
    return 0;
}
