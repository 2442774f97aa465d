#include "engine/text/jinja.h"

#include <doctest/doctest.h>

#include <string>

#include "engine/base/file.h"

using namespace assay;

namespace {

Result<std::string> render(const std::string& source, const Json& variables, const JinjaEnvironment& environment = {}) {
  ASSAY_ASSIGN(const JinjaTemplate parsed, JinjaTemplate::parse(source, "case", environment.limits));
  return parsed.render(variables, environment);
}

Result<std::string> render(const std::string& source) { return render(source, Json::parse("{}", "variables").value()); }

// What jinja2 renders and we refuse by name: constructs that no published chat template uses.
bool may_refuse(const Status& status) { return status.code() == Code::unsupported; }

}  // namespace

TEST_CASE("templates render as Python's jinja2 renders them, and what it refuses is refused") {
  const std::string text = real_files().read("tests/golden/text/jinja_cases.json").value();
  const Json golden = Json::parse(text, "jinja_cases.json").value();
  JinjaEnvironment environment;
  environment.now_utc_us = golden.find("now_utc_us")->as_int();
  size_t refused = 0;
  const Json& cases = *golden.find("cases");
  for (const Json& item : cases.as_array()) {
    const std::string source = item.find("template")->as_string();
    const Result<std::string> ours = render(source, *golden.find("variables"), environment);
    INFO(source);
    if (item.find("error")) {
      CHECK_MESSAGE(!ours.ok(), (ours.ok() ? *ours : std::string()));
      continue;
    }
    if (!ours.ok() && may_refuse(ours.status())) {
      MESSAGE("refused: ", ours.status().message());
      ++refused;
      continue;
    }
    REQUIRE_MESSAGE(ours.ok(), ours.status().message());
    CHECK(*ours == item.find("text")->as_string());
  }
  CHECK(refused <= cases.as_array().size() / 20);
}

TEST_CASE("an error names the template, the line and the reason") {
  const auto parsed = JinjaTemplate::parse("a\nb\n{% if %}", "chat_template", {});
  REQUIRE_FALSE(parsed.ok());
  CHECK(parsed.status().message().find("chat_template line 3") == 0);
  const auto raised = render("one\n{{ raise_exception('roles must alternate') }}");
  REQUIRE_FALSE(raised.ok());
  CHECK(raised.status().message() == "case line 2: roles must alternate");
  CHECK(render("{{ nobody() }}").status().message().find("nobody") != std::string::npos);
}

TEST_CASE("a template that never ends, grows or nests without bound is stopped") {
  CHECK_FALSE(render("{% for i in range(100000000) %}{% endfor %}").ok());
  CHECK_FALSE(render("{% for i in range(3000) %}{% for j in range(3000) %}{% endfor %}{% endfor %}").ok());
  CHECK_FALSE(render("{{ 'a' * 100000000 }}").ok());
  CHECK_FALSE(render("{{ 2 ** 100000 }}").ok());
  CHECK_FALSE(render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").ok());
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "(";
  CHECK_FALSE(render("{{ " + deep).ok());
  std::string blocks;
  for (int i = 0; i < 5000; ++i) blocks += "{% if true %}";
  CHECK_FALSE(render(blocks).ok());
  JinjaEnvironment small;
  small.limits.max_output_bytes = 10;
  CHECK_FALSE(render("{% for i in range(20) %}x{% endfor %}", Json::parse("{}", "variables").value(), small).ok());
}
