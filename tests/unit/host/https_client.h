/* SPDX-License-Identifier: Apache-2.0 */
/** What the tests of the HTTPS server share: curl, and raw sockets where curl is too polite. */
#ifndef DACM_TEST_HTTPS_CLIENT_H
#define DACM_TEST_HTTPS_CLIENT_H

#include "http.h"

/** Fails the test when part is not, or is, in text. */
void https_has(const char *text, const char *part);
void https_lacks(const char *text, const char *part);

/** Starts or fails the test. */
host_https *https_start(const host_https_options *options);
unsigned https_port(const host_https *https);
int https_connect(const host_https *https);

/** What curl prints for arguments and URL; head and body, or "curl: " and the code that it ended
 *  with. Lives until the next call, as below. */
const char *https_curl(const host_https *https, const char *arguments, const char *path);
/** All that comes back for these bytes until the server closes. */
const char *https_raw(const host_https *https, const char *request);
/** The same on a connection that is open; closes it. */
const char *https_rest(int fd);

/** Files of certificates, in a folder of their own. */
typedef struct https_files {
    char ca[300], certificate[300], key[300];
} https_files;
https_files https_new_files(void);
void https_write_file(const char *path, const char *text);
/** A certificate for 127.0.0.1 by a CA of its own. */
void https_issue(const https_files *to, const char *name);

#endif
