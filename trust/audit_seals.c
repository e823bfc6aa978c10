/* SPDX-License-Identifier: Apache-2.0 */
/* Seals of an audit trail: what a key of the server's says that the chain was. They stand in a file
 * beside the segments, one JWS a line, oldest first; each names a record and the digits of its
 * line. Whoever can write the folder and has not the key can make no chain that they hold for. */
#include "audit_internal.h"
#include "trust_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define SEALS_NAME      "audit.seals"
#define SEAL_TYP        "dacm-audit+jwt"
#define SEAL_BYTES_MAX  1024u
#define SEALS_BYTES_MAX (512u << 20)

static void json_freep(json_t **json)
{
    json_decref(*json);
}

/* ---- writing --------------------------------------------------------------------------------- */

static rpc_code cannot(const trust_audit *audit, const char *what, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_UNAVAILABLE, "audit: cannot %s '%s' in '%.160s': %s", what,
        SEALS_NAME, audit->directory, strerror(errno));
}

/* Cuts off a line that a crash tore: a seal of now says more than it did. */
static bool cut_torn(int fd)
{
    char end[SEAL_BYTES_MAX + 1];
    struct stat about;
    if (fstat(fd, &about) != 0)
        return false;
    const off_t from = about.st_size > (off_t)sizeof end ? about.st_size - (off_t)sizeof end : 0;
    const ssize_t got = pread(fd, end, sizeof end, from);
    ssize_t keep = got;
    while (keep > 0 && end[keep - 1] != '\n')
        keep--;
    return got >= 0 && (keep == got || ftruncate(fd, from + keep) == 0);
}

static rpc_code open_seals(trust_audit *audit, rpc_status *reterr)
{
    if (audit->seal_fd >= 0)
        return RPC_OK;
    const int fd = openat(audit->file.directory_fd, SEALS_NAME,
        O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return cannot(audit, "open", reterr);
    if (!cut_torn(fd)) {
        close(fd);
        return cannot(audit, "read", reterr);
    }
    audit->seal_fd = fd;
    return RPC_OK;
}

static rpc_code sign_head(
    const trust_audit *audit, uint64_t record, const char *chain, char **ret, rpc_status *reterr)
{
    char payload[256];
    const int size = snprintf(payload, sizeof payload,
        "{\"record\": %llu, \"chain\": \"%s\", \"time_ms\": %lld}", (unsigned long long)record,
        chain, (long long)rpc_clock_wall_ms(audit->file.clock));
    return trust_jws_sign(
        audit->signer, SEAL_TYP, rpc_bytes_of(payload, (size_t)size), ret, reterr);
}

static rpc_code append(trust_audit *audit, const char *jws, rpc_status *reterr)
{
    char line[SEAL_BYTES_MAX + 2];
    const int size = snprintf(line, sizeof line, "%s\n", jws);
    rpc_code code = open_seals(audit, reterr);
    if (code != RPC_OK)
        return code;
    if (write(audit->seal_fd, line, (size_t)size) == size && fdatasync(audit->seal_fd) == 0)
        return RPC_OK;
    code = cannot(audit, "write to", reterr);
    close(audit->seal_fd); /* opened anew, and cut, with the next seal */
    audit->seal_fd = -1;
    return code;
}

rpc_code trust__audit_seal(trust_audit *audit, rpc_status *reterr)
{
    char chain[AUDIT_CHAIN_DIGITS + 1];
    RPC_AUTOFREE char *jws = NULL;
    pthread_mutex_lock(&audit->file_lock);
    const uint64_t record = audit->file.next - 1;
    /* a segment that has its header alone: the chain is no record's; the next one is sealed */
    const bool between = audit->file.next == audit->file.segment;
    rpc_hex(rpc_bytes_of(audit->file.chain, AUDIT_CHAIN_BYTES), chain);
    pthread_mutex_unlock(&audit->file_lock);
    if (record == 0 || between || record == audit->sealed)
        return RPC_OK;
    rpc_code code = sign_head(audit, record, chain, &jws, reterr);
    if (code == RPC_OK)
        code = append(audit, jws, reterr);
    if (code == RPC_OK)
        audit->sealed = record;
    return code;
}

static void note(trust_audit *audit, rpc_code code, const rpc_status *status)
{
    pthread_mutex_lock(&audit->lock);
    audit->seal_failure = *status;
    audit->seal_failure.code = code;
    pthread_mutex_unlock(&audit->lock);
}

static void *run_seals(void *arg)
{
    trust_audit *audit = arg;
    bool stopping = false;
    while (!stopping) {
        const int64_t due = trust__audit_now_us() + audit->seal_interval_us;
        const struct timespec until = {.tv_sec = due / 1000000, .tv_nsec = due % 1000000 * 1000};
        pthread_mutex_lock(&audit->lock);
        while (!audit->seals_end && trust__audit_now_us() < due)
            pthread_cond_timedwait(&audit->seal_work, &audit->lock, &until);
        stopping = audit->seals_end;
        pthread_mutex_unlock(&audit->lock);
        rpc_status status = {.code = RPC_OK};
        note(audit, trust__audit_seal(audit, &status), &status);
    }
    return NULL;
}

bool trust__audit_seals_start(trust_audit *audit)
{
    audit->seals_running = audit->signer &&
                           pthread_create(&audit->seal_thread, NULL, run_seals, audit) == 0;
    return !audit->signer || audit->seals_running;
}

void trust__audit_seals_stop(trust_audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    audit->seals_end = true;
    pthread_cond_signal(&audit->seal_work);
    pthread_mutex_unlock(&audit->lock);
    if (audit->seals_running)
        pthread_join(audit->seal_thread, NULL);
    if (audit->seal_fd >= 0)
        close(audit->seal_fd);
    trust_signer_free(audit->signer);
}

/* ---- reading --------------------------------------------------------------------------------- */

static rpc_code damaged(const audit_seals *seals, const char *why, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_DATA_LOSS,
        "audit: '" SEALS_NAME "' line %llu: %s; the trail was changed or is another server's: keep "
        "a copy of the folder and compare it with the backup",
        (unsigned long long)seals->line, why);
}

