#include "graph/hnsw.hpp"

#include "graph/half_linked.hpp"
#include "graph/memory.hpp"
#include "graph/metric.hpp"
#include "vss/src/graph/mod.rs.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>
#include <vector>

#include <usearch/index.hpp>

namespace vss {

namespace {

using namespace hnsw;

using Base = unum::usearch::index_gt<float, uint32_t, uint32_t, CountedAllocator<char>, TapeAllocator>;

//! usearch's type of a node's topmost level, which usearch does not export.
using Level = int16_t;

bool IsIn(rust::Slice<const uint64_t> bits, uint32_t slot) noexcept {
	return slot / 64 < bits.size() && (bits[slot / 64] >> (slot % 64) & 1);
}

//! The links of a node on one level, where usearch keeps them: a count and room for slots, unaligned.
class LinkList {
public:
	explicit LinkList(char *at_p) : at(at_p) {
	}

	uint32_t Count() const noexcept {
		return Load(0);
	}
	uint32_t operator[](size_t i) const noexcept {
		return Load(1 + i);
	}
	//! Adds a slot if there are fewer than `room`; returns whether the slot is in the list now.
	bool Add(uint32_t slot, size_t room) noexcept {
		auto count = Count();
		for (uint32_t i = 0; i < count; i++) {
			if ((*this)[i] == slot) {
				return true;
			}
		}
		if (count >= room) {
			return false;
		}
		count++;
		std::memcpy(at, &count, sizeof(count));
		std::memcpy(at + count * sizeof(slot), &slot, sizeof(slot));
		return true;
	}
	//! Copies as many slots as there is room for, and returns how many.
	size_t Copy(uint32_t *slots, size_t room) const noexcept {
		auto count = std::min<size_t>(Count(), room);
		std::memcpy(slots, at + sizeof(uint32_t), count * sizeof(*slots));
		return count;
	}
	void Assign(const uint32_t *slots, uint32_t count) noexcept {
		std::memcpy(at, &count, sizeof(count));
		if (count > 0) { // an empty list may have no address
			std::memcpy(at + sizeof(count), slots, count * sizeof(*slots));
		}
	}

private:
	uint32_t Load(size_t i) const noexcept {
		uint32_t value;
		std::memcpy(&value, at + i * sizeof(value), sizeof(value));
		return value;
	}

	char *at;
};

//! Takes the message out of a usearch error, whose destructor would throw, and throws it here.
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
		MemoryScope scope(memory);
		base.reset();
	}

	Metric MetricFor(const Step &step, PreparedRow &prepared, Measured *measured = nullptr) const noexcept {
		return {{step.table, shape.segment_shift, shape.row_bytes},
		        reinterpret_cast<MeasureFunction>(shape.measure),
		        reinterpret_cast<Measure4Function>(shape.measure4),
		        shape.length,
		        shape.relax,
		        shape.crowd,
		        half_linked,
		        prepared,
		        measured,
		        step.row};
	}

	//! Links that a node has room for on a level.
	size_t Room(size_t level) const noexcept {
		return level == 0 ? shape.m0 : shape.m;
	}
	//! Where a node's links on a level begin: after its key, its level, and the links of the levels below.
	LinkList LinksOf(uint32_t slot, size_t level) const noexcept {
		auto at = reinterpret_cast<char *>(base->at(slot).key.ptr()) + HEAD_BYTES;
		for (size_t below = 0; below < level; below++) {
			at += ListBytes(below);
		}
		return LinkList(at);
	}
	size_t ListBytes(size_t level) const noexcept {
		return sizeof(uint32_t) * (1 + Room(level));
	}
	//! Links a node anew, for the row of the step.
	Base::add_result_t Update(const Step &step, uint32_t slot, const Metric &metric) const noexcept {
		return base->update(
		    base->iterator_at(slot), 0, Query {step.query}, metric, {step.ef, step.thread}, [](Base::member_ref_t) {},
		    Prefetch {metric, step.query});
	}
	//! After a row was linked: if its walk has found only a crowd, links the row anew beside that crowd.
	void LinkBeyond(const Step &step, HalfLinked::Entry &self, uint32_t slot, const Metric &metric) const noexcept;
	//! Measures candidates for the links of a node, sorts them by distance, and keeps each once.
	void Measure(const Metric &metric, uint32_t slot, std::vector<Near> &near) const;
	//! Adds up to `room` of the candidates to the `kept` links of a node: first those that are nearer to the node than
	//! to any kept one, then the nearest (algorithm 4 of the paper, keepPrunedConnections).
	void Choose(const Metric &metric, const std::vector<Near> &near, size_t room, std::vector<uint32_t> &kept) const;
	//! Adds those neighbours of a deleted node that stay. If there are none, those of its deleted neighbours.
	void Behind(rust::Slice<const uint64_t> deleted, uint32_t bridge, size_t level, std::vector<Near> &near) const;
	//! Consolidates the links of one node on one level. Afterwards `near` holds the candidates.
	void Consolidate(const Metric &metric, rust::Slice<const uint64_t> deleted, uint32_t slot, size_t level,
	                 std::vector<Near> &near) const;

