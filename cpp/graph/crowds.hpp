//! Crowds that are met while a row is added, as in src/graph/crowds.rs. A crowd is rows that are so near to each other
//! that, seen from the added row, they are as one. A walk that keeps only such rows finds nothing else to link to.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace vss {
namespace hnsw {

//! A candidate for the links of a node.
struct Near {
	float distance;
	uint32_t slot;

	bool operator<(const Near &other) const noexcept {
		return distance < other.distance || (distance == other.distance && slot < other.slot);
	}
};

//! One row of a crowd, and the distance within which the others lie from it.
struct Crowd {
	uint32_t centre;
	float within;
};

//! The crowds that the added row has met.
class Crowds {
public:
	Crowds() noexcept = default;

	//! Counts a node that the walk has met. Of every `STRIDE` nodes one is remembered, and of these the last `ROOM`.
	void Meet(Near node) noexcept {
		if (++met % STRIDE == 0) {
			sample[taken++ % ROOM] = node;
		}
	}

	//! Whether many of the `kept` nearest nodes are a crowd; if so, the crowd is added to those from `begin` to `end`.
	//! `is_in(crowd, slot)`: whether a node is in a crowd. `around(node)`: the crowd around a node.
	template <class AROUND, class IS_IN>
	bool Find(size_t kept, AROUND &&around, IS_IN &&is_in) noexcept {
		auto nearest = kept / STRIDE;
		auto known = std::min(taken, ROOM);
		if (count == found.size() || nearest < SAMPLE_MIN || known < nearest) {
			return false;
		}
		std::nth_element(sample.begin(), sample.begin() + (nearest - 1), sample.begin() + known);
		for (auto centre : {nearest / 2, nearest / 3}) {
			auto crowd = around(sample[centre]);
			size_t members = 0;
			for (size_t i = 0; i < nearest; i++) {
				members += is_in(crowd, sample[i].slot) ? 1 : 0;
			}
			if (members * 2 >= nearest) {
				found[count++] = crowd;
				met = taken = 0;
				return true;
			}
		}
		return false;
	}

	const Crowd *begin() const noexcept {
		return found.data();
	}
	const Crowd *end() const noexcept {
		return found.data() + count;
	}

private:
	//! One of this many nodes is remembered.
	static constexpr size_t STRIDE = 7;
	static constexpr size_t ROOM = 512;
	//! Nodes that are looked at, at least; fewer are no crowd.
	static constexpr size_t SAMPLE_MIN = 8;
	//! Crowds of a row, at most: the row is linked anew for each.
	static constexpr size_t CROWDS_MAX = 2;

	size_t met = 0;
	size_t taken = 0;
	std::array<Near, ROOM> sample;
	size_t count = 0;
	std::array<Crowd, CROWDS_MAX> found;
};

} // namespace hnsw
} // namespace vss
