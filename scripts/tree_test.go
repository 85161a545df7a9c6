package scripts

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one Go file of the module.
type source struct {
	path string // from the top, with slashes
	dir  string
	test bool
	ast  *ast.File
	text []byte
}

// imports lists what the file imports, by path.
func (s *source) imports() []string {
	var all []string
	for _, i := range s.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		all = append(all, p)
	}
	return all
}

const top = ".."

// sources reads every Go file of the module, but not of rootfs/build, which is a module of its own.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	fset := token.NewFileSet()
	walk(t, func(rel string) {
		if !strings.HasSuffix(rel, ".go") {
			return
		}
		text, err := os.ReadFile(filepath.Join(top, rel))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(fset, rel, text, parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		all = append(all, &source{path: rel, dir: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), ast: f, text: text})
	})
	if len(all) < 100 {
		t.Fatalf("only %d Go files found", len(all))
	}
	return all
}

// walk calls visit with every file of the module.
func walk(t *testing.T, visit func(rel string)) {
	t.Helper()
	err := filepath.WalkDir(top, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			switch {
			case rel == ".":
				return nil
			case rel == "bin", rel == "rootfs/build", strings.HasPrefix(d.Name(), "."):
				return filepath.SkipDir
			}
			return nil
		}
		visit(rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// under says whether dir is one of the folders, or below one.
func under(dir string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return dir == f || strings.HasPrefix(dir, f+"/") })
}

// mayImport is the direction of things: what a folder's packages may import of goum itself, beside their own folder. The first
// folder that matches counts.
var mayImport = []struct {
	folder string
	of     []string
}{
	{"arch", nil},
	{"physmem", []string{"arch"}},
	{"stub", []string{"arch"}},
	{"mm", []string{"physmem", "stub", "arch"}},
	{"skas", []string{"stub", "arch"}},
	{"sched", []string{"arch"}},
	{"rootfs", nil},
	{"kernel", []string{"kernel", "sched", "mm", "skas", "stub", "physmem", "arch", "rootfs/cpio"}},
	{"cmd", []string{"kernel", "rootfs", "sched/clock", "arch"}},
	{"scripts", []string{"kernel", "sched", "mm", "skas", "stub", "physmem", "arch", "rootfs", "cmd"}},
}

func TestImportDirection(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue // a test may set up more than what it tests may use
		}
		i := slices.IndexFunc(mayImport, func(m struct {
			folder string
			of     []string
		}) bool {
			return under(s.dir, m.folder)
		})
		if i < 0 {
			t.Errorf("%s: in a folder that tree_test.go does not know", s.path)
			continue
		}
		for _, p := range s.imports() {
			own, ok := strings.CutPrefix(p, "goum/")
			if ok && !under(own, append(mayImport[i].of, mayImport[i].folder)...) {
				t.Errorf("%s imports %s: %s may import %v only", s.path, p, mayImport[i].folder, mayImport[i].of)
			}
		}
	}
}

// kernelOrder is the order of things inside kernel: a package imports only what stands above it, or beside it where beside is said.
var kernelOrder = [][]string{
	{"cred", "random", "signal", "uts"},
	{"fs/vfs"},
	{"fs/pagecache"},
	{"fs/tmpfs", "fs/hostfs", "fs/overlay", "fs/pipe", "fs/made"},
	{"fd", "futex", "timer", "ipc"},
	{"tty"},
	{"console"},
	{"net/socket"},
	{"net/unix", "net/inet", "net/netlink"},
	{"task"},
	{"klog"},
	{"event", "fs/proc", "fs/sys", "fs/dev"},
	{"sys"},
	{"trap"},
	{"debug", "confine"},
	{""}, // package kernel
	{"kerneltest"},
}

func kernelRank(dir string) int {
	for rank, names := range kernelOrder {
		for _, n := range names {
			if dir == path.Join("kernel", n) || n != "" && strings.HasPrefix(dir, "kernel/"+n+"/") {
				return rank
			}
		}
	}
	return -1
}

func TestKernelOrder(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !under(s.dir, "kernel") || under(s.dir, "kernel/fs/fstest") {
			continue
		}
		rank := kernelRank(s.dir)
		if rank < 0 {
			t.Errorf("%s: give %s a place in kernelOrder", s.path, s.dir)
			continue
		}
		for _, p := range s.imports() {
			dir, ok := strings.CutPrefix(p, "goum/")
			if !ok || !under(dir, "kernel") || dir == s.dir {
				continue
			}
			if r := kernelRank(dir); r > rank {
				t.Errorf("%s imports %s, which stands below it", s.path, p)
			}
		}
	}
}

// doors are the packages that may make system calls of the host: each one's hostcalls.go says which, and why.
var doors = []string{"physmem", "stub", "skas", "sched/clock", "kernel/fs/hostfs", "kernel/console", "kernel/confine", "cmd", "scripts"}