	//! A node's key and level, which usearch puts in front of the links.
	static constexpr size_t HEAD_BYTES = sizeof(Base::vector_key_t) + sizeof(Level);

	const Shape shape;
	mutable Memory memory;
	std::unique_ptr<Base> base;
	HalfLinked half_linked;
};

Hnsw::Hnsw(const Shape &shape) : state(std::make_unique<State>(shape)) {
	MemoryScope scope(state->memory);
	auto made = Base::make({shape.m, shape.m0}, {}, {});
	Check(made);
	state->base = std::make_unique<Base>(std::move(made.index));
	if (state->base->memory_usage_per_node(0) != State::HEAD_BYTES + state->ListBytes(0)) {
		throw std::runtime_error("this version of usearch lays nodes out in another way");
	}
}

Hnsw::~Hnsw() = default;

void Hnsw::reserve(size_t rows, size_t threads) const {
	MemoryScope scope(state->memory);
	if (!state->base->try_reserve({rows, threads})) {
		throw std::bad_alloc();
	}
	state->half_linked.Reserve(threads);
}

Added Hnsw::add(const Step &step) const {
	MemoryScope scope(state->memory);
	Measured measured;
	PreparedRow prepared(state->shape, step);
	auto metric = state->MetricFor(step, prepared, &measured);
	Query query {step.query};
	HalfLinked::Entry self(state->half_linked, step.thread);
	auto place = [&](Base::member_ref_t node) {
		// Nobody can reach a node of the bottom level alone before it has its links.
		if (state->base->level_of(node.slot) > 0) {
			self.Enter(node.slot);
		}
		std::copy_n(step.row, metric.rows.row_bytes, metric.rows.At(node.slot));
	};
	auto result = state->base->add(0, query, metric, {step.ef, step.thread}, place, Prefetch {metric, step.query});
	Check(result);
	state->LinkBeyond(step, self, uint32_t(result.slot), metric);
	return {result.slot, result.visited_members, result.computed_distances};
}

Added Hnsw::relink(const Step &step, uint32_t slot) const {
	MemoryScope scope(state->memory);
	Measured measured;
	PreparedRow prepared(state->shape, step);
	auto metric = state->MetricFor(step, prepared, &measured);
	// Nobody reads this place now, but others may as soon as the first link is made.
	auto place = metric.rows.At(slot);
	if (place != step.row) {
		std::copy_n(step.row, metric.rows.row_bytes, place);
	}
	HalfLinked::Entry self(state->half_linked, step.thread);
	self.Enter(slot);
	auto result = state->Update(step, slot, metric);
	Check(result);
	state->LinkBeyond(step, self, slot, metric);
	return {slot, result.visited_members, result.computed_distances};
}

void Hnsw::State::LinkBeyond(const Step &step, HalfLinked::Entry &self, uint32_t slot,
                             const Metric &metric) const noexcept {
	if (shape.crowd == 0) {
		return;
	}
	auto &measured = *metric.measured;
	auto around = [&](const Near &node) { return metric.Around(node); };
	auto is_in = [&](const Crowd &crowd, uint32_t other) { return metric.IsIn(crowd, other); };
	while (measured.crowds.Find(step.ef, around, is_in)) {
		self.Enter(slot);
		measured.Restart();
		// The row already has links: if memory is short, it keeps those.
		auto result = Update(step, slot, metric);
		if (result.error.release()) {
			return;
		}
	}
}

