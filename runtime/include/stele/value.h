/**
 * Values: what columns hold in C, and the wrappers that carry them into a statement.
 *
 * Three families:
 *
 *   stele_str, stele_ts, …     a value as a row shows it. A NOT NULL column has this type itself.
 *   stele_opt_i64, …           a nullable scalar of a row: look at `has` first. Text, bytes and
 *                              arrays need no such type: their pointer is NULL for SQL NULL.
 *   stele_in_i64, stele_in_i64_n, …
 *                              an input: unset, NULL or a value. Only constructors make one;
 *                              zero-initialised means unset. The _n types go with nullable columns
 *                              and are the only ones with a `_n_null()` constructor.
 *
 * Floor: value.
 */
#ifndef STELE_VALUE_H
#define STELE_VALUE_H

#include <string.h>

#include "stele/status.h"

STELE_BEGIN_DECLS

/* ---- values --------------------------------------------------------------------------------- */

/**
 * Text: UTF-8, not owned. `data` is NULL for SQL NULL. What comes from a row is NUL-terminated
 * (`data[len] == 0`) and lives as long as the row's block; what goes in need not be terminated.
 * Also carries json, jsonb, numeric (exact decimal text) and opaque types.
 */
typedef struct stele_str {
    const char *data;
    size_t len;
} stele_str;

/** Bytes (bytea), not owned. `data` is NULL for SQL NULL. */
typedef struct stele_bytes {
    const uint8_t *data;
    size_t len;
} stele_bytes;

/** Microseconds since 1970-01-01 00:00:00 UTC; for timestamp and timestamptz. */
typedef int64_t stele_ts;
#define STELE_TS_INFINITY INT64_MAX
#define STELE_TS_NEG_INFINITY INT64_MIN

/** Days since 1970-01-01. */
typedef int32_t stele_date;
#define STELE_DATE_INFINITY INT32_MAX
#define STELE_DATE_NEG_INFINITY INT32_MIN

/** Microseconds since midnight, 0 to 86,400,000,000. */
typedef int64_t stele_time;

/** An interval as PostgreSQL keeps it: three parts that do not fold into one another. */
typedef struct stele_interval {
    int64_t micros;
    int32_t days;
    int32_t months;
} stele_interval;

/** 16 bytes in network order. */
typedef struct stele_uuid {
    uint8_t bytes[16];
} stele_uuid;

/** An inet value: `family` 4 or 6, `bits` of the netmask, the address in network order. */
typedef struct stele_inet {
    uint8_t family;
    uint8_t bits;
    uint8_t addr[16];
} stele_inet;

/* Every scalar that has wrappers: X(suffix, C type). */
#define STELE_SCALAR_MAP(X)                                                                        \
    X(bool, bool)                                                                                  \
    X(i16, int16_t)                                                                                \
    X(i32, int32_t)                                                                                \
    X(i64, int64_t)                                                                                \
    X(f32, float)                                                                                  \
    X(f64, double)                                                                                 \
    X(date, stele_date)                                                                            \
    X(time, stele_time)                                                                            \
    X(interval, stele_interval)                                                                    \
    X(uuid, stele_uuid)                                                                            \
    X(inet, stele_inet)

/* Nullable scalars of a row: stele_opt_bool, stele_opt_i16, … and stele_opt_ts. */
#define STELE_DECLARE_OPT(suffix, type)                                                            \
    typedef struct stele_opt_##suffix {                                                            \
        bool has;                                                                                  \
        type v;                                                                                    \
    } stele_opt_##suffix;
STELE_SCALAR_MAP(STELE_DECLARE_OPT)
STELE_DECLARE_OPT(ts, stele_ts)
#undef STELE_DECLARE_OPT

/**
 * Arrays: stele_bool_array, …, stele_str_array, stele_bytes_array, stele_ts_array.
 *
 * `items` is NULL for SQL NULL (an empty array has count 0 and items not NULL). `nulls` is NULL when
 * no element is NULL, else nulls[i] tells; the item of a NULL element is zero. Not owned.
 */
#define STELE_DECLARE_ARRAY(suffix, type)                                                          \
    typedef struct stele_##suffix##_array {                                                        \
        const type *items;                                                                         \
        const bool *nulls;                                                                         \
        size_t count;                                                                              \
    } stele_##suffix##_array;
