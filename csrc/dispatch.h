/* dispatch.h: the kernels in use. */
#ifndef PYNN_DISPATCH_H
#define PYNN_DISPATCH_H

#include "kernels/table.h"

/* Table of the instruction set in use; dtype is PYNN_F32 or PYNN_F64. */
const pynn_kernels *pynn_table(int dtype);

#endif
