#include "evals/scoring/code_guard.h"

#include <fmt/format.h>

#include "engine/base/text_util.h"

namespace assay {
namespace {

// shutil and subprocess are slow to import and seldom wanted: they are changed when the program imports them. The
// program's text follows as hexadecimal digits, and is executed in these same globals, from which the guard is gone by
// then.
constexpr std::string_view kGuard = R"py(
def guard():
    import builtins, io, os, sys
    try:
        import resource
        limit = 4 << 30
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            resource.setrlimit(kind, (limit, limit))
    except (ImportError, OSError, ValueError):
        pass
    os.environ["OMP_NUM_THREADS"] = "1"
    kept = {}
    for name in ("kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate "
                 "replace unlink fchmod fchown chmod chown chroot lchflags lchmod lchown getcwd chdir").split():
        kept[name] = getattr(os, name, None)
        setattr(os, name, None)
    for name in ("exit", "quit", "help", "open"):
        setattr(builtins, name, None)
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        sys.modules[name] = None
    # The last two hold on to what they find when they are imported; the harnesses import them before they take anything.
    taken = {"shutil": ("rmtree", "move", "chown"), "subprocess": ("Popen",), "tempfile": (), "multiprocessing": ()}

    def take(name):
        for function in taken[name]:
            setattr(sys.modules[name], function, None)

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name not in taken:
                return None
            for finder in sys.meta_path:
                spec = finder is not self and finder.find_spec(name, path, target)
                if spec:
                    execute = spec.loader.exec_module

                    def execute_and_take(module):
                        now = {function: getattr(os, function) for function in kept}
                        if not taken[name]:
                            vars(os).update(kept)
                        execute(module)
                        if name == "tempfile":
                            module.gettempdir()
                        vars(os).update(now)
                        take(name)

                    spec.loader.exec_module = execute_and_take
                    return spec

    for name in taken:
        if name in sys.modules:
            take(name)
    sys.meta_path.insert(0, Finder())

    class Stream(io.StringIO):
        def write(self, text):
            if not isinstance(text, str):
                raise TypeError("string argument expected, got %r" % type(text).__name__)
            return len(text)

        def read(self, *args, **kwargs):
            raise IOError

        readline = readlines = read

        def readable(self, *args, **kwargs):
            return False

    sys.stdin = sys.stdout = sys.stderr = Stream()


guard()
del guard
exec(compile(bytes.fromhex()py";

}  // namespace

std::string guarded_program(std::string_view program) {
  return fmt::format("{}\"{}\").decode(\"utf-8\", \"surrogatepass\"), \"<string>\", \"exec\", 0, True))\n", kGuard,
                     to_hex(program));
}

}  // namespace assay
