//! The state machine of an index and its table under every schedule of the threads that ask it: `make agreement`. Without DuckDB: the
//! folder has what `agreement.hpp` includes of it.
#include "index/agreement.hpp"

#include <cstdio>

using namespace duckdb;

//! A database in which an index is made, by a transaction that sees the commits below 11, while another one sees those below 12. That one
//! may have planned an update without the index.
struct Host : Agreement::Commits {
	atomic<uint64_t> last {11};
	atomic<uint64_t> lowest_visible {11};
	atomic<bool> other_is_gone {false};

	uint64_t LowestVisible() const override {
		return lowest_visible;
	}
	uint64_t Last() const override {
		return last;
	}
	//! The commit has its number before its transaction is gone.
	void CommitCreator() {
		last = 12;
		lowest_visible = 12;
	}
	void EndOther() {
		other_is_gone = true;
		lowest_visible = 13;
	}
};

static int failures = 0;

static void Expect(bool holds, const char *what) {
	if (!holds && failures++ < 10) {
		fprintf(stderr, "failed: %s\n", what);
	}
}

//! An index that was made by the creator, and who may ask whether it has to be compared.
struct Case {
	Host host;
	Agreement index {Agreement::State::UNKNOWN};

	Case() {
		index.PublishedUnsure(100, 10);
	}
	void Ask() {
		if (index.IsDue(host)) {
			Expect(host.other_is_gone, "compared while somebody may change keys without a word");
		}
	}
	//! Once more, when everybody has come to an end.
	void ExpectDue() {
		index.IsDue(host);
		Expect(index.IsDue(host), "compared when nobody is left");
	}
};

//! All schedules of actions on a case.
static void Check(const char *name, const std::function<Schedule::Actions(Case &)> &actions) {
	std::unique_ptr<Case> current;
	auto count = Schedule::All([&] {
		current = std::make_unique<Case>();
		return actions(*current);
	});
	printf("%s: %zu schedules\n", name, count);
}

int main() {
	Check("two ask after the creator's commit", [](Case &current) -> Schedule::Actions {
		current.host.CommitCreator();
		return {[&] { current.Ask(); }, [&] { current.Ask(); }};
	});
	Check("one asks while commits go on", [](Case &current) -> Schedule::Actions {
		return {[&] {
			        current.Ask();
			        current.Ask();
		        },
		        [&] {
			        current.host.CommitCreator();
			        current.host.EndOther();
		        }};
	});
	Check("two ask while the creator commits", [](Case &current) -> Schedule::Actions {
		return {[&] { current.Ask(); }, [&] { current.Ask(); }, [&] { current.host.CommitCreator(); }};
	});
	Check("it is compared in the end", [](Case &current) -> Schedule::Actions {
		return {[&] {
			current.host.CommitCreator();
			current.Ask();
			current.host.EndOther();
			current.ExpectDue();
		}};
	});
	printf("%d failures\n", failures);
	return failures > 0;
}
