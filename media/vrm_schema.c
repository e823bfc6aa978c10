/* SPDX-License-Identifier: Apache-2.0 */
/* What VRM 0.x (extension VRM) and VRM 1.0 (extensions VRMC_…) look like: the schemas of the VRM
 * Consortium. Arrays that these want filled may be empty: exporters write them so. */
#include "schema.h"

#define NODE(n) INTO(n, "nodes")
#define BONE(n)                                                                                    \
    {                                                                                              \
        .name = n, .kind = OBJECT, .of = &bone                                                     \
    }
#define MUST_BE(n)                                                                                 \
    {                                                                                              \
        .name = n, .kind = OBJECT, REQUIRED, .of = &bone                                           \
    }
#define MUST_TEXT(n)                                                                               \
    {                                                                                              \
        .name = n, .kind = TEXT, REQUIRED                                                          \
    }
#define MANY_OF(n, o)                                                                              \
    {                                                                                              \
        .name = n, .kind = OBJECTS, LOOSE, .of = &(o)                                              \
    }

/* ---- VRM 0.x --------------------------------------------------------------------------------- */

static const char *const who_0[] = {"OnlyAuthor", "ExplicitlyLicensedPerson", "Everyone", NULL};
static const char *const permission_0[] = {"Disallow", "Allow", NULL};
static const char *const licences_0[] = {"Redistribution_Prohibited", "CC0", "CC_BY", "CC_BY_NC",
    "CC_BY_SA", "CC_BY_NC_SA", "CC_BY_ND", "CC_BY_NC_ND", "Other", NULL};
static const char *const presets_0[] = {"unknown", "neutral", "a", "i", "u", "e", "o", "blink",
    "joy", "angry", "sorrow", "fun", "lookup", "lookdown", "lookleft", "lookright", "blink_l",
    "blink_r", NULL};
static const char *const look_at_0[] = {"Bone", "BlendShape", NULL};
static const char *const bones_0[] = {"hips", "leftUpperLeg", "rightUpperLeg", "leftLowerLeg",
    "rightLowerLeg", "leftFoot", "rightFoot", "spine", "chest", "neck", "head", "leftShoulder",
    "rightShoulder", "leftUpperArm", "rightUpperArm", "leftLowerArm", "rightLowerArm", "leftHand",
    "rightHand", "leftToes", "rightToes", "leftEye", "rightEye", "jaw", "leftThumbProximal",
    "leftThumbIntermediate", "leftThumbDistal", "leftIndexProximal", "leftIndexIntermediate",
    "leftIndexDistal", "leftMiddleProximal", "leftMiddleIntermediate", "leftMiddleDistal",
    "leftRingProximal", "leftRingIntermediate", "leftRingDistal", "leftLittleProximal",
    "leftLittleIntermediate", "leftLittleDistal", "rightThumbProximal", "rightThumbIntermediate",
    "rightThumbDistal", "rightIndexProximal", "rightIndexIntermediate", "rightIndexDistal",
    "rightMiddleProximal", "rightMiddleIntermediate", "rightMiddleDistal", "rightRingProximal",
    "rightRingIntermediate", "rightRingDistal", "rightLittleProximal", "rightLittleIntermediate",
    "rightLittleDistal", "upperChest", NULL};

#define OR_NONE(n, where)                                                                          \
    {                                                                                              \
        .name = n, .kind = INDEX_OR_NONE, .into = where                                            \
    }

static const media__property xyz_properties[] = {FREE("x"), FREE("y"), FREE("z")};
static const media__object xyz = OF(xyz_properties);

static const media__property meta_0_properties[] = {STRING("title"), STRING("version"),
    STRING("author"), STRING("contactInformation"), STRING("reference"),
    OR_NONE("texture", "textures"), WORDS("allowedUserName", who_0),
    WORDS("violentUssageName", permission_0), WORDS("sexualUssageName", permission_0),
    WORDS("commercialUssageName", permission_0), STRING("otherPermissionUrl"),
    WORDS("licenseName", licences_0), STRING("otherLicenseUrl")};
static const media__object meta_0 = OF(meta_0_properties);

