/* random.h: dropout, and the random numbers that it draws: a function of seed, step and position alone.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011): key = seed, counter = (i, step),
 * each of 64 bits, the low words first. Its four words serve positions 16 apart, so that sixteen neighbours come from sixteen counters:
 * position p = 64 a + 16 w + l takes word w of counter i = 16 a + l. Whole numbers throughout, so every machine draws the same.
 */
#define dropout_factors F(dropout_factors)
#define dropout F(dropout)

#ifndef PYNN_PHILOX
#define PYNN_PHILOX
enum { PHILOX_LANES = 16, PHILOX_WORDS = 4 * PHILOX_LANES };

/* words[16 w + l] = word w of counter (16 a + l, step) */
INLINE void philox(uint64_t seed, uint64_t step, uint64_t a, uint32_t words[PHILOX_WORDS])
{
    const uint64_t first = PHILOX_LANES * a;
    uint32_t *const x0 = words, *const x1 = words + PHILOX_LANES, *const x2 = x1 + PHILOX_LANES, *const x3 = x2 + PHILOX_LANES;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (uint32_t l = 0; l < PHILOX_LANES; l++) {
        x0[l] = (uint32_t)first + l;
        x1[l] = (uint32_t)(first >> 32);
        x2[l] = (uint32_t)step;
        x3[l] = (uint32_t)(step >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (size_t l = 0; l < PHILOX_LANES; l++) {
            const uint64_t p = (uint64_t)x0[l] * 0xD2511F53u, q = (uint64_t)x2[l] * 0xCD9E8D57u;
            x0[l] = (uint32_t)(q >> 32) ^ x1[l] ^ k0;
            x1[l] = (uint32_t)q;
            x2[l] = (uint32_t)(p >> 32) ^ x3[l] ^ k1;
            x3[l] = (uint32_t)p;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}
#endif

/* factors[k] = 0 where word k is below `threshold`, else scale */
INLINE void dropout_factors(uint64_t seed, uint64_t step, uint64_t a, uint32_t threshold, T scale, T *factors)
{
    ALIGNED(64) uint32_t words[PHILOX_WORDS];
    philox(seed, step, a, words);
    for (size_t k = 0; k < PHILOX_WORDS; k++) factors[k] = words[k] < threshold ? 0 : scale;
}

/* y_k = 0 where the word of position first + k is below rate 2^32, else x_k / (1 - rate), by one product with that factor rounded to T;
 * y may be x */
static void dropout(double rate, uint64_t seed, uint64_t step, uint64_t first, size_t n, const void *x_, void *y_)
{
    const T *const x = x_;
    T *const y = y_;
    const uint32_t threshold = (uint32_t)(rate * 0x1p32);
    const T scale = (T)(1 / (1 - rate));
    ALIGNED(64) T factors[PHILOX_WORDS];
    for (size_t k = 0; k < n;) {
        const size_t skip = (size_t)((first + k) % PHILOX_WORDS), left = PHILOX_WORDS - skip, count = n - k < left ? n - k : left;
        dropout_factors(seed, step, (first + k) / PHILOX_WORDS, threshold, scale, factors);
        size_t j = 0;
        for (; j + LANES <= count; j += LANES) {
            const V f = v_load(factors + skip + j);
            v_store(y + k + j, v_select(v_lt(v_zero(), f), v_mul(v_load(x + k + j), f), v_zero()));
        }
        if (j < count) {
            const V f = v_load_n(factors + skip + j, count - j);
            v_store_n(y + k + j, v_select(v_lt(v_zero(), f), v_mul(v_load_n(x + k + j, count - j), f), v_zero()), count - j);
        }
        k += count;
    }
}
