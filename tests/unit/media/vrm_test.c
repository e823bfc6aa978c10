/* SPDX-License-Identifier: Apache-2.0 */
/* VRM avatars: drawn ones from which one thing at a time is taken or changed, and what their
 * licences let others do. */
#include "gltf_text.h"

#include "vrm.h"

/* clang-format off */
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BODY                                                                                       \
    "\"nodes\":[{\"name\":\"hips\",\"children\":[1,2,5]},{\"children\":[8,9,12]},"                 \
    "{\"children\":[3]},{\"children\":[4]},{},{\"children\":[6]},{\"children\":[7]},{},{},"        \
    "{\"children\":[10]},{\"children\":[11]},{},{\"children\":[13]},{\"children\":[14]},{},"       \
    "{\"mesh\":0},{\"name\":\"free\"}],"                                                           \
    "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0},"                               \
    "\"targets\":[{\"POSITION\":0},{\"POSITION\":0}],\"material\":0}]}],"                          \
    "\"accessors\":[{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\",\"min\":[0,0,0],"        \
    "\"max\":[0,0,0]}],\"textures\":[{}],"

static const char new_one[] =
    "{\"asset\":{\"version\":\"2.0\"},\"extensionsUsed\":[\"VRMC_vrm\",\"VRMC_springBone\","
    "\"VRMC_node_constraint\",\"VRMC_materials_mtoon\",\"VRMC_springBone_extended_collider\"],"
    BODY
    "\"materials\":[{\"extensions\":{\"VRMC_materials_mtoon\":{\"specVersion\":\"1.0\","
    "\"shadeMultiplyTexture\":{\"index\":0},\"outlineWidthMode\":\"none\"}}}],"
    "\"extensions\":{\"VRMC_vrm\":{\"specVersion\":\"1.0\",\"meta\":{\"name\":\"A\","
    "\"authors\":[\"B\"],\"licenseUrl\":\"https://vrm.dev/licenses/1.0/\","
    "\"modification\":\"allowModification\"},"
    "\"humanoid\":{\"humanBones\":{\"hips\":{\"node\":0},\"spine\":{\"node\":1},"
    "\"head\":{\"node\":8},\"leftUpperLeg\":{\"node\":2},\"leftLowerLeg\":{\"node\":3},"
    "\"leftFoot\":{\"node\":4},\"rightUpperLeg\":{\"node\":5},\"rightLowerLeg\":{\"node\":6},"
    "\"rightFoot\":{\"node\":7},\"leftUpperArm\":{\"node\":9},\"leftLowerArm\":{\"node\":10},"
    "\"leftHand\":{\"node\":11},\"rightUpperArm\":{\"node\":12},\"rightLowerArm\":{\"node\":13},"
    "\"rightHand\":{\"node\":14}}},"
    "\"firstPerson\":{\"meshAnnotations\":[{\"node\":15,\"type\":\"auto\"}]},"
    "\"lookAt\":{\"type\":\"bone\",\"rangeMapVerticalUp\":{\"inputMaxValue\":90}},"
    "\"expressions\":{\"preset\":{\"happy\":{\"morphTargetBinds\":[{\"node\":15,\"index\":1,"
    "\"weight\":1}],\"materialColorBinds\":[{\"material\":0,\"type\":\"color\","
    "\"targetValue\":[1,1,1,1]}],\"overrideBlink\":\"block\"}},\"custom\":{\"wink\":{"
    "\"textureTransformBinds\":[{\"material\":0,\"offset\":[0,0]}]}}}},"
    "\"VRMC_springBone\":{\"specVersion\":\"1.0\",\"colliders\":[{\"node\":8,\"shape\":{"
    "\"sphere\":{\"radius\":0.1}},\"extensions\":{\"VRMC_springBone_extended_collider\":{"
    "\"specVersion\":\"1.0\",\"shape\":{\"plane\":{\"normal\":[0,1,0]}}}}}],"
    "\"colliderGroups\":[{\"colliders\":[0]}],\"springs\":[{\"joints\":[{\"node\":9},"
    "{\"node\":10},{\"node\":11}],\"colliderGroups\":[0],\"center\":1}]}}}";