rpc_code trust__audit_seals_open(
    int directory_fd, const trust_keyring *ring, audit_seals *ret, rpc_status *reterr)
{
    *ret = (audit_seals){.ring = ring};
    if (!ring)
        return RPC_OK;
    const int fd = openat(directory_fd, SEALS_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat about;
    if (fd < 0 && errno == ENOENT)
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "audit: there is no '" SEALS_NAME "'; the server sealed nothing (audit.key_file), or "
            "the file was removed");
    if (fd < 0 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) ||
        about.st_size > SEALS_BYTES_MAX) {
        if (fd >= 0)
            close(fd);
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "audit: '" SEALS_NAME "' cannot be read");
    }
    ret->left = (uint64_t)about.st_size; /* one that is made meanwhile may be of a later record */
    ret->file = fdopen(fd, "r");
    if (ret->file)
        return RPC_OK;
    close(fd);
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "audit: no memory to read the seals");
}

void trust__audit_seals_done(audit_seals *seals)
{
    if (seals->file)
        fclose(seals->file);
    *seals = (audit_seals){.file = NULL};
}

static rpc_code read_payload(audit_seals *seals, rpc_bytes payload, rpc_status *reterr)
{
    rpc_status ignored;
    uint64_t record = 0;
    int64_t time_ms = 0;
    RPC_CLEANUP(json_freep)
    json_t *json = trust_json_parse(payload, SEAL_BYTES_MAX, "a seal", &ignored);
    const json_t *chain = json_object_get(json, "chain");
    if (!trust__json_uint(json, "record", &record) || !trust__json_int(json, "time_ms", &time_ms) ||
        !rpc_unhex(rpc_bytes_of(json_string_value(chain), json_string_length(chain)), seals->chain,
            sizeof seals->chain))
        return damaged(seals, "it is no seal", reterr);
    if (record < seals->record)
        return damaged(seals, "it seals an earlier record than the one before", reterr);
    seals->record = record;
    seals->time_ms = time_ms;
    return RPC_OK;
}

rpc_code trust__audit_seals_next(audit_seals *seals, rpc_status *reterr)
{
    static const char *const typs[] = {SEAL_TYP, NULL};
    char line[SEAL_BYTES_MAX + 2];
    trust_jws verified = {.payload = NULL};
    rpc_status why = {.code = RPC_OK};
    seals->there = false;
    if (!seals->file || seals->left == 0 || !fgets(line, sizeof line, seals->file))
        return RPC_OK;
    const size_t size = strlen(line);
    seals->line++;
    seals->left -= size < seals->left ? size : seals->left;
    if (size == 0 || line[size - 1] != '\n') /* its writer may be at it */
        return feof(seals->file) ? RPC_OK : damaged(seals, "it is too long", reterr);
    if (trust_jws_verify(rpc_bytes_of(line, size - 1), SEAL_BYTES_MAX, seals->ring, typs, &verified,
            &why) != TRUST_VALID)
        return damaged(seals, why.message, reterr);
    RPC_AUTOFREE uint8_t *payload = verified.payload;
    const rpc_code code = read_payload(seals, rpc_bytes_of(payload, verified.payload_size), reterr);
    seals->there = code == RPC_OK;
    return code;
}

rpc_code trust__audit_seals_judge(
    audit_seals *seals, uint64_t record, const uint8_t chain[AUDIT_CHAIN_BYTES], rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    while (code == RPC_OK && seals->there && seals->record <= record) {
        if (seals->record == record) {
            if (memcmp(seals->chain, chain, AUDIT_CHAIN_BYTES) != 0)
                return damaged(seals, "the record that it seals is another one", reterr);
            seals->found.count++;
            seals->found.record = record;
            seals->found.time_ms = seals->time_ms;
        }
        code = trust__audit_seals_next(seals, reterr);
    }
    return code;
}

rpc_code trust__audit_seals_end(const audit_seals *seals, rpc_status *reterr)
{
    return seals->there ? damaged(seals, "the record that it seals is missing", reterr) : RPC_OK;
}
