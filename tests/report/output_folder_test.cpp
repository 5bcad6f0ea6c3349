// Files appear whole or not at all; a folder of another scenario is left alone.

#include "sim/report/output_folder.h"

#include <filesystem>
#include <fstream>

#include "hw_models/problems.h"
#include "tests/report/scratch_folder.h"

#include "tests/catch.h"

using namespace fleetsim;
namespace fs = std::filesystem;

namespace {

void put(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string refusal(const std::string& path, const std::string& name, bool force = false) {
  try {
    const OutputFolder folder(path, name, force);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a file has its name only after commit, and an older one stays until then") {
  ScratchFolder scratch;
  const std::string path = scratch.path("a.txt");
  put(path, "old");
  {
    OutputFile file(path);
    file.write("half");
    CHECK(fs::exists(path + ".tmp"));
    CHECK(read_whole_file(path) == "old");
  }
  CHECK(read_whole_file(path) == "old");
  CHECK_FALSE(fs::exists(path + ".tmp"));
  OutputFile file(path);
  file.write("new");
  file.commit();
  CHECK(read_whole_file(path) == "new");
  CHECK_FALSE(fs::exists(path + ".tmp"));
}

TEST_CASE("a run that ends before commit leaves nothing, not even the folders made for it") {
  ScratchFolder scratch;
  {
    OutputFolder folder(scratch.path("results/run"), "chat", false);
    folder.add("summary.json", "{}");
    CHECK(fs::exists(scratch.path("results/run/summary.json.tmp")));
  }
  CHECK_FALSE(fs::exists(scratch.path("results")));
}

TEST_CASE(
    "commit names every file and removes outputs of an earlier run that this one does not write") {
  ScratchFolder scratch;
  const std::string dir = scratch.path("run");
  {
    OutputFolder folder(dir, "chat", false);
    folder.add("scenario.yaml", "name: chat\n");
    folder.add("summary.json", "{}");
    folder.add("iterations.jsonl", "{}");
    folder.commit();
  }
  put(dir + "/my-notes.txt", "mine");
  OutputFolder folder(dir, "chat", false);
  folder.add("scenario.yaml", "name: chat\nseed: 2\n");
  folder.add("summary.json", "{\"second\":1}");
  CHECK(read_whole_file(dir + "/summary.json") == "{}");
  folder.commit();
  CHECK(read_whole_file(dir + "/summary.json") == "{\"second\":1}");
  CHECK_FALSE(fs::exists(dir + "/iterations.jsonl"));
  CHECK(fs::exists(dir + "/my-notes.txt"));
}

TEST_CASE("a folder of another scenario, or of something else, is refused without --force") {
  ScratchFolder scratch;
  const std::string dir = scratch.path("run");
  fs::create_directory(dir);
  CHECK(refusal(dir, "chat").empty());  // empty folders are free
  put(dir + "/scenario.yaml", "name: other\nseed: 1\n");
  CHECK(refusal(dir, "chat") == dir +
                                    ": error: the folder holds results of another scenario, "
                                    "'other'; choose another with --out, or use --force\n");
  CHECK(refusal(dir, "chat", true).empty());
  CHECK(refusal(dir, "other").empty());
  fs::remove(dir + "/scenario.yaml");
  put(dir + "/thesis.tex", "x");
  CHECK(refusal(dir, "chat").find("holds no fleetsim run") != std::string::npos);
  CHECK(refusal(dir + "/thesis.tex", "chat").find("the output folder is a file") !=
        std::string::npos);
}
