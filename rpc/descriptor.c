/* SPDX-License-Identifier: Apache-2.0 */
/* The index over descriptor sets. descriptor.proto is proto2 with extensions, which protobuf-c
 * serves badly, and only names matter here: a reader of a few fields is enough. */
#include "descriptor.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_BYTES_MAX (64u << 20)
#define NESTING_MAX     32

/* Field numbers of descriptor.proto. */
enum {
    SET_FILE = 1,
    NAME = 1, /* of every descriptor */
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    FILE_EXTENSION = 7,
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    MESSAGE_EXTENSION = 6,
    MESSAGE_ONEOF = 8,
    ENUM_VALUE = 2,
    SERVICE_METHOD = 2,
    FIELD_EXTENDEE = 2,
    FIELD_NUMBER = 3,
};

typedef struct file_entry {
    const char *name;
    rpc_bytes proto;
} file_entry;

typedef struct symbol_entry {
    const char *name;
    size_t file;
} symbol_entry;

typedef struct extension_entry {
    const char *type;
    int32_t number;
    size_t file;
} extension_entry;

struct rpc__files {
    rpc_arena *arena;  /* names */
    file_entry *files; /* sorted by name, as the symbols are */
    symbol_entry *symbols;
    extension_entry *extensions;
    size_t file_count, symbol_count, extension_count;
};

/* ---- reading packed messages ---------------------------------------------------------------- */

typedef struct field {
    uint32_t number;
    uint64_t varint;
    rpc_bytes bytes; /* of a length-delimited or fixed field */
} field;

