/*
 * Feeds arbitrary bytes to every decoder, and text to every encoder that reads text.
 *
 * First byte: what is called, and the type. The rest is the input, in a heap block of its exact size.
 * What decodes is used in full: every byte is read, and it is encoded and decoded again, which must
 * give the same bytes the second time.
 */
#include <stdlib.h>

#include "codec_internal.h"
#include "fuzz.h"

static const char *const names[] = {"open", "paid"};
static const stele_gen_enum labels = {"status", names, 2};

static volatile unsigned seen;

/* Reads every byte, so that a sanitizer looks at each. */
static void look_at(const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        seen += bytes[i];
}

static bool has_data(uint8_t type)
{
    return stele__layouts[type].opt == 0;
}

static void look_at_value(uint8_t type, const void *value)
{
    look_at(value, stele__layouts[type].size);
    if (has_data(type)) {
        stele_str str; /* stele_bytes has the same layout */
        memcpy(&str, value, sizeof str);
        if (str.data != NULL)
            look_at(str.data, str.len);
    }
}

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Encodes what was decoded; in binary it must decode and encode to the same bytes again. */
static void go_round(uint8_t type, const void *value, stele__block *block)
{
    stele__encoded first, second;
    if (stele__encode_value(type, &labels, value, &first, block) != STELE__CODEC_OK)
        return; /* a value the server cannot hold, an unknown label */
    if (first.format != 1 || first.data == NULL)
        return;
    _Alignas(8) char again[32];
    int code = stele__decode_value(type, &labels, first.data, (size_t)first.len, again,
                                   stele__block_mem, block);
    require(code == STELE__CODEC_OK);
    require(stele__encode_value(type, &labels, again, &second, block) == STELE__CODEC_OK);
    require(first.len == second.len);
    require(memcmp(first.data, second.data, (size_t)first.len) == 0);
}

static void fuzz_decode(uint8_t type, const char *data, size_t len, stele__block *block)
{
    _Alignas(8) char value[32];
    uint8_t scalar = (uint8_t)(type & ~STELE_GEN_ARRAY);
    int code = stele__decode_value(type, &labels, data, len, value, stele__block_mem, block);
    if (code != STELE__CODEC_OK)
        return;
    if (type == scalar) {
        look_at_value(type, value);
    } else {
        stele_str_array array;
        memcpy(&array, value, sizeof array);
        require(array.count <= len / 4 && array.items != NULL);
        for (size_t i = 0; i < array.count; i++) {
            if (array.nulls != NULL)
                look_at(&array.nulls[i], 1);
            look_at_value(scalar, (const char *)(const void *)array.items +
                                      i * stele__layouts[scalar].size);
        }
    }
    go_round(type, value, block);
}

static void fuzz_text(uint8_t which, stele_str text, stele__block *block)
{
    stele_ts ts;
    stele_date date;
    stele_uuid uuid;
    stele_inet inet;
    int64_t number;
    double real;
    char buf[STELE_INTERVAL_TEXT_SIZE];
    switch (which % 7) {
    case 0:
        go_round(STELE_GEN_NUMERIC, &text, block);
        break;
    case 1:
        if (stele_ts_parse(text, &ts) == STELE_OK) {
            stele_ts back;
            require(stele_ts_parse(stele_s(stele_ts_format(ts, buf)), &back) == STELE_OK);
            require(back == ts);
        }
        break;
    case 2:
        if (stele_date_parse(text, &date) == STELE_OK) {
            stele_date back;
            require(stele_date_parse(stele_s(stele_date_format(date, buf)), &back) == STELE_OK);
            require(back == date);
        }
        break;
    case 3:
        if (stele_uuid_parse(text, &uuid) == STELE_OK)
            look_at(stele_uuid_format(uuid, buf), STELE_UUID_TEXT_SIZE);
        break;
    case 4:
        if (stele_inet_parse(text, &inet) == STELE_OK) {
            stele_inet back;
            require(stele_inet_parse(stele_s(stele_inet_format(inet, buf)), &back) == STELE_OK);
            require(memcmp(&inet, &back, sizeof back) == 0);
        }
        break;
    case 5:
        seen += (unsigned)stele_numeric_to_scaled(text, which % 10, &number);
        seen += (unsigned)stele_numeric_to_f64(text, &real);
        break;
    default: {
        stele_str_array array = {&text, NULL, 1};
        stele__encoded out;
        if (stele__encode_array(STELE_GEN_OPAQUE, NULL, &array, &out, block) == STELE__CODEC_OK)
            look_at(out.data, (size_t)out.len + 1);
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t what = data[0];
    size_t len = size - 1;
    char *input = malloc(len != 0 ? len : 1);
    if (input == NULL)
        return 0;
    memcpy(input, data + 1, len);
    stele__block block;
    memset(&block, 0, sizeof block);
    if (what >= 0x80) {
        stele_str text = {input, len};
        fuzz_text(what & 0x7f, text, &block);
    } else if (stele__type_valid(what)) {
        fuzz_decode(what, input, len, &block);
    }
    stele__block_release(&block);
    free(input);
    return 0;
}
