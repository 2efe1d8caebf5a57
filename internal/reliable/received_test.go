package reliable

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

const ms = time.Millisecond

// settled returns a log that has seen numbers 0 to 199, all acknowledged.
func settled() receivedLog {
	r := newReceivedLog()
	for pn := range uint64(200) {
		r.add(0, pn, true, false, 40*ms)
	}
	r.acked()
	return r
}

func TestAckPolicy(t *testing.T) {
	type packet struct {
		pn        uint64
		eliciting bool
		urgent    bool
	}
	const now = 1000 * ms
	row := func(from, n uint64) (ps []packet) {
		for i := range n {
			ps = append(ps, packet{pn: from + i, eliciting: true})
		}
		return ps
	}
	for _, c := range []struct {
		name    string
		young   bool
		packets []packet
		due     time.Duration
	}{
		{"young, first", true, row(0, 1), now + 10*ms},
		{"young, second", true, row(0, 2), now},
		{"settled, one", false, row(200, 1), now + 10*ms},
		{"settled, nine", false, row(200, 9), now + 10*ms},
		{"settled, ten", false, row(200, 10), now},
		{"nothing eliciting", false, []packet{{pn: 200}, {pn: 250}}, Never},
		{"a gap", false, []packet{{pn: 201, eliciting: true}}, now},
		{"a ping", false, []packet{{pn: 200, eliciting: true, urgent: true}}, now},
	} {
		r := newReceivedLog()
		if !c.young {
			r = settled()
		}
		for _, p := range c.packets {
			if !r.fresh(p.pn) {
				t.Errorf("%s: %d is not fresh", c.name, p.pn)
			}
			r.add(now, p.pn, p.eliciting, p.urgent, 40*ms)
		}
		if r.due != c.due {
			t.Errorf("%s: due at %v, want %v", c.name, r.due, c.due)
		}
	}
}

// TestAckOfGap: a gap is reported at once, and again with the packet that makes the loss before it certain, and when it
// is filled.
func TestAckOfGap(t *testing.T) {
	r := settled()
	for _, c := range []struct {
		pn   uint64
		due  time.Duration
		what string
	}{
		{201, 0, "the first behind the gap"},
		{202, 10 * ms, "the second"},
		{203, 0, "the third"},
		{204, 10 * ms, "the fourth"},
		{200, 0, "the gap's"},
		{205, 10 * ms, "one in order"},
	} {
		r.add(0, c.pn, true, false, 40*ms)
		if r.due != c.due {
			t.Errorf("%s: due at %v, want %v", c.what, r.due, c.due)
		}
		r.acked()
	}
}

// TestAckDelay: between one and 25 milliseconds, a quarter of the round trip.
func TestAckDelay(t *testing.T) {
	for srtt, want := range map[time.Duration]time.Duration{0: ms, 2 * ms: ms, 20 * ms: 5 * ms, 100 * ms: 25 * ms, time.Second: 25 * ms} {
		r := settled()
		r.add(7*ms, 200, true, false, srtt)
		if got := r.due - 7*ms; got != want {
			t.Errorf("round trip %v: delay %v, want %v", srtt, got, want)
		}
	}
}

func TestAckRanges(t *testing.T) {
	r := newReceivedLog()
	add := func(pn uint64) { r.add(time.Duration(pn)*ms, pn, true, false, 40*ms) }
	for _, pn := range []uint64{5, 6, 9, 12, 11} {
		add(pn)
	}
	got := r.ack(20 * ms)
	want := wire.Ack{Delay: 8000, Ranges: []wire.AckRange{{Low: 11, High: 12}, {Low: 9, High: 9}, {Low: 5, High: 6}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v: the delay is since the highest came", got, want)
	}
	for _, pn := range []uint64{5, 6, 9, 11, 12} {
		if r.fresh(pn) {
			t.Errorf("%d came already", pn)
		}
	}
	for _, pn := range []uint64{0, 4, 7, 10, 13} {
		if !r.fresh(pn) {
			t.Errorf("%d never came", pn)
		}
	}

	// What the peer has seen reported is not reported again, but still known.
	r.seen(9)
	if got := r.ack(20 * ms).Ranges; len(got) != 1 || got[0].Low != 11 {
		t.Errorf("after the peer has seen up to 9: %v", got)
	}
	if r.fresh(5) {
		t.Error("forgotten that 5 came")
	}
	add(7) // late: reported although the peer has seen an ACK above it
	if got := r.ack(20 * ms).Ranges; len(got) != 3 || got[2] != (wire.AckRange{Low: 5, High: 7}) {
		t.Errorf("after a late one: %v", got)
	}
	r.seen(12)
	if got := r.ack(20 * ms).Ranges; len(got) != 1 || got[0].High != 12 {
		t.Errorf("an ACK without a range: %v", got)
	}
}

// TestAckOfAck: what the peer has seen reported ends with the highest number of that ACK: the packet after it is reported.
func TestAckOfAck(t *testing.T) {
	e, _ := newSender(t, 1<<20)
	ping := wire.AppendPing(nil)
	e.hears(60*ms, 100, ping)
	e.hears(60*ms, 101, ping)
	first := e.next
	e.write(1, 10)
	e.send(60 * ms)
	e.hears(61*ms, 102, ackFrame(first, e.next-1))
	e.hears(61*ms, 104, ping)
	n := e.NextPacket(61*ms, e.next, e.buf)
	a, _, err := wire.ParseAck(e.buf[:n], nil)
	want := []wire.AckRange{{Low: 104, High: 104}, {Low: 100, High: 102}}
	if err != nil || !slices.Equal(a.Ranges, want) {
		t.Errorf("reported %v, %v, want %v", a.Ranges, err, want)
	}
}

// TestAckBounds: any number of gaps leaves a bounded log, and numbers too old to be known are not fresh.
func TestAckBounds(t *testing.T) {
	r := newReceivedLog()
	for i := range uint64(10_000) {
		r.add(0, 2*i, true, false, 40*ms)
	}
	if r.numbers.len() != maxTracked {
		t.Errorf("%d ranges, want %d", r.numbers.len(), maxTracked)
	}
	a := r.ack(0)
	if len(a.Ranges) != wire.MaxAckRanges || a.Ranges[0].High != 2*9999 {
		t.Errorf("%d ranges from %d", len(a.Ranges), a.Ranges[0].High)
	}
	if r.fresh(1) || r.fresh(2*(10_000-maxTracked)-2) {
		t.Error("a number below all that is known counts as fresh")
	}
	if !r.fresh(2*(10_000-maxTracked) + 1) {
		t.Error("a number in a gap that is known does not count as fresh")
	}
}
