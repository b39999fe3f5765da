//! What usearch asks while it adds a row: the distances of nodes from the row and from each other, which nodes are
//! equal, and what to fetch ahead.
#pragma once

#include "graph/crowds.hpp"
#include "graph/half_linked.hpp"
#include "vss/src/graph/mod.rs.h"

#include <algorithm>
#include <cfloat>
#include <cstring>

#include <usearch/index.hpp>

namespace vss {
namespace hnsw {

using unum::usearch::get_slot;

//! The functions of the codec, see src/vectors/codec.rs.
using MeasureFunction = float (*)(const uint8_t *, const uint8_t *, size_t);
using Measure4Function = void (*)(const uint8_t *, const uint8_t *const *, size_t, float *);
using PrepareRowFunction = const uint8_t *(*)(const void *, const uint8_t *, uint8_t *);

constexpr size_t CACHE_LINE = 64;

//! The added row, as a query of the codec.
struct Query {
	const uint8_t *bytes;
};

//! The rows by slot, as src/vectors/arena.rs lays them out.
struct Rows {
	//! Read anew for every row: meanwhile other threads may extend the arena, and link to the new nodes.
	const size_t *table;
	uint32_t shift;
	size_t row_bytes;

	uint8_t *At(size_t slot) const noexcept {
		auto segments = reinterpret_cast<const size_t *>(__atomic_load_n(table, __ATOMIC_ACQUIRE));
		auto segment = reinterpret_cast<uint8_t *>(segments[slot >> shift]);
		return segment + (slot & ((size_t(1) << shift) - 1)) * row_bytes;
	}
};

//! Rows as queries. Keeps the last one, since a node is compared with many others in turn.
class PreparedRow {
public:
	PreparedRow(const Shape &shape, const Step &step)
	    : prepare(reinterpret_cast<PrepareRowFunction>(shape.prepare_row)),
	      codec(reinterpret_cast<const void *>(step.codec)), scratch(step.scratch) {
	}

	const uint8_t *Get(const Rows &rows, size_t slot_p) noexcept {
		if (slot_p != slot) {
			query = prepare(codec, rows.At(slot_p), scratch);
			slot = slot_p;
		}
		return query;
	}

private:
	const PrepareRowFunction prepare;
	const void *const codec;
	uint8_t *const scratch;
	size_t slot = SIZE_MAX;
	const uint8_t *query = nullptr;
};

//! The nodes that were met while a row is added, by their distances; a later node takes the place of an earlier one.
//! They keep many equal rows from being all that a walk finds, as `EqualNodes` in src/graph/search_layer.rs does.
struct EqualNodes {
	static constexpr size_t PLACES_BITS = 9;
	static constexpr uint32_t NO_SLOT = UINT32_MAX;

	struct Place {
		float distance = 0;
		uint32_t slot = NO_SLOT;
	};

	Place &Of(float distance, uint32_t checksum = 0) noexcept {
		uint32_t bits;
		std::memcpy(&bits, &distance, sizeof(bits));
		return places[(bits ^ checksum) * 0x9E3779B9U >> (32 - PLACES_BITS)];
	}
	//! A checksum of a row's bytes.
	static uint32_t Checksum(const uint8_t *row, size_t bytes) noexcept {
		uint64_t sum = 0;
		for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
			uint64_t word = 0;
			std::memcpy(&word, row + i, std::min(sizeof(word), bytes - i));
			sum = (sum ^ word) * 0x9E3779B97F4A7C15ULL;
			sum = sum << 29 | sum >> 35;
		}
		return uint32_t(sum >> 32);
	}

	Place places[size_t(1) << PLACES_BITS];
	//! How many nodes equal to the added row are seen beside the first of them.
	size_t equal_to_added = 0;
};

//! Distances from the added row, measured before usearch asks for them.
struct Measured {
	//! Distances that are measured ahead, at most. Those of a longer list of links are measured when usearch asks.
	static constexpr size_t ROOM = 64;

	size_t count = 0;
	//! The next distance that usearch will ask for: it asks in the order of the list.
	size_t next = 0;
	uint32_t slots[ROOM];
	float distances[ROOM];
	EqualNodes met;
	Crowds crowds;

	//! To be called before the row walks again.
	void Restart() noexcept {
		count = next = 0;
		met = EqualNodes();
	}
};

//! usearch's metric functor.
struct Metric {
	static constexpr size_t EQUAL_MAX = 8;

	Rows rows;
	MeasureFunction measure;
	Measure4Function measure4;
	//! What `measure` and `measure4` need to know of the length of a row.
	size_t length;
	//! By how much two neighbours of a node count as farther apart while links are chosen.
	float relax;
	//! See `share` in src/graph/crowds.rs.
	float crowd;
	//! The added node is among them: as its own nearest neighbour it would crowd out all others.
	const HalfLinked &half_linked;
	PreparedRow &prepared;
	Measured *measured;
	//! The bytes of the added row.
	const uint8_t *added;

