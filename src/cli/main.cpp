// gordian, the command line: asks a coordinator, draws and tells what it answers, runs commands under a lock, shows locks,
// replays traces, simulates, and runs experiments.
//
// Exit codes: 0 fine, 1 the answer is no (no such incident, no lock in time), 2 wrong usage or bad input, 3 the coordinator or
// agent does not answer, 4 it refuses; of `gordian lock` the command's own. Data goes to stdout, everything else to stderr.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>

#include "admin/json.hpp"
#include "agent/agent_router.hpp"
#include "cli/experiment.hpp"
#include "cli/lock_commands.hpp"
#include "cli/merge.hpp"
#include "cli/present.hpp"
#include "cli/replay.hpp"
#include "cli/sim.hpp"
#include "config/duration.hpp"
#include "net/query.hpp"
#include "viz/dot.hpp"
#include "viz/picture.hpp"
#include "viz/svg.hpp"

namespace gordian::cli {
namespace {

constexpr int fine = 0, answer_is_no = 1, bad_input = 2, unreachable = 3, refused = 4;

/// Ends the command: what to tell, and with which exit code.
struct Failure {
  int exit_code;
  std::string message;
};
template <class T>
using Result = tl::expected<T, Failure>;

struct Arguments {
  std::string coordinator = "tcp://127.0.0.1:7410";
  std::string timeout = "2s";
  std::string format;  ///< the subcommand's default unless given
  std::string incident;
  std::string output;
  std::size_t limit = 0;  ///< 0: the coordinator's default
  ReplayOptions replay;
  std::string policy;
  SimOptions sim;
};

Result<std::string> ask_one(const Arguments& arguments, const std::string& coordinator, std::string_view what,
                            const admin::Selection& selection) {
  const auto timeout = config::parse_duration(arguments.timeout);
  if (!timeout) return tl::unexpected(Failure{bad_input, "--timeout: " + timeout.error()});
  const auto whole_ms = std::chrono::ceil<std::chrono::milliseconds>(*timeout);
  auto answer = net::query(coordinator, what, admin::to_json(selection), whole_ms);
  if (answer) return *std::move(answer);
  switch (answer.error().code) {
    case net::QueryError::Code::unreachable: return tl::unexpected(Failure{unreachable, answer.error().message});
    case net::QueryError::Code::bad_endpoint: return tl::unexpected(Failure{bad_input, answer.error().message});
    case net::QueryError::Code::refused: break;
  }
  return tl::unexpected(Failure{refused, "the coordinator refuses: " + answer.error().message});
}

/// Those of a list; one that is no list as it was given.
std::vector<std::string> coordinators(const Arguments& arguments) {
  auto list = agent::endpoints_of(arguments.coordinator);
  return list.empty() ? std::vector{arguments.coordinator} : list;
}

/// The answer of the first that gives one.
Result<std::string> ask(const Arguments& arguments, std::string_view what, const admin::Selection& selection) {
  Result<std::string> answer;
  for (const auto& coordinator : coordinators(arguments))
    if (answer = ask_one(arguments, coordinator, what, selection); answer) break;
  return answer;
}

/// The answer as a view; a coordinator of another version may answer what this program cannot read.
template <class View>
Result<View> read(const Result<std::string>& json, tl::expected<View, std::string> (*parse)(std::string_view)) {
  if (!json) return tl::unexpected(json.error());
  auto view = parse(*json);
  if (!view)
    return tl::unexpected(Failure{refused, "the coordinator's answer cannot be read: " + view.error() +
                                               "; is it of another version? (gordian status --format json)"});
  return *std::move(view);
}

/// Of all in the list. Who does not answer is told of, unless nobody does.
template <class View>
Result<std::vector<View>> read_all(const Arguments& arguments, std::string_view what, const admin::Selection& selection,
                                   tl::expected<View, std::string> (*parse)(std::string_view)) {
  std::vector<View> views;
  std::vector<Failure> failures;
  for (const auto& coordinator : coordinators(arguments)) {
    if (auto view = read(ask_one(arguments, coordinator, what, selection), parse)) {
      views.push_back(*std::move(view));
    } else {
      failures.push_back(view.error());
    }
  }
  if (views.empty()) return tl::unexpected(failures.front());
  for (const auto& failure : failures) std::cerr << "gordian: left out: " << failure.message << "\n";
  return views;
}

Result<std::vector<coordinator::Incident>> all_incidents(const Arguments& arguments,
                                                         const admin::Selection& selection) {
  auto views = read_all(arguments, "incidents", selection, admin::parse_incidents);
  if (!views) return tl::unexpected(views.error());
  return merged(*std::move(views), selection.limit.value_or(0));
}

admin::Selection selection(const Arguments& arguments) {
  admin::Selection selection{.limit = {}, .id = arguments.incident};
  if (arguments.limit > 0) selection.limit = arguments.limit;
  return selection;
}

Failure no_such_incident(const Arguments& arguments) {
  return {answer_is_no,
          "there is no incident " + arguments.incident + "; 'gordian deadlocks' lists those that there are"};
}

Result<std::string> status(const Arguments& arguments) {
  auto json = ask(arguments, "status", {});
  if (!json || arguments.format == "json") return json;
  return read(json, admin::parse_status).map(status_text);
}

Result<std::string> deadlocks(const Arguments& arguments) {
  const auto incidents = all_incidents(arguments, selection(arguments));
  if (!incidents) return tl::unexpected(incidents.error());
  if (!arguments.incident.empty() && incidents->empty()) return tl::unexpected(no_such_incident(arguments));
  if (arguments.format == "json") return admin::to_json(*incidents);
  return arguments.incident.empty() ? deadlocks_table(*incidents) : story(incidents->front());
}

Result<std::string> drawn(const viz::Picture& picture, const std::string& format) {
  if (format == "dot") return viz::to_dot(picture);
  auto svg = viz::to_svg(picture);
  if (!svg) return tl::unexpected(Failure{bad_input, svg.error()});
  return *std::move(svg);
}

Result<std::string> graph(const Arguments& arguments) {
  if (!arguments.incident.empty()) {
    const auto incidents = all_incidents(arguments, selection(arguments));
    if (!incidents) return tl::unexpected(incidents.error());
    if (incidents->empty()) return tl::unexpected(no_such_incident(arguments));
    return arguments.format == "json" ? Result<std::string>(admin::to_json(*incidents))
                                      : drawn(viz::draw(incidents->front()), arguments.format);
  }
  const auto views = read_all(arguments, "graph", selection(arguments), admin::parse_graph);
  if (!views) return tl::unexpected(views.error());
  const auto view = merged(*views);
  return arguments.format == "json" ? Result<std::string>(admin::to_json(view))
                                    : drawn(viz::draw(view), arguments.format);
}

int finish(const Result<std::string>& result, const std::string& output) {
  if (!result) {
    std::cerr << "gordian: " << result.error().message << "\n";
    return result.error().exit_code;
  }
  std::ofstream file;
  if (!output.empty()) file.open(output, std::ios::binary);
  std::ostream& out = output.empty() ? std::cout : file;
  out << *result << (result->ends_with('\n') ? "" : "\n") << std::flush;
  if (out) return fine;
  std::cerr << "gordian: " << (output.empty() ? "standard output" : output) << " cannot be written\n";
  return bad_input;
}

void add_format(CLI::App* command, std::string& format, const std::vector<std::string>& formats) {
  std::string list;
  for (const auto& each : formats) list += (list.empty() ? "" : "|") + each;
  command->add_option("--format", format, "default " + formats.front())
      ->type_name(list)
      ->check(CLI::IsMember(formats).description(""));
}

CLI::App* add_status(CLI::App& app, Arguments& arguments) {
  auto* command = app.add_subcommand("status", "the coordinator, its sites, and what is missing");
  add_format(command, arguments.format, {"table", "json"});
  return command;
}

CLI::App* add_graph(CLI::App& app, Arguments& arguments) {
  auto* command = app.add_subcommand("graph", "draw who waits for whom, now or in one incident");
  add_format(command, arguments.format, {"dot", "svg", "json"});
  command->add_option("--incident", arguments.incident, "draw this incident")->type_name("ID");
  command->add_option("--limit", arguments.limit, "at most so many waits")
      ->type_name("N")
      ->check(CLI::PositiveNumber.description(""));
  command->add_option("-o,--output", arguments.output, "write into this file")->type_name("FILE");
  return command;
}

CLI::App* add_deadlocks(CLI::App& app, Arguments& arguments) {
  auto* command = app.add_subcommand("deadlocks", "list the incidents, newest first, or tell the story of one");
  add_format(command, arguments.format, {"table", "json"});
  command->add_option("--limit", arguments.limit, "at most so many, default 50")
      ->type_name("N")
      ->check(CLI::PositiveNumber.description(""));
  command->add_option("--incident", arguments.incident, "only this one, in full")->type_name("ID");
  return command;
}

CLI::App* add_replay(CLI::App& app, Arguments& arguments) {
  auto* command = app.add_subcommand("replay", "play recorded or written traces through the detector (no coordinator)");
  add_format(command, arguments.format, {"text", "json"});
  command->add_flag("--check", arguments.replay.check, "compare with what the traces expect; exit 1 if one differs");
  command->add_option("--policy", arguments.policy, "in place of the one that a trace names: " + detect::policy_names())
      ->type_name("POLICY");
  command->add_option("files", arguments.replay.files, "traces")->type_name("FILE")->required();
  return command;
}

int replay(Arguments& arguments) {
  if (!arguments.policy.empty()) {
    arguments.replay.policy = detect::parse_policy(arguments.policy);
    if (!arguments.replay.policy)
      return finish(tl::unexpected(Failure{bad_input, "--policy: \"" + arguments.policy +
                                                          "\" was given, expected one of: " + detect::policy_names()}),
                    "");
  }
  if (arguments.format == "json") arguments.replay.format = ReplayOptions::Format::json;
  return run_replay(arguments.replay);
}

CLI::App* add_sim(CLI::App& app, Arguments& arguments) {
  auto& sim = arguments.sim;
  auto* command = app.add_subcommand("sim", "run simulated worlds with faults, and check what must hold in them");
  command->fallthrough(false);  // it has no coordinator to ask
  add_format(command, arguments.format, {"text", "json"});
  command->add_option("--seed", sim.seed, "run this one, and tell what happens")->type_name("N");
  command->add_option("--seeds", sim.seeds, "run many, and print a table")->type_name("A..B");
  command->add_option("--jobs", sim.jobs, "threads for many seeds, default 1")->type_name("J");
  command->add_option("--faults", sim.run.faults, "a preset; by default the seed picks one")->type_name("PRESET");
  command->add_option("--without", sim.without, "kinds of faults to leave out, with commas")->type_name("LIST");
  command->add_option("--coordinators", sim.run.coordinators, "how many, default 1")->type_name("N");
  command->add_option("--clients", sim.run.clients, "at most so many; by default as the seed says")->type_name("N");
  command->add_option("--steps", sim.run.steps, "stop after so many; by default when everything has ended")
      ->type_name("K");
  return command;
}

int run(int argc, const char* const* argv) {
  Arguments arguments;
  CLI::App app("Looks at a Gordian coordinator, holds and shows locks, replays wait-for traces, simulates, and runs experiments.",
               "gordian");
  app.set_version_flag("--version", "gordian " GORDIAN_VERSION, "print the version and exit");
  app.set_help_flag("-h,--help", "print this text and exit");
  app.add_option("--coordinator", arguments.coordinator,
                 "its endpoint, of several all with commas, default " + arguments.coordinator)
      ->type_name("ENDPOINT")
      ->envname("GORDIAN_COORDINATOR");
  app.add_option("--timeout", arguments.timeout, "how long to wait for its answer, default " + arguments.timeout)
      ->type_name("DURATION")
      ->envname("GORDIAN_TIMEOUT");
  app.require_subcommand(1);
  app.fallthrough();
  const auto* status_command = add_status(app, arguments);
  const auto* graph_command = add_graph(app, arguments);
  const auto* deadlocks_command = add_deadlocks(app, arguments);
  const auto* replay_command = add_replay(app, arguments);
  const auto* sim_command = add_sim(app, arguments);
  ExperimentCommands experiment_commands(app);
  LockCommands lock_commands(app);
  app.footer(
      "'gordian COMMAND --help' says more. Exit codes: 0 fine, 1 the answer is no, 2 wrong usage or bad input,\n"
      "3 the coordinator does not answer, 4 it refuses.");
  // What stands after "--" is another program's command line, and none of CLI11's business.
  const auto* const* end = std::find(argv, argv + argc, std::string_view("--"));
  const std::vector<std::string> command(end == argv + argc ? end : end + 1, argv + argc);
  try {
    app.parse(static_cast<int>(end - argv), argv);
  } catch (const CLI::Success& wanted) {
    return app.exit(wanted);  // --help, --version
  } catch (const CLI::ParseError& error) {
    std::cerr << "gordian: " << error.what() << "\nRun 'gordian --help' for the commands and options.\n";
    return bad_input;
  }
  const auto timeout = config::parse_duration(arguments.timeout);
  if (!timeout) return finish(tl::unexpected(Failure{bad_input, "--timeout: " + timeout.error()}), "");
  if (const auto code = lock_commands.run(std::chrono::ceil<std::chrono::milliseconds>(*timeout), command))
    return *code;
  if (const auto code = experiment_commands.run()) return *code;
  if (sim_command->parsed()) {
    arguments.sim.json = arguments.format == "json";
    return run_sim(arguments.sim, std::cout, std::cerr);
  }
  if (arguments.format.empty() && graph_command->parsed()) arguments.format = "dot";
  if (status_command->parsed()) return finish(status(arguments), "");
  if (deadlocks_command->parsed()) return finish(deadlocks(arguments), "");
  if (graph_command->parsed()) return finish(graph(arguments), arguments.output);
  return replay_command->parsed() ? replay(arguments) : bad_input;
}

}  // namespace
}  // namespace gordian::cli

int main(int argc, char** argv) { return gordian::cli::run(argc, argv); }
