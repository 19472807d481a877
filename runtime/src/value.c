#include "stele/value.h"

#include "banned.h"

/* Only the addresses matter; the contents keep a linker from folding them and help a debugger. */
struct stele_tag {
    char name[8];
};

const stele_tag stele_tag_value = {"value"};
const stele_tag stele_tag_null = {"null"};
const stele_tag stele_tag_now = {"now"};
const stele_tag stele_tag_after = {"after"};

bool stele_str_eq(stele_str a, stele_str b)
{
    if (a.data == NULL || b.data == NULL)
        return a.data == b.data;
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
