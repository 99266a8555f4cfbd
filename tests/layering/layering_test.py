# The tree keeps to the architecture; and the checker that says so bites: it is run on small bad trees too.
#
# Usage: layering_test.py [unittest options]. Standard library only.
import subprocess
import tempfile
import unittest
from pathlib import Path

import layering

ROOT = Path(__file__).resolve().parents[2]


class TheTree(unittest.TestCase):
    def test_includes_follow_the_table(self):
        self.assertEqual([], layering.check_includes(ROOT))

    def test_pure_rooms_read_no_clock(self):
        self.assertEqual([], layering.check_clocks(ROOT))

    def test_link_lines_follow_the_table(self):
        self.assertEqual([], layering.check_links(ROOT))

    def test_is_of_no_machine(self):
        self.assertEqual([], layering.check_text(ROOT, layering.tracked_files(ROOT)))

    def test_is_read_at_all(self):
        self.assertGreater(len(list(layering.sources(ROOT))), 3)
        self.assertGreater(len(layering.tracked_files(ROOT)), 30)


class BadTree(unittest.TestCase):
    """Each test writes a few files, and says what must be found in them."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("include/gordian/ids.hpp", "#include <string>\n#include <tl/expected.hpp>\n")
        self.write("include/gordian/agent.hpp", "#include <gordian/ids.hpp>\n")
        for room in ("graph", "wire", "detect", "agent", "coordinator", "net", "store", "embed", "admin", "cli", "gordiand"):
            self.write(f"src/{room}/{room}.hpp", "#include <gordian/ids.hpp>\n")
        self.write("viz/dot.hpp", "#include <coordinator/coordinator.hpp>\n")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def assert_refused(self, name, text, *words):
        """Exactly one complaint about that file, which contains the words."""
        self.write(name, text)
        wrong = layering.check_includes(self.root)
        self.assertEqual(1, len(wrong), wrong)
        for word in (name, *words):
            self.assertIn(word, wrong[0])

    def assert_accepted(self, name, text):
        self.write(name, text)
        self.assertEqual([], layering.check_includes(self.root))

    def test_a_good_tree_is_accepted(self):
        self.assertEqual([], layering.check_includes(self.root))

    def test_upward_arrow(self):
        self.assert_refused("src/graph/a.cpp", '\n#include "detect/detect.hpp"\n', "a.cpp:2", "floor 1", "floor 2")

    def test_upward_arrow_in_angle_brackets_and_with_spaces(self):
        self.assert_refused("src/coordinator/a.cpp", " #  include <net/net.hpp>\n", "coordinator")

    def test_upward_arrow_by_a_relative_path(self):
        self.assert_refused("src/wire/a.cpp", '#include "../agent/agent.hpp"\n', "may not use agent")

    def test_sideways_arrow(self):
        self.assert_refused("src/graph/a.cpp", '#include "wire/wire.hpp"\n', "may not use wire")
        self.write("src/graph/a.cpp", "")
        self.assert_refused("src/net/a.cpp", '#include "store/store.hpp"\n', "may not use store")

    def test_sideways_arrow_of_the_table(self):
        self.assert_accepted("src/embed/a.cpp", '#include "net/net.hpp"\n#include "agent/agent.hpp"\n')
        self.assert_accepted("src/admin/a.cpp", '#include "store/store.hpp"\n')
        self.assert_refused("src/store/a.cpp", '#include "admin/admin.hpp"\n', "may not use admin")

    def test_program_uses_everything_below_but_no_other_program(self):
        self.assert_accepted("src/cli/a.cpp", '#include "viz/dot.hpp"\n#include "graph/graph.hpp"\n')
        self.assert_refused("src/cli/b.cpp", '#include "gordiand/gordiand.hpp"\n', "may not use gordiand")

    def test_one_engine_does_not_use_another(self):
        self.write("agents/node/node.hpp", "")
        self.assert_accepted("agents/postgres/a.cpp", '#include <gordian/agent.hpp>\n#include "config.hpp"\n')
        self.assert_refused("agents/postgres/b.cpp", '#include "node/node.hpp"\n', "may not use agents/node")

    def test_folder_without_floor(self):
        self.assert_refused("src/utils/a.cpp", "", "no room of the table")

    def test_library_in_a_public_header(self):
        for library in ("zmq.hpp", "boost/optional.hpp", "msgpack.hpp", "spdlog/spdlog.h", "sqlite3.h", "SQLiteCpp/SQLiteCpp.h"):
            with self.subTest(library):
                self.write("include/gordian/a.hpp", f"#include <{library}>\n")
                self.assertIn("a public header includes", "\n".join(layering.check_includes(self.root)))

    def test_room_in_a_public_header(self):
        self.assert_refused("include/gordian/a.hpp", '#include "graph/graph.hpp"\n', "no room")

    def test_low_rooms_know_the_words_but_not_the_agent(self):
        self.assert_accepted("src/agent/a.cpp", "#include <gordian/agent.hpp>\n")
        self.assert_refused("src/wire/a.cpp", "#include <gordian/agent.hpp>\n", "promises")

    def test_the_lock_table_s_header_is_kept_by_the_lock_room_alone(self):
        self.write("include/gordian/lock_table.hpp", "#include <gordian/ids.hpp>\n")
        self.assert_accepted("src/lock/a.cpp", "#include <gordian/lock_table.hpp>\n")
        self.assert_refused("src/graph/a.cpp", "#include <gordian/lock_table.hpp>\n", "promises")

    def test_pure_room_with_a_thread_or_log(self):
        for library in ("thread", "mutex", "fstream", "spdlog/spdlog.h", "sys/socket.h"):
            with self.subTest(library):
                self.assert_refused("src/detect/a.cpp", f"#include <{library}>\n", "pure")

    def test_pure_room_that_reads_a_clock(self):
        self.write("src/detect/a.cpp", "// not steady_clock::now()\nauto t = std::chrono::steady_clock::now();\n")
        self.write("src/net/a.cpp", "auto t = std::chrono::steady_clock::now();\n")
        self.assertEqual(["src/detect/a.cpp:2"], [w[:18] for w in layering.check_clocks(self.root)])

    def test_zmq_outside_net(self):
        self.assert_refused("src/embed/a.cpp", "#include <zmq.hpp>\n", "only net")
        self.write("src/embed/a.cpp", "")
        self.assert_accepted("src/net/a.cpp", "#include <zmq.hpp>\n")

    def test_heavy_header_in_a_header(self):
        for library in ("boost/graph/adjacency_list.hpp", "msgpack.hpp", "nlohmann/json.hpp", "grpcpp/grpcpp.h"):
            with self.subTest(library):
                self.assert_refused("src/store/a.hpp", f"#include <{library}>\n", "heavy")
        self.write("src/store/a.hpp", "")
        self.assert_accepted("src/store/a.cpp", "#include <msgpack.hpp>\n")
        self.assert_accepted("src/graph/boost_adaptor.hpp", "#include <boost/graph/graph_traits.hpp>\n")

    def test_link_line_against_the_table(self):
        self.write("src/detect/CMakeLists.txt", "gordian_room(detect SOURCES a.cpp\n  PUBLIC gordian::graph gordian::graph_values # gordian::cli\n)\n")
        self.assertEqual([], layering.check_links(self.root))
        self.write("src/detect/CMakeLists.txt", "gordian_room(detect SOURCES a.cpp\n  PUBLIC gordian::net)\n")
        self.assertEqual(["src/detect/CMakeLists.txt: detect may not link gordian::net"], layering.check_links(self.root))

    def test_path_of_a_machine_and_registry_host_in_tracked_text(self):
        subprocess.run(["git", "init", "-q", str(self.root)], check=True)
        self.write("README.md", "fine: src/wo" + "rk/x, ~/ho" + "me/y, https://example.org/ho" + "me/\n")
        bad = ["cd /" + "work/main", 'open("/' + 'root/x")', "PATH=/" + "home/me/bin", "https://regi" + "stry.npmjs.org/left-pad"]
        for number, line in enumerate(bad):
            self.write(f"bad{number}.txt", line + "\n")
        self.write("untracked.txt", bad[0])
        tracked = ["README.md", *(f"bad{number}.txt" for number in range(len(bad)))]
        subprocess.run(["git", "-C", str(self.root), "add", *tracked], check=True)
        wrong = layering.check_text(self.root, layering.tracked_files(self.root))
        self.assertEqual([f"bad{number}.txt:1" for number in range(len(bad))], [":".join(w.split(":")[:2]) for w in wrong])


if __name__ == "__main__":
    unittest.main()
