#include "codebook_attention.h"

#include "isa_table.h"

namespace pointseg::cpu {

POINTSEG_ISA_TABLE(AttentionKernels, attention_kernels)

}  // namespace pointseg::cpu
