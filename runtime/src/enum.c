#include <string.h>

#include "stele/gen/types.h"

#include "banned.h"

const char *stele_gen_enum_label(const stele_gen_enum *labels, int value)
{
    if (labels == NULL || value <= 0 || (size_t)value > labels->count)
        return NULL;
    return labels->labels[value - 1];
}

int stele_gen_enum_value(const stele_gen_enum *labels, stele_str label)
{
    if (labels == NULL || label.data == NULL)
        return 0;
    for (size_t i = 0; i < labels->count; i++) {
        const char *known = labels->labels[i];
        if (strlen(known) == label.len && memcmp(known, label.data, label.len) == 0)
            return (int)i + 1;
    }
    return 0;
}
