package courier

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

func TestDirectMailIsFast(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	a.send(b, "hello")
	took := w.wait("delivery", time.Second, func() bool { return len(b.got(a)) == 1 })
	if took > 10*time.Millisecond {
		t.Errorf("delivered after %v, want the way of one datagram", took)
	}
	w.wait("receipt", time.Second, func() bool { return a.pending(b) == 0 })
	if g := b.friends[a.id].got[0]; g.body != "hello" || g.via != ViaDirect {
		t.Errorf("got %q via %v, want hello via direct", g.body, g.via)
	}
	puts := len(w.dht.puts)
	w.run(10 * time.Second)
	if n := len(w.dht.puts) - puts; n != 0 {
		t.Errorf("%d puts for mail that was delivered directly", n)
	}
}

// mailTimes are when datagrams as long as mail went from one to the other.
func (w *world) mailTimes(from, to *node, since time.Time) (list []time.Duration) {
	for _, d := range w.wire {
		if d.from == from.addr && d.to == to.addr && len(d.b) > 256 && !d.at.Before(since) {
			list = append(list, d.at.Sub(since).Round(10*time.Millisecond))
		}
	}
	return list
}

func TestDirectMailIsSentAgainAndGoesToTheMailbox(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	w.keep = true
	w.filter = func(_, to netip.AddrPort, b []byte) bool { return len(b) == 256 } // hellos pass, mail does not
	start := w.now
	a.send(b, strings.Repeat("x", 300))
	w.run(900 * time.Millisecond)
	if a.c.peers[b.id].box != nil {
		t.Error("mail is in the mailbox before 1 s")
	}
	w.run(8 * time.Second)
	want := []time.Duration{0, 250 * time.Millisecond, 750 * time.Millisecond, 1750 * time.Millisecond, 3750 * time.Millisecond}
	got := w.mailTimes(a, b, start)
	if len(got) < 5 || !slices.Equal(got[:5], want) {
		t.Errorf("sent at %v, want %v", got, want)
	}
	w.wait("delivery by the mailbox", 30*time.Second, func() bool { return len(b.got(a)) == 1 })
	if via := b.friends[a.id].got[0].via; via != ViaDHT {
		t.Errorf("came via %v, want dht", via)
	}
	w.wait("receipt by the state", 30*time.Second, func() bool { return a.pending(b) == 0 })
}

func TestALostReceiptIsGivenAgain(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	lost := 0
	w.filter = func(from, _ netip.AddrPort, _ []byte) bool {
		if from == b.addr && lost < 2 {
			lost++
			return false
		}
		return true
	}
	a.send(b, "once")
	took := w.wait("receipt", 5*time.Second, func() bool { return a.pending(b) == 0 })
	if took > time.Second {
		t.Errorf("took %v", took)
	}
	if got := b.got(a); len(got) != 1 {
		t.Errorf("delivered %d times", len(got))
	}
}

func TestBursts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		size  int
		loss  float64
		delay time.Duration
		limit time.Duration
	}{
		{"small", 20, 0, time.Millisecond, time.Second},
		{"large", 1000, 0, time.Millisecond, 4 * time.Second},
		{"far", 20, 0, 50 * time.Millisecond, 3 * time.Second},
		{"lossy", 100, 0.05, 20 * time.Millisecond, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, a, b := both(t)
			w.run(5 * time.Second)
			w.loss, w.delay = tt.loss, tt.delay
			body := strings.Repeat("x", tt.size)
			a.do(func() {
				for range 1000 {
					a.queue(b, body)
				}
				a.c.MailChanged(b.id)
			})
			sent := a.datagrams
			took := w.wait("all", time.Minute, func() bool { return a.pending(b) == 0 })
			if took > tt.limit {
				t.Errorf("1,000 messages took %v, want %v at most", took, tt.limit)
			}
			if got := len(b.got(a)); got != 1000 {
				t.Errorf("%d messages delivered, want 1,000", got)
			}
			t.Logf("%v, %d datagrams, %d back, %d resent", took, a.datagrams-sent, b.datagrams, a.stat("mail.resent"))
		})
	}
}

