#include "batch_norm.h"

#include "isa_table.h"

namespace pointseg::cpu {

POINTSEG_ISA_TABLE(BatchNormKernels, batch_norm_kernels)

}  // namespace pointseg::cpu
