/* SPDX-License-Identifier: Apache-2.0 */
/* A worker program under the very sandbox of dacm-media, whose sources say what to do: be a good
 * worker, or one that was taken over. */
#include "attempts.h"
#include "media_child.h"
#include "wire_internal.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static bool is(rpc_bytes source, const char *what)
{
    return rpc_bytes_equal(source, rpc_bytes_str(what));
}

_Noreturn static void answer_with(const void *packet, size_t size)
{
    _exit(write(MEDIA__FD_ANSWER, packet, size) == (ssize_t)size ? 0 : 1);
}

/* ---- good ------------------------------------------------------------------------------------ */

static rpc_code echo(rpc_bytes source, const char *recipe, media_made *made, rpc_status *reterr)
{
    const size_t recipe_size = recipe ? strlen(recipe) : 0;
    made->source.triangles = 12;
    rpc_code code = media_names_add(
        &made->source.extensions_required, rpc_bytes_str("EXT_one"), reterr);
    if (code != RPC_OK || !recipe)
        return code;
    uint8_t *bytes = media_child_alloc(recipe_size + source.size);
    memcpy(bytes, recipe, recipe_size);
    memcpy(bytes + recipe_size, source.data, source.size);
    made->bytes = rpc_bytes_of(bytes, recipe_size + source.size);
    rpc_text_copy(made->media_type, sizeof made->media_type, "text/plain");
    rpc_text_copy(made->why, sizeof made->why, "seams\033[2J");
    made->figures.triangles = 6;
    made->triangles_asked = 5;
    return RPC_OK;
}

static int by_value(const void *a, const void *b)
{
    return (int)*(const uint8_t *)a - (int)*(const uint8_t *)b;
}

/** What decoders do: much memory in many sizes, and a qsort() that is large enough to ask how much
 *  memory there is. */
static rpc_code work_hard(media_made *made)
{
    size_t size = 40 * MIB;
    uint8_t *bytes = media_child_alloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7);
    for (size_t i = 1; i < 200; i++)
        free(media_child_alloc(i * i * 16));
    bytes = realloc(bytes, 60 * MIB);
    if (!bytes)
        return RPC_RESOURCE_EXHAUSTED;
    qsort(bytes, 4 * MIB, 1, by_value);
    made->bytes = rpc_bytes_of(bytes, 4 * MIB);
    char text[64];
    made->triangles_asked = (uint64_t)snprintf(text, sizeof text, "%.3f", strtod("1.25", NULL));
    rpc_text_copy(made->media_type, sizeof made->media_type, "text/plain");
    return RPC_OK;
}

static rpc_code make_large(size_t size, media_made *made)
{
    uint8_t *bytes = media_child_alloc(size);
    memset(bytes, 'x', size);
    made->bytes = rpc_bytes_of(bytes, size);
    return RPC_OK;
}

/* ---- bad ------------------------------------------------------------------------------------- */

