/* compiler.h: what differs between compilers, and nothing else. */
#ifndef PYNN_COMPILER_H
#define PYNN_COMPILER_H

#define PYNN_JOIN_(a, b) a##b
#define PYNN_JOIN(a, b) PYNN_JOIN_(a, b)
#define PYNN_PRAGMA(text) _Pragma(#text)

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline, unused))
#define NOINLINE __attribute__((noinline))
#define MAYBE_UNUSED __attribute__((unused))
#define RESTRICT __restrict__
#define ALIGNED(bytes) __attribute__((aligned(bytes)))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define PREFETCH(address) __builtin_prefetch(address)
#elif defined(_MSC_VER)
#define INLINE static __forceinline
#define NOINLINE __declspec(noinline)
#define MAYBE_UNUSED
#define RESTRICT __restrict
#define ALIGNED(bytes) __declspec(align(bytes))
#define LIKELY(condition) (condition)
#define PREFETCH(address) ((void)(address))
#else
#define INLINE static inline
#define NOINLINE
#define MAYBE_UNUSED
#define RESTRICT
#define ALIGNED(bytes)
#define LIKELY(condition) (condition)
#define PREFETCH(address) ((void)(address))
#endif

/* UNROLL_FOR (...) for a loop of constant length: arrays indexed by its variable then live in registers. BY_FOUR_FOR (...) for a loop of any
 * length, four turns at a time. */
#if defined(__clang__)
#define UNROLL_FOR PYNN_PRAGMA(unroll) for
#define BY_FOUR_FOR PYNN_PRAGMA(unroll 4) for
#elif defined(__GNUC__)
#define UNROLL_FOR PYNN_PRAGMA(GCC unroll 64) for
#define BY_FOUR_FOR PYNN_PRAGMA(GCC unroll 4) for
#else
#define UNROLL_FOR for
#define BY_FOUR_FOR for
#endif

/* TARGET_BEGIN("avx2,fma") ... TARGET_END: functions between them may use those instructions. */
#if defined(__clang__)
#define TARGET_BEGIN(features) PYNN_TARGET_CLANG(clang attribute push(__attribute__((target(features))), apply_to = function))
#define PYNN_TARGET_CLANG(text) PYNN_PRAGMA(text)
#define TARGET_END PYNN_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#define TARGET_BEGIN(features) PYNN_PRAGMA(GCC push_options) PYNN_PRAGMA(GCC target(features))
#define TARGET_END PYNN_PRAGMA(GCC pop_options)
#else
#define TARGET_BEGIN(features)
#define TARGET_END
#endif

#endif
