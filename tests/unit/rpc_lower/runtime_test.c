/* SPDX-License-Identifier: Apache-2.0 */
/* Strands, timers and pools. */
#include "test.h"

#include "strand.h"

#include <pthread.h>
#include <semaphore.h>

#define POSTERS    4
#define POSTS_EACH 2000
#define TIMERS     500

static rpc_runtime *new_runtime(void)
{
    rpc_runtime *runtime = NULL;
    rpc_runtime_options options = {.threads = 3};
    assert_int_equal(rpc_runtime_new(&options, &runtime, NULL), RPC_OK);
    return runtime;
}

static void post_sem(void *arg)
{
    sem_post(arg);
}

struct crowd {
    rpc__strand strand;
    atomic_int inside; /* how many tasks run at once */
    unsigned next[POSTERS];
    unsigned ran;
    bool overlapped, disordered;
    sem_t all_ran;
};

struct crowd_task {
    rpc__task task;
    struct crowd *crowd;
    unsigned poster, number;
};

struct poster {
    struct crowd *crowd;
    unsigned index;
    struct crowd_task tasks[POSTS_EACH];
};

static void run_crowd_task(void *arg)
{
    struct crowd_task *task = arg;
    struct crowd *crowd = task->crowd;
    if (atomic_fetch_add(&crowd->inside, 1) || rpc__strand_current() != &crowd->strand)
        crowd->overlapped = true;
    if (crowd->next[task->poster]++ != task->number)
        crowd->disordered = true;
    atomic_fetch_sub(&crowd->inside, 1);
    if (++crowd->ran == POSTERS * POSTS_EACH)
        sem_post(&crowd->all_ran);
}

static void *post_many(void *arg)
{
    struct poster *poster = arg;
    for (unsigned i = 0; i < POSTS_EACH; i++) {
        struct crowd_task *task = &poster->tasks[i];
        task->crowd = poster->crowd;
        task->poster = poster->index;
        task->number = i;
        rpc__task_init(&task->task, run_crowd_task, task);
        if (i % 3)
            rpc__strand_post(&poster->crowd->strand, &task->task);
        else
            rpc__strand_run(&poster->crowd->strand, &task->task);
    }
    return NULL;
}

TEST(strand_runs_each_posters_tasks_in_order_and_never_two_at_once)
{
    rpc_runtime *runtime = new_runtime();
    struct crowd *crowd = calloc(1, sizeof *crowd);
    struct poster *posters = calloc(POSTERS, sizeof *posters);
    rpc__strand_init(&crowd->strand, runtime);
    sem_init(&crowd->all_ran, 0, 0);
    pthread_t threads[POSTERS];
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i].crowd = crowd;
        posters[i].index = i;
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    sem_wait(&crowd->all_ran);
    rpc_runtime_free(runtime);
    assert_false(crowd->overlapped);
    assert_false(crowd->disordered);
    assert_int_equal(crowd->ran, POSTERS * POSTS_EACH);
    sem_destroy(&crowd->all_ran);
    free(posters);
    free(crowd);
}

static void note_thread(void *arg)
{
    *(pthread_t *)arg = pthread_self();
}

TEST(idle_strand_runs_in_place)
{
    rpc_runtime *runtime = new_runtime();
    rpc__strand strand;
    rpc__strand_init(&strand, runtime);
    pthread_t ran_on = 0;
    rpc__task task;
    rpc__task_init(&task, note_thread, &ran_on);
    rpc__strand_run(&strand, &task);
    assert_true(pthread_equal(ran_on, pthread_self()));
    assert_null(rpc__strand_current());
    rpc__strand_done(&strand);
    rpc_runtime_free(runtime);
}

struct owner {
    rpc__strand strand;
    rpc__task last;
    sem_t *freed;
};

static void free_owner(void *arg)
{
    struct owner *owner = arg;
    sem_t *freed = owner->freed;
    rpc__strand_done(&owner->strand);
    free(owner);
    sem_post(freed);
}

TEST(last_task_of_a_strand_may_free_it)
{
    rpc_runtime *runtime = new_runtime();
    sem_t freed;
    sem_init(&freed, 0, 0);
    struct owner *owner = calloc(1, sizeof *owner);
    owner->freed = &freed;
    rpc__strand_init(&owner->strand, runtime);
    rpc__task_init(&owner->last, free_owner, owner);
    rpc__strand_post(&owner->strand, &owner->last);
    sem_wait(&freed);
    rpc_runtime_free(runtime);
    sem_destroy(&freed);
}