STELE_SCALAR_MAP(STELE_DECLARE_ARRAY)
STELE_DECLARE_ARRAY(ts, stele_ts)
STELE_DECLARE_ARRAY(str, stele_str)
STELE_DECLARE_ARRAY(bytes, stele_bytes)
#undef STELE_DECLARE_ARRAY

/* ---- inputs --------------------------------------------------------------------------------- */

/** Incomplete on purpose: no number, string or struct converts to a pointer to it. */
typedef struct stele_tag stele_tag;

/** What an input can be besides unset. The constructors below set them. */
STELE_API extern const stele_tag stele_tag_value;
STELE_API extern const stele_tag stele_tag_null;
STELE_API extern const stele_tag stele_tag_now;
STELE_API extern const stele_tag stele_tag_after;

/*
 * STELE_DECLARE_IN(suffix, type) declares stele_in_<suffix> and stele_in_<suffix>_n with
 *
 *     stele_in_<suffix>    stele_<suffix>_v(type)         a value
 *     stele_in_<suffix>_n  stele_<suffix>_n_v(type)       a value for a nullable column
 *     stele_in_<suffix>_n  stele_<suffix>_n_null(void)    SQL NULL
 */
#define STELE_DECLARE_IN(suffix, type)                                                             \
    typedef struct stele_in_##suffix {                                                             \
        const stele_tag *tag;                                                                      \
        type v;                                                                                    \
    } stele_in_##suffix;                                                                           \
    typedef struct stele_in_##suffix##_n {                                                         \
        const stele_tag *tag;                                                                      \
        type v;                                                                                    \
    } stele_in_##suffix##_n;                                                                       \
    static inline stele_in_##suffix stele_##suffix##_v(type v)                                     \
    {                                                                                              \
        stele_in_##suffix in = {&stele_tag_value, v};                                              \
        return in;                                                                                 \
    }                                                                                              \
    static inline stele_in_##suffix##_n stele_##suffix##_n_v(type v)                               \
    {                                                                                              \
        stele_in_##suffix##_n in = {&stele_tag_value, v};                                          \
        return in;                                                                                 \
    }                                                                                              \
    static inline stele_in_##suffix##_n stele_##suffix##_n_null(void)                              \
    {                                                                                              \
        stele_in_##suffix##_n in;                                                                  \
        memset(&in, 0, sizeof in);                                                                 \
        in.tag = &stele_tag_null;                                                                  \
        return in;                                                                                 \
    }

/* From a row: stele_i64_n_of(row->retries) carries a nullable scalar over, NULL included. */
#define STELE_DECLARE_IN_OF(suffix, type)                                                          \
    static inline stele_in_##suffix##_n stele_##suffix##_n_of(stele_opt_##suffix opt)              \
    {                                                                                              \
        return opt.has ? stele_##suffix##_n_v(opt.v) : stele_##suffix##_n_null();                  \
    }

STELE_SCALAR_MAP(STELE_DECLARE_IN)
STELE_SCALAR_MAP(STELE_DECLARE_IN_OF)

STELE_DECLARE_IN(bool_array, stele_bool_array)
STELE_DECLARE_IN(i16_array, stele_i16_array)
STELE_DECLARE_IN(i32_array, stele_i32_array)
STELE_DECLARE_IN(i64_array, stele_i64_array)
STELE_DECLARE_IN(f32_array, stele_f32_array)
STELE_DECLARE_IN(f64_array, stele_f64_array)
STELE_DECLARE_IN(date_array, stele_date_array)
STELE_DECLARE_IN(time_array, stele_time_array)
STELE_DECLARE_IN(interval_array, stele_interval_array)
STELE_DECLARE_IN(uuid_array, stele_uuid_array)
STELE_DECLARE_IN(inet_array, stele_inet_array)
STELE_DECLARE_IN(ts_array, stele_ts_array)
STELE_DECLARE_IN(str_array, stele_str_array)
STELE_DECLARE_IN(bytes_array, stele_bytes_array)

/** A str from a NUL-terminated string; NULL gives the NULL str. Borrows `s`. */
static inline stele_str stele_s(const char *s)
{
    stele_str str = {s, s != NULL ? strlen(s) : 0};
    return str;
}

/*
 * Text, json, numeric and opaque columns: stele_in_str and stele_in_str_n.
 *
 *     stele_text_v("x")        stele_text_n_v("x")        from a NUL-terminated string (not NULL)
 *     stele_text_of(str)       stele_text_n_of(str)       from a stele_str; _n_of: NULL gives SQL NULL
 *                              stele_text_n_null()
 *
 * They borrow: the bytes must live until the call that takes them returns.
 */