static const media__property bone_0_properties[] = {
    {.name = "bone", .kind = WORD, REQUIRED, .words = bones_0},
    {.name = "node", .kind = INDEX_OR_NONE, REQUIRED, .into = "nodes"}, FLAG("useDefaultValues"),
    ONE("min", xyz), ONE("max", xyz), ONE("center", xyz), FREE("axisLength")};
static const media__object bone_0 = OF(bone_0_properties);
static const media__property humanoid_0_properties[] = {
    {.name = "humanBones", .kind = OBJECTS, REQUIRED, .of = &bone_0}, FREE("armStretch"),
    FREE("legStretch"), FREE("upperArmTwist"), FREE("lowerArmTwist"), FREE("upperLegTwist"),
    FREE("lowerLegTwist"), FREE("feetSpacing"), FLAG("hasTranslationDoF")};
static const media__object humanoid_0 = OF(humanoid_0_properties);

static const media__property degrees_properties[] = {LIST("curve"), FREE("xRange"), FREE("yRange")};
static const media__object degrees = OF(degrees_properties);
static const media__property annotation_0_properties[] = {
    OR_NONE("mesh", "meshes"), STRING("firstPersonFlag")};
static const media__object annotation_0 = OF(annotation_0_properties);
static const media__property first_person_0_properties[] = {OR_NONE("firstPersonBone", "nodes"),
    ONE("firstPersonBoneOffset", xyz), MANY_OF("meshAnnotations", annotation_0),
    WORDS("lookAtTypeName", look_at_0), ONE("lookAtHorizontalInner", degrees),
    ONE("lookAtHorizontalOuter", degrees), ONE("lookAtVerticalDown", degrees),
    ONE("lookAtVerticalUp", degrees)};
static const media__object first_person_0 = OF(first_person_0_properties);

/* weight: from 0 to 100 by the schema; more is written, and harms nobody */
static const media__property bind_0_properties[] = {OR_NONE("mesh", "meshes"),
    {.name = "index", .kind = INTEGER, .min = -1, .max = MEDIA__FILE_BYTES_MAX}, FREE("weight")};
static const media__object bind_0 = OF(bind_0_properties);
static const media__property value_0_properties[] = {
    STRING("materialName"), STRING("propertyName"), LIST("targetValue")};
static const media__object value_0 = OF(value_0_properties);
static const media__property group_0_properties[] = {STRING("name"), WORDS("presetName", presets_0),
    MANY_OF("binds", bind_0), MANY_OF("materialValues", value_0), FLAG("isBinary")};
static const media__object group_0 = OF(group_0_properties);
static const media__property master_0_properties[] = {MANY_OF("blendShapeGroups", group_0)};
static const media__object master_0 = OF(master_0_properties);

static const media__property ball_0_properties[] = {ONE("offset", xyz), FREE("radius")};
static const media__object ball_0 = OF(ball_0_properties);
static const media__property colliders_0_properties[] = {
    OR_NONE("node", "nodes"), MANY_OF("colliders", ball_0)};
static const media__object colliders_0 = OF(colliders_0_properties);
static const media__property spring_0_properties[] = {STRING("comment"), FREE("stiffiness"),
    FREE("gravityPower"), ONE("gravityDir", xyz), FREE("dragForce"), OR_NONE("center", "nodes"),
    FREE("hitRadius"), {.name = "bones", .kind = INDEXES, LOOSE, .into = "nodes"},
    {.name = "colliderGroups",
        .kind = INDEXES,
        LOOSE,
        .into = "extensions/VRM/secondaryAnimation/colliderGroups"}};
static const media__object spring_0 = OF(spring_0_properties);
static const media__property secondary_0_properties[] = {
    MANY_OF("boneGroups", spring_0), MANY_OF("colliderGroups", colliders_0)};
static const media__object secondary_0 = OF(secondary_0_properties);

static const media__property any_number = {.kind = NUMBER, ANY_NUMBER};
static const media__property any_numbers = {.kind = NUMBERS, ANY_NUMBER, .max_count = MANY};
static const media__property any_texture = {.kind = INDEX_OR_NONE, .into = "textures"};
static const media__property any_flag = {.kind = BOOLEAN};
static const media__property any_text = {.kind = TEXT};
#define MAP_OF(n, e)                                                                               \
    {                                                                                              \
        .name = n, .kind = MAP, LOOSE, .each = &(e)                                                \
    }

