// KV blocks moved on the device and swapped with the host: every byte, on the emulated device.

#include <vector>

#include "hw_models/check.h"
#include "kernels/checks/block_copies_check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/emulation/emulated_device.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::kernels;

namespace {

void require_passed(const std::vector<CheckReport>& reports) {
  REQUIRE_FALSE(reports.empty());
  for (const CheckReport& report : reports) {
    INFO(report.what << ": " << report.error << " bytes " << report.problem);
    CHECK(report.passed());
  }
}

}  // namespace

TEST_CASE("copied, gathered and scattered blocks are the same bytes, and nothing else is touched",
          "[kernels][blocks]") {
  for (const std::uint64_t schedule : {1, 2}) {
    emulation::set_schedule_seed(schedule);
    require_passed(check_block_copies(20 + schedule, Scale::emulated));
  }
}

TEST_CASE("a swap moves the same bytes in each of its three ways", "[kernels][blocks]") {
  emulation::set_schedule_seed(3);
  require_passed(check_swap(31, Scale::emulated));
}

TEST_CASE("the check of block moves finds a wrong target and a lost tail", "[kernels][blocks]") {
  const BlockCase shape{2, 3, 2064, 0};
  for (const BlockFault fault : {BlockFault::wrong_target, BlockFault::lost_tail}) {
    for (const BlockMove move : {BlockMove::copy, BlockMove::gather, BlockMove::scatter})
      CHECK(check_block_move(move, shape, 4, fault).error > 0);
    for (const SwapMethod method :
         {SwapMethod::memcpy_loop, SwapMethod::memcpy_batch, SwapMethod::sm_kernel})
      CHECK(check_swap_case(method, HostCopyDirection::to_host, shape, 4, fault).error > 0);
  }
}

TEST_CASE("a swap lists one copy for each block and plane, planes together on the host",
          "[kernels][blocks]") {
  std::vector<unsigned char> first(64), second(64);
  const PinnedMemory host(3 * 2 * 16);
  SwapArguments a;
  a.direction = HostCopyDirection::to_host;
  a.planes = {first.data(), second.data()};
  a.pairs = {{3, 0}, {1, 2}};
  a.host = &host;
  a.block_bytes = 16;
  const auto* base = static_cast<const unsigned char*>(host.data());
  const HostCopies out = swap_copies(a);
  REQUIRE(out.to.size() == 4);
  CHECK(out.bytes == std::vector<std::size_t>(4, 16));
  CHECK(out.from == std::vector<const void*>{first.data() + 48, second.data() + 48,
                                             first.data() + 16, second.data() + 16});
  CHECK(out.to[0] == base);
  CHECK(out.to[1] == base + 16);
  CHECK(out.to[2] == base + 64);
  CHECK(out.to[3] == base + 80);

  a.direction = HostCopyDirection::to_device;
  a.pairs = {{2, 1}};
  const HostCopies in = swap_copies(a);
  CHECK(in.from[1] == base + 80);
  CHECK(in.to[1] == second.data() + 16);
  a.pairs = {{3, 0}};  // the host has three places
  CHECK_THROWS_AS(swap_copies(a), InternalError);
}
