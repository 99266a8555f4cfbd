#include "experiments/plan.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "experiments/result.hpp"
#include "experiments/trace_workload.hpp"

namespace gordian::experiments {
namespace {

/// What is wrong, as a sentence ready to be shown.
struct PlanError {
  std::string message;
};

class Parser {
 public:
  Parser(Plan& plan, std::string file) : plan_(plan), file_(std::move(file)) {}

  void parse(const toml::table& root) {
    only(root, "", {"title", "about", "seeds", "base", "vary", "plot"});
    plan_.title = text(root, "title", plan_.name);
    plan_.about = text(root, "about", "");
    if (const auto* seeds = root.get("seeds")) {
      const auto* whole = seeds->as_integer();
      if (whole == nullptr || whole->get() < 1 || whole->get() > std::int64_t{Plan::seeds_max})
        fail(*seeds, "seeds", "expected a whole number, 1 to " + std::to_string(Plan::seeds_max));
      plan_.seeds = static_cast<std::uint64_t>(whole->get());
    }
    if (const auto* base = root.get("base")) {
      const auto* table = base->as_table();
      if (table == nullptr) fail(*base, "base", "expected a table of settings, [base]");
      for (const auto& [key, node] : *table) apply(base_, std::string(key.str()), node, key.source().begin.line);
    }
    each(root, "vary", [this](const toml::table& axis) { vary(axis); });
    each(root, "plot", [this](const toml::table& plot) { draw(plot); });
    make_cells();
  }

 private:
  [[noreturn]] void fail(std::size_t line, const std::string& key, const std::string& what) const {
    throw PlanError{file_ + (line > 0 ? ":" + std::to_string(line) : "") + ": " + (key.empty() ? "" : key + ": ") +
                    what};
  }
  [[noreturn]] void fail(const toml::node& node, const std::string& key, const std::string& what) const {
    fail(node.source().begin.line, key, what);
  }

  void only(const toml::table& table, const std::string& where, const std::vector<std::string_view>& known) const {
    for (const auto& [key, node] : table) {
      if (std::ranges::find(known, key.str()) != known.end()) continue;
      std::string list;
      for (const auto each : known) list.append(list.empty() ? "" : ", ").append(each);
      fail(key.source().begin.line, where, "unknown key \"" + std::string(key.str()) + "\"; expected one of: " + list);
    }
  }
  std::string text(const toml::table& table, std::string_view key, std::string otherwise) const {
    const auto* node = table.get(key);
    if (node == nullptr) return otherwise;
    if (!node->is_string()) fail(*node, std::string(key), "expected a string");
    return node->as_string()->get();
  }
  bool flag(const toml::table& table, std::string_view key) const {
    const auto* node = table.get(key);
    if (node == nullptr) return false;
    if (!node->is_boolean()) fail(*node, std::string(key), "expected true or false");
    return node->as_boolean()->get();
  }
  template <class F>
  void each(const toml::table& root, const std::string& key, F f) const {
    const auto* node = root.get(key);
    if (node == nullptr) return;
    const auto* array = node->as_array();
    if (array == nullptr) fail(*node, key, "expected tables, [[" + key + "]]");
    for (const auto& element : *array) {
      if (!element.is_table()) fail(element, key, "expected tables, [[" + key + "]]");
      f(*element.as_table());
    }
  }

  SettingValue value(const toml::node& node, const std::string& key) const {
    if (const auto* v = node.as_boolean()) return v->get();
    if (const auto* v = node.as_integer()) return std::int64_t{v->get()};
    if (const auto* v = node.as_floating_point()) return v->get();
    if (const auto* v = node.as_string()) return v->get();
    fail(node, key, "expected a number, a string, true or false");
  }
  /// Checks it on `settings`, and remembers where it stood.
  SettingValue apply(Settings& settings, const std::string& key, const toml::node& node, std::size_t line) {
    const auto known = std::ranges::any_of(setting_infos(), [&](const SettingInfo& info) { return info.name == key; });
    if (!known) fail(line, "", "unknown setting \"" + key + "\"; 'gordian experiment settings' lists them all");
    auto given = value(node, key);
    if (const auto done = set(settings, key, given); !done) fail(node, key, done.error());
    lines_.emplace_back(key, node.source().begin.line);
    return given;
  }

