/**
 * The version of the library, at compile time and at run time.
 *
 * Floor: base.
 */
#ifndef STELE_VERSION_H
#define STELE_VERSION_H

#include "stele/base.h"

STELE_BEGIN_DECLS

#define STELE_VERSION_MAJOR 0
#define STELE_VERSION_MINOR 1
#define STELE_VERSION_PATCH 0
#define STELE_VERSION "0.1.0"

/** Version of the library that is loaded. */
STELE_API const char *stele_version(void);

STELE_END_DECLS

#endif
