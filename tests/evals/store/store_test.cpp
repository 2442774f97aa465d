#include "evals/store/store.h"

#include <doctest/doctest.h>

#include <fstream>

#include "evals/store/engine_info_json.h"
#include "evals/store/schema.h"
#include "evals/store/sqlite.h"
#include "tests/support/temp_folder.h"

using namespace assay;
using assay::testing::TempFolder;

namespace {

StoredRun run_with_tasks(std::vector<std::string> names) {
  StoredRun run;
  run.created_utc_us = 1'700'000'000'000'000;
  run.model.model_name = "m";
  run.settings = Json::object().set("tasks", Json::array());
  run.machine = Json::object();
  run.plan_sha256 = "p";
  for (std::string& name : names) {
    StoredTask task;
    task.name = std::move(name);
    task.info = Json::object();
    task.primary_metric = "acc,none";
    task.planned = task.rows = 10;
    run.tasks.push_back(std::move(task));
  }
  return run;
}

StoredItem item_of(int64_t doc_id, double value) {
  StoredItem item;
  item.doc_id = doc_id;
  item.document = Json::object().set("question", "q" + std::to_string(doc_id));
  item.target = "2";
  item.shots = {4, 1};
  item.requests = {{"context", " a", 7, 1, false}, {"context", " b", 7, 2, true}};
  Loglikelihood first, second;
  first.sum = -1.5;
  first.logprobs = {-1.5f};
  second.sum = -3;
  second.is_greedy = true;
  second.logprobs = {-1, -2};
  item.response.loglikelihoods = {first, second};
  item.score.metrics = {{"acc", "none", value}, {"acc_norm", "none", 0.25}};
  return item;
}

StoredItem failed_item(int64_t doc_id) {
  StoredItem item = item_of(doc_id, 0);
  item.response = {};
  item.score = {};
  item.score.outcome = Outcome::failed;
  item.score.reason = "the machine";
  return item;
}

}  // namespace

TEST_CASE("what is stored comes back, field by field") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  const RunId id = store->create_run(run_with_tasks({"t1", "t2"})).value();
  const StoredRun run = store->run(id).value();
  REQUIRE(run.tasks.size() == 2);
  CHECK(run.tasks[1].name == "t2");
  CHECK(run.model.model_name == "m");
  REQUIRE(store->add_items(id, run.tasks[0].id, {item_of(3, 1), item_of(1, 0)}).ok());
  std::vector<StoredItem> items;
  REQUIRE(store
              ->for_each_item(id, run.tasks[0].id,
                              [&](const StoredItem& item) {
                                items.push_back(item);
                                return ok_status();
                              })
              .ok());
  REQUIRE(items.size() == 2);
  CHECK(items[0].doc_id == 1);
  const StoredItem& item = items[1];
  CHECK(item.doc_id == 3);
  CHECK(item.document == Json::object().set("question", "q3"));
  CHECK(item.target == "2");
  CHECK(item.shots == std::vector<int64_t>{4, 1});
  REQUIRE(item.requests.size() == 2);
  CHECK(item.requests[1].continuation == " b");
  CHECK(item.requests[1].truncated);
  CHECK(item.requests[0].context == "context");
  REQUIRE(item.response.loglikelihoods.size() == 2);
  CHECK(item.response.loglikelihoods[1].is_greedy);
  CHECK(item.response.loglikelihoods[1].logprobs == std::vector<float>{-1, -2});
  REQUIRE(item.score.metrics.size() == 2);
  const StoredScores scores = store->scores(id, run.tasks[0].id, "acc,none").value();
  CHECK(scores.doc_ids == std::vector<int64_t>{1, 3});
  CHECK(scores.values == std::vector<double>{0, 1});
  CHECK(store->metric_keys(id, run.tasks[0].id).value() == std::vector<std::string>{"acc,none", "acc_norm,none"});
}

