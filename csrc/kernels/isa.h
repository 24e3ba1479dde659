// Instruction sets the CPU kernels are compiled for, and the choice among them at run time.
#pragma once

namespace pointseg {

enum class Isa : int { baseline = 0, avx2 = 1, avx512 = 2, avx512_bf16 = 3 };

// The best set this machine can run, lowered by the environment variable POINTSEG_ISA
// (baseline | avx2 | avx512 | avx512_bf16). Read once. Throws std::invalid_argument for an unknown
// value and for a set this machine cannot run.
Isa chosen_isa();

const char* isa_name(Isa isa);

}  // namespace pointseg
