/**
 * Receipts: completed once, waited for by any number, freed by the last of two who hold them.
 *
 * Floor: persist.
 */
#define _GNU_SOURCE
#include <string.h>

#include "persist_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

static bool init_locks(stele_receipt *receipt)
{
    return stele__cond_init(&receipt->completed) && pthread_mutex_init(&receipt->lock, NULL) == 0;
}

stele_receipt *stele__receipt_new(size_t count)
{
    size_t size = sizeof(stele_receipt) + count * sizeof(uint64_t);
    stele_receipt *receipt = stele__calloc(1, size);
    if (receipt == NULL || !init_locks(receipt)) {
        stele__free(receipt);
        return NULL;
    }
    receipt->refs = 2;
    receipt->fork_epoch = stele__fork_epoch;
    receipt->count = count;
    receipt->status = STELE_AGAIN;
    return receipt;
}

/* A child's copy may be locked by a thread that it does not have: its locks are left alone. */
static void drop(stele_receipt *receipt)
{
    if (__atomic_sub_fetch(&receipt->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (receipt->fork_epoch == stele__fork_epoch) {
        (void)pthread_cond_destroy(&receipt->completed);
        (void)pthread_mutex_destroy(&receipt->lock);
    }
    stele__free(receipt->why);
    stele__free(receipt);
}

void stele__receipt_complete(stele_receipt *receipt, stele_status status, const stele_error *why,
                             const uint64_t *affected)
{
    stele_error *copy = why != NULL ? stele__alloc(sizeof *copy) : NULL;
    if (copy != NULL)
        *copy = *why;
    (void)pthread_mutex_lock(&receipt->lock);
    receipt->done = true;
    receipt->status = status;
    receipt->why = copy;
    if (status == STELE_OK)
        memcpy(receipt->affected, affected, receipt->count * sizeof *affected);
    (void)pthread_cond_broadcast(&receipt->completed);
    (void)pthread_mutex_unlock(&receipt->lock);
    drop(receipt);
}

static void wait_until_done(stele_receipt *receipt, uint32_t deadline_ms)
{
    if (deadline_ms == 0) {
        while (!receipt->done)
            (void)pthread_cond_wait(&receipt->completed, &receipt->lock);
        return;
    }
    stele__deadline until = stele__deadline_in(deadline_ms);
    while (!receipt->done && (uint64_t)stele__now_ns() < until)
        (void)stele__cond_wait(&receipt->completed, &receipt->lock, until);
}

stele_status stele_receipt_wait(stele_receipt *receipt, uint32_t deadline_ms, stele_error *err)
{
    if (receipt->fork_epoch != stele__fork_epoch)
        return stele__fail(err, STELE_E_FORKED, "the receipt belongs to the parent process");
    (void)pthread_mutex_lock(&receipt->lock);
    wait_until_done(receipt, deadline_ms);
    stele_status st = receipt->status;
    if (st < 0 && err != NULL) {
        if (receipt->why != NULL)
            *err = *receipt->why;
        else
            (void)stele__fail(err, st, "not stored, and no memory to say why");
    }
    (void)pthread_mutex_unlock(&receipt->lock);
    return st;
}

stele_status stele_receipt_status(stele_receipt *receipt)
{
    if (receipt->fork_epoch != stele__fork_epoch)
        return STELE_E_FORKED;
    (void)pthread_mutex_lock(&receipt->lock);
    stele_status st = receipt->status;
    (void)pthread_mutex_unlock(&receipt->lock);
    return st;
}

uint64_t stele_receipt_affected(stele_receipt *receipt, size_t statement)
{
    if (statement >= receipt->count || receipt->fork_epoch != stele__fork_epoch)
        return 0;
    (void)pthread_mutex_lock(&receipt->lock);
    uint64_t affected = receipt->affected[statement];
    (void)pthread_mutex_unlock(&receipt->lock);
    return affected;
}

void stele_receipt_free(stele_receipt *receipt)
{
    if (receipt != NULL)
        drop(receipt);
}

void stele_receipt_autofree(stele_receipt **receipt)
{
    stele_receipt_free(*receipt);
}
