// The lock table against a naive model: a list of holders and one of waiters for each resource, and the rules as they are said.
#include <random>

#include "lock_mirror.hpp"
#include "lock_scene.hpp"

using namespace gordian;
using gordian::test::Mirror;
using gordian::test::Scene;
using gordian::test::Told;

namespace {

class Model {
 public:
  explicit Model(const ModeMatrix& modes) : modes_(modes) {}

  std::string lock(const std::string& txn, const std::string& key, Mode mode, bool wait) {
    Resource& r = resources_[key];
    if (Hold* own = find(r, txn)) {
      const Mode target = modes_.join(own->mode, mode);
      if (target != own->mode && !fits(r, txn, target)) {
        if (!wait) return "refused";
        r.converting.push_back({txn, target});
        return "waits";
      }
      own->mode = target;
      ++own->count;
      return "granted";
    }
    if (fits(r, txn, mode) && in_nobodys_way(r.converting, mode) && in_nobodys_way(r.waiting, mode)) {
      r.holders.push_back({txn, mode, 1});
      return "granted";
    }
    if (!wait) return drop_if_free(key), "refused";
    r.waiting.push_back({txn, mode});
    return "waits";
  }
  bool unlock(const std::string& txn, const std::string& key) {
    Hold* own = find(resources_[key], txn);
    if (own == nullptr) return drop_if_free(key), false;
    if (--own->count == 0) erase(resources_[key].holders, txn);
    pass_on(key);
    return true;
  }
  bool downgrade(const std::string& txn, const std::string& key, Mode mode) {
    Hold* own = find(resources_[key], txn);
    if (own == nullptr || modes_.join(own->mode, mode) != own->mode) return drop_if_free(key), false;
    own->mode = mode;
    pass_on(key);
    return true;
  }
  bool cancel(const std::string& txn) {
    for (auto& [key, r] : resources_)
      if (erase(r.converting, txn) || erase(r.waiting, txn)) {
        pass_on(std::string(key));
        return true;
      }
    return false;
  }
  /// True if `txn` was let past `ahead_of` at `key`.
  bool advance(const std::string& txn, const std::string& key, const std::string& ahead_of) {
    const auto resource = resources_.find(key);
    if (resource == resources_.end()) return false;
    Resource& r = resource->second;
    const auto of = [](auto& list, const std::string& name) {
      return std::find_if(list.begin(), list.end(), [&](const Ask& ask) { return ask.txn == name; });
    };
    const auto mover = of(r.waiting, txn);
    if (mover == r.waiting.end()) return false;
    if (const auto ahead = of(r.waiting, ahead_of); ahead < mover) {
      std::rotate(ahead, mover, mover + 1);
    } else if (const auto conversion = of(r.converting, ahead_of); conversion != r.converting.end()) {
      const std::vector<Ask> before(r.converting.begin(), conversion);
      if (!fits(r, txn, mover->mode) || !in_nobodys_way(before, mover->mode)) return false;
      r.holders.push_back({txn, mover->mode, 1});
      told_.push_back(txn + " granted");
      r.waiting.erase(mover);
    } else {
      return false;
    }
    pass_on(key);
    return true;
  }
  void end(const std::string& txn) {
    std::vector<std::string> keys;
    for (auto& [key, r] : resources_) keys.push_back(key);
    for (const auto& key : keys) {
      Resource& r = resources_[key];
      erase(r.converting, txn);
      erase(r.waiting, txn);
      erase(r.holders, txn);
      pass_on(key);
    }
  }
  bool waits(const std::string& txn) const {
    const auto is = [&](const Ask& ask) { return ask.txn == txn; };
    for (const auto& [key, r] : resources_)
      if (std::any_of(r.converting.begin(), r.converting.end(), is) ||
          std::any_of(r.waiting.begin(), r.waiting.end(), is))
        return true;
    return false;
  }
  Told told() { return std::exchange(told_, {}); }

  std::string state(const std::string& key) const {
    const auto found = resources_.find(key);
    if (found == resources_.end()) return "free";
    std::set<std::string> holders;
    for (const Hold& h : found->second.holders)
      holders.insert(h.txn + ":" + std::string(modes_.name(h.mode)) + "*" + std::to_string(h.count));
    std::string text;
    for (const auto& h : holders) text += h + " ";
    text += "|";
    for (const auto* list : {&found->second.converting, &found->second.waiting})
      for (const Ask& a : *list) text += " " + a.txn + ":" + std::string(modes_.name(a.mode));
    return text;
  }

