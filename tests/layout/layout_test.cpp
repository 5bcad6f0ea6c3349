// The tree keeps its arrows and doors; and the checker sees each kind of fault, so that its silence
// means something.

#include <algorithm>
#include <string>
#include <vector>

#include "tests/layout/source_rules.h"

#include "tests/catch.h"

using fleetsim::layout::broken_rules;
using fleetsim::layout::cmake_folder_order;
using fleetsim::layout::folder_order;
using fleetsim::layout::project_files;
using fleetsim::layout::SourceFile;

namespace {

using Faults = std::vector<std::string>;

Faults faults_of(const std::string& path, const std::string& text) {
  return broken_rules({{path, text}});
}

}  // namespace

TEST_CASE("the project keeps its arrows, doors, names and lengths", "[layout]") {
  const std::vector<SourceFile> files = project_files(FLEETSIM_SOURCE_DIR);
  for (const char* known : {"CMakeLists.txt", "hw_models/check.h", "sim/app/main.cpp",
                            "scenarios/chat-2k-rps.yaml", "tests/layout/layout_test.cpp"}) {
    CAPTURE(known);
    CHECK(std::any_of(files.begin(), files.end(),
                      [&](const SourceFile& file) { return file.path == known; }));
  }
  CHECK(broken_rules(files) == Faults{});
}

TEST_CASE("CMake links the folders in the order of the arrows", "[layout]") {
  const std::vector<SourceFile> files = project_files(FLEETSIM_SOURCE_DIR);
  const auto cmake = std::find_if(files.begin(), files.end(), [](const SourceFile& file) {
    return file.path == "CMakeLists.txt";
  });
  REQUIRE(cmake != files.end());
  std::vector<std::string> libraries = folder_order();
  libraries.pop_back();  // sim/app is the program
  // kernels/ has a CMake file of its own
  std::erase_if(libraries, [](const std::string& f) { return f.starts_with("kernels/"); });
  CHECK(cmake_folder_order(cmake->text) == libraries);
  CHECK(cmake_folder_order(
            "fleetsim_library(b sim/b x)\n  fleetsim_library(no)\nfleetsim_library(a sim/a)\n") ==
        std::vector<std::string>{"sim/b", "sim/a"});
}

TEST_CASE("an include against an arrow is a fault, along it or within a folder none", "[layout]") {
  CHECK(faults_of("sim/core/x.cpp", "#include \"sim/scenario/scenario.h\"\n") ==
        Faults{"sim/core/x.cpp:1: sim/core is below sim/scenario and must not include it"});
  CHECK(faults_of("hw_models/x.cpp", "\n#  include \"sim/core/sim_time.h\"\n") ==
        Faults{"hw_models/x.cpp:2: hw_models is below sim/core and must not include it"});
  CHECK(faults_of("sim/engine/x.cpp", "#include \"tests/catch.h\"\n") ==
        Faults{"sim/engine/x.cpp:1: sim/engine must not include tests"});
  CHECK(faults_of("sim/fleet/x.cpp", "#include \"fleet.h\"\n") ==
        Faults{"sim/fleet/x.cpp:1: 'fleet.h' must be included from the project's root"});
  CHECK(faults_of("sim/drawer/x.cpp", "").size() == 1);
  CHECK(faults_of("sim/engine/x.cpp",
                  "#include \"hw_models/check.h\"\n#include \"sim/engine/replica.h\"\n"
                  "#include \"sim/metrics/meter.h\"\n")
            .empty());
  CHECK(faults_of("tests/fleet/x.cpp", "#include \"sim/app/run_command.h\"\n").empty());
}

TEST_CASE("of two folders at most one may include the other", "[layout]") {
  for (const std::string& a : folder_order())
    for (const std::string& b : folder_order()) {
      if (a == b) continue;
      const bool there = faults_of(a + "/x.cpp", "#include \"" + b + "/y.h\"\n").empty();
      const bool back = faults_of(b + "/y.cpp", "#include \"" + a + "/x.h\"\n").empty();
      CAPTURE(a, b);
      CHECK_FALSE((there && back));
    }
}

