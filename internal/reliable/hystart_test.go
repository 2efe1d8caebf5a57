package reliable

import (
	"testing"
	"time"
)

// feed gives h a round of n ACKs with a least round trip of rtt, and returns what h said last.
func (h *hystart) feed(round uint64, n int, rtt time.Duration) (growth float64, done bool) {
	for i := range n {
		s := Sample{Bytes: 1000, Round: round, RTT: RTT{Latest: rtt + time.Duration(n-1-i)*time.Microsecond}}
		if growth, done = h.acked(&s); done {
			return growth, true
		}
	}
	return growth, false
}

func TestHystartThreshold(t *testing.T) {
	ms := time.Millisecond
	for _, test := range []struct {
		name          string
		before, after time.Duration
		samples       int
		want          float64 // growth
	}{
		{"steady", 100 * ms, 100 * ms, 8, 1},
		{"below an eighth", 80 * ms, 89 * ms, 8, 1},
		{"an eighth", 80 * ms, 90 * ms, 8, 0.25},
		{"fast path, below 4 ms", 1 * ms, 4 * ms, 8, 1},
		{"fast path, 4 ms", 1 * ms, 5 * ms, 8, 0.25},
		{"slow path, below 16 ms", 400 * ms, 415 * ms, 8, 1},
		{"slow path, 16 ms", 400 * ms, 416 * ms, 8, 0.25},
		{"too few samples", 80 * ms, 200 * ms, 7, 1},
		{"faster", 80 * ms, 20 * ms, 8, 1},
	} {
		var h hystart
		h.feed(0, 8, test.before)
		if growth, done := h.feed(1, test.samples, test.after); growth != test.want || done {
			t.Errorf("%s: got growth %g, done %v, want %g", test.name, growth, done, test.want)
		}
	}
}

func TestHystartEndsSlowStart(t *testing.T) {
	ms := time.Millisecond
	var h hystart
	h.feed(0, 20, 50*ms)
	h.feed(1, 20, 60*ms) // first, partial round of conservative slow start
	for round := uint64(2); round <= 5; round++ {
		if growth, done := h.feed(round, 20, 60*ms); growth != 0.25 || done {
			t.Fatalf("round %d: got growth %g, done %v, want 0.25", round, growth, done)
		}
	}
	if _, done := h.feed(6, 1, 60*ms); !done {
		t.Error("slow start goes on after five conservative rounds")
	}
}

func TestHystartResumes(t *testing.T) {
	ms := time.Millisecond
	var h hystart
	h.feed(0, 20, 50*ms)
	h.feed(1, 20, 60*ms)
	h.feed(2, 20, 60*ms)
	if growth, done := h.feed(3, 20, 59*ms); growth != 1 || done {
		t.Errorf("got growth %g, done %v when the round trip fell again, want 1: it was jitter", growth, done)
	}
	if growth, _ := h.feed(4, 20, 70*ms); growth != 0.25 {
		t.Errorf("got growth %g when it rose once more, want 0.25", growth)
	}
}

// TestHystartGap sees that rounds apart are not compared: the path may be another, and not for our queue.
func TestHystartGap(t *testing.T) {
	ms := time.Millisecond
	var h hystart
	h.feed(0, 20, 50*ms)
	if growth, _ := h.feed(9, 20, 80*ms); growth != 1 {
		t.Errorf("got growth %g in the first round after a pause, want 1", growth)
	}
	if growth, _ := h.feed(10, 20, 95*ms); growth != 0.25 {
		t.Errorf("got growth %g in the second, want 0.25", growth)
	}
}

func TestHystartWithoutSamples(t *testing.T) {
	var h hystart
	for round := range uint64(50) {
		if growth, done := h.feed(round, 20, 0); growth != 1 && round > 0 || done {
			t.Fatalf("round %d: got growth %g, done %v with no sample of the round trip", round, growth, done)
		}
	}
}
