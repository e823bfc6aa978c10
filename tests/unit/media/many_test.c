/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of which hostile hands have much: each of these took time in proportion to a product
 * of two lengths, once, and does not end within the time of a test if one does again. */
#include "media.h"
#include "test.h"

#include <stdarg.h>
#include <stdlib.h>

typedef struct paper {
    char *text;
    size_t size, room;
} paper;

__attribute__((format(printf, 2, 3))) static void put(paper *p, const char *format, ...)
{
    va_list list;
    if (p->room - p->size < 1024) {
        p->room = 2 * p->room + 4096;
        p->text = realloc(p->text, p->room);
        assert_non_null(p->text);
    }
    va_start(list, format);
    p->size += (size_t)vsnprintf(p->text + p->size, p->room - p->size, format, list);
    va_end(list);
}

/* A triangle without extent: accessor 0. */
static void begin(paper *p)
{
    *p = (paper){.text = NULL};
    put(p, "{\"asset\":{\"version\":\"2.0\"},\"accessors\":[{\"componentType\":5126,\"count\":3,"
           "\"type\":\"VEC3\",\"min\":[0,0,0],\"max\":[0,0,0]}");
}

static void adapted(paper *p, const char *text)
{
    media_recipe recipe;
    media_result result;
    rpc_status status;
    if (media_recipe_read(rpc_bytes_str(text), &recipe, &status) != RPC_OK ||
        media_adapt(rpc_bytes_of(p->text, p->size), &recipe, &result, &status) != RPC_OK)
        fail_msg("%s: %s", text, status.message);
    media_result_done(&result);
    media_recipe_done(&recipe);
    free(p->text);
}

static void chain(paper *p)
{
    begin(p);
    put(p, "],\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0}}]}],\"nodes\":[");
    for (unsigned i = 1; i < 200000; i++)
        put(p, "{\"mesh\":0,\"children\":[%u]},", i);
    put(p, "{\"mesh\":0}]}");
}

TEST(a_chain_of_many_instances_is_measured_once)
{
    paper p;
    chain(&p);
    adapted(&p, "{\"max_triangles\":1}");
    chain(&p);
    adapted(&p, "{\"quantization\":\"standard\"}");
}

TEST(many_meshes_are_cut_each_once)
{
    paper p;
    const unsigned count = 50000;
    begin(&p);
    put(&p, "],\"meshes\":[");
    for (unsigned i = 0; i < count; i++)
        put(&p, "%s{\"primitives\":[{\"attributes\":{\"POSITION\":0}}]}", i ? "," : "");
    put(&p, "],\"nodes\":[");
    for (unsigned i = 0; i < count; i++)
        put(&p, "%s{\"mesh\":%u}", i ? "," : "", i);
    put(&p, "]}");
    adapted(&p, "{\"lod\":2}");
}

TEST(many_accessors_that_differ_in_their_names_alone)
{
    paper p;
    const unsigned count = 60000;
    begin(&p);
    for (unsigned i = 1; i < count; i++)
        put(&p,
            ",{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\",\"min\":[0,0,0],"
            "\"max\":[0,0,0],\"name\":\"%u\"}",
            i);
    put(&p, "],\"meshes\":[{\"primitives\":[");
    for (unsigned i = 0; i < count; i++)
        put(&p, "%s{\"attributes\":{\"POSITION\":%u}}", i ? "," : "", i);
    put(&p, "]}],\"nodes\":[{\"mesh\":0}]}");
    adapted(&p, "{\"lod\":1}");
}

TEST(many_triangles_of_one_vertex)
{
    paper p;
    begin(&p);
    put(&p, ",{\"componentType\":5125,\"count\":6000000,\"type\":\"SCALAR\"}],\"meshes\":[{"
            "\"primitives\":[{\"attributes\":{\"POSITION\":0},\"indices\":1}]}],\"nodes\":["
            "{\"mesh\":0}]}");
    adapted(&p, "{\"lod\":1}");
}
