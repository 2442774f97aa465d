#include "evals/task/profile.h"

#include <fmt/format.h>

namespace assay {

std::string_view profile_name(Profile profile) { return profile == Profile::main ? "main" : "card-2025-04"; }

Result<Profile> parse_profile(std::string_view name) {
  for (const Profile profile : {Profile::main, Profile::card_2025_04}) {
    if (name == profile_name(profile)) return profile;
  }
  return invalid_argument(fmt::format("--profile {}: expected main or card-2025-04", name));
}

}  // namespace assay
