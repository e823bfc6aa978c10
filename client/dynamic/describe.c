/* SPDX-License-Identifier: Apache-2.0 */
#include "dynamic_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const type_words[] = {NULL, "double", "float", "int64", "uint64", "int32",
    "fixed64", "fixed32", "bool", "string", "group", NULL, "bytes", "uint32", NULL, "sfixed32",
    "sfixed64", "sint32", "sint64"};

static const char *last_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static const char *type_word(const dynamic_field *field)
{
    return field->type_name ? field->type_name : type_words[field->type];
}

static void indent(FILE *out, unsigned depth)
{
    fprintf(out, "%*s", (int)(2 * depth), "");
}

static void print_field(FILE *out, const dynamic_field *field, unsigned depth)
{
    const char *label = field->repeated   ? "repeated "
                        : field->required ? "required "
                        : field->optional ? "optional "
                                          : "";
    indent(out, depth);
    if (dynamic__is_map(field))
        fprintf(out, "map<%s, %s>", type_word(dynamic__field(field->message, 1)),
            type_word(dynamic__field(field->message, 2)));
    else
        fprintf(out, "%s%s", label, type_word(field));
    fprintf(out, " %s = %u;\n", field->name, field->number);
}

static void print_oneof(FILE *out, const dynamic_message *type, int32_t oneof, unsigned depth)
{
    indent(out, depth);
    fprintf(out, "oneof %s {\n", type->oneofs[oneof]);
    for (size_t i = 0; i < type->field_count; i++)
        if (type->fields[i].oneof == oneof)
            print_field(out, &type->fields[i], depth + 1);
    indent(out, depth);
    fputs("}\n", out);
}

/** True for the field of a oneof with the lowest number: there the oneof is printed. */
static bool first_of_oneof(const dynamic_message *type, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (type->fields[i].oneof == type->fields[index].oneof)
            return false;
    return true;
}

static void print_enum(FILE *out, const dynamic_enum *type, unsigned depth)
{
    indent(out, depth);
    fprintf(out, "enum %s {\n", last_name(type->name));
    for (size_t i = 0; i < type->value_count; i++) {
        indent(out, depth + 1);
        fprintf(out, "%s = %d;\n", type->values[i].name, (int)type->values[i].number);
    }
    indent(out, depth);
    fputs("}\n", out);
}

static void print_message(
    FILE *out, const dynamic_schema *schema, const dynamic_message *type, unsigned depth);

/** What is declared inside it; the entries of maps are nobody's words. */
static void print_nested(
    FILE *out, const dynamic_schema *schema, const dynamic_message *type, unsigned depth)
{
    for (size_t i = 0; i < schema->message_count; i++)
        if (schema->messages[i]->parent == type && !schema->messages[i]->map_entry)
            print_message(out, schema, schema->messages[i], depth);
    for (size_t i = 0; i < schema->enum_count; i++)
        if (schema->enums[i]->parent == type)
            print_enum(out, schema->enums[i], depth);
}

/** As deep as the declarations, which the schema bounds. */
static void print_message(
    FILE *out, const dynamic_schema *schema, const dynamic_message *type, unsigned depth)
{
    indent(out, depth);
    fprintf(out, "message %s {\n", last_name(type->name));
    print_nested(out, schema, type, depth + 1);
    for (size_t i = 0; i < type->field_count; i++) {
        if (type->fields[i].oneof < 0)
            print_field(out, &type->fields[i], depth + 1);
        else if (first_of_oneof(type, i))
            print_oneof(out, type, type->fields[i].oneof, depth + 1);
    }
    indent(out, depth);
    fputs("}\n", out);
}

static void print_method(FILE *out, const dynamic_method *method, unsigned depth)
{
    indent(out, depth);
    fprintf(out, "rpc %s(%s%s) returns (%s%s);\n", method->name,
        method->client_streaming ? "stream " : "", method->input_name,
        method->server_streaming ? "stream " : "", method->output_name);
}

static void print_service(FILE *out, const dynamic_service *service)
{
    fprintf(out, "service %s {\n", last_name(service->name));
    for (size_t i = 0; i < service->method_count; i++)
        print_method(out, &service->methods[i], 1);
    fputs("}\n", out);
}

/** "package.Service/Method" or "package.Service.Method". */
static const dynamic_method *method_named(const dynamic_schema *schema, const char *name)
{
    const char *cut = strrchr(name, '/');
    if (!cut)
        cut = strrchr(name, '.');
    for (size_t i = 0; cut && i < schema->service_count; i++) {
        const dynamic_service *service = &schema->services[i];
        if (strlen(service->name) == (size_t)(cut - name) &&
            strncmp(service->name, name, (size_t)(cut - name)) == 0)
            return dynamic_find_method(service, cut + 1);
    }
    return NULL;
}

static bool print_named(FILE *out, const dynamic_schema *schema, const char *name)
{
    const dynamic_message *message = dynamic_find_message(schema, name);
    const dynamic_enum *enumeration = dynamic__find_enum(schema, name);
    const dynamic_service *service = dynamic_find_service(schema, name);
    const dynamic_method *method = method_named(schema, name);
    if (message)
        print_message(out, schema, message, 0);
    else if (enumeration)
        print_enum(out, enumeration, 0);
    else if (service)
        print_service(out, service);
    else if (method)
        print_method(out, method, 0);
    return message || enumeration || service || method;
}

rpc_code dynamic_describe(
    const dynamic_schema *schema, const char *name, char **ret_text, rpc_status *reterr)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    const bool found = out && print_named(out, schema, name);
    const bool failed = !out || ferror(out);
    if ((out && fclose(out) != 0) || failed) {
        free(text);
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "no memory to describe '%.100s'", name);
    }
    if (!found) {
        free(text);
        return rpc_status_set(
            reterr, RPC_NOT_FOUND, "there is no message, enum, service or method '%.100s'", name);
    }
    *ret_text = text;
    return RPC_OK;
}
