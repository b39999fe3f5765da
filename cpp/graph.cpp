#include "graph.hpp"

#include "vss/src/graph.rs.h"

#include <algorithm>
#include <atomic>
#include <cfloat>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <vector>

#include <usearch/index.hpp>

namespace vss {

namespace {

using unum::usearch::get_slot;

//! Sum of `dimensions` products or squared differences.
using Kernel = float (*)(const float *, const float *, size_t);

//! Where the allocations of the running call are counted. usearch makes its allocators anew for every buffer, so they
//! cannot carry the counter themselves.
thread_local std::atomic<size_t> *meter = nullptr;

//! Counts allocations of this thread to `counter` while it lives.
class MeterScope {
public:
	explicit MeterScope(std::atomic<size_t> &counter) : outer(meter) {
		meter = &counter;
	}
	~MeterScope() {
		meter = outer;
	}

private:
	std::atomic<size_t> *outer;
};

//! Tables and scratch space of usearch, which tests for null and does not expect exceptions.
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
			meter->fetch_add(count * sizeof(T), std::memory_order_relaxed);
		}
		return static_cast<T *>(memory);
	}
	void deallocate(T *memory, size_t count) noexcept {
		if (memory) {
			meter->fetch_sub(count * sizeof(T), std::memory_order_relaxed);
			operator delete(memory, std::align_val_t(alignof(T)));
		}
	}
};

//! Adjacency lists, one behind the other in chunks that grow with the whole; freed only together.
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

//! A handle to the tape, as usearch copies its allocators about.
struct TapeAllocator {
	using value_type = char;
	Tape *tape = nullptr;

	char *allocate(size_t bytes) noexcept {
		return tape->Allocate(bytes);
	}
	void deallocate(char *, size_t) noexcept {
	}
	//! Tells usearch that nodes need not be freed one by one.
	void reset() noexcept {
	}
};

using Base = unum::usearch::index_gt<float, uint32_t, uint32_t, CountedAllocator<char>, TapeAllocator>;

constexpr uint32_t NO_SLOT = UINT32_MAX;

//! The vector that is added or searched for.
struct Query {
	const float *vector;
	//! The slot of the vector itself, while it is being added.
	uint32_t self = NO_SLOT;
};

//! The vectors by slot, as src/vectors.rs lays them out.
struct Vectors {
	//! Bytes of a vector that are fetched ahead; the processor's own prefetcher does the rest.
	static constexpr size_t PREFETCH_BYTES = 256;
	static constexpr size_t CACHE_LINE = 64;

	//! Loaded anew for every vector: other threads may extend the arena, and link to the new nodes, meanwhile.
	const size_t *table;
	uint32_t shift;
	size_t dimensions;

	float *At(size_t slot) const noexcept {
		auto segments = reinterpret_cast<const size_t *>(__atomic_load_n(table, __ATOMIC_ACQUIRE));
		auto segment = reinterpret_cast<float *>(segments[slot >> shift]);
		return segment + (slot & ((size_t(1) << shift) - 1)) * dimensions;
	}

	//! usearch's prefetch functor: called with the neighbours about to be measured.
	template <class ITERATOR>
	void operator()(ITERATOR begin, ITERATOR end) const noexcept {
		auto bytes = std::min(dimensions * sizeof(float), PREFETCH_BYTES);
		for (; begin != end; ++begin) {
			auto vector = reinterpret_cast<const char *>(At(get_slot(begin)));
			for (size_t at = 0; at < bytes; at += CACHE_LINE) {
				__builtin_prefetch(vector + at);
			}
		}
	}
};

//! usearch's metric functor.
struct Metric {
	Vectors vectors;
	Kernel kernel;
	//! The kernel is an inner product: the distance is one minus it.
	bool product;
	//! How much farther apart two neighbours of a node count while links are chosen.
	float relax;

	float Between(const float *a, const float *b) const noexcept {
		auto value = kernel(a, b, vectors.dimensions);
		return product ? 1 - value : value;
	}
	template <class ENTRY>
	float operator()(const Query &query, const ENTRY &entry) const noexcept {
		auto slot = get_slot(entry);
		// Other threads may link to a node that is still being added, so its own search can meet it. As its nearest
		// neighbour it would crowd out all others.
		return slot == query.self ? FLT_MAX : Between(query.vector, vectors.At(slot));
	}
	template <class ENTRY>
	float operator()(const ENTRY &a, const ENTRY &b) const noexcept {
		return relax * Between(vectors.At(get_slot(a)), vectors.At(get_slot(b)));
	}
};

