// executor_check on CUDA: the schema is in bindings/cpu/executor_check.cpp, what the numbers mean
// in kernels/cuda/executor_check.h.
#include "../../kernels/cuda/executor_check.h"

#include "common.h"

namespace pointseg {
namespace {

template <class Struct>
constexpr int64_t num_words() {
  return sizeof(Struct) / sizeof(int32_t);
}

std::tuple<Tensor, Tensor> executor_check(const Tensor& inputs, const Tensor& words) {
  check_matrix(inputs, "inputs", 2, ScalarType::Int);
  check_matrix(words, "words", 1, ScalarType::Int);
  STD_TORCH_CHECK(
      inputs.size(0) == cuda::kCheckThreads && inputs.size(1) == num_words<cuda::CheckInput>(),
      "inputs: expected shape [", cuda::kCheckThreads, ", ", num_words<cuda::CheckInput>(),
      "], got ", describe_shape(inputs));
  const OnDevice device(inputs);
  Tensor outputs = empty(
      inputs,
      {cuda::kCheckParts, cuda::kCheckBlocks, cuda::kCheckThreads, num_words<cuda::CheckOutput>()},
      ScalarType::Int);
  Tensor numbers = empty(words, {words.size(0), num_words<cuda::NumberCheck>()}, ScalarType::Int);
  check_launch(cuda::executor_check(static_cast<const cuda::CheckInput*>(inputs.const_data_ptr()),
                                    static_cast<cuda::CheckOutput*>(outputs.mutable_data_ptr()),
                                    device.stream()),
               "executor_check", inputs);
  check_launch(cuda::number_check(cptr<int32_t>(words), words.size(0),
                                  static_cast<cuda::NumberCheck*>(numbers.mutable_data_ptr()),
                                  device.stream()),
               "executor_check", words);
  return {outputs, numbers};
}

POINTSEG_CUDA_OPS(m) { m.impl("executor_check", TORCH_BOX(&executor_check)); }

}  // namespace
}  // namespace pointseg
