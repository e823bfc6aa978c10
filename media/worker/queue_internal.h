/* SPDX-License-Identifier: Apache-2.0 */
/** Jobs that wait, by whose they are: shares take turns. Not for more than one thread at a time. */
#ifndef DACM_MEDIA_QUEUE_INTERNAL_H
#define DACM_MEDIA_QUEUE_INTERNAL_H

#include "media_worker.h"

typedef struct media__share media__share;

typedef struct media__task {
    struct media__task *next;
    media__share *share;
    uint64_t id, source_size;
    int source, result, answer; /* result and answer: while it runs; else -1 */
    char *recipe;               /* NULL: inspect */
    int64_t deadline_us, queued_us, started_us, killed_us; /* 0: none, not yet */
    unsigned attempts;
    rpc_code end; /* why it is to be killed; RPC_OK: it is not */
    media_done_fn *done;
    void *ctx;
} media__task;

struct media__share {
    media__share *next;
    media__task *first, *last;
    unsigned queued, running;
    char key[MEDIA_SHARE_BYTES_MAX + 1];
};

/** All zero: empty. */
typedef struct media__queue {
    media__share *first, *last; /* whose turn it is first; all that have a job, running ones too */
    media__share *served;       /* who had the last turn; NULL: it is gone */
    unsigned queued, shares;
} media__queue;

/** The share of that key; NULL: it has no job. */
media__share *media__queue_find(const media__queue *queue, const char *key);
/** The same, made where it is new; NULL: no memory. Gone with
 *  media__queue_leave(). */
media__share *media__queue_share(media__queue *queue, const char *key);
/** Frees the share where nothing of it waits or runs. */
void media__queue_leave(media__queue *queue, media__share *share);
/** Behind the others of its share, or before them. */
void media__queue_add(media__queue *queue, media__share *share, media__task *task, bool before);
/** The next one by turns, of a share of which less than running_max run (it counts as running from
 *  now on); NULL: none may. */
media__task *media__queue_take(media__queue *queue, unsigned running_max);
/** Gives a waiting job to another share where its turn comes sooner: of which less than running_max
 *  run, less than jobs_max are under way, and fewer than have their turn before it in its own.
 * False: all stays as it was. */
bool media__queue_lend(
    media__queue *queue, uint64_t id, const char *key, unsigned jobs_max, unsigned running_max);
/** Out of turn, waiting no longer. keep decides; the first that it does not keep is returned. */
media__task *media__queue_remove(
    media__queue *queue, bool (*keep)(const media__task *task, void *ctx), void *ctx);

#endif
