# Reads the #include lines and CMake link lines of the tree and names every arrow that docs/architecture.md does not allow.
#
# Here are the table of rooms and floors, and the rules; the tests (of the tree, and of these rules) are in layering_test.py.
# Not a compiler: includes inside #if are read like any other.
import re
import subprocess
from pathlib import Path

# A room may include every room of a lower floor, and its own files.
FLOOR = {
    "text": 1, "graph": 1, "lock": 1, "wire": 1,
    "detect": 2,
    "agent": 3, "coordinator": 3, "trace": 3, "lease": 3,
    "net": 4, "sim": 4, "store": 4, "embed": 4, "admin": 4, "config": 4, "daemon": 4, "viz": 4,
    "gordiand": 5, "cli": 5, "agents/*": 5, "experiments": 5,
}
# Arrows on one floor.
SIDEWAYS = {("embed", "net"), ("admin", "store"), ("lease", "agent"), ("cli", "experiments")}

# The public face is two things: plain words, which everyone may use, and what embed/ promises to engines.
PUBLIC = "include/gordian"
PUBLIC_WORDS = {"ids.hpp", "wait.hpp"}
PUBLIC_PROMISE_FROM_FLOOR = 3  # its limits and errors are the agent room's too
# A promise that a room below keeps alone: the lock table is embeddable without an agent.
PROMISED_BY = {"lock_mode.hpp": "lock", "lock_table.hpp": "lock"}

# No socket, file, thread, clock or log in these: messages and the time go in, messages and decisions come out.
PURE = {"text", "graph", "lock", "wire", "detect", "agent", "coordinator", "lease"}
IMPURE_HEADER = re.compile(
    r"(zmq|spdlog/|sqlite|SQLiteCpp/|libpq|sys/|net/|netinet/|unistd\.h|pthread\.h|httplib)"
    r"|(thread|mutex|shared_mutex|condition_variable|future|semaphore|fstream|iostream|filesystem|random)$")
IMPURE_CALL = re.compile(r"_clock::now\b|\bclock_gettime\b|\bgettimeofday\b|\bstd::time\(|\bsleep_(for|until)\b")

ZMQ_HEADER = re.compile(r"zmq")
# Slow to compile: they stay in .cpp files, so that only those who use them pay.
HEAVY_HEADER = re.compile(r"boost/graph/|boost/property_map/|msgpack|zmq|grpc|nlohmann/json\.hpp|CLI/|toml\+\+/|google/protobuf")
HEAVY_ALLOWED = {
    "src/graph/boost_adaptor.hpp",  # it is what makes the graph a model of Boost.Graph's concepts
    "src/admin/json_object.hpp",    # for this room's .cpp files
    "src/wire/packing.hpp",         # for this room's .cpp files
}

STANDARD_HEADER = re.compile(r"[a-z_0-9]+|(stdint|stddef|stdbool)\.h")
PUBLIC_LIBRARIES = {"tl/expected.hpp"}

SOURCES = {".hpp", ".cpp", ".h", ".c", ".cc"}
HEADERS = {".hpp", ".h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")')

# Of one machine, or of one place's package mirrors: no business of a repository.
FOREIGN = re.compile(
    r"(?<![\w.~$})*])/(work|root|home)/"
    r"|\b(registry\.npmjs|deb\.debian|security\.debian|snapshot\.debian|deb\.nodesource|files\.pythonhosted|static\.crates)\.(org|com|io)\b")


def room_of(path):
    """The room of a file, given relative to the root; None for what is no room (tests, documents)."""
    parts = Path(path).parts
    if parts[0] == "include":
        return PUBLIC
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if parts[0] == "agents" and len(parts) > 2:
        return "agents/" + parts[1]
    return parts[0] if parts[0] in ("viz", "experiments") else None


def floor_of(room):
    return FLOOR.get("agents/*" if room.startswith("agents/") else room)


def may_use(user, used):
    """Whether the table has an arrow from room `user` to room `used`."""
    if user == used:
        return True
    if floor_of(user) is None or floor_of(used) is None:
        return False
    return floor_of(used) < floor_of(user) or (user, used) in SIDEWAYS


