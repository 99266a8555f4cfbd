// The report page's style sheet: for light and dark, screen and paper.
#pragma once

#include <string_view>

namespace gordian::experiments {

inline constexpr std::string_view report_style = R"css(
:root { --ink: #1c2126; --soft: #5b6570; --paper: #ffffff; --panel: #f4f6f8; --line: #d9dee3; --accent: #1f6fc4; --warn: #a34b00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #9aa5b1; --paper: #14181c; --panel: #1c2228; --line: #333c45; --accent: #6cb0f5; --warn: #f0a45c; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 0.9rem; letter-spacing: -0.01em; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 3rem 0 0.8rem; padding-bottom: 0.3rem; border-bottom: 1px solid var(--line); }
p { margin: 0 0 0.8rem; max-width: 46rem; }
.kind { color: var(--accent); font-size: 0.85rem; font-weight: 600; margin: 0 0 0.3rem; }
.about { font-size: 1.05rem; }
.how, .note { color: var(--soft); font-size: 0.92rem; }
.warning { color: var(--warn); font-weight: 600; }
.facts { display: flex; flex-wrap: wrap; gap: 0.4rem 2rem; margin: 1.2rem 0; padding: 0.8rem 0; border: solid var(--line);
  border-width: 1px 0; }
.facts dt { color: var(--soft); font-size: 0.8rem; }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; }
#advice { background: var(--panel); border-left: 4px solid var(--accent); padding: 0.4rem 1.4rem 0.6rem; margin-top: 2rem;
  border-radius: 0 6px 6px 0; }
#advice h2 { border: 0; margin: 0.8rem 0 0.4rem; padding: 0; }
.sum { font-weight: 600; }
figure { margin: 1.8rem 0; }
figcaption { font-weight: 600; margin-bottom: 0.3rem; }
figure svg { display: block; max-width: 100%; height: auto; }
figure svg g { font-family: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 0 0 1.6rem; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.3rem 0; font-size: 0.95rem; }
th, td { padding: 0.22rem 0.9rem 0.22rem 0; text-align: left; vertical-align: top; font-weight: 400; }
thead th { color: var(--soft); border-bottom: 1px solid var(--line); }
tbody th { white-space: nowrap; }
.n { text-align: right; white-space: nowrap; padding: 0.22rem 0 0.22rem 1.2rem; }
tr.anew > * { border-top: 1px solid var(--line); }
tbody tr:hover { background: var(--panel); }
pre { background: var(--panel); padding: 1rem 1.2rem; overflow-x: auto; font: 0.85rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace;
  border-radius: 6px; }
summary { cursor: pointer; color: var(--accent); }
@media print { body { background: white; color: black; } figure, table { break-inside: avoid; } }
)css";

}  // namespace gordian::experiments
