#include "sparse_conv.h"

#include "isa_table.h"

namespace pointseg::cpu {

POINTSEG_ISA_TABLE(ConvKernels, conv_kernels)

#if defined(__x86_64__)
namespace avx512_bf16 {
Bf16ConvKernels bf16_conv_kernels();
}

const Bf16ConvKernels* bf16_conv_kernels() {
  static const Bf16ConvKernels table = avx512_bf16::bf16_conv_kernels();
  return chosen_isa() == Isa::avx512_bf16 ? &table : nullptr;
}
#else
const Bf16ConvKernels* bf16_conv_kernels() { return nullptr; }
#endif

}  // namespace pointseg::cpu
