#include "vector_quantize.h"

#include "isa_table.h"

namespace pointseg::cpu {

POINTSEG_ISA_TABLE(QuantizeKernels, quantize_kernels)

}  // namespace pointseg::cpu
