/* SPDX-License-Identifier: Apache-2.0 */
#include "dynamic_internal.h"

#include <string.h>
#include <time.h>

#define TIMESTAMP_MIN (-62135596800) /* 0001-01-01T00:00:00Z */
#define TIMESTAMP_MAX 253402300799   /* 9999-12-31T23:59:59Z */
#define DURATION_MAX  315576000000   /* 10,000 years */
#define NANOS_MAX     999999999

static bool has_seconds_and_nanos(const dynamic_message *type)
{
    const dynamic_field *seconds = dynamic__field(type, 1), *nanos = dynamic__field(type, 2);
    return type->field_count == 2 && seconds && nanos && seconds->type == TYPE_INT64 &&
           nanos->type == TYPE_INT32 && !seconds->repeated && !nanos->repeated;
}

dynamic_known dynamic__known(const dynamic_message *type)
{
    static const char *const wrappers[] = {"DoubleValue", "FloatValue", "Int64Value", "UInt64Value",
        "Int32Value", "UInt32Value", "BoolValue", "StringValue", "BytesValue"};
    const char package[] = "google.protobuf.";
    if (strncmp(type->name, package, sizeof package - 1) != 0)
        return KNOWN_NONE;
    const char *name = type->name + sizeof package - 1;
    if (strcmp(name, "Timestamp") == 0)
        return has_seconds_and_nanos(type) ? KNOWN_TIMESTAMP : KNOWN_NONE;
    if (strcmp(name, "Duration") == 0)
        return has_seconds_and_nanos(type) ? KNOWN_DURATION : KNOWN_NONE;
    const dynamic_field *value = dynamic__field(type, 1);
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (strcmp(name, wrappers[i]) == 0 && type->field_count == 1 && value && !value->repeated &&
            !value->type_name)
            return KNOWN_WRAPPER;
    return KNOWN_NONE;
}

/* ---- text -------------------------------------------------------------------------------------
 */

/** ".5", ".500001", "" … : 0, 3, 6 or 9 digits, as protobuf prints them. */
static void fraction_text(int64_t nanos, char ret[12])
{
    if (nanos == 0)
        ret[0] = 0;
    else if (nanos % 1000000 == 0)
        snprintf(ret, 12, ".%03d", (int)(nanos / 1000000));
    else if (nanos % 1000 == 0)
        snprintf(ret, 12, ".%06d", (int)(nanos / 1000));
    else
        snprintf(ret, 12, ".%09d", (int)nanos);
}

static bool timestamp_text(int64_t seconds, int64_t nanos, char ret[48])
{
    struct tm parts;
    char fraction[12];
    const time_t at = (time_t)seconds;
    if (seconds < TIMESTAMP_MIN || seconds > TIMESTAMP_MAX || nanos < 0 || nanos > NANOS_MAX ||
        !gmtime_r(&at, &parts))
        return false;
    fraction_text(nanos, fraction);
    snprintf(ret, 48, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", (parts.tm_year + 1900) % 10000,
        (parts.tm_mon + 1) % 100, parts.tm_mday % 100, parts.tm_hour % 100, parts.tm_min % 100,
        parts.tm_sec % 100, fraction);
    return true;
}

static bool duration_text(int64_t seconds, int64_t nanos, char ret[48])
{
    char fraction[12];
    if (seconds < -DURATION_MAX || seconds > DURATION_MAX || nanos < -NANOS_MAX ||
        nanos > NANOS_MAX || (seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0))
        return false;
    fraction_text(nanos < 0 ? -nanos : nanos, fraction);
    snprintf(ret, 48, "%s%lld%ss", seconds < 0 || nanos < 0 ? "-" : "",
        (long long)(seconds < 0 ? -seconds : seconds), fraction);
    return true;
}

bool dynamic__time_text(dynamic_known known, int64_t seconds, int64_t nanos, char ret[48])
{
    return known == KNOWN_TIMESTAMP ? timestamp_text(seconds, nanos, ret)
                                    : duration_text(seconds, nanos, ret);
}

/* ---- parsing ------------------------------------------------------------------------------------
 */

/** Exactly count digits. */
static bool digits(const char **at, int count, int *ret)
{
    int value = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        value = value * 10 + (**at - '0');
    }
    *ret = value;
    return true;
}

static bool sign(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

/** Nothing, or a point and 1 to 9 digits. */
static bool fraction(const char **at, int32_t *ret_nanos)
{
    int32_t nanos = 0, unit = 100000000;
    if (sign(at, '.')) {
        if (**at < '0' || **at > '9')
            return false;
        for (; **at >= '0' && **at <= '9'; (*at)++, unit /= 10) {
            if (unit == 0)
                return false;
            nanos += unit * (**at - '0');
        }
    }
    *ret_nanos = nanos;
    return true;
}

/** "Z", "+01:00" or "-05:30", in seconds. */
static bool offset(const char **at, int *ret)
{
    int hours, minutes;
    if (sign(at, 'Z') || sign(at, 'z')) {
        *ret = 0;
        return true;
    }
    const int direction = **at == '-' ? -1 : 1;
    if ((!sign(at, '+') && !sign(at, '-')) || !digits(at, 2, &hours) || !sign(at, ':') ||
        !digits(at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret = direction * (hours * 3600 + minutes * 60);
    return true;
}

static bool timestamp_parse(const char *at, int64_t *ret_seconds, int32_t *ret_nanos)
{
    struct tm parts = {0}, again;
    int zone;
    if (!digits(&at, 4, &parts.tm_year) || !sign(&at, '-') || !digits(&at, 2, &parts.tm_mon) ||
        !sign(&at, '-') || !digits(&at, 2, &parts.tm_mday) || (!sign(&at, 'T') && !sign(&at, 't')))
        return false;
    if (!digits(&at, 2, &parts.tm_hour) || !sign(&at, ':') || !digits(&at, 2, &parts.tm_min) ||
        !sign(&at, ':') || !digits(&at, 2, &parts.tm_sec) || !fraction(&at, ret_nanos) ||
        !offset(&at, &zone) || *at)
        return false;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    again = parts;
    const int64_t seconds = timegm(&again);
    /* 31 April became 1 May: it was no date. */
    if (again.tm_mon != parts.tm_mon || again.tm_mday != parts.tm_mday ||
        again.tm_hour != parts.tm_hour || again.tm_min != parts.tm_min ||
        again.tm_sec != parts.tm_sec)
        return false;
    *ret_seconds = seconds - zone;
    return *ret_seconds >= TIMESTAMP_MIN && *ret_seconds <= TIMESTAMP_MAX;
}

static bool duration_parse(const char *at, int64_t *ret_seconds, int32_t *ret_nanos)
{
    int64_t seconds = 0;
    const bool negative = sign(&at, '-');
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9' && seconds <= DURATION_MAX; at++)
        seconds = seconds * 10 + (*at - '0');
    if (seconds > DURATION_MAX || !fraction(&at, ret_nanos) || strcmp(at, "s") != 0)
        return false;
    *ret_seconds = negative ? -seconds : seconds;
    *ret_nanos = negative ? -*ret_nanos : *ret_nanos;
    return true;
}

bool dynamic__time_parse(
    dynamic_known known, const char *text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    return known == KNOWN_TIMESTAMP ? timestamp_parse(text, ret_seconds, ret_nanos)
                                    : duration_parse(text, ret_seconds, ret_nanos);
}
