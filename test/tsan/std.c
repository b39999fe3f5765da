/* What ThreadSanitizer has to know of Rust's standard library, which is not compiled for it.
 *
 * The locks are parking_lot's, which is. The end of a scoped thread does not reach the sanitizer, so that what comes after it looks
 * unordered. The linker replaces these functions by the ones below (--wrap), which tell it. The name of the real one comes from run.sh;
 * it takes pointers and numbers only, so Rust's calling convention is C's. */
#include <stdbool.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define NAME2(prefix, name) prefix##name
#define NAME(prefix, name) NAME2(prefix, name)
#define WRAP(name) NAME(__wrap_, name)
#define REAL(name) NAME(__real_, name)

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
