#include "codec_internal.h"

#include "banned.h"

/*
 * On the wire: 32-bit numbers of dimensions, of "has NULLs" and of the element type's OID; for each
 * dimension its size and lower bound; then each element as a 32-bit length (-1 for NULL) and its bytes.
 */
#define HEADER 12
#define DIMENSION 8
#define NULL_LEN UINT32_MAX

/* Any stele_*_array. */
typedef struct any_array {
    const char *items;
    const bool *nulls;
    size_t count;
} any_array;

_Static_assert(sizeof(any_array) == sizeof(stele_str_array), "arrays of all types look alike");

/* Types whose C value is a stele_str. */
static bool is_text(uint8_t type)
{
    switch (type) {
    case STELE_GEN_NUMERIC:
    case STELE_GEN_TEXT:
    case STELE_GEN_BPCHAR:
    case STELE_GEN_JSON:
    case STELE_GEN_JSONB:
    case STELE_GEN_OPAQUE:
        return true;
    default:
        return false;
    }
}

/* ---- decoding ------------------------------------------------------------------------------- */

/*
 * Whether elements of this OID can be read as `type`. Text, enums and opaque types come under many
 * OIDs (varchar, name, an enum's own) with the same bytes.
 */
static bool element_fits(uint8_t type, uint32_t oid)
{
    if (type == STELE_GEN_TEXT || type == STELE_GEN_BPCHAR || stele__layouts[type].oid == 0)
        return true;
    return oid == stele__layouts[type].oid;
}

/* The elements' bytes and how many they are said to be. */
static int read_header(uint8_t type, const char *data, size_t len, size_t *ret_count)
{
    if (len < HEADER)
        return STELE__CODEC_LENGTH;
    uint32_t dimensions = stele__get_be32(data);
    if (stele__get_be32(data + 4) > 1)
        return STELE__CODEC_VALUE;
    if (!element_fits(type, stele__get_be32(data + 8)))
        return STELE__CODEC_ELEMENT;
    *ret_count = 0;
    if (dimensions == 0)
        return len == HEADER ? STELE__CODEC_OK : STELE__CODEC_LENGTH;
    if (dimensions > 1)
        return STELE__CODEC_DIMENSIONS;
    if (len < HEADER + DIMENSION)
        return STELE__CODEC_LENGTH;
    *ret_count = stele__get_be32(data + HEADER);
    /* Every element has at least its length word, so this bounds what is allocated. */
    return *ret_count <= (len - HEADER - DIMENSION) / 4 ? STELE__CODEC_OK : STELE__CODEC_LENGTH;
}

/* Checks that the lengths of all elements fill [data, end) exactly, and counts the NULLs. */
static bool walk(const char *data, const char *end, size_t count, size_t *ret_null_count)
{
    *ret_null_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (end - data < 4)
            return false;
        uint32_t len = stele__get_be32(data);
        data += 4;
        if (len == NULL_LEN) {
            ++*ret_null_count;
            continue;
        }
        if (len > (size_t)(end - data))
            return false;
        data += len;
    }
    return data == end;
}

/*
 * An element's text is followed by the next one's length, whose first byte is 0 unless the element is
 * NULL or huge, or by the terminator that libpq puts after the value. Only where there is neither is
 * the text copied.
 */
static int terminate(stele_str *text, const char *end, stele__mem_fn alloc, void *alloc_ctx)
{
    const char *after = text->data + text->len;
    if (after == end || *after == '\0')
        return STELE__CODEC_OK;
    char *copy = alloc(alloc_ctx, text->len + 1);
    if (copy == NULL)
        return STELE__CODEC_NOMEM;
    memcpy(copy, text->data, text->len);
    copy[text->len] = '\0';
    text->data = copy;
    return STELE__CODEC_OK;
}

static int decode_element(uint8_t type, const stele_gen_enum *labels, const char *data, size_t len,
                          const char *end, void *item, stele__mem_fn alloc, void *alloc_ctx)
{
    int code = stele__decode_scalar(type, labels, data, len, item, alloc, alloc_ctx);
    if (code != STELE__CODEC_OK || !is_text(type) || type == STELE_GEN_NUMERIC)
        return code;
    stele_str text;
    memcpy(&text, item, sizeof text);
    code = terminate(&text, end, alloc, alloc_ctx);
    memcpy(item, &text, sizeof text);
    return code;
}