/* clang-format on */

TEST(a_vrm_1_0_avatar_is_read)
{
    assert_text_read(new_one, "", "");
    /* what exporters write, and what harms nobody */
    assert_text_read(new_one, "\"authors\"", "\"references\":[],\"authors\"");
    assert_text_read(new_one, "\"custom\":{\"wink\"", "\"custom\":{\"\\u30a6\\u30a3\"");
    assert_text_read(new_one, "{\"node\":10},{\"node\":11}", "{\"node\":11}");
    assert_text_read(new_one, ",\"center\":1", ",\"center\":9");
}

TEST(a_vrm_1_0_avatar_that_lacks_or_misuses_a_thing_is_refused_with_the_place)
{
    static const text_case cases[] = {
        {"\"specVersion\":\"1.0\",\"meta\"", "\"meta\"", "/VRMC_vrm/specVersion: is missing"},
        {"\"meta\"", "\"Meta\"", "/VRMC_vrm/meta: is missing"},
        {"\"name\":\"A\",", "", "meta/name: is missing"},
        {"\"name\":\"A\",", "\"name\":\"\",", "meta/name: is empty"},
        {"\"authors\":[\"B\"]", "\"authors\":[]", "meta/authors"},
        {"\"authors\":[\"B\"]", "\"authors\":[7]", "meta/authors/0: is no string"},
        {"\"licenseUrl\"", "\"licenceUrl\"", "meta/licenseUrl: is missing"},
        {"allowModification", "maybe", "meta/modification: 'maybe'"},
        {"\"hips\":{\"node\":0}", "\"Hips\":{\"node\":0}", "humanBones/hips: is missing"},
        {"\"rightHand\":{\"node\":14}", "\"x\":{}", "humanBones/rightHand: is missing"},
        {"\"hips\":{\"node\":0}", "\"hips\":{\"node\":17}", "hips/node: 17: /nodes has 17"},
        {"\"hips\":{\"node\":0}", "\"hips\":{\"node\":-1}", "hips/node: is no index"},
        {"\"spine\":{\"node\":1}", "\"spine\":{\"node\":0}", "spine: node 0 is another bone"},
        {"\"head\":{\"node\":8}", "\"head\":{\"node\":16}", "head is not below spine"},
        {"\"leftFoot\":{\"node\":4}", "\"leftFoot\":{\"node\":4},\"leftToes\":{\"node\":16}",
            "leftToes is not below leftFoot"},
        {"\"leftHand\":{\"node\":11}",
            "\"leftHand\":{\"node\":11},\"leftIndexIntermediate\":{\"node\":16}",
            "leftIndexIntermediate is not below leftHand"},
        {"{\"node\":15,\"type\":\"auto\"}", "{\"node\":15}", "meshAnnotations/0/type: is missing"},
        {"\"type\":\"auto\"", "\"type\":\"Auto\"", "meshAnnotations/0/type: 'Auto'"},
        {"\"type\":\"bone\"", "\"type\":\"Bone\"", "lookAt/type"},
        {"\"inputMaxValue\":90", "\"inputMaxValue\":181", "inputMaxValue: 181 is above 180"},
        {"\"index\":1", "\"index\":2", "preset/happy/morphTargetBinds/0: morph target 2"},
        {"{\"node\":15,\"index\":1", "{\"node\":0,\"index\":0", "morph target 0: the mesh has 0"},
        {"{\"node\":15,\"index\":1", "{\"node\":99,\"index\":0", "morphTargetBinds/0/node: 99"},
        {"\"material\":0,\"type\"", "\"material\":1,\"type\"", "materialColorBinds/0/material: 1"},
        {"\"type\":\"color\"", "\"type\":\"colour\"", "materialColorBinds/0/type"},
        {"[1,1,1,1]", "[1,1,1]", "targetValue: has 3 entries"},
        {"\"overrideBlink\":\"block\"", "\"overrideBlink\":true", "overrideBlink"},
        {"\"material\":0,\"offset\"", "\"material\":-1,\"offset\"",
            "custom/wink/textureTransformBinds/0/material"},
        {"\"shadeMultiplyTexture\":{\"index\":0}", "\"shadeMultiplyTexture\":{\"index\":1}",
            "/materials/0/extensions/VRMC_materials_mtoon/shadeMultiplyTexture/index: 1"},
        {"\"outlineWidthMode\":\"none\"", "\"outlineWidthMode\":\"wide\"", "outlineWidthMode"},
        {"\"sphere\":{\"radius\":0.1}", "\"sphere\":{\"radius\":-0.1}", "sphere/radius"},
        {"\"sphere\":{\"radius\":0.1}", "\"sphere\":{},\"capsule\":{}", "has 2 of sphere"},
        {"\"plane\"", "\"plain\"", "has 0 of sphere, capsule, plane"},
        {"{\"node\":8,\"shape\"", "{\"node\":88,\"shape\"", "colliders/0/node: 88"},
        {"\"colliders\":[0]", "\"colliders\":[1]", "colliderGroups/0/colliders/0: 1"},
        {"\"colliderGroups\":[0]", "\"colliderGroups\":[3]", "springs/0/colliderGroups/0: 3"},
        {"[{\"node\":9}", "[{\"node\":16}", "springs/0: its center, node 1, is not above"},
        {"{\"node\":10},{\"node\":11}", "{\"node\":11},{\"node\":10}",
            "springs/0: joint 2, node 10, is not below the one before, node 11"},
        {"\"center\":1", "\"center\":99", "springs/0/center: 99"},
        {"\"center\":1", "\"center\":11", "its center, node 11, is not above"},
        {"{\"name\":\"free\"}",
            "{\"extensions\":{\"VRMC_node_constraint\":{\"specVersion\":\"1.0\","
            "\"constraint\":{\"roll\":{\"source\":16,\"rollAxis\":\"X\"}}}}}",
            "/nodes/16/extensions/VRMC_node_constraint: depends on itself"},
        {"{\"name\":\"free\"}",
            "{\"extensions\":{\"VRMC_node_constraint\":{\"specVersion\":\"1.0\","
            "\"constraint\":{\"roll\":{\"source\":8,\"rollAxis\":\"W\"}}}}}",
            "constraint/roll/rollAxis"},
        {"{\"name\":\"free\"}",
            "{\"extensions\":{\"VRMC_node_constraint\":{\"specVersion\":\"1.0\","
            "\"constraint\":{}}}}",
            "constraint: has 0 of roll, aim, rotation"},
        {"{\"mesh\":0}", "{\"mesh\":0,\"extensions\":{\"VRMC_vrm\":{}}}", "does not belong here"},
    };
    assert_text_refused(new_one, cases, COUNT(cases));
}

