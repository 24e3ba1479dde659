#include "upload.h"

#include <algorithm>

#include "executor.h"

namespace pointseg::cuda {
namespace {

struct Upload {
  static constexpr int kThreads = 256;
  static constexpr int64_t kWords = 448;  // arguments of a kernel have 4 KiB

  int64_t* to;
  int64_t count;
  int64_t words[kWords];

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    for (int64_t i = t.thread(); i < count; i += kThreads) to[i] = words[i];
  }
};

}  // namespace

Status upload(const int64_t* from, int64_t count, int64_t* to, Stream stream) {
  for (int64_t done = 0; done < count; done += Upload::kWords) {
    Upload piece{to + done, std::min(Upload::kWords, count - done), {}};
    std::copy(from + done, from + done + piece.count, piece.words);
    const Status status = launch(piece, 1, stream);
    if (status != kSuccess) return status;
  }
  return kSuccess;
}

}  // namespace pointseg::cuda
