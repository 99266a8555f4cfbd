/* The lock client for C and for languages that call C. What the calls mean: lock_client.hpp and docs/lock-client.md.
 *
 * Conventions:
 *
 * 1. Handles are opaque. What gordian_..._open/begin/new returns through its last argument is given back with the ..._free of its
 *    type. Freeing a session closes it, freeing a transaction ends it, both without waiting for the agents. NULL may be freed.
 *    A transaction may outlive its session and client, a session its client: calls fail then.
 * 2. Every call that can fail returns a status: GORDIAN_OK (0) or another value of enum gordian_status. No exception leaves.
 *    Handles and arguments named out_... are only written when it is GORDIAN_OK.
 * 3. Every call that can fail takes a gordian_error*, or NULL, after its inputs. It is filled on failure, and need not be cleared
 *    before. Its texts end with NUL and are cut to fit.
 * 4. Resource names are bytes with a length, any bytes, 1 to 1024. All other texts end with NUL; they are copied.
 * 5. Times are in microseconds, if their name does not say otherwise.
 * 6. Any function may be called from any thread; of one handle not while it is being freed.
 * 7. Callbacks run on a thread of the client, one at a time, with the `user` pointer that was given along. They must not call
 *    functions that block (lock, unlock, downgrade, end, close, gordian_client_free): those return GORDIAN_INVALID there.
 *    No callback begins after gordian_client_free returned.
 * 8. Structs of options are initialised with gordian_..._options_init, so that fields added later have their defaults.
 */
#ifndef GORDIAN_C_H
#define GORDIAN_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* NOLINTBEGIN(modernize-use-using): C has no other word for it */
typedef struct gordian_client gordian_client;
typedef struct gordian_session gordian_session;
typedef struct gordian_txn gordian_txn;

/* The numbers of docs/lock-protocol.md, and from 64 on what the client alone says. */
enum gordian_status {
  GORDIAN_OK = 0,
  GORDIAN_DEADLOCK = 2,
  GORDIAN_TIMEOUT = 3,
  GORDIAN_CANCELLED = 4,
  GORDIAN_LEASE_LOST = 5,
  GORDIAN_REFUSED = 6,
  GORDIAN_WOUNDED = 7,
  GORDIAN_OUT_OF_ORDER = 8,
  GORDIAN_LIMIT = 9,
  GORDIAN_NOT_HELD = 10,
  GORDIAN_INVALID = 11,
  GORDIAN_FORCED = 12,
  GORDIAN_UNREACHABLE = 64,
  GORDIAN_FAILURE = 65 /* out of memory, or a fault inside the library; the text says which */
};

typedef struct gordian_error {
  int status;
  char text[512];
  char incident[64]; /* of GORDIAN_DEADLOCK: what `gordian deadlocks` calls it */
} gordian_error;

/* Grows with every grant of a resource to another holder; compare epoch, then counter. Hand it to the resource. */
typedef struct gordian_fence {
  uint64_t epoch;
  uint64_t counter;
} gordian_fence;

/* "0.1.0" */
const char* gordian_version(void);
/* "deadlock", "timeout", …; of a number that is none "unknown". */
const char* gordian_status_name(int status);

/* --- Client --- */

typedef struct gordian_client_options {
  const char* agents; /* "SITE=ENDPOINT", or several with commas; required */
  const char* label;  /* shown to people; NULL: none */
  int64_t reply_limit;
  void (*on_log)(void* user, int level, const char* text); /* level: 0 debug, 1 info, 2 warn, 3 error */
  void* user;
} gordian_client_options;

void gordian_client_options_init(gordian_client_options* options);
int gordian_client_open(const gordian_client_options* options, gordian_error* error, gordian_client** out_client);
/* Closes all sessions without waiting for the agents, and joins the client's thread. Not from a callback. */
void gordian_client_free(gordian_client* client);

/* --- Sessions: leases --- */

typedef struct gordian_session_options {
  int64_t ttl; /* 100 ms to 1 h */
  int64_t lock_delay;
  void (*on_jeopardy)(void* user, int64_t remaining);
  void (*on_lost)(void* user, const gordian_error* reason);
  void* user;
} gordian_session_options;

void gordian_session_options_init(gordian_session_options* options);
/* `options` may be NULL. */
int gordian_session_open(gordian_client* client, const gordian_session_options* options, gordian_error* error,
                         gordian_session** out_session);
/* How long what the session holds is surely its own; 0 when it is over. */
int64_t gordian_session_remaining(const gordian_session* session);
/* GORDIAN_OK while the session lives, else why it is over. */
int gordian_session_lost(const gordian_session* session, gordian_error* error);
/* Releases everything; blocks until the agents said so. */
int gordian_session_close(gordian_session* session, gordian_error* error);
void gordian_session_free(gordian_session* session);

/* --- Transactions --- */

typedef struct gordian_txn_options {
  const char* id;       /* global name, 1 to 128 bytes; NULL: one that nobody else has */
  double start;         /* first start in Unix microseconds; a restarted transaction keeps it; 0: now */
  double priority;      /* lower is aborted first */
  double restarts;      /* how often it was a victim already */
  const char* label;    /* shown to people; NULL: none */
  const char* strategy; /* "detect", "wait_die", …; NULL: the agents' */
  void (*on_aborted)(void* user, const gordian_error* reason);
  void* user;
} gordian_txn_options;

void gordian_txn_options_init(gordian_txn_options* options);
/* `options` may be NULL. */
int gordian_txn_begin(gordian_session* session, const gordian_txn_options* options, gordian_error* error, gordian_txn** out_txn);
/* Valid as long as the handle. */
const char* gordian_txn_id(const gordian_txn* txn);
/* GORDIAN_OK, or why all calls of the transaction fail. */
int gordian_txn_error(const gordian_txn* txn, gordian_error* error);
/* Ends it: everything released everywhere; blocks until the agents said so. */
int gordian_txn_end(gordian_txn* txn, gordian_error* error);
/* Withdraws all its requests that wait. From any thread. */
void gordian_txn_cancel(gordian_txn* txn);
void gordian_txn_free(gordian_txn* txn);

/* --- Locks --- */

/* Of `wait`: without end. 0 is at once or GORDIAN_REFUSED. */
#define GORDIAN_FOREVER INT64_C(-1)

typedef struct gordian_item {
  const void* name;
  size_t name_bytes;
  const char* mode; /* "X", "S", …; NULL: "X" */
} gordian_item;

/* Blocks until it is granted or an error. `out_fence` may be NULL. */
int gordian_lock(gordian_txn* txn, const void* name, size_t name_bytes, const char* mode, int64_t wait, gordian_error* error,
                 gordian_fence* out_fence);
/* All of them or none. `out_fences` has room for `count`, in the order of `items`, or is NULL. */
int gordian_lock_all(gordian_txn* txn, const gordian_item* items, size_t count, int64_t wait, gordian_error* error,
                     gordian_fence* out_fences);
/* Undoes one lock. GORDIAN_NOT_HELD if it is not held (any more) under that fence; (0, 0) is not compared. */
int gordian_unlock(gordian_txn* txn, const void* name, size_t name_bytes, gordian_fence fence, gordian_error* error);
/* Holds it in the weaker `mode` from now on. */
int gordian_downgrade(gordian_txn* txn, const void* name, size_t name_bytes, const char* mode, gordian_error* error);

/* NOLINTEND(modernize-use-using) */

#ifdef __cplusplus
}
#endif

#endif