typedef struct stele_in_str {
    const stele_tag *tag;
    stele_str v;
} stele_in_str;

typedef struct stele_in_str_n {
    const stele_tag *tag;
    stele_str v;
} stele_in_str_n;

static inline stele_in_str stele_text_of(stele_str s)
{
    stele_in_str in = {&stele_tag_value, s};
    return in;
}

static inline stele_in_str stele_text_v(const char *s)
{
    return stele_text_of(stele_s(s));
}

static inline stele_in_str_n stele_text_n_of(stele_str s)
{
    stele_in_str_n in = {s.data != NULL ? &stele_tag_value : &stele_tag_null, s};
    return in;
}

static inline stele_in_str_n stele_text_n_v(const char *s)
{
    stele_in_str_n in = {&stele_tag_value, stele_s(s)};
    return in;
}

static inline stele_in_str_n stele_text_n_null(void)
{
    stele_in_str_n in = {&stele_tag_null, {NULL, 0}};
    return in;
}

/* Bytes: stele_bytes_v(data, len), stele_bytes_n_v(data, len), stele_bytes_n_null(). Borrowed. */
typedef struct stele_in_bytes {
    const stele_tag *tag;
    stele_bytes v;
} stele_in_bytes;

typedef struct stele_in_bytes_n {
    const stele_tag *tag;
    stele_bytes v;
} stele_in_bytes_n;

static inline stele_in_bytes stele_bytes_v(const void *data, size_t len)
{
    stele_in_bytes in = {&stele_tag_value, {(const uint8_t *)data, len}};
    return in;
}

static inline stele_in_bytes_n stele_bytes_n_v(const void *data, size_t len)
{
    stele_in_bytes_n in = {&stele_tag_value, {(const uint8_t *)data, len}};
    return in;
}

static inline stele_in_bytes_n stele_bytes_n_null(void)
{
    stele_in_bytes_n in = {&stele_tag_null, {NULL, 0}};
    return in;
}

/*
 * Timestamps have two more states, both by the server's clock:
 *
 *     stele_ts_now()              stele_ts_n_now()
 *     stele_ts_after(interval)    stele_ts_n_after(interval)     now plus an interval
 */
typedef struct stele_in_ts {
    const stele_tag *tag;
    stele_ts v;
    stele_interval after;
} stele_in_ts;

typedef struct stele_in_ts_n {
    const stele_tag *tag;
    stele_ts v;
    stele_interval after;
} stele_in_ts_n;

static inline stele_in_ts stele_ts_v(stele_ts v)
{
    stele_in_ts in = {&stele_tag_value, v, {0, 0, 0}};
    return in;
}

static inline stele_in_ts stele_ts_now(void)
{
    stele_in_ts in = {&stele_tag_now, 0, {0, 0, 0}};
    return in;
}

static inline stele_in_ts stele_ts_after(stele_interval after)
{
    stele_in_ts in = {&stele_tag_after, 0, after};
    return in;
}

static inline stele_in_ts_n stele_ts_n_v(stele_ts v)
{
    stele_in_ts_n in = {&stele_tag_value, v, {0, 0, 0}};
    return in;
}

static inline stele_in_ts_n stele_ts_n_now(void)
{
    stele_in_ts_n in = {&stele_tag_now, 0, {0, 0, 0}};
    return in;
}

static inline stele_in_ts_n stele_ts_n_after(stele_interval after)
{
    stele_in_ts_n in = {&stele_tag_after, 0, after};
    return in;
}

static inline stele_in_ts_n stele_ts_n_null(void)
{
    stele_in_ts_n in = {&stele_tag_null, 0, {0, 0, 0}};
    return in;
}

static inline stele_in_ts_n stele_ts_n_of(stele_opt_ts opt)
{
    return opt.has ? stele_ts_n_v(opt.v) : stele_ts_n_null();
}

/** Intervals of whole units, for stele_ts_after(). */
static inline stele_interval stele_micros(int64_t n)
{
    stele_interval i = {n, 0, 0};
    return i;
}

static inline stele_interval stele_seconds(int64_t n)
{
    stele_interval i = {n * 1000000, 0, 0};
    return i;
}

static inline stele_interval stele_days(int32_t n)
{
    stele_interval i = {0, n, 0};
    return i;
}

/* ---- conversions ---------------------------------------------------------------------------- */