size_t Hnsw::consolidate(const Step &step, rust::Slice<const uint64_t> deleted, uint32_t begin, uint32_t end,
                         rust::Vec<uint32_t> &orphans) const {
	PreparedRow prepared(state->shape, step);
	auto metric = state->MetricFor(step, prepared);
	std::vector<Near> near;
	size_t distances = 0;
	for (auto slot = begin; slot < end; slot++) {
		if (IsIn(deleted, slot)) {
			continue;
		}
		auto linked = state->LinksOf(slot, 0).Count() > 0;
		for (size_t level = 0; level <= state->base->level_of(slot); level++) {
			near.clear();
			state->Consolidate(metric, deleted, slot, level, near);
			distances += near.size();
		}
		if (linked && state->LinksOf(slot, 0).Count() == 0) {
			orphans.push_back(slot);
		}
	}
	return distances;
}

void Hnsw::State::Consolidate(const Metric &metric, rust::Slice<const uint64_t> deleted, uint32_t slot, size_t level,
                              std::vector<Near> &near) const {
	auto links = LinksOf(slot, level);
	std::vector<uint32_t> kept, lost;
	for (uint32_t i = 0; i < links.Count(); i++) {
		(IsIn(deleted, links[i]) ? lost : kept).push_back(links[i]);
	}
	if (lost.empty()) {
		return;
	}
	auto inherited = kept.size();
	for (auto &bridge : lost) {
		Behind(deleted, bridge, level, near);
	}
	auto known = [&](const Near &other) {
		return other.slot == slot || std::find(kept.begin(), kept.end(), other.slot) != kept.end();
	};
	near.erase(std::remove_if(near.begin(), near.end(), known), near.end());
	Measure(metric, slot, near);
	// Links to nodes that stay are kept, and lost ones are replaced, so that lists do not shrink from one consolidation
	// to the next. Short lists grow: a few nodes that link only to each other are a trap for walks.
	Choose(metric, near, std::max<size_t>(links.Count(), Room(level) / 4), kept);
	links.Assign(kept.data(), uint32_t(kept.size()));
	// The lost nodes may have linked to this one, so the new neighbours do. A neighbour that is full keeps its links:
	// src/index/maintain/reconnect.rs finds nodes that are out of reach.
	for (auto i = inherited; i < kept.size(); i++) {
		LinksOf(kept[i], level).Add(slot, Room(level));
	}
}

void Hnsw::State::Behind(rust::Slice<const uint64_t> deleted, uint32_t bridge, size_t level,
                         std::vector<Near> &near) const {
	//! Deleted nodes to pass on the way to others, at most.
	constexpr size_t BRIDGES_MAX = 16;
	std::vector<uint32_t> bridges {bridge};
	auto before = near.size();
	for (size_t next = 0; next < bridges.size() && near.size() == before; next++) {
		auto links = LinksOf(bridges[next], level);
		for (uint32_t i = 0; i < links.Count(); i++) {
			auto other = links[i];
			if (!IsIn(deleted, other)) {
				near.push_back({0, other});
			} else if (bridges.size() < BRIDGES_MAX &&
			           std::find(bridges.begin(), bridges.end(), other) == bridges.end()) {
				bridges.push_back(other);
			}
		}
	}
}

void Hnsw::State::Measure(const Metric &metric, uint32_t slot, std::vector<Near> &near) const {
	auto same = [](const Near &a, const Near &b) { return a.slot == b.slot; };
	std::sort(near.begin(), near.end(), [](const Near &a, const Near &b) { return a.slot < b.slot; });
	near.erase(std::unique(near.begin(), near.end(), same), near.end());
	for (auto &candidate : near) {
		candidate.distance = metric.Between(size_t(slot), candidate.slot);
	}
	std::sort(near.begin(), near.end());
}

void Hnsw::State::Choose(const Metric &metric, const std::vector<Near> &near, size_t room,
                         std::vector<uint32_t> &kept) const {
	std::vector<uint32_t> hidden;
	for (auto &candidate : near) {
		if (kept.size() >= room) {
			break;
		}
		auto farther = [&](uint32_t other) { return metric.Apart(candidate.slot, other) >= candidate.distance; };
		(std::all_of(kept.begin(), kept.end(), farther) ? kept : hidden).push_back(candidate.slot);
	}
	for (size_t i = 0; i < hidden.size() && kept.size() < room; i++) {
		kept.push_back(hidden[i]);
	}
}

