/* SPDX-License-Identifier: Apache-2.0 */
/** A DACM in this process that answers as a test tells it to, and a relay in front of it that
 *  breaks connections. What it sends is made by the test; nothing of server/ is in it. */
#ifndef DACM_FAKE_DACM_H
#define DACM_FAKE_DACM_H

#include "dacm.h"
#include "rpc.h"
#include "trust.h"

#include "dacm/v1/digital_asset.pb-c.h"

#include "test.h"

#include <pthread.h>

#define FAKE_ASSET       "avatar-1"
#define FAKE_USER        "msisdn-4915110000001"
#define FAKE_ISSUER      "https://dacm.example/"
#define FAKE_CALLS_MAX   64
#define FAKE_ENTRY_BYTES 36u

/** What to answer to one call: messages in order, then the end. */
typedef struct fake_reply {
    struct {
        uint8_t *data;
        size_t size;
    } * messages;
    size_t count, sent;
    rpc_code code;
    char message[64];
    bool hangs;              /* no end */
    unsigned messages_first; /* Upload: requests to wait for before the answer; UINT_MAX: all */
} fake_reply;

/** What a Download asked for. */
typedef struct fake_asked {
    uint64_t version, offset, length;
    bool if_none_match;
    size_t have_count;
    uint8_t (*have)[32];
} fake_asked;

/** What an Upload said. */
typedef struct fake_uploaded {
    char upload_id[65], media_type[64], asset_id[129], allowed[64];
    uint64_t size, if_match;
    uint8_t sha256[32], got_sha256[32];
    uint64_t got;
    unsigned allowed_operation;
    bool half_closed;
} fake_uploaded;

typedef struct fake_object {
    uint8_t *content, *entries;
    uint64_t size;
    uint32_t count;
    uint32_t *lengths;
    uint64_t *offsets; /* count + 1 */
    uint64_t version;
} fake_object;

typedef struct fake_dacm fake_dacm;
/** Fills reply for the call of that number (from 0); on the strand. */
typedef void fake_download_fn(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply);
typedef void fake_upload_fn(fake_dacm *f, unsigned number, fake_reply *reply);

struct fake_dacm {
    rpc_runtime *runtime;
    rpc_server *server;
    rpc_listener *listener;
    trust_signer *signer, *other_signer, *token_signer;
    char keys_file[512], state_dir[512], file[512], dir[256], target[64];
    fake_object object;
    fake_download_fn *download; /* NULL: honest */
    fake_upload_fn *upload;
    int64_t wall_ms;
    rpc_clock clock;
    /* guarded by lock */
    pthread_mutex_t lock;
    unsigned calls;
    fake_asked asked[FAKE_CALLS_MAX];
    fake_uploaded uploaded[FAKE_CALLS_MAX];
    /* the relay */
    int relay_fd, relay_stop[2];
    pthread_t relay;
    uint64_t cut_after; /* bytes of the server in one connection; 0 = never */
    unsigned cuts_left; /* connections that are still to be cut */
    unsigned connections;
};

/** An object of chunks of these lengths; content from seed. */
void fake_start(fake_dacm *f, const uint32_t *lengths, uint32_t count);
void fake_stop(fake_dacm *f);
/** Connected through the relay, with keys, issuer and state_dir. attempts as in the options. */
dacm_client *fake_client(fake_dacm *f, unsigned attempts);
dacm_client_options fake_client_options(fake_dacm *f);
unsigned fake_calls(fake_dacm *f);

/** A manifest of the object as it should be; change it, then sign. */
trust_manifest fake_manifest(const fake_dacm *f);
/** free() it. */
char *fake_sign(const trust_signer *signer, const trust_manifest *manifest);

void fake_reply_start(fake_reply *reply, const char *jws, bool not_modified, uint32_t count);
/** Signs the manifest and sends it. */
void fake_reply_manifest(fake_dacm *f, fake_reply *reply);
void fake_reply_list(fake_reply *reply, const void *entries, size_t size);
void fake_reply_chunks(fake_reply *reply, uint32_t first, const void *data, size_t size);
/** Chunks first..last-1 of the object, each in a message. */
void fake_reply_object(fake_dacm *f, fake_reply *reply, uint32_t first, uint32_t last);
/** Packed bytes as they are. */
void fake_reply_raw(fake_reply *reply, const void *data, size_t size);
void fake_reply_uploaded(fake_reply *reply, const char *asset_id, uint64_t version);
void fake_reply_end(fake_reply *reply, rpc_code code, const char *message);
/** What a DACM would answer. */
void fake_honest(fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply);

/** The next `times` connections break once the server has sent that many bytes on each. */
void fake_cut(fake_dacm *f, uint64_t after, unsigned times);

#endif
