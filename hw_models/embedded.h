#pragma once
// A data file that was linked into the program by fleetsim_embed (cmake/embed.cmake).

#include <string_view>

namespace fleetsim {

/// Both views live as long as the program.
struct EmbeddedFile {
  std::string_view name;     // file name with extension, no folder: "h100-sxm.yaml"
  std::string_view content;  // the bytes of the file
};

}  // namespace fleetsim
