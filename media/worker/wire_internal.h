/* SPDX-License-Identifier: Apache-2.0 */
/** What the pool, the program dacm-media and its children say to each other: one packet each, plain
 *  structs, since all three are of one build on one machine.
 *
 *  Only the answer is foreign: a child that a hostile source has taken over may send anything. */
#ifndef DACM_MEDIA_WIRE_INTERNAL_H
#define DACM_MEDIA_WIRE_INTERNAL_H

#include "media_worker.h"

#include <sys/types.h>

/** Where the program finds the pool, and a child its files. */
enum { MEDIA__FD_POOL = 3 };
enum { MEDIA__FD_SOURCE = 3, MEDIA__FD_RESULT = 4, MEDIA__FD_ANSWER = 5 };

/** How a child ends that could not even begin: its sandbox is not to blame. */
enum { MEDIA__EXIT_NOT_BEGUN = 3 };

/** Grows with every change of the structs. */
#define MEDIA__WIRE_VERSION 3

typedef enum media__kind {
    MEDIA__HELLO = 0x64610001, /* program: ready */
    MEDIA__JOB,                /* pool: fork; with source, result and answer socket */
    MEDIA__KILL,               /* pool: end that child */
    MEDIA__EXITED,             /* program: that child has ended */
    MEDIA__ANSWER,             /* child, on its own socket: done */
} media__kind;

typedef struct media__hello {
    uint32_t kind, version;
    int32_t landlock;
    uint32_t sandboxed; /* a child could shut itself in; else why not: */
    char why[256];
} media__hello;

typedef struct media__job_packet {
    uint32_t kind, priority;
    uint64_t id, source_size, memory_bytes, result_bytes_max;
    uint32_t cpu_s, recipe_size; /* 0: inspect */
    char recipe[MEDIA_RECIPE_ROOM];
} media__job_packet;

typedef struct media__kill {
    uint32_t kind, reserved;
    uint64_t id;
} media__kill;

typedef struct media__exited {
    uint32_t kind;
    int32_t wait_status;
    uint64_t id;
    int64_t cpu_us;
    uint64_t memory_bytes;
} media__exited;

#define MEDIA__NAMES_MAX 32

typedef struct media__figures_packet {
    uint64_t triangles, vertices;
    uint32_t meshes, primitives, materials, textures, images, nodes, skins, joints, animations;
    uint32_t morph_targets, texture_size, name_count;
    uint64_t texture_pixels, mesh_bytes, image_bytes, animation_bytes;
    char names[MEDIA__NAMES_MAX][MEDIA_NAME_BYTES_MAX + 1];
    char vrm[8], licence[MEDIA_LICENCE_ROOM], prohibits[MEDIA_PROHIBITS_ROOM];
} media__figures_packet;

typedef struct media__answer {
    uint32_t kind, code;
    uint64_t size, triangles_asked;
    char message[384], media_type[MEDIA_TYPE_ROOM], why[MEDIA_WHY_ROOM];
    media__figures_packet source, figures;
} media__answer;

/** made is looked at where status is OK. What an answer does not hold makes it RESOURCE_EXHAUSTED.
 */
void media__answer_pack(const rpc_status *status, const media_made *made, media__answer *ret);
/** Takes an answer that says OK apart, trusting nothing: INTERNAL says what is wrong with it.
 *  ret  media_type, why and figures are set, its bytes are not; media_made_free() by the caller
 *       also on failure. */
rpc_code media__answer_unpack(const media__answer *answer, media_made *ret, rpc_status *reterr);
/** Text of a foreign answer made fit for logs and terminals; always ends. */
void media__foreign_text(char *text, size_t room);

/** One packet with up to count descriptors. False: errno. */
bool media__send(int socket, const void *packet, size_t size, const int *files, size_t count);
/** Waits for one packet (unless flags has MSG_DONTWAIT). Returns its size, 0 at the end, -1 with
 *  errno; EPROTO when it was longer than room. Descriptors beyond count, or when it fails, are
 *  closed; *files are -1 where none came. */
ssize_t media__receive(int socket, void *packet, size_t room, int *files, size_t count, int flags);

#endif
