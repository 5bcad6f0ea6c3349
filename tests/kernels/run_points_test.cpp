// The run over points with a device of our making: budget, blocks and canaries, interruption,
// failed checks, a lost device, and what lies in the profile's folder in each case.

#include "kernels/measure/run_points.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/catch.h"

using namespace fleetsim::kernels;
namespace fs = std::filesystem;

namespace {

Point point(int m) {
  return sound_point(
      "gemm",
      {{"dtype", "bf16"}, {"m", std::to_string(m)}, {"n", "4096"}, {"k", "4096"}, {"algo", "top"}});
}

/// Points with m = 1 to n.
std::vector<Point> points(int n) {
  std::vector<Point> all;
  for (int m = 1; m <= n; ++m) all.push_back(point(m));
  return all;
}

MeasuredRow row_of(const Point& of) {
  MeasuredRow row;
  row.point = of;
  row.median_ns = 1000;
  row.p10_ns = 990;
  row.p90_ns = 1010;
  row.n = 20;
  row.clock_mhz = 1900;
  row.check_err = 1e-3;
  return row;
}

/// A device in name: every point takes `point_s`, the canary 0.1 s and reads what is planned.
struct FakeDevice {
  double now_s = 1000, point_s = 1;
  std::map<int, Outcome> outcomes;         // by m; others are measured
  std::map<int, CanaryReading> canaries;   // by number from 0; others read 100 us, 500 us
  int lost_at_m = 0, lost_at_canary = -1;  // never
  int interrupted_after = 1 << 30;         // measured points
  ClockReading clock{1900, 3200, 600.0, 50.0, ""};
  std::vector<int> asked;  // m of every point that was run
  int canary_reads = 0;

  Measure measure() {
    Measure m;
    m.point = [this](const Point& of) {
      const int size = static_cast<int>(of.integer("m"));
      asked.push_back(size);
      now_s += point_s;
      if (size == lost_at_m) throw DeviceLost("an illegal memory access was encountered");
      const auto planned = outcomes.find(size);
      if (planned != outcomes.end()) return planned->second;
      return Outcome{Outcome::Kind::measured, row_of(of), ""};
    };
    m.canary = [this] {
      if (canary_reads == lost_at_canary) throw DeviceLost("canary");
      const auto planned = canaries.find(canary_reads++);
      now_s += 0.1;
      return planned != canaries.end() ? planned->second : CanaryReading{100'000, 500'000};
    };
    m.clocks = [this] { return clock; };
    m.estimated_seconds = [this](const Point&) { return point_s; };
    m.seconds = [this] { return now_s; };
    m.interrupted = [this] { return static_cast<int>(asked.size()) >= interrupted_after; };
    return m;
  }
};

/// A run into a fresh folder, and everything it told.
struct Ran {
  RunEnd end;
  std::vector<Event> events;
  std::string manifest;
  std::vector<int> written;  // m of the rows of gemm.csv

  template <class T>
  std::vector<T> told() const {
    std::vector<T> of;
    for (const Event& event : events)
      if (const T* one = std::get_if<T>(&event)) of.push_back(*one);
    return of;
  }
  bool warned(const std::string& words) const {
    const auto warnings = told<WarningEvent>();
    return std::any_of(warnings.begin(), warnings.end(), [&](const WarningEvent& warning) {
      return warning.text.find(words) != std::string::npos;
    });
  }
};

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<int> rows_of(const std::string& folder) {
  std::vector<int> sizes;
  std::istringstream lines(text_of(folder + "/gemm.csv"));
  std::string line;
  std::getline(lines, line);  // the header
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string op, dtype, m;
    std::getline(fields, op, ','), std::getline(fields, dtype, ','), std::getline(fields, m, ',');
    sizes.push_back(std::stoi(m));
  }
  return sizes;
}

RunFacts facts() {
  RunFacts facts;
  facts.device.name = "a device in name";
  facts.started_utc = "2026-11-21T09:30:00Z";
  return facts;
}

Ran run(FakeDevice& device, const std::vector<Point>& list, const RunRules& rules = {},
        const std::function<void(const Event&, const std::string& folder)>& listen = {}) {
  static int number = 0;
  const std::string folder =
      (fs::temp_directory_path() /
       ("fleetsim-run-points-" + std::to_string(getpid()) + "-" + std::to_string(number++)))
          .string();
  Ran ran;
  {
    ProfileWriter writer(folder, facts(), false);
    const Measure measure = device.measure();
    ran.end = run_points(list, measure, rules, writer, [&](const Event& event) {
      ran.events.push_back(event);
      if (listen) listen(event, folder);
    });
  }
  ran.manifest = text_of(folder + "/manifest.yaml");
  ran.written = rows_of(folder);
  fs::remove_all(folder);
  return ran;
}

std::vector<int> range(int from, int to) {
  std::vector<int> all;
  for (int i = from; i <= to; ++i) all.push_back(i);
  return all;
}

}  // namespace