func TestMailWaitsForAPrekey(t *testing.T) {
	w := newWorld(t)
	w.keep = true
	a, b := w.node("alice"), w.node("bob")
	befriend(a, b)
	a.start()
	a.ready()
	a.send(b, "early")
	w.run(time.Minute)
	if a.stat("put.mail") != 0 || a.c.Capacity(b.id) != 0 {
		t.Errorf("%d mail puts and a capacity of %d before a prekey", a.stat("put.mail"), a.c.Capacity(b.id))
	}
	r := b.request(uint64(w.now.UnixMilli()))
	r.Endpoints = nil
	a.do(func() { a.c.Introduce(r) })
	w.wait("stored", 10*time.Second, func() bool { return a.friends[b.id].stored[1] > 0 })
	if got := a.c.Capacity(b.id); got != wire.MaxMailboxBody {
		t.Errorf("Capacity = %d, want %d", got, wire.MaxMailboxBody)
	}
}

func TestAMessageTooLongForADatagramHoldsLaterOnes(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	long := strings.Repeat("x", 3000)
	a.send(b, "1")
	a.send(b, long)
	a.send(b, "3")
	w.wait("delivery", 30*time.Second, func() bool { return len(b.got(a)) == 3 })
	if got := b.got(a); got[0] != "1" || got[1] != long || got[2] != "3" {
		t.Error("out of order or changed")
	}
	if via := b.friends[a.id].got[1].via; via != ViaDHT {
		t.Errorf("the long one came via %v, want dht", via)
	}
	w.wait("receipts", 30*time.Second, func() bool { return a.pending(b) == 0 })
}

func TestASkipReplacesWhatWasSent(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	w.filter = func(_, to netip.AddrPort, d []byte) bool { return to != b.addr }
	a.send(b, "never seen")
	w.run(100 * time.Millisecond)
	w.filter = nil
	a.do(func() {
		a.friends[b.id].out[0].Skip = true
		a.c.MailChanged(b.id)
	})
	w.wait("receipt", time.Second, func() bool { return a.pending(b) == 0 })
	if got := b.got(a); len(got) != 0 {
		t.Errorf("got %q, want a skip", got)
	}
	if s := b.friends[a.id].skipped; len(s) != 1 {
		t.Errorf("skipped %v", s)
	}
}

func TestAFullInboxIsTriedAgainSlowly(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	b.full = true
	a.send(b, "patience")
	w.run(2 * time.Minute)
	if sent := a.stat("mail.resent"); sent > 25 {
		t.Errorf("sent again %d times in two minutes, want about once an exchange", sent)
	}
	b.full = false
	w.wait("delivery", 15*time.Second, func() bool { return len(b.got(a)) == 1 })
}

func TestReceiptsAreCoalesced(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	w.delay = 0
	w.keep = true
	w.wire = nil
	for i := range 50 {
		a.send(b, fmt.Sprint(i))
	}
	w.wait("all", time.Second, func() bool { return a.pending(b) == 0 })
	n := 0
	for _, d := range w.wire {
		if d.from == b.addr {
			n++
		}
	}
	if n > 10 {
		t.Errorf("%d receipts for 50 datagrams at once", n)
	}
}

// A friend that floods with good envelopes costs no more than twice what one
// of us would send.
func TestAFloodOfGoodEnvelopesIsCut(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	for range 600 {
		a.receive(b.hello(a, func(h *wire.Hello) { h.Answer = true }), b.addr)
	}
	if got := a.stat("drop.flood"); got < 150 {
		t.Errorf("drop.flood = %d, want what exceeds %v", got, inboundLimit().burst)
	}
}

func TestSequenceChangeBeginsAnew(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	w.filter = func(_, to netip.AddrPort, _ []byte) bool { return to != b.addr }
	a.send(b, "one")
	w.run(100 * time.Millisecond)
	w.filter = nil
	a.do(func() {
		a.friends[b.id].counter++
		a.c.MailChanged(b.id)
	})
	w.wait("receipt", time.Second, func() bool { return a.pending(b) == 0 })
	if got := b.friends[a.id].theirs.Counter; got != 2 {
		t.Errorf("delivered under sequence %d, want the new one", got)
	}
}
