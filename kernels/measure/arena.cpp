#include "kernels/measure/arena.h"

#include "kernels/device/device_memory.h"

namespace fleetsim::kernels {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kRotatedBytesMin = 180'000'000;  // kernels-and-cost-models §4.8

}  // namespace

Arena::Arena(std::size_t bytes)
    : memory_(static_cast<unsigned char*>(device_allocate(bytes))), bytes_(bytes) {}

Arena::~Arena() { device_free(memory_); }

void* Arena::take_bytes(std::size_t bytes) {
  if (bytes > free_bytes())
    throw ArenaFull("needs " + std::to_string(bytes) + " bytes more where " +
                    std::to_string(free_bytes()) + " of " + std::to_string(bytes_) + " are free");
  unsigned char* const piece = memory_ + used_;
  // the end may be ragged: then nothing more fits anyway
  const std::size_t padded = ceil_div(bytes, kAlignment) * kAlignment;
  used_ = padded < bytes_ - used_ ? used_ + padded : bytes_;
  return piece;
}

std::size_t rotated_bytes_min() {
  const std::size_t three_times_l2 = 3 * device_facts().l2_bytes;
  return three_times_l2 > kRotatedBytesMin ? three_times_l2 : kRotatedBytesMin;
}

int rotation_copies(std::size_t bytes_per_copy, int copies_max) {
  CHECK(bytes_per_copy > 0 && copies_max >= 1);
  const std::size_t copies = ceil_div(rotated_bytes_min(), bytes_per_copy);
  return copies < static_cast<std::size_t>(copies_max) ? static_cast<int>(copies) : copies_max;
}

}  // namespace fleetsim::kernels
