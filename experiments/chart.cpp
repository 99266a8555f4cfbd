#include "experiments/chart.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <string_view>

namespace gordian::experiments {
namespace {

// Bright enough for a dark page, dark enough for a light one; neighbours differ for the colour-blind, too (after Okabe and Ito).
constexpr std::array colours{"#3f86d9", "#d97a26", "#2fa37c", "#c559a5", "#a08a12", "#8b6fe0", "#d9534f", "#3da6b8"};
constexpr std::array marks{7, 5, 9, 11, 13, 6, 4, 8, 10, 12};

std::string colour_of(const ChartLine& line) { return colours[line.colour % colours.size()]; }

std::string number(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

/// In single quotes, where gnuplot takes nothing for a command but the quote.
std::string quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += '\'';
    quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return quoted + "'";
}

// --- The script ---

std::string tics(const Chart& chart) {
  std::string list;
  for (std::size_t i = 0, gap = 0; i < chart.categories.size(); ++i) {
    gap += static_cast<std::size_t>(std::ranges::count(chart.groups, i));
    list.append(list.empty() ? "" : ", ")
        .append(quoted(chart.categories[i]))
        .append(" ")
        .append(std::to_string(i + gap));
  }
  return list;
}

bool drawn(const Chart& chart, const ChartPoint& point) {
  return std::isfinite(point.x) && std::isfinite(point.y) && (!chart.log_y || point.y > 0) &&
         (!chart.log_x || point.x > 0);
}

std::vector<double> all_x(const Chart& chart) {
  std::vector<double> all;
  for (const auto& line : chart.lines)
    for (const auto& point : line.points)
      if (drawn(chart, point)) all.push_back(point.x);
  std::ranges::sort(all);
  all.erase(std::ranges::unique(all).begin(), all.end());
  return all;
}

/// From the first point to the last, with a margin.
std::string x_range(const Chart& chart) {
  const auto all = all_x(chart);
  constexpr double margin = 0.04;
  if (all.empty()) return {};
  const double first = all.front(), last = all.back();
  if (chart.log_x) {
    const double factor = first == last ? 2 : std::pow(last / first, margin);
    return "set xrange [" + number(first / factor) + ":" + number(last * factor) + "]\n";
  }
  const double width = first == last ? 1 : (last - first) * margin;
  return "set xrange [" + number(first - width) + ":" + number(last + width) + "]\n";
}

/// Numbers of the x axis where lines have points, if they are few: those that were asked for, not round ones between them.
std::string tics_at_points(const Chart& chart) {
  const auto all = all_x(chart);
  constexpr std::size_t few = 12;
  if (all.size() > few) return {};
  std::string list;
  for (const double x : all) list.append(list.empty() ? "" : ", ").append(quoted(number(x)) + " " + number(x));
  return list;
}

std::string block(const Chart& chart, std::size_t line) {
  std::string text = "$d" + std::to_string(line) + " << END_OF_DATA\n";
  for (const auto& point : chart.lines[line].points) {
    if (!drawn(chart, point)) continue;
    if (point.apart) text += "\n";
    // On a logarithmic axis a bar that reaches zero would have no end.
    const double least = chart.log_y ? std::max(point.y - point.plus_minus, point.y / 10) : point.y - point.plus_minus;
    text +=
        number(point.x) + " " + number(point.y) + " " + number(least) + " " + number(point.y + point.plus_minus) + "\n";
  }
  return text + "END_OF_DATA\n";
}

/// One row for each category: a value of each line.
std::string rows(const Chart& chart) {
  std::string text = "$rows << END_OF_DATA\n";
  for (std::size_t i = 0, gap = 0; i < chart.categories.size(); ++i) {
    gap += static_cast<std::size_t>(std::ranges::count(chart.groups, i));
    text += std::to_string(i + gap);
    double upon = 0;
    for (const auto& line : chart.lines) {
      const double lower = upon;
      upon += line.points[i].y;
      text += " " + number(lower) + " " + number(upon);
    }
    text += "\n";
  }
  return text + "END_OF_DATA\n";
}

std::string plot_lines(const Chart& chart) {
  std::string text, commands;
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    const auto& points = chart.lines[i].points;
    if (std::ranges::none_of(points, [&](const auto& point) { return drawn(chart, point); })) continue;
    const auto data = "$d" + std::to_string(i);
    const std::string look = std::string(" lc rgb '") + colour_of(chart.lines[i]) + "' pt " +
                             std::to_string(marks[chart.lines[i].colour % marks.size()]);
    text += block(chart, i);
    commands.append(commands.empty() ? "plot " : ", ")
        .append(data + " using 1:2 with linespoints lw 1.6 ps 0.7" + look + " title " + quoted(chart.lines[i].name));
    if (std::ranges::any_of(points, [](const auto& point) { return point.plus_minus > 0; }))
      commands += ", " + data + " using 1:3:(0):($4-$3) with vectors nohead lw 1 lc rgb '" + colour_of(chart.lines[i]) +
                  "' notitle";
  }
  return commands.empty() ? std::string() : text + commands + "\n";
}

std::string plot_stacked(const Chart& chart) {
  std::string commands;
  for (std::size_t i = chart.lines.size(); i-- > 0;)
    commands.append(commands.empty() ? "plot " : ", ")
        .append("$rows using 1:" + std::to_string(2 * i + 2) + ":($1-0.38):($1+0.38):" + std::to_string(2 * i + 2) +
                ":" + std::to_string(2 * i + 3) + " with boxxyerror fs solid 0.9 noborder lc rgb '" +
                colour_of(chart.lines[i]) + "' title " + quoted(chart.lines[i].name));
  return commands.empty() ? std::string() : rows(chart) + commands + "\n";
}

/// Empty if there is nothing to draw.
std::string script(const Chart& chart, int width, int height) {
  const auto commands = chart.stacked ? plot_stacked(chart) : plot_lines(chart);
  if (commands.empty()) return {};
  std::string text =
      "set terminal svg noenhanced size " + std::to_string(width) + "," + std::to_string(height) +
      " font 'sans-serif,13' linewidth 1\n"
      "set border 3\nset tics nomirror out\nset grid ytics\nset key outside right top Left reverse samplen 2\n"
      "set errorbars small\n";
  text += "set xlabel " + quoted(chart.x_label) + "\nset ylabel " + quoted(chart.y_label) + "\n";
  if (chart.log_y) text += "set logscale y\n";
  if (!chart.log_y) text += "set yrange [0:*]\n";
  if (!chart.categories.empty()) {
    text += "set xtics rotate by -35 (" + tics(chart) + ")\n";
    text +=
        "set xrange [-0.6:" + number(static_cast<double>(chart.categories.size() + chart.groups.size()) - 0.4) + "]\n";
  } else {
    if (chart.log_x) text += "set logscale x\n";
    text += x_range(chart);
    if (const auto list = tics_at_points(chart); !list.empty() && chart.log_x) text += "set xtics (" + list + ")\n";
  }
  if (chart.lines.size() == 1 && !chart.stacked) text += "unset key\n";
  return text + commands;
}

// --- gnuplot ---

/// A file without a name, in memory.
class Memory {
 public:
  Memory() : file_(memfd_create("gordian-chart", MFD_CLOEXEC)) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { close(file_); }
  [[nodiscard]] int number() const { return file_; }
  [[nodiscard]] bool write(std::string_view text) const {
    while (!text.empty()) {
      const auto written = ::write(file_, text.data(), text.size());
      if (written < 0) return false;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    return lseek(file_, 0, SEEK_SET) == 0;
  }
  [[nodiscard]] std::string read() const {
    std::string text;
    std::array<char, 65536> part{};
    lseek(file_, 0, SEEK_SET);
    for (ssize_t got = 0; (got = ::read(file_, part.data(), part.size())) > 0;)
      text.append(part.data(), static_cast<std::size_t>(got));
    return text;
  }

 private:
  const int file_;
};

ChartError failure(int error) {
  if (error == ENOENT)
    return {true,
            "gnuplot is not installed (not in PATH), and draws the report's plots; install the package gnuplot-nox"};
  return {false, std::string("gnuplot cannot be run: ") + std::strerror(error)};
}

tl::expected<std::string, ChartError> run_gnuplot(const std::string& commands) {
  const Memory in, out, complaints;
  if (!in.write(commands)) return tl::unexpected(failure(errno));
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in.number(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out.number(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, complaints.number(), STDERR_FILENO);
  // Without the user's own settings, which might change what is drawn.
  std::array<std::string, 2> words{"gnuplot", "-d"};
  std::array<char*, 3> arguments{words[0].data(), words[1].data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, "gnuplot", &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) return tl::unexpected(failure(error));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  auto svg = out.read();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || svg.find("</svg>") == std::string::npos)
    return tl::unexpected(ChartError{false, "gnuplot has failed: " + complaints.read()});
  return svg;
}

// --- From a document to an element ---

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

std::string as_element(std::string svg, const std::string& id, const std::string& title) {
  svg.erase(0, svg.find("<svg"));
  replace_all(svg, "<title>Gnuplot</title>", "<title>" + escaped(title) + "</title>");
  for (const char quote : {'"', '\''}) {
    const std::string q(1, quote);
    replace_all(svg, " id=" + q, " id=" + q + id + "-");
    replace_all(svg, "href=" + q + "#", "href=" + q + "#" + id + "-");
    replace_all(svg, q + "black" + q, q + "currentColor" + q);
  }
  replace_all(svg, "stroke='gray'", "stroke='currentColor' stroke-opacity='0.35'");
  replace_all(svg, "\"gray\"", "\"currentColor\"");
  replace_all(svg, "url(#", "url(#" + id + "-");
  return svg;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '"': safe += "&quot;"; break;
      case '\'': safe += "&#39;"; break;
      default: safe += static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return safe;
}

tl::expected<std::string, ChartError> draw(const Chart& chart, const std::string& id) {
  const bool wide = chart.categories.size() > 8;
  const auto commands = script(chart, wide ? 900 : 720, chart.categories.empty() ? 380 : 440);
  if (commands.empty()) return std::string("<p>There is nothing to draw yet.</p>");
  return run_gnuplot(commands).map([&](std::string svg) { return as_element(std::move(svg), id, chart.title); });
}

}  // namespace gordian::experiments