TEST_CASE("a generation comes back with its tokens and its extracted answers") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  const RunId id = store->create_run(run_with_tasks({"t"})).value();
  const int64_t task = store->run(id).value().tasks[0].id;
  StoredItem item = item_of(0, 1);
  item.response = {};
  Completion completion;
  completion.text = "so #### 12\n\xF0\x9F\x99\x82";
  completion.tokens = {5, 6, 49000};
  completion.logprobs = {-0.5f, -0.25f, 0.f};
  completion.finish = FinishReason::stop_string;
  completion.stop_match = "Question:";
  item.response.completions = {completion};
  item.score.extracted = {{"strict-match", "12"}};
  REQUIRE(store->add_items(id, task, {item}).ok());
  REQUIRE(store
              ->for_each_item(id, task,
                              [&](const StoredItem& got) {
                                REQUIRE(got.response.completions.size() == 1);
                                CHECK(got.response.completions[0].text == completion.text);
                                CHECK(got.response.completions[0].tokens == completion.tokens);
                                CHECK(got.response.completions[0].finish == FinishReason::stop_string);
                                CHECK(got.response.completions[0].stop_match == "Question:");
                                REQUIRE(got.score.extracted.size() == 1);
                                CHECK(got.score.extracted[0].text == "12");
                                return ok_status();
                              })
              .ok());
}

TEST_CASE("an answered item is never replaced, a failed one is") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  const RunId id = store->create_run(run_with_tasks({"t"})).value();
  const int64_t task = store->run(id).value().tasks[0].id;
  REQUIRE(store->add_items(id, task, {item_of(0, 1), failed_item(1)}).ok());
  CHECK(store->answered(id, task).value() == std::vector<int64_t>{0});
  CHECK(store->outcomes(id, task).value().failed == 1);
  REQUIRE(store->add_items(id, task, {item_of(0, 0), item_of(1, 1)}).ok());
  const StoredScores scores = store->scores(id, task, "acc,none").value();
  CHECK(scores.values == std::vector<double>{1, 1});
  CHECK(store->outcomes(id, task).value().failed == 0);
  CHECK(store->outcomes(id, task).value().scored == 2);
}

TEST_CASE("items, usage and the end of a run survive closing and opening again") {
  TempFolder folder;
  RunId id = 0;
  {
    auto store = Store::open(folder / "a.db").value();
    id = store->create_run(run_with_tasks({"t"})).value();
    REQUIRE(store->add_items(id, store->run(id).value().tasks[0].id, {item_of(0, 1)}).ok());
    REQUIRE(store->add_usage(id, 1.5, 100, 40).ok());
    REQUIRE(store->add_usage(id, 0.5, 10, 4).ok());
    CHECK(store->newest_unfinished().value() == std::optional<RunId>(id));
    REQUIRE(store->finish_run(id, 99).ok());
  }
  auto store = Store::open_existing(folder / "a.db").value();
  const StoredRun run = store->run(id).value();
  CHECK(run.state == RunState::finished);
  CHECK(run.seconds == 2.0);
  CHECK(run.tokens_asked == 110);
  CHECK_FALSE(store->newest_unfinished().value().has_value());
  CHECK(store->answered(id, run.tasks[0].id).value().size() == 1);
}

TEST_CASE("equal documents and contexts are stored once") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  const RunId first = store->create_run(run_with_tasks({"t"})).value();
  const RunId second = store->create_run(run_with_tasks({"t"})).value();
  for (const RunId id : {first, second})
    REQUIRE(store->add_items(id, store->run(id).value().tasks[0].id, {item_of(0, 1), item_of(1, 1)}).ok());
  auto db = SqliteDb::open(folder / "a.db", SqliteDb::Mode::existing).value();
  CHECK(db.query_int("SELECT count(*) FROM documents").value() == 2);
  CHECK(db.query_int("SELECT count(*) FROM texts").value() == 1);
  CHECK(db.query_int("SELECT count(*) FROM items").value() == 4);
}

TEST_CASE("a missing database, another program's, and a newer Assay's are refused and left alone") {
  TempFolder folder;
  CHECK(Store::open_existing(folder / "none.db").status().code() == Code::not_found);
  {
    auto db = SqliteDb::open(folder / "other.db", SqliteDb::Mode::create).value();
    REQUIRE(db.run("CREATE TABLE theirs (x)").ok());
  }
  const auto other = Store::open(folder / "other.db");
  CHECK(other.status().code() == Code::bad_data);
  CHECK(other.status().message().find("another program") != std::string::npos);
  {
    auto store = Store::open(folder / "new.db").value();
    auto db = SqliteDb::open(folder / "new.db", SqliteDb::Mode::existing).value();
    REQUIRE(db.run("PRAGMA user_version = 99").ok());
  }
  const auto newer = Store::open(folder / "new.db");
  CHECK(newer.status().code() == Code::bad_data);
  CHECK(newer.status().message().find("schema 99") != std::string::npos);
  std::ofstream(folder / "text.db")
      << "this is no database at all, but long enough to be read as a header, is it not? ....................";
  CHECK(Store::open(folder / "text.db").status().code() == Code::bad_data);
}

