#include "scatter_reduce.h"

#include "isa_table.h"

namespace pointseg::cpu {

int64_t count_chunks(const RowGroups& groups) {
  int64_t chunks = 0;
  for (int64_t bin = 0; bin < groups.num_bins; ++bin) {
    const int64_t rows = groups.starts[bin + 1] - groups.starts[bin];
    if (rows > kChunkRows) chunks += (rows + kChunkRows - 1) / kChunkRows;
  }
  return chunks;
}

POINTSEG_ISA_TABLE(ScatterKernels, scatter_kernels)

}  // namespace pointseg::cpu
