#include "stele/version.h"

#include "banned.h"

const char *stele_version(void)
{
    return STELE_VERSION;
}
