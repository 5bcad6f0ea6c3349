#pragma once
// The rules of ARCHITECTURE.md that a reader of includes and file names can check.

#include <cstdint>
#include <string>
#include <vector>

namespace fleetsim::layout {

/// One text file of the project.
struct SourceFile {
  std::string path;  // from the project's root, with slashes: "sim/core/sim_time.h"
  std::string text;
};

/// Folders from the bottom to the top: a file includes its own folder and those before it.
const std::vector<std::string>& folder_order();

/// Broken rules as "path:line: what", files in the order given. Empty: all rules hold.
/// C++ files: arrows between folders, the one door of each library, includes from the root, headers
/// that begin with `#pragma once` and a comment, at most 800 lines. All files: names, home folders.
std::vector<std::string> broken_rules(const std::vector<SourceFile>& files);

/// The folders of the `fleetsim_library(name folder ...)` lines of a CMakeLists.txt, in their
/// order.
std::vector<std::string> cmake_folder_order(const std::string& cmake_text);

/// All text files that people write below `root`: folders of code, scenarios, charts, scripts,
/// pages. Sorted by path. Errors: std::filesystem::filesystem_error for an unreadable folder.
std::vector<SourceFile> project_files(const std::string& root);

}  // namespace fleetsim::layout
