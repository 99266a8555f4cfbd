#include "experiments/report.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>
#include <vector>

#include "experiments/advice.hpp"
#include "experiments/live.hpp"
#include "experiments/pictures.hpp"
#include "experiments/report_style.hpp"

namespace gordian::experiments {
namespace {

std::string exact(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}
/// `value` with so many digits that the last one is of the size of the interval's second.
std::string shown(const Estimate& value) {
  if (value.count == 0) return "–";
  const auto fixed = [](double number, int decimals) {
    std::ostringstream text;
    text.setf(std::ios::fixed);
    text.precision(decimals);
    text << number;
    return text.str();
  };
  const double scale = value.plus_minus.value_or(0) > 0 ? *value.plus_minus : std::abs(value.mean) / 100;
  const int decimals = scale > 0 ? std::clamp(1 - static_cast<int>(std::floor(std::log10(scale))), 0, 6) : 0;
  return fixed(value.mean, decimals) + (value.plus_minus ? " ± " + fixed(*value.plus_minus, decimals) : "");
}

struct MetricGroup {
  std::string_view title;
  std::vector<std::string_view> metrics;
};
const std::array<MetricGroup, 4> groups{
    MetricGroup{"Throughput and response times",
                {"throughput", "response_mean", "response_p50", "response_p90", "response_p99"}},
    MetricGroup{"Aborts",
                {"aborts", "aborts_deadlock", "aborts_timeout", "aborts_refused", "aborts_wounded", "aborts_lease",
                 "aborts_other", "wasted"}},
    MetricGroup{"Waits and deadlocks", {"pw", "waits", "deadlocks", "two_cycles", "stuck", "active", "blocked"}},
    MetricGroup{"Cost and volume", {"messages", "phantoms", "cpu_busy", "disk_busy", "commits", "turned_away"}}};

class Page {
 public:
  explicit Page(const Outcome& outcome) : outcome_(outcome), plan_(outcome.plan) {}

  tl::expected<std::string, ChartError> make() {
    head();
    words();
    if (auto drawn = charts(); !drawn) return tl::unexpected(drawn.error());
    tables();
    configuration();
    reading();
    text_ += "</main>\n</body>\n</html>\n";
    return std::move(text_);
  }

 private:
  void head() {
    const auto title = escaped(plan_.title);
    text_ +=
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
        title + "</title>\n<style>\n" + std::string(report_style) +
        "</style>\n</head>\n<body>\n<main>\n<header>\n<p class=\"kind\">" +
        (live(outcome_) ? "Experiment on live processes" : "Simulated experiment") + "</p>\n<h1>" + title + "</h1>\n";
    for (const auto& paragraph : paragraphs(plan_.about))
      text_ += "<p class=\"about\">" + escaped(paragraph) + "</p>\n";
    facts();
    text_ += "</header>\n";
  }
  [[nodiscard]] static std::vector<std::string> paragraphs(const std::string& about) {
    std::vector<std::string> found(1);
    std::istringstream lines(about);
    for (std::string line; std::getline(lines, line);) {
      if (line.empty()) {
        if (!found.back().empty()) found.emplace_back();
      } else {
        found.back() += (found.back().empty() ? "" : " ") + line;
      }
    }
    if (found.back().empty()) found.pop_back();
    return found;
  }
  void facts() {
    std::size_t runs = 0, unfinished = 0;
    std::uint64_t least = std::numeric_limits<std::uint64_t>::max(), most = 0;
    for (const auto& cell : outcome_.cells) {
      runs += cell.runs.size();
      least = std::min<std::uint64_t>(least, cell.runs.size()), most = std::max<std::uint64_t>(most, cell.runs.size());
    }
    for (const auto& cell : outcome_.cells) unfinished += cell.runs.size() < std::max<std::uint64_t>(most, 1) ? 1 : 0;
    const auto seeds =
        least == most || most == 0 ? std::to_string(most) : std::to_string(least) + " to " + std::to_string(most);
    text_ += "<dl class=\"facts\">\n";
    fact("folder", plan_.name);
    fact("made by", outcome_.made_by);
    fact("cells", std::to_string(outcome_.cells.size()));
    fact("seeds of each", seeds);
    fact("runs", std::to_string(runs));
    text_ += "</dl>\n";
    if (unfinished > 0)
      text_ += "<p class=\"warning\" id=\"unfinished\">Not finished: " + std::to_string(unfinished) + " of " +
               std::to_string(outcome_.cells.size()) +
               " cells have fewer seeds than others, or none. Run the plan again into the same folder, and it goes "
               "on.</p>\n";
    else if (most < plan_.seeds)
      text_ += "<p class=\"warning\" id=\"fewer-seeds\">" + std::to_string(most) + " of the " +
               std::to_string(plan_.seeds) + " seeds that the plan asks for were run.</p>\n";
    text_ += live(outcome_) ? "<p class=\"how\">What ran: the real gordiand, gordian-agent and lock client, as "
                              "processes on one machine, in "
                              "wall-clock time. Steps, delays and think times are sleeps.</p>\n"
                            : "<p class=\"how\">What ran: the real lock table, strategies and detection, in one "
                              "process. What is simulated: "
                              "time, transactions, servers and the network between sites.</p>\n";
  }
  void fact(std::string_view name, const std::string& value) {
    text_ += "<div><dt>" + escaped(name) + "</dt><dd>" + escaped(value) + "</dd></div>\n";
  }

