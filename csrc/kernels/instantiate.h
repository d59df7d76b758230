/* instantiate.h: every kernel, for float32 and float64, over the primitives of the isa file that includes this one;
 * exports one const table, pynn_isa_<ISA>. */
#ifndef ISA
#error "define ISA, the tile sizes and the primitives that vector.h lists before including instantiate.h"
#endif
#if !defined(TILE_ROWS) || !defined(TILE_VECTORS)
#error "define TILE_ROWS and TILE_VECTORS, the registers of one product tile"
#endif

#define MANY_REGISTERS (TILE_ROWS >= 8) /* 32 vectors, not 16 */

/* So many steps of a product are taken at a time, a multiple of 4, for a panel of so many rows stays in a level 1 cache; 0: all. Where it is not 0,
 * panels that come from far away are packed several at once. */
#ifndef TILE_DEPTH
#define TILE_DEPTH 0
#endif

/* What is used several times is loaded once; gcc otherwise may let each instruction that uses it load it. */
#ifndef IN_REGISTER
#define IN_REGISTER(v) ((void)0)
#endif

#ifndef CAN_STREAM
#define CAN_STREAM 0
#endif

#include "table.h"
#include "vector.h"

/* float64 first: costs of float32 are computed in it */
#define T double
#define SUFFIX f64
#define IS_F64 1
#include "all.h"
#undef T
#undef SUFFIX
#undef IS_F64

#define T float
#define SUFFIX f32
#define IS_F64 0
#include "all.h"
#undef T
#undef SUFFIX
#undef IS_F64

#define PYNN_TEXT_(name) #name
#define PYNN_TEXT(name) PYNN_TEXT_(name)

const pynn_isa PYNN_JOIN(pynn_isa_, ISA) = {PYNN_TEXT(ISA), {&table_f32, &table_f64}};
