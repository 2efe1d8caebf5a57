package udpio

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSegments is bulk data over loopback in datagrams of 1200 bytes, with what the kernel has for batches and with
// a call for each datagram. cpu-s/GB is what both ends cost together.
func BenchmarkSegments(b *testing.B) {
	for _, way := range []struct{ name, value string }{{"offload", ""}, {"plain", "1"}} {
		b.Run(way.name, func(b *testing.B) {
			b.Setenv(switchOff, way.value)
			benchmarkSegments(b)
		})
	}
}

// benchmarkSegments keeps at most two batches of 54 datagrams under way.
func benchmarkSegments(b *testing.B) {
	const size, batch = 1200, 54 * 1200
	var ends [2]*Socket
	for i := range ends {
		s, err := Listen(b.Context(), OS{}, "udp4", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		ends[i] = s
	}
	var arrived atomic.Int64
	window := make(chan struct{}, 2)
	ends[1].Handle(Data, func(d []byte, _ netip.AddrPort) {
		if arrived.Add(int64(len(d)))%batch == 0 {
			<-window
		}
	})
	data := numbered(batch, size)
	to := ends[1].LocalAddr()
	b.ReportAllocs()
	b.SetBytes(batch)
	start := cpuSeconds(b)
	for b.Loop() {
		window <- struct{}{}
		if err := ends[0].WriteSegments(data, size, to); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuSeconds(b)-start)/(float64(b.N)*batch/1e9), "cpu-s/GB")
}

// cpuSeconds is the processor time that the process took so far.
func cpuSeconds(b *testing.B) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
