// Lock clients and lock servers, both sides' pure cores, with the time by hand and a network that can be told to lose messages.
#pragma once

#include <doctest/doctest.h>

#include <deque>
#include <map>
#include <memory>
#include <random>

#include "lease/client_core.hpp"
#include "lease/lock_server.hpp"

namespace gordian::test {

using namespace gordian::lease;

/// One agent; restart() is a crash and a new start, without a journal.
class Site {
 public:
  explicit Site(std::string name, Micros now) : name_(std::move(name)) { start({}, now); }
  void start(Durable found, Micros now) {
    ++epoch_;
    server.reset();
    server = std::make_unique<LockServer>(ServerOptions{.site = SiteId(name_),
                                                        .table = {.epoch = epoch_},
                                                        .found = std::move(found),
                                                        .txn_ended = {},
                                                        .limits = {}},
                                          ServerTime{now, now});
    up = true;
  }
  /// The longest lease it granted is all that survives.
  void crash() {
    up = false;
    server.reset();
  }
  void restart(Micros now, Micros longest_ttl_us = 10'000'000) {
    start({.longest_ttl_us = longest_ttl_us, .clean = false, .sessions = {}, .holds = {}}, now);
  }

  std::unique_ptr<LockServer> server;
  bool up = false;

 private:
  std::string name_;
  std::uint64_t epoch_ = 0;
};

struct Letter {
  std::size_t client;
  std::size_t site;
  std::variant<wire::FromLockClient, wire::ToLockClient> message;
};

class LockWorld {
 public:
  explicit LockWorld(std::size_t site_count = 1, std::size_t client_count = 1, LockClientLimits limits = {}) {
    for (std::size_t i = 0; i < site_count; ++i) {
      const std::string name(1, static_cast<char>('a' + i));
      agents_.push_back({SiteId(name), "test://" + name});
      sites.emplace_back(name, now);
    }
    for (std::size_t i = 0; i < client_count; ++i)
      clients.push_back(std::make_unique<ClientCore>(
          ClientSettings{.agents = agents_, .identity = "c" + std::to_string(i), .limits = limits, .draw = [this] {
                           return random();
                         }}));
    outputs.resize(client_count);
    paused.assign(client_count, false);
  }

  ClientCore& client(std::size_t i = 0) { return *clients[i]; }

  /// Delivers whatever is said until nobody says any more. Messages for which `lose` is true are lost.
  void settle() {
    for (bool busy = true; busy;) {
      busy = false;
      for (std::size_t c = 0; c < clients.size(); ++c) busy = talk(c) || busy;
    }
  }
  /// Lets the time pass in steps, and everybody do what is due.
  void pass(Micros us, Micros step = 10'000) {
    for (const Micros end = now + us; now < end;) {
      now = std::min(end, now + step);
      for (auto& site : sites)
        if (site.up) {
          (void)site.server->next_tick_us();
          site.server->tick({now, now});
        }
      for (std::size_t c = 0; c < clients.size(); ++c)
        if (!paused[c]) clients[c]->advance(now);
      settle();
    }
  }

