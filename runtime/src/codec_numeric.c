#include "codec_internal.h"

#include "banned.h"

/*
 * On the wire: four 16-bit numbers (count of groups, weight, sign, scale), then the groups, each four
 * decimal digits, most significant first. The value is the sum of group[i] × 10000^(weight - i);
 * `scale` is how many digits are shown after the point.
 */
#define HEADER 8
#define NEGATIVE 0x4000
#define NOT_A_NUMBER 0xC000
#define POSITIVE_INFINITY 0xD000
#define NEGATIVE_INFINITY 0xF000
#define SCALE_MAX 0x3FFF
#define WEIGHT_MAX INT16_MAX
#define GROUPS_MAX 3000 /* the server takes no more in binary */

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct groups {
    const char *data;
    int count;
    int weight;
    int scale;
} groups;

/* Group of weight `weight`; those beyond either end are 0. */
static unsigned group_at(const groups *num, int weight)
{
    int i = num->weight - weight;
    return i >= 0 && i < num->count ? stele__get_be16(num->data + 2 * i) : 0;
}

static void write_group(char out[4], unsigned group)
{
    out[0] = (char)('0' + group / 1000);
    out[1] = (char)('0' + group / 100 % 10);
    out[2] = (char)('0' + group / 10 % 10);
    out[3] = (char)('0' + group % 10);
}

/* The digits before the point; returns the end. */
static char *write_whole(char *out, const groups *num)
{
    if (num->weight < 0) {
        *out++ = '0';
        return out;
    }
    char first[4];
    write_group(first, group_at(num, num->weight));
    int skip = 0;
    while (skip < 3 && first[skip] == '0')
        skip++;
    memcpy(out, first + skip, (size_t)(4 - skip));
    out += 4 - skip;
    for (int weight = num->weight - 1; weight >= 0; weight--, out += 4)
        write_group(out, group_at(num, weight));
    return out;
}

/* The point and `scale` digits; returns the end. */
static char *write_fraction(char *out, const groups *num)
{
    if (num->scale == 0)
        return out;
    *out++ = '.';
    int weight = -1;
    for (int left = num->scale; left > 0; left -= 4, weight--) {
        char four[4];
        write_group(four, group_at(num, weight));
        int shown = left < 4 ? left : 4;
        memcpy(out, four, (size_t)shown);
        out += shown;
    }
    return out;
}

/* Checks the groups, drops leading zero ones; false if one is no group at all. */
static bool normalise(groups *num)
{
    for (int i = 0; i < num->count; i++) {
        if (stele__get_be16(num->data + 2 * i) > 9999)
            return false;
    }
    while (num->count > 0 && stele__get_be16(num->data) == 0) {
        num->data += 2;
        num->count--;
        num->weight--;
    }
    if (num->count == 0)
        num->weight = -1;
    return true;
}

/* Whether a digit other than zero is shown: what is not has no sign. */
static bool is_shown(const groups *num)
{
    for (int i = 0; i < num->count; i++) {
        unsigned group = stele__get_be16(num->data + 2 * i);
        int weight = num->weight - i;
        int hidden = weight >= 0 ? 0 : -4 * weight - num->scale; /* digits at the right end */
        static const unsigned power[] = {1, 10, 100, 1000};
        if (hidden < 4 && group / power[hidden > 0 ? hidden : 0] != 0)
            return true;
    }
    return false;
}

