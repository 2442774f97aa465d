#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace assay::testing {

struct ServedRequest {
  std::string method, path;
  std::map<std::string, std::string> headers;  // names in lower case
};

struct ServedResponse {
  int status = 200;
  std::vector<std::string> headers;  // "ETag: \"abc\""
  std::string body;
  int64_t cut_after = -1;  // close the connection after this many bytes of the body
};

// A file as a server that knows ranges gives it.
inline ServedResponse ranged(const ServedRequest& request, const std::string& bytes) {
  const auto range = request.headers.find("range");
  if (range == request.headers.end()) return {200, {}, bytes};
  const auto begin = static_cast<size_t>(std::stoll(range->second.substr(range->second.find('=') + 1)));
  if (begin >= bytes.size()) return {416, {}, ""};
  return {206,
          {"Content-Range: bytes " + std::to_string(begin) + "-" + std::to_string(bytes.size() - 1) + "/" +
           std::to_string(bytes.size())},
          bytes.substr(begin)};
}

// Whether this machine can talk to itself: a network namespace of its own may have its loopback down.
inline bool has_loopback() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  const bool connected = bind(listener, raw, size) == 0 && listen(listener, 1) == 0 &&
                         getsockname(listener, raw, &size) == 0 && connect(client, raw, size) == 0;
  close(client);
  close(listener);
  return connected;
}

// Leaves a test with a message where an HttpServer could not be reached.
#define ASSAY_NEEDS_LOOPBACK()                          \
  do {                                                  \
    if (!::assay::testing::has_loopback()) {            \
      MESSAGE("skipped: the loopback network is down"); \
      return;                                           \
    }                                                   \
  } while (false)

// An HTTP server on a port of this machine's own, one connection at a time, in a thread that ends with the object.
class HttpServer {
 public:
  using Handler = std::function<ServedResponse(const ServedRequest&)>;

  explicit HttpServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(listen(listener_, 16) == 0);
    socklen_t size = sizeof address;
    REQUIRE(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    close(listener_);
    thread_.join();
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<ServedRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    while (!stopping_) {
      const int connection = accept(listener_, nullptr, nullptr);
      if (connection < 0) continue;
      answer(connection);
      close(connection);
    }
  }

  void answer(int connection) {
    std::string text;
    char buffer[4096];
    while (text.find("\r\n\r\n") == std::string::npos) {
      const ssize_t count = recv(connection, buffer, sizeof buffer, 0);
      if (count <= 0) return;
      text.append(buffer, static_cast<size_t>(count));
    }
    const ServedRequest request = parse(text);
    const ServedResponse response = handler_(request);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    std::string head = "HTTP/1.1 " + std::to_string(response.status) + " X\r\nConnection: close\r\n";
    head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
    for (const std::string& header : response.headers) head += header + "\r\n";
    head += "\r\n";
    if (request.method != "HEAD")
      head +=
          response.cut_after >= 0 ? response.body.substr(0, static_cast<size_t>(response.cut_after)) : response.body;
    for (size_t done = 0; done < head.size();) {
      const ssize_t count = send(connection, head.data() + done, head.size() - done, MSG_NOSIGNAL);
      if (count <= 0) return;
      done += static_cast<size_t>(count);
    }
  }

  static ServedRequest parse(const std::string& text) {
    ServedRequest request;
    size_t line_end = text.find("\r\n");
    const std::string first = text.substr(0, line_end);
    const size_t space = first.find(' ');
    request.method = first.substr(0, space);
    request.path = first.substr(space + 1, first.rfind(' ') - space - 1);
    while (true) {
      const size_t begin = line_end + 2;
      line_end = text.find("\r\n", begin);
      const std::string line = text.substr(begin, line_end - begin);
      const size_t colon = line.find(": ");
      if (colon == std::string::npos) return request;
      std::string name = line.substr(0, colon);
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      request.headers[name] = line.substr(colon + 2);
    }
  }

  Handler handler_;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<ServedRequest> requests_;
  std::thread thread_;
};

}  // namespace assay::testing
