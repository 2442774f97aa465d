#include "evals/sandbox/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "engine/base/text_util.h"
#include "evals/sandbox/embedded.h"
#include "evals/sandbox/seccomp.h"

namespace assay {
namespace {

using child::Layer;

constexpr int kArmTimeout_ms = 20000;  // a loaded machine may be slow, a stuck one must not hang a run
constexpr size_t kMaxFds = 5;

// What a user can do about a layer that cannot be set up.
const char* remedy(Layer layer) {
  switch (layer) {
    case Layer::user:
      return "allow user namespaces (kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0, "
             "kernel.apparmor_restrict_unprivileged_userns=0), or give a container the right to make them";
    case Layer::proc: return "a container that masks parts of /proc forbids a fresh one: run with an unmasked /proc";
    case Layer::root:
      return "the interpreter's folders must be readable by every user, and the kernel be 5.12 or newer";
    case Layer::landlock: return "boot with landlock among the lsm= modules";
    case Layer::cgroup: return "run without control groups (--no-cgroup)";
    default: return "see `assay doctor`";
  }
}

Status layer_failure(Layer layer, int error) {
  const auto index = static_cast<uint32_t>(layer);
  return unavailable(fmt::format("sandbox: layer {}: {}: {}; no program was run",
                                 index < child::kNumLayers ? child::kLayerNames[index] : "unknown",
                                 std::strerror(error), remedy(layer)));
}

Status system_failure(const char* what) {
  return unavailable(fmt::format("sandbox: {}: {}", what, std::strerror(errno)));
}

struct Pair {
  Fd ours, theirs;
};

Result<Pair> socket_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return system_failure("socketpair");
  return Pair{Fd(fds[0]), Fd(fds[1])};
}

// A pipe whose end on our side never blocks.
Result<Pair> pipe_pair(bool we_read) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return system_failure("pipe");
  Pair pair{Fd(we_read ? fds[0] : fds[1]), Fd(we_read ? fds[1] : fds[0])};
  if (::fcntl(pair.ours.get(), F_SETFL, O_NONBLOCK) != 0) return system_failure("fcntl");
  return pair;
}

Result<Fd> memory_file(const char* name, std::string_view bytes) {
  Fd file(::memfd_create(name, MFD_CLOEXEC));
  if (!file) return system_failure("memfd_create");
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written <= 0) return system_failure("write to a memory file");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return file;
}

Status send_bytes(int socket, const void* bytes, size_t size, std::initializer_list<int> fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  iovec part{const_cast<void*>(bytes), size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fds.size() > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.begin(), fds.size() * sizeof(int));
  }
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(size)) return ok_status();
  return system_failure("message to the launch host");
}

bool wait_readable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&waiting, 1, kArmTimeout_ms);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

// Bytes received, 0 at the end, -1 for an error or no answer in time; a descriptor that came along goes to `fd`.
ssize_t receive_bytes(int socket, void* bytes, size_t size, Fd* fd) {
  if (!wait_readable(socket)) return -1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec part{bytes, size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  const cmsghdr* header = got < 0 ? nullptr : CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    int received;
    std::memcpy(&received, CMSG_DATA(header), sizeof(received));
    Fd owned(received);
    if (fd) *fd = std::move(owned);
  }
  return got;
}

Result<pid_t> spawn_host(const LaunchSetup& setup, int socket, int library, int errors) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  // The three descriptors were made above 9, so no move overwrites another's source.
  posix_spawn_file_actions_adddup2(&actions, errors, 2);
  posix_spawn_file_actions_adddup2(&actions, socket, 3);
  posix_spawn_file_actions_adddup2(&actions, library, 4);
  posix_spawn_file_actions_addclosefrom_np(&actions, 5);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  const std::string host(embedded_host_source()), runner(embedded_runner_source());
  const char* const arguments[] = {setup.interpreter.c_str(),
                                   "-S",
                                   "-s",
                                   "-B",
                                   "-c",
                                   host.c_str(),
                                   setup.mode == LaunchMode::warm ? "warm" : "cold",
                                   runner.c_str(),
                                   nullptr};
  const char* const environment[] = {"HOME=/tmp", "LANG=C.UTF-8", "TZ=UTC", "PYTHONHASHSEED=0", nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, setup.interpreter.c_str(), &actions, &attributes,
                                  const_cast<char* const*>(arguments), const_cast<char* const*>(environment));
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error == 0) return pid;
  return unavailable(fmt::format("sandbox: interpreter {}: {}: name another by --interpreter", setup.interpreter,
                                 std::strerror(error)));
}