static const media__property material_0_properties[] = {STRING("name"), STRING("shader"),
    {.name = "renderQueue", .kind = INTEGER, .min = -65536, .max = 65536},
    MAP_OF("floatProperties", any_number), MAP_OF("vectorProperties", any_numbers),
    MAP_OF("textureProperties", any_texture), MAP_OF("keywordMap", any_flag),
    MAP_OF("tagMap", any_text)};
static const media__object material_0 = OF(material_0_properties);

static const media__property vrm_0_properties[] = {STRING("exporterVersion"), STRING("specVersion"),
    {.name = "meta", .kind = OBJECT, REQUIRED, .of = &meta_0},
    {.name = "humanoid", .kind = OBJECT, REQUIRED, .of = &humanoid_0},
    ONE("firstPerson", first_person_0), ONE("blendShapeMaster", master_0),
    ONE("secondaryAnimation", secondary_0), MANY_OF("materialProperties", material_0)};
static const media__object vrm_0 = OF(vrm_0_properties);

/* ---- VRM 1.0: the avatar --------------------------------------------------------------------- */

static const char *const who_1[] = {"onlyAuthor", "onlySeparatelyLicensedPerson", "everyone", NULL};
static const char *const commerce_1[] = {
    "personalNonProfit", "personalProfit", "corporation", NULL};
static const char *const credit_1[] = {"required", "unnecessary", NULL};
static const char *const modification_1[] = {
    "prohibited", "allowModification", "allowModificationRedistribution", NULL};
static const char *const first_person_1[] = {
    "auto", "both", "thirdPersonOnly", "firstPersonOnly", NULL};
static const char *const look_at_1[] = {"bone", "expression", NULL};
static const char *const overrides[] = {"none", "block", "blend", NULL};
static const char *const colors[] = {
    "color", "emissionColor", "shadeColor", "matcapColor", "rimColor", "outlineColor", NULL};

static const media__property meta_1_properties[] = {
    {.name = "name", .kind = TEXT, REQUIRED, .min_count = 1}, STRING("version"),
    {.name = "authors", .kind = TEXTS, REQUIRED}, STRING("copyrightInformation"),
    STRING("contactInformation"), {.name = "references", .kind = TEXTS, LOOSE},
    STRING("thirdPartyLicenses"), INTO("thumbnailImage", "images"), MUST_TEXT("licenseUrl"),
    WORDS("avatarPermission", who_1), FLAG("allowExcessivelyViolentUsage"),
    FLAG("allowExcessivelySexualUsage"), WORDS("commercialUsage", commerce_1),
    FLAG("allowPoliticalOrReligiousUsage"), FLAG("allowAntisocialOrHateUsage"),
    WORDS("creditNotation", credit_1), FLAG("allowRedistribution"),
    WORDS("modification", modification_1), STRING("otherLicenseUrl")};
static const media__object meta_1 = OF(meta_1_properties);

static const media__property bone_properties[] = {
    {.name = "node", .kind = INDEX, REQUIRED, .into = "nodes"}, EXTENDED(AT_OTHER)};
static const media__object bone = OF(bone_properties);
/* clang-format off */
#define FINGERS(side)                                                                              \
    BONE(side "ThumbMetacarpal"), BONE(side "ThumbProximal"), BONE(side "ThumbDistal"),            \
    BONE(side "IndexProximal"), BONE(side "IndexIntermediate"), BONE(side "IndexDistal"),          \
    BONE(side "MiddleProximal"), BONE(side "MiddleIntermediate"), BONE(side "MiddleDistal"),       \
    BONE(side "RingProximal"), BONE(side "RingIntermediate"), BONE(side "RingDistal"),             \
    BONE(side "LittleProximal"), BONE(side "LittleIntermediate"), BONE(side "LittleDistal")
#define LIMBS(side)                                                                                \
    MUST_BE(side "UpperLeg"), MUST_BE(side "LowerLeg"), MUST_BE(side "Foot"), BONE(side "Toes"),   \
    BONE(side "Shoulder"), MUST_BE(side "UpperArm"), MUST_BE(side "LowerArm"), MUST_BE(side "Hand")
