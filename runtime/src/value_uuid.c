#define _GNU_SOURCE
#include <errno.h>
#include <sys/random.h>

#include "stele/value.h"
#include "text_internal.h"

#include "banned.h"

char *stele_uuid_format(stele_uuid uuid, char buf[STELE_UUID_TEXT_SIZE])
{
    static const uint8_t groups[] = {4, 2, 2, 2, 6};
    char *at = buf;
    size_t byte = 0;
    for (size_t i = 0; i < sizeof groups; i++) {
        if (i > 0)
            *at++ = '-';
        stele__hex_encode(uuid.bytes + byte, groups[i], at);
        byte += groups[i];
        at += 2 * (size_t)groups[i];
    }
    return buf;
}

/* As the server: braces around and a hyphen after any four digits are optional. */
stele_status stele_uuid_parse(stele_str text, stele_uuid *ret_uuid)
{
    if (text.data == NULL)
        return STELE_E_INPUT;
    if (text.len >= 2 && text.data[0] == '{') {
        if (text.data[text.len - 1] != '}')
            return STELE_E_INPUT;
        text.data++;
        text.len -= 2;
    }
    stele_uuid uuid;
    size_t at = 0;
    for (size_t i = 0; i < sizeof uuid.bytes; i++, at += 2) {
        if (i > 0 && i % 2 == 0 && at < text.len && text.data[at] == '-')
            at++;
        if (text.len - at < 2 || !stele__hex_decode(text.data + at, 2, &uuid.bytes[i]))
            return STELE_E_INPUT;
    }
    if (at != text.len)
        return STELE_E_INPUT;
    *ret_uuid = uuid;
    return STELE_OK;
}

stele_status stele_uuid_v4(stele_uuid *ret_uuid)
{
    stele_uuid uuid;
    size_t have = 0;
    while (have < sizeof uuid.bytes) {
        ssize_t got = getrandom(uuid.bytes + have, sizeof uuid.bytes - have, 0);
        if (got < 0 && errno != EINTR)
            return STELE_E_UNSUPPORTED;
        if (got > 0)
            have += (size_t)got;
    }
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40); /* version 4 */
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80); /* the variant of RFC 4122 */
    *ret_uuid = uuid;
    return STELE_OK;
}
