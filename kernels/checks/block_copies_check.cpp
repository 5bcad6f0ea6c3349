#include "kernels/checks/block_copies_check.h"

#include <algorithm>
#include <optional>

#include "hw_models/check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

using Bytes = std::vector<unsigned char>;

Bytes random_bytes(std::size_t count, RandomInputs& random) {
  Bytes bytes(count);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random.word() >> 24);
  return bytes;
}

/// All that a move reads and writes, as it was before and as a plain loop leaves it.
struct Contents {
  std::vector<Bytes> planes;
  Bytes packed;
};

int block_count(const BlockCase& c) { return 2 * c.pairs + 1; }

Contents random_contents(const BlockCase& c, RandomInputs& random) {
  const std::size_t plane_bytes =
      static_cast<std::size_t>(block_count(c)) * static_cast<std::size_t>(c.block_bytes);
  Contents contents;
  for (int plane = 0; plane < c.planes; ++plane)
    contents.planes.push_back(random_bytes(plane_bytes, random));
  contents.packed = random_bytes(plane_bytes * static_cast<std::size_t>(c.planes), random);
  return contents;
}

/// Shuffled blocks; one source goes to two targets where there are two pairs.
std::vector<BlockPair> random_pairs(const BlockCase& c, RandomInputs& random) {
  const std::vector<int> blocks = random.shuffled(block_count(c));
  std::vector<BlockPair> pairs;
  for (int i = 0; i < c.pairs; ++i)
    pairs.push_back(
        {blocks[static_cast<std::size_t>(i)], blocks[static_cast<std::size_t>(c.pairs + i)]});
  if (c.pairs >= 2) pairs[1].from = pairs[0].from;
  return pairs;
}

Contents moved(BlockMove move, const BlockCase& c, Contents contents,
               const std::vector<BlockPair>& pairs, BlockFault fault) {
  const auto size = static_cast<std::size_t>(c.block_bytes);
  const auto planes = static_cast<std::size_t>(c.planes);
  const Contents before = contents;
  for (const BlockPair& pair : pairs) {
    const bool last = &pair == &pairs.back();
    const auto from = static_cast<std::size_t>(pair.from);
    std::size_t to = static_cast<std::size_t>(pair.to);
    if (last && fault == BlockFault::wrong_target) to = to == 0 ? 1 : to - 1;
    for (std::size_t plane = 0; plane < planes; ++plane) {
      const unsigned char* source = move == BlockMove::scatter
                                        ? before.packed.data() + (from * planes + plane) * size
                                        : before.planes[plane].data() + from * size;
      unsigned char* target = move == BlockMove::gather
                                  ? contents.packed.data() + (to * planes + plane) * size
                                  : contents.planes[plane].data() + to * size;
      std::copy_n(source, last && fault == BlockFault::lost_tail ? size - 16 : size, target);
    }
  }
  return contents;
}

std::int64_t bytes_that_differ(const Contents& a, const Contents& b) {
  std::int64_t count = 0;
  const auto add = [&](const Bytes& x, const Bytes& y) {
    CHECK(x.size() == y.size());
    for (std::size_t i = 0; i < x.size(); ++i) count += x[i] != y[i] ? 1 : 0;
  };
  for (std::size_t plane = 0; plane < a.planes.size(); ++plane)
    add(a.planes[plane], b.planes[plane]);
  add(a.packed, b.packed);
  return count;
}

/// The planes on the device, and their addresses there.
struct DevicePlanes {
  std::vector<DeviceBuffer<unsigned char>> buffers;
  std::vector<void*> addresses;
  std::optional<DeviceBuffer<void*>> table;

  explicit DevicePlanes(const Contents& contents) {
    for (const Bytes& plane : contents.planes) buffers.emplace_back(plane);
    for (const auto& buffer : buffers) addresses.push_back(buffer.data());
    table.emplace(addresses);
  }
  std::vector<Bytes> values() const {
    std::vector<Bytes> planes;
    for (const auto& buffer : buffers) planes.push_back(buffer.values());
    return planes;
  }
  bool guards_intact() const {
    for (const auto& buffer : buffers)
      if (!buffer.guards_intact()) return false;
    return true;
  }
};

std::string text_of(const BlockCase& c, std::uint64_t seed) {
  return ": " + std::to_string(c.pairs) + " blocks of " + std::to_string(c.block_bytes) +
         " bytes in " + std::to_string(c.planes) + " planes, thread blocks " +
         std::to_string(c.thread_blocks_max) + ", seed " + std::to_string(seed);
}

}  // namespace

