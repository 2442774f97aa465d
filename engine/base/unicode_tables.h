#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace assay {

// Case mappings to more than one code point, and the two properties that the final-sigma rule needs. Private to base.
// Source: Unicode Character Database 14.0, SpecialCasing.txt (the unconditional entries) and DerivedCoreProperties.txt.
struct SpecialCasing {
  char32_t from;
  std::array<char32_t, 3> upper;  // unused places are 0
  std::array<char32_t, 3> title;
};

struct CodePointRange {
  char32_t first;
  char32_t last;
};

// Sorted by `from`; every code point whose full upper case is longer than one code point.
std::span<const SpecialCasing> special_casings();
// Cased, beyond the general categories Lu, Ll and Lt. Sorted.
std::span<const CodePointRange> other_cased();
// Case_Ignorable, beyond the general categories Mn, Me, Cf, Lm and Sk. Sorted.
std::span<const CodePointRange> other_case_ignorable();

}  // namespace assay