TEST_CASE("a score's weight is kept") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  const RunId id = store->create_run(run_with_tasks({"t"})).value();
  const int64_t task = store->run(id).value().tasks[0].id;
  StoredItem item = item_of(0, 1);
  item.score.metrics = {{"word_perplexity", "none", -33.5, 12}, {"acc", "none", 1}};
  REQUIRE(store->add_items(id, task, {item}).ok());
  CHECK(store->scores(id, task, "word_perplexity,none").value().weights == std::vector<double>{12});
  CHECK(store->scores(id, task, "acc,none").value().weights == std::vector<double>{0});
}

TEST_CASE("a run that is not there is named in the error") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  const auto missing = store->run(7);
  CHECK(missing.status().code() == Code::not_found);
  CHECK(missing.status().message().find("no run 7") != std::string::npos);
  const RunId id = store->create_run(run_with_tasks({"t"})).value();
  CHECK(store->add_items(id, 12345, {item_of(0, 1)}).code() == Code::not_found);
}

TEST_CASE("the database names its owner, writes ahead and syncs fully") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  auto db = SqliteDb::open(folder / "a.db", SqliteDb::Mode::existing).value();
  CHECK(db.query_int("PRAGMA application_id").value() == kApplicationId);
  CHECK(db.query_int("PRAGMA user_version").value() == current_schema());
  CHECK(db.query_text("PRAGMA journal_mode").value() == "wal");
  CHECK(db.query_int("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0 "
                     "AND name NOT LIKE 'sqlite_%'")
            .value() == 0);
}

TEST_CASE("a store of the first schema is copied, migrated, and keeps what it held") {
  TempFolder folder;
  const RunId id = 1;
  {
    auto db = SqliteDb::open(folder / "a.db", SqliteDb::Mode::create).value();
    REQUIRE(prepare_schema(db, 1).ok());
    CHECK(db.query_int("PRAGMA user_version").value() == 1);
    const std::string info = engine_info_to_json(EngineInfo()).dump();
    REQUIRE(db.run("INSERT INTO models VALUES (1, 'm', '" + info +
                   "');"
                   "INSERT INTO runs VALUES (1, 1, 5, 6, 1, 0, '{}', 'p', 'c', 'b', '{}', 1.5, 2, 3);"
                   "INSERT INTO tasks VALUES (1, 1, 0, 't1', 't1', '', '1.0', '{}', 'acc,none', 1, 0, 'd', '', 'test', "
                   "'', 's', 'h', '', '', 10, 2);"
                   "INSERT INTO documents VALUES (1, 'd0', x''), (2, 'd1', x'');"
                   "INSERT INTO items VALUES (1, 1, 0, 1, 'a', x'', 0, '', 0), (2, 1, 1, 2, 'a', x'', 0, '', 1);"
                   "INSERT INTO loglikelihoods VALUES (1, 0, -1.5, 0, x''), (1, 1, -2.5, 0, x''), (2, 0, -1.5, 0, "
                   "x''), (2, 1, -2.5, 0, x'');"
                   "INSERT INTO scores VALUES (1, 'acc,none', 0, 1.0), (1, 'acc,none', 1, 0.0);")
                .ok());
  }
  auto store = Store::open(folder / "a.db").value();
  CHECK(std::filesystem::exists(folder / "a.db.before-2"));
  const StoredRun run = store->run(id).value();
  CHECK(store->scores(id, run.tasks[0].id, "acc,none")->values == std::vector<double>{1, 0});
  CHECK(store->findings(id)->empty());
  StoredItem later = item_of(2, 1);
  later.lint = 5;
  REQUIRE(store->add_items(id, run.tasks[0].id, {later}).ok());
  std::vector<uint32_t> lint;
  REQUIRE(store
              ->for_each_answer(id, run.tasks[0].id,
                                [&](const StoredItem& item) {
                                  lint.push_back(item.lint);
                                  CHECK(item.requests.empty());
                                  CHECK(item.response.loglikelihoods.size() == 2);
                                  return ok_status();
                                })
              .ok());
  CHECK(lint == std::vector<uint32_t>{0, 0, 5});
  auto db = SqliteDb::open(folder / "a.db", SqliteDb::Mode::existing).value();
  CHECK(db.query_int("PRAGMA user_version").value() == current_schema());
}