TEST(constraints_that_depend_on_each_other_are_refused)
{
    static const text_case cases[] = {{"{\"mesh\":0},{\"name\":\"free\"}",
        "{\"mesh\":0,\"extensions\":{\"VRMC_node_constraint\":{\"specVersion\":\"1.0\","
        "\"constraint\":{\"aim\":{\"source\":16,\"aimAxis\":\"PositiveX\"}}}}},"
        "{\"extensions\":{\"VRMC_node_constraint\":{\"specVersion\":\"1.0\","
        "\"constraint\":{\"rotation\":{\"source\":15}}}}}",
        "depends on itself"}};
    assert_text_refused(new_one, cases, COUNT(cases));
    assert_text_read(new_one, cases[0][0],
        "{\"mesh\":0,\"extensions\":{\"VRMC_node_constraint\":{\"specVersion\":\"1.0\","
        "\"constraint\":{\"aim\":{\"source\":16,\"aimAxis\":\"PositiveX\"}}}}},{}");
}

TEST(a_vrm_of_a_later_version_is_not_known)
{
    rpc_status status = {0};
    assert_int_equal(text_read(new_one, "\"specVersion\":\"1.0\",\"meta\"",
                         "\"specVersion\":\"2.0\",\"meta\"", &status),
        RPC_UNIMPLEMENTED);
    assert_non_null(strstr(status.message, "VRM '2.0'; 1.0 is read"));
}

