/*
 * The binary wire format and C values, both ways. Knows no connection; trusts no byte it is given.
 *
 * Floor: codec.
 *
 * Decoding reads nothing outside data[0, len). Text-like values are views into `data`; what needs
 * memory of its own (numeric, arrays) takes it from `alloc`. Nothing is undone on failure: memory
 * already taken belongs to whoever stands behind `alloc`.
 */
#ifndef STELE_CODEC_INTERNAL_H
#define STELE_CODEC_INTERNAL_H

#include <string.h>

#include "mem_internal.h"
#include "stele/gen/types.h"
#include "value_internal.h"

/* What a codec function answers: name, text. */
#define STELE__CODEC_MAP(X)                                                                        \
    X(OK, "success")                                                                               \
    X(LENGTH, "unexpected length")                                                                 \
    X(VALUE, "malformed value")                                                                    \
    X(RANGE, "value out of range")                                                                 \
    X(LABEL, "not a label of the enum")                                                            \
    X(DIMENSIONS, "array of more than one dimension")                                              \
    X(ELEMENT, "array of another element type")                                                    \
    X(TOO_LONG, "longer than the server takes (1 GB)")                                             \
    X(TYPE, "unknown type")                                                                        \
    X(NOMEM, "out of memory")

enum stele__codec {
#define STELE__CODEC_ENUM(name, text) STELE__CODEC_##name,
    STELE__CODEC_MAP(STELE__CODEC_ENUM)
#undef STELE__CODEC_ENUM
};

/* Text of a code, for messages. Never NULL. */
const char *stele__codec_text(int code);

/* ---- layout --------------------------------------------------------------------------------- */

/* How a type lies in C structs. Array bit or not: `type` as descriptors have it. */
typedef struct stele__layout {
    uint16_t size; /* of the value */
    uint8_t opt;  /* offset of `v` in its stele_opt_*; 0: it has none, a NULL pointer is SQL NULL */
    uint8_t in;   /* offset of `v` in its stele_in_* */
    uint32_t oid; /* 0: not known (enum, opaque) */
} stele__layout;

extern const stele__layout stele__layouts[STELE_GEN_TYPE_COUNT];
extern const stele__layout stele__array_layouts[STELE_GEN_TYPE_COUNT];

static inline bool stele__type_valid(uint8_t type)
{
    return (type & ~STELE_GEN_ARRAY) < STELE_GEN_TYPE_COUNT;
}

/* `type` must be valid. */
static inline const stele__layout *stele__layout_of(uint8_t type)
{
    return (type & STELE_GEN_ARRAY) != 0 ? &stele__array_layouts[type & ~STELE_GEN_ARRAY]
                                         : &stele__layouts[type];
}

/* OID of the type to send with a parameter; 0 lets the server infer it. */
static inline uint32_t stele__type_oid(uint8_t type)
{
    return stele__layout_of(type)->oid;
}

/* ---- network order -------------------------------------------------------------------------- */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define STELE__SWAP(bits, v) __builtin_bswap##bits(v)
#else
#define STELE__SWAP(bits, v) (v)
#endif

static inline uint16_t stele__get_be16(const char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return STELE__SWAP(16, v);
}

static inline uint32_t stele__get_be32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return STELE__SWAP(32, v);
}

static inline uint64_t stele__get_be64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return STELE__SWAP(64, v);
}

static inline void stele__put_be16(char *p, uint16_t v)
{
    v = STELE__SWAP(16, v);
    memcpy(p, &v, sizeof v);
}

static inline void stele__put_be32(char *p, uint32_t v)
{
    v = STELE__SWAP(32, v);
    memcpy(p, &v, sizeof v);
}

static inline void stele__put_be64(char *p, uint64_t v)
{
    v = STELE__SWAP(64, v);
    memcpy(p, &v, sizeof v);
}

/* ---- epochs --------------------------------------------------------------------------------- */

/* The server counts from 2000-01-01, C values from 1970-01-01. */
#define STELE__EPOCH_DAYS 10957
#define STELE__EPOCH_MICROS (STELE__EPOCH_DAYS * STELE__DAY_MICROS)

/* ---- decode --------------------------------------------------------------------------------- */

