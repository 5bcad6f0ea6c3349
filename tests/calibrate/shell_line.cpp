#include "tests/calibrate/shell_line.h"

#include <atomic>
#include <filesystem>

#include "calibrate/child_process.h"

#include "tests/catch.h"

namespace fleetsim {

Ended shell(const ScratchFolder& scratch, const std::string& line, const std::string& script) {
  const std::string kernels = scratch.path("kernels.sh");
  write_file(kernels, "#!/bin/sh\ncd \"$(dirname \"$0\")\"\n" + script + "\n");
  std::filesystem::permissions(kernels, std::filesystem::perms::owner_all);
  const std::string whole = "unset FLEETSIM_KERNELS; FLEETSIM='" + std::string(FLEETSIM_PROGRAM) +
                            "' KERNELS='" + kernels + "' DIR='" + scratch.path("") + "'; " + line;
  Ended ended;
  const std::atomic<int> stops = 0;
  const ProcessEnd end =
      run_process("/bin/sh", {"-c", whole}, "",
                  {[&](const std::string& text) { ended.out += text + "\n"; },
                   [&](const std::string& text) { ended.err += text + "\n"; }, [] {}},
                  stops);
  CHECK(end.signal == 0);
  ended.exit_code = end.exit_code;
  return ended;
}

void check_contains(const std::string& text, const std::string& part) {
  INFO(text << "must hold " << part);
  CHECK(text.find(part) != std::string::npos);
}

}  // namespace fleetsim