/* ---- VRM 0.x --------------------------------------------------------------------------------- */

/* clang-format off */
#define B(name, node) "{\"bone\":\"" name "\",\"node\":" #node "}"
static const char old_one[] =
    "{\"asset\":{\"version\":\"2.0\"},\"extensionsUsed\":[\"VRM\"]," BODY
    "\"materials\":[{}],\"extensions\":{\"VRM\":{\"meta\":{\"title\":\"A\",\"author\":\"B\","
    "\"allowedUserName\":\"Everyone\",\"licenseName\":\"CC_BY\",\"texture\":-1},"
    "\"humanoid\":{\"humanBones\":[" B("hips", 0) "," B("spine", 1) "," B("head", 8) ","
    B("leftUpperLeg", 2) "," B("leftLowerLeg", 3) "," B("leftFoot", 4) ","
    B("rightUpperLeg", 5) "," B("rightLowerLeg", 6) "," B("rightFoot", 7) ","
    B("leftUpperArm", 9) "," B("leftLowerArm", 10) "," B("leftHand", 11) ","
    B("rightUpperArm", 12) "," B("rightLowerArm", 13) "," B("rightHand", 14) "]},"
    "\"firstPerson\":{\"firstPersonBone\":8,\"meshAnnotations\":[{\"mesh\":0,"
    "\"firstPersonFlag\":\"Auto\"}],\"lookAtTypeName\":\"Bone\"},"
    "\"blendShapeMaster\":{\"blendShapeGroups\":[{\"name\":\"Joy\",\"presetName\":\"joy\","
    "\"binds\":[{\"mesh\":0,\"index\":1,\"weight\":100}],\"materialValues\":[]}]},"
    "\"secondaryAnimation\":{\"boneGroups\":[{\"stiffiness\":1,\"center\":-1,\"bones\":[9],"
    "\"gravityDir\":{\"x\":0,\"y\":-1,\"z\":0},\"colliderGroups\":[0]}],"
    "\"colliderGroups\":[{\"node\":8,\"colliders\":[{\"offset\":{\"x\":0},\"radius\":0.1}]}]},"
    "\"materialProperties\":[{\"name\":\"m\",\"shader\":\"VRM/MToon\",\"renderQueue\":2000,"
    "\"floatProperties\":{\"_Cutoff\":0.5},\"vectorProperties\":{\"_Color\":[1,1,1,1]},"
    "\"textureProperties\":{\"_MainTex\":0},\"keywordMap\":{\"_ALPHABLEND_ON\":false},"
    "\"tagMap\":{\"RenderType\":\"Opaque\"}}]}}}";
/* clang-format on */

TEST(a_vrm_0_x_avatar_is_read)
{
    assert_text_read(old_one, "", "");
    assert_text_read(old_one, "\"firstPersonBone\":8", "\"firstPersonBone\":-1");
    assert_text_read(old_one, "\"weight\":100", "\"weight\":100.5");
    assert_text_read(old_one, "{\"mesh\":0,\"index\":1", "{\"mesh\":-1,\"index\":-1");
    assert_text_read(old_one, "\"bones\":[9]", "\"bones\":[]");
}

