/* SPDX-License-Identifier: Apache-2.0 */
/* Names of certificates, which may come from anybody: judged one by one, and put into the
 * extension as ASN.1 values. No text that OpenSSL would parse is ever made of them. */
#include "pki_internal.h"

#include "cleanup.h"

#include <arpa/inet.h>
#include <string.h>

#define DNS_BYTES_MAX   253
#define LABEL_BYTES_MAX 63
#define SHOWN_BYTES     64 /* of a refused name */

static void names_freep(GENERAL_NAMES **names)
{
    sk_GENERAL_NAME_pop_free(*names, GENERAL_NAME_free);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---- what is a name ---------------------------------------------------------------------- */

/* Control characters of ASCII and of Latin-1 (U+0080–U+009F) are not for people. */
static bool has_control(rpc_bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        const uint8_t c = text.data[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && text.data[i + 1] < 0xa0))
            return true;
    }
    return false;
}

const char *trust__common_name_fault(const char *name)
{
    if (!name || !name[0])
        return "is empty";
    const rpc_bytes text = rpc_bytes_of(name, strnlen(name, 4 * TRUST_COMMON_NAME_MAX + 1));
    if (!rpc_utf8_valid(text))
        return "is not UTF-8, or far too long";
    size_t characters = 0;
    for (size_t i = 0; i < text.size; i++)
        characters += (text.data[i] & 0xc0) != 0x80;
    if (characters > TRUST_COMMON_NAME_MAX)
        return "has more than 64 characters";
    return has_control(text) ? "has a control character" : NULL;
}

static const char *label_fault(const char *label, size_t size)
{
    if (size == 0)
        return "has an empty label";
    if (size > LABEL_BYTES_MAX)
        return "has a label of more than 63 bytes";
    if (label[0] == '-' || label[size - 1] == '-')
        return "has a label that begins or ends with '-'";
    for (size_t i = 0; i < size; i++)
        if (!is_letter(label[i]) && !is_digit(label[i]) && label[i] != '-')
            return "may have letters, digits, '-' and '.' only";
    return NULL;
}

static const char *dns_fault(const char *name)
{
    if (strnlen(name, DNS_BYTES_MAX + 1) > DNS_BYTES_MAX)
        return "has more than 253 bytes";
    const bool wildcard = strncmp(name, "*.", 2) == 0;
    const char *label = wildcard ? name + 2 : name;
    if (wildcard && !strchr(label, '.'))
        return "has '*.' before less than two labels";
    for (;;) {
        const size_t size = strcspn(label, ".");
        const char *fault = label_fault(label, size);
        if (fault)
            return fault;
        if (!label[size])
            break;
        label += size + 1;
    }
    /* Readers would take it for an address. */
    return strspn(label, "0123456789") == strlen(label) ? "ends in a number; is it an address?"
                                                        : NULL;
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static const char *uri_fault(const char *uri)
{
    if (strnlen(uri, TRUST_CERTIFICATE_URI_BYTES_MAX + 1) > TRUST_CERTIFICATE_URI_BYTES_MAX)
        return "has more than 2,048 bytes";
    size_t scheme = 0;
    while (is_letter(uri[scheme]) ||
           (scheme > 0 && uri[scheme] && (is_digit(uri[scheme]) || strchr("+-.", uri[scheme]))))
        scheme++;
    if (scheme == 0 || uri[scheme] != ':' || !uri[scheme + 1])
        return "is not absolute (scheme:…)";
    for (const char *c = uri + scheme + 1; *c; c++) {
        if (*c == '%' && !(is_hex(c[1]) && is_hex(c[2])))
            return "has a '%' without two hex digits";
        if (!is_letter(*c) && !is_digit(*c) && !strchr("-._~:/?#[]@!$&'()*+,;=%", *c))
            return "has a character that must be percent-encoded";
    }
    return NULL;
}

/* ---- into the extension -------------------------------------------------------------------- */

/* A name as it may stand in a message. */
static void show(const char *name, char ret[SHOWN_BYTES + 1])
{
    size_t size = 0;
    for (; name[size] && size < SHOWN_BYTES; size++)
        ret[size] = name[size] >= ' ' && name[size] <= '~' ? name[size] : '?';
    ret[size] = '\0';
}

static rpc_code refuse(const char *kind, const char *name, const char *fault, rpc_status *reterr)
{
    char shown[SHOWN_BYTES + 1];
    show(name, shown);
    return rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "pki: the %s '%s' %s; correct it", kind, shown, fault);
}

/* type is the member of GENERAL_NAME that data becomes. */
static rpc_code add(
    GENERAL_NAMES *names, int type, const void *data, size_t size, rpc_status *reterr)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(
        type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    if (!name || !value || !ASN1_STRING_set(value, data, (int)size)) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return trust__pki_no_memory(reterr);
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names, name) > 0)
        return RPC_OK;
    GENERAL_NAME_free(name);
    return trust__pki_no_memory(reterr);
}

static rpc_code add_text(GENERAL_NAMES *names, int type, const char *kind, const char *name,
    const char *fault, rpc_status *reterr)
{
    return fault ? refuse(kind, name, fault, reterr) : add(names, type, name, strlen(name), reterr);
}

static rpc_code add_dns(GENERAL_NAMES *names, const char *name, rpc_status *reterr)
{
    return add_text(names, GEN_DNS, "DNS name", name, dns_fault(name), reterr);
}

static rpc_code add_uri(GENERAL_NAMES *names, const char *name, rpc_status *reterr)
{
    return add_text(names, GEN_URI, "URI", name, uri_fault(name), reterr);
}

static rpc_code add_ip(GENERAL_NAMES *names, const char *name, rpc_status *reterr)
{
    uint8_t address[16];
    if (inet_pton(AF_INET, name, address) == 1)
        return add(names, GEN_IPADD, address, 4, reterr);
    if (inet_pton(AF_INET6, name, address) == 1)
        return add(names, GEN_IPADD, address, 16, reterr);
    return refuse("IP address", name, "is neither IPv4 nor IPv6", reterr);
}

typedef rpc_code add_fn(GENERAL_NAMES *names, const char *name, rpc_status *reterr);

static rpc_code add_all(GENERAL_NAMES *names, const char *const *list, const char *kind,
    add_fn *add_one, rpc_status *reterr)
{
    for (size_t i = 0; list && list[i]; i++) {
        if (i == TRUST_CERTIFICATE_NAMES_MAX)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "pki: more than %d %s in one certificate; issue a second one",
                TRUST_CERTIFICATE_NAMES_MAX, kind);
        const rpc_code code = add_one(names, list[i], reterr);
        if (code != RPC_OK)
            return code;
    }
    return RPC_OK;
}

rpc_code trust__add_names(
    X509 *certificate, const trust_certificate_names *names, rpc_status *reterr)
{
    RPC_CLEANUP(names_freep) GENERAL_NAMES *all = GENERAL_NAMES_new();
    if (!all)
        return trust__pki_no_memory(reterr);
    rpc_code code = add_all(all, names->dns, "DNS names", add_dns, reterr);
    if (code == RPC_OK)
        code = add_all(all, names->ips, "IP addresses", add_ip, reterr);
    if (code == RPC_OK)
        code = add_all(all, names->uris, "URIs", add_uri, reterr);
    if (code != RPC_OK || sk_GENERAL_NAME_num(all) == 0)
        return code;
    if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, all, 0, X509V3_ADD_DEFAULT) != 1)
        return trust__pki_failed("write the names", reterr);
    return RPC_OK;
}
