/* SPDX-License-Identifier: Apache-2.0 */
#include "dynamic.h"

#include <stdlib.h>
#include <string.h>

#define NUMBER_ROOM 40

/** 0.1 and not 0.10000000000000001. */
static void print_real(FILE *out, double value)
{
    char text[NUMBER_ROOM];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fprintf(out, strpbrk(text, ".e") ? "%s" : "%s.0", text);
}

/** jansson leaves DEL and the control characters of Latin-1 as they are; they could steer a
 *  terminal. */
static void print_escaped(FILE *out, const char *text)
{
    for (const char *at = text; *at; at++) {
        const unsigned char c = (unsigned char)at[0], next = (unsigned char)at[1];
        if (c == 0x7f)
            fputs("\\u007f", out);
        else if (c == 0xc2 && next < 0xa0)
            fprintf(out, "\\u%04x", (unsigned)(unsigned char)*++at);
        else
            fputc(c, out);
    }
}

static void print_scalar(FILE *out, const json_t *value)
{
    if (json_is_real(value)) {
        print_real(out, json_real_value(value));
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    print_escaped(out, text ? text : "null");
    free(text);
}

static void line(FILE *out, bool indented, unsigned depth)
{
    if (indented)
        fprintf(out, "\n%*s", (int)(2 * depth), "");
}

static void print_value(FILE *out, const json_t *value, bool indented, unsigned depth);

static void print_key(FILE *out, void *at)
{
    json_t *key = json_stringn(json_object_iter_key(at), json_object_iter_key_len(at));
    print_scalar(out, key);
    json_decref(key);
}

static void print_object(FILE *out, const json_t *object, bool indented, unsigned depth)
{
    json_t *walked = (json_t *)(uintptr_t)object; /* iteration changes nothing */
    const char *between = "";
    fputc('{', out);
    for (void *at = json_object_iter(walked); at; at = json_object_iter_next(walked, at)) {
        fputs(between, out);
        between = ",";
        line(out, indented, depth + 1);
        print_key(out, at);
        fputs(indented ? ": " : ":", out);
        print_value(out, json_object_iter_value(at), indented, depth + 1);
    }
    if (*between)
        line(out, indented, depth);
    fputc('}', out);
}

static void print_array(FILE *out, const json_t *array, bool indented, unsigned depth)
{
    fputc('[', out);
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0)
            fputc(',', out);
        line(out, indented, depth + 1);
        print_value(out, json_array_get(array, i), indented, depth + 1);
    }
    if (json_array_size(array) > 0)
        line(out, indented, depth);
    fputc(']', out);
}

/** As deep as the value, which dynamic_decode() bounds. */
static void print_value(FILE *out, const json_t *value, bool indented, unsigned depth)
{
    if (json_is_object(value))
        print_object(out, value, indented, depth);
    else if (json_is_array(value))
        print_array(out, value, indented, depth);
    else
        print_scalar(out, value);
}

char *dynamic_print(const json_t *value, bool indented)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    print_value(out, value, indented, 0);
    const bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
