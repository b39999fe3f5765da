//! Memory of a graph, counted because the index answers for every byte. The interfaces of the classes are usearch's.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace vss {

//! Lists of links, one after the other, in chunks that grow with the whole. They are freed only together.
class Tape {
public:
	Tape() = default;
	Tape(const Tape &) = delete;
	~Tape() {
		while (last) {
			auto before = last->before;
			std::free(last);
			last = before;
		}
	}

	//! index_gt::add calls this with its global lock held. Null when out of memory.
	char *Allocate(size_t bytes) noexcept {
		if (bytes > left) {
			auto size = std::max(bytes, std::max(CHUNK_MIN, used.load(std::memory_order_relaxed) / 8));
			auto chunk = static_cast<Chunk *>(std::malloc(sizeof(Chunk) + size));
			if (!chunk) {
				return nullptr;
			}
			chunk->before = last;
			last = chunk;
			next = reinterpret_cast<char *>(chunk + 1);
			left = size;
		}
		auto result = next;
		next += bytes;
		left -= bytes;
		used.fetch_add(bytes, std::memory_order_relaxed);
		return result;
	}
	size_t Used() const noexcept {
		return used.load(std::memory_order_relaxed);
	}

private:
	static constexpr size_t CHUNK_MIN = 64 * 1024;
	struct Chunk {
		Chunk *before;
	};

	Chunk *last = nullptr;
	char *next = nullptr;
	size_t left = 0;
	std::atomic<size_t> used {0};
};

//! The memory of one graph.
struct Memory {
	//! Bytes of tables and scratch space.
	std::atomic<size_t> tables {0};
	Tape tape;
};

//! The memory from which the running call allocates. usearch creates its allocators anew for every buffer, and when it
//! loads a graph, so an allocator cannot carry its memory itself.
inline thread_local Memory *memory_in_use = nullptr;

//! While it lives, this thread allocates from `memory`.
class MemoryScope {
public:
	explicit MemoryScope(Memory &memory) : outer(memory_in_use) {
		memory_in_use = &memory;
	}
	~MemoryScope() {
		memory_in_use = outer;
	}

private:
	Memory *outer;
};

//! Allocates tables and scratch space of usearch, which tests for null and does not expect exceptions.
template <class T>
struct CountedAllocator {
	using value_type = T;

	CountedAllocator() = default;
	template <class U>
	CountedAllocator(const CountedAllocator<U> &) {
	}

	T *allocate(size_t count) noexcept {
		auto memory = operator new(count * sizeof(T), std::align_val_t(alignof(T)), std::nothrow);
		if (memory) {
			memory_in_use->tables.fetch_add(count * sizeof(T), std::memory_order_relaxed);
		}
		return static_cast<T *>(memory);
	}
	void deallocate(T *memory, size_t count) noexcept {
		if (memory) {
			memory_in_use->tables.fetch_sub(count * sizeof(T), std::memory_order_relaxed);
			operator delete(memory, std::align_val_t(alignof(T)));
		}
	}
};

//! Allocates from the tape; a class without state, since usearch copies its allocators.
struct TapeAllocator {
	using value_type = char;

	char *allocate(size_t bytes) noexcept {
		return memory_in_use->tape.Allocate(bytes);
	}
	void deallocate(char *, size_t) noexcept {
	}
	//! Does nothing: usearch need not free nodes one by one.
	void reset() noexcept {
	}
};

} // namespace vss