Result<Fd> moved_up(const Fd& fd) {
  Fd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 10));
  if (!moved) return system_failure("fcntl");
  return moved;
}

child::RunRequest run_request(const SandboxLimits& limits, bool cold, bool keep_output, bool cgroup) {
  child::RunRequest request;
  request.cold = cold;
  request.keep_output = keep_output;
  // Address space is no memory: it is only a backstop, above the memory cap by what an interpreter maps.
  const auto memory = static_cast<uint64_t>(limits.memory_bytes);
  request.address_space_bytes = (cgroup ? 4 * memory : 2 * memory) + (uint64_t{512} << 20);
  request.stack_bytes = uint64_t{64} << 20;
  request.file_bytes = static_cast<uint64_t>(limits.file_bytes);
  request.folder_bytes = static_cast<uint64_t>(limits.folder_bytes);
  request.folder_inodes = static_cast<uint64_t>(limits.folder_inodes);
  request.max_processes = static_cast<uint64_t>(limits.max_processes);
  request.max_open_files = static_cast<uint64_t>(limits.max_open_files);
  request.cpu_s = static_cast<uint64_t>(std::max(1.0, std::ceil(limits.cpu_s)));
  return request;
}

Status read_fault(const std::string& fault, child::Hello& hello) {
  if (fault.empty()) return ok_status();
  const bool skips = fault.rfind("skip:", 0) == 0;
  const std::string name = skips ? fault.substr(5) : fault;
  for (uint32_t i = 1; i < child::kNumLayers; ++i) {
    if (name != child::kLayerNames[i]) continue;
    hello.fault = static_cast<Layer>(i);
    hello.fault_skips = skips;
    return ok_status();
  }
  return invalid_argument("sandbox: fault " + fault + ": no such layer");
}

}  // namespace

