/* roofline.c: what this processor can do at most: fused multiply-adds per second, and bytes read per second.
 *
 * Compiled for the machine at hand (-march=native), so that a vector is as wide as its widest registers; GCC's and clang's
 * vector types make the same source serve x86-64 and aarch64. */
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* Two units with a latency of 4 need 8 chains, four units (Arm's larger cores) 16; these and 2 operands fit the registers. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define CHAINS 16
#else
#define CHAINS 12
#endif

typedef float v_f32 __attribute__((vector_size(VECTOR_BYTES)));
typedef double v_f64 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t v_u64 __attribute__((vector_size(VECTOR_BYTES)));

size_t vector_bytes(void) { return VECTOR_BYTES; }

/* `times` rounds of CHAINS independent fused multiply-adds; returns how many operations that were, an addition and a
 * multiplication each. -ffp-contract=fast turns the line in the middle into one instruction. */
#define FMA(T, V)                                                                     \
    double fma_##T(size_t times, volatile T *sink)                                    \
    {                                                                                 \
        V chain[CHAINS], factor, term;                                                \
        const size_t lanes = sizeof(V) / sizeof(T);                                   \
        for (size_t l = 0; l < lanes; l++) factor[l] = sink[0], term[l] = sink[1];    \
        for (int c = 0; c < CHAINS; c++) chain[c] = term * (T)c;                      \
        for (size_t t = 0; t < times; t++) {                                          \
            _Pragma("GCC unroll 16") for (int c = 0; c < CHAINS; c++)                 \
                chain[c] = chain[c] * factor + term;                                  \
        }                                                                             \
        for (int c = 1; c < CHAINS; c++) chain[0] += chain[c];                        \
        sink[2] = chain[0][0];                                                        \
        return 2.0 * (double)times * CHAINS * (double)lanes;                          \
    }
FMA(float, v_f32)
FMA(double, v_f64)

/* Reads `bytes` (a multiple of 8 vectors) `times` over; 8 chains of exclusive or, the cheapest use of what was read. */
uint64_t read_all(const void *data, size_t bytes, size_t times)
{
    const v_u64 *const begin = data, *const end = begin + bytes / sizeof(v_u64);
    v_u64 seen[8] = {{0}};
    for (size_t t = 0; t < times; t++) {
        for (const v_u64 *v = begin; v < end; v += 8) { _Pragma("GCC unroll 8") for (int c = 0; c < 8; c++) seen[c] ^= v[c]; }
        __asm__ volatile("" ::: "memory"); /* the next time is not the same as this one */
    }
    for (int c = 1; c < 8; c++) seen[0] ^= seen[c];
    return seen[0][0];
}
