// The C face of the lock client. Each function turns arguments into those of lock_client.hpp, and results into a status;
// guarded() is where exceptions end.
#include <gordian/c.h>

#include <gordian/lock_client.hpp>

using gordian::LockError;

namespace {
using Agents = std::shared_ptr<const std::vector<gordian::AgentAddress>>;
}

struct gordian_client {
  gordian::LockClient client;
  Agents agents;
};
struct gordian_session {
  gordian::LockSession session;
  Agents agents;
};
struct gordian_txn {
  gordian::LockTransaction txn;
  Agents agents;
};

namespace {

int status_of(LockError::Code code) {
  using Code = LockError::Code;
  switch (code) {
    case Code::deadlock: return GORDIAN_DEADLOCK;
    case Code::timeout: return GORDIAN_TIMEOUT;
    case Code::cancelled: return GORDIAN_CANCELLED;
    case Code::lease_lost: return GORDIAN_LEASE_LOST;
    case Code::refused: return GORDIAN_REFUSED;
    case Code::wounded: return GORDIAN_WOUNDED;
    case Code::out_of_order: return GORDIAN_OUT_OF_ORDER;
    case Code::limit: return GORDIAN_LIMIT;
    case Code::not_held: return GORDIAN_NOT_HELD;
    case Code::invalid: return GORDIAN_INVALID;
    case Code::forced: return GORDIAN_FORCED;
    case Code::unreachable: return GORDIAN_UNREACHABLE;
  }
  return GORDIAN_FAILURE;
}

template <std::size_t size>
void copy(char (&to)[size], std::string_view text) {
  const auto bytes = text.copy(to, size - 1);
  to[bytes] = '\0';
}

int fill(gordian_error* error, int status, std::string_view text, std::string_view incident = {}) {
  if (error != nullptr) {
    error->status = status;
    copy(error->text, text);
    copy(error->incident, incident);
  }
  return status;
}
int fill(gordian_error* error, const LockError& from) {
  return fill(error, status_of(from.code), from.message, from.incident);
}
int invalid(gordian_error* error, std::string_view text) { return fill(error, GORDIAN_INVALID, text); }

/// No exception leaves: whatever `body` throws becomes a status.
template <class Body>
int guarded(gordian_error* error, Body body) noexcept {
  try {
    return body();
  } catch (const std::invalid_argument& e) {
    return invalid(error, e.what());
  } catch (const std::exception& e) {
    return fill(error, GORDIAN_FAILURE, e.what());
  } catch (...) {
    return fill(error, GORDIAN_FAILURE, "an unknown exception");
  }
}

/// The status of a result; `take` is given its value.
template <class T, class Take>
int finish(tl::expected<T, LockError>&& result, gordian_error* error, Take take) {
  if (!result) return fill(error, result.error());
  take(std::move(*result));
  return GORDIAN_OK;
}
int finish(const tl::expected<void, LockError>& result, gordian_error* error) {
  return result ? GORDIAN_OK : fill(error, result.error());
}
int finish(const std::optional<LockError>& failure, gordian_error* error) {
  return failure ? fill(error, *failure) : GORDIAN_OK;
}

std::string text_or_empty(const char* text) { return text != nullptr ? text : ""; }

gordian::AcquireOptions waiting(int64_t wait) {
  gordian::AcquireOptions options;
  if (wait >= 0) options.wait = std::chrono::microseconds(wait);
  return options;
}

std::optional<gordian::Mode> mode_of(const char* name) {
  return gordian::modes::standard().find(name != nullptr ? name : "X");
}
int no_mode(gordian_error* error, const char* name) {
  return invalid(error, std::string("there is no lock mode \"") + name + "\"; expected IS, IX, S, SIX, U or X");
}

std::optional<gordian::Strategy> strategy_of(std::string_view text) {
  using gordian::Strategy;
  for (const auto strategy : {Strategy::detect, Strategy::timeout, Strategy::no_wait, Strategy::wait_die,
                              Strategy::wound_wait, Strategy::ordered})
    if (gordian::name(strategy) == text) return strategy;
  return std::nullopt;
}

std::string_view bytes(const void* name, size_t size) { return {static_cast<const char*>(name), size}; }

/// A lock as unlock and downgrade want it: in C no lock is taken at another site than its name's.
gordian::Grant grant_of(const gordian_txn& txn, std::string_view name, gordian_fence fence) {
  return {std::string(name),
          (*txn.agents)[gordian::rendezvous(*txn.agents, name)].site,
          gordian::modes::X,
          {fence.epoch, fence.counter}};
}

}  // namespace

