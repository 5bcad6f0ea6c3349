// Every row goes to its file at once, then the manifest is written anew beside the old one and
// takes its name. The manifest counts the bytes of each table that it vouches for, so that a run
// killed between the two leaves a folder that can be loaded without that last row.

#include "kernels/measure/profile_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.yaml";

/// GPUs of hw_models/gpus by the names that their drivers give them.
struct KnownGpu {
  std::string_view device_name, slug;
};
constexpr KnownGpu kKnownGpus[] = {
    {"NVIDIA H200", "h200-sxm"},
    {"NVIDIA H100 80GB HBM3", "h100-sxm"},
    {"NVIDIA A100-SXM4-80GB", "a100-80gb-sxm"},
    {"NVIDIA B200", "b200-sxm"},
    {"NVIDIA L40S", "l40s"},
    {"NVIDIA A10", "a10"},
    {"NVIDIA GeForce RTX 4090", "rtx4090"},
    {"NVIDIA GeForce RTX 5090", "rtx5090"},
};

/// Shortest text that reads back to the same number.
std::string number_text(double value) {
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  CHECK(error == std::errc());
  return std::string(text.data(), end);
}

/// Length of the UTF-8 character that `text` begins with; 0 when the bytes are none (RFC 3629).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool outside = (first == 0xED && second >= 0xA0) || (first == 0xF4 && second >= 0x90);
  return overlong || outside ? 0 : length;
}

/// A YAML double-quoted scalar on one line: text reads back as it was; bytes that are no UTF-8,
/// which no YAML file may hold, become question marks.
std::string yaml_string(std::string_view text) {
  constexpr const char* kHex = "0123456789abcdef";
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const auto byte = static_cast<unsigned char>(text.front());
    if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    } else if (length == 0) {
      out += '?';
    } else {
      if (byte == '"' || byte == '\\') out += '\\';
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out + "\"";
}

template <class Number>
std::string optional_text(const std::optional<Number>& value) {
  if (!value) return "null";
  if constexpr (std::is_floating_point_v<Number>)
    return number_text(*value);
  else
    return std::to_string(*value);
}

/// RFC 4180: quoted where a comma, a quote or a blank at an end would be lost. Line ends and
/// control characters become blanks: a row is one line.
std::string csv_field(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == '\x7f') c = ' ';
  if (text.find_first_of(",\"") == std::string::npos &&
      (text.empty() || (text.front() != ' ' && text.back() != ' ')))
    return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

[[noreturn]] void fail(const std::string& path, const std::string& doing, int error) {
  throw ProfileFault(path + ": " + doing + ": " + std::strerror(error));
}

void write_all(std::FILE* file, const std::string& path, std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), file) != text.size() || std::fflush(file) != 0)
    fail(path, "cannot write", errno);
}

/// Takes away what an earlier profile left; everything else stays.
void remove_profile_files(const std::string& folder) {
  fs::remove(folder + "/" + kManifest);
  for (const OperatorAxes& family : operator_axes()) fs::remove(folder + "/" + family.file);
}

void make_ready(const std::string& folder, bool force) {
  try {
    if (fs::exists(folder) && !fs::is_directory(folder))
      throw ProfileFault(folder + ": is a file; a profile is a folder");
    fs::create_directories(folder);
    if (fs::is_empty(folder)) return;
    if (!force)
      throw ProfileFault(folder +
                         ": holds files already; name another folder with --out, or overwrite the "
                         "profile in it with --force");
    remove_profile_files(folder);
  } catch (const fs::filesystem_error& error) {
    throw ProfileFault(folder + ": cannot be used: " + error.code().message());
  }
}

std::string list_text(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& one : words) text += (text.empty() ? "" : ", ") + one;
  return "[" + text + "]";
}

std::string ceilings_text(const Ceilings& ceilings) {
  std::string text;
  for (const CeilingFigure& figure : ceiling_figures()) {
    const double value = ceilings.*figure.value;
    text +=
        std::string("  ") + figure.name + ": " + (value > 0 ? number_text(value) : "null") + "\n";
  }
  return text;
}

}  // namespace

