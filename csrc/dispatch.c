/* dispatch.c: asks the processor and the operating system once what they can do, and picks a table of kernels. */
#include "dispatch.h"

#include <stdatomic.h>
#include <string.h>

#include "kernels/activation_list.h"
#include "kernels/cost_list.h"
#include "kernels/optimizer_list.h"
#include "pynn.h"

#if defined(__x86_64__) || defined(_M_X64)
#define X86_64 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#else
#define X86_64 0
#endif

#if X86_64
typedef struct {
    unsigned a, b, c, d;
} registers;

static registers cpuid(unsigned leaf)
{
    registers r = {0, 0, 0, 0};
#if defined(_MSC_VER)
    int words[4];
    __cpuidex(words, 0, 0);
    if ((unsigned)words[0] >= leaf) {
        __cpuidex(words, (int)leaf, 0);
        r = (registers){(unsigned)words[0], (unsigned)words[1], (unsigned)words[2], (unsigned)words[3]};
    }
#else
    if (!__get_cpuid_count(leaf, 0, &r.a, &r.b, &r.c, &r.d)) r = (registers){0, 0, 0, 0};
#endif
    return r;
}

/* Which registers the operating system saves: bits 1, 2 for 256-bit vectors, and 5, 6, 7 besides for 512-bit ones and masks. */
static unsigned saved_registers(void)
{
#if defined(_MSC_VER)
    return (unsigned)_xgetbv(0);
#else
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
#endif
}

static void detect(int *avx2, int *avx512)
{
    const registers one = cpuid(1), seven = cpuid(7);
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28;
    *avx2 = *avx512 = 0;
    if ((one.c & (fma | osxsave | avx)) != (fma | osxsave | avx)) return;
    const unsigned saved = saved_registers();
    const unsigned has_avx2 = 1u << 5, bmi2 = 1u << 8, f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    *avx2 = (saved & 0x06) == 0x06 && (seven.b & has_avx2);
    *avx512 = *avx2 && (saved & 0xe6) == 0xe6 && (seven.b & (bmi2 | f | dq | bw | vl)) == (bmi2 | f | dq | bw | vl);
}
#endif

enum { MOST = 4 };

/* Fills `runnable`, best first, and returns how many. */
static size_t list_runnable(const pynn_isa *runnable[MOST])
{
    size_t count = 0;
#if X86_64
    int avx2, avx512;
    detect(&avx2, &avx512);
    if (avx512) runnable[count++] = &pynn_isa_avx512;
    if (avx2) runnable[count++] = &pynn_isa_avx2;
#elif defined(__aarch64__) || defined(_M_ARM64)
    runnable[count++] = &pynn_isa_neon;
#endif
    runnable[count++] = &pynn_isa_portable;
    return count;
}

static _Atomic(const pynn_isa *) in_use;

static const pynn_isa *chosen(void)
{
    const pynn_isa *isa = atomic_load_explicit(&in_use, memory_order_acquire);
    if (!isa) {
        const pynn_isa *runnable[MOST];
        list_runnable(runnable);
        isa = runnable[0];
        atomic_store_explicit(&in_use, isa, memory_order_release);
    }
    return isa;
}

const pynn_kernels *pynn_table(int dtype) { return chosen()->of[dtype]; }

size_t pynn_instruction_set_count(void)
{
    const pynn_isa *runnable[MOST];
    return list_runnable(runnable);
}

const char *pynn_instruction_set_name(size_t index)
{
    const pynn_isa *runnable[MOST];
    return index < list_runnable(runnable) ? runnable[index]->name : NULL;
}

const char *pynn_instruction_set(void) { return chosen()->name; }

int pynn_use_instruction_set(const char *name)
{
    static const char *const known[] = {"portable", "avx2", "avx512", "neon"};
    const pynn_isa *runnable[MOST];
    const size_t count = list_runnable(runnable);
    for (size_t i = 0; i < count; i++)
        if (!name || !strcmp(name, runnable[i]->name)) {
            atomic_store_explicit(&in_use, runnable[i], memory_order_release);
            return PYNN_OK;
        }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i])) return PYNN_UNSUPPORTED;
    return PYNN_UNKNOWN;
}

#if defined(__clang__)
const char *pynn_compiler(void) { return "clang " __clang_version__; }
#elif defined(__GNUC__)
const char *pynn_compiler(void) { return "gcc " __VERSION__; }
#else
const char *pynn_compiler(void) { return "unknown"; }
#endif

/* The lists of activations, costs and optimizers, told to whoever asks. */
typedef struct {
    const char *name, *class_name, *parameter;
    double standard;
    const char *formula, *derivative, *source;
} function_row;

#define ROW(name, class_name, parameter, standard, formula, derivative, source) \
    {#name, class_name, parameter, standard, formula, derivative, source},
static const function_row activation_rows[] = {ACTIVATIONS(ROW)}, cost_rows[] = {COSTS(ROW)};
#undef ROW

#define LIST(kind, rows)                                                                                                    \
    size_t pynn_##kind##_count(void) { return sizeof rows / sizeof *rows; }                                                 \
    const char *pynn_##kind##_name(size_t i) { return i < pynn_##kind##_count() ? rows[i].name : NULL; }                    \
    const char *pynn_##kind##_class(size_t i) { return i < pynn_##kind##_count() ? rows[i].class_name : NULL; }             \
    const char *pynn_##kind##_parameter(size_t i) { return i < pynn_##kind##_count() ? rows[i].parameter : NULL; }          \
    double pynn_##kind##_default(size_t i) { return i < pynn_##kind##_count() ? rows[i].standard : 0; }                     \
    const char *pynn_##kind##_formula(size_t i) { return i < pynn_##kind##_count() ? rows[i].formula : NULL; }              \
    const char *pynn_##kind##_derivative(size_t i) { return i < pynn_##kind##_count() ? rows[i].derivative : NULL; }        \
    const char *pynn_##kind##_source(size_t i) { return i < pynn_##kind##_count() ? rows[i].source : NULL; }

LIST(activation, activation_rows)
LIST(cost, cost_rows)

#define ROW(name, states) {#name, states},
static const struct {
    const char *name;
    size_t states;
} optimizer_rows[] = {OPTIMIZERS(ROW)};
#undef ROW

size_t pynn_optimizer_count(void) { return sizeof optimizer_rows / sizeof *optimizer_rows; }
const char *pynn_optimizer_name(size_t i) { return i < pynn_optimizer_count() ? optimizer_rows[i].name : NULL; }
size_t pynn_optimizer_states(size_t i) { return i < pynn_optimizer_count() ? optimizer_rows[i].states : 0; }