static bool read_varint(rpc_bytes *in, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->size > 0; shift += 7) {
        uint8_t byte = *in->data++;
        in->size--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static bool read_value(rpc_bytes *in, unsigned wire, field *ret)
{
    uint64_t size = wire == 1 ? 8 : 4;
    if (wire == 0)
        return read_varint(in, &ret->varint);
    if (wire == 2 && !read_varint(in, &size))
        return false;
    if ((wire != 1 && wire != 2 && wire != 5) || size > in->size)
        return false;
    ret->bytes = rpc_bytes_of(in->data, (size_t)size);
    in->data += size;
    in->size -= (size_t)size;
    return true;
}

/* False at the end, where in->size is 0, and where the bytes are no message. */
static bool next_field(rpc_bytes *in, field *ret)
{
    rpc_bytes rest = *in;
    uint64_t key;
    *ret = (field){0};
    if (!read_varint(&rest, &key))
        return false;
    ret->number = (uint32_t)(key >> 3);
    if (!read_value(&rest, key & 7, ret))
        return false;
    *in = rest;
    return true;
}

static field first_field(rpc_bytes message, uint32_t number)
{
    field at;
    while (next_field(&message, &at))
        if (at.number == number)
            return at;
    return (field){0};
}

/* ---- building -------------------------------------------------------------------------------- */

/* What has gone wrong stays: checked once at the end. */
typedef struct builder {
    rpc__files *files;
    size_t file_capacity, symbol_capacity, extension_capacity;
    size_t file; /* being walked */
    bool damaged, no_memory;
} builder;

static void *grown(builder *b, void *array, size_t element, size_t count, size_t *capacity)
{
    if (count < *capacity)
        return array;
    size_t more = *capacity ? 2 * *capacity : 64;
    void *larger = reallocarray(array, more, element);
    if (larger)
        *capacity = more;
    else
        b->no_memory = true;
    return larger;
}

static const char *copy_name(builder *b, rpc_bytes name)
{
    const char *copy = NULL;
    b->damaged |= name.size == 0 || !rpc_utf8_valid(name);
    if (!b->damaged)
        copy = rpc_arena_strndup(b->files->arena, (const char *)name.data, name.size);
    b->no_memory |= !b->damaged && !copy;
    return copy;
}

/* "scope.name" */
static const char *join(builder *b, const char *scope, rpc_bytes name)
{
    size_t size = strlen(scope);
    if (size == 0)
        return copy_name(b, name);
    b->damaged |= name.size == 0 || !rpc_utf8_valid(name);
    char *full = b->damaged ? NULL : rpc_arena_alloc(b->files->arena, size + name.size + 2);
    b->no_memory |= !b->damaged && !full;
    if (!full)
        return NULL;
    memcpy(full, scope, size);
    full[size] = '.';
    memcpy(full + size + 1, name.data, name.size);
    full[size + 1 + name.size] = '\0';
    return full;
}

/* Declares the thing described; returns its full name, or NULL. */
static const char *add_symbol(builder *b, const char *scope, rpc_bytes descriptor)
{
    rpc__files *files = b->files;
    const char *name = join(b, scope, first_field(descriptor, NAME).bytes);
    symbol_entry *symbols = name ? grown(b, files->symbols, sizeof *symbols, files->symbol_count,
                                       &b->symbol_capacity)
                                 : NULL;
    if (!symbols)
        return NULL;
    files->symbols = symbols;
    symbols[files->symbol_count++] = (symbol_entry){name, b->file};
    return name;
}

static void add_extension(builder *b, const char *scope, rpc_bytes descriptor)
{
    rpc__files *files = b->files;
    rpc_bytes type = first_field(descriptor, FIELD_EXTENDEE).bytes;
    int32_t number = (int32_t)first_field(descriptor, FIELD_NUMBER).varint;
    if (!add_symbol(b, scope, descriptor))
        return;
    if (type.size > 0 && type.data[0] == '.')
        type = rpc_bytes_of(type.data + 1, type.size - 1);
    const char *name = copy_name(b, type);
    extension_entry *extensions = name ? grown(b, files->extensions, sizeof *extensions,
                                             files->extension_count, &b->extension_capacity)
                                       : NULL;
    if (!extensions)
        return;
    files->extensions = extensions;
    extensions[files->extension_count++] = (extension_entry){name, number, b->file};
}

/* The parts of an enum (values stand beside it) or service (methods stand in it). */
static void add_parts(builder *b, const char *scope, rpc_bytes descriptor, uint32_t number)
{
    field part;
    while (next_field(&descriptor, &part))
        if (part.number == number)
            (void)add_symbol(b, scope, part.bytes);
    b->damaged |= descriptor.size > 0;
}

static void add_enum(builder *b, const char *scope, rpc_bytes descriptor)
{
    (void)add_symbol(b, scope, descriptor);
    add_parts(b, scope, descriptor, ENUM_VALUE);
}

/* Recursion over what our own build made, bounded all the same. */
static void add_message(builder *b, const char *scope, rpc_bytes descriptor, unsigned depth)
{
    const char *name = add_symbol(b, scope, descriptor);
    b->damaged |= depth > NESTING_MAX;
    field part;
    while (name && !b->damaged && next_field(&descriptor, &part)) {
        if (part.number == MESSAGE_FIELD || part.number == MESSAGE_ONEOF)
            (void)add_symbol(b, name, part.bytes);
        else if (part.number == MESSAGE_NESTED)
            add_message(b, name, part.bytes, depth + 1);
        else if (part.number == MESSAGE_ENUM)
            add_enum(b, name, part.bytes);
        else if (part.number == MESSAGE_EXTENSION)
            add_extension(b, name, part.bytes);
    }
    b->damaged |= descriptor.size > 0 && !b->no_memory;
}

static void add_service(builder *b, const char *scope, rpc_bytes descriptor)
{
    const char *name = add_symbol(b, scope, descriptor);
    if (name)
        add_parts(b, name, descriptor, SERVICE_METHOD);
}

static void walk_file(builder *b, rpc_bytes proto)
{
    rpc_bytes package = first_field(proto, FILE_PACKAGE).bytes;
    const char *scope = package.size > 0 ? copy_name(b, package) : "";
    field part;
    while (scope && next_field(&proto, &part)) {
        if (part.number == FILE_MESSAGE)
            add_message(b, scope, part.bytes, 1);
        else if (part.number == FILE_ENUM)
            add_enum(b, scope, part.bytes);
        else if (part.number == FILE_SERVICE)
            add_service(b, scope, part.bytes);
        else if (part.number == FILE_EXTENSION)
            add_extension(b, scope, part.bytes);
    }
    b->damaged |= proto.size > 0 && !b->no_memory;
}

static bool has_file(const rpc__files *files, const char *name)
{
    for (size_t i = 0; i < files->file_count; i++)
        if (strcmp(files->files[i].name, name) == 0)
            return true;
    return false;
}

static void add_files(builder *b, rpc_bytes set)
{
    rpc__files *files = b->files;
    field file;
    while (next_field(&set, &file)) {
        if (file.number != SET_FILE)
            continue;
        const char *name = copy_name(b, first_field(file.bytes, NAME).bytes);
        if (!name || has_file(files, name))
            continue;
        file_entry *entries = grown(
            b, files->files, sizeof *entries, files->file_count, &b->file_capacity);
        if (!entries)
            return;
        files->files = entries;
        entries[files->file_count++] = (file_entry){name, file.bytes};
    }
    b->damaged |= set.size > 0;
}

/* Every entry begins with its name. */
static int compare_names(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

static void sort(void *entries, size_t count, size_t size)
{
    if (count > 0)
        qsort(entries, count, size, compare_names);
}

static void build(builder *b, const rpc_bytes *sets, size_t set_count)
{
    rpc__files *files = b->files;
    for (size_t i = 0; i < set_count; i++) {
        bool again = false;
        for (size_t j = 0; j < i; j++)
            again |= sets[j].data == sets[i].data && sets[j].size == sets[i].size;
        if (!again)
            add_files(b, sets[i]);
    }
    sort(files->files, files->file_count, sizeof *files->files);
    for (b->file = 0; b->file < files->file_count; b->file++)
        walk_file(b, files->files[b->file].proto);
    sort(files->symbols, files->symbol_count, sizeof *files->symbols);
    sort(files->extensions, files->extension_count, sizeof *files->extensions);
}

rpc_code rpc__files_new(
    const rpc_bytes *sets, size_t set_count, rpc__files **ret, rpc_status *reterr)
{
    builder b = {.files = calloc(1, sizeof *b.files)};
    if (b.files)
        b.files->arena = rpc_arena_new(INDEX_BYTES_MAX);
    b.no_memory = !b.files || !b.files->arena;
    if (!b.no_memory)
        build(&b, sets, set_count);
    if (!b.no_memory && !b.damaged) {
        *ret = b.files;
        return RPC_OK;
    }
    rpc__files_free(b.files);
    if (b.no_memory)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "descriptors: no memory for their index");
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "descriptors: a descriptor set is damaged; make it with protoc --include_imports "
        "--descriptor_set_out");
}

