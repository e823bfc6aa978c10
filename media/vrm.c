/* SPDX-License-Identifier: Apache-2.0 */
/* What VRM asks for beyond its schema. */
#include "vrm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct walk {
    const json_t *root;
    rpc_status *reterr;
    char place[112];
    size_t node_count;
    size_t *parents;         /* of nodes; NO_NODE: a root */
    size_t *enters, *leaves; /* of nodes, in the order of a walk down every tree */
    uint8_t *taken;          /* nodes that are bones */
} walk;

#define NO_NODE     SIZE_MAX
#define BAD(w, ...) media__gltf_bad((w)->reterr, (w)->place, __VA_ARGS__)

static const json_t *extension(const json_t *object, const char *name)
{
    return json_object_get(json_object_get(object, "extensions"), name);
}

/* ---- ancestors ------------------------------------------------------------------------------- */

static const json_t *children_of(const walk *w, size_t node)
{
    return json_object_get(json_array_get(json_object_get(w->root, "nodes"), node), "children");
}

/* Down a tree of any depth without a stack: next[] has the child that comes next. */
static void number_tree(walk *w, size_t top, size_t *next, size_t *clock)
{
    w->enters[top] = ++*clock;
    for (size_t at = top; at != NO_NODE;) {
        const json_t *child = json_array_get(children_of(w, at), next[at]);
        if (child) {
            next[at]++;
            at = (size_t)json_integer_value(child);
            w->enters[at] = ++*clock;
        } else {
            w->leaves[at] = ++*clock;
            at = w->parents[at];
        }
    }
}

static bool number_nodes(walk *w)
{
    size_t *next = calloc(w->node_count + 1, sizeof *next), clock = 0;
    for (size_t i = 0; next && i < w->node_count; i++)
        w->parents[i] = NO_NODE;
    for (size_t i = 0; next && i < w->node_count; i++) {
        const json_t *children = children_of(w, i);
        for (size_t j = 0; j < json_array_size(children); j++)
            w->parents[json_integer_value(json_array_get(children, j))] = i;
    }
    for (size_t i = 0; next && i < w->node_count; i++)
        if (w->parents[i] == NO_NODE)
            number_tree(w, i, next, &clock);
    free(next);
    return next != NULL;
}

static bool is_below(const walk *w, size_t node, size_t above)
{
    return node != above && w->enters[above] < w->enters[node] &&
           w->leaves[node] < w->leaves[above];
}

/* ---- humanoids ------------------------------------------------------------------------------- */

static rpc_code take_bone(walk *w, const char *name, size_t node)
{
    if (w->taken[node])
        return BAD(w, "%.40s: node %zu is another bone already", name, node);
    w->taken[node] = 1;
    return RPC_OK;
}

static void forget_bones(walk *w)
{
    memset(w->taken, 0, w->node_count);
}

static rpc_code check_bones_0(walk *w, const json_t *humanoid)
{
    static const char *const required[] = {"hips", "spine", "head", "leftUpperLeg", "leftLowerLeg",
        "leftFoot", "rightUpperLeg", "rightLowerLeg", "rightFoot", "leftUpperArm", "leftLowerArm",
        "leftHand", "rightUpperArm", "rightLowerArm", "rightHand"};
    enum { REQUIRED_BONES = sizeof required / sizeof *required };
    bool found[REQUIRED_BONES] = {false};
    const json_t *bones = json_object_get(humanoid, "humanBones");
    forget_bones(w);
    for (size_t i = 0; i < json_array_size(bones); i++) {
        const json_t *bone = json_array_get(bones, i);
        const char *name = json_string_value(json_object_get(bone, "bone"));
        const json_int_t node = json_integer_value(json_object_get(bone, "node"));
        snprintf(w->place, sizeof w->place, "/extensions/VRM/humanoid/humanBones/%zu", i);
        if (node < 0)
            continue;
        const rpc_code code = take_bone(w, name, (size_t)node);
        if (code != RPC_OK)
            return code;
        for (size_t j = 0; j < REQUIRED_BONES; j++)
            found[j] = found[j] || strcmp(required[j], name) == 0;
    }
    snprintf(w->place, sizeof w->place, "/extensions/VRM/humanoid/humanBones");
    for (size_t j = 0; j < REQUIRED_BONES; j++)
        if (!found[j])
            return BAD(w, "the bone %s is missing", required[j]);
    return RPC_OK;
}

