// The door to yaml-cpp: positions, and what hostile files get instead of a crash.

#include "hw_models/yaml_reader.h"

#include <string>

#include "tests/catch.h"

namespace fleetsim {
namespace {

std::string faults_of(const std::string& text) {
  Problems problems;
  parse_yaml(text, "f", problems);
  return problems.text();
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("positions count lines and columns from 1", "[unit]") {
  Problems problems;
  const auto root = parse_yaml("a: 1\nb:\n  - x\n  - {c: \"y\"}\n", "f", problems);
  REQUIRE(root.has_value());
  CHECK(problems.empty());
  REQUIRE(root->kind == YamlNode::Kind::map);
  CHECK(root->entries[1].position.line == 2);
  CHECK(root->entries[1].position.column == 1);
  const YamlNode* list = root->find("b");
  REQUIRE(list != nullptr);
  REQUIRE(list->items.size() == 2);
  CHECK(list->items[0].position.line == 3);
  CHECK(list->items[0].position.column == 5);
  CHECK_FALSE(list->items[0].quoted);
  const YamlNode* quoted = list->items[1].find("c");
  REQUIRE(quoted != nullptr);
  CHECK(quoted->quoted);
  CHECK(quoted->scalar == "y");
  CHECK(root->find("z") == nullptr);
}

TEST_CASE("a key without a value is null and stands where its key stands", "[unit]") {
  Problems problems;
  const auto root = parse_yaml("a:\nb: ~\n", "f", problems);
  REQUIRE(root.has_value());
  CHECK(root->find("a")->kind == YamlNode::Kind::null_value);
  CHECK(root->find("a")->position.line == 1);
  CHECK(root->find("b")->kind == YamlNode::Kind::null_value);
  CHECK(root->find("b")->position.line == 2);
}

TEST_CASE("nesting is followed to 64 levels and no deeper", "[unit]") {
  CHECK(faults_of("a: " + repeated("[", 63) + "1" + repeated("]", 63)) == "");
  CHECK(faults_of("a: " + repeated("[", 64) + "1" + repeated("]", 64)) ==
        "f:1:67: error: nested deeper than 64 levels\n");
  CHECK(faults_of("a: " + repeated("{b: ", 80) + "1" + repeated("}", 80)) ==
        "f:1:256: error: nested deeper than 64 levels\n");
  CHECK(faults_of(repeated("- ", 100000) + "1") ==
        "f:1:129: error: nested deeper than 64 levels\n");
}

TEST_CASE("a YAML bomb is refused at its first anchor", "[unit]") {
  CHECK(faults_of("a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n") ==
        "f:1:4: error: anchors ('&name') are not supported; write the value out\n");
}

TEST_CASE("sizes have limits", "[unit]") {
  CHECK(faults_of("a: " + std::string(10'000'000, 'x')) ==
        "f:1:1: error: the line is longer than 1000000 bytes\n");
  CHECK(faults_of(repeated("a: b\n", 3'200'001)) ==
        "f: error: the file has 16000005 bytes; at most 16000000 are read\n");
  CHECK(faults_of("[" + repeated("a,\n", 1'100'000) + "]") ==
        "f:1000001:1: error: more than 1000000 values in one file\n");
}

TEST_CASE("UTF-8 is taken where it is well formed", "[unit]") {
  CHECK(faults_of("a: \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n") == "");
  CHECK(faults_of("\xef\xbb\xbf"
                  "a: 1\n") == "");
  CHECK(faults_of("a: \xed\xa0\x80\n") == "f:1:4: error: byte 0xed is not UTF-8\n");  // surrogate
  CHECK(faults_of("a: \xf4\x90\x80\x80\n") == "f:1:4: error: byte 0xf4 is not UTF-8\n");  // beyond
  CHECK(faults_of("a: \xe2\x82") == "f:1:4: error: byte 0xe2 is not UTF-8\n");            // cut off
}

TEST_CASE("tabs are refused as indentation only", "[unit]") {
  CHECK(faults_of("a:\n\tb: 1\n") == "f:2:1: error: tab used as indentation; YAML wants spaces\n");
  CHECK(faults_of("a:\n  \tb: 1\n") ==
        "f:2:3: error: tab used as indentation; YAML wants spaces\n");
  CHECK(faults_of("a: 1\t# why\n\t\n\t# more\nb: 2\n") == "");
}

TEST_CASE("a document and its end are one document", "[unit]") {
  CHECK(faults_of("---\na: 1\n...\n") == "");
  CHECK(faults_of("a: 1\n---\nb: 2\n") ==
        "f:2:1: error: a second document begins; a file holds one\n");
}

TEST_CASE("the user's text is shown on one line and cut", "[unit]") {
  CHECK(shown("a\nb\x01") == "a\\nb\\x01");
  CHECK(shown(std::string(200, 'x')) == std::string(80, 'x') + "...");
  CHECK(faults_of("\"a\\nb\": 1\n\"a\\nb\": 2\n") ==
        "f:2:1: error: duplicate key 'a\\nb', first given in line 1\n");
}

}  // namespace fleetsim