  void vary(const toml::table& table) {
    only(table, "vary", {"setting", "values", "name", "cases"});
    Axis axis;
    const auto line = table.source().begin.line;
    const auto *values = table.get("values"), *cases = table.get("cases");
    if ((values == nullptr) == (cases == nullptr) || (cases != nullptr && table.contains("setting")))
      fail(line, "vary", "expected either setting and values, or name and cases");
    if (values != nullptr) {
      const auto setting = text(table, "setting", "");
      if (setting.empty()) fail(*values, "values", "expected the setting's name beside them, setting = \"mpl\"");
      axis.name = text(table, "name", setting);
      if (!values->is_array()) fail(*values, "values", "expected an array");
      for (const auto& node : *values->as_array()) add(axis, one_value(node, setting), node);
    } else {
      axis.name = text(table, "name", "");
      if (axis.name.empty()) fail(line, "vary", "expected a name for these cases, name = \"strategy\"");
      if (!cases->is_array()) fail(*cases, "cases", "expected an array of tables");
      for (const auto& node : *cases->as_array()) add(axis, one_case(node), node);
    }
    if (axis.points.empty()) fail(line, "vary", "axis \"" + axis.name + "\" has no points; expected at least one");
    if (plan_.axis(axis.name) != plan_.axes.size()) fail(line, "vary", "axis \"" + axis.name + "\" is there already");
    plan_.axes.push_back(std::move(axis));
  }
  /// Labels tell cells apart wherever they are shown, and a later axis would undo what an earlier one sets.
  void add(Axis& axis, Point point, const toml::node& node) const {
    if (std::ranges::find(axis.points, point.label, &Point::label) != axis.points.end())
      fail(node, "vary",
           "axis \"" + axis.name + "\" has \"" + point.label +
               "\" already; expected each point once, and cases with labels of their own, label = \"…\"");
    for (const auto& [key, given] : point.settings)
      for (const auto& earlier : plan_.axes)
        if (sets(earlier, key))
          fail(node, key,
               "axis \"" + earlier.name +
                   "\" sets it already; expected each setting on one axis only, or cases that "
                   "set all that belongs together");
    axis.points.push_back(std::move(point));
  }
  [[nodiscard]] static bool sets(const Axis& axis, const std::string& key) {
    return std::ranges::any_of(axis.points, [&](const Point& point) {
      return std::ranges::any_of(point.settings, [&](const auto& setting) { return setting.first == key; });
    });
  }
  Point one_value(const toml::node& node, const std::string& setting) {
    auto scratch = base_;
    const auto given = apply(scratch, setting, node, node.source().begin.line);
    return {text_of(scratch, setting), {{setting, given}}, false};
  }
  Point one_case(const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr) fail(node, "cases", "expected tables of settings, { strategy = \"timeout\", timeout = 8 }");
    Point point{text(*table, "label", ""), {}, true};
    auto scratch = base_;
    for (const auto& [key, setting] : *table) {
      const std::string name(key.str());
      if (name == "label") continue;
      point.settings.emplace_back(name, apply(scratch, name, setting, key.source().begin.line));
    }
    if (point.label.empty()) point.label = describe(point, scratch);
    return point;
  }
  /// "timeout 8, mpl 20": all that a case without a label sets.
  [[nodiscard]] static std::string describe(const Point& point, const Settings& settings) {
    const bool of_strategy =
        std::ranges::any_of(point.settings, [](const auto& set) { return set.first == "strategy"; });
    std::string text = of_strategy ? describe_strategy(settings) : "";
    for (const auto& [key, given] : point.settings)
      if (!of_strategy || (key != "strategy" && key != told_with(settings.strategy)))
        text.append(text.empty() ? "" : ", ").append(key).append(" ").append(text_of(settings, key));
    return text.empty() ? "base" : text;
  }

  void draw(const toml::table& table) {
    only(table, "plot", {"title", "x", "y", "lines", "relative", "log_x", "log_y"});
    const Plot plot{text(table, "title", ""), text(table, "x", ""),        text(table, "y", "throughput"),
                    text(table, "lines", ""), text(table, "relative", ""), flag(table, "log_x"),
                    flag(table, "log_y")};
    const auto line = table.source().begin.line;
    const auto is_axis = [&](const std::string& name) { return plan_.axis(name) != plan_.axes.size(); };
    if (!is_axis(plot.x)) fail(line, "x", "\"" + plot.x + "\" was given, expected one of the axes of [[vary]]");
    if (!plot.lines.empty() && !is_axis(plot.lines))
      fail(line, "lines", "\"" + plot.lines + "\" was given, expected one of the axes of [[vary]]");
    if (metric_index(plot.y) == metric_infos().size()) {
      std::string list;
      for (const auto& metric : metric_infos()) list.append(list.empty() ? "" : ", ").append(metric.name);
      fail(line, "y", "\"" + plot.y + "\" was given, expected one of: " + list);
    }
    if (!plot.relative.empty() && !has_point(plot.x, plot.relative) && !has_point(plot.lines, plot.relative))
      fail(line, "relative", "\"" + plot.relative + "\" was given, expected the label of a point of x or lines");
    plan_.plots.push_back(plot);
  }
  [[nodiscard]] bool has_point(const std::string& axis, const std::string& label) const {
    const auto at = plan_.axis(axis);
    return at != plan_.axes.size() &&
           std::ranges::find(plan_.axes[at].points, label, &Point::label) != plan_.axes[at].points.end();
  }

