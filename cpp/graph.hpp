//! The HNSW graph: usearch's index_gt, instantiated in graph.cpp with vectors, kernels and memory of ours.
//!
//! Threads: any number of Add beside each other, any number of the const-like readers (Search, Neighbors, Levels)
//! beside each other, not one kind beside the other; Reserve alone. The Rust side (src/rooms.rs) sees to it.
#pragma once

#include "rust/cxx.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace vss {

struct Added;
struct Allow;
struct LevelSize;
struct Shape;
struct Step;
struct Walk;

class Hnsw {
public:
	explicit Hnsw(const Shape &shape);
	~Hnsw();

	//! Makes room for `rows` nodes and `threads` simultaneous callers. Throws when out of memory.
	void reserve(size_t rows, size_t threads) const;
	//! Links a vector: copies it to the place of its new slot, whose segment must exist, before others can reach it.
	//! Throws when there is no room or no memory; then nothing was added.
	Added add(const Step &step) const;
	//! Walks the graph with `step.width` candidates kept; writes those that `allow` lets pass, nearest first, as many
	//! as `slots` holds. Throws when out of memory.
	Walk search(const Step &step, const Allow &allow, rust::Slice<uint32_t> slots,
	            rust::Slice<float> distances) const;

	//! Nodes.
	size_t size() const noexcept;
	//! Bytes of adjacency lists.
	size_t link_bytes() const noexcept;
	//! Bytes of everything else: the node table, locks, and scratch space of the threads.
	size_t table_bytes() const noexcept;
	//! Topmost level of a node.
	size_t level(uint32_t slot) const noexcept;
	//! Copies a node's neighbours on one level; returns how many. None above the node's own level.
	size_t neighbors(uint32_t slot, size_t level, rust::Slice<uint32_t> out) const noexcept;
	//! Sizes of the levels, bottom first. Visits every node.
	rust::Vec<LevelSize> levels() const;

private:
	struct State;
	std::unique_ptr<State> state;
};

std::unique_ptr<Hnsw> make_hnsw(const Shape &shape);

} // namespace vss