/* Types that the inline part below does not handle, arrays among them. */
int stele__decode_other(uint8_t type, const stele_gen_enum *labels, const char *data, size_t len,
                        void *ret_value, stele__mem_fn alloc, void *alloc_ctx);

/*
 * An array into any stele_*_array. The items of NULL elements are zero; an unknown enum label is 0.
 * `type` with or without its array bit.
 */
int stele__decode_array(uint8_t type, const stele_gen_enum *labels, const char *data, size_t len,
                        void *ret_array, stele__mem_fn alloc, void *alloc_ctx);

static inline int stele__decode_ts(const char *data, size_t len, void *ret_value)
{
    if (len != 8)
        return STELE__CODEC_LENGTH;
    int64_t ts = (int64_t)stele__get_be64(data);
    if (ts != STELE_TS_INFINITY && ts != STELE_TS_NEG_INFINITY) {
        if (ts >= INT64_MAX - STELE__EPOCH_MICROS)
            return STELE__CODEC_RANGE; /* past 294247-01-10 */
        ts += STELE__EPOCH_MICROS;
    }
    memcpy(ret_value, &ts, sizeof ts);
    return STELE__CODEC_OK;
}

/*
 * One value of a scalar type, not NULL, into `ret_value`, which has the type's C type. Inline, so that
 * the row loop has the frequent types at hand.
 *
 * Text-like values borrow `data`; they are NUL-terminated if data[len] is 0, as libpq makes it.
 */
static inline int stele__decode_scalar(uint8_t type, const stele_gen_enum *labels, const char *data,
                                       size_t len, void *ret_value, stele__mem_fn alloc,
                                       void *alloc_ctx)
{
    switch (type) {
    case STELE_GEN_TEXT:
    case STELE_GEN_BPCHAR:
    case STELE_GEN_JSON:
    case STELE_GEN_OPAQUE: {
        stele_str str = {data, len};
        memcpy(ret_value, &str, sizeof str);
        return STELE__CODEC_OK;
    }
    case STELE_GEN_JSONB: {
        if (len < 1)
            return STELE__CODEC_LENGTH;
        if (data[0] != 1)
            return STELE__CODEC_VALUE;
        stele_str str = {data + 1, len - 1};
        memcpy(ret_value, &str, sizeof str);
        return STELE__CODEC_OK;
    }
    case STELE_GEN_INT8: {
        if (len != 8)
            return STELE__CODEC_LENGTH;
        uint64_t v = stele__get_be64(data);
        memcpy(ret_value, &v, sizeof v);
        return STELE__CODEC_OK;
    }
    case STELE_GEN_TIMESTAMP:
    case STELE_GEN_TIMESTAMPTZ:
        return stele__decode_ts(data, len, ret_value);
    case STELE_GEN_INT4: {
        if (len != 4)
            return STELE__CODEC_LENGTH;
        uint32_t v = stele__get_be32(data);
        memcpy(ret_value, &v, sizeof v);
        return STELE__CODEC_OK;
    }
    case STELE_GEN_BOOL: {
        if (len != 1)
            return STELE__CODEC_LENGTH;
        bool v = data[0] != 0;
        memcpy(ret_value, &v, sizeof v);
        return STELE__CODEC_OK;
    }
    default:
        return stele__decode_other(type, labels, data, len, ret_value, alloc, alloc_ctx);
    }
}

/* One value of any type, scalar or array. */
static inline int stele__decode_value(uint8_t type, const stele_gen_enum *labels, const char *data,
                                      size_t len, void *ret_value, stele__mem_fn alloc,
                                      void *alloc_ctx)
{
    return stele__decode_scalar(type, labels, data, len, ret_value, alloc, alloc_ctx);
}

/* ---- encode --------------------------------------------------------------------------------- */

/* The longest value the server takes (its MaxAllocSize). */
#define STELE__VALUE_MAX 0x3fffffffu

/*
 * A value on its way out. `data` is the caller's own memory, the block's, or `scratch`: an encoded
 * value that uses its scratch must stay where it was made.
 */
