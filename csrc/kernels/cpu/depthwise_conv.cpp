#include "depthwise_conv.h"

#include "isa_table.h"

namespace pointseg::cpu {

POINTSEG_ISA_TABLE(DepthwiseKernels, depthwise_kernels)

}  // namespace pointseg::cpu
