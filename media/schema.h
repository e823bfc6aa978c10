/* SPDX-License-Identifier: Apache-2.0 */
/** What JSON objects must look like, as tables: members, types, ranges, and indexes that lead
 *  somewhere. Inside the module: gltf_schema.c has the core of glTF 2.0, gltf_extensions.c its
 *  extensions, vrm_schema.c VRM. Members that a table does not know pass; an object below
 *  `extensions` is judged by the table of that extension, and only where it belongs. */
#ifndef DACM_MEDIA_SCHEMA_H
#define DACM_MEDIA_SCHEMA_H

#include "gltf.h"

#include <math.h>

typedef enum media__kind {
    INTEGER,       /* from min to max */
    NUMBER,        /* from min to max, finite */
    BOOLEAN,       /* */
    TEXT,          /* of at least min_count bytes */
    CODE,          /* an integer of codes */
    WORD,          /* one of words */
    NUMBERS,       /* an array of min_count to max_count numbers */
    INDEX,         /* of something in /into */
    INDEX_OR_NONE, /* or -1, as VRM 0.x has it */
    INDEXES,       /* an array of at least one, each once */
    ATTRIBUTES,    /* an object of at least one index of an accessor */
    TARGETS,       /* an array of at least one of these */
    OBJECT,        /* of */
    OBJECTS,       /* an array of at least one */
    TEXTS,         /* an array of at least one, each once */
    MAP,           /* an object, each member as `each` says */
    ANYTHING,      /* an object */
    EXTENSIONS,    /* of the place `spot` */
} media__kind;

/** Where extensions may stand: a set, so that a row of media__extension may name several. */
typedef enum media__spot {
    AT_NONE = 0,
    AT_ROOT = 1 << 0,
    AT_BUFFER = 1 << 1,
    AT_VIEW = 1 << 2,
    AT_NODE = 1 << 3,
    AT_PRIMITIVE = 1 << 4,
    AT_MATERIAL = 1 << 5,
    AT_TEXTURE = 1 << 6,
    AT_TEXTURE_INFO = 1 << 7,
    AT_TARGET = 1 << 8, /* of an animation's channel */
    AT_SCENE = 1 << 9,
    AT_MESH = 1 << 10,
    AT_IMAGE = 1 << 11,
    AT_ANIMATION = 1 << 12,
    AT_ASSET = 1 << 13,
    AT_COLLIDER = 1 << 14, /* of VRMC_springBone */
    AT_OTHER = 1 << 15,    /* where no extension that is known here stands */
} media__spot;

typedef struct media__object media__object;
typedef struct media__property media__property;

struct media__property {
    const char *name;
    media__kind kind;
    bool required;
    bool above; /* of numbers: min itself is too little */
    bool loose; /* of arrays: may be empty, an entry may stand twice */
    double min, max;
    size_t min_count, max_count;
    const char *into; /* a list of the document: "nodes", or "extensions/NAME/list" */
    const media__object *of;
    const media__property *each;
    const char *const *words; /* ended by NULL */
    const int *codes;         /* ended by 0 */
    media__spot spot;
};

/** A JSON pointer that is built on the way down; cut where it is longer than anybody reads. */
typedef struct media__place {
    const json_t *root;
    json_t *used; /* extensionsUsed as an object, to look names up */
    rpc_status *reterr;
    char text[112];
    size_t size;
} media__place;

/** What a table cannot say, judged after the members. */
typedef rpc_code media__rule(media__place *p, const json_t *value);

struct media__object {
    const media__property *properties;
    size_t count;
    media__rule *rule;
};

/** An extension at one kind of place. More rows of a name: it stands at more kinds. */
typedef struct media__extension {
    const char *name;
    unsigned spots;          /* of media__spot */
    const media__object *of; /* NULL: any object */
} media__extension;

typedef struct media__extensions {
    const media__extension *rows;
    size_t count;
} media__extensions;

extern const media__extensions media__gltf_extensions; /* gltf_extensions.c */
extern const media__extensions media__vrm_extensions;  /* vrm_schema.c */

/* Of the core, and of what extensions say in the same way. */
extern const media__object media__texture_info, media__normal_texture;

/** value, which is at p, as an object of a table. INVALID_ARGUMENT with the place. */
rpc_code media__schema_check(media__place *p, const media__object *of, const json_t *value);
/** INVALID_ARGUMENT below p: "gltf: PLACE/member: …". */
rpc_code media__schema_bad(media__place *p, const char *member, const char *format, ...)
    RPC_PRINTF(3, 4);

/* clang-format off */
#define MANY              SIZE_MAX
#define OF(array)         {.properties = array, .count = sizeof(array) / sizeof *(array)}
#define OF_RULE(array, r) {.properties = array, .count = sizeof(array) / sizeof *(array), .rule = r}
#define REQUIRED          .required = true
#define LOOSE             .loose = true
#define ANY_NUMBER        .min = -HUGE_VAL, .max = HUGE_VAL
#define AT_LEAST(n, m)    {.name = n, .kind = NUMBER, .min = m, .max = HUGE_VAL}
#define ABOVE(n, m)       {.name = n, .kind = NUMBER, .min = m, .max = HUGE_VAL, .above = true}
#define BETWEEN(n, a, b)  {.name = n, .kind = NUMBER, .min = a, .max = b}
#define FREE(n)           {.name = n, .kind = NUMBER, ANY_NUMBER}
#define VECTOR(n, size)   {.name = n, .kind = NUMBERS, ANY_NUMBER, \
                           .min_count = size, .max_count = size}
#define UNIT(n, size)     {.name = n, .kind = NUMBERS, .min = 0, .max = 1, \
                           .min_count = size, .max_count = size}
#define LIST(n)           {.name = n, .kind = NUMBERS, ANY_NUMBER, .max_count = MANY}
#define INTO(n, where)    {.name = n, .kind = INDEX, .into = where}
#define MUST_INTO(n, where) {.name = n, .kind = INDEX, REQUIRED, .into = where}
#define WORDS(n, w)       {.name = n, .kind = WORD, .words = w}
#define FLAG(n)           {.name = n, .kind = BOOLEAN}
#define STRING(n)         {.name = n, .kind = TEXT}
#define ONE(n, o)         {.name = n, .kind = OBJECT, .of = &(o)}
#define SOME(n, o)        {.name = n, .kind = OBJECTS, .of = &(o)}
#define TEXTURE(n)        {.name = n, .kind = OBJECT, .of = &media__texture_info}
#define EXTENDED(where)   {.name = "extensions", .kind = EXTENSIONS, .spot = where}
#define NAMED(where)      {.name = "name", .kind = TEXT}, EXTENDED(where)
/* clang-format on */

#endif
