#include "experiments/pictures.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>

#include "experiments/live.hpp"

namespace gordian::experiments {
namespace {

constexpr std::array settings_of_choice{"strategy",     "timeout",       "timeout_growth", "timeout_jitter",
                                        "period",       "policy",        "lease",          "probe_again",
                                        "probe_filter", "restart_delay", "restart_shape",  "restart_growth"};

std::optional<double> number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string as_title(std::string_view meaning) {
  std::string title(meaning);
  if (!title.empty() && title[0] >= 'a' && title[0] <= 'z') title[0] = static_cast<char>(title[0] - 'a' + 'A');
  return title;
}

bool ends_with_number(const std::string& label) { return !label.empty() && label.back() >= '0' && label.back() <= '9'; }

bool numeric(const Axis& axis) {
  return std::ranges::all_of(axis.points, [](const Point& point) { return number(point.label).has_value(); });
}

/// How charts look at a plan: `x`, `lines` (none: axes.size()), and all others.
struct View {
  std::size_t x;
  std::size_t lines;
};

class Album {
 public:
  explicit Album(const Outcome& outcome) : outcome_(outcome), plan_(outcome.plan) {}

  Pictures make() {
    if (plan_.axes.empty()) return {};
    for (const auto& plot : plan_.plots) add(plot);
    add_usual();
    return std::move(pictures_);
  }

 private:
  void add(const Plot& plot) {
    const View view{plan_.axis(plot.x), plot.lines.empty() ? plan_.axes.size() : plan_.axis(plot.lines)};
    asked_for_.push_back(plot.relative.empty() ? plot.y : "");
    for_each_rest(view, [&](const std::vector<std::size_t>& place, const std::string& where) {
      keep(line_chart(view, place, plot, where));
    });
  }
  /// What every report has, as far as it was measured and is not always 0.
  void add_usual() {
    const auto view = usual_view();
    constexpr std::array metrics{"throughput", "response_p50", "response_p90", "response_p99",
                                 "aborts",     "wasted",       "messages"};
    const bool log_x =
        std::ranges::any_of(plan_.plots, [&](const Plot& plot) { return plan_.axis(plot.x) == view.x && plot.log_x; });
    for (const std::string metric : metrics) {
      const bool is_aborts = metric == "aborts";
      if (!worth_showing(metric) || (!is_aborts && std::ranges::count(asked_for_, metric) > 0)) continue;
      Plot plot{.title = {},
                .x = plan_.axes[view.x].name,
                .y = metric,
                .lines = {},
                .relative = {},
                .log_x = log_x,
                .log_y = false};
      if (is_aborts) {
        add_causes(view);
        continue;
      }
      for_each_rest(view, [&](const std::vector<std::size_t>& place, const std::string& where) {
        auto chart = line_chart(view, place, plot, where);
        chart.log_y = metric.starts_with("response") && spread(chart) > 20;
        keep(std::move(chart));
      });
    }
  }
  void add_causes(View view) {
    constexpr std::size_t bars_max = 20;
    const auto lines = view.lines < plan_.axes.size() ? plan_.axes[view.lines].points.size() : 1;
    if (lines * plan_.axes[view.x].points.size() > bars_max) view.lines = plan_.axes.size();  // a chart for each line
    for_each_rest(view, [&](const std::vector<std::size_t>& place, const std::string& where) {
      keep(causes_chart(view, place, where));
    });
  }
  /// Largest by smallest.
  [[nodiscard]] static double spread(const Chart& chart) {
    double least = 0, most = 0;
    for (const auto& line : chart.lines)
      for (const auto& point : line.points) {
        if (point.y > 0) least = least == 0 ? point.y : std::min(least, point.y);
        most = std::max(most, point.y);
      }
    return least > 0 ? most / least : 0;
  }
  [[nodiscard]] bool worth_showing(const std::string& metric) const {
    if (live(outcome_) && !measured_live(metric)) return false;
    const auto index = metric_index(metric);
    return std::ranges::any_of(outcome_.cells, [&](const CellOutcome& cell) { return cell.metric(index).mean != 0; });
  }
  void keep(Chart chart) {
    if (pictures_.charts.size() < charts_max) return pictures_.charts.push_back(std::move(chart));
    ++pictures_.left_out;
  }