  void words() {
    text_ += "<section id=\"advice\">\n<h2>What to choose</h2>\n";
    bool first = true;
    for (const auto& paragraph : advice(outcome_)) {
      text_ += std::string("<p") + (first ? " class=\"sum\"" : "") + ">" + escaped(paragraph) + "</p>\n";
      first = false;
    }
    text_ += "</section>\n";
  }

  tl::expected<void, ChartError> charts() {
    const auto all = pictures(outcome_);
    if (all.charts.empty()) return {};
    text_ += "<section id=\"charts\">\n<h2>Charts</h2>\n";
    for (std::size_t i = 0; i < all.charts.size(); ++i) {
      auto svg = draw(all.charts[i], "c" + std::to_string(i));
      if (!svg) return tl::unexpected(svg.error());
      text_ += "<figure>\n<figcaption>" + escaped(all.charts[i].title) + "</figcaption>\n<div class=\"scroll\">" +
               *svg + "</div>\n</figure>\n";
    }
    if (all.left_out > 0)
      text_ += "<p class=\"warning\">" + std::to_string(all.left_out) +
               " more charts are left out; the tables have everything.</p>\n";
    text_ += "</section>\n";
    return {};
  }

  [[nodiscard]] bool worth_showing(std::string_view metric) const {
    if (live(outcome_) && !measured_live(metric)) return false;
    const auto index = metric_index(metric);
    return std::ranges::any_of(outcome_.cells, [&](const CellOutcome& cell) { return cell.metric(index).mean != 0; });
  }
  void tables() {
    text_ +=
        "<section id=\"tables\">\n<h2>Figures</h2>\n<p>Means over the seeds ± half the 95 % confidence interval "
        "(Student).</p>\n";
    std::string unmeasured, zero;
    for (const auto& group : groups) {
      std::vector<std::size_t> columns;
      for (const auto metric : group.metrics) {
        if (worth_showing(metric)) {
          columns.push_back(metric_index(metric));
        } else {
          auto& where = live(outcome_) && !measured_live(metric) ? unmeasured : zero;
          where.append(where.empty() ? "" : ", ").append(metric);
        }
      }
      if (!columns.empty()) table(std::string(group.title), columns);
    }
    if (!zero.empty()) text_ += "<p class=\"note\">0 or nothing in every cell: " + escaped(zero) + ".</p>\n";
    if (!unmeasured.empty()) text_ += "<p class=\"note\">Not measured on live runs: " + escaped(unmeasured) + ".</p>\n";
    text_ += "</section>\n";
  }
  void table(const std::string& title, const std::vector<std::size_t>& columns) {
    text_ += "<div class=\"scroll\"><table>\n<caption>" + escaped(title) + "</caption>\n<thead><tr>";
    for (const auto& axis : plan_.axes) text_ += "<th scope=\"col\">" + escaped(axis.name) + "</th>";
    text_ += "<th scope=\"col\" class=\"n\">seeds</th>";
    for (const auto column : columns) {
      const auto& metric = metric_infos()[column];
      text_ +=
          "<th scope=\"col\" class=\"n\" title=\"" + escaped(metric.meaning) + "\">" + escaped(metric.name) + "</th>";
    }
    text_ += "</tr></thead>\n<tbody>\n";
    for (std::size_t i = 0; i < plan_.cells.size(); ++i) row(i, columns);
    text_ += "</tbody></table></div>\n";
  }
  void row(std::size_t cell, const std::vector<std::size_t>& columns) {
    const auto& place = plan_.cells[cell].place;
    // A line above where an axis but the last starts anew.
    const bool anew = cell > 0 && place.size() > 1 && place.back() == 0;
    text_ += std::string("<tr") + (anew ? " class=\"anew\"" : "") + " data-cell=\"" + std::to_string(cell) + "\">";
    for (std::size_t a = 0; a < place.size(); ++a)
      text_ += "<th scope=\"row\">" + escaped(plan_.axes[a].points[place[a]].label) + "</th>";
    text_ += "<td class=\"n\">" + std::to_string(outcome_.cells[cell].runs.size()) + "</td>";
    for (const auto column : columns) {
      const auto value = outcome_.cells[cell].metric(column);
      text_ += "<td class=\"n\" data-metric=\"" + std::string(metric_infos()[column].name) + "\" data-mean=\"" +
               (value.count > 0 ? exact(value.mean) : "") + "\" data-plus-minus=\"" +
               (value.plus_minus ? exact(*value.plus_minus) : "") + "\">" + shown(value) + "</td>";
    }
    text_ += "</tr>\n";
  }