TEST(a_vrm_0_x_avatar_that_lacks_or_misuses_a_thing_is_refused_with_the_place)
{
    static const text_case cases[] = {
        {"\"meta\"", "\"Meta\"", "/extensions/VRM/meta: is missing"},
        {"\"humanoid\"", "\"human\"", "/extensions/VRM/humanoid: is missing"},
        {"Everyone", "Nobody", "meta/allowedUserName: 'Nobody'"},
        {"CC_BY", "MIT", "meta/licenseName: 'MIT'"},
        {"\"texture\":-1", "\"texture\":-2", "meta/texture: is no index"},
        {"\"texture\":-1", "\"texture\":1", "meta/texture: 1: /textures has 1"},
        {B("hips", 0), B("hips", 17), "humanBones/0/node: 17: /nodes has 17"},
        {B("hips", 0), B("hips", -1), "the bone hips is missing"},
        {B("hips", 0), B("Hips", 0), "humanBones/0/bone: 'Hips'"},
        {B("hips", 0), B("jaw", 0), "the bone hips is missing"},
        {B("head", 8), B("head", 0), "head: node 0 is another bone already"},
        {"\"firstPersonBone\":8", "\"firstPersonBone\":80", "firstPersonBone: 80"},
        {"{\"mesh\":0,\"firstPerson", "{\"mesh\":1,\"firstPerson", "meshAnnotations/0/mesh: 1"},
        {"\"Bone\"", "\"bone\"", "lookAtTypeName: 'bone'"},
        {"\"joy\"", "\"joyful\"", "blendShapeGroups/0/presetName: 'joyful'"},
        {"\"index\":1", "\"index\":2", "blendShapeGroups/0/binds/0: morph target 2: the mesh has"},
        {"{\"mesh\":0,\"index\"", "{\"mesh\":4,\"index\"", "binds/0/mesh: 4"},
        {"\"center\":-1", "\"center\":17", "boneGroups/0/center: 17"},
        {"\"bones\":[9]", "\"bones\":[9,90]", "boneGroups/0/bones/1: 90"},
        {"\"colliderGroups\":[0]", "\"colliderGroups\":[1]",
            "boneGroups/0/colliderGroups/0: 1: /extensions/VRM/secondaryAnimation/colliderGroups"},
        {"{\"node\":8,\"colliders\"", "{\"node\":88,\"colliders\"", "colliderGroups/0/node: 88"},
        {"\"_MainTex\":0", "\"_MainTex\":5", "textureProperties/_MainTex: 5"},
        {"\"_Cutoff\":0.5", "\"_Cutoff\":\"x\"", "floatProperties/_Cutoff: is no number"},
        {"\"_Color\":[1,1,1,1]", "\"_Color\":[1,true]", "vectorProperties/_Color/1"},
        {"[\"VRM\"]", "[\"ACME_hair\"]", "/extensions/VRM: is used"},
    };
    assert_text_refused(old_one, cases, COUNT(cases));
}

/* ---- licences -------------------------------------------------------------------------------- */

