// The two kinds of ZeroMQ socket that Gordian's services use, with the options that keep them safe: bounded queues and
// messages, no silent loss towards peers that are gone, heartbeats. One frame is one message.
//
// Not thread-safe: one thread, or one lock, at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace gordian::net {

/// Of `receive`: a message of several frames has none of its bytes here.
struct Frame {
  std::string_view bytes;
  bool several = false;
};

/// What runs sockets, with a thread of its own. Those that are used together share one.
struct Context;
[[nodiscard]] std::shared_ptr<Context> make_context();

/// A client's side: a DEALER, connected to one service.
class DealerSocket {
 public:
  struct Options {
    std::string endpoint;
    std::string routing_id;                 ///< unique for this process; 1–255 bytes, the first not zero
    std::size_t message_bytes = 4u << 20;   ///< larger messages from the service close the connection
    int send_queue = 10'000;                ///< messages queued for a slow service
    std::shared_ptr<Context> context = {};  ///< none: one of its own
  };
  /// The error is a sentence about the endpoint.
  static tl::expected<DealerSocket, std::string> connect(const Options& options);
  DealerSocket(DealerSocket&&) noexcept;
  DealerSocket& operator=(DealerSocket&&) noexcept;
  ~DealerSocket();

  /// False: no connection, or the queue is full; the message is lost.
  [[nodiscard]] bool send(std::string_view bytes);
  /// Whether send() would keep a message now.
  [[nodiscard]] bool writable() const;
  /// Calls `f` with the next message; false if there is none.
  bool receive(const std::function<void(const Frame&)>& f);
  /// For Wakeup.
  [[nodiscard]] void* handle() const;
  /// ZMQ_FD: becomes readable, once, when there is something to do; any other call on the socket takes that away.
  [[nodiscard]] int descriptor() const;

 private:
  class Impl;
  explicit DealerSocket(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// A service's side: a ROUTER, bound.
class RouterSocket {
 public:
  struct Options {
    std::string listen;                    ///< a port of `*` takes a free one
    std::size_t message_bytes = 4u << 20;  ///< messages of more than four times this close the sender's connection
    int queue = 100'000;                   ///< messages queued for one slow peer, and from one; more are dropped
  };
  /// The error is a sentence with the endpoint and the reason; `example` is an endpoint to expect.
  static tl::expected<RouterSocket, std::string> bind(const Options& options, std::string_view example);
  RouterSocket(RouterSocket&&) noexcept;
  RouterSocket& operator=(RouterSocket&&) noexcept;
  ~RouterSocket();

  /// False: the peer is gone or does not read; the message is lost.
  bool send(const std::string& peer, std::string_view bytes);
  /// Calls `f` with the next message; false if there is none.
  bool receive(const std::function<void(const std::string& peer, const Frame&)>& f);
  /// Where it listens, with the real port.
  [[nodiscard]] std::string endpoint() const;
  [[nodiscard]] void* handle() const;

 private:
  class Impl;
  explicit RouterSocket(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::net