  /// As the first plot has it; without one: numbers along x, what is to be chosen as lines.
  [[nodiscard]] View usual_view() const {
    const auto none = plan_.axes.size();
    if (!plan_.plots.empty())
      return {plan_.axis(plan_.plots[0].x), plan_.plots[0].lines.empty() ? none : plan_.axis(plan_.plots[0].lines)};
    std::size_t x = none;
    for (std::size_t a = 0; a < none; ++a)
      if (numeric(plan_.axes[a]) && (x == none || plan_.axes[a].points.size() > plan_.axes[x].points.size())) x = a;
    if (x == none) x = none - 1;
    for (const auto a : choices(plan_))
      if (a != x) return {x, a};
    return {x, none == 1 ? none : x == 0 ? std::size_t{1} : std::size_t{0}};
  }

  /// Calls `f` for each point of the axes that are neither x nor lines.
  template <class F>
  void for_each_rest(const View& view, F f) const {
    std::map<std::vector<std::size_t>, std::string> seen;
    for (const auto& cell : plan_.cells) {
      auto place = cell.place;
      std::string where;
      for (std::size_t a = 0; a < place.size(); ++a) {
        if (a == view.x || a == view.lines) {
          place[a] = 0;
        } else {
          where.append(where.empty() ? "" : ", ")
              .append(plan_.axes[a].name + " " + plan_.axes[a].points[place[a]].label);
        }
      }
      if (seen.emplace(place, where).second) f(place, where);
    }
  }

  [[nodiscard]] std::size_t cell_at(std::vector<std::size_t> place) const {
    std::size_t index = 0;
    for (std::size_t a = 0; a < place.size(); ++a) index = index * plan_.axes[a].points.size() + place[a];
    return index;
  }
  /// What y is relative to; none if the plot shows y itself.
  [[nodiscard]] std::optional<std::size_t> reference(const View& view, std::vector<std::size_t> place,
                                                     const Plot& plot) const {
    if (plot.relative.empty()) return std::nullopt;
    for (const auto a : {view.x, view.lines}) {
      if (a >= plan_.axes.size()) continue;
      const auto& points = plan_.axes[a].points;
      const auto at = std::ranges::find(points, plot.relative, &Point::label);
      if (at == points.end()) continue;
      place[a] = static_cast<std::size_t>(at - points.begin());
      return cell_at(place);
    }
    return std::nullopt;
  }

