#include "viz/svg.hpp"

#include <gvc.h>

#include <memory>
#include <mutex>

#include "viz/dot.hpp"

// libgvc 2.42 and the font libraries under it leave some kilobytes of each layout with HTML-like labels
// behind. Our own memory stays under watch.
#ifdef __SANITIZE_ADDRESS__
// NOLINTBEGIN(bugprone-reserved-identifier): the names are the sanitizer's.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libgvc.so\nleak:libfontconfig.so\nleak:libglib-2.0.so\n";
}
extern "C" const char* __lsan_default_options();
extern "C" const char* __lsan_default_options() { return "print_suppressions=0"; }
// NOLINTEND(bugprone-reserved-identifier)
#endif

namespace gordian::viz {
namespace {

struct ContextFree {
  void operator()(GVC_t* context) const { gvFreeContext(context); }
};
struct GraphClose {
  void operator()(Agraph_t* graph) const { agclose(graph); }
};

}  // namespace

tl::expected<std::string, std::string> to_svg(const Picture& picture) {
  if (picture.lines.size() > svg_lines_max)
    return tl::unexpected("the picture has " + std::to_string(picture.lines.size()) + " lines, at most " +
                          std::to_string(svg_lines_max) +
                          " can be laid out; draw one incident, or use the DOT or JSON format");
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  agseterr(AGMAX);  // its warnings would go to stderr; what matters is reported here
  // One context for all pictures: libgvc 2.42 keeps a font name of a freed context and reads it in the next.
  static const std::unique_ptr<GVC_t, ContextFree> context(gvContext());
  const std::unique_ptr<Agraph_t, GraphClose> graph(agmemread(to_dot(picture).c_str()));
  if (!context || !graph) return tl::unexpected(std::string("Graphviz does not accept the picture: ") + aglasterr());
  if (gvLayout(context.get(), graph.get(), "dot") != 0)
    return tl::unexpected(std::string("Graphviz cannot lay the picture out (is the package libgvc6 complete?): ") +
                          aglasterr());
  char* data = nullptr;
  unsigned length = 0;
  const int failed = gvRenderData(context.get(), graph.get(), "svg", &data, &length);
  std::string svg = failed || !data ? std::string() : std::string(data, length);
  if (data) gvFreeRenderData(data);
  gvFreeLayout(context.get(), graph.get());
  if (svg.empty()) return tl::unexpected(std::string("Graphviz cannot write SVG (package libgvc6 is incomplete)"));
  return svg;
}

}  // namespace gordian::viz
