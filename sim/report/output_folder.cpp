// The marker of a run's folder is its scenario.yaml: its `name` says whose results these are. A
// folder that holds other things is somebody else's and is left alone unless --force is given.

#include "sim/report/output_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "hw_models/check.h"
#include "hw_models/problems.h"
#include "hw_models/yaml_reader.h"

namespace fleetsim {
namespace {

constexpr std::array kRunFiles = {"summary.json",     "scenario.yaml", "requests.csv",
                                  "timeseries.csv",   "report.html",   "report_data.json",
                                  "iterations.jsonl", "trace.json",    "metrics.prom"};
constexpr std::size_t kBufferBytes = 1 << 20;

[[noreturn]] void refuse(const std::string& path, const std::string& message) {
  Problems problems;
  problems.add(path, {}, message);
  throw ConfigError(std::move(problems));
}

/// The `name` in DIR/scenario.yaml, or "" when there is none that can be read.
std::string scenario_name_in(const std::string& folder) {
  const std::string path = folder + "/scenario.yaml";
  if (!std::filesystem::exists(path)) return "";
  Problems ignored;
  const auto tree = parse_yaml(read_whole_file(path), path, ignored);
  const YamlNode* name = tree ? tree->find("name") : nullptr;
  return name ? name->scalar : "";
}

void check_owner(const std::string& path, const std::string& scenario_name) {
  if (std::filesystem::is_empty(path)) return;
  const std::string owner = scenario_name_in(path);
  if (owner == scenario_name) return;
  if (owner.empty())
    refuse(path,
           "the folder is not empty and holds no fleetsim run; choose another with --out, or use "
           "--force");
  refuse(path, fmt::format(
                   "the folder holds results of another scenario, '{}'; choose another with --out, "
                   "or use --force",
                   owner));
}

}  // namespace

OutputFile::OutputFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".tmp") {
  file_ = std::fopen(temporary_.c_str(), "wb");
  if (!file_) fail("cannot create the file");
  std::setvbuf(file_, nullptr, _IOFBF, kBufferBytes);
}

OutputFile::~OutputFile() {
  if (!file_) return;
  std::fclose(file_);
  std::remove(temporary_.c_str());
}

void OutputFile::write(std::string_view text) {
  CHECK(file_ != nullptr, path_ + " is already closed");
  if (!text.empty() && std::fwrite(text.data(), 1, text.size(), file_) != text.size())
    fail("cannot write the file");
}

void OutputFile::commit() {
  CHECK(file_ != nullptr, path_ + " is already closed");
  std::FILE* file = file_;
  file_ = nullptr;
  const bool failed = std::fclose(file) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0;
  if (!failed) return;
  const int reason = errno;
  std::remove(temporary_.c_str());
  errno = reason;
  fail("cannot finish the file");
}

void OutputFile::fail(const char* doing) const {
  refuse(path_, fmt::format("{}: {}", doing, std::strerror(errno)));
}

OutputFolder::OutputFolder(std::string path, const std::string& scenario_name, bool force)
    : path_(std::move(path)) {
  std::error_code error;
  if (std::filesystem::exists(path_, error)) {
    if (!std::filesystem::is_directory(path_)) refuse(path_, "the output folder is a file");
    if (!force) check_owner(path_, scenario_name);
    return;
  }
  std::filesystem::path part;
  for (const auto& step : std::filesystem::path(path_)) {
    part /= step;
    if (!std::filesystem::exists(part, error) && std::filesystem::create_directory(part, error))
      made_.push_back(part.string());
    if (error) refuse(path_, fmt::format("cannot create the output folder: {}", error.message()));
  }
}

OutputFolder::~OutputFolder() {
  if (committed_) return;
  files_.clear();
  std::error_code ignored;
  for (auto folder = made_.rbegin(); folder != made_.rend(); ++folder)
    std::filesystem::remove(*folder, ignored);  // only when empty
}

OutputFile& OutputFolder::open(const std::string& name) {
  files_.push_back({name, std::make_unique<OutputFile>(path_of(name))});
  return *files_.back().file;
}

void OutputFolder::add(const std::string& name, std::string_view text) { open(name).write(text); }

void OutputFolder::commit() {
  std::error_code ignored;
  // From here until summary.json has its name the folder does not look finished.
  std::filesystem::remove(path_of("summary.json"), ignored);
  for (const char* name : kRunFiles) {
    const bool written = std::any_of(files_.begin(), files_.end(),
                                     [&](const Entry& entry) { return entry.name == name; });
    if (!written) std::filesystem::remove(path_of(name), ignored);
  }
  for (Entry& entry : files_)
    if (entry.name != "summary.json") entry.file->commit();
  for (Entry& entry : files_)
    if (entry.name == "summary.json") entry.file->commit();
  committed_ = true;
}

std::vector<std::string> OutputFolder::names() const {
  std::vector<std::string> names;
  for (const Entry& entry : files_) names.push_back(entry.name);
  return names;
}

std::string read_whole_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) refuse(path, fmt::format("cannot read the file: {}", std::strerror(errno)));
  std::string text;
  std::array<char, 65536> block;
  for (std::size_t got; (got = std::fread(block.data(), 1, block.size(), file)) > 0;)
    text.append(block.data(), got);
  const bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) refuse(path, "cannot read the file");
  return text;
}

}  // namespace fleetsim