  [[nodiscard]] Chart frame(const View& view, const std::string& title, const std::string& where) const {
    Chart chart;
    chart.title = title + (where.empty() ? "" : " (" + where + ")");
    chart.x_label = plan_.axes[view.x].name;
    return chart;
  }
  void make_categories(Chart& chart, const Axis& axis) const {
    for (const auto& point : axis.points) chart.categories.push_back(point.label);
  }
  [[nodiscard]] Chart line_chart(const View& view, const std::vector<std::size_t>& rest, const Plot& plot,
                                 const std::string& where) const {
    const auto& x_axis = plan_.axes[view.x];
    const auto& metric = metric_infos()[metric_index(plot.y)];
    auto chart = frame(view, plot.title.empty() ? as_title(metric.meaning) : plot.title, where);
    chart.y_label = std::string(metric.name) + (plot.relative.empty() ? "" : " / " + plot.relative);
    chart.log_x = plot.log_x && numeric(x_axis), chart.log_y = plot.log_y;
    if (!numeric(x_axis)) make_categories(chart, x_axis);
    const auto count = view.lines < plan_.axes.size() ? plan_.axes[view.lines].points.size() : 1;
    for (std::size_t i = 0; i < count; ++i) {
      ChartLine line{{}, {}, i};
      if (count > 1 || view.lines < plan_.axes.size()) line.name = line_name(plan_.axes[view.lines], i);
      auto place = rest;
      if (view.lines < plan_.axes.size()) place[view.lines] = i;
      for (std::size_t x = 0; x < x_axis.points.size(); ++x) {
        place[view.x] = x;
        add_point(line, chart, place, plot, view);
      }
      chart.lines.push_back(std::move(line));
    }
    return chart;
  }
  [[nodiscard]] static std::string line_name(const Axis& axis, std::size_t point) {
    const auto& label = axis.points[point].label;
    return number(label) ? axis.name + " " + label : label;
  }
  void add_point(ChartLine& line, const Chart& chart, const std::vector<std::size_t>& place, const Plot& plot,
                 const View& view) const {
    const auto cell = cell_at(place);
    const auto metric = metric_index(plot.y);
    const auto base = reference(view, place, plot);
    const auto value =
        base ? outcome_.cells[cell].relative(metric, outcome_.cells[*base]) : outcome_.cells[cell].metric(metric);
    if (value.count == 0) return;
    const auto x = place[view.x];
    // Along an axis of cases a line says something only from one value of a setting to the next.
    const auto& points = plan_.axes[view.x].points;
    const bool apart = !chart.categories.empty() && x > 0 &&
                       (!ends_with_number(points[x].label) || !ends_with_number(points[x - 1].label) ||
                        strategy_at(place, view.x, x) != strategy_at(place, view.x, x - 1));
    line.points.push_back(
        {chart.categories.empty() ? *number(plan_.axes[view.x].points[x].label) : static_cast<double>(x), value.mean,
         value.plus_minus.value_or(0), apart});
  }
  [[nodiscard]] Strategy strategy_at(std::vector<std::size_t> place, std::size_t axis, std::size_t point) const {
    place[axis] = point;
    return plan_.cells[cell_at(place)].settings.strategy;
  }

  [[nodiscard]] Chart causes_chart(const View& view, const std::vector<std::size_t>& rest,
                                   const std::string& where) const {
    auto chart = frame(view, "Aborts by cause, per started transaction", where);
    chart.stacked = true;
    chart.y_label = "aborts";
    for (std::size_t c = 0; c < causes; ++c) chart.lines.push_back({std::string(name(static_cast<Cause>(c))), {}, c});
    const bool many = view.lines < plan_.axes.size();
    for (std::size_t i = 0; i < (many ? plan_.axes[view.lines].points.size() : 1); ++i) {
      if (i > 0) chart.groups.push_back(chart.categories.size());
      for (std::size_t x = 0; x < plan_.axes[view.x].points.size(); ++x) {
        auto place = rest;
        place[view.x] = x;
        if (many) place[view.lines] = i;
        const auto& label = plan_.axes[view.x].points[x].label;
        const auto of_line = many ? line_name(plan_.axes[view.lines], i) : std::string();
        chart.categories.push_back(many ? of_line + ": " + label : label);
        for (std::size_t c = 0; c < causes; ++c) {
          const auto metric = metric_index("aborts_" + std::string(name(static_cast<Cause>(c))));
          chart.lines[c].points.push_back({0, outcome_.cells[cell_at(place)].metric(metric).mean});
        }
      }
    }
    std::erase_if(chart.lines, [](const ChartLine& line) {
      return std::ranges::all_of(line.points, [](const ChartPoint& point) { return point.y == 0; });
    });
    return chart;
  }

  const Outcome& outcome_;
  const Plan& plan_;
  Pictures pictures_;
  std::vector<std::string> asked_for_;
};

}  // namespace

Pictures pictures(const Outcome& outcome) { return Album(outcome).make(); }

std::vector<std::size_t> choices(const Plan& plan) {
  std::vector<std::size_t> found;
  for (std::size_t a = 0; a < plan.axes.size(); ++a)
    if (std::ranges::any_of(plan.axes[a].points, [](const Point& point) {
          return std::ranges::any_of(point.settings, [](const auto& setting) {
            return std::ranges::find(settings_of_choice, setting.first) != settings_of_choice.end();
          });
        }))
      found.push_back(a);
  return found;
}

}  // namespace gordian::experiments