static void wait_for_ever(void)
{
    uint32_t word = 0;
    for (;;)
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void loop_for_ever(void)
{
    for (volatile unsigned i = 0;; i++)
        ;
}

/** Takes what there is, one allocation at a time or all at once. */
static void take_memory(size_t size)
{
    for (;;)
        memset(media_child_alloc(size), 1, size < MIB ? size : MIB);
}

static int overflow_stack(volatile char *before)
{
    volatile char here[4096];
    here[0] = *before;
    return *before ? here[0] + overflow_stack(here) : 0;
}

static void die(rpc_bytes source)
{
    static volatile int *volatile nowhere;
    if (is(source, "segfault"))
        *nowhere = 1;
    if (is(source, "abort"))
        abort();
    if (is(source, "trap"))
        __builtin_trap();
    if (is(source, "overflow")) {
        volatile char first[1] = {1};
        exit(overflow_stack(first));
    }
    if (is(source, "exit"))
        _exit(7);
    if (is(source, "silent"))
        _exit(0);
}

/** A true answer, to be made a lie. */
static media__answer honest(void)
{
    const rpc_status ok = {.code = RPC_OK};
    const media_made made = {.bytes = {(const uint8_t *)"abcd", 4}, .media_type = "text/plain"};
    media__answer answer;
    media__answer_pack(&ok, &made, &answer);
    return answer;
}

static void lie(rpc_bytes source)
{
    media__answer answer = honest();
    if (is(source, "garbage")) {
        memset(&answer, 0xa5, sizeof answer);
        answer_with(&answer, sizeof answer);
    }
    if (is(source, "half"))
        answer_with(&answer, sizeof answer / 2);
    if (is(source, "one-byte"))
        answer_with("x", 1);
    if (is(source, "longer")) {
        static char longer[sizeof(media__answer) + 1];
        memcpy(longer, &answer, sizeof answer);
        answer_with(longer, sizeof longer);
    }
    if (is(source, "giant")) {
        size_t size = 150000;
        char *giant = calloc(1, size);
        answer_with(giant, size);
    }
    if (is(source, "nothing-written"))
        answer_with(&answer, sizeof answer);
    if (is(source, "more-written") && write(MEDIA__FD_RESULT, "abcdef", 6) == 6)
        answer_with(&answer, sizeof answer);
    if (is(source, "huge-size") && write(MEDIA__FD_RESULT, "abcd", 4) == 4) {
        answer.size = UINT64_MAX;
        answer_with(&answer, sizeof answer);
    }
    if (is(source, "own-code")) {
        answer.code = RPC_PERMISSION_DENIED;
        answer_with(&answer, sizeof answer);
    }
    if (is(source, "steering")) {
        answer.code = RPC_INVALID_ARGUMENT;
        memset(answer.message, '\033', sizeof answer.message);
        answer_with(&answer, sizeof answer);
    }
}

/** Beyond the limit of a result, by whatever writes. */
static void flood(void)
{
    static char block[65536];
    while (write(MEDIA__FD_RESULT, block, sizeof block) > 0)
        ;
    _exit(0);
}

/** Asked twice, it answers twice: only the first counts. */
static void answer_much(void)
{
    media__answer answer = honest();
    for (int i = 0; i < 1000; i++)
        if (write(MEDIA__FD_ANSWER, &answer, sizeof answer) < 0)
            _exit(0);
    _exit(0);
}

static rpc_code try_by_name(rpc_bytes name, rpc_status *reterr)
{
    for (size_t i = 0; i < attempt_count; i++)
        if (rpc_bytes_equal(name, rpc_bytes_str(attempts[i].name)))
            return attempts[i].succeeds()
                       ? RPC_OK
                       : rpc_status_set(reterr, RPC_FAILED_PRECONDITION, "it got nowhere");
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "there is no such attempt");
}

static rpc_code run(rpc_bytes source, const char *recipe, media_made *made, rpc_status *reterr)
{
    static const char prefix[] = "try ";
    if (source.size > sizeof prefix && memcmp(source.data, prefix, sizeof prefix - 1) == 0)
        return try_by_name(
            rpc_bytes_of(source.data + sizeof prefix - 1, source.size - (sizeof prefix - 1)),
            reterr);
    if (is(source, "wait"))
        wait_for_ever();
    if (is(source, "loop"))
        loop_for_ever();
    if (is(source, "bomb"))
        take_memory(8 * MIB);
    if (is(source, "one-allocation"))
        take_memory(100000 * MIB);
    if (is(source, "hard"))
        return work_hard(made);
    if (is(source, "large"))
        return make_large(2 * MIB, made);
    if (is(source, "flood"))
        flood();
    if (is(source, "much"))
        answer_much();
    if (is(source, "broken"))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "gltf: /nodes/3: broken");
    die(source);
    lie(source);
    return echo(source, recipe, made, reterr);
}

int main(void)
{
    static const media_child_work work = {.run = run};
    return media_child_serve(&work);
}