 private:
  struct Hold {
    std::string txn;
    Mode mode;
    int count;
  };
  struct Ask {
    std::string txn;
    Mode mode;
  };
  struct Resource {
    std::vector<Hold> holders;
    std::vector<Ask> converting, waiting;
  };

  static Hold* find(Resource& r, const std::string& txn) {
    for (Hold& hold : r.holders)
      if (hold.txn == txn) return &hold;
    return nullptr;
  }
  template <class List>
  static bool erase(List& list, const std::string& txn) {
    const auto found = std::find_if(list.begin(), list.end(), [&](const auto& one) { return one.txn == txn; });
    if (found == list.end()) return false;
    list.erase(found);
    return true;
  }
  bool fits(const Resource& r, const std::string& txn, Mode mode) const {
    return std::all_of(r.holders.begin(), r.holders.end(),
                       [&](const Hold& h) { return h.txn == txn || !has(modes_.conflicts(mode), h.mode); });
  }
  bool in_nobodys_way(const std::vector<Ask>& asks, Mode mode) const {
    return std::all_of(asks.begin(), asks.end(), [&](const Ask& a) { return !has(modes_.conflicts(a.mode), mode); });
  }
  bool grant_one(Resource& r) {
    for (const Ask& ask : r.converting)
      if (fits(r, ask.txn, ask.mode)) {
        Hold* own = find(r, ask.txn);
        own->mode = ask.mode;
        ++own->count;
        told_.push_back(ask.txn + " granted");
        erase(r.converting, std::string(ask.txn));
        return true;
      }
    std::vector<Ask> before;
    for (const Ask& ask : r.waiting) {
      if (fits(r, ask.txn, ask.mode) && in_nobodys_way(r.converting, ask.mode) && in_nobodys_way(before, ask.mode)) {
        r.holders.push_back({ask.txn, ask.mode, 1});
        told_.push_back(ask.txn + " granted");
        erase(r.waiting, std::string(ask.txn));
        return true;
      }
      before.push_back(ask);
    }
    return false;
  }
  void pass_on(const std::string& key) {
    while (grant_one(resources_[key])) {
    }
    drop_if_free(key);
  }
  void drop_if_free(const std::string& key) {
    if (resources_[key].holders.empty()) resources_.erase(key);
  }

  const ModeMatrix& modes_;
  std::map<std::string, Resource> resources_;
  Told told_;
};

/// The table's state in the model's words.
std::string state_of(const LockTable& table, const std::string& key) {
  const auto view = table.resource(key);
  if (!view) return "free";
  std::set<std::string> holders;
  for (const auto& h : view->holders)
    holders.insert(h.txn.str() + ":" + std::string(table.modes().name(h.mode)) + "*" + std::to_string(h.count));
  std::string text;
  for (const auto& h : holders) text += h + " ";
  text += "|";
  for (const auto& w : view->waiters) text += " " + w.txn.str() + ":" + std::string(table.modes().name(w.mode));
  return text;
}

const std::vector<std::string> keys{"a", "b", "a-long-name-that-does-not-fit-into-the-head"};

/// One random step for both; what they say must be the same.
void step(std::mt19937& random, Scene& s, Model& model, const Mirror& mirror, int& advanced) {
  const std::string name = "T" + std::to_string(1 + random() % 7);
  const std::string& key = keys[random() % keys.size()];
  const Mode mode{static_cast<std::uint8_t>(random() % s.table.modes().size())};
  const auto what = random() % 100;
  if (what < 5) {
    model.end(name);
    s.end(name);
  } else if (model.waits(name)) {
    const std::string ahead_of = "T" + std::to_string(1 + random() % 7);
    if (what >= 60) {
      for (const auto& at : keys) {
        const auto wait = mirror.wait_of(TxnId(name), at);
        const bool done = wait && model.advance(name, at, ahead_of);
        CHECK(s.table.advance(at, wait.value_or(WaitNumber{1}), TxnId(ahead_of)) == done);
        advanced += done ? 1 : 0;
      }
    } else if (what < 30) {
      CHECK(s.txn(name).cancel(s.ticket[name]));
      CHECK(model.cancel(name));
      CHECK(s.last_error.code == LockError::Code::cancelled);
    }
  } else if (what < 65) {
    CHECK(s.lock(name, key, mode) == model.lock(name, key, mode, true));
  } else if (what < 75) {
    CHECK(s.try_lock(name, key, mode) == model.lock(name, key, mode, false));
  } else if (what < 90) {
    CHECK(s.txn(name).unlock(key).has_value() == model.unlock(name, key));
  } else {
    CHECK(s.txn(name).downgrade(key, mode).has_value() == model.downgrade(name, key, mode));
  }
}

void compare_with_model(const ModeMatrix& modes, unsigned seeds) {
  int advanced = 0;
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Mirror mirror;
    Scene s({.modes = modes, .shards = 2, .observer = &mirror});
    Model model(s.table.modes());
    for (int i = 0; i < 400; ++i) {
      CAPTURE(i);
      step(random, s, model, mirror, advanced);
      // A transaction that ends gives back several resources: their order is the table's business.
      Told told = s.told(), expected = model.told();
      std::erase_if(told, [](const std::string& line) { return line.ends_with("cancelled"); });
      std::sort(told.begin(), told.end());
      std::sort(expected.begin(), expected.end());
      REQUIRE(told == expected);
      for (const auto& key : keys) REQUIRE(state_of(s.table, key) == model.state(key));
      mirror.check_against(s.table);
    }
  }
  CHECK(advanced > 2 * static_cast<int>(seeds));
}

}  // namespace