CheckReport check_block_move(BlockMove move, const BlockCase& c, std::uint64_t seed,
                             BlockFault fault) {
  const char* name = move == BlockMove::copy     ? "block_copy"
                     : move == BlockMove::gather ? "block_gather"
                                                 : "block_scatter";
  CheckReport report{name + text_of(c, seed), 0, 0, ""};
  RandomInputs random(seed, report.what);
  const Contents before = random_contents(c, random);
  const std::vector<BlockPair> pairs = random_pairs(c, random);
  const DevicePlanes planes(before);
  const DeviceBuffer<unsigned char> packed(before.packed);
  const DeviceBuffer<BlockPair> device_pairs(pairs);
  BlockMoveArguments a;
  a.planes = planes.table->data();
  a.plane_count = c.planes;
  a.packed = packed.data();
  a.pairs = device_pairs.data();
  a.pair_count = c.pairs;
  a.block_bytes = c.block_bytes;
  a.thread_blocks_max = c.thread_blocks_max;
  if (move == BlockMove::copy) launch_block_copy(a, Stream{});
  if (move == BlockMove::gather) launch_block_gather(a, Stream{});
  if (move == BlockMove::scatter) launch_block_scatter(a, Stream{});
  const Contents after{planes.values(), packed.values()};
  report.error =
      static_cast<double>(bytes_that_differ(after, moved(move, c, before, pairs, fault)));
  if (!planes.guards_intact() || !packed.guards_intact())
    report.problem = "something was written outside the blocks";
  return report;
}

CheckReport check_swap_case(SwapMethod method, HostCopyDirection direction, const BlockCase& c,
                            std::uint64_t seed, BlockFault fault) {
  const char* name = method == SwapMethod::memcpy_loop    ? "swap by a loop of copies"
                     : method == SwapMethod::memcpy_batch ? "swap by a batch of copies"
                                                          : "swap by a kernel";
  const bool to_host = direction == HostCopyDirection::to_host;
  CheckReport report{std::string(name) + (to_host ? " to host" : " to device") + text_of(c, seed),
                     0, 0, ""};
  RandomInputs random(seed, report.what);
  const Contents before = random_contents(c, random);
  const std::vector<BlockPair> pairs = random_pairs(c, random);
  const DevicePlanes planes(before);
  PinnedMemory host(before.packed.size());
  std::copy(before.packed.begin(), before.packed.end(), static_cast<unsigned char*>(host.data()));
  const DeviceBuffer<BlockPair> device_pairs(pairs);
  SwapArguments a;
  a.method = method;
  a.direction = direction;
  a.planes = planes.addresses;
  a.pairs = pairs;
  a.host = &host;
  a.planes_on_device = planes.table->data();
  a.pairs_on_device = device_pairs.data();
  a.block_bytes = c.block_bytes;
  a.thread_blocks_max = c.thread_blocks_max;
  launch_swap(a, Stream{});
  device_synchronize();
  const auto* bytes = static_cast<const unsigned char*>(host.data());
  const Contents after{planes.values(), Bytes(bytes, bytes + host.size())};
  const BlockMove move = to_host ? BlockMove::gather : BlockMove::scatter;
  report.error =
      static_cast<double>(bytes_that_differ(after, moved(move, c, before, pairs, fault)));
  if (!planes.guards_intact()) report.problem = "something was written outside the blocks";
  return report;
}

namespace {

/// Blocks under, at and over a warp's piece of 2 KiB, more pieces than a persistent grid has warps.
std::vector<BlockCase> block_cases(Scale scale) {
  std::vector<BlockCase> cases = {{1, 1, 16, 0},   {3, 5, 2048, 0}, {2, 3, 2064, 0},
                                  {4, 2, 4096, 1}, {1, 9, 496, 0},  {2, 7, 16384, 2}};
  if (scale == Scale::device) {
    cases.push_back({64, 40, 4096, 0});
    cases.push_back({1, 33, 2 << 20, 0});
    cases.push_back({16, 100, 32768, 8});
  }
  return cases;
}

}  // namespace

std::vector<CheckReport> check_block_copies(std::uint64_t seed, Scale scale) {
  std::vector<CheckReport> reports;
  for (const BlockMove move : {BlockMove::copy, BlockMove::gather, BlockMove::scatter})
    for (const BlockCase& c : block_cases(scale))
      reports.push_back(check_block_move(move, c, seed));
  return reports;
}

std::vector<CheckReport> check_swap(std::uint64_t seed, Scale scale) {
  std::vector<CheckReport> reports;
  for (const SwapMethod method :
       {SwapMethod::memcpy_loop, SwapMethod::memcpy_batch, SwapMethod::sm_kernel})
    for (const HostCopyDirection direction :
         {HostCopyDirection::to_host, HostCopyDirection::to_device})
      for (const BlockCase& c : block_cases(scale))
        reports.push_back(check_swap_case(method, direction, c, seed));
  return reports;
}

}  // namespace fleetsim::kernels