TEST_CASE("a quiet run writes every point once, in order, and says so", "[kernels][run]") {
  FakeDevice device;
  const Ran ran = run(device, points(5));
  REQUIRE(ran.written == range(1, 5));
  REQUIRE(device.asked == range(1, 5));
  REQUIRE(ran.end.rows == 5);
  REQUIRE(ran.end.exit_code() == 0);
  REQUIRE(ran.told<RowEvent>().size() == 5);
  REQUIRE(ran.told<StoppedEvent>().empty());
  REQUIRE(ran.told<WarningEvent>().empty());
  const auto progress = ran.told<ProgressEvent>();
  REQUIRE(progress.front().done == 0);
  REQUIRE(progress.front().text == point(1).text());
  REQUIRE(progress.back().done == 5);
  REQUIRE(progress.back().of == 5);
  REQUIRE(std::holds_alternative<DoneEvent>(ran.events.back()));
  REQUIRE(ran.told<DoneEvent>().front().rows == 5);
  REQUIRE(device.canary_reads == 3);  // two that agree, one behind the only block
}

TEST_CASE("no points are no work and no canary", "[kernels][run]") {
  FakeDevice device;
  const Ran ran = run(device, {});
  REQUIRE(ran.end.rows == 0);
  REQUIRE(ran.end.exit_code() == 0);
  REQUIRE(device.canary_reads == 0);
}

TEST_CASE("a run stops before the point that would break its budget", "[kernels][run]") {
  FakeDevice device;
  device.point_s = 2;
  RunRules rules;
  rules.budget_s = 10.5;  // 0.2 of canaries, five points of 2 s, 0.5 kept: the fifth does not fit
  const Ran ran = run(device, points(9), rules);
  REQUIRE(device.asked == range(1, 4));
  REQUIRE(ran.written == range(1, 4));
  REQUIRE(device.now_s - 1000 <= rules.budget_s);
  REQUIRE(ran.end.stopped == "budget");
  REQUIRE(ran.end.points_left == 5);
  REQUIRE(ran.end.exit_code() == 0);
  REQUIRE(ran.told<StoppedEvent>().front().points_left == 5);
  REQUIRE(ran.manifest.find("budget") != std::string::npos);

  FakeDevice patient;
  patient.point_s = 2;
  rules.budget_s = 0;  // no limit
  REQUIRE(run(patient, points(9), rules).written == range(1, 9));
}

TEST_CASE("an interrupted run keeps the rows it has", "[kernels][run]") {
  FakeDevice device;
  device.interrupted_after = 3;
  const Ran ran = run(device, points(6));
  REQUIRE(ran.written == range(1, 3));
  REQUIRE(ran.end.stopped == "interrupted");
  REQUIRE(ran.end.points_left == 3);
  REQUIRE(ran.end.exit_code() == 130);
  REQUIRE(ran.told<StoppedEvent>().front().reason == "interrupted");
  REQUIRE(ran.told<DoneEvent>().size() == 1);
}

TEST_CASE("a failed check is told, not timed, and makes the exit code 1", "[kernels][run]") {
  FakeDevice device;
  device.outcomes[2] = {Outcome::Kind::failed, std::nullopt, "error 0.5 above 0.003"};
  device.outcomes[3] = {Outcome::Kind::skipped, std::nullopt, "needs 2 GPUs, 1 is here"};
  const Ran ran = run(device, points(4));
  REQUIRE(ran.written == std::vector<int>{1, 4});
  REQUIRE(ran.end.failed == 1);
  REQUIRE(ran.end.skipped == 1);
  REQUIRE(ran.end.exit_code() == 1);
  REQUIRE(ran.told<FailedEvent>().size() == 1);
  REQUIRE(ran.told<FailedEvent>().front().text.find("above 0.003") != std::string::npos);
  REQUIRE(ran.warned("needs 2 GPUs"));
  REQUIRE(ran.manifest.find("needs 2 GPUs") != std::string::npos);
}

TEST_CASE("skipped points alone are no failure", "[kernels][run]") {
  FakeDevice device;
  device.outcomes[1] = {Outcome::Kind::skipped, std::nullopt, "not on this GPU"};
  REQUIRE(run(device, points(1)).end.exit_code() == 0);
}

TEST_CASE("a noisy row is written as noisy", "[kernels][run]") {
  FakeDevice device;
  MeasuredRow row = row_of(point(1));
  row.noisy = true;
  device.outcomes[1] = {Outcome::Kind::measured, row, ""};
  const Ran ran = run(device, points(2));
  REQUIRE(ran.told<RowEvent>()[0].row.noisy);
  REQUIRE_FALSE(ran.told<RowEvent>()[1].row.noisy);
}

TEST_CASE("rows of a block are in the files as soon as its canary was read", "[kernels][run]") {
  FakeDevice device;
  device.point_s = 10;
  std::vector<std::size_t> rows_at_progress;
  run(device, points(7), {}, [&](const Event& event, const std::string& folder) {
    if (std::holds_alternative<ProgressEvent>(event))
      rows_at_progress.push_back(rows_of(folder).size());
  });
  // blocks of 30 s: three points each
  REQUIRE(rows_at_progress == std::vector<std::size_t>{0, 0, 0, 3, 3, 3, 6, 7});
}