TEST_CASE("the table does what the naive model does, standard modes") { compare_with_model(modes::standard(), 150); }

TEST_CASE("the table does what the naive model does, VMS modes") { compare_with_model(modes::dlm(), 75); }

TEST_CASE("the table does what the naive model does, modes that conflict one way only") {
  // R is let in while W is held (it reads the version before), but W waits for readers; X excludes all.
  const auto modes = ModeMatrix::make({{"R", 0b100, {}}, {"W", 0b111, {}}, {"X", 0b111, {}}});
  REQUIRE(modes);
  compare_with_model(*modes, 75);
}

TEST_CASE("calls for several resources: random ones leave nothing behind, and no waiter without a blocker") {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Mirror mirror;
    Scene s({.observer = &mirror});
    std::set<std::string> waiting;
    for (int i = 0; i < 300; ++i) {
      const std::string name = "T" + std::to_string(1 + random() % 6);
      const Mode mode = Mode(random() % 6);
      std::vector<LockItem> items;
      static const std::vector<std::string> names{"a", "a/b", "a/b/c", "d", "e"};
      for (unsigned k = 0; k <= random() % 4; ++k)
        items.push_back({names[random() % names.size()], Mode(random() % 6)});
      std::string outcome;
      switch (random() % 8) {
        case 0: s.end(name), waiting.erase(name); break;
        case 1: s.txn(name).cancel(s.ticket[name]), waiting.erase(name); break;
        case 2: s.table.expire(i); break;
        case 3: (void)s.txn(name).unlock(items[0].key); break;
        case 4: outcome = s.outcome(name, s.txn(name).lock_path("a/b/c", mode, {.deadline = i + 20})); break;
        case 5: outcome = s.outcome(name, s.txn(name).lock_all(items, {.deadline = i + 20})); break;
        case 6:
          outcome = s.outcome(name, s.txn(name).lock_some(items, 1 + random() % items.size(), {.deadline = i + 20}));
          break;
        case 7: outcome = s.lock(name, items[0].key, mode); break;
      }
      for (const TxnId& victim : mirror.victims())
        if (random() % 2 == 0) s.table.abort(victim, "i");
      for (const std::string& line : s.told())
        if (line.ends_with("aborted: deadlock")) s.end(line.substr(0, line.find(' ')));
      CHECK(s.told().size() < 100);
      mirror.check_against(s.table);
    }
    for (int i = 1; i <= 6; ++i) s.end("T" + std::to_string(i));
    (void)s.told();
    CHECK(s.table.resources().empty());
    CHECK(mirror.resources.empty());
    CHECK(s.table.next_deadline() == never);
  }
}
