/* SPDX-License-Identifier: Apache-2.0 */
/* Families (a name) hold series (a name with labels) in lists that only grow: metrics->lock is for
 * those who add; readers follow the links, which are published complete, without it. So the text
 * can be made while a gauge takes whatever lock its owner needs. */
#include "http.h"

#include "cleanup.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define LABELS_MAX 16u

typedef enum metric_type { COUNTER, GAUGE, HISTOGRAM } metric_type;
static const char *const type_names[] = {"counter", "gauge", "histogram"};

struct host_counter {
    _Alignas(64) atomic_uint_fast64_t value; /* a cache line of its own: many threads add */
};

#define US_MAX 3600000000 /* one hour */

struct host_histogram {
    atomic_uint_fast64_t sum_us;
    atomic_uint_fast64_t cells[RPC_LATENCY_CELLS];
};

typedef struct gauge {
    double (*fn)(void *ctx);
    void *ctx;
} gauge;

typedef struct series {
    struct series *_Atomic next;
    char *labels; /* "" = none */
    union {
        host_counter *counter;
        host_histogram *histogram;
        gauge gauge;
    } u;
} series;

typedef struct family {
    struct family *_Atomic next;
    char *name, *help;
    metric_type type;
    series *_Atomic first;
    host_family_fn *fn; /* or all its series are this one's */
    void *ctx;
} family;

struct host_samples {
    FILE *out;
    const family *of;
};

struct host_metrics {
    pthread_mutex_t lock;
    family *_Atomic first;
    unsigned count; /* series; under lock */
};

/* ---- Prometheus' rules for names and labels ----------------------------------------------------
 */

typedef struct label {
    const char *name; /* the pair's text begins here too */
    size_t name_size, pair_size;
} label;