/* The bone above, in a body; where it is not there, the one above that. */
static const char *bone_above(const char *bone, char *room, size_t size)
{
    static const char *const above[][2] = {{"spine", "hips"}, {"chest", "spine"},
        {"upperChest", "chest"}, {"neck", "upperChest"}, {"head", "neck"}, {"leftEye", "head"},
        {"rightEye", "head"}, {"jaw", "head"}, {"UpperLeg", "hips"}, {"LowerLeg", "*UpperLeg"},
        {"Foot", "*LowerLeg"}, {"Toes", "*Foot"}, {"Shoulder", "upperChest"},
        {"UpperArm", "*Shoulder"}, {"LowerArm", "*UpperArm"}, {"Hand", "*LowerArm"},
        {"ThumbMetacarpal", "*Hand"}, {"ThumbProximal", "*ThumbMetacarpal"},
        {"ThumbDistal", "*ThumbProximal"}, {"IndexProximal", "*Hand"},
        {"IndexIntermediate", "*IndexProximal"}, {"IndexDistal", "*IndexIntermediate"},
        {"MiddleProximal", "*Hand"}, {"MiddleIntermediate", "*MiddleProximal"},
        {"MiddleDistal", "*MiddleIntermediate"}, {"RingProximal", "*Hand"},
        {"RingIntermediate", "*RingProximal"}, {"RingDistal", "*RingIntermediate"},
        {"LittleProximal", "*Hand"}, {"LittleIntermediate", "*LittleProximal"},
        {"LittleDistal", "*LittleIntermediate"}};
    const bool left = strncmp(bone, "left", 4) == 0, right = strncmp(bone, "right", 5) == 0;
    const char *part = left ? bone + 4 : right ? bone + 5 : bone;
    for (size_t i = 0; i < sizeof above / sizeof *above; i++) {
        if (strcmp(above[i][0], part) != 0 && strcmp(above[i][0], bone) != 0)
            continue;
        if (above[i][1][0] != '*')
            return above[i][1];
        snprintf(room, size, "%s%s", left ? "left" : "right", above[i][1] + 1);
        return room;
    }
    return NULL;
}

static rpc_code check_parent(walk *w, const json_t *bones, const char *bone, size_t node)
{
    char rooms[2][32];
    const char *above = bone;
    const json_t *found = NULL;
    for (unsigned i = 0; above && !found; i++) {
        above = bone_above(above, rooms[i % 2], sizeof rooms[0]);
        found = above ? json_object_get(bones, above) : NULL;
    }
    const size_t parent = (size_t)json_integer_value(json_object_get(found, "node"));
    return found && !is_below(w, node, parent)
               ? BAD(w, "%s is not below %s: nodes %zu and %zu", bone, above, node, parent)
               : RPC_OK;
}

/* what: VRMC_vrm or VRMC_vrm_animation. */
static rpc_code check_bones_1(walk *w, const json_t *humanoid, const char *what)
{
    json_t *bones = json_object_get(humanoid, "humanBones");
    rpc_code code = RPC_OK;
    snprintf(w->place, sizeof w->place, "/extensions/%s/humanoid/humanBones", what);
    forget_bones(w);
    for (void *at = json_object_iter(bones); code == RPC_OK && at;
         at = json_object_iter_next(bones, at)) {
        char room[32];
        const char *name = json_object_iter_key(at);
        const json_t *index = json_object_get(json_object_iter_value(at), "node");
        const size_t node = (size_t)json_integer_value(index);
        if (strcmp(name, "hips") != 0 && !bone_above(name, room, sizeof room))
            continue; /* no bone: extensions, extras */
        code = take_bone(w, name, node);
        if (code == RPC_OK)
            code = check_parent(w, bones, name, node);
    }
    return code;
}

