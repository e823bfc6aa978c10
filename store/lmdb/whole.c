/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an environment's file has all of its pages: LMDB maps it, and whoever touches a page
 * behind its end dies of SIGBUS.
 *
 * A file that is shorter than its last page may well be whole: a page that one transaction took
 * from the end and gave back is counted, listed as free and never written. So the list of free
 * pages decides, and as it may be cut off itself, it is read here, not through the map: LMDB's
 * data format 1 (0.9), in the machine's byte order. Only short files come that far. */
#include "lmdb_store.h"

#include "cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define META_MAGIC   0xBEEFC0DEu
#define META_VERSION 1u
#define META_OFFSET  16u /* the header of a page, which all pages have */
#define PAGE_MIN     512u
#define PAGE_MAX     (64u << 10)
#define PAGE_BRANCH  0x01u
#define PAGE_LEAF    0x02u
#define NODE_BIGDATA 0x01u
#define NODE_HEADER  8u
#define NODE_ID      8u /* the key of a list of free pages: the transaction that freed them */
#define NO_PAGE      UINT64_MAX
#define DEPTH_MAX    32u

typedef struct file_db {
    uint32_t page_bytes; /* of the first of two: the environment's */
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
} file_db;

typedef struct file_meta {
    uint32_t magic, version;
    uint64_t address, map_bytes;
    file_db free, main;
    uint64_t last_page, txnid;
} file_meta;

_Static_assert(sizeof(size_t) == 8, "LMDB's page numbers have a machine's word");
_Static_assert(sizeof(file_db) == 48 && sizeof(file_meta) == 136, "as they are in the file");

/* A walk over the table of free pages, which counts those behind the end of the file. */
typedef struct walk {
    int fd;
    size_t page_bytes;
    uint64_t pages;      /* how many the file has, whole ones */
    uint64_t pages_left; /* how many the table may still have: damaged ones may have circles */
    uint64_t last_page;
    uint64_t missing_free;
} walk;

static bool read_at(const walk *w, void *ret, size_t size, uint64_t offset)
{
    return pread(w->fd, ret, size, (off_t)offset) == (ssize_t)size;
}

static uint16_t u16_at(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* LMDB keeps the lower half first or second, as the machine has it: it is a word. */
static uint32_t u32_at(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* The newer one of both. */
static int read_meta(const walk *w, file_meta *ret_meta)
{
    file_meta metas[2];
    for (size_t i = 0; i < 2; i++) {
        if (!read_at(w, &metas[i], sizeof metas[i], i * w->page_bytes + META_OFFSET))
            return LMDB_CUT_OFF;
        if (metas[i].magic != META_MAGIC || metas[i].version != META_VERSION)
            return MDB_VERSION_MISMATCH;
    }
    *ret_meta = metas[metas[1].txnid > metas[0].txnid];
    return 0;
}

/* count and that many page numbers, at offset of the file. */
static int count_list(walk *w, uint64_t offset, uint64_t bytes)
{
    uint64_t count, numbers[512];
    if (bytes < sizeof count || !read_at(w, &count, sizeof count, offset))
        return LMDB_CUT_OFF;
    if (count > bytes / sizeof count - 1)
        return MDB_CORRUPTED;
    for (uint64_t done = 0; done < count;) {
        const size_t now = count - done < 512 ? (size_t)(count - done) : 512;
        if (!read_at(w, numbers, now * sizeof *numbers, offset + (1 + done) * sizeof *numbers))
            return LMDB_CUT_OFF;
        for (size_t i = 0; i < now; i++)
            w->missing_free += numbers[i] >= w->pages && numbers[i] <= w->last_page;
        done += now;
    }
    return 0;
}

/* A leaf's node is a key and a list, or the page where the list is. */
static int count_node(walk *w, const uint8_t *page, size_t at, uint64_t number)
{
    const uint32_t bytes = u32_at(page + at);
    uint64_t overflow;
    if (u16_at(page + at + 6) != NODE_ID || at + NODE_HEADER + NODE_ID > w->page_bytes)
        return MDB_CORRUPTED;
    at += NODE_HEADER + NODE_ID;
    if (!(u16_at(page + at - NODE_ID - 4) & NODE_BIGDATA)) {
        if (bytes > w->page_bytes - at)
            return MDB_CORRUPTED;
        return count_list(w, number * w->page_bytes + at, bytes);
    }
    if (w->page_bytes - at < sizeof overflow)
        return MDB_CORRUPTED;
    memcpy(&overflow, page + at, sizeof overflow);
    if (overflow >= w->pages)
        return LMDB_CUT_OFF;
    return count_list(w, overflow * w->page_bytes + META_OFFSET, bytes);
}

static uint64_t child_of(const uint8_t *node)
{
    return u32_at(node) | (uint64_t)u16_at(node + 4) << 32;
}

static int count_page(walk *w, uint64_t number, unsigned depth)
{
    if (number >= w->pages)
        return LMDB_CUT_OFF;
    if (depth == 0 || w->pages_left-- == 0)
        return MDB_CORRUPTED;
    RPC_AUTOFREE uint8_t *page = malloc(w->page_bytes);
    if (!page)
        return ENOMEM;
    if (!read_at(w, page, w->page_bytes, number * w->page_bytes))
        return LMDB_CUT_OFF;
    const unsigned flags = u16_at(page + 10);
    const size_t lower = u16_at(page + 12);
    if ((flags & (PAGE_BRANCH | PAGE_LEAF)) == 0 || lower < META_OFFSET || lower > w->page_bytes)
        return MDB_CORRUPTED;
    int rc = 0;
    for (size_t slot = META_OFFSET; rc == 0 && slot + 2 <= lower; slot += 2) {
        const size_t at = u16_at(page + slot);
        if (at < lower || at + NODE_HEADER > w->page_bytes)
            return MDB_CORRUPTED;
        rc = flags & PAGE_LEAF ? count_node(w, page, at, number)
                               : count_page(w, child_of(page + at), depth - 1);
    }
    return rc;
}

static int count_pages_of_file(walk *w)
{
    struct stat file;
    if (fstat(w->fd, &file) != 0)
        return errno;
    w->pages = (uint64_t)file.st_size / w->page_bytes;
    return 0;
}

/* Whether each page behind the end of the file is a free one. The size is asked for after the
 * newest page: beside a server that writes, it has that page by then. */
static int check_short(walk *w)
{
    file_meta meta;
    int rc = read_meta(w, &meta);
    if (!rc)
        rc = count_pages_of_file(w);
    if (rc || meta.last_page < w->pages)
        return rc;
    w->last_page = meta.last_page;
    w->pages_left = meta.free.branch_pages + meta.free.leaf_pages;
    if (meta.free.root != NO_PAGE)
        rc = count_page(w, meta.free.root, DEPTH_MAX);
    if (rc)
        return rc;
    return w->missing_free == w->last_page + 1 - w->pages ? 0 : LMDB_CUT_OFF;
}

int lmdb_check_whole(MDB_env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    walk w = {.fd = -1};
    int rc = mdb_env_info(env, &info);
    if (!rc)
        rc = mdb_env_stat(env, &stat);
    if (!rc)
        rc = mdb_env_get_fd(env, &w.fd);
    if (rc)
        return rc;
    w.page_bytes = stat.ms_psize;
    if (w.page_bytes < PAGE_MIN || w.page_bytes > PAGE_MAX)
        return MDB_CORRUPTED;
    rc = count_pages_of_file(&w);
    if (rc || info.me_last_pgno < w.pages)
        return rc;
    return check_short(&w);
}