/* clang-format on */
static const media__property bones_properties[] = {MUST_BE("hips"), MUST_BE("spine"), BONE("chest"),
    BONE("upperChest"), BONE("neck"), MUST_BE("head"), BONE("leftEye"), BONE("rightEye"),
    BONE("jaw"), LIMBS("left"), LIMBS("right"), FINGERS("left"), FINGERS("right")};
static const media__object bones = OF(bones_properties);
static const media__property humanoid_properties[] = {
    {.name = "humanBones", .kind = OBJECT, REQUIRED, .of = &bones}};
static const media__object humanoid = OF(humanoid_properties);

static const media__property annotation_properties[] = {
    {.name = "node", .kind = INDEX, REQUIRED, .into = "nodes"},
    {.name = "type", .kind = WORD, REQUIRED, .words = first_person_1}};
static const media__object annotation = OF(annotation_properties);
static const media__property first_person_properties[] = {MANY_OF("meshAnnotations", annotation)};
static const media__object first_person = OF(first_person_properties);

static const media__property range_properties[] = {
    BETWEEN("inputMaxValue", 0, 180), FREE("outputScale")};
static const media__object range = OF(range_properties);
static const media__property look_at_properties[] = {VECTOR("offsetFromHeadBone", 3),
    WORDS("type", look_at_1), ONE("rangeMapHorizontalInner", range),
    ONE("rangeMapHorizontalOuter", range), ONE("rangeMapVerticalDown", range),
    ONE("rangeMapVerticalUp", range)};
static const media__object look_at = OF(look_at_properties);

/* index: of a morph target of the node's mesh (vrm.c) */
static const media__property morph_properties[] = {MUST_INTO("node", "nodes"),
    {.name = "index", .kind = INTEGER, REQUIRED, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "weight", .kind = NUMBER, REQUIRED, ANY_NUMBER}};
static const media__object morph = OF(morph_properties);
static const media__property color_properties[] = {MUST_INTO("material", "materials"),
    {.name = "type", .kind = WORD, REQUIRED, .words = colors},
    {.name = "targetValue", .kind = NUMBERS, REQUIRED, ANY_NUMBER, .min_count = 4, .max_count = 4}};
static const media__object color = OF(color_properties);
static const media__property moved_properties[] = {
    MUST_INTO("material", "materials"), VECTOR("scale", 2), VECTOR("offset", 2)};
static const media__object moved = OF(moved_properties);
static const media__property expression_properties[] = {MANY_OF("morphTargetBinds", morph),
    MANY_OF("materialColorBinds", color), MANY_OF("textureTransformBinds", moved), FLAG("isBinary"),
    WORDS("overrideBlink", overrides), WORDS("overrideLookAt", overrides),
    WORDS("overrideMouth", overrides)};
static const media__object expression = OF(expression_properties);

/* clang-format off */
#define PRESETS(o)                                                                                 \
    ONE("happy", o), ONE("angry", o), ONE("sad", o), ONE("relaxed", o), ONE("surprised", o),       \
    ONE("aa", o), ONE("ih", o), ONE("ou", o), ONE("ee", o), ONE("oh", o), ONE("blink", o),         \
    ONE("blinkLeft", o), ONE("blinkRight", o), ONE("lookUp", o), ONE("lookDown", o),               \
    ONE("lookLeft", o), ONE("lookRight", o), ONE("neutral", o)
/* clang-format on */
static const media__property presets_properties[] = {PRESETS(expression)};
static const media__object presets = OF(presets_properties);
static const media__property any_expression = {.kind = OBJECT, .of = &expression};
static const media__property expressions_properties[] = {
    ONE("preset", presets), MAP_OF("custom", any_expression)};
static const media__object expressions = OF(expressions_properties);

static const media__property vrm_1_properties[] = {MUST_TEXT("specVersion"),
    {.name = "meta", .kind = OBJECT, REQUIRED, .of = &meta_1},
    {.name = "humanoid", .kind = OBJECT, REQUIRED, .of = &humanoid},
    ONE("firstPerson", first_person), ONE("lookAt", look_at), ONE("expressions", expressions)};
static const media__object vrm_1 = OF(vrm_1_properties);

/* ---- VRM 1.0: its materials, springs, constraints and animations ----------------------------- */

