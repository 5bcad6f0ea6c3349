// Rows of our own profiles as measured operators: which become shapes that a fit may take, and what
// these are.

#include "calibrate/profile_rows.h"

#include "kernels/measure/profile_writer.h"
#include "kernels/measure/work.h"
#include "tests/calibrate/synthetic_profile.h"

#include "tests/catch.h"

using namespace fleetsim;
using kernels::Point;
using kernels::sound_point;

namespace {

Point latent_decode(const char* query_tokens, const char* lengths) {
  return sound_point("latent_decode_attention", {{"kv_dtype", "bf16"},
                                                 {"heads", "16"},
                                                 {"query_tokens", query_tokens},
                                                 {"page_tokens", "64"},
                                                 {"lengths", lengths}});
}

Point latent_prefill(const char* fresh, const char* cached) {
  return sound_point(
      "latent_prefill_attention",
      {{"kv_dtype", "bf16"}, {"heads", "128"}, {"new_lengths", fresh}, {"cached_lengths", cached}});
}

/// What read_profile_rows makes of a profile of ceilings and these points.
std::vector<MeasuredOperator> rows_of(const std::vector<Point>& points, ImportedFile& file) {
  const ScratchFolder scratch;
  const std::string folder = scratch.path("profile");
  kernels::RunFacts facts = synthetic_facts();
  facts.device.name = "NVIDIA H200";
  {
    kernels::ProfileWriter writer(folder, facts, false);
    for (std::size_t i = 0; i < 5; ++i) writer.add(synthetic_rows()[i]);
    for (const Point& point : points) writer.add(synthetic_row(point, 40'000'000));
    writer.set_clocks({1400, 1500, 512.5});
    writer.finish("");
  }
  std::vector<MeasuredOperator> rows;
  Problems problems;
  file = read_profile_rows(folder, *find_gpu("h200"), rows, problems);
  INFO(problems.text());
  REQUIRE(problems.empty());
  return rows;
}

}  // namespace

TEST_CASE("latent attention of our profiles lies where the tables' lies, with the same work",
          "[unit]") {
  const Point decode = latent_decode("1", "1x32768,2x500,1x0"),
              prefill = latent_prefill("1x512,1x0,1x100", "1x1000,1x7,1x0");
  ImportedFile file;
  const auto rows = rows_of({decode, prefill}, file);
  REQUIRE(rows.size() == 2);
  const auto* decoded = std::get_if<LatentDecodeShape>(&rows[0].shape);
  REQUIRE(decoded != nullptr);
  CHECK(decoded->batch == 3);
  CHECK(decoded->context == Approx((32768 + 1000) / 3.0));
  CHECK(decoded->heads == 16);
  CHECK(decoded->kv_element_bytes == 2);
  const auto* prefilled = std::get_if<LatentPrefillShape>(&rows[1].shape);
  REQUIRE(prefilled != nullptr);
  CHECK(prefilled->requests == 2);
  CHECK(prefilled->queries == 612);
  CHECK(prefilled->context == 1612);
  CHECK(prefilled->pairs == 512 * 1000 + 512 * 513 / 2 + 100 * 101 / 2);
  CHECK(prefilled->heads == 128);
  CHECK(kernels::work_of(decode).flops == Approx(work_of(rows[0].shape).flops));
  CHECK(kernels::work_of(prefill).flops == Approx(work_of(rows[1].shape).flops));
  CHECK(kernels::work_of(prefill).bytes == Approx(work_of(rows[1].shape).bytes));
  // ours also writes zeros for the sequence without tokens
  CHECK(kernels::work_of(decode).bytes ==
        Approx(work_of(rows[0].shape).bytes + 2.0 * 16 * 512).epsilon(1e-12));
}

TEST_CASE("latent decoding of drafted tokens has no shape, and is counted", "[unit]") {
  ImportedFile file;
  CHECK(rows_of({latent_decode("2", "4x1000")}, file).empty());
  CHECK(file.without_shape["latent_decode_attention"] == 1);
}
