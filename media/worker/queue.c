/* SPDX-License-Identifier: Apache-2.0 */
#include "queue_internal.h"

#include <stdlib.h>

static void append(media__queue *queue, media__share *share)
{
    *(queue->last ? &queue->last->next : &queue->first) = share;
    queue->last = share;
}

static void insert_before_last(media__queue *queue, media__share *share)
{
    media__share **at = &queue->first;
    while (*at != queue->last)
        at = &(*at)->next;
    share->next = queue->last;
    *at = share;
}

media__share *media__queue_find(const media__queue *queue, const char *key)
{
    for (media__share *at = queue->first; at; at = at->next)
        if (strcmp(at->key, key) == 0)
            return at;
    return NULL;
}

media__share *media__queue_share(media__queue *queue, const char *key)
{
    media__share *share = media__queue_find(queue, key);
    if (share)
        return share;
    share = calloc(1, sizeof *share);
    if (!share)
        return NULL;
    rpc_text_copy(share->key, sizeof share->key, key);
    if (queue->served &&
        queue->served == queue->last) /* has just had a turn: the next is not its */
        insert_before_last(queue, share);
    else
        append(queue, share);
    queue->shares++;
    return share;
}

/** before: its predecessor, NULL for the first. */
static void unlink_share(media__queue *queue, media__share *share, media__share *before)
{
    *(before ? &before->next : &queue->first) = share->next;
    if (queue->last == share)
        queue->last = before;
    share->next = NULL;
}

void media__queue_leave(media__queue *queue, media__share *share)
{
    if (share->queued > 0 || share->running > 0)
        return;
    media__share *before = NULL;
    for (media__share *at = queue->first; at != share; at = at->next)
        before = at;
    unlink_share(queue, share, before);
    if (queue->served == share)
        queue->served = NULL;
    queue->shares--;
    free(share);
}

void media__queue_add(media__queue *queue, media__share *share, media__task *task, bool before)
{
    task->share = share;
    task->next = before ? share->first : NULL;
    if (before)
        share->first = task;
    else
        *(share->last ? &share->last->next : &share->first) = task;
    if (!share->last || !before)
        share->last = task;
    share->queued++;
    queue->queued++;
}

static void unlink_task(media__queue *queue, media__task *task, media__task *before)
{
    media__share *share = task->share;
    *(before ? &before->next : &share->first) = task->next;
    if (share->last == task)
        share->last = before;
    task->next = NULL;
    share->queued--;
    queue->queued--;
}

media__task *media__queue_take(media__queue *queue, unsigned running_max)
{
    media__share *before = NULL;
    for (media__share *at = queue->first; at; before = at, at = at->next) {
        if (!at->first || at->running >= running_max)
            continue;
        media__task *task = at->first;
        unlink_task(queue, task, NULL);
        at->running++;
        unlink_share(queue, at, before); /* its next turn is after everybody's */
        append(queue, at);
        queue->served = at;
        return task;
    }
    return NULL;
}

media__task *media__queue_remove(
    media__queue *queue, bool (*keep)(const media__task *task, void *ctx), void *ctx)
{
    for (media__share *share = queue->first; share; share = share->next) {
        media__task *before = NULL;
        for (media__task *task = share->first; task; before = task, task = task->next) {
            if (keep(task, ctx))
                continue;
            unlink_task(queue, task, before);
            return task;
        }
    }
    return NULL;
}

/* A waiting job, the one before it in its share, and how many are; NULL: it does not wait. */
static media__task *find_task(
    const media__queue *queue, uint64_t id, media__task **ret_before, unsigned *ret_ahead)
{
    for (media__share *share = queue->first; share; share = share->next) {
        *ret_before = NULL;
        *ret_ahead = share->running;
        for (media__task *task = share->first; task; task = task->next) {
            if (task->id == id)
                return task;
            *ret_before = task;
            ++*ret_ahead;
        }
    }
    return NULL;
}

bool media__queue_lend(
    media__queue *queue, uint64_t id, const char *key, unsigned jobs_max, unsigned running_max)
{
    media__task *before = NULL;
    unsigned ahead = 0;
    media__task *task = find_task(queue, id, &before, &ahead);
    if (!task || ahead == 0)
        return false;
    media__share *from = task->share, *to = media__queue_find(queue, key);
    const unsigned under_way = to ? to->queued + to->running : 0;
    if (to == from || under_way >= ahead || under_way >= jobs_max ||
        (to && to->running >= running_max))
        return false;
    to = media__queue_share(queue, key);
    if (!to)
        return false;
    unlink_task(queue, task, before);
    media__queue_add(queue, to, task, false);
    media__queue_leave(queue, from);
    return true;
}