static const char *const outlines[] = {"none", "worldCoordinates", "screenCoordinates", NULL};

static const media__property shift_properties[] = {
    {.name = "index", .kind = INDEX, REQUIRED, .into = "textures"},
    {.name = "texCoord", .kind = INTEGER, .min = 0, .max = 255}, FREE("scale"),
    EXTENDED(AT_TEXTURE_INFO)};
static const media__object shift = OF(shift_properties);
static const media__property mtoon_properties[] = {MUST_TEXT("specVersion"),
    FLAG("transparentWithZWrite"),
    {.name = "renderQueueOffsetNumber", .kind = INTEGER, .min = -9, .max = 9},
    UNIT("shadeColorFactor", 3), TEXTURE("shadeMultiplyTexture"), FREE("shadingShiftFactor"),
    ONE("shadingShiftTexture", shift), BETWEEN("shadingToonyFactor", 0, 1),
    BETWEEN("giEqualizationFactor", 0, 1), UNIT("matcapFactor", 3), TEXTURE("matcapTexture"),
    UNIT("parametricRimColorFactor", 3), TEXTURE("rimMultiplyTexture"),
    BETWEEN("rimLightingMixFactor", 0, 1), AT_LEAST("parametricRimFresnelPowerFactor", 0),
    FREE("parametricRimLiftFactor"), WORDS("outlineWidthMode", outlines),
    AT_LEAST("outlineWidthFactor", 0), TEXTURE("outlineWidthMultiplyTexture"),
    UNIT("outlineColorFactor", 3), BETWEEN("outlineLightingMixFactor", 0, 1),
    TEXTURE("uvAnimationMaskTexture"), FREE("uvAnimationScrollXSpeedFactor"),
    FREE("uvAnimationScrollYSpeedFactor"), FREE("uvAnimationRotationSpeedFactor")};
static const media__object mtoon = OF(mtoon_properties);

static const media__property hdr_properties[] = {AT_LEAST("emissiveMultiplier", 0)};
static const media__object hdr = OF(hdr_properties);

static rpc_code check_one_of(
    media__place *p, const json_t *value, const char *const *names, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += json_object_get(value, names[i]) != NULL;
    return found == 1 ? RPC_OK
                      : media__schema_bad(p, "", "has %zu of %s, %s%s%s, not one", found, names[0],
                            names[1], count > 2 ? ", " : "", count > 2 ? names[2] : "");
}

static rpc_code check_shape(media__place *p, const json_t *value)
{
    static const char *const names[] = {"sphere", "capsule"};
    return check_one_of(p, value, names, 2);
}
static const media__property sphere_properties[] = {VECTOR("offset", 3), AT_LEAST("radius", 0)};
static const media__object sphere = OF(sphere_properties);
static const media__property capsule_properties[] = {
    VECTOR("offset", 3), AT_LEAST("radius", 0), VECTOR("tail", 3)};
static const media__object capsule = OF(capsule_properties);
static const media__property shape_properties[] = {ONE("sphere", sphere), ONE("capsule", capsule)};
static const media__object shape = OF_RULE(shape_properties, check_shape);
static const media__property collider_properties[] = {MUST_INTO("node", "nodes"),
    {.name = "shape", .kind = OBJECT, REQUIRED, .of = &shape}, EXTENDED(AT_COLLIDER)};
static const media__object collider = OF(collider_properties);

static const media__property plane_properties[] = {VECTOR("offset", 3), VECTOR("normal", 3)};
static const media__object plane = OF(plane_properties);
static rpc_code check_extended_shape(media__place *p, const json_t *value)
{
    static const char *const names[] = {"sphere", "capsule", "plane"};
    return check_one_of(p, value, names, 3);
}
static const media__property extended_shape_properties[] = {
    ONE("sphere", sphere), ONE("capsule", capsule), ONE("plane", plane)};
static const media__object extended_shape = OF_RULE(
    extended_shape_properties, check_extended_shape);
static const media__property extended_collider_properties[] = {
    MUST_TEXT("specVersion"), ONE("shape", extended_shape)};
static const media__object extended_collider = OF(extended_collider_properties);