// outside are modules with one importer, so that they can be replaced, and so that what they need of the host is known.
var outside = map[string][]string{
	"golang.org/x/sys/unix":       doors,
	"gvisor.dev/gvisor":           {"kernel/net/inet"},
	"golang.org/x/sys/cpu":        {"kernel/fs/proc"},
	"golang.org/x/arch":           {"arch", "stub", "kernel/debug"},
	"github.com/alecthomas/kong":  {"cmd"},
	"go.uber.org/zap":             {"cmd"},
	"golang.org/x/term":           {"cmd"},
	"github.com/klauspost":        {"rootfs/cpio"},
	"github.com/ulikunitz/xz":     {"rootfs/cpio"},
	"golang.org/x/net/bpf":        {"stub", "kernel/confine"},
	"github.com/google/btree":     {"sched", "kernel"},
	"github.com/google/pprof":     {"kernel/debug"},
	"golang.org/x/time":           {"kernel"},
	"github.com/landlock-lsm":     {"kernel/confine"},
	"golang.org/x/exp":            nil,
	"github.com/creack/pty":       nil,
	"github.com/rogpeppe":         nil,
	"github.com/google/go-cmp":    nil,
	"pgregory.net/rapid":          nil,
	"go.uber.org/goleak":          nil,
	"golang.org/x/tools":          nil,
	"github.com/u-root":           nil,
	"github.com/opencontainers":   {"cmd"},
	"github.com/diskfs/go-diskfs": nil,
}

func TestOutsideModules(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || slices.Contains(s.imports(), "testing") || strings.HasSuffix(s.dir, "test") {
			continue
		}
		for _, p := range s.imports() {
			first, _, _ := strings.Cut(p, "/")
			if !strings.Contains(first, ".") {
				continue // of the standard library, or our own
			}
			known := false
			for module, dirs := range outside {
				if p == module || strings.HasPrefix(p, module+"/") {
					known = true
					if !under(s.dir, dirs...) {
						t.Errorf("%s imports %s: only %v may", s.path, p, dirs)
					}
				}
			}
			if !known {
				t.Errorf("%s imports %s, which tree_test.go does not know", s.path, p)
			}
		}
		if under(s.dir, "arch") {
			for _, p := range s.imports() {
				if strings.Contains(p, ".") && !strings.HasPrefix(p, "golang.org/x/arch/") {
					t.Errorf("%s imports %s: arch stands on the standard library and x/arch alone", s.path, p)
				}
			}
		}
	}
}

// TestSyscallPackage keeps the other way to the host shut.
func TestSyscallPackage(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || under(s.dir, doors...) {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && isPackage(s, sel.X, "syscall") && sel.Sel.Name != "Errno" {
				t.Errorf("%s: syscall.%s: only %v may make host calls", s.path, sel.Sel.Name, doors)
			}
			return true
		})
	}
}

func TestUnsafe(t *testing.T) {
	folders := []string{"physmem", "mm", "skas", "stub", "arch"}
	for _, s := range sources(t) {
		if s.test || strings.HasSuffix(s.dir, "test") || !slices.Contains(s.imports(), "unsafe") {
			continue
		}
		if !under(s.dir, folders...) {
			t.Errorf("%s imports unsafe: only %v may", s.path, folders)
		} else if !strings.HasSuffix(s.path, "_unsafe.go") {
			t.Errorf("%s imports unsafe: move that into a file named *_unsafe.go", s.path)
		}
	}
	walk(t, func(rel string) {
		if path.Ext(rel) == ".s" && !under(path.Dir(rel), folders...) {
			t.Errorf("%s: assembly only in %v", rel, folders)
		}
	})
}

// hostTime are the functions of package time that read or follow the host's clock: guests live on sched/clock's.
var hostTime = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

func TestHostTime(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || under(s.dir, "sched/clock", "cmd", "skas", "scripts") || strings.HasSuffix(s.dir, "test") {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && isPackage(s, sel.X, "time") && slices.Contains(hostTime, sel.Sel.Name) {
				t.Errorf("%s: time.%s: take the time from sched/clock", s.path, sel.Sel.Name)
			}
			return true
		})
	}
}

// isPackage says whether x names the package in s.
func isPackage(s *source, x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name && id.Obj == nil && slices.Contains(s.imports(), name)
}

func TestPackageComments(t *testing.T) {
	comment := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			comment[s.dir] = comment[s.dir] || s.ast.Doc != nil
		}
	}
	for dir, there := range comment {
		if !there {
			t.Errorf("%s: no file of the package has a package comment", dir)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, s := range sources(t) {
		want, err := format.Source(s.text)
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(want, s.text) {
			t.Errorf("%s: run gofmt -w on it", s.path)
		}
	}
}

func TestTopLevel(t *testing.T) {
	want := []string{"Makefile", "README.md", "arch", "cmd", "docs", "go.mod", "go.sum", "kernel", "mm", "physmem", "rootfs", "sched", "scripts", "skas", "stub"}
	maybe := []string{"bin", "LICENSE"}
	files, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		if n := f.Name(); !strings.HasPrefix(n, ".") && !slices.Contains(maybe, n) {
			got = append(got, n)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("at the top are\n%v, want\n%v", got, want)
	}
}

// TestUnfinished finds what nobody means to ship.
func TestUnfinished(t *testing.T) {
	words := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:"}
	for _, s := range sources(t) {
		for _, w := range words {
			if bytes.Contains(s.text, []byte(w)) {
				t.Errorf("%s says %s: finish it, or return what Linux returns where it is absent", s.path, w)
			}
		}
	}
}
