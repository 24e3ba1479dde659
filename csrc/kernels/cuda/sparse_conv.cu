#include "sparse_conv.h"

#include "conv_tile.h"

namespace pointseg::cuda {
namespace {

// Blocks copy squares of 32 x 32 of a tap, by way of shared memory: the weights of a gradient are
// transposed ones, and both sides run along memory. Parts are taps.
template <typename From, typename To>
struct PackWeight {
  static constexpr int kThreads = 256;
  static constexpr int kSide = 32;
  struct Shared {
    From square[kSide][kSide + 1];
  };
  const From* weight;
  int64_t num_taps, in_channels, out_channels;
  int64_t tap_stride, in_stride, out_stride;
  To* packed;
  int64_t packed_in, packed_out;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    Shared& shared = t.template shared<Shared>();
    const int64_t across = num_blocks_for(packed_out, kSide),
                  down = num_blocks_for(packed_in, kSide);
    const int64_t tap = t.block() / (across * down);
    const int64_t first_in = t.block() / across % down * kSide;
    const int64_t first_out = t.block() % across * kSide;
    const bool turned = in_stride < out_stride;
    for (int i = t.thread(); i < kSide * kSide; i += kThreads) {
      const int in = turned ? i % kSide : i / kSide, out = turned ? i / kSide : i % kSide;
      const int64_t row = first_in + in, column = first_out + out;
      shared.square[in][out] =
          row < in_channels && column < out_channels
              ? weight[tap * tap_stride + row * in_stride + column * out_stride]
              : From{};
    }
    t.sync();
    for (int i = t.thread(); i < kSide * kSide; i += kThreads) {
      const int64_t row = first_in + i / kSide, column = first_out + i % kSide;
      if (row < packed_in && column < packed_out)
        packed[(tap * packed_in + row) * packed_out + column] =
            converted(shared.square[i / kSide][i % kSide]);
    }
  }

 private:
  POINTSEG_DEVICE static To converted(From value) {
    if constexpr (std::is_same_v<To, float>) {
      return same_bits<float>(tf32_bits(value));
    } else if constexpr (std::is_same_v<From, To>) {
      return value;
    } else {
      return rounded<To>(value);
    }
  }
};

// Adds the slabs of all splits, first to last. Bound by the bytes of the slabs.
template <typename T>
struct AddSlabs {
  static constexpr int kThreads = 256;
  const float* slabs;
  int64_t num_slabs, num_rows, slab_columns;
  ConvEnd<T> end;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t across = slab_columns / kPiece<T>;
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= num_rows * across) return;
    auto sum = load_pack<kPiece<T>>(slabs + i * kPiece<T>);
    for (int64_t slab = 1; slab < num_slabs; ++slab) {
      const auto more = load_pack<kPiece<T>>(slabs + (slab * num_rows * across + i) * kPiece<T>);
      for (int j = 0; j < kPiece<T>; ++j) sum.v[j] += more.v[j];
    }
    end(sum, i / across, i % across * kPiece<T>);
  }
};

template <typename T, int kColumns>
Status launch_tiles(const FusedConv<T>& conv, const ConvEnd<T>& end, Stream stream) {
  const int64_t columns = padded_channels<T>(conv.out_channels);
  const int64_t row_tiles = num_blocks_for(conv.lists.num_rows, kTileRows);
  const ConvTile<T, kColumns> tile{conv.feats, conv.weight,   padded_channels<T>(conv.in_channels),
                                   columns,    conv.num_taps, conv.lists,
                                   conv.order, conv.slabs,    end};
  return launch(tile, Grid{row_tiles * num_blocks_for(columns, kColumns), conv.num_splits}, stream);
}

bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

template <typename From, typename To>
Status pack_weight(const From* weight, int64_t num_taps, int64_t in_channels, int64_t out_channels,
                   const int64_t (&strides)[3], To* packed, Stream stream) {
  using Pack = PackWeight<From, To>;
  const int64_t in = padded_channels<To>(in_channels), out = padded_channels<To>(out_channels);
  const Pack pack{weight,     num_taps,   in_channels, out_channels, strides[0],
                  strides[1], strides[2], packed,      in,           out};
  const int64_t squares = num_blocks_for(in, Pack::kSide) * num_blocks_for(out, Pack::kSide);
  return launch(pack, num_taps * squares, stream);
}

template <typename T>
Status fused_conv(const FusedConv<T>& conv, Stream stream) {
  const int64_t columns = padded_channels<T>(conv.out_channels);
  const bool in_pieces =
      columns == conv.out_channels && is_aligned(conv.out) && is_aligned(conv.residual);
  const ConvEnd<T> end{conv.bias, conv.residual, conv.out, conv.out_channels, conv.relu, in_pieces};
  Status status;
  if (columns <= 32) {
    status = launch_tiles<T, 32>(conv, end, stream);
  } else if (num_blocks_for(columns, 64) % 2 != 0) {  // the last 64 of 128 would be unused
    status = launch_tiles<T, 64>(conv, end, stream);
  } else {
    status = launch_tiles<T, 128>(conv, end, stream);
  }
  if (status != kSuccess || conv.slabs == nullptr) return status;
  using Add = AddSlabs<T>;
  const Add add{conv.slabs, conv.num_splits, conv.lists.num_rows, columns, end};
  const int64_t pieces = conv.lists.num_rows * (columns / kPiece<T>);
  return launch(add, num_blocks_for(pieces, Add::kThreads), stream);
}

template Status fused_conv(const FusedConv<Half>&, Stream);
template Status fused_conv(const FusedConv<Bfloat16>&, Stream);
template Status fused_conv(const FusedConv<float>&, Stream);

#define POINTSEG_PACK(From, To)                                                                  \
  template Status pack_weight(const From*, int64_t, int64_t, int64_t, const int64_t (&)[3], To*, \
                              Stream);
POINTSEG_PACK(Half, Half)
POINTSEG_PACK(float, Half)
POINTSEG_PACK(Bfloat16, Bfloat16)
POINTSEG_PACK(float, Bfloat16)
POINTSEG_PACK(float, float)
#undef POINTSEG_PACK

}  // namespace pointseg::cuda
