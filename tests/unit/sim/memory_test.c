/* SPDX-License-Identifier: Apache-2.0 */
/* What users cost in memory: nothing that stays. Each look is of a process of its own, which has
 * opened the store, listed all users and logged one in. DACM_TEST_FULL=1 makes them 100,000. */
#include "known.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS  16u
#define MORE_KIB 2048 /* that 2,000 or 100,000 users may cost */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

typedef struct adder {
    known *k;
    unsigned first, count;
    rpc_code code;
} adder;

static void *add(void *arg)
{
    adder *a = arg;
    rpc_status status;
    for (unsigned i = 0; i < a->count && a->code == RPC_OK; i++) {
        char name[32], gpsi[32];
        snprintf(name, sizeof name, "user-%06u", a->first + i);
        snprintf(gpsi, sizeof gpsi, "msisdn-49%09u", a->first + i);
        a->code = sim_user_add(a->k->state, name, "A name of usual length", NULL, &status);
        if (a->code == RPC_OK)
            a->code = sim_user_map(a->k->state, name, gpsi, &status);
    }
    return NULL;
}

static void add_users(known *k, unsigned count)
{
    pthread_t threads[THREADS];
    adder adders[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        adders[i] = (adder){k, i * (count / THREADS), count / THREADS, RPC_OK};
        assert_int_equal(pthread_create(&threads[i], NULL, add, &adders[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(adders[i].code, RPC_OK);
    }
}

static long rss_anon_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %ld kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib;
}

static bool count(void *ctx, const sim_user *user)
{
    (void)user;
    ++*(long *)ctx;
    return true;
}

typedef struct looked {
    long users, kib;
} looked;

static looked look(known *k)
{
    looked found = {0};
    int fds[2], ended;
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        rpc_status status = {0};
        sim_user *user = NULL;
        known_open_empty(k);
        OK(sim_users_list(k->state, NULL, count, &found.users, &status));
        OK(sim_user_check(k->state, "alice", "alice's password", &user, &status));
        found.kib = rss_anon_kib();
        _exit(write(fds[1], &found, sizeof found) == sizeof found ? 0 : 1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &found, sizeof found), sizeof found);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    assert_true(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    return found;
}

TEST(users_are_not_kept_in_memory)
{
    const char *full = getenv("DACM_TEST_FULL");
    const unsigned users = full && strcmp(full, "1") == 0 ? 100000 : 2000;
    known k;
    if (SANITIZED)
        skip();
    known_open(&k);
    known_close(&k);
    const looked few = look(&k);
    known_open_empty(&k);
    add_users(&k, users);
    known_close(&k);
    const looked many = look(&k);
    printf("RssAnon with %ld users: %ld KiB, with %ld users: %ld KiB\n", few.users, few.kib,
        many.users, many.kib);
    assert_int_equal(few.users, 2);
    assert_int_equal(many.users, users + 2);
    assert_true(many.kib < few.kib + MORE_KIB);
}
