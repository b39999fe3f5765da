//! The nodes that are being linked: walks of other threads must not use them yet.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace vss {

//! usearch links a node level by level, from the top. A walk of another thread may come down through a node whose lower
//! levels have no links yet, and be caught there: the walk's own node would be linked to that node alone, and nobody
//! would ever reach it. So a node that is being linked is far from everything.
class HalfLinked {
public:
	static constexpr uint32_t NO_SLOT = UINT32_MAX;

	//! Threads are numbered [0, threads). Must not run beside the other methods.
	void Reserve(size_t threads_p) {
		if (threads == threads_p) {
			return;
		}
		slots = std::make_unique<std::atomic<uint32_t>[]>(threads_p);
		threads = threads_p;
		for (size_t thread = 0; thread < threads; thread++) {
			slots[thread].store(NO_SLOT, std::memory_order_relaxed);
		}
	}

	//! Whoever meets the slot in a list of links has synchronized, by the lock of the node with the list, with the
	//! thread that entered the slot. So no stronger memory order is needed.
	bool Has(uint32_t slot) const noexcept {
		if (counts[slot % COUNTS].load(std::memory_order_relaxed) == 0) {
			return false;
		}
		for (size_t thread = 0; thread < threads; thread++) {
			if (slots[thread].load(std::memory_order_relaxed) == slot) {
				return true;
			}
		}
		return false;
	}

	//! Takes its slot out again when it is destroyed, if one was entered.
	class Entry {
	public:
		Entry(HalfLinked &nodes_p, size_t thread_p) : nodes(nodes_p), thread(thread_p) {
		}
		~Entry() {
			auto slot = nodes.slots[thread].exchange(NO_SLOT, std::memory_order_relaxed);
			if (slot != NO_SLOT) {
				nodes.counts[slot % COUNTS].fetch_sub(1, std::memory_order_release);
			}
		}
		Entry(const Entry &) = delete;

		void Enter(uint32_t slot) noexcept {
			if (nodes.slots[thread].load(std::memory_order_relaxed) == slot) {
				return;
			}
			nodes.slots[thread].store(slot, std::memory_order_relaxed);
			nodes.counts[slot % COUNTS].fetch_add(1, std::memory_order_relaxed);
		}

	private:
		HalfLinked &nodes;
		const size_t thread;
	};

private:
	//! The number of entered slots by their remainder: these answer nearly every question.
	static constexpr size_t COUNTS = 256;

	std::array<std::atomic<uint32_t>, COUNTS> counts {};
	std::unique_ptr<std::atomic<uint32_t>[]> slots;
	size_t threads = 0;
};

} // namespace vss