TEST_CASE("findings are replaced as a whole and come back serious first") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  const RunId id = store->create_run(run_with_tasks({"t1"})).value();
  using Severity = StoredFinding::Severity;
  REQUIRE(store->replace_findings(id, {{"t1", "old", Severity::info, 1, 2, "text"}}).ok());
  REQUIRE(store
              ->replace_findings(id, {{"t1", "ended", Severity::info, 3, 4, "some ended"},
                                      {"t1", "two_bos", Severity::serious, 1, 4, "two"},
                                      {"", "chance", Severity::warning, 4, 4, "chance"}})
              .ok());
  const auto findings = store->findings(id).value();
  REQUIRE(findings.size() == 3);
  CHECK(findings[0].code == "two_bos");
  CHECK(findings[1].code == "chance");
  CHECK(findings[2].affected == 3);
  CHECK(findings[2].total == 4);
  CHECK(findings[2].text == "some ended");
}

TEST_CASE("a session remembers its spec and its runs, and is found until it is finished") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  CHECK_FALSE(store->newest_unfinished_session()->has_value());
  const SessionId id = store->create_session(Json::object().set("suite", "smoke"), 5).value();
  const RunId run = store->create_run(run_with_tasks({"t1"})).value();
  REQUIRE(store->add_session_run(id, 1, run).ok());
  CHECK(store->newest_unfinished_session()->value() == id);
  CHECK(store->session_of(run)->value() == id);
  const StoredSession session = store->session(id).value();
  CHECK(session.spec.find("suite")->as_string() == "smoke");
  CHECK(session.created_utc_us == 5);
  CHECK(session.runs == std::vector<std::pair<int64_t, RunId>>{{1, run}});
  REQUIRE(store->finish_session(id).ok());
  CHECK_FALSE(store->newest_unfinished_session()->has_value());
}

TEST_CASE("figures of benchmark programs are stored once a build, whoever's JSON they are") {
  const TempFolder folder;
  const auto store = Store::open(folder.path() / "a.db").value();
  const Json google = Json::parse(R"({"context": {"build": "assay 1", "threads": "2"}, "benchmarks": [
      {"name": "prefill/w4a16", "run_type": "iteration", "real_time": 2.5, "time_unit": "ms", "tokens_per_s": 15000},
      {"name": "decode/w4a16", "real_time": 1}]})",
                                  "google")
                          .value();
  const StoredBench first = read_bench(google, "google", "bench_engine", "").value();
  CHECK(store->add_bench(first).value());
  CHECK_FALSE(store->add_bench(first).value());
  const Json plain =
      Json::parse(R"({"device": "H100", "rows": [{"layer": "qkv", "m": 16, "what": "plan", "us": 14.5}]})", "plain")
          .value();
  CHECK(read_bench(plain, "plain", "bench_gemm", "").status().code() == Code::bad_data);
  CHECK(store->add_bench(read_bench(plain, "plain", "bench_gemm", "assay 2").value()).value());
  const auto stored = store->benches().value();
  REQUIRE(stored.size() == 2);
  CHECK(stored[0].build == "assay 2");
  CHECK(stored[0].context.find("device")->as_string() == "H100");
  REQUIRE(stored[0].rows.size() == 1);
  CHECK(stored[0].rows[0].first == "qkv/m:16/plan");
  CHECK(stored[0].rows[0].second == Json::object().set("us", 14.5));
  CHECK(stored[1].build == "assay 1");
  REQUIRE(stored[1].rows.size() == 2);
  CHECK(stored[1].rows[0].second.find("tokens_per_s")->as_int() == 15000);
  CHECK(stored[1].rows[0].second.find("run_type") == nullptr);
  CHECK_FALSE(read_bench(Json::object(), "empty", "x", "b").ok());
}