static const media__property collider_group_properties[] = {
    STRING("name"), {.name = "colliders",
                        .kind = INDEXES,
                        REQUIRED,
                        LOOSE,
                        .into = "extensions/VRMC_springBone/colliders"}};
static const media__object collider_group = OF(collider_group_properties);
static const media__property joint_properties[] = {MUST_INTO("node", "nodes"),
    AT_LEAST("hitRadius", 0), AT_LEAST("stiffness", 0), AT_LEAST("gravityPower", 0),
    VECTOR("gravityDir", 3), BETWEEN("dragForce", 0, 1), EXTENDED(AT_OTHER)};
static const media__object joint = OF(joint_properties);
static const media__property spring_properties[] = {STRING("name"),
    {.name = "joints", .kind = OBJECTS, REQUIRED, LOOSE, .of = &joint},
    {.name = "colliderGroups",
        .kind = INDEXES,
        LOOSE,
        .into = "extensions/VRMC_springBone/colliderGroups"},
    NODE("center")};
static const media__object spring = OF(spring_properties);
static const media__property springs_properties[] = {MUST_TEXT("specVersion"),
    MANY_OF("colliders", collider), MANY_OF("colliderGroups", collider_group),
    MANY_OF("springs", spring)};
static const media__object springs = OF(springs_properties);

static const char *const roll_axes[] = {"X", "Y", "Z", NULL};
static const char *const aim_axes[] = {
    "PositiveX", "NegativeX", "PositiveY", "NegativeY", "PositiveZ", "NegativeZ", NULL};
static const media__property roll_properties[] = {MUST_INTO("source", "nodes"),
    {.name = "rollAxis", .kind = WORD, REQUIRED, .words = roll_axes}, BETWEEN("weight", 0, 1)};
static const media__object roll = OF(roll_properties);
static const media__property aim_properties[] = {MUST_INTO("source", "nodes"),
    {.name = "aimAxis", .kind = WORD, REQUIRED, .words = aim_axes}, BETWEEN("weight", 0, 1)};
static const media__object aim = OF(aim_properties);
static const media__property turn_properties[] = {
    MUST_INTO("source", "nodes"), BETWEEN("weight", 0, 1)};
static const media__object turn = OF(turn_properties);
static rpc_code check_constraint(media__place *p, const json_t *value)
{
    static const char *const names[] = {"roll", "aim", "rotation"};
    return check_one_of(p, value, names, 3);
}
static const media__property constraint_properties[] = {
    ONE("roll", roll), ONE("aim", aim), ONE("rotation", turn)};
static const media__object constraint = OF_RULE(constraint_properties, check_constraint);
static const media__property constrained_properties[] = {
    MUST_TEXT("specVersion"), {.name = "constraint", .kind = OBJECT, REQUIRED, .of = &constraint}};
static const media__object constrained = OF(constrained_properties);

static const media__property face_properties[] = {PRESETS(bone)};
static const media__object face = OF(face_properties);
static const media__property any_bone = {.kind = OBJECT, .of = &bone};
static const media__property faces_properties[] = {ONE("preset", face), MAP_OF("custom", any_bone)};
static const media__object faces = OF(faces_properties);
static const media__property gaze_properties[] = {
    MUST_INTO("node", "nodes"), VECTOR("offsetFromHeadBone", 3)};
static const media__object gaze = OF(gaze_properties);
static const media__property animation_properties[] = {MUST_TEXT("specVersion"),
    ONE("humanoid", humanoid), ONE("expressions", faces), ONE("lookAt", gaze)};
static const media__object animation = OF(animation_properties);

static const media__extension rows[] = {
    {"VRM", AT_ROOT, &vrm_0},
    {"VRMC_vrm", AT_ROOT, &vrm_1},
    {"VRMC_springBone", AT_ROOT, &springs},
    {"VRMC_springBone_extended_collider", AT_COLLIDER, &extended_collider},
    {"VRMC_node_constraint", AT_NODE, &constrained},
    {"VRMC_materials_mtoon", AT_MATERIAL, &mtoon},
    {"VRMC_materials_hdr_emissiveMultiplier", AT_MATERIAL, &hdr},
    {"VRMC_vrm_animation", AT_ROOT, &animation},
};
const media__extensions media__vrm_extensions = {rows, sizeof rows / sizeof *rows};
