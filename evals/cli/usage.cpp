#include "evals/cli/usage.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/base/text_util.h"

namespace assay::cli {
namespace {

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(verb->get_name());
  return names;
}

// Every spelling of every option of a verb and of what stands above it.
std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* level = &app; level; level = level->get_parent()) {
    for (const CLI::Option* option : level->get_options()) {
      for (const std::string& name : option->get_snames()) names.push_back("-" + name);
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

const CLI::Option* find_option(const CLI::App& app, const std::string& name) {
  for (const CLI::App* level = &app; level; level = level->get_parent()) {
    if (const CLI::Option* option = level->get_option_no_throw(name)) return option;
  }
  return nullptr;
}

std::string hint(const std::string& word, const std::vector<std::string>& known) {
  const auto near = nearest(word, known);
  return near ? fmt::format("did you mean {}? ", *near) : "";
}

std::string path_of(const CLI::App& app) {
  return app.get_parent() ? path_of(*app.get_parent()) + " " + app.get_name() : app.get_name();
}

// A word that begins an option; a number such as -1 does not.
bool is_option(const std::string& word) {
  return word.size() > 1 && word[0] == '-' && word != "--" && !parse_double(word).has_value();
}

}  // namespace

std::string unknown_word(const CLI::App& app, int argc, const char* const* argv) {
  const CLI::App* verb = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") return "";
    if (is_option(word)) {
      const bool is_long = starts_with(word, "--");
      const std::string name = is_long ? word.substr(0, word.find('=')) : word.substr(0, 2);
      const CLI::Option* option = find_option(*verb, name);
      if (!option)
        return fmt::format("there is no option {}; {}`{} --help` lists them", name, hint(name, options_of(*verb)),
                           path_of(*verb));
      const bool value_inside = is_long ? word.find('=') != std::string::npos : word.size() > 2;
      if (!value_inside && option->get_items_expected_min() > 0) ++i;
      continue;
    }
    const auto verbs = verbs_of(*verb);
    if (verbs.empty()) continue;
    const CLI::App* next = nullptr;
    for (const CLI::App* each : verb->get_subcommands([](const CLI::App*) { return true; })) {
      if (each->get_name() == word) next = each;
    }
    if (!next)
      return fmt::format("there is no verb \"{}\"; {}`{} --help` lists them", word, hint(word, verbs), path_of(*verb));
    verb = next;
  }
  return "";
}

}  // namespace assay::cli
