#pragma once
// Small random fleets and workloads by seed: the ground for laws that hold for every scenario.

#include <cstdint>
#include <string>

namespace fleetsim::test {

/// The text of a scenario that simulates in about a hundredth of a second: some hundred requests on
/// up to eight replicas with KV pools small enough to preempt. Every feature of a scenario turns up
/// in some seeds; a pool always holds one sequence of max_model_len, as an engine demands at its
/// start.
std::string random_scenario(std::uint64_t seed);

/// The command that repeats one seed of a test case.
std::string repeat_command(std::uint64_t seed, const std::string& test_case);

/// Seeds 1 to `count`, or the one seed that the environment variable FLEETSIM_TEST_SEED names.
struct SeedRange {
  std::uint64_t first, last;
};
SeedRange test_seeds(std::uint64_t count);

}  // namespace fleetsim::test