int stele__numeric_read(const char *data, size_t len, stele_str *ret_text, stele__mem_fn alloc,
                        void *alloc_ctx)
{
    if (len < HEADER)
        return STELE__CODEC_LENGTH;
    groups num = {data + HEADER, stele__get_be16(data), (int16_t)stele__get_be16(data + 2),
                  stele__get_be16(data + 6)};
    unsigned sign = stele__get_be16(data + 4);
    if (len != HEADER + 2 * (size_t)num.count)
        return STELE__CODEC_LENGTH;
    const char *word = sign == NOT_A_NUMBER        ? "NaN"
                       : sign == POSITIVE_INFINITY ? "Infinity"
                       : sign == NEGATIVE_INFINITY ? "-Infinity"
                                                   : NULL;
    if (word != NULL) {
        *ret_text = stele_s(word);
        return STELE__CODEC_OK;
    }
    if ((sign != 0 && sign != NEGATIVE) || num.scale > SCALE_MAX || !normalise(&num))
        return STELE__CODEC_VALUE;
    size_t whole = num.weight >= 0 ? 4 * ((size_t)num.weight + 1) : 1;
    char *text = alloc(alloc_ctx, 1 + whole + 1 + (size_t)num.scale + 1);
    if (text == NULL)
        return STELE__CODEC_NOMEM;
    char *end = text;
    if (sign == NEGATIVE && is_shown(&num))
        *end++ = '-';
    end = write_whole(end, &num);
    end = write_fraction(end, &num);
    *end = '\0';
    ret_text->data = text;
    ret_text->len = (size_t)(end - text);
    return STELE__CODEC_OK;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void write_header(char *out, int count, int weight, unsigned sign, int scale)
{
    stele__put_be16(out, (uint16_t)count);
    stele__put_be16(out + 2, (uint16_t)weight);
    stele__put_be16(out + 4, (uint16_t)sign);
    stele__put_be16(out + 6, (uint16_t)scale);
}

/* Division that rounds down. */
static int64_t floor_quarter(int64_t n)
{
    return n >= 0 ? n / 4 : -((-n + 3) / 4);
}

/* Decimal digit that stands for 10^power; `point` digits stand before the point. */
static unsigned digit_of(const stele__decimal *decimal, int64_t point, int64_t power)
{
    int64_t i = point - 1 - power;
    int64_t count = (int64_t)(decimal->whole + decimal->fraction);
    return i >= 0 && i < count ? (unsigned)stele__decimal_digit(decimal, (size_t)i) : 0;
}

static int write_finite(const stele__decimal *decimal, char *out, size_t *ret_len)
{
    int64_t count = (int64_t)(decimal->whole + decimal->fraction);
    int64_t point = (int64_t)decimal->whole + decimal->exponent;
    int64_t scale = (int64_t)decimal->fraction - decimal->exponent;
    if (scale > SCALE_MAX)
        return STELE__CODEC_RANGE;
    if (scale < 0)
        scale = 0;
    int64_t first = 0;
    while (first < count && stele__decimal_digit(decimal, (size_t)first) == 0)
        first++;
    if (first == count) {
        write_header(out, 0, 0, 0, (int)scale);
        *ret_len = HEADER;
        return STELE__CODEC_OK;
    }
    int64_t last = count - 1;
    while (stele__decimal_digit(decimal, (size_t)last) == 0)
        last--;
    int64_t weight = floor_quarter(point - 1 - first);
    int64_t lowest = floor_quarter(point - 1 - last);
    if (weight > WEIGHT_MAX)
        return STELE__CODEC_RANGE;
    if (weight - lowest + 1 > GROUPS_MAX)
        return STELE__CODEC_TOO_LONG;
    write_header(out, (int)(weight - lowest + 1), (int)weight, decimal->negative ? NEGATIVE : 0,
                 (int)scale);
    char *at = out + HEADER;
    for (int64_t group = weight; group >= lowest; group--, at += 2) {
        unsigned value = 0;
        for (int64_t power = 4 * group + 3; power >= 4 * group; power--)
            value = value * 10 + digit_of(decimal, point, power);
        stele__put_be16(at, (uint16_t)value);
    }
    *ret_len = (size_t)(at - out);
    return STELE__CODEC_OK;
}

int stele__numeric_write(stele_str text, char *out, size_t *ret_len, size_t *ret_where)
{
    stele__decimal decimal;
    if (!stele__decimal_scan(text, &decimal, ret_where))
        return STELE__CODEC_VALUE;
    if (decimal.kind == STELE__DECIMAL_FINITE)
        return write_finite(&decimal, out, ret_len);
    unsigned sign = decimal.kind == STELE__DECIMAL_NAN ? NOT_A_NUMBER
                    : decimal.negative                 ? NEGATIVE_INFINITY
                                                       : POSITIVE_INFINITY;
    write_header(out, 0, 0, sign, 0);
    *ret_len = HEADER;
    return STELE__CODEC_OK;
}
