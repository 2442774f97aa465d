#include "tests/evals/sandbox/canaries.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/evals/sandbox/battery.h"

namespace assay::testing {
namespace {

constexpr const char* kSecret = "the answer is 42";

bool is_quiet(int listener) {
  pollfd waiting{listener, POLLIN, 0};
  return ::poll(&waiting, 1, 0) == 0;
}

}  // namespace

Canaries::Canaries() {
  file_ = (std::filesystem::temp_directory_path() / ("assay-canary-" + std::to_string(::getpid()))).string();
  std::ofstream(file_) << kSecret;
  socket_name_ = "assay-canary-" + std::to_string(::getpid());
  listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::listen(listener_, 5) == 0);
  REQUIRE(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  abstract_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path + 1, socket_name_.data(), socket_name_.size());
  REQUIRE(::bind(abstract_, reinterpret_cast<sockaddr*>(&name),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + socket_name_.size())) == 0);
  REQUIRE(::listen(abstract_, 5) == 0);
  segment_ = ::shmget(IPC_PRIVATE, 4096, 0666 | IPC_CREAT);
}

Canaries::~Canaries() {
  ::close(listener_);
  ::close(abstract_);
  ::shmctl(segment_, IPC_RMID, nullptr);
  std::filesystem::remove(file_);
}

std::string Canaries::fill(std::string program) const {
  program = replaced(std::move(program), "@FILE@", file_);
  program = replaced(std::move(program), "@PORT@", std::to_string(port_));
  program = replaced(std::move(program), "@SOCKET@", socket_name_);
  return replaced(std::move(program), "@SHM@", std::to_string(segment_));
}

bool Canaries::untouched() const {
  std::ifstream in(file_);
  std::stringstream text;
  text << in.rdbuf();
  shmid_ds segment{};
  return text.str() == kSecret && is_quiet(listener_) && is_quiet(abstract_) &&
         ::shmctl(segment_, IPC_STAT, &segment) == 0 && segment.shm_nattch == 0;
}

int num_children() {
  int count = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream in(task.path() / "children");
    for (int pid; in >> pid;) ++count;
  }
  return count;
}

}  // namespace assay::testing
