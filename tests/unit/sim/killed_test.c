/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 at random instants of exchanges, refreshes, revocations and logouts, by threads of a
 * child that tells what it begins and what was acknowledged. After each kill: no code or refresh
 * token is good twice, nothing acknowledged is lost, no revocation forgotten. What was under way is
 * open: it happened as a whole or not at all. SIM_SEED repeats; DACM_TEST_FULL=1 makes 300 rounds
 * of 30. */
#include "known.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS     3u
#define FAMILIES    128u
#define JTIS        64u
#define EVENTS_MAX  250u
#define EVENTS_LAST 600u /* then whatever is under way is killed */
#define SPIN_US_MAX 500u
#define ISSUED_AT_S (START_MS / 1000)

typedef enum op { NEW, EXCHANGE, REFRESH, REUSE, REVOKE, END, BROKEN } op;

/* Told before (acknowledged false) and after. */
typedef struct event {
    op op;
    bool acknowledged;
    unsigned worker, family;
    char token[SIM_CODE_MAX]; /* NEW: the code; EXCHANGE, REFRESH: the refresh token */
    char jti[48];
    rpc_status status; /* BROKEN */
} event;

typedef enum life { NONE, CODE, EXCHANGING, LIVE, REFRESHING, ENDING, ENDED } life;

typedef struct family {
    life life;
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], old[SIM_CODE_MAX];
    char jtis[JTIS][48];
    unsigned jti_count;
} family;

typedef struct worker {
    unsigned number, round, seed, begun, jtis;
    known *k;
    int events;
    family families[FAMILIES];
} worker;

/* ---- the model, kept alike by the child's workers and by the parent
 * ------------------------------------ */

static void note_jti(family *f, const event *e)
{
    if (f->jti_count < JTIS)
        memcpy(f->jtis[f->jti_count++], e->jti, sizeof e->jti);
}

static void apply_acknowledged(family *f, const event *e)
{
    switch (e->op) {
    case NEW:
        f->life = CODE;
        memcpy(f->code, e->token, sizeof f->code);
        return;
    case EXCHANGE:
    case REFRESH:
        f->life = LIVE;
        memcpy(f->old, f->refresh, sizeof f->old);
        memcpy(f->refresh, e->token, sizeof f->refresh);
        note_jti(f, e);
        return;
    default:
        f->life = ENDED;
    }
}

static void apply_begun(family *f, const event *e)
{
    if (e->op == EXCHANGE)
        f->life = EXCHANGING;
    else if (e->op == REFRESH)
        f->life = REFRESHING;
    else if (e->op != NEW)
        f->life = ENDING;
}

static void apply(worker *w, const event *e)
{
    if (e->op == BROKEN)
        fail_msg("worker %u: %s", e->worker, e->status.message);
    for (unsigned i = 0; i < FAMILIES; i++) {
        family *f = &w->families[i];
        bool concerned = e->op == END ? f->life != NONE && f->life != ENDED : i == e->family;
        if (concerned && e->acknowledged)
            apply_acknowledged(f, e);
        else if (concerned)
            apply_begun(f, e);
    }
}

/* ---- the child
 * ------------------------------------------------------------------------------------------- */

static void tell(worker *w, const event *e)
{
    apply(w, e);
    if (write(w->events, e, sizeof *e) != sizeof *e)
        _exit(1);
}

static void username_of(unsigned number, char ret[SIM_USERNAME_MAX + 1])
{
    snprintf(ret, SIM_USERNAME_MAX + 1, "worker-%u", number);
}

/* A family in that life, from a random one on; FAMILIES: none. */
static unsigned pick(worker *w, life wanted)
{
    unsigned from = (unsigned)rand_r(&w->seed) % FAMILIES;
    for (unsigned i = 0; i < FAMILIES; i++)
        if (w->families[(from + i) % FAMILIES].life == wanted)
            return (from + i) % FAMILIES;
    return FAMILIES;
}

static rpc_code begin(worker *w, event *e)
{
    sim_user *user = NULL;
    char name[SIM_USERNAME_MAX + 1];
    username_of(w->number, name);
    rpc_code code = sim_user_find(w->k->state, name, &user, &e->status);
    if (code != RPC_OK)
        return code;
    const sim_grant grant = {.client_id = "app",
        .username = name,
        .sub = user->sub,
        .redirect_uri = REDIRECT,
        .code_challenge = CHALLENGE,
        .era = user->era};
    code = sim_grant_begin(w->k->state, &grant, e->token, &e->status);
    sim_user_free(user);
    return code;
}

static rpc_code use(known *k, bool by_code, const char *token, const char *jti,
    char ret_refresh[SIM_CODE_MAX], rpc_status *reterr)
{
    sim_grant *grant = NULL;
    rpc_code code = by_code ? sim_grant_by_code(k->state, "app", token, &grant, reterr)
                            : sim_grant_by_refresh(k->state, "app", token, &grant, reterr);
    if (code != RPC_OK)
        return code;
    const sim_issue issue = {
        .code = by_code, .refresh = true, .jti = jti, .expires_at = ISSUED_AT_S + 300};
    code = sim_grant_issue(k->state, grant, &issue, ret_refresh, reterr);
    sim_grant_free(grant);
    return code;
}