const char* gordian_version(void) { return GORDIAN_VERSION; }

const char* gordian_status_name(int status) {
  switch (status) {
    case GORDIAN_OK: return "ok";
    case GORDIAN_DEADLOCK: return "deadlock";
    case GORDIAN_TIMEOUT: return "timeout";
    case GORDIAN_CANCELLED: return "cancelled";
    case GORDIAN_LEASE_LOST: return "lease_lost";
    case GORDIAN_REFUSED: return "refused";
    case GORDIAN_WOUNDED: return "wounded";
    case GORDIAN_OUT_OF_ORDER: return "out_of_order";
    case GORDIAN_LIMIT: return "limit";
    case GORDIAN_NOT_HELD: return "not_held";
    case GORDIAN_INVALID: return "invalid";
    case GORDIAN_FORCED: return "forced";
    case GORDIAN_UNREACHABLE: return "unreachable";
    case GORDIAN_FAILURE: return "failure";
    default: return "unknown";
  }
}

// --- Client ---

void gordian_client_options_init(gordian_client_options* options) {
  *options = {};
  options->reply_limit = std::chrono::microseconds(gordian::LockClientOptions{}.reply_limit).count();
}

int gordian_client_open(const gordian_client_options* options, gordian_error* error, gordian_client** out_client) {
  return guarded(error, [&] {
    if (options == nullptr || options->agents == nullptr)
      return invalid(error, "gordian_client_options::agents is not set; expected SITE=ENDPOINT");
    auto agents = gordian::AgentAddress::parse_list(options->agents);
    if (!agents) return invalid(error, agents.error());
    gordian::LockClientOptions o;
    o.agents = *agents;
    auto known = std::make_shared<const std::vector<gordian::AgentAddress>>(std::move(*agents));
    o.label = text_or_empty(options->label);
    o.reply_limit = std::chrono::milliseconds(options->reply_limit / 1000);
    if (options->on_log != nullptr)
      o.on_log = [f = options->on_log, user = options->user](auto level, std::string_view text) {
        f(user, static_cast<int>(level), std::string(text).c_str());
      };
    return finish(gordian::LockClient::start(std::move(o)), error, [&](gordian::LockClient client) {
      *out_client = new gordian_client{std::move(client), std::move(known)};
    });
  });
}

void gordian_client_free(gordian_client* client) { delete client; }

// --- Sessions ---

void gordian_session_options_init(gordian_session_options* options) {
  const gordian::SessionOptions defaults;
  *options = {};
  options->ttl = std::chrono::microseconds(defaults.ttl).count();
  options->lock_delay = std::chrono::microseconds(defaults.lock_delay).count();
}

int gordian_session_open(gordian_client* client, const gordian_session_options* options, gordian_error* error,
                         gordian_session** out_session) {
  return guarded(error, [&] {
    gordian::SessionOptions o;
    if (options != nullptr) {
      o.ttl = std::chrono::milliseconds(options->ttl / 1000);
      o.lock_delay = std::chrono::milliseconds(options->lock_delay / 1000);
      if (options->on_jeopardy != nullptr)
        o.on_jeopardy = [f = options->on_jeopardy, user = options->user](std::chrono::microseconds left) {
          f(user, left.count());
        };
      if (options->on_lost != nullptr)
        o.on_lost = [f = options->on_lost, user = options->user](const LockError& reason) {
          gordian_error why;
          fill(&why, reason);
          f(user, &why);
        };
    }
    return finish(client->client.open(std::move(o)), error, [&](gordian::LockSession opened) {
      *out_session = new gordian_session{std::move(opened), client->agents};
    });
  });
}

int64_t gordian_session_remaining(const gordian_session* session) {
  int64_t remaining = 0;
  guarded(nullptr, [&] {
    remaining = session->session.remaining().count();
    return GORDIAN_OK;
  });
  return remaining;
}

