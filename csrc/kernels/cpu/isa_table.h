// How an op picks the table of functions that was compiled for this machine's instruction set.
//
// `<op>.h` declares `template <typename T> struct Table` (function pointers) and
// `template <typename T> const Table<T>& name();`. `<op>_isa.cpp`, compiled once per instruction
// set, defines `name_f32()` and `name_f64()` in the namespace of that set.
// POINTSEG_ISA_TABLE(Table, name) in `<op>.cpp`, inside namespace pointseg::cpu, joins the two.
#pragma once

#include "../isa.h"

namespace pointseg::cpu {

template <class Make>
Make by_isa(Make baseline, [[maybe_unused]] Make avx2, [[maybe_unused]] Make avx512) {
  switch (chosen_isa()) {
    case Isa::avx512_bf16:  // more than avx512 only for `*_bf16.cpp`
    case Isa::avx512:
      return avx512;
    case Isa::avx2:
      return avx2;
    case Isa::baseline:
      break;
  }
  return baseline;
}

}  // namespace pointseg::cpu

#define POINTSEG_DECLARE_TABLE(isa, Table, name) \
  namespace isa {                                \
  Table<float> name##_f32();                     \
  Table<double> name##_f64();                    \
  }

#if defined(__x86_64__)
#define POINTSEG_DECLARE_TABLES(Table, name)    \
  POINTSEG_DECLARE_TABLE(baseline, Table, name) \
  POINTSEG_DECLARE_TABLE(avx2, Table, name)     \
  POINTSEG_DECLARE_TABLE(avx512, Table, name)
#define POINTSEG_BY_ISA(function) by_isa(baseline::function, avx2::function, avx512::function)()
#else
#define POINTSEG_DECLARE_TABLES(Table, name) POINTSEG_DECLARE_TABLE(baseline, Table, name)
#define POINTSEG_BY_ISA(function) baseline::function()
#endif

#define POINTSEG_ISA_TABLE(Table, name)                             \
  POINTSEG_DECLARE_TABLES(Table, name)                              \
  template <>                                                       \
  const Table<float>& name<float>() {                               \
    static const Table<float> table = POINTSEG_BY_ISA(name##_f32);  \
    return table;                                                   \
  }                                                                 \
  template <>                                                       \
  const Table<double>& name<double>() {                             \
    static const Table<double> table = POINTSEG_BY_ISA(name##_f64); \
    return table;                                                   \
  }