static rpc_code revoke_family(worker *w, const family *f, event *e)
{
    sim_grant *grant = NULL;
    rpc_code code = sim_grant_by_refresh(w->k->state, "app", f->refresh, &grant, &e->status);
    if (code == RPC_OK)
        code = sim_grant_revoke(w->k->state, grant->family, &e->status);
    sim_grant_free(grant);
    return code;
}

static rpc_code reuse(worker *w, const family *f, event *e)
{
    char none[SIM_CODE_MAX];
    const bool by_code = !f->old[0];
    rpc_code code = use(w->k, by_code, by_code ? f->code : f->old, "none", none, &e->status);
    return code == RPC_ABORTED ? RPC_OK
                               : rpc_status_set(&e->status, RPC_INTERNAL,
                                     "a used one was taken: %s", rpc_code_name(code));
}

static rpc_code perform(worker *w, family *f, event *e)
{
    char name[SIM_USERNAME_MAX + 1];
    username_of(w->number, name);
    switch (e->op) {
    case NEW:
        return begin(w, e);
    case EXCHANGE:
        return use(w->k, true, f->code, e->jti, e->token, &e->status);
    case REFRESH:
        return use(w->k, false, f->refresh, e->jti, e->token, &e->status);
    case REVOKE:
        return revoke_family(w, f, e);
    case REUSE:
        return reuse(w, f, e);
    default:
        return sim_user_end(w->k->state, name, &e->status);
    }
}

static void step(worker *w)
{
    static const op ops[] = {NEW, NEW, EXCHANGE, EXCHANGE, EXCHANGE, REFRESH, REFRESH, REFRESH,
        REFRESH, REUSE, REVOKE, END};
    op chosen = ops[(unsigned)rand_r(&w->seed) % (sizeof ops / sizeof *ops)];
    if (chosen == END && rand_r(&w->seed) % 4 != 0)
        chosen = REFRESH;
    life wanted = chosen == NEW ? NONE : chosen == EXCHANGE ? CODE : LIVE;
    unsigned at = chosen == END ? 0 : pick(w, wanted);
    if (at == FAMILIES)
        return;
    event e = {.op = chosen, .worker = w->number, .family = at};
    snprintf(e.jti, sizeof e.jti, "%u-%u-%u-%ld", w->round, w->number, ++w->jtis, (long)getpid());
    tell(w, &e);
    if (perform(w, &w->families[at], &e) != RPC_OK)
        e.op = BROKEN;
    e.acknowledged = true;
    if (e.op == BROKEN)
        _exit(write(w->events, &e, sizeof e) == sizeof e ? 2 : 1);
    tell(w, &e);
}

static void *work(void *arg)
{
    for (;;)
        step(arg);
    return NULL;
}

static void child(known *k, unsigned round, unsigned seed, int events)
{
    static worker workers[WORKERS];
    pthread_t threads[WORKERS];
    known_open_empty(k);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (worker){
            .number = i, .round = round, .seed = seed + i * 7919, .k = k, .events = events};
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            _exit(3);
    }
    for (;;)
        pause();
}

/* ---- the parent
 * ------------------------------------------------------------------------------------------- */

static void spin(unsigned us)
{
    int64_t until = rpc_clock_monotonic_us(rpc_clock_system()) + us;
    while (rpc_clock_monotonic_us(rpc_clock_system()) < until) {
    }
}

/* Runs a child and kills it amid an operation of a random kind; workers holds what must be true
 * then. */
static void run_and_kill(known *k, unsigned round, unsigned seed, worker workers[WORKERS])
{
    static const op aims[] = {EXCHANGE, REFRESH, REUSE, REVOKE, END};
    int fds[2], status;
    event e;
    unsigned count = 0, kill_after = 1 + (unsigned)rand_r(&seed) % EVENTS_MAX;
    const op aim = aims[(unsigned)rand_r(&seed) % (sizeof aims / sizeof *aims)];
    bool killed = false;
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        close(fds[0]);
        child(k, round, seed, fds[1]);
    }
    close(fds[1]);
    while (read(fds[0], &e, sizeof e) == sizeof e) {
        assert_true(e.worker < WORKERS && e.family < FAMILIES);
        apply(&workers[e.worker], &e);
        if (killed || ++count < kill_after ||
            (count < EVENTS_LAST && (e.op != aim || e.acknowledged)))
            continue;
        spin((unsigned)rand_r(&seed) % SPIN_US_MAX);
        kill(pid, SIGKILL);
        killed = true;
    }
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void all_revoked(known *k, const family *f, const char *sub)
{
    for (unsigned i = 0; i < f->jti_count; i++)
        if (!known_revoked(k, f->jtis[i], sub, ISSUED_AT_S))
            fail_msg("the revocation of %s was forgotten", f->jtis[i]);
}

