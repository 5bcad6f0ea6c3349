#include "kernels/program/selftest.h"

#include <cstdio>
#include <exception>

#include "kernels/device/launch.h"

namespace fleetsim::kernels {
namespace {

struct Tally {
  int passed = 0, failed = 0, skipped = 0;
};

void print(const char* verdict, const char* op, const std::string& rest) {
  std::printf("%-7s %-18s %s\n", verdict, op, rest.c_str());
  std::fflush(stdout);  // a hang shows behind which case it is
}

void print_report(const char* op, const CheckReport& report, Tally& tally) {
  char figures[64];
  std::snprintf(figures, sizeof figures, "%10.3e %10.3e  ", report.error, report.limit);
  ++(report.passed() ? tally.passed : tally.failed);
  print(report.passed() ? "pass" : "FAIL", op,
        figures + report.what + (report.problem.empty() ? "" : ": " + report.problem));
}

void run_check(const Check& check, Scale scale, std::uint64_t seed, Tally& tally) {
  try {
    const std::vector<CheckReport> reports = check.run(seed, scale);
    for (const CheckReport& report : reports) print_report(check.op, report, tally);
    if (!reports.empty()) return;
    ++tally.failed;
    print("FAIL", check.op, "no case was run");
  } catch (const NotSupportedHere& refusal) {
    ++tally.skipped;
    print("skipped", check.op, refusal.what());
  } catch (const std::exception& error) {  // the next operator says whether the device still works
    ++tally.failed;
    print("FAIL", check.op, error.what());
  }
}

}  // namespace

bool has_checks(const std::string& only_op) {
  if (only_op.empty()) return true;
  for (const Check& check : all_checks())
    if (only_op == check.op) return true;
  return false;
}

std::string checked_operators() {
  std::string names;
  for (const Check& check : all_checks())
    names += (names.empty() ? "" : ", ") + std::string(check.op);
  return names;
}

int run_selftest(const std::string& only_op, Scale scale, std::uint64_t seed) {
  std::printf("%s, sm_%d, seed %llu\n", device_facts().name.c_str(),
              device_facts().compute_capability, static_cast<unsigned long long>(seed));
  print("verdict", "operator", "     error      limit  case");
  Tally tally;
  for (const Check& check : all_checks())
    if (only_op.empty() || only_op == check.op) run_check(check, scale, seed, tally);
  std::printf("%d cases are right, %d are wrong; %d operators skipped\n", tally.passed,
              tally.failed, tally.skipped);
  return tally.failed == 0 && tally.passed > 0 ? 0 : 1;
}

}  // namespace fleetsim::kernels
