#pragma once
// One allocation of device memory from which all operands of a measured point are cut.

#include <cstddef>
#include <cstdint>

#include "kernels/device/launch.h"
#include "kernels/device/random_fill.h"

namespace fleetsim::kernels {

class Arena {
 public:
  /// Errors: CudaError when the device has not that much.
  explicit Arena(std::size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// `count` elements, 256-byte aligned, contents whatever stood there. Errors: ArenaFull.
  template <class T>
  T* take(std::size_t count) {
    return static_cast<T*>(take_bytes(count * sizeof(T)));
  }
  /// Gives everything back; pointers taken before are dead.
  void reset() { used_ = 0; }
  std::size_t free_bytes() const { return bytes_ - used_; }
  std::size_t used_bytes() const { return used_; }

 private:
  void* take_bytes(std::size_t bytes);
  unsigned char* memory_;
  std::size_t bytes_, used_ = 0;
};

/// A point needs more memory than the arena has: it is skipped, and said so.
class ArenaFull : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What must lie between two uses of an operand so that L2 has let it go: three times the device's
/// L2, at least 180 MB (kernels-and-cost-models §4.8). A point that took less is measured warm.
std::size_t rotated_bytes_min();

/// Operand sets so that rotated_bytes_min() lie between two uses of one; at least 1, at most
/// `copies_max`.
int rotation_copies(std::size_t bytes_per_copy, int copies_max = 64);

}  // namespace fleetsim::kernels