  void make_cells() {
    std::size_t count = 1;
    for (const auto& axis : plan_.axes)
      if ((count *= axis.points.size()) > Plan::cells_max)
        fail(0, "vary", "the axes make more than " + std::to_string(Plan::cells_max) + " cells; expected fewer");
    for (std::size_t index = 0; index < count; ++index) {
      Cell cell{std::vector<std::size_t>(plan_.axes.size()), base_};
      for (std::size_t a = plan_.axes.size(), rest = index; a-- > 0; rest /= plan_.axes[a].points.size())
        cell.place[a] = rest % plan_.axes[a].points.size();
      for (std::size_t a = 0; a < plan_.axes.size(); ++a)
        for (const auto& [name, given] : plan_.axes[a].points[cell.place[a]].settings)
          (void)set(cell.settings, name, given);  // was checked as it was read
      std::string key;
      if (const auto wrong = complaint(cell.settings, key); !wrong.empty()) {
        const auto at =
            std::find_if(lines_.rbegin(), lines_.rend(), [&](const auto& line) { return line.first == key; });
        const auto label = plan_.label(cell);
        fail(at == lines_.rend() ? 0 : at->second, key, wrong + (label.empty() ? "" : " (cell " + label + ")"));
      }
      plan_.cells.push_back(std::move(cell));
    }
  }

  Plan& plan_;
  const std::string file_;
  Settings base_;
  std::vector<std::pair<std::string, std::size_t>> lines_;  ///< of settings, as they were read
};

/// Empty, or what is wrong with one of them.
std::string find_traces(Plan& plan, const std::filesystem::path& folder) {
  std::set<std::string> read;
  for (auto& cell : plan.cells) {
    auto& trace = cell.settings.trace;
    if (trace.empty()) continue;
    if (std::filesystem::path(trace).is_relative()) trace = (folder / trace).string();
    if (!read.insert(trace).second) continue;
    if (const auto workload = read_trace_workload(trace); !workload) return "trace: " + workload.error();
  }
  return {};
}

}  // namespace

std::size_t Plan::axis(std::string_view axis_name) const {
  return static_cast<std::size_t>(std::ranges::find(axes, axis_name, &Axis::name) - axes.begin());
}

std::string Plan::label(const Cell& cell) const {
  std::string label;
  for (std::size_t a = 0; a < axes.size(); ++a) {
    const auto& point = axes[a].points[cell.place[a]];
    label.append(label.empty() ? "" : ", ").append(point.cases ? point.label : axes[a].name + " " + point.label);
  }
  return label;
}

tl::expected<Plan, std::string> parse_plan(std::string text, std::string name, const std::string& file) {
  Plan plan;
  plan.name = std::move(name);
  plan.text = std::move(text);
  try {
    Parser(plan, file).parse(toml::parse(std::string_view(plan.text), std::string_view(file)));
  } catch (const toml::parse_error& error) {
    return tl::unexpected(file + ":" + std::to_string(error.source().begin.line) + ": " +
                          std::string(error.description()) + "; expected TOML");
  } catch (const PlanError& error) {
    return tl::unexpected(error.message);
  }
  return plan;
}

tl::expected<Plan, std::string> load_plan(const std::string& file_or_name) {
  const auto at = std::ranges::find(shipped(), file_or_name, &Shipped::name);
  if (at != shipped().end())
    return parse_plan(std::string(at->text), file_or_name, "shipped configuration " + file_or_name);
  std::ifstream in(file_or_name, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    std::string list;
    for (const auto& each : shipped()) list.append(list.empty() ? "" : ", ").append(each.name);
    return tl::unexpected(file_or_name + ": expected a readable TOML file, or one of: " + list);
  }
  const std::filesystem::path path(file_or_name);
  auto plan = parse_plan(text.str(), path.stem().string(), file_or_name);
  if (!plan) return plan;
  if (const auto wrong = find_traces(*plan, path.parent_path()); !wrong.empty())
    return tl::unexpected(file_or_name + ": " + wrong);
  return plan;
}

}  // namespace gordian::experiments