/** Buffer sizes that always suffice, terminator included. */
#define STELE_TS_TEXT_SIZE 40
#define STELE_DATE_TEXT_SIZE 24
#define STELE_UUID_TEXT_SIZE 37
#define STELE_INET_TEXT_SIZE 56
#define STELE_INTERVAL_TEXT_SIZE 96

/** Writes RFC 3339 in UTC ("2026-01-31T09:05:00.25Z", "infinity", "-infinity"); returns buf. */
STELE_API char *stele_ts_format(stele_ts ts, char buf[STELE_TS_TEXT_SIZE]);

/**
 * Reads RFC 3339 (any offset), or a PostgreSQL timestamp without a zone, taken as UTC. Fractions are
 * rounded to microseconds as the server does. All _parse functions: STELE_E_INPUT for malformed text.
 * STELE_E_VALUE for a time outside 4714-11-24 BC to 294247-01-10.
 */
STELE_API STELE_MUST_CHECK stele_status stele_ts_parse(stele_str text, stele_ts *ret_ts);

/** Writes "2026-01-31" (years beyond 9999 and "BC" as PostgreSQL does); returns buf. */
STELE_API char *stele_date_format(stele_date date, char buf[STELE_DATE_TEXT_SIZE]);

/** Reads what stele_date_format() writes. STELE_E_VALUE for a date the server does not have. */
STELE_API STELE_MUST_CHECK stele_status stele_date_parse(stele_str text, stele_date *ret_date);

/**
 * A date of the proleptic Gregorian calendar, year 0 being 1 BC; month 1-12. STELE_E_INPUT if there is
 * none such.
 */
STELE_API STELE_MUST_CHECK stele_status stele_date_from_ymd(int32_t year, int month, int day,
                                                            stele_date *ret_date);

/** The parts of a date that is not infinite. */
STELE_API void stele_date_to_ymd(stele_date date, int32_t *ret_year, int *ret_month, int *ret_day);

/** Writes ISO 8601 ("P1M2DT3.5S"); returns buf. */
STELE_API char *stele_interval_format(stele_interval interval, char buf[STELE_INTERVAL_TEXT_SIZE]);

/** Writes 8-4-4-4-12 in lower case; returns buf. */
STELE_API char *stele_uuid_format(stele_uuid uuid, char buf[STELE_UUID_TEXT_SIZE]);

/** Reads 32 hex digits, with a hyphen after any four and in braces, as the server does. */
STELE_API STELE_MUST_CHECK stele_status stele_uuid_parse(stele_str text, stele_uuid *ret_uuid);

/** A random (version 4) uuid from the kernel's generator; STELE_E_UNSUPPORTED if it has none. */
STELE_API STELE_MUST_CHECK stele_status stele_uuid_v4(stele_uuid *ret_uuid);

/** Writes "10.0.0.0/8" ("/32" and "/128" left out); returns buf. */
STELE_API char *stele_inet_format(stele_inet inet, char buf[STELE_INET_TEXT_SIZE]);

/** Reads four decimal numbers, or IPv6 in any of its forms, with or without "/bits". */
STELE_API STELE_MUST_CHECK stele_status stele_inet_parse(stele_str text, stele_inet *ret_inet);

/**
 * Exact decimal text ("12.50", "NaN", "Infinity") to machine numbers.
 *
 * _to_i64: STELE_E_VALUE when it has a fraction other than zero, or does not fit.
 * _to_scaled: the value times 10^scale ("12.50", 2 → 1250), exact or STELE_E_VALUE.
 * _to_f64: nearest double; STELE_E_VALUE past the largest.
 * _from_scaled: writes into `buf`, returns it; outside scales -20 to 40 with an exponent ("7e-41").
 *
 * Text that is no number is STELE_E_INPUT; NaN and infinities are STELE_E_VALUE to the integers.
 */
STELE_API STELE_MUST_CHECK stele_status stele_numeric_to_i64(stele_str text, int64_t *ret_value);
STELE_API STELE_MUST_CHECK stele_status stele_numeric_to_scaled(stele_str text, int scale,
                                                                int64_t *ret_value);
STELE_API STELE_MUST_CHECK stele_status stele_numeric_to_f64(stele_str text, double *ret_value);
STELE_API char *stele_numeric_from_scaled(int64_t value, int scale, char buf[48]);

/** Equal bytes and length; two NULL strs are equal. */
STELE_API bool stele_str_eq(stele_str a, stele_str b);

STELE_END_DECLS

#endif
