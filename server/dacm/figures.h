/* SPDX-License-Identifier: Apache-2.0 */
/** What a variant has reached, as its record keeps it, as its manifest says it and as the API lists
 *  it. */
#ifndef DACM_FIGURES_H
#define DACM_FIGURES_H

#include "dacm/v1/digital_asset.pb-c.h"
#include "records.pb-c.h"

/** The claim `figures` of a variant's manifest: a JSON object. free() it; NULL: no memory, or a
 *  record that holds no UTF-8. */
char *dacm_figures_json(const Dacm__Records__Version *variant);

/** ret borrows from the record. */
void dacm_figures_shown(const Dacm__Records__Version *variant, Dacm__V1__Figures *ret);

#endif