typedef struct stele__encoded {
    const char *data; /* NULL: SQL NULL */
    int len;
    int format; /* 0 text (then terminated), 1 binary */
    size_t
        where; /* after STELE__CODEC_VALUE: offset of the culprit in a text; for arrays, the index */
    char scratch[24];
} stele__encoded;

int stele__encode_other(uint8_t type, const stele_gen_enum *labels, const void *value,
                        stele__encoded *out, stele__block *block);

/*
 * Any stele_*_array. items NULL is SQL NULL; an element is NULL when nulls[i] says so or, for text and
 * bytes, when its data is NULL. Enums and opaque types go as an array literal in text format, since
 * the OIDs of their elements are the server's own.
 */
int stele__encode_array(uint8_t type, const stele_gen_enum *labels, const void *array,
                        stele__encoded *out, stele__block *block);

static inline int stele__encode_be64(int64_t v, stele__encoded *out)
{
    stele__put_be64(out->scratch, (uint64_t)v);
    out->data = out->scratch;
    out->len = 8;
    out->format = 1;
    return STELE__CODEC_OK;
}

static inline int stele__encode_view(const void *data, size_t len, stele__encoded *out)
{
    if (len > STELE__VALUE_MAX)
        return STELE__CODEC_TOO_LONG;
    out->data = (const char *)data;
    out->len = (int)len;
    out->format = 1;
    return STELE__CODEC_OK;
}

/*
 * One value of a scalar type. Text-like values whose data is NULL become SQL NULL. Text and bytes are
 * passed through uncopied: the value must outlive `out`.
 */
static inline int stele__encode_scalar(uint8_t type, const stele_gen_enum *labels,
                                       const void *value, stele__encoded *out, stele__block *block)
{
    switch (type) {
    case STELE_GEN_TEXT:
    case STELE_GEN_BPCHAR:
    case STELE_GEN_JSON: {
        stele_str str;
        memcpy(&str, value, sizeof str);
        return stele__encode_view(str.data, str.len, out);
    }
    case STELE_GEN_INT8: {
        int64_t v;
        memcpy(&v, value, sizeof v);
        return stele__encode_be64(v, out);
    }
    case STELE_GEN_INT4: {
        uint32_t v;
        memcpy(&v, value, sizeof v);
        stele__put_be32(out->scratch, v);
        out->data = out->scratch;
        out->len = 4;
        out->format = 1;
        return STELE__CODEC_OK;
    }
    case STELE_GEN_TIMESTAMP:
    case STELE_GEN_TIMESTAMPTZ: {
        int64_t v;
        memcpy(&v, value, sizeof v);
        if (v != STELE_TS_INFINITY && v != STELE_TS_NEG_INFINITY) {
            if (v < STELE__TS_MIN)
                return STELE__CODEC_RANGE;
            v -= STELE__EPOCH_MICROS;
        }
        return stele__encode_be64(v, out);
    }
    default:
        return stele__encode_other(type, labels, value, out, block);
    }
}

/*
 * Writes a value of a type of fixed width, at most 20 bytes; STELE__CODEC_TYPE for another type.
 * A piece of the codec, shared by its files.
 */
int stele__write_fixed(uint8_t type, const void *value, char *out, size_t *ret_len);

/*
 * Numeric, both ways. _write takes stele__numeric_bound(text.len) bytes; it answers
 * STELE__CODEC_TOO_LONG when the number is sound but has more digits than the server takes in binary
 * (it then takes it as text). `ret_where` is written on STELE__CODEC_VALUE.
 */
#define stele__numeric_bound(len) (12 + (len) / 2 + 2)
int stele__numeric_write(stele_str text, char *out, size_t *ret_len, size_t *ret_where);
int stele__numeric_read(const char *data, size_t len, stele_str *ret_text, stele__mem_fn alloc,
                        void *alloc_ctx);

/* One value of any type, scalar or array. */
static inline int stele__encode_value(uint8_t type, const stele_gen_enum *labels, const void *value,
                                      stele__encoded *out, stele__block *block)
{
    if ((type & STELE_GEN_ARRAY) != 0)
        return stele__encode_array(type, labels, value, out, block);
    return stele__encode_scalar(type, labels, value, out, block);
}

#endif
