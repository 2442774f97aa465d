#include "evals/sandbox/self_test.h"

#include <fmt/format.h>

#include <mutex>
#include <vector>

namespace assay {
namespace {

struct Probe {
  const char* name;
  const char* program;
  Verdict verdict;
  const char* out;
};

// Prints HELD where the operation is refused; a probe that gets through prints what it got.
constexpr Probe kProbes[] = {
    {"an honest program", "print(sum(range(10)))", Verdict::pass, "45\n"},
    {"CPU time", "while True: pass", Verdict::timeout, ""},
    {"host files",
     "import os\n"
     "got = [p for p in ('/etc/passwd', '/root', '/home', '/sys', '/dev/kmsg', '/usr/bin/env') if os.path.exists(p)]\n"
     "for p in ('/x', '/usr/x', '/dev/x', '/proc/x'):\n"
     "    try: open(p, 'w'); got.append(p)\n"
     "    except OSError: pass\n"
     "print(got or 'HELD')",
     Verdict::pass, "HELD\n"},
    {"network",
     "import socket\n"
     "got = []\n"
     "for family in (1, 2, 10, 16, 17, 40):\n"
     "    try: socket.socket(family, socket.SOCK_STREAM); got.append(family)\n"
     "    except PermissionError: pass\n"
     "print(got or 'HELD')",
     Verdict::pass, "HELD\n"},
    {"other processes",
     "import os\n"
     "seen = sorted(int(n) for n in os.listdir('/proc') if n.isdigit())\n"
     "got = [] if seen == [1, 2] else [seen]\n"
     "for call in (lambda: os.kill(1, 0), lambda: open('/proc/1/environ').read(), lambda: os.listdir('/proc/1/fd')):\n"
     "    try: got.append(call())\n"
     "    except (PermissionError, ProcessLookupError): pass\n"
     "print(got or 'HELD')",
     Verdict::pass, "HELD\n"},
    {"new namespaces",
     "import ctypes\n"
     "libc = ctypes.CDLL(None)\n"
     "print('HELD' if libc.unshare(0x10000000) == -1 and libc.mount(b'a', b'/tmp', b'tmpfs', 0, None) == -1 "
     "and libc.ptrace(16, 1, 0, 0) == -1 else 'open')",
     Verdict::pass, "HELD\n"},
    {"memory", "a = []\nwhile True: a.append(bytearray(1 << 20))", Verdict::memory, ""},
    {"output", "while True: print('x' * 1000)", Verdict::output, nullptr},
};

Status judge(const Probe& probe, const ProgramResult& result) {
  if (result.verdict == probe.verdict && (!probe.out || result.out == probe.out)) return ok_status();
  if (result.verdict == Verdict::infra) return unavailable(result.detail);
  return unavailable(fmt::format("sandbox: self-test \"{}\": expected {} {}, found {} {} {}: no program is run",
                                 probe.name, verdict_name(probe.verdict), probe.out ? probe.out : "",
                                 verdict_name(result.verdict), result.out.substr(0, 200), result.detail));
}

}  // namespace

Status run_self_test(Sandbox& sandbox) {
  SandboxLimits limits;
  limits.cpu_s = 0.1;
  limits.wall_s = 10;
  limits.memory_bytes = 96 << 20;
  std::vector<ProgramRequest> requests;
  for (const Probe& probe : kProbes) requests.push_back({probe.program, limits});
  for (ProgramRequest& request : requests) {
    if (&request != &requests[1]) request.limits.cpu_s = 5;
  }
  Status status;
  sandbox.run_batch(requests, [&](size_t i, const ProgramResult& result) {
    if (status.ok()) status = judge(kProbes[i], result);
  });
  return status;
}

}  // namespace assay
