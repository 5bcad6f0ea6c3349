#pragma once
// Output files that appear whole or not at all, and the folder of a run that holds them.

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fleetsim {

/// A file written under a temporary name (`PATH.tmp`) and renamed by commit(). Destroyed without
/// commit it leaves nothing behind and an older file of that name as it was.
/// Errors: ConfigError naming the file and the system's reason (no space, no permission, ...).
class OutputFile {
 public:
  explicit OutputFile(std::string path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view text);
  /// Closes the temporary file and gives it its name.
  void commit();
  const std::string& path() const { return path_; }

 private:
  [[noreturn]] void fail(const char* doing) const;
  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
};

/// The folder of one run. Files are opened while it runs and get their names together in commit(),
/// summary.json last, so that a killed run never leaves a folder that looks finished.
class OutputFolder {
 public:
  /// Makes `path` ready for a run of the scenario called `scenario_name`.
  /// Errors: ConfigError when `path` is a file, cannot be made, or holds anything but a run of the
  /// same scenario and `force` is not set.
  OutputFolder(std::string path, const std::string& scenario_name, bool force);
  /// Without commit nothing stays: neither temporary files nor folders that were made for them.
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  /// Opens DIR/name for writing; it gets its name in commit().
  OutputFile& open(const std::string& name);
  void add(const std::string& name, std::string_view text);
  /// Renames everything that was opened; outputs of an earlier run that this one does not write go
  /// away.
  void commit();

  const std::string& path() const { return path_; }
  std::string path_of(const std::string& name) const { return path_ + "/" + name; }
  std::vector<std::string> names() const;

 private:
  struct Entry {
    std::string name;
    std::unique_ptr<OutputFile> file;
  };
  std::string path_;
  std::vector<Entry> files_;
  std::vector<std::string> made_;  // folders that did not exist, outermost first
  bool committed_ = false;
};

/// The whole text of a file. Errors: ConfigError naming it.
std::string read_whole_file(const std::string& path);

}  // namespace fleetsim
