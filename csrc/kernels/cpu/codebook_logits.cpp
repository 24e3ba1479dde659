#include "codebook_logits.h"

#include "isa_table.h"

namespace pointseg::cpu {

POINTSEG_ISA_TABLE(LogitsKernels, logits_kernels)

}  // namespace pointseg::cpu
