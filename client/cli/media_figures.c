/* SPDX-License-Identifier: Apache-2.0 */
/* What is in an avatar, for people and for programs. */
#include "media_work.h"

#include "cleanup.h"

#include <inttypes.h>
#include <string.h>

typedef enum row_kind { ROW_COUNT, ROW_BYTES, ROW_SIZE } row_kind;

#define ROW(member, text, kind)                                                                    \
    {                                                                                              \
#member, text, offsetof(media_figures, member), sizeof(((media_figures *)0)->member), kind \
    }

static const struct row {
    const char *member, *text;
    size_t offset, size;
    row_kind kind;
} rows[] = {
    ROW(bytes, "file", ROW_BYTES),
    ROW(mesh_bytes, "  geometry", ROW_BYTES),
    ROW(image_bytes, "  pictures", ROW_BYTES),
    ROW(animation_bytes, "  animations", ROW_BYTES),
    ROW(triangles, "triangles", ROW_COUNT),
    ROW(vertices, "vertices", ROW_COUNT),
    ROW(meshes, "meshes", ROW_COUNT),
    ROW(primitives, "primitives", ROW_COUNT),
    ROW(morph_targets, "morph targets", ROW_COUNT),
    ROW(materials, "materials", ROW_COUNT),
    ROW(textures, "textures", ROW_COUNT),
    ROW(images, "pictures", ROW_COUNT),
    ROW(texture_size, "largest picture", ROW_SIZE),
    ROW(texture_pixels, "pixels of all", ROW_COUNT),
    ROW(nodes, "nodes", ROW_COUNT),
    ROW(skins, "skins", ROW_COUNT),
    ROW(joints, "joints", ROW_COUNT),
    ROW(animations, "animations", ROW_COUNT),
};
#define ROWS (sizeof rows / sizeof *rows)

RPC_DEFINE_FREEP(json_freep, json_t *, json_decref)

static uint64_t value_of(const media_figures *figures, const struct row *row)
{
    const uint8_t *at = (const uint8_t *)figures + row->offset;
    uint32_t small = 0;
    uint64_t value = 0;
    if (row->size == sizeof value) {
        memcpy(&value, at, sizeof value);
        return value;
    }
    memcpy(&small, at, sizeof small);
    return small;
}

json_t *cli_figures_json(const media_figures *figures)
{
    json_t *object = json_object(), *names = json_array();
    int failed = 0;
    for (size_t i = 0; i < ROWS; i++)
        failed |= json_object_set_new(
            object, rows[i].member, json_integer((json_int_t)value_of(figures, &rows[i])));
    for (size_t i = 0; i < figures->extensions_required.count; i++)
        failed |= json_array_append_new(names, json_string(figures->extensions_required.list[i]));
    failed |= json_object_set_new(object, "extensions_required", names);
    failed |= json_object_set_new(object, "vrm", json_string(figures->vrm));
    failed |= json_object_set_new(object, "prohibits", json_string(figures->prohibits));
    json_t *licence = json_loads(figures->licence, 0, NULL); /* NULL: of no VRM */
    if (licence)
        failed |= json_object_set_new(object, "licence", licence);
    if (failed == 0)
        return object;
    json_decref(object);
    return NULL;
}

static void value_text(const media_figures *figures, const struct row *row, char ret[32])
{
    const uint64_t value = value_of(figures, row);
    if (row->kind == ROW_BYTES)
        cli_size_text(value, ret);
    else
        snprintf(ret, 32, "%" PRIu64 "%s", value, row->kind == ROW_SIZE && value > 0 ? " px" : "");
}

static void print_words(const char *text, const char *const *words, size_t count)
{
    printf("%-16s", text);
    for (size_t i = 0; i < count; i++)
        printf(" %18.60s", words[i]);
    printf("\n");
}

#define NAME_WIDTH 18

/** The file's own name is enough, and its end more telling than its beginning. */
static const char *short_name(const char *path, char ret[NAME_WIDTH + 1])
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const size_t size = strlen(name);
    if (size > NAME_WIDTH)
        snprintf(ret, NAME_WIDTH + 1, "..%s", name + size - NAME_WIDTH + 2);
    else
        snprintf(ret, NAME_WIDTH + 1, "%s", name);
    return ret;
}

static void print_extensions(const media_figures *figures, const char *name, size_t count)
{
    const media_names *names = &figures->extensions_required;
    if (names->count == 0)
        return;
    printf("needs%s%s:", count > 1 ? " in " : "", count > 1 ? name : "");
    for (size_t i = 0; i < names->count; i++)
        printf(" %s", names->list[i]);
    printf("\n");
}

/** A worker's word: a key that would steer a terminal is none that it may print. */
static bool is_shown(const char *key)
{
    return strcmp(key, "vrm") != 0 && rpc_printable_run(rpc_bytes_str(key)) == strlen(key);
}

static void print_adaptable(const media_figures *figures, const char *name, size_t count)
{
    if (!figures->vrm[0]) /* nobody says who may */
        return;
    printf("may be adapted%s%s: %s%s%s\n", count > 1 ? ", " : "", count > 1 ? name : "",
        figures->prohibits[0] ? "no, its licence prohibits it (" : "yes", figures->prohibits,
        figures->prohibits[0] ? ")" : "");
}

