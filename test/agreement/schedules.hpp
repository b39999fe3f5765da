//! Runs functions as fibers under every schedule there is: which of them goes on is decided before each operation on an atomic.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

class Schedule {
public:
	using Actions = std::vector<std::function<void()>>;

	//! Calls `start`, which returns fresh actions, and runs these; again and again, under another schedule each time, until there is none
	//! left. Returns how many there were.
	static size_t All(const std::function<Actions()> &start) {
		size_t count = 0;
		std::vector<Choice> choices;
		do {
			Schedule schedule(choices);
			schedule.Run(start());
			count++;
		} while (Next(choices));
		return count;
	}

	//! Of the running fiber; nothing outside of a schedule.
	static void LetOthersRun() {
		if (current && current->running) {
			swapcontext(&current->running->context, &current->scheduler);
		}
	}

private:
	//! Which of how many fibers went on.
	struct Choice {
		size_t taken;
		size_t possible;
	};
	struct Fiber {
		std::function<void()> action;
		std::vector<char> stack = std::vector<char>(1 << 16);
		ucontext_t context;
		bool done = false;
	};

	explicit Schedule(std::vector<Choice> &choices) : choices(choices) {
	}

	void Run(Actions actions) {
		std::vector<std::unique_ptr<Fiber>> fibers;
		for (auto &action : actions) {
			fibers.push_back(std::make_unique<Fiber>());
			auto &fiber = *fibers.back();
			fiber.action = std::move(action);
			getcontext(&fiber.context);
			fiber.context.uc_stack.ss_sp = fiber.stack.data();
			fiber.context.uc_stack.ss_size = fiber.stack.size();
			fiber.context.uc_link = &scheduler;
			makecontext(&fiber.context, Begin, 0);
		}
		current = this;
		for (size_t step = 0;; step++) {
			std::vector<Fiber *> ready;
			for (auto &fiber : fibers) {
				if (!fiber->done) {
					ready.push_back(fiber.get());
				}
			}
			if (ready.empty()) {
				break;
			}
			if (step == choices.size()) {
				choices.push_back({0, ready.size()});
			}
			running = ready[choices[step].taken];
			swapcontext(&scheduler, &running->context);
			running = nullptr;
		}
		current = nullptr;
	}

	static void Begin() {
		auto &fiber = *current->running;
		fiber.action();
		fiber.done = true;
	}

	//! Depth first; false at the end.
	static bool Next(std::vector<Choice> &choices) {
		while (!choices.empty() && choices.back().taken + 1 == choices.back().possible) {
			choices.pop_back();
		}
		if (choices.empty()) {
			return false;
		}
		choices.back().taken++;
		return true;
	}

	static inline Schedule *current = nullptr;

	std::vector<Choice> &choices;
	ucontext_t scheduler;
	Fiber *running = nullptr;
};