int landlock_abi() {
  constexpr long kCreateRuleset = 444;
  constexpr unsigned kVersion = 1;
  const long abi = ::syscall(kCreateRuleset, nullptr, 0, kVersion);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

Result<LaunchSetup> LaunchSetup::make(const SandboxOptions& options) {
  LaunchSetup setup;
  std::error_code error;
  const std::string named = options.interpreter.empty() ? "/usr/bin/python3" : options.interpreter;
  const Path path = std::filesystem::canonical(named, error);
  if (error || !Path(named).is_absolute())
    return not_found(fmt::format("sandbox: interpreter {}: expected an absolute path to a Python 3.8 or newer", named));
  setup.interpreter = path.string();
  setup.mode = options.mode;
  setup.hello.isolate = !options.no_sandbox;
  ASSAY_TRY(read_fault(options.fault, setup.hello));
  if (options.no_sandbox) return setup;
  if (::getuid() == 0) setup.hello.drop_to_uid = child::kInsideId;
  setup.hello.landlock_abi = static_cast<uint32_t>(landlock_abi());
  if (setup.hello.landlock_abi == 0) return layer_failure(Layer::landlock, ENOSYS);
  ASSAY_ASSIGN(setup.filter, build_seccomp_filter());
  setup.hello.num_instructions = static_cast<uint32_t>(setup.filter.size());
  return setup;
}

Result<std::unique_ptr<LaunchHost>> LaunchHost::start(const LaunchSetup& setup, Cgroup* cgroup) {
  ASSAY_ASSIGN(Pair sockets, socket_pair());
  ASSAY_ASSIGN(Fd library_low, memory_file("assay-launcher", embedded_launcher_library()));
  ASSAY_ASSIGN(Fd errors_low, memory_file("assay-host-errors", ""));
  ASSAY_ASSIGN(Fd socket, moved_up(sockets.theirs));
  ASSAY_ASSIGN(const Fd library, moved_up(library_low));
  ASSAY_ASSIGN(Fd errors, moved_up(errors_low));
  ASSAY_ASSIGN(const pid_t pid, spawn_host(setup, socket.get(), library.get(), errors.get()));
  sockets.theirs.reset();  // with both gone, the host's end shows
  socket.reset();
  auto host =
      std::unique_ptr<LaunchHost>(new LaunchHost(setup, cgroup, pid, std::move(sockets.ours), std::move(errors)));
  ASSAY_TRY(host->greet(setup));
  if (cgroup) {
    if (setup.hello.fault == Layer::cgroup) return layer_failure(Layer::cgroup, EPERM);
    ASSAY_TRY(cgroup->attach(pid));
  }
  return host;
}

Status LaunchHost::greet(const LaunchSetup& setup) {
  std::string hello(sizeof(child::Hello) + setup.filter.size() * sizeof(uint64_t), '\0');
  std::memcpy(hello.data(), &setup.hello, sizeof(setup.hello));
  std::memcpy(hello.data() + sizeof(setup.hello), setup.filter.data(), setup.filter.size() * sizeof(uint64_t));
  ASSAY_TRY(send_bytes(socket_.get(), hello.data(), hello.size(), {}));
  std::string answer(32768, '\0');
  const ssize_t size = receive_bytes(socket_.get(), answer.data(), answer.size(), nullptr);
  child::HelloReply reply;
  if (size < static_cast<ssize_t>(sizeof(reply)))
    return unavailable("sandbox: the launch host ended without a word: " + last_words());
  std::memcpy(&reply, answer.data(), sizeof(reply));
  if (reply.failed != Layer::none) return layer_failure(reply.failed, reply.error);
  info_ = answer.substr(sizeof(reply), static_cast<size_t>(size) - sizeof(reply));
  return ok_status();
}

std::string LaunchHost::last_words() const {
  std::string text(4000, '\0');
  const ssize_t size = ::pread(errors_.get(), text.data(), text.size(), 0);
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  const std::string trimmed(py_strip(text));
  return trimmed.substr(trimmed.rfind('\n') + 1);
}

Result<Launched> LaunchHost::launch(const SandboxLimits& limits, bool keep_output) {
  ++num_launches_;
  Launched run;
  ASSAY_ASSIGN(Pair status, socket_pair());
  ASSAY_ASSIGN(Pair requests, pipe_pair(false));
  ASSAY_ASSIGN(Pair answers, pipe_pair(true));
  const child::RunRequest request = run_request(limits, cold_, keep_output, cgroup_ != nullptr);
  if (cgroup_) ASSAY_TRY(cgroup_->prepare(limits.memory_bytes, limits.max_processes + 2));  // pid 1 and the host
  if (keep_output) {
    ASSAY_ASSIGN(Pair out, pipe_pair(true));
    ASSAY_ASSIGN(Pair err, pipe_pair(true));
    ASSAY_TRY(send_bytes(
        socket_.get(), &request, sizeof(request),
        {status.theirs.get(), requests.theirs.get(), answers.theirs.get(), out.theirs.get(), err.theirs.get()}));
    run.out = std::move(out.ours);
    run.err = std::move(err.ours);
  } else {
    ASSAY_TRY(send_bytes(socket_.get(), &request, sizeof(request),
                         {status.theirs.get(), requests.theirs.get(), answers.theirs.get()}));
  }
  child::RunReply reply;
  if (receive_bytes(socket_.get(), &reply, sizeof(reply), &run.pidfd) != sizeof(reply))
    return unavailable("sandbox: the launch host has gone: " + last_words());
  if (reply.pid <= 0) return layer_failure(reply.failed, reply.error);
  run.pid = reply.pid;
  run.status = std::move(status.ours);
  run.requests = std::move(requests.ours);
  run.answers = std::move(answers.ours);
  status.theirs.reset();  // so that the end of the child shows
  const Status armed = arm(run);
  if (armed.ok()) return run;
  ::syscall(SYS_pidfd_send_signal, run.pidfd.get(), SIGKILL, nullptr, 0);
  return armed;
}

Status LaunchHost::arm(Launched& run) {
  child::Note note;
  if (receive_bytes(run.status.get(), &note, sizeof(note), nullptr) != sizeof(note))
    return unavailable("sandbox: the run ended while it was set up");
  if (note.kind == child::Note::Kind::failed) return layer_failure(note.layer, note.error);
  if (note.kind == child::Note::Kind::armed) return ok_status();
  return unavailable("sandbox: the run ended before it was armed");
}

LaunchHost::~LaunchHost() {
  socket_.reset();
  for (int i = 0; i < 200; ++i) {
    if (::waitpid(pid_, nullptr, WNOHANG) != 0) return;
    ::usleep(1000);
  }
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace assay
