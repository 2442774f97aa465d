#include "engine/runtime/stop.h"

#include <doctest/doctest.h>

#include <random>

namespace assay {
namespace {

TEST_CASE("a stop string inside one piece is found where it begins") {
  StopWatcher watcher({"\n\n"});
  CHECK_FALSE(watcher.append("one\n"));
  const auto hit = watcher.append("two\n\nthree");
  REQUIRE(hit);
  CHECK(hit->text_bytes == 7);
  CHECK(watcher.text().substr(0, hit->text_bytes) == "one\ntwo");
}

TEST_CASE("a stop string is found across the edges of pieces") {
  StopWatcher watcher({"Question:"});
  CHECK_FALSE(watcher.append("4 Que"));
  CHECK_FALSE(watcher.append("sti"));
  CHECK_FALSE(watcher.append("on"));
  const auto hit = watcher.append(": 5");
  REQUIRE(hit);
  CHECK(hit->text_bytes == 2);
}

TEST_CASE("the earliest match wins, then the first in the list") {
  StopWatcher by_start({"cd", "bcde"});
  const auto earliest = by_start.append("abcdef");
  REQUIRE(earliest);
  CHECK(earliest->text_bytes == 1);
  CHECK(earliest->stop_index == 1);

  StopWatcher by_order({"abc", "ab"});
  const auto listed = by_order.append("xabc");
  REQUIRE(listed);
  CHECK(listed->stop_index == 0);
}

TEST_CASE("without stop strings nothing stops") {
  StopWatcher watcher({});
  CHECK_FALSE(watcher.append("anything"));
  CHECK(watcher.pending_bytes() == 0);
}

TEST_CASE("what may still become a stop string or a character is pending") {
  StopWatcher watcher({"</s>", "\n\n"});
  watcher.append("text\n");
  CHECK(watcher.pending_bytes() == 1);
  watcher.append("x</");
  CHECK(watcher.pending_bytes() == 2);
  watcher.append("b\xE2\x82");
  CHECK(watcher.pending_bytes() == 2);
  watcher.append("\xAC");
  CHECK(watcher.pending_bytes() == 0);
}

TEST_CASE("how text is cut into pieces does not move the first stop string") {
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    std::string text(1 + random() % 40, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 2);
    const std::string stop = text.substr(random() % text.size(), 1 + random() % 5);
    StopWatcher watcher({stop});
    std::optional<StopWatcher::Hit> hit;
    for (size_t at = 0; at < text.size() && !hit;) {
      const size_t length = 1 + random() % 3;
      hit = watcher.append(std::string_view(text).substr(at, length));
      at += length;
    }
    REQUIRE(hit);
    CHECK(hit->text_bytes == text.find(stop));
  }
}

}  // namespace
}  // namespace assay
