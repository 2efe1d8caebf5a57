package courier

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// longOffer does not fit a datagram of the least size, which hellos have.
func longOffer() string { return strings.Repeat("o", 250) }

// offerOf is the offer in the newest state that n has of a friend.
func (n *node) offerOf(from *node) string {
	s := n.states[from.id]
	if len(s) == 0 {
		return ""
	}
	return string(s[len(s)-1].Offer)
}

func (n *node) offer(to *node, offer string) {
	n.do(func() { n.c.SetOffer(to.id, []byte(offer)) })
}

// stateTimes are when states with such an offer went from one to the other.
func (w *world) stateTimes(from, to *node, since time.Time) (list []time.Duration) {
	for _, d := range w.wire {
		if d.from == from.addr && d.to == to.addr && len(d.b) > 256 && !d.at.Before(since) {
			list = append(list, d.at.Sub(since).Round(time.Millisecond))
		}
	}
	return list
}

func TestOfferGoesDirectlyAndAgain(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	w.keep = true
	start, puts, dropped := w.now, len(w.dht.puts), b.stat("drop.replay.state")
	a.offer(b, longOffer())
	took := w.wait("the offer", time.Second, func() bool { return b.offerOf(a) == longOffer() })
	if took > 5*time.Millisecond {
		t.Errorf("came after %v, want the way of one datagram", took)
	}
	w.run(4 * time.Second)
	want := []time.Duration{0, 250 * time.Millisecond, 750 * time.Millisecond, 1750 * time.Millisecond, 3750 * time.Millisecond}
	if got := w.stateTimes(a, b, start); !slices.Equal(got, want) {
		t.Errorf("sent at %v, want %v", got, want)
	}
	states := 0
	for _, s := range b.states[a.id] {
		if len(s.Offer) > 0 {
			states++
		}
	}
	if states != 1 || b.stat("drop.replay.state") != dropped {
		t.Errorf("%d states with the offer were taken, some dropped: copies should cost nothing", states)
	}
	w.run(4 * time.Minute)
	if n := len(w.stateTimes(a, b, start)); n < 5+15 || n > 5+26 {
		t.Errorf("sent %d times in 4 minutes, want 5 and one with each exchange", n)
	}
	if n := len(w.dht.putsOf(saltState, puts)); n < 1 || n > 2 {
		t.Errorf("%d puts, want one for an offer that stays open", n)
	}
	a.offer(b, "")
	w.run(10 * time.Millisecond)
	if b.offerOf(a) != "" {
		t.Error("the withdrawal was not told")
	}
	n := len(w.stateTimes(a, b, start))
	w.run(time.Minute)
	if got := len(w.stateTimes(a, b, start)); got != n {
		t.Errorf("sent %d times after the withdrawal", got-n)
	}
	_, key := a.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now))
	if s := b.read(a, w.dht.find(key, saltState)[0]); len(s.Offer) != 0 {
		t.Error("the offer still stands in the DHT")
	}
}

// read opens a state that stands in the DHT.
func (n *node) read(from *node, i Item) *wire.State {
	p := n.c.peers[from.id]
	_, record, err := wire.ParseSigned(p.openSlot(crypto.In, crypto.Week(n.w.now), saltState, wire.KindState, i))
	if err != nil {
		n.w.t.Fatal(err)
	}
	s, err := wire.ParseState(record)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return s
}

// An offer that a link answers soon is never put, nor is its withdrawal.
func TestAnOfferThatIsAnsweredCostsNoPut(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	puts := len(w.dht.puts)
	for i := range 5 {
		a.offer(b, fmt.Sprint("offer ", i))
		b.offer(a, fmt.Sprint("answer ", i))
		w.run(time.Second)
		c := w.link(a, b)
		a.offer(b, "")
		b.offer(a, "")
		w.run(time.Minute)
		if b.offerOf(a) != "" || a.offerOf(b) != "" {
			t.Error("an offer is open beside the link")
		}
		if n := len(w.dht.putsOf(saltState, puts)); n != 0 {
			t.Errorf("%d puts", n)
		}
		c.cut()
		w.run(time.Minute)
		puts = len(w.dht.puts)
	}
	if n := a.stat("offer.resent"); n > 5*2 {
		t.Errorf("sent again %d times for 5 offers that took a second", n)
	}
}