int gordian_session_lost(const gordian_session* session, gordian_error* error) {
  return guarded(error, [&] { return finish(session->session.lost(), error); });
}
int gordian_session_close(gordian_session* session, gordian_error* error) {
  return guarded(error, [&] { return finish(session->session.close(), error); });
}
void gordian_session_free(gordian_session* session) { delete session; }

// --- Transactions ---

void gordian_txn_options_init(gordian_txn_options* options) { *options = {}; }

int gordian_txn_begin(gordian_session* session, const gordian_txn_options* options, gordian_error* error,
                      gordian_txn** out_txn) {
  return guarded(error, [&] {
    gordian::ClientTxnOptions o;
    if (options != nullptr) {
      if (options->id != nullptr) o.id = gordian::TxnId(options->id);
      if (options->start != 0) o.start = options->start;
      o.priority = options->priority;
      o.restarts = options->restarts;
      o.label = text_or_empty(options->label);
      if (options->strategy != nullptr) {
        o.strategy = strategy_of(options->strategy);
        if (!o.strategy) return invalid(error, std::string("there is no strategy \"") + options->strategy + "\"");
      }
      if (options->on_aborted != nullptr)
        o.on_aborted = [f = options->on_aborted, user = options->user](const LockError& reason) {
          gordian_error why;
          fill(&why, reason);
          f(user, &why);
        };
    }
    return finish(session->session.begin(std::move(o)), error, [&](gordian::LockTransaction begun) {
      *out_txn = new gordian_txn{std::move(begun), session->agents};
    });
  });
}

const char* gordian_txn_id(const gordian_txn* txn) { return txn->txn.id().str().c_str(); }
int gordian_txn_error(const gordian_txn* txn, gordian_error* error) {
  return guarded(error, [&] { return finish(txn->txn.error(), error); });
}
int gordian_txn_end(gordian_txn* txn, gordian_error* error) {
  return guarded(error, [&] { return finish(txn->txn.end(), error); });
}
void gordian_txn_cancel(gordian_txn* txn) {
  guarded(nullptr, [&] {
    txn->txn.cancel();
    return GORDIAN_OK;
  });
}
void gordian_txn_free(gordian_txn* txn) { delete txn; }

// --- Locks ---

int gordian_lock(gordian_txn* txn, const void* name, size_t name_bytes, const char* mode, int64_t wait,
                 gordian_error* error, gordian_fence* out_fence) {
  return guarded(error, [&] {
    const auto wanted = mode_of(mode);
    if (!wanted) return no_mode(error, mode);
    return finish(txn->txn.lock(bytes(name, name_bytes), *wanted, waiting(wait)), error,
                  [&](const gordian::Grant& grant) {
                    if (out_fence != nullptr) *out_fence = {grant.fence.epoch, grant.fence.counter};
                  });
  });
}

int gordian_lock_all(gordian_txn* txn, const gordian_item* items, size_t count, int64_t wait, gordian_error* error,
                     gordian_fence* out_fences) {
  return guarded(error, [&] {
    std::vector<gordian::LockItem> wanted;
    for (size_t i = 0; i < count; ++i) {
      const auto mode = mode_of(items[i].mode);
      if (!mode) return no_mode(error, items[i].mode);
      wanted.push_back({bytes(items[i].name, items[i].name_bytes), *mode});
    }
    return finish(txn->txn.lock_all(wanted, waiting(wait)), error, [&](const std::vector<gordian::Grant>& grants) {
      for (size_t i = 0; i < grants.size() && out_fences != nullptr; ++i)
        out_fences[i] = {grants[i].fence.epoch, grants[i].fence.counter};
    });
  });
}

int gordian_unlock(gordian_txn* txn, const void* name, size_t name_bytes, gordian_fence fence, gordian_error* error) {
  return guarded(error, [&] { return finish(txn->txn.unlock(grant_of(*txn, bytes(name, name_bytes), fence)), error); });
}

int gordian_downgrade(gordian_txn* txn, const void* name, size_t name_bytes, const char* mode, gordian_error* error) {
  return guarded(error, [&] {
    const auto wanted = mode_of(mode);
    if (!wanted) return no_mode(error, mode);
    return finish(txn->txn.downgrade(grant_of(*txn, bytes(name, name_bytes), {}), *wanted), error);
  });
}
