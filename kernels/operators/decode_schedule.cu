#include "kernels/operators/decode_schedule.h"

namespace fleetsim::kernels {

std::vector<std::vector<DecodePiece>> decode_plan(const std::vector<int>& lengths, int kv_heads,
                                                  int tile_tokens, int blocks, DecodeBlocks use) {
  std::vector<int> begins;  // of each sequence's units, and the end of the line
  int total = 0;
  for (const int length : lengths) {
    begins.push_back(total);
    total += kv_heads * decode_unit_cost(length, tile_tokens);
  }
  begins.push_back(total);
  const DecodeShares shares = decode_shares(total, blocks, use);
  std::vector<std::vector<DecodePiece>> plan(static_cast<std::size_t>(blocks));
  for (int block = 0; block < shares.blocks; ++block) {
    const int begin = decode_share_begin(shares, block);
    std::size_t sequence = 0;
    while (begins[sequence + 1] <= begin) ++sequence;
    DecodeWalk walk = decode_walk(lengths.data(), kv_heads, tile_tokens, shares, block,
                                  static_cast<int>(sequence), begins[sequence]);
    for (DecodePiece piece; next_piece(walk, piece);)
      plan[static_cast<std::size_t>(block)].push_back(piece);
  }
  return plan;
}

}  // namespace fleetsim::kernels