std::string gpu_slug(std::string_view device_name) {
  for (const KnownGpu& gpu : kKnownGpus)
    if (gpu.device_name == device_name) return std::string(gpu.slug);
  if (device_name.starts_with("NVIDIA ")) device_name.remove_prefix(7);
  std::string slug;
  for (const char c : device_name) {
    const bool digit = c >= '0' && c <= '9', lower = c >= 'a' && c <= 'z';
    if (digit || lower)
      slug += c;
    else if (c >= 'A' && c <= 'Z')
      slug += static_cast<char>(c - 'A' + 'a');
    else if (!slug.empty() && slug.back() != '-')
      slug += '-';
  }
  while (!slug.empty() && slug.back() == '-') slug.pop_back();
  return slug.empty() ? "unknown-gpu" : slug;
}

std::string default_profile_folder(std::string_view device_name, std::string_view started_utc) {
  return "hw_models/profiles/" + gpu_slug(device_name) + "/" +
         std::string(started_utc.substr(0, 10));
}

const std::vector<std::string>& result_columns() {
  static const std::vector<std::string> columns = {
      "l2", "median_ns", "p10_ns", "p90_ns", "samples", "clock_mhz", "check_err", "noisy", "note"};
  return columns;
}

std::string csv_header(const OperatorAxes& family) {
  std::string line = "op";
  for (const Axis& axis : family.axes) line += "," + axis.name;
  for (const std::string& column : result_columns()) line += "," + column;
  return line;
}

std::string csv_line(const MeasuredRow& row) {
  std::string line = row.point.op();
  for (const auto& [axis, value] : row.point.values()) line += "," + csv_field(value);
  line += row.l2 == L2State::cold ? ",cold" : ",warm";
  for (const std::int64_t time : {row.median_ns, row.p10_ns, row.p90_ns, row.n})
    line += "," + std::to_string(time);
  line += "," + (row.clock_mhz ? std::to_string(*row.clock_mhz) : "");
  line += "," + number_text(row.check_err);
  line += row.noisy ? ",1," : ",0,";
  return line + csv_field(row.note);
}

ProfileWriter::ProfileWriter(std::string folder, RunFacts facts, bool force)
    : folder_(std::move(folder)), facts_(std::move(facts)) {
  make_ready(folder_, force);
  write_manifest();
}

ProfileWriter::~ProfileWriter() {
  for (Table& table : tables_) std::fclose(table.file);
}

ProfileWriter::Table& ProfileWriter::table_of(const OperatorAxes& family) {
  for (Table& table : tables_)
    if (table.family == &family) return table;
  const std::string path = folder_ + "/" + family.file;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) fail(path, "cannot open", errno);
  tables_.push_back({&family, file, {}, 0, 0});
  append(tables_.back(), csv_header(family) + "\n");
  return tables_.back();
}

void ProfileWriter::append(Table& table, const std::string& line) {
  write_all(table.file, folder_ + "/" + table.family->file, line);
  table.hash.add(line);
  table.bytes += std::ssize(line);
}

void ProfileWriter::add(const MeasuredRow& row) {
  CHECK(row.p10_ns > 0 && row.p10_ns <= row.median_ns && row.median_ns <= row.p90_ns && row.n >= 1,
        row.point.text());
  CHECK(std::isfinite(row.check_err) && row.check_err >= 0, row.point.text());
  Table& table = table_of(row.point.family());
  append(table, csv_line(row) + "\n");
  ++table.rows;
  ++rows_;
  add_ceiling(ceilings_, row);
  write_manifest();
}

void ProfileWriter::add_warning(const std::string& text) { warnings_.push_back(text); }

void ProfileWriter::finish(const std::string& stopped) {
  complete_ = stopped.empty();
  stopped_ = stopped;
  write_manifest();
}

