package inet

import (
	"testing"
)

// BenchmarkStart is what the first socket costs.
func BenchmarkStart(b *testing.B) {
	for range b.N {
		b.StopTimer()
		_, f := machine(b, 1)
		b.StartTimer()
		f.start()
	}
}
