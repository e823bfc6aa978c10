# SPDX-License-Identifier: Apache-2.0
# cmake -DINPUT=file -DNAME=symbol -DOUTPUT=stem -P EmbedFile.cmake
# writes OUTPUT.h and OUTPUT.c with the bytes of INPUT as an array.
file(READ ${INPUT} hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "(................................)" "\\1\n" lines "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${lines}")
get_filename_component(header ${OUTPUT}.h NAME)
file(WRITE ${OUTPUT}.h
"/* made by cmake/EmbedFile.cmake */
#include <stddef.h>
extern const unsigned char ${NAME}[];
extern const size_t ${NAME}_size;
")
file(WRITE ${OUTPUT}.c
"/* made by cmake/EmbedFile.cmake */
#include \"${header}\"
const unsigned char ${NAME}[] = {
${bytes}
};
const size_t ${NAME}_size = ${size};
")
