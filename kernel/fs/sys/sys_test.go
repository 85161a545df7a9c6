package sys

import (
	"testing"

	"goum/arch/abi"
	"goum/kernel/cred"
	"goum/kernel/fs/vfs"
	"goum/mm"
)

// The files that programs look for are where they look, with the content that they expect; links lead somewhere.
func TestFiles(t *testing.T) {
	s := vfs.New(nil)
	f := Register(s, Config{CPUs: 3, Devices: map[string][2]uint32{"tty/tty": {5, 0}, "mem/null": {1, 3}}})
	root := s.MountRoot(f.Super(), "sysfs", 0)
	c := &vfs.Caller{Cred: cred.Root(), Dirs: vfs.NewDirs(root, root)}
	for path, want := range map[string]string{
		"/kernel/mm/transparent_hugepage/hpage_pmd_size": "2097152\n",
		"/kernel/mm/transparent_hugepage/enabled":        "always madvise [never]\n",
		"/devices/system/cpu/online":                     "0-2\n",
		"/devices/system/cpu/possible":                   "0-2\n",
		"/devices/system/cpu/cpu2/topology/core_id":      "2\n",
		"/bus/cpu/devices/cpu1/online":                   "1\n",
		"/devices/system/node/node0/cpulist":             "0-2\n",
		"/devices/system/node/node0/cpu0/node0/cpumap":   "7\n",
		"/class/net/lo/address":                          "00:00:00:00:00:00\n",
		"/class/net/lo/subsystem/lo/ifindex":             "1\n",
		"/class/tty/tty/dev":                             "5:0\n",
		"/class/mem/null/uevent":                         "MAJOR=1\nMINOR=3\nDEVNAME=null\n",
	} {
		o, e := c.Open(path, abi.O_RDONLY, 0)
		if e != 0 {
			t.Errorf("%s: %s", path, e.Name())
			continue
		}
		b := make([]byte, 4096)
		n, e := o.Read(c, mm.BytesBuf(b))
		if e != 0 || string(b[:n]) != want {
			t.Errorf("%s = %q %s, want %q", path, b[:n], e.Name(), want)
		}
		if a, _ := o.Attr(c); a.Size != attrSize {
			t.Errorf("%s has size %d", path, a.Size)
		}
		o.Unref()
	}
	for _, dir := range []string{"/block", "/module", "/fs/cgroup", "/power", "/firmware"} {
		if _, a, e := c.AttrAt(vfs.Location{}, dir, 0); e != 0 || !a.IsDir() {
			t.Errorf("%s: %s", dir, e.Name())
		}
	}
	o, e := c.Open("/kernel/fscaps", abi.O_WRONLY, 0)
	if e != 0 {
		t.Fatalf("root may not open an attribute: %s", e.Name()) // CAP_DAC_OVERRIDE lets it
	}
	if _, e := o.Write(c, mm.BytesBuf([]byte("1"))); e != abi.EIO {
		t.Errorf("write = %s", e.Name())
	}
}
