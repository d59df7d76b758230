/* vector.h: the names that kernels are written in, for the element type being instantiated (T, SUFFIX: instantiate.h).
 *
 * A vector V holds LANES elements; a mask M the truth of a comparison in each. An isa file defines, for f32 and f64:
 *   v_set1(x)  v_load(p)  v_load_n(p, n)  v_store(p, v)  v_store_n(p, v, n)     _n: the first n < LANES, 0 elsewhere,
 *                                                                               and no byte beyond them is touched
 *   v_add  v_sub  v_mul  v_div  v_sqrt  v_fma(a, b, c) = a b + c rounded once  v_neg  v_abs  v_copysign(magnitude, sign)
 *   v_min(a, b) = a < b ? a : b: b where either is NaN or they are equal (x86 has just this, Arm's minimum is another)
 *   v_lt  v_le  v_eq (false where either is NaN)  v_select(m, a, b) = m ? a : b
 *   v_exponent(t): t = 1.5 * 2^(mantissa bits) + k, k whole -> 2^k, for normal 2^k
 *   v_transpose(V r[LANES]), in place
 *   v_load_4s(p, ld)  the first 4 elements of LANES / 4 rows, ld apart    v_repeat_4(p)  4 elements, LANES / 4 times
 *                     (where LANES < 4, both are v_load(p))
 *   v_deal_4s(V r[LANES / 4]), in place: r[i] becomes the i-th four of each (where LANES > 4)
 *   v_spread_4s(V, V r[4]), where LANES >= 4: r[i] has the i-th of each four in every lane of that four
 *   v_transpose_4s(V r[4]), where LANES >= 4, in place: lane q of a four of r[i] becomes lane i of the same four of r[q]
 *   s_fma(a, b, c) on scalars
 * and where it says CAN_STREAM:
 *   v_stream(p, v)  v_store to a p aligned as a vector, past the caches; stream_end() makes what was streamed seen as other stores are
 */
#ifndef PYNN_VECTOR_H
#define PYNN_VECTOR_H

/* WIDTH: nothing, or _pair for two vectors as one (pair.h) */
#define F(name) PYNN_JOIN(PYNN_JOIN(name##_, SUFFIX), WIDTH)
#define SINGLE(name) PYNN_JOIN(name##_, SUFFIX)
#define PAIR(name) PYNN_JOIN(PYNN_JOIN(name##_, SUFFIX), _pair)

#define V F(v)
#define M F(m)
#define LANES F(LANES)
#define s_fma F(s_fma)
#define v_set1 F(v_set1)
#define v_load F(v_load)
#define v_load_n F(v_load_n)
#define v_store F(v_store)
#define v_store_n F(v_store_n)
#define v_stream F(v_stream)
#define v_add F(v_add)
#define v_sub F(v_sub)
#define v_mul F(v_mul)
#define v_div F(v_div)
#define v_sqrt F(v_sqrt)
#define v_fma F(v_fma)
#define v_min F(v_min)
#define v_neg F(v_neg)
#define v_abs F(v_abs)
#define v_copysign F(v_copysign)
#define v_lt F(v_lt)
#define v_le F(v_le)
#define v_eq F(v_eq)
#define v_select F(v_select)
#define v_exponent F(v_exponent)
#define v_load_4s F(v_load_4s)
#define v_repeat_4 F(v_repeat_4)
#define v_deal_4s F(v_deal_4s)
#define v_transpose_4s F(v_transpose_4s)
#define v_spread_4s F(v_spread_4s)
#define v_transpose F(v_transpose)

#define v_zero() v_set1(0)

#endif
