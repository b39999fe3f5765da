/* What ThreadSanitizer has to know of Rust's standard library, which is not compiled for it.
 *
 * The fast paths of its locks are inlined into instrumented code. What happens behind them (a lock that somebody waits for, a condition
 * variable, the end of a scoped thread) does not reach the sanitizer, so that two critical sections look unordered. The linker
 * replaces these functions by the ones below (--wrap), which tell it. The names of the real ones come from run.sh; all of them take
 * pointers and numbers only, so Rust's calling convention is C's. */
#include <stdbool.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define NAME2(prefix, name) prefix##name
#define NAME(prefix, name) NAME2(prefix, name)
#define WRAP(name) NAME(__wrap_, name)
#define REAL(name) NAME(__real_, name)

void REAL(MUTEX_LOCK)(void *mutex);
void WRAP(MUTEX_LOCK)(void *mutex) {
	REAL(MUTEX_LOCK)(mutex);
	__tsan_acquire(mutex);
}

/* A reader-writer lock is two numbers. */
static void acquire_both(char *lock) {
	__tsan_acquire(lock);
	__tsan_acquire(lock + 4);
}

void REAL(RWLOCK_READ)(void *lock);
void WRAP(RWLOCK_READ)(void *lock) {
	REAL(RWLOCK_READ)(lock);
	acquire_both(lock);
}

void REAL(RWLOCK_WRITE)(void *lock);
void WRAP(RWLOCK_WRITE)(void *lock) {
	REAL(RWLOCK_WRITE)(lock);
	acquire_both(lock);
}

/* Unlocks the mutex, and locks it again. */
void REAL(CONDVAR_WAIT)(void *condvar, void *mutex);
void WRAP(CONDVAR_WAIT)(void *condvar, void *mutex) {
	__tsan_release(mutex);
	REAL(CONDVAR_WAIT)(condvar, mutex);
	__tsan_acquire(mutex);
}

/* The counter that the owner of the scope reads is one of three words. */
void REAL(SCOPE_END)(void *scope, bool panicked);
void WRAP(SCOPE_END)(void *scope, bool panicked) {
	for (int word = 0; word < 3; word++) {
		__tsan_release((char *)scope + 8 * word);
	}
	REAL(SCOPE_END)(scope, panicked);
}

/* An Arc is freed after `fetch_sub(1, Release)` and a fence, and the sanitizer knows no fences: the subtraction acquires, too. */
enum { RELEASE = 3, ACQUIRE_AND_RELEASE = 4 };

unsigned long __real___tsan_atomic64_fetch_sub(volatile unsigned long *counter, unsigned long by, int order);
unsigned long __wrap___tsan_atomic64_fetch_sub(volatile unsigned long *counter, unsigned long by, int order) {
	return __real___tsan_atomic64_fetch_sub(counter, by, order == RELEASE ? ACQUIRE_AND_RELEASE : order);
}
