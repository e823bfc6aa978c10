/* SPDX-License-Identifier: Apache-2.0 */
/** VRM avatars: humanoids in glTF, with what their authors permit. Inside the module. Both kinds
 *  are read: VRM 0.x (extension VRM) and VRM 1.0 (VRMC_vrm, and VRMC_springBone,
 *  VRMC_node_constraint, VRMC_materials_mtoon and VRMC_vrm_animation beside it). All functions take
 *  documents that media__gltf_check_schema() has passed. */
#ifndef DACM_MEDIA_VRM_H
#define DACM_MEDIA_VRM_H

#include "gltf.h"

/** What the tables of vrm_schema.c cannot say. INVALID_ARGUMENT with the place, UNIMPLEMENTED for
 *  a VRMC_vrm of a version that is not 1.0.
 *  - both: the fifteen bones without which there is no humanoid (hips, spine, head, upper and lower
 *    arms and legs, hands, feet); one node for one bone; a bind's morph target is one of its mesh.
 *    VRM 0.x asks for chest and neck too; exporters leave them out, and so does this.
 *  - VRM 1.0: every bone below the bone that is above it in a body; the joints of a spring each
 *    below the one before, its center above or at the first; no constraint that depends on itself.
 *  A node in two springs is against VRM 1.0 as well and is taken: nothing here depends on it. */
rpc_code media__vrm_check(const json_t *root, rpc_status *reterr);

/** "1.0", "0.x", or "" for a document that is no VRM avatar. "1.0" where both are in it. */
const char *media__vrm_version(const json_t *root);

/** What the author lets others do. Not said is not permitted.
 *
 *  VRM 1.0 (meta):  modify       modification is allowModification or
 *                                allowModificationRedistribution
 *                   redistribute allowRedistribution
 *                   redistribute_modified
 *                                modification is allowModificationRedistribution
 *  VRM 0.x (meta.licenseName):
 *    CC0, CC_BY, CC_BY_NC, CC_BY_SA, CC_BY_NC_SA   all three
 *    CC_BY_ND, CC_BY_NC_ND                         redistribute only
 *    Redistribution_Prohibited, or none            nothing: who may not pass it on has no licence
 *                                                  that lets them change it either
 *    Other                                         what otherLicenseUrl or otherPermissionUrl says
 *                   in its query, as VRoid Hub's licence pages do (modification=allow,
 *                   redistribution=allow); modified ones may be passed on where both are allowed;
 *                   any other address: nothing, for nobody has read it
 *  Both in one document: what both permit. No VRM: all three; there is nothing to honour.
 *
 *  modify is what adaptation needs (media_adapt() refuses without). Whether a server that hands an
 *  avatar to the users whom its owner listed redistributes it, is between owner and author: the
 *  other two, and the fields below, are for those who judge that. */
typedef struct media__vrm_licence {
    bool modify, redistribute, redistribute_modified;
    char why[MEDIA_PROHIBITS_ROOM]; /* where modify is false: the field that says so, as
                                       "modification: prohibited" */
} media__vrm_licence;

void media__vrm_licence_of(const json_t *root, media__vrm_licence *ret);

/** The fields that speak of rights, for a manifest: {"vrm":"1.0"} and with the names and values
 *  that they have in meta, those of VRM 1.0 where both are in the document. Lists are cut at 8
 *  entries, and free texts (names, addresses, never what is one of several words) between
 *  characters at 256 bytes, or at what makes all of it fit. JSON in ASCII, compact, keys sorted;
 *  "" where there is no VRM. RESOURCE_EXHAUSTED: no memory. */
rpc_code media__vrm_licence_text(
    const json_t *root, char ret[MEDIA_LICENCE_ROOM], rpc_status *reterr);

#endif