/* What the author permits, as it stands in the file: a field a line. */
static void print_licence(const char *text, const char *of, const char *name)
{
    RPC_CLEANUP(json_freep) json_t *licence = json_loads(text, 0, NULL);
    if (!licence)
        return;
    printf("licence%s%s:\n", of, name);
    for (void *at = json_object_iter(licence); at; at = json_object_iter_next(licence, at)) {
        RPC_AUTOFREE char *value = json_dumps(
            json_object_iter_value(at), JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
        if (value && is_shown(json_object_iter_key(at)))
            printf("  %-30s %s\n", json_object_iter_key(at), value);
    }
}

/* ---- what a manifest says of a variant ---- */

static void print_counted(const json_t *figures, const char *member, const char *one)
{
    const json_int_t count = json_integer_value(json_object_get(figures, member));
    if (count > 0)
        printf(", %" JSON_INTEGER_FORMAT " %s%s", count, one, count > 1 ? "s" : "");
}

static void print_needs(const json_t *names)
{
    size_t i = 0;
    const json_t *name = NULL;
    json_array_foreach(names, i, name)
    {
        RPC_AUTOFREE char *shown = strdup(json_is_string(name) ? json_string_value(name) : "");
        if (!shown)
            return;
        rpc_text_printable(shown);
        printf("%s %s", i == 0 ? "  needs" : "", shown);
    }
    if (json_array_size(names) > 0)
        printf("\n");
}

void cli_variant_print(const char *figures_text, const char *licence)
{
    RPC_CLEANUP(json_freep) json_t *figures = json_loads(figures_text, 0, NULL);
    const char *why = json_string_value(json_object_get(figures, "shortfall"));
    const json_int_t size = json_integer_value(json_object_get(figures, "texture_size"));
    if (!figures)
        return;
    printf("  %" JSON_INTEGER_FORMAT " triangles",
        json_integer_value(json_object_get(figures, "triangles")));
    print_counted(figures, "textures", "texture");
    if (size > 0)
        printf(" of %" JSON_INTEGER_FORMAT " px at most", size);
    print_counted(figures, "morph_targets", "morph target");
    print_counted(figures, "animations", "animation");
    print_counted(figures, "joints", "joint");
    printf("\n");
    print_needs(json_object_get(figures, "extensions_required"));
    RPC_AUTOFREE char *shown = why ? strdup(why) : NULL;
    if (shown) {
        rpc_text_printable(shown);
        printf("  not all that was asked for: %s\n", shown);
    }
    print_licence(licence, " of its author", "");
}

/* ---- a table ---- */

void cli_figures_print(const char *const *names, const media_figures *const *figures, size_t count)
{
    char texts[2][32];
    const char *words[2] = {texts[0], texts[1]};
    char short_names[2][NAME_WIDTH + 1];
    const char *heads[2], *vrms[2];
    bool vrm = false;
    for (size_t i = 0; i < count; i++) {
        heads[i] = short_name(names[i], short_names[i]);
        vrms[i] = figures[i]->vrm[0] ? figures[i]->vrm : "-";
        vrm = vrm || figures[i]->vrm[0];
    }
    if (count > 1)
        print_words("", heads, count);
    for (size_t row = 0; row < ROWS; row++) {
        uint64_t any = 0;
        for (size_t i = 0; i < count; i++) {
            value_text(figures[i], &rows[row], texts[i]);
            any |= value_of(figures[i], &rows[row]);
        }
        if (any > 0) /* of what no file has, nothing is said */
            print_words(rows[row].text, words, count);
    }
    if (vrm)
        print_words("VRM", vrms, count);
    for (size_t i = 0; i < count; i++)
        print_extensions(figures[i], heads[i], count);
    /* a variant has its source's */
    const bool same = count == 2 && strcmp(figures[0]->licence, figures[1]->licence) == 0;
    for (size_t i = 0; i < (same ? 1 : count); i++)
        print_adaptable(figures[i], heads[i], same ? 1 : count);
    for (size_t i = 0; i < (same ? 1 : count); i++)
        print_licence(figures[i]->licence, same || count == 1 ? "" : " of ",
            same || count == 1 ? "" : heads[i]);
}

/* ---- names ---- */

#define NAMES_BYTES_MAX ((size_t)4 << 20)

json_t *cli_names_json(const media_made *made)
{
    json_error_t error;
    if (made->bytes.size > NAMES_BYTES_MAX)
        return NULL;
    json_t *names = json_loadb((const char *)made->bytes.data, made->bytes.size, 0, &error);
    if (json_is_array(json_object_get(names, "animations")) &&
        json_is_array(json_object_get(names, "morph_targets")))
        return names;
    json_decref(names);
    return NULL;
}

static void print_names(const json_t *names, const char *what, const char *file)
{
    size_t i = 0;
    const json_t *name = NULL;
    if (json_array_size(names) > 0)
        printf("%s%s%s:\n", what, file ? " of " : "", file ? file : "");
    json_array_foreach(names, i, name)
    {
        RPC_AUTOFREE char *shown = strdup(json_is_string(name) ? json_string_value(name) : "");
        if (!shown)
            return;
        rpc_text_printable(shown);
        printf("  %s\n", shown);
    }
}

void cli_names_print(const media_made *made, const char *file)
{
    char short_file[NAME_WIDTH + 1];
    RPC_CLEANUP(json_freep) json_t *names = cli_names_json(made);
    const char *shown = file ? short_name(file, short_file) : NULL;
    print_names(json_object_get(names, "animations"), "names of animations", shown);
    print_names(json_object_get(names, "morph_targets"), "names of morph targets", shown);
}
