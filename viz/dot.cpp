#include "viz/dot.hpp"

#include <string_view>

namespace gordian::viz {
namespace {

constexpr const char* deadlock_red = "#c62828";
constexpr const char* plain_gray = "#607d8b";

/// For an HTML-like label, the only kind used here. Graphviz replaces "\N", "\G", … there as in other labels.
std::string escaped(std::string_view text) {
  std::string html;
  for (const char c : text) switch (c) {
      case '\\': html += "\\\\"; break;
      case '&': html += "&amp;"; break;
      case '<': html += "&lt;"; break;
      case '>': html += "&gt;"; break;
      case '"': html += "&quot;"; break;
      case '\'': html += "&#39;"; break;
      default: html += c;
    }
  return html;
}

std::string font(std::string_view text, const char* attributes) {
  return std::string("<font ") + attributes + ">" + escaped(text) + "</font>";
}
std::string bold(std::string_view text) { return "<b>" + escaped(text) + "</b>"; }

std::string txn_node(std::size_t number) { return "txn" + std::to_string(number); }
std::string resource_node(std::size_t site, std::size_t resource) {
  return "site" + std::to_string(site) + "_resource" + std::to_string(resource);
}

std::string title_label(const Picture& picture) {
  std::string label;
  for (const auto& line : picture.title)
    label += (label.empty() ? "<font point-size=\"16\">" + bold(line) + "</font>" : font(line, "point-size=\"11\"")) +
             "<br align=\"left\"/>";
  return label;
}

void write_site(std::string& dot, const Picture::Site& site, std::size_t number) {
  dot += "  subgraph cluster_" + std::to_string(number) + " {\n";
  dot += "    label=<" + font("site ", "color=\"#546e7a\"") + bold(site.name) +
         ">; labeljust=l; fontsize=11; margin=14;\n";
  dot += "    style=\"rounded,filled\"; color=\"#b0bec5\"; fillcolor=\"#eceff1\";\n";
  // Wide boxes, so that the lines to their middle leave the cluster's label alone.
  for (std::size_t i = 0; i < site.resources.size(); ++i) {
    const auto& [name, modes] = site.resources[i];
    dot += "    " + resource_node(number, i) +
           " [shape=box, style=\"rounded,filled\", width=2.3, fillcolor=white, color=\"" + plain_gray + "\", label=<" +
           bold(name);
    if (!modes.empty()) dot += "<br/>" + font(modes, "point-size=\"9\" color=\"#546e7a\"");
    dot += ">];\n";
  }
  dot += "  }\n";
}

void write_txn(std::string& dot, const Picture::Txn& txn, std::size_t number) {
  const char* small = txn.victim ? "point-size=\"9\" color=\"#ffebee\"" : "point-size=\"9\" color=\"#546e7a\"";
  dot += "  " + txn_node(number) + " [shape=box, style=filled, margin=\"0.15,0.09\", ";
  dot += txn.victim ? "fillcolor=\"#d32f2f\", color=\"#7f0000\", penwidth=3, fontcolor=white, "
                    : "fillcolor=\"#e3f2fd\", color=\"#1565c0\", ";
  dot += "label=<<font point-size=\"12\">" + bold(txn.name) + "</font>";
  if (txn.victim) dot += "<br/>" + bold("victim");
  if (txn.spared) dot += "<br/>" + font("never a victim", small);
  if (!txn.label.empty()) dot += "<br/>" + escaped(txn.label);
  for (const auto& detail : txn.details) dot += "<br/>" + font(detail, small);
  dot += ">];\n";
}

const char* style(Kind kind) {
  switch (kind) {
    case Kind::hard: return "solid";
    case Kind::soft: return "dashed";
    case Kind::dotted: return "dotted";
  }
  return "solid";
}

void write_line(std::string& dot, const Picture::Line& line) {
  const std::string txn = txn_node(line.txn), resource = resource_node(line.site, line.resource);
  dot += "  " + (line.type == Picture::Line::Type::waits ? txn + " -> " + resource : resource + " -> " + txn);
  // Two blanks keep the label off its line.
  dot += std::string(" [style=") + style(line.kind) + ", label=<&#160;&#160;" + escaped(line.text) + ">";
  if (line.cycle)
    dot += std::string(", color=\"") + deadlock_red + "\", fontcolor=\"" + deadlock_red + "\", penwidth=2.5";
  dot += "];\n";
}

}  // namespace

std::string to_dot(const Picture& picture) {
  std::string dot = "digraph gordian {\n";
  dot += "  charset=\"UTF-8\"; rankdir=TB; nodesep=0.4; ranksep=0.5; pad=0.3; bgcolor=white;\n";
  dot += "  fontname=\"Helvetica,Arial,sans-serif\"; labelloc=t; labeljust=l; label=<" + title_label(picture) + ">;\n";
  dot += "  node [fontname=\"Helvetica,Arial,sans-serif\", fontsize=10];\n";
  dot += std::string("  edge [fontname=\"Helvetica,Arial,sans-serif\", fontsize=9, arrowsize=0.8, color=\"") +
         plain_gray + "\", fontcolor=\"#455a64\"];\n";
  for (std::size_t i = 0; i < picture.sites.size(); ++i) write_site(dot, picture.sites[i], i);
  for (std::size_t i = 0; i < picture.txns.size(); ++i) write_txn(dot, picture.txns[i], i);
  for (const auto& line : picture.lines) write_line(dot, line);
  return dot + "}\n";
}

}  // namespace gordian::viz
