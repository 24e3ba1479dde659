#include "kernels/isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace pointseg {
namespace {

constexpr Isa kAll[] = {Isa::baseline, Isa::avx2, Isa::avx512, Isa::avx512_bf16};

Isa best_isa() {
#if defined(__x86_64__)
  // __builtin_cpu_supports also asks the operating system whether it saves the wide registers.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c")) {
    return Isa::baseline;
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16 : Isa::avx512;
  }
  return Isa::avx2;
#else
  return Isa::baseline;
#endif
}

Isa choose() {
  const Isa best = best_isa();
  const char* wanted = std::getenv("POINTSEG_ISA");
  if (wanted == nullptr || *wanted == '\0') return best;
  for (const Isa isa : kAll) {
    if (std::string(wanted) != isa_name(isa)) continue;
    if (isa > best) {
      throw std::invalid_argument(std::string("POINTSEG_ISA=") + wanted +
                                  ": this machine runs at most " + isa_name(best));
    }
    return isa;
  }
  throw std::invalid_argument(
      std::string("POINTSEG_ISA must be baseline, avx2, avx512 or avx512_bf16, got ") + wanted);
}

}  // namespace

Isa chosen_isa() {
  static const Isa isa = choose();
  return isa;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return "baseline";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
  }
  throw std::invalid_argument("isa_name: no such instruction set");
}

}  // namespace pointseg
