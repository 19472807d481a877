#include "codec_internal.h"

#include "banned.h"

_Static_assert(STELE_GEN_TYPE_COUNT <= STELE_GEN_ARRAY, "the array bit is apart from the types");
_Static_assert(sizeof(stele_str_array) == sizeof(stele_i64_array) &&
                   sizeof(stele_str_array) == sizeof(stele_bool_array),
               "arrays of all types have the same layout");
_Static_assert(sizeof(stele_str) == sizeof(stele_bytes), "text and bytes have the same layout");

const char *stele__codec_text(int code)
{
    switch ((enum stele__codec)code) {
#define CODEC_TEXT(name, text)                                                                     \
    case STELE__CODEC_##name:                                                                      \
        return text;
        STELE__CODEC_MAP(CODEC_TEXT)
#undef CODEC_TEXT
    }
    return "unknown codec error";
}

/* ---- layout --------------------------------------------------------------------------------- */

/* What generated code declares for its enums, for an enum as C makes it. */
typedef struct stele_opt_enum {
    bool has;
    int v;
} stele_opt_enum;

typedef struct stele_in_enum {
    const stele_tag *tag;
    int v;
} stele_in_enum;

#define SCALAR(suffix, type, type_oid)                                                             \
    {                                                                                              \
        sizeof(type), offsetof(stele_opt_##suffix, v), offsetof(stele_in_##suffix, v), type_oid    \
    }
#define VIEW(suffix, type, type_oid)                                                               \
    {                                                                                              \
        sizeof(type), 0, offsetof(stele_in_##suffix, v), type_oid                                  \
    }

const stele__layout stele__layouts[STELE_GEN_TYPE_COUNT] = {
    [STELE_GEN_BOOL] = SCALAR(bool, bool, 16),
    [STELE_GEN_INT2] = SCALAR(i16, int16_t, 21),
    [STELE_GEN_INT4] = SCALAR(i32, int32_t, 23),
    [STELE_GEN_INT8] = SCALAR(i64, int64_t, 20),
    [STELE_GEN_FLOAT4] = SCALAR(f32, float, 700),
    [STELE_GEN_FLOAT8] = SCALAR(f64, double, 701),
    [STELE_GEN_NUMERIC] = VIEW(str, stele_str, 1700),
    [STELE_GEN_TEXT] = VIEW(str, stele_str, 25),
    [STELE_GEN_BPCHAR] = VIEW(str, stele_str, 1042),
    [STELE_GEN_BYTEA] = VIEW(bytes, stele_bytes, 17),
    [STELE_GEN_UUID] = SCALAR(uuid, stele_uuid, 2950),
    [STELE_GEN_DATE] = SCALAR(date, stele_date, 1082),
    [STELE_GEN_TIME] = SCALAR(time, stele_time, 1083),
    [STELE_GEN_TIMESTAMP] = SCALAR(ts, stele_ts, 1114),
    [STELE_GEN_TIMESTAMPTZ] = SCALAR(ts, stele_ts, 1184),
    [STELE_GEN_INTERVAL] = SCALAR(interval, stele_interval, 1186),
    [STELE_GEN_JSON] = VIEW(str, stele_str, 114),
    [STELE_GEN_JSONB] = VIEW(str, stele_str, 3802),
    [STELE_GEN_INET] = SCALAR(inet, stele_inet, 869),
    [STELE_GEN_ENUM] = SCALAR(enum, int, 0),
    [STELE_GEN_OPAQUE] = VIEW(str, stele_str, 0),
};

const stele__layout stele__array_layouts[STELE_GEN_TYPE_COUNT] = {
#define ARRAY_LAYOUT(name, type, oid, array_oid)                                                   \
    [STELE_GEN_##name] = {sizeof(stele_str_array), 0, offsetof(stele_in_str_array, v), array_oid},
    STELE_GEN_TYPE_MAP(ARRAY_LAYOUT)
#undef ARRAY_LAYOUT
};

/* ---- decoding scalars ----------------------------------------------------------------------- */

static int decode_date(const char *data, void *ret_value)
{
    int32_t date = (int32_t)stele__get_be32(data);
    if (date != STELE_DATE_INFINITY && date != STELE_DATE_NEG_INFINITY) {
        if (date >= INT32_MAX - STELE__EPOCH_DAYS)
            return STELE__CODEC_RANGE;
        date += STELE__EPOCH_DAYS;
    }
    memcpy(ret_value, &date, sizeof date);
    return STELE__CODEC_OK;
}

static int decode_time(const char *data, void *ret_value)
{
    int64_t time = (int64_t)stele__get_be64(data);
    if (time < 0 || time > STELE__DAY_MICROS)
        return STELE__CODEC_RANGE;
    memcpy(ret_value, &time, sizeof time);
    return STELE__CODEC_OK;
}

static int decode_interval(const char *data, void *ret_value)
{
    stele_interval interval;
    interval.micros = (int64_t)stele__get_be64(data);
    interval.days = (int32_t)stele__get_be32(data + 8);
    interval.months = (int32_t)stele__get_be32(data + 12);
    memcpy(ret_value, &interval, sizeof interval);
    return STELE__CODEC_OK;
}

/* Address families as the server numbers them, whatever the platform's AF_INET6 is. */
#define WIRE_INET 2
#define WIRE_INET6 3

/* family, bits, is_cidr, address length, address */
static int decode_inet(const char *data, size_t len, void *ret_value)
{
    if (len < 4)
        return STELE__CODEC_LENGTH;
    uint8_t head[4];
    memcpy(head, data, sizeof head);
    if (head[0] != WIRE_INET && head[0] != WIRE_INET6)
        return STELE__CODEC_VALUE;
    uint8_t bytes = head[0] == WIRE_INET ? 4 : 16;
    if (head[3] != bytes || len != 4 + (size_t)bytes)
        return STELE__CODEC_LENGTH;
    if (head[1] > bytes * 8 || head[2] > 1)
        return STELE__CODEC_VALUE;
    stele_inet inet;
    memset(&inet, 0, sizeof inet);
    inet.family = head[0] == WIRE_INET ? 4 : 6;
    inet.bits = head[1];
    memcpy(inet.addr, data + 4, bytes);
    memcpy(ret_value, &inet, sizeof inet);
    return STELE__CODEC_OK;
}

/* Length on the wire; 0 for types that vary. */
static size_t wire_len(uint8_t type)
{
    switch (type) {
    case STELE_GEN_INT2:
        return 2;
    case STELE_GEN_FLOAT4:
    case STELE_GEN_DATE:
        return 4;
    case STELE_GEN_FLOAT8:
    case STELE_GEN_TIME:
        return 8;
    case STELE_GEN_UUID:
    case STELE_GEN_INTERVAL:
        return 16;
    default:
        return 0;
    }
}

int stele__decode_other(uint8_t type, const stele_gen_enum *labels, const char *data, size_t len,
                        void *ret_value, stele__mem_fn alloc, void *alloc_ctx)
{
    if ((type & STELE_GEN_ARRAY) != 0)
        return stele__decode_array(type, labels, data, len, ret_value, alloc, alloc_ctx);
    size_t expected = wire_len(type);
    if (expected != 0 && len != expected)
        return STELE__CODEC_LENGTH;
    switch (type) {
    case STELE_GEN_INT2: {
        uint16_t v = stele__get_be16(data);
        memcpy(ret_value, &v, sizeof v);
        return STELE__CODEC_OK;
    }
    case STELE_GEN_FLOAT4: {
        uint32_t v = stele__get_be32(data);
        memcpy(ret_value, &v, sizeof v);
        return STELE__CODEC_OK;
    }
    case STELE_GEN_FLOAT8: {
        uint64_t v = stele__get_be64(data);
        memcpy(ret_value, &v, sizeof v);
        return STELE__CODEC_OK;
    }
    case STELE_GEN_NUMERIC: {
        stele_str text;
        int code = stele__numeric_read(data, len, &text, alloc, alloc_ctx);
        if (code == STELE__CODEC_OK)
            memcpy(ret_value, &text, sizeof text);
        return code;
    }
    case STELE_GEN_BYTEA: {
        stele_bytes bytes = {(const uint8_t *)data, len};
        memcpy(ret_value, &bytes, sizeof bytes);
        return STELE__CODEC_OK;
    }
    case STELE_GEN_UUID:
        memcpy(ret_value, data, sizeof(stele_uuid));
        return STELE__CODEC_OK;
    case STELE_GEN_DATE:
        return decode_date(data, ret_value);
    case STELE_GEN_TIME:
        return decode_time(data, ret_value);
    case STELE_GEN_INTERVAL:
        return decode_interval(data, ret_value);
    case STELE_GEN_INET:
        return decode_inet(data, len, ret_value);
    case STELE_GEN_ENUM: {
        stele_str label = {data, len};
        int v = stele_gen_enum_value(labels, label);
        memcpy(ret_value, &v, sizeof v);
        return STELE__CODEC_OK;
    }
    default:
        return STELE__CODEC_TYPE;
    }
}

/* ---- encoding scalars ----------------------------------------------------------------------- */

static size_t write_be32(char *out, uint32_t v)
{
    stele__put_be32(out, v);
    return 4;
}

static size_t write_be64(char *out, uint64_t v)
{
    stele__put_be64(out, v);
    return 8;
}

/* Date, time and timestamp: what the server would refuse is refused here. */
static int write_moment(uint8_t type, const void *value, char *out, size_t *ret_len)
{
    if (type == STELE_GEN_DATE) {
        int32_t date;
        memcpy(&date, value, sizeof date);
        if (date != STELE_DATE_INFINITY && date != STELE_DATE_NEG_INFINITY) {
            if (date < STELE__DATE_MIN || date > STELE__DATE_MAX)
                return STELE__CODEC_RANGE;
            date -= STELE__EPOCH_DAYS;
        }
        *ret_len = write_be32(out, (uint32_t)date);
        return STELE__CODEC_OK;
    }
    int64_t v;
    memcpy(&v, value, sizeof v);
    if (type == STELE_GEN_TIME) {
        if (v < 0 || v > STELE__DAY_MICROS)
            return STELE__CODEC_RANGE;
    } else if (v != STELE_TS_INFINITY && v != STELE_TS_NEG_INFINITY) {
        if (v < STELE__TS_MIN)
            return STELE__CODEC_RANGE;
        v -= STELE__EPOCH_MICROS;
    }
    *ret_len = write_be64(out, (uint64_t)v);
    return STELE__CODEC_OK;
}

static int write_inet(const void *value, char *out, size_t *ret_len)
{
    stele_inet inet;
    memcpy(&inet, value, sizeof inet);
    if (inet.family != 4 && inet.family != 6)
        return STELE__CODEC_VALUE;
    uint8_t bytes = inet.family == 4 ? 4 : 16;
    if (inet.bits > bytes * 8)
        return STELE__CODEC_RANGE;
    out[0] = inet.family == 4 ? WIRE_INET : WIRE_INET6;
    out[1] = (char)inet.bits;
    out[2] = 0;
    out[3] = (char)bytes;
    memcpy(out + 4, inet.addr, bytes);
    *ret_len = 4 + (size_t)bytes;
    return STELE__CODEC_OK;
}

static size_t write_interval(const void *value, char *out)
{
    stele_interval interval;
    memcpy(&interval, value, sizeof interval);
    stele__put_be64(out, (uint64_t)interval.micros);
    stele__put_be32(out + 8, (uint32_t)interval.days);
    stele__put_be32(out + 12, (uint32_t)interval.months);
    return 16;
}

int stele__write_fixed(uint8_t type, const void *value, char *out, size_t *ret_len)
{
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;
    switch (type) {
    case STELE_GEN_BOOL:
        out[0] = *(const bool *)value ? 1 : 0;
        *ret_len = 1;
        return STELE__CODEC_OK;
    case STELE_GEN_INT2:
        memcpy(&v16, value, sizeof v16);
        stele__put_be16(out, v16);
        *ret_len = 2;
        return STELE__CODEC_OK;
    case STELE_GEN_INT4:
    case STELE_GEN_FLOAT4:
        memcpy(&v32, value, sizeof v32);
        *ret_len = write_be32(out, v32);
        return STELE__CODEC_OK;
    case STELE_GEN_INT8:
    case STELE_GEN_FLOAT8:
        memcpy(&v64, value, sizeof v64);
        *ret_len = write_be64(out, v64);
        return STELE__CODEC_OK;
    case STELE_GEN_DATE:
    case STELE_GEN_TIME:
    case STELE_GEN_TIMESTAMP:
    case STELE_GEN_TIMESTAMPTZ:
        return write_moment(type, value, out, ret_len);
    case STELE_GEN_UUID:
        memcpy(out, value, sizeof(stele_uuid));
        *ret_len = sizeof(stele_uuid);
        return STELE__CODEC_OK;
    case STELE_GEN_INTERVAL:
        *ret_len = write_interval(value, out);
        return STELE__CODEC_OK;
    case STELE_GEN_INET:
        return write_inet(value, out, ret_len);
    default:
        return STELE__CODEC_TYPE;
    }
}

/* A terminated copy in text format; a NUL within would cut it short, so it is refused. */
static int encode_text_copy(stele_str text, stele__encoded *out, stele__block *block)
{
    const char *nul = text.len > 0 ? memchr(text.data, '\0', text.len) : NULL;
    if (nul != NULL) {
        out->where = (size_t)(nul - text.data);
        return STELE__CODEC_VALUE;
    }
    out->data = stele__block_strndup(block, text.data, text.len);
    if (out->data == NULL)
        return STELE__CODEC_NOMEM;
    out->len = (int)text.len;
    out->format = 0;
    return STELE__CODEC_OK;
}

static int encode_numeric(stele_str text, stele__encoded *out, stele__block *block)
{
    char *data = stele__block_alloc(block, stele__numeric_bound(text.len));
    if (data == NULL)
        return STELE__CODEC_NOMEM;
    size_t len;
    int code = stele__numeric_write(text, data, &len, &out->where);
    if (code == STELE__CODEC_TOO_LONG)
        return encode_text_copy(text, out, block);
    if (code != STELE__CODEC_OK)
        return code;
    out->data = data;
    out->len = (int)len;
    out->format = 1;
    return STELE__CODEC_OK;
}

static int encode_jsonb(stele_str text, stele__encoded *out, stele__block *block)
{
    char *data = stele__block_alloc(block, text.len + 1);
    if (data == NULL)
        return STELE__CODEC_NOMEM;
    data[0] = 1; /* version of the format */
    if (text.len > 0)
        memcpy(data + 1, text.data, text.len);
    out->data = data;
    out->len = (int)text.len + 1;
    out->format = 1;
    return STELE__CODEC_OK;
}

/* Types whose C value is a stele_str and whose wire form is not the text itself. */
static int encode_str(uint8_t type, const void *value, stele__encoded *out, stele__block *block)
{
    stele_str text;
    memcpy(&text, value, sizeof text);
    if (text.data == NULL)
        return stele__encode_view(NULL, 0, out);
    if (text.len >= STELE__VALUE_MAX)
        return STELE__CODEC_TOO_LONG;
    if (type == STELE_GEN_NUMERIC)
        return encode_numeric(text, out, block);
    if (type == STELE_GEN_JSONB)
        return encode_jsonb(text, out, block);
    return encode_text_copy(text, out, block);
}

int stele__encode_other(uint8_t type, const stele_gen_enum *labels, const void *value,
                        stele__encoded *out, stele__block *block)
{
    switch (type) {
    case STELE_GEN_NUMERIC:
    case STELE_GEN_JSONB:
    case STELE_GEN_OPAQUE:
        return encode_str(type, value, out, block);
    case STELE_GEN_BYTEA: {
        stele_bytes bytes;
        memcpy(&bytes, value, sizeof bytes);
        return stele__encode_view(bytes.data, bytes.len, out);
    }
    case STELE_GEN_ENUM: {
        int v;
        memcpy(&v, value, sizeof v);
        const char *label = stele_gen_enum_label(labels, v);
        if (label == NULL)
            return STELE__CODEC_LABEL;
        return stele__encode_view(label, strlen(label), out);
    }
    default: {
        size_t len;
        int code = stele__write_fixed(type, value, out->scratch, &len);
        if (code != STELE__CODEC_OK)
            return code;
        out->data = out->scratch;
        out->len = (int)len;
        out->format = 1;
        return STELE__CODEC_OK;
    }
    }
}
