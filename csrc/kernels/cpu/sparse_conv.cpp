#include "sparse_conv.h"

#include "isa_table.h"

namespace pointseg::cpu {

POINTSEG_ISA_TABLE(ConvKernels, conv_kernels)

}  // namespace pointseg::cpu
