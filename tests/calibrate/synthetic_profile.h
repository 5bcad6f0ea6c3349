#pragma once
// A tiny profile of invented figures in a folder of its own, for tests that read, break and judge
// profiles. No GPU printed any of its numbers.

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/measure/measured_row.h"
#include "kernels/measure/run_facts.h"

namespace fleetsim {

/// A folder below the system's temporary one that goes away with this value.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string text_of_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);
/// Replaces `from`, which must stand in the file, by `to`.
void edit_file(const std::string& path, const std::string& from, const std::string& to);

kernels::RunFacts synthetic_facts();
/// A row whose times are all `ns`.
kernels::MeasuredRow synthetic_row(const kernels::Point& point, std::int64_t ns);
/// Ceilings of 4295 GB/s, 733 TFLOP/s bf16 and 50 GB/s each way, a GEMM, a ragged decode, a swap
/// and a warm norm, all above their floors.
std::vector<kernels::MeasuredRow> synthetic_rows();
/// Writes them to `folder`. `stopped`: as ProfileWriter::finish takes it.
void write_synthetic_profile(const std::string& folder, const std::string& stopped = "");

}  // namespace fleetsim
