// What fleetsim-kernels tells people, to the letter.

#include "kernels/program/event_text.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

TEST_CASE("durations have three digits and the unit that people would pick", "[kernels][program]") {
  REQUIRE(duration_text(1) == "1 ns");
  REQUIRE(duration_text(999) == "999 ns");
  REQUIRE(duration_text(1000) == "1.00 us");
  REQUIRE(duration_text(9'994) == "9.99 us");
  REQUIRE(duration_text(9'996) == "10.0 us");
  REQUIRE(duration_text(12'345) == "12.3 us");
  REQUIRE(duration_text(999'400) == "999 us");
  REQUIRE(duration_text(999'600) == "1.00 ms");
  REQUIRE(duration_text(1'234'567'890) == "1.23 s");
}

TEST_CASE("a row tells its time, its spread and what it is", "[kernels][program]") {
  MeasuredRow row;
  row.point = sound_point("embedding", {{"tokens", "64"}, {"hidden", "4096"}, {"vocab", "32000"}});
  row.median_ns = 2000, row.p10_ns = 1950, row.p90_ns = 2100, row.n = 20;
  REQUIRE(event_text(RowEvent{row}) ==
          "  2.00 us    7.5 %  embedding tokens=64 hidden=4096 vocab=32000");
  row.noisy = true;
  row.note = "algo 3";
  REQUIRE(event_text(RowEvent{row}) ==
          "  2.00 us    7.5 %  embedding tokens=64 hidden=4096 vocab=32000  (noisy)  [algo 3]");
}

TEST_CASE("progress fits into the terminal's line", "[kernels][program]") {
  const ProgressEvent progress{7, 120, "gemm", "gemm dtype=bf16 m=1 n=4096 k=4096 algo=top"};
  REQUIRE(progress_text(progress, 80) == "[  7/120] gemm dtype=bf16 m=1 n=4096 k=4096 algo=top");
  REQUIRE(progress_text(progress, 20) == "[  7/120] gemm dt...");
  REQUIRE(progress_text(progress, 2) == "[ ");
  REQUIRE(event_text(progress).empty());
}

TEST_CASE("a stopped run says how many points it leaves", "[kernels][program]") {
  REQUIRE(event_text(StoppedEvent{"budget", 12}) == "stopped: budget; 12 points were not reached");
  REQUIRE(event_text(DoneEvent{5, "profile"}) == "5 rows in profile");
}
