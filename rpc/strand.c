/* SPDX-License-Identifier: Apache-2.0 */
/* Strands without locks.
 *
 * inbox is a stack that any thread pushes to; NULL means idle, RUNNING at its bottom means that
 * some thread is, or is about to be, inside drain(). The thread whose push found it idle
 * schedules the strand, and nobody else touches the strand after a push: that is why its last
 * task may free it. The running thread takes the whole stack, turns it round into ready and
 * works through that. */
#include "strand.h"

#include <assert.h>

#define TASKS_AT_ONCE 64 /* then the other strands get their turn */

static rpc__task running_mark;
#define RUNNING (&running_mark)

/* What a thread is running; tells drain() that a task has ended its own strand. */
struct frame {
    rpc__strand *strand;
    bool gone;
    struct frame *outer;
};

static _Thread_local struct frame *current_frame;

rpc__strand *rpc__strand_current(void)
{
    return current_frame ? current_frame->strand : NULL;
}

/* True when the strand was idle, so that the caller has to see to its running. */
static bool push(rpc__strand *strand, rpc__task *task)
{
    rpc__task *top = atomic_load_explicit(&strand->inbox, memory_order_relaxed);
    do {
        task->next = top ? top : RUNNING;
    } while (!atomic_compare_exchange_weak_explicit(
        &strand->inbox, &top, task, memory_order_acq_rel, memory_order_relaxed));
    return !top;
}

/* Moves what was pushed to ready, oldest first; false when there was nothing and the strand is
 * now idle. */
static bool take_pushed(rpc__strand *strand)
{
    rpc__task *top = RUNNING;
    if (atomic_compare_exchange_strong_explicit(
            &strand->inbox, &top, NULL, memory_order_acq_rel, memory_order_acquire))
        return false;
    top = atomic_exchange_explicit(&strand->inbox, RUNNING, memory_order_acq_rel);
    rpc__task *oldest = NULL;
    while (top != RUNNING) {
        rpc__task *next = top->next;
        top->next = oldest;
        oldest = top;
        top = next;
    }
    strand->ready = oldest;
    return true;
}

/* Only by the thread that owns the RUNNING state. */
static void drain(rpc__strand *strand)
{
    struct frame frame = {strand, false, current_frame};
    current_frame = &frame;
    for (unsigned done = 0; !frame.gone; done++) {
        if (!strand->ready && !take_pushed(strand))
            break;
        if (done == TASKS_AT_ONCE) {
            rpc__runtime_post(strand->runtime, &strand->drain);
            break;
        }
        rpc__task *task = strand->ready;
        strand->ready = task->next;
        task->fn(task->arg);
    }
    current_frame = frame.outer;
}

static void run_drain(void *arg)
{
    drain(arg);
}

void rpc__strand_init(rpc__strand *strand, rpc_runtime *runtime)
{
    strand->runtime = runtime;
    strand->ready = NULL;
    atomic_init(&strand->inbox, NULL);
    rpc__task_init(&strand->drain, run_drain, strand);
}

void rpc__strand_done(rpc__strand *strand)
{
    rpc__task *inbox = atomic_load_explicit(&strand->inbox, memory_order_acquire);
    if (!inbox)
        return;
    /* A task lost here would be a callback lost: better to stop where the bug is. */
    assert(inbox == RUNNING && !strand->ready && rpc__strand_current() == strand);
    (void)inbox;
    current_frame->gone = true;
}

void rpc__strand_post(rpc__strand *strand, rpc__task *task)
{
    if (push(strand, task))
        rpc__runtime_post(strand->runtime, &strand->drain);
}

void rpc__strand_run(rpc__strand *strand, rpc__task *task)
{
    if (push(strand, task))
        drain(strand);
}