static json_t *json_of(const char *good, const char *from, const char *to)
{
    char text[8192];
    const char *at = strstr(good, from);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    json_t *json = NULL;
    rpc_status status = {0};
    if (media__json_read(rpc_bytes_str(text), &json, &status) != RPC_OK ||
        media__gltf_check_schema(json, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return json;
}

/* may: "mrx" for modify, redistribute, and redistribute modified ones. */
static void assert_licence(
    const char *good, const char *from, const char *to, const char *may, const char *why)
{
    json_t *json = json_of(good, from, to);
    media__vrm_licence l;
    media__vrm_licence_of(json, &l);
    char found[4] = "";
    snprintf(found, sizeof found, "%s%s%s", l.modify ? "m" : "", l.redistribute ? "r" : "",
        l.redistribute_modified ? "x" : "");
    if (strcmp(found, may) != 0 || strcmp(l.why, why) != 0)
        fail_msg("%s: '%s' '%s', not '%s' '%s'", to, found, l.why, may, why);
    json_decref(json);
}

TEST(vrm_1_0_permits_what_its_meta_says_and_nothing_else)
{
    static const char said[] = "\"modification\":\"allowModification\"";
    assert_licence(new_one, said, said, "m", "");
    assert_licence(new_one, said, "\"modification\":\"allowModificationRedistribution\"", "mx", "");
    assert_licence(new_one, said,
        "\"modification\":\"allowModificationRedistribution\",\"allowRedistribution\":true", "mrx",
        "");
    assert_licence(new_one, said, "\"modification\":\"prohibited\",\"allowRedistribution\":true",
        "r", "modification: prohibited");
    assert_licence(new_one, said, "\"version\":\"1\"", "", "modification: not said");
}

TEST(vrm_0_x_permits_what_its_licence_is_known_to)
{
#define HUB(query)                                                                                 \
    "\"licenseName\":\"Other\",\"otherLicenseUrl\":\"https://hub.vroid.com/license?" query "\""
    static const char said[] = "\"licenseName\":\"CC_BY\"";
    static const char *const free_ones[] = {"CC0", "CC_BY", "CC_BY_NC", "CC_BY_SA", "CC_BY_NC_SA"};
    for (size_t i = 0; i < COUNT(free_ones); i++) {
        char to[64];
        snprintf(to, sizeof to, "\"licenseName\":\"%s\"", free_ones[i]);
        assert_licence(old_one, said, to, "mrx", "");
    }
    assert_licence(old_one, said, "\"licenseName\":\"CC_BY_ND\"", "r", "licenseName: CC_BY_ND");
    assert_licence(
        old_one, said, "\"licenseName\":\"CC_BY_NC_ND\"", "r", "licenseName: CC_BY_NC_ND");
    assert_licence(old_one, said, "\"licenseName\":\"Redistribution_Prohibited\"", "",
        "licenseName: Redistribution_Prohibited");
    assert_licence(old_one, said, "\"version\":\"1\"", "", "licenseName: not said");
    assert_licence(old_one, said, "\"licenseName\":\"Other\"", "", "licenseName: Other");
    assert_licence(old_one, said,
        "\"licenseName\":\"Other\",\"otherLicenseUrl\":\"https://example.org/?modification=allow\"",
        "", "licenseName: Other");
    assert_licence(
        old_one, said, HUB("credit=necessary&modification=allow&redistribution=allow"), "mrx", "");
    assert_licence(old_one, said, HUB("modification=allow&redistribution=disallow"), "m", "");
    assert_licence(old_one, said, HUB("modification=disallow&redistribution=allow"), "r",
        "VRoid Hub: modification is not allowed");
    assert_licence(
        old_one, said, HUB("modification=allowed"), "", "VRoid Hub: modification is not allowed");
    assert_licence(old_one, said, HUB("x_modification=allow"), "", "licenseName: Other");
    /* what one address allows and forbids, and what is behind its query */
    assert_licence(old_one, said,
        HUB("modification=allow&redistribution=allow&modification=disallow"), "r",
        "VRoid Hub: modification is not allowed");
    assert_licence(
        old_one, said, HUB("credit=necessary#&modification=allow"), "", "licenseName: Other");
    /* what one address allows and the other forbids */
    assert_licence(old_one, said,
        HUB("modification=allow&redistribution=allow") ",\"otherPermissionUrl\":"
                                                       "\"https://hub.vroid.com/license?"
                                                       "modification=disallow\"",
        "r", "VRoid Hub: modification is not allowed");
}

TEST(a_document_without_vrm_has_no_licence_to_honour)
{
    assert_licence("{\"asset\":{\"version\":\"2.0\"}}", "", "", "mrx", "");
}

static void assert_fields(const char *good, const char *from, const char *to, const char *expected)
{
    json_t *json = json_of(good, from, to);
    char text[MEDIA_LICENCE_ROOM];
    rpc_status status;
    assert_int_equal(media__vrm_licence_text(json, text, &status), RPC_OK);
    assert_string_equal(text, expected);
    json_decref(json);
}

TEST(the_fields_of_a_licence_are_carried_as_they_are)
{
    assert_fields(new_one, "", "",
        "{\"authors\":[\"B\"],\"licenseUrl\":\"https://vrm.dev/licenses/1.0/\","
        "\"modification\":\"allowModification\",\"name\":\"A\",\"vrm\":\"1.0\"}");
    assert_fields(old_one, "", "",
        "{\"allowedUserName\":\"Everyone\",\"author\":\"B\",\"licenseName\":\"CC_BY\","
        "\"title\":\"A\",\"vrm\":\"0.x\"}");
    assert_fields("{\"asset\":{\"version\":\"2.0\"}}", "", "", "");
}

/* count times what, then an end. */
static void put_times(char *at, const char *what, size_t count, const char *end)
{
    const size_t size = strlen(what);
    for (size_t i = 0; i < count; i++)
        memcpy(at + i * size, what, size);
    memcpy(at + count * size, end, strlen(end) + 1);
}

TEST(long_texts_of_a_licence_are_cut_between_characters)
{
    char to[512] = "\"title\":\"x";
    char expected[1024] = "{\"allowedUserName\":\"Everyone\",\"author\":\"B\","
                          "\"licenseName\":\"CC_BY\",\"title\":\"x";
    put_times(to + strlen(to), "\xc3\xa4", 200, "\"");
    /* with the x 255 bytes: of one more there is room for half */
    put_times(expected + strlen(expected), "\\u00E4", 127, "\",\"vrm\":\"0.x\"}");
    assert_fields(old_one, "\"title\":\"A\"", to, expected);
}

TEST(texts_of_a_licence_are_cut_to_what_fits_and_rights_are_never)
{
    char to[4096] = "\"title\":\"", text[MEDIA_LICENCE_ROOM];
    put_times(to + strlen(to), "\\u0001", 300, "\",\"reference\":\"");
    put_times(to + strlen(to), "\\u0001", 300, "\"");
    json_t *json = json_of(old_one, "\"title\":\"A\"", to);
    rpc_status status;
    assert_int_equal(media__vrm_licence_text(json, text, &status), RPC_OK);
    json_t *read = json_loads(text, 0, NULL);
    assert_int_equal(json_string_length(json_object_get(read, "title")), 128);
    assert_int_equal(json_string_length(json_object_get(read, "reference")), 128);
    assert_string_equal(json_string_value(json_object_get(read, "licenseName")), "CC_BY");
    json_decref(read);
    json_decref(json);
}

TEST(the_version_of_an_avatar_is_known)
{
    json_t *one = json_of(new_one, "", ""), *other = json_of(old_one, "", "");
    json_t *neither = json_of("{\"asset\":{\"version\":\"2.0\"}}", "", "");
    assert_string_equal(media__vrm_version(one), "1.0");
    assert_string_equal(media__vrm_version(other), "0.x");
    assert_string_equal(media__vrm_version(neither), "");
    json_decref(one);
    json_decref(other);
    json_decref(neither);
}

static rpc_code adapt_changed(const char *from, const char *to, rpc_status *ret)
{
    char text[8192];
    const char *at = strstr(new_one, from);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - new_one), new_one, to, at + strlen(from));
    media_recipe recipe;
    media_result result;
    assert_int_equal(media_recipe_read(rpc_bytes_str("{\"lod\":1}"), &recipe, ret), RPC_OK);
    const rpc_code code = media_adapt(rpc_bytes_str(text), &recipe, &result, ret);
    media_recipe_done(&recipe);
    if (code == RPC_OK)
        media_result_done(&result);
    return code;
}

TEST(an_avatar_whose_author_prohibits_it_is_not_modified)
{
    rpc_status status = {0};
    if (adapt_changed("", "", &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_int_equal(
        adapt_changed("allowModification", "prohibited", &status), RPC_FAILED_PRECONDITION);
    assert_non_null(strstr(status.message, "(modification: prohibited): only the original"));
}