int stele__decode_array(uint8_t type, const stele_gen_enum *labels, const char *data, size_t len,
                        void *ret_array, stele__mem_fn alloc, void *alloc_ctx)
{
    static const int64_t nothing[4]; /* items of an empty array: an address, never read */
    type = (uint8_t)(type & ~STELE_GEN_ARRAY);
    if (!stele__type_valid(type))
        return STELE__CODEC_TYPE;
    size_t count;
    int code = read_header(type, data, len, &count);
    if (code != STELE__CODEC_OK)
        return code;
    any_array array = {(const char *)nothing, NULL, count};
    const char *end = data + len;
    const char *at = data + (count > 0 || len > HEADER ? HEADER + DIMENSION : HEADER);
    size_t null_count;
    if (!walk(at, end, count, &null_count))
        return STELE__CODEC_LENGTH;
    if (count > 0) {
        size_t size = stele__layouts[type].size;
        size_t room;
        if (__builtin_mul_overflow(count, size + (null_count > 0), &room))
            return STELE__CODEC_NOMEM;
        char *items = alloc(alloc_ctx, room);
        if (items == NULL)
            return STELE__CODEC_NOMEM;
        memset(items, 0, room);
        bool *nulls = null_count > 0 ? (bool *)(items + count * size) : NULL;
        for (size_t i = 0; i < count; i++) {
            uint32_t element = stele__get_be32(at);
            at += 4;
            if (element == NULL_LEN) {
                nulls[i] = true;
                continue;
            }
            code =
                decode_element(type, labels, at, element, end, items + i * size, alloc, alloc_ctx);
            if (code != STELE__CODEC_OK)
                return code;
            at += element;
        }
        array.items = items;
        array.nulls = nulls;
    }
    memcpy(ret_array, &array, sizeof array);
    return STELE__CODEC_OK;
}

/* ---- encoding ------------------------------------------------------------------------------- */

static const char *item_at(uint8_t type, const any_array *array, size_t i)
{
    return array->items + i * stele__layouts[type].size;
}

static stele_str str_at(const char *item)
{
    stele_str str;
    memcpy(&str, item, sizeof str);
    return str;
}

/* An element's own bytes count as text do: stele_bytes has the layout of stele_str. */
static bool has_data(uint8_t type)
{
    return is_text(type) || type == STELE_GEN_BYTEA;
}

static bool is_null(uint8_t type, const any_array *array, size_t i)
{
    if (array->nulls != NULL && array->nulls[i])
        return true;
    return has_data(type) && str_at(item_at(type, array, i)).data == NULL;
}

/* Upper bound of an element's bytes in binary. */
static size_t binary_bound(uint8_t type, const char *item)
{
    if (!has_data(type))
        return 20;
    size_t len = str_at(item).len;
    if (len > STELE__VALUE_MAX)
        return STELE__VALUE_MAX;
    return type == STELE_GEN_NUMERIC ? stele__numeric_bound(len) : len + 1;
}

static int write_element(uint8_t type, const char *item, char *out, size_t *ret_len)
{
    if (!has_data(type))
        return stele__write_fixed(type, item, out, ret_len);
    stele_str str = str_at(item);
    size_t where;
    if (type == STELE_GEN_NUMERIC)
        return stele__numeric_write(str, out, ret_len, &where);
    size_t version = type == STELE_GEN_JSONB ? 1 : 0;
    if (version > 0)
        out[0] = 1;
    if (str.len > 0)
        memcpy(out + version, str.data, str.len);
    *ret_len = version + str.len;
    return STELE__CODEC_OK;
}

static int encode_binary(uint8_t type, const any_array *array, stele__encoded *out,
                         stele__block *block)
{
    size_t bound = HEADER + DIMENSION;
    bool has_null = false;
    for (size_t i = 0; i < array->count && bound <= STELE__VALUE_MAX; i++) {
        bool null = is_null(type, array, i);
        has_null = has_null || null;
        bound += 4 + (null ? 0 : binary_bound(type, item_at(type, array, i)));
    }
    if (bound > STELE__VALUE_MAX)
        return STELE__CODEC_TOO_LONG;
    char *data = stele__block_alloc(block, bound);
    if (data == NULL)
        return STELE__CODEC_NOMEM;
    stele__put_be32(data, array->count > 0);
    stele__put_be32(data + 4, has_null);
    stele__put_be32(data + 8, stele__layouts[type].oid);
    char *at = data + HEADER;
    if (array->count > 0) {
        stele__put_be32(at, (uint32_t)array->count);
        stele__put_be32(at + 4, 1);
        at += DIMENSION;
    }
    for (size_t i = 0; i < array->count; i++) {
        size_t len = 0;
        bool null = has_null && is_null(type, array, i);
        if (!null) {
            int code = write_element(type, item_at(type, array, i), at + 4, &len);
            if (code != STELE__CODEC_OK) {
                out->where = i;
                return code;
            }
        }
        stele__put_be32(at, null ? NULL_LEN : (uint32_t)len);
        at += 4 + len;
    }
    out->data = data;
    out->len = (int)(at - data);
    out->format = 1;
    return STELE__CODEC_OK;
}

