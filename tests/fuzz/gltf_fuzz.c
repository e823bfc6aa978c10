/* SPDX-License-Identifier: Apache-2.0 */
/* media__gltf_read(): GLB files and glTF in JSON, their extensions, pictures and VRM data; what was
 * taken is written and taken again, decoded, and its numbers are looked at; pruned, laid together
 * and written as GLB, compressed and not, with its numbers and with rounded ones, it is a document
 * that would be taken again. */
#include "fuzz.h"
#include "gltf_adapt.h"
#include "vrm.h"

#include <stdlib.h>

static void must_be_known(rpc_code code, const rpc_status *status)
{
    MUST(code == RPC_INVALID_ARGUMENT || code == RPC_UNIMPLEMENTED ||
         code == RPC_RESOURCE_EXHAUSTED);
    MUST(strncmp(status->message, "gltf: ", 6) == 0);
}

static void write_and_read(const media__gltf *gltf)
{
    rpc_status status = {0};
    size_t size = 0;
    char *text = media__json_write(gltf->json, &size);
    json_t *again = NULL;
    MUST(text && media__json_read(rpc_bytes_of(text, size), &again, &status) == RPC_OK);
    MUST(json_equal(gltf->json, again));
    json_decref(again);
    free(text);
}

static void look_at_licence(const media__gltf *gltf)
{
    media__vrm_licence licence;
    media__vrm_licence_of(gltf->json, &licence);
    MUST(licence.modify == !licence.why[0]);
    MUST(licence.modify || !licence.redistribute_modified);
    char text[MEDIA_LICENCE_ROOM];
    MUST(media__vrm_licence_text(gltf->json, text, NULL) == RPC_OK);
    MUST((text[0] != '\0') == (media__vrm_version(gltf->json)[0] != '\0'));
    MUST(rpc_printable_run(rpc_bytes_str(text)) == strlen(text));
}

/* Of a document whose numbers are good. */
static void edit_and_write(media__gltf *gltf, bool meshopt)
{
    const media__written how = {.meshopt = meshopt};
    rpc_status status = {0};
    uint8_t *file = NULL;
    size_t size = 0;
    media__gltf again;
    const rpc_code code = media__gltf_write(gltf, &how, &file, &size, &status);
    if (code != RPC_OK) { /* an extension that says where bytes lie, or views that overlap */
        must_be_known(code, &status);
        return;
    }
    MUST(media__gltf_read(rpc_bytes_of(file, size), &again, &status) == RPC_OK);
    MUST(media__gltf_decode(&again, &status) == RPC_OK);
    MUST(media__gltf_check_data(&again, &status) == RPC_OK);
    media__gltf_done(&again);
    free(file);
}

static rpc_code round_numbers(media__gltf *gltf, bool packed, rpc_status *reterr)
{
    rpc_code code = media__gltf_quantize(gltf, packed, reterr);
    if (code == RPC_OK && !packed)
        code = media__gltf_sparse_targets(gltf, reterr);
    if (code == RPC_OK)
        code = media__gltf_gather(gltf, reterr);
    return code == RPC_OK ? media__gltf_merge_samplers(gltf, reterr) : code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    media__gltf gltf;
    rpc_status status = {0};
    rpc_code code = media__gltf_read(rpc_bytes_of(data, size), &gltf, &status);
    if (code != RPC_OK) {
        must_be_known(code, &status);
        return 0;
    }
    write_and_read(&gltf);
    look_at_licence(&gltf);
    code = media__gltf_take_images(&gltf, &status);
    if (code == RPC_OK)
        code = media__gltf_decode(&gltf, &status);
    if (code == RPC_OK)
        code = media__gltf_check_data(&gltf, &status);
    if (code == RPC_OK) {
        edit_and_write(&gltf, false);
        edit_and_write(&gltf, true);
        code = media__gltf_gather(&gltf, &status);
    }
    if (code == RPC_OK) {
        edit_and_write(&gltf, false);
        edit_and_write(&gltf, true);
        code = round_numbers(&gltf, size % 2, &status);
    }
    if (code == RPC_OK)
        edit_and_write(&gltf, size % 2);
    else
        must_be_known(code, &status);
    media__gltf_done(&gltf);
    return 0;
}
