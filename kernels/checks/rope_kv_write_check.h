#pragma once
// One batch through the rotary and cache-write kernel against float64 and against its own stated
// arithmetic; a fault can be planted, so that a test sees that the comparison finds it.

#include "kernels/checks/check.h"

namespace fleetsim::kernels {

struct RopeCase {
  int tokens = 1, query_heads = 1, kv_heads = 1, head_dim = 64, page_tokens = 16;
  bool in_place = false;
  float key_scale = 1, value_scale = 1;
};

enum class RopeFault {
  none,
  swapped_slots,     // the reference writes two tokens into each other's slots
  shifted_position,  // the reference rotates one token by the next position
};

/// Two reports: bytes of Q and of the whole cache that differ from the stated fp32 arithmetic (and
/// from the poison where nothing may be written; limit 0), and the share of codes that differ from
/// float64 rounded once (limit 1e-4 and one code; none by more than one step, but where the two
/// terms of a rotation cancel). Element: Bf16 or E4m3.
template <class Element>
std::vector<CheckReport> check_rope_case(const RopeCase& shape, std::uint64_t seed,
                                         RopeFault fault = RopeFault::none);

}  // namespace fleetsim::kernels
