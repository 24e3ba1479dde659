#include "fma_peak.h"

#include "isa_table.h"

namespace pointseg::cpu {

POINTSEG_ISA_TABLE(PeakKernels, peak_kernels)

}  // namespace pointseg::cpu