func TestOfferIsPutAtOnceForThoseOutOfReach(t *testing.T) {
	w, a, b := apart(t)
	w.run(time.Minute)
	a.do(func() { a.mode(b, PollSuspect) })
	b.do(func() { b.mode(a, PollSuspect) })
	from := len(w.dht.puts)
	a.offer(b, "one")
	w.run(time.Millisecond)
	if n := len(w.dht.putsOf(saltState, from)); n != 1 {
		t.Fatalf("%d puts at once, want 1", n)
	}
	took := w.wait("the offer", 5*time.Second, func() bool { return b.offerOf(a) == "one" })
	if took > 2500*time.Millisecond {
		t.Errorf("came after %v, want the next poll", took)
	}
	for i := range 8 { // within a second: one put
		a.offer(b, fmt.Sprint("offer ", i))
		w.run(100 * time.Millisecond)
	}
	w.wait("the last", 5*time.Second, func() bool { return b.offerOf(a) == "offer 7" })
	if n := len(w.dht.putsOf(saltState, from)); n > 4 {
		t.Errorf("%d puts for 9 offers in 3 seconds", n)
	}
	a.offer(b, "")
	w.wait("the withdrawal", 10*time.Second, func() bool { return b.offerOf(a) == "" })
}

// A friend that answers hellos but nothing longer still gets the offer.
func TestOfferThatDoesNotGetThroughIsPut(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	w.filter = func(_, _ netip.AddrPort, b []byte) bool { return len(b) == 256 }
	a.offer(b, longOffer())
	w.wait("the offer", 30*time.Second, func() bool { return b.offerOf(a) == longOffer() })
}

func TestOfferOverALiveLink(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	puts := len(w.dht.puts)
	a.offer(b, "restart")
	took := w.wait("the offer", time.Second, func() bool { return b.offerOf(a) == "restart" })
	if took > 5*time.Millisecond {
		t.Errorf("came after %v", took)
	}
	w.run(10 * time.Second)
	if n := len(w.dht.puts) - puts; n != 0 {
		t.Errorf("%d puts while the link lives", n)
	}
	if n, _ := c.of(a, wire.KindState); n != 2 { // with the link, and with the offer
		t.Errorf("%d states over the link", n)
	}
	c.stand(true, 0)
	w.run(time.Millisecond)
	if n := len(w.dht.putsOf(saltState, puts)); n != 1 {
		t.Errorf("%d puts when the link became suspect with an open offer, want 1", n)
	}
}

// An offer that goes straight to where a suspect link was is put too: what has
// silenced the link may have silenced that way.
func TestOfferBesideASuspectLinkIsPutAtOnce(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	c := w.link(a, b)
	w.run(5 * time.Second)
	w.filter = func(netip.AddrPort, netip.AddrPort, []byte) bool { return false }
	c.stand(true, 0)
	if !a.online[b.id] || !a.c.peers[b.id].online {
		t.Fatal("the direct way does not count as open any more")
	}
	from := len(w.dht.puts)
	a.offer(b, "restart")
	took := w.wait("the offer", time.Minute, func() bool { return b.offerOf(a) == "restart" })
	if took > time.Second {
		t.Errorf("came after %v, want a put at once and the next poll", took)
	}
	if n := len(w.dht.putsOf(saltState, from)); n != 1 {
		t.Errorf("%d puts, want 1", n)
	}
}

