#pragma once

#include <string_view>

namespace assay {

// The launcher library and the Python sources of a run travel inside the program.
std::string_view embedded_launcher_library();
std::string_view embedded_host_source();
std::string_view embedded_runner_source();

}  // namespace assay