/* ---- morph targets --------------------------------------------------------------------------- */

static rpc_code check_target(walk *w, const json_t *mesh_index, size_t target)
{
    const json_t *meshes = json_object_get(w->root, "meshes");
    const json_t *mesh = mesh_index ? json_array_get(meshes, (size_t)json_integer_value(mesh_index))
                                    : NULL;
    const json_t *primitives = json_object_get(mesh, "primitives");
    const size_t count = json_array_size(json_object_get(json_array_get(primitives, 0), "targets"));
    return target >= count ? BAD(w, "morph target %zu: the mesh has %zu", target, count) : RPC_OK;
}

static rpc_code check_groups_0(walk *w, const json_t *vrm)
{
    const json_t *groups = json_object_get(
        json_object_get(vrm, "blendShapeMaster"), "blendShapeGroups");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *binds = json_object_get(json_array_get(groups, i), "binds");
        for (size_t j = 0; j < json_array_size(binds); j++) {
            const json_t *mesh = json_object_get(json_array_get(binds, j), "mesh");
            const json_int_t target = json_integer_value(
                json_object_get(json_array_get(binds, j), "index"));
            snprintf(w->place, sizeof w->place,
                "/extensions/VRM/blendShapeMaster/blendShapeGroups/%zu/binds/%zu", i, j);
            if (!mesh || json_integer_value(mesh) < 0 || target < 0)
                continue; /* binds nothing */
            const rpc_code code = check_target(w, mesh, (size_t)target);
            if (code != RPC_OK)
                return code;
        }
    }
    return RPC_OK;
}

static rpc_code check_expressions(walk *w, json_t *expressions, const char *kind)
{
    for (void *at = json_object_iter(expressions); at;
         at = json_object_iter_next(expressions, at)) {
        const json_t *binds = json_object_get(json_object_iter_value(at), "morphTargetBinds");
        for (size_t i = 0; i < json_array_size(binds); i++) {
            const json_t *bind = json_array_get(binds, i);
            const json_t *node = json_array_get(json_object_get(w->root, "nodes"),
                (size_t)json_integer_value(json_object_get(bind, "node")));
            snprintf(w->place, sizeof w->place,
                "/extensions/VRMC_vrm/expressions/%s/%.24s/morphTargetBinds/%zu", kind,
                json_object_iter_key(at), i);
            const rpc_code code = check_target(w, json_object_get(node, "mesh"),
                (size_t)json_integer_value(json_object_get(bind, "index")));
            if (code != RPC_OK)
                return code;
        }
    }
    return RPC_OK;
}

/* ---- springs and constraints ----------------------------------------------------------------- */

static rpc_code check_spring(walk *w, const json_t *spring)
{
    const json_t *joints = json_object_get(spring, "joints");
    const json_t *center = json_object_get(spring, "center");
    size_t before = NO_NODE;
    for (size_t i = 0; i < json_array_size(joints); i++) {
        const size_t node = (size_t)json_integer_value(
            json_object_get(json_array_get(joints, i), "node"));
        const size_t above = (size_t)json_integer_value(center);
        if (i == 0 && center && node != above && !is_below(w, node, above))
            return BAD(w, "its center, node %zu, is not above its first joint", above);
        if (before != NO_NODE && !is_below(w, node, before))
            return BAD(
                w, "joint %zu, node %zu, is not below the one before, node %zu", i, node, before);
        before = node;
    }
    return RPC_OK;
}

static rpc_code check_springs(walk *w)
{
    const json_t *springs = json_object_get(extension(w->root, "VRMC_springBone"), "springs");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(springs); i++) {
        snprintf(w->place, sizeof w->place, "/extensions/VRMC_springBone/springs/%zu", i);
        code = check_spring(w, json_array_get(springs, i));
    }
    return code;
}