static void count_run(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

TEST(timer_cancel_says_true_exactly_when_the_timer_never_runs)
{
    rpc_runtime *runtime = new_runtime();
    static atomic_uint ran[TIMERS];
    bool never[TIMERS];
    rpc_timer *timers[TIMERS];
    for (unsigned i = 0; i < TIMERS; i++)
        assert_int_equal(rpc_timer_start(runtime, i % 3, count_run, &ran[i], &timers[i]), RPC_OK);
    for (unsigned i = 0; i < TIMERS; i++)
        never[i] = rpc_timer_cancel(timers[i]);
    rpc_runtime_free(runtime);
    for (unsigned i = 0; i < TIMERS; i++)
        assert_int_equal(atomic_load(&ran[i]), never[i] ? 0 : 1);
}

/* The thread sleeps until the first is due, which is gone by then; it must not sleep on until the
 * last. */
TEST(timer_runs_that_follows_a_cancelled_one)
{
    rpc_runtime *runtime = new_runtime();
    sem_t ran;
    sem_init(&ran, 0, 0);
    static atomic_uint gone_ran;
    rpc_timer *far = NULL, *gone = NULL, *timer = NULL;
    assert_int_equal(rpc_timer_start(runtime, 3600000, post_sem, &ran, &far), RPC_OK);
    assert_int_equal(rpc_timer_start(runtime, 20, count_run, &gone_ran, &gone), RPC_OK);
    assert_int_equal(rpc_timer_start(runtime, 40, post_sem, &ran, &timer), RPC_OK);
    (void)rpc_timer_cancel(gone);
    sem_wait(&ran);
    assert_false(rpc_timer_cancel(timer));
    assert_true(rpc_timer_cancel(far));
    sem_destroy(&ran);
    rpc_runtime_free(runtime);
}

TEST(due_timer_runs)
{
    rpc_runtime *runtime = new_runtime();
    sem_t ran;
    sem_init(&ran, 0, 0);
    rpc_timer *timer = NULL;
    assert_int_equal(rpc_timer_start(runtime, 1, post_sem, &ran, &timer), RPC_OK);
    sem_wait(&ran);
    assert_false(rpc_timer_cancel(timer));
    rpc_runtime_free(runtime);
    sem_destroy(&ran);
}

struct gate {
    sem_t entered, leave;
};

static void hold_gate(void *arg)
{
    struct gate *gate = arg;
    sem_post(&gate->entered);
    sem_wait(&gate->leave);
}

TEST(full_pool_refuses_and_free_runs_what_is_queued)
{
    rpc_runtime *runtime = new_runtime();
    rpc_pool *pool = NULL;
    assert_int_equal(rpc_pool_new(runtime, "test", 1, 2, &pool, NULL), RPC_OK);
    struct gate gate;
    sem_init(&gate.entered, 0, 0);
    sem_init(&gate.leave, 0, 0);
    atomic_uint ran = 0;
    assert_int_equal(rpc_pool_submit(pool, hold_gate, &gate), RPC_OK);
    sem_wait(&gate.entered);
    assert_int_equal(rpc_pool_submit(pool, count_run, &ran), RPC_OK);
    assert_int_equal(rpc_pool_submit(pool, count_run, &ran), RPC_OK);
    assert_int_equal(rpc_pool_submit(pool, count_run, &ran), RPC_RESOURCE_EXHAUSTED);
    sem_post(&gate.leave);
    rpc_pool_free(pool);
    assert_int_equal(atomic_load(&ran), 2);
    rpc_runtime_free(runtime);
    sem_destroy(&gate.entered);
    sem_destroy(&gate.leave);
}

TEST(pool_without_threads_or_queue_is_refused)
{
    rpc_runtime *runtime = new_runtime();
    rpc_pool *pool = NULL;
    assert_int_equal(rpc_pool_new(runtime, "test", 0, 1, &pool, NULL), RPC_INVALID_ARGUMENT);
    assert_int_equal(rpc_pool_new(runtime, "test", 1, 0, &pool, NULL), RPC_INVALID_ARGUMENT);
    assert_int_equal(rpc_pool_new(runtime, "test", 1, 1000001, &pool, NULL), RPC_INVALID_ARGUMENT);
    assert_null(pool);
    rpc_runtime_free(runtime);
}