static _Noreturn void bug(const char *what, const char *text)
{
    fprintf(stderr, "metrics: %s: '%.200s'\n", what, text);
    abort();
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static size_t name_span(const char *text, bool colons)
{
    size_t size = 0;
    while (is_letter(text[size]) || (colons && text[size] == ':') ||
           (size > 0 && text[size] >= '0' && text[size] <= '9'))
        size++;
    return size;
}

/* The bytes of a quoted label value, quotes included; 0 = it is none. */
static size_t value_span(const char *text)
{
    if (*text != '"')
        return 0;
    for (size_t i = 1; text[i] && text[i] != '\n'; i++) {
        if (text[i] == '"')
            return i + 1;
        if (text[i] == '\\' && !strchr("\\\"n", text[++i]))
            return 0;
        if (!text[i])
            return 0;
    }
    return 0;
}

static const label *find_label(const label *labels, size_t count, const char *name, size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (labels[i].name_size == size && memcmp(labels[i].name, name, size) == 0)
            return &labels[i];
    return NULL;
}

/* Splits labels into pairs, which keep pointing into text. */
static size_t parse_labels(const char *text, label labels[LABELS_MAX])
{
    if (!rpc_utf8_valid(rpc_bytes_str(text)))
        bug("labels are not UTF-8", text);
    size_t count = 0;
    for (const char *at = text; *at; count++) {
        size_t name = name_span(at, false);
        size_t value = name && at[name] == '=' ? value_span(at + name + 1) : 0;
        if (!value || strncmp(at, "__", 2) == 0)
            bug("labels are not name=\"value\",…", text);
        if (count == LABELS_MAX || find_label(labels, count, at, name))
            bug("too many labels, or one given twice", text);
        labels[count] = (label){at, name, name + 1 + value};
        at += labels[count].pair_size;
        if (*at == ',' && at[1])
            at++;
        else if (*at)
            bug("labels are not name=\"value\",…", text);
    }
    return count;
}

static void check(metric_type type, const char *name, const char *labels)
{
    size_t size = name_span(name, true);
    if (size == 0 || name[size])
        bug("no metric name", name);
    label pairs[LABELS_MAX];
    size_t count = parse_labels(labels, pairs);
    if (type == HISTOGRAM && find_label(pairs, count, "le", 2))
        bug("'le' belongs to the histogram's own buckets", labels);
}

static bool same_labels(const char *a, const char *b)
{
    label in_a[LABELS_MAX], in_b[LABELS_MAX];
    size_t count = parse_labels(a, in_a);
    if (parse_labels(b, in_b) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        const label *other = find_label(in_b, count, in_a[i].name, in_a[i].name_size);
        if (!other || other->pair_size != in_a[i].pair_size ||
            memcmp(other->name, in_a[i].name, other->pair_size) != 0)
            return false;
    }
    return true;
}

/* A histogram h also writes h_bucket, h_sum and h_count: no other family may have those names. */
static bool is_part_of(const char *name, const char *histogram)
{
    size_t size = strlen(histogram);
    return strncmp(name, histogram, size) == 0 &&
           (strcmp(name + size, "_bucket") == 0 || strcmp(name + size, "_sum") == 0 ||
               strcmp(name + size, "_count") == 0);
}

static void check_clash(const family *have, metric_type type, const char *name)
{
    if (strcmp(have->name, name) == 0 && have->type != type)
        bug("one name for two types", name);
    if ((have->type == HISTOGRAM && is_part_of(name, have->name)) ||
        (type == HISTOGRAM && is_part_of(have->name, name)))
        bug("the name is part of a histogram", name);
}

/* ---- adding; metrics->lock is held
 * --------------------------------------------------------------- */

static void family_free(family *of)
{
    free(of->name);
    free(of->help);
    free(of);
}

static void series_free(metric_type type, series *one)
{
    if (type == COUNTER)
        free(one->u.counter);
    else if (type == HISTOGRAM)
        free(one->u.histogram);
    free(one->labels);
    free(one);
}

static family *family_new(metric_type type, const char *name, const char *help)
{
    family *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->type = type;
    made->name = strdup(name);
    made->help = strdup(help);
    if (made->name && made->help)
        return made;
    family_free(made);
    return NULL;
}

/* *ret_link: where a new one goes. */
static family *family_find(
    host_metrics *metrics, metric_type type, const char *name, family *_Atomic **ret_link)
{
    family *_Atomic *link = &metrics->first;
    family *found = NULL;
    for (family *have = *link; have; link = &have->next, have = *link) {
        check_clash(have, type, name);
        if (strcmp(have->name, name) == 0)
            found = have;
    }
    *ret_link = link;
    return found;
}

static family *family_get(
    host_metrics *metrics, metric_type type, const char *name, const char *help)
{
    family *_Atomic *link;
    family *found = family_find(metrics, type, name, &link);
    if (found && found->fn)
        bug("its series are given by a function", name);
    if (!found)
        *link = found = family_new(type, name, help);
    return found;
}

/* Comes complete, since readers may see it at once. */
static void add_family(host_metrics *metrics, metric_type type, const char *name, const char *help,
    host_family_fn *fn, void *ctx)
{
    check(type, name, "");
    pthread_mutex_lock(&metrics->lock);
    family *_Atomic *link;
    if (family_find(metrics, type, name, &link))
        bug("a family added twice", name);
    family *made = family_new(type, name, help);
    if (made) {
        made->fn = fn;
        made->ctx = ctx;
        *link = made;
    }
    pthread_mutex_unlock(&metrics->lock);
}

static series *series_new(metric_type type, const char *labels)
{
    series *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    bool whole = true;
    if (type == COUNTER) {
        made->u.counter = aligned_alloc(_Alignof(host_counter), sizeof(host_counter));
        whole = made->u.counter != NULL;
        if (whole)
            atomic_init(&made->u.counter->value, 0);
    } else if (type == HISTOGRAM) {
        made->u.histogram = calloc(1, sizeof *made->u.histogram);
        whole = made->u.histogram != NULL;
    }
    made->labels = strdup(labels);
    if (whole && made->labels)
        return made;
    series_free(type, made);
    return NULL;
}

/* Finds or adds; a gauge comes complete in value, since readers may see it at once. */
static series *series_get(host_metrics *metrics, metric_type type, const char *name,
    const char *help, const char *labels, const gauge *value)
{
    family *of = family_get(metrics, type, name, help);
    if (!of)
        return NULL;
    series *_Atomic *link = &of->first;
    for (series *have = *link; have; link = &have->next, have = *link) {
        if (!same_labels(have->labels, labels))
            continue;
        if (value)
            bug("a gauge added twice", name);
        return have;
    }
    series *made = metrics->count < HOST_METRICS_SERIES_MAX ? series_new(type, labels) : NULL;
    if (!made)
        return NULL;
    if (value)
        made->u.gauge = *value;
    metrics->count++;
    *link = made;
    return made;
}

static series *add(host_metrics *metrics, metric_type type, const char *name, const char *help,
    const char *labels, const gauge *value)
{
    if (!labels)
        labels = "";
    check(type, name, labels);
    pthread_mutex_lock(&metrics->lock);
    series *got = series_get(metrics, type, name, help, labels, value);
    pthread_mutex_unlock(&metrics->lock);
    return got;
}

host_metrics *host_metrics_new(void)
{
    host_metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics)
        pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

void host_metrics_free(host_metrics *metrics)
{
    if (!metrics)
        return;
    for (family *of = metrics->first; of;) {
        for (series *one = of->first; one;) {
            series *next = one->next;
            series_free(of->type, one);
            one = next;
        }
        family *next = of->next;
        family_free(of);
        of = next;
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

host_counter *host_metrics_counter(
    host_metrics *metrics, const char *name, const char *help, const char *labels)
{
    series *one = add(metrics, COUNTER, name, help, labels, NULL);
    return one ? one->u.counter : NULL;
}

host_histogram *host_metrics_histogram(
    host_metrics *metrics, const char *name, const char *help, const char *labels)
{
    series *one = add(metrics, HISTOGRAM, name, help, labels, NULL);
    return one ? one->u.histogram : NULL;
}

void host_metrics_gauge(host_metrics *metrics, const char *name, const char *help,
    const char *labels, double (*fn)(void *ctx), void *ctx)
{
    gauge value = {fn, ctx};
    add(metrics, GAUGE, name, help, labels, &value);
}

void host_metrics_counters(
    host_metrics *metrics, const char *name, const char *help, host_family_fn *fn, void *ctx)
{
    add_family(metrics, COUNTER, name, help, fn, ctx);
}

void host_metrics_latencies(
    host_metrics *metrics, const char *name, const char *help, host_family_fn *fn, void *ctx)
{
    add_family(metrics, HISTOGRAM, name, help, fn, ctx);
}

/* ---- counting
 * ------------------------------------------------------------------------------------ */

void host_counter_add(host_counter *counter, uint64_t n)
{
    if (counter)
        atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}

void host_histogram_record(host_histogram *histogram, int64_t us)
{
    if (!histogram)
        return;
    int64_t taken = us < 0 ? 0 : us > US_MAX ? US_MAX : us;
    atomic_fetch_add_explicit(&histogram->cells[rpc_latency_cell(taken)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, (uint64_t)taken, memory_order_relaxed);
}

/* ---- the text
 * ------------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    uint32_t us;
} bounds[] = {
    {"0.0001", 100},
    {"0.00025", 250},
    {"0.0005", 500},
    {"0.001", 1000},
    {"0.0025", 2500},
    {"0.005", 5000},
    {"0.01", 10000},
    {"0.025", 25000},
    {"0.05", 50000},
    {"0.1", 100000},
    {"0.25", 250000},
    {"0.5", 500000},
    {"1", 1000000},
    {"2.5", 2500000},
    {"5", 5000000},
    {"10", 10000000},
};

static void write_name(FILE *out, const family *of, const char *suffix, const char *labels)
{
    fprintf(out, "%s%s", of->name, suffix);
    if (*labels)
        fprintf(out, "{%s}", labels);
    putc(' ', out);
}

static void write_count(FILE *out, uint64_t value)
{
    fprintf(out, "%llu\n", (unsigned long long)value);
}

static void check_sample(const family *of, metric_type type, const char *labels)
{
    if (of->type != type)
        bug("a sample of another type", of->name);
    check(type, of->name, labels);
}

void host_sample_count(host_samples *samples, const char *labels, uint64_t value)
{
    check_sample(samples->of, COUNTER, labels ? labels : "");
    write_name(samples->out, samples->of, "", labels ? labels : "");
    write_count(samples->out, value);
}

static void write_bucket(
    FILE *out, const family *of, const char *labels, const char *bound, uint64_t count)
{
    fprintf(out, "%s_bucket{%s%sle=\"%s\"} ", of->name, labels, *labels ? "," : "", bound);
    write_count(out, count);
}

static void write_latency(
    FILE *out, const family *of, const char *labels, const rpc_call_stats *stats)
{
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        write_bucket(out, of, labels, bounds[i].text, rpc_latency_at_most(stats, bounds[i].us));
    uint64_t count = rpc_latency_at_most(stats, INT64_MAX);
    write_bucket(out, of, labels, "+Inf", count);
    write_name(out, of, "_sum", labels);
    fprintf(out, "%llu.%06llu\n", (unsigned long long)(stats->latency_sum_us / 1000000),
        (unsigned long long)(stats->latency_sum_us % 1000000));
    write_name(out, of, "_count", labels);
    write_count(out, count);
}

void host_sample_latency(host_samples *samples, const char *labels, const rpc_call_stats *stats)
{
    check_sample(samples->of, HISTOGRAM, labels ? labels : "");
    write_latency(samples->out, samples->of, labels ? labels : "", stats);
}

/* _count is the sum of the cells read here, so that it equals the +Inf bucket even while others
 * record. */
static void write_histogram(FILE *out, const family *of, const series *one)
{
    host_histogram *histogram = one->u.histogram;
    rpc_call_stats stats = {
        .latency_sum_us = atomic_load_explicit(&histogram->sum_us, memory_order_relaxed)};
    for (size_t i = 0; i < RPC_LATENCY_CELLS; i++)
        stats.latency[i] = atomic_load_explicit(&histogram->cells[i], memory_order_relaxed);
    write_latency(out, of, one->labels, &stats);
}

static void write_double(FILE *out, double value)
{
    if (isnan(value))
        fputs("NaN\n", out);
    else if (isinf(value))
        fputs(value > 0 ? "+Inf\n" : "-Inf\n", out);
    else
        fprintf(out, "%.15g\n", value);
}

static void write_series(FILE *out, const family *of, const series *one)
{
    if (of->type == HISTOGRAM) {
        write_histogram(out, of, one);
        return;
    }
    write_name(out, of, "", one->labels);
    if (of->type == GAUGE)
        write_double(out, one->u.gauge.fn(one->u.gauge.ctx));
    else
        write_count(out, atomic_load_explicit(&one->u.counter->value, memory_order_relaxed));
}

static void write_family(FILE *out, const family *of)
{
    fprintf(out, "# HELP %s ", of->name);
    for (const char *c = of->help; *c; c++) {
        if (*c == '\\' || *c == '\n')
            fputs(*c == '\n' ? "\\n" : "\\\\", out);
        else
            putc(*c, out);
    }
    fprintf(out, "\n# TYPE %s %s\n", of->name, type_names[of->type]);
    for (const series *one = of->first; one; one = one->next)
        write_series(out, of, one);
    host_samples samples = {out, of};
    if (of->fn)
        of->fn(of->ctx, &samples);
}

char *host_metrics_text(host_metrics *metrics, size_t *ret_size)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (const family *of = metrics->first; of; of = of->next)
        if (of->first || of->fn) /* memory may have been short for its only series */
            write_family(out, of);
    bool whole = !ferror(out);
    if (fclose(out) != 0 || !whole) {
        free(text);
        return NULL;
    }
    *ret_size = size;
    return text;
}

void host_metrics_reply(host_metrics *metrics, host_reply *ret)
{
    ret->body = host_metrics_text(metrics, &ret->size);
    if (!ret->body)
        return;
    ret->status = 200;
    ret->content_type = "text/plain; version=0.0.4; charset=utf-8";
}

void host_metrics_handle(void *ctx, host_request *request)
{
    host_reply reply = {0};
    host_metrics_reply(ctx, &reply);
    host_request_answer(request, &reply);
}