void rpc__files_free(rpc__files *files)
{
    if (!files)
        return;
    rpc_arena_free(files->arena);
    free(files->files);
    free(files->symbols);
    free(files->extensions);
    free(files);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

size_t rpc__files_count(const rpc__files *files)
{
    return files->file_count;
}

static const void *find(const char *name, const void *entries, size_t count, size_t size)
{
    return count > 0 ? bsearch(&name, entries, count, size, compare_names) : NULL;
}

bool rpc__files_by_name(const rpc__files *files, const char *name, size_t *ret_file)
{
    const file_entry *entry = find(name, files->files, files->file_count, sizeof *entry);
    if (entry)
        *ret_file = (size_t)(entry - files->files);
    return entry != NULL;
}

bool rpc__files_by_symbol(const rpc__files *files, const char *symbol, size_t *ret_file)
{
    const symbol_entry *entry = find(symbol, files->symbols, files->symbol_count, sizeof *entry);
    if (entry)
        *ret_file = entry->file;
    return entry != NULL;
}

bool rpc__files_by_extension(
    const rpc__files *files, const char *type, int32_t number, size_t *ret_file)
{
    for (size_t i = 0; i < files->extension_count; i++) {
        const extension_entry *entry = &files->extensions[i];
        if (entry->number != number || strcmp(entry->type, type) != 0)
            continue;
        *ret_file = entry->file;
        return true;
    }
    return false;
}

size_t rpc__files_extensions(const rpc__files *files, const char *type, int32_t *ret_numbers)
{
    size_t count = 0;
    for (size_t i = 0; i < files->extension_count; i++) {
        if (strcmp(files->extensions[i].type, type) != 0)
            continue;
        if (ret_numbers)
            ret_numbers[count] = files->extensions[i].number;
        count++;
    }
    return count;
}

/* The index of the file that a dependency names. */
static bool find_dependency(const rpc__files *files, rpc_bytes name, size_t *ret_file)
{
    size_t low = 0, high = files->file_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        rpc_bytes other = rpc_bytes_str(files->files[middle].name);
        size_t common = other.size < name.size ? other.size : name.size;
        int order = common > 0 ? memcmp(other.data, name.data, common) : 0;
        if (order == 0 && other.size == name.size) {
            *ret_file = middle;
            return true;
        }
        if (order < 0 || (order == 0 && other.size < name.size))
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

size_t rpc__files_closure(const rpc__files *files, size_t file, rpc_bytes *ret_protos)
{
    bool *listed = calloc(files->file_count, sizeof *listed);
    size_t count = 1;
    if (!listed)
        return 0;
    ret_protos[0] = files->files[file].proto;
    listed[file] = true;
    for (size_t done = 0; done < count; done++) {
        rpc_bytes proto = ret_protos[done];
        field part;
        size_t found;
        while (next_field(&proto, &part)) {
            if (part.number != FILE_DEPENDENCY || !find_dependency(files, part.bytes, &found) ||
                listed[found])
                continue;
            listed[found] = true;
            ret_protos[count++] = files->files[found].proto;
        }
    }
    free(listed);
    return count;
}
