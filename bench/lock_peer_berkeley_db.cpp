// Berkeley DB's lock subsystem alone: an environment private to this process, lock_get for each lock, one lock_vec to put all.
#include <db.h>

#include <array>
#include <stdexcept>

#include "lock_contestants.hpp"

namespace gordian::bench {
namespace {

void check(int code, const char* what) {
  if (code != 0) throw std::runtime_error(std::string("Berkeley DB: ") + what + ": " + db_strerror(code));
}

class BerkeleyDb : public Contestant {
 public:
  BerkeleyDb(std::size_t threads, const std::string& folder) : lockers_(threads) {
    check(db_env_create(&env_, 0), "create");
    check(env_->set_lk_max_locks(env_, 100'000), "set_lk_max_locks");
    check(env_->set_lk_max_objects(env_, 100'000), "set_lk_max_objects");
    check(env_->set_lk_partitions(env_, 64), "set_lk_partitions");
    check(env_->open(env_, folder.c_str(), DB_CREATE | DB_INIT_LOCK | DB_PRIVATE | DB_THREAD, 0600), "open");
    for (auto& locker : lockers_) check(env_->lock_id(env_, &locker), "lock_id");
  }
  ~BerkeleyDb() override { env_->close(env_, 0); }

  std::string name() const override { return "Berkeley DB"; }

  void run(std::size_t thread, Keys keys) override {
    const std::size_t locks = keys.size() / key_bytes;
    DB_LOCK lock;
    for (std::size_t i = 0; i < locks; ++i) {
      const auto key = key_at(keys, i);
      DBT name{};
      name.data = const_cast<char*>(key.data());
      name.size = static_cast<u_int32_t>(key.size());
      const int code = env_->lock_get(env_, lockers_[thread], DB_LOCK_NOWAIT, &name, DB_LOCK_WRITE, &lock);
      if (code != DB_LOCK_NOTGRANTED) check(code, "lock_get");
      if ((i + 1) % locks_per_txn != 0) continue;
      DB_LOCKREQ all{};
      all.op = DB_LOCK_PUT_ALL;
      check(env_->lock_vec(env_, lockers_[thread], 0, &all, 1, nullptr), "lock_vec");
    }
  }

 private:
  DB_ENV* env_ = nullptr;
  std::vector<u_int32_t> lockers_;
};

}  // namespace

std::unique_ptr<Contestant> make_berkeley_db(std::size_t threads, const std::string& folder) {
  return std::make_unique<BerkeleyDb>(threads, folder);
}

}  // namespace gordian::bench
