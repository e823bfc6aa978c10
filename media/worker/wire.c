/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES_MAX 3

/* ---- packets --------------------------------------------------------------------------------- */

typedef union control_room {
    char room[CMSG_SPACE(FILES_MAX * sizeof(int))];
    struct cmsghdr aligned;
} control_room;

bool media__send(int socket, const void *packet, size_t size, const int *files, size_t count)
{
    control_room control = {0};
    struct iovec part = {.iov_len = size};
    memcpy(&part.iov_base, &packet, sizeof packet); /* sendmsg() does not write there */
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(count * sizeof *files);
        struct cmsghdr *head = &control.aligned;
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(count * sizeof *files);
        memcpy(CMSG_DATA(head), files, count * sizeof *files);
    }
    ssize_t sent = 0;
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)size;
}

static void take_files(struct msghdr *message, int *files, size_t count)
{
    size_t taken = 0;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t came = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < came; i++) {
            int file = -1;
            memcpy(&file, CMSG_DATA(head) + i * sizeof file, sizeof file);
            if (taken < count)
                files[taken++] = file;
            else
                close(file);
        }
    }
}

ssize_t media__receive(int socket, void *packet, size_t room, int *files, size_t count, int flags)
{
    control_room control = {0};
    struct iovec part = {.iov_base = packet, .iov_len = room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    for (size_t i = 0; i < count; i++)
        files[i] = -1;
    if (count > 0) { /* else the kernel drops descriptors by itself */
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
    }
    ssize_t got = 0;
    do
        got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -1;
    take_files(&message, files, count);
    if (!(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return got;
    for (size_t i = 0; i < count; i++) {
        if (files[i] >= 0)
            close(files[i]);
        files[i] = -1;
    }
    errno = EPROTO;
    return -1;
}

/* ---- answers --------------------------------------------------------------------------------- */

static rpc_code pack_figures(
    const media_figures *figures, media__figures_packet *ret, rpc_status *reterr)
{
    const media_names *names = &figures->extensions_required;
    if (names->count > MEDIA__NAMES_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "media: %zu extensions are required, at most %d are taken", names->count,
            MEDIA__NAMES_MAX);
    *ret = (media__figures_packet){
        .triangles = figures->triangles,
        .vertices = figures->vertices,
        .meshes = figures->meshes,
        .primitives = figures->primitives,
        .materials = figures->materials,
        .textures = figures->textures,
        .images = figures->images,
        .nodes = figures->nodes,
        .skins = figures->skins,
        .joints = figures->joints,
        .animations = figures->animations,
        .morph_targets = figures->morph_targets,
        .texture_size = figures->texture_size,
        .name_count = (uint32_t)names->count,
        .texture_pixels = figures->texture_pixels,
        .mesh_bytes = figures->mesh_bytes,
        .image_bytes = figures->image_bytes,
        .animation_bytes = figures->animation_bytes,
    };
    for (size_t i = 0; i < names->count; i++)
        if (!rpc_text_copy(ret->names[i], sizeof ret->names[i], names->list[i]))
            return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                "media: the name of a required extension is longer than %d bytes",
                MEDIA_NAME_BYTES_MAX);
    memcpy(ret->vrm, figures->vrm, sizeof ret->vrm);
    (void)rpc_text_copy(ret->licence, sizeof ret->licence, figures->licence); /* as large */
    (void)rpc_text_copy(ret->prohibits, sizeof ret->prohibits, figures->prohibits);
    return RPC_OK;
}

static void pack_status(const rpc_status *status, media__answer *ret)
{
    memset(ret, 0, sizeof *ret); /* padding too: it crosses a boundary */
    ret->kind = MEDIA__ANSWER;
    ret->code = (uint32_t)status->code;
    memcpy(ret->message, status->message, sizeof ret->message);
}

void media__answer_pack(const rpc_status *status, const media_made *made, media__answer *ret)
{
    rpc_status failure;
    pack_status(status, ret);
    if (status->code != RPC_OK)
        return;
    ret->size = made->bytes.size;
    ret->triangles_asked = made->triangles_asked;
    memcpy(ret->media_type, made->media_type, sizeof ret->media_type);
    memcpy(ret->why, made->why, sizeof ret->why);
    if (pack_figures(&made->source, &ret->source, &failure) != RPC_OK ||
        pack_figures(&made->figures, &ret->figures, &failure) != RPC_OK)
        pack_status(&failure, ret);
}

void media__foreign_text(char *text, size_t room)
{
    text[room - 1] = '\0';
    rpc_text_printable(text);
}

static rpc_code nonsense(rpc_status *reterr, const char *what)
{
    return rpc_status_set(
        reterr, RPC_INTERNAL, "media: the source's worker gave an answer that is none: %s", what);
}

static bool is_name(const char *text, size_t room)
{
    const size_t size = strnlen(text, room);
    return size > 0 && size < room && rpc_printable_run(rpc_bytes_of(text, size)) == size;
}

static rpc_code unpack_names(
    const media__figures_packet *figures, media_names *ret, rpc_status *reterr)
{
    if (figures->name_count > MEDIA__NAMES_MAX)
        return nonsense(reterr, "too many extensions");
    for (uint32_t i = 0; i < figures->name_count; i++) {
        const char *name = figures->names[i];
        if (!is_name(name, sizeof figures->names[i]))
            return nonsense(reterr, "the name of an extension");
        rpc_code code = media_names_add(ret, rpc_bytes_str(name), reterr);
        if (code != RPC_OK)
            return code;
    }
    return RPC_OK;
}

static rpc_code unpack_figures(
    const media__figures_packet *figures, media_figures *ret, rpc_status *reterr)
{
    *ret = (media_figures){
        .triangles = figures->triangles,
        .vertices = figures->vertices,
        .meshes = figures->meshes,
        .primitives = figures->primitives,
        .materials = figures->materials,
        .textures = figures->textures,
        .images = figures->images,
        .nodes = figures->nodes,
        .skins = figures->skins,
        .joints = figures->joints,
        .animations = figures->animations,
        .morph_targets = figures->morph_targets,
        .texture_size = figures->texture_size,
        .texture_pixels = figures->texture_pixels,
        .mesh_bytes = figures->mesh_bytes,
        .image_bytes = figures->image_bytes,
        .animation_bytes = figures->animation_bytes,
    };
    if (figures->vrm[0] && !is_name(figures->vrm, sizeof figures->vrm))
        return nonsense(reterr, "the version of VRM");
    memcpy(ret->vrm, figures->vrm, sizeof ret->vrm);
    if (figures->licence[0] && !is_name(figures->licence, sizeof figures->licence))
        return nonsense(reterr, "the licence of VRM");
    (void)rpc_text_copy(ret->licence, sizeof ret->licence, figures->licence);
    memcpy(ret->prohibits, figures->prohibits, sizeof ret->prohibits);
    media__foreign_text(ret->prohibits, sizeof ret->prohibits);
    return unpack_names(figures, &ret->extensions_required, reterr);
}

/** Returns its length; 0: it begins otherwise. */
static size_t media_type_part(const char *text)
{
    const size_t size = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.+-");
    return strchr(".+-", text[0]) ? 0 : size;
}

/** It ends up in manifests: "model/gltf-binary" and the like, nothing that needs quoting or leads
 *  anywhere as a path. */
static bool is_media_type(const char *text)
{
    if (strnlen(text, MEDIA_TYPE_ROOM) == MEDIA_TYPE_ROOM)
        return false;
    const size_t first = media_type_part(text);
    const char *second = text + first + 1;
    return first > 0 && text[first] == '/' && media_type_part(second) > 0 &&
           second[media_type_part(second)] == '\0';
}

rpc_code media__answer_unpack(const media__answer *answer, media_made *ret, rpc_status *reterr)
{
    if (answer->kind != MEDIA__ANSWER || answer->code > RPC_UNAUTHENTICATED)
        return nonsense(reterr, "not even its head");
    if (answer->media_type[0] && !is_media_type(answer->media_type))
        return nonsense(reterr, "the media type");
    memcpy(ret->media_type, answer->media_type, sizeof ret->media_type);
    memcpy(ret->why, answer->why, sizeof ret->why);
    media__foreign_text(ret->why, sizeof ret->why);
    ret->triangles_asked = answer->triangles_asked;
    rpc_code code = unpack_figures(&answer->source, &ret->source, reterr);
    return code == RPC_OK ? unpack_figures(&answer->figures, &ret->figures, reterr) : code;
}
