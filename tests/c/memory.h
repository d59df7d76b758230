/* memory.h: arrays that end, or begin, where the memory of the process does: one byte too far and the kernel raises an alarm. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>

static inline void fail(const char *what)
{
    fprintf(stderr, "FAILED: %s\n", what);
    exit(1);
}

enum { PAGE = 65536, ROOM = 96 * PAGE, MOST_ARRAYS = 16 }; /* PAGE: at least the system's own */

/* Regions of ROOM bytes between pages that may not be touched */
static char *regions[MOST_ARRAYS];

static inline char *region(size_t slot)
{
    if (slot >= MOST_ARRAYS) fail("the harness asks for more arrays than it has");
    if (!regions[slot]) {
        char *const all = mmap(NULL, ROOM + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED || mprotect(all + PAGE, ROOM, PROT_READ | PROT_WRITE)) fail("no memory");
        regions[slot] = all + PAGE;
    }
    return regions[slot];
}

/* `bytes` bytes that end at the end of region `slot` (at_end) or begin at its begin; around them NaNs, whatever the element type */
static inline void *place(size_t slot, size_t bytes, int at_end)
{
    char *const begin = region(slot);
    if (bytes > ROOM) fail("the harness asks for a larger array than it has room for");
    char *const at = at_end ? begin + ROOM - bytes : begin;
    const size_t beside = ROOM - bytes < 1024 ? ROOM - bytes : 1024;
    memset(at_end ? at - beside : at + bytes, 0xff, beside);
    return at;
}

/* Whether what `place` put beside an array is still there */
static inline int untouched_beside(const void *array, size_t bytes, int at_end)
{
    const unsigned char *const at = array;
    const size_t beside = ROOM - bytes < 1024 ? ROOM - bytes : 1024;
    const unsigned char *const from = at_end ? at - beside : at + bytes;
    for (size_t i = 0; i < beside; i++)
        if (from[i] != 0xff) return 0;
    return 1;
}

/* Numbers between -1 and 1 of which every bit counts: a multiplicative congruential generator */
static uint64_t state = 1;

static inline double number(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) / (double)(1ull << 52) - 1;
}

static inline void set(int dtype, void *array, size_t i, double value)
{
    if (dtype == PYNN_F32) ((float *)array)[i] = (float)value;
    else ((double *)array)[i] = value;
}

static inline double get(int dtype, const void *array, size_t i)
{
    return dtype == PYNN_F32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

static inline size_t size_of(int dtype) { return dtype == PYNN_F32 ? sizeof(float) : sizeof(double); }

static inline void fill(int dtype, void *array, size_t n)
{
    for (size_t i = 0; i < n; i++) set(dtype, array, i, number());
}

#endif
