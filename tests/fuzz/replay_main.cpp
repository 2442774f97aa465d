// Runs a fuzz target without a fuzzing compiler: every corpus file as it is, then mutations of them for some seconds.
//   NAME_fuzz [--seconds N] [--seed N] FILE_OR_FOLDER...
// The same seed tries the same inputs in the same order. An input that ends the process (a failed check, a sanitizer's
// report) is left in the current folder as crash-<seed>-<number>; give that file to replay it.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// Sanitizers end the process by a signal too, so that the input is saved.
extern "C" const char* __asan_default_options() { return "abort_on_error=1"; }
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1"; }

namespace {

constexpr size_t kMaxInputBytes = 64 * 1024;

// What a crash handler needs of the input under test; fixed storage, as a handler may not allocate.
std::string current_input;
char crash_file[64];

void save_current_input() {
  const int fd = ::open(crash_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return;
  const ssize_t written = ::write(fd, current_input.data(), current_input.size());
  static_cast<void>(written);
  ::close(fd);
}

extern "C" void on_crash(int signal) {
  save_current_input();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(const std::string& input, uint64_t seed, uint64_t number) {
  current_input = input;
  std::snprintf(crash_file, sizeof(crash_file), "crash-%llu-%llu", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(number));
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(current_input.data()), current_input.size());
}

std::vector<std::string> read_corpus(const std::vector<std::filesystem::path>& places) {
  std::vector<std::filesystem::path> files;
  for (const auto& place : places) {
    if (!std::filesystem::is_directory(place)) {
      files.push_back(place);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(place)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> corpus;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return corpus;
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  std::string mutate(const std::vector<std::string>& corpus) {
    std::string input = corpus[below(corpus.size())];
    const size_t changes = 1 + below(5);
    for (size_t i = 0; i < changes; ++i) change(input, corpus);
    input.resize(std::min(input.size(), kMaxInputBytes));
    return input;
  }

 private:
  size_t below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

  void change(std::string& input, const std::vector<std::string>& corpus) {
    switch (below(7)) {
      case 0: return flip_bit(input);
      case 1: return set_byte(input);
      case 2: return set_number(input);
      case 3: return input.resize(below(input.size() + 1));
      case 4: return cut(input);
      case 5: return repeat(input);
      default: return splice(input, corpus[below(corpus.size())]);
    }
  }

  void flip_bit(std::string& input) {
    if (!input.empty()) input[below(input.size())] ^= static_cast<char>(1 << below(8));
  }

  void set_byte(std::string& input) {
    constexpr std::string_view kTelling("\0\x01\x7f\x80\xff{}[]\",:\\0-.eE ", 20);
    if (!input.empty()) input[below(input.size())] = kTelling[below(kTelling.size())];
  }

  // A length, count or offset at the edge of its type.
  void set_number(std::string& input) {
    constexpr uint64_t kEdges[] = {0,
                                   1,
                                   2,
                                   31,
                                   32,
                                   33,
                                   127,
                                   255,
                                   256,
                                   65535,
                                   INT32_MAX,
                                   UINT32_MAX,
                                   INT64_MAX,
                                   UINT64_MAX,
                                   uint64_t{1} << 31,
                                   uint64_t{1} << 32,
                                   uint64_t{1} << 63,
                                   UINT64_MAX - 31};
    const uint64_t edge = kEdges[below(std::size(kEdges))];
    const size_t width = size_t{1} << below(4);
    if (input.size() >= width) std::memcpy(input.data() + below(input.size() - width + 1), &edge, width);
  }

  void cut(std::string& input) {
    const size_t begin = below(input.size());
    if (!input.empty()) input.erase(begin, 1 + below(std::min<size_t>(input.size() - begin, 16)));
  }

  void repeat(std::string& input) {
    const size_t begin = below(input.size());
    const std::string piece = input.substr(begin, 1 + below(64));
    input.insert(below(input.size() + 1), piece);
  }

  void splice(std::string& input, const std::string& other) {
    const std::string tail = other.substr(below(other.size() + 1));
    input.resize(below(input.size() + 1));
    input += tail;
  }

  std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
  double seconds = 0;
  uint64_t seed = 1;
  std::vector<std::filesystem::path> places;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--seconds" && i + 1 < argc) {
      seconds = std::strtod(argv[++i], nullptr);
    } else if (argument == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else {
      places.emplace_back(argument);
    }
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, on_crash);

  const auto corpus = read_corpus(places);
  if (corpus.empty()) {
    std::fprintf(stderr, "no corpus: name files or folders of inputs\n");
    return 64;
  }
  uint64_t number = 0;
  for (const auto& input : corpus) run(input, seed, number++);
  Mutator mutator(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) run(mutator.mutate(corpus), seed, number++);
  std::printf("%llu inputs, none ended the process\n", static_cast<unsigned long long>(number));
  return 0;
}
