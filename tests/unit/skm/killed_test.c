/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 at random instants of rotations and revocations, of a child that tells what it begins and
 * what was acknowledged. After each kill the set is what was acknowledged, or that and the one
 * change that was under way: its number and its keys belong together. SKM_SEED repeats;
 * DACM_TEST_FULL=1 makes 300 rounds of 30. */
#include "known.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct event {
    bool acknowledged;
    bool revoke;
    uint64_t version; /* after it, when acknowledged; before it, when begun */
    char kid[TRUST_KID_MAX + 1];
} event;

static bool take_signer(void *ctx, const skm_key_view *view)
{
    if (view->state == SKM_ACTIVE)
        snprintf(ctx, TRUST_KID_MAX + 1, "%s", view->kid);
    return true;
}

static void tell(int out, const event *e)
{
    if (write(out, e, sizeof *e) != sizeof *e)
        _exit(1);
}

/* The child: changes until it is killed; what retires meanwhile makes room. */
static void work(known *k, int out, unsigned seed)
{
    rpc_status status;
    for (;;) {
        event e = {.revoke = rand_r(&seed) % 2, .version = known_version(k, DACM, SKM_FOR_TOKENS)};
        if (skm_keys_list(k->state, DACM, SKM_FOR_TOKENS, take_signer, e.kid, &status) != RPC_OK)
            _exit(1);
        tell(out, &e);
        rpc_code code = e.revoke ? skm_key_revoke(k->state, e.kid, "killed", &status)
                                 : skm_key_rotate(k->state, DACM, SKM_FOR_TOKENS, e.kid, &status);
        if (code != RPC_OK)
            _exit(1);
        e.version = known_version(k, DACM, SKM_FOR_TOKENS);
        e.acknowledged = true;
        tell(out, &e);
        known_pass(k, 13 * DAY);
        (void)known_tend(k);
    }
}

static skm_key_state state_of(known *k, const char *kid)
{
    const known_keys keys = known_list(k, DACM, SKM_FOR_TOKENS);
    for (size_t i = 0; i < keys.count; i++)
        if (strcmp(keys.kid[i], kid) == 0)
            return keys.state[i];
    return 0;
}

/* Reads until the child is killed, at a random instant after a random event. */
static event kill_child(pid_t child, int in, unsigned *seed)
{
    event e = {.version = 0}, last = {.version = 0};
    const int events = 1 + (int)((unsigned)rand_r(seed) % 12);
    for (int i = 0; i < events && read(in, &e, sizeof e) == sizeof e; i++)
        last = e;
    const struct timespec instant = {.tv_nsec = rand_r(seed) % 1500000};
    nanosleep(&instant, NULL); /* where it is killed, not something that is waited for */
    kill(child, SIGKILL);
    while (read(in, &e, sizeof e) == sizeof e)
        last = e;
    int how = 0;
    waitpid(child, &how, 0);
    if (!WIFSIGNALED(how))
        fail_msg("the child ended by itself: %d", how);
    return last;
}

static void one_round(known *k, unsigned *seed)
{
    int ends[2];
    const unsigned child_seed = (unsigned)rand_r(seed);
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        rpc_status status = {0};
        OK(known_try(k, &status));
        work(k, ends[1], child_seed);
    }
    close(ends[1]);
    const event last = kill_child(child, ends[0], seed);
    close(ends[0]);
    assert_true(last.version > 0);
    rpc_status status = {0};
    OK(known_try(k, &status));
    const uint64_t version = known_version(k, DACM, SKM_FOR_TOKENS);
    const known_keys keys = known_list(k, DACM, SKM_FOR_TOKENS);
    (void)known_one(&keys, SKM_ACTIVE);
    (void)known_one(&keys, SKM_PRE_PUBLISHED);
    if (last.acknowledged && last.revoke)
        assert_int_equal(state_of(k, last.kid), SKM_COMPROMISED);
    assert_true(version >= last.version);
    if (!last.acknowledged) { /* as a whole, or not at all */
        assert_true(version <= last.version + 1);
        assert_int_equal(
            version > last.version && last.revoke, state_of(k, last.kid) == SKM_COMPROMISED);
    }
    known_close(k);
}

TEST(killed_at_any_instant_the_key_set_is_never_ambiguous)
{
    /* the clock goes on where the child was killed */
    known *k = mmap(NULL, sizeof *k, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const char *text = getenv("SKM_SEED"), *full = getenv("DACM_TEST_FULL");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    printf("SKM_SEED=%u\n", seed);
    assert_true(k != MAP_FAILED);
    known_open(k);
    known_add(k, DACM, false);
    known_close(k);
    const int rounds = full && strcmp(full, "1") == 0 ? 300 : 30;
    for (int i = 0; i < rounds; i++)
        one_round(k, &seed);
    munmap(k, sizeof *k);
}