/* An element's text in an array literal. */
static int literal_text(uint8_t type, const stele_gen_enum *labels, const char *item,
                        stele_str *ret_text)
{
    if (type != STELE_GEN_ENUM) {
        *ret_text = str_at(item);
        bool has_nul = ret_text->len > 0 && memchr(ret_text->data, '\0', ret_text->len) != NULL;
        return has_nul ? STELE__CODEC_VALUE : STELE__CODEC_OK;
    }
    int v;
    memcpy(&v, item, sizeof v);
    *ret_text = stele_s(stele_gen_enum_label(labels, v));
    return ret_text->data != NULL ? STELE__CODEC_OK : STELE__CODEC_LABEL;
}

static bool is_escaped(char c)
{
    return c == '"' || c == '\\';
}

/* Bytes of an element in a literal, its comma included. */
static size_t literal_len(stele_str text)
{
    size_t len = text.len + 3;
    for (size_t i = 0; i < text.len; i++)
        len += is_escaped(text.data[i]);
    return len;
}

static char *write_literal(char *out, stele_str text)
{
    *out++ = '"';
    for (size_t i = 0; i < text.len; i++) {
        if (is_escaped(text.data[i]))
            *out++ = '\\';
        *out++ = text.data[i];
    }
    *out++ = '"';
    return out;
}

/* {"a","b",NULL} */
static int encode_literal(uint8_t type, const stele_gen_enum *labels, const any_array *array,
                          stele__encoded *out, stele__block *block)
{
    size_t bound = 3;
    stele_str text = {NULL, 0};
    for (size_t i = 0; i < array->count && bound <= STELE__VALUE_MAX; i++) {
        if (is_null(type, array, i)) {
            bound += 5;
            continue;
        }
        int code = literal_text(type, labels, item_at(type, array, i), &text);
        if (code != STELE__CODEC_OK) {
            out->where = i;
            return code;
        }
        bound += text.len <= STELE__VALUE_MAX ? literal_len(text) : text.len;
    }
    if (bound > STELE__VALUE_MAX)
        return STELE__CODEC_TOO_LONG;
    char *data = stele__block_alloc(block, bound);
    if (data == NULL)
        return STELE__CODEC_NOMEM;
    char *at = data;
    *at++ = '{';
    for (size_t i = 0; i < array->count; i++) {
        if (i > 0)
            *at++ = ',';
        if (is_null(type, array, i)) {
            memcpy(at, "NULL", 4);
            at += 4;
        } else {
            (void)literal_text(type, labels, item_at(type, array, i), &text); /* went well above */
            at = write_literal(at, text);
        }
    }
    *at++ = '}';
    *at = '\0';
    out->data = data;
    out->len = (int)(at - data);
    out->format = 0;
    return STELE__CODEC_OK;
}

int stele__encode_array(uint8_t type, const stele_gen_enum *labels, const void *value,
                        stele__encoded *out, stele__block *block)
{
    type = (uint8_t)(type & ~STELE_GEN_ARRAY);
    if (!stele__type_valid(type))
        return STELE__CODEC_TYPE;
    any_array array;
    memcpy(&array, value, sizeof array);
    if (array.items == NULL)
        return stele__encode_view(NULL, 0, out);
    if (type == STELE_GEN_ENUM || type == STELE_GEN_OPAQUE)
        return encode_literal(type, labels, &array, out, block);
    int code = encode_binary(type, &array, out, block);
    if (code == STELE__CODEC_TOO_LONG && type == STELE_GEN_NUMERIC)
        return encode_literal(type, labels, &array, out, block);
    return code;
}