void ProfileWriter::write_manifest() const {
  const std::string path = folder_ + "/" + kManifest, temporary = path + ".tmp";
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (file == nullptr) fail(temporary, "cannot open", errno);
  try {
    write_all(file, temporary, manifest());
  } catch (...) {
    std::fclose(file);
    throw;
  }
  if (std::fclose(file) != 0) fail(temporary, "cannot write", errno);
  if (std::rename(temporary.c_str(), path.c_str()) != 0) fail(path, "cannot rename to", errno);
}

std::string ProfileWriter::manifest() const {
  const MeasuredDevice& device = facts_.device;
  std::string text =
      "# Written by fleetsim-kernels. Times in the tables are measured, not fitted.\n";
  text += std::string("schema: ") + kProfileSchema + "\nsource: measured\ndevice:\n";
  text += "  name: " + yaml_string(device.name) + "\n";
  text += "  sm: " + std::to_string(device.sm) + "\n  sms: " + std::to_string(device.sms) + "\n";
  text += "  l2_bytes: " + std::to_string(device.l2_bytes) + "\n";
  text += "  mem_bytes: " + std::to_string(device.mem_bytes) + "\n";
  text +=
      "  driver: " + yaml_string(device.driver) + "\n  cuda: " + yaml_string(device.cuda) + "\n";
  text += "  runtime: " + yaml_string(device.runtime) + "\n  vbios: " + yaml_string(device.vbios) +
          "\n";
  text += "host:\n  cpu: " + yaml_string(facts_.host.cpu) + "\n";
  text += "  kernel: " + yaml_string(facts_.host.kernel) + "\n";
  text += "software:\n  git_rev: " + yaml_string(facts_.software.git_rev) + "\n";
  text += std::string("  dirty: ") + (facts_.software.dirty ? "true" : "false") + "\n";
  text += "  nvcc: " + yaml_string(facts_.software.nvcc) + "\n";
  text += "  cublaslt: " + yaml_string(facts_.software.cublaslt) + "\n";
  text += "  flags: " + yaml_string(facts_.software.flags) + "\n";
  std::vector<std::string> order;
  for (const Table& table : tables_) order.push_back(table.family->op);
  text += "run:\n  started_utc: " + yaml_string(facts_.started_utc) + "\n";
  text += "  seed: " + std::to_string(facts_.seed) + "\n";
  text += "  budget_s: " + std::to_string(facts_.budget_s) + "\n";
  text += "  order: " + list_text(order) + "\n";
  text += std::string("  complete: ") + (complete_ ? "true" : "false") + "\n";
  text += "  stopped: " + yaml_string(stopped_) +
          "\n  warnings:" + (warnings_.empty() ? " []\n" : "\n");
  for (const std::string& warning : warnings_) text += "    - " + yaml_string(warning) + "\n";
  text += "ceilings:\n" + ceilings_text(ceilings_);
  text += "clocks:\n  sm_mhz_min: " + optional_text(clocks_.sm_mhz_min) + "\n";
  text += "  sm_mhz_median: " + optional_text(clocks_.sm_mhz_median) + "\n";
  text += "  power_w_median: " + optional_text(clocks_.power_w_median) + "\n";
  text += std::string("tables:") + (tables_.empty() ? " []\n" : "\n");
  for (const Table& table : tables_) {
    std::vector<std::string> axes, units;
    for (const Axis& axis : table.family->axes) {
      axes.push_back(axis.name);
      if (!axis.unit.empty()) units.push_back(axis.name + ": " + axis.unit);
    }
    std::string units_text = list_text(units);
    units_text.front() = '{';
    units_text.back() = '}';
    text += "  - file: " + table.family->file + "\n";
    text += "    op: " + table.family->op + "\n";
    text += "    rows: " + std::to_string(table.rows) + "\n";
    text += "    bytes: " + std::to_string(table.bytes) + "\n";
    text += "    sha256: \"" + table.hash.hex() + "\"\n";
    text += "    axes: " + list_text(axes) + "\n    units: " + units_text + "\n";
  }
  return text;
}

}  // namespace fleetsim::kernels
