// Package random is the one source of randomness for guests: getrandom(2), /dev/urandom, AT_RANDOM and where things are put in an
// address space.
//
// It is a ChaCha8 generator, which replaces its key with its own output as it goes, so that what it gave out before cannot be had
// from what it holds. It is seeded from the host once, or from a given seed, so that a run can be repeated.
//
// Locks: Source.mu (lock.Trace) is innermost, so that anybody may ask at any time.
package random

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"goum/arch/lock"
)

// Source gives random bytes to any number of users at once.
type Source struct {
	mu  lock.Mutex[lock.Trace]
	gen *rand.ChaCha8
}

// chunk is how many bytes are made with the lock held.
const chunk = 4096

// New is seeded from the host.
func New() *Source {
	var seed [32]byte
	crand.Read(seed[:]) // never fails
	return Seeded(seed)
}

// Seeded always gives the same bytes for the same seed, if asked in the same order.
func Seeded(seed [32]byte) *Source { return &Source{gen: rand.NewChaCha8(seed)} }

// Fill fills p.
func (s *Source) Fill(p []byte) {
	for len(p) > 0 {
		n := min(len(p), chunk)
		s.mu.Lock()
		s.gen.Read(p[:n])
		s.mu.Unlock()
		p = p[n:]
	}
}

// Uint64 is a random number.
func (s *Source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gen.Uint64()
}

// Below is a random number below n, all equally likely; 0 for n of 0.
func (s *Source) Below(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		// The high half of a product is fair but for the lowest 2^64 mod n values of its low half (Lemire).
		hi, lo := bits.Mul64(s.gen.Uint64(), n)
		if lo >= n || lo >= -n%n {
			return hi
		}
	}
}

// Mix stirs bytes in: what a guest writes to /dev/urandom, or the host gives anew. It never makes the output easier to guess.
func (s *Source) Mix(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		var seed [32]byte
		s.gen.Read(seed[:])
		for i := range min(len(p), len(seed)) {
			seed[i] ^= p[i]
		}
		s.gen = rand.NewChaCha8(seed)
		p = p[min(len(p), len(seed)):]
	}
}

// UUID is 16 random bytes in the form of RFC 4122's version 4: /proc/sys/kernel/random/uuid.
func (s *Source) UUID() (u [16]byte) {
	binary.LittleEndian.PutUint64(u[:8], s.Uint64())
	binary.LittleEndian.PutUint64(u[8:], s.Uint64())
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}
