//! The HNSW graph: usearch's index_gt, instantiated in hnsw.cpp with our rows, distances and memory.
//!
//! Threads: `add` and `relink` may run beside each other, and so may the readers (`neighbors`, `levels`), but not one
//! kind beside the other. `reserve`, `consolidate`, `clear`, `attach` and `load` must run alone. src/graph/lock.rs sees
//! to it.
#pragma once

#include "rust/cxx.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace vss {

struct Added;
struct LevelSize;
struct Links;
struct Shape;
struct Step;

class Hnsw {
public:
	explicit Hnsw(const Shape &shape);
	~Hnsw();

	//! Makes room for `rows` nodes and `threads` simultaneous callers. Throws when out of memory.
	void reserve(size_t rows, size_t threads) const;
	//! Links a row. Before others can reach the row, it is copied to the place of its new slot, whose segment must
	//! exist. Throws when there is no room or no memory; then nothing was added.
	Added add(const Step &step) const;
	//! Links a row at a slot that is in use no more: no node links to it, and it was cleared. Throws when out of
	//! memory; even then others may link to the slot.
	Added relink(const Step &step, uint32_t slot) const;
	//! Takes deleted slots out of the links of the nodes [begin, end). `deleted`: a bit per slot. Each node inherits
	//! the neighbours of the deleted nodes that it linked to, as far as the selection of neighbours keeps them. Nodes
	//! that lose their last link on the bottom level are added to `orphans`. Returns the number of distances computed.
	size_t consolidate(const Step &step, rust::Slice<const uint64_t> deleted, uint32_t begin, uint32_t end,
	                   rust::Vec<uint32_t> &orphans) const;
	//! Forgets the links of a node.
	void clear(uint32_t slot) const noexcept;
	//! Makes node `from` link to node `to` on the bottom level, if it has room. Returns whether it links to it now.
	bool attach(uint32_t from, uint32_t to) const noexcept;

	//! Replaces an empty graph, see `load_hnsw`.
	void load(size_t rows, size_t threads, uint32_t entry, const Links &links);

	//! Number of nodes.
	size_t size() const noexcept;
	//! The node where every walk begins. There must be one.
	uint32_t entry() const noexcept;
	//! Bytes of adjacency lists.
	size_t link_bytes() const noexcept;
	//! Bytes of everything else: the node table, locks, and the threads' scratch space.
	size_t table_bytes() const noexcept;
	//! The topmost level of a node.
	size_t level(uint32_t slot) const noexcept;
	//! Copies a node's neighbours on one level, and returns how many. There are none above the node's own level.
	size_t neighbors(uint32_t slot, size_t level, rust::Slice<uint32_t> out) const noexcept;
	//! Starts to fetch a node's links on the bottom level into the cache.
	void prefetch(uint32_t slot) const noexcept;
	//! Sizes of the levels, bottom first. Visits every node.
	rust::Vec<LevelSize> levels() const;

private:
	struct State;
	std::unique_ptr<State> state;
};

std::unique_ptr<Hnsw> make_hnsw(const Shape &shape);
//! The graph of `rows` nodes that `links` describes, without room for more. The entry must have the highest level.
//! Throws when out of memory.
std::unique_ptr<Hnsw> load_hnsw(const Shape &shape, size_t rows, size_t threads, uint32_t entry, const Links &links);

} // namespace vss
