/**
 * Attributes and visibility used by every public header.
 *
 * Floor: base. Includes nothing of Stele.
 */
#ifndef STELE_BASE_H
#define STELE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define STELE_BEGIN_DECLS extern "C" {
#define STELE_END_DECLS }
#else
#define STELE_BEGIN_DECLS
#define STELE_END_DECLS
#endif

/** Marks a symbol that the shared library exports. */
#define STELE_API __attribute__((visibility("default")))

/** Marks a result that the caller may not ignore. */
#define STELE_MUST_CHECK __attribute__((warn_unused_result))

#define STELE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/**
 * Declares a pointer that is freed when it leaves its scope:
 *
 *     STELE_AUTO(invoices_row) inv = NULL;
 *
 * Works for every type T that has `T_autofree(T **)`: all row and page types of generated code,
 * `stele_conn` (released), `stele_db` (closed), `stele_pool_stats` has none.
 */
#define STELE_AUTO(T) __attribute__((cleanup(T##_autofree))) T *

/* A bare number or string given where a typed wrapper is expected lands on the wrapper's first
 * member, a pointer to an incomplete type. These make that an error in C; it already is in C++. */
#if !defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic error "-Wint-conversion"
#pragma GCC diagnostic error "-Wincompatible-pointer-types"
#endif

#endif
