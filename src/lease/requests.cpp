// What sessions ask for: locks, releases, ends, cancels, and claims after a restart. Every request is known by its number, so
// that one that comes again is answered again, and done once.
#include <algorithm>
#include <cmath>

#include "lease/lock_server.hpp"

namespace gordian::lease {
namespace {

using wire::LockStatus;
using Code = LockError::Code;

LockStatus status_of(Code code) {
  switch (code) {
    case Code::deadlock: return LockStatus::deadlock;
    case Code::timeout: return LockStatus::timeout;
    case Code::cancelled: return LockStatus::cancelled;
    case Code::lease_lost: return LockStatus::lease_lost;
    case Code::refused: return LockStatus::refused;
    case Code::wounded: return LockStatus::wounded;
    case Code::out_of_order: return LockStatus::out_of_order;
    case Code::limit: return LockStatus::limit;
    case Code::not_held: return LockStatus::not_held;
    case Code::forced: return LockStatus::forced;
    case Code::invalid:
    case Code::unreachable: break;
  }
  return LockStatus::invalid;
}

LockError error(Code code, std::string message) { return {code, std::move(message), {}}; }

std::optional<Strategy> strategy_of(const std::string& name) {
  for (const auto strategy : {Strategy::detect, Strategy::timeout, Strategy::no_wait, Strategy::wait_die,
                              Strategy::wound_wait, Strategy::ordered})
    if (gordian::name(strategy) == name) return strategy;
  return std::nullopt;
}

/// The parts of a path, each with the mode it is to be locked in: parents first.
std::vector<wire::WantedLock> parts_of(const wire::WantedLock& path, char separator, const ModeMatrix& modes) {
  std::vector<wire::WantedLock> parts;
  if (const auto mode = modes.find(path.mode))
    if (const auto parents = modes.on_parents(*mode))
      for (auto end = path.name.find(separator, 1); end != std::string::npos; end = path.name.find(separator, end + 1))
        parts.push_back({path.name.substr(0, end), std::string(modes.name(*parents))});
  parts.push_back(path);
  return parts;
}

/// Age as the table compares it: whole microseconds.
std::uint64_t whole(double start) {
  return start <= 0 ? 0 : start >= 1.8e19 ? ~0ULL : static_cast<std::uint64_t>(start);
}

}  // namespace

// --- Transactions ---

LockServer::Txn* LockServer::find_txn(Session& session, const TxnId& id) {
  const auto it = txns_.find(id);
  return it != txns_.end() && it->second.session == &session ? &it->second : nullptr;
}

/// The transaction of that name, which begins if there is none. `request`: the number of the one that names it.
tl::expected<LockServer::Txn*, LockError> LockServer::txn_of(Session& session, const TxnId& id, std::uint64_t request,
                                                             std::optional<double> start,
                                                             std::optional<Strategy> strategy) {
  const auto [it, fresh] = txns_.try_emplace(id);
  Txn& txn = it->second;
  if (!fresh) {
    if (txn.session == &session) {
      txn.request = std::max(txn.request, request);
      return &txn;
    }
    return tl::unexpected(error(Code::invalid, "transaction " + id.str() +
                                                   " belongs to another session at this agent; let one "
                                                   "session take its locks here, or give it another id"));
  }
  if (session.txns.size() >= options_.limits.txns_per_session) {
    txns_.erase(it);
    return tl::unexpected(error(Code::limit, "the session has " + std::to_string(session.txns.size()) +
                                                 " transactions, the limit of this agent; end some"));
  }
  txn.session = &session;
  txn.request = request;
  txn.start = start.value_or(static_cast<double>(now_.unix_us));
  txn.handle =
      table_.begin({.id = id, .start = whole(txn.start), .strategy = strategy, .owner = session.id, .user = &txn});
  session.txns.insert(&txn);
  return &txn;
}

void LockServer::doom(Txn& txn, const LockError& why) {
  if (txn.doom) return;
  txn.doom = why;
  if (options_.journal && !txn.holds.empty()) record(TxnGone{txn.handle->id()});
  counters_.locks -= txn.holds.size();
  txn.holds.clear();
  send(txn.session->peer, wire::TxnAborted{txn.session->id, txn.handle->id(), status_of(why.code), why.message,
                                           why.incident, txn.request});
}

void LockServer::abort(Txn& txn, const LockError& why) {
  for (const auto waiting = txn.waiting; const std::uint64_t number : waiting) answer(*txn.session, number, why);
  txn.handle->release_all();
  doom(txn, why);
}

void LockServer::end_txn(Txn& txn) {
  const TxnId id = txn.handle->id();
  txn.handle->release_all();  // tells its waiting requests that they are cancelled
  if (options_.journal && !txn.holds.empty()) record(TxnGone{id});
  counters_.locks -= txn.holds.size();
  if (txn.described && options_.txn_ended) options_.txn_ended(id);
  for (const auto waiting = txn.waiting; const std::uint64_t number : waiting)  // those that the table knew nothing of
    answer(*txn.session, number, LockStatus::cancelled, "the transaction ended");
  txn.session->txns.erase(&txn);
  txns_.erase(id);
}

TxnInfo LockServer::info(const TxnId& id) {
  const auto it = txns_.find(id);
  if (it == txns_.end()) return {};
  Txn& txn = it->second;
  txn.described = true;
  return {.start = txn.start,
          .priority = txn.priority,
          .locks = static_cast<double>(txn.holds.size()),
          .restarts = txn.restarts,
          .label = txn.label.empty() ? txn.session->label : txn.label};
}

// --- Answers ---

void LockServer::finish_request(Session& session, std::uint64_t request, wire::LockReply reply) {
  Remembered& known = session.requests[request];
  if (known.txn != nullptr) {
    std::erase(known.txn->waiting, request);
    if (!known.held_back) --counters_.waiting;
  }
  known = Remembered{};
  known.reply = reply;
  this->reply(session, std::move(reply));
}

void LockServer::answer(Session& session, std::uint64_t request, LockStatus status, std::string text) {
  finish_request(session, request, {session.id, request, status, {}, std::move(text), {}});
}

void LockServer::answer(Session& session, std::uint64_t request, const LockError& why) {
  if (why.code == Code::limit) ++counters_.limit_reached;
  finish_request(session, request, {session.id, request, status_of(why.code), {}, why.message, why.incident});
}

LockServer::Remembered& LockServer::wait_for(Session& session, std::uint64_t request, Txn& txn, bool held_back) {
  Remembered& known = session.requests[request];
  if (known.txn == nullptr) {
    txn.waiting.push_back(request);
    known.since_unix_us = now_.unix_us;
  }
  known.reply = {session.id, request, LockStatus::waiting, {}, {}, {}};
  known.txn = &txn;
  known.held_back = held_back;
  return known;
}

void LockServer::answer_waiting(Session& session, std::uint64_t request) {
  reply(session, session.requests.at(request).reply);
}

/// Writes a grant into the transaction's holds and makes the reply.
wire::LockReply LockServer::grant(Txn& txn, std::uint64_t request, const std::vector<wire::WantedLock>& items,
                                  std::span<const GrantedItem> granted) {
  wire::LockReply reply{txn.session->id, request, LockStatus::done, {}, {}, {}};
  for (const GrantedItem& g : granted) {
    const wire::WantedLock& item = items[g.item];
    const Mode mode = *table_.modes().find(item.mode);
    const auto [it, fresh] = txn.holds.try_emplace(item.name, Hold{mode, 0, g.fence, g.fence, now_.unix_us, 0, 0});
    Hold& hold = it->second;
    ++hold.count;
    if (fresh) {
      ++counters_.locks;
    } else {
      hold.mode = table_.modes().join(hold.mode, mode);
      if (hold.table != g.fence) hold.table = hold.shown = g.fence;
    }
    hold.request = request;
    hold.item = g.item;
    reply.grants.push_back({g.item, {hold.shown.epoch, hold.shown.counter}});
    write_down(txn, item.name, hold);
  }
  ++counters_.granted;
  return reply;
}

void LockServer::write_down(const Txn& txn, const std::string& name, const Hold& hold) {
  if (!options_.journal) return;
  record(HoldRecord{txn.session->id, txn.handle->id(), txn.start, name, std::string(table_.modes().name(hold.mode)),
                    hold.count, hold.shown, hold.since_unix_us, hold.request, hold.item});
}

// --- The table's events. A request that is not known to wait any more was answered otherwise: nothing is left to say. ---

void LockServer::granted(const Party& party, Ticket, std::uint64_t tag, std::span<const GrantedItem> items) {
  Txn& txn = *static_cast<Txn*>(party.user);
  const auto it = txn.session->requests.find(tag);
  if (it == txn.session->requests.end() || it->second.reply.status != LockStatus::waiting) return;
  const auto wanted = std::move(it->second.items);
  finish_request(*txn.session, tag, grant(txn, tag, wanted, items));
}

void LockServer::failed(const Party& party, Ticket, std::uint64_t tag, const LockError& why) {
  Txn& txn = *static_cast<Txn*>(party.user);
  const auto it = txn.session->requests.find(tag);
  if (it == txn.session->requests.end() || it->second.reply.status != LockStatus::waiting) return;
  answer(*txn.session, tag, why);
}

void LockServer::aborted(const Party& party, const LockError& why) { doom(*static_cast<Txn*>(party.user), why); }

// --- Requests ---

void LockServer::handle(Session& session, const wire::LockServiceRequest& request) {
  const wire::RequestId& id = std::visit([](const auto& r) -> const wire::RequestId& { return r.id; }, request);
  if (id.done_below > session.done_below) {
    session.done_below = id.done_below;
    auto end = session.requests.lower_bound(id.done_below);
    for (auto it = session.requests.begin(); it != end;)
      it = it->second.reply.status == LockStatus::waiting ? std::next(it) : session.requests.erase(it);
    std::erase_if(session.ended, [&](const auto& entry) { return entry.second < id.done_below; });
  }
  if (id.request < session.done_below) return;
  if (const auto known = session.requests.find(id.request); known != session.requests.end()) {
    ++counters_.repeated;
    return reply(session, known->second.reply);
  }
  ++counters_.requests;
  if (session.requests.size() >= options_.limits.requests_per_session) {
    ++counters_.limit_reached;
    return reply(session, {session.id,
                           id.request,
                           LockStatus::limit,
                           {},
                           "the session has " + std::to_string(session.requests.size()) +
                               " requests that wait or whose answers it has not taken, the limit of this agent",
                           {}});
  }
  if (overtaken_by_end(session, request))
    return answer(session, id.request, LockStatus::cancelled, "the transaction ended");
  std::visit([&](const auto& r) { on(session, r); }, request);
}

/// Messages may arrive in another order: a request made before the end of its transaction takes nothing after it.
bool LockServer::overtaken_by_end(const Session& session, const wire::LockServiceRequest& request) {
  return std::visit(
      [&]<class R>(const R& r) {
        if constexpr (requires { r.txn; }) {
          const auto ended = session.ended.find(r.txn);
          return ended != session.ended.end() && r.id.request < ended->second;
        }
        return false;
      },
      request);
}

void LockServer::on(Session& session, const wire::LockRequest& r) {
  for (const auto& item : r.items)
    if (!table_.modes().find(item.mode))
      return answer(session, r.id.request, LockStatus::invalid, "there is no lock mode \"" + item.mode + "\" here");
  const std::size_t least = r.scheme == wire::LockRequest::Scheme::path ? 1 : r.items.size();
  if (r.items.empty() || least != r.items.size())
    return answer(session, r.id.request, LockStatus::invalid,
                  "a lock request names " + std::to_string(r.items.size()) +
                      " resources, expected at least one, and one for a path");
  const auto txn = txn_of(session, r.txn, r.id.request, r.start);
  if (!txn) return answer(session, r.id.request, txn.error());
  if ((*txn)->doom) return answer(session, r.id.request, *(*txn)->doom);
  constexpr std::uint64_t longest_us = 1ULL << 60;
  const std::int64_t deadline_us =
      r.wait_us ? now_.steady_us + static_cast<std::int64_t>(std::min(*r.wait_us, longest_us)) : never;
  if (in_grace()) return hold_back(session, **txn, r, deadline_us);
  lock_now(session, r.id, **txn, r, deadline_us);
}

void LockServer::lock_now(Session& session, const wire::RequestId& id, Txn& txn, const wire::LockRequest& r,
                          std::int64_t deadline_us) {
  using Scheme = wire::LockRequest::Scheme;
  Remembered& known = wait_for(session, id.request, txn, false);
  known.items =
      r.scheme == Scheme::path ? parts_of(r.items.front(), options_.table.separator, table_.modes()) : r.items;
  ++counters_.waiting;

  const LockOptions options{
      .wait = !r.wait_us || *r.wait_us != 0, .now = now_.steady_us, .deadline = deadline_us, .tag = id.request};
  std::vector<LockItem> items;
  for (const auto& item : known.items) items.push_back({item.name, *table_.modes().find(item.mode)});
  tl::expected<LockManyAnswer, LockError> result;
  if (r.scheme == Scheme::some) {
    result = txn.handle->lock_some(items, r.need, options);
  } else if (items.size() > 1) {
    result = txn.handle->lock_all(items, options);
  } else {
    result = txn.handle->lock(items.front().key, items.front().mode, options).map([](const LockAnswer& a) {
      return a.waiting ? LockManyAnswer{true, a.ticket, {}} : LockManyAnswer{false, {}, {{0, a.fence}}};
    });
  }
  // Its events may have come already.
  const auto it = session.requests.find(id.request);
  if (it == session.requests.end() || it->second.reply.status != LockStatus::waiting) return;
  if (!result) return answer(session, id.request, result.error());
  if (!result->waiting) {
    const auto wanted = std::move(it->second.items);
    return finish_request(session, id.request, grant(txn, id.request, wanted, result->granted));
  }
  it->second.ticket = result->ticket;
  answer_waiting(session, id.request);
}

void LockServer::on(Session& session, const wire::UnlockRequest& r) {
  Txn* txn = find_txn(session, r.txn);
  if (txn != nullptr && txn->doom) return answer(session, r.id.request, *txn->doom);
  const auto hold = txn == nullptr ? std::unordered_map<std::string, Hold>::iterator() : txn->holds.find(r.name);
  if (txn == nullptr || hold == txn->holds.end())
    return answer(session, r.id.request, LockStatus::not_held,
                  "transaction " + r.txn.str() + " does not hold that resource here");
  const Fence given{r.fence.epoch, r.fence.counter};
  if (given != Fence{} && given != hold->second.shown)
    return answer(session, r.id.request, LockStatus::not_held,
                  "the fence " + std::to_string(given.epoch) + "." + std::to_string(given.counter) +
                      " is not that of the lock, which is " + std::to_string(hold->second.shown.epoch) + "." +
                      std::to_string(hold->second.shown.counter));
  if (r.path) {
    // The last part first, so that nobody sees it held without its parents.
    for (auto end = r.name.rfind(options_.table.separator); end != std::string::npos && end != 0;
         end = r.name.rfind(options_.table.separator, end - 1))
      if (!txn->holds.contains(r.name.substr(0, end)))
        return answer(session, r.id.request, LockStatus::not_held, "not all parts of that path are held");
  }
  tl::expected<void, LockError> done = undo_one(*txn, r.name);
  if (r.path)
    for (auto end = r.name.rfind(options_.table.separator); done && end != std::string::npos && end != 0;
         end = r.name.rfind(options_.table.separator, end - 1))
      done = undo_one(*txn, r.name.substr(0, end));
  if (!done) return answer(session, r.id.request, done.error());
  answer(session, r.id.request, LockStatus::done);
}

tl::expected<void, LockError> LockServer::undo_one(Txn& txn, const std::string& name) {
  auto done = txn.handle->unlock(name);
  if (!done) return done;
  const auto it = txn.holds.find(name);
  if (--it->second.count > 0) {
    write_down(txn, name, it->second);
    return done;
  }
  if (options_.journal) record(HoldGone{txn.handle->id(), name});
  txn.holds.erase(it);
  --counters_.locks;
  return done;
}

void LockServer::on(Session& session, const wire::DowngradeRequest& r) {
  Txn* txn = find_txn(session, r.txn);
  const auto mode = table_.modes().find(r.mode);
  if (!mode) return answer(session, r.id.request, LockStatus::invalid, "there is no lock mode \"" + r.mode + "\" here");
  if (txn == nullptr)
    return answer(session, r.id.request, LockStatus::not_held, "transaction " + r.txn.str() + " holds nothing here");
  if (auto done = txn->handle->downgrade(r.name, *mode); !done)
    return answer(session, r.id.request, txn->doom ? *txn->doom : done.error());
  Hold& hold = txn->holds.at(r.name);
  hold.mode = *mode;
  write_down(*txn, r.name, hold);
  answer(session, r.id.request, LockStatus::done);
}

void LockServer::on(Session& session, const wire::EndRequest& r) {
  if (Txn* txn = find_txn(session, r.txn)) end_txn(*txn);
  session.ended.insert_or_assign(r.txn, r.id.request);
  answer(session, r.id.request, LockStatus::done);
}

void LockServer::on(Session& session, const wire::CancelRequest& r) {
  if (const auto it = session.requests.find(r.target);
      it != session.requests.end() && it->second.reply.status == LockStatus::waiting) {
    if (it->second.held_back) {
      answer(session, r.target, LockStatus::cancelled, "the caller withdrew the request");
    } else if (it->second.txn != nullptr) {
      it->second.txn->handle->cancel(it->second.ticket);
    }
  }
  answer(session, r.id.request, LockStatus::done);
}

void LockServer::on(Session& session, const wire::BeginRequest& r) {
  const auto strategy = strategy_of(r.strategy);
  if (!r.strategy.empty() && !strategy)
    return answer(session, r.id.request, LockStatus::invalid, "there is no strategy \"" + r.strategy + "\"");
  const auto txn = txn_of(session, r.txn, r.id.request, r.start, strategy);
  if (!txn) return answer(session, r.id.request, txn.error());
  (*txn)->priority = r.priority;
  (*txn)->restarts = r.restarts;
  (*txn)->label = r.label;
  answer(session, r.id.request, LockStatus::done);
}

}  // namespace gordian::lease
