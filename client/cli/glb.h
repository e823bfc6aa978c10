/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DACM_CLI_GLB_H
#define DACM_CLI_GLB_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

/** A valid glTF 2.0 binary file: a cube of one colour whose node has that name.
 *  *ret is malloc'd; False when memory is short. */
bool glb_cube(const char *name, const float colour[3], uint8_t **ret, size_t *ret_size);

#endif
