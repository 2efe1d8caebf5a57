package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestStacks carries a little by each stack, compares what arrives, and sees
// that the next stream of the same pair works.
func TestStacks(t *testing.T) {
	const size = 3*block + 7
	want := sha256.New()
	for left := size; left > 0; left -= block {
		want.Write(pattern()[:min(left, block)])
	}
	for _, s := range stacks() {
		t.Run(s.name, func(t *testing.T) {
			t.Setenv(carrierNoGSO, "") // put back afterwards
			t.Setenv(quicNoGSO, "")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			p, err := s.start(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			for range 2 {
				got := sha256.New()
				r, err := carry(ctx, p, size, got)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Sum(nil), want.Sum(nil)) || r.bytes != size {
					t.Errorf("%d bytes came, and they are not the %d that were sent", r.bytes, size)
				}
			}
		})
	}
}

func TestRun(t *testing.T) {
	t.Setenv(carrierNoGSO, "")
	t.Setenv(quicNoGSO, "")
	var out strings.Builder
	if err := run(t.Context(), &out, "^smux", 1<<20, 3, profiles{}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "smux/TLS/TCP") || strings.Contains(got, "quic") {
		t.Errorf("the report is\n%s\nwant a line of smux alone", got)
	}
	for _, tt := range []struct {
		only   string
		rounds int
	}{{"nothing", 1}, {"(", 1}, {"smux", 0}} {
		if err := run(t.Context(), &out, tt.only, 1, tt.rounds, profiles{}); err == nil {
			t.Errorf("run of %q in %d rounds: no error", tt.only, tt.rounds)
		}
	}
}

// TestAllocations holds carrier's data path to no allocation a packet. What
// remains are those of opening a stream, and of pools that the garbage collector
// has emptied.
func TestAllocations(t *testing.T) {
	const size = 32 << 20
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = rate }()
	for _, s := range stacks() {
		if !strings.HasPrefix(s.name, "carrier") {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Setenv(carrierNoGSO, "")
			t.Setenv(quicNoGSO, "")
			p, err := s.start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			if _, err := carry(t.Context(), p, size, nil); err != nil { // fills the pools
				t.Fatal(err)
			}
			allocs, packets, err := dataAllocs(t.Context(), p, size)
			if err != nil {
				t.Fatal(err)
			}
			if packets < size/65536 {
				t.Fatalf("%d packets were counted for %d bytes", packets, size)
			}
			t.Logf("%d allocations for %d packets", allocs, packets)
			if limit := 250 + int64(packets/100); allocs > limit {
				t.Errorf("%d allocations for %d packets, want at most %d", allocs, packets, limit)
			}
		})
	}
}

// TestMedian keeps one slow round from deciding.
func TestMedian(t *testing.T) {
	l := &lane{}
	for _, took := range []time.Duration{time.Second, 100 * time.Second, 2 * time.Second} {
		l.results = append(l.results, result{bytes: 1e9, took: took, cpu: took})
	}
	if got, want := l.median(result.cost), 2.0; got != want {
		t.Errorf("median cost = %v s/GB, want %v", got, want)
	}
	if got, want := l.median(result.speed), 500.0; got != want {
		t.Errorf("median speed = %v MB/s, want %v", got, want)
	}
}
