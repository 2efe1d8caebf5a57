package courier

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// Mail in datagrams is a minute old at most, against the newest that the friend
// has signed: what is older may have been recorded, and is sent again if not.
func TestMailOfAMinuteAgoIsNotTaken(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Minute)
	p := a.c.peers[b.id]
	for i, c := range []struct {
		older uint64
		taken int
	}{{mailLife + 1, 0}, {mailLife, 1}} {
		m := &wire.Mail{
			Sequence: wire.Sequence{Incarnation: b.inc, Counter: 9}, Generation: p.newestVersion() - c.older, Bond: b.Bond(a.id),
			Base: 1, First: 1, Items: []wire.Item{{Body: []byte("x")}},
		}
		body, err := b.c.peers[a.id].sealMail(m, a.Current())
		if err != nil {
			t.Fatal(err)
		}
		a.do(func() { p.acceptMail(body, [8]byte{byte(i)}) })
		if got := len(a.got(b)); got != c.taken {
			t.Errorf("%d ms older than the newest: %d messages are taken, want %d", c.older, got, c.taken)
		}
	}
	if got := a.stat("drop.replay.mail"); got != 1 {
		t.Errorf("drop.replay.mail = %d, want 1", got)
	}
}

// What is lost halves the window of what is under way.
func TestLostMailHalvesTheWindow(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	w.filter = func(_, _ netip.AddrPort, b []byte) bool { return len(b) == 256 } // hellos pass, mail does not
	a.send(b, strings.Repeat("x", 300))
	w.run(200 * time.Millisecond)
	d := a.c.peers[b.id].direct
	if d.window != windowFirst {
		t.Fatalf("window %v before anything is lost", d.window)
	}
	w.run(100 * time.Millisecond)
	if d.window != windowFirst/2 {
		t.Errorf("window %v after a loss, want %v", d.window, windowFirst/2)
	}
}

// A node that has said goodbye hears nobody any more.
func TestNothingIsHeardAfterAGoodbye(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	var late []byte
	w.filter = func(_, to netip.AddrPort, d []byte) bool {
		if to == a.addr {
			late = slices.Clone(d)
		}
		return to != a.addr
	}
	w.wait("a datagram", time.Minute, func() bool { return late != nil })
	a.do(func() { a.c.Shutdown(func() {}) })
	before, heard := a.c.Stats(), a.c.peers[b.id].helloVersion
	a.do(func() { a.c.Datagram(late, b.addr) })
	if p := a.c.peers[b.id]; p.helloVersion != heard {
		t.Errorf("a hello with version %d is taken after %d", p.helloVersion, heard)
	}
	for name, n := range a.c.Stats() {
		if n != before[name] {
			t.Errorf("%s rises from %d to %d", name, before[name], n)
		}
	}
}

// A request tells of its sender what no newer state has told, and lets no older
// state count again.
func TestARequestTellsOnlyWhatIsNewer(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	p := a.c.peers[b.id]
	known := p.theirs
	r := b.request(7)
	r.Time = known.Time
	a.do(func() { p.introduce(r) })
	if p.theirs != known {
		t.Error("a request that is not newer takes the place of the state")
	}
	r.Time = known.Time + 1
	a.do(func() { p.introduce(r) })
	if p.theirs.Time != r.Time || p.theirs.Version != known.Version || known.Version == 0 {
		t.Errorf("a newer one: time %d, version %d, want %d and %d", p.theirs.Time, p.theirs.Version, r.Time, known.Version)
	}
}

// A new sequence goes over the link from its beginning, whatever of the last one
// is under way.
func TestSequenceChangeOverALink(t *testing.T) {
	w, a, b, _ := onlyLinked(t)
	b.full = true
	a.send(b, "one")
	a.send(b, "two")
	w.run(time.Second)
	if n := len(a.c.peers[b.id].link.flight); n == 0 {
		t.Fatal("nothing is under way")
	}
	b.full = false
	a.do(func() {
		a.friends[b.id].counter++
		a.c.MailChanged(b.id)
	})
	w.wait("receipt", time.Second, func() bool { return a.pending(b) == 0 })
	if got := b.friends[a.id].theirs.Counter; got != 2 || len(b.got(a)) != 2 {
		t.Errorf("%d messages under sequence %d, want 2 under the new one", len(b.got(a)), got)
	}
}

// That a prekey is lacking is told once, however much comes for it.
func TestALostPrekeyIsReportedOnce(t *testing.T) {
	w, a, b := apart(t)
	p := a.c.peers[b.id]
	w.run(time.Minute)
	for i, want := range []bool{true, false} {
		a.do(func() {
			p.own.dirty = false
			if p.reportPrekey(4711); p.own.dirty != want {
				t.Errorf("report %d: our state is to be put again: %t, want %t", i, p.own.dirty, want)
			}
		})
	}
}

// An address at which nobody can be is not taken for the friend's, though a signed
// hello seems to come from there.
func TestHelloFromNowhere(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	var hello []byte
	w.filter = func(_, to netip.AddrPort, d []byte) bool {
		if to == a.addr {
			hello = slices.Clone(d)
		}
		return to != a.addr
	}
	w.wait("a hello", time.Minute, func() bool { return hello != nil })
	known := len(a.c.peers[b.id].endpoints)
	a.do(func() { a.c.Datagram(hello, netip.MustParseAddrPort("224.0.0.1:7")) })
	if got := len(a.c.peers[b.id].endpoints); got != known || a.stat("drop.endpoint") != 1 {
		t.Errorf("%d endpoints after %d, drop.endpoint = %d", got, known, a.stat("drop.endpoint"))
	}
}