/* The node that a node's constraint looks at. */
static size_t source_of(const walk *w, size_t node)
{
    static const char *const kinds[] = {"roll", "aim", "rotation"};
    const json_t *constraint = json_object_get(
        extension(json_array_get(json_object_get(w->root, "nodes"), node), "VRMC_node_constraint"),
        "constraint");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const json_t *source = json_object_get(json_object_get(constraint, kinds[i]), "source");
        if (source)
            return (size_t)json_integer_value(source);
    }
    return NO_NODE;
}

/* Who has one source at most depends on itself, or on somebody without. */
static rpc_code check_constraints(walk *w)
{
    forget_bones(w); /* from here on: nodes that depend on nobody in the end */
    for (size_t i = 0; i < w->node_count; i++) {
        size_t steps = 0;
        for (size_t at = i; at != NO_NODE && !w->taken[at]; at = source_of(w, at))
            if (++steps > w->node_count) {
                snprintf(
                    w->place, sizeof w->place, "/nodes/%zu/extensions/VRMC_node_constraint", i);
                return BAD(w, "depends on itself");
            }
        for (size_t at = i; at != NO_NODE && !w->taken[at]; at = source_of(w, at))
            w->taken[at] = 1;
    }
    return RPC_OK;
}

/* ---- the document ---------------------------------------------------------------------------- */

static rpc_code check_0(walk *w)
{
    const json_t *vrm = extension(w->root, "VRM");
    if (!vrm)
        return RPC_OK;
    const rpc_code code = check_bones_0(w, json_object_get(vrm, "humanoid"));
    return code == RPC_OK ? check_groups_0(w, vrm) : code;
}

static rpc_code check_1(walk *w)
{
    const json_t *vrm = extension(w->root, "VRMC_vrm");
    if (!vrm)
        return RPC_OK;
    const char *version = json_string_value(json_object_get(vrm, "specVersion"));
    if (strcmp(version, "1.0") != 0 && strcmp(version, "1.0-beta") != 0)
        return rpc_status_set(w->reterr, RPC_UNIMPLEMENTED,
            "gltf: /extensions/VRMC_vrm/specVersion: VRM '%.16s'; 1.0 is read", version);
    const json_t *expressions = json_object_get(vrm, "expressions");
    rpc_code code = check_bones_1(w, json_object_get(vrm, "humanoid"), "VRMC_vrm");
    if (code == RPC_OK)
        code = check_expressions(w, json_object_get(expressions, "preset"), "preset");
    return code == RPC_OK ? check_expressions(w, json_object_get(expressions, "custom"), "custom")
                          : code;
}

static rpc_code check_all(walk *w)
{
    rpc_code code = check_0(w);
    if (code == RPC_OK)
        code = check_1(w);
    if (code == RPC_OK)
        code = check_bones_1(w,
            json_object_get(extension(w->root, "VRMC_vrm_animation"), "humanoid"),
            "VRMC_vrm_animation");
    if (code == RPC_OK)
        code = check_springs(w);
    return code == RPC_OK ? check_constraints(w) : code;
}

rpc_code media__vrm_check(const json_t *root, rpc_status *reterr)
{
    walk w = {.root = root,
        .reterr = reterr,
        .node_count = json_array_size(json_object_get(root, "nodes"))};
    w.parents = malloc((w.node_count + 1) * sizeof *w.parents);
    w.enters = malloc((w.node_count + 1) * sizeof *w.enters);
    w.leaves = malloc((w.node_count + 1) * sizeof *w.leaves);
    w.taken = calloc(w.node_count + 1, 1);
    const rpc_code code = w.parents && w.enters && w.leaves && w.taken && number_nodes(&w)
                              ? check_all(&w)
                              : media__no_memory(reterr);
    free(w.parents);
    free(w.enters);
    free(w.leaves);
    free(w.taken);
    return code;
}

const char *media__vrm_version(const json_t *root)
{
    return extension(root, "VRMC_vrm") ? "1.0" : extension(root, "VRM") ? "0.x" : "";
}
