// Our own YAML files: linked in, and read so strictly that a slip is a failed start, not a wrong
// figure.

#include "hw_models/catalogue_file.h"

#include "embedded/gpus.h"
#include "embedded/models.h"
#include "hw_models/check.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/model_spec.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

YamlNode parsed(const char* text) { return CatalogueMap::parse({"test.yaml", text}); }

}  // namespace

TEST_CASE("the catalogues are inside the program, in the order of their names", "[unit]") {
  const auto gpus = embedded_gpus();
  REQUIRE(gpus.size() == gpu_names().size());
  for (std::size_t i = 1; i < gpus.size(); ++i) CHECK(gpus[i - 1].name < gpus[i].name);
  for (const EmbeddedFile& file : gpus) {
    CHECK(file.content.find("\nname: ") != std::string_view::npos);
    CHECK(file.content.back() == '\n');
  }
  CHECK(embedded_models().size() == model_names().size());
}

TEST_CASE("a figure without unit or source, and a key nobody reads, are faults", "[unit]") {
  const YamlNode good = parsed("tdp: {value: 700 W, source: \"datasheet\"}\n");
  CHECK(CatalogueMap(good, "x").quantity("tdp", Dimension::watts).value == 700);
  CHECK(CatalogueMap(good, "x").quantity("tdp", Dimension::watts).source == "datasheet");
  CHECK_THROWS_AS(CatalogueMap(good, "x").quantity("tdp", Dimension::seconds), InternalError);
  CHECK_THROWS_AS(CatalogueMap(good, "x").finish(), InternalError);
  const YamlNode bare = parsed("tdp: {value: 700, source: \"datasheet\"}\n");
  CHECK_THROWS_AS(CatalogueMap(bare, "x").quantity("tdp", Dimension::watts), InternalError);
  const YamlNode unsourced = parsed("tdp: {value: 700 W}\n");
  CHECK_THROWS_AS(CatalogueMap(unsourced, "x").quantity("tdp", Dimension::watts), InternalError);
  CHECK_THROWS_AS(parsed("a: 1\na: 2\n"), InternalError);
}
