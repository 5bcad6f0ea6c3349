// Points of `block_copy`, `block_gather`, `block_scatter` and `swap`: one plane, blocks in shuffled
// order.

#include <algorithm>
#include <memory>

#include "kernels/device/device_memory.h"
#include "kernels/measure/operator_points.h"
#include "kernels/operators/swap.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

constexpr std::size_t kComparedBlocks = 16;

using LaunchMove = void (*)(const BlockMoveArguments& arguments, Stream stream);

struct Moves {
  std::vector<BlockMoveArguments> sets;
  std::vector<BlockPair> pairs;  // of set 0
  unsigned char* pool;
  LaunchMove launch;
  bool from_packed, to_packed;
};

/// Some pairs, the first and the last among them.
std::vector<BlockPair> compared_pairs(const std::vector<BlockPair>& pairs) {
  const std::size_t step = std::max<std::size_t>(1, pairs.size() / kComparedBlocks);
  std::vector<BlockPair> some;
  for (std::size_t i = 0; i < pairs.size(); i += step) some.push_back(pairs[i]);
  some.push_back(pairs.back());
  return some;
}

/// Share of bytes that differ between two arrays of equal length.
double share_that_differs(const std::vector<unsigned char>& a,
                          const std::vector<unsigned char>& b) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += a[i] != b[i] ? 1 : 0;
  return static_cast<double>(count) / static_cast<double>(a.size());
}

std::vector<unsigned char> block_on_host(const void* memory, std::int64_t block,
                                         std::size_t bytes) {
  std::vector<unsigned char> values(bytes);
  copy_to_host(values.data(),
               static_cast<const unsigned char*>(memory) + static_cast<std::size_t>(block) * bytes,
               bytes);
  return values;
}

/// Targets hold other random bytes before: a move that is left out shows.
double check_moves(const Moves& moves) {
  const BlockMoveArguments& a = moves.sets[0];
  const auto bytes = static_cast<std::size_t>(a.block_bytes);
  moves.launch(a, {});
  device_synchronize();
  double largest = 0;
  for (const BlockPair& pair : compared_pairs(moves.pairs)) {
    const auto source = block_on_host(moves.from_packed ? a.packed : moves.pool, pair.from, bytes);
    const auto target = block_on_host(moves.to_packed ? a.packed : moves.pool, pair.to, bytes);
    largest = std::max(largest, share_that_differs(source, target));
  }
  return largest;
}

template <class T>
T* on_device(const std::vector<T>& values, Arena& arena) {
  T* device = arena.take<T>(values.size());
  copy_to_device(device, values.data(), values.size() * sizeof(T));
  return device;
}

void require_pieces_of_16(const Point& point) {
  if (point.integer("block_bytes") % 16 != 0)
    throw NotSupportedHere("the block kernels move multiples of 16 bytes");
}

