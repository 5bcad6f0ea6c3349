#pragma once
// Operand sets of a measured attention point: queries, keys, values and outputs, once per rotation;
// what its preparation puts on the device, and what it asks of its output.

#include <algorithm>
#include <vector>

#include "kernels/device/device_memory.h"
#include "kernels/measure/arena.h"

namespace fleetsim::kernels {

/// The values in device memory of the arena. Errors: ArenaFull.
template <class T>
const T* take(const std::vector<T>& values, Arena& arena) {
  T* memory = arena.take<T>(values.size());
  copy_to_device(memory, values.data(), values.size() * sizeof(T));
  return memory;
}

/// Whether no element of `out` on the device is NaN or infinite, as those are that a kernel did not
/// write.
inline bool all_finite(const Bf16* out, std::size_t count) {
  constexpr std::size_t kPiece = 8 << 20;
  std::vector<Bf16> bits(std::min(count, kPiece));
  for (std::size_t at = 0; at < count; at += kPiece) {
    const std::size_t here = std::min(kPiece, count - at);
    copy_to_host(bits.data(), out + at, here * sizeof(Bf16));
    for (std::size_t i = 0; i < here; ++i)
      if ((bits[i].bits & 0x7f80) == 0x7f80) return false;  // the exponent of NaN and infinity
  }
  return true;
}

/// Copies of `shape` with operands of their own, as many as rotation asks for; shape, page table
/// and lengths are shared. rows: elements of the queries, and of the output; pool: elements of all
/// key pages, and of all value pages. Queries, keys and values are standard normal draws by `seed`.
/// Errors: ArenaFull.
template <class Element, class Arguments>
std::vector<Arguments> attention_sets(const Arguments& shape, std::size_t rows, std::size_t pool,
                                      Arena& arena, std::uint64_t seed) {
  std::vector<Arguments> sets;
  const int copies = rotation_copies(2 * (rows * sizeof(Bf16) + pool * sizeof(Element)));
  for (int copy = 0; copy < copies; ++copy) {
    const std::uint64_t own_seed = seed + 3 * static_cast<std::uint64_t>(copy);
    Bf16* query = arena.take<Bf16>(rows);
    Element* key_pages = arena.take<Element>(pool);
    Element* value_pages = arena.take<Element>(pool);
    fill_normal(query, rows, 1.0F, own_seed, {});
    fill_normal(key_pages, pool, 1.0F, own_seed + 1, {});
    fill_normal(value_pages, pool, 1.0F, own_seed + 2, {});
    Arguments set = shape;
    set.query = query;
    set.key_pages = key_pages;
    set.value_pages = value_pages;
    set.out = arena.take<Bf16>(rows);
    sets.push_back(set);
  }
  device_synchronize();
  return sets;
}

}  // namespace fleetsim::kernels
