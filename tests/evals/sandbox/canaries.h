#pragma once

#include <string>

namespace assay::testing {

// Things of the host that no program may reach: a file, a listening port, an abstract socket, a SysV segment.
class Canaries {
 public:
  Canaries();
  ~Canaries();
  Canaries(const Canaries&) = delete;
  Canaries& operator=(const Canaries&) = delete;

  // The program with its marks filled in.
  std::string fill(std::string program) const;
  // True while nothing was read, written or connected to.
  bool untouched() const;

 private:
  std::string file_, socket_name_;
  int listener_ = -1, abstract_ = -1, segment_ = -1, port_ = 0;
};

// Processes beneath this one, zombies included.
int num_children();

}  // namespace assay::testing
