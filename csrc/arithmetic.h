/* arithmetic.h: how a thread rounds, whether it flushes subnormal numbers, which exceptions trap, and which it has seen.
 *
 * Each function of pynn.h that computes does so in the default arithmetic of IEEE 754 (to nearest, nothing flushed, no traps) and leaves
 * the caller's as it was, flags too. What computes between the two is called, not inlined: a compiler knows nothing of the mode and may move
 * floating-point operations past the change.
 */
#ifndef PYNN_ARITHMETIC_H
#define PYNN_ARITHMETIC_H

#include "compiler.h"

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)

typedef unsigned pynn_arithmetic; /* MXCSR: flags in the lowest six bits */

INLINE void pynn_restore_arithmetic(pynn_arithmetic callers) { __asm__ volatile("ldmxcsr %0" : : "m"(callers) : "memory"); }

INLINE pynn_arithmetic pynn_default_arithmetic(void)
{
    enum { FLAGS = 0x3f, DEFAULT = 0x1f80 };
    pynn_arithmetic callers;
    __asm__ volatile("stmxcsr %0" : "=m"(callers) : : "memory");
    if (!LIKELY((callers & ~(unsigned)FLAGS) == DEFAULT)) pynn_restore_arithmetic(DEFAULT);
    return callers;
}

#elif (defined(__GNUC__) || defined(__clang__)) && defined(__aarch64__)

#include <stdint.h>

typedef struct {
    uint64_t control, status;
} pynn_arithmetic;

INLINE void pynn_restore_arithmetic(pynn_arithmetic callers)
{
    if (!LIKELY(callers.control == 0)) __asm__ volatile("msr fpcr, %0" : : "r"(callers.control) : "memory");
    __asm__ volatile("msr fpsr, %0" : : "r"(callers.status) : "memory");
}

INLINE pynn_arithmetic pynn_default_arithmetic(void)
{
    pynn_arithmetic callers;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(callers.control), "=r"(callers.status) : : "memory");
    if (!LIKELY(callers.control == 0)) __asm__ volatile("msr fpcr, xzr" : : : "memory");
    return callers;
}

#else

#include <fenv.h>

typedef fenv_t pynn_arithmetic;

INLINE void pynn_restore_arithmetic(pynn_arithmetic callers) { fesetenv(&callers); }

INLINE pynn_arithmetic pynn_default_arithmetic(void)
{
    fenv_t callers;
    fegetenv(&callers);
    fesetenv(FE_DFL_ENV);
    return callers;
}

#endif

#endif