TEST_CASE("the simulator includes neither kernels nor calibrate, kernels only CHECK from outside",
          "[layout]") {
  CHECK(faults_of("sim/engine/x.cpp", "#include \"kernels/measure/point.h\"\n").size() == 1);
  CHECK(faults_of("sim/report/x.cpp", "#include \"calibrate/profile.h\"\n").size() == 1);
  CHECK(faults_of("sim/app/x.cpp", "#include \"calibrate/profile.h\"\n").empty());
  CHECK(faults_of("calibrate/x.cpp", "#include \"kernels/measure/point.h\"\n").empty());
  CHECK(faults_of("hw_models/x.cpp", "#include \"kernels/device/warp.h\"\n").size() == 1);
  CHECK(faults_of("kernels/device/x.cu", "#include \"hw_models/check.h\"\n").empty());
  CHECK(faults_of("kernels/device/x.cu", "#include \"hw_models/units.h\"\n").size() == 1);
  CHECK(faults_of("kernels/operators/x.cu", "#include <cuda_runtime.h>\n").size() == 1);
  CHECK(faults_of("kernels/operators/x.cu", "#include \"kernels/checks/check.h\"\n").size() == 1);
}

TEST_CASE("a library that comes in by another door is a fault", "[layout]") {
  CHECK(faults_of("sim/app/x.cpp", "#include <yaml-cpp/yaml.h>\n") ==
        Faults{"sim/app/x.cpp:1: <yaml-cpp/yaml.h> comes in by hw_models/yaml_reader.cpp only"});
  CHECK(faults_of("sim/report/x.cpp", "#include <CLI/CLI.hpp>\n").size() == 1);
  CHECK(faults_of("sim/engine/x.cpp", "#include <nlohmann/json.hpp>\n").size() == 1);
  CHECK(faults_of("sim/report/x.cpp", "#include <zlib.h>\n").size() == 1);
  CHECK(faults_of("tests/core/x.cpp", "#include <catch2/catch.hpp>\n").size() == 1);
  CHECK(faults_of("sim/core/x.cpp", "#include <random>\n").size() == 1);
  CHECK(faults_of("tests/core/x.cpp", "#include <random>\n").empty());
  CHECK(faults_of("sim/app/x.cpp", "#include <CLI/CLI.hpp>\n#include <vector>\n").empty());
  CHECK(faults_of("sim/report/x.cpp", "#include <nlohmann/json.hpp>\n").empty());
}

TEST_CASE("a header without guard or first words is a fault", "[layout]") {
  CHECK(faults_of("sim/core/x.h", "// Words.\n") ==
        Faults{"sim/core/x.h:1: a header begins with '#pragma once'",
               "sim/core/x.h:2: a header says in its second line what it holds"});
  CHECK(faults_of("sim/core/x.h", "#pragma once\n\nstruct X {};\n").size() == 1);
  CHECK(faults_of("sim/core/x.h", "#pragma once\n// What X is.\n").empty());
}

TEST_CASE("a drawer, a file too long and a home folder are faults", "[layout]") {
  CHECK(faults_of("sim/core/request_utils.cpp", "").size() == 1);
  CHECK(faults_of("sim/core/misc.cpp", "").size() == 1);
  CHECK(faults_of("scripts/helper", "").size() == 1);
  CHECK(faults_of("sim/core/utilisation.cpp", "").empty());
  CHECK(faults_of("sim/core/long.cpp", std::string(801, '\n')) ==
        Faults{"sim/core/long.cpp:801: more than 800 lines"});
  CHECK(faults_of("sim/core/long.cpp", std::string(800, '\n')).empty());
  CHECK(faults_of("README.md",
                  "see\n/ho"
                  "me/somebody/x\n") == Faults{"README.md:2: names somebody's home folder"});
}
