// Package uts is the names of a machine: what uname(2) tells. One Names per machine; host and domain name may be set.
//
// Locks: Names.mu (lock.Task), under which nothing is called.
package uts

import (
	"goum/arch/abi"
	"goum/arch/lock"
)

// What the kernel calls itself. Programs look at Release to know what they may ask for; it is the Linux whose behaviour we follow.
const (
	Sysname = "Linux"
	Release = "6.18.0-goum"
	Machine = "x86_64"
)

// maxName is __NEW_UTS_LEN: bytes of a host or domain name. EINVAL beyond.
const maxName = abi.UtsLen - 1

// Names are the names of one machine.
type Names struct {
	version string // immutable

	mu     lock.Mutex[lock.Task]
	host   string
	domain string
}

// New are the names of a machine that just started. version tells of the build, as in "#1 SMP goum 0.1"; "" is "#1 SMP".
func New(host, version string) *Names {
	if version == "" {
		version = "#1 SMP PREEMPT goum"
	}
	return &Names{version: version, host: host, domain: "(none)"}
}

// Host is the host name.
func (n *Names) Host() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host
}

// Domain is the NIS domain name.
func (n *Names) Domain() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.domain
}

// SetHost is sethostname(2) without its privilege check: EINVAL (too long).
func (n *Names) SetHost(s string) abi.Errno { return n.set(&n.host, s) }

// SetDomain is setdomainname(2).
func (n *Names) SetDomain(s string) abi.Errno { return n.set(&n.domain, s) }

func (n *Names) set(p *string, s string) abi.Errno {
	if len(s) > maxName {
		return abi.EINVAL
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	*p = s
	return 0
}

// Version is the third name of uname(2), immutable.
func (n *Names) Version() string { return n.version }

// Uname is uname(2).
func (n *Names) Uname() abi.Utsname {
	n.mu.Lock()
	defer n.mu.Unlock()
	return abi.Utsname{
		Sysname: abi.UtsField(Sysname), Nodename: abi.UtsField(n.host), Release: abi.UtsField(Release),
		Version: abi.UtsField(n.version), Machine: abi.UtsField(Machine), Domainname: abi.UtsField(n.domain),
	}
}