  /// How a call ended: "granted", "done", or the error's name; "" while it has not.
  std::string outcome(CallKey call, std::size_t c = 0) {
    collect(c);
    const auto found = ended.find({c, call});
    if (found == ended.end()) return "";
    if (!found->second.result) return std::string(gordian::name(found->second.result.error().code));
    return found->second.result->empty() ? "done" : "granted";
  }
  const std::vector<Grant>& grants(CallKey call, std::size_t c = 0) {
    collect(c);
    REQUIRE(ended.at({c, call}).result.has_value());
    return *ended.at({c, call}).result;
  }
  LockError error(CallKey call, std::size_t c = 0) {
    collect(c);
    return ended.at({c, call}).result.error();
  }
  CallKey lock(TxnKey txn, std::string_view name, Mode mode = modes::X, AcquireOptions options = {},
               std::size_t c = 0) {
    const LockItem item{name, mode};
    return client(c).lock(txn, {&item, 1}, {.options = std::move(options)}, now);
  }
  TxnKey begin(SessionKey session, ClientTxnOptions options = {}, std::size_t c = 0) {
    const auto txn = client(c).begin(session, std::move(options), now);
    REQUIRE(txn.has_value());
    return *txn;
  }
  SessionKey open(Micros ttl_us = 10'000'000, std::size_t c = 0) {
    const auto session =
        client(c).open({.ttl = std::chrono::milliseconds(ttl_us / 1000), .on_jeopardy = {}, .on_lost = {}});
    REQUIRE(session.has_value());
    return *session;
  }
  /// How many notices of a kind were given, with the last one of them.
  template <class Notice>
  std::size_t told(std::size_t c = 0) {
    collect(c);
    std::size_t count = 0;
    for (const auto& output : outputs[c]) count += std::holds_alternative<Notice>(output) ? 1 : 0;
    return count;
  }
  template <class Notice>
  Notice last(std::size_t c = 0) {
    std::optional<Notice> notice;
    for (const auto& output : outputs[c])
      if (const auto* one = std::get_if<Notice>(&output)) notice = *one;
    REQUIRE(notice.has_value());
    return *notice;
  }
  /// All requests of one kind that were sent, lost ones too.
  template <class Request>
  std::vector<Request> sent() {
    std::vector<Request> found;
    for (const auto& letter : letters)
      if (const auto* message = std::get_if<wire::FromLockClient>(&letter.message))
        if (const auto* requests = std::get_if<wire::Requests>(message))
          for (const auto& request : requests->requests)
            if (const auto* one = std::get_if<Request>(&request)) found.push_back(*one);
    return found;
  }
  std::size_t sent_in_all() const {
    std::size_t count = 0;
    for (const auto& letter : letters) count += std::holds_alternative<wire::FromLockClient>(letter.message) ? 1 : 0;
    return count;
  }

  Micros now = 1'000'000'000;
  std::deque<Site> sites;
  std::vector<std::unique_ptr<ClientCore>> clients;
  std::vector<bool> paused;
  std::function<bool(const Letter&)> lose;
  std::deque<Letter> letters;  ///< everything that was said
  std::size_t letters_max = 100'000;
  std::vector<std::vector<Output>> outputs;
  std::map<std::pair<std::size_t, CallKey>, CallDone> ended;
  std::mt19937_64 random{7};

 private:
  bool lost(Letter letter) {
    const bool gone = lose && lose(letter);
    letters.push_back(std::move(letter));
    if (letters.size() > letters_max) letters.pop_front();
    return gone;
  }
  bool talk(std::size_t c) {
    if (paused[c]) return false;
    bool busy = false;
    for (std::size_t s = 0; s < sites.size(); ++s) {
      if (!clients[c]->has_messages(s)) continue;
      for (auto& message : clients[c]->take_messages(s, now)) {
        busy = true;
        if (!lost({c, s, message}) && sites[s].up) {
          sites[s].server->receive("c" + std::to_string(c), message, {now, now});
          (void)sites[s].server->take_records();
        }
      }
    }
    for (std::size_t s = 0; s < sites.size(); ++s) {
      if (!sites[s].up) continue;
      for (auto& out : sites[s].server->take_outgoing()) {
        const auto to = static_cast<std::size_t>(std::stoul(out.peer.substr(1)));
        busy = true;
        if (!lost({to, s, out.message}) && !paused[to]) clients[to]->receive(s, out.message, now);
      }
    }
    return busy;
  }
  void collect(std::size_t c) {
    for (auto& output : client(c).take_output()) {
      if (const auto* done = std::get_if<CallDone>(&output)) {
        CHECK(ended.emplace(std::pair(c, done->call), *done).second);  // a call ends once
      } else {
        outputs[c].push_back(std::move(output));
      }
    }
  }

  std::vector<AgentAddress> agents_;
};

template <class Message, class Variant>
bool is(const Variant& message) {
  return std::visit([]<class M>(const M&) { return std::is_same_v<M, Message>; }, message);
}
/// Whether a letter is a message of one type.
template <class Message>
bool carries(const Letter& letter) {
  return std::visit([](const auto& message) { return is<Message>(message); }, letter.message);
}

inline bool from_site(const Letter& letter) { return std::holds_alternative<wire::ToLockClient>(letter.message); }

/// A name that lives at that site.
inline std::string name_at(LockWorld& world, const char* site) {
  for (int i = 0;; ++i)
    if (auto name = "k" + std::to_string(i); world.client().site_of(name).str() == site) return name;
}

}  // namespace gordian::test
