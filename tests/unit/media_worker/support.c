/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

const char *const misbehaves = DACM_MISBEHAVES;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned ended;

media_workers_options options_of_tests(void)
{
    media_workers_options options = media_workers_defaults();
    options.program = misbehaves;
    options.workers = 1;
    return options;
}

media_workers *start(const media_workers_options *options)
{
    media_workers *workers = NULL;
    rpc_status status;
    if (media_workers_start(options, &workers, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return workers;
}

int source_of(const char *text)
{
    const int source = media_source_open(NULL);
    assert_true(source >= 0);
    assert_int_equal(media_source_write(source, rpc_bytes_str(text), NULL), RPC_OK);
    assert_int_equal(media_source_seal(source, NULL), RPC_OK);
    return source;
}

static void note(void *ctx, const rpc_status *status, media_made *made)
{
    ended_job *outcome = ctx;
    pthread_mutex_lock(&lock);
    outcome->status = *status;
    outcome->made = made;
    outcome->place = ++ended;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void submit_job(media_workers *workers, const char *source, media_job job, ended_job *ret)
{
    rpc_status status;
    *ret = (ended_job){0};
    job.source = source_of(source);
    job.done = note;
    job.ctx = ret;
    uint64_t id = 0;
    if (media_workers_submit(workers, &job, &id, NULL, &status) != RPC_OK)
        fail_msg("%s", status.message);
    pthread_mutex_lock(&lock);
    ret->id = id;
    pthread_mutex_unlock(&lock);
}

void submit(media_workers *workers, const char *source, const char *share, ended_job *ret)
{
    submit_job(workers, source, (media_job){.recipe = "{}", .share = share}, ret);
}

void wait_for(ended_job *outcome)
{
    pthread_mutex_lock(&lock);
    while (outcome->place == 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

void outcome_done(ended_job *outcome)
{
    media_made_free(outcome->made);
    outcome->made = NULL;
}

void run_job(media_workers *workers, const char *source, ended_job *ret)
{
    submit(workers, source, "someone", ret);
    wait_for(ret);
}

void wait_running(media_workers *workers, unsigned count)
{
    media_workers_stats stats;
    do {
        sched_yield();
        media_workers_get_stats(workers, &stats);
    } while (stats.running != count);
}

unsigned files_in(const char *path)
{
    unsigned count = 0;
    const struct dirent *entry;
    DIR *files = opendir(path);
    while (files && (entry = readdir(files)))
        count += entry->d_name[0] != '.';
    if (files)
        closedir(files);
    return count;
}

unsigned open_files(void)
{
    return files_in("/proc/self/fd");
}

static bool is_child(const char *name, pid_t parent)
{
    char path[300], line[512];
    int is = 0;
    snprintf(path, sizeof path, "/proc/%s/stat", name);
    FILE *file = fopen(path, "re");
    if (!file)
        return false; /* gone meanwhile */
    const bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    const char *behind = read ? strrchr(line, ')') : NULL; /* a name may hold anything */
    return behind && sscanf(behind + 1, " %*c %d", &is) == 1 && is == parent;
}

static unsigned look_for_children(pid_t parent, pid_t *ret_first)
{
    unsigned count = 0;
    DIR *processes = opendir("/proc");
    const struct dirent *entry;
    assert_non_null(processes);
    *ret_first = 0;
    while ((entry = readdir(processes)))
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && is_child(entry->d_name, parent) &&
            count++ == 0)
            *ret_first = (pid_t)strtol(entry->d_name, NULL, 10);
    closedir(processes);
    return count;
}

unsigned children_of(pid_t pid)
{
    pid_t first = 0;
    return look_for_children(pid, &first);
}

pid_t child_of(pid_t pid)
{
    pid_t first = 0;
    look_for_children(pid, &first);
    return first;
}

void wait_gone(int pidfd)
{
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    assert_true(pidfd >= 0);
    assert_int_equal(poll(&gone, 1, -1), 1);
    close(pidfd);
}