//! Takes the message out of a usearch error, whose destructor would throw it.
template <class RESULT>
void Check(RESULT &result) {
	if (auto message = result.error.release()) {
		throw std::runtime_error(message);
	}
}

} // namespace

struct Hnsw::State {
	explicit State(const Shape &shape_p) : shape(shape_p) {
	}
	~State() {
		MeterScope scope(tables);
		base.reset();
	}

	struct Metric Metric(const Step &step) const noexcept {
		Vectors vectors {step.table, shape.segment_shift, shape.dimensions};
		return {vectors, reinterpret_cast<Kernel>(shape.kernel), shape.product, shape.relax};
	}

	const Shape shape;
	mutable std::atomic<size_t> tables {0};
	Tape tape;
	std::unique_ptr<Base> base;
};

Hnsw::Hnsw(const Shape &shape) : state(std::make_unique<State>(shape)) {
	MeterScope scope(state->tables);
	auto made = Base::make({shape.m, shape.m0}, {}, TapeAllocator {&state->tape});
	Check(made);
	state->base = std::make_unique<Base>(std::move(made.index));
}

Hnsw::~Hnsw() = default;

void Hnsw::reserve(size_t rows, size_t threads) const {
	MeterScope scope(state->tables);
	if (!state->base->try_reserve({rows, threads})) {
		throw std::bad_alloc();
	}
}

Added Hnsw::add(const Step &step) const {
	MeterScope scope(state->tables);
	auto metric = state->Metric(step);
	Query query {step.vector};
	auto place = [&](Base::member_ref_t node) {
		query.self = node.slot;
		std::copy_n(query.vector, metric.vectors.dimensions, metric.vectors.At(node.slot));
	};
	auto result = state->base->add(0, query, metric, {step.width, step.thread}, place, metric.vectors);
	Check(result);
	return {result.slot, result.visited_members, result.computed_distances};
}

Walk Hnsw::search(const Step &step, const Allow &allow, rust::Slice<uint32_t> slots,
                  rust::Slice<float> distances) const {
	MeterScope scope(state->tables);
	auto metric = state->Metric(step);
	Query query {step.vector};
	auto pass = [&](Base::member_cref_t node) { return allow.allowed(node.slot); };
	auto result =
	    state->base->search(query, slots.size(), metric, {step.width, step.thread, false}, pass, metric.vectors);
	Check(result);
	for (size_t i = 0; i < result.size(); i++) {
		auto match = result[i];
		slots[i] = match.member.slot;
		distances[i] = match.distance;
	}
	return {result.size(), result.visited_members, result.computed_distances};
}

size_t Hnsw::size() const noexcept {
	return state->base->size();
}

size_t Hnsw::link_bytes() const noexcept {
	return state->tape.Used();
}

size_t Hnsw::table_bytes() const noexcept {
	return state->tables.load(std::memory_order_relaxed);
}

size_t Hnsw::level(uint32_t slot) const noexcept {
	return state->base->level_of(slot);
}

size_t Hnsw::neighbors(uint32_t slot, size_t level, rust::Slice<uint32_t> out) const noexcept {
	auto view = state->base->neighbors(slot, level);
	auto count = std::min(view.size(), out.size());
	for (size_t i = 0; i < count; i++) {
		out[i] = view[i].slot;
	}
	return count;
}

rust::Vec<LevelSize> Hnsw::levels() const {
	rust::Vec<LevelSize> sizes;
	if (state->base->size() == 0) {
		return sizes;
	}
	std::vector<Base::stats_t> stats(state->base->max_level() + 1);
	state->base->stats(stats.data(), stats.size() - 1);
	for (auto &level : stats) {
		sizes.push_back({level.nodes, level.edges, level.max_edges, level.allocated_bytes});
	}
	return sizes;
}

std::unique_ptr<Hnsw> make_hnsw(const Shape &shape) {
	return std::make_unique<Hnsw>(shape);
}

} // namespace vss