def sources(root):
    for top in ("include", "src", "viz", "agents", "experiments"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in SOURCES:
                yield path.relative_to(root)


def includes(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match[1] or match[2]


def find(root, from_file, name):
    """The file of this tree that an include names, or None: then it is a library's."""
    for folder in ((root / from_file).parent, root / "include", root / "src", root, root / "agents"):
        if (folder / name).is_file():
            return (folder / name).resolve().relative_to(root.resolve())
    return None


def complaints_about(root, path, name):
    """What is wrong with the line `#include name` in `path`: a list of sentences."""
    room, wrong = room_of(path), []
    target = find(root, path, name)
    if target is None:
        if room == PUBLIC and not (STANDARD_HEADER.fullmatch(name) or name in PUBLIC_LIBRARIES):
            wrong.append("a public header includes the standard library, tl/expected.hpp and other public headers only")
        if room in PURE and IMPURE_HEADER.match(name):
            wrong.append(f"{room} is pure: no socket, file, thread, clock or log")
        if ZMQ_HEADER.match(name) and room != "net":
            wrong.append("only net includes ZeroMQ")
        if path.suffix in HEADERS and HEAVY_HEADER.match(name) and str(path) not in HEAVY_ALLOWED:
            wrong.append("a heavy header: include it in a .cpp file")
        return wrong

    used = room_of(target)
    if used is None:
        return [f"{target} belongs to no room"]
    if used == PUBLIC:
        if (room != PUBLIC and target.name not in PUBLIC_WORDS and floor_of(room) < PUBLIC_PROMISE_FROM_FLOOR
                and PROMISED_BY.get(target.name) != room):
            wrong.append(f"{target} promises an agent; {room} (floor {floor_of(room)}) knows only {', '.join(sorted(PUBLIC_WORDS))}")
    elif room == PUBLIC:
        wrong.append(f"a public header includes no room, and {used} is one")
    elif not may_use(room, used):
        wrong.append(f"{room} (floor {floor_of(room)}) may not use {used} (floor {floor_of(used)})")
    return wrong


def check_includes(root):
    """Every arrow in the sources that the table does not have: a list of "file:line: sentence"."""
    wrong = []
    for path in sources(root):
        room = room_of(path)
        if room is None or (room != PUBLIC and floor_of(room) is None):
            wrong.append(f"{path}: its folder is no room of the table; add it to FLOOR and to docs/architecture.md")
            continue
        for line, name in includes(root / path):
            wrong += [f"{path}:{line}: #include {name}: {what}" for what in complaints_about(root, path, name)]
    return wrong


def check_clocks(root):
    """Every look at a clock in a pure room: a list of "file:line: sentence"."""
    wrong = []
    for path in sources(root):
        if room_of(path) in PURE:
            for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
                match = IMPURE_CALL.search(line.partition("//")[0])
                if match:
                    wrong.append(f"{path}:{number}: {match[0]}: {room_of(path)} is pure, the time is handed in")
    return wrong


LINKS = re.compile(r"\bgordian_room\(\s*(\w+)(.*?)\)", re.DOTALL)


def part_of(library):
    """The room of a library: a part of a room that has a target of its own is called ROOM_part."""
    return next((room for room in FLOOR if library.startswith(room + "_")), library)


def check_links(root):
    """Every gordian:: library that a room links, against the table: a list of "file: sentence"."""
    wrong = []
    for path in sorted([*(root / "src").rglob("CMakeLists.txt"), *(root / "viz").rglob("CMakeLists.txt"),
                        *(root / "experiments").rglob("CMakeLists.txt")]):
        for room, rest in LINKS.findall(re.sub(r"#.*", "", path.read_text(encoding="utf-8"))):
            for used in re.findall(r"\bgordian::(\w+)", rest):
                if not may_use(part_of(room), part_of(used)):
                    wrong.append(f"{path.relative_to(root)}: {room} may not link gordian::{used}")
    return wrong


def tracked_files(root):
    # safe.directory: the tests may run as another user than the one who cloned.
    command = ["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z"]
    names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    return [root / name for name in names if name]


def check_text(root, files):
    """Paths of one machine and hosts of package registries in text files: a list of "file:line: sentence"."""
    wrong = []
    for path in files:
        if not path.is_file():
            continue  # a deleted file that is not committed yet
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
            match = FOREIGN.search(line)
            if match:
                wrong.append(f"{path.relative_to(root)}:{number}: {match[0]} is of one machine or mirror, not of this repository")
    return wrong