  void configuration() {
    text_ += "<section id=\"configuration\">\n<h2>Configuration</h2>\n<pre>" + escaped(plan_.text) +
             "</pre>\n"
             "<details>\n<summary>Every setting, those that the file leaves at their defaults included</summary>\n"
             "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">setting</th><th scope=\"col\">value</th>"
             "<th scope=\"col\">meaning</th></tr></thead>\n<tbody>\n";
    for (const auto& info : setting_infos())
      text_ += "<tr><th scope=\"row\">" + escaped(info.name) + "</th><td>" + escaped(values_of(info.name)) +
               "</td><td>" + escaped(info.meaning) + "</td></tr>\n";
    text_ += "</tbody></table></div>\n</details>\n</section>\n";
  }
  /// Of all cells, each value once.
  [[nodiscard]] std::string values_of(std::string_view setting) const {
    std::vector<std::string> values;
    for (const auto& cell : plan_.cells) {
      auto value = text_of(cell.settings, setting);
      if (std::ranges::find(values, value) == values.end()) values.push_back(std::move(value));
    }
    constexpr std::size_t few = 20;
    std::string text;
    for (std::size_t i = 0; i < std::min(values.size(), few); ++i)
      text += (i == 0 ? "" : ", ") + (values[i].empty() ? "–" : values[i]);
    return text + (values.size() > few ? ", …" : "");
  }

  void reading() {
    text_ +=
        "<section id=\"reading\">\n<h2>How to read this</h2>\n"
        "<p>Times are in units, rates per unit; the configuration says what a unit is. A started transaction is one "
        "that "
        "was committed or aborted: who is aborted and starts again counts anew. Response times run from submission "
        "to the "
        "commit. Error bars are 95 % confidence intervals over the seeds; where they overlap, a difference may be "
        "chance. "
        "Settings are compared seed by seed, for each seed asks the same of all of them.</p>\n</section>\n";
  }

  const Outcome& outcome_;
  const Plan& plan_;
  std::string text_;
};

}  // namespace

tl::expected<std::string, ChartError> html_report(const Outcome& outcome) { return Page(outcome).make(); }

}  // namespace gordian::experiments