void Hnsw::clear(uint32_t slot) const noexcept {
	for (size_t level = 0; level <= state->base->level_of(slot); level++) {
		state->LinksOf(slot, level).Assign(nullptr, 0);
	}
}

bool Hnsw::attach(uint32_t from, uint32_t to) const noexcept {
	return state->LinksOf(from, 0).Add(to, state->Room(0));
}

size_t Hnsw::size() const noexcept {
	return state->base->size();
}

uint32_t Hnsw::entry() const noexcept {
	// usearch tells the entry only in the header of its stream
	unum::usearch::index_serialized_header_t header;
	auto take = [&](const void *bytes, size_t length) {
		std::memcpy(&header, bytes, std::min(length, sizeof(header)));
		return false;
	};
	auto result = state->base->save_to_stream(take);
	result.error.release();
	return uint32_t(header.entry_slot);
}

size_t Hnsw::link_bytes() const noexcept {
	return state->memory.tape.Used();
}

size_t Hnsw::table_bytes() const noexcept {
	return state->memory.tables.load(std::memory_order_relaxed);
}

size_t Hnsw::level(uint32_t slot) const noexcept {
	return state->base->level_of(slot);
}

size_t Hnsw::neighbors(uint32_t slot, size_t level, rust::Slice<uint32_t> out) const noexcept {
	if (level > state->base->level_of(slot)) {
		return 0;
	}
	return state->LinksOf(slot, level).Copy(out.data(), out.size());
}

void Hnsw::prefetch(uint32_t slot) const noexcept {
	auto at = reinterpret_cast<const char *>(state->base->at(slot).key.ptr());
	auto bytes = State::HEAD_BYTES + state->ListBytes(0);
	for (size_t line = 0; line < bytes; line += CACHE_LINE) {
		__builtin_prefetch(at + line);
	}
}

void Hnsw::load(size_t rows, size_t threads, uint32_t entry, const Links &links) {
	MemoryScope scope(state->memory);
	// Room for the threads first: loading the stream makes room for its nodes only.
	if (!state->base->try_reserve({0, threads})) {
		throw std::bad_alloc();
	}
	state->half_linked.Reserve(threads);
	unum::usearch::index_serialized_header_t header;
	header.size = rows;
	header.connectivity = state->shape.m;
	header.connectivity_base = state->shape.m0;
	header.entry_slot = entry;
	// Nodes get memory by their levels. So each level is asked for once, and taken only as far as it is possible.
	auto top = links.level(entry);
	header.max_level = top;
	std::vector<Level> levels(rows);
	for (size_t slot = 0; slot < rows; slot++) {
		levels[slot] = Level(std::min(links.level(uint32_t(slot)), top));
	}
	// usearch reads the header, then all levels, then one node after the other
	size_t asked = 0;
	std::vector<uint32_t> list(std::max(state->shape.m, state->shape.m0));
	auto give = [&](void *out, size_t length) {
		auto bytes = static_cast<char *>(out);
		if (asked == 0) {
			std::memcpy(bytes, &header, length);
		} else if (asked == 1) {
			std::memcpy(bytes, levels.data(), rows * sizeof(Level));
		} else {
			if (!out) {
				return false; // the tape is out of memory
			}
			auto slot = uint32_t(asked - 2);
			auto level = levels[slot];
			std::memset(bytes, 0, length);
			std::memcpy(bytes + sizeof(Base::vector_key_t), &level, sizeof(level));
			bytes += State::HEAD_BYTES;
			for (size_t on = 0; on <= size_t(level); on++) {
				auto count = links.read(slot, on, {list.data(), state->Room(on)});
				auto leads_nowhere = [&](uint32_t to) { return to >= rows || size_t(levels[to]) < on; };
				auto end = std::remove_if(list.begin(), list.begin() + std::min(count, state->Room(on)), leads_nowhere);
				LinkList(bytes).Assign(list.data(), uint32_t(end - list.begin()));
				bytes += state->ListBytes(on);
			}
		}
		asked++;
		return true;
	};
	auto result = state->base->load_from_stream(give);
	Check(result);
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

std::unique_ptr<Hnsw> load_hnsw(const Shape &shape, size_t rows, size_t threads, uint32_t entry, const Links &links) {
	auto result = make_hnsw(shape);
	result->load(rows, threads, entry, links);
	return result;
}

} // namespace vss
