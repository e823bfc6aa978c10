/* SPDX-License-Identifier: Apache-2.0 */
#include "https_client.h"

#include "certs.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* What curl prints for arguments and URL; head and body, or the code that it ended with. */
const char *https_curl(const host_https *https, const char *arguments, const char *path)
{
    static char text[20000];
    char command[1000];
    snprintf(command, sizeof command, "curl -q -s -i --noproxy '*' --max-time 30 %s '%s%s' 2>&1",
        arguments, host_https_url(https), path);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    size_t size = fread(text, 1, sizeof text - 40, out);
    text[size] = '\0';
    int status = pclose(out);
    if (status != 0)
        snprintf(text + size, 40, "\ncurl: %d", WEXITSTATUS(status));
    return text;
}

void https_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in '%s'", part, text);
}

void https_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("'%s' is in '%s'", part, text);
}

unsigned https_port(const host_https *https)
{
    return (unsigned)strtoul(strrchr(host_https_url(https), ':') + 1, NULL, 10);
}

int https_connect(const host_https *https)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)https_port(https)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* All that comes back for these bytes until the server closes. */
const char *https_rest(int fd)
{
    static char text[100000];
    size_t size = 0;
    ssize_t got;
    while ((got = recv(fd, text + size, sizeof text - 1 - size, 0)) > 0)
        size += (size_t)got;
    text[size] = '\0';
    close(fd);
    return text;
}

const char *https_raw(const host_https *https, const char *request)
{
    int fd = https_connect(https);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    return https_rest(fd);
}

void https_write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

https_files https_new_files(void)
{
    https_files made;
    const char *dir = test_tmpdir();
    snprintf(made.ca, sizeof made.ca, "%s/ca.pem", dir);
    snprintf(made.certificate, sizeof made.certificate, "%s/cert.pem", dir);
    snprintf(made.key, sizeof made.key, "%s/key.pem", dir);
    return made;
}

/* A certificate for 127.0.0.1 by a CA of its own. */
void https_issue(const https_files *to, const char *name)
{
    char ca_name[60];
    snprintf(ca_name, sizeof ca_name, "CA of %s", name);
    test_cert ca = test_ca(ca_name);
    test_cert cert = test_cert_issue(&ca, name, "IP:127.0.0.1", -60, 3600);
    https_write_file(to->ca, ca.cert_pem);
    https_write_file(to->certificate, cert.cert_pem);
    https_write_file(to->key, cert.key_pem);
    test_cert_free(&cert);
    test_cert_free(&ca);
}

host_https *https_start(const host_https_options *options)
{
    host_https *https = NULL;
    rpc_status status;
    if (host_https_start(options, &https, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return https;
}
