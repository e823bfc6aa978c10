/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <string.h>
#include <unistd.h>

dacm_code cli_sibling(const char *program, char *ret, size_t size, dacm_error *reterr)
{
    const size_t name_size = strlen(program) + 1;
    const ssize_t got = readlink("/proc/self/exe", ret, size - name_size);
    char *slash = got > 0 ? memrchr(ret, '/', (size_t)got) : NULL;
    *reterr = (dacm_error){.code = DACM_LOCAL_FILE};
    if (!slash) {
        snprintf(reterr->message, sizeof reterr->message, "cannot find this program's own folder");
        return reterr->code;
    }
    memcpy(slash + 1, program, name_size);
    if (access(ret, X_OK) == 0)
        return DACM_OK;
    snprintf(reterr->message, sizeof reterr->message,
        "there is no program '%.300s'; build the target %.40s", ret, program);
    return reterr->code;
}
