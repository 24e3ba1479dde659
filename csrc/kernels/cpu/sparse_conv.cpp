#include "sparse_conv.h"

#include "../isa.h"

namespace pointseg::cpu {

namespace baseline {
ConvKernels<float> conv_kernels_f32();
ConvKernels<double> conv_kernels_f64();
}  // namespace baseline

#if defined(__x86_64__)
namespace avx2 {
ConvKernels<float> conv_kernels_f32();
ConvKernels<double> conv_kernels_f64();
}  // namespace avx2
namespace avx512 {
ConvKernels<float> conv_kernels_f32();
ConvKernels<double> conv_kernels_f64();
}  // namespace avx512
#endif

template <>
const ConvKernels<float>& conv_kernels<float>() {
  static const ConvKernels<float> kernels = [] {
    switch (chosen_isa()) {
#if defined(__x86_64__)
      case Isa::avx512:
        return avx512::conv_kernels_f32();
      case Isa::avx2:
        return avx2::conv_kernels_f32();
#endif
      default:
        return baseline::conv_kernels_f32();
    }
  }();
  return kernels;
}

template <>
const ConvKernels<double>& conv_kernels<double>() {
  static const ConvKernels<double> kernels = [] {
    switch (chosen_isa()) {
#if defined(__x86_64__)
      case Isa::avx512:
        return avx512::conv_kernels_f64();
      case Isa::avx2:
        return avx2::conv_kernels_f64();
#endif
      default:
        return baseline::conv_kernels_f64();
    }
  }();
  return kernels;
}

}  // namespace pointseg::cpu
