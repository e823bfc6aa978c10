/* SPDX-License-Identifier: Apache-2.0 */
/* The program dacm-media: what a child does with its source. */
#include "media.h"
#include "media_child.h"

#include <jansson.h>
#include <meshoptimizer.h>

/** The hash of JSON's members needs a seed of its own in each process, and reads it from a file. */
static void prepare(void)
{
    json_object_seed(0);
    meshopt_setAllocator(media_child_alloc, free); /* it looks at no result */
}

static rpc_code adapt(rpc_bytes source, const char *text, media_made *made, rpc_status *reterr)
{
    media_recipe recipe;
    media_result result = {0};
    rpc_code code = media_recipe_read(rpc_bytes_str(text), &recipe, reterr);
    if (code == RPC_OK)
        code = media_adapt(source, &recipe, &result, reterr);
    if (code != RPC_OK)
        return code;
    made->bytes = rpc_bytes_of(result.bytes, result.size);
    made->source = result.source;
    made->figures = result.figures;
    made->triangles_asked = result.triangles_asked;
    memcpy(made->media_type, result.media_type, sizeof made->media_type);
    memcpy(made->why, result.why, sizeof made->why);
    return RPC_OK;
}

static rpc_code inspect(rpc_bytes source, media_made *made, rpc_status *reterr)
{
    char *names = NULL;
    rpc_code code = media_inspect(source, &made->source, reterr);
    if (code == RPC_OK)
        code = media_list_names(source, &names, reterr);
    if (code == RPC_OK)
        made->bytes = rpc_bytes_str(names);
    return code;
}

static rpc_code run(rpc_bytes source, const char *recipe, media_made *made, rpc_status *reterr)
{
    return recipe ? adapt(source, recipe, made, reterr) : inspect(source, made, reterr);
}

int main(void)
{
    static const media_child_work work = {.prepare = prepare, .run = run};
    return media_child_serve(&work);
}
