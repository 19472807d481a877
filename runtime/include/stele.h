/**
 * Stele: a schema-first data access layer for PostgreSQL. Includes every public header but
 * stele/json.h, which needs jansson's.
 */
#ifndef STELE_H
#define STELE_H

#include "stele/async.h"
#include "stele/base.h"
#include "stele/bulk.h"
#include "stele/conn.h"
#include "stele/db.h"
#include "stele/ensure.h"
#include "stele/health.h"
#include "stele/jobs.h"
#include "stele/lanes.h"
#include "stele/latency.h"
#include "stele/listen.h"
#include "stele/mem.h"
#include "stele/metrics.h"
#include "stele/observe.h"
#include "stele/page.h"
#include "stele/persist.h"
#include "stele/pipeline.h"
#include "stele/pool.h"
#include "stele/status.h"
#include "stele/sweeper.h"
#include "stele/tx.h"
#include "stele/value.h"
#include "stele/version.h"

#endif