PreparedPoint prepare_moves(const Point& point, Arena& arena, std::uint64_t seed,
                            LaunchMove launch_move, bool from_packed, bool to_packed) {
  require_pieces_of_16(point);
  const std::int64_t block_bytes = point.integer("block_bytes");
  const int blocks = static_cast<int>(point.integer("blocks"));
  const auto set_bytes = static_cast<std::size_t>(blocks) * static_cast<std::size_t>(block_bytes);
  const int copies = rotation_copies(2 * set_bytes);
  const bool within_pool = !from_packed && !to_packed;
  const int pool_blocks = blocks * copies * (within_pool ? 2 : 1);
  const auto moves = std::make_shared<Moves>();
  moves->launch = launch_move;
  moves->from_packed = from_packed;
  moves->to_packed = to_packed;
  const std::size_t pool_bytes =
      static_cast<std::size_t>(pool_blocks) * static_cast<std::size_t>(block_bytes);
  moves->pool = arena.take<unsigned char>(pool_bytes);
  fill_bytes(moves->pool, pool_bytes, seed, {});
  void* const* planes = on_device(std::vector<void*>{moves->pool}, arena);

  RandomInputs random(seed, "block move point");
  const std::vector<int> order = random.shuffled(pool_blocks);
  for (int copy = 0; copy < copies; ++copy) {
    std::vector<BlockPair> pairs;
    for (int i = 0; i < blocks; ++i) {
      const int number = copy * blocks + i;
      const int block = order[static_cast<std::size_t>(number)];
      if (from_packed)
        pairs.push_back({i, block});
      else if (to_packed)
        pairs.push_back({block, i});
      else
        pairs.push_back({block, order[static_cast<std::size_t>(blocks * copies + number)]});
    }
    BlockMoveArguments a;
    a.planes = planes;
    a.plane_count = 1;
    if (!within_pool) {
      a.packed = arena.take<unsigned char>(set_bytes);
      fill_bytes(a.packed, set_bytes, seed + 1 + static_cast<std::uint64_t>(copy), {});
    }
    a.pairs = on_device(pairs, arena);
    a.pair_count = blocks;
    a.block_bytes = block_bytes;
    moves->sets.push_back(a);
    if (copy == 0) moves->pairs = pairs;
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [moves](Stream stream, int copy) {
    moves->launch(moves->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [moves] { return check_moves(*moves); };
  prepared.error_limit = 0;
  return prepared;
}

struct Swap {
  SwapArguments arguments;
  HostCopies copies;  // made beforehand: what is timed is the copying
  std::unique_ptr<PinnedMemory> host;
};

void run(const Swap& swap, Stream stream) {
  if (swap.arguments.method == SwapMethod::memcpy_loop)
    copy_one_by_one(swap.copies, swap.arguments.direction, stream);
  else if (swap.arguments.method == SwapMethod::memcpy_batch)
    copy_as_batch(swap.copies, stream);
  else
    launch_swap(swap.arguments, stream);
}

double check_swap_error(const Swap& swap) {
  const SwapArguments& a = swap.arguments;
  const auto bytes = static_cast<std::size_t>(a.block_bytes);
  run(swap, {});
  device_synchronize();
  const bool to_host = a.direction == HostCopyDirection::to_host;
  const auto* host = static_cast<const unsigned char*>(swap.host->data());
  double largest = 0;
  for (const BlockPair& pair : compared_pairs(a.pairs)) {
    const auto host_block = static_cast<std::size_t>(to_host ? pair.to : pair.from);
    const auto device = block_on_host(a.planes[0], to_host ? pair.from : pair.to, bytes);
    const std::vector<unsigned char> on_host(host + host_block * bytes,
                                             host + (host_block + 1) * bytes);
    largest = std::max(largest, share_that_differs(device, on_host));
  }
  return largest;
}

}  // namespace

PreparedPoint prepare_block_copy(const Point& point, Arena& arena, std::uint64_t seed) {
  return prepare_moves(point, arena, seed, launch_block_copy, false, false);
}
PreparedPoint prepare_block_gather(const Point& point, Arena& arena, std::uint64_t seed) {
  return prepare_moves(point, arena, seed, launch_block_gather, false, true);
}
PreparedPoint prepare_block_scatter(const Point& point, Arena& arena, std::uint64_t seed) {
  return prepare_moves(point, arena, seed, launch_block_scatter, true, false);
}

PreparedPoint prepare_swap(const Point& point, Arena& arena, std::uint64_t seed) {
  require_pieces_of_16(point);
  const auto swap = std::make_shared<Swap>();
  SwapArguments& a = swap->arguments;
  const std::string& method = point.word("method");
  a.method = method == "memcpy_loop"    ? SwapMethod::memcpy_loop
             : method == "memcpy_batch" ? SwapMethod::memcpy_batch
                                        : SwapMethod::sm_kernel;
  const bool to_host = point.word("direction") == "to_host";
  a.direction = to_host ? HostCopyDirection::to_host : HostCopyDirection::to_device;
  a.block_bytes = point.integer("block_bytes");
  const int blocks = static_cast<int>(point.integer("blocks"));
  const auto bytes = static_cast<std::size_t>(blocks) * static_cast<std::size_t>(a.block_bytes);
  auto* pool = arena.take<unsigned char>(bytes);
  fill_bytes(pool, bytes, seed, {});
  swap->host = std::make_unique<PinnedMemory>(bytes);
  a.host = swap->host.get();
  // other bytes than the device's, so that a copy that is left out shows
  std::vector<unsigned char> pattern(4096);
  RandomInputs random(seed, "swap point");
  for (unsigned char& byte : pattern) byte = static_cast<unsigned char>(random.word() >> 24);
  auto* host = static_cast<unsigned char*>(swap->host->data());
  for (std::size_t at = 0; at < bytes; at += pattern.size())
    std::copy_n(pattern.begin(), std::min(pattern.size(), bytes - at), host + at);
  const std::vector<int> from = random.shuffled(blocks), to = random.shuffled(blocks);
  for (std::size_t i = 0; i < from.size(); ++i) a.pairs.push_back({from[i], to[i]});
  a.planes = {pool};
  a.planes_on_device = on_device(a.planes, arena);
  a.pairs_on_device = on_device(a.pairs, arena);
  swap->copies = swap_copies(a);
  device_synchronize();

  PreparedPoint prepared;
  prepared.launch = [swap](Stream stream, int) { run(*swap, stream); };
  prepared.check_error = [swap] { return check_swap_error(*swap); };
  prepared.error_limit = 0;
  // issued call by call, as an engine does: a loop's cost is that of its calls
  prepared.capturable = false;
  return prepared;
}

}  // namespace fleetsim::kernels
