#pragma once

#include <string>

namespace CLI {
class App;
}

namespace assay::cli {

// One line about the first word of a command line that no verb or option fits, naming the nearest one that exists; ""
// when every word fits.
std::string unknown_word(const CLI::App& app, int argc, const char* const* argv);

}  // namespace assay::cli
