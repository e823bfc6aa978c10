/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where stb_image_resize is compiled; without our warnings (CMakeLists.txt). */
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#include <stb/stb_image_resize.h>