// Whoever becomes a friend is told of the offer that is made at once by one put.
func TestFirstStateBringsTheOffer(t *testing.T) {
	w := newWorld(t)
	w.filter = func(netip.AddrPort, netip.AddrPort, []byte) bool { return false }
	a, b := w.node("alice"), w.node("bob")
	for _, n := range []*node{a, b} {
		n.start()
		n.ready()
	}
	w.run(time.Minute)
	from := len(w.dht.puts)
	befriend(a, b)
	w.run(10 * time.Millisecond) // the way by the transport and back
	a.offer(b, "offer")
	w.wait("the offer", 15*time.Second, func() bool { return b.offerOf(a) == "offer" })
	if n := len(w.dht.putsOf(saltState, from)); n != 2 {
		t.Errorf("%d states were put, want one of each", n)
	}
}

// The second direct path to a friend that comes up tells the open offer.
func TestOfferIsToldWhenAFriendIsReached(t *testing.T) {
	w, a, b := apart(t)
	w.run(time.Minute)
	b.stop()
	w.run(time.Minute)
	a.offer(b, "offer")
	w.run(time.Minute)
	w.filter = nil
	b.start() // and never joins the DHT
	b.do(func() { b.c.NetworkChanged() })
	w.wait("the offer", 10*time.Second, func() bool { return b.offerOf(a) == "offer" })
}

func TestOffersAreForFriendsOnly(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	a.offer(b, "offer")
	w.run(time.Second)
	a.add(b.id, wire.RelationRemoved, a.friends[b.id].bond)
	w.wait("removal", time.Minute, func() bool {
		s := b.states[a.id]
		return s[len(s)-1].Relation == wire.RelationRemoved
	})
	if b.offerOf(a) != "" {
		t.Error("somebody removed is told of an offer")
	}
	long := bytes.Repeat([]byte("x"), wire.MaxOffer+1)
	a.offer(b, string(long))
	if got := a.stat("fault.offer"); got != 1 {
		t.Errorf("fault.offer = %d, want 1", got)
	}
	a.do(func() { a.c.SetOffer(b.id, long[1:]) })
	w.run(time.Minute)
	b.stop()
	a.do(func() { a.c.Shutdown(func() {}) })
	w.run(time.Minute)
}

func TestAStateWithAnOfferSaysNoneAfterAGoodbye(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	a.offer(b, "offer")
	w.run(20 * time.Second)
	a.do(func() { a.c.Shutdown(func() {}) })
	w.run(20 * time.Second)
	if s := b.states[a.id]; b.offerOf(a) != "" || s[len(s)-1].Presence != wire.PresenceOffline {
		t.Error("the last state has an offer, or is no goodbye")
	}
}

// Whatever a friend has the transport offer, puts stay within its effort, and
// datagrams go only where they are wanted.
func TestOffersAreBounded(t *testing.T) {
	w, a, b := apart(t)
	w.run(time.Minute)
	from := len(w.dht.puts)
	for i := range 3000 {
		a.offer(b, fmt.Sprint(i))
		w.run(100 * time.Millisecond)
	}
	if n := len(w.dht.putsOf(saltState, from)); n < 12 || n > 12+30+5 {
		t.Errorf("%d puts for 3,000 offers in 5 minutes, want 12 and one in 10 s", n)
	}
}

// Over a line that loses one datagram in ten an offer has arrived within 2 s, all
// but one time in a hundred.
func TestOfferOverALossyLine(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 200
	}
	w, a, b := both(t)
	w.run(time.Minute)
	w.delay, w.loss = 50*time.Millisecond, 0.1
	var took []time.Duration
	for i := range n {
		name := fmt.Sprint(i)
		w.until(func() bool { return a.online[b.id] && b.online[a.id] }, time.Hour)
		a.offer(b, name)
		d, _ := w.until(func() bool { return b.offerOf(a) == name }, 10*time.Second)
		took = append(took, d)
		a.offer(b, "")
		w.run(time.Duration(w.random.Int64N(int64(5 * time.Second))))
	}
	slices.Sort(took)
	t.Logf("p50 %v, p99 %v, p99.9 %v, longest %v", took[n/2], took[n*99/100], took[n*999/1000], took[n-1])
	if p99 := took[n*99/100]; p99 > 2*time.Second {
		t.Errorf("p99 %v, want 2 s at most", p99)
	}
}
