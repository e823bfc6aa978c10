/* SPDX-License-Identifier: Apache-2.0 */
/** Pools of workers that misbehave, and what became of their jobs. */
#ifndef DACM_MEDIA_TEST_SUPPORT_H
#define DACM_MEDIA_TEST_SUPPORT_H

#include "media_worker.h"
#include "test.h"

#include <sys/types.h>

/** Path of media-misbehaves. */
extern const char *const misbehaves;

/** Defaults with one worker and media-misbehaves. */
media_workers_options options_of_tests(void);
media_workers *start(const media_workers_options *options);

/** A sealed source. */
int source_of(const char *text);

typedef struct ended_job {
    rpc_status status;
    media_made *made;
    unsigned place; /* the how-manieth that ended in this program, from 1; 0: it has not */
    uint64_t id;
} ended_job;

/** Fails the test where the job is not taken. */
void submit(media_workers *workers, const char *source, const char *share, ended_job *ret);
void submit_job(media_workers *workers, const char *source, media_job job, ended_job *ret);
/** Waits for its end. */
void wait_for(ended_job *outcome);
void outcome_done(ended_job *outcome);
/** One job from beginning to end, with the recipe {}. */
void run_job(media_workers *workers, const char *source, ended_job *ret);
/** Waits until so many jobs run. */
void wait_running(media_workers *workers, unsigned count);

/** How many files a folder has; 0: it cannot be read. */
unsigned files_in(const char *path);
/** How many descriptors this process has, and processes whose parent is pid. */
unsigned open_files(void);
unsigned children_of(pid_t pid);
/** The first of them; 0: there is none. */
pid_t child_of(pid_t pid);
/** Waits until no process has that number any more; pidfd is of it, and closed. */
void wait_gone(int pidfd);

#endif