	bool AreEqual(const uint8_t *a, const uint8_t *b) const noexcept {
		return std::memcmp(a, b, rows.row_bytes) == 0;
	}
	//! The distance at which the added row sees a node. The first of equal nodes hides the others, except for some that
	//! are equal to the added row itself.
	float Seen(size_t slot, float distance) const noexcept {
		if (half_linked.Has(slot)) {
			return FLT_MAX;
		}
		auto &met = measured->met;
		auto row = rows.At(slot);
		auto place = &met.Of(distance);
		if (place->slot != EqualNodes::NO_SLOT && place->distance == distance && place->slot != slot &&
		    !AreEqual(row, rows.At(place->slot))) {
			// With whole numbers, many rows that are not equal are at one distance. Then a row's place follows from its
			// bytes.
			place = &met.Of(distance, EqualNodes::Checksum(row, rows.row_bytes));
		}
		auto met_before = place->distance == distance && place->slot != EqualNodes::NO_SLOT && place->slot != slot;
		if (!met_before || !AreEqual(row, rows.At(place->slot))) {
			*place = {distance, uint32_t(slot)};
			return SeenInCrowds(slot, distance);
		}
		return AreEqual(row, added) && met.equal_to_added++ < 2 * EQUAL_MAX ? distance : FLT_MAX;
	}
	//! The same, but one node of each crowd also hides the others.
	float SeenInCrowds(size_t slot, float distance) const noexcept {
		auto &crowds = measured->crowds;
		for (auto &crowd : crowds) {
			if (crowd.centre != slot && IsIn(crowd, uint32_t(slot))) {
				return FLT_MAX;
			}
		}
		crowds.Meet({distance, uint32_t(slot)});
		return distance;
	}
	//! The crowd around a node that the added row has met.
	Crowd Around(const Near &node) const noexcept {
		return {node.slot, crowd * node.distance};
	}
	bool IsIn(const Crowd &crowd, uint32_t slot) const noexcept {
		return Between(size_t(crowd.centre), slot) <= crowd.within;
	}
	float Between(const uint8_t *query, size_t slot) const noexcept {
		return measure(query, rows.At(slot), length);
	}
	//! The distance between two nodes. Cheapest if `a` stays the same from call to call.
	float Between(size_t a, size_t b) const noexcept {
		return Between(prepared.Get(rows, a), b);
	}
	//! The same distance, as it counts while links are chosen. Many equal rows would use up all links of each other,
	//! and no walk would find a way out. So a node keeps at most `EQUAL_MAX` links to rows that are equal to each
	//! other.
	float Apart(size_t a, size_t b) const noexcept {
		if (a % EQUAL_MAX == b % EQUAL_MAX && AreEqual(rows.At(a), rows.At(b))) {
			return -FLT_MAX;
		}
		return relax * Between(a, b);
	}
	template <class ENTRY>
	float operator()(const Query &query, const ENTRY &entry) const noexcept {
		auto slot = get_slot(entry);
		auto &next = measured->next;
		if (next < measured->count && measured->slots[next] == slot) {
			return measured->distances[next++];
		}
		return Seen(slot, Between(query.bytes, slot));
	}
	template <class ENTRY>
	float operator()(const ENTRY &a, const ENTRY &b) const noexcept {
		return Apart(get_slot(a), get_slot(b));
	}
};

//! usearch's prefetch functor. usearch calls it with the neighbours that it is about to measure: this measures them,
//! four at a time.
struct Prefetch {
	//! Bytes of a row that are fetched ahead. The processor's own prefetcher does the rest.
	static constexpr size_t PREFETCH_BYTES = 256;

	const Metric &metric;
	const uint8_t *query;

	template <class ITERATOR>
	void operator()(ITERATOR begin, ITERATOR end) const noexcept {
		auto &measured = *metric.measured;
		const uint8_t *at[Measured::ROOM];
		auto bytes = std::min(metric.rows.row_bytes, PREFETCH_BYTES);
		size_t count = 0;
		for (; begin != end && count < Measured::ROOM; ++begin) {
			auto slot = get_slot(begin);
			measured.slots[count] = uint32_t(slot);
			at[count] = metric.rows.At(slot);
			for (size_t line = 0; line < bytes; line += CACHE_LINE) {
				__builtin_prefetch(at[count] + line);
			}
			count++;
		}
		for (size_t i = 0; i < count; i += 4) {
			if (i + 1 == count) {
				measured.distances[i] = metric.measure(query, at[i], metric.length);
				break;
			}
			const uint8_t *four[4];
			float values[4];
			for (size_t k = 0; k < 4; k++) {
				four[k] = at[std::min(i + k, count - 1)];
			}
			metric.measure4(query, four, metric.length, values);
			std::copy_n(values, std::min<size_t>(4, count - i), measured.distances + i);
		}
		for (size_t i = 0; i < count; i++) {
			measured.distances[i] = metric.Seen(measured.slots[i], measured.distances[i]);
		}
		measured.count = count;
		measured.next = 0;
	}
};

} // namespace hnsw
} // namespace vss
