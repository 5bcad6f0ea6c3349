#include "tests/calibrate/synthetic_profile.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "kernels/measure/profile_writer.h"

#include "tests/catch.h"

namespace fleetsim {

using kernels::MeasuredRow;
using kernels::sound_point;

ScratchFolder::ScratchFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "fleetsim-test-XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  path_ = name;
}
ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string text_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}
void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  REQUIRE(file.good());
}
void edit_file(const std::string& path, const std::string& from, const std::string& to) {
  std::string text = text_of_file(path);
  const std::size_t at = text.find(from);
  INFO(path << " must hold " << from);
  REQUIRE(at != std::string::npos);
  write_file(path, text.replace(at, from.size(), to));
}

kernels::RunFacts synthetic_facts() {
  kernels::RunFacts facts;
  facts.device = {"Synthetic GPU", 90, 132, 62914560, 150000000000, "1.2", "13.0", "13.0", ""};
  facts.host = {"a CPU of 16 cores, \"invented\"", "6.1"};
  facts.software = {"0123456789abcdef", false, "13.0.88", "13.0", "-O3"};
  facts.started_utc = "2026-11-21T09:30:00Z";
  facts.seed = 7;
  facts.budget_s = 60;
  return facts;
}

MeasuredRow synthetic_row(const kernels::Point& point, std::int64_t ns) {
  MeasuredRow row;
  row.point = point;
  row.median_ns = row.p10_ns = row.p90_ns = ns;
  row.n = 20;
  row.clock_mhz = 1500;
  row.check_err = 0.001;
  return row;
}

std::vector<MeasuredRow> synthetic_rows() {
  const auto ceiling = [](const char* kind, const char* bytes, const char* edge, std::int64_t ns) {
    return synthetic_row(sound_point("ceiling", {{"kind", kind}, {"bytes", bytes}, {"edge", edge}}),
                         ns);
  };
  std::vector<MeasuredRow> rows = {
      ceiling("read", "4294967296", "0", 1'000'000),
      ceiling("gemm_bf16", "0", "8192", 1'500'000),
      ceiling("host_to_device", "67108864", "0", 1'342'177),
      ceiling("device_to_host", "67108864", "0", 1'342'177),
      ceiling("graph_node", "0", "0", 2'400),
      synthetic_row(
          sound_point(
              "gemm",
              {{"dtype", "bf16"}, {"m", "256"}, {"n", "8192"}, {"k", "8192"}, {"algo", "best8"}}),
          60'000),
      synthetic_row(sound_point("decode_attention", {{"kv_dtype", "e4m3"},
                                                     {"query_heads", "32"},
                                                     {"kv_heads", "8"},
                                                     {"head_dim", "128"},
                                                     {"page_tokens", "16"},
                                                     {"lengths", "1x32768,63x512"}}),
                    48'000),
      synthetic_row(sound_point("swap", {{"method", "memcpy_batch"},
                                         {"direction", "to_host"},
                                         {"block_bytes", "262144"},
                                         {"blocks", "256"}}),
                    1'500'000),
      synthetic_row(
          sound_point(
              "rms_norm",
              {{"tokens", "64"}, {"hidden", "4096"}, {"residual", "1"}, {"output", "e4m3"}}),
          3'000),
  };
  rows[5].note = "algorithm 21, \"split-k\" 4";
  rows[6].p10_ns = 47'000;
  rows[6].p90_ns = 53'000;
  rows[6].noisy = true;
  rows[8].l2 = kernels::L2State::warm;
  rows[8].clock_mhz.reset();
  return rows;
}

void write_synthetic_profile(const std::string& folder, const std::string& stopped) {
  kernels::ProfileWriter writer(folder, synthetic_facts(), false);
  for (const MeasuredRow& row : synthetic_rows()) writer.add(row);
  writer.set_clocks({1400, 1500, 512.5});
  writer.add_warning("2 points were skipped: µs \"quoted\"");
  writer.finish(stopped);
}

}  // namespace fleetsim