/* Good once, and the second time it ends the family. */
static void good_once(known *k, family *f, bool by_code, const char *token, const char *sub)
{
    char next[SIM_CODE_MAX], jti[48];
    rpc_status status = {0};
    snprintf(jti, sizeof jti, "check-%u-%.20s", ++k->jtis, token + 3);
    OK(use(k, by_code, token, jti, next, &status));
    REFUSED(use(k, by_code, token, "never", next, &status), RPC_ABORTED);
    REFUSED(use(k, false, next, "never", next, &status), RPC_NOT_FOUND);
    assert_true(known_revoked(k, jti, sub, ISSUED_AT_S));
    all_revoked(k, f, sub);
}

static void dead(known *k, const family *f, const char *sub)
{
    char none[SIM_CODE_MAX];
    rpc_status status = {0};
    if (f->refresh[0])
        REFUSED(use(k, false, f->refresh, "never", none, &status), RPC_NOT_FOUND);
    assert_int_not_equal(use(k, true, f->code, "never", none, &status), RPC_OK);
    all_revoked(k, f, sub);
}

/* Whether it was used before the kill, or not, nobody knows; but it was one of both. */
static void open_ended(known *k, family *f, bool by_code, const char *sub)
{
    char none[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    rpc_status status = {0};
    const char *token = by_code ? f->code : f->refresh;
    rpc_code code = by_code ? sim_grant_by_code(k->state, "app", token, &grant, &status)
                            : sim_grant_by_refresh(k->state, "app", token, &grant, &status);
    sim_grant_free(grant);
    if (code == RPC_OK) {
        good_once(k, f, by_code, token, sub);
        return;
    }
    assert_int_equal(code, RPC_ABORTED);
    REFUSED(use(k, by_code, token, "never", none, &status), RPC_NOT_FOUND);
    all_revoked(k, f, sub);
}

static void check_ending(known *k, family *f, const char *sub)
{
    const bool by_code = !f->refresh[0];
    const char *token = by_code ? f->code : f->refresh;
    char next[SIM_CODE_MAX];
    rpc_status status;
    rpc_code code = use(k, by_code, token, "ending", next, &status);
    assert_true(code == RPC_OK || code == RPC_NOT_FOUND || code == RPC_ABORTED);
    if (code != RPC_OK)
        all_revoked(k, f, sub);
}

static void check_family(known *k, family *f, const char *sub)
{
    rpc_status status = {0};
    char none[SIM_CODE_MAX];
    switch (f->life) {
    case NONE:
        return;
    case CODE:
        good_once(k, f, true, f->code, sub);
        return;
    case EXCHANGING:
        open_ended(k, f, true, sub);
        return;
    case LIVE:
        if (f->old[0] && k->jtis % 2) { /* the one before is no good, and ends the family */
            k->jtis++;
            REFUSED(use(k, false, f->old, "never", none, &status), RPC_ABORTED);
            dead(k, f, sub);
            return;
        }
        good_once(k, f, false, f->refresh, sub);
        return;
    case REFRESHING:
        open_ended(k, f, false, sub);
        return;
    case ENDING:
        check_ending(k, f, sub);
        return;
    case ENDED:
        dead(k, f, sub);
    }
}

static void check(known *k, worker workers[WORKERS])
{
    known_open_empty(k);
    for (unsigned i = 0; i < WORKERS; i++) {
        char name[SIM_USERNAME_MAX + 1];
        sim_user *user = NULL;
        rpc_status status = {0};
        username_of(i, name);
        OK(sim_user_find(k->state, name, &user, &status));
        for (unsigned at = 0; at < FAMILIES; at++)
            check_family(k, &workers[i].families[at], user->sub);
        sim_user_free(user);
    }
    known_sweep(k);
    known_close(k);
}

TEST(nothing_is_lost_or_good_twice_after_kill_9)
{
    const char *text = getenv("SIM_SEED"), *full = getenv("DACM_TEST_FULL");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    const unsigned rounds = full && strcmp(full, "1") == 0 ? 300 : 30;
    known k;
    rpc_status status = {0};
    printf("SIM_SEED=%u\n", seed);
    known_open(&k);
    for (unsigned i = 0; i < WORKERS; i++) {
        char name[SIM_USERNAME_MAX + 1];
        username_of(i, name);
        OK(sim_user_add(k.state, name, NULL, NULL, &status));
    }
    known_close(&k);
    for (unsigned round = 0; round < rounds; round++) {
        worker *workers = calloc(WORKERS, sizeof *workers);
        assert_non_null(workers);
        run_and_kill(&k, round, (unsigned)rand_r(&seed), workers);
        check(&k, workers);
        free(workers);
    }
}