TEST_CASE("a block whose canary moved is dropped and measured once more", "[kernels][run]") {
  FakeDevice device;
  device.point_s = 10;
  device.canaries[3] = {104'000, 500'000};  // behind the second block
  device.canaries[4] = {104'000, 500'000};  // and it stays so
  const Ran ran = run(device, points(6));
  REQUIRE(device.asked == std::vector<int>{1, 2, 3, 4, 5, 6, 4, 5, 6});
  REQUIRE(ran.written == range(1, 6));
  REQUIRE(ran.end.dropped == 3);
  REQUIRE(ran.warned("the canary moved (GEMM +4.0 %, copy +0.0 %) over the block from " +
                     point(4).text() + " to " + point(6).text() + ": 3 rows are dropped"));
  REQUIRE(ran.warned("no longer what it was at the start"));
  REQUIRE(ran.told<RowEvent>().size() == 6);  // dropped rows are never told as rows
  REQUIRE(ran.end.exit_code() == 0);
}

TEST_CASE("where the canary moves again, rows are kept and marked as noisy", "[kernels][run]") {
  FakeDevice device;
  device.point_s = 10;
  device.canaries[2] = {100'000, 520'000};
  device.canaries[3] = {100'000, 500'000};
  const Ran ran = run(device, points(4));
  REQUIRE(device.asked == std::vector<int>{1, 2, 3, 1, 2, 3, 4});
  REQUIRE(ran.written == range(1, 4));
  REQUIRE(ran.end.dropped == 3);
  const auto rows = ran.told<RowEvent>();
  REQUIRE(rows.size() == 4);
  for (int i = 0; i < 3; ++i) REQUIRE(rows[i].row.noisy);
  REQUIRE_FALSE(rows[3].row.noisy);
  REQUIRE(ran.warned("3 rows, measured a second time, are marked as noisy"));
}

TEST_CASE("a budget that ends in a dropped block says that its points are left", "[kernels][run]") {
  FakeDevice device;
  device.point_s = 2;
  device.canaries[2] = {110'000, 500'000};
  RunRules rules;
  rules.budget_s = 10.5;
  const Ran ran = run(device, points(9), rules);
  REQUIRE(ran.written.empty());
  REQUIRE(ran.end.stopped == "budget");
  REQUIRE(ran.end.points_left == 9);
}

TEST_CASE("a canary that moves by three percent or less drops nothing", "[kernels][run]") {
  FakeDevice device;
  device.canaries[2] = {102'900, 485'500};
  const Ran ran = run(device, points(3));
  REQUIRE(ran.written == range(1, 3));
  REQUIRE(ran.end.dropped == 0);
  REQUIRE(canary_moved({100, 100}, {100, 96.9}, 0.03));  // faster counts as moved, too
  REQUIRE_FALSE(canary_moved({100, 100}, {103, 97}, 0.031));
}

TEST_CASE("a GPU that still speeds up is waited for before the first block", "[kernels][run]") {
  FakeDevice device;
  device.canaries[0] = {150'000, 600'000};
  device.canaries[1] = {120'000, 550'000};
  const Ran ran = run(device, points(2));
  REQUIRE(device.canary_reads == 5);  // 150, 120, 100, 100 us, and the one behind the block
  REQUIRE(ran.end.dropped == 0);
  REQUIRE(ran.told<WarningEvent>().empty());
}

TEST_CASE("a lost device ends the run; rows without a canary are marked", "[kernels][run]") {
  FakeDevice device;
  device.point_s = 10;
  device.lost_at_m = 5;
  const Ran ran = run(device, points(8));
  REQUIRE(ran.written == range(1, 4));
  const auto rows = ran.told<RowEvent>();
  REQUIRE_FALSE(rows[2].row.noisy);  // in the first block, vouched for
  REQUIRE(rows[3].row.noisy);
  REQUIRE(ran.end.stopped == "device lost");
  REQUIRE(ran.end.points_left == 3);
  REQUIRE(ran.end.exit_code() == 1);
  REQUIRE(ran.told<FailedEvent>().front().text.find("illegal memory access") != std::string::npos);

  FakeDevice at_canary;
  at_canary.lost_at_canary = 2;
  REQUIRE(run(at_canary, points(2)).end.exit_code() == 1);
}

TEST_CASE("clocks that were held back are told once a reason", "[kernels][run]") {
  FakeDevice device;
  device.clock.held_back = "heat";
  const Ran ran = run(device, points(3));
  REQUIRE(ran.told<WarningEvent>().size() == 1);
  REQUIRE(ran.warned("heat (50 degrees Celsius)"));
  REQUIRE(ran.manifest.find("1900") != std::string::npos);
  REQUIRE(ran.manifest.find("600") != std::string::npos);
}
